//! Link layers: where a frame says who sent it on its segment, and what it carries.

use super::shim::{self, Layer};
use super::{Direction, Fault, LinkType, wifi};
use crate::base::model::Mac;

/// VLAN tags that are kept of one frame; further ones are walked and forgotten.
const VLANS_KEPT: usize = 4;

/// What the link of a packet says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Who sent it on this segment.
    pub src_mac: Option<Mac>,
    /// Who is to take it on this segment.
    pub dst_mac: Option<Mac>,
    /// Its VLANs.
    pub vlans: Vlans,
    /// The session of a PPPoE access concentrator.
    pub pppoe_session: Option<u16>,
    /// Which way it went, where the source or the link's header says so.
    pub direction: Option<Direction>,
}

/// VLAN identifiers, the outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Vlans {
    ids: [u16; VLANS_KEPT],
    count: u8,
}

impl Vlans {
    /// The identifiers, the outermost first.
    #[must_use]
    pub fn ids(&self) -> &[u16] {
        self.ids.get(..usize::from(self.count)).unwrap_or(&self.ids)
    }

    /// Adds the tag below those that there are.
    pub(super) fn push(&mut self, tag: u16) {
        if let Some(id) = self.ids.get_mut(usize::from(self.count)) {
            *id = tag & 0x0fff;
            self.count += 1;
        }
    }
}

/// Reads the link layer of a captured frame into `link`; the layer that follows, and its octets.
#[inline]
pub(super) fn read<'a>(kind: LinkType, bytes: &'a [u8], link: &mut Link) -> Result<(Layer, &'a [u8]), Fault> {
    match kind {
        LinkType::ETHERNET => ethernet(bytes, link),
        LinkType::RAW | LinkType::RAW_12 | LinkType::RAW_14 | LinkType::IPV4 | LinkType::IPV6 => Ok((Layer::Ip, bytes)),
        // The family's number depends on who captured; the version in the packet does not.
        LinkType::NULL | LinkType::LOOP => Ok((Layer::Ip, bytes.get(4..).ok_or(Fault::Short)?)),
        LinkType::SLL => sll(bytes, link),
        LinkType::SLL2 => sll2(bytes, link),
        LinkType::PPP | LinkType::PPP_SERIAL => ppp_or_hdlc(bytes),
        LinkType::PPP_PPPD => Ok((Layer::Ppp, bytes.get(2..).ok_or(Fault::Short)?)),
        LinkType::PPP_ETHER => shim::peel(Layer::Type(shim::PPPOE_SESSION), bytes, link),
        LinkType::CISCO_HDLC => hdlc(bytes),
        LinkType::FDDI => fddi(bytes, link),
        LinkType::WIFI => Ok((Layer::Wifi, bytes)),
        LinkType::RADIOTAP => Ok((Layer::Wifi, wifi::after_radiotap(bytes)?)),
        LinkType::NFLOG => nflog(bytes, link),
        LinkType(_) => Err(Fault::Link),
    }
}

/// Ethernet II and IEEE 802.3.
#[inline]
pub(super) fn ethernet<'a>(bytes: &'a [u8], link: &mut Link) -> Result<(Layer, &'a [u8]), Fault> {
    let (&[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1], rest) =
        bytes.split_first_chunk::<14>().ok_or(Fault::Short)?;
    link.dst_mac = Some(Mac([d0, d1, d2, d3, d4, d5]));
    link.src_mac = Some(Mac([s0, s1, s2, s3, s4, s5]));
    Ok((shim::type_or_length(u16::from_be_bytes([t0, t1])), rest))
}

/// <https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html>
fn sll<'a>(bytes: &'a [u8], link: &mut Link) -> Result<(Layer, &'a [u8]), Fault> {
    let (&[_, kind, a0, a1, l0, l1, m0, m1, m2, m3, m4, m5, _, _, p0, p1], rest) =
        bytes.split_first_chunk::<16>().ok_or(Fault::Short)?;
    link.direction = Direction::of_packet_type(kind);
    if u16::from_be_bytes([l0, l1]) == 6 {
        link.src_mac = Some(Mac([m0, m1, m2, m3, m4, m5]));
    }
    Ok((cooked(u16::from_be_bytes([a0, a1]), u16::from_be_bytes([p0, p1])), rest))
}

