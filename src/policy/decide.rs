//! The decision: a pure look-up in an immutable policy. Time never enters it, and it allocates nothing.

use super::apart::{Best, Own, Tier};
use super::rules::RuleId;
use super::stage::Staged;
use super::{ClassId, ExceptionId, ListId, Policy};
use crate::base::model::{BlockAnswer, Decision, Purpose, Stage};
use crate::base::name::NameRef;
use std::cmp::Reverse;
use std::net::IpAddr;

/// What is judged: a name, an address, or an address that a name led to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// The name asked for or said.
    pub name: Option<NameRef<'a>>,
    /// The address wanted.
    pub address: Option<IpAddr>,
    /// The port wanted.
    pub port: Option<u16>,
    /// The query type, for DNS.
    pub qtype: Option<u16>,
    /// Who wants it.
    pub client: Option<IpAddr>,
}

/// What is decided, and by which rule or exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Allow, observe or block.
    pub decision: Decision,
    /// How a block is answered.
    pub answer: BlockAnswer,
    /// The rule that decided; with an exception, the rule that it overrode.
    pub rule: Option<RuleId>,
    /// The exception that spared it.
    pub exception: Option<ExceptionId>,
}

impl Verdict {
    /// Nothing is listed.
    pub const UNLISTED: Self =
        Self { decision: Decision::Allow, answer: BlockAnswer::Null, rule: None, exception: None };
}

/// A rule with what its class is staged as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'p> {
    pub(super) rule: RuleId,
    pub(super) class: ClassId,
    pub(super) staged: &'p Staged,
}

/// A candidate with its place among others: closeness, stage, list order, and within a list what is said over a plain block.
struct Ranked<'p> {
    candidate: Candidate<'p>,
    rank: ((u8, u8), Stage, Reverse<ListId>, bool),
}

impl Policy {
    /// Judges a subject.
    ///
    /// Exceptions win. Each list with exceptions or conditions of its own comes to its own verdict. Then the most specific
    /// rule on the name; between equals a block over an observation, then list order. An address is asked for when no rule
    /// mentions the name, and when it is listed for itself rather than as part of a vendor's network: then the stricter of
    /// both decides.
    #[must_use]
    pub fn decide(&self, subject: &Subject<'_>) -> Verdict {
        let apart = &self.rules.apart;
        let own = if apart.is_empty() { None } else { Some(apart.judge(subject)) };
        let by_name = subject.name.and_then(|name| self.best_name_rule(name, own.as_ref()));
        let by_address = subject.address.and_then(|address| self.best_range_rule(address, own.as_ref()));
        let chosen = match (by_name, by_address) {
            (Some(name), Some(range)) if self.is_network(range.class) || name.staged.stage >= range.staged.stage => {
                Some(name)
            }
            (name, range) => range.or(name),
        };
        let exception = self.exceptions.find(subject.name, subject.address, subject.client);
        let Some(chosen) = chosen else { return Verdict { exception, ..Verdict::UNLISTED } };
        let decision = match (exception, chosen.staged.stage) {
            (Some(_), _) | (None, Stage::Off) => Decision::Allow,
            (None, Stage::Observe) => Decision::Observe,
            (None, Stage::Block) => Decision::Block,
        };
        let rule = (chosen.staged.stage != Stage::Off).then_some(chosen.rule);
        Verdict { decision, answer: chosen.staged.answer, rule, exception }
    }

    /// The rule that decides about a name, whatever its stage.
    pub(super) fn best_name_rule(&self, name: NameRef<'_>, own: Option<&Own>) -> Option<Candidate<'_>> {
        let mut best: Option<Ranked<'_>> = None;
        for found in own.into_iter().flat_map(Own::against).filter(|found| found.tier != Tier::Address) {
            self.offer(&mut best, RuleId::of_apart(found.at), found.class, found.closeness);
        }
        self.rules.names.find(name, |found| {
            let apart = &self.rules.apart;
            let is_silent = |own| apart.silences(own, found.class, Tier::Plain, found.closeness);
            if apart.removes(found.at) || own.is_some_and(is_silent) {
                return false;
            }
            self.offer(&mut best, RuleId::of_name(found.at), found.class, found.closeness);
            true
        });
        best.map(|best| best.candidate)
    }

    /// Takes a rule that is closer than the best so far, or as close and stricter, or the same of an earlier list.
    fn offer<'p>(&'p self, best: &mut Option<Ranked<'p>>, rule: RuleId, class: ClassId, closeness: (u8, u8)) {
        let Some(staged) = self.staged(class) else { return };
        let (list, answers) = self.rules.class(class).map_or((ListId::LAST, false), |c| (c.list, c.data.is_some()));
        let rank = (closeness, staged.stage, Reverse(list), answers);
        if best.as_ref().is_none_or(|held| rank > held.rank) {
            *best = Some(Ranked { candidate: Candidate { rule, class, staged }, rank });
        }
    }

    /// The rule that decides about an address, whatever its stage: of the longest prefix of which some rule may speak.
    pub(super) fn best_range_rule(&self, address: IpAddr, own: Option<&Own>) -> Option<Candidate<'_>> {
        let mut best: Option<Candidate<'_>> = None;
        let apart = &self.rules.apart;
        self.rules.addresses.walk(address, |rules| {
            for &at in rules {
                let Some(rule) = self.rules.ranges.get(at as usize) else { continue };
                let closeness = (0, rule.net.prefix_len());
                if own.is_some_and(|own| apart.silences(own, rule.class, Tier::Address, closeness)) {
                    continue;
                }
                let Some(staged) = self.staged(rule.class) else { continue };
                if best.is_none_or(|held| staged.stage > held.staged.stage) {
                    best = Some(Candidate { rule: RuleId::of_range(at), class: rule.class, staged });
                }
            }
            best.is_none()
        });
        let own_blocks = own.into_iter().flat_map(Own::against).filter(|found| found.tier == Tier::Address);
        own_blocks.fold(best, |best, Best { at, class, .. }| {
            let Some(staged) = self.staged(*class) else { return best };
            let candidate = Candidate { rule: RuleId::of_apart(*at), class: *class, staged };
            if best.is_none_or(|held| staged.stage > held.staged.stage) { Some(candidate) } else { best }
        })
    }

    /// Whether a class is a vendor's own address space, or hosts carved out of it: a listed name decides over both.
    fn is_network(&self, class: ClassId) -> bool {
        self.rules.class(class).is_some_and(|class| class.vendor.is_some() && is_network_part(class.purpose))
    }
}

/// Vendor space, and the purposes under which hosts are carved out of it.
const fn is_network_part(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::VendorNetwork | Purpose::Mail | Purpose::Web)
}
