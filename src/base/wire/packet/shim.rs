//! What stands between a link and IP: VLAN tags, LLC, PPP, PPPoE, MPLS, service headers.

use super::link::{self, Link};
use super::{Fault, Ip, wifi};

/// EtherType of IPv4.
pub(super) const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub(super) const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub(super) const IPV6: u16 = 0x86dd;
/// EtherType of Ethernet in a tunnel.
pub(super) const ETHERNET: u16 = 0x6558;
/// EtherType of MPLS; the multicast one is the next number.
pub(super) const MPLS: u16 = 0x8847;
/// EtherType of PPPoE's sessions.
pub(super) const PPPOE_SESSION: u16 = 0x8864;

const MPLS_MULTICAST: u16 = 0x8848;
const VLAN: u16 = 0x8100;
const VLAN_SERVICE: u16 = 0x88a8;
const VLAN_OLD: [u16; 3] = [0x9100, 0x9200, 0x9300];
/// IEEE 802.1BR's tag.
const E_TAG: u16 = 0x893f;
/// Network service header (RFC 8300).
const NSH: u16 = 0x894f;
/// Numbers below are lengths of IEEE 802.3 frames.
const TYPES_FROM: u16 = 0x0600;

/// What comes next in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layer {
    /// An Ethernet header.
    Ethernet,
    /// What an EtherType says.
    Type(u16),
    /// An IEEE 802.2 header.
    Llc,
    /// IP of the version that its first octet names.
    Ip,
    /// A PPP protocol field, perhaps after address and control.
    Ppp,
    /// An IEEE 802.11 header.
    Wifi,
    /// Nothing that is read; the EtherType, where there is one.
    Unknown(u16),
}

/// The layer for Ethernet's last header field.
#[inline]
pub(super) const fn type_or_length(number: u16) -> Layer {
    if number < TYPES_FROM { Layer::Llc } else { Layer::Type(number) }
}

/// Reads one header that is not IP's.
pub(super) fn peel<'a>(layer: Layer, bytes: &'a [u8], link: &mut Link) -> Result<(Layer, &'a [u8]), Fault> {
    match layer {
        Layer::Ethernet | Layer::Type(ETHERNET) => link::ethernet(bytes, link),
        Layer::Type(VLAN | VLAN_SERVICE) => vlan(bytes, link),
        Layer::Type(old) if VLAN_OLD.contains(&old) => vlan(bytes, link),
        Layer::Type(PPPOE_SESSION) => pppoe(bytes, link),
        Layer::Type(MPLS | MPLS_MULTICAST) => mpls(bytes),
        Layer::Type(E_TAG) => typed_after(bytes, 6),
        Layer::Type(NSH) => nsh(bytes),
        Layer::Type(number) | Layer::Unknown(number) => Ok((Layer::Unknown(number), bytes)),
        Layer::Llc => llc(bytes),
        Layer::Ppp => ppp(bytes),
        Layer::Wifi => wifi::read(bytes, link),
        Layer::Ip => Ok((Layer::Ip, bytes)),
    }
}

fn vlan<'a>(bytes: &'a [u8], link: &mut Link) -> Result<(Layer, &'a [u8]), Fault> {
    let (&[c0, c1, t0, t1], rest) = bytes.split_first_chunk::<4>().ok_or(Fault::Short)?;
    link.vlans.push(u16::from_be_bytes([c0, c1]));
    Ok((type_or_length(u16::from_be_bytes([t0, t1])), rest))
}

/// A header of `len` octets whose last two are an EtherType.
fn typed_after(bytes: &[u8], len: usize) -> Result<(Layer, &[u8]), Fault> {
    let (head, rest) = bytes.split_at_checked(len).ok_or(Fault::Short)?;
    let kind = *head.last_chunk().ok_or(Fault::Short)?;
    Ok((type_or_length(u16::from_be_bytes(kind)), rest))
}

/// IEEE 802.2, with or without a SNAP header (RFC 1042).
fn llc(bytes: &[u8]) -> Result<(Layer, &[u8]), Fault> {
    match bytes {
        [0xaa, 0xaa, 0x03, 0, 0, 0 | 0xf8, ..] => typed_after(bytes, 8),
        [0x06, 0x06, 0x03, rest @ ..] => Ok((Layer::Ip, rest)),
        _ => Ok((Layer::Unknown(0), bytes)),
    }
}

