//! Live interfaces, over a pair of virtual ones in a network namespace of the test's own: what is sent arrives, through the kernel's
//! ring and through pnet alike, and what is lost is counted.
#![allow(unsafe_code, reason = "a thread leaves the host's network by a system call")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

#[path = "common/frames.rs"]
mod frames;
#[path = "common/tier.rs"]
mod tier;

use frames::*;
use interdict::base::wire::packet::{Checksum, Direction, Frame, Transport};
use interdict::io::capture::live::{self, PnetSource, RingSource};
use interdict::io::capture::{Next, Source};
use pnet::datalink::{self, Channel, DataLinkSender};
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// An EtherType for local experiments, which nothing else on the link uses.
const OURS: u16 = 0x88b5;

/// Runs `scenario` in a thread whose network is empty but for the pair `left` and `right`, which goes away with it.
fn with_pair(scenario: impl FnOnce() + Send + 'static) {
    let Some(ip) = tier::program("ip").filter(|_| tier::root()) else { return };
    let run = move || {
        // SAFETY: changes the network namespace of this thread alone.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
        // Neighbour discovery would send frames of its own.
        fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        configure(&ip, "link add left type veth peer name right");
        configure(&ip, "link set left up");
        configure(&ip, "link set right up");
        scenario();
    };
    thread::Builder::new().name("namespace".into()).spawn(run).unwrap().join().unwrap();
}

