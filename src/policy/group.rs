//! Groups of clients with stages and exceptions of their own.
//!
//! A group's policy is a whole [`Policy`](super::Policy) over the same rules, with an epoch of its own: what was found clean for
//! one group is judged again for the next.

use super::StageSetting;
use crate::base::model::link_local;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;

/// Groups that there may be: each costs what the classes of the rules cost.
pub const GROUPS_MAX: usize = 64;

/// A group, as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Group {
    /// What config, `check` and reports call it.
    pub id: String,
    /// Its networks; of two that hold a client the smaller one counts.
    pub nets: Vec<IpNet>,
    /// Its hardware addresses, which count before networks: known where a forwarder tells them, or where an IPv6 address is made
    /// of one.
    pub macs: Vec<[u8; 6]>,
    /// Its stages, which win over those of all; a list's id stands for that list here too.
    pub stages: Vec<StageSetting>,
}

/// Which client is of which group.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// The longest prefix first.
    nets: Vec<(IpNet, usize)>,
    /// By what a hardware address makes the end of an IPv6 address.
    interfaces: HashMap<u64, usize>,
}

impl Members {
    pub(super) fn new(groups: &[Group]) -> Self {
        let mut made = Self::default();
        for (at, group) in groups.iter().take(GROUPS_MAX).enumerate() {
            made.nets.extend(group.nets.iter().map(|net| (*net, at)));
            for mac in &group.macs {
                made.interfaces.entry(interface(IpAddr::V6(link_local(*mac)))).or_insert(at);
            }
        }
        // Stable: of equal networks the first group's counts.
        made.nets.sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
        made
    }

    /// The place of a client's group. No allocation.
    pub(super) fn find(&self, client: IpAddr) -> Option<usize> {
        let client = client.to_canonical();
        let by_mac = || if client.is_ipv6() { self.interfaces.get(&interface(client)).copied() } else { None };
        let by_net = || self.nets.iter().find(|(net, _)| net.contains(&client)).map(|(_, at)| *at);
        by_mac().or_else(by_net)
    }
}

/// The half of an IPv6 address that says which interface of its network it is.
fn interface(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(_) => 0,
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.segments();
            [a, b, c, d].iter().fold(0, |half, &word| half << 16 | u64::from(word))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_of_the_group_that_names_it_closest() {
        let group = |nets: &[&str], macs: &[[u8; 6]]| Group {
            nets: nets.iter().map(|net| net.parse().unwrap()).collect(),
            macs: macs.to_vec(),
            ..Group::default()
        };
        let members = Members::new(&[
            group(&["10.0.0.0/8", "fd00::/8"], &[]),
            group(&["10.1.0.0/16"], &[[2, 0x11, 0x22, 0x33, 0x44, 0x55]]),
            group(&["10.0.0.0/8", "10.1.1.1/32"], &[]),
        ]);
        for (client, at) in [
            ("10.2.0.1", Some(0)),
            ("10.1.0.1", Some(1)),
            ("10.1.1.1", Some(2)),
            ("::ffff:10.1.1.1", Some(2)),
            ("192.168.1.1", None),
            ("fd00::1", Some(0)),
            ("fd00::11:22ff:fe33:4455", Some(1)),
            ("fe80::11:22ff:fe33:4455", Some(1)),
            ("fe80::1", None),
        ] {
            assert_eq!(members.find(client.parse().unwrap()), at, "{client}");
        }
    }
}
