//! What is answered without asking anybody, and what upstream may not say.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

#[path = "common/dns.rs"]
mod dns_fixture;

use dns_fixture::*;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::HTTPS;
use hickory_proto::rr::rdata::svcb::{IpHint, SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::{RData, Record, RecordType};
use interdict::base::model::BlockAnswer;
use interdict::engine::resolver::front::{answer, answer_from};
use interdict::engine::resolver::{Cache, Outcome};
use interdict::policy::local::{Local, LocalSettings};
use interdict::policy::{Policy, Settings};
use std::sync::Arc;

fn policy_with(epoch: u64, local: LocalSettings) -> Policy {
    let base = policy(epoch, BlockAnswer::Null);
    let settings = Settings { local: Arc::new(Local::new(local)), ..base.settings().clone() };
    let rules = interdict::policy::RuleSetBuilder::new().finish();
    Policy::new(epoch, Arc::new(rules), Arc::new(settings), base.at())
}

fn records(texts: &[&str]) -> LocalSettings {
    LocalSettings { records: texts.iter().map(|text| text.parse().unwrap()).collect(), ..LocalSettings::default() }
}

/// The reply over UDP; `None` where upstream is to be asked.
fn reply(policy: &Policy, cache: &Cache, message: &[u8]) -> Option<Message> {
    let mut out = [0; 1_232];
    match answer(at(1), policy, cache, &udp(message), &mut out) {
        Outcome::Answered { len, .. } => Some(Message::from_vec(&out[..len]).unwrap()),
        Outcome::Miss(_) => None,
        Outcome::Drop(why) => panic!("{why}"),
    }
}

fn cache() -> Cache {
    Cache::new(1 << 20, 1)
}

fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

#[test]
fn local_names_are_answered_whole() {
    let policy = policy_with(
        1,
        records(&["nas.home.arpa A 192.168.1.5", "nas.home.arpa A 192.168.1.6", "nas.home.arpa 9 TXT hello"]),
    );
    let ask = |name, rtype| reply(&policy, &cache(), &query(name, rtype, Some(1232)));
    let a = ask("NAS.home.arpa", RecordType::A).unwrap();
    assert_eq!(data(&a), ["192.168.1.5", "192.168.1.6"]);
    assert_eq!((a.queries[0].name().to_string().as_str(), a.answers[0].ttl), ("NAS.home.arpa.", 60));
    let none = ask("nas.home.arpa", RecordType::AAAA).unwrap();
    assert_eq!((none.metadata.response_code, none.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(none.authorities[0].record_type(), RecordType::SOA);
    assert_eq!(ask("nas.home.arpa", RecordType::ANY).unwrap().answers.len(), 3);
    let back = ask("5.1.168.192.in-addr.arpa", RecordType::PTR).unwrap();
    assert_eq!(data(&back), ["nas.home.arpa."]);
    let missing = ask("tv.home.arpa", RecordType::A).unwrap();
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(missing.authorities[0].record_type(), RecordType::SOA);
    assert_eq!(data(&ask("x.localhost", RecordType::AAAA).unwrap()), ["::1"]);
    assert!(ask("www.example", RecordType::A).is_none());
}

#[test]
fn any_gets_the_least_that_is_an_answer() {
    let policy = policy_with(1, LocalSettings::default());
    let message = query("www.example", RecordType::ANY, Some(4096));
    let mut out = [0; 1_232];
    let Outcome::Answered { len, .. } = answer(at(0), &policy, &cache(), &udp(&message), &mut out) else { panic!() };
    assert!(len <= message.len() + 64, "{len}");
    let reply = Message::from_vec(&out[..len]).unwrap();
    assert_eq!((reply.answers.len(), reply.answers[0].record_type()), (1, RecordType::HINFO));
}

#[test]
fn canaries_are_denied_unless_excepted_or_switched_off() {
    let on = policy_with(1, LocalSettings::default());
    for name in ["use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com"] {
        let reply = reply(&on, &cache(), &query(name, RecordType::A, Some(1232))).unwrap();
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain, "{name}");
        assert!(reply.edns.unwrap().options().as_ref().len() == 1, "the reason is said");
    }
    let off = policy_with(1, LocalSettings { canaries: false, ..LocalSettings::default() });
    assert!(reply(&off, &cache(), &query("mask.icloud.com", RecordType::A, None)).is_none());
    let stage = interdict::base::model::Stage::Block;
    let spared = with(1, BlockAnswer::Null, stage, &["mask.icloud.com"], interdict::policy::Sinkhole::default());
    assert!(reply(&spared, &cache(), &query("mask.icloud.com", RecordType::A, None)).is_none());
}

#[test]
fn a_record_that_a_reload_brings_takes_the_place_of_what_is_cached() {
    let cache = cache();
    let old = Arc::new(stored("www.example", RecordType::A, &[address("www.example", 600, "192.0.2.1")]));
    cache.put(at(0).mono, &key("www.example", RecordType::A), old);
    let message = query("www.example", RecordType::A, None);
    let before = policy_with(1, LocalSettings::default());
    for _ in 0..2 {
        assert_eq!(data(&reply(&before, &cache, &message).unwrap()), ["192.0.2.1"]);
    }
    let after = policy_with(2, records(&["www.example A 192.0.2.2"]));
    assert_eq!(data(&reply(&after, &cache, &message).unwrap()), ["192.0.2.2"]);
}

/// The reply that an upstream answer becomes.
fn judged(policy: &Policy, name: &str, records: &[Record]) -> Message {
    let rtype = records.last().unwrap().record_type();
    let message = query(name, rtype, Some(1232));
    let mut out = [0; 1_232];
    let stored = stored(name, rtype, records);
    match answer_from(at(0), policy, &stored, &udp(&message), &mut out) {
        Outcome::Answered { len, .. } => Message::from_vec(&out[..len]).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn hinted(owner: &str, hint: &str) -> Record {
    let params = match hint.parse().unwrap() {
        std::net::IpAddr::V4(v4) => (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![v4.into()]))),
        std::net::IpAddr::V6(v6) => (SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(vec![v6.into()]))),
    };
    record(owner, 60, RData::HTTPS(HTTPS(SVCB::new(1, hickory("."), vec![params]))))
}

#[test]
fn private_addresses_do_not_come_from_upstream() {
    let policy = policy_with(
        1,
        LocalSettings { private_names: vec!["plex.direct".parse().unwrap()], ..LocalSettings::default() },
    );
    let private = [
        "10.1.2.3",
        "172.20.0.1",
        "192.168.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "0.0.0.0",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "::ffff:192.168.1.1",
        "64:ff9b::10.0.0.1",
        "2002:c0a8:101::1",
        "::10.0.0.1",
    ];
    for address in private.iter().map(|text| text.to_string()) {
        let direct = [self::address("evil.example", 60, &address)];
        let aliased = [cname("evil.example", 60, "x.plex.direct"), self::address("x.plex.direct", 60, &address)];
        let mixed = [self::address("evil.example", 60, "192.0.2.1"), self::address("evil.example", 60, &address)];
        let mut cases = vec![&direct[..], &aliased];
        if !address.contains(':') {
            cases.push(&mixed);
        }
        let hints = [hinted("evil.example", &address)];
        cases.push(&hints);
        for records in cases {
            let reply = judged(&policy, "evil.example", records);
            assert_eq!((reply.answers.len(), reply.metadata.response_code), (0, ResponseCode::NoError), "{records:?}");
            assert_eq!(reply.edns.unwrap().options().as_ref().len(), 1, "the reason is said");
        }
        let own = [self::address("x.plex.direct", 60, &address)];
        assert_eq!(judged(&policy, "x.plex.direct", &own).answers.len(), 1, "{address}");
    }
    for address in ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "100.64.0.1"] {
        let records = [self::address("good.example", 60, address)];
        assert_eq!(judged(&policy, "good.example", &records).answers.len(), 1, "{address}");
    }
}
