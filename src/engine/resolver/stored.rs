//! An upstream answer in the form in which it is kept and served.
//!
//! Of what upstream sent, only what answers the question stays: in the answer section the records of the question's name and of
//! the names that its CNAMEs and DNAMEs lead to; in the authority section the SOA of a negative answer and, where the client
//! wants DNSSEC, signatures and proofs. Everything else — the additional section, glue, name servers, OPT, records of other
//! names — is neither kept nor served. Names are compressed anew, so nothing that was left out is pointed to.
//!
//! Where a service binding carries an ECH configuration, a second form without it is kept: which of the two a client gets is the
//! policy's to say, and policies change while answers stay.

use super::alias;
use super::cache::CacheKey;
use super::error;
use super::front::Failure;
use crate::base::model::Mono;
use crate::base::model::limits::CHAIN_LINKS_MAX;
use crate::base::name::NameBuf;
use crate::base::wire::Reader;
use crate::base::wire::dns::{
    AnswerFault, AnswerView, ComposeError, Composer, Flags, HEADER_OCTETS, Head, Header, QueryView, Rcode, Record,
    Reply, Section, class, ede, rtype,
};
use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds that an expired answer is served with (RFC 8767 §4).
const STALE_TTL: u32 = 30;

/// Bounds of stored answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnswerLimits {
    /// Records of all sections of an upstream response.
    pub records_max: u16,
    /// Aliases that are followed in one answer.
    pub links_max: usize,
    /// Seconds that an answer is kept at least.
    pub ttl_min: u32,
    /// Seconds that an answer is kept at most.
    pub ttl_max: u32,
    /// Seconds that absence is believed at most (RFC 2308 §5).
    pub negative_ttl_max: u32,
    /// Seconds that a failure is kept: an upstream's SERVFAIL, or that no upstream answers (RFC 9520).
    pub failure_ttl: u32,
}

impl Default for AnswerLimits {
    fn default() -> Self {
        Self {
            records_max: 256,
            links_max: CHAIN_LINKS_MAX,
            ttl_min: 0,
            ttl_max: 86_400,
            negative_ttl_max: 3_600,
            failure_ttl: 5,
        }
    }
}

/// Why an upstream response is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnswerError {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] AnswerFault),
    /// It answers another question.
    #[error("the response answers another question")]
    Question,
    /// It was cut short; to be asked again over TCP.
    #[error("the response was cut short")]
    Truncated,
    /// It has a response code that only its OPT spells, which speaks of our query and not of the name.
    #[error("the response has the extended code {0}")]
    ExtendedRcode(Rcode),
    /// It has more records than are taken.
    #[error("the response has {0} records")]
    TooManyRecords(usize),
    /// Its aliases lead further than is followed.
    #[error("the response leads through more aliases than are followed")]
    Chain,
    /// What is left of it cannot be written.
    #[error(transparent)]
    Compose(#[from] ComposeError),
}

impl AnswerError {
    /// Whether the response cannot be read, so that nobody can say who made it.
    pub(super) const fn is_unreadable(self) -> bool {
        matches!(self, Self::Malformed(_) | Self::Question | Self::Compose(_))
    }
}

/// An upstream answer, ready to be judged and served.
#[derive(Debug)]
pub struct StoredAnswer {
    form: Form,
    /// The same without ECH configurations, where there is one.
    bare: Option<Form>,
    /// Where the records start: as far into every reply to the same question.
    records_at: usize,
    arrived: Mono,
    ttl: u32,
    rcode: Rcode,
    authentic: bool,
    /// What went wrong, in upstream's words or ours, as a whole option.
    error: Option<Box<[u8]>>,
    /// The epoch under which nothing in it was listed; 0 is none.
    clean: AtomicU64,
}

#[derive(Debug)]
struct Form {
    octets: Box<[u8]>,
    ttls_at: Box<[u16]>,
}

