//! Addresses that listed names lead to: learned from real answers, and what becomes of real packets there.

use crate::daemon::{Daemon, Site};
use crate::gateway::enforcing;
use crate::net::{Net, VENDOR, dig, site};
use crate::paths::sightings;
use crate::space::{sh, until};
use serde_json::Value;
use std::time::Duration;

const CLIENT: &str = "10.1.0.2";
/// A client that is a resolver itself, and asks whom it wants.
const SERVER: &str = "10.1.200.53";
/// Nobody's network in particular, and a name that is asked for as it stands.
const MORE: &str = "
[[range]]
cidr = \"192.0.2.96/28\"
shared = true
purpose = \"update\"
evidence = \"2026-11-01\"
confidence = \"high\"
source = [\"s\"]
[[domain]]
name = \"to-92.acme.example\"
match = \"exact\"
purpose = \"telemetry\"
confidence = \"high\"
source = [\"s\"]
";

/// What `check` knows that taught an address.
fn checked(site: &Site, address: &str) -> Value {
    let output = site.program(&["check", address, "--format", "jsonl"]);
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["learned"].clone()
}

fn in_kernel(set: &str, address: &str) -> bool {
    sh(&format!("nft list set inet interdict {set}")).contains(address)
}

/// Waits until an address is used so.
fn used(site: &Site, address: &str, used: &str) -> Value {
    let mut found = Value::Null;
    until(&format!("{address} is {used}"), Duration::from_secs(5), || {
        found = checked(site, address);
        found["used"] == used
    });
    println!("{address} {used}: {}, by {}", found["why"], found["names"]);
    found
}

/// Waits until the ledger has the attempt.
fn named(site: &Site, address: &str, outcome: &str) {
    let wanted = [CLIENT, "acme update", "address", outcome, address].map(str::to_owned);
    until(&format!("the ledger has {wanted:?}"), Duration::from_secs(5), || sightings(site).contains(&wanted));
    println!("the ledger has {wanted:?}");
}

fn counted(daemon: &Daemon, counter: &str) -> u64 {
    daemon.status()["gateway"]["counters"][counter]["packets"].as_u64().unwrap_or(0)
}

pub(crate) fn learned_addresses_are_recorded_refused_and_forgotten() {
    let net = Net::new();
    let site = site(&format!("dns_servers = [\"{SERVER}\"]\n[inspect]\ninterfaces = [\"lan\"]\n"));
    site.write("vendors/acme.toml", &(VENDOR.to_owned() + MORE));
    let config = std::fs::read_to_string(site.path("interdict.toml")).unwrap();
    site.write("interdict.toml", &config.replace("\"acme\" = \"block\"", "\"acme\" = \"observe\""));
    let daemon = site.start();
    enforcing(&daemon);
    observed(&net, &site, &daemon);
    // The names are blocked from now on, and what they led to is refused.
    site.write("interdict.toml", &config.replace("[gateway]\n", "[gateway]\nlearned = \"refuse\"\n"));
    assert!(site.program(&["reload"]).status.success());
    refused(&net, &site, &daemon);
    drop(daemon);
    // A blocked name is told to nobody: only a question of our own says where it leads.
    let asking = "[gateway]\nlearned = \"refuse\"\nlearned_for = \"5s\"\nlearn_every = \"1h\"\n";
    site.write("interdict.toml", &config.replace("[gateway]\n", asking));
    let daemon = site.start();
    enforcing(&daemon);
    let to: [&str; 4] = ["tcp", CLIENT, "192.0.2.92", "443"];
    until("what a question of our own came to is refused", Duration::from_secs(5), || net.probe(&[to]) == ["reset"]);
    until("it is forgotten", Duration::from_secs(10), || net.probe(&[to]) == ["open"]);
    assert!(!in_kernel("learned-refused4", "192.0.2.92"));
    assert_eq!(checked(&site, "192.0.2.92"), Value::Null);
    until("nothing is remembered", Duration::from_secs(15), || daemon.status()["gateway"]["learned"]["addresses"] == 0);
}

fn observed(net: &Net, site: &Site, daemon: &Daemon) {
    assert_eq!(dig("10.1.0.1", "", "to-90.update.acme.example"), "192.0.2.90");
    let about = used(site, "192.0.2.90", "observed");
    assert_eq!(
        (&about["names"][0]["name"], &about["names"][0]["source"]),
        (&"to-90.update.acme.example".into(), &"resolver".into())
    );
    until("it is in the kernel", Duration::from_secs(5), || in_kernel("learned4", "192.0.2.90 timeout"));
    let before = counted(daemon, "learned/observe");
    assert_eq!(net.probe(&[["tcp", CLIENT, "192.0.2.90", "443"]]), ["open"]);
    named(site, "192.0.2.90", "observed");
    assert!(counted(daemon, "learned/observe") > before);
    // Where a name leads that is not listed, nothing is done; nor in a range that others share.
    assert_eq!(dig("10.1.0.1", "", "to-91.update.acme.example"), "192.0.2.91");
    used(site, "192.0.2.91", "observed");
    assert_eq!(dig("10.1.0.1", "", "to-91.other.example"), "192.0.2.91");
    let shared = used(site, "192.0.2.91", "unused");
    assert_eq!(shared["why"], "a name that is not listed leads there too");
    assert_eq!(dig("10.1.0.1", "", "to-97.update.acme.example"), "192.0.2.97");
    assert_eq!(used(site, "192.0.2.97", "unused")["why"], "it lies in a range that others share");
    until("both are out of the kernel", Duration::from_secs(5), || {
        !in_kernel("learned4", "192.0.2.91") && !in_kernel("learned4", "192.0.2.97")
    });
    // A resolver inside that asks others is heard on the interface that is inspected.
    assert_eq!(dig("8.8.8.8", &format!("-b{SERVER}"), "to-93.update.acme.example"), "192.0.2.93");
    assert_eq!(used(site, "192.0.2.93", "observed")["names"][0]["source"], "wire");
    let text = String::from_utf8(site.program(&["check", "192.0.2.93"]).stdout).unwrap();
    println!("{text}");
    assert!(text.contains("to-93.update.acme.example led there: said by wire, 1 times"), "{text}");
    // What another hand takes out is put back.
    sh("nft flush set inet interdict learned4");
    until("it is in the kernel again", Duration::from_secs(15), || in_kernel("learned4", "192.0.2.90"));
}

fn refused(net: &Net, site: &Site, daemon: &Daemon) {
    used(site, "192.0.2.90", "refused");
    until("it is refused", Duration::from_secs(5), || net.probe(&[["tcp", CLIENT, "192.0.2.90", "443"]]) == ["reset"]);
    assert!(!in_kernel("learned4", "192.0.2.90"));
    named(site, "192.0.2.90", "blocked");
    assert!(counted(daemon, "learned/block") > 0);
    // Others are not: where they live too, in shared space, and what only the wire said.
    for last in ["91", "97", "93", "94"] {
        let to: &'static str = format!("192.0.2.{last}").leak();
        assert_eq!(net.probe(&[["tcp", CLIENT, to, "443"]]), ["open"], "{to}");
    }
    assert_eq!(checked(site, "192.0.2.93")["used"], "observed");
}
