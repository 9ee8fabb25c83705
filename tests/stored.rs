//! What of an upstream response is kept, for how long, and which responses are of no use.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

#[path = "common/dns.rs"]
mod dns_fixture;

use dns_fixture::*;
use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::{MX, NULL, TXT};
use hickory_proto::rr::{RData, Record, RecordType};
use interdict::base::name::Name;
use interdict::base::wire::dns::{AnswerFault, Rcode};
use interdict::engine::resolver::{AnswerError, AnswerLimits, CacheKey, StoredAnswer};
use proptest::prelude::*;

const GOOD: &str = "good.example";

fn read(key: &CacheKey, message: &Message) -> Result<StoredAnswer, AnswerError> {
    StoredAnswer::from_upstream(at(0).mono, key, &message.to_vec().unwrap(), &AnswerLimits::default())
}

fn kept(stored: &StoredAnswer) -> Message {
    Message::from_vec(stored.octets()).unwrap()
}

fn a(ttl: u32) -> Record {
    address(GOOD, ttl, "192.0.2.1")
}

/// A record of a type whose data hickory-proto does not look into here.
fn raw(owner: &str, rtype: u16, data: &[u8]) -> Record {
    record(owner, 60, RData::Unknown { code: RecordType::from(rtype), rdata: NULL::with(data.to_vec()) })
}

/// A signature over a type; only that is ever read.
fn signature(owner: &str, signed: u16) -> Record {
    raw(owner, 46, &[&signed.to_be_bytes()[..], &[0; 20]].concat())
}

#[test]
fn lifetimes() {
    use ResponseCode::{NXDomain, NoError, Refused, ServFail};
    let txt = || record(GOOD, 60, RData::TXT(TXT::new(vec!["x".to_owned()])));
    type Case<'a> = (&'a str, ResponseCode, Vec<Record>, Vec<Record>, u32);
    let cases: [Case<'_>; 15] = [
        ("the shortest counts", NoError, vec![a(60), a(20)], vec![], 20),
        ("a CNAME's too", NoError, vec![cname(GOOD, 9, "b.example"), address("b.example", 60, "192.0.2.1")], vec![], 9),
        ("a day at most", NoError, vec![a(1_000_000)], vec![], 86_400),
        ("the highest bit means 0", NoError, vec![a(0x8000_0000)], vec![], 0),
        ("0 is 0", NoError, vec![a(0)], vec![], 0),
        ("absence: the SOA's minimum", NXDomain, vec![], vec![soa("example", 900, 30)], 30),
        ("absence: the SOA's own", NXDomain, vec![], vec![soa("example", 20, 30)], 20),
        ("absence: an hour at most", NoError, vec![], vec![soa("example", 90_000, 90_000)], 3_600),
        ("absence without SOA", NXDomain, vec![], vec![], 0),
        ("no data without SOA", NoError, vec![], vec![], 0),
        ("an SOA of elsewhere", NXDomain, vec![], vec![soa("other.test", 900, 30)], 0),
        ("absence behind a CNAME", NoError, vec![cname(GOOD, 9, "b.example")], vec![soa("example", 900, 30)], 9),
        ("only another type", NoError, vec![txt()], vec![soa("example", 900, 30)], 30),
        ("failure", ServFail, vec![a(60)], vec![soa("example", 900, 30)], 5),
        ("refusal", Refused, vec![], vec![soa("example", 900, 30)], 0),
    ];
    for (what, rcode, answers, authorities, ttl) in cases {
        let stored =
            read(&key(GOOD, RecordType::A), &response(GOOD, RecordType::A, rcode, &answers, &authorities)).unwrap();
        assert_eq!((stored.ttl(), u16::from(rcode)), (ttl, stored.rcode().0), "{what}");
        let after = |seconds| stored.is_fresh(at(seconds).mono);
        assert_eq!((after(0), after(u64::from(ttl))), (ttl > 0, false), "{what}");
        assert!(kept(&stored).authorities.iter().all(|soa| soa.ttl <= 3_600), "an SOA says what we believe");
    }
}

