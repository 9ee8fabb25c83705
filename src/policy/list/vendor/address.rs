//! The parts of a vendor file that are about addresses: ranges, ports, resolvers.

use super::Provenance;
use crate::base::model::{Confidence, Purpose, vocabulary};
use crate::base::name::Name;
use ipnet::IpNet;
use jiff::civil::Date;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Days after its evidence at which an address that may change hands falls to `observe`.
pub const EXPIRY_DAYS: i64 = 365;

/// A listed address range.
#[derive(Clone, Debug)]
pub struct Range {
    /// The range, host bits zero.
    pub net: IpNet,
    /// Number of the system that announces it, where the vendor or its host is known by one.
    pub asn: Option<u32>,
    /// What the destination is for.
    pub purpose: Purpose,
    /// How sure the fact is.
    pub confidence: Confidence,
    /// Date of the newest evidence.
    pub evidence: Date,
    /// Whether others are served from it too.
    pub shared: bool,
    /// Whose carrier or hosting space it is, `unknown` where only that much is known.
    pub carrier: Option<String>,
    /// Why a range wider than /12 (/32 for IPv6) is listed.
    pub wide: Option<String>,
    /// The resolver service at this address.
    pub resolver: Option<String>,
    /// Remark.
    pub note: Option<String>,
    /// Where it stands and what stands behind it.
    pub provenance: Provenance,
}

impl Range {
    /// Why this range is never blocked; `None` where it may be.
    #[must_use]
    pub fn observe_only(&self) -> Option<&'static str> {
        if self.shared { Some("others are served from this range too") } else { self.provenance.observe_only() }
    }

    /// The first day on which the evidence is too old to block by. `None` for the vendor's own announced space: a range
    /// with an AS number that is neither a single address nor a carrier's.
    #[must_use]
    pub fn expires(&self) -> Option<Date> {
        let single = self.net.prefix_len() == self.net.max_prefix_len();
        if self.asn.is_some() && self.carrier.is_none() && !single {
            return None;
        }
        let days = jiff::Span::new().try_days(EXPIRY_DAYS).ok()?;
        Some(self.evidence.saturating_add(days))
    }
}

vocabulary! {
    /// The transport of a port.
    pub enum Protocol {
        /// TCP alone.
        Tcp => "tcp",
        /// UDP alone.
        Udp => "udp",
        /// Both.
        Both => "tcp+udp",
    }
}

/// One port or several in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortSpan {
    /// The first.
    pub first: u16,
    /// The last, not below the first.
    pub last: u16,
}

/// Ports that the vendor's products use.
#[derive(Clone, Debug)]
pub struct Port {
    /// The ports, at least one span.
    pub ports: Vec<PortSpan>,
    /// Their transport.
    pub protocol: Protocol,
    /// What they are for.
    pub usage: String,
    /// Whether a host of the operator's side that is addressed here speaks for others.
    pub relay: bool,
    /// Whence and whereto, where it matters.
    pub direction: Option<String>,
    /// How sure the fact is.
    pub confidence: Confidence,
    /// Remark.
    pub note: Option<String>,
    /// Where it stands and what stands behind it.
    pub provenance: Provenance,
}

/// A resolver that the products ask when the vendor's names do not resolve through the system's.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// Place in the order, from 1.
    pub order: u16,
    /// The resolver.
    pub address: IpAddr,
    /// Who runs it.
    pub operator: String,
    /// How sure the fact is.
    pub confidence: Confidence,
    /// Where it stands and what stands behind it.
    pub provenance: Provenance,
}

vocabulary! {
    /// A transport of a resolver service.
    pub enum ServiceProtocol {
        /// Plain DNS on port 53.
        Do53 => "do53",
        /// DNS over HTTPS (RFC 8484).
        Doh => "doh",
        /// DNS over TLS (RFC 7858).
        Dot => "dot",
        /// DNS over QUIC (RFC 9250).
        Doq => "doq",
        /// `DNSCrypt`.
        Dnscrypt => "dnscrypt",
    }
}

/// A public resolver service.
#[derive(Clone, Debug)]
pub struct ResolverService {
    /// Its name.
    pub name: String,
    /// How far it reaches: `anycast`, `regional`, `small`, …
    pub group: Arc<str>,
    /// Which transports it offers.
    pub protocols: Vec<ServiceProtocol>,
    /// Its names.
    pub hosts: Vec<Name>,
    /// Its IPv4 addresses.
    pub ipv4: Vec<Ipv4Addr>,
    /// Its IPv6 addresses.
    pub ipv6: Vec<Ipv6Addr>,
    /// Its ports for `DNSCrypt`.
    pub dnscrypt_ports: Vec<u16>,
    /// Where it stands and what stands behind it.
    pub provenance: Provenance,
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn only_announced_space_of_the_vendor_does_not_expire() {
        let head =
            "version = 1\n[vendor]\nid = \"v\"\nname = \"V\"\n[[source]]\nid = \"s\"\ntitle = \"t\"\nwhere = \"-\"\n";
        for (range, expires) in [
            ("cidr = \"198.51.100.0/24\"\nasn = 64496", None),
            ("cidr = \"198.51.100.0/24\"", Some("2025-02-28")),
            ("cidr = \"198.51.100.0/24\"\nasn = 64496\ncarrier = \"unknown\"", Some("2025-02-28")),
            ("cidr = \"198.51.100.1/32\"\nasn = 64496", Some("2025-02-28")),
            ("cidr = \"2001:db8::1/128\"\nasn = 64496", Some("2025-02-28")),
        ] {
            let rest = "purpose = \"update\"\nsource = [\"s\"]\nconfidence = \"low\"\nevidence = \"2024-02-29\"\n";
            let file = read("f.toml", &format!("{head}[[range]]\n{range}\n{rest}")).unwrap();
            let date = file.ranges[0].expires().map(|date| date.to_string());
            assert_eq!(date.as_deref(), expires, "{range}");
        }
    }
}
