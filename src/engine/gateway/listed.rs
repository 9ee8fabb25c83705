//! From the policy to address ranges, each of one vendor, purpose and decision.

use super::table::{Family, Range};
use crate::base::model::{Decision, Purpose};
use crate::policy::{Policy, RuleId, Span};
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Ranges of one kernel set; the kernel holds some hundred octets for each.
const RANGES_MAX: usize = 1_000_000;
/// Vendors × purposes × decisions; each has a chain and two tables of sources in the kernel.
const KINDS_MAX: usize = 1_024;
/// NAT64's well-known prefix (RFC 6052 §2.1): IPv4 destinations of clients that have IPv6 only.
const NAT64: u128 = 0x0064_ff9b << 96;

/// What ranges have in common: who is listed, what for, and what is decided.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Block or observe.
    pub decision: Decision,
    /// The vendor, or the list that names none.
    pub vendor: Arc<str>,
    /// What the destinations are for.
    pub purpose: Purpose,
}

impl fmt::Display for Kind {
    /// As counters and chains are named: `block/kaspersky/update`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let vendor: String = self.vendor.chars().map(plain).collect();
        write!(f, "{}/{vendor}/{}", self.decision, self.purpose)
    }
}

/// What the kernel is to know of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The kinds that occur, in order.
    pub kinds: Vec<Arc<Kind>>,
    /// Disjoint ranges in order, IPv4 first, each with its kind.
    pub ranges: Vec<(Range, Arc<Kind>)>,
}

/// A bound was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the policy has more than {RANGES_MAX} address ranges or {KINDS_MAX} vendors and purposes with such; leave address lists out, \
     or let [gateway] observe be false"
)]
pub struct TooManyRanges;

impl Listed {
    /// What a policy blocks, and where `observe` is wanted also what it observes. What is excepted for everybody is in neither.
    ///
    /// # Errors
    /// [`TooManyRanges`].
    pub fn of(policy: &Policy, observe: bool) -> Result<Self, TooManyRanges> {
        let mut kinds: BTreeSet<Arc<Kind>> = BTreeSet::new();
        let mut ranges: Vec<(Range, Arc<Kind>)> = Vec::new();
        for span in policy.spans() {
            let wanted = match span.verdict.decision {
                Decision::Block => true,
                Decision::Observe => observe,
                Decision::Allow => false,
            };
            // What is said of an IPv4 address holds for its NAT64 form, whatever is listed there.
            if !wanted || is_nat64(span.first) {
                continue;
            }
            let Some(kind) = span.verdict.rule.and_then(|rule| kind(policy, rule, &span)) else { continue };
            let kind = match kinds.get(&kind) {
                Some(known) => Arc::clone(known),
                None => {
                    let kind = Arc::new(kind);
                    kinds.insert(Arc::clone(&kind));
                    kind
                }
            };
            match ranges.last_mut() {
                Some((before, of)) if *of == kind && before.next() == Some(span.first) => before.last = span.last,
                _ => ranges.push((Range { first: span.first, last: span.last }, kind)),
            }
        }
        let mapped: Vec<_> =
            ranges.iter().filter_map(|(range, kind)| Some((nat64_range(*range)?, Arc::clone(kind)))).collect();
        ranges.extend(mapped);
        ranges.sort_by_key(|(range, _)| *range);
        if ranges.len() > RANGES_MAX || kinds.len() > KINDS_MAX {
            return Err(TooManyRanges);
        }
        Ok(Self { kinds: kinds.into_iter().collect(), ranges })
    }

    /// The ranges of a family.
    pub fn of_family(&self, family: Family) -> impl Iterator<Item = &(Range, Arc<Kind>)> {
        self.ranges.iter().filter(move |(range, _)| Family::of(range.first) == family)
    }

    /// How many ranges are decided so.
    #[must_use]
    pub fn count(&self, decision: Decision) -> usize {
        self.ranges.iter().filter(|(_, kind)| kind.decision == decision).count()
    }
}