#[test]
fn only_what_answers_the_question_is_kept() {
    let answers = [
        cname(GOOD, 60, "B.example"),
        address("stranger.example", 60, "192.0.2.9"),
        address("b.example", 60, "192.0.2.1"),
        record(GOOD, 60, RData::MX(MX::new(1, hickory("mx.example")))),
        signature(GOOD, 5),
        address("B.example", 60, "192.0.2.2"),
    ];
    let authorities =
        [record("example", 60, RData::NS(hickory_proto::rr::rdata::NS(hickory("ns.example")))), soa("example", 60, 60)];
    let mut message = response(GOOD, RecordType::A, ResponseCode::NoError, &answers, &authorities);
    message.add_additional(address("ns.example", 60, "192.0.2.53"));
    message.set_edns(Edns::new());
    let stored = read(&key(GOOD, RecordType::A), &message).unwrap();
    let reply = kept(&stored);
    assert_eq!(reply.answers, [answers[0].clone(), answers[2].clone(), answers[5].clone()], "in their order");
    assert!(reply.authorities.is_empty() && reply.additionals.is_empty() && reply.edns.is_none());
    assert_eq!(stored.rcode(), Rcode::NOERROR);
}

#[test]
fn proofs_are_for_who_wants_dnssec() {
    let answers = [a(60), signature(GOOD, 1), signature(GOOD, 16), signature("other.example", 1)];
    let authorities = [
        soa("example", 60, 60),
        signature("example", 6),
        raw(GOOD, 47, b"\0\0\x01\x40"),
        signature(GOOD, 47),
        raw("h.example", 50, b"x"),
        signature("example", 2),
    ];
    let name: Name = GOOD.parse().unwrap();
    for (dnssec_ok, rcode, answers_kept, authorities_kept) in [
        (false, ResponseCode::NoError, 1, 0),
        (true, ResponseCode::NoError, 2, 4),
        (false, ResponseCode::NXDomain, 0, 1),
        (true, ResponseCode::NXDomain, 0, 5),
    ] {
        let key = CacheKey::new(name.as_ref(), 1, 1, dnssec_ok, false);
        let answers = if rcode == ResponseCode::NoError { &answers[..] } else { &[] };
        let reply = kept(&read(&key, &response(GOOD, RecordType::A, rcode, answers, &authorities)).unwrap());
        assert_eq!(
            (reply.answers.len(), reply.authorities.len()),
            (answers_kept, authorities_kept),
            "{dnssec_ok} {rcode}"
        );
    }
    // Signatures may be what is asked for.
    let reply = kept(
        &read(&key(GOOD, RecordType::RRSIG), &response(GOOD, RecordType::RRSIG, ResponseCode::NoError, &answers, &[]))
            .unwrap(),
    );
    assert_eq!(reply.answers.len(), 2);
}

#[test]
fn aliases_are_followed_so_far() {
    // A DNAME with the CNAME that it makes, and without.
    let dname = raw("example", 39, b"\x05moved\x04test\0");
    let there = address("good.moved.test", 60, "192.0.2.1");
    for answers in [vec![dname.clone(), cname(GOOD, 60, "good.moved.test"), there.clone()], vec![dname, there]] {
        let reply = kept(
            &read(&key(GOOD, RecordType::A), &response(GOOD, RecordType::A, ResponseCode::NoError, &answers, &[]))
                .unwrap(),
        );
        assert_eq!(reply.answers, answers);
    }
    let links = |count: usize| -> Vec<Record> {
        let name = |i| if i == 0 { GOOD.to_owned() } else { format!("n{i}.example") };
        let mut all: Vec<_> = (0..count).map(|i| cname(&name(i), 60, &name(i + 1))).collect();
        all.push(address(&name(count), 60, "192.0.2.1"));
        all
    };
    let read = |answers: &[Record]| {
        read(&key(GOOD, RecordType::A), &response(GOOD, RecordType::A, ResponseCode::NoError, answers, &[]))
    };
    assert_eq!(read(&links(11)).unwrap().ttl(), 60);
    assert_eq!(read(&links(12)).unwrap_err(), AnswerError::Chain);
    let circle = [cname(GOOD, 60, "b.example"), cname("b.example", 60, GOOD)];
    assert_eq!(read(&circle).unwrap().ttl(), 0, "a circle answers nothing");
    assert_eq!(read(&[cname(GOOD, 60, GOOD)]).unwrap().ttl(), 0);
}

