//! Decision semantics over the bundled vendor files, as the design states them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use interdict::base::model::{BlockAnswer, Decision, Stage};
use interdict::base::name::Name;
use interdict::policy::list::{bundled, vendor};
use interdict::policy::{Exception, Policy, RuleSet, RuleSetBuilder, Settings, StageSetting, Subject, Verdict};
use std::sync::Arc;

fn rules() -> Arc<RuleSet> {
    let mut builder = RuleSetBuilder::new();
    for (file, text) in bundled::files() {
        builder.add_vendor_file(Arc::new(vendor::read(file, text).unwrap()), "test").unwrap();
    }
    Arc::new(builder.finish())
}

fn policy_at(settings: Settings, at: &str) -> Policy {
    Policy::new(1, rules(), Arc::new(settings), at.parse().unwrap())
}

fn today(settings: Settings) -> Policy {
    policy_at(settings, "2026-11-23T12:00:00Z")
}

fn name(policy: &Policy, name: &str) -> Verdict {
    let name: Name = name.parse().unwrap();
    policy.decide(&Subject { name: Some(name.as_ref()), ..Subject::default() })
}

fn address(policy: &Policy, address: &str) -> Decision {
    policy.decide(&Subject { address: Some(address.parse().unwrap()), ..Subject::default() }).decision
}

fn both(policy: &Policy, name: &str, address: &str) -> Decision {
    let name: Name = name.parse().unwrap();
    let address = Some(address.parse().unwrap());
    policy.decide(&Subject { name: Some(name.as_ref()), address, ..Subject::default() }).decision
}

fn stages(vendor: &str, part: Option<&str>, stage: Stage) -> Vec<StageSetting> {
    vec![StageSetting { vendor: vendor.to_owned(), part: part.map(|part| part.parse().unwrap()), stage }]
}

#[test]
fn the_default_blocks_what_the_determination_forbids_and_nothing_else() {
    let policy = today(Settings::default());
    for (asked, decision) in [
        ("s00.upd.kaspersky.com", Decision::Block),
        ("x.y.ksn.kaspersky-labs.com", Decision::Block),
        ("ksn-any-geo.kaspersky-labs.com", Decision::Block),
        ("touch.kaspersky.com", Decision::Block),
        ("www.kaspersky.com", Decision::Observe),
        ("kaspersky.com", Decision::Observe),
        ("activation-v2.kaspersky.com", Decision::Observe),
        ("crl.kaspersky.com", Decision::Observe),
        ("kav8.zonealarm.com", Decision::Observe),
        ("notkaspersky.com", Decision::Allow),
        ("kaspersky.com.example", Decision::Allow),
        ("huaweicloud.com", Decision::Observe),
        ("hik-connect.com", Decision::Observe),
        ("dns.google", Decision::Observe),
        ("example.org", Decision::Allow),
    ] {
        assert_eq!(name(&policy, asked).decision, decision, "{asked}");
    }
    let blocked = name(&policy, "s00.upd.kaspersky.com");
    assert_eq!(blocked.answer, BlockAnswer::Null);
    let ede = String::from_utf8_lossy(policy.ede(&blocked).unwrap()).into_owned();
    assert!(ede.contains("kaspersky update: us/icts-2021-002 89 FR 52434"), "{ede}");
    assert_eq!(&policy.ede(&blocked).unwrap()[4..6], &[0, 16]);
}

#[test]
fn the_clause_begins_at_midnight_in_its_own_zone_and_scope_federal_begins_with_bod_17_01() {
    let federal = || {
        let mut settings = Settings::default();
        settings.scope.binds = vec!["federal".to_owned()];
        settings
    };
    for (at, everyone, in_federal) in [
        ("2017-09-12T23:59:59-04:00", Decision::Observe, Decision::Observe),
        ("2017-09-13T00:00:00-04:00", Decision::Observe, Decision::Block),
        ("2024-07-01T00:00:00Z", Decision::Observe, Decision::Block),
        ("2024-07-20T00:00:00-04:00", Decision::Observe, Decision::Block),
        ("2024-09-28T23:59:00-04:00", Decision::Observe, Decision::Block),
        ("2024-09-29T00:00:00-04:00", Decision::Block, Decision::Block),
        ("2030-01-01T00:00:00Z", Decision::Block, Decision::Block),
    ] {
        for (settings, expected) in [(Settings::default(), everyone), (federal(), in_federal)] {
            let policy = policy_at(settings, at);
            assert_eq!(name(&policy, "s00.upd.kaspersky.com").decision, expected, "{at}");
            assert_eq!(address(&policy, "77.74.181.10"), expected, "{at}");
        }
    }
    let before = policy_at(Settings::default(), "2024-07-01T00:00:00Z");
    assert_eq!(before.next_change(), Some("2024-09-29T00:00:00-04:00".parse().unwrap()));
}

