//! The resolver's front, from a client's message to the reply that goes out.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

#[path = "common/dns.rs"]
mod dns_fixture;

use dns_fixture::*;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::svcb::{Alpn, EchConfigList, IpHint, Mandatory, SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, AAAA, HTTPS, NS, TXT};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use interdict::base::model::{BlockAnswer, Channel, Decision, Outcome as Became, Stage};
use interdict::base::wire::dns::Unanswered;
use interdict::engine::resolver::front::{self, answer, answer_from};
use interdict::engine::resolver::{Ask, Cache, CacheKey, DropReason, Failure, Outcome, StoredAnswer};
use interdict::policy::{Hit, Policy, Sinkhole};
use proptest::prelude::*;
use std::sync::Arc;

fn empty() -> Cache {
    Cache::new(1 << 20, 1)
}

fn replied(outcome: Outcome, out: &[u8]) -> (Message, Option<Hit>) {
    match outcome {
        Outcome::Answered { len, hit } => (Message::from_vec(&out[..len]).unwrap(), hit),
        other => panic!("{other:?}"),
    }
}

/// The reply without upstream.
fn ask(policy: &Policy, cache: &Cache, seconds: u64, ask: &Ask<'_>) -> (Message, Option<Hit>) {
    let mut out = [0; 65_535];
    let outcome = answer(at(seconds), policy, cache, ask, &mut out);
    replied(outcome, &out)
}

/// The reply with this answer from upstream.
fn judged(policy: &Policy, stored: &StoredAnswer, ask: &Ask<'_>) -> (Message, Option<Hit>) {
    let mut out = [0; 65_535];
    let outcome = answer_from(at(0), policy, stored, ask, &mut out);
    replied(outcome, &out)
}

