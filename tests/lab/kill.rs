//! SIGKILL under load, again and again, over one ledger.

use crate::daemon::Site;
use crate::load::{Sent, Steady};
use crate::tier;
use crate::upstream::{Habits, Upstream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::Connection;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

/// Queries a second.
const RATE: u32 = 1_000;
/// How often `status` is asked.
const POLL: Duration = Duration::from_millis(100);

/// What a load ended by SIGKILL came to.
struct Killed {
    sent: Sent,
    /// The last count of committed attempts that `status` printed.
    printed: u64,
    at: Instant,
}

pub(crate) fn sigkill_loses_at_most_a_second() {
    let kills = tier::count(1, 3, 20);
    let load = Duration::from_secs(tier::count(2, 6, 30) as u64);
    let mut random = StdRng::seed_from_u64(tier::seed());
    let upstream = Upstream::start(Habits::default());
    let site = Site::new(&upstream, "");
    let (mut known, mut worst) = (0, 0);
    for kill in 0..kills {
        let after = Duration::from_millis(random.random_range(200..=load.as_millis() as u64));
        let killed = load_and_kill(&site, after);
        let stored = stored(&site);
        let sent = killed.sent.at.iter().filter(|at| **at <= killed.at).count() as u64;
        let last_second = Duration::from_secs(1);
        let recent =
            killed.sent.at.iter().filter(|at| **at <= killed.at && killed.at - **at <= last_second).count() as u64;
        let missing = (known + sent).saturating_sub(stored);
        println!(
            "kill {:2} after {:5} ms: sent {sent}, printed {}, stored {}, missing {missing}, of the last second {recent}",
            kill + 1,
            after.as_millis(),
            killed.printed.saturating_sub(known),
            stored - known,
        );
        assert!(stored >= killed.printed, "{stored} stored, but {} were said to be", killed.printed);
        assert!(stored <= known + killed.sent.at.len() as u64, "more is stored than was sent");
        assert!(missing <= recent, "{missing} are missing, and {recent} were sent in the last second");
        assert_eq!(deaths(&site.store()), kill as u64, "a death is recorded by the next start");
        (known, worst) = (stored, worst.max(missing));
    }
    // An orderly end loses nothing, and the report has everything.
    let daemon = site.start();
    assert_eq!(deaths(&site.store()), kills as u64);
    assert_eq!(reported(&site), known);
    let load = Steady::start(daemon.address, RATE, names());
    sleep(Duration::from_millis(500));
    let sent = load.stop();
    assert!(daemon.terminate().success());
    assert!(stored(&site) >= known + sent.answered as u64, "an answer was given whose attempt is not stored");
    assert!(sent.answered > 0);
    println!("{kills} kills: at worst {worst} attempts missing, no count below what was printed, every copy whole");
}

/// Names that are blocked by default, of several purposes.
fn names() -> Vec<String> {
    (0..50).flat_map(|n| [format!("s{n:02}.upd.kaspersky.com"), format!("x{n}.ksn.kaspersky-labs.com")]).collect()
}

/// Starts the daemon, loads it, asks it all the time what it has committed, and kills it.
fn load_and_kill(site: &Site, after: Duration) -> Killed {
    let mut daemon = site.start();
    let load = Steady::start(daemon.address, RATE, names());
    let (printed, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let at = scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                printed.fetch_max(committed(site).unwrap_or_default(), Ordering::Relaxed);
                sleep(POLL);
            }
        });
        sleep(after);
        let at = Instant::now();
        daemon.kill();
        done.store(true, Ordering::Relaxed);
        at
    });
    Killed { sent: load.stop(), printed: printed.into_inner(), at }
}

/// The count of committed attempts that `status` prints.
fn committed(site: &Site) -> Option<u64> {
    let output = site.program(&["status", "--format", "json"]);
    serde_json::from_slice::<Value>(&output.stdout).ok()?["ledger"]["attempts"].as_u64()
}

/// The attempts in a copy of what a dead daemon left, once the copy is found whole and its sums agree.
fn stored(site: &Site) -> u64 {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(site.store()).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    let database = Connection::open(copy.path().join("ledger.sqlite")).unwrap();
    let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let stored = figure(&database, "SELECT ifnull(sum(count), 0) FROM ledger");
    for sum in [
        "sum(count), 0) FROM ledger_day",
        "sum(count), 0) FROM destination",
        "max(value), 0) FROM meta WHERE key = 'attempts'",
    ] {
        assert_eq!(figure(&database, &format!("SELECT ifnull({sum}")), stored, "{sum}");
    }
    stored
}

fn figure(database: &Connection, sql: &str) -> u64 {
    database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().try_into().unwrap()
}

/// Gaps that are recorded as deaths.
fn deaths(store: &Path) -> u64 {
    let database = Connection::open(store.join("ledger.sqlite")).unwrap();
    figure(&database, "SELECT count(*) FROM gap WHERE why = 'died'")
}

/// The attempts of all rows of the report.
fn reported(site: &Site) -> u64 {
    let output = site.program(&["report", "--format", "json"]);
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    rows.as_array().unwrap().iter().map(|row| row["count"].as_u64().unwrap()).sum()
}
