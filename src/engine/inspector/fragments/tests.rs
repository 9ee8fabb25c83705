//! Fragments as networks and enemies send them.

use super::*;
use crate::base::wire::packet::frames::*;
use crate::base::wire::packet::{Frame, LinkType, Transport};
use proptest::prelude::*;

const ROOM: usize = 32 << 20;

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * 1_000_000_000)
}

fn give(fragments: &mut Fragments, seconds: u64, bytes: &[u8]) -> Option<Datagram> {
    fragments.handle_packet(at(seconds), &Frame::new(LinkType::RAW, bytes).decode().unwrap())
}

fn from(host: u8, id: u16, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ipv4_fragment(17, id, offset, more, payload);
    bytes[15] = host;
    bytes
}

fn data(len: usize) -> Vec<u8> {
    (0..=255).cycle().take(len).collect()
}

#[test]
fn fragments_of_both_versions_come_together_in_any_order() {
    let whole = udp(1, 2, &data(3_000));
    let mut fragments = Fragments::new(ROOM);
    let parts = [(0, true), (1_480, true), (2_960, false)];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let mut done = None;
        for (step, part) in order.into_iter().enumerate() {
            let (from, more) = parts[part];
            let bytes = &whole[from..whole.len().min(from + 1_480)];
            done = give(&mut fragments, 0, &ipv4_fragment(17, 9, u16::try_from(from).unwrap(), more, bytes));
            assert_eq!(done.is_some(), step == 2, "{order:?}");
        }
        assert_eq!(done.unwrap(), Datagram { protocol: 17, first: whole.clone(), last: None });
    }
    let segment = options6(6, &tcp_between(A6.into(), B6.into(), 1, SYN, b"data"));
    let second = ipv6(44, &fragment6(6, 5, 16, false, &segment[16..]));
    let first = ipv6(44, &fragment6(60, 5, 0, true, &segment[..16]));
    assert_eq!(give(&mut fragments, 0, &second), None);
    let datagram = give(&mut fragments, 0, &first).unwrap();
    assert_eq!((datagram.protocol, &datagram.first), (60, &segment), "the first fragment says what it is");
    let packet = Frame::new(LinkType::RAW, &first).decode().unwrap();
    let packet = packet.resume(datagram.protocol, &datagram.first);
    assert!(matches!(packet.ip().unwrap().transport, Transport::Tcp(tcp) if tcp.payload == b"data"));
    assert_eq!((fragments.octets(), fragments.counters().whole), (0, 5));
}

#[test]
fn other_ids_protocols_and_ends_are_other_datagrams() {
    let mut fragments = Fragments::new(ROOM);
    let first = ipv4_fragment(17, 9, 0, true, &[1; 8]);
    assert_eq!(give(&mut fragments, 0, &first), None);
    assert_eq!(give(&mut fragments, 0, &ipv4_fragment(17, 8, 8, false, &[2; 8])), None);
    assert_eq!(give(&mut fragments, 0, &ipv4_fragment(6, 9, 8, false, &[2; 8])), None);
    assert_eq!(give(&mut fragments, 0, &from(77, 9, 8, false, &[2; 8])), None);
    assert_eq!(give(&mut fragments, 0, &ipv4(17, &udp(1, 2, b"whole"))), None, "no fragment at all");
    assert_eq!(fragments.counters().fragments, 4);
    assert!(give(&mut fragments, 0, &ipv4_fragment(17, 9, 8, false, &[2; 8])).is_some());
}

#[test]
fn where_fragments_overlap_both_readings_are_kept() {
    let mut fragments = Fragments::new(ROOM);
    give(&mut fragments, 0, &ipv4_fragment(17, 9, 0, true, b"aaaaaaaabbbbbbbb"));
    give(&mut fragments, 0, &ipv4_fragment(17, 9, 8, true, b"BBBBBBBBcccccccc"));
    let datagram = give(&mut fragments, 0, &ipv4_fragment(17, 9, 24, false, b"d")).unwrap();
    assert_eq!(datagram.first, b"aaaaaaaabbbbbbbbccccccccd");
    assert_eq!(datagram.last.as_deref(), Some(&b"aaaaaaaaBBBBBBBBccccccccd"[..]));
    // The same octets twice are one reading.
    give(&mut fragments, 0, &ipv4_fragment(17, 9, 0, true, b"aaaaaaaabbbbbbbb"));
    give(&mut fragments, 0, &ipv4_fragment(17, 9, 0, true, b"aaaaaaaa"));
    give(&mut fragments, 0, &ipv4_fragment(17, 9, 8, true, b"bbbbbbbbcccccccc"));
    let datagram = give(&mut fragments, 0, &ipv4_fragment(17, 9, 24, false, b"d")).unwrap();
    assert_eq!(datagram.last, None);
    // So is what was overwritten and then written back.
    give(&mut fragments, 0, &ipv4_fragment(17, 9, 0, true, b"aaaaaaaabbbbbbbb"));
    give(&mut fragments, 0, &ipv4_fragment(17, 9, 8, true, b"BBBBBBBB"));
    give(&mut fragments, 0, &ipv4_fragment(17, 9, 8, true, b"bbbbbbbb"));
    let datagram = give(&mut fragments, 0, &ipv4_fragment(17, 9, 16, false, b"d")).unwrap();
    assert_eq!(datagram.last, None);
    let counters = fragments.counters();
    assert_eq!((counters.whole, counters.ambiguous, counters.duplicates), (3, 1, 1));
}