fn addresses(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

/// Rule's pattern, outcome, channel, name and address of a hit, in words.
fn words(policy: &Policy, hit: Option<&Hit>) -> Option<String> {
    let hit = hit?;
    let pattern = policy.facts(hit.rule).unwrap().pattern;
    let address = hit.address.map_or_else(String::new, |address| format!(" at {address}"));
    Some(format!("{pattern} {} {} {:?}{address}", hit.outcome, hit.channel, hit.name))
}

#[test]
fn what_is_no_query_gets_an_error_or_silence() {
    let policy = policy(1, BlockAnswer::Null);
    let mut out = [0; 512];
    for transport in [udp, tcp] {
        for (message, why) in
            [(&[0; 11][..], Unanswered::TooShort), (b"\x12\x34\x81\0\0\x01\0\0\0\0\0\0", Unanswered::Response)]
        {
            match answer(at(0), &policy, &empty(), &transport(message), &mut out) {
                Outcome::Drop(DropReason::Unanswered(reason)) => assert_eq!(reason, why),
                other => panic!("{other:?}"),
            }
        }
        // NOTIFY: the opcode is repeated, the question is not.
        let (reply, hit) = ask(&policy, &empty(), 0, &transport(b"\x12\x34\x20\0\0\x01\0\0\0\0\0\0"));
        assert_eq!((reply.metadata.response_code, reply.metadata.id), (ResponseCode::NotImp, 0x1234));
        assert_eq!(
            (reply.metadata.op_code, reply.queries.len(), hit.is_none()),
            (hickory_proto::op::OpCode::Notify, 0, true)
        );
        let (reply, _) = ask(&policy, &empty(), 0, &transport(b"\x12\x34\x01\0\0\0\0\0\0\0\0\0"));
        assert_eq!((reply.metadata.response_code, reply.metadata.recursion_desired), (ResponseCode::FormErr, true));
        // The question and an OPT come back where they were read; a blocked name changes nothing about it.
        let junk = [query("A.blocked.example", RecordType::A, Some(4096)), b"junk".to_vec()].concat();
        let (reply, hit) = ask(&policy, &empty(), 0, &transport(&junk));
        assert_eq!((reply.metadata.response_code, hit.is_none()), (ResponseCode::FormErr, true));
        assert_eq!(reply.queries[0].name().to_string(), "A.blocked.example.");
        assert!(reply.edns.is_some());
        let bad_version = query_with("a.example", RecordType::A, Some(1232), |message| {
            message.edns.as_mut().unwrap().set_version(1);
        });
        let (reply, _) = ask(&policy, &empty(), 0, &transport(&bad_version));
        assert_eq!((u16::from(reply.metadata.response_code), reply.edns.unwrap().version()), (16, 0));
        let chaos = query_with("version.bind", RecordType::TXT, None, |message| {
            message.queries[0].set_query_class(DNSClass::CH);
        });
        let (reply, _) = ask(&policy, &empty(), 0, &transport(&chaos));
        assert_eq!((reply.metadata.response_code, reply.edns.is_none()), (ResponseCode::Refused, true));
    }
    let mut small = [0; 20];
    let message = query("a.blocked.example", RecordType::A, None);
    let outcome = answer(at(0), &policy, &empty(), &udp(&message), &mut small);
    assert!(matches!(outcome, Outcome::Drop(DropReason::NoRoom)), "{outcome:?}");
}

#[test]
fn every_type_gets_the_block_answer_that_is_right_for_it() {
    use BlockAnswer::{Nodata, Null, Nxdomain, Refused, Sinkhole as Sink};
    use ResponseCode::{NXDomain, NoError, Refused as RefusedCode};
    type Case<'a> = (BlockAnswer, RecordType, ResponseCode, &'a [&'a str], usize);
    let cases: &[Case<'_>] = &[
        (Null, RecordType::A, NoError, &["0.0.0.0"], 0),
        (Null, RecordType::AAAA, NoError, &["::"], 0),
        (Null, RecordType::ANY, NoError, &["0.0.0.0", "::"], 0),
        (Null, RecordType::HTTPS, NoError, &[], 1),
        (Null, RecordType::TXT, NoError, &[], 1),
        (Null, RecordType::SOA, NoError, &[], 1),
        (Null, RecordType::MX, NoError, &[], 1),
        (Null, RecordType::Unknown(65_280), NoError, &[], 1),
        (Sink, RecordType::A, NoError, &["198.18.0.9"], 0),
        (Sink, RecordType::AAAA, NoError, &[], 1),
        (Sink, RecordType::ANY, NoError, &["198.18.0.9"], 0),
        (Sink, RecordType::HTTPS, NoError, &[], 1),
        (Sink, RecordType::Unknown(64), NoError, &[], 1),
        (Nxdomain, RecordType::A, NXDomain, &[], 1),
        (Nxdomain, RecordType::ANY, NXDomain, &[], 1),
        (Nxdomain, RecordType::TXT, NXDomain, &[], 1),
        (Nodata, RecordType::A, NoError, &[], 1),
        (Nodata, RecordType::ANY, NoError, &[], 1),
        (Refused, RecordType::A, RefusedCode, &[], 0),
        (Refused, RecordType::TXT, RefusedCode, &[], 0),
    ];
    for &(wanted, rtype, rcode, data, soas) in cases {
        let v4 = (wanted == Sink).then(|| [198, 18, 0, 9].into());
        let policy = with(7, wanted, Stage::Block, &[], Sinkhole { v4, ..Sinkhole::default() });
        for transport in [udp, tcp] {
            let message = query("Up.DENY.example", rtype, Some(1232));
            let (reply, hit) = ask(&policy, &empty(), 0, &transport(&message));
            let what = format!("{wanted} {rtype}");
            let head = &reply.metadata;
            assert_eq!(
                (head.response_code, head.id, addresses(&reply)),
                (rcode, 0x1234, data.iter().map(|&d| d.to_owned()).collect()),
                "{what}"
            );
            assert!(
                head.recursion_available && head.recursion_desired && !head.authoritative && !head.authentic_data,
                "{what}"
            );
            assert_eq!(reply.queries[0].name().to_string(), "Up.DENY.example.", "case as asked");
            assert!(
                reply.answers.iter().all(|record| record.ttl == 60 && record.name.to_string() == "Up.DENY.example.")
            );
            assert_eq!(reply.authorities.len(), soas, "{what}");
            for soa in &reply.authorities {
                let RData::SOA(data) = &soa.data else { panic!("{soa}") };
                assert_eq!(
                    (soa.ttl, data.minimum, data.serial, soa.name.to_string().as_str()),
                    (60, 60, 7, "Up.DENY.example.")
                );
            }
            let option =
                reply.edns.as_ref().unwrap().options().as_ref().iter().next().map(|(code, _)| u16::from(*code));
            assert_eq!(option, Some(15), "{what}: an extended error");
            assert_eq!(words(&policy, hit.as_ref()).unwrap(), "deny.example blocked dns up.deny.example", "{what}");
        }
        let (reply, _) = ask(&policy, &empty(), 0, &udp(&query("up.deny.example", rtype, None)));
        assert!(reply.edns.is_none(), "no OPT for who sent none");
    }
}

#[test]
fn a_private_sinkhole_is_for_those_who_may_have_it() {
    let here: std::net::IpAddr = "192.168.1.7".parse().unwrap();
    for (private_for, v4, v6) in [("192.168.1.0/24", "10.0.0.9", "fd00::9"), ("192.168.2.0/24", "0.0.0.0", "::")] {
        let private_for = vec![private_for.parse().unwrap()];
        let sinkhole = Sinkhole { v4: Some([10, 0, 0, 9].into()), v6: "fd00::9".parse().ok(), private_for };
        let policy = with(7, BlockAnswer::Sinkhole, Stage::Block, &[], sinkhole);
        for (rtype, expected) in [(RecordType::A, v4), (RecordType::AAAA, v6)] {
            let message = query("up.deny.example", rtype, None);
            let (reply, _) = ask(&policy, &empty(), 0, &Ask { client: here, ..udp(&message) });
            assert_eq!(addresses(&reply), [expected]);
        }
    }
}

#[test]
fn nxdomain_is_said_only_where_it_holds_for_everything_below() {
    let policy = policy(1, BlockAnswer::Nxdomain);
    for (name, rcode) in [
        ("deny.example", ResponseCode::NXDomain),
        ("a.deny.example", ResponseCode::NXDomain),
        ("blocked.example", ResponseCode::NoError),
        ("a.blocked.example", ResponseCode::NXDomain),
        ("exact.example", ResponseCode::NoError),
        ("a.wild.example", ResponseCode::NXDomain), // `*.wild.example` holds for everything below it
    ] {
        let (reply, hit) = ask(&policy, &empty(), 0, &udp(&query(name, RecordType::A, None)));
        assert_eq!((reply.metadata.response_code, reply.authorities.len()), (rcode, 1), "{name}");
        assert_eq!(hit.unwrap().decision, Decision::Block, "{name}");
    }
}

#[test]
fn flags_of_the_query_come_back() {
    let policy = policy(1, BlockAnswer::Null);
    let message = query_with("deny.example", RecordType::A, Some(1232), |message| {
        message.metadata.recursion_desired = false;
        message.metadata.checking_disabled = true;
        message.metadata.authentic_data = true;
        message.edns.as_mut().unwrap().set_dnssec_ok(true);
    });
    let (reply, _) = ask(&policy, &empty(), 0, &udp(&message));
    let head = &reply.metadata;
    assert!(!head.recursion_desired && head.checking_disabled && head.recursion_available && !head.authentic_data);
    let edns = reply.edns.unwrap();
    assert_eq!((edns.flags().dnssec_ok, edns.max_payload()), (true, 1232));
}

#[test]
fn what_is_observed_or_excepted_is_a_hit_and_goes_on() {
    let policy = with(1, BlockAnswer::Null, Stage::Block, &["spared.blocked.example"], Sinkhole::default());
    let cache = empty();
    for (name, said) in [
        ("www.watched.example", Some("watched.example observed dns www.watched.example")),
        ("spared.blocked.example", Some("blocked.example excepted dns spared.blocked.example")),
        ("notwatched.example", None),
    ] {
        let message = query(name, RecordType::A, None);
        let mut out = [0; 512];
        let Outcome::Miss(miss) = answer(at(0), &policy, &cache, &udp(&message), &mut out) else { panic!("{name}") };
        assert_eq!(words(&policy, miss.hit.as_ref()).as_deref(), said);
        assert_eq!(miss.key, key(name, RecordType::A));
        // What upstream says adds nothing; what the cache says afterwards is an attempt again.
        let stored = Arc::new(stored(name, RecordType::A, &[address(name, 60, "192.0.2.1")]));
        let (reply, hit) = judged(&policy, &stored, &udp(&message));
        assert_eq!((addresses(&reply), hit.is_none()), (vec!["192.0.2.1".to_owned()], true));
        cache.put(at(0).mono, &miss.key, stored);
        let (_, hit) = ask(&policy, &cache, 1, &udp(&message));
        assert_eq!(words(&policy, hit.as_ref()).as_deref(), said);
    }
}

#[test]
fn cached_answers_are_made_the_clients_own_and_grow_old() {
    let policy = policy(1, BlockAnswer::Null);
    let cache = empty();
    let records = [cname("www.Good.example", 100, "cdn.good.example"), address("cdn.good.example", 30, "192.0.2.1")];
    let answer_stored = stored("www.Good.example", RecordType::A, &records);
    assert_eq!(answer_stored.ttl(), 30);
    cache.put(at(0).mono, &key("www.good.example", RecordType::A), Arc::new(answer_stored));
    let message = query_with("wWw.gOOd.example", RecordType::A, Some(1232), |message| message.metadata.id = 77);
    let (reply, hit) = ask(&policy, &cache, 29, &udp(&message));
    assert_eq!((reply.metadata.id, hit.is_none()), (77, true));
    assert!(reply.metadata.recursion_available && !reply.metadata.authentic_data && !reply.metadata.truncation);
    let said: Vec<_> =
        reply.answers.iter().map(|record| format!("{} {} {}", record.name, record.ttl, record.data)).collect();
    assert_eq!(reply.queries[0].name().to_string(), "wWw.gOOd.example.");
    assert_eq!(said[0].to_lowercase(), "www.good.example. 71 cdn.good.example.");
    assert!(said[1].ends_with(" 1 192.0.2.1"), "{said:?}");
    let mut out = [0; 512];
    assert!(matches!(answer(at(30), &policy, &cache, &udp(&message), &mut out), Outcome::Miss(_)), "expired");
    // Another flag is another question.
    let checked =
        query_with("www.good.example", RecordType::A, None, |message| message.metadata.checking_disabled = true);
    assert!(matches!(answer(at(0), &policy, &cache, &udp(&checked), &mut out), Outcome::Miss(_)));
}

#[test]
fn validated_data_are_said_to_be_so_only_to_who_asks() {
    let policy = policy(1, BlockAnswer::Null);
    let mut upstream =
        response("good.example", RecordType::A, ResponseCode::NoError, &[address("good.example", 9, "192.0.2.1")], &[]);
    upstream.metadata.authentic_data = true;
    let key = key("good.example", RecordType::A);
    let stored =
        StoredAnswer::from_upstream(at(0).mono, &key, &upstream.to_vec().unwrap(), &Default::default()).unwrap();
    let (plain, _) = judged(&policy, &stored, &udp(&query("good.example", RecordType::A, None)));
    let asks = query_with("good.example", RecordType::A, None, |message| message.metadata.authentic_data = true);
    let (asked, _) = judged(&policy, &stored, &udp(&asks));
    assert_eq!((plain.metadata.authentic_data, asked.metadata.authentic_data), (false, true));
}

#[test]
fn long_answers_are_cut_over_udp_and_whole_over_tcp() {
    let policy = policy(1, BlockAnswer::Null);
    let records: Vec<_> = (0..60).map(|i| address("big.example", 60, &format!("192.0.2.{i}"))).collect();
    let stored = stored("big.example", RecordType::A, &records);
    for (transport, edns, limit, whole) in [
        (udp as fn(&[u8]) -> Ask<'_>, None, 512, false),
        (udp, Some(0), 512, false),
        (udp, Some(900), 900, false),
        (udp, Some(1232), 1232, true),
        (udp, Some(65_535), 1232, true),
        (tcp, None, 65_535, true),
    ] {
        let message = query("big.example", RecordType::A, edns);
        let mut out = [0; 65_535];
        let Outcome::Answered { len, .. } = answer_from(at(0), &policy, &stored, &transport(&message), &mut out) else {
            panic!()
        };
        let reply = Message::from_vec(&out[..len]).unwrap();
        assert!(len <= limit);
        assert_eq!((reply.metadata.truncation, reply.answers.len()), (!whole, if whole { 60 } else { 0 }), "{edns:?}");
        assert_eq!((reply.queries.len(), reply.edns.is_some()), (1, edns.is_some()));
    }
    let more: Vec<_> = (0..90).map(|i| address("big.example", 60, &format!("192.0.2.{i}"))).collect();
    let stored = dns_fixture::stored("big.example", RecordType::A, &more);
    let (reply, _) = judged(&policy, &stored, &udp(&query("big.example", RecordType::A, Some(4096))));
    assert!(reply.metadata.truncation, "1,232 octets at most, whatever the client takes");
}

fn https(owner: &str, target: &str, priority: u16, params: Vec<(SvcParamKey, SvcParamValue)>) -> Record {
    record(owner, 60, RData::HTTPS(HTTPS(SVCB::new(priority, hickory(target), params))))
}

fn hints(v4: &str, v6: &str) -> Vec<(SvcParamKey, SvcParamValue)> {
    vec![
        (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(vec!["h2".to_owned()]))),
        (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A(v4.parse().unwrap())]))),
        (SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(vec![AAAA(v6.parse().unwrap())]))),
    ]
}

