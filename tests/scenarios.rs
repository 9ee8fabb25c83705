//! The resolver's behaviours as data: `tests/data/scenarios/README.md` says how they are written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

#[path = "common/dns.rs"]
mod dns_fixture;
#[path = "scenarios/message.rs"]
mod message;
#[path = "scenarios/play.rs"]
mod play;
#[path = "scenarios/script.rs"]
mod script;
#[path = "scenarios/switches.rs"]
mod switches;

use play::play;
use script::{Scenario, all};
use std::collections::BTreeMap;

/// Categories, and how many scenarios each has at least.
const CATEGORIES: [&str; 14] = [
    "truncation",
    "ttl",
    "negative",
    "stale",
    "alias",
    "svcb",
    "bailiwick",
    "edns",
    "flags",
    "cookie",
    "failure",
    "malformed",
    "spoofed",
    "policy",
];
const LEAST: usize = 10;
const LEAST_OF_ALL: usize = 200;

/// What went wrong, by scenario.
fn played(scenarios: &[Scenario], change: impl Fn(&mut play::Setup)) -> Vec<String> {
    let wrong = scenarios.iter().filter_map(|scenario| {
        play(scenario, &change).err().map(|why| format!("{}:{}: {}", scenario.path, why.line, why.what))
    });
    wrong.collect()
}

#[test]
fn every_scenario_goes_as_written() {
    let only = std::env::var("SCENARIO").unwrap_or_default();
    let scenarios: Vec<_> = all().into_iter().filter(|scenario| scenario.path.contains(&only)).collect();
    let wrong = played(&scenarios, |_| ());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), scenarios.len(), wrong.join("\n"));
}

#[test]
fn there_are_enough_of_each_kind() {
    let scenarios = all();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for scenario in &scenarios {
        *counts.entry(scenario.category()).or_default() += 1;
    }
    let few: Vec<_> = CATEGORIES.iter().filter(|category| counts.get(*category).is_none_or(|n| *n < LEAST)).collect();
    assert!(few.is_empty(), "fewer than {LEAST}: {few:?} of {counts:?}");
    assert!(scenarios.len() >= LEAST_OF_ALL, "{}: {counts:?}", scenarios.len());
}

#[test]
fn each_behaviour_switched_off_breaks_a_scenario() {
    let scenarios = all();
    let mut missed = Vec::new();
    for (name, switch) in switches::ALL {
        let broken = played(&scenarios, switch);
        println!("without {name}: {} break, as {}", broken.len(), broken.first().map_or("", String::as_str));
        if broken.is_empty() {
            missed.push(name);
        }
    }
    assert!(switches::ALL.len() >= 20 && missed.is_empty(), "nothing notices that these are off: {missed:?}");
}
