//! The inspector on live interfaces, over a pair of virtual ones in a network namespace of the test's own: by the command, and within
//! the daemon.
#![allow(unsafe_code, reason = "a thread leaves the host's network by a system call")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

#[path = "common/daemon.rs"]
mod daemon;
#[path = "common/dns.rs"]
mod dns;
#[path = "inspect/frames.rs"]
#[allow(dead_code, reason = "a part of it is for streams that are cut in other ways")]
mod frames;
#[path = "common/tier.rs"]
mod tier;

use daemon::Home;
use frames::{Sent, datagram, hello};
use interdict::base::wire::quic::initials;
use interdict::base::wire::tls::client_hello;
use interdict::io::capture::{FileSource, Next, Source};
use pnet::datalink::{self, Channel, DataLinkSender};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const VENDOR: &str = r#"
version = 1
[vendor]
id = "acme"
name = "Acme"
[[source]]
id = "s"
title = "Made up"
where = "https://example.org/"
[[domain]]
name = "acme.example"
match = "suffix"
purpose = "update"
source = ["s"]
confidence = "high"
[[range]]
cidr = "203.0.113.0/24"
asn = 64500
purpose = "telemetry"
evidence = "2026-01-01"
source = ["s"]
confidence = "high"
[[signature]]
kind = "http-uri-prefix"
value = ["/bases/index"]
source = ["s"]
confidence = "high"
[[signature]]
kind = "http-header"
value = ["x-acme-update"]
source = ["s"]
confidence = "high"
[[fallback]]
order = 1
address = "9.9.9.9"
operator = "Somebody"
source = ["s"]
confidence = "high"
[[port]]
port = ["13111", "14000"]
proto = "tcp"
use = "relay"
relay = true
source = ["s"]
confidence = "high"
"#;

/// Runs `scenario` in a thread whose network is empty but for the pair `left` and `right`, which goes away with it.
fn with_pair(scenario: impl FnOnce() + Send + 'static) {
    if tier::program("ip").is_none() || !tier::root() {
        return;
    }
    let run = move || {
        // SAFETY: changes the network namespace of this thread alone.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
        // Neighbour discovery would send frames of its own.
        fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        for arguments in
            ["link set lo up", "link add left type veth peer name right", "link set left up", "link set right up"]
        {
            ip(arguments);
        }
        scenario();
    };
    thread::Builder::new().name("namespace".into()).spawn(run).unwrap().join().unwrap();
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

fn home(more: &str) -> Home {
    let home = Home::alone(&format!("[policy]\nvendors = \"vendors\"\n[policy.stages]\n\"acme\" = \"block\"\n{more}"));
    home.write("vendors/acme.toml", VENDOR);
    home
}

/// Sends raw IPv4 packets from the other end.
struct Wire(Box<dyn DataLinkSender>);

impl Wire {
    fn new() -> Self {
        let left = datalink::interfaces().into_iter().find(|interface| interface.name == "left").unwrap();
        match datalink::channel(&left, datalink::Config::default()).unwrap() {
            Channel::Ethernet(sender, _) => Self(sender),
            _ => panic!("no Ethernet"),
        }
    }

    fn send(&mut self, packet: &[u8]) {
        let frame = [&[2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa, 8, 0], packet].concat();
        self.0.send_to(&frame, None).unwrap().unwrap();
    }

    /// The first flight of QUIC for a name, in two datagrams.
    fn quic(&mut self, name: &str) {
        for octets in initials(1, b"12345678", &client_hello(name, 1_500).unwrap()).unwrap() {
            self.send(&datagram(443, &octets));
        }
    }

    /// A handshake for a name, in two segments.
    fn handshake(&mut self, sport: u16, name: &str) {
        let hello = hello(name, 600, 9_000);
        let (first, second) = hello.split_at(300);
        let next = 1 + u32::try_from(first.len()).unwrap();
        for sent in [Sent::start(0), Sent::client(1, first), Sent::client(next, second)] {
            self.send(&Sent { sport, ..sent }.packet());
        }
    }
}

/// A query for acme.example to 9.9.9.9, or for another name of as many labels.
fn query(to: [u8; 4]) -> Vec<u8> {
    let mut packet = datagram(53, b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x04acme\x07example\0\0\x01\0\x01");
    packet[16..20].copy_from_slice(&to);
    packet
}

/// A command that has said that it reads.
fn reading(command: &mut Command) -> (Child, Receiver<String>) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = sync_channel(1_000);
    let stdout = child.stdout.take().unwrap();
    thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)))
    });
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    assert!(said.contains("reading right until"), "{said}");
    (child, lines)
}

