//! The same names, however a stream is cut into segments and records, in whatever order they come, and whatever decoys come with them.

use super::frames::{Named, Sent, hello, read, records, texts};
use super::tier;
use interdict::base::wire::packet::{Frame, Transport};
use interdict::io::capture::{FileSource, Next, Source};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Octets of a stream that are sent; the reader's window is larger.
const STREAM_OCTETS: usize = 60_000;

fn names(first_seq: u32, dport: u16, parts: &[(usize, Vec<u8>)]) -> BTreeSet<Named> {
    let mut packets = vec![Sent { dport, ..Sent::start(first_seq) }.packet()];
    for (at, octets) in parts {
        let seq = first_seq.wrapping_add(1).wrapping_add(u32::try_from(*at).unwrap());
        packets.push(Sent { dport, ..Sent::client(seq, octets) }.packet());
    }
    read(&packets).0
}

/// The stream in segments of these sizes, the last one for the rest.
fn cut(stream: &[u8], sizes: &[usize]) -> Vec<(usize, Vec<u8>)> {
    let mut parts = Vec::new();
    let mut at = 0;
    let mut sizes = sizes.iter().cycle();
    while at < stream.len() {
        let end = (at + sizes.next().copied().unwrap_or(1460)).min(stream.len());
        parts.push((at, stream[at..end].to_vec()));
        at = end;
    }
    parts
}

/// A ClientHello at the start of a stream in other records; any other stream as it is.
fn recorded(stream: &[u8], sizes: &[usize]) -> Vec<u8> {
    let Some(&[22, _, _, high, low, 1, 0, ..]) = stream.first_chunk::<7>() else { return stream.to_vec() };
    let end = 5 + usize::from(u16::from_be_bytes([high, low]));
    let Some(message) = stream.get(5..end) else { return stream.to_vec() };
    let mut sizes = sizes.iter().cycle();
    let again = records(message, |_| sizes.next().copied().unwrap_or(message.len()));
    [&again[..], &stream[end..]].concat()
}

fn streams() -> Vec<(u16, Vec<u8>)> {
    let tls = hello("a.example", 1800, 16_000);
    let post = b"POST /x HTTP/1.1\r\nHost: h.example\r\nContent-Length: 9\r\n\r\n123456789";
    let mut all = vec![
        (443, tls.clone()),
        (25, [&b"EHLO me\r\nSTARTTLS\r\n"[..], &tls].concat()),
        (3128, [&b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"[..], &tls].concat()),
        (80, [&post[..], b"GET / HTTP/1.1\r\nhost: i.example\r\n\r\n"].concat()),
        (53, b"\0\x13\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01d\0\0\x01\0\x01\0\x13\0\x02\x01\0\0\x01\0\0\0\0\0\0\x01e\0\0\x01\0\x01".to_vec()),
    ];
    if let Some(folder) = tier::shared("captures") {
        all.extend(captured(&folder));
    }
    all
}

/// Client streams of the reference captures: those whose start was captured, without holes.
fn captured(folder: &Path) -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in
        paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "pcap" || ending == "pcapng"))
    {
        let mut flows = BTreeMap::new();
        let mut source = FileSource::open(path, false).unwrap();
        while let Ok(Next::Frame(frame)) = source.next() {
            collect(&frame, &mut flows);
        }
        all.extend(
            flows.into_iter().filter(|(_, (_, octets))| !octets.is_empty()).map(|(key, (_, octets))| (key.1, octets)),
        );
    }
    assert!(all.len() > 200, "{} streams", all.len());
    all
}

type Flows = BTreeMap<(u16, u16, std::net::IpAddr, std::net::IpAddr), (u32, Vec<u8>)>;

fn collect(frame: &Frame<'_>, flows: &mut Flows) {
    let Ok(packet) = frame.decode() else { return };
    let Some(ip) = packet.ip() else { return };
    let Transport::Tcp(tcp) = ip.transport else { return };
    let key = (tcp.sport, tcp.dport, ip.src, ip.dst);
    if tcp.flags.syn() && !tcp.flags.ack() {
        flows.entry(key).or_insert_with(|| (tcp.seq.wrapping_add(1), Vec::new()));
    } else if let Some((first, octets)) = flows.get_mut(&key) {
        let at = usize::try_from(tcp.seq.wrapping_sub(*first)).unwrap();
        if at == octets.len() && at + tcp.payload.len() <= STREAM_OCTETS && ip.missing == 0 {
            octets.extend(tcp.payload);
        }
    }
}

#[test]
fn names_do_not_depend_on_segments_records_and_order() {
    let cases = u32::try_from(tier::count(2, 20, 200)).unwrap();
    for (dport, stream) in streams() {
        let whole = names(1, dport, &cut(&stream, &[1460]));
        let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(
            first_seq in prop_oneof![any::<u32>(), Just(u32::MAX - 100)],
            sizes in prop::collection::vec(prop_oneof![1..20_usize, 1..1460_usize], 1..6),
            record_sizes in prop::collection::vec(1..600_usize, 1..6),
            order in any::<prop::sample::Index>(),
            by in 1..97_usize,
        )| {
            let mut parts = cut(&recorded(&stream, &record_sizes), &sizes);
            // Not more parts than the reader holds apart, unless they come in order.
            if parts.len() < 500 {
                let turn = order.index(parts.len());
                parts.rotate_left(turn);
                parts.sort_by_key(|(at, _)| at * by % 97);
            }
            prop_assert_eq!(names(first_seq, dport, &parts), whole.clone(), "port {}", dport);
        });
    }
}

