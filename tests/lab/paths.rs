//! Every way to a listed destination: without the ban, with it, and what the ledger says of each.

use crate::daemon::{Daemon, Site};
use crate::gateway::enforcing;
use crate::net::{Net, Probe, dig, site};
use crate::space::{part, until};
use std::time::Duration;

const C4: &str = "10.1.0.2";
const C6: &str = "fd00:1::2";
/// Another client, for whom an address is excepted.
const OTHER: &str = "10.1.200.9";

/// A way, what comes of it with the ban, and the counter of the kernel that has it then.
const PATHS: &[(Probe, &str, &str)] = &[
    (["tcp", C4, "203.0.113.7", "443"], "reset", "block/acme/update"),
    (["tcp", C4, "203.0.113.7", "80"], "reset", "block/acme/update"),
    (["tcp", C4, "203.0.113.0", "443"], "reset", "block/acme/update"),
    (["tcp", C4, "203.0.113.255", "443"], "reset", "block/acme/update"),
    (["tcp", C4, "203.0.113.199", "443"], "reset", "block/acme/update"),
    (["tcp", C4, "203.0.113.201", "443"], "reset", "block/acme/update"),
    (["udp", C4, "203.0.113.7", "443"], "prohibited", "block/acme/update"),
    (["tcp", OTHER, "203.0.113.7", "443"], "reset", "block/acme/update"),
    (["tcp", C6, "2001:db8:bad::7", "443"], "reset", "block/acme/telemetry"),
    (["tcp", C6, "2001:db8:bad:ffff::1", "80"], "reset", "block/acme/telemetry"),
    (["udp", C6, "2001:db8:bad::7", "443"], "prohibited", "block/acme/telemetry"),
    (["tcp", C4, "203.0.113.200", "25"], "open", "observe/acme/mail"),
    (["tcp", C4, "9.9.9.9", "853"], "reset", "dot"),
    (["tcp", C4, "192.0.2.7", "853"], "reset", "dot"),
    (["udp", C4, "9.9.9.9", "853"], "prohibited", "dot"),
    (["tcp", C6, "2001:db8:900d::7", "853"], "reset", "dot"),
    (["tcp", C4, "192.0.2.7", "443"], "open", ""),
    (["tcp", C4, "192.0.2.7", "80"], "open", ""),
    (["tcp", C4, "192.0.2.255", "25"], "open", ""),
    (["udp", C4, "192.0.2.7", "443"], "open", ""),
    (["tcp", C6, "2001:db8:900d::7", "443"], "open", ""),
    (["udp", C6, "2001:db8:900d::7", "443"], "open", ""),
    (["tcp", C4, "8.8.8.8", "443"], "open", ""),
    (["tcp", OTHER, "192.0.2.7", "443"], "open", ""),
    (["tcp", C4, "203.0.113.64", "443"], "open", ""),
    (["tcp", C4, "203.0.113.79", "443"], "open", ""),
    (["tcp", C4, "203.0.113.80", "443"], "reset", "block/acme/update"),
    (["tcp", OTHER, "203.0.113.80", "443"], "open", ""),
    (["tcp", C4, "203.0.113.96", "443"], "silence", "block/many/unknown"),
    (["udp", C4, "203.0.113.96", "443"], "silence", "block/many/unknown"),
    (["tcp", C4, "192.0.2.33", "443"], "reset", "block/encrypted-dns/encrypted-dns"),
    (["udp", C4, "192.0.2.33", "443"], "prohibited", "block/encrypted-dns/encrypted-dns"),
    (["tcp", C6, "2001:db8:900d::33", "443"], "reset", "block/encrypted-dns/encrypted-dns"),
];

/// What is said first, to whom, with which name; what comes of it, who is listed with it, and the channel.
const SAID: &[([&str; 3], &str, &str, &str)] = &[
    (["tls", "192.0.2.7", "c.update.acme.example"], "reset", "acme update", "tls-sni"),
    (["tls", "2001:db8:900d::7", "c.update.acme.example"], "reset", "acme update", "tls-sni"),
    (["http", "192.0.2.7", "c.update.acme.example"], "reset", "acme update", "http-host"),
    (["quic1", "192.0.2.7", "c.update.acme.example"], "prohibited", "acme update", "quic-sni"),
    (["quic2", "192.0.2.7", "c.update.acme.example"], "prohibited", "acme update", "quic-sni"),
    (["tls", "192.0.2.7", "doh.example"], "reset", "encrypted-dns encrypted-dns", "tls-sni"),
    (["tls", "192.0.2.7", "other.example"], "open", "", ""),
    (["http", "192.0.2.7", "other.example"], "open", "", ""),
    (["quic1", "192.0.2.7", "other.example"], "open", "", ""),
];

