//! Frames through the whole walk; each case is put together header by header.

mod generated;

use super::*;
use crate::base::model::Mac;
use frames::*;
use std::net::IpAddr;

const DATA: &[u8] = b"GET / HTTP/1.1\r\n";

fn decode(link: LinkType, bytes: &[u8]) -> Packet<'_> {
    Frame::new(link, bytes).decode().unwrap()
}

fn in_ethernet(bytes: &[u8]) -> Packet<'_> {
    decode(LinkType::ETHERNET, bytes)
}

fn tcp_of<'a>(packet: &Packet<'a>) -> Tcp<'a> {
    match packet.ip().map(|ip| ip.transport) {
        Some(Transport::Tcp(tcp)) => tcp,
        other => panic!("{other:?}"),
    }
}

fn udp_of<'a>(packet: &Packet<'a>) -> Udp<'a> {
    match packet.ip().map(|ip| ip.transport) {
        Some(Transport::Udp(udp)) => udp,
        other => panic!("{other:?}"),
    }
}

fn segment() -> Vec<u8> {
    ipv4(6, &tcp(9, PSH_ACK, DATA))
}

fn segment6() -> Vec<u8> {
    ipv6(6, &tcp_between(A6.into(), B6.into(), 9, PSH_ACK, DATA))
}

#[test]
fn a_plain_segment_is_read_whole() {
    let bytes = tcp_frame(9, PSH_ACK, DATA);
    let packet = in_ethernet(&bytes);
    assert_eq!((packet.link.src_mac, packet.link.dst_mac), (Some(Mac(A_MAC)), Some(Mac(B_MAC))));
    assert_eq!((packet.tunnels, packet.link.vlans.ids()), (Tunnels::default(), &[][..]));
    let ip = packet.ip().unwrap();
    assert_eq!((ip.src, ip.dst, ip.protocol, ip.ttl), (IpAddr::from(A), IpAddr::from(B), 6, 64));
    assert_eq!((ip.fragment, ip.missing, ip.header.len(), ip.ports()), (None, 0, 20, Some((50_000, 443))));
    let tcp = tcp_of(&packet);
    assert_eq!((tcp.sport, tcp.dport, tcp.seq, tcp.ack, tcp.window), (50_000, 443, 9, 7, 0xffff));
    assert!(tcp.flags.ack() && !tcp.flags.syn() && !tcp.flags.fin() && !tcp.flags.rst());
    assert_eq!((tcp.payload, tcp.options().count()), (DATA, 0));
}

