//! The decision: a pure look-up in an immutable policy. Time never enters it, and it allocates nothing.

use super::apart::{Best, Own, Tier};
use super::index::{Found, Listed};
use super::rules::RuleId;
use super::stage::Staged;
use super::{ClassId, ExceptionId, Policy};
use crate::base::model::{BlockAnswer, Decision, Purpose, Stage, meant};
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
    /// The class of that rule.
    pub class: Option<ClassId>,
    /// The exception that spared it.
    pub exception: Option<ExceptionId>,
}

impl Verdict {
    /// Nothing is listed.
    pub const UNLISTED: Self =
        Self { decision: Decision::Allow, answer: BlockAnswer::Null, rule: None, class: None, exception: None };
}

/// A rule with what its class is staged as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'p> {
    pub(super) rule: RuleId,
    pub(super) class: ClassId,
    pub(super) staged: &'p Staged,
}

impl Policy {
    /// Judges a subject.
    ///
    /// Exceptions win. Each list with exceptions or conditions of its own comes to its own verdict. Then the most specific
    /// rule on the name; between equals a block over an observation, then list order. An address is asked for when no rule
    /// mentions the name, and when it is listed for itself rather than as part of a vendor's network: then the stricter of
    /// both decides.
    #[must_use]
    #[inline]
    pub fn decide(&self, subject: &Subject<'_>) -> Verdict {
        match (&subject.address, subject.name) {
            (Some(address), None) if self.is_plain => self.decide_address(address),
            (None, Some(name)) if self.is_plain => self.decide_name(name),
            _ => self.decide_any(subject),
        }
    }

    /// An address alone, where nothing but prefixes has a say: every packet of a gateway and every address of an answer.
    #[inline]
    fn decide_address(&self, address: &IpAddr) -> Verdict {
        let found = self.rules.addresses.find(address);
        if found.is_empty() { Verdict::UNLISTED } else { verdict_on(self.strictest(found, |_| true), None) }
    }

    /// A name alone, where nothing but the suffix index has a say: every query of most resolvers.
    #[inline(never)]
    fn decide_name(&self, name: NameRef<'_>) -> Verdict {
        match self.closest(name, |_| false) {
            Some((candidate, _)) => verdict_on(Some(candidate), None),
            None => Verdict::UNLISTED,
        }
    }

    #[inline(never)]
    fn decide_any(&self, subject: &Subject<'_>) -> Verdict {
        if self.rules.apart.is_empty() { self.verdict(subject, None) } else { self.decide_apart(subject) }
    }

    /// The same where some list has rules apart. Their verdicts take much room on the stack.
    #[inline(never)]
    fn decide_apart(&self, subject: &Subject<'_>) -> Verdict {
        let (address, client) = (subject.address.map(meant), subject.client.map(|client| client.to_canonical()));
        let own = self.rules.apart.judge(&Subject { address, client, ..*subject });
        self.verdict(subject, Some(&own))
    }

    #[inline(always)]
    fn verdict(&self, subject: &Subject<'_>, own: Option<&Own>) -> Verdict {
        let by_name = subject.name.and_then(|name| self.best_name_rule(name, own));
        let by_address = subject.address.as_ref().and_then(|address| self.best_range_rule(address, own));
        let chosen = match (by_name, by_address) {
            (Some(name), Some(range)) if self.is_network(range.class) || name.staged.stage >= range.staged.stage => {
                Some(name)
            }
            (name, range) => range.or(name),
        };
        verdict_on(chosen, self.exceptions.spares(subject))
    }