/// Resolvers that are known: two refused for what they are, one observed.
pub(crate) const RESOLVERS: &str = r#"
version = 1
[bundle]
id = "encrypted-dns"
name = "Public resolvers"
[[source]]
id = "s"
title = "the lab"
where = "https://example.org"
version = "2026-01-01"
[[domain]]
name = "doh.example"
match = "suffix"
purpose = "encrypted-dns"
confidence = "high"
source = ["s"]
[[range]]
cidr = "192.0.2.33/32"
purpose = "encrypted-dns"
evidence = "2026-11-01"
confidence = "high"
source = ["s"]
[[range]]
cidr = "2001:db8:900d::33/128"
purpose = "encrypted-dns"
evidence = "2026-11-01"
confidence = "high"
source = ["s"]
[[range]]
cidr = "9.9.9.9/32"
purpose = "public-dns"
evidence = "2026-11-01"
confidence = "high"
source = ["s"]
"#;

/// What is wanted besides.
const STAGES: &str =
    "\"acme\" = \"block\"\n\"encrypted-dns:encrypted-dns\" = \"block\"\n\"encrypted-dns:public-dns\" = \"observe\"\n";

/// What the operator excepts, whose traffic is dropped, and which client is a resolver itself.
const MORE: &str = "dot = \"refuse\"\nother_action = [\"many\"]\ndns_servers = [\"10.1.200.53\"]\n\
    [[exception]]\naddress = \"203.0.113.64/28\"\nreason = \"r\"\napprover = \"a\"\n\
    [[exception]]\naddress = \"203.0.113.80\"\nclients = [\"10.1.200.0/24\"]\nreason = \"r\"\napprover = \"a\"\n\
    [[blocklist]]\nid = \"many\"\npath = \"many.txt\"\nformat = \"cidr\"\n";

/// A resolver that the client asks, more words for `dig`, a name, and the answer with the ban.
const QUESTIONS: &[[&str; 4]] = &[
    ["10.1.0.1", "", "update.acme.example", "0.0.0.0"],
    ["10.1.0.1", "+tcp", "a.update.acme.example", "0.0.0.0"],
    ["10.1.0.1", "", "other.example", "192.0.2.80"],
    ["8.8.8.8", "", "update.acme.example", "0.0.0.0"],
    ["8.8.8.8", "+tcp", "update.acme.example", "0.0.0.0"],
    ["1.1.1.1", "", "update.acme.example", "0.0.0.0"],
    ["9.9.9.9", "", "b.update.acme.example", "0.0.0.0"],
    ["2001:4860:4860::8888", "", "update.acme.example", "0.0.0.0"],
    ["8.8.8.8", "", "other.example", "192.0.2.80"],
    ["2001:4860:4860::8888", "", "other.example", "192.0.2.80"],
    ["192.0.2.99", "", "update.acme.example", "0.0.0.0"],
    ["2001:4860:4860::8888", "+tcp", "update.acme.example", "0.0.0.0"],
    ["8.8.8.8", "-b10.1.200.9", "update.acme.example", "0.0.0.0"],
    ["8.8.8.8", "-b10.1.200.53", "update.acme.example", "192.0.2.80"],
    ["9.9.9.9", "-b10.1.200.53", "other.example", "192.0.2.80"],
];

pub(crate) fn every_path_is_shut_and_named() {
    let net = Net::new();
    let before: Vec<String> = net.probe(&PATHS.iter().map(|(probe, ..)| *probe).collect::<Vec<_>>());
    let said: Vec<String> = SAID.iter().map(|(words, ..)| say(words)).collect();
    let listed = net.seen("listed");
    let site = site(MORE);
    site.write("many.txt", "203.0.113.96\n");
    site.write("vendors/encrypted-dns.toml", RESOLVERS);
    let config = std::fs::read_to_string(site.path("interdict.toml")).unwrap();
    site.write("interdict.toml", &config.replace("\"acme\" = \"block\"\n", STAGES));
    let daemon = site.start();
    enforcing(&daemon);
    until("names are looked at and we answer for others", Duration::from_secs(10), || {
        say(&SAID[0].0) == "reset" && dig("8.8.8.8", "", "update.acme.example") == "0.0.0.0"
    });
    let mut rows = Vec::new();
    for ((probe, expected, counter), before) in PATHS.iter().zip(&before) {
        let packets = |name: &str| daemon.status()["gateway"]["counters"][name]["packets"].as_u64().unwrap_or(0);
        let counted = packets(counter);
        let with = net.probe(&[*probe]).remove(0);
        assert_eq!((before.as_str(), with.as_str()), ("open", *expected), "{probe:?}");
        assert!(counter.is_empty() || packets(counter) > counted, "{probe:?} is not counted");
        let [protocol, client, to, port] = probe;
        let what = format!("{protocol} {client} ▶ {to} port {port}");
        rows.push((what, before.clone(), with, attempt(counter, client, to)));
    }
    for ((words, expected, listed, channel), before) in SAID.iter().zip(&said) {
        let with = say(words);
        assert_eq!((before.as_str(), with.as_str()), ("open", *expected), "{words:?}");
        let [kind, to, name] = words;
        let client = if to.contains(':') { C6 } else { C4 };
        let attempt = (!listed.is_empty()).then(|| Attempt::new(client, listed, channel, name, "blocked"));
        rows.push((format!("{kind} {client} ▶ {to}, {name}"), before.clone(), with, attempt));
    }
    for [resolver, more, name, expected] in QUESTIONS {
        let answer = dig(resolver, more, name);
        assert_eq!(answer, *expected, "{resolver} {more} {name}");
        let host = if resolver.contains(':') { C6 } else { C4 };
        let client = more.strip_prefix("-b").unwrap_or(host);
        let is_refused = answer == "0.0.0.0";
        let attempt = is_refused.then(|| Attempt::new(client, "acme update", "dns", name, "blocked"));
        rows.push((format!("dns {more} {client} ▶ {resolver}, {name}"), "192.0.2.80".to_owned(), answer, attempt));
    }
    // What the exceptions let through: a connection each, of a few packets.
    let passed = net.seen("listed") - listed;
    for (what, before, with, attempt) in &rows {
        let ledger = attempt.as_ref().map_or_else(|| "nothing".to_owned(), |attempt| attempt.found(&site));
        println!("{what:60} without: {before:10} with: {with:10} ledger: {ledger}");
    }
    nothing_else(&site, &rows);
    println!("{} rows; {passed} packets to listed addresses, of the three connections that are excepted", rows.len());
    assert!((3..40).contains(&passed) && rows.len() >= 40);
    bypasses_are_told(&daemon);
}

