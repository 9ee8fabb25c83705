//! The address line: what is decided about every listed address when no name is known, as disjoint ranges in order. It is what a
//! packet filter can be told, and it is taken from [`Policy::decide`] itself, so that the two cannot differ.

use super::apart::Trigger;
use super::{Policy, Subject, Verdict, What};
use ipnet::IpNet;
use std::net::IpAddr;

/// Addresses in a row about which the same is decided by the same rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: IpAddr,
    /// The last, of the same family.
    pub last: IpAddr,
    /// What is decided.
    pub verdict: Verdict,
}

impl Policy {
    /// Every span that a rule decides about, IPv4 first. What depends on who asks is decided as for nobody in particular.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let listed = self.rules.rules().filter_map(|rule| match rule.what {
            What::Range(net) => Some(net),
            What::Apart(apart) => match apart.trigger {
                Trigger::Address(net) => Some(net),
                _ => None,
            },
            What::Name(..) => None,
        });
        let spared = self.settings.exceptions.iter().filter_map(|exception| exception.net);
        // Where the decision may change: at the first address of a range, and after its last.
        let mut edges: Vec<IpAddr> =
            listed.chain(spared).flat_map(|net| [Some(net.network()), after(net.broadcast())]).flatten().collect();
        edges.sort_unstable();
        edges.dedup();
        let mut spans: Vec<Span> = Vec::new();
        for (at, &first) in edges.iter().enumerate() {
            let subject = Subject { address: Some(first), ..Subject::default() };
            let verdict = self.decide(&subject);
            if verdict.rule.is_none() {
                continue;
            }
            let next = edges.get(at + 1).filter(|next| next.is_ipv4() == first.is_ipv4());
            let last = next.map_or_else(|| greatest(first), |next| before(*next));
            match spans.last_mut() {
                Some(span) if span.verdict == verdict && after(span.last) == Some(first) => span.last = last,
                _ => spans.push(Span { first, last, verdict }),
            }
        }
        spans
    }
}

/// The address after one; `None` after the greatest.
fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}

/// The address before one that is not the least.
fn before(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(u32::from(v4).saturating_sub(1).into()),
        IpAddr::V6(v6) => IpAddr::V6(u128::from(v6).saturating_sub(1).into()),
    }
}

/// The greatest address of the same family.
fn greatest(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(u32::MAX.into()),
        IpAddr::V6(_) => IpAddr::V6(u128::MAX.into()),
    }
}