#[test]
fn a_name_that_a_rule_lists_decides_over_the_vendors_address_space() {
    let policy = today(Settings::default());
    for (asked, at, decision) in [
        ("www.kaspersky.com", "77.74.181.10", Decision::Observe),
        ("customer.example", "77.74.181.10", Decision::Block),
        ("customer.example", "::ffff:77.74.181.10", Decision::Block),
        ("customer.example", "64:ff9b::77.74.181.10", Decision::Block),
        ("customer.example", "91.103.66.7", Decision::Observe),
        ("customer.example", "192.0.2.1", Decision::Allow),
        ("upd.kaspersky.com", "192.0.2.1", Decision::Block),
        ("customer.example", "159.138.0.1", Decision::Observe),
    ] {
        assert_eq!(both(&policy, asked, at), decision, "{asked} {at}");
    }
    assert_eq!(address(&policy, "94.75.236.123"), Decision::Observe, "evidence of 2020 is too old to block on");
}

#[test]
fn an_exception_wins_for_its_clients_until_its_end() {
    let exception = Exception {
        groups: Vec::new(),
        name: Some("upd.kaspersky.com".parse().unwrap()),
        net: None,
        clients: vec!["10.0.0.0/8".parse().unwrap()],
        reason: "lab".into(),
        approver: "ciso".into(),
        until: Some("2027-01-01T00:00:00Z".parse().unwrap()),
    };
    let settings = Settings { exceptions: vec![exception], ..Settings::default() };
    let asked: Name = "s00.upd.kaspersky.com".parse().unwrap();
    let from = |policy: &Policy, client: &str| {
        policy.decide(&Subject { name: Some(asked.as_ref()), client: client.parse().ok(), ..Subject::default() })
    };
    let policy = today(settings.clone());
    let spared = from(&policy, "10.1.2.3");
    assert_eq!(spared.decision, Decision::Allow);
    assert!(spared.exception.is_some() && spared.rule.is_some(), "the ledger still learns of it");
    assert_eq!(from(&policy, "192.168.1.1").decision, Decision::Block);
    let ended = policy_at(settings, "2027-01-01T00:00:00Z");
    assert_eq!(from(&ended, "10.1.2.3").decision, Decision::Block);
}

#[test]
fn the_operators_stage_wins_and_a_bare_vendor_never_means_its_web_family() {
    let off = today(Settings { stages: stages("kaspersky", None, Stage::Off), ..Settings::default() });
    assert_eq!(name(&off, "s00.upd.kaspersky.com").decision, Decision::Allow);
    let block = today(Settings { stages: stages("kaspersky", None, Stage::Block), ..Settings::default() });
    assert_eq!(name(&block, "activation-v2.kaspersky.com").decision, Decision::Block);
    assert_eq!(name(&block, "www.kaspersky.com").decision, Decision::Observe);
    let web = today(Settings { stages: stages("kaspersky", Some("web"), Stage::Block), ..Settings::default() });
    assert_eq!(name(&web, "www.kaspersky.com").decision, Decision::Block);
    let huawei = today(Settings { stages: stages("huawei", None, Stage::Block), ..Settings::default() });
    assert_eq!(name(&huawei, "huaweicloud.com").decision, Decision::Block);
    assert_eq!(address(&huawei, "159.138.0.1"), Decision::Observe, "shared space is never blocked by address");
    let paused = today(Settings { enforce: false, ..Settings::default() });
    assert_eq!(name(&paused, "s00.upd.kaspersky.com").decision, Decision::Observe);
}

#[test]
fn nxdomain_is_answered_only_where_it_is_true_of_everything_below() {
    let mut settings = Settings { stages: stages("huawei", None, Stage::Block), ..Settings::default() };
    settings.block.answer = BlockAnswer::Nxdomain;
    let policy = today(settings);
    let nxdomain = |asked: &str| {
        let parsed: Name = asked.parse().unwrap();
        let verdict = name(&policy, asked);
        assert_eq!(verdict.decision, Decision::Block, "{asked}");
        policy.answers_nxdomain(&verdict, parsed.as_ref())
    };
    assert!(nxdomain("a.myhuaweicloud.com"));
    assert!(!nxdomain("events-dra.op.hicloud.com"), "an exact rule says nothing of the names below");
}

#[test]
fn the_same_rules_and_settings_have_the_same_id_at_any_time() {
    let one = today(Settings::default());
    let other = policy_at(Settings::default(), "2020-01-01T00:00:00Z");
    assert_eq!(one.id(), other.id());
    let paused = today(Settings { enforce: false, ..Settings::default() });
    assert_ne!(one.id(), paused.id());
}
