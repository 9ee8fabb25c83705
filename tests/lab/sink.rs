//! The sinkhole behind a forwarder: what the resolver cannot know, the connection says.

use crate::daemon::Site;
use crate::gateway::{enforcing, report};
use crate::net::{Net, site};
use crate::space::{on, sh, until};
use crate::tier;
use serde_json::Value;
use std::process::{Child, Stdio};
use std::time::Duration;

/// The endpoint, and the forwarder that it asks: both on the client host, with addresses of their own.
const CLIENT: &str = "10.1.0.2";
const FORWARDER: &str = "10.1.200.54";
/// The sinkhole: nobody's address, on the gateway's loopback interface.
const SINK: &str = "198.18.0.1";

/// A forwarder that filters against DNS rebinding, as dnsmasq does where it is told to; it takes the lab's public addresses for private.
struct Forwarder(Child);

impl Forwarder {
    fn start(dnsmasq: &std::path::Path) -> Self {
        let mut command = on("client", dnsmasq);
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
        ]);
        command.args([
            "--stop-dns-rebind",
            "--rebind-domain-ok=/other.example/",
            "--cache-size=0",
            "--user=root",
            "--pid-file=",
        ]);
        command.arg(format!("--listen-address={FORWARDER}")).arg(format!("--server=10.1.0.1@{FORWARDER}"));
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn asked(name: &str) -> String {
    let output = on("client", "dig").args(["+short", "+tries=1", "+time=2", &format!("@{FORWARDER}"), name]).output();
    String::from_utf8_lossy(&output.unwrap().stdout).trim().to_owned()
}

/// What curl comes to on the client: its exit code and the status.
fn curl(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = on("client", "curl");
    command.args(["-sk", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "--interface", CLIENT]).args(arguments);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(crate) fn behind_a_forwarder_the_sinkhole_names_the_client() {
    let (Some(dnsmasq), Some(_)) = (tier::program("dnsmasq"), tier::program("curl")) else { return };
    let _net = Net::new();
    sh(&format!("ip address add {SINK}/32 dev lo; ip netns exec client ip address add {FORWARDER}/32 dev lo"));
    let site = site(&format!("[sinkhole]\nlisten = [\"{SINK}:80\", \"{SINK}:443\"]\n"));
    let config = std::fs::read_to_string(site.path("interdict.toml")).unwrap();
    let forwarders = format!("[dns]\nforwarders = [{{ address = \"{FORWARDER}\" }}]\n");
    site.write("interdict.toml", &config.replace("[dns]\n", &forwarders));
    let daemon = site.start();
    enforcing(&daemon);
    let _forwarder = Forwarder::start(&dnsmasq);
    until("the forwarder answers", Duration::from_secs(10), || asked("other.example") == "192.0.2.80");
    // An address that is not private passes the forwarder's filter.
    assert_eq!(asked("update.acme.example"), SINK);
    let lead = |port: &str| format!("update.acme.example:{port}:{}", asked("update.acme.example"));
    let agent = ["-A", "Updater/1"];
    assert_eq!(
        curl(&[&["--resolve", &lead("80"), "http://update.acme.example/u?i=7"], &agent[..]].concat()),
        code(0, "403")
    );
    assert_eq!(curl(&["--resolve", &lead("443"), "https://update.acme.example/"]), code(35, "000"));
    // Nobody else is harmed: other names lead where they lead.
    assert_eq!(asked("other.example"), "192.0.2.80");
    let row = row_of(&site, CLIENT, 2);
    let shown = |key: &str| row[key].to_string();
    println!("{CLIENT} {} {} {} {}", shown("vendor"), shown("purpose"), shown("channel"), shown("outcomes"));
    assert_eq!(
        (&row["vendor"], &row["purpose"], &row["verdict"], &row["grade"]),
        (&"acme".into(), &"update".into(), &"block".into(), &"software".into())
    );
    assert_eq!(
        (&row["channel"], &row["count"]),
        (&serde_json::json!(["sinkhole"]), &2.into()),
        "it asked us for nothing: {row}"
    );
    let evidence = row["evidence"].to_string();
    assert!(
        evidence.contains("GET /u?i=7 to update.acme.example, agent Updater/1")
            && evidence.contains("TLS to update.acme.example, JA4 "),
        "{evidence}"
    );
    // What asks for others is marked, here since the config says so.
    let forwarder = row_of(&site, FORWARDER, 1);
    assert_eq!((&forwarder["endpoint"]["forwarder"], &forwarder["grade"]), (&"configured".into(), &"contact".into()));
    let table = String::from_utf8(site.program(&["report"]).stdout).unwrap();
    println!("{table}");
    assert!(
        table.contains(&format!("{FORWARDER} (forwarder)")) && table.contains("A forwarder asks for others"),
        "{table}"
    );
    assert!(!table.contains(&format!("{CLIENT} (forwarder)")), "{table}");
}

fn code(code: i32, status: &str) -> (Option<i32>, String) {
    (Some(code), status.to_owned())
}

/// The row of an address for the vendor, once it has so many attempts.
fn row_of(site: &Site, address: &str, attempts: u64) -> Value {
    let mut found = Value::Null;
    until(address, Duration::from_secs(5), || {
        let rows = report(site);
        let is_it = |row: &&Value| row["endpoint"]["addresses"][0] == address && row["purpose"] == "update";
        let row = rows.iter().find(is_it).filter(|row| row["count"].as_u64() >= Some(attempts));
        found = row.cloned().unwrap_or_default();
        !found.is_null()
    });
    found
}