/// Every link type leads to the same segment.
#[test]
fn link_types_are_stepped_over() {
    let (four, six) = (segment(), segment6());
    let sll =
        |kind: u16, packet: &[u8]| [&[0, 0, 0, 1, 0, 6][..], &A_MAC, &[0, 0], &kind.to_be_bytes(), packet].concat();
    let sll2 = |kind: u16, packet: &[u8]| {
        [&kind.to_be_bytes(), &[0, 0, 0, 0, 0, 3, 0, 1, 0, 6][..], &A_MAC, &[0, 0], packet].concat()
    };
    let nflog = |packet: &[u8], word: fn(u16) -> [u8; 2]| {
        let len = u16::try_from(packet.len() + 4).unwrap();
        let hardware = [&word(14)[..], &word(8), &[0, 6, 0, 0], &A_MAC, &[0, 0]].concat();
        let prefix = [&word(5)[..], &word(10), &[0, 0, 0, 0]].concat();
        [&[2, 0, 0, 1][..], &prefix, &hardware, &word(len), &word(9), packet].concat()
    };
    let wifi = |packet: &[u8]| {
        let head = [&[0x88, 0x02, 0, 0][..], &B_MAC, &[1; 6], &A_MAC, &[0, 0], &[0, 0]].concat();
        [&head[..], &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], packet].concat()
    };
    let cases = [
        (LinkType::RAW, four.clone()),
        (LinkType::RAW, six.clone()),
        (LinkType::RAW_12, six.clone()),
        (LinkType::RAW_14, four.clone()),
        (LinkType::IPV4, four.clone()),
        (LinkType::IPV6, six.clone()),
        (LinkType::NULL, [&[2, 0, 0, 0], &four[..]].concat()),
        (LinkType::NULL, [&[0, 0, 0, 30], &six[..]].concat()),
        (LinkType::LOOP, [&[0, 0, 0, 24], &six[..]].concat()),
        (LinkType::SLL, sll(0x0800, &four)),
        (LinkType::SLL, sll(0x8100, &vlan(7, 0x86dd, &six))),
        (LinkType::SLL, sll(4, &[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &four[..]].concat())),
        (LinkType::SLL2, sll2(0x86dd, &six)),
        (LinkType::PPP, [&[0xff, 3, 0, 0x21], &four[..]].concat()),
        (LinkType::PPP, [&[0, 0x57], &six[..]].concat()),
        (LinkType::PPP, [&[0x21], &four[..]].concat()),
        (LinkType::PPP_SERIAL, [&[0x0f, 0, 8, 0], &four[..]].concat()),
        (LinkType::PPP_SERIAL, [&[0xff, 3, 0, 0x57], &six[..]].concat()),
        (LinkType::PPP_PPPD, [&[1, 3, 0, 0x21], &four[..]].concat()),
        (LinkType::PPP_ETHER, [&[0x11, 0, 0, 5, 0, 200, 0, 0x21], &four[..]].concat()),
        (LinkType::CISCO_HDLC, [&[0x8f, 0, 0x86, 0xdd], &six[..]].concat()),
        (LinkType::FDDI, [&[0x50][..], &B_MAC, &A_MAC, &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &four].concat()),
        (LinkType::WIFI, wifi(&four)),
        (LinkType::RADIOTAP, [&[0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &wifi(&four)].concat()),
        (LinkType::NFLOG, nflog(&four, u16::to_le_bytes)),
        (LinkType::NFLOG, nflog(&six, u16::to_be_bytes)),
    ];
    for (link, bytes) in &cases {
        let packet = decode(*link, bytes);
        assert_eq!((tcp_of(&packet).seq, tcp_of(&packet).payload), (9, DATA), "{link:?}");
        let has_mac = matches!(
            *link,
            LinkType::SLL | LinkType::SLL2 | LinkType::FDDI | LinkType::WIFI | LinkType::RADIOTAP | LinkType::NFLOG
        );
        assert_eq!(packet.link.src_mac, has_mac.then_some(Mac(A_MAC)), "{link:?}");
        for len in 0..bytes.len() {
            let _ = Frame::new(*link, &bytes[..len]).decode();
        }
    }
    assert_eq!(Frame::new(LinkType(195), &four).decode(), Err(Fault::Link));
    let outgoing = Frame { direction: Some(Direction::Out), ..Frame::new(LinkType::RAW, &four) };
    assert_eq!(outgoing.decode().unwrap().link.direction, Some(Direction::Out));
    for (kind, direction) in [(0, Some(Direction::In)), (4, Some(Direction::Out)), (7, None)] {
        let (mut one, mut two) = (sll(0x0800, &four), sll2(0x0800, &four));
        (one[1], two[10]) = (kind, kind);
        assert_eq!(decode(LinkType::SLL, &one).link.direction, direction);
        assert_eq!(decode(LinkType::SLL2, &two).link.direction, direction);
    }
}

