//! Live interfaces, over a pair of virtual ones in a network namespace of the test's own: what is sent arrives, through the kernel's
//! ring and through pnet alike, and what is lost is counted.
#![allow(unsafe_code, reason = "a thread leaves the host's network by a system call")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]
#![allow(clippy::print_stdout, reason = "what a packet costs is what a run at length is for")]

#[path = "common/frames.rs"]
mod frames;
#[path = "common/tier.rs"]
mod tier;
#[allow(dead_code, reason = "the program `traffic` uses other parts of the generator")]
#[path = "../benches/common/traffic.rs"]
mod traffic;

use frames::*;
use interdict::base::model::Mono;
use interdict::base::wire::packet::{Checksum, Direction, Frame, Transport};
use interdict::engine::inspector::Reader;
use interdict::io::capture::live::{self, PnetSource, RingSource};
use interdict::io::capture::{Next, Source, Stats};
use pnet::datalink::{self, Channel, DataLinkSender};
use std::fs;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
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

//----------- Load -----------------------------------------------------------

/// Keeps this thread on one core.
fn pin(core: usize) {
    // SAFETY: a set of processors is an array of integers, read by the system call for the length given.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// Processor time of this thread.
fn spent() -> Duration {
    // SAFETY: the time is written into a live structure.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        assert_eq!(libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time), 0);
        time
    };
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// Sends frames again and again, so many a second, by `sendmmsg` on a packet socket; how many went out.
fn flood(name: &str, frames: &[Vec<u8>], a_second: u64, for_s: f64) -> u64 {
    const BATCH: usize = 64;
    let interface = datalink::interfaces().into_iter().find(|interface| interface.name == name).unwrap();
    // SAFETY: a new socket; a live address and live messages whose pointers lead to live frames, for the lengths given.
    unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
        assert!(socket >= 0, "{}", std::io::Error::last_os_error());
        let socket = std::os::fd::OwnedFd::from_raw_fd(socket);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
        address.sll_ifindex = interface.index.try_into().unwrap();
        let len = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
        assert_eq!(libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len), 0);
        let (begun, mut sent) = (Instant::now(), 0_u64);
        let all = (a_second as f64 * for_s) as u64;
        let mut frames = frames.iter().cycle();
        while sent < all {
            let batch: Vec<_> = frames.by_ref().take(BATCH).collect();
            let mut parts: Vec<_> = batch
                .iter()
                .map(|frame| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() })
                .collect();
            let mut messages: Vec<libc::mmsghdr> = parts
                .iter_mut()
                .map(|part| {
                    let mut message: libc::mmsghdr = std::mem::zeroed();
                    (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (part, 1);
                    message
                })
                .collect();
            let gone = libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), BATCH as libc::c_uint, 0);
            sent += u64::try_from(gone).unwrap_or(0);
            let due = begun + Duration::from_nanos(sent * 1_000_000_000 / a_second);
            while Instant::now() < due {
                std::hint::spin_loop();
            }
        }
        sent
    }
}

/// Reads until the sender has ended and nothing comes any more: what the thread spent on it, and what was read.
fn load(source: &mut dyn Source, is_inspected: bool, is_over: &AtomicBool) -> (Duration, Stats) {
    let mut reader = Reader::new();
    let before = spent();
    loop {
        match source.next().unwrap() {
            Next::Frame(frame) if is_inspected => {
                reader.handle_frame(Mono::from_nanos(frame.time_ns), &frame, &mut |observation| {
                    std::hint::black_box(&observation);
                });
            }
            Next::Frame(frame) => drop(std::hint::black_box(&frame)),
            Next::Idle if is_over.load(Ordering::Acquire) => break,
            Next::Idle => {}
            Next::End => panic!("an interface has no end"),
        }
    }
    (spent() - before, source.stats())
}

/// Sends on one core and reads on the other: what was sent, what reading took, what was read.
fn side_by_side(
    source: &mut (dyn Source + Send),
    frames: &[Vec<u8>],
    a_second: u64,
    is_inspected: bool,
) -> (u64, Duration, Stats) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            pin(1);
            load(source, is_inspected, &is_over)
        });
        pin(0);
        let sent = flood("left", frames, a_second, tier::count(20, 100, 3_000) as f64 / 1e3);
        is_over.store(true, Ordering::Release);
        let (spent, stats) = reading.join().unwrap();
        (sent, spent, stats)
    })
}

/// Both ways under load: nothing goes missing uncounted. What it costs is printed; benches/README.md has the figures.
#[test]
fn under_load_every_packet_is_read_or_counted_as_dropped() {
    with_pair(|| {
        let mut random = traffic::Random(tier::seed());
        let kinds =
            [traffic::Kind::Tls, traffic::Kind::Dns, traffic::Kind::Quic, traffic::Kind::Tls, traffic::Kind::Http];
        let flows = kinds.iter().cycle().take(tier::count(200, 1_000, 5_000));
        let frames: Vec<_> = flows.flat_map(|kind| traffic::flow_of(&mut random, *kind, "host.example")).collect();
        for a_second in [100_000, 300_000, 600_000] {
            for is_inspected in [false, true] {
                for (way, mut source) in ["ring", "pnet"].into_iter().zip(sources("right")) {
                    let (sent, spent, stats) = side_by_side(&mut *source, &frames, a_second, is_inspected);
                    assert_eq!(stats.frames + stats.dropped, sent, "{way}");
                    let what = if is_inspected { "read and inspected" } else { "read" };
                    let each = spent.as_nanos() / u128::from(stats.frames.max(1));
                    println!(
                        "{a_second} a second, {way}, {what}: {each} ns a packet, {} of {sent} dropped",
                        stats.dropped
                    );
                }
            }
        }
    });
}
