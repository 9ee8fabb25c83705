//! What nobody sends by mistake: bounds hold, and nothing hangs.

use super::frames::{Sent, hello, read, texts};
use super::tier;
use interdict::base::model::Mono;
use interdict::base::wire::packet::{Frame, LinkType};
use interdict::engine::inspector::{Judge, Reader};
use interdict::io::capture::{FileSource, Next, Source};
use interdict::policy::{Policy, RuleSetBuilder, Settings};
use std::sync::Arc;

/// Flows that the reader holds at most.
const FLOWS_MAX: usize = 64 * 2048;

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
    let mut reader = Reader::new();
    let mut names = 0;
    let count = tier::count(200_000, 2_000_000, 10_000_000);
    let stream = hello("kept.example", 3000, 9000);
    let (first, second) = stream.split_at(1000);
    let mut take = |packet: &[u8], reader: &mut Reader| {
        reader.handle_frame(Mono::START, &Frame::new(LinkType::RAW, packet), &mut |observation| {
            names += usize::from(matches!(observation, interdict::engine::inspector::Observation::Name(_)));
        });
    };
    take(&Sent::start(0).packet(), &mut reader);
    take(&Sent::client(1, first).packet(), &mut reader);
    let mut flood = Sent::start(7).packet();
    flood[12..16].copy_from_slice(&[10, 9, 9, 9]);
    for number in 0..count {
        let number = u32::try_from(number).unwrap().to_be_bytes();
        // One host, all ports of many servers.
        flood[17..20].copy_from_slice(&number[..3]);
        flood[23] = number[3];
        take(&flood, &mut reader);
    }
    assert!(reader.flows() <= FLOWS_MAX);
    assert!(reader.flow_losses().read > 0 && reader.flow_losses().unread == 0);
    take(&Sent::client(1001, second).packet(), &mut reader);
    assert_eq!(names, 1, "the flow of another host was kept");
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

/// Octets of the reference captures bent, a few at a time.
#[test]
fn bent_captures_do_no_harm() {
    let Some(captures) = tier::shared("captures") else { return };
    let policy = Arc::new(Policy::new(
        1,
        Arc::new(RuleSetBuilder::new().finish()),
        Arc::new(Settings::default()),
        interdict::base::model::Wall::UNIX_EPOCH,
    ));
    let rounds = tier::count(1, 20, 1000);
    let mut seed = tier::seed();
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap()
    };
    for entry in std::fs::read_dir(captures).unwrap() {
        let path = entry.unwrap().path();
        if !path.extension().is_some_and(|ending| ending == "pcap" || ending == "pcapng") {
            continue;
        }
        for _ in 0..rounds {
            let mut octets = std::fs::read(&path).unwrap();
            for _ in 0..1 + octets.len() / 500 {
                let at = next() % octets.len();
                octets[at] = u8::try_from(next() & 0xff).unwrap();
            }
            let mut source = FileSource::new("bent".into(), Box::new(std::io::Cursor::new(octets)), false);
            let (mut reader, mut judge) = (Reader::new(), Judge::new(Arc::clone(&policy)));
            while let Ok(Next::Frame(frame)) = source.next() {
                reader.handle_frame(Mono::from_nanos(frame.time_ns), &frame, &mut |observation| {
                    judge.observe(&observation)
                });
            }
            reader.finish(&mut |observation| judge.observe(&observation));
            let _ = judge.finish();
        }
    }
}
