//! What nobody sends by mistake: bounds hold, and nothing hangs.
#![allow(clippy::print_stdout, reason = "the time a packet is what a run at length is for")]

use super::frames::{Sent, hello, read, records, texts};
use super::tier;
use interdict::base::model::Mono;
use interdict::base::wire::host::escaped;
use interdict::base::wire::packet::{Frame, LinkType};
use interdict::engine::inspector::{Judge, Observation, Reader};
use interdict::io::capture::{FileSource, Next, Source};
use interdict::policy::{Policy, RuleSetBuilder, Settings};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Flows that the reader holds at most.
const FLOWS_MAX: usize = 64 * 4096;

#[test]
fn a_hello_one_octet_a_packet() {
    let stream = hello("slow.example", 60_000, 1);
    let mut sent = vec![Sent::start(0)];
    // In records of one octet this is more than the window; it is read as it comes.
    sent.extend(
        stream
            .iter()
            .take(tier::count(100_000, 400_000, 400_000))
            .enumerate()
            .map(|(at, octet)| Sent::client(1 + u32::try_from(at).unwrap(), &[*octet])),
    );
    let told = texts(&sent);
    assert!(told.is_empty() || told == ["slow.example"]);
    let stream = hello("slow.example", 8000, 100);
    let mut sent = vec![Sent::start(0)];
    sent.extend(stream.iter().enumerate().map(|(at, octet)| Sent::client(1 + u32::try_from(at).unwrap(), &[*octet])));
    assert_eq!(texts(&sent), ["slow.example"]);
}

#[test]
fn starts_without_end_push_out_nobody_else() {
    let mut timed = Timed::new("starts without end");
    let stream = hello("kept.example", 3000, 9000);
    let (first, second) = stream.split_at(1000);
    timed.take(&Sent::start(0).packet());
    timed.take(&Sent::client(1, first).packet());
    let mut flood = Sent::start(7).packet();
    flood[12..16].copy_from_slice(&[10, 9, 9, 9]);
    for number in 0..tier::count(200_000, 2_000_000, 10_000_000) {
        let number = u32::try_from(number).unwrap().to_be_bytes();
        // One host, all ports of many servers.
        flood[17..20].copy_from_slice(&number[..3]);
        flood[23] = number[3];
        timed.take(&flood);
    }
    assert!(timed.reader.flows() <= FLOWS_MAX);
    assert!(timed.reader.flow_losses().read > 0 && timed.reader.flow_losses().unread == 0);
    timed.take(&Sent::client(1001, second).packet());
    assert_eq!(timed.names, ["kept.example"], "the flow of another host was kept");
}

#[test]
fn many_unfinished_hellos_hold_no_more_than_their_room() {
    let stream = hello("never.example", 60_000, 16_000);
    let packets: Vec<_> = (0..2000_u16)
        .flat_map(|port| {
            let with = |sent: Sent| Sent { sport: 10_000 + port, dport: 443, ..sent }.packet();
            [with(Sent::start(0)), with(Sent::client(1000, &stream[999..50_000]))]
        })
        .collect();
    let (names, reader) = read(&packets);
    assert!(names.is_empty() && reader.flow_losses().unread > 1000, "{:?}", reader.flow_losses());
}

/// What nobody may make expensive: the time a packet is printed, on average and at worst.
struct Timed {
    what: &'static str,
    reader: Reader,
    names: Vec<String>,
    count: u32,
    whole: Duration,
    worst: Duration,
}

impl Timed {
    fn new(what: &'static str) -> Self {
        let (whole, worst) = (Duration::ZERO, Duration::ZERO);
        Self { what, reader: Reader::new(), names: Vec::new(), count: 0, whole, worst }
    }

    fn take(&mut self, packet: &[u8]) {
        let names = &mut self.names;
        let begun = Instant::now();
        self.reader.handle_frame(Mono::START, &Frame::new(LinkType::RAW, packet), &mut |observation| {
            if let Observation::Name(seen) = observation {
                names.push(escaped(seen.octets));
            }
        });
        let taken = begun.elapsed();
        self.count += 1;
        self.whole += taken;
        self.worst = self.worst.max(taken);
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        let each = self.whole.as_nanos() / u128::from(self.count.max(1));
        println!("{}: {} packets, {each} ns each, {} ns at worst", self.what, self.count, self.worst.as_nanos());
    }
}

