//! A small policy, and queries and upstream responses made by hickory-proto, for the tests and benches of the resolver's front.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a fixture that cannot be made stops the test")]

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use interdict::base::model::{BlockAnswer, Mono, Now, Stage, Wall};
use interdict::engine::resolver::{AnswerLimits, Ask, CacheKey, StoredAnswer, Transport};
use interdict::policy::list::vendor;
use interdict::policy::{BlockSettings, Exception, Policy, RuleSet, RuleSetBuilder, Settings, Sinkhole, StageSetting};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// Who asks.
pub(crate) const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 7));

/// A vendor file to which [`NAMES`] and [`RANGES`] are added. The update and telemetry names and the vendor's network are blocked,
/// the web names and the host carved out of the network observed.
const VENDOR: &str = r#"
version = 1
[vendor]
id = "acme"
name = "Acme"
[[source]]
id = "doc"
title = "A document"
where = "-"
"#;

const SOURCE: &str = "source = [\"doc\"]\nconfidence = \"high\"\n";

const NAMES: &[(&str, &str, &str)] = &[
    ("blocked.example", "suffix", "update"),
    ("open.blocked.example", "suffix", "web"),
    ("deny.example", "suffix", "telemetry"),
    ("exact.example", "exact", "update"),
    ("*.wild.example", "wildcard", "update"),
    ("watched.example", "suffix", "web"),
];

const RANGES: &[(&str, &str)] =
    &[("91.103.64.0/21", "vendor-network"), ("2a03:2480::/32", "vendor-network"), ("91.103.66.1/32", "web")];

/// The rules of the vendor file above.
pub(crate) fn rules() -> Arc<RuleSet> {
    static RULES: OnceLock<Arc<RuleSet>> = OnceLock::new();
    Arc::clone(RULES.get_or_init(|| Arc::new(build())))
}

fn build() -> RuleSet {
    let mut text = VENDOR.to_owned();
    for (name, kind, purpose) in NAMES {
        text += &format!("[[domain]]\nname = \"{name}\"\nmatch = \"{kind}\"\npurpose = \"{purpose}\"\n{SOURCE}");
    }
    for (net, purpose) in RANGES {
        text += &format!("[[range]]\ncidr = \"{net}\"\npurpose = \"{purpose}\"\n{SOURCE}");
        text += "asn = 200107\nevidence = \"2026-01-01\"\n";
    }
    let mut builder = RuleSetBuilder::new();
    builder.add_vendor_file(Arc::new(vendor::read("acme.toml", &text).unwrap()), "test").unwrap();
    builder.finish()
}

/// The fixture's policy with this block answer.
pub(crate) fn policy(epoch: u64, answer: BlockAnswer) -> Policy {
    with(epoch, answer, Stage::Block, &[], Sinkhole::default())
}

/// The fixture's policy; `excepted` are names that the operator lets pass.
pub(crate) fn with(epoch: u64, answer: BlockAnswer, stage: Stage, excepted: &[&str], sinkhole: Sinkhole) -> Policy {
    let exception = |name: &&str| Exception {
        groups: Vec::new(),
        name: Some(name.parse().unwrap()),
        net: None,
        clients: Vec::new(),
        reason: "test".to_owned(),
        approver: "test".to_owned(),
        until: None,
    };
    let settings = Settings {
        stages: vec![StageSetting { vendor: "acme".to_owned(), part: None, stage }],
        exceptions: excepted.iter().map(exception).collect(),
        block: BlockSettings { answer, ttl: 60 },
        sinkhole,
        ..Settings::default()
    };
    Policy::new(epoch, rules(), Arc::new(settings), wall())
}

fn wall() -> Wall {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

/// So many seconds after the start.
pub(crate) fn at(seconds: u64) -> Now {
    Now { mono: Mono::from_nanos((1_000 + seconds) * 1_000_000_000), wall: wall() }
}

/// A name for hickory-proto.
pub(crate) fn hickory(name: &str) -> Name {
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    name
}

/// A query with RD, and an OPT where a size is given.
pub(crate) fn query(name: &str, rtype: RecordType, edns: Option<u16>) -> Vec<u8> {
    query_with(name, rtype, edns, |_| ())
}

/// A query that `change` has changed before it is written.
pub(crate) fn query_with(
    name: &str,
    rtype: RecordType,
    edns: Option<u16>,
    change: impl FnOnce(&mut Message),
) -> Vec<u8> {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(hickory(name), rtype));
    if let Some(size) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    change(&mut message);
    message.to_vec().unwrap()
}

/// A query over UDP.
pub(crate) fn udp(message: &[u8]) -> Ask<'_> {
    Ask::new(CLIENT, Transport::Udp, message)
}

/// A query over TCP.
pub(crate) fn tcp(message: &[u8]) -> Ask<'_> {
    Ask { transport: Transport::Tcp, ..udp(message) }
}

/// A record.
pub(crate) fn record(owner: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(hickory(owner), ttl, data)
}

/// An A or AAAA record.
pub(crate) fn address(owner: &str, ttl: u32, address: &str) -> Record {
    let data = match address.parse().unwrap() {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    };
    record(owner, ttl, data)
}

/// A CNAME record.
pub(crate) fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    record(owner, ttl, RData::CNAME(CNAME(hickory(target))))
}

/// An SOA record.
pub(crate) fn soa(owner: &str, ttl: u32, minimum: u32) -> Record {
    record(owner, ttl, RData::SOA(SOA::new(hickory("ns.example"), hickory("admin.example"), 1, 2, 3, 4, minimum)))
}

/// An upstream response.
pub(crate) fn response(
    name: &str,
    rtype: RecordType,
    rcode: ResponseCode,
    answers: &[Record],
    authorities: &[Record],
) -> Message {
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.metadata.response_code = rcode;
    message.add_query(Query::query(hickory(name), rtype));
    message.add_answers(answers.iter().cloned()).add_authorities(authorities.iter().cloned());
    message
}

/// The key of a plain question.
pub(crate) fn key(name: &str, rtype: RecordType) -> CacheKey {
    let name: interdict::base::name::Name = name.parse().unwrap();
    CacheKey::new(name.as_ref(), rtype.into(), 1, false, false)
}

/// An answer with these records that arrived at second 0.
pub(crate) fn stored(name: &str, rtype: RecordType, answers: &[Record]) -> StoredAnswer {
    let octets = response(name, rtype, ResponseCode::NoError, answers, &[]).to_vec().unwrap();
    StoredAnswer::from_upstream(at(0).mono, &key(name, rtype), &octets, &AnswerLimits::default()).unwrap()
}