fn interrupt(mut child: Child, signal: &str) {
    let sent = daemon::run(Command::new("kill").args([signal, &child.id().to_string()]));
    assert_eq!(sent.code, Some(0), "{}", sent.err);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn captured(path: &Path) -> Vec<Vec<u8>> {
    let mut source = FileSource::open(path, false).unwrap();
    let mut frames = Vec::new();
    while let Next::Frame(frame) = source.next().unwrap() {
        frames.push(frame.bytes.to_vec());
    }
    frames
}

#[test]
fn a_watched_interface_is_reported_when_it_is_interrupted_and_listed_flows_are_kept() {
    with_pair(|| {
        let home = home("");
        let mut wire = Wire::new();
        let arguments = ["inspect", "--interface", "right", "--write", "out.pcap", "--format", "jsonl"];
        let (child, lines) = reading(&mut home.command(&arguments));
        wire.handshake(40_001, "www.example");
        wire.handshake(40_002, "cdn.acme.example");
        wire.send(&query([9, 9, 9, 9]));
        sleep(Duration::from_millis(500));
        interrupt(child, "-INT");
        let said: Vec<Value> = lines.iter().map(|line| serde_json::from_str(&line).unwrap()).collect();
        let row = said.iter().find(|said| said["kind"] == "row").unwrap_or_else(|| panic!("{said:?}"));
        assert_eq!((&row["vendor"], &row["count"]), (&"acme".into(), &2.into()));
        assert_eq!(row["channel"], serde_json::json!(["dns", "tls-sni"]));
        let frames = captured(&home.path("out.pcap"));
        assert_eq!(frames.len(), 4, "the whole handshake, also what came before its name, and the query");
        assert!(frames.iter().all(|frame| !frame.windows(3).any(|octets| octets == b"www")));
    });
}

#[test]
fn names_are_printed_as_they_pass() {
    with_pair(|| {
        let home = home("");
        let mut wire = Wire::new();
        let (child, lines) = reading(&mut home.command(&["inspect", "--interface", "right", "--names"]));
        for name in ["one.example", "two.example"] {
            wire.handshake(40_003, name);
            let line: Value = serde_json::from_str(&lines.recv_timeout(PATIENCE).unwrap()).unwrap();
            assert_eq!((&line["proto"], &line["name"]), (&"tls-sni".into(), &name.into()));
            wire.send(&Sent { sport: 40_003, flags: 20, ..Sent::client(9_000, b"") }.packet());
        }
        wire.quic("three.example");
        let line: Value = serde_json::from_str(&lines.recv_timeout(PATIENCE).unwrap()).unwrap();
        assert_eq!((&line["proto"], &line["name"]), (&"quic-sni".into(), &"three.example".into()));
        interrupt(child, "-TERM");
    });
}

/// The rows of the report by purpose and channel, once there are so many attempts.
fn rows(home: &Home, attempts: u64) -> Vec<Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let rows = home.rows();
        let counted: u64 = rows.iter().map(|row| row["count"].as_u64().unwrap()).sum();
        if counted >= attempts {
            return rows;
        }
        assert!(Instant::now() < until, "{rows:#?}");
        sleep(Duration::from_millis(100));
    }
}

/// A daemon that inspects one end, and the other end.
fn inspecting() -> (Home, daemon::Daemon, Wire) {
    ip("addr add 10.0.0.1/24 dev right");
    let home = home("[inspect]\ninterfaces = [\"right\"]\n");
    let (daemon, wire) = (home.start(), Wire::new());
    status(&home, "it reads", |status| status["inspect"][0]["reading"] == true);
    (home, daemon, wire)
}

fn status(home: &Home, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let ran = home.run(&["status", "--format", "json"]);
        let status: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
        if holds(&status) {
            return status;
        }
        assert!(Instant::now() < until, "{what}: {status:#}");
        sleep(Duration::from_millis(100));
    }
}

/// Packets of a client that goes every way, and asks the resolver on this port.
fn every_way(wire: &mut Wire, port: u16) {
    wire.handshake(40_001, "cdn.acme.example");
    let mut own = query([127, 0, 0, 1]);
    own[22..24].copy_from_slice(&port.to_be_bytes());
    wire.send(&own);
    wire.send(&query([9, 9, 9, 9]));
    for port in [13_111, 14_000] {
        let mut relayed = datagram(port, b"for somebody else");
        relayed[16..20].copy_from_slice(&[10, 0, 0, 9]);
        wire.send(&relayed);
    }
    let request = b"GET /bases/index.xml HTTP/1.0\r\nX-Acme-Update: 1\r\nHost: www.example\r\n\r\n";
    wire.send(&Sent { sport: 40_004, dport: 80, ..Sent::client(1, request) }.packet());
    let mut silent = datagram(9_999, b"nothing that is known");
    silent[16..20].copy_from_slice(&[203, 0, 113, 7]);
    wire.send(&silent);
    // Two connections, one after the other, on the same ports.
    for seq in [1_000, 900_000] {
        let mut start = Sent::start(seq).packet();
        start[16..20].copy_from_slice(&[203, 0, 113, 7]);
        wire.send(&start);
    }
    wire.quic("q.acme.example");
}

