//! Chains of aliases that have expired in part, as glibc's stub reads them (the outage of 8 January 2026).

use crate::daemon::Site;
use crate::space::sh;
use crate::tier;
use crate::upstream::{Chains, Habits, Upstream, address_of};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Upstream gives a whole chain in a response below the first, one link at a time below the second.
const ZONES: [&str; 2] = ["whole.example", "links.example"];

pub(crate) fn chains_that_have_expired_in_part_resolve() {
    let names = tier::count(4, 100, 1_000) / ZONES.len();
    // Of the first link and of the address; the link between them lives for a minute.
    let ttl = tier::count(2, 5, 5) as u32;
    let upstream =
        Upstream::start(Habits { chains: Some(Chains { whole: ZONES[0], links: ZONES[1], ttl }), ..Habits::default() });
    let site = Site::with(&format!(
        "version = 1\n[dns]\nlisten = [\"127.0.0.1:53\"]\n[upstream]\nservers = [\"{}\"]\n[store]\npath = \"state\"\n",
        upstream.address
    ));
    let daemon = site.start();
    for (file, text) in
        [("resolv.conf", "nameserver 127.0.0.1\noptions timeout:5 attempts:1\n"), ("nsswitch.conf", "hosts: dns\n")]
    {
        site.write(file, text);
        sh(&format!("mount --bind {} /etc/{file}", site.path(file).display()));
    }
    let resolve_all = || {
        for zone in ZONES {
            for n in 0..names {
                resolves(&format!("a{n}.{zone}"), &format!("c{n}.{zone}"));
            }
        }
    };
    let begun = Instant::now();
    resolve_all();
    let first = upstream.asked();
    // Each is asked for again as long after its first time.
    sleep(Duration::from_secs(u64::from(ttl) + 1).saturating_sub(begun.elapsed()));
    resolve_all();
    let again = upstream.asked() - first;
    println!(
        "{} of {} chains resolve with getent at first and with the links of {ttl} s expired; {first} queries upstream, then {again}",
        ZONES.len() * names,
        ZONES.len() * names,
    );
    assert!(again >= (ZONES.len() * names) as u64, "what has expired was asked for again, {again} times");
    assert_eq!(daemon.counter("worker_restarts"), 0);
}

/// The stub finds the address at the end of the chain, and nothing else.
fn resolves(name: &str, end: &str) {
    let output = Command::new("getent").args(["ahosts", name]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let address = address_of(end).to_string();
    assert!(output.status.success() && !said.is_empty(), "{name}: {output:?}");
    assert!(
        said.lines().all(|line| line.split_whitespace().next() == Some(&*address)),
        "{name} is at {address}: {said}"
    );
}