/// <https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>
fn sll2<'a>(bytes: &'a [u8], link: &mut Link) -> Result<(Layer, &'a [u8]), Fault> {
    let (&[p0, p1, _, _, _, _, _, _, a0, a1, kind, len, m0, m1, m2, m3, m4, m5, _, _], rest) =
        bytes.split_first_chunk::<20>().ok_or(Fault::Short)?;
    link.direction = Direction::of_packet_type(kind);
    if len == 6 {
        link.src_mac = Some(Mac([m0, m1, m2, m3, m4, m5]));
    }
    Ok((cooked(u16::from_be_bytes([a0, a1]), u16::from_be_bytes([p0, p1])), rest))
}

/// What follows a "cooked" header, by the kind of device and the protocol.
const fn cooked(device: u16, kind: u16) -> Layer {
    const LLC: u16 = 4;
    const RADIOTAP_DEVICES: std::ops::RangeInclusive<u16> = 801..=803;
    match kind {
        LLC => Layer::Llc,
        _ if *RADIOTAP_DEVICES.start() <= device && device <= *RADIOTAP_DEVICES.end() => Layer::Unknown(0),
        _ => Layer::Type(kind),
    }
}

/// PPP in its several framings (RFC 1662), or Cisco's on the same link type.
fn ppp_or_hdlc(bytes: &[u8]) -> Result<(Layer, &[u8]), Fault> {
    match bytes {
        [0x0f | 0x8f, ..] => hdlc(bytes),
        _ => Ok((Layer::Ppp, bytes)),
    }
}

/// Address, control, EtherType.
fn hdlc(bytes: &[u8]) -> Result<(Layer, &[u8]), Fault> {
    let (&[_, _, t0, t1], rest) = bytes.split_first_chunk::<4>().ok_or(Fault::Short)?;
    Ok((Layer::Type(u16::from_be_bytes([t0, t1])), rest))
}

fn fddi<'a>(bytes: &'a [u8], link: &mut Link) -> Result<(Layer, &'a [u8]), Fault> {
    let (&[_, d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5], rest) =
        bytes.split_first_chunk::<13>().ok_or(Fault::Short)?;
    link.dst_mac = Some(Mac([d0, d1, d2, d3, d4, d5]));
    link.src_mac = Some(Mac([s0, s1, s2, s3, s4, s5]));
    Ok((Layer::Llc, rest))
}

/// <https://www.tcpdump.org/linktypes/LINKTYPE_NFLOG.html>: attributes in the byte order of the host that logged, which no field
/// names. The payload's is last and reaches to the end, which tells.
fn nflog<'a>(bytes: &'a [u8], link: &mut Link) -> Result<(Layer, &'a [u8]), Fault> {
    let attributes = bytes.get(4..).ok_or(Fault::Short)?;
    let payload = match nflog_payload(attributes, u16::from_le_bytes, link) {
        Some(payload) => payload,
        None => nflog_payload(attributes, u16::from_be_bytes, link).ok_or(Fault::Malformed)?,
    };
    Ok((Layer::Ip, payload))
}

fn nflog_payload<'a>(mut rest: &'a [u8], word: fn([u8; 2]) -> u16, link: &mut Link) -> Option<&'a [u8]> {
    const PAYLOAD: u16 = 9;
    const HARDWARE_ADDRESS: u16 = 8;
    loop {
        let (&[l0, l1, t0, t1], _) = rest.split_first_chunk::<4>()?;
        let len = usize::from(word([l0, l1]));
        let value = rest.get(4..len)?;
        match word([t0, t1]) & 0x7fff {
            PAYLOAD => return Some(value),
            HARDWARE_ADDRESS => {
                if let Some(&[0, 6, _, _, m0, m1, m2, m3, m4, m5]) = value.first_chunk() {
                    link.src_mac = Some(Mac([m0, m1, m2, m3, m4, m5]));
                }
            }
            _ => {}
        }
        // Padded to four octets; a length of less than 4 has ended this already.
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
}
