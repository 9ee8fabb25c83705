//! Every rule of a rule set in turn, as gate, exports and counts want them.

use super::apart::ApartRule;
use super::rules::{ClassId, ListId, RuleId, RuleSet};
use crate::base::name::{Match, Packed};
use ipnet::IpNet;
use std::cmp::Reverse;
use std::net::IpAddr;

/// A rule.
#[derive(Clone, Copy, Debug)]
pub struct RuleView<'a> {
    /// Its id in this rule set.
    pub id: RuleId,
    /// Its class.
    pub class: ClassId,
    /// Its line in its list, from 1.
    pub line: u32,
    /// What it says.
    pub what: What<'a>,
}

/// What a rule says.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// A plain rule on names.
    Name(Packed<'a>, Match),
    /// A plain rule on addresses.
    Range(IpNet),
    /// A rule with an exception, a condition or a pattern.
    Apart(&'a ApartRule),
}

impl RuleSet {
    /// Every range that holds an address, the longest first.
    pub(super) fn ranges_over(&self, address: IpAddr) -> Vec<RuleId> {
        let mut over: Vec<_> = (0_u32..).zip(&self.ranges).filter(|(_, rule)| rule.net.contains(&address)).collect();
        over.sort_by_key(|(at, rule)| (Reverse(rule.net.prefix_len()), *at));
        over.into_iter().map(|(at, _)| RuleId::of_range(at)).collect()
    }

    /// Every rule, names first, then ranges, then those that stand apart, each in the order of the lists. Rules that their
    /// own list takes back are left out.
    pub fn rules(&self) -> impl Iterator<Item = RuleView<'_>> {
        let names = self.names.iter().filter(|(at, _)| !self.apart.removes(*at)).map(|(at, rule)| {
            let what = What::Name(rule.name, rule.kind);
            RuleView { id: RuleId::of_name(at), class: rule.class, line: rule.line, what }
        });
        let ranges = (0_u32..).zip(&self.ranges).map(|(at, rule)| RuleView {
            id: RuleId::of_range(at),
            class: rule.class,
            line: rule.line,
            what: What::Range(rule.net),
        });
        let apart = (0_u32..).map_while(|at| {
            let (rule, place) = self.apart.get(at)?;
            Some(RuleView { id: RuleId::of_apart(at), class: place.class, line: place.line, what: What::Apart(rule) })
        });
        names.chain(ranges).chain(apart)
    }

    /// The rules of one list.
    pub fn rules_of(&self, list: ListId) -> impl Iterator<Item = RuleView<'_>> {
        self.rules().filter(move |rule| self.class(rule.class).is_some_and(|class| class.list == list))
    }
}