#[test]
fn tags_and_shims_are_stepped_over() {
    let (four, six) = (segment(), segment6());
    let tags = |first: u16, ids: &[u16]| {
        let inner =
            ids.iter().rev().fold((0x0800, four.clone()), |(kind, payload), &id| (0x8100, vlan(id, kind, &payload)));
        ethernet(first, &inner.1)
    };
    let label = |bottom: u8| [0, 1, bottom, 64];
    let pppoe = [&[0x11, 0, 0x12, 0x34][..], &[0, 58, 0, 0x21], &four].concat();
    let with_llc = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &four[..]].concat();
    let pseudo_wire = [&label(1)[..], &[0, 0, 0, 1], &ethernet(0x0800, &four)].concat();
    let cases: [(Vec<u8>, &[u16]); 12] = [
        (tags(0x8100, &[5]), &[5]),
        (tags(0x88a8, &[0xf005, 6]), &[5, 6]),
        (tags(0x9100, &[1, 2, 3, 4, 5]), &[1, 2, 3, 4]),
        (ethernet(0x8864, &pppoe), &[]),
        (ethernet(0x8100, &vlan(9, 0x8864, &pppoe)), &[9]),
        (ethernet(0x8847, &[&label(0)[..], &label(1), &four].concat()), &[]),
        (ethernet(0x8848, &[&label(1)[..], &six].concat()), &[]),
        (ethernet(0x8847, &pseudo_wire), &[]),
        (ethernet(0x8847, &[&label(1)[..], &ethernet(0x0800, &four)].concat()), &[]),
        (ethernet(60, &with_llc), &[]),
        (ethernet(0x893f, &[&[0, 0, 0, 0, 8, 0], &four[..]].concat()), &[]),
        (ethernet(0x894f, &[&[0, 6, 1, 2, 0, 0, 1, 255], &[0; 16][..], &six].concat()), &[]),
    ];
    for (number, (bytes, ids)) in cases.iter().enumerate() {
        let packet = in_ethernet(bytes);
        assert_eq!(tcp_of(&packet).payload, DATA, "case {number}");
        assert_eq!((packet.link.vlans.ids(), packet.tunnels.depth), (*ids, 0), "case {number}");
        assert_eq!(packet.link.pppoe_session.is_some(), number == 3 || number == 4, "case {number}");
    }
    let tag = Some(0x2007);
    let frame = Frame { vlan_tag: tag, ..Frame::new(LinkType::ETHERNET, &cases[0].0) };
    assert_eq!(frame.decode().unwrap().link.vlans.ids(), &[7, 5], "a tag that the card took out stands outermost");
    let endless = vlan(1, 0x8100, &[]).repeat(100);
    assert_eq!(Frame::new(LinkType::ETHERNET, &ethernet(0x8100, &endless)).decode(), Err(Fault::TooDeep));
    assert_eq!(in_ethernet(&ethernet(0x88cc, &[0; 50])).content, Content::Other(0x88cc));
}

#[test]
fn lengths_are_believed_as_far_as_the_capture_goes() {
    // Padded to Ethernet's least length.
    let mut padded = tcp_frame(9, PSH_ACK, b"x");
    padded.extend([0xee; 30]);
    assert_eq!(tcp_of(&in_ethernet(&padded)).payload, b"x");
    // Cut by the capture.
    let whole = tcp_frame(9, PSH_ACK, DATA);
    let packet = in_ethernet(&whole[..whole.len() - 6]);
    assert_eq!((tcp_of(&packet).payload, packet.ip().unwrap().missing), (&DATA[..10], 6));
    assert_eq!(packet.ip().unwrap().checksum(), Checksum::Unknown);
    // Cut within TCP's header: the ports are still there.
    let packet = in_ethernet(&whole[..14 + 20 + 8]);
    assert_eq!(
        (packet.ip().unwrap().transport, packet.ip().unwrap().ports()),
        (Transport::Broken, Some((50_000, 443)))
    );
    // A length that hardware was to fill in.
    let mut offloaded = whole.clone();
    offloaded[16..18].copy_from_slice(&[0, 0]);
    assert_eq!(tcp_of(&in_ethernet(&offloaded)).payload, DATA);
    let mut offloaded = ethernet(0x86dd, &segment6());
    offloaded[18..20].copy_from_slice(&[0, 0]);
    assert_eq!(tcp_of(&in_ethernet(&offloaded)).payload, DATA);
    // A datagram that says to be shorter, or longer, than its packet.
    for (len, payload) in [(10_u8, &b"ab"[..]), (12, b"abcd"), (200, b"abcd"), (0, b"abcd")] {
        let mut bytes = udp_frame(1, 2, b"abcd");
        bytes[39] = len;
        assert_eq!(udp_of(&in_ethernet(&bytes)).payload, payload, "{len}");
    }
    for (at, value) in [(14, 0x65), (14, 0x44), (17, 19)] {
        let mut bytes = whole.clone();
        bytes[at] = value;
        assert_eq!(Frame::new(LinkType::ETHERNET, &bytes).decode(), Err(Fault::Malformed), "{at}");
    }
    assert_eq!(Frame::new(LinkType::ETHERNET, &whole[..20]).decode(), Err(Fault::Short));
}

