//! Laws over generated frames: any bytes end, and a strict reader reads the same.

use super::*;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_bytes_of_any_link_end(link in 0_u16..300, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(packet) = Frame::new(LinkType(link), &bytes).decode() {
            touch(&packet);
        }
    }

    /// Where a strict reader takes a frame, ours reads the same in it.
    #[test]
    fn etherparse_reads_the_same(
        six in any::<bool>(), tags in 0_usize..3, with_options in any::<bool>(), datagram in any::<bool>(),
        data in proptest::collection::vec(any::<u8>(), 0..40),
        bends in proptest::collection::vec((0_usize..80, any::<u8>()), 0..3),
    ) {
        let (src, dst): (IpAddr, IpAddr) = if six { (A6.into(), B6.into()) } else { (A.into(), B.into()) };
        let (number, transport) = match datagram {
            true => (17, udp_between(src, dst, [50_000, 443], &data)),
            false => (6, tcp_between(src, dst, 7, PSH_ACK, &data)),
        };
        let packet = match (six, with_options) {
            (true, true) => ipv6(0, &options6(60, &options6(number, &transport))),
            (true, false) => ipv6(number, &transport),
            (false, true) => ipv4_with(number, &[1, 1, 1, 0], 3, 0x4000, &transport),
            (false, false) => ipv4(number, &transport),
        };
        let kind = if six { 0x86dd } else { 0x0800 };
        let (kind, packet) = (0..tags).fold((kind, packet), |(kind, packet), id| (0x8100, vlan(id as u16, kind, &packet)));
        let mut bytes = ethernet(kind, &packet);
        for (at, value) in bends {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let Ok(theirs) = SlicedPacket::from_ethernet(&bytes) else { return Ok(()) };
        let expected = match (&theirs.net, &theirs.transport) {
            (Some(net), Some(transport)) => (
                match net {
                    NetSlice::Ipv4(v4) => (v4.header().source_addr().into(), v4.header().destination_addr().into()),
                    NetSlice::Ipv6(v6) => (v6.header().source_addr().into(), v6.header().destination_addr().into()),
                    NetSlice::Arp(_) => return Ok(()),
                },
                match transport {
                    TransportSlice::Tcp(tcp) => (tcp.source_port(), tcp.destination_port(), tcp.payload(), tcp.options()),
                    TransportSlice::Udp(udp) => (udp.source_port(), udp.destination_port(), udp.payload(), &[][..]),
                    _ => return Ok(()),
                },
            ),
            _ => return Ok(()),
        };
        let packet = Frame::new(LinkType::ETHERNET, &bytes).decode().unwrap();
        let ip = packet.ip().unwrap();
        let (addresses, ours): ((IpAddr, IpAddr), _) = ((ip.src, ip.dst), match &ip.transport {
            Transport::Tcp(tcp) => (tcp.sport, tcp.dport, tcp.payload, tcp.options),
            Transport::Udp(udp) => (udp.sport, udp.dport, udp.payload, &[][..]),
            other => panic!("{other:?}"),
        });
        prop_assert_eq!((addresses, ours), expected);
        prop_assert_eq!(packet.link.vlans.ids().len(), theirs.link_exts.len());
    }

    /// Frames that lead somewhere, bent in places.
    #[test]
    fn bent_frames_end(port in prop::sample::select(vec![4789_u16, 6081, 2152, 3544, 5247, 4754, 6635, 5072]),
                       protocol in prop::sample::select(vec![4_u8, 6, 17, 41, 47, 58, 137, 143, 1, 0, 60]),
                       bends in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
                       cut in any::<prop::sample::Index>()) {
        let carried = ethernet(0x0800, &segment());
        let datagram = ipv4(17, &udp(40_000, port, &[&[8, 0, 0, 0, 0, 0, 5, 0], &carried[..]].concat()));
        let mut bytes = ethernet(0x0800, &ipv4(protocol, &datagram));
        for (at, value) in bends {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let len = cut.index(bytes.len() + 1);
        if let Ok(packet) = Frame::new(LinkType::ETHERNET, &bytes[..len]).decode() {
            touch(&packet);
        }
    }
}

/// Uses whatever can be computed of a packet.
fn touch(packet: &Packet<'_>) {
    let _ = packet.neighbour();
    let Some(ip) = packet.ip() else { return };
    let _ = (ip.checksum(), ip.header_checksum_is_good(), ip.ports());
    match ip.transport {
        Transport::Tcp(tcp) => drop(tcp.options().count()),
        Transport::Icmp(icmp) => drop(icmp.quoted()),
        _ => {}
    }
    let _ = packet.resume(ip.protocol, ip.payload);
}