#[test]
fn an_overlap_in_ipv6_ends_the_datagram_but_a_duplicate_does_not() {
    let mut fragments = Fragments::new(ROOM);
    let part = |offset, more, payload: &[u8]| ipv6(44, &fragment6(17, 5, offset, more, payload));
    give(&mut fragments, 0, &part(0, true, b"aaaaaaaabbbbbbbb"));
    give(&mut fragments, 0, &part(0, true, b"aaaaaaaabbbbbbbb"));
    assert_eq!(fragments.counters().duplicates, 1);
    give(&mut fragments, 0, &part(8, true, b"bbbbbbbbcccccccc"));
    assert_eq!((fragments.counters().contradictory, fragments.octets()), (1, 0));
    assert_eq!(give(&mut fragments, 0, &part(24, false, b"d")), None);
}

#[test]
fn what_cannot_be_a_part_is_refused() {
    let mut fragments = Fragments::new(ROOM);
    let beyond = ipv4_fragment(17, 9, 65_528, false, &[0; 100]);
    let short = ipv4_fragment(17, 9, 0, true, &[0; 7]);
    let empty = ipv4_fragment(17, 9, 8, false, &[]);
    let cut = &ipv4_fragment(17, 9, 8, false, &[0; 100])[..60];
    for bytes in [&beyond[..], &short, &empty, cut] {
        assert_eq!(give(&mut fragments, 0, bytes), None);
    }
    assert_eq!((fragments.counters().refused, fragments.octets()), (4, 0));
    // Two ends, an end before what is there, something after the end.
    for (id, parts) in [(1, [(8, false), (16, false)]), (2, [(16, true), (8, false)]), (3, [(8, false), (16, true)])] {
        for (offset, more) in parts {
            assert_eq!(give(&mut fragments, 0, &ipv4_fragment(17, id, offset, more, &[0; 8])), None);
        }
        assert_eq!((fragments.counters().contradictory, fragments.octets()), (u64::from(id), 0));
    }
}

#[test]
fn a_datagram_waits_for_its_fragments_so_long() {
    let mut fragments = Fragments::new(ROOM);
    give(&mut fragments, 100, &ipv4_fragment(17, 9, 0, true, &[0; 8]));
    fragments.handle_timeout(at(129));
    assert_eq!(fragments.counters().late, 0);
    fragments.handle_timeout(at(130));
    assert_eq!((fragments.counters().late, fragments.octets()), (1, 0));
    give(&mut fragments, 200, &ipv4_fragment(17, 9, 0, true, &[0; 8]));
    assert_eq!(give(&mut fragments, 230, &ipv4_fragment(17, 9, 8, false, &[0; 8])), None, "its first part is gone");
    assert_eq!(fragments.counters().late, 2);
}

#[test]
fn a_flood_stays_within_its_bounds_and_costs_nobody_else() {
    let mut fragments = Fragments::new(ROOM);
    // A neighbour of host 1 in its shard, so that they compete.
    let shard = |host: u8| fragments.hasher.hash_one(IpAddr::from([10, 0, 0, host])) % SHARDS as u64;
    let Some(neighbour) = (2..=255).find(|&host| shard(host) == shard(1)) else { return };
    give(&mut fragments, 0, &from(1, 9, 0, true, &[7; 8]));
    // Bombs: each asks for the longest buffer; scattered parts; small ones by the thousand.
    for id in 0..1_000 {
        give(&mut fragments, 0, &from(neighbour, id, 65_400, true, &[0; 8]));
        give(&mut fragments, 0, &from(neighbour, id + 9_000, 0, true, &[0; 8]));
    }
    for part in 0..300 {
        give(&mut fragments, 0, &from(neighbour, 50_000, part * 16, true, &[0; 8]));
    }
    let counters = fragments.counters();
    assert!(counters.crowded_out > 1_500, "{counters:?}");
    assert!(fragments.octets() <= ROOM / SHARDS + 1_000, "{}", fragments.octets());
    let datagram = give(&mut fragments, 1, &from(1, 9, 8, false, b"end"));
    assert_eq!(datagram.map(|datagram| datagram.first.len()), Some(11));
    for host in 0..=255 {
        for id in 0..50 {
            give(&mut fragments, 0, &from(host.max(2), id, 0, true, &[0; 1_000]));
        }
    }
    assert!(fragments.octets() <= ROOM, "{}", fragments.octets());
}

proptest! {
    /// Any parts in any order, overlapping as they like, read as a receiver would that keeps what came first, or last.
    #[test]
    fn readings_are_those_of_naive_receivers(
        cuts in proptest::collection::vec((0_usize..24, 1_usize..9, any::<u8>()), 1..24),
    ) {
        let mut fragments = Fragments::new(ROOM);
        let (mut first, mut last) = ([None; 33 * 8], [None; 33 * 8]);
        let mut parts: Vec<(usize, Vec<u8>, bool)> =
            cuts.iter().map(|&(at, len, octet)| (at * 8, vec![octet; len * 8], true)).collect();
        let end = parts.iter().map(|(at, octets, _)| at + octets.len()).max().unwrap();
        parts.push((end, vec![0; 3], false));
        parts.push((0, vec![9; end], true));
        for (number, (at, octets, more)) in parts.iter().enumerate() {
            for (at, &octet) in (*at..).zip(octets) {
                first[at] = first[at].or(Some(octet));
                last[at] = Some(octet);
            }
            let offset = u16::try_from(*at).unwrap();
            let done = give(&mut fragments, 0, &ipv4_fragment(17, 9, offset, *more, octets));
            let reading = |octets: &[Option<u8>]| octets[..end + 3].iter().copied().collect::<Option<Vec<u8>>>();
            let expected = reading(&first).filter(|_| number + 2 >= parts.len());
            prop_assert_eq!(done.as_ref().map(|datagram| &datagram.first), expected.as_ref());
            if let (Some(datagram), Some(expected)) = (done, expected) {
                let other = reading(&last).filter(|last| *last != expected);
                prop_assert_eq!(datagram.last, other);
                break;
            }
        }
    }
}
