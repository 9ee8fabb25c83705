//! `interdict verify` beside enforcement that is whole, and that is broken on purpose.

use crate::daemon::{Daemon, Site};
use crate::net::{Net, dig, site};
use crate::space::{sh, until};
use crate::tier;
use serde_json::Value;
use std::fs;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

/// Paths that are not enforced, by what `verify` says.
fn broken(site: &Site) -> Vec<String> {
    let output = site.program(&["verify", "--namespace", "--format", "json"]);
    let rows: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let rows = rows.as_array().unwrap();
    assert!(rows.len() >= 14, "{rows:#?}");
    let broken: Vec<&Value> = rows.iter().filter(|row| row["enforced"] == false).collect();
    assert_eq!(output.status.code(), Some(i32::from(!broken.is_empty())));
    broken.iter().for_each(|row| println!("    {}: {}", row["path"], row["evidence"]));
    broken.iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect()
}

/// Something that somebody does to the kernel, and paths that are open then, or cannot be seen to be shut.
const BREAKS: &[(&str, &[&str])] = &[
    ("nft flush ruleset", &["kernel", "address over TCP", "another resolver over UDP", "DoT"]),
    ("nft delete table inet interdict-hold", &["kernel", "address over TCP", "IPv6 address over UDP"]),
    (
        "nft delete table inet interdict",
        &["kernel", "another resolver over UDP", "another resolver over TCP", "DoT", "DoQ", "SNI", "HTTP host", "QUIC"],
    ),
    ("nft flush chain inet interdict inspect", &["kernel", "SNI", "HTTP host", "QUIC"]),
    ("nft flush map inet interdict-hold listed6", &["kernel", "IPv6 address over TCP", "IPv6 address over UDP"]),
    ("nft delete element inet interdict-hold listed4 '{ 203.0.113.0-203.0.113.199 }'", &["kernel", "address over TCP"]),
    ("nft flush chain inet interdict verdicts", &["kernel", "SNI", "HTTP host", "QUIC"]),
    ("nft flush set inet interdict-hold clients4", &["kernel", "address over TCP", "address over UDP"]),
    (
        "nft add element inet interdict-hold outside '{ interdict-v }'",
        &["kernel", "address over TCP", "IPv6 address over TCP"],
    ),
    ("nft flush chain inet interdict prerouting", &["kernel", "another resolver over UDP"]),
    ("nft flush chain inet interdict dot", &["kernel", "DoT", "DoQ"]),
];

/// The thread that keeps the kernel as it should be, standing still until this is dropped; all others go on.
struct Still(Child);

impl Still {
    fn new(daemon: &Daemon) -> Self {
        let tasks = format!("/proc/{}/task", daemon.pid());
        let is_keeper = |task: &String| {
            fs::read_to_string(format!("{tasks}/{task}/comm")).is_ok_and(|name| name.trim() == "gateway")
        };
        let task = fs::read_dir(&tasks)
            .unwrap()
            .map(|task| task.unwrap().file_name().into_string().unwrap())
            .find(is_keeper)
            .unwrap();
        let mut strace = Command::new("strace");
        strace.args([
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=recvfrom",
            "-e",
            "inject=recvfrom:delay_enter=120000000",
            "-p",
            &task,
        ]);
        let still = Self(strace.spawn().unwrap());
        until("the thread is held", Duration::from_secs(5), || {
            let status = fs::read_to_string(format!("{tasks}/{task}/status")).unwrap();
            status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        });
        // Its next wait for the kernel is the one that does not end.
        sleep(Duration::from_millis(500));
        still
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the kernel enforces and we answer for others.
fn answering() {
    let ours = || dig("8.8.8.8", "", "update.acme.example") == "0.0.0.0";
    until("we answer for others", Duration::from_secs(20), ours);
    until("all is there", Duration::from_secs(20), || {
        let table = sh("nft list ruleset");
        [
            "jump inspect",
            "jump refused",
            "jump listed6",
            "203.0.113.0-203.0.113.199",
            "jump dot",
            "2001:db8:bad::/48",
            "172.16.0.0/12",
        ]
        .iter()
        .all(|one| table.contains(one))
            && !table.contains("\"interdict-v\"")
    });
}

/// The tester's attempts are in the ledger as such, and nobody's.
fn makes_nobody_an_endpoint(site: &Site) {
    sleep(Duration::from_secs(2));
    let output = site.program(&["report", "--format", "json"]);
    let rows = String::from_utf8(output.stdout).unwrap();
    for tester in ["169.254.173.2", "127.173.17.2", "fd1d:17e2:d1c7::2"] {
        assert!(!rows.contains(tester), "{rows}");
    }
    let store = rusqlite::Connection::open(site.store().join("ledger.sqlite")).unwrap();
    let tests: u32 =
        store.query_row("SELECT count(*) FROM sample WHERE origin = 'self-test'", [], |row| row.get(0)).unwrap();
    assert!(tests >= 4, "{tests}");
}

pub(crate) fn verify_finds_what_is_broken() {
    if tier::program("strace").is_none() {
        return;
    }
    let _net = Net::new();
    let site = site("protect = false\ndot = \"refuse\"\n");
    let daemon = site.start();
    answering();
    assert_eq!(broken(&site), [""; 0]);
    makes_nobody_an_endpoint(&site);
    // The daemon would mend it: it answers on, while what keeps the kernel stands still.
    for (breaks, paths) in BREAKS.iter().take(tier::count(3, 11, 11)) {
        let begun = std::time::Instant::now();
        println!("{breaks}");
        let still = Still::new(&daemon);
        sh(breaks);
        let found = broken(&site);
        drop(still);
        for path in *paths {
            assert!(found.iter().any(|one| one == path), "{breaks}: {path} is not in {found:?}");
        }
        answering();
        println!("  found and mended in {:?}", begun.elapsed());
    }
    drop(daemon);
    let found = broken(&site);
    assert!(
        found.iter().any(|path| path == "our DNS over UDP")
            && found.iter().any(|path| path == "another resolver over TCP")
    );
    assert_eq!(sh("ip -br link show type veth | grep -c 'interdict-[vw]' || true").trim(), "0");
    assert_eq!(sh("ip netns list | grep -c interdict || true").trim(), "0");
}