#[test]
fn options_and_extension_headers_are_stepped_over() {
    let bytes = ipv4_with(6, &[7, 3, 4, 1], 0, 0x4000, &tcp(9, SYN, DATA));
    let packet = decode(LinkType::RAW, &bytes);
    assert_eq!((tcp_of(&packet).payload, packet.ip().unwrap().header.len()), (DATA, 24));
    assert!(!packet.ip().unwrap().rerouted && packet.ip().unwrap().header_checksum_is_good());
    let routed = ipv4_with(6, &[1, 131, 7, 4, 8, 8, 8, 8], 0, 0, &tcp(9, SYN, DATA));
    assert!(decode(LinkType::RAW, &routed).ip().unwrap().rerouted);

    let segment = tcp_between(A6.into(), B6.into(), 9, SYN, DATA);
    let routing = |left: u8| [&[60, 0, 0, left, 0, 0, 0, 0], &options6(6, &segment)[..]].concat();
    let authentication = [&[6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &segment[..]].concat();
    for (next, payload, header_len, rerouted) in [
        (0, options6(60, &options6(6, &segment)), 56, false),
        (43, routing(0), 56, false),
        (43, routing(1), 56, true),
        (51, authentication, 52, false),
        (44, fragment6(6, 1, 0, false, &segment), 48, false),
        (60, [&[6, 2, 201, 16], &[0; 20][..], &segment].concat(), 64, true),
        (60, [&[6, 0, 201, 4], &[0; 4][..], &segment].concat(), 48, true),
    ] {
        let bytes = ipv6(next, &payload);
        let packet = decode(LinkType::RAW, &bytes);
        let ip = packet.ip().unwrap();
        assert_eq!((tcp_of(&packet).payload, ip.header.len(), ip.rerouted), (DATA, header_len, rerouted), "{next}");
        assert_eq!(ip.checksum(), if rerouted { Checksum::Unknown } else { Checksum::Good }, "{next}");
        assert_eq!(ip.fragment, None, "one that says \"whole\" is none");
    }
    let authenticated = ipv4(51, &[&[6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &tcp(9, SYN, DATA)[..]].concat());
    let packet = decode(LinkType::RAW, &authenticated);
    assert_eq!((tcp_of(&packet).payload, packet.ip().unwrap().checksum()), (DATA, Checksum::Good));
    let many = (0..20).fold(segment.clone(), |payload, at| options6(if at == 0 { 6 } else { 60 }, &payload));
    assert_eq!(Frame::new(LinkType::RAW, &ipv6(60, &many)).decode(), Err(Fault::TooDeep));
    let nothing = ipv6(59, &[]);
    assert_eq!(decode(LinkType::RAW, &[&nothing[..], &[1, 2, 3]].concat()).ip().unwrap().payload, &[] as &[u8]);
}

#[test]
fn tcp_options_end_at_the_first_that_cannot_be() {
    let read = |options: &[u8]| {
        let mut segment = tcp(9, SYN, b"");
        segment[12] = u8::try_from((20 + options.len()) / 4 * 16).unwrap();
        segment.extend(options);
        let bytes = ipv4(6, &segment);
        tcp_of(&decode(LinkType::RAW, &bytes))
            .options()
            .map(|option| (option.kind, option.data.to_vec()))
            .collect::<Vec<_>>()
    };
    assert_eq!(read(&[2, 4, 5, 0xb4, 1, 3, 3, 7]), vec![(2, vec![5, 0xb4]), (3, vec![7])]);
    assert_eq!(read(&[19, 18, 0, 0]), vec![]);
    assert_eq!(read(&[2, 1, 0, 0]), vec![]);
    assert_eq!(read(&[4, 2, 0, 2, 2, 4, 0, 0]), vec![(4, vec![])]);
}

#[test]
fn fragments_wait_for_each_other_and_go_on_together() {
    let inner = ethernet(0x0800, &segment());
    let datagram = udp(50_000, 4789, &[&[8, 0, 0, 0, 0, 0, 7, 0], &inner[..]].concat());
    let (first, last) = datagram.split_at(24);
    let bytes = ethernet(0x0800, &ipv4_fragment(17, 77, 0, true, first));
    let packet = in_ethernet(&bytes);
    let ip = packet.ip().unwrap();
    assert_eq!(ip.fragment, Some(Fragment { id: 77, offset: 0, more: true }));
    assert_eq!((ip.transport, ip.payload, ip.ports()), (Transport::Fragment, first, Some((50_000, 4789))));
    let bytes = ethernet(0x0800, &ipv4_fragment(17, 77, 24, false, last));
    let packet = in_ethernet(&bytes);
    let ip = packet.ip().unwrap();
    assert_eq!(ip.fragment, Some(Fragment { id: 77, offset: 24, more: false }));
    assert_eq!((ip.payload, ip.ports()), (last, None));
    let whole = packet.resume(17, &datagram);
    assert_eq!((tcp_of(&whole).payload, whole.tunnels.depth, whole.tunnels.network), (DATA, 1, Some(7)));

    let segment = tcp_between(A6.into(), B6.into(), 9, SYN, DATA);
    let bytes = ipv6(0, &options6(44, &fragment6(60, 5, 1448, true, &[0; 16])));
    let packet = decode(LinkType::RAW, &bytes);
    let ip = packet.ip().unwrap();
    assert_eq!(ip.fragment, Some(Fragment { id: 5, offset: 1448, more: true }));
    assert_eq!((ip.protocol, ip.header.len(), ip.payload), (60, 56, &[0; 16][..]));
    let whole = options6(6, &segment);
    let whole = packet.resume(60, &whole);
    assert_eq!((tcp_of(&whole).payload, whole.ip().unwrap().fragment), (DATA, None));
    assert_eq!(whole.ip().unwrap().checksum(), Checksum::Good);
}

#[test]
fn checksums_are_judged() {
    for bytes in [segment(), segment6(), ipv4(17, &udp(1, 2, b"abc")), ipv4(6, &tcp(1, SYN, b"odd"))] {
        assert_eq!(decode(LinkType::RAW, &bytes).ip().unwrap().checksum(), Checksum::Good);
        assert!(decode(LinkType::RAW, &bytes).ip().unwrap().header_checksum_is_good());
        let mut bent = bytes.clone();
        *bent.last_mut().unwrap() ^= 1;
        assert_eq!(decode(LinkType::RAW, &bent).ip().unwrap().checksum(), Checksum::Bad);
    }
    let mut bent = segment();
    bent[8] = 1;
    assert!(!decode(LinkType::RAW, &bent).ip().unwrap().header_checksum_is_good(), "a time to live that was changed");
    // A sum over no data is the negation of that over the pseudo-header alone.
    for len in [20 + DATA.len(), 0] {
        let mut offloaded = segment();
        let mut pseudo = [&A.octets()[..], &B.octets(), &[0, 6]].concat();
        pseudo.extend(u16::try_from(len).unwrap().to_be_bytes());
        let sum = !u16::from_be_bytes(checksum(&pseudo));
        offloaded[36..38].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(decode(LinkType::RAW, &offloaded).ip().unwrap().checksum(), Checksum::Partial, "{len}");
    }
    let mut unsummed = ipv4(17, &udp(1, 2, b"abc"));
    unsummed[26..28].copy_from_slice(&[0, 0]);
    assert_eq!(decode(LinkType::RAW, &unsummed).ip().unwrap().checksum(), Checksum::Absent);
    let mut echo = vec![8, 0, 0, 0, 1, 2, 3, 4];
    let sum = checksum(&echo);
    echo[2..4].copy_from_slice(&sum);
    assert_eq!(decode(LinkType::RAW, &ipv4(1, &echo)).ip().unwrap().checksum(), Checksum::Good);
    echo[7] = 5;
    assert_eq!(decode(LinkType::RAW, &ipv4(1, &echo)).ip().unwrap().checksum(), Checksum::Bad);
    assert_eq!(decode(LinkType::RAW, &ipv4(132, &echo)).ip().unwrap().checksum(), Checksum::Unknown);
}

#[test]
fn errors_quote_what_they_are_about() {
    let quoted = &segment()[..28];
    let bytes = ipv4(1, &[&[3, 1, 0, 0, 0, 0, 0, 0], quoted].concat());
    let packet = decode(LinkType::RAW, &bytes);
    let Transport::Icmp(icmp) = packet.ip().unwrap().transport else { panic!("{packet:?}") };
    let about = icmp.quoted().unwrap();
    assert_eq!((about.dst, about.ports(), about.transport), (IpAddr::from(B), Some((50_000, 443)), Transport::Broken));
    assert_eq!((icmp.kind, icmp.code, icmp.v6, about.missing), (3, 1, false, 28));
    let bytes = ipv6(58, &[&[1, 4, 0, 0, 0, 0, 0, 0], &segment6()[..]].concat());
    let packet = decode(LinkType::RAW, &bytes);
    let Transport::Icmp(icmp) = packet.ip().unwrap().transport else { panic!("{packet:?}") };
    assert!(matches!(icmp.quoted().unwrap().transport, Transport::Tcp(tcp) if tcp.payload == DATA));
    let echo = ipv4(1, &[&[8, 0, 0, 0, 0, 0, 0, 0], quoted].concat());
    let packet = decode(LinkType::RAW, &echo);
    let Transport::Icmp(icmp) = packet.ip().unwrap().transport else { panic!("{packet:?}") };
    assert_eq!(icmp.quoted(), None);
}

#[test]
fn who_has_which_address_is_said_by_arp_and_discovery() {
    let arp = |sender: [u8; 4]| [&[0, 1, 8, 0, 6, 4, 0, 1][..], &A_MAC, &sender, &[0; 6], &B.octets()].concat();
    let bytes = ethernet(0x0806, &arp(A.octets()));
    let packet = in_ethernet(&bytes);
    assert_eq!(packet.neighbour(), Some((IpAddr::from(A), Mac(A_MAC))));
    assert!(matches!(packet.content, Content::Arp(arp) if arp.operation == 1 && arp.target == B));
    let probe = ethernet(0x0806, &arp([0; 4]));
    assert_eq!(in_ethernet(&probe).neighbour(), None, "a probe claims nothing yet");
    let short = ethernet(0x0806, &arp([1; 4])[..27]);
    assert_eq!(Frame::new(LinkType::ETHERNET, &short).decode(), Err(Fault::Short));

    let said = |kind: u8, body: &[u8], hops: u8| {
        let mut bytes = ipv6(58, &[&[kind, 0, 0, 0], body].concat());
        bytes[7] = hops;
        decode(LinkType::RAW, &bytes).neighbour()
    };
    let with = |len: usize, option: u8| [&vec![0; len][..], &[9, 1, 0, 0, 0, 0, 0, 0], &[option, 1], &A_MAC].concat();
    assert_eq!(said(133, &with(4, 1), 255), Some((A6.into(), Mac(A_MAC))));
    assert_eq!(said(134, &with(12, 1), 255), Some((A6.into(), Mac(A_MAC))));
    assert_eq!(said(135, &with(20, 1), 255), Some((A6.into(), Mac(A_MAC))));
    assert_eq!(said(135, &with(20, 1), 64), None, "a router let it pass");
    assert_eq!(said(135, &[&[0; 20][..], &[0, 0], &A_MAC].concat(), 255), None, "an option without length");
    let target = [&[0; 4][..], &B6.octets(), &[2, 1], &A_MAC].concat();
    assert_eq!(said(136, &target, 255), Some((B6.into(), Mac(A_MAC))));
}

/// A packet for every tunnel, over both versions of IP, with the hardware address inside it.
fn tunnelled() -> Vec<(TunnelKind, Vec<u8>, Option<[u8; 6]>)> {
    use TunnelKind as T;
    let (four, six) = (segment(), segment6());
    let inner = ethernet(0x0800, &four);
    let over = |number: u8, head: &[u8], carried: &[u8]| ipv4(number, &[head, carried].concat());
    let over_udp = |port: u16, head: &[u8], carried: &[u8]| ipv4(17, &udp(40_000, port, &[head, carried].concat()));
    let wifi =
        [&[0x08, 0x01, 0, 0][..], &[1; 6], &A_MAC, &B_MAC, &[0, 0, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &four].concat();
    let swapped = [&[0x01, 0x08], &wifi[2..]].concat();
    let gtp_len = |extra: usize| u16::try_from(four.len() + extra).unwrap().to_be_bytes();
    vec![
        (T::Ip, over(4, &[], &four), None),
        (T::Ip, over(41, &[], &six), None),
        (T::Ip, ipv6(4, &four), None),
        (T::Ip, ipv6(41, &six), None),
        (T::Layer2, over(137, &[0, 1, 1, 64], &four), None),
        (T::Layer2, ipv6(143, &inner), Some(A_MAC)),
        (T::Gre, over(47, &[0, 0, 8, 0], &four), None),
        (T::Gre, over(47, &[0xb0, 0, 0x86, 0xdd, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3], &six), None),
        (T::Gre, over(47, &[0x20, 0, 0x65, 0x58, 0, 0, 0, 1], &inner), Some(A_MAC)),
        (T::Erspan, over(47, &[0, 0, 0x88, 0xbe], &inner), Some(A_MAC)),
        (T::Erspan, over(47, &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 0, 0, 0, 0, 0], &inner), Some(A_MAC)),
        (
            T::Erspan,
            over(47, &[&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1][..], &[0x20; 10], &[0, 0]].concat(), &inner),
            Some(A_MAC),
        ),
        (
            T::Erspan,
            over(47, &[&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1][..], &[0x20; 10], &[8, 1], &[0; 8]].concat(), &four),
            None,
        ),
        (
            T::Pptp,
            over(47, &[0x30, 0x81, 0x88, 0x0b, 0, 9, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 3, 0, 0x21], &four),
            None,
        ),
        (T::Gre, over_udp(4754, &[0, 0, 8, 0], &four), None),
        (T::Mpls, over_udp(6635, &[0, 1, 1, 64], &six), None),
        (T::Vxlan, over_udp(4789, &[8, 0, 0, 0, 0, 0, 5, 0], &inner), Some(A_MAC)),
        (T::Vxlan, over_udp(8472, &[8, 1, 2, 3, 0, 0, 5, 9], &inner), Some(A_MAC)),
        (T::Vxlan, over_udp(4790, &[12, 0, 0, 1, 0, 0, 5, 0], &four), None),
        (T::Geneve, over_udp(6081, &[1, 0, 0x65, 0x58, 0, 0, 5, 0, 0, 0, 0, 0], &inner), Some(A_MAC)),
        (T::Geneve, over_udp(6081, &[0, 0, 0x86, 0xdd, 0, 0, 5, 0], &six), None),
        (T::Gtp, over_udp(2152, &[&[0x30, 255], &gtp_len(0)[..], &[0; 4]].concat(), &four), None),
        (
            T::Gtp,
            over_udp(2152, &[&[0x34, 255], &gtp_len(8)[..], &[0; 4], &[0, 0, 0, 0x85, 1, 0, 9, 0]].concat(), &four),
            None,
        ),
        (T::Capwap, over_udp(5247, &[0, 0x10, 0x02, 0, 0, 0, 0, 0], &inner), Some(A_MAC)),
        (T::Capwap, over_udp(5247, &[0, 0x18, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0], &wifi), Some(A_MAC)),
        (T::Capwap, over_udp(5247, &[0, 0x10, 0x03, 0, 0, 0, 0, 0], &swapped), Some(A_MAC)),
        (T::Teredo, over_udp(3544, &[], &six), None),
        (T::Teredo, over_udp(3544, &[0, 1, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 0, 1, 2, 3, 4, 5, 6], &six), None),
        (T::Ayiya, over_udp(5072, &[&[0x41, 0x52, 0x11, 41][..], &[0; 4], &[7; 16], &[8; 20]].concat(), &six), None),
    ]
}

