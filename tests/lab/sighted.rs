//! Encrypted DNS of who tried what is blocked, and of everybody else.

use crate::gateway::enforcing;
use crate::net::{Net, Probe, dig, site};
use crate::paths::{RESOLVERS, sightings};
use crate::space::{sh, until};
use std::time::Duration;

const CLIENT: &str = "10.1.0.2";
const OTHER: &str = "10.1.200.9";
/// A client that is a resolver itself.
const SERVER: &str = "10.1.200.53";

/// The ways to a resolver: to those that a list knows on two ports, to others on the port that is theirs alone. What comes of each.
const WAYS: [([&str; 3], &str); 6] = [
    (["tcp", "9.9.9.9", "853"], "reset"),
    (["udp", "9.9.9.9", "853"], "prohibited"),
    (["tcp", "192.0.2.7", "853"], "reset"),
    (["tcp", "9.9.9.9", "443"], "reset"),
    (["tcp", "192.0.2.33", "443"], "reset"),
    (["udp", "192.0.2.33", "443"], "prohibited"),
];
/// What is nobody's resolver.
const NO_WAYS: [[&str; 3]; 3] = [["tcp", "192.0.2.7", "443"], ["tcp", "9.9.9.9", "80"], ["udp", "192.0.2.7", "443"]];

fn from(source: &'static str) -> Vec<Probe> {
    let ways = WAYS.iter().map(|(way, _)| way).chain(&NO_WAYS);
    ways.map(|[protocol, to, port]| [*protocol, source, *to, *port]).collect()
}

pub(crate) fn encrypted_dns_is_refused_to_who_tried() {
    let net = Net::new();
    let site = site(&format!("dot = \"refuse-sighted\"\nsighted_for = \"8s\"\ndns_servers = [\"{SERVER}\"]\n"));
    let config = std::fs::read_to_string(site.path("interdict.toml")).unwrap();
    let stages = "\"acme\" = \"block\"\n\"encrypted-dns\" = \"observe\"\n";
    site.write("interdict.toml", &config.replace("\"acme\" = \"block\"\n", stages));
    site.write("vendors/encrypted-dns.toml", RESOLVERS);
    let daemon = site.start();
    enforcing(&daemon);
    let open = vec!["open"; WAYS.len() + NO_WAYS.len()];
    let refused: Vec<&str> = WAYS.iter().map(|(_, outcome)| *outcome).chain(NO_WAYS.map(|_| "open")).collect();
    assert_eq!(net.probe(&from(CLIENT)), open, "who tried nothing");
    for source in [CLIENT, SERVER] {
        assert_eq!(dig("10.1.0.1", &format!("-b{source}"), "update.acme.example"), "0.0.0.0");
    }
    let to: Probe = ["tcp", CLIENT, "9.9.9.9", "853"];
    until("who tried is refused", Duration::from_secs(5), || net.probe(&[to]) == ["reset"]);
    assert_eq!(net.probe(&from(CLIENT)), refused, "who tried");
    for source in [OTHER, SERVER] {
        assert_eq!(net.probe(&from(source)), open, "{source}");
    }
    assert_eq!(daemon.status()["gateway"]["sighted"], 1);
    let wanted = [CLIENT, "encrypted-dns public-dns", "address", "blocked", "9.9.9.9"].map(str::to_owned);
    until(&format!("the ledger has {wanted:?}"), Duration::from_secs(5), || sightings(&site).contains(&wanted));
    // A table that is gone comes back with who is in it.
    sh("nft delete table inet interdict");
    until("the kernel is told again", Duration::from_secs(5), || net.probe(&[to]) == ["reset"]);
    println!("{CLIENT} is refused {} ways, and {OTHER} none", WAYS.len());
    until("it is forgotten", Duration::from_secs(20), || net.probe(&[to]) == ["open"]);
    assert_eq!(net.probe(&from(CLIENT)), open, "who tried long ago");
}