/// Answers to a harmless name that lead to something listed, and what is said of each.
fn leading_to_listed(good: &str) -> Vec<(RecordType, Vec<Record>, String)> {
    let net = "91.103.64.0/21";
    vec![
        (
            RecordType::A,
            vec![cname(good, 60, "x.blocked.example"), address("x.blocked.example", 60, "192.0.2.1")],
            "blocked.example blocked dns-answer x.blocked.example".to_owned(),
        ),
        (
            RecordType::A,
            vec![
                cname(good, 60, "b.example"),
                cname("b.example", 60, "X.Wild.example"),
                address("X.wild.example", 60, "192.0.2.1"),
            ],
            "*.wild.example blocked dns-answer x.wild.example".to_owned(),
        ),
        (
            RecordType::CNAME,
            vec![cname(good, 60, "x.blocked.example")],
            "blocked.example blocked dns-answer x.blocked.example".to_owned(),
        ),
        // The order of the records does not matter.
        (
            RecordType::A,
            vec![address("x.blocked.example", 60, "192.0.2.1"), cname(good, 60, "x.blocked.example")],
            "blocked.example blocked dns-answer x.blocked.example".to_owned(),
        ),
        (
            RecordType::HTTPS,
            vec![https(good, "x.blocked.example", 0, vec![])],
            "blocked.example blocked dns-answer x.blocked.example".to_owned(),
        ),
        (
            RecordType::HTTPS,
            vec![https(good, "x.blocked.example", 1, hints("192.0.2.1", "2001:db8::1"))],
            "blocked.example blocked dns-answer x.blocked.example".to_owned(),
        ),
        (
            RecordType::HTTPS,
            vec![https(good, ".", 1, hints("91.103.64.9", "2001:db8::1"))],
            format!("{net} blocked dns-answer good.example at 91.103.64.9"),
        ),
        (
            RecordType::HTTPS,
            vec![https(good, ".", 1, hints("192.0.2.1", "2a03:2480::1"))],
            "2a03:2480::/32 blocked dns-answer good.example at 2a03:2480::1".to_owned(),
        ),
        (
            RecordType::A,
            vec![address(good, 60, "192.0.2.1"), address(good, 60, "91.103.64.9")],
            format!("{net} blocked dns-answer good.example at 91.103.64.9"),
        ),
        (
            RecordType::AAAA,
            vec![address(good, 60, "2a03:2480::1")],
            "2a03:2480::/32 blocked dns-answer good.example at 2a03:2480::1".to_owned(),
        ),
    ]
}

