//! What enforcement must not cut off: a gateway that loses its upstream, its route or its operator cannot be mended from afar.

use super::listed::Listed;
use super::table::Range;
use crate::base::model::Decision;
use crate::policy::{Policy, Subject};
use ipnet::IpNet;
use std::fmt;

/// What the box cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependency {
    /// A server that is asked for answers.
    Upstream,
    /// A server that lists come from.
    Remote,
    /// The next hop of a default route.
    Router,
    /// An address of this machine.
    Own,
    /// A network of the clients.
    Clients,
    /// Where whoever runs the command is logged in from.
    Login,
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upstream => "the upstream server",
            Self::Remote => "the server of a list",
            Self::Router => "the default route's next hop",
            Self::Own => "this machine's own address",
            Self::Clients => "the clients' network",
            Self::Login => "the login that runs this command, from",
        })
    }
}

/// What is needed, as addresses.
pub type Facts = Vec<(Dependency, IpNet)>;

/// Something that would be cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// What.
    pub dependency: Dependency,
    /// Its address.
    pub net: IpNet,
    /// The rule's range.
    pub rule: String,
    /// Where the rule stands.
    pub place: String,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dependency, net, rule, place } = self;
        let net = if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() };
        write!(
            f,
            "the rule {rule} ({place}) would cut off {dependency} {net}; except that address, or take the rule out"
        )
    }
}

/// Everything needed that is blocked, each with the first rule that blocks of it.
#[must_use]
pub fn cuts(policy: &Policy, listed: &Listed, facts: &Facts) -> Vec<Cut> {
    let blocked = || listed.ranges.iter().filter(|(_, kind)| kind.decision == Decision::Block).map(|(range, _)| range);
    let mut cuts = Vec::new();
    for &(dependency, net) in facts {
        let needed = Range::of(net);
        let Some(range) = blocked().find(|range| range.first <= needed.last && needed.first <= range.last) else {
            continue;
        };
        let address = range.first.max(needed.first);
        let verdict = policy.decide(&Subject { address: Some(address), ..Subject::default() });
        let facts = verdict.rule.and_then(|rule| policy.facts(rule));
        let (rule, place) = facts.map_or_else(
            || (range.to_string(), "no list".to_owned()),
            |facts| (facts.pattern.to_string(), format!("{} {}, {}", facts.vendor, facts.purpose, facts.place)),
        );
        cuts.push(Cut { dependency, net, rule, place });
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::super::listed::tests::policy;
    use super::*;
    use crate::base::model::Stage;

    #[test]
    fn what_is_needed_and_blocked_is_named_with_its_rule() {
        let policy = policy(
            &[("b", Stage::Block, "192.0.2.0/24 10.1.0.0/16"), ("o", Stage::Observe, "198.51.100.0/24")],
            Vec::new(),
        );
        let listed = Listed::of(&policy, true).unwrap();
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let facts = vec![
            (Dependency::Upstream, net("192.0.2.53/32")),
            (Dependency::Router, net("198.51.100.1/32")),
            (Dependency::Clients, net("10.0.0.0/8")),
            (Dependency::Own, net("203.0.113.1/32")),
        ];
        let said: Vec<String> = cuts(&policy, &listed, &facts).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "the rule 192.0.2.0/24 (b unknown, b:1) would cut off the upstream server 192.0.2.53; except that address, or take \
                 the rule out",
                "the rule 10.1.0.0/16 (b unknown, b:2) would cut off the clients' network 10.0.0.0/8; except that address, or take \
                 the rule out",
            ]
        );
    }
}