#[test]
fn responses_of_no_use() {
    let right = response(GOOD, RecordType::A, ResponseCode::NoError, &[a(60)], &[]);
    let key_of = key(GOOD, RecordType::A);
    assert!(read(&key_of, &right).is_ok());
    assert!(read(&key("GOOD.Example", RecordType::A), &right).is_ok(), "in any case");
    for other in [key("bad.example", RecordType::A), key(GOOD, RecordType::AAAA)] {
        assert_eq!(read(&other, &right).unwrap_err(), AnswerError::Question);
    }
    let mut cut = right.clone();
    cut.metadata.truncation = true;
    assert_eq!(read(&key_of, &cut).unwrap_err(), AnswerError::Truncated);
    let mut extended = right.clone();
    extended.metadata.response_code = ResponseCode::BADCOOKIE;
    extended.set_edns(Edns::new());
    assert_eq!(read(&key_of, &extended).unwrap_err(), AnswerError::ExtendedRcode(Rcode(23)));
    let many =
        |count| -> Vec<_> { (0..count).map(|i| address(GOOD, 60, &format!("10.0.{}.{}", i / 250, i % 250))).collect() };
    assert!(read(&key_of, &response(GOOD, RecordType::A, ResponseCode::NoError, &many(256), &[])).is_ok());
    let too_many = response(GOOD, RecordType::A, ResponseCode::NoError, &many(257), &[]);
    assert_eq!(read(&key_of, &too_many).unwrap_err(), AnswerError::TooManyRecords(257));
    let mut query = right.clone();
    query.metadata.message_type = hickory_proto::op::MessageType::Query;
    assert_eq!(read(&key_of, &query).unwrap_err(), AnswerError::Malformed(AnswerFault::NotAResponse));
    // An address of three octets; a service binding whose name is a pointer.
    for (rtype, data) in [(1, &b"abc"[..]), (65, b"\0\x01\xc0\x0c")] {
        let broken = response(GOOD, RecordType::from(rtype), ResponseCode::NoError, &[raw(GOOD, rtype, data)], &[]);
        let error = read(&key(GOOD, RecordType::from(rtype)), &broken).unwrap_err();
        assert!(matches!(error, AnswerError::Malformed(_)), "{error}");
    }
    // Cut anywhere, it is refused or whole.
    let octets = right.to_vec().unwrap();
    for len in 0..octets.len() {
        assert!(StoredAnswer::from_upstream(at(0).mono, &key_of, &octets[..len], &AnswerLimits::default()).is_err());
    }
}

proptest! {
    #[test]
    fn what_is_bent_is_refused_or_stored_well(bends in prop::collection::vec((12..200_usize, any::<u8>()), 1..4)) {
        let mail = record(GOOD, 60, RData::MX(MX::new(1, hickory("m.b.example"))));
        let answers = [cname(GOOD, 60, "b.example"), address(GOOD, 60, "192.0.2.1"), mail];
        let message = response(GOOD, RecordType::ANY, ResponseCode::NoError, &answers, &[soa("example", 60, 60)]);
        let mut octets = message.to_vec().unwrap();
        for (at, octet) in bends {
            if let Some(bent) = octets.get_mut(at) {
                *bent = octet;
            }
        }
        let key = key(GOOD, RecordType::ANY);
        if let Ok(stored) = StoredAnswer::from_upstream(at(0).mono, &key, &octets, &AnswerLimits::default()) {
            let view = interdict::base::wire::dns::AnswerView::parse(stored.octets()).unwrap();
            for record in view.records() {
                record.unwrap().check().unwrap();
            }
        }
    }
}
