//! Who asks: limits and forwarders.

use super::check::{Problems, network};
use super::file::{self, Dns};
use crate::io::listen::{FORWARDERS_MAX, Forwarder, Identity, LimitSettings};

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
