//! All floods at once, where the kernel gives the daemon no more than a small box has.

use crate::daemon::{Daemon, Site};
use crate::dns::{A, query};
use crate::hostile::{BLOCKED, assert_serves, flood, flood_with_nonsense, framed, stream};
use crate::load::{Case, Checked, Tally, socket};
use crate::tier;
use crate::upstream::{Habits, Upstream, address_of};
use interdict::io::sys::limits::raise_open_files;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

/// Octets that the daemon may have, what the kernel keeps for it among them.
const OCTETS: u64 = 128 << 20;
/// Where the kernel's memory controller is.
const CONTROLLER: &str = "/sys/fs/cgroup/memory";

/// A group of processes with a bound of memory; it is gone when dropped.
struct Group(PathBuf);

impl Group {
    /// A group of its own; `None` where there can be none, which is said.
    fn new(octets: u64) -> Option<Self> {
        let group = Self(Path::new(CONTROLLER).join(format!("interdict-test-{}", process::id())));
        let made = fs::create_dir(&group.0)
            .and_then(|()| fs::write(group.0.join("memory.limit_in_bytes"), octets.to_string()));
        if let Err(error) = made {
            tier::skip(format!("no memory controller of version 1 at {CONTROLLER}: {error}"));
            return None;
        }
        Some(group)
    }

    fn figure(&self, file: &str) -> u64 {
        fs::read_to_string(self.0.join(file)).unwrap().trim().parse().unwrap()
    }

    /// Processes of it that the kernel killed for want of memory.
    fn killed(&self) -> u64 {
        let text = fs::read_to_string(self.0.join("memory.oom_control")).unwrap();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The daemon may have ended a moment ago.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
    }
}

pub(crate) fn all_floods_fit_into_128_mib() {
    let seconds = tier::count(4, 15, 180);
    let (misses, fresh) = (tier::count(2_000, 10_000, 30_000), tier::count(500, 2_000, 10_000));
    let Some(group) = Group::new(OCTETS) else { return };
    raise_open_files(4_000).unwrap();
    let upstream = Upstream::start(Habits { silent: Some("victim.example"), ..Habits::default() });
    let site = Site::new(&upstream, "");
    let mut daemon = site.start_within(&group.0);
    let server = daemon.address;
    let used: Vec<Case> = (0..100)
        .map(|n| format!("host{n}.used.example"))
        .map(|name| Case { address: address_of(&name), name })
        .collect();
    let done = AtomicBool::new(false);
    scope(|threads| {
        let good = Checked::start(2, server, used, Duration::from_millis(2));
        let floods = [
            threads.spawn(|| flood(server, misses, &done)),
            threads.spawn(|| names_that_are_there(server, fresh, &done)),
            threads.spawn(|| streams(server, &done)),
            threads.spawn(|| nonsense(&daemon, &done)),
        ];
        sleep(Duration::from_secs(seconds as u64));
        done.store(true, Ordering::Relaxed);
        let [misses, fresh, streams, nonsense] = floods.map(|flood| flood.join().unwrap());
        let Tally { sent, right, lost, wrong, slowest } = good.stop();
        println!(
            "{seconds} s of {misses} misses below a silent zone, {fresh} names that are there, {streams} streams, {nonsense} bent \
             messages; meanwhile {sent} queries for cached names, {right} right, {lost} lost, slowest {slowest:?}"
        );
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(right * 1_000 >= sent * 999, "{right} of {sent}");
    });
    println!(
        "at most {} of {} MiB, what the kernel keeps of files among them; {} of the daemon's own at the end; {} killed",
        group.figure("memory.max_usage_in_bytes") >> 20,
        OCTETS >> 20,
        daemon.memory() >> 20,
        group.killed(),
    );
    assert_eq!((group.killed(), daemon.counter("worker_restarts")), (0, 0), "{}", daemon.log());
    assert!(daemon.lives());
    assert_serves(&daemon);
    daemon.kill();
}

/// Names that upstream knows, each once: they fill the cache.
fn names_that_are_there(server: SocketAddr, rate: usize, done: &AtomicBool) -> usize {
    let asks = socket(67, server);
    asks.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4_096];
    let mut sent = 0;
    while !done.load(Ordering::Relaxed) {
        for _ in 0..rate.div_ceil(100) {
            // What does not fit into the buffer is not missed.
            let _ = asks.send(&query(sent as u16, &format!("a-name-of-some-length-{sent}.there.example"), A));
            sent += 1;
        }
        while asks.recv(&mut buffer).is_ok() {}
        sleep(Duration::from_millis(10));
    }
    sent
}

/// As many streams as there are places and more, each with half a query, opened again when they are ended.
fn streams(server: SocketAddr, done: &AtomicBool) -> usize {
    let half = framed(&query(7, BLOCKED, A))[..20].to_vec();
    let mut open: Vec<TcpStream> = Vec::new();
    let mut opened = 0;
    while !done.load(Ordering::Relaxed) {
        for _ in 0..20 {
            let mut stream = stream(20 + (opened % 100) as u8, server);
            // It may have had to leave already.
            let _ = stream.write_all(&half);
            open.push(stream);
            opened += 1;
        }
        if open.len() > 1_500 {
            open.drain(..500);
        }
        sleep(Duration::from_millis(10));
    }
    opened
}

/// Nonsense without end.
fn nonsense(daemon: &Daemon, done: &AtomicBool) -> usize {
    let mut sent = 0;
    while !done.load(Ordering::Relaxed) {
        flood_with_nonsense(daemon, 1_000);
        sent += 1_000;
    }
    sent
}
