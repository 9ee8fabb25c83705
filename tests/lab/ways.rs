//! What the vendor documents of its products, done by a script: a name that is refused, the five public resolvers of the vendor file in
//! their order, then literal addresses over HTTP.

use crate::gateway::{enforcing, report};
use crate::net::{Net, dig, site};
use crate::space::{on, until};
use crate::tier;
use serde_json::{Value, json};
use std::time::Duration;

const CLIENT: &str = "10.1.0.2";
const NAME: &str = "s00.upd.kaspersky.com";
/// As the vendor file has them.
const FALLBACKS: [&str; 5] = ["8.8.8.8", "1.1.1.1", "223.6.6.6", "9.9.9.9", "185.228.168.168"];
/// Addresses within the vendor's networks.
const LITERAL: [&str; 2] = ["77.74.181.10", "77.74.176.9"];

pub(crate) fn the_documented_fallback_is_one_incident() {
    if tier::program("curl").is_none() {
        return;
    }
    let _net = Net::new();
    let site = site("");
    // The vendor files within the program, and the act that is in force.
    let config = std::fs::read_to_string(site.path("interdict.toml")).unwrap();
    let own = "[policy]\nvendors = \"vendors\"\n[policy.stages]\n\"acme\" = \"block\"\n";
    assert!(config.contains(own));
    site.write("interdict.toml", &config.replace(own, ""));
    let daemon = site.start();
    enforcing(&daemon);
    until("we answer for others", Duration::from_secs(10), || dig("8.8.8.8", "-b10.1.200.9", NAME) == "0.0.0.0");
    // Somebody who only asks elsewhere goes around nothing.
    assert_eq!(dig("8.8.8.8", "-b10.1.200.9", "other.example"), "192.0.2.80");
    assert_eq!(dig("10.1.0.1", "", NAME), "0.0.0.0");
    for resolver in FALLBACKS {
        assert_eq!(dig(resolver, "", NAME), "0.0.0.0", "{resolver}");
    }
    for address in LITERAL {
        let url = format!("http://{address}/updates/u0607g.xml");
        let output =
            on("client", "curl").args(["-s", "-m", "5", "-A", "*Zm9vYmFy", "--interface", CLIENT, &url]).output();
        assert_eq!(output.unwrap().status.code(), Some(7), "{address}: the connection is reset");
    }
    let mut incidents = Value::Null;
    until("the incident is whole", Duration::from_secs(10), || {
        incidents = daemon.status()["gateway"]["ways"]["incidents"].clone();
        let last = LITERAL.map(|address| format!("went to {address} port 80, which is the vendor's"));
        last.iter().all(|what| incidents.to_string().contains(what))
    });
    println!("{incidents:#}");
    let all = incidents.as_array().unwrap();
    let [incident] = all.as_slice() else { panic!("{} incidents", all.len()) };
    assert_eq!((&incident["endpoint"], &incident["vendor"]), (&CLIENT.into(), &"kaspersky".into()));
    assert_eq!((&incident["fallbacks"], &incident["blocked"]), (&json!([1, 2, 3, 4, 5]), &true.into()));
    assert_eq!(incident["grade"], "product");
    let chain = incident["chain"].as_array().unwrap();
    assert_eq!(chain.len(), 8, "{incident:#}");
    assert_eq!(chain[0]["what"], format!("asked 10.1.0.1 for {NAME}, which is blocked"));
    until("the ledger has the incident", Duration::from_secs(5), || {
        let output = site.program(&["report", "incidents", "--format", "json"]);
        let kept: Value = serde_json::from_slice(&output.stdout).unwrap();
        let [kept] = kept.as_array().unwrap().as_slice() else { return false };
        let chain = kept["chain"].to_string();
        kept["vendor"] == "kaspersky"
            && chain.contains("5 fallback resolvers in the vendor's order")
            && !chain.contains(": passed")
    });
    // And the attempts themselves.
    until("the attempts are in the ledger", Duration::from_secs(5), || {
        let rows = report(&site);
        let mut own =
            rows.iter().filter(|row| row["endpoint"]["addresses"][0] == CLIENT && row["vendor"] == "kaspersky");
        let has =
            |row: &Value, channel: &str| row["channel"].to_string().contains(channel) && row["verdict"] == "block";
        own.any(|row| has(row, "dns")) && rows.iter().any(|row| has(row, "address"))
    });
}
