//! Frames for tests: each function puts one header, with right lengths and checksums, before what it is given.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// MAC addresses of the two ends.
pub(crate) const A_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
pub(crate) const B_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
/// Their addresses.
pub(crate) const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const B: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(crate) const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xa);
pub(crate) const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xb);

pub(crate) const SYN: u8 = 0x02;
pub(crate) const PSH_ACK: u8 = 0x18;

fn be(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap().to_be_bytes()
}

/// Ethernet II from A to B.
pub(crate) fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&B_MAC, &A_MAC, &kind.to_be_bytes()[..], payload].concat()
}

/// A VLAN tag, to stand as payload of [`ethernet`] with type 0x8100 or its like.
pub(crate) fn vlan(id: u16, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes(), &kind.to_be_bytes(), payload].concat()
}

/// An IPv4 packet from A to B.
pub(crate) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_with(protocol, &[], 0, 0, payload)
}

/// A fragment at `offset` octets.
pub(crate) fn ipv4_fragment(protocol: u8, id: u16, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    ipv4_with(protocol, &[], id, (offset / 8) | if more { 0x2000 } else { 0 }, payload)
}

/// An IPv4 packet with options (a multiple of four octets), id, and flags with offset as on the wire.
pub(crate) fn ipv4_with(protocol: u8, options: &[u8], id: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let mut head = vec![0x40 | u8::try_from(header_len / 4).unwrap(), 0];
    head.extend(be(header_len + payload.len()));
    head.extend(id.to_be_bytes());
    head.extend(flags.to_be_bytes());
    head.extend([64, protocol, 0, 0]);
    head.extend(A.octets());
    head.extend(B.octets());
    head.extend(options);
    let sum = checksum(&head);
    head[10..12].copy_from_slice(&sum);
    head.extend(payload);
    head
}

/// An IPv6 packet from A to B.
pub(crate) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(be(payload.len()));
    packet.extend([next, 64]);
    packet.extend(A6.octets());
    packet.extend(B6.octets());
    packet.extend(payload);
    packet
}

/// An IPv6 fragment header with what follows it.
pub(crate) fn fragment6(next: u8, id: u32, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    [&[next, 0], &(offset | u16::from(more)).to_be_bytes()[..], &id.to_be_bytes(), payload].concat()
}

/// An IPv6 options header (hop-by-hop, destination) of eight octets.
pub(crate) fn options6(next: u8, payload: &[u8]) -> Vec<u8> {
    [&[next, 0, 1, 4, 0, 0, 0, 0], payload].concat()
}

/// A TCP segment over IPv4 between A and B, ports 50000 to 443.
pub(crate) fn tcp(seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    tcp_between(A.into(), B.into(), seq, flags, payload)
}

/// The same between any addresses.
pub(crate) fn tcp_between(src: IpAddr, dst: IpAddr, seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = [&be(50_000)[..], &be(443), &seq.to_be_bytes(), &[0, 0, 0, 7, 0x50, flags, 0xff, 0xff]].concat();
    segment.extend([0; 4]);
    segment.extend(payload);
    let sum = transport_checksum(src, dst, 6, &segment);
    segment[16..18].copy_from_slice(&sum);
    segment
}

/// A datagram over IPv4 between A and B.
pub(crate) fn udp(sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    udp_between(A.into(), B.into(), [sport, dport], payload)
}

/// The same between any addresses.
pub(crate) fn udp_between(src: IpAddr, dst: IpAddr, [sport, dport]: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let mut datagram =
        [&sport.to_be_bytes()[..], &dport.to_be_bytes(), &be(payload.len() + 8), &[0, 0], payload].concat();
    let sum = transport_checksum(src, dst, 17, &datagram);
    datagram[6..8].copy_from_slice(&sum);
    datagram
}

/// A whole frame: Ethernet, IPv4, TCP with this data.
pub(crate) fn tcp_frame(seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(0x0800, &ipv4(6, &tcp(seq, flags, payload)))
}

/// A whole frame: Ethernet, IPv4, UDP with this data.
pub(crate) fn udp_frame(sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    ethernet(0x0800, &ipv4(17, &udp(sport, dport, payload)))
}

/// The Internet checksum over pseudo-header and payload.
pub(crate) fn transport_checksum(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> [u8; 2] {
    let mut octets = Vec::new();
    for address in [src, dst] {
        match address {
            IpAddr::V4(v4) => octets.extend(v4.octets()),
            IpAddr::V6(v6) => octets.extend(v6.octets()),
        }
    }
    octets.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    octets.extend([0, 0, 0, protocol]);
    octets.extend(payload);
    checksum(&octets)
}

/// The Internet checksum, written as slowly as RFC 1071 says it.
pub(crate) fn checksum(octets: &[u8]) -> [u8; 2] {
    let mut sum = 0_u32;
    for pair in octets.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}
