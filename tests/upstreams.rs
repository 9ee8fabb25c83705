//! Real DNS servers as upstreams: NSD, BIND, Unbound, Knot Resolver and dnsmasq, each with a zone of its own on loopback.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "common/dns.rs"]
mod dns;
#[path = "common/daemon.rs"]
mod harness;
#[path = "common/tier.rs"]
mod tier;

use harness::{Ask, Daemon, Home, ask};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
/// Records of the name whose answer does not fit into 1,232 octets.
const BIG: usize = 12;

/// A running server; it is killed when dropped.
struct Server {
    address: SocketAddr,
    child: Child,
    _home: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody has over UDP or TCP right now.
fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address.port();
        }
    }
}

fn big(number: usize) -> String {
    format!("{number:02}{}", "x".repeat(150))
}

/// The zone as a file.
fn zone_file() -> String {
    let mut zone = "$ORIGIN zone.test.\n$TTL 300\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n\
        www A 192.0.2.80\nalias CNAME www\nmail MX 10 www\nweb HTTPS 1 . alpn=h2\n"
        .to_owned();
    (0..BIG).for_each(|number| zone += &format!("big TXT \"{}\"\n", big(number)));
    zone
}

/// Starts `name` with the arguments that `configure` gives for a folder and a port; `None` if it is not installed.
fn start(name: &str, configure: impl Fn(&Path, u16) -> Vec<String>) -> Option<Server> {
    let program = tier::program(name)?;
    // Another test may take the port between our look and the server's bind.
    for _ in 0..3 {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("zone"), zone_file()).unwrap();
        let port = free_port();
        let args = configure(home.path(), port);
        let mut command = Command::new(&program);
        command.args(args).current_dir(home.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut server = Server { address, child: command.spawn().unwrap(), _home: home };
        let begun = Instant::now();
        while server.child.try_wait().unwrap().is_none() {
            if answers(address) {
                return Some(server);
            }
            assert!(begun.elapsed() < PATIENCE, "{name} runs and does not answer");
            sleep(Duration::from_millis(50));
        }
    }
    panic!("{name} is installed and does not start");
}

/// Whether it answers by now.
fn answers(server: SocketAddr) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut buffer = [0; 4_096];
    socket.send(&dns::query("www.zone.test", RecordType::A, None)).is_ok()
        && socket.recv(&mut buffer).is_ok_and(|len| {
            Message::from_vec(&buffer[..len]).is_ok_and(|answer| {
                answer.metadata.response_code == ResponseCode::NoError && !answer.answers.is_empty()
            })
        })
}

fn nsd() -> Option<Server> {
    start("nsd", |home, port| {
        let home_text = home.display();
        let config = format!(
            "server:\n  ip-address: 127.0.0.1@{port}\n  username: \"\"\n  pidfile: \"\"\n  zonesdir: \"{home_text}\"\n  \
             database: \"\"\n  zonelistfile: \"{home_text}/list\"\n  xfrdfile: \"{home_text}/xfrd\"\n  xfrdir: \"{home_text}\"\n\
             remote-control:\n  control-enable: no\nzone:\n  name: zone.test\n  zonefile: zone\n"
        );
        std::fs::write(home.join("nsd.conf"), config).unwrap();
        ["-d", "-c", "nsd.conf"].map(str::to_owned).into()
    })
}

fn bind() -> Option<Server> {
    start("named", |home, port| {
        let config = format!(
            "options {{ directory \"{}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no;\n\
             pid-file none; session-keyfile none; dnssec-validation no; allow-query {{ any; }}; }};\n\
             controls {{ }};\nzone \"zone.test\" {{ type primary; file \"zone\"; }};\n",
            home.display()
        );
        std::fs::write(home.join("named.conf"), config).unwrap();
        ["-f", "-c", "named.conf"].map(str::to_owned).into()
    })
}

