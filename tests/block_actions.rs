//! Answers that lists ask for beyond those of the config: silence, TCP only, data of their own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use interdict::base::model::{Decision, Mono, Now, Outcome as Became, Stage};
use interdict::engine::resolver::Cache;
use interdict::engine::resolver::front::{Ask, Outcome, Transport, answer};
use interdict::policy::list::Format;
use interdict::policy::{List, Policy, Reading, RuleSetBuilder, Settings};
use std::sync::Arc;

const ZONE: &str = "\
$TTL 60
@ SOA localhost. root.localhost. 1 3600 600 86400 60
@ NS localhost.
silent.example CNAME rpz-drop.
tcp.example CNAME rpz-tcp-only.
own.example A 192.0.2.7
own.example A 192.0.2.8
";

fn policy(answers: bool) -> Policy {
    let mut builder = RuleSetBuilder::new();
    let list =
        List { id: "z".into(), file: "z".into(), revision: "0".into(), stage: Some(Stage::Block), expires: None };
    let reading = Reading { answers, ..Reading::from(Format::Rpz) };
    builder.add_blocklist(list, reading, &mut ZONE.as_bytes()).unwrap();
    Policy::new(1, Arc::new(builder.finish()), Arc::new(Settings::default()), "2026-01-01T00:00:00Z".parse().unwrap())
}

/// What becomes of a question: the reply if there is one, and the attempt as it is recorded.
fn ask(
    policy: &Policy,
    name: &str,
    qtype: RecordType,
    transport: Transport,
) -> (Option<Message>, Option<(Decision, Became)>) {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(hickory_proto::op::Query::query(Name::from_ascii(name).unwrap(), qtype));
    let message = query.to_vec().unwrap();
    let cache = Cache::new(1 << 20, 1);
    let now = Now { mono: Mono::START, wall: "2026-01-01T00:00:00Z".parse().unwrap() };
    let mut out = vec![0; 4_096];
    let asked = Ask::new("192.168.1.7".parse().unwrap(), transport, &message);
    match answer(now, policy, &cache, &asked, &mut out) {
        Outcome::Answered { len, hit } => {
            let reply = (len > 0).then(|| Message::from_vec(&out[..len]).unwrap());
            (reply, hit.map(|hit| (hit.decision, hit.outcome)))
        }
        Outcome::Miss(miss) => (None, miss.hit.map(|hit| (hit.decision, hit.outcome))),
        Outcome::Drop(why) => panic!("{why}"),
    }
}

#[test]
fn a_block_may_be_silence_and_is_recorded() {
    let (reply, hit) = ask(&policy(false), "silent.example.", RecordType::A, Transport::Udp);
    assert!(reply.is_none());
    assert_eq!(hit, Some((Decision::Block, Became::Blocked)));
}

#[test]
fn what_is_for_tcp_only_is_cut_short_over_udp_and_passes_over_tcp() {
    let policy = policy(false);
    let (reply, hit) = ask(&policy, "tcp.example.", RecordType::A, Transport::Udp);
    let reply = reply.unwrap();
    assert!(reply.metadata.truncation && reply.answers.is_empty());
    assert_eq!(hit, Some((Decision::Block, Became::Blocked)));
    let (reply, hit) = ask(&policy, "tcp.example.", RecordType::A, Transport::Tcp);
    assert!(reply.is_none(), "upstream is asked");
    assert_eq!(hit, Some((Decision::Observe, Became::Observed)));
}

#[test]
fn a_list_answers_with_its_own_addresses_only_where_it_may() {
    let addresses = |reply: &Message| -> Vec<String> {
        let data = reply.answers.iter().map(|record| &record.data);
        data.map(|data| if let RData::A(a) = data { a.to_string() } else { panic!("{data}") }).collect()
    };
    let (reply, _) = ask(&policy(true), "own.example.", RecordType::A, Transport::Udp);
    assert_eq!(addresses(&reply.unwrap()), ["192.0.2.7", "192.0.2.8"]);
    let (reply, _) = ask(&policy(true), "own.example.", RecordType::AAAA, Transport::Udp);
    let reply = reply.unwrap();
    assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::NoError, 0));
    let (reply, _) = ask(&policy(false), "own.example.", RecordType::A, Transport::Udp);
    assert_eq!(addresses(&reply.unwrap()), ["0.0.0.0"]);
}
