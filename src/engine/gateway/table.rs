//! What an nftables table has, as far as it is needed here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A table of the family `inet`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Counters by name; they outlive chains and sets.
    pub counters: BTreeSet<Arc<str>>,
    /// Sets by name.
    pub sets: BTreeMap<Arc<str>, Set>,
    /// Chains, each after those that it leads to.
    pub chains: Vec<Chain>,
}

/// A set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// What its elements are.
    pub key: Key,
    /// What it is for.
    pub kind: SetKind,
    /// What is in it, where it is ours to say.
    pub elements: Elements,
}

/// The elements of a set, with the chain that each leads to in a map.
pub type Elements = BTreeMap<Element, Option<Arc<str>>>;

/// What a set's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Addresses.
    Address(Family),
    /// Names of interfaces.
    Interface,
    /// Ports.
    Port,
}

/// What a set is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// Looked up as they are.
    Plain,
    /// Ranges.
    Ranges,
    /// Ranges, each of which leads to a chain.
    Chains,
    /// Elements end unless they are renewed.
    Timed,
    /// The kernel adds whoever is logged, with how often; entries end after this many seconds.
    Logged {
        /// Seconds.
        timeout_s: u32,
        /// The most entries.
        size: u32,
    },
}

/// One element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// Addresses in a row.
    Range(Range),
    /// The name of an interface.
    Interface(String),
    /// A port.
    Port(u16),
    /// One address, in a set that has no ranges.
    Address(IpAddr),
}

/// Addresses in a row, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The digit that names end with.
    #[must_use]
    pub const fn digit(self) -> char {
        match self {
            Self::V4 => '4',
            Self::V6 => '6',
        }
    }

    /// The last address.
    #[must_use]
    pub const fn greatest(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::BROADCAST),
            Self::V6 => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
        }
    }

    /// The address of all zeroes.
    #[must_use]
    pub const fn least(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: Arc<str>,
    /// Where the kernel enters it; `None` for one that others lead to.
    pub hook: Option<(Hook, Priority)>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// Where the kernel enters a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// New connections, before routing: may change where they go.
    Redirect,
    /// What passes through.
    Forward,
    /// What this machine sends.
    Output,
}

/// The lower, the earlier.
pub type Priority = i32;

/// A rule: all parts must hold, and the last says what follows.
pub type Rule = Vec<Part>;

/// A part of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// It came in over an interface of this set.
    CameOver(Arc<str>),
    /// It came in over none of this set.
    NotOver(Arc<str>),
    /// Its source is in this set.
    From(Family, Arc<str>),
    /// Its source is not in this set.
    NotFrom(Family, Arc<str>),
    /// Its source is in this range.
    FromNet(ipnet::IpNet),
    /// Its destination is in this set.
    To(Family, Arc<str>),
    /// The block of its destination, of as many bits as a family's blocks have, is in this set.
    ToBlock(Family, Arc<str>),
    /// Its destination is in this range.
    ToNet(ipnet::IpNet),
    /// It belongs to a connection that has begun.
    Established,
    /// It is of this protocol.
    Is(Protocol),
    /// Its destination port is in this set.
    ToPortOf(Arc<str>),
    /// Its destination port is this.
    ToPort(u16),
    /// The bits of its connection's mark are these: mask, value.
    ConnMark(u32, u32),
    /// The bits of its own mark are these: mask, value.
    Mark(u32, u32),
    /// It is TCP with a header of so many words and without data.
    Bare(Family, u8),
    /// It is a reset of TCP.
    IsReset,
    /// The bits of its connection's mark become these: mask, value.
    SetConnMark(u32, u32),
    /// These bits of its own mark become 0.
    ClearMark(u32),
    /// It is counted.
    Count(Arc<str>),
    /// The source's share in this set of who is logged is not used up.
    Share(Family, Arc<str>),
    /// It is logged with this word.
    Log(&'static str, u16),
    /// What follows.
    Then(Then),
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// The chain that this map has for the destination, for good.
    ChainOf(Family, Arc<str>),
    /// A chain, and then the next rule.
    Jump(Arc<str>),
    /// Back to where the chain was entered; from the first chain, it passes.
    Return,
    /// It is dropped.
    Drop,
    /// It is answered with a reset.
    Reset,
    /// It is answered with an ICMP error.
    Prohibited,
    /// It goes to this port of ours.
    Redirect(u16),
    /// It waits for us in one of so many queues from this number on; where nobody reads them, it passes.
    Queue(u16, u16),
}

/// A protocol over IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Range {
    /// The range of a prefix.
    #[must_use]
    pub fn of(net: ipnet::IpNet) -> Self {
        Self { first: net.network(), last: net.broadcast() }
    }

    /// The first address after it; `None` at the end of the line.
    #[must_use]
    pub fn next(&self) -> Option<IpAddr> {
        match self.last {
            IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|next| IpAddr::V4(next.into())),
            IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|next| IpAddr::V6(next.into())),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

impl Table {
    /// Adds a set.
    pub fn set(&mut self, name: &str, key: Key, kind: SetKind, elements: Elements) -> Arc<str> {
        let name: Arc<str> = name.into();
        self.sets.insert(Arc::clone(&name), Set { key, kind, elements });
        name
    }
}

impl SetKind {
    /// Whether its elements are ours to say; in the others time and the kernel have theirs.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Plain | Self::Ranges | Self::Chains)
    }
}