/// An IPv4 fragment of a datagram from this host.
fn fragment(host: [u8; 4], id: u32, offset: u16, more: bool, octets: &[u8]) -> Vec<u8> {
    let [_, _, i0, i1] = id.to_be_bytes();
    let [f0, f1] = ((offset / 8) | if more { 0x2000 } else { 0 }).to_be_bytes();
    let [l0, l1] = u16::try_from(20 + octets.len()).unwrap().to_be_bytes();
    [&[0x45, 0, l0, l1, i0, i1, f0, f1, 64, 17, 0, 0][..], &host, &[192, 0, 2, 1], octets].concat()
}

#[test]
fn fragments_without_end_cost_nobody_else_his() {
    let query =
        [&b"\x9c\x40\0\x35\0\x26\0\0"[..], b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x04kept\x07example\0\0\x01\0\x01"].concat();
    let mut timed = Timed::new("fragments of datagrams that never end");
    timed.take(&fragment([10, 0, 0, 5], 1, 0, true, &query[..24]));
    let count = u32::try_from(tier::count(50_000, 500_000, 10_000_000)).unwrap();
    for number in 0..count {
        // Beginnings, middles, and large holes, of ever new datagrams.
        let offset = [0, 8, 60_000][number as usize % 3];
        timed.take(&fragment([10, 9, 9, 9], number, offset, true, &[7; 1_400]));
    }
    timed.take(&fragment([10, 0, 0, 5], 1, 24, false, &query[24..]));
    assert_eq!(timed.names, ["kept.example"], "the datagram of another host was kept");
    let counters = timed.reader.fragment_counters();
    let waiting = counters.fragments - counters.whole * 2 - counters.crowded_out;
    assert!(counters.whole == 1 && waiting <= 64 * 64, "{counters:?}");
    // As many parts of one datagram as there can be, and each twice with other octets.
    let mut timed = Timed::new("a datagram in fragments of eight octets, twice");
    for round in 0..tier::count(2, 20, 200) {
        for part in (0..8_000_u16).rev().step_by(2).chain(0..8_000) {
            let octet = u8::try_from(round & 1).unwrap();
            timed.take(&fragment([10, 9, 9, 9], 7, part * 8, true, &[octet; 8]));
        }
    }
    assert!(timed.reader.fragment_counters().whole == 0 && timed.names.is_empty());
}

#[test]
fn segments_over_each_other_end_in_bounds() {
    let mut random = tier::seed();
    let mut next = |bound: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % bound
    };
    let stream = hello("under.example", 30_000, 16_000);
    let mut timed = Timed::new("segments over each other that differ");
    timed.take(&Sent::start(0).packet());
    for _ in 0..tier::count(2_000, 20_000, 1_000_000) {
        let at = next(stream.len());
        let mut part = stream[at..(at + 1 + next(1_400)).min(stream.len())].to_vec();
        if next(3) == 0 {
            let place = next(part.len());
            part[place] ^= 1;
        }
        let ttl = [64, 64, 3][next(3)];
        timed.take(&Sent { ttl, ..Sent::client(1 + u32::try_from(at).unwrap(), &part) }.packet());
    }
    let mut timed = Timed::new("one octet of a long hello again and again, each time another");
    timed.take(&Sent::start(0).packet());
    for part in 0..20 {
        timed.take(&Sent::client(1 + part * 1_400, &stream[part as usize * 1_400..][..1_400]).packet());
    }
    for number in 0..tier::count(2_000, 20_000, 1_000_000) {
        timed.take(&Sent::client(100, &[u8::try_from(number & 0xff).unwrap()]).packet());
    }
}

#[test]
fn as_many_extensions_as_fit() {
    // Sixteen thousand empty ones, and the name behind them.
    let mut extensions: Vec<u8> =
        (0..16_000_u16).flat_map(|kind| [0x40 | (kind >> 8) as u8, kind as u8, 0, 0]).collect();
    extensions.extend(b"\0\0\0\x11\0\x0f\0\0\x0cmany.example");
    let mut body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let message = [&[1][..], &u32::try_from(body.len()).unwrap().to_be_bytes()[1..], &body].concat();
    let stream = records(&message, |_| 16_384);
    let mut timed = Timed::new("hellos of 64 KiB in extensions");
    let rounds = tier::count(20, 200, 10_000);
    for round in 0..rounds {
        let sport = 10_000 + u16::try_from(round).unwrap();
        timed.take(&Sent { sport, dport: 443, ..Sent::start(0) }.packet());
        for (part, octets) in stream.chunks(1_400).enumerate() {
            let seq = 1 + u32::try_from(part * 1_400).unwrap();
            timed.take(&Sent { sport, dport: 443, ..Sent::client(seq, octets) }.packet());
        }
    }
    assert_eq!(timed.names, vec!["many.example"; rounds]);
}

