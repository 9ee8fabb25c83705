//! A sighting: observed attempts of one kind, folded where they arise.

use super::{Channel, Decision, Origin, Outcome, Purpose, Wall};
use crate::base::name::Name;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The durable id of a policy: the first 16 octets of a hash over its rules and settings. Written as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(pub [u8; 16]);

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a rule means outside its epoch: enough to find it again in its list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleFacts {
    /// Vendor, or the list's id where a list names none.
    pub vendor: Arc<str>,
    /// What the destination is for.
    pub purpose: Purpose,
    /// List id.
    pub list: Arc<str>,
    /// Revision of the list: a content hash, or a commit.
    pub revision: Arc<str>,
    /// File and line, `kaspersky.toml:548`.
    pub place: Arc<str>,
    /// The rule's name, range or port as written.
    pub pattern: Arc<str>,
}

/// Where an attempt wanted to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// A name that was asked for or said.
    Name(Name),
    /// An address.
    Address(IpAddr),
    /// More destinations of this rule than are kept apart; the rule's pattern stands for them.
    Other,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => fmt::Display::fmt(name, f),
            Self::Address(address) => fmt::Display::fmt(address, f),
            Self::Other => f.write_str("(others)"),
        }
    }
}

/// Observed attempts of one kind by one client: the only thing that reaches the ledger.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The client's address as the sensor saw it.
    pub client: IpAddr,
    /// Who caused it.
    pub origin: Origin,
    /// How it was seen.
    pub channel: Channel,
    /// Where it wanted to go.
    pub destination: Destination,
    /// Destination port, where the channel has one.
    pub port: Option<u16>,
    /// The rule that decided.
    pub rule: Arc<RuleFacts>,
    /// What was decided.
    pub verdict: Decision,
    /// What became of it.
    pub outcome: Outcome,
    /// First attempt.
    pub first: Wall,
    /// Last attempt.
    pub last: Wall,
    /// Attempts, exact.
    pub count: u64,
    /// The policy that decided.
    pub policy: PolicyId,
    /// What was seen besides, where that says more than the destination: a request, what a hello is like.
    pub evidence: Option<Arc<str>>,
}
