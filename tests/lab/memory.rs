//! What a reload takes, and that it gives it back.

use crate::daemon::{Daemon, Site};
use crate::load::{Case, Checked, Steady, Tally};
use crate::tier::{self, Tier};
use crate::upstream::{Habits, Upstream, address_of};
use interdict::base::model::Stage;
use interdict::policy::list::Format;
use interdict::policy::{List, RuleSetBuilder};
use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What a reload may take besides the rules that it builds.
const RELOAD_OCTETS_MAX: u64 = 16 << 20;
/// When the memory of a reload has to be given back.
const SETTLED: Duration = Duration::from_secs(2);
/// Distinct names that are asked for under load.
const ASKED: usize = 5_000;
/// What may be held more with fewer names than the claim is made for: the page cache of the database, 2 MiB that the rows of new
/// rules fill within a few reloads, and pages that the allocator keeps. Whatever the lists, it does not grow further; with a
/// million names it is within the twentieth.
const SMALL_PROCESS_OCTETS: u64 = 4 << 20;

pub(crate) fn reloads_give_their_memory_back() {
    let (names, reloads) = (tier::count(20_000, 200_000, 1_000_000), tier::count(3, 10, 20));
    let upstream = Upstream::start(Habits::default());
    let site = Site::new(&upstream, "[[blocklist]]\nid = \"mine\"\npath = \"list.txt\"\nformat = \"domains\"\n");
    site.write("list.txt", &list(names, 0));
    let compiled = compiled_octets(&list(names, 0));
    let begun = Instant::now();
    let daemon = site.start();
    let started = begun.elapsed();

    let asked: Vec<String> = (0..ASKED).flat_map(|n| [format!("host{n}.allowed.example"), listed(n, 0)]).collect();
    let load = Steady::start(daemon.address, 2_000, asked);
    let checked = Checked::start(9, daemon.address, cases(), Duration::from_micros(500));
    // Until cache and ledger hold all that is asked for.
    sleep(Duration::from_secs(8));
    let idle = daemon.resident();
    println!("{names} names in {compiled} octets; ready after {started:.2?}; {} MiB resident", idle >> 20);

    let besides = if tier::reaches(Tier::Soak) { 0 } else { SMALL_PROCESS_OCTETS };
    let (mut peak, mut settled) = (0, 0);
    for number in 1..=reloads {
        site.write("list.txt", &list(names, number));
        daemon.forget_peak();
        let begun = Instant::now();
        let output = site.program(&["reload"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let took = begun.elapsed();
        sleep(SETTLED);
        peak = peak.max(daemon.peak());
        settled = daemon.resident();
        println!("reload {number} in {took:.2?}: peak {} MiB, then {} MiB", daemon.peak() >> 20, settled >> 20);
        assert!(settled <= idle + idle / 20 + besides, "{settled} octets are held after reload {number}, idle {idle}");
    }
    assert!(
        peak <= idle + compiled + RELOAD_OCTETS_MAX,
        "a reload took {peak} octets, idle {idle}, and the rules are {compiled}"
    );
    let sent = load.stop();
    let Tally { sent: all, right, lost, wrong, .. } = checked.stop();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!((lost, right), (0, all));
    println!(
        "{all} checked and {} further queries went on, none lost; at the end {} MiB",
        sent.at.len(),
        settled >> 20
    );
}

/// A listed name; those of one revision are few of the next one's.
fn listed(n: usize, revision: usize) -> String {
    let site = (n * 7_919 + revision) % 100_003;
    if n < ASKED { format!("n{n}.stays.example") } else { format!("s{n}.site{site}-{revision}.example") }
}

fn list(names: usize, revision: usize) -> String {
    (0..names).map(|n| listed(n, revision) + "\n").collect()
}

/// What the names take once compiled.
fn compiled_octets(list: &str) -> u64 {
    let mut builder = RuleSetBuilder::new();
    let about =
        List { id: "l".into(), file: "l".into(), revision: "1".into(), stage: Some(Stage::Block), expires: None };
    builder.add_blocklist(about, Format::Domains, &mut list.as_bytes()).unwrap();
    builder.finish().bytes() as u64
}

/// Names that no reload touches.
fn cases() -> Vec<Case> {
    let each = |n: usize| {
        let allowed = format!("host{n}.allowed.example");
        [
            Case { address: address_of(&allowed), name: allowed },
            Case { name: listed(n, 0), address: Ipv4Addr::UNSPECIFIED },
        ]
    };
    (0..ASKED).flat_map(each).collect()
}

impl Daemon {
    /// Octets of memory that it has now.
    fn resident(&self) -> u64 {
        self.status_octets("VmRSS:")
    }

    /// The most octets that it had since [`Daemon::forget_peak`].
    fn peak(&self) -> u64 {
        self.status_octets("VmHWM:")
    }
}
