//! `check --at`: what the authorities' dates change, and what they do not.

use crate::harness::Home;
use crate::naive;
use crate::tier;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

fn verdicts(home: &Home, at: &str, subjects: &[&str]) -> Vec<String> {
    let args = [&["check", "--format", "jsonl", "--at", at, "--"], subjects].concat();
    // `--config` goes before the `--`.
    let mut command = Command::new(crate::harness::program());
    command.arg("--config").arg(home.path("interdict.toml")).args(args);
    let lines = crate::harness::run(&mut command).jsonl();
    assert_eq!(lines.len(), subjects.len());
    lines.iter().map(|line| line["verdict"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_clause_begins_at_midnight_in_its_zone_for_names_and_for_nameless_addresses() {
    let scope = |scope: &str| Home::with_config(&format!("version = 1\n[policy]\nscope = [\"{scope}\"]\n"));
    let (everybody, government) = (scope("everyone"), scope("federal"));
    let subjects =
        ["s00.upd.kaspersky.com", "77.74.181.10", "2a03:2480::1", "::ffff:77.74.181.10", "touch.kaspersky.com"];
    let never = ["www.kaspersky.com", "kaspersky.com", "crl.kaspersky.com", "91.103.66.20", "huaweicloud.com"];
    for (at, everyone, federal) in [
        ("2017-09-12T23:59:59-04:00", "observe", "observe"),
        ("2017-09-13T00:00:00-04:00", "observe", "block"),
        ("2024-07-01", "observe", "block"),
        ("2024-07-20T00:00:00-04:00", "observe", "block"),
        ("2024-09-28T23:59-04:00", "observe", "block"),
        ("2024-09-28T23:59:59.999-04:00", "observe", "block"),
        ("2024-09-29T03:59:59Z", "observe", "block"),
        ("2024-09-29T00:00:00-04:00", "block", "block"),
        ("2024-09-29T04:00:00Z", "block", "block"),
        ("2026-11-01", "block", "block"),
        ("2045-01-01T00:00:00+09:00", "block", "block"),
    ] {
        for (home, expected) in [(&everybody, everyone), (&government, federal)] {
            let all: Vec<&str> = subjects.iter().chain(&never).copied().collect();
            let said = verdicts(home, at, &all);
            assert_eq!(said[..5], [expected; 5], "{at}");
            assert_eq!(said[5..], ["observe"; 5], "{at}");
        }
    }
}

#[test]
fn a_block_is_explained_by_its_authority_and_an_observation_is_not() {
    let home = Home::with_config("version = 1\n");
    let explain = |at: &str| home.run(&["check", "s00.upd.kaspersky.com", "--format", "jsonl", "--at", at]).json();
    let block = explain("2024-09-29T00:00:00-04:00");
    assert_eq!(
        (&block["authority"], &block["vendor"], &block["purpose"], &block["answer"]),
        (&"us/icts-2021-002".into(), &"kaspersky".into(), &"update".into(), &"null".into())
    );
    assert!(block["citation"].as_str().unwrap().contains("89 FR 52434"), "{block}");
    let before = explain("2024-09-28T23:59-04:00");
    let null = Value::Null;
    assert_eq!((&before["authority"], &before["citation"], &before["answer"]), (&null, &null, &null), "{before}");
    assert_eq!(before["rule"], block["rule"]);
    let bod = Home::with_config("version = 1\n[policy]\nscope = [\"federal\"]\n")
        .run(&["check", "s00.upd.kaspersky.com", "--format", "jsonl", "--at", "2018-01-01"])
        .json();
    assert_eq!(bod["authority"], "us/bod-17-01", "{bod}");
}

/// Every date of the table as its first moment.
fn dates(table: &toml::Table) -> BTreeSet<jiff::Timestamp> {
    let mut dates = BTreeSet::new();
    for authority in table["authority"].as_array().unwrap() {
        if (authority["id"].as_str(), authority["vendor"].as_str()) == (Some("us/icts-2021-002"), Some("kaspersky")) {
            continue;
        }
        let clauses = authority.get("clause").and_then(toml::Value::as_array).into_iter().flatten();
        let moments = clauses.flat_map(|clause| [clause.get("from"), clause.get("until")]);
        for text in moments.chain([authority.get("effective")]).flatten().map(|text| text.as_str().unwrap()) {
            let full = match text.len() {
                4 => format!("{text}-01-01T00:00:00Z"),
                7 => format!("{text}-01T00:00:00Z"),
                10 => format!("{text}T00:00:00Z"),
                _ => text.to_owned(),
            };
            dates.insert(full.parse().unwrap());
        }
    }
    dates
}

#[test]
fn no_other_authoritys_date_changes_anything_for_everyone() {
    let Some(table) = tier::shared("authorities.toml") else { return };
    let dates = dates(&std::fs::read_to_string(table).unwrap().parse().unwrap());
    assert!(dates.len() > 25, "{dates:?}");
    let begins: jiff::Timestamp = "2024-09-29T04:00:00Z".parse().unwrap();
    let home = Home::with_config("version = 1\n");
    // One name of each vendor and purpose, and addresses of networks.
    let mut seen = BTreeSet::new();
    let entries = naive::names();
    let mut subjects: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.how != "wildcard" && seen.insert((&entry.vendor, &entry.purpose)))
        .map(|entry| entry.name.as_str())
        .collect();
    subjects.extend(["77.74.181.10", "2a03:2480::1", "159.138.0.1"]);
    assert!(subjects.len() > 80, "{subjects:?}");
    let day = jiff::SignedDuration::from_hours(24);
    let mut last: Option<(bool, Vec<String>)> = None;
    let latest = dates.last().copied();
    for date in dates {
        // The day before a date is a day after the one before it; the lab looks at both sides of each.
        let after = (tier::tier() > tier::Tier::Fast || Some(date) == latest).then_some(date + day);
        for at in [Some(date - day), after].into_iter().flatten() {
            let now = (at >= begins, verdicts(&home, &at.to_string(), &subjects));
            // Since the last date nothing has changed, unless the one clause began in between.
            if let Some(last) = last.as_ref().filter(|last| last.0 == now.0) {
                assert_eq!(last.1, now.1, "{at}");
            }
            let blocked = now.1.iter().filter(|verdict| *verdict == "block").count();
            assert_eq!(blocked > 0, now.0, "{at}: {blocked}");
            last = Some(now);
        }
    }
    assert_eq!(last.map(|last| last.0), Some(true));
}