/// Every way that is seen in packets is in the ledger once; what the resolver is asked itself is left to it; an interface that goes
/// away is an alarm, and its time a gap.
#[test]
fn the_daemon_records_what_passes() {
    with_pair(|| {
        let (home, daemon, mut wire) = inspecting();
        let port = daemon.address.port();
        every_way(&mut wire, port);
        let rows = rows(&home, 7);
        let mut found: Vec<String> = rows
            .iter()
            .map(|row| format!("{} {} {} {}", row["purpose"], row["channel"], row["count"], row["outcomes"]["leaked"]))
            .collect();
        found.sort();
        assert_eq!(
            found,
            ["\"telemetry\" [\"address\"] 3 0", "\"update\" [\"dns\",\"tls-sni\",\"quic-sni\",\"signature\"] 4 2"],
            "{rows:#?}"
        );
        assert!(rows.iter().all(|row| row["endpoint"]["addresses"] == serde_json::json!(["10.0.0.5"])));

        let incidents = home.run(&["report", "incidents", "--format", "json"]).json();
        assert_eq!(
            (&incidents[0]["endpoint"], &incidents[0]["vendor"]),
            (&"10.0.0.5".into(), &"acme".into()),
            "{incidents:#}"
        );
        let chain = incidents[0]["chain"].to_string();
        assert!(
            chain.contains("asked 127.0.0.1 for") && chain.contains("number 1 of the vendor's fallback"),
            "{chain}"
        );
        let until = Instant::now() + PATIENCE;
        let relays = loop {
            let relays = home.run(&["report", "relays", "--format", "json"]).json();
            if relays.as_array().is_some_and(|relays| relays.len() == 2) {
                break relays;
            }
            assert!(Instant::now() < until, "{relays:#}");
            sleep(Duration::from_millis(100));
        };
        assert_eq!((&relays[0]["host"], &relays[0]["port"]), (&"10.0.0.9".into(), &13_111.into()));
        assert_eq!(relays[0]["clients"], serde_json::json!(["10.0.0.5"]));
        let device = &home.rows()[0]["endpoint"];
        assert_eq!(device["macs"], serde_json::json!(["02:00:00:00:00:0a"]), "who is behind the address: {device:#}");

        ip("link set right down");
        let down = status(&home, "the alarm", |status| status["alarms"].to_string().contains("not inspected"));
        assert!(down["inspect"][0]["failed"].as_str().unwrap().starts_with("right: "), "{down:#}");
        ip("link set right up");
        let up = status(&home, "it reads again", |status| status["alarms"].as_array().unwrap().is_empty());
        assert_eq!((&up["inspect"][0]["restarts"], &up["inspect"][0]["dropped"]), (&0.into(), &0.into()));
        assert!(daemon.stop(PATIENCE).success());
        let text = home.run(&["report"]).good();
        assert!(text.contains("not covered"), "{text}");
    });
}

/// What the kernel dropped while nobody read raises the alarm, and is a gap in the ledger, also where the daemon is stopped before its end.
#[test]
fn frames_that_were_dropped_are_an_alarm_and_a_gap() {
    with_pair(|| {
        let (home, daemon, mut wire) = inspecting();
        let signal = |signal: &str| {
            let sent = daemon::run(Command::new("kill").args([signal, &daemon.pid().to_string()]));
            assert_eq!(sent.code, Some(0), "{}", sent.err);
        };
        signal("-STOP");
        // More than the ring holds.
        let large = datagram(9_999, &[7; 1_400]);
        (0..20_000).for_each(|_| wire.send(&large));
        signal("-CONT");
        let status = status(&home, "the alarm", |status| status["alarms"].to_string().contains("the kernel dropped"));
        let inspected = &status["inspect"][0];
        let (frames, dropped) = (inspected["frames"].as_u64().unwrap(), inspected["dropped"].as_u64().unwrap());
        assert!(frames > 1_000 && dropped > 1_000, "{status:#}");
        assert_eq!(inspected["flows"], 1);
        assert!(daemon.stop(PATIENCE).success());
        let text = home.run(&["report"]).good();
        assert!(text.contains("1 stretch of time was not covered; the last: lost"), "{text}");
    });
}
