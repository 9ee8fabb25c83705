//! How the gateway enforces, as the operator wants it.

use super::marks::Mask;
use crate::base::model::vocabulary;
use ipnet::IpNet;
use std::collections::BTreeSet;

vocabulary! {
    /// How a packet to a blocked address is stopped.
    pub enum Handling {
        /// With a TCP reset or an ICMP error, so that the endpoint knows at once.
        Reject => "reject",
        /// Without a word.
        Drop => "drop",
    }
}

vocabulary! {
    /// What is done about addresses that were learned.
    pub enum Watching {
        /// Nothing.
        Off => "off",
        /// It passes and is recorded.
        Observe => "observe",
        /// It is refused and recorded.
        Refuse => "refuse",
    }
}

vocabulary! {
    /// What is done about encrypted DNS.
    pub enum Encrypted {
        /// Nothing.
        Off => "off",
        /// It passes and is recorded.
        Observe => "observe",
        /// It passes and is recorded, but for endpoints that tried what is blocked a while ago: theirs is refused, also at known resolvers.
        RefuseSighted => "refuse-sighted",
        /// On its own port it is refused and recorded.
        Refuse => "refuse",
    }
}

/// Whose traffic is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Private source addresses in forwarded traffic that did not come in over the interface of the default route.
    Private,
    /// These networks, wherever they come in.
    Networks(Vec<IpNet>),
}

/// The redirect of DNS to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The port of ours that it leads to.
    pub port: u16,
    /// Resolvers that clients may go on asking.
    pub internal: Vec<IpNet>,
    /// Clients that are resolvers themselves, and may ask whomever they want.
    pub servers: Vec<IpNet>,
}

/// Names that are said in the first packets of connections: server names of TLS and QUIC, hosts of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Ports of TCP.
    pub tcp: BTreeSet<u16>,
    /// Ports of UDP.
    pub udp: BTreeSet<u16>,
    /// The number of the first queue from the kernel to us.
    pub queue: u16,
    /// How many there are.
    pub queues: u16,
    /// The bits of connection marks, and for a moment of packet marks, that are ours.
    pub mask: Mask,
}

/// Everything about the gateway but the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySettings {
    /// Whose traffic.
    pub clients: Clients,
    /// Whether this machine's own traffic too.
    pub local: bool,
    /// How blocked packets are stopped.
    pub handling: Handling,
    /// Vendors and lists that it is the other way for.
    pub otherwise: BTreeSet<String>,
    /// Whether observed ranges are in the kernel too.
    pub observe: bool,
    /// The group that the kernel logs to.
    pub log_group: u16,
    /// The redirect of DNS, if it is wanted.
    pub redirect: Option<Redirect>,
    /// Encrypted DNS.
    pub dot: Encrypted,
    /// Addresses that listed names lead to.
    pub learned: Watching,
    /// Names in the first packets, if they are wanted.
    pub inspect: Option<Inspection>,
}

impl GatewaySettings {
    /// How packets to a vendor's or list's addresses are stopped.
    #[must_use]
    pub fn handling_of(&self, vendor: &str) -> Handling {
        match (self.handling, self.otherwise.contains(vendor)) {
            (Handling::Reject, false) | (Handling::Drop, true) => Handling::Reject,
            (Handling::Drop, false) | (Handling::Reject, true) => Handling::Drop,
        }
    }
}