fn unbound() -> Option<Server> {
    start("unbound", |home, port| {
        let config = format!(
            "server:\n  interface: 127.0.0.1@{port}\n  directory: \"{}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  \
             use-syslog: no\n  module-config: \"iterator\"\n  local-zone: \"test.\" nodefault\nremote-control:\n  control-enable: no\n\
             auth-zone:\n  name: zone.test\n  zonefile: zone\n  for-downstream: no\n",
            home.display()
        );
        std::fs::write(home.join("unbound.conf"), config).unwrap();
        ["-d", "-c", "unbound.conf"].map(str::to_owned).into()
    })
}

/// Knot Resolver has no zones; it forwards to another server.
fn kresd(behind: SocketAddr) -> Option<Server> {
    start("kresd", |home, port| {
        let config = format!(
            "net.listen('127.0.0.1', {port})\ntrust_anchors.remove('.')\ncache.size = 1 * MB\n\
             policy.add(policy.all(policy.STUB('127.0.0.1@{}')))\n",
            behind.port()
        );
        std::fs::write(home.join("kresd.conf"), config).unwrap();
        ["-n", "-c", "kresd.conf", "."].map(str::to_owned).into()
    })
}

fn dnsmasq() -> Option<Server> {
    start("dnsmasq", |_, port| {
        let mut args: Vec<String> = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]
            .iter()
            .chain(&[
                "--listen-address=127.0.0.1",
                "--bind-interfaces",
                "--user=root",
                "--pid-file",
                "--local=/zone.test/",
            ])
            .chain(&["--host-record=www.zone.test,192.0.2.80,300", "--cname=alias.zone.test,www.zone.test,300"])
            .chain(&["--mx-host=mail.zone.test,www.zone.test,10", "--local-ttl=300", "--edns-packet-max=4096"])
            .map(|word| (*word).to_owned())
            .collect();
        args.push(format!("--port={port}"));
        args.extend((0..BIG).map(|number| format!("--txt-record=big.zone.test,{}", big(number))));
        args
    })
}

/// Asks everything through a daemon of ours and directly, and compares.
fn check(server: &Server) {
    let home = Home::new(server.address, "");
    let daemon = home.start();
    let questions = [
        ("www.zone.test", RecordType::A, ResponseCode::NoError, 1),
        ("WwW.zOnE.tEsT", RecordType::A, ResponseCode::NoError, 1),
        ("alias.zone.test", RecordType::A, ResponseCode::NoError, 2),
        ("mail.zone.test", RecordType::MX, ResponseCode::NoError, 1),
        ("www.zone.test", RecordType::AAAA, ResponseCode::NoError, 0),
        ("nothing.zone.test", RecordType::A, ResponseCode::NXDomain, 0),
        ("big.zone.test", RecordType::TXT, ResponseCode::NoError, BIG),
    ];
    for (name, rtype, rcode, count) in questions {
        // Twice: from upstream, and from the cache where it may be kept.
        for _ in 0..2 {
            let question = Ask { name, rtype, edns: Some(1_232), tcp: count == BIG };
            let (ours, theirs) = (ask(daemon.address, &question), ask(server.address, &question));
            assert_eq!(ours.message.metadata.response_code, rcode, "{name} {rtype}");
            let sorted = |mut data: Vec<String>| {
                data.iter_mut().for_each(|one| one.make_ascii_lowercase());
                data.sort();
                data
            };
            let (ours, theirs) = (sorted(ours.answers()), sorted(theirs.answers()));
            assert_eq!((ours.len(), &ours), (count, &theirs), "{name} {rtype}");
        }
    }
    let cut =
        ask(daemon.address, &Ask { name: "big.zone.test", rtype: RecordType::TXT, edns: Some(1_232), tcp: false });
    assert!(cut.message.metadata.truncation && cut.message.answers.is_empty());
    let counters = counters(&home);
    let count = |name: &str| counters[name].as_u64().unwrap();
    assert_eq!(count("upstream_truncated"), 1, "{counters}");
    assert_eq!(count("upstream_connections"), 1, "{counters}");
    for wrong in ["spoof_ignored", "upstream_invalid", "upstream_errors", "upstream_timeouts", "upstream_case_broken"] {
        assert_eq!(count(wrong), 0, "{wrong}: {counters}");
    }
}

