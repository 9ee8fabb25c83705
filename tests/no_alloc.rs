//! The hot path allocates nothing: blocked names, cached answers, judged answers, misses and what is no query; frames down to their flow.
#![allow(unsafe_code, reason = "an allocator that counts is the only way to see an allocation")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "common/dns.rs"]
mod dns_fixture;
#[path = "common/frames.rs"]
mod frames;

use dns_fixture::*;
use hickory_proto::rr::RecordType;
use interdict::base::model::{BlockAnswer, Mono, Stage};
use interdict::base::name::Name;
use interdict::base::wire::packet::{Content, Frame, LinkType, Transport};
use interdict::engine::inspector::{Observation, Reader};
use interdict::engine::resolver::front::{self, answer, answer_from};
use interdict::engine::resolver::{Ask, Cache, Failure, Outcome};
use interdict::policy::list::Format;
use interdict::policy::{List, Policy, RuleSetBuilder, Settings, Sinkhole, Subject, Verdict};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting touches a thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(of: impl FnOnce() -> T) -> (u64, T) {
    let before = COUNT.get();
    let made = of();
    (COUNT.get() - before, made)
}

#[test]
fn allocations_are_counted() {
    assert!(allocations(|| std::hint::black_box(vec![0_u8; 9])).0 > 0);
}

#[test]
fn the_front_allocates_nothing() {
    let policy = with(1, BlockAnswer::Null, Stage::Block, &["spared.blocked.example"], Sinkhole::default());
    let cache = Cache::new(1 << 20, 1);
    let keep = |name: &str, records: &[hickory_proto::rr::Record]| {
        let stored = Arc::new(stored(name, RecordType::A, records));
        cache.put(at(0).mono, &key(name, RecordType::A), Arc::clone(&stored));
        stored
    };
    let good = keep("good.example", &[address("good.example", 60, "192.0.2.1")]);
    let leads = [cname("leads.example", 60, "x.blocked.example"), address("x.blocked.example", 60, "192.0.2.1")];
    let leads = keep("leads.example", &leads);
    keep("watched.example", &[address("watched.example", 60, "91.103.64.9")]);
    keep("rebound.example", &[address("rebound.example", 60, "192.168.1.1")]);
    let queries: Vec<_> = [
        "blocked.example",
        "a.b.c.deny.example",
        "x.wild.example",
        "good.example",
        "leads.example",
        "watched.example",
        "rebound.example",
        "spared.blocked.example",
        "x.localhost",
        "mask.icloud.com",
        "5.1.168.192.in-addr.arpa",
        "a.name.that.nobody.knows.example",
    ]
    .into_iter()
    .flat_map(|name| [query(name, RecordType::A, Some(1232)), query(name, RecordType::ANY, None)])
    .chain([vec![0; 3], vec![0; 12], [query("good.example", RecordType::A, Some(1232)), vec![0]].concat()])
    .collect();
    let mut out = vec![0; 65_535];
    let mut outcomes = [0; 3];
    for message in &queries {
        for ask in [udp(message), tcp(message)] {
            for seconds in [0, 1] {
                let (count, outcome) = allocations(|| answer(at(seconds), &policy, &cache, &ask, &mut out));
                assert_eq!(count, 0, "{message:x?}: {outcome:?}");
                outcomes[match outcome {
                    Outcome::Answered { .. } => 0,
                    Outcome::Miss(_) => 1,
                    Outcome::Drop(_) => 2,
                }] += 1;
            }
            let (count, _) = allocations(|| front::fail(at(0), &ask, Failure::Timeout, &mut out));
            assert_eq!(count, 0);
        }
    }
    assert!(outcomes.iter().all(|&count| count > 0), "{outcomes:?}");
    // In the last tenth of its life, where it is noted, and when it has expired.
    let message = query("good.example", RecordType::A, Some(1232));
    for seconds in [55, 59, 60] {
        let (count, _) = allocations(|| answer(at(seconds), &policy, &cache, &udp(&message), &mut out));
        assert_eq!(count, 0, "after {seconds} s");
    }
    assert_eq!(cache.take_ageing().len(), 1);
    for (stored, name) in [(good, "good.example"), (leads, "leads.example")] {
        let message = query(name, RecordType::A, None);
        let ask: Ask<'_> = udp(&message);
        let (count, _) = allocations(|| answer_from(at(0), &policy, &stored, &ask, &mut out));
        assert_eq!(count, 0, "{name}");
    }
}

