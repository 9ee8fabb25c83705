//! Where the aliases of an answer lead, and answers of which one begins where the other ends.
//!
//! A server that answers for its own zone alone says where an alias leads and no more. Clients do not ask on, so `core` does: of the
//! name that was reached, and puts the answers together.

use super::cache::CacheKey;
use super::stored::{AnswerError, StoredAnswer};
use crate::base::name::NameBuf;
use crate::base::wire::dns::{AnswerFault, AnswerView, Composer, Flags, Rcode, Record, Section, class, rtype};
use std::sync::Arc;

/// The names that an answer leads through, the question's first.
pub(super) fn chain(key: &CacheKey, records: &[Record<'_>], links_max: usize) -> Result<Vec<NameBuf>, AnswerError> {
    let mut names = vec![NameBuf::from(key.name())];
    if matches!(key.qtype(), rtype::CNAME | rtype::ANY) {
        return Ok(names);
    }
    while let Some(next) = step(names.last(), records)? {
        if names.iter().any(|name| name.as_ref() == next.as_ref()) {
            break;
        }
        if names.len() > links_max {
            return Err(AnswerError::Chain);
        }
        names.push(next);
    }
    Ok(names)
}

/// Where the records lead from a name: by its CNAME, else by a DNAME above it.
fn step(from: Option<&NameBuf>, records: &[Record<'_>]) -> Result<Option<NameBuf>, AnswerError> {
    let Some(from) = from.map(NameBuf::as_ref) else { return Ok(None) };
    let mut by_dname = None;
    for record in records.iter().filter(|record| record.section == Section::Answer && record.class == class::IN) {
        let Some(target) = record.target()? else { continue };
        let owner = record.owner().map_err(AnswerFault::from)?;
        if record.rtype == rtype::CNAME && owner.as_ref() == from {
            return Ok(Some(target));
        }
        if record.rtype == rtype::DNAME && owner.as_ref() != from && from.is_at_or_below(owner.as_ref()) {
            let kept = from.label_count() - owner.as_ref().label_count();
            let mut name = NameBuf::new();
            let labels = from.labels().take(kept).chain(target.as_ref().labels());
            // A name that grows too long leads nowhere (RFC 6672 §2.2).
            by_dname = labels.map(|label| name.push_label(label)).all(|pushed| pushed.is_ok()).then_some(name);
        }
    }
    Ok(by_dname)
}

/// The question that is left where an answer to `key` leads to a name and says nothing about it.
pub(super) fn left(key: &CacheKey, answer: &StoredAnswer) -> Option<CacheKey> {
    if answer.rcode() != Rcode::NOERROR || answer.ttl() > 0 {
        return None;
    }
    let view = AnswerView::parse(answer.octets()).ok()?;
    let records: Vec<_> = view.records().collect::<Result<_, _>>().ok()?;
    if records.iter().any(|record| record.section == Section::Authority && record.rtype == rtype::SOA) {
        return None;
    }
    let names = chain(key, &records, records.len()).ok()?;
    let end = names.last().filter(|_| names.len() > 1)?;
    // What has a record at its end has an answer, or leads back to where it was.
    let said = records.iter().any(|record| record.owner().is_ok_and(|owner| owner.as_ref() == end.as_ref()));
    (!said).then(|| CacheKey::new(end.as_ref(), key.qtype(), key.qclass(), key.dnssec_ok(), key.cd()))
}

/// One response to `key` of answers of which each begins where the one before it ends.
pub(super) fn join(key: &CacheKey, parts: &[Arc<StoredAnswer>]) -> Result<Vec<u8>, AnswerError> {
    let numbers = [key.qtype().to_be_bytes(), key.qclass().to_be_bytes()].concat();
    let expected = parts.iter().map(|part| part.octets().len()).sum();
    let mut composer = Composer::new(&[key.name().as_wire(), &numbers].concat(), expected);
    let (mut rcode, mut authentic) = (Rcode::NOERROR, Flags::AUTHENTIC);
    for section in [Section::Answer, Section::Authority] {
        for (at, part) in parts.iter().enumerate() {
            let view = AnswerView::parse(part.octets())?;
            (rcode, authentic) = (part.rcode(), authentic & view.header().flags.keep(Flags::AUTHENTIC));
            // Only the last one says why there is no more.
            let wanted = section == Section::Answer || at + 1 == parts.len();
            for record in view.records() {
                let record = record?;
                if wanted && record.section == section {
                    composer.record(&record, record.ttl)?;
                }
            }
        }
    }
    let (octets, _) = composer.finish(rcode, authentic);
    Ok(octets)
}