fn counters(home: &Home) -> serde_json::Value {
    home.run(&["status", "--format", "json"]).json()["counters"].clone()
}

/// Whether a server answers a cookie with one of its own: else its test would show nothing about them.
fn sends_cookies(server: SocketAddr) -> bool {
    let mut query = dns::query("www.zone.test", RecordType::A, Some(1_232));
    let end = query.len();
    query[end - 2..].copy_from_slice(&[0, 12]);
    query.extend(b"\0\x0a\0\x08clientco");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(&query).unwrap();
    let mut buffer = [0; 4_096];
    let len = socket.recv(&mut buffer).unwrap();
    buffer[..len].windows(8).any(|octets| octets == b"clientco")
}

#[test]
fn nsd_is_understood() {
    let Some(server) = nsd() else { return };
    check(&server);
}

#[test]
fn bind_is_understood_cookies_included() {
    let Some(server) = bind() else { return };
    assert!(sends_cookies(server.address));
    check(&server);
}

#[test]
fn unbound_is_understood() {
    let Some(server) = unbound() else { return };
    check(&server);
}

#[test]
fn knot_resolver_is_understood() {
    let Some(behind) = nsd() else { return };
    let Some(server) = kresd(behind.address) else { return };
    check(&server);
}

#[test]
fn dnsmasq_is_understood() {
    let Some(server) = dnsmasq() else { return };
    check(&server);
}

/// Asks until an answer comes that `wanted` accepts.
fn wait_for(daemon: &Daemon, name: &str, wanted: impl Fn(&[String]) -> bool) {
    let begun = Instant::now();
    while !wanted(&daemon.ask(name, RecordType::A).answers()) {
        assert!(begun.elapsed() < PATIENCE, "{name} never gets there");
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_zone_goes_to_its_server_and_the_rest_elsewhere() {
    let (Some(inner), Some(outer)) = (dnsmasq(), unbound()) else { return };
    let rest = format!(
        "[[zone]]\nnames = [\"zone.test\"]\nnetworks = [\"192.0.2.0/24\"]\nservers = [\"{}\"]\n",
        inner.address
    );
    let home = Home::new(outer.address, &rest);
    let daemon = home.start();
    assert_eq!(daemon.ask("www.zone.test", RecordType::A).answers(), ["192.0.2.80"]);
    let reverse = daemon.ask("80.2.0.192.in-addr.arpa", RecordType::PTR);
    assert_eq!(reverse.answers(), ["www.zone.test."], "dnsmasq makes it of the host record");
    // Dead: nobody else is asked, though the other server has the same zone.
    drop(inner);
    let dead = daemon.ask("alias.zone.test", RecordType::A);
    assert_eq!((dead.message.metadata.response_code, dead.answers().len()), (ResponseCode::ServFail, 0));
}

#[test]
fn the_next_server_takes_over_and_an_expired_answer_helps_meanwhile() {
    let (Some(first), Some(second)) = (unbound(), nsd()) else { return };
    let home = Home::with_config(&format!(
        "version = 1\n[dns]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[upstream]\nservers = [\"{}\", \"{}\"]\nttl_max = 1\n",
        first.address, second.address
    ));
    let daemon = home.start();
    assert_eq!(daemon.ask("www.zone.test", RecordType::A).answers(), ["192.0.2.80"]);
    drop(first);
    wait_for(&daemon, "www.zone.test", |answers| answers == ["192.0.2.80"]);
    assert_eq!(daemon.ask("alias.zone.test", RecordType::A).answers().len(), 2, "by the second server");
    drop(second);
    sleep(Duration::from_millis(1_100));
    let stale = daemon.ask("www.zone.test", RecordType::A);
    assert_eq!((stale.answers(), stale.ede()), (vec!["192.0.2.80".to_owned()], Some((3, String::new()))));
}