/// A PPP frame (RFC 1661 §2): address, control and the protocol's upper octet may have been left out.
fn ppp(bytes: &[u8]) -> Result<(Layer, &[u8]), Fault> {
    let bytes = match bytes {
        [0xff, 0x03, rest @ ..] => rest,
        _ => bytes,
    };
    let (number, rest) = match bytes {
        [short, rest @ ..] if short & 1 != 0 => (u16::from(*short), rest),
        [high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), rest),
        _ => return Err(Fault::Short),
    };
    let layer = match number {
        0x0021 => Layer::Type(IPV4),
        0x0057 => Layer::Type(IPV6),
        0x0281 | 0x0283 => Layer::Type(MPLS),
        _ => Layer::Unknown(0),
    };
    Ok((layer, rest))
}

/// A PPPoE session packet (RFC 2516 §4).
fn pppoe<'a>(bytes: &'a [u8], link: &mut Link) -> Result<(Layer, &'a [u8]), Fault> {
    let (&[version, code, s0, s1, l0, l1], rest) = bytes.split_first_chunk::<6>().ok_or(Fault::Short)?;
    if version != 0x11 || code != 0 {
        return Ok((Layer::Unknown(PPPOE_SESSION), bytes));
    }
    link.pppoe_session = Some(u16::from_be_bytes([s0, s1]));
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    Ok((Layer::Ppp, rest.get(..len).unwrap_or(rest)))
}

/// A stack of labels (RFC 3032). Nothing says what follows: the first half-octet tells IP, a pseudo-wire's control word
/// (RFC 4385) is 0, and what is left may be Ethernet.
fn mpls(mut bytes: &[u8]) -> Result<(Layer, &[u8]), Fault> {
    /// Labels of one stack that are walked.
    const LABELS_MAX: usize = 16;
    for _ in 0..LABELS_MAX {
        let (&[_, _, bottom, _], rest) = bytes.split_first_chunk::<4>().ok_or(Fault::Short)?;
        bytes = rest;
        if bottom & 1 != 0 {
            let after_control_word = rest.get(4..).unwrap_or_default();
            return Ok(match rest.first().map(|first| first >> 4) {
                Some(4 | 6) if is_whole_ip(rest) || !carries_ethernet(rest) => (Layer::Ip, rest),
                Some(0) if carries_ethernet(after_control_word) => (Layer::Ethernet, after_control_word),
                _ if carries_ethernet(rest) => (Layer::Ethernet, rest),
                _ => (Layer::Unknown(MPLS), rest),
            });
        }
    }
    Err(Fault::TooDeep)
}

fn is_whole_ip(bytes: &[u8]) -> bool {
    Ip::any(bytes).is_ok_and(|ip| ip.missing == 0)
}

/// Whether an Ethernet header here would lead on to something known whose first octets fit.
fn carries_ethernet(bytes: &[u8]) -> bool {
    match bytes.get(12..) {
        Some([0x08, 0x00, version, ..]) => version >> 4 == 4,
        Some([0x86, 0xdd, version, ..]) => version >> 4 == 6,
        Some([0x08, 0x06, 0, 1, 8, 0, ..] | [0x81, 0x00, ..] | [0x88, 0xa8, ..] | [0x88, 0x64, 0x11, 0, ..]) => true,
        _ => false,
    }
}

/// A network service header (RFC 8300 §2.2).
pub(super) fn nsh(bytes: &[u8]) -> Result<(Layer, &[u8]), Fault> {
    let &[_, len, _, next] = bytes.first_chunk::<4>().ok_or(Fault::Short)?;
    let rest = bytes.get(usize::from(len & 0x3f) * 4..).ok_or(Fault::Short)?;
    if len & 0x3f < 2 {
        return Err(Fault::Malformed);
    }
    let layer = match next {
        1 => Layer::Type(IPV4),
        2 => Layer::Type(IPV6),
        3 => Layer::Ethernet,
        5 => Layer::Type(MPLS),
        _ => Layer::Unknown(NSH),
    };
    Ok((layer, rest))
}
