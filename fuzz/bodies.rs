//! What each fuzz target does with its bytes. `tests/fuzz_corpus.rs` runs the same over the committed corpus and over bent
//! copies of it, with every `cargo test`.

use interdict::base::model::{Mono, Stage, Wall};
use interdict::base::name::{Match, Name, NameRef};
use interdict::base::wire::dns::{AnswerView, Head, Malformed, QueryView, Rcode, Reply};
use interdict::engine::resolver::core::{Core, CoreSettings, Counters, QUERIES_MAX, Waiter};
use interdict::engine::resolver::{AnswerLimits, Cache, CacheKey, StoredAnswer, Transport};
use interdict::policy::gate::Gate;
use interdict::policy::list::{Format, vendor};
use interdict::policy::{Included, List, Policy, Reading, RuleSetBuilder, Settings, Subject, What};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

/// A message from a client: it is refused, or what is read of it makes a reply that reads back.
pub(crate) fn dns_query(data: &[u8]) {
    let mut out = [0; 1232];
    match QueryView::parse(data) {
        Ok(query) => {
            assert!(NameRef::from_wire(query.name().as_wire()).is_ok());
            let reply = Reply::new(&mut out, 1232, &Head::from(&query)).map(|reply| reply.finish(Rcode::NOERROR, &[]));
            let len = reply.expect("a question fits into 1,232 octets");
            let back = AnswerView::parse(out.get(..len).unwrap_or_default()).expect("our own reply");
            assert_eq!((back.name(), back.qtype(), back.qclass()), (query.name(), query.qtype(), query.qclass()));
            assert_eq!((back.header().id, back.question()), (query.header().id, query.question()));
        }
        Err(Malformed::Fault(fault)) => {
            assert_ne!(fault.rcode, Rcode::NOERROR);
            assert!(Reply::new(&mut out, 1232, &Head::from(&fault)).is_some());
        }
        Err(Malformed::Unanswered(_)) => {}
    }
}

/// A message from upstream: it is refused, or what is stored of it reads back whole.
pub(crate) fn dns_answer(data: &[u8]) {
    let Ok(view) = AnswerView::parse(data) else { return };
    for record in view.records().flatten() {
        let _ = (record.owner(), record.check());
    }
    let key = CacheKey::new(view.name(), view.qtype(), view.qclass(), data.len().is_multiple_of(2), false);
    let Ok(stored) = StoredAnswer::from_upstream(Mono::START, &key, data, &AnswerLimits::default()) else { return };
    let back = AnswerView::parse(stored.octets()).expect("our own message");
    assert_eq!((back.name(), back.question()), (view.name(), view.question()));
    for record in back.records() {
        let record = record.expect("our own record");
        assert!(record.owner().is_ok() && record.check().is_ok());
    }
}

/// A message on an exchange, under its id and with its question where the first octet says so: whatever it is, the client gets one
/// reply, to its own question.
pub(crate) fn upstream(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let name: Name = "www.example.org".parse().expect("a name");
    let key = CacheKey::new(name.as_ref(), 1, 1, choice & 4 != 0, false);
    let cache = Arc::new(Cache::new(1 << 16, 1));
    let settings = CoreSettings::new(vec![([192, 0, 2, 1], 53).into()]);
    let mut core = Core::new(&settings, Arc::clone(&cache), Arc::new(Counters::default()), [7; 32]);
    let client = IpAddr::from([192, 0, 2, 9]);
    let mut now = Mono::from_nanos(1);
    core.handle_miss(now, &key, Waiter { client, transport: Transport::Udp, message: Box::default(), token: () });
    let (mut replies, mut sent) = (0, 0);
    loop {
        while let Some(query) = core.poll_transmit() {
            sent += 1;
            let question = query.message.get(12..33).expect("a question of 21 octets");
            let message = match rest.split_at_checked(12) {
                Some((header, records)) if choice & 1 != 0 => {
                    let id = if choice & 2 != 0 { query.message.get(..2) } else { header.get(..2) };
                    [id.expect("an id"), header.get(2..).expect("a header"), question, records].concat()
                }
                _ => rest.to_vec(),
            };
            core.handle_response(now, query.exchange, &message);
        }
        while core.poll_close().is_some() {}
        while let Some(reply) = core.poll_reply() {
            replies += 1;
            if let Ok(stored) = reply.result {
                let view = AnswerView::parse(stored.octets()).expect("our own message");
                assert_eq!((view.name(), view.qtype()), (key.name(), key.qtype()));
            }
        }
        let Some((wake, _)) = core.poll_timeout() else { break };
        now = now.max(wake);
        core.handle_timeout(now);
    }
    assert_eq!((replies, core.is_idle()), (1, true));
    assert!(sent <= QUERIES_MAX);
    if let Some(kept) = cache.get(now, &key) {
        assert!(AnswerView::parse(kept.octets()).is_ok_and(|view| view.name() == key.name()));
    }
}