#[test]
fn an_answer_that_leads_to_something_listed_is_blocked_under_the_name_asked_for() {
    let policy = policy(1, BlockAnswer::Null);
    let good = "good.example";
    for (rtype, records, said) in leading_to_listed(good) {
        let stored = Arc::new(stored(good, rtype, &records));
        let message = query("GOOD.example", rtype, Some(1232));
        let cache = empty();
        cache.put(at(0).mono, &key(good, rtype), Arc::clone(&stored));
        for (reply, hit) in [
            judged(&policy, &stored, &udp(&message)),
            ask(&policy, &cache, 1, &udp(&message)),
            ask(&policy, &cache, 2, &tcp(&message)),
        ] {
            assert_eq!(words(&policy, hit.as_ref()).unwrap(), said);
            let text = reply.to_string().to_lowercase();
            assert!(
                !text.contains("blocked.example")
                    && !text.contains("wild.example")
                    && !text.contains("91.103.64.9")
                    && !text.contains("2a03:2480"),
                "{text}"
            );
            assert_eq!(reply.queries[0].name().to_string(), "GOOD.example.");
            assert!(reply.edns.is_some_and(|edns| edns.options().as_ref().len() == 1), "an extended error");
            let null = matches!(rtype, RecordType::A | RecordType::AAAA);
            assert_eq!((reply.answers.len(), reply.authorities.len()), if null { (1, 0) } else { (0, 1) });
        }
    }
}