#[test]
fn tunnels_yield_what_they_carry() {
    for (number, (kind, packet, mac)) in tunnelled().iter().enumerate() {
        let bytes = ethernet(if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd }, packet);
        let read = in_ethernet(&bytes);
        assert_eq!(tcp_of(&read).payload, DATA, "case {number}: {kind:?}");
        assert_eq!((read.tunnels.innermost, read.tunnels.depth), (Some(*kind), 1), "case {number}");
        assert_eq!(read.link.src_mac, mac.map(Mac), "case {number}: the tunnel's hardware address is nobody's inside");
        let has_network = matches!(kind, TunnelKind::Vxlan | TunnelKind::Geneve).then_some(5);
        assert_eq!(read.tunnels.network, has_network, "case {number}");
        let outer = read.tunnels.outermost.unwrap();
        let expected: (IpAddr, IpAddr) =
            if packet[0] >> 4 == 4 { (A.into(), B.into()) } else { (A6.into(), B6.into()) };
        assert_eq!(outer, expected, "case {number}");
        // What cannot be read inside leaves the outside.
        let broken = &bytes[..bytes.len() - DATA.len() - 40];
        let read = in_ethernet(broken);
        assert!(read.tunnels.depth <= 1 && read.ip().is_some(), "case {number}");
    }
}

