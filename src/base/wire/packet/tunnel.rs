//! Packets within packets. A tunnel is recognised by protocol number or well-known port and by a header without contradictions;
//! whether what it carries can be read decides in the end.

use std::net::IpAddr;

use super::ip::{Ip, protocol};
use super::shim::{self, Layer};
use super::{Transport, Udp};

/// What carries a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TunnelKind {
    /// IPv4 or IPv6 directly in IPv4 or IPv6 (RFC 2003, 2473, 4213).
    Ip,
    /// Generic routing encapsulation (RFC 2784, 2890), also in UDP (RFC 8086).
    Gre,
    /// A mirrored port in GRE, types I to III.
    Erspan,
    /// PPP in enhanced GRE (RFC 2637).
    Pptp,
    /// Ethernet or MPLS directly in IP.
    Layer2,
    /// VXLAN (RFC 7348) and its GPE.
    Vxlan,
    /// Geneve (RFC 8926).
    Geneve,
    /// The user plane of mobile networks (3GPP TS 29.281).
    Gtp,
    /// Access points to their controller, data channel (RFC 5415).
    Capwap,
    /// IPv6 over UDP through NAT (RFC 4380).
    Teredo,
    /// AYIYA, of tunnel brokers.
    Ayiya,
    /// MPLS in UDP (RFC 7510).
    Mpls,
}

/// The tunnels around a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tunnels {
    /// How many.
    pub depth: u8,
    /// The outermost one: from where, to where.
    pub outermost: Option<(IpAddr, IpAddr)>,
    /// What the innermost one is.
    pub innermost: Option<TunnelKind>,
    /// The network that the innermost VXLAN or Geneve names: addresses mean something within it only.
    pub network: Option<u32>,
    /// There was a further one; [`super::TUNNELS_MAX`] are followed.
    pub too_deep: bool,
}

impl Tunnels {
    pub(super) fn enter(&mut self, inside: &Inside<'_>, ip: &Ip<'_>) {
        self.depth += 1;
        self.outermost.get_or_insert((ip.src, ip.dst));
        self.innermost = Some(inside.kind);
        self.network = inside.network.or(self.network);
    }
}

/// What a tunnel carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inside<'a> {
    pub(super) kind: TunnelKind,
    pub(super) network: Option<u32>,
    pub(super) layer: Layer,
    pub(super) bytes: &'a [u8],
}

impl<'a> Inside<'a> {
    const fn new(kind: TunnelKind, layer: Layer, bytes: &'a [u8]) -> Self {
        Self { kind, network: None, layer, bytes }
    }
}

/// What an IP packet carries, if it is a tunnel's.
#[inline]
pub(super) fn inside<'a>(ip: &Ip<'a>) -> Option<Inside<'a>> {
    match ip.transport {
        Transport::Tcp(_) | Transport::Icmp(_) | Transport::Fragment | Transport::Broken => None,
        Transport::Udp(udp) => in_udp(&udp),
        Transport::Other => in_ip(ip.protocol, ip.payload),
    }
}

fn in_ip(number: u8, bytes: &[u8]) -> Option<Inside<'_>> {
    Some(match number {
        protocol::IPV4 => Inside::new(TunnelKind::Ip, Layer::Type(shim::IPV4), bytes),
        protocol::IPV6 => Inside::new(TunnelKind::Ip, Layer::Type(shim::IPV6), bytes),
        protocol::GRE => gre(bytes)?,
        protocol::MPLS => Inside::new(TunnelKind::Layer2, Layer::Type(shim::MPLS), bytes),
        protocol::ETHERNET => Inside::new(TunnelKind::Layer2, Layer::Ethernet, bytes),
        _ => return None,
    })
}

/// By port. A datagram to such a port that is no tunnel's fails in its header or in what it would carry.
#[inline]
fn in_udp<'a>(udp: &Udp<'a>) -> Option<Inside<'a>> {
    match udp.dport {
        53 | 443 => return None,
        4789 | 8472 => return vxlan(udp.payload),
        4790 => return vxlan_gpe(udp.payload),
        6081 => return geneve(udp.payload),
        4754 => return gre(udp.payload),
        6635 => return Some(Inside::new(TunnelKind::Mpls, Layer::Type(shim::MPLS), udp.payload)),
        _ => {}
    }
    let either = |port| udp.sport == port || udp.dport == port;
    match () {
        () if either(2152) => gtp(udp.payload),
        () if either(5247) => capwap(udp.payload),
        () if either(3544) => teredo(udp.payload),
        () if either(5072) => ayiya(udp.payload),
        () => None,
    }
}