impl StoredAnswer {
    /// Reads an upstream response to the question of `key`.
    ///
    /// # Errors
    /// It cannot be used; upstream is to be asked again, or another one.
    pub fn from_upstream(
        now: Mono,
        key: &CacheKey,
        message: &[u8],
        limits: &AnswerLimits,
    ) -> Result<Self, AnswerError> {
        let view = AnswerView::parse(message)?;
        if view.name() != key.name() || view.qtype() != key.qtype() || view.qclass() != key.qclass() {
            return Err(AnswerError::Question);
        }
        let header = view.header();
        if header.flags.has(Flags::TRUNCATED) {
            return Err(AnswerError::Truncated);
        }
        let count = [header.answers, header.authorities, header.additionals].map(usize::from).iter().sum();
        if count > usize::from(limits.records_max) {
            return Err(AnswerError::TooManyRecords(count));
        }
        // As long as it will be: how many there are is known, but not to an iterator that ends at what cannot be read.
        let mut records = Vec::with_capacity(count);
        for record in view.records() {
            records.push(record?);
        }
        let rcode = response_code(header.flags, &records)?;
        let (kept, ttl) = keep(key, rcode, &records, limits)?;
        let flags = header.flags.keep(Flags::AUTHENTIC);
        let about = (view.question(), message.len());
        let form = compose(about, rcode, flags, &kept, false)?;
        let hides =
            |(record, _): &(&Record<'_>, u32)| record.svcb().is_ok_and(|svcb| svcb.is_some_and(|s| s.has_ech()));
        let bare = kept.iter().any(hides).then(|| compose(about, rcode, 0, &kept, true)).transpose()?;
        Ok(Self {
            form,
            bare,
            records_at: view.records_at(),
            arrived: now,
            ttl,
            rcode,
            authentic: flags != 0,
            error: error::of(&records)?,
            clean: AtomicU64::new(0),
        })
    }

    /// What is kept and said where no upstream had an answer (RFC 9520).
    #[must_use]
    pub fn failed(now: Mono, key: &CacheKey, failure: Failure, limits: &AnswerLimits) -> Self {
        let numbers = [key.qtype().to_be_bytes(), key.qclass().to_be_bytes()].concat();
        let question = [key.name().as_wire(), &numbers].concat();
        let (octets, ttls_at) = Composer::new(&question, 0).finish(Rcode::SERVFAIL, 0);
        Self {
            form: Form { octets: octets.into(), ttls_at: ttls_at.into() },
            bare: None,
            records_at: HEADER_OCTETS + question.len(),
            arrived: now,
            ttl: limits.failure_ttl,
            rcode: Rcode::SERVFAIL,
            authentic: false,
            error: Some(error::option(ede::CACHED_ERROR, failure.ede().1.as_bytes())),
            clean: AtomicU64::new(0),
        }
    }

    /// The same, with what went wrong with another, which it ends with.
    pub(super) fn with_error_of(mut self, other: &Self) -> Self {
        self.error.clone_from(&other.error);
        self
    }

    /// Whether it says that there is no answer, rather than one: SERVFAIL, REFUSED and the like.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        !matches!(self.rcode, Rcode::NOERROR | Rcode::NXDOMAIN | Rcode::YXDOMAIN)
    }

    /// Whether upstream said that the data is there and failed validation.
    #[must_use]
    pub fn is_bogus(&self) -> bool {
        self.is_failure() && self.error.as_deref().and_then(error::code).is_some_and(error::is_bogus)
    }

    /// Seconds from its arrival that it may be served from the cache; 0 is not at all.
    #[must_use]
    pub const fn ttl(&self) -> u32 {
        self.ttl
    }

    /// The response code.
    #[must_use]
    pub const fn rcode(&self) -> Rcode {
        self.rcode
    }