#[test]
fn a_name_is_not_denied_for_where_it_leads() {
    let good = "good.example";
    let policy = policy(1, BlockAnswer::Nxdomain);
    let leads = stored(good, RecordType::A, &[cname(good, 60, "x.deny.example")]);
    let (reply, _) = judged(&policy, &leads, &udp(&query(good, RecordType::A, None)));
    assert_eq!((reply.metadata.response_code, reply.authorities.len()), (ResponseCode::NoError, 1));
}

#[test]
fn a_listed_or_excepted_name_decides_over_the_vendors_network() {
    let policy =
        with(1, BlockAnswer::Null, Stage::Block, &["spared.example", "alias.blocked.example"], Sinkhole::default());
    let inside = "91.103.64.9";
    let cases: Vec<(&str, Vec<Record>, Option<&str>)> = vec![
        // Observed by name: passes, and what the question's rule said is not said again.
        ("www.watched.example", vec![address("www.watched.example", 60, inside)], None),
        // Led to an observed name.
        (
            "good.example",
            vec![cname("good.example", 60, "www.watched.example"), address("www.watched.example", 60, inside)],
            Some("watched.example observed dns-answer www.watched.example"),
        ),
        // From an observed name on through one that nobody mentions.
        (
            "watched.example",
            vec![cname("watched.example", 60, "cdn.example"), address("cdn.example", 60, inside)],
            None,
        ),
        // An exception for the name asked for spares what it leads to.
        (
            "spared.example",
            vec![cname("spared.example", 60, "x.blocked.example"), address("x.blocked.example", 60, inside)],
            Some("blocked.example excepted dns-answer x.blocked.example"),
        ),
        (
            "spared.example",
            vec![address("spared.example", 60, inside)],
            Some("91.103.64.0/21 excepted dns-answer spared.example at 91.103.64.9"),
        ),
        // So does one for a name on the way.
        (
            "good.example",
            vec![
                cname("good.example", 60, "alias.blocked.example"),
                cname("alias.blocked.example", 60, "y.blocked.example"),
                address("y.blocked.example", 60, inside),
            ],
            Some("blocked.example excepted dns-answer alias.blocked.example"),
        ),
        // A host carved out of the network.
        (
            "good.example",
            vec![address("good.example", 60, "91.103.66.1")],
            Some("91.103.66.1/32 observed dns-answer good.example at 91.103.66.1"),
        ),
    ];
    for (name, records, said) in cases {
        let stored = stored(name, RecordType::A, &records);
        let (reply, hit) = judged(&policy, &stored, &udp(&query(name, RecordType::A, None)));
        assert_eq!(reply.answers.len(), records.len(), "{name}: {said:?}");
        assert_eq!(words(&policy, hit.as_ref()).as_deref(), said, "{name}");
    }
}