//----------- GRE ------------------------------------------------------------

/// RFC 2784, 2890 and, as version 1, RFC 2637.
fn gre(bytes: &[u8]) -> Option<Inside<'_>> {
    const PPP: u16 = 0x880b;
    const ERSPAN: u16 = 0x88be;
    const ERSPAN_3: u16 = 0x22eb;
    let (&[flags, version, t0, t1], mut rest) = bytes.split_first_chunk::<4>()?;
    let kind = u16::from_be_bytes([t0, t1]);
    let [has_checksum, has_routing, has_key, has_sequence] = [0x80, 0x40, 0x20, 0x10].map(|bit| flags & bit != 0);
    let is_pptp = version & 0x07 == 1;
    let has_acknowledgement = is_pptp && version & 0x80 != 0;
    // Source routing (RFC 1701) is gone; versions above 1 never came.
    if has_routing || version & 0x07 > 1 || is_pptp != (kind == PPP) {
        return None;
    }
    let fields = [has_checksum, has_key, has_sequence, has_acknowledgement];
    rest = rest.get(fields.iter().filter(|&&there| there).count() * 4..)?;
    Some(match kind {
        PPP => Inside::new(TunnelKind::Pptp, Layer::Ppp, rest),
        // Type I has neither sequence number nor header of its own.
        ERSPAN if !has_sequence => Inside::new(TunnelKind::Erspan, Layer::Ethernet, rest),
        ERSPAN => Inside::new(TunnelKind::Erspan, Layer::Ethernet, rest.get(8..)?),
        ERSPAN_3 => erspan_3(rest)?,
        _ => Inside::new(TunnelKind::Gre, shim::type_or_length(kind), rest),
    })
}

/// The third type's header (draft-foschiano-erspan §4.3): 12 octets, 8 more where its last bit says so.
fn erspan_3(bytes: &[u8]) -> Option<Inside<'_>> {
    const ETHERNET: u8 = 0;
    const IP: u8 = 2;
    let &[_, _, _, _, _, _, _, _, _, _, frame, last] = bytes.first_chunk::<12>()?;
    let layer = match frame >> 2 & 0x1f {
        ETHERNET => Layer::Ethernet,
        IP => Layer::Ip,
        _ => return None,
    };
    let header_len = if last & 1 == 0 { 12 } else { 20 };
    Some(Inside::new(TunnelKind::Erspan, layer, bytes.get(header_len..)?))
}

//----------- Virtual networks -----------------------------------------------

/// The flag that a network identifier is there, in VXLAN.
const VXLAN_HAS_NETWORK: u8 = 0x08;

fn vxlan(bytes: &[u8]) -> Option<Inside<'_>> {
    let (&[flags, _, _, _, n0, n1, n2, _], rest) = bytes.split_first_chunk::<8>()?;
    let network = Some(u32::from_be_bytes([0, n0, n1, n2]));
    // What is reserved is to be ignored.
    (flags & VXLAN_HAS_NETWORK != 0)
        .then_some(Inside { network, ..Inside::new(TunnelKind::Vxlan, Layer::Ethernet, rest) })
}

/// The generic protocol extension (draft-ietf-nvo3-vxlan-gpe §3).
fn vxlan_gpe(bytes: &[u8]) -> Option<Inside<'_>> {
    const HAS_PROTOCOL: u8 = 0x04;
    let (&[flags, _, _, next, n0, n1, n2, _], rest) = bytes.split_first_chunk::<8>()?;
    let network = (flags & VXLAN_HAS_NETWORK != 0).then(|| u32::from_be_bytes([0, n0, n1, n2]));
    let (layer, rest) = match (flags & HAS_PROTOCOL != 0, next) {
        (false, _) | (true, 3) => (Layer::Ethernet, rest),
        (true, 1) => (Layer::Type(shim::IPV4), rest),
        (true, 2) => (Layer::Type(shim::IPV6), rest),
        (true, 4) => shim::nsh(rest).ok()?,
        _ => return None,
    };
    Some(Inside { network, ..Inside::new(TunnelKind::Vxlan, layer, rest) })
}

