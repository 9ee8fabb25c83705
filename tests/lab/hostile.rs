//! Clients that mean harm: nonsense, floods, streams that dawdle, streams that take every descriptor.

use crate::daemon::{Daemon, Site};
use crate::dns::{A, Answer, NOERROR, query};
use crate::load::{Case, Checked, Tally, ask_once, socket};
use crate::malformed::{Reply, Seed, seeds};
use crate::tier::{self, Tier};
use crate::upstream::{Habits, Upstream, address_of};
use interdict::io::listen::CONNECTIONS_MAX;
use interdict::io::sys::limits::raise_open_files;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

/// A name that is blocked by default, and where it leads then.
pub(crate) const BLOCKED: &str = "s00.upd.kaspersky.com";
/// How long an answer may take that needs nobody.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Octets by which memory may grow under nonsense.
const GROWTH_MAX: u64 = 4 << 20;

/// Octets by which memory may grow under headers that promise what does not follow.
const COUNTS_GROWTH_MAX: u64 = 2 << 20;
/// Octets that a stream may take.
pub(crate) const STREAM_OCTETS_MAX: u64 = 16 << 10;
/// Octets by which memory may grow under a flood of misses: every table full, and what fresh answers take in the cache.
const FLOOD_GROWTH_MAX: u64 = 64 << 20;

//----------- Nonsense -------------------------------------------------------

pub(crate) fn malformed_messages_do_no_harm() {
    let bent = tier::count(2_000, 20_000, 500_000);
    let upstream = Upstream::start(Habits::default());
    let site = Site::new(&upstream, "");
    let mut daemon = site.start();
    each_gets_what_it_deserves(&daemon);
    let before = daemon.memory();
    let begun = Instant::now();
    let answers = flood_with_nonsense(&daemon, bent);
    let grown = daemon.memory().saturating_sub(before);
    println!("{bent} bent messages in {:.1?}: {answers} answered, memory grew by {} KiB", begun.elapsed(), grown >> 10);
    assert!(grown < GROWTH_MAX, "memory grew by {grown} octets");
    let promises = tier::count(2_000, 10_000, 50_000);
    let (before, begun) = (daemon.memory(), Instant::now());
    flood_with_promises(&daemon, promises);
    let grown = daemon.memory().saturating_sub(before);
    println!("{promises} headers that promise 65,535 in {:.1?}: memory grew by {} KiB", begun.elapsed(), grown >> 10);
    assert!(grown <= COUNTS_GROWTH_MAX, "memory grew by {grown} octets");
    assert_serves(&daemon);
    assert!(daemon.lives());
    assert_eq!(daemon.counter("worker_restarts"), 0, "{}", daemon.log());
}

/// Every seed, over UDP and over TCP.
fn each_gets_what_it_deserves(daemon: &Daemon) {
    let asks = socket(2, daemon.address);
    for seed in seeds() {
        let udp = exchange(&asks, &seed);
        assert!(seed.reply.is(udp.as_deref()), "{} over UDP: {udp:x?}", seed.what);
        if let (Some(reply), Reply::Rcode(_)) = (&udp, seed.reply) {
            assert!(reply.len() <= seed.message.len() + 23, "{}: an error is no longer than its cause", seed.what);
        }
        let tcp = over_tcp(daemon.address, &seed.message);
        // What deserves silence over UDP closes a stream.
        assert!(seed.reply.is(tcp.as_deref()), "{} over TCP: {tcp:x?}", seed.what);
    }
    println!("{} malformed messages, over UDP and TCP, got what they deserve", seeds().len());
}

/// The reply to a message over UDP. Silence is told by the answer to a good query that was sent after it.
fn exchange(socket: &UdpSocket, seed: &Seed) -> Option<Vec<u8>> {
    let marker = 0xfffe;
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.send(&seed.message).unwrap();
    if matches!(seed.reply, Reply::Silence) {
        socket.send(&query(marker, BLOCKED, A)).unwrap();
    }
    let mut buffer = [0; 4_096];
    let len = socket.recv(&mut buffer).ok()?;
    (!buffer.starts_with(&marker.to_be_bytes())).then(|| buffer[..len].to_vec())
}

