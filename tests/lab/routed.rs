//! A routed site like those with a domain controller: what its machines need of each other passes the gateway untouched.

use crate::gateway::{enforcing, report};
use crate::net::{Net, dig, site};
use crate::space::{on, sh, until};
use crate::tier;
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// The domain controller, behind an interface of its own.
const CONTROLLER: &str = "10.2.0.53";
/// A client whose traffic a mark leads elsewhere.
const MARKED: &str = "10.1.200.7";

/// A second inside network with the controller; a second way out, to which a mark leads.
const SITE: &str = "ip netns add controller
    ip link add lan2 type veth peer name eth0 netns controller && ip addr add 10.2.0.1/24 dev lan2 && ip link set lan2 up
    ip netns exec controller sh -ec 'ip link set lo up; ip link set eth0 up; ip addr add 10.2.0.53/24 dev eth0
        ip route add default via 10.2.0.1'
    ip link add wan2 type veth peer name eth1 netns internet && ip addr add 198.51.101.1/24 dev wan2 && ip link set wan2 up
    ip netns exec internet sh -ec 'ip link set eth1 up; ip addr add 198.51.101.2/24 dev eth1
        sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.eth1.rp_filter=0'
    sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.wan.rp_filter=0 net.ipv4.conf.wan2.rp_filter=0
    ip route add default via 198.51.101.2 table 7 && ip rule add fwmark 7 table 7
    nft -f - <<'END'
table inet site {
    counter elsewhere {
    }
    chain marking {
        type filter hook prerouting priority mangle
        ip saddr 10.1.200.7 meta mark set 7
    }
    chain leaving {
        type filter hook postrouting priority 0
        oifname wan2 ip saddr 10.1.200.7 counter name elsewhere
    }
}
END
";

/// A domain of the controller's own, which its clients may change; it asks us for everything else.
const NAMED: &str = "options { directory \".\"; listen-on port 53 { 10.2.0.53; }; listen-on-v6 { none; }; pid-file none;
    session-keyfile none; recursion yes; allow-query { any; }; allow-recursion { any; }; forward only;
    forwarders { 10.2.0.1; }; dnssec-validation no; };
controls { };
zone \"corp.example\" { type primary; file \"corp.zone\"; allow-update { 10.1.0.0/16; }; allow-transfer { 10.1.0.0/16; }; };
";
const ZONE: &str = "$TTL 60\n@ SOA dc root 1 3600 600 86400 60\n@ NS dc\ndc A 10.2.0.53\n_ldap._tcp SRV 0 100 389 dc\n";

struct Controller(Child);

impl Controller {
    fn start(named: &Path, home: &Path) -> Self {
        fs::write(home.join("named.conf"), NAMED).unwrap();
        fs::write(home.join("corp.zone"), ZONE).unwrap();
        let mut command = on("controller", named);
        let child = command.args(["-f", "-c", "named.conf"]).current_dir(home).stdout(Stdio::null()).spawn().unwrap();
        Self(child)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Adds a host as a client of the domain does.
fn update(host: &str, address: &str, way: &str) -> bool {
    let text = format!("server {CONTROLLER}\nzone corp.example\nupdate add {host}.corp.example 60 A {address}\nsend\n");
    let mut command = on("client", "nsupdate");
    let mut child = command.args(["-t", "5"]).args(way.split_whitespace()).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait().unwrap().success()
}

pub(crate) fn a_domains_own_traffic_is_left_alone() {
    let (Some(named), Some(_)) = (tier::program("named"), tier::program("nsupdate")) else { return };
    let net = Net::new();
    sh(SITE);
    let home = tempfile::tempdir().unwrap();
    let _controller = Controller::start(&named, home.path());
    let soa = || dig(CONTROLLER, "-t SOA", "corp.example");
    until("the controller answers", Duration::from_secs(20), || soa().starts_with("dc."));
    let site = site("");
    let config = fs::read_to_string(site.path("interdict.toml")).unwrap();
    site.write("interdict.toml", &config.replace("[\"10.1.0.1:53\"]", "[\"10.1.0.1:53\", \"10.2.0.1:53\"]"));
    let daemon = site.start();
    enforcing(&daemon);
    until("we answer for others", Duration::from_secs(10), || dig("8.8.8.8", "", "update.acme.example") == "0.0.0.0");
    let before = redirected(&daemon.status());
    assert!(update("pc1", "10.1.0.2", "") && update("pc2", "10.1.0.3", "-v"), "dynamic updates, over UDP and TCP");
    let zone = dig(CONTROLLER, "+tcp -t AXFR", "corp.example");
    println!("transferred:\n{zone}");
    assert!(
        zone.contains("10.1.0.2") && zone.contains("10.1.0.3") && zone.matches("dc.corp.example").count() >= 3,
        "{zone}"
    );
    assert_eq!(dig(CONTROLLER, "", "pc1.corp.example"), "10.1.0.2");
    assert_eq!(dig(CONTROLLER, "-t SRV", "_ldap._tcp.corp.example"), "0 100 389 dc.corp.example.");
    assert_eq!(redirected(&daemon.status()), before, "none of it came to us");
    // What the controller does not know it asks us for.
    assert_eq!(dig(CONTROLLER, "", "other.example"), "192.0.2.80");
    assert_eq!(dig(CONTROLLER, "", "update.acme.example"), "0.0.0.0");
    until("the controller is in the ledger", Duration::from_secs(5), || {
        report(&site).iter().any(|row| row["endpoint"]["addresses"][0] == CONTROLLER && row["channel"][0] == "dns")
    });
    marks(&net);
}

/// What a mark leads elsewhere still goes there; what is listed does not go anywhere, and DNS is answered by us.
fn marks(net: &Net) {
    let elsewhere = || {
        let text = sh("nft -j list counter inet site elsewhere");
        serde_json::from_str::<Value>(&text).unwrap()["nftables"][1]["counter"]["packets"].as_u64().unwrap()
    };
    let outcomes = net.probe(&[["tcp", MARKED, "192.0.2.7", "443"], ["udp", MARKED, "192.0.2.7", "443"]]);
    let open = elsewhere();
    println!("by the mark's way: {outcomes:?}, {open} packets");
    assert!(outcomes == ["open", "open"] && open >= 4);
    assert_eq!(
        net.probe(&[["tcp", MARKED, "203.0.113.7", "443"], ["udp", MARKED, "203.0.113.7", "443"]]),
        ["reset", "prohibited"]
    );
    assert_eq!(dig("8.8.8.8", &format!("-b{MARKED}"), "update.acme.example"), "0.0.0.0");
    assert_eq!(dig("8.8.8.8", &format!("-b{MARKED}"), "other.example"), "192.0.2.80");
    assert_eq!(elsewhere(), open, "nothing of that left");
}

/// Packets that were led to us.
fn redirected(status: &Value) -> u64 {
    status["gateway"]["counters"]["dns"]["packets"].as_u64().unwrap()
}