fn geneve(bytes: &[u8]) -> Option<Inside<'_>> {
    let (&[version, _, t0, t1, n0, n1, n2, _], rest) = bytes.split_first_chunk::<8>()?;
    if version >> 6 != 0 {
        return None;
    }
    let rest = rest.get(usize::from(version & 0x3f) * 4..)?;
    let network = Some(u32::from_be_bytes([0, n0, n1, n2]));
    let layer = shim::type_or_length(u16::from_be_bytes([t0, t1]));
    Some(Inside { network, ..Inside::new(TunnelKind::Geneve, layer, rest) })
}

//----------- Access networks ------------------------------------------------

/// G-PDUs of version 1 (3GPP TS 29.281 §5.1), with extension headers.
fn gtp(bytes: &[u8]) -> Option<Inside<'_>> {
    const G_PDU: u8 = 0xff;
    const HAS_EXTENSION: u8 = 0x04;
    /// Extension headers of one packet that are walked; the standard has six.
    const EXTENSIONS_MAX: usize = 8;
    let (&[flags, kind, l0, l1, _, _, _, _], rest) = bytes.split_first_chunk::<8>()?;
    if flags & 0xf0 != 0x30 || kind != G_PDU {
        return None;
    }
    let mut rest = rest.get(..usize::from(u16::from_be_bytes([l0, l1]))).unwrap_or(rest);
    if flags & 0x07 != 0 {
        let (&[_, _, _, first], after) = rest.split_first_chunk::<4>()?;
        rest = after;
        let mut next = if flags & HAS_EXTENSION == 0 { 0 } else { first };
        for _ in 0..EXTENSIONS_MAX {
            if next == 0 {
                break;
            }
            let octets = usize::from(*rest.first().filter(|&&words| words > 0)?) * 4;
            let (extension, after) = rest.split_at_checked(octets)?;
            (next, rest) = (*extension.last()?, after);
        }
        if next != 0 {
            return None;
        }
    }
    Some(Inside::new(TunnelKind::Gtp, Layer::Ip, rest))
}

/// The data channel in the clear (RFC 5415 §4.3); its own fragments are left alone.
fn capwap(bytes: &[u8]) -> Option<Inside<'_>> {
    const NATIVE_WIFI: u8 = 1;
    let &[preamble, len, ids, flags, _, _, _, _] = bytes.first_chunk::<8>()?;
    let is_native = ids & 0x01 != 0;
    let is_part_or_keep_alive = flags & 0x88 != 0;
    let header_len = usize::from(len >> 3) * 4;
    if preamble != 0 || header_len < 8 || is_part_or_keep_alive {
        return None;
    }
    let layer = match (is_native, ids >> 1 & 0x1f) {
        (false, _) => Layer::Ethernet,
        (true, NATIVE_WIFI) => Layer::Wifi,
        (true, _) => return None,
    };
    Some(Inside::new(TunnelKind::Capwap, layer, bytes.get(header_len..)?))
}

/// Authentication and origin may stand before the packet (RFC 4380 §5.1.1).
fn teredo(bytes: &[u8]) -> Option<Inside<'_>> {
    let mut rest = bytes;
    if let [0, 1, id_len, auth_len, after @ ..] = rest {
        rest = after.get(usize::from(*id_len) + usize::from(*auth_len) + 9..)?;
    }
    if let [0, 0, _, _, _, _, _, _, after @ ..] = rest {
        rest = after;
    }
    Some(Inside::new(TunnelKind::Teredo, Layer::Type(shim::IPV6), rest))
}

/// draft-massar-v6ops-ayiya: identity, signature, epoch, then the packet.
fn ayiya(bytes: &[u8]) -> Option<Inside<'_>> {
    const FORWARD: u8 = 1;
    let &[identity, signature, how, next, _, _, _, _] = bytes.first_chunk::<8>()?;
    let header_len = 8 + (1_usize << (identity >> 4)) + usize::from(signature >> 4) * 4;
    let is_ip = matches!(next, protocol::IPV4 | protocol::IPV6);
    if how & 0x0f != FORWARD || !is_ip {
        return None;
    }
    Some(Inside::new(TunnelKind::Ayiya, Layer::Ip, bytes.get(header_len..)?))
}
