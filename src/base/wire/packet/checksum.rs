//! Checksums (RFC 1071), computed when somebody wants to know.
//!
//! A bad one does not say that the receiver refused the packet: a host that captures what it sends sees packets before its
//! hardware has filled the checksum in. The field then has the sum of the pseudo-header alone, which is told apart here.

use std::net::IpAddr;

use super::ip::{Ip, protocol};
use super::{Transport, Udp};

/// What a transport's checksum says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// It is right.
    Good,
    /// It is wrong: its receiver drops it, if these octets are what was sent.
    Bad,
    /// It has the sum of the pseudo-header, or nothing: the hardware of the sender fills it in later.
    Partial,
    /// The sender did not want one (UDP over IPv4).
    Absent,
    /// It cannot be told: a fragment, octets not captured, an address that is elsewhere, another protocol.
    Unknown,
}

impl Ip<'_> {
    /// Whether the IPv4 header's checksum is right; IPv6 has none.
    #[must_use]
    pub fn header_checksum_is_good(&self) -> bool {
        self.src.is_ipv6() || fold(sum(0, self.header)) == 0xffff
    }

    /// What the transport's checksum says.
    #[must_use]
    pub fn checksum(&self) -> Checksum {
        let (at, octets) = match self.transport {
            Transport::Tcp(_) => (16, self.payload),
            Transport::Udp(udp) => (6, datagram(&udp, self.payload)),
            Transport::Icmp(_) => (2, self.payload),
            Transport::Fragment | Transport::Broken | Transport::Other => return Checksum::Unknown,
        };
        let Some(&[high, low]) = octets.get(at..at + 2).and_then(<[u8]>::first_chunk) else { return Checksum::Unknown };
        let field = u16::from_be_bytes([high, low]);
        if self.protocol == protocol::UDP && field == 0 && self.src.is_ipv4() {
            return Checksum::Absent;
        }
        if self.missing > 0 || self.rerouted {
            return Checksum::Unknown;
        }
        let addresses = if self.protocol == protocol::ICMP { 0 } else { self.addresses() + u64::from(self.protocol) };
        let pseudo = if addresses == 0 { 0 } else { addresses + octets.len() as u64 };
        if fold(sum(pseudo, octets)) == 0xffff {
            return Checksum::Good;
        }
        // With segmentation offload the length is left out as well.
        let partial = addresses != 0 && (field == fold(pseudo) || field == fold(addresses));
        if partial { Checksum::Partial } else { Checksum::Bad }
    }

    /// The sum over both addresses.
    fn addresses(&self) -> u64 {
        [self.src, self.dst].into_iter().fold(0, |so_far, address| match address {
            IpAddr::V4(v4) => sum(so_far, &v4.octets()),
            IpAddr::V6(v6) => sum(so_far, &v6.octets()),
        })
    }
}

/// The octets of a datagram: those of the packet as far as the datagram's own length goes.
fn datagram<'a>(udp: &Udp<'_>, payload: &'a [u8]) -> &'a [u8] {
    payload.get(..udp.payload.len() + 8).unwrap_or(payload)
}

/// Adds octets as 16-bit words in network order; a last odd one is padded with zero.
fn sum(so_far: u64, octets: &[u8]) -> u64 {
    let (words, last) = octets.as_chunks::<4>();
    // Two words at a time: carries pile up in the upper half and are folded in at the end.
    let total = words.iter().fold(so_far, |sum, &word| sum + u64::from(u32::from_be_bytes(word)));
    let mut tail = [0; 4];
    for (to, from) in tail.iter_mut().zip(last) {
        *to = *from;
    }
    total + u64::from(u32::from_be_bytes(tail))
}

/// The sum in 16 bits, carries added back.
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).unwrap_or_default()
}