fn configure(ip: &Path, arguments: &str) {
    let status = Command::new(ip).args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

fn sender(name: &str) -> Box<dyn DataLinkSender> {
    let interface = datalink::interfaces().into_iter().find(|interface| interface.name == name).unwrap();
    match datalink::channel(&interface, datalink::Config::default()).unwrap() {
        Channel::Ethernet(sender, _) => sender,
        _ => panic!("no Ethernet"),
    }
}

/// Both ways to read an interface, each opened when it is its turn.
fn sources(name: &str) -> impl Iterator<Item = Box<dyn Source + Send>> {
    type Open = fn(&str) -> Box<dyn Source + Send>;
    let ways: [Open; 2] =
        [|name| Box::new(RingSource::open(name).unwrap()), |name| Box::new(PnetSource::open(name).unwrap())];
    ways.into_iter().map(move |open| open(name))
}

/// Reads until `enough` frames passed `take`, or nothing came for a second.
fn collect<T>(source: &mut dyn Source, enough: usize, mut take: impl FnMut(&Frame<'_>) -> Option<T>) -> Vec<T> {
    let mut taken = Vec::new();
    let mut quiet = Instant::now();
    while taken.len() < enough && quiet.elapsed() < Duration::from_secs(1) {
        match source.next().unwrap() {
            Next::Frame(frame) => {
                taken.extend(take(&frame));
                quiet = Instant::now();
            }
            Next::Idle => {}
            Next::End => panic!("an interface has no end"),
        }
    }
    taken
}

#[test]
fn what_is_sent_arrives_in_order() {
    with_pair(|| {
        let count = tier::count(5_000, 50_000, 500_000);
        let mut sender = sender("left");
        for mut source in sources("right") {
            let reader = thread::scope(|scope| {
                let reader = scope.spawn(move || {
                    let seen = collect(&mut *source, count, |frame| {
                        let number = u32::from_be_bytes(frame.bytes.get(14..18)?.try_into().ok()?);
                        frame.bytes.get(12..14).filter(|kind| **kind == OURS.to_be_bytes())?;
                        Some((number, frame.bytes.len(), frame.missing()))
                    });
                    (seen, source.stats())
                });
                for number in 0..u32::try_from(count).unwrap() {
                    let payload = [&number.to_be_bytes()[..], &vec![7; 50 + number as usize % 1_400]].concat();
                    sender.send_to(&ethernet(OURS, &payload), None).unwrap().unwrap();
                    // Slowly enough for pnet.
                    if number % 100 == 99 {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
                reader.join().unwrap()
            });
            let (seen, stats) = reader;
            let expected: Vec<_> =
                (0..u32::try_from(count).unwrap()).map(|number| (number, 68 + number as usize % 1_400, 0)).collect();
            assert_eq!((seen.len(), seen == expected, stats.dropped), (count, true, 0));
            assert!(stats.frames >= count as u64 && stats.octets > count as u64 * 68);
        }
    });
}

#[test]
fn the_ring_knows_times_directions_tags_and_checksums() {
    with_pair(|| {
        let mut sent = RingSource::open("left").unwrap();
        let mut received = RingSource::open("right").unwrap();
        let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        sender("left").send_to(&ethernet(0x8100, &vlan(0x6005, OURS, &[9; 60])), None).unwrap().unwrap();
        let ours = |frame: &Frame<'_>| {
            let has = frame.bytes.ends_with(&[9; 60]);
            has.then(|| (frame.direction, frame.decode().unwrap().link.vlans.ids().to_vec(), u128::from(frame.time_ns)))
        };
        for (source, direction) in [(&mut sent, Direction::Out), (&mut received, Direction::In)] {
            let frames = collect(source, 1, ours);
            assert_eq!(
                (frames[0].0, &frames[0].1),
                (Some(direction), &vec![5]),
                "a tag that was taken out, or is still there"
            );
            assert!(frames[0].2 >= before && frames[0].2 < before + 5_000_000_000);
        }
        // The kernel leaves the checksum to the (virtual) card.
        let ip = tier::program("ip").unwrap();
        configure(&ip, "addr add 10.9.0.1/24 dev left");
        configure(&ip, "neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev left");
        UdpSocket::bind("10.9.0.1:0").unwrap().send_to(b"offloaded", "10.9.0.2:9").unwrap();
        let datagram = |frame: &Frame<'_>| {
            let packet = frame.decode().ok()?;
            let ip = packet.ip()?;
            let is_ours = matches!(ip.transport, Transport::Udp(udp) if udp.payload == b"offloaded");
            is_ours.then(|| (frame.checksums_offloaded, ip.checksum()))
        };
        assert_eq!(collect(&mut received, 1, datagram), vec![(true, Checksum::Partial)]);
    });
}

#[test]
fn what_the_kernel_drops_is_counted() {
    with_pair(|| {
        let frame = ethernet(OURS, &[7; 1_400]);
        let mut sender = sender("left");
        for mut source in sources("right") {
            // More than the buffers hold, while nobody reads.
            let count = 40_000;
            for _ in 0..count {
                sender.send_to(&frame, None).unwrap().unwrap();
            }
            let seen = collect(&mut *source, count, |frame| frame.bytes.ends_with(&[7; 9]).then_some(())).len() as u64;
            let dropped = source.stats().dropped;
            assert!(seen > 1_000 && dropped > 1_000, "{seen} seen, {dropped} dropped");
            assert_eq!(seen + dropped, count as u64);
        }
    });
}

#[test]
fn loopback_shows_each_packet_once() {
    with_pair(|| {
        configure(&tier::program("ip").unwrap(), "link set lo up");
        for mut source in sources("lo") {
            UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"once", "127.0.0.1:9").unwrap();
            let once = |frame: &Frame<'_>| (frame.bytes.len() == 46 && frame.bytes.ends_with(b"once")).then_some(());
            assert_eq!(collect(&mut *source, 9, once).len(), 1);
        }
    });
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    for failed in [live::open("nowhere0").err(), PnetSource::open("nowhere0").err()] {
        let sentence = failed.unwrap().to_string();
        assert!(sentence.starts_with("nowhere0: cannot be opened: there is no such interface"), "{sentence}");
    }
}

#[test]
fn an_interface_that_goes_away_is_an_error() {
    with_pair(|| {
        for mut source in sources("right") {
            let ip = tier::program("ip").unwrap();
            configure(&ip, "link set right down");
            let until = Instant::now() + Duration::from_secs(5);
            let failed = loop {
                match source.next() {
                    Err(error) => break error.to_string(),
                    Ok(_) => assert!(Instant::now() < until, "it goes on as if nothing was"),
                }
            };
            assert!(failed.starts_with("right: offset "), "{failed}");
            configure(&ip, "link set right up");
        }
    });
}