    /// Octets that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let forms = [Some(&self.form), self.bare.as_ref()];
        let held = |form: &Form| form.octets.len() + size_of_val(&*form.ttls_at);
        let error = self.error.as_ref().map_or(0, |error| error.len());
        size_of::<Self>() + error + forms.into_iter().flatten().map(held).sum::<usize>()
    }

    /// Whether it has not expired.
    #[must_use]
    pub const fn is_fresh(&self, now: Mono) -> bool {
        now.since(self.arrived).as_secs() < self.ttl as u64
    }

    /// Whether it has expired, but not longer ago than `stale_max` seconds.
    #[must_use]
    pub const fn is_stale(&self, now: Mono, stale_max: u32) -> bool {
        let age = now.since(self.arrived).as_secs();
        self.ttl > 0 && age >= self.ttl as u64 && age < self.ttl as u64 + stale_max as u64
    }

    /// Whether it is in the last tenth of its life.
    #[must_use]
    pub fn is_ageing(&self, now: Mono) -> bool {
        now.since(self.arrived).as_millis() >= u128::from(self.ttl) * 900
    }

    /// The stored message.
    #[must_use]
    pub const fn octets(&self) -> &[u8] {
        &self.form.octets
    }

    /// Whether nothing in it was listed under this epoch, for any client.
    pub(super) fn is_clean(&self, epoch: u64) -> bool {
        self.clean.load(Ordering::Relaxed) == epoch
    }

    /// Notes that nothing in it is listed under this epoch, for any client.
    pub(super) fn mark_clean(&self, epoch: u64) {
        self.clean.store(epoch, Ordering::Relaxed);
    }

    /// Writes it as the reply to a query of the same question, at most `limit` octets long; `None` where not even the question
    /// fits. `listed` leaves ECH configurations out.
    pub(super) fn write(
        &self,
        now: Mono,
        query: &QueryView<'_>,
        listed: bool,
        limit: usize,
        out: &mut [u8],
    ) -> Option<usize> {
        let bare = self.bare.as_ref().filter(|_| listed);
        let form = bare.unwrap_or(&self.form);
        let mut reply = Reply::new(out, limit, &Head::from(query))?;
        if self.authentic && bare.is_none() && query.wants_authentic() {
            reply.set_authentic();
        }
        let records = form.octets.get(self.records_at..)?;
        let same_place = query.question().len() + HEADER_OCTETS == self.records_at;
        let counts = Header::read(&mut Reader::new(&form.octets)).ok()?;
        match reply.sections(&counts, records).filter(|_| same_place) {
            Some(written) => {
                let age = u32::try_from(now.since(self.arrived).as_secs()).unwrap_or(u32::MAX);
                let stale = self.is_stale(now, u32::MAX).then_some(STALE_TTL);
                for &at in &form.ttls_at {
                    grow_old(written, usize::from(at) - self.records_at, age, stale);
                }
            }
            None => reply.truncate(),
        }
        let stale = if self.rcode == Rcode::NXDOMAIN { &error::STALE_NXDOMAIN } else { &error::STALE };
        let error = if self.is_stale(now, u32::MAX) { stale } else { self.error.as_deref().unwrap_or_default() };
        Some(reply.finish(self.rcode, error))
    }
}

/// Takes `age` seconds off the time to live at `at`, or puts another in its place.
fn grow_old(octets: &mut [u8], at: usize, age: u32, instead: Option<u32>) {
    if let Some(ttl) = octets.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *ttl = instead.unwrap_or_else(|| u32::from_be_bytes(*ttl).saturating_sub(age)).to_be_bytes();
    }
}

