//! TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792) and ICMPv6 (RFC 4443).

use super::ip::{Ip, protocol};

/// The payload of an IP packet, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport<'a> {
    /// TCP.
    Tcp(Tcp<'a>),
    /// UDP.
    Udp(Udp<'a>),
    /// ICMP or ICMPv6.
    Icmp(Icmp<'a>),
    /// A part of a datagram; nothing in it is read before all parts are there.
    Fragment,
    /// A header that ends early or contradicts itself.
    Broken,
    /// Another protocol: see [`Ip::protocol`].
    Other,
}

impl<'a> Transport<'a> {
    #[inline]
    pub(super) fn read(number: u8, bytes: &'a [u8]) -> Self {
        match number {
            protocol::TCP => Tcp::read(bytes).map_or(Self::Broken, Self::Tcp),
            protocol::UDP => Udp::read(bytes).map_or(Self::Broken, Self::Udp),
            protocol::ICMP | protocol::ICMPV6 => {
                Icmp::read(bytes, number == protocol::ICMPV6).map_or(Self::Broken, Self::Icmp)
            }
            _ => Self::Other,
        }
    }
}

//----------- TCP ------------------------------------------------------------

/// A TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp<'a> {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Sequence number of the first octet, or of SYN.
    pub seq: u32,
    /// What the sender expects next, where ACK is set.
    pub ack: u32,
    /// The flags.
    pub flags: TcpFlags,
    /// Window, unscaled.
    pub window: u16,
    /// The options, unread.
    pub options: &'a [u8],
    /// The data.
    pub payload: &'a [u8],
}

/// The flags of a segment, as in its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    /// No more data will follow.
    #[must_use]
    pub const fn fin(self) -> bool {
        self.0 & Self::FIN != 0
    }

    /// The first segment of its direction.
    #[must_use]
    pub const fn syn(self) -> bool {
        self.0 & Self::SYN != 0
    }

    /// The connection is given up.
    #[must_use]
    pub const fn rst(self) -> bool {
        self.0 & Self::RST != 0
    }

    /// [`Tcp::ack`] means something.
    #[must_use]
    pub const fn ack(self) -> bool {
        self.0 & Self::ACK != 0
    }
}

impl<'a> Tcp<'a> {
    #[inline]
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let &[s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, ..] = bytes.first_chunk::<20>()?;
        let header_len = usize::from(offset >> 4) * 4;
        let (header, payload) = bytes.split_at_checked(header_len)?;
        Some(Self {
            sport: u16::from_be_bytes([s0, s1]),
            dport: u16::from_be_bytes([d0, d1]),
            seq: u32::from_be_bytes([q0, q1, q2, q3]),
            ack: u32::from_be_bytes([a0, a1, a2, a3]),
            flags: TcpFlags(flags),
            window: u16::from_be_bytes([w0, w1]),
            options: header.get(20..)?,
            payload,
        })
    }

    /// The options one by one.
    #[must_use]
    pub const fn options(&self) -> TcpOptions<'a> {
        TcpOptions::new(self.options)
    }
}

/// An option of a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOption<'a> {
    /// Its number (IANA).
    pub kind: u8,
    /// What it says.
    pub data: &'a [u8],
}

/// The options of a TCP header, up to the end mark or the first that cannot be.
#[derive(Clone, Debug)]
pub struct TcpOptions<'a>(&'a [u8]);

impl<'a> TcpOptions<'a> {
    pub(super) const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        const END: u8 = 0;
        const NOTHING: u8 = 1;
        loop {
            let (&kind, rest) = self.0.split_first()?;
            match kind {
                END => return None,
                NOTHING => self.0 = rest,
                _ => {
                    let (&len, rest) = rest.split_first()?;
                    let (data, rest) = rest.split_at_checked(usize::from(len).checked_sub(2)?)?;
                    self.0 = rest;
                    return Some(TcpOption { kind, data });
                }
            }
        }
    }
}

//----------- UDP ------------------------------------------------------------

/// A UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp<'a> {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Octets of header and data as the header says.
    pub len: u16,
    /// The data.
    pub payload: &'a [u8],
}

impl<'a> Udp<'a> {
    #[inline]
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[s0, s1, d0, d1, l0, l1, _, _], rest) = bytes.split_first_chunk::<8>()?;
        let len = u16::from_be_bytes([l0, l1]);
        let payload = match usize::from(len) {
            // A jumbogram, or a length that hardware was to fill in.
            0 => rest,
            // What is longer than the packet was cut in the capture, or is a game of the sender's; all there is counts.
            len => rest.get(..len.checked_sub(8)?).unwrap_or(rest),
        };
        Some(Self { sport: u16::from_be_bytes([s0, s1]), dport: u16::from_be_bytes([d0, d1]), len, payload })
    }
}

//----------- ICMP -----------------------------------------------------------

/// An ICMP or ICMPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp<'a> {
    /// Its type.
    pub kind: u8,
    /// What of its type.
    pub code: u8,
    /// Whether it is ICMPv6, which has other types.
    pub v6: bool,
    /// What follows the checksum.
    pub body: &'a [u8],
}

impl<'a> Icmp<'a> {
    fn read(bytes: &'a [u8], v6: bool) -> Option<Self> {
        let (&[kind, code, _, _], body) = bytes.split_first_chunk::<4>()?;
        Some(Self { kind, code, v6, body })
    }

    /// The packet that an error message is about, as much as it quotes. Its transport is mostly cut off; see [`Ip::ports`].
    #[must_use]
    pub fn quoted(&self) -> Option<Ip<'a>> {
        /// Destination unreachable, source quench, redirect, time exceeded, parameter problem.
        const ERRORS_V4: [u8; 5] = [3, 4, 5, 11, 12];
        /// Destination unreachable, packet too big, time exceeded, parameter problem.
        const ERRORS_V6: [u8; 4] = [1, 2, 3, 4];
        let is_error = if self.v6 { ERRORS_V6.contains(&self.kind) } else { ERRORS_V4.contains(&self.kind) };
        let quote = self.body.get(4..)?;
        is_error.then_some(quote).and_then(|quote| Ip::any(quote).ok())
    }
}
