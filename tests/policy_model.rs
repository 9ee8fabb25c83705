//! `Policy::decide` beside the obvious implementation, over random small vendor files, lists, stages and exceptions.
//!
//! The model walks all entries for every question, keeps names as text, and knows nothing of indexes, classes or hashes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

#[path = "policy_model/given.rs"]
mod given;
#[path = "policy_model/model.rs"]
mod model;
#[path = "common/tier.rs"]
mod tier;

use given::{Given, World};
use interdict::base::model::Decision;
use interdict::base::name::Name;
use interdict::policy::Subject;
use proptest::prelude::*;
use std::net::IpAddr;

/// Every name of up to four labels over the labels that entries are made of, below the zones that they are made in.
fn universe() -> Vec<String> {
    let mut names: Vec<String> = given::ZONES.iter().map(ToString::to_string).collect();
    let mut from = 0;
    for _ in 0..3 {
        let to = names.len();
        let longer: Vec<String> = names[from..]
            .iter()
            .flat_map(|name| given::LABELS.iter().map(move |label| format!("{label}.{name}")))
            .collect();
        names.extend(longer);
        from = to;
    }
    names
}

/// Addresses in, beside and outside of the ranges that entries are made of, and none.
const ADDRESSES: [Option<&str>; 7] = [
    None,
    Some("77.64.0.1"),
    Some("77.64.1.1"),
    Some("77.64.1.77"),
    Some("::ffff:77.64.1.77"),
    Some("2a03:2480::1"),
    Some("203.0.113.7"),
];

const CLIENTS: [&str; 2] = ["10.0.0.1", "192.168.7.7"];

/// What is compared: decision, place and pattern of the rule, exception.
fn said(world: &World, name: Option<&str>, address: Option<IpAddr>, client: IpAddr) -> model::Said {
    let name: Option<Name> = name.map(|name| name.parse().unwrap());
    let subject =
        Subject { name: name.as_ref().map(Name::as_ref), address, client: Some(client), ..Subject::default() };
    let verdict = world.policy.decide(&subject);
    let facts = verdict.rule.map(|rule| world.policy.facts(rule).unwrap());
    model::Said {
        decision: verdict.decision,
        rule: facts.map(|facts| format!("{} {}", facts.place, facts.pattern)),
        exception: verdict.exception.map(interdict::policy::ExceptionId::index),
    }
}

#[test]
fn of_rules_that_say_equally_much_the_first_list_decides() {
    let entry = |name: &str, kind| given::Entry {
        name: name.to_owned(),
        kind,
        purpose: "web",
        verified: true,
        public: true,
        shared: false,
        asn: true,
        fresh: true,
    };
    let (suffix, wildcard) = (entry("a.b.x.test", "suffix"), entry("ab.*.x.test", "wildcard"));
    for (first, second) in [(&suffix, &wildcard), (&wildcard, &suffix)] {
        let file = |entry: &given::Entry| given::VendorFile {
            entries: vec![entry.clone()],
            forbids: vec!["network"],
            begun: true,
            binds: "everyone",
        };
        let given = Given { vendors: vec![file(first), file(second)], ..Given::default() };
        let have = said(&World::new(&given), Some("ab.a.b.x.test"), None, CLIENTS[0].parse().unwrap());
        assert!(have.rule.as_ref().is_some_and(|rule| rule.starts_with("acme:")), "{have:?}");
    }
}

fn config() -> ProptestConfig {
    let cases = u32::try_from(tier::count(128, 2_000, 50_000)).unwrap();
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn decides_as_the_obvious_implementation_does(given in given::any()) {
        let world = World::new(&given);
        let entries = model::entries(&given);
        // Every third name with every address; the phase shifts from case to case.
        let names: Vec<String> = universe();
        let phase = given.seed % 3;
        let named = names.iter().skip(phase).step_by(3).map(|name| Some(name.as_str()));
        for name in named.chain([None]) {
            for address in ADDRESSES.map(|text| text.map(|text| text.parse().unwrap())) {
                for client in CLIENTS.map(|text| text.parse().unwrap()) {
                    let expected = model::decide(&given, &entries, name, address, client);
                    let have = said(&world, name, address, client);
                    prop_assert_eq!(&have, &expected, "{:?} {:?} {:?}\n{}", name, address, client, given.text());
                }
            }
        }
    }

    #[test]
    fn nxdomain_is_said_only_where_nothing_below_passes(given in given::any()) {
        let given = Given { answer: "nxdomain", ..given };
        let world = World::new(&given);
        let names = universe();
        let client = CLIENTS[given.seed % 2].parse().unwrap();
        let passing: Vec<&String> = names
            .iter()
            .filter(|name| said(&world, Some(name), None, client).decision != Decision::Block)
            .collect();
        for name in &names {
            let parsed: Name = name.parse().unwrap();
            let subject = Subject { name: Some(parsed.as_ref()), client: Some(client), ..Subject::default() };
            let verdict = world.policy.decide(&subject);
            if verdict.decision == Decision::Block && world.policy.answers_nxdomain(&verdict, parsed.as_ref()) {
                let below = format!(".{name}");
                let denied = passing.iter().find(|other| other.ends_with(&below));
                prop_assert_eq!(denied, None, "{} is said not to exist\n{}", name, given.text());
            }
        }
    }
}
