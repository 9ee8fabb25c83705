//! The numbers of DNS that decide something here (IANA "Domain Name System (DNS) Parameters").

use std::fmt;

/// Record types.
pub mod rtype {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// A name server.
    pub const NS: u16 = 2;
    /// The canonical name behind an alias.
    pub const CNAME: u16 = 5;
    /// The start of a zone of authority.
    pub const SOA: u16 = 6;
    /// A name for an address.
    pub const PTR: u16 = 12;
    /// What a host is; says here that not everything is told (RFC 8482).
    pub const HINFO: u16 = 13;
    /// A mail exchange.
    pub const MX: u16 = 15;
    /// Text.
    pub const TXT: u16 = 16;
    /// An IPv6 address (RFC 3596).
    pub const AAAA: u16 = 28;
    /// A service's host and port (RFC 2782).
    pub const SRV: u16 = 33;
    /// An alias for everything below a name (RFC 6672).
    pub const DNAME: u16 = 39;
    /// The EDNS pseudo-record (RFC 6891).
    pub const OPT: u16 = 41;
    /// A signature over a record set (RFC 4034).
    pub const RRSIG: u16 = 46;
    /// Proof of absence (RFC 4034).
    pub const NSEC: u16 = 47;
    /// Hashed proof of absence (RFC 5155).
    pub const NSEC3: u16 = 50;
    /// A service binding (RFC 9460).
    pub const SVCB: u16 = 64;
    /// A service binding for HTTPS (RFC 9460).
    pub const HTTPS: u16 = 65;
    /// Marks a name that does not exist in a signed denial; never asked for (RFC 9824).
    pub const NXNAME: u16 = 128;
    /// Key agreement (RFC 2930).
    pub const TKEY: u16 = 249;
    /// A message signature (RFC 8945).
    pub const TSIG: u16 = 250;
    /// An incremental zone transfer (RFC 1995).
    pub const IXFR: u16 = 251;
    /// A zone transfer (RFC 5936).
    pub const AXFR: u16 = 252;
    /// Mailbox records; obsolete.
    pub const MAILB: u16 = 253;
    /// Mail agents; obsolete.
    pub const MAILA: u16 = 254;
    /// Any type (RFC 8482).
    pub const ANY: u16 = 255;
}

/// Classes.
pub mod class {
    /// The Internet.
    pub const IN: u16 = 1;
    /// Any class.
    pub const ANY: u16 = 255;
}

/// EDNS options.
pub mod option {
    /// Who asked a forwarder, as an address prefix (RFC 7871).
    pub const CLIENT_SUBNET: u16 = 8;
    /// A cookie (RFC 7873).
    pub const COOKIE: u16 = 10;
    /// How long a stream may idle (RFC 7828).
    pub const KEEPALIVE: u16 = 11;
    /// Who asked a forwarder, as a hardware address: dnsmasq's `add-mac`, of the range for local use.
    pub const MAC: u16 = 65_001;
}

/// Info codes of extended DNS errors (RFC 8914).
pub mod ede {
    /// Option code of an extended DNS error.
    pub const OPTION: u16 = 15;
    /// An answer that has expired.
    pub const STALE_ANSWER: u16 = 3;
    /// A failure that was kept.
    pub const CACHED_ERROR: u16 = 13;
    /// An answer that has expired, that the name does not exist.
    pub const STALE_NXDOMAIN: u16 = 19;
    /// The operator's own policy withholds the answer.
    pub const BLOCKED: u16 = 15;
    /// No reachable authority: every upstream was tried without a usable answer.
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    /// A network error on the way to the upstream.
    pub const NETWORK_ERROR: u16 = 23;
    /// Octets that [`write`] needs at most.
    pub const OPTION_OCTETS_MAX: usize = 96;

    /// Writes a whole option, cutting its text to the room that there is, and gives its octets.
    #[must_use]
    pub fn write<'o>(code: u16, text: &str, out: &'o mut [u8; OPTION_OCTETS_MAX]) -> &'o [u8] {
        let text = text.as_bytes();
        let text = text.get(..OPTION_OCTETS_MAX - 6).unwrap_or(text);
        let len = u16::try_from(text.len() + 2).unwrap_or_default();
        let parts = [&OPTION.to_be_bytes()[..], &len.to_be_bytes(), &code.to_be_bytes(), text];
        let mut rest = &mut out[..];
        for part in parts {
            let Some((into, after)) = rest.split_at_mut_checked(part.len()) else { break };
            into.copy_from_slice(part);
            rest = after;
        }
        out.get(..6 + text.len()).unwrap_or_default()
    }
}

/// A response code: the four bits of the header with the eight of OPT above them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rcode(pub u16);

impl Rcode {
    /// No error.
    pub const NOERROR: Self = Self(0);
    /// The query has a format error.
    pub const FORMERR: Self = Self(1);
    /// The server failed.
    pub const SERVFAIL: Self = Self(2);
    /// The name does not exist.
    pub const NXDOMAIN: Self = Self(3);
    /// This kind of query is not implemented.
    pub const NOTIMP: Self = Self(4);
    /// The server does not want to.
    pub const REFUSED: Self = Self(5);
    /// A DNAME makes too long a name (RFC 6672 §2.2).
    pub const YXDOMAIN: Self = Self(6);
    /// This EDNS version is not known (RFC 6891 §9).
    pub const BADVERS: Self = Self(16);

    /// The four bits that stand in the header.
    #[must_use]
    pub const fn low(self) -> u16 {
        self.0 & 0x0f
    }

    /// The eight bits that stand in OPT.
    #[must_use]
    pub const fn high(self) -> u8 {
        (self.0 >> 4).to_be_bytes()[1]
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NOERROR => f.write_str("NOERROR"),
            Self::FORMERR => f.write_str("FORMERR"),
            Self::SERVFAIL => f.write_str("SERVFAIL"),
            Self::NXDOMAIN => f.write_str("NXDOMAIN"),
            Self::NOTIMP => f.write_str("NOTIMP"),
            Self::REFUSED => f.write_str("REFUSED"),
            Self::BADVERS => f.write_str("BADVERS"),
            Self(other) => write!(f, "RCODE{other}"),
        }
    }
}

impl fmt::Debug for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
