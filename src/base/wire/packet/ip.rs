//! IPv4 (RFC 791) and IPv6 (RFC 8200) with its extension headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Fault, TcpOptions, Transport};

/// Extension headers that are walked in one IPv6 packet. RFC 8200 knows six, one of them twice.
const EXTENSIONS_MAX: usize = 12;

/// Protocol numbers (the IANA registry's) that are told apart here.
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IPv4 in IP.
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP.
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Generic routing encapsulation.
    pub const GRE: u8 = 47;
    /// Authentication header.
    pub const AH: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// No next header.
    pub const NONE: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION: u8 = 60;
    /// Mobility header.
    pub const MOBILITY: u8 = 135;
    /// MPLS in IP.
    pub const MPLS: u8 = 137;
    /// Ethernet in IP (RFC 8986).
    pub const ETHERNET: u8 = 143;
    /// Host identity protocol.
    pub const HIP: u8 = 139;
    /// Shim6.
    pub const SHIM6: u8 = 140;
}

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip<'a> {
    /// Where it says it comes from.
    pub src: IpAddr,
    /// Where it goes; with a routing header the next stop.
    pub dst: IpAddr,
    /// What the payload is, after all extension headers.
    pub protocol: u8,
    /// Time to live, hop limit.
    pub ttl: u8,
    /// Set for all but whole packets.
    pub fragment: Option<Fragment>,
    /// Octets that the header promises and the capture does not have.
    pub missing: u32,
    /// The header with options and extension headers.
    pub header: &'a [u8],
    /// What follows, without the link's padding.
    pub payload: &'a [u8],
    /// A routing or home address option: the transport's checksum is over another address.
    pub rerouted: bool,
    /// The payload, read.
    pub transport: Transport<'a>,
}

/// A part of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// What the parts have in common beside addresses (and for IPv4 protocol).
    pub id: u32,
    /// Where this part begins, in octets.
    pub offset: u32,
    /// Whether there are parts after it.
    pub more: bool,
}