#[test]
fn rules_with_conditions_and_patterns_allocate_nothing_once_warm() {
    let mut builder = RuleSetBuilder::new();
    let files = ["adblock-modifiers.txt", "adblock-patterns.txt", "rpz-triggers.txt", "own-precedence-nets.txt"];
    for file in files {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/syntax").join(file);
        let text = std::fs::read(path).unwrap();
        let (id, file) = (file.into(), file.into());
        let list = List { id, file, revision: "r".into(), stage: Some(Stage::Block), expires: None };
        builder.add_blocklist(list, Format::Auto, &mut &text[..]).unwrap();
    }
    let policy = Policy::new(1, Arc::new(builder.finish()), Arc::new(Settings::default()), at(0).wall);
    let names =
        ["ok.one.example", "track1.example", "cdn7.twenty.example", "x-banner-y.example", "nobody.knows.example"];
    let names = names.map(|name| name.parse::<Name>().unwrap());
    let addresses = [None, Some("192.0.2.9".parse().unwrap()), Some("198.51.100.7".parse().unwrap())];
    let subjects: Vec<Subject<'_>> = names
        .iter()
        .flat_map(|name| addresses.map(|address| (name, address)))
        .map(|(name, address)| Subject {
            name: Some(name.as_ref()),
            address,
            qtype: Some(28),
            client: Some("10.0.1.4".parse().unwrap()),
            ..Subject::default()
        })
        .collect();
    // What regular expressions keep for themselves is made with the first names.
    let first: Vec<Verdict> = subjects.iter().map(|subject| policy.decide(subject)).collect();
    for (subject, first) in subjects.iter().zip(first) {
        let (count, verdict) = allocations(|| policy.decide(subject));
        assert_eq!((count, verdict), (0, first), "{subject:?}");
    }
}

#[test]
fn decoding_allocates_nothing() {
    let plain = frames::tcp_frame(1, frames::PSH_ACK, &[7; 900]);
    let vxlan = frames::udp_frame(40_000, 4789, &[&[8, 0, 0, 0, 0, 0, 5, 0], &plain[..]].concat());
    let six = frames::ipv6(0, &frames::options6(58, &[1, 0, 0, 0, 0, 0, 0, 0, 0x45, 0, 0, 0]));
    let cases = [
        plain.clone(),
        frames::ethernet(0x8100, &frames::vlan(5, 0x86dd, &six)),
        vxlan,
        frames::ethernet(
            0x0806,
            &[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2],
        ),
        frames::ethernet(0x0800, &frames::ipv4_fragment(17, 1, 0, true, &[0; 8])),
        plain[..40].to_vec(),
        vec![0; 9],
    ];
    let mut read = 0;
    for bytes in &cases {
        let (count, kinds) = allocations(|| {
            let packet = Frame::new(LinkType::ETHERNET, bytes).decode().ok()?;
            let Content::Ip(ip) = packet.content else { return packet.neighbour().map(|_| 1) };
            let _ = (ip.checksum(), ip.header_checksum_is_good(), ip.ports());
            Some(match ip.transport {
                Transport::Tcp(tcp) => tcp.options().count() + 2,
                Transport::Icmp(icmp) => usize::from(icmp.quoted().is_some()) + 3,
                _ => 5,
            })
        });
        assert_eq!(count, 0, "{bytes:x?}");
        read += usize::from(kinds.is_some());
    }
    assert_eq!(read, cases.len() - 1, "all but the last can be read");
}

#[test]
fn a_packet_of_a_known_flow_allocates_nothing() {
    for is_counted in [false, true] {
        let mut reader = Reader::new();
        let mut take = |bytes: &[u8]| {
            reader.handle_frame(Mono::START, &Frame::new(LinkType::ETHERNET, bytes), &mut |observation| {
                if let Observation::Quiet(_, counted) = observation {
                    counted.set(is_counted);
                }
            });
        };
        // Data of a connection that is older than the capture: after some of it, nothing is held any more.
        let data = |number: u32| frames::tcp_frame(1 + number * 1_400, frames::PSH_ACK, &[0xa5; 1_400]);
        let datagram = frames::udp_frame(5_000, 6_000, &[0xa5; 1_200]);
        (0..4).for_each(|number| take(&data(number)));
        take(&datagram);
        for bytes in [data(4), data(9), frames::tcp_frame(9, 0x10, b""), datagram] {
            assert_eq!(allocations(|| take(&bytes)).0, 0, "{is_counted} {bytes:x?}");
        }
        assert_eq!(reader.flows(), 2);
    }
}
