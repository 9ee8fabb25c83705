//! Who asks: limits, forwarders, groups.

use super::check::{Problems, network, stage};
use super::file::{self, Dns};
use crate::io::listen::{FORWARDERS_MAX, Forwarder, Identity, LimitSettings};
use crate::policy::{GROUPS_MAX, Group};

/// Queries, or kibibytes, a second that a limit may be set to; more is no limit.
const RATE_MAX: u32 = 1_000_000;

/// How much clients may ask.
pub(super) fn limits(p: &mut Problems<'_>, dns: &Dns) -> LimitSettings {
    LimitSettings {
        client_rate: p.bound(&dns.client_rate, "client_rate", 0, RATE_MAX),
        prefix_rate: p.bound(&dns.prefix_rate, "prefix_rate", 0, RATE_MAX),
        answer_kib: p.bound(&dns.answer_kib, "answer_kib", 0, RATE_MAX),
    }
}

/// Who asks for others.
pub(super) fn forwarders(p: &mut Problems<'_>, dns: &Dns) -> Vec<Forwarder> {
    if let Some(beyond) = dns.forwarders.get(FORWARDERS_MAX) {
        p.push(&beyond.address, &format!("there are more than {FORWARDERS_MAX} forwarders; name networks instead"));
    }
    dns.forwarders.iter().filter_map(|at| forwarder(p, at)).collect()
}

fn forwarder(p: &mut Problems<'_>, at: &file::Forwarder) -> Option<Forwarder> {
    let words =
        at.identity.iter().filter_map(|word| p.parse::<Identity>(word, "identity", "in the order of preference"));
    let identity = words.collect();
    Some(Forwarder { net: network(p, &at.address, "address")?, identity })
}

/// Groups of clients.
pub(super) fn groups(p: &mut Problems<'_>, groups: &[file::Group]) -> Vec<Group> {
    if let Some(beyond) = groups.get(GROUPS_MAX) {
        p.push(&beyond.id, &format!("there are more than {GROUPS_MAX} groups"));
    }
    let mut made: Vec<Group> = Vec::new();
    for at in groups {
        let id = at.id.get_ref();
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_') {
            p.push(&at.id, &format!("id = {id:?}: write lower-case letters, digits, '-' and '_'"));
        }
        if made.iter().any(|other| other.id == *id) {
            p.push(&at.id, &format!("id = {id:?} is taken by a [[group]] above"));
        }
        if at.clients.is_empty() {
            p.push(&at.id, &format!("[[group]] {id} has no clients, so nothing of it would ever hold"));
        }
        let mut group = Group { id: id.clone(), ..Group::default() };
        for text in &at.clients {
            match mac(text.get_ref()) {
                Some(mac) => group.macs.push(mac),
                None => group.nets.extend(network(p, text, "clients")),
            }
        }
        group.stages = at.stages.iter().filter_map(|(key, value)| stage(p, key, value)).collect();
        made.push(group);
    }
    made
}

/// A hardware address as `02:11:22:33:44:55`, or with `-`.
fn mac(text: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut words = text.split([':', '-']);
    for octet in &mut octets {
        let word = words.next().filter(|word| word.len() == 2)?;
        *octet = u8::from_str_radix(word, 16).ok()?;
    }
    words.next().is_none().then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_told_from_networks() {
        assert_eq!(mac("02:11:22:33:44:fF"), Some([2, 0x11, 0x22, 0x33, 0x44, 0xff]));
        assert_eq!(mac("02-11-22-33-44-55"), Some([2, 0x11, 0x22, 0x33, 0x44, 0x55]));
        for other in
            ["02:11:22:33:44", "02:11:22:33:44:55:66", "2:1:2:3:4:5", "fd00::1", "10.0.0.1", "02:11:22:33:44:5g"]
        {
            assert_eq!(mac(other), None, "{other}");
        }
    }
}
