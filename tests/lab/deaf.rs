//! Streams that ask without end and never read an answer.

use crate::daemon::Site;
use crate::dns::{A, Answer, query};
use crate::hostile::{BLOCKED, STREAM_OCTETS_MAX, assert_serves, framed, others, over_tcp, stream};
use crate::load::Tally;
use crate::space::sh;
use crate::tier::{self, Tier};
use crate::upstream::{Habits, Upstream};
use interdict::io::sys::limits::raise_open_files;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// When a stream of which nothing is taken any more has to be gone.
const GONE: Duration = Duration::from_secs(10);
/// How long it takes to ask for every name once, and more.
const WARM: Duration = Duration::from_secs(2);
/// Octets that may be held besides what streams take, where these are few.
const SMALL_PROCESS_OCTETS: u64 = 2 << 20;

/// A stream, how many octets of its queries have been taken, and when the last of them was.
struct Deaf {
    stream: TcpStream,
    octets: usize,
    taken: Instant,
}

pub(crate) fn streams_that_never_read_starve_nobody() {
    let streams = tier::count(20, 100, 500);
    // The kernel keeps little on the way, so that what is not read holds us up soon and not after megabytes.
    sh("sysctl -qw net.ipv4.tcp_wmem='4096 16384 16384' net.ipv4.tcp_rmem='4096 16384 16384'");
    raise_open_files(streams as u64 + 1_000).unwrap();
    let upstream = Upstream::start(Habits::default());
    let site = Site::new(&upstream, "");
    let daemon = site.start();
    let good = others(&daemon);
    // What others ask for takes room too, and is to be there before.
    over_tcp(daemon.address, &query(6, BLOCKED, A)).expect("the first stream is answered");
    sleep(WARM);
    let before = daemon.memory();
    let mut deaf: Vec<Deaf> = (0..streams)
        .map(|n| {
            let stream = stream(20 + (n % 100) as u8, daemon.address);
            stream.set_nonblocking(true).unwrap();
            Deaf { stream, octets: 0, taken: Instant::now() }
        })
        .collect();
    let message = framed(&query(7, BLOCKED, A));
    let (mut queries, mut fresh, mut grown, mut asked) = (0, 0, 0, Instant::now());
    let mut slowest = Duration::ZERO;
    while !deaf.is_empty() {
        deaf.retain_mut(|deaf| {
            let stays = ask_on(deaf, &message);
            if !stays {
                queries += deaf.octets / message.len();
                slowest = slowest.max(deaf.taken.elapsed());
            }
            assert!(deaf.taken.elapsed() < GONE, "after {} octets, {:?}", deaf.octets, deaf.taken.elapsed());
            stays
        });
        if asked.elapsed() > Duration::from_millis(500) {
            asked = Instant::now();
            let reply = over_tcp(daemon.address, &query(8, BLOCKED, A)).expect("a fresh connection is answered");
            assert_eq!(Answer::read(&reply).unwrap().address, Some(Ipv4Addr::UNSPECIFIED));
            fresh += 1;
            grown = grown.max(daemon.memory().saturating_sub(before));
        }
        sleep(Duration::from_millis(1));
    }
    let Tally { sent, right, lost, wrong, .. } = good.stop();
    println!(
        "{streams} streams asked {queries} queries and read nothing: each gone within {slowest:.1?} of its last; {fresh} fresh ones \
         served; {sent} queries over UDP, {lost} lost; memory grew by {} KiB, {} KiB a stream",
        grown >> 10,
        (grown >> 10) / streams as u64,
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(right, sent);
    let besides = if tier::tier() == Tier::Soak { 0 } else { SMALL_PROCESS_OCTETS };
    assert!(grown <= streams as u64 * STREAM_OCTETS_MAX + besides, "memory grew by {grown} octets");
    assert_serves(&daemon);
}

/// Asks until nothing more is taken; whether the stream is still open.
fn ask_on(deaf: &mut Deaf, message: &[u8]) -> bool {
    // As much at a time as leaves the others their turn.
    for _ in 0..64 {
        match deaf.stream.write(message) {
            // A part of a query is as bad as another: what is asked is of no interest.
            Ok(octets) => (deaf.octets, deaf.taken) = (deaf.octets + octets, Instant::now()),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
    true
}