/// The response code, if the header alone spells it.
fn response_code(flags: Flags, records: &[Record<'_>]) -> Result<Rcode, AnswerError> {
    let opt = records.iter().find(|record| record.section == Section::Additional && record.rtype == rtype::OPT);
    let high = opt.map_or(0, |opt| opt.ttl >> 24);
    let low = flags.rcode();
    if high == 0 {
        return Ok(low);
    }
    Err(AnswerError::ExtendedRcode(Rcode(u16::try_from(high << 4).unwrap_or_default() | low.0)))
}

/// The records to keep, each with the time to live to keep it with, and the answer's own.
type Kept<'r, 'a> = (Vec<(&'r Record<'a>, u32)>, u32);

fn keep<'r, 'a>(
    key: &CacheKey,
    rcode: Rcode,
    records: &'r [Record<'a>],
    limits: &AnswerLimits,
) -> Result<Kept<'r, 'a>, AnswerError> {
    if rcode == Rcode::SERVFAIL {
        return Ok((Vec::new(), limits.failure_ttl));
    }
    let chain = alias::chain(key, records, limits.links_max)?;
    let mut kept = Vec::new();
    let mut answered = false;
    let mut absent = None;
    for record in records {
        let owner = record.owner().map_err(AnswerFault::from)?;
        let stays = match record.section {
            Section::Answer => answers(key, &chain, record, &owner)?,
            Section::Authority if record.rtype == rtype::SOA => {
                let above = chain.last().is_some_and(|last| last.as_ref().is_at_or_below(owner.as_ref()));
                !answered && absent.is_none() && above && record.class == class::IN
            }
            Section::Authority => key.dnssec_ok() && proves(record)?,
            Section::Additional => false,
        };
        if !stays {
            continue;
        }
        record.check()?;
        // A time to live with the highest bit set means 0 (RFC 2181 §8).
        let mut ttl = if record.ttl > u32::MAX / 2 { 0 } else { record.ttl.min(limits.ttl_max) };
        if record.section == Section::Answer {
            ttl = ttl.max(limits.ttl_min);
        }
        answered |= record.section == Section::Answer
            && (record.rtype == key.qtype() || key.qtype() == rtype::ANY)
            && rcode == Rcode::NOERROR;
        if let Some(minimum) = record.soa_minimum()?.filter(|_| record.section == Section::Authority) {
            ttl = ttl.min(minimum).min(limits.negative_ttl_max);
            absent = Some(ttl);
        }
        kept.push((record, ttl));
    }
    let negative = matches!(rcode, Rcode::NOERROR | Rcode::NXDOMAIN).then_some(absent).flatten();
    let all = kept.iter().map(|&(_, ttl)| ttl).min();
    let ttl = if answered || negative.is_some() { all.unwrap_or_default() } else { 0 };
    Ok((kept, ttl))
}

/// Whether a record of the answer section belongs to the answer.
fn answers(key: &CacheKey, chain: &[NameBuf], record: &Record<'_>, owner: &NameBuf) -> Result<bool, AnswerError> {
    let of_chain = chain.iter().any(|name| name.as_ref() == owner.as_ref());
    let above_chain = chain.iter().any(|name| name.as_ref().is_at_or_below(owner.as_ref()));
    let (rtype, signature) = match record.signed_type()? {
        Some(signed) if key.qtype() != rtype::RRSIG => (signed, true),
        _ => (record.rtype, false),
    };
    let asked = rtype == key.qtype() || key.qtype() == rtype::ANY;
    let fits = match rtype {
        rtype::DNAME => above_chain && (asked || !of_chain),
        rtype::CNAME => of_chain,
        _ => of_chain && asked,
    };
    let wanted = !signature || key.dnssec_ok() || key.qtype() == rtype::ANY;
    Ok(record.class == class::IN && fits && wanted)
}

/// Whether a record of the authority section is part of a DNSSEC proof of absence.
fn proves(record: &Record<'_>) -> Result<bool, AnswerError> {
    let rtype = record.signed_type()?.unwrap_or(record.rtype);
    let signature = record.rtype == rtype::RRSIG;
    Ok(matches!(rtype, rtype::NSEC | rtype::NSEC3) || (signature && rtype == rtype::SOA))
}

/// Writes the kept records; `bare` without ECH configurations, and without what signs or demands them.
fn compose(
    (question, expected): (&[u8], usize),
    rcode: Rcode,
    flags: u16,
    kept: &[(&Record<'_>, u32)],
    bare: bool,
) -> Result<Form, AnswerError> {
    let mut composer = Composer::new(question, expected);
    for &(record, ttl) in kept {
        let svcb = if bare { record.svcb()? } else { None };
        let signs_svcb = bare && matches!(record.signed_type()?, Some(rtype::SVCB | rtype::HTTPS));
        match svcb {
            Some(svcb) if svcb.demands_ech() => {}
            Some(svcb) if svcb.has_ech() => composer.record_with(record, ttl, &svcb.without_ech())?,
            _ if signs_svcb => {}
            _ => composer.record(record, ttl)?,
        }
    }
    let (octets, ttls_at) = composer.finish(rcode, flags);
    Ok(Form { octets: octets.into(), ttls_at: ttls_at.into() })
}
