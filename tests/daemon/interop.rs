//! Clients from Debian against the real program: each asks for a blocked name, for one of upstream's, and for one answered here.

use crate::harness::{Home, run};
use crate::tier;
use crate::upstream::{Act, Upstream};
use std::net::Ipv4Addr;
use std::process::Command;

const BLOCKED: &str = "s00.upd.kaspersky.com";
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const ALLOWED: &str = "www.allowed.example";

/// What each name is to resolve to.
const NAMES: [(&str, &str); 3] = [(BLOCKED, "0.0.0.0"), (ALLOWED, "203.0.113.7"), ("x.localhost", "127.0.0.1")];

fn upstream() -> Upstream {
    Upstream::start([(ALLOWED, Act::Address(ELSEWHERE))])
}

#[test]
fn dig_in_all_its_ways() {
    let Some(dig) = tier::program("dig") else { return };
    let upstream = upstream();
    let home = Home::new(upstream.address, "");
    let daemon = home.start();
    let (server, port) = (format!("@{}", daemon.address.ip()), daemon.address.port().to_string());
    // The last is what systemd-resolved sends: an OPT of 1,472 octets with DO and no option.
    let resolved = "+noad +nocookie +bufsize=1472 +dnssec";
    for way in [
        "",
        "+tcp",
        "+noedns",
        "+nocookie",
        "+dnssec +cd",
        "+nsid +expire +subnet=0/0",
        "+keepopen +tcp +keepalive",
        resolved,
    ] {
        for (name, address) in NAMES {
            let mut command = Command::new(&dig);
            command.args([&server, "-p", &port, "+time=5", "+tries=1", "+noall", "+answer", "+comments"]);
            let said = run(command.args(way.split_whitespace()).arg(name)).good();
            assert!(said.contains(address), "dig {way} {name}: {said}");
            assert!(!said.contains("WARNING") && !said.contains("Warning"), "dig {way} {name}: {said}");
        }
    }
    // The version is nobody's business.
    for name in ["version.bind", "id.server", "hostname.bind", "version.server"] {
        let mut command = Command::new(&dig);
        let said = run(command.args([&server, "-p", &port, "+time=5", "+tries=1", "CH", "TXT", name])).good();
        assert!(said.contains("status: REFUSED") && said.contains("ANSWER: 0"), "{said}");
        assert!(!said.contains(env!("CARGO_PKG_VERSION")), "{said}");
    }
}

#[test]
fn kdig_and_drill() {
    let upstream = upstream();
    let home = Home::new(upstream.address, "");
    let daemon = home.start();
    let (server, port) = (format!("@{}", daemon.address.ip()), daemon.address.port().to_string());
    let ways: [(&str, &[&str]); 7] = [
        ("kdig", &["+noall", "+answer", "+edns"]),
        ("kdig", &["+noall", "+answer", "+tcp", "+cookie"]),
        ("kdig", &["+noall", "+answer", "+dnssec", "+padding"]),
        ("kdig", &["+noall", "+answer", "+cookie=0123456789abcdef"]),
        ("drill", &[]),
        ("drill", &["-t", "-D"]),
        ("drill", &["-b", "4096"]),
    ];
    for (name, arguments) in ways {
        let Some(program) = tier::program(name) else { continue };
        for (asked, address) in NAMES {
            let mut command = Command::new(&program);
            let said = run(command.args(arguments).args(["-p", &port, &server, asked])).good();
            assert!(said.contains(address), "{name} {arguments:?} {asked}: {said}");
        }
    }
}

#[test]
fn dnsperf_over_tcp_loses_nothing() {
    let Some(dnsperf) = tier::program("dnsperf") else { return };
    let upstream = upstream();
    let home = Home::new(upstream.address, "");
    let daemon = home.start();
    let queries = home.write("queries", &NAMES.map(|(name, _)| format!("{name} A\n")).concat());
    let (server, port) = (daemon.address.ip().to_string(), daemon.address.port().to_string());
    let seconds = tier::count(2, 10, 60).to_string();
    let mut command = Command::new(dnsperf);
    command.args(["-m", "tcp", "-c", "20", "-q", "200", "-s", &server, "-p", &port, "-l", &seconds, "-d"]).arg(queries);
    let said = run(&mut command).good();
    assert!(said.contains("Queries lost:         0"), "{said}");
    assert!(said.contains("NOERROR") && !said.contains("SERVFAIL"), "{said}");
}

/// glibc's stub asks port 53 of what resolv.conf names: in a network and a mount table of its own.
#[test]
fn the_stub_of_glibc() {
    let (true, Some(unshare), Some(_)) = (tier::root(), tier::program("unshare"), tier::program("getent")) else {
        return;
    };
    // Alone there, upstream cannot be reached; the two other names suffice.
    let home = Home::alone("");
    let text = std::fs::read_to_string(home.path("interdict.toml")).unwrap();
    home.write("interdict.toml", &text.replace("127.0.0.1:0", "127.0.0.1:53"));
    let resolv = home.write("resolv.conf", "nameserver 127.0.0.1\noptions edns0 trust-ad timeout:5\n");
    let nsswitch = home.write("nsswitch.conf", "hosts: dns\n");
    let script = format!(
        "set -e; ip link set lo up; mount --bind {} /etc/resolv.conf; mount --bind {} /etc/nsswitch.conf\n\
         {} run --config {} > {} & daemon=$!\n\
         trap 'kill $daemon' EXIT\n\
         for i in $(seq 100); do grep -q ledger {} && break; sleep 0.1; done\n\
         getent ahosts x.localhost; getent ahosts {BLOCKED}; getent ahosts nobody.invalid || echo none\n",
        resolv.display(),
        nsswitch.display(),
        crate::harness::program(),
        home.path("interdict.toml").display(),
        home.path("out").display(),
        home.path("out").display(),
    );
    let said = run(Command::new(unshare).args(["--net", "--mount", "--", "sh", "-c", &script])).good();
    assert!(said.contains("127.0.0.1") && said.contains("::1"), "{said}");
    assert!(said.contains("0.0.0.0"), "{said}");
    assert!(said.ends_with("none\n"), "{said}");
}