/// One frame of a capture, to be bent and read again.
struct Kept {
    time: Mono,
    link: LinkType,
    octets: Vec<u8>,
}

/// The frames of a capture, as far as it can be read.
fn frames(octets: &[u8]) -> Vec<Kept> {
    let mut source = FileSource::new("whole".into(), Box::new(std::io::Cursor::new(octets.to_vec())), false);
    let mut kept = Vec::new();
    while let Ok(Next::Frame(frame)) = source.next() {
        kept.push(Kept { time: Mono::from_nanos(frame.time_ns), link: frame.link, octets: frame.bytes.to_vec() });
    }
    kept
}

/// Reads frames to the end, as they would be live; gives how many names were told.
fn inspect<'a>(policy: &Arc<Policy>, frames: impl Iterator<Item = (Mono, Frame<'a>)>) -> usize {
    let (mut reader, mut judge, mut told) = (Reader::new(), Judge::new(Arc::clone(policy)), 0);
    let mut tell = |observation: Observation<'_>| {
        told += 1;
        judge.observe(&observation);
    };
    for (time, frame) in frames {
        reader.handle_frame(time, &frame, &mut tell);
    }
    reader.finish(&mut tell);
    let _ = judge.finish();
    told
}

/// The reference captures with up to eight octets bent: in three of four rounds within frames, half of them where headers are, so
/// that it is the readers behind the file's that meet them; else anywhere in the file.
#[test]
fn bent_captures_do_no_harm() {
    let Some(captures) = tier::shared("captures") else { return };
    let policy = Arc::new(Policy::new(
        1,
        Arc::new(RuleSetBuilder::new().finish()),
        Arc::new(Settings::default()),
        interdict::base::model::Wall::UNIX_EPOCH,
    ));
    let rounds = tier::count(4, 20, 1000);
    let mut random = StdRng::seed_from_u64(tier::seed());
    let (mut files, mut packets, mut told, mut slowest) = (0, 0, 0, Duration::ZERO);
    for entry in std::fs::read_dir(captures).unwrap() {
        let path = entry.unwrap().path();
        if !path.extension().is_some_and(|ending| ending == "pcap" || ending == "pcapng") {
            continue;
        }
        let whole = std::fs::read(&path).unwrap();
        let kept = frames(&whole);
        files += 1;
        for round in 0..rounds {
            let begun = Instant::now();
            let bends = random.random_range(1..=8);
            let bent = match round % 4 {
                3 => frames(&bend(&whole, bends, &mut random)),
                _ => bend_frames(&kept, bends, &mut random),
            };
            packets += bent.len();
            told += inspect(&policy, bent.iter().map(|kept| (kept.time, Frame::new(kept.link, &kept.octets))));
            slowest = slowest.max(begun.elapsed());
        }
    }
    println!(
        "{files} captures, {rounds} times each: {packets} packets read, {told} things told, at most {slowest:.1?} a capture"
    );
    assert!(told > files * rounds, "what is bent is still read: {told}");
}

/// The same frames but for a few octets.
fn bend_frames(kept: &[Kept], bends: usize, random: &mut StdRng) -> Vec<Kept> {
    let mut bent: Vec<Kept> = kept.iter().map(|kept| Kept { octets: kept.octets.clone(), ..*kept }).collect();
    for _ in 0..bends {
        let at = random.random_range(0..bent.len().max(1));
        let Some(frame) = bent.get_mut(at).filter(|frame| !frame.octets.is_empty()) else { continue };
        let reach = if random.random() { frame.octets.len() } else { frame.octets.len().min(100) };
        frame.octets[random.random_range(0..reach)] = random.random();
    }
    bent
}

/// The same octets but for a few.
fn bend(octets: &[u8], bends: usize, random: &mut StdRng) -> Vec<u8> {
    let mut bent = octets.to_vec();
    for _ in 0..bends {
        let at = random.random_range(0..bent.len());
        bent[at] = random.random();
    }
    bent
}