/// What our own client comes to that says a name.
fn say([kind, to, name]: &[&str; 3]) -> String {
    let output = part("client", &format!("say {kind} {to} {name} 0 0")).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("said ")).unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// What the ledger should have of an attempt.
struct Attempt {
    client: String,
    /// Vendor and purpose.
    listed: String,
    channel: String,
    destination: String,
    outcome: String,
}

impl Attempt {
    fn new(client: &str, listed: &str, channel: &str, destination: &str, outcome: &str) -> Self {
        let [client, listed, channel, destination, outcome] =
            [client, listed, channel, destination, outcome].map(str::to_owned);
        Self { client, listed, channel, destination, outcome }
    }

    fn is_in(&self, [client, listed, channel, outcome, destination]: &[String; 5]) -> bool {
        let own = [&self.client, &self.listed, &self.channel, &self.outcome, &self.destination];
        own == [client, listed, channel, outcome, destination]
    }

    /// Waits until the ledger has it, and says what it has.
    fn found(&self, site: &Site) -> String {
        let Self { client, listed, channel, destination, outcome } = self;
        let said = format!("{client} {listed} {channel} {outcome} ({destination})");
        until(&format!("the ledger has {said}"), Duration::from_secs(5), || {
            sightings(site).iter().any(|row| self.is_in(row))
        });
        said
    }
}

/// The sightings that the ledger keeps: client, vendor and purpose, channel, outcome, destination.
pub(crate) fn sightings(site: &Site) -> Vec<[String; 5]> {
    let ledger = rusqlite::Connection::open(site.store().join("ledger.sqlite")).unwrap();
    let mut all = ledger
        .prepare(
            "SELECT s.client, r.vendor || ' ' || r.purpose, s.channel, s.outcome, s.destination
             FROM sample s JOIN rule r ON r.id = s.rule",
        )
        .unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok([0, 1, 2, 3, 4].map(|at| row.get::<_, String>(at).unwrap()));
    all.query_map([], row).unwrap().map(Result::unwrap).collect()
}

/// What the kernel's counter says of an attempt.
fn attempt(counter: &str, client: &str, to: &str) -> Option<Attempt> {
    let (listed, outcome) = match (counter, to) {
        ("dot", "9.9.9.9") => ("encrypted-dns public-dns".to_owned(), "blocked"),
        // A resolver that is on no list: the counter has it, and nobody is said to be anything.
        ("" | "dot", _) => return None,
        _ => {
            let (decision, listed) = counter.split_once('/').unwrap();
            (listed.replace('/', " "), if decision == "block" { "blocked" } else { "observed" })
        }
    };
    Some(Attempt::new(client, &listed, "address", to, outcome))
}

/// The ledger has no destination that should have passed unseen.
fn nothing_else(site: &Site, rows: &[(String, String, String, Option<Attempt>)]) {
    for sighting in sightings(site) {
        let is_meant = rows.iter().flat_map(|(.., attempt)| attempt).any(|one| one.destination == sighting[4]);
        assert!(is_meant, "{sighting:?}");
    }
}

fn bypasses_are_told(daemon: &Daemon) {
    let status = daemon.status();
    let bypass = status["gateway"]["bypass"].as_array().unwrap();
    for resolver in ["8.8.8.8", "192.0.2.99", "2001:4860:4860::8888"] {
        assert!(bypass.iter().any(|row| row["resolver"] == resolver), "{resolver}: {bypass:?}");
    }
    // Our own queries go to our upstream: it is nobody's bypass.
    assert!(bypass.iter().all(|row| row["resolver"] != "198.51.100.53"), "{bypass:?}");
}
