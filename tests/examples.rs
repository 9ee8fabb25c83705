//! The examples do what they say: the programs run, and the configs are read by the program that they are for.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

#[path = "../examples/fold.rs"]
mod fold;

use fold::judge;
use interdict::app::config::{Config, Source, parse};
use interdict::app::lists;
use interdict::base::model::{Decision, Wall};
use interdict::engine::ledger::{Event, Folder};
use interdict::policy::{Policy, Subject};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn now() -> Wall {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

#[test]
fn judge_says_what_and_why() {
    let policy = judge::policy(now()).unwrap();
    for (name, start, part) in [
        (
            "s00.upd.kaspersky.com",
            "s00.upd.kaspersky.com: block, because us/icts-2021-002 (89 FR 52434",
            "(upd.kaspersky.com, ",
        ),
        ("www.kaspersky.com", "www.kaspersky.com: observe, because no clause in force", "(kaspersky.com, "),
        ("example.org", "example.org: allow, because no rule mentions it", ""),
    ] {
        let said = judge::judge(&policy, name).unwrap();
        assert!(said.starts_with(start) && said.contains(part), "{said}");
    }
    assert!(judge::judge(&policy, "a..b").is_err());
}

#[test]
fn fold_makes_a_row_of_each_endpoint_vendor_and_purpose() {
    let policy = Arc::new(judge::policy(now()).unwrap());
    let mut folder = Folder::new(64);
    fold::record(&mut folder, &policy).unwrap();
    let mut news = 0;
    let rows = fold::rows(&mut folder, |_, event| news += usize::from(event == Event::FirstContact));
    let rows: BTreeMap<String, u64> = rows
        .iter()
        .map(|((client, vendor, purpose), row)| (format!("{client} {vendor} {purpose}"), row.count))
        .collect();
    let expected =
        [("192.168.1.7 kaspersky telemetry", 1), ("192.168.1.7 kaspersky update", 3), ("192.168.1.9 kaspersky web", 1)];
    assert_eq!(rows, expected.map(|(key, count)| (key.to_owned(), count)).into());
    assert_eq!(news, 3);
}

/// A config of the folder, and the policy that it makes.
fn example(name: &str) -> (Config, Policy) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let config = parse(&text, &Source::File(path)).unwrap_or_else(|error| panic!("{error}"));
    // Every vendor that it stages is there, too.
    let lists = lists::load(&config).unwrap_or_else(|error| panic!("{error}"));
    let policy = Policy::new(1, lists.rules, Arc::new(config.settings.clone()), now());
    (config, policy)
}

fn decides(policy: &Policy, name: &str, client: &str) -> Decision {
    let name: interdict::base::name::Name = name.parse().unwrap();
    let client = client.parse().ok();
    policy.decide(&Subject { name: Some(name.as_ref()), client, ..Subject::default() }).decision
}

#[test]
fn each_config_is_read_and_means_what_its_comments_say() {
    let (home, policy) = example("home.toml");
    assert_eq!((home.listen.len(), home.keep_days, home.settings.exceptions.len()), (2, 90, 1));
    for (name, decision) in [
        ("s00.upd.kaspersky.com", Decision::Block),
        ("www.kaspersky.com", Decision::Observe),
        ("time.samsungcloudsolution.com", Decision::Allow),
        ("acr-us-prd.samsungcloud.tv", Decision::Block),
        ("www.samsungotn.net", Decision::Observe),
        ("ezviz.com", Decision::Block),
        ("hik-connect.com", Decision::Observe),
        ("example.org", Decision::Allow),
    ] {
        assert_eq!(decides(&policy, name, "192.168.1.7"), decision, "{name}");
    }
    let (_, policy) = example("office.toml");
    for (name, client, decision) in [
        ("activation-v2.kaspersky.com", "10.1.1.1", Decision::Block),
        ("activation-v2.kaspersky.com", "10.9.0.7", Decision::Allow),
        ("www.kaspersky.com", "10.1.1.1", Decision::Observe),
        ("huaweicloud.com", "10.1.1.1", Decision::Block),
    ] {
        assert_eq!(decides(&policy, name, client), decision, "{name} {client}");
    }
    let (gateway, policy) = example("gateway.toml");
    assert!(gateway.listen.len() == 4 && policy.sinkhole().is_some());
    for (name, decision) in [
        ("activation-v2.kaspersky.com", Decision::Block),
        ("www.kaspersky.com", Decision::Observe),
        ("dns.google", Decision::Block),
    ] {
        assert_eq!(decides(&policy, name, "192.168.20.9"), decision, "{name}");
    }
    let folder = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap();
    let configs = folder.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "toml"));
    assert_eq!(configs.count(), 3, "a further config gets its lines above");
}
