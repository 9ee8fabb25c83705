//! One attempt as an engine saw it, before it is folded into a sighting.

use super::{ClassId, RuleId, Verdict};
use crate::base::model::{Channel, Decision, Outcome};
use crate::base::name::{NameBuf, NameRef};
use std::net::IpAddr;

/// One attempt: which rule of the deciding policy, how seen, what became of it.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The rule; means something under the policy that decided only.
    pub rule: RuleId,
    /// The rule's class.
    pub class: ClassId,
    /// What was decided.
    pub decision: Decision,
    /// What became of it.
    pub outcome: Outcome,
    /// How it was seen.
    pub channel: Channel,
    /// The name that was asked for or said; the root where there is none.
    pub name: NameBuf,
    /// The address it wanted to go to, where that is known.
    pub address: Option<IpAddr>,
    /// The port, where the channel has one.
    pub port: Option<u16>,
}

impl Hit {
    /// An attempt, where a rule had a say. `spared` makes an exception's of a block.
    #[must_use]
    pub fn of(
        verdict: &Verdict,
        spared: bool,
        channel: Channel,
        name: NameRef<'_>,
        address: Option<IpAddr>,
    ) -> Option<Self> {
        let (decision, outcome) = match verdict.decision {
            Decision::Block if spared => (Decision::Allow, Outcome::Excepted),
            Decision::Block => (Decision::Block, Outcome::Blocked),
            Decision::Observe => (Decision::Observe, Outcome::Observed),
            // Nothing is listed, or an exception spared what is.
            Decision::Allow => (Decision::Allow, Outcome::Excepted),
        };
        if decision == Decision::Allow && !spared && verdict.exception.is_none() {
            return None;
        }
        let (rule, class) = verdict.rule.zip(verdict.class)?;
        Some(Self { rule, class, decision, outcome, channel, name: name.into(), address, port: None })
    }
}
