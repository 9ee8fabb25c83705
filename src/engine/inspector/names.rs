//! Names as they are told: by which protocol, from whom to whom.

use crate::base::model::{Channel, vocabulary};
use crate::base::name::NameRef;
use std::net::IpAddr;

vocabulary! {
    /// The protocol that said a name.
    pub enum NameKind {
        /// The server name of a TLS ClientHello.
        TlsSni => "tls-sni",
        /// The server name of a QUIC handshake.
        QuicSni => "quic-sni",
        /// The host of an HTTP request.
        HttpHost => "http-host",
        /// The question of a DNS query.
        DnsQuery => "dns-query",
        /// The question of a DNS response.
        DnsResponse => "dns-response",
        /// The question of a multicast DNS query.
        MdnsQuery => "mdns-query",
        /// The question of a link-local multicast name resolution query.
        LlmnrQuery => "llmnr-query",
        /// The question of a NetBIOS name query.
        NbnsQuery => "nbns-query",
        /// The host of a service discovery request.
        SsdpHost => "ssdp-host",
        /// The authority of an HTTP/2 request without TLS.
        H2cAuthority => "h2c-authority",
        /// The server name of a DTLS ClientHello.
        DtlsSni => "dtls-sni",
    }
}

impl NameKind {
    /// The channel of an attempt that is known by such a name; `None` where a name of this kind is no attempt of its own.
    #[must_use]
    pub const fn channel(self) -> Option<Channel> {
        match self {
            Self::TlsSni | Self::DtlsSni => Some(Channel::TlsSni),
            Self::QuicSni => Some(Channel::QuicSni),
            Self::HttpHost | Self::H2cAuthority => Some(Channel::HttpHost),
            Self::DnsQuery => Some(Channel::Dns),
            Self::DnsResponse | Self::MdnsQuery | Self::LlmnrQuery | Self::NbnsQuery | Self::SsdpHost => None,
        }
    }
}

/// Who speaks to whom: the addresses of the innermost packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ends {
    /// Who sent it.
    pub src: IpAddr,
    /// From which port.
    pub sport: u16,
    /// To whom.
    pub dst: IpAddr,
    /// To which port.
    pub dport: u16,
}

impl Ends {
    /// The other way round.
    #[must_use]
    pub const fn turned(self) -> Self {
        Self { src: self.dst, sport: self.dport, dst: self.src, dport: self.sport }
    }
}

/// A name that somebody said.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The number of the frame that made it whole, from 1.
    pub frame: u64,
    /// When that was, in nanoseconds since 1970.
    pub time_ns: u64,
    /// From whom to whom.
    pub ends: Ends,
    /// How.
    pub kind: NameKind,
    /// Its octets as written, without port and trailing dot.
    pub octets: &'a [u8],
    /// The same in wire form, where it can be a name.
    pub name: Option<NameRef<'a>>,
}