pub(crate) fn over_tcp(server: SocketAddr, message: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    stream.write_all(&framed(message)).unwrap();
    let mut len = [0; 2];
    stream.read_exact(&mut len).ok()?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut reply).unwrap();
    Some(reply)
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    framed.extend(message);
    framed
}

/// Seeds with octets overwritten, cut off or repeated; responses are never answered, whatever else is wrong with them.
pub(crate) fn flood_with_nonsense(daemon: &Daemon, count: usize) -> usize {
    let mut random = StdRng::seed_from_u64(tier::seed());
    let (asks, storms) = (socket(2, daemon.address), socket(3, daemon.address));
    let seeds = seeds();
    let mut buffer = [0; 4_096];
    let mut answers = 0;
    for socket in [&asks, &storms] {
        socket.set_nonblocking(true).unwrap();
    }
    for number in 0..count {
        let mut message = seeds[random.random_range(0..seeds.len())].message.clone();
        for _ in 0..random.random_range(0..4) {
            let at = random.random_range(0..=message.len());
            match random.random_range(0..3) {
                0 => message.truncate(at),
                1 => message.extend_from_within(at..),
                _ if at < message.len() => message[at] = random.random(),
                _ => {}
            }
        }
        message.truncate(4_096);
        let response = number % 4 == 0 && message.len() > 2;
        if response {
            message[2] |= 0x80;
        }
        // A full buffer drops some; nobody counts them.
        let _ = if response { storms.send(&message) } else { asks.send(&message) };
        while asks.recv(&mut buffer).is_ok() {
            answers += 1;
        }
        assert!(storms.recv(&mut buffer).is_err(), "a response was answered");
        if number % 64 == 0 {
            sleep(Duration::from_millis(1));
        }
    }
    answers
}

/// Queries with a question and a count of 65,535 that nothing is behind, of each section in turn.
fn flood_with_promises(daemon: &Daemon, count: usize) {
    let asks = socket(2, daemon.address);
    asks.set_nonblocking(true).unwrap();
    for number in 0..count {
        let mut message = query(number as u16, BLOCKED, A);
        let at = 4 + 2 * (number % 4);
        message[at..at + 2].copy_from_slice(&[255; 2]);
        // A full buffer drops some; nobody counts them.
        let _ = asks.send(&message);
        while asks.recv(&mut [0; 512]).is_ok() {}
        if number % 256 == 0 {
            sleep(Duration::from_millis(1));
        }
    }
}

/// A blocked and a resolved name are answered as ever.
pub(crate) fn assert_serves(daemon: &Daemon) {
    let asks = socket(4, daemon.address);
    for (name, address) in
        [(BLOCKED, Ipv4Addr::UNSPECIFIED), ("after.allowed.example", address_of("after.allowed.example"))]
    {
        let answer = ask_once(&asks, name, AT_ONCE).unwrap_or_else(|| panic!("{name}: no answer; {}", daemon.log()));
        assert_eq!((answer.rcode, answer.address), (NOERROR, Some(address)), "{name}");
    }
}

//----------- Streams that dawdle --------------------------------------------

/// A connection from a client's address.
pub(crate) fn stream(client: u8, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, client], 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    socket.into()
}

/// Others, who ask for a thousand names over UDP the while.
pub(crate) fn others(daemon: &Daemon) -> Checked {
    let names = (0..1_000).map(|n| format!("host{n}.allowed.example"));
    let cases = names.map(|name| Case { address: address_of(&name), name }).collect();
    Checked::start(2, daemon.address, cases, Duration::from_millis(1))
}