#[test]
fn a_start_that_was_not_seen_and_a_part_that_came_before() {
    let stream = hello("late.example", 100, 9000);
    assert_eq!(texts(&[Sent::client(1, &stream)]), ["late.example"]);
    assert_eq!(texts(&[Sent::client(81, &stream[80..]), Sent::client(1, &stream[..80])]), ["late.example"]);
    // In the middle of something else.
    let middle = Sent::client(5000, b"\x01\x02\x03\x04\x05\x06\x07\x08");
    assert_eq!(texts(&[middle, Sent::client(9000, &stream)]), ["late.example"]);
    // The capture lost what lies between.
    let head =
        Sent { dport: 80, ..Sent::client(1, b"POST / HTTP/1.1\r\nHost: one.example\r\nContent-Length: 900\r\n\r\n") };
    let next = Sent { dport: 80, ..Sent::client(2000, b"GET / HTTP/1.1\r\nHost: two.example\r\n\r\n") };
    assert_eq!(texts(&[head, next]), ["one.example", "two.example"]);
}

#[test]
fn decoys_do_not_hide_what_the_server_takes() {
    let real = hello("real.example", 60, 9000);
    let fake = hello("fake.example", 60, 9000);
    let (a, b) = real.split_at(real.len() - 5);
    let (c, d) = fake.split_at(fake.len() - 5);
    let at = 1 + u32::try_from(a.len()).unwrap();
    let decoy = |seq, octets: &[u8]| Sent { ttl: 3, ..Sent::client(seq, octets) };
    let unsummed = |seq, octets: &[u8]| Sent { is_summed: false, ..Sent::client(seq, octets) };
    let start = Sent::start(0);
    let both = ["fake.example", "real.example"];
    let cases: [(&str, Vec<Sent>); 6] = [
        ("a decoy first", vec![start.clone(), decoy(1, &fake), Sent::client(1, &real)]),
        ("a decoy last", vec![start.clone(), Sent::client(1, &real), decoy(1, &fake)]),
        ("no mark at all", vec![start.clone(), Sent::client(1, &fake), Sent::client(1, &real)]),
        (
            "around every part",
            vec![
                start.clone(),
                decoy(1, c),
                Sent::client(1, a),
                decoy(1, c),
                decoy(at, d),
                Sent::client(at, b),
                decoy(at, d),
            ],
        ),
        (
            "a wrong checksum",
            vec![
                start.clone(),
                Sent::client(1, b""),
                unsummed(1, c),
                Sent::client(1, a),
                unsummed(1, c),
                unsummed(at, d),
                Sent::client(at, b),
                unsummed(at, d),
            ],
        ),
        (
            "halves that overlap",
            vec![
                start.clone(),
                Sent::client(at - 20, &real[real.len() - 25..]),
                Sent::client(1, &[&c[..at as usize - 1 - 20], &[9; 20]].concat()),
                Sent::client(1, a),
            ],
        ),
    ];
    for (what, sent) in cases {
        let told = texts(&sent);
        assert!(told.contains(&"real.example".to_owned()), "{what}: {told:?}");
        assert!(told.iter().all(|name| both.contains(&name.as_str())), "{what}: {told:?}");
    }
    // Once the server has answered, what comes again is not what it took.
    let answer = Sent {
        sport: 443,
        dport: 40_000,
        ack: 1 + u32::try_from(real.len()).unwrap(),
        ..Sent::client(7, b"\x16\x03\x03\0\x01\x02")
    };
    let after = [start, Sent::client(1, &real), answer, decoy(1, &fake)];
    assert_eq!(texts(&after), ["real.example"]);
}

#[test]
fn a_start_that_comes_late_or_twice_or_from_nobody() {
    let stream = hello("real.example", 400, 9000);
    let (a, b) = stream.split_at(200);
    let (first, second) = (Sent::client(1, a), Sent::client(201, b));
    let start = Sent::start(0);
    assert_eq!(texts(&[first.clone(), start.clone(), second.clone()]), ["real.example"], "data before the start");
    assert_eq!(texts(&[second.clone(), start.clone(), first.clone()]), ["real.example"]);
    assert_eq!(texts(&[start.clone(), first.clone(), start.clone(), second.clone()]), ["real.example"], "twice");
    let decoy = Sent { ttl: 3, ..Sent::start(77_777) };
    assert_eq!(texts(&[start, first, decoy, second]), ["real.example"]);
}

#[test]
fn ports_used_again_and_junk_before() {
    let (first, second) = (hello("first.example", 10, 9000), hello("second.example", 10, 9000));
    let again = [Sent::start(0), Sent::client(1, &first), Sent::start(900_000), Sent::client(900_001, &second)];
    assert_eq!(texts(&again), ["first.example", "second.example"]);
    // Octets before the window, and data in the start itself.
    let overlap = [Sent::start(5000), Sent::client(4901, &[&[7; 100][..], &first].concat())];
    assert_eq!(texts(&overlap), ["first.example"]);
    let start = Sent { octets: first.clone(), ..Sent::start(0) };
    assert_eq!(texts(&[start, Sent::client(1, &first)]), ["first.example"]);
}