/// A vendor file: it is refused with sentences, or read.
pub(crate) fn vendor_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = vendor::read("fuzz.toml", text) {
        assert!(!error.to_string().is_empty());
    }
}

/// A list in the format that the first octet chooses, by its place among all: it is refused with a sentence, or every rule has
/// its place, is judged by the gate, and decides about its own name.
pub(crate) fn list(data: &[u8]) {
    let Some((&choice, text)) = data.split_first() else { return };
    let format = Format::ALL.get(usize::from(choice & 0x7f) % Format::ALL.len()).copied();
    let file = |id: &str| List {
        id: id.into(),
        file: id.into(),
        revision: "r".into(),
        stage: Some(Stage::Block),
        expires: None,
    };
    let mut builder = RuleSetBuilder::new();
    // `a` is the list itself once more, `b` the same without its includes, and no other is there.
    let without = || text.split_inclusive(|octet| *octet == b'\n').filter(|line| !line.starts_with(b"include:"));
    let mut include = |name: &str| {
        let text = match name {
            "a" => text.to_vec(),
            "b" => without().flatten().copied().collect(),
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Included { file: name.to_owned(), revision: "r".to_owned(), text: Box::new(io::Cursor::new(text)) })
    };
    let reading = Reading { format, answers: choice & 0x80 != 0, include: Some(&mut include), keeps_all: false };
    let report = match builder.add_blocklist(file("fuzz"), reading, &mut &*text) {
        Err(refusal) => return assert!(!refusal.to_string().is_empty()),
        Ok((_, report)) => report,
    };
    assert!(report.shown.len() <= report.bad && report.duplicates <= report.rules);
    let rules = Arc::new(builder.finish());
    assert_eq!(rules.rules().count(), rules.len());
    let _ = Gate::default().judge(&rules, "fuzz", &report, None);
    let policy = Policy::new(1, Arc::clone(&rules), Arc::new(Settings::default()), Wall::UNIX_EPOCH);
    let client: Option<IpAddr> = "10.0.0.5".parse().ok();
    let decide = |name: Option<&Name>, address| {
        let name = name.map(Name::as_ref);
        let subject = Subject { name, address, client, qtype: Some(1), port: None };
        assert_eq!(policy.explain(&subject).verdict, policy.decide(&subject));
    };
    for rule in rules.rules().take(64) {
        let facts = policy.facts(rule.id).expect("a rule of this set");
        assert!(facts.place.ends_with(&format!(":{}", rule.line)) && !facts.pattern.is_empty());
        match rule.what {
            What::Name(name, kind) => {
                decide(Some(&name.to_name()), None);
                assert!(kind == Match::Wildcard || policy.covers_name(name));
            }
            What::Range(net) => decide(None, Some(net.addr())),
            What::Apart(_) => decide("ads1.x.example".parse().ok().as_ref(), client),
        }
    }
}
