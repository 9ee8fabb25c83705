//! Every verdict explained: names that real captures hold, and every name and range of the vendor files, against a matcher that
//! shares no code with the program.

use crate::harness::{Home, program, run};
use crate::naive::{self, Entry, TODAY};
use crate::tier;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::Command;

/// Subjects that one process is given.
const AT_ONCE: usize = 1_000;

/// Runs all subjects through `check`; the answers come in their order.
fn check(home: &Home, subjects: &[String]) -> Vec<Value> {
    let mut answers = Vec::new();
    for some in subjects.chunks(AT_ONCE) {
        let mut command = Command::new(program());
        command.arg("--config").arg(home.path("interdict.toml"));
        command.args(["check", "--format", "jsonl", "--at", TODAY, "--"]).args(some);
        let lines = run(&mut command).jsonl();
        assert_eq!(lines.len(), some.len());
        for (line, subject) in lines.iter().zip(some) {
            assert_eq!(line["subject"], subject.as_str());
        }
        answers.extend(lines);
    }
    answers
}

/// Compares an answer with what the files say.
fn judge(answer: &Value, names: &[Entry], ranges: &[Entry]) {
    let subject = answer["subject"].as_str().unwrap();
    let deciding = match subject.parse::<IpAddr>() {
        Ok(address) => naive::decides_address(ranges, address),
        Err(_) => naive::decides_name(names, subject.trim_end_matches('.')),
    };
    let Some(first) = deciding.first() else {
        assert_eq!((&answer["verdict"], &answer["rule"]), (&"allow".into(), &Value::Null), "{answer}");
        return;
    };
    assert_eq!(answer["verdict"], first.verdict(), "{answer} {first:?}");
    // Of entries that are equal, the first file's decides.
    let rule = &answer["rule"];
    assert_eq!(
        (rule["place"].as_str(), rule["pattern"].as_str()),
        (Some(&*first.place), Some(&*first.name)),
        "{answer}"
    );
    assert_eq!(
        (&answer["vendor"], &answer["purpose"]),
        (&(*first.vendor).into(), &(*first.purpose).into()),
        "{answer}"
    );
    assert_eq!(answer["authority"].is_string(), first.verdict() == "block", "{answer}");
}

/// Whether text is a name: labels of 1 to 63 octets, 253 in all.
fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253 && text.split('.').all(|label| (1..=63).contains(&label.len()))
}

#[test]
fn names_seen_in_captures_are_blocked_or_observed_by_a_rule_of_the_files_alone() {
    let Some(folder) = tier::shared("truth") else { return };
    let mut subjects = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "jsonl") {
            continue;
        }
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            subjects.insert(line["name"].as_str().unwrap().to_owned());
        }
    }
    assert!(subjects.len() > 500, "{}", subjects.len());
    let home = Home::with_config("version = 1\n");
    let (names, ranges) = (naive::names(), naive::ranges());
    let (good, bad): (Vec<_>, Vec<_>) =
        subjects.into_iter().partition(|text| text.parse::<IpAddr>().is_ok() || is_name(text));
    let answers = check(&home, &good);
    answers.iter().for_each(|answer| judge(answer, &names, &ranges));
    assert!(answers.iter().any(|answer| answer["verdict"] == "observe"), "some captures hold listed names");
    // What is no name is said to be none, and keeps no other from being judged.
    if !bad.is_empty() {
        let mut command = Command::new(program());
        command.arg("--config").arg(home.path("interdict.toml")).args(["check", "--format", "jsonl", "--"]);
        let ran = run(command.arg("example.org").args(&bad).arg("s00.upd.kaspersky.com"));
        assert_eq!((ran.code, ran.out.lines().count(), ran.err.lines().count()), (Some(2), bad.len() + 2, bad.len()));
        assert!(ran.err.lines().all(|line| line.contains("is neither an address nor a name")), "{}", ran.err);
    }
}

#[test]
fn every_name_and_range_of_the_vendor_files_gets_the_verdict_that_it_asks_for() {
    let (names, ranges) = (naive::names(), naive::ranges());
    let mut subjects = BTreeSet::new();
    for entry in &names {
        subjects.extend([entry.instance(), entry.instance().to_uppercase()]);
        subjects.extend(entry.examples.iter().cloned());
        if entry.how != "wildcard" {
            // The name, what is below it, above it and beside it.
            let parent = entry.name.split_once('.').unwrap().1.to_owned();
            let name = &entry.name;
            subjects.extend([name.clone(), format!("{name}."), format!("x.{name}"), format!("not{name}"), parent]);
            subjects.insert(format!("{name}.example"));
        }
    }
    for entry in &ranges {
        let net: ipnet::IpNet = entry.name.parse().unwrap();
        let ends = [net.network(), net.broadcast()];
        subjects.extend(ends.iter().map(ToString::to_string));
        subjects.extend(ends.iter().filter_map(|end| match end {
            IpAddr::V4(v4) => Some(format!("::ffff:{v4}")),
            IpAddr::V6(_) => None,
        }));
    }
    let subjects: Vec<String> = subjects.into_iter().collect();
    assert!(subjects.len() > 5_000, "{}", subjects.len());
    let answers = check(&Home::with_config("version = 1\n"), &subjects);
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for answer in &answers {
        judge(answer, &names, &ranges);
        let vendor = answer["vendor"].as_str().unwrap_or("-").to_owned();
        *counts.entry((vendor, answer["verdict"].as_str().unwrap().to_owned())).or_default() += 1;
    }
    // Blocked are names and networks of one vendor, and each vendor with entries is observed.
    let blocked: Vec<_> = counts.iter().filter(|((_, verdict), _)| verdict == "block").collect();
    assert!(matches!(blocked[..], [((vendor, _), 100..)] if vendor == "kaspersky"), "{blocked:?}");
    assert!(counts.keys().filter(|(_, verdict)| verdict == "observe").count() > 20, "{counts:?}");
}