#[test]
fn a_block_of_the_answer_outweighs_an_observed_question() {
    let policy = policy(1, BlockAnswer::Null);
    let cache = empty();
    let name = "www.watched.example";
    let leads = [cname(name, 60, "x.blocked.example"), address("x.blocked.example", 60, "192.0.2.1")];
    cache.put(at(0).mono, &key(name, RecordType::A), Arc::new(stored(name, RecordType::A, &leads)));
    let (reply, hit) = ask(&policy, &cache, 0, &udp(&query(name, RecordType::A, None)));
    assert_eq!(addresses(&reply), ["0.0.0.0"]);
    assert_eq!(words(&policy, hit.as_ref()).unwrap(), "blocked.example blocked dns-answer x.blocked.example");
}

#[test]
fn what_is_cached_is_judged_again_when_the_policy_changes() {
    let watching = with(1, BlockAnswer::Null, Stage::Off, &[], Sinkhole::default());
    let blocking = policy(2, BlockAnswer::Null);
    let cache = empty();
    let name = "good.example";
    let records = [address(name, 60, "91.103.64.9")];
    cache.put(at(0).mono, &key(name, RecordType::A), Arc::new(stored(name, RecordType::A, &records)));
    let message = query(name, RecordType::A, None);
    for (policy, data, hits) in [
        (&watching, "91.103.64.9", 0),
        (&watching, "91.103.64.9", 0),
        (&blocking, "0.0.0.0", 1),
        (&watching, "91.103.64.9", 0),
    ] {
        let (reply, hit) = ask(policy, &cache, 1, &udp(&message));
        assert_eq!((addresses(&reply), usize::from(hit.is_some())), (vec![data.to_owned()], hits));
    }
    // The question too, while upstream is asked.
    let stored = stored("x.deny.example", RecordType::A, &[address("x.deny.example", 60, "192.0.2.1")]);
    let (reply, hit) = judged(&blocking, &stored, &udp(&query("x.deny.example", RecordType::A, None)));
    assert_eq!((addresses(&reply), hit.unwrap().channel), (vec!["0.0.0.0".to_owned()], Channel::Dns));
}

