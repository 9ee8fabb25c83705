//! The reset that ends a connection at the end that a packet goes to (RFC 9293 §3.10.7).

use crate::base::wire::packet::{Frame, LinkType, Transport};
use std::net::IpAddr;

const TCP: u8 = 6;
/// RST and ACK.
const FLAGS: u8 = 0x14;
const HOPS: u8 = 64;
const TCP_OCTETS: u16 = 20;

/// From an IP packet of TCP, where its reset goes and what it is; `None` for any other packet.
#[must_use]
pub fn reset(packet: &[u8]) -> Option<(IpAddr, Vec<u8>)> {
    let packet = Frame::new(LinkType::RAW, packet).decode().ok()?;
    let ip = packet.ip()?;
    let Transport::Tcp(tcp) = ip.transport else { return None };
    let mut segment = Vec::with_capacity(usize::from(TCP_OCTETS));
    segment.extend(tcp.sport.to_be_bytes());
    segment.extend(tcp.dport.to_be_bytes());
    // The packet itself does not get there, so its place is what the other end waits for.
    segment.extend(tcp.seq.to_be_bytes());
    segment.extend(tcp.ack.to_be_bytes());
    segment.extend([5 << 4, FLAGS, 0, 0, 0, 0, 0, 0]);
    let (addresses, mut whole) = match (ip.src, ip.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let addresses = [src.octets(), dst.octets()].concat();
            // The kernel fills in the checksum of this header.
            let mut header = vec![0x45, 0];
            header.extend((20 + TCP_OCTETS).to_be_bytes());
            header.extend([0, 0, 0x40, 0, HOPS, TCP, 0, 0]);
            (addresses, header)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let addresses = [src.octets(), dst.octets()].concat();
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(TCP_OCTETS.to_be_bytes());
            header.extend([TCP, HOPS]);
            (addresses, header)
        }
        _ => return None,
    };
    let sum = checksum(&addresses, &segment);
    if let Some(field) = segment.get_mut(16..18) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    whole.extend(addresses);
    whole.extend(segment);
    Some((ip.dst, whole))
}

/// The checksum of a segment and its pseudo-header (RFC 1071).
fn checksum(addresses: &[u8], segment: &[u8]) -> u16 {
    let words = addresses.chunks(2).chain(segment.chunks(2));
    let word = |pair: &[u8]| pair.iter().fold(0, |word: u32, octet| word << 8 | u32::from(*octet));
    let mut sum = words.map(word).sum::<u32>() + u32::from(TCP) + u32::from(TCP_OCTETS);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::wire::packet::Checksum;

    #[test]
    fn a_reset_stands_where_the_packet_would_have_stood() {
        let mut packet = vec![0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, TCP, 0, 0, 10, 0, 0, 5, 192, 0, 2, 9];
        packet.extend([0xc0, 1, 0x01, 0xbb, 1, 2, 3, 4, 5, 6, 7, 8, 5 << 4, 0x18, 1, 1, 0, 0, 0, 0, 22, 3, 1, 0]);
        let mut v6 = vec![0x60, 0, 0, 0, 0, 24, TCP, 64, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        v6.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        v6.extend(&packet[20..]);
        for packet in [packet, v6] {
            let (to, octets) = reset(&packet).unwrap();
            let read = Frame::new(LinkType::RAW, &octets).decode().unwrap();
            let ip = read.ip().unwrap();
            let Transport::Tcp(tcp) = ip.transport else { panic!("{ip:?}") };
            assert_eq!((ip.dst, ip.missing, ip.checksum()), (to, 0, Checksum::Good));
            assert_eq!((tcp.sport, tcp.dport, tcp.seq, tcp.ack), (0xc001, 443, 0x0102_0304, 0x0506_0708));
            assert!(tcp.flags.rst() && tcp.flags.ack() && !tcp.flags.syn() && tcp.payload.is_empty());
        }
        assert_eq!(reset(&[0x45, 0, 0, 20]), None);
    }
}
