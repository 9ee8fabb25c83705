//! Who says to have which address: ARP (RFC 826) and neighbour discovery (RFC 4861).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Content, Fault, Icmp, Packet, Transport};
use crate::base::model::Mac;

/// An ARP message for IPv4 over Ethernet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// The hardware address of who sends it.
    pub sender_mac: Mac,
    /// The address that the sender says to have; unspecified in a probe (RFC 5227).
    pub sender: Ipv4Addr,
    /// The address that is asked for, or answered to.
    pub target: Ipv4Addr,
}

impl Arp {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let [hardware @ .., o0, o1, m0, m1, m2, m3, m4, m5, s0, s1, s2, s3, _, _, _, _, _, _, t0, t1, t2, t3] =
            *bytes.first_chunk::<28>().ok_or(Fault::Short)?;
        // Ethernet or IEEE 802, IPv4, with addresses of 6 and 4 octets.
        let [0, 1 | 6, 8, 0, 6, 4] = hardware else { return Err(Fault::Malformed) };
        Ok(Self {
            operation: u16::from_be_bytes([o0, o1]),
            sender_mac: Mac([m0, m1, m2, m3, m4, m5]),
            sender: Ipv4Addr::new(s0, s1, s2, s3),
            target: Ipv4Addr::new(t0, t1, t2, t3),
        })
    }
}

impl Packet<'_> {
    /// The address and the hardware address that the sender says belong together, where this packet says so: ARP, neighbour
    /// solicitation and advertisement, router solicitation and advertisement.
    #[must_use]
    pub fn neighbour(&self) -> Option<(IpAddr, Mac)> {
        let (address, mac) = match &self.content {
            Content::Arp(arp) => (IpAddr::V4(arp.sender), arp.sender_mac),
            Content::Ip(ip) => match &ip.transport {
                // No router forwards these, which the hop limit shows (RFC 4861 §6.1, §7.1).
                Transport::Icmp(icmp) if icmp.v6 && ip.ttl == 255 => discovered(icmp, ip.src)?,
                _ => return None,
            },
            Content::Other(_) => return None,
        };
        (!address.is_unspecified() && !mac.is_group()).then_some((address, mac))
    }
}

fn discovered(icmp: &Icmp<'_>, src: IpAddr) -> Option<(IpAddr, Mac)> {
    const ROUTER_SOLICITATION: u8 = 133;
    const ROUTER_ADVERTISEMENT: u8 = 134;
    const SOLICITATION: u8 = 135;
    const ADVERTISEMENT: u8 = 136;
    const SOURCE: u8 = 1;
    const TARGET: u8 = 2;
    let (address, options_at, option) = match icmp.kind {
        ROUTER_SOLICITATION => (src, 4, SOURCE),
        ROUTER_ADVERTISEMENT => (src, 12, SOURCE),
        SOLICITATION => (src, 20, SOURCE),
        ADVERTISEMENT => {
            let target: [u8; 16] = *icmp.body.get(4..)?.first_chunk()?;
            (IpAddr::V6(Ipv6Addr::from(target)), 20, TARGET)
        }
        _ => return None,
    };
    let mut options = icmp.body.get(options_at..)?;
    loop {
        let (&[kind, len], rest) = options.split_first_chunk::<2>()?;
        if kind == option && len == 1 {
            return Some((address, Mac(*rest.first_chunk()?)));
        }
        // Lengths are in units of 8 octets; 0 would never end.
        options = options.get(usize::from(len).checked_mul(8).filter(|&octets| octets > 0)?..)?;
    }
}