pub(crate) fn slow_streams_starve_nobody() {
    // More than there are places: then those that have asked nothing for longest leave first.
    let streams = tier::count(60, 2_000, 10_000);
    raise_open_files(streams as u64 + 1_000).unwrap();
    let upstream = Upstream::start(Habits::default());
    let site = Site::new(&upstream, "");
    let daemon = site.start();
    let before = daemon.memory();
    let good = others(&daemon);
    // One in three says half a length, one a message octet by octet, one asks and never reads.
    let begun = Instant::now();
    let mut slow: Vec<(usize, TcpStream)> =
        (0..streams).map(|n| (n, stream(20 + (n % 100) as u8, daemon.address))).collect();
    let message = framed(&query(7, BLOCKED, A));
    for (n, stream) in &mut slow {
        stream.set_nonblocking(true).unwrap();
        let first = if *n % 3 == 0 { &message[..1] } else { &message[..3] };
        // It may have had to leave already.
        let _ = stream.write_all(first);
    }
    let mut octets = 3;
    let (mut ended, mut fresh) = (0, 0);
    let mut grown = 0;
    while !slow.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(13), "{} streams are still open", slow.len());
        // Between two octets, others are served, over fresh connections too.
        let asked = Instant::now();
        let reply = over_tcp(daemon.address, &query(8, BLOCKED, A)).expect("a fresh connection is answered");
        assert_eq!(Answer::read(&reply).unwrap().address, Some(Ipv4Addr::UNSPECIFIED));
        assert!(asked.elapsed() < AT_ONCE, "a fresh connection took {:?}", asked.elapsed());
        fresh += 1;
        grown = grown.max(daemon.memory().saturating_sub(before));
        sleep(Duration::from_secs(1).saturating_sub(asked.elapsed()));
        let octet = message.get(octets).copied();
        octets += 1;
        slow.retain_mut(|(n, stream)| {
            if *n % 3 == 1
                && let Some(octet) = octet
            {
                // Refused once the daemon has closed, which reading tells.
                let _ = stream.write_all(&[octet]);
            }
            let open = !is_closed(stream);
            ended += usize::from(!open);
            open
        });
    }
    let took = begun.elapsed();
    let tally = good.stop();
    println!(
        "{ended} slow streams ended after {took:.1?} at the latest; {fresh} fresh ones served; {} queries over UDP, {} lost, \
         slowest {:?}; memory grew by {} KiB, {} KiB a stream",
        tally.sent,
        tally.lost,
        tally.slowest,
        grown >> 10,
        (grown >> 10) / streams as u64,
    );
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
    assert_eq!(tally.right, tally.sent);
    assert_eq!(ended, streams);
    // So many are served at once.
    let served = CONNECTIONS_MAX.min(streams).max(256) as u64;
    assert!(grown <= served * STREAM_OCTETS_MAX, "memory grew by {grown} octets");
    assert_serves(&daemon);
}

/// Whether the other side has ended the stream.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 512]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

//----------- A flood of misses ----------------------------------------------

pub(crate) fn a_flood_of_misses_leaves_room_for_others() {
    let (rate, seconds) = (tier::count(2_000, 5_000, 50_000), tier::count(4, 10, 120));
    let upstream = Upstream::start(Habits { silent: Some("victim.example"), ..Habits::default() });
    let site = Site::new(&upstream, "");
    let daemon = site.start();
    let before = daemon.memory();
    let done = AtomicBool::new(false);
    scope(|threads| {
        // What is in use before the flood stays in the cache.
        let used: Vec<Case> = (0..100)
            .map(|n| format!("host{n}.used.example"))
            .map(|name| Case { address: address_of(&name), name })
            .collect();
        let asks = socket(5, daemon.address);
        for case in used.iter().chain(&used).chain(&used) {
            assert_eq!(ask_once(&asks, &case.name, AT_ONCE).unwrap().address, Some(case.address));
        }
        let asked_before = upstream.asked();
        let (flood, begun) = (threads.spawn(|| flood(daemon.address, rate, &done)), Instant::now());
        // As long as it takes to fill what can be filled.
        sleep(Duration::from_millis(1_500));
        let fresh = (0..200_000).map(|n| format!("host{n}.fresh.example"));
        let fresh = fresh.map(|name| Case { address: address_of(&name), name }).collect();
        let known = (0..100).map(|n| Case { name: format!("b{n}.upd.kaspersky.com"), address: Ipv4Addr::UNSPECIFIED });
        let clients =
            [("fresh", 2, fresh), ("blocked", 3, known.collect()), ("cached", 4, used)].map(|(what, client, cases)| {
                (what, Checked::start(client, daemon.address, cases, Duration::from_millis(2)))
            });
        sleep(Duration::from_secs(seconds as u64));
        let grown = daemon.memory().saturating_sub(before);
        let tallies = clients.map(|(what, client)| (what, client.stop()));
        done.store(true, Ordering::Relaxed);
        let sent = flood.join().unwrap() as f64 / begun.elapsed().as_secs_f64();
        println!(
            "{sent:.0} misses a second below a silent zone, {} queries upstream; memory grew by {} KiB",
            upstream.asked() - asked_before,
            grown >> 10,
        );
        for (what, Tally { sent, right, lost, wrong, slowest }) in &tallies {
            println!("{what}: {sent} sent, {right} right, {lost} lost, {} wrong, slowest {slowest:?}", wrong.len());
        }
        assert!(grown < FLOOD_GROWTH_MAX, "memory grew by {grown} octets");
        for (what, Tally { sent, right, wrong, .. }) in tallies {
            assert!(wrong.is_empty(), "{what}: {wrong:#?}");
            // A flood of more than can be taken costs everybody some: what needs no upstream next to nothing.
            let one_in = if what == "fresh" { 100 } else { 1_000 };
            let lost_max = if tier::reaches(Tier::Soak) { sent / one_in } else { 0 };
            assert!(sent - right <= lost_max, "{what}: {right} of {sent} right");
        }
    });
    assert_eq!(daemon.counter("worker_restarts"), 0);
    assert_serves(&daemon);
}