#[test]
fn ech_stays_with_names_that_nobody_mentions() {
    let ech = |mandatory: bool| {
        let mut params = hints("192.0.2.1", "2001:db8::1");
        params.insert(2, (SvcParamKey::EchConfigList, SvcParamValue::EchConfigList(EchConfigList(vec![1, 2, 3]))));
        if mandatory {
            params.insert(
                0,
                (SvcParamKey::Mandatory, SvcParamValue::Mandatory(Mandatory(vec![SvcParamKey::EchConfigList]))),
            );
        }
        params
    };
    let watching = policy(1, BlockAnswer::Null);
    let has_ech = |reply: &Message| reply.to_string().contains("ech=");
    for (name, kept) in [("good.example", true), ("www.watched.example", false)] {
        let stored = stored(
            name,
            RecordType::HTTPS,
            &[https(name, ".", 1, ech(false)), https(name, "other.example", 2, ech(true))],
        );
        let message = query(name, RecordType::HTTPS, Some(1232));
        let (reply, _) = judged(&watching, &stored, &udp(&message));
        assert_eq!((has_ech(&reply), reply.answers.len()), (kept, if kept { 2 } else { 1 }), "{name}: {reply}");
        assert!(reply.to_string().contains("192.0.2.1"));
        assert!(reply.answers.iter().all(|record| record.ttl == 60));
    }
    // The policy that mentions the name may come after the answer.
    let stored = stored("new.example", RecordType::HTTPS, &[https("new.example", ".", 1, ech(false))]);
    let message = query("new.example", RecordType::HTTPS, Some(1232));
    assert!(has_ech(&judged(&watching, &stored, &udp(&message)).0));
    let later = with(2, BlockAnswer::Null, Stage::Block, &["new.example"], Sinkhole::default());
    assert!(!has_ech(&judged(&later, &stored, &udp(&message)).0));
    assert!(has_ech(&judged(&watching, &stored, &udp(&message)).0));
    // An alias to a mentioned name makes the answer one about a mentioned name.
    let alias = dns_fixture::stored(
        "al.example",
        RecordType::HTTPS,
        &[cname("al.example", 60, "w.watched.example"), https("w.watched.example", ".", 1, ech(false))],
    );
    let (reply, hit) = judged(&watching, &alias, &udp(&query("al.example", RecordType::HTTPS, None)));
    assert_eq!((has_ech(&reply), hit.unwrap().outcome), (false, Became::Observed));
}

