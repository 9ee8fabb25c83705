//! One attempt as an engine saw it, before it is folded into a sighting.

use super::{ClassId, RuleId};
use crate::base::model::{Channel, Decision, Outcome};
use crate::base::name::NameBuf;
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
