//! What each fuzz target does with its bytes. `tests/fuzz_corpus.rs` runs the same over the committed corpus and over bent
//! copies of it, with every `cargo test`.

use interdict::base::model::Mono;
use interdict::base::name::NameRef;
use interdict::base::wire::dns::{AnswerView, Head, Malformed, QueryView, Rcode, Reply};
use interdict::engine::resolver::{AnswerLimits, CacheKey, StoredAnswer};
use interdict::policy::list::vendor;

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

/// A vendor file: it is refused with sentences, or read.
pub(crate) fn vendor_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = vendor::read("fuzz.toml", text) {
        assert!(!error.to_string().is_empty());
    }
}