#[test]
fn failures_say_why() {
    let message = query("good.example", RecordType::A, Some(1232));
    for (failure, code) in
        [(Failure::Timeout, 22), (Failure::Unreachable, 23), (Failure::Invalid, 22), (Failure::Overloaded, 0)]
    {
        let mut out = [0; 1232];
        let len = front::fail(at(0), &udp(&message), failure, &mut out);
        let reply = Message::from_vec(&out[..len]).unwrap();
        assert_eq!((reply.metadata.response_code, reply.metadata.id), (ResponseCode::ServFail, 0x1234));
        let at = out[..len].windows(2).rposition(|pair| pair == [0, 15]).unwrap();
        let option_octets = u16::from_be_bytes([out[at + 2], out[at + 3]]);
        assert_eq!((out[at + 4], out[at + 5], usize::from(option_octets)), (0, code, len - at - 4), "{failure:?}");
    }
    let mut out = [0; 512];
    assert_eq!(front::fail(at(0), &udp(b""), Failure::Timeout, &mut out), 0);
    let len = front::fail(at(0), &udp(&query("good.example", RecordType::A, None)), Failure::Timeout, &mut out);
    assert!(Message::from_vec(&out[..len]).unwrap().edns.is_none());
}

#[test]
fn names_that_only_look_listed_and_other_sections_are_let_alone() {
    let policy = policy(1, BlockAnswer::Null);
    let name = "good.example";
    let mut upstream = response(
        name,
        RecordType::A,
        ResponseCode::NoError,
        &[address(name, 60, "192.0.2.1"), address("x.blocked.example", 60, "192.0.2.9")],
        &[record("example", 60, RData::NS(NS(hickory("ns.blocked.example"))))],
    );
    upstream.add_additional(address("ns.blocked.example", 60, "91.103.64.9"));
    let stored = StoredAnswer::from_upstream(
        at(0).mono,
        &key(name, RecordType::A),
        &upstream.to_vec().unwrap(),
        &Default::default(),
    )
    .unwrap();
    let (reply, hit) = judged(&policy, &stored, &udp(&query(name, RecordType::A, None)));
    assert_eq!(
        (addresses(&reply), reply.authorities.len(), reply.additionals.len(), hit.is_none()),
        (vec!["192.0.2.1".to_owned()], 0, 0, true)
    );
    let lookalike = dns_fixture::stored(
        name,
        RecordType::TXT,
        &[record(name, 60, RData::TXT(TXT::new(vec!["blocked.example".to_owned()])))],
    );
    let (reply, hit) = judged(&policy, &lookalike, &udp(&query(name, RecordType::TXT, None)));
    assert_eq!((reply.answers.len(), hit.is_none()), (1, true));
}

proptest! {
    #[test]
    fn any_message_ends_well(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300), start in prop::option::of(0..4_usize),
        at_octet in 0..80_usize, octet: u8, room in 0..600_usize,
    ) {
        let policy = policy(1, BlockAnswer::Null);
        let cache = empty();
        let good = "good.example";
        let kept = stored(good, RecordType::A, &[address(good, 60, "192.0.2.1")]);
        cache.put(at(0).mono, &key(good, RecordType::A), Arc::new(kept));
        if let Some(start) = start {
            let name = ["a.blocked.example", good, "watched.example", "other.example"][start];
            bytes = query(name, RecordType::A, Some(1232));
            if let Some(bent) = bytes.get_mut(at_octet) {
                *bent = octet;
            }
        }
        for transport in [udp, tcp] {
            let mut out = vec![0xee; room];
            match answer(at(1), &policy, &cache, &transport(&bytes), &mut out) {
                Outcome::Answered { len, .. } => {
                    prop_assert!(len <= room);
                    let reply = Message::from_vec(&out[..len]).unwrap();
                    prop_assert_eq!(&reply.metadata.id.to_be_bytes()[..], &bytes[..2]);
                }
                Outcome::Miss(miss) => {
                    let len = front::fail(at(0), &transport(&bytes), Failure::Timeout, &mut out);
                    prop_assert!(len == 0 || Message::from_vec(&out[..len]).is_ok());
                    let key = &miss.key;
                    let same = CacheKey::new(key.name(), key.qtype(), key.qclass(), key.dnssec_ok(), key.cd());
                    prop_assert_eq!(&same, key);
                }
                Outcome::Drop(_) => {}
            }
        }
    }
}