/// Random names below a zone whose servers say nothing, each once; gives how many.
pub(crate) fn flood(server: SocketAddr, rate: usize, done: &AtomicBool) -> usize {
    let asks = socket(66, server);
    asks.set_nonblocking(true).unwrap();
    let mut random = StdRng::seed_from_u64(tier::seed());
    let (begun, mut sent, mut buffer) = (Instant::now(), 0, [0; 4_096]);
    while !done.load(Ordering::Relaxed) {
        let due = (begun.elapsed().as_secs_f64() * rate as f64) as usize;
        for _ in sent..due {
            let name = format!("{:016x}.www.victim.example", random.next_u64());
            // What does not fit into the buffer is not missed.
            let _ = asks.send(&query(random.random(), &name, A));
        }
        sent = due;
        while asks.recv(&mut buffer).is_ok() {}
        sleep(Duration::from_millis(1));
    }
    sent
}

//----------- Few descriptors ------------------------------------------------

pub(crate) fn few_descriptors_stop_no_answer_that_needs_none() {
    let Some(prlimit) = tier::program("prlimit") else { return };
    let hold = Duration::from_secs(tier::count(2, 5, 8) as u64);
    let upstream = Upstream::start(Habits::default());
    let site = Site::new(&upstream, "");
    let daemon = site.start_with_descriptors(&prlimit, 128);
    assert_serves(&daemon);
    let idle: Vec<TcpStream> = (0..500_u16).map(|n| stream(20 + (n % 8) as u8, daemon.address)).collect();
    let asks = socket(2, daemon.address);
    let (begun, spent) = (Instant::now(), daemon.processor_time());
    let mut asked = 0;
    while begun.elapsed() < hold {
        let fresh = format!("host{asked}.fresh.example");
        for (name, address) in [
            (BLOCKED, Ipv4Addr::UNSPECIFIED),
            ("after.allowed.example", address_of("after.allowed.example")),
            (&*fresh, address_of(&fresh)),
        ] {
            let answer = ask_once(&asks, name, AT_ONCE).unwrap_or_else(|| panic!("{name}: no answer"));
            assert_eq!((answer.rcode, answer.address), (NOERROR, Some(address)), "{name}");
        }
        asked += 1;
        sleep(Duration::from_millis(50));
    }
    let share = (daemon.processor_time() - spent).as_secs_f64() / begun.elapsed().as_secs_f64();
    drop(idle);
    let freed = Instant::now();
    while over_tcp(daemon.address, &query(8, BLOCKED, A)).is_none() {
        assert!(freed.elapsed() < AT_ONCE, "no stream is served after the others are gone");
    }
    println!("{asked} rounds of answers while 500 streams wanted 128 descriptors; {:.1} % of a core", share * 100.0);
    assert!(share < 0.1, "waiting for descriptors takes {share} of a core");
}