fn kind(policy: &Policy, rule: RuleId, span: &Span) -> Option<Kind> {
    let class = policy.rules().class(policy.rules().class_of(rule)?)?;
    let vendor = match &class.vendor {
        Some(vendor) => Arc::clone(vendor),
        None => Arc::clone(&policy.rules().list(class.list)?.id),
    };
    Some(Kind { decision: span.verdict.decision, vendor, purpose: class.purpose })
}

fn is_nat64(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if u128::from(v6) >> 32 == NAT64 >> 32)
}

fn nat64_range(range: Range) -> Option<Range> {
    Some(Range { first: nat64(range.first)?, last: nat64(range.last)? })
}

/// The NAT64 form of an IPv4 address.
#[must_use]
pub fn nat64(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V4(v4) = address else { return None };
    Some(Ipv6Addr::from(NAT64 | u128::from(u32::from(v4))).into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::model::{Stage, Wall};
    use crate::policy::list::Format;
    use crate::policy::{Exception, List, RuleSetBuilder, Settings};

    /// A policy of lists of ranges: id, stage, prefixes.
    pub(in crate::engine::gateway) fn policy(lists: &[(&str, Stage, &str)], exceptions: Vec<Exception>) -> Policy {
        let lists: Vec<_> = lists.iter().map(|(id, stage, nets)| (*id, *stage, Format::Ranges, *nets)).collect();
        policy_of(&lists, exceptions)
    }

    /// A policy of lists: id, stage, format, what is listed.
    pub(in crate::engine::gateway) fn policy_of(
        lists: &[(&str, Stage, Format, &str)],
        exceptions: Vec<Exception>,
    ) -> Policy {
        let mut builder = RuleSetBuilder::new();
        for (id, stage, format, nets) in lists {
            let (id, stage) = (Arc::from(*id), Some(*stage));
            let list = List { file: Arc::clone(&id), id, revision: "1".into(), stage, expires: None };
            let text = nets.replace(' ', "\n") + "\n";
            builder.add_blocklist(list, *format, &mut text.as_bytes()).unwrap();
        }
        let settings = Settings { exceptions, ..Settings::default() };
        Policy::new(1, Arc::new(builder.finish()), Arc::new(settings), Wall::UNIX_EPOCH)
    }

    fn said(listed: &Listed) -> Vec<String> {
        listed.ranges.iter().map(|(range, kind)| format!("{range} {kind}")).collect()
    }

    #[test]
    fn ranges_of_one_kind_that_touch_are_one_and_nat64_has_them_too() {
        let policy = policy(
            &[("b", Stage::Block, "192.0.2.0/25 192.0.2.128/25 192.0.3.0/24"), ("o", Stage::Observe, "2001:db8::/32")],
            Vec::new(),
        );
        let both = Listed::of(&policy, true).unwrap();
        assert_eq!(
            said(&both),
            [
                "192.0.2.0-192.0.3.255 block/b/unknown",
                "64:ff9b::c000:200-64:ff9b::c000:3ff block/b/unknown",
                "2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff observe/o/unknown",
            ]
        );
        assert_eq!((both.count(Decision::Block), both.count(Decision::Observe)), (2, 1));
        let blocked = Listed::of(&policy, false).unwrap();
        assert_eq!(blocked.ranges.len(), 2);
        assert_eq!(blocked.kinds.len(), 1);
    }

    #[test]
    fn a_nat64_form_that_is_listed_by_itself_is_not_taken_twice() {
        let policy = policy(&[("b", Stage::Block, "192.0.2.1 64:ff9b::c000:201")], Vec::new());
        assert_eq!(
            said(&Listed::of(&policy, true).unwrap()),
            ["192.0.2.1 block/b/unknown", "64:ff9b::c000:201 block/b/unknown"]
        );
    }
}