impl<'a> Ip<'a> {
    /// An IPv4 packet.
    #[inline]
    pub(super) fn v4(bytes: &'a [u8]) -> Result<Self, Fault> {
        let &[version, _, l0, l1, i0, i1, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
            bytes.first_chunk::<20>().ok_or(Fault::Short)?;
        let header_len = usize::from(version & 0x0f) * 4;
        if version >> 4 != 4 || header_len < 20 {
            return Err(Fault::Malformed);
        }
        let (header, rest) = bytes.split_at_checked(header_len).ok_or(Fault::Short)?;
        let (payload, missing) = match usize::from(u16::from_be_bytes([l0, l1])) {
            0 => (rest, 0),
            total => cut(rest, total.checked_sub(header_len).ok_or(Fault::Malformed)?),
        };
        let flags = u16::from_be_bytes([f0, f1]);
        let part = flags & 0x3fff;
        let fragment = (part != 0).then(|| Fragment {
            id: u32::from(u16::from_be_bytes([i0, i1])),
            offset: u32::from(flags & 0x1fff) * 8,
            more: flags & 0x2000 != 0,
        });
        let mut ip = Self {
            src: IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3)),
            dst: IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3)),
            protocol,
            ttl,
            fragment,
            missing,
            header,
            payload,
            // Loose and strict source routes end in another address than the header's; nobody forwards them any more.
            rerouted: header_len > 20 && has_source_route(header),
            transport: Transport::Other,
        };
        if protocol == protocol::AH && fragment.is_none() {
            ip.walk_extensions()?;
        }
        ip.read_transport();
        Ok(ip)
    }

    /// An IPv6 packet.
    pub(super) fn v6(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (head, rest) = bytes.split_first_chunk::<40>().ok_or(Fault::Short)?;
        let &[version, _, _, _, l0, l1, next, ttl, ref addresses @ ..] = head;
        if version >> 4 != 6 {
            return Err(Fault::Malformed);
        }
        let (src, dst): ([u8; 16], [u8; 16]) = match addresses.split_first_chunk::<16>() {
            Some((src, dst)) => (*src, dst.try_into().map_err(|_| Fault::Short)?),
            None => return Err(Fault::Short),
        };
        let (payload, missing) = match u16::from_be_bytes([l0, l1]) {
            // A jumbogram (RFC 2675), or a length that hardware was to fill in.
            0 if next != protocol::NONE => (rest, 0),
            len => cut(rest, usize::from(len)),
        };
        let mut ip = Self {
            src: IpAddr::V6(Ipv6Addr::from(src)),
            dst: IpAddr::V6(Ipv6Addr::from(dst)),
            protocol: next,
            ttl,
            fragment: None,
            missing,
            header: head,
            payload,
            rerouted: false,
            transport: Transport::Other,
        };
        ip.walk_extensions()?;
        let header_len = bytes.len() - rest.len() + (payload.len() - ip.payload.len());
        ip.header = bytes.get(..header_len).ok_or(Fault::Short)?;
        ip.read_transport();
        Ok(ip)
    }

    /// Whichever version the first octet names.
    pub(super) fn any(bytes: &'a [u8]) -> Result<Self, Fault> {
        match bytes.first().ok_or(Fault::Short)? >> 4 {
            4 => Self::v4(bytes),
            6 => Self::v6(bytes),
            _ => Err(Fault::Malformed),
        }
    }

    /// The same packet as it was before the network cut it up: `payload` is of `protocol`.
    pub(super) fn reassembled<'b>(&self, protocol: u8, payload: &'b [u8]) -> Ip<'b>
    where
        'a: 'b,
    {
        let mut whole = Ip { protocol, payload, fragment: None, missing: 0, ..*self };
        // A header that ends early is what the receiver would see too: then the transport cannot be read.
        if whole.walk_extensions().is_ok() {
            whole.read_transport();
        } else {
            whole.transport = Transport::Broken;
        }
        whole
    }

    /// Source and destination port of TCP, UDP and others that begin with them, also where the header is cut off.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        /// Of those that begin with ports: DCCP, SCTP, UDP-Lite.
        const OTHERS: [u8; 3] = [33, 132, 136];
        let has_ports = matches!(self.protocol, protocol::TCP | protocol::UDP) || OTHERS.contains(&self.protocol);
        let first = self.fragment.is_none_or(|fragment| fragment.offset == 0);
        let &[s0, s1, d0, d1] = self.payload.first_chunk()?;
        (has_ports && first).then(|| (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])))
    }

    #[inline]
    fn read_transport(&mut self) {
        self.transport = match self.fragment {
            Some(_) => Transport::Fragment,
            None => Transport::read(self.protocol, self.payload),
        };
    }

    /// Steps over what stands between IPv6 header and transport; in IPv4 that can only be an authentication header.
    fn walk_extensions(&mut self) -> Result<(), Fault> {
        for _ in 0..EXTENSIONS_MAX {
            let rest = self.payload;
            let (Some(&next), Some(&len)) = (rest.first(), rest.get(1)) else { return Ok(()) };
            let octets = match self.protocol {
                protocol::FRAGMENT => {
                    self.read_fragment()?;
                    if self.fragment.is_some() {
                        return Ok(());
                    }
                    continue;
                }
                protocol::HOP_BY_HOP | protocol::MOBILITY | protocol::HIP | protocol::SHIM6 => usize::from(len) * 8 + 8,
                protocol::ROUTING => {
                    self.rerouted |= rest.get(3).is_some_and(|&left| left > 0);
                    usize::from(len) * 8 + 8
                }
                protocol::DESTINATION => {
                    let octets = usize::from(len) * 8 + 8;
                    self.rerouted |= has_home_address(rest.get(2..octets).unwrap_or_default());
                    octets
                }
                protocol::AH => usize::from(len) * 4 + 8,
                _ => return Ok(()),
            };
            // HIP, Shim6 and Mobility usually stand last, with 59 for what follows.
            self.payload = rest.get(octets..).ok_or(Fault::Short)?;
            self.protocol = next;
        }
        Err(Fault::TooDeep)
    }

    /// The fragment header (RFC 8200 §4.5). One that says "whole" (RFC 6946) leaves the packet whole.
    fn read_fragment(&mut self) -> Result<(), Fault> {
        let (head, rest) = self.payload.split_first_chunk::<8>().ok_or(Fault::Short)?;
        let &[next, _, o0, o1, i0, i1, i2, i3] = head;
        let place = u16::from_be_bytes([o0, o1]);
        self.protocol = next;
        self.payload = rest;
        if place & 0xfff9 != 0 {
            let id = u32::from_be_bytes([i0, i1, i2, i3]);
            self.fragment = Some(Fragment { id, offset: u32::from(place & 0xfff8), more: place & 1 != 0 });
        }
        Ok(())
    }
}

/// The first `len` octets, and how many of them are not there.
#[inline]
fn cut(rest: &[u8], len: usize) -> (&[u8], u32) {
    match rest.get(..len) {
        Some(payload) => (payload, 0),
        None => (rest, u32::try_from(len - rest.len()).unwrap_or(u32::MAX)),
    }
}

/// Whether the options of an IPv4 header have a loose or strict source route (RFC 791 §3.1). They are laid out as TCP's are.
fn has_source_route(header: &[u8]) -> bool {
    const ROUTES: [u8; 2] = [131, 137];
    TcpOptions::new(header.get(20..).unwrap_or_default()).any(|option| ROUTES.contains(&option.kind))
}

/// Whether destination options have a home address (RFC 6275 §6.3).
fn has_home_address(mut octets: &[u8]) -> bool {
    const HOME_ADDRESS: u8 = 201;
    while let Some((&kind, rest)) = octets.split_first() {
        if kind == HOME_ADDRESS {
            return true;
        }
        octets = match (kind, rest.split_first()) {
            (0, _) => rest,
            (_, Some((&len, rest))) => rest.get(usize::from(len)..).unwrap_or_default(),
            (_, None) => return false,
        };
    }
    false
}