#[test]
fn what_only_looks_like_a_tunnel_stays_a_datagram() {
    for (port, payload) in [
        (4789, &[0x40; 60][..]),
        (4789, &[8, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3]),
        (6081, &[0x80; 60]),
        (2152, &[0x30; 60]),
        (3544, &[0x11; 60]),
        (5247, &[0; 60]),
        (5072, &[0x11; 60]),
        (6635, &[0x11; 60]),
    ] {
        let bytes = udp_frame(40_000, port, payload);
        let packet = in_ethernet(&bytes);
        assert_eq!(
            (udp_of(&packet).payload, packet.tunnels, packet.link.src_mac),
            (payload, Tunnels::default(), Some(Mac(A_MAC)))
        );
    }
}

#[test]
fn tunnels_are_followed_to_a_depth() {
    let nest = |depth| (0..depth).fold(segment(), |packet, _| ipv4(4, &packet));
    let deepest = nest(usize::from(TUNNELS_MAX));
    let packet = decode(LinkType::RAW, &deepest);
    assert_eq!((tcp_of(&packet).payload, packet.tunnels.depth, packet.tunnels.too_deep), (DATA, TUNNELS_MAX, false));
    let deeper = nest(usize::from(TUNNELS_MAX) + 1);
    let packet = decode(LinkType::RAW, &deeper);
    assert_eq!((packet.ip().unwrap().protocol, packet.tunnels.depth, packet.tunnels.too_deep), (4, TUNNELS_MAX, true));
}