    /// The rule that decides about a name, whatever its stage. A function of its own, so that addresses without a name do not
    /// pay for its registers.
    #[inline(never)]
    fn best_name_rule(&self, name: NameRef<'_>, own: Option<&Own>) -> Option<Candidate<'_>> {
        let plain = self.closest(name, |found| own.is_some_and(|own| self.is_silent(own, found)));
        let Some(own) = own else { return plain.map(|(candidate, _)| candidate) };
        let rank = |(candidate, closeness): &(Candidate<'_>, (u8, u8))| {
            (*closeness, candidate.staged.stage, Reverse(self.rules.class(candidate.class).map(|class| class.list)))
        };
        let apart = own
            .against()
            .filter(|found| found.tier != Tier::Address)
            .filter_map(|found| Some((self.candidate_apart(found)?, found.closeness)));
        apart
            .fold(plain, |best, other| match best {
                Some(best) if rank(&best) >= rank(&other) => Some(best),
                _ => Some(other),
            })
            .map(|(candidate, _)| candidate)
    }

    /// The closest of the plain rules that may speak, and how close it is.
    #[inline(always)]
    fn closest(&self, name: NameRef<'_>, is_silent: impl Fn(&Found) -> bool) -> Option<(Candidate<'_>, (u8, u8))> {
        let mut best: Option<(Candidate<'_>, (u8, u8), u32)> = None;
        self.rules.names.find(name, |found| {
            if is_silent(&found) {
                return;
            }
            let Some(staged) = self.staged(found.class) else { return };
            // A number is the place in list order.
            let closer = best.as_ref().is_none_or(|(held, closeness, at)| {
                (found.closeness, staged.stage, Reverse(found.at)) > (*closeness, held.staged.stage, Reverse(*at))
            });
            if closer {
                let candidate = Candidate { rule: RuleId::of_name(found.at), class: found.class, staged };
                best = Some((candidate, found.closeness, found.at));
            }
        });
        best.map(|(candidate, closeness, _)| (candidate, closeness))
    }

    /// Whether a plain rule's own list has taken it back, or has something else to say.
    fn is_silent(&self, own: &Own, found: &Found) -> bool {
        let apart = &self.rules.apart;
        apart.removes(found.at) || apart.silences(own, found.class, Tier::Plain, found.closeness)
    }

    fn candidate_apart(&self, found: &Best) -> Option<Candidate<'_>> {
        let Best { at, class, .. } = *found;
        Some(Candidate { rule: RuleId::of_apart(at), class, staged: self.staged(class)? })
    }

    /// The rule that decides about an address, whatever its stage.
    #[inline]
    fn best_range_rule(&self, address: &IpAddr, own: Option<&Own>) -> Option<Candidate<'_>> {
        let Some(own) = own else { return self.strictest(self.rules.addresses.find(address), |_| true) };
        let mut best = None;
        // Where a list is silent about the longest prefix, a shorter one may be another list's.
        self.rules.addresses.walk(address, |rules| {
            best = self.strictest(rules, |listed| {
                let length = self.rules.ranges.get(listed.rule as usize).map_or(0, |rule| rule.net.prefix_len());
                !self.rules.apart.silences(own, listed.class, Tier::Address, (0, length))
            });
            best.is_none()
        });
        let apart = own.against().filter(|found| found.tier == Tier::Address);
        apart.filter_map(|found| self.candidate_apart(found)).fold(best, |best, other| match best {
            Some(best) if best.staged.stage >= other.staged.stage => Some(best),
            _ => Some(other),
        })
    }

    /// Of the rules that may speak, the strictest, then the first.
    fn strictest(&self, rules: &[Listed], may_speak: impl Fn(&Listed) -> bool) -> Option<Candidate<'_>> {
        let mut best: Option<Candidate<'_>> = None;
        for listed in rules.iter().filter(|listed| may_speak(listed)) {
            let Some(staged) = self.staged(listed.class) else { continue };
            if best.is_none_or(|held| staged.stage > held.staged.stage) {
                best = Some(Candidate { rule: RuleId::of_range(listed.rule), class: listed.class, staged });
            }
        }
        best
    }

    /// Whether a class is a vendor's own address space, or hosts carved out of it: a listed name decides over both.
    fn is_network(&self, class: ClassId) -> bool {
        self.rules.class(class).is_some_and(|class| class.vendor.is_some() && is_network_part(class.purpose))
    }
}

/// What comes of the rule that was chosen.
#[inline(always)]
fn verdict_on(chosen: Option<Candidate<'_>>, exception: Option<ExceptionId>) -> Verdict {
    let Some(chosen) = chosen else { return Verdict { exception, ..Verdict::UNLISTED } };
    let decision = match (exception, chosen.staged.stage) {
        (Some(_), _) | (None, Stage::Off) => Decision::Allow,
        (None, Stage::Observe) => Decision::Observe,
        (None, Stage::Block) => Decision::Block,
    };
    let (rule, class) = (chosen.staged.stage != Stage::Off).then_some((chosen.rule, chosen.class)).unzip();
    Verdict { decision, answer: chosen.staged.answer, rule, class, exception }
}

/// Vendor space, and the purposes under which hosts are carved out of it.
const fn is_network_part(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::VendorNetwork | Purpose::Mail | Purpose::Web)
}
