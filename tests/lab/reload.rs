//! Reloads under load, with every answer checked.

use crate::daemon::{Daemon, Site};
use crate::load::{Case, Checked, Tally, ask_once, socket};
use crate::tier;
use crate::upstream::{Habits, Upstream, address_of};
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Distinct names of each kind that are asked for.
const NAMES: usize = 10_000;
/// A name that every reload lists or takes off the list.
const TOGGLED: &str = "toggled.listed.example";
/// A name that no list mentions, whose cached answer leads there.
const ALIAS: &str = "alias.allowed.example";
/// Each so many-th reload is of a list that has to be refused.
const REFUSED_EVERY: usize = 10;
/// How long a policy lasts at least.
const PAUSE: Duration = Duration::from_millis(50);
/// What a server sends in place of a list.
const NO_LIST: &str = "<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n";

pub(crate) fn reloads_lose_nothing() {
    let reloads = tier::count(10, 100, 1_000);
    let upstream = Upstream::start(Habits { alias: Some((ALIAS, TOGGLED)), ..Habits::default() });
    let site = Site::new(&upstream, "[[blocklist]]\nid = \"mine\"\npath = \"list.txt\"\nformat = \"domains\"\n");
    site.write("list.txt", &list(false));
    let daemon = site.start();
    let cases = cases();
    let (half, odd) = cases.split_at(cases.len() / 2);
    let clients: Vec<Checked> = [(2, half.to_vec()), (3, odd.to_vec())]
        .into_iter()
        .map(|(client, cases)| Checked::start(client, daemon.address, cases, Duration::from_micros(50)))
        .collect();
    let dnsperf = Dnsperf::start(&site, &daemon, &cases);
    let begun = Instant::now();
    reload_and_look(&site, &daemon, reloads);
    let took = begun.elapsed();
    for (client, tally) in clients.into_iter().map(Checked::stop).enumerate() {
        println!(
            "client {client}: {} sent, {} right, {} lost, slowest {:?}",
            tally.sent, tally.right, tally.lost, tally.slowest
        );
        let Tally { sent, right, lost, wrong, .. } = tally;
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!((lost, right), (0, sent));
        assert!(sent > 100 * reloads, "only {sent} queries went out");
    }
    if let Some(mut dnsperf) = dnsperf {
        dnsperf.stop();
    }
    assert_eq!(daemon.counter("worker_restarts"), 0);
    println!("{reloads} reloads in {took:.1?}, one in {REFUSED_EVERY} refused");
}

/// Each reload takes effect before it is acknowledged, and a refused one has none.
fn reload_and_look(site: &Site, daemon: &Daemon, reloads: usize) {
    let asks = socket(9, daemon.address);
    let mut listed = false;
    for number in 1..=reloads {
        let refused = number % REFUSED_EVERY == 0;
        let text = if refused { NO_LIST.to_owned() } else { list(!listed) };
        site.write("list.txt", &text);
        let output = site.program(&["reload"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), !refused, "reload {number}: {said}");
        if refused {
            assert!(said.contains("list.txt:1") && said.contains("the old policy stays"), "{said}");
        } else {
            listed = !listed;
        }
        let expected = if listed { Ipv4Addr::UNSPECIFIED } else { address_of(TOGGLED) };
        for name in [TOGGLED, ALIAS] {
            let answer = ask_once(&asks, name, Duration::from_secs(5)).unwrap();
            assert_eq!(answer.address, Some(expected), "{name} after reload {number}");
        }
        sleep(PAUSE);
    }
}

/// The list; some of its names stay, one comes and goes.
fn list(toggled: bool) -> String {
    let stay = (0..NAMES).map(|n| format!("l{n}.listed.example\n"));
    stay.chain(toggled.then(|| format!("{TOGGLED}\n"))).collect()
}

/// Names that are resolved, names that the list blocks, names that a vendor file blocks: none is touched by any reload.
fn cases() -> Vec<Case> {
    let nowhere = Ipv4Addr::UNSPECIFIED;
    let each = |n: usize| {
        let allowed = format!("host{n}.allowed.example");
        [
            Case { address: address_of(&allowed), name: allowed },
            Case { name: format!("l{n}.listed.example"), address: nowhere },
            Case { name: format!("b{n}.upd.kaspersky.com"), address: nowhere },
        ]
    };
    (0..NAMES).flat_map(each).collect()
}

/// A second opinion, where it is installed.
struct Dnsperf {
    child: Child,
    output: PathBuf,
}

impl Dnsperf {
    fn start(site: &Site, daemon: &Daemon, cases: &[Case]) -> Option<Self> {
        let program = tier::program("dnsperf")?;
        site.write("queries", &cases.iter().map(|case| format!("{} A\n", case.name)).collect::<String>());
        let output = site.path("dnsperf");
        let port = daemon.address.port().to_string();
        let rate = tier::count(1_000, 2_000, 10_000).to_string();
        let child = Command::new(program)
            .args(["-s", "127.0.0.1", "-p", &port, "-l", "3600", "-Q", &rate, "-c", "8", "-d"])
            .arg(site.path("queries"))
            .stdin(Stdio::null())
            .stdout(fs::File::create(&output).unwrap())
            .spawn()
            .unwrap();
        Some(Self { child, output })
    }

    /// Ends it in order and reads its figures.
    fn stop(&mut self) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -INT {}", self.child.id())).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap();
        let text = fs::read_to_string(&self.output).unwrap();
        let figure =
            |what: &str| text.lines().find_map(|line| line.trim().strip_prefix(what)).unwrap_or_default().trim();
        println!(
            "dnsperf: {} sent, {} lost, {}",
            figure("Queries sent:"),
            figure("Queries lost:"),
            figure("Response codes:")
        );
        assert!(figure("Queries lost:").starts_with("0 "), "{text}");
        let codes = figure("Response codes:");
        assert!(codes.starts_with("NOERROR") && !codes.contains(','), "{text}");
    }
}

impl Drop for Dnsperf {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