impl Span {
    /// The span as prefixes, which together hold the same addresses.
    #[must_use]
    pub fn nets(&self) -> Vec<IpNet> {
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => ipnet::Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect(),
            (IpAddr::V6(first), IpAddr::V6(last)) => ipnet::Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::model::{Decision, Purpose, Stage, Wall};
    use crate::policy::list::{Format, vendor};
    use crate::policy::{Exception, List, RuleSetBuilder, Settings, StageSetting};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn policy(blocked: &str, observed: &str, exceptions: Vec<Exception>) -> Policy {
        let mut builder = RuleSetBuilder::new();
        for (id, stage, text) in [("b", Stage::Block, blocked), ("o", Stage::Observe, observed)] {
            let list = List { id: id.into(), file: id.into(), revision: "1".into(), stage: Some(stage), expires: None };
            builder.add_blocklist(list, Format::Ranges, &mut text.as_bytes()).unwrap();
        }
        let settings = Settings { exceptions, ..Settings::default() };
        Policy::new(1, Arc::new(builder.finish()), Arc::new(settings), Wall::UNIX_EPOCH)
    }

    fn spared(net: &str, clients: &[&str]) -> Exception {
        Exception {
            name: None,
            net: Some(net.parse().unwrap()),
            clients: clients.iter().map(|net| net.parse().unwrap()).collect(),
            groups: Vec::new(),
            reason: "r".into(),
            approver: "a".into(),
            until: None,
        }
    }

    fn said(policy: &Policy) -> Vec<String> {
        let word = |span: &Span| format!("{}-{} {}", span.first, span.last, span.verdict.decision);
        policy.spans().iter().map(word).collect()
    }

    #[test]
    fn inner_ranges_and_exceptions_cut_outer_ones() {
        let policy = policy("192.0.2.0/24\n2001:db8::/32\n", "192.0.2.64/26\n", vec![spared("192.0.2.16/28", &[])]);
        assert_eq!(
            said(&policy),
            [
                "192.0.2.0-192.0.2.15 block",
                "192.0.2.16-192.0.2.31 allow",
                "192.0.2.32-192.0.2.63 block",
                "192.0.2.64-192.0.2.127 observe",
                "192.0.2.128-192.0.2.255 block",
                "2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff block",
            ]
        );
        assert_eq!(policy.spans()[0].nets(), ["192.0.2.0/28".parse().unwrap()]);
    }

    #[test]
    fn an_exception_for_some_clients_cuts_nothing_for_the_others() {
        let policy = policy("192.0.2.0/24\n", "", vec![spared("192.0.2.16/28", &["10.0.0.0/8"])]);
        assert_eq!(said(&policy), ["192.0.2.0-192.0.2.255 block"]);
    }

    #[test]
    fn the_ends_of_both_lines_are_held() {
        let policy = policy("255.255.255.0/24\nffff:ffff::/32\n", "", Vec::new());
        let ends: Vec<IpAddr> = policy.spans().iter().map(|span| span.last).collect();
        assert_eq!(ends, [greatest("0.0.0.0".parse().unwrap()), greatest("::".parse().unwrap())]);
    }

    #[test]
    fn hosts_carved_out_of_a_vendors_network_are_not_blocked() {
        let file = r#"
version = 1
[vendor]
id = "acme"
name = "Acme"
country = "RU"
[[source]]
id = "s"
title = "t"
where = "https://example.org"
version = "2026-01-01"
[[range]]
cidr = "192.0.2.0/24"
asn = 64500
purpose = "vendor-network"
evidence = "2026-01-01"
confidence = "high"
source = ["s"]
[[range]]
cidr = "192.0.2.9/32"
asn = 64500
purpose = "mail"
evidence = "2026-01-01"
confidence = "high"
source = ["s"]
"#;
        let mut builder = RuleSetBuilder::new();
        let read = vendor::read("acme.toml", file).unwrap();
        builder.add_vendor_file(Arc::new(read), "1").unwrap();
        let stage = StageSetting { vendor: "acme".into(), part: None, stage: Stage::Block };
        let settings = Settings { stages: vec![stage], ..Settings::default() };
        let policy =
            Policy::new(1, Arc::new(builder.finish()), Arc::new(settings), "2026-02-01T00:00:00Z".parse().unwrap());
        assert_eq!(
            said(&policy),
            ["192.0.2.0-192.0.2.8 block", "192.0.2.9-192.0.2.9 observe", "192.0.2.10-192.0.2.255 block"]
        );
        let mail = policy.facts(policy.spans()[1].verdict.rule.unwrap()).unwrap();
        assert_eq!(mail.purpose, Purpose::Mail);
    }

    proptest! {
        /// Beside the decision about each address by itself.
        #[test]
        fn every_address_is_decided_as_its_span_says(
            blocked in prop::collection::vec((any::<u8>(), 24..=32_u8), 0..12),
            observed in prop::collection::vec((any::<u8>(), 24..=32_u8), 0..12),
            except in prop::collection::vec((any::<u8>(), 26..=32_u8), 0..4),
        ) {
            let text = |nets: &[(u8, u8)]| nets.iter()
                .map(|(host, len)| IpNet::new([192, 0, 2, *host].into(), *len).unwrap().trunc().to_string() + "\n")
                .collect::<String>();
            let exceptions = text(&except).lines().map(|net| spared(net, &[])).collect();
            let policy = policy(&text(&blocked), &text(&observed), exceptions);
            let spans = policy.spans();
            for host in 0..=255_u8 {
                let address = IpAddr::from([192, 0, 2, host]);
                let verdict = policy.decide(&Subject { address: Some(address), ..Subject::default() });
                let over: Vec<_> = spans.iter().filter(|span| span.first <= address && address <= span.last).collect();
                let expected = verdict.rule.map(|_| verdict);
                prop_assert_eq!(over.first().map(|span| span.verdict), expected, "{}", address);
                prop_assert!(over.len() <= 1);
                prop_assert!(expected.is_some() || verdict.decision == Decision::Allow);
            }
        }
    }
}
