//! The lab's network: clients — gateway — internet. The scenario runs on the gateway.
//!
//! ```text
//! client 10.1.0.2 … 10.1.255.254 ─ lan 10.1.0.1/16 [gateway] wan 198.51.100.1/24 ─ 198.51.100.2 internet: everybody else
//!        fd00:1::2                     fd00:1::1                 2001:db8:ff::1    2001:db8:ff::2
//! ```
//! Listed are 203.0.113.0/24 and 2001:db8:bad::/48. The internet answers at every address of theirs, of 192.0.2.0/24, 2001:db8:900d::/48,
//! and at some public resolvers', and counts what reaches listed ones.

use crate::daemon::Site;
use crate::space::{on, part, sh, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::time::Duration;

/// The vendor file of the lab.
pub(crate) const VENDOR: &str = r#"
version = 1
[vendor]
id = "acme"
name = "Acme"
country = "RU"
[[source]]
id = "s"
title = "the lab"
where = "https://example.org"
version = "2026-01-01"
[[domain]]
name = "update.acme.example"
match = "suffix"
purpose = "update"
confidence = "high"
source = ["s"]
[[range]]
cidr = "203.0.113.0/24"
asn = 64500
purpose = "update"
evidence = "2026-01-01"
confidence = "high"
source = ["s"]
[[range]]
cidr = "203.0.113.200/32"
asn = 64500
purpose = "mail"
evidence = "2026-11-01"
confidence = "high"
source = ["s"]
[[range]]
cidr = "2001:db8:bad::/48"
asn = 64500
purpose = "telemetry"
evidence = "2026-01-01"
confidence = "high"
source = ["s"]
"#;

/// Counts on the internet what of the clients' traffic gets there.
const SEEN: &str = "ip netns exec internet nft -f - <<'END'
table inet seen {
    counter listed {
    }
    counter other {
    }
    chain arriving {
        type filter hook prerouting priority 0
        ip saddr 10.1.0.0/16 ip daddr != 203.0.113.200 ip daddr { 203.0.113.0/24, 11.255.255.0/24 } counter name listed
        ip6 saddr fd00:1::/64 ip6 daddr 2001:db8:bad::/48 counter name listed
        ip saddr 10.1.0.0/16 ip daddr 192.0.2.0/24 counter name other
    }
}
END
";

/// A config for the gateway; `more` goes into `[gateway]`.
pub(crate) fn config(more: &str) -> String {
    format!(
        "version = 1\n[dns]\nlisten = [\"10.1.0.1:53\"]\n[upstream]\nservers = [\"198.51.100.53:53\"]\n[store]\npath = \"state\"\n\
         [policy]\nvendors = \"vendors\"\n[policy.stages]\n\"acme\" = \"block\"\n[gateway]\nenabled = true\n{more}"
    )
}

/// The network, with what the other hosts run.
pub(crate) struct Net {
    internet: Child,
}

impl Net {
    /// Builds it.
    pub(crate) fn new() -> Self {
        sh("ip netns add client && ip netns add internet
            ip link add lan type veth peer name eth0 netns client && ip link add wan type veth peer name eth0 netns internet
            ip addr add 10.1.0.1/16 dev lan && ip addr add fd00:1::1/64 dev lan nodad && ip link set lan up
            ip addr add 198.51.100.1/24 dev wan && ip addr add 2001:db8:ff::1/64 dev wan nodad && ip link set wan up
            ip route add default via 198.51.100.2 && ip -6 route add default via 2001:db8:ff::2
            sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        sh("ip netns exec client sh -ec 'ip link set lo up; ip link set eth0 up
            ip addr add 10.1.0.2/16 dev eth0; ip addr add fd00:1::2/64 dev eth0 nodad
            ip route add local 10.1.128.0/17 dev lo
            ip route add default via 10.1.0.1; ip -6 route add default via fd00:1::1'");
        sh("ip netns exec internet sh -ec 'ip link set lo up; ip link set eth0 up
            ip addr add 198.51.100.2/24 dev eth0; ip addr add 198.51.100.53/24 dev eth0
            ip addr add 2001:db8:ff::2/64 dev eth0 nodad
            ip route add 10.1.0.0/16 via 198.51.100.1; ip -6 route add fd00:1::/64 via 2001:db8:ff::1
            for net in 203.0.113.0/24 192.0.2.0/24 11.0.0.0/8 8.8.8.8 1.1.1.1 9.9.9.9; do ip route add local $net dev lo; done
            for net in 2001:db8:bad::/48 2001:db8:900d::/48 2001:4860:4860::8888; do ip -6 route add local $net dev lo; done
            sysctl -qw net.ipv6.ip_nonlocal_bind=1'");
        sh(SEEN);
        // Every client address beyond the first is local to the client host, and reached over it.
        sh("ip route add 10.1.128.0/17 via 10.1.0.2 dev lan");
        let mut internet = part("internet", "internet");
        let mut lines = BufReader::new(internet.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("internet is up")));
        std::thread::spawn(move || lines.for_each(drop));
        let net = Self { internet };
        let both: [Probe; 2] =
            [["tcp", "10.1.0.2", "192.0.2.1", "443"], ["tcp", "fd00:1::2", "2001:db8:900d::1", "443"]];
        until("the internet answers", Duration::from_secs(20), || {
            net.probe(&both).iter().all(|outcome| outcome == "open")
        });
        net
    }

    /// Packets that reached a listed address, or one that is not.
    pub(crate) fn seen(&self, counter: &str) -> u64 {
        let text = sh(&format!("ip netns exec internet nft -j list counter inet seen {counter}"));
        let value: Value = serde_json::from_str(&text).unwrap();
        value["nftables"][1]["counter"]["packets"].as_u64().unwrap()
    }

    /// Lets the client try destinations: protocol, source, destination, port. What came of each.
    pub(crate) fn probe(&self, probes: &[Probe]) -> Vec<String> {
        let words: Vec<String> = probes.iter().map(|probe| probe.join(",")).collect();
        let client = part("client", &format!("probe {}", words.join(" ")));
        let output = client.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let outcomes: BTreeMap<usize, String> = text
            .lines()
            .filter_map(|line| line.split_once("probe ")?.1.split_once(' '))
            .map(|(at, outcome)| (at.parse().unwrap(), outcome.to_owned()))
            .collect();
        assert_eq!(outcomes.len(), probes.len(), "{text}");
        outcomes.into_values().collect()
    }
}

/// Protocol, source, destination, port.
pub(crate) type Probe = [&'static str; 4];

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.internet.kill();
        let _ = self.internet.wait();
    }
}

/// A site of the gateway.
pub(crate) fn site(more: &str) -> Site {
    let site = Site::with(&config(more));
    std::fs::create_dir(site.path("vendors")).unwrap();
    site.write("vendors/acme.toml", VENDOR);
    site
}

/// A name asked of a resolver by the client; the answers.
pub(crate) fn dig(resolver: &str, more: &str, name: &str) -> String {
    let mut command = on("client", "dig");
    command.args(["+short", "+tries=1", "+time=2"]).args(more.split_whitespace());
    let output = command.arg(format!("@{resolver}")).arg(name).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
