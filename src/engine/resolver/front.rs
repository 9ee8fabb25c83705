//! From a query to a reply, a miss or silence. Nothing here allocates; everything that takes time is a [`Miss`].
//!
//! ```text
//! message ─ QueryView::parse ─┬─ no query ─▶ error reply, or silence
//!                             └─ policy.decide ─┬─ block ─▶ block answer, hit
//!                                               └─ cache ─┬─ nothing ─▶ local? ─▶ Miss, hit ─▶ core ─▶ answer_from
//!                                                         └─ judge ─┬─ block ─▶ block answer, hit
//!                                                                   └─ stored answer, hit
//! ```
//! Hits are never said twice: a [`Miss`] carries what the question itself is an attempt at, to be recorded at once, and
//! [`answer_from`] then says only what its answer adds.

use super::block::{self, Blocked};
use super::cache::{Cache, CacheKey};
use super::cookie::Cookies;
use super::judge::{self, Asked, Judged};
use super::local;
use super::stored::StoredAnswer;
use crate::base::model::limits::{MESSAGE_OCTETS_MAX, STREAM_IDLE_S, UDP_OCTETS_MAX};
use crate::base::model::{BlockAnswer, Decision, Now};
use crate::base::wire::dns::{Head, Malformed, QueryView, Rcode, Reply, ReplyOptions, Unanswered, ede, option};
use crate::policy::{Hit, Policy};
use std::net::IpAddr;

/// How a query came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// In a datagram; replies are cut to what the client takes, 1,232 octets at most.
    Udp,
    /// In a stream.
    Tcp,
}

/// A message that came from a client.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Who asks: what policy and ledger know the client by.
    pub client: IpAddr,
    /// How it came.
    pub transport: Transport,
    /// The message.
    pub message: &'a [u8],
    /// What makes cookies, and the address that they go to, which is a forwarder's where one asks for the client.
    pub cookies: Option<(&'a Cookies, IpAddr)>,
}

impl<'a> Ask<'a> {
    /// A message whose sender gets no cookie.
    #[must_use]
    pub const fn new(client: IpAddr, transport: Transport, message: &'a [u8]) -> Self {
        Self { client, transport, message, cookies: None }
    }

    /// Reads the query, and says which options its replies carry.
    fn query(&self, now: Now) -> Result<QueryView<'a>, Malformed<'a>> {
        let mut query = QueryView::parse(self.message)?;
        let cookie = self.cookies.and_then(|(cookies, sender)| {
            let option = query.option(option::COOKIE)?;
            cookies.reply(now.wall, option, sender)
        });
        let is_stream = self.transport == Transport::Tcp;
        let keepalive = (is_stream && query.option(option::KEEPALIVE).is_some()).then_some(STREAM_IDLE_S * 10);
        query.set_reply_options(ReplyOptions { cookie, keepalive });
        Ok(query)
    }

    /// Whether the query brings a cookie that its sender got at its own address: then the address is not forged.
    #[must_use]
    pub fn is_proven(&self, now: Now) -> bool {
        let Some((cookies, sender)) = self.cookies else { return false };
        let option = QueryView::parse(self.message).ok().and_then(|query| query.option(option::COOKIE));
        option.is_some_and(|option| cookies.knows(now.wall, option, sender))
    }
}

/// What becomes of a message.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "it lives on the worker's stack for one query; a box would allocate")]
pub enum Outcome {
    /// The first `len` octets of the buffer are the reply.
    Answered {
        /// Octets of the reply; 0 where a block is silence.
        len: usize,
        /// The attempt to record, if it was one.
        hit: Option<Hit>,
    },
    /// Upstream has to be asked.
    Miss(Miss),
    /// There is no reply.
    Drop(DropReason),
}

/// A question that neither policy nor cache answers.
#[derive(Clone, Debug)]
pub struct Miss {
    /// The question.
    pub key: CacheKey,
    /// The attempt that the question itself is, if it is one; to be recorded whatever upstream says.
    pub hit: Option<Hit>,
}

/// Why a message gets no reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum DropReason {
    /// It is not to be answered.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// The buffer is smaller than the smallest reply.
    #[error("the reply's question does not fit into the buffer")]
    NoRoom,
}

/// Why upstream gave no answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Failure {
    /// Too many questions are in flight.
    Overloaded,
    /// No server answered in time.
    Timeout,
    /// No server can be reached.
    Unreachable,
    /// No server gave an answer that could be used.
    Invalid,
}

impl Failure {
    /// Extended error and text.
    pub(super) const fn ede(self) -> (u16, &'static str) {
        match self {
            Self::Overloaded => (0, "too many questions in flight"),
            Self::Timeout => (ede::NO_REACHABLE_AUTHORITY, "no upstream answered in time"),
            Self::Unreachable => (ede::NETWORK_ERROR, "no upstream can be reached"),
            Self::Invalid => (ede::NO_REACHABLE_AUTHORITY, "no upstream gave a usable answer"),
        }
    }
}

/// Answers a message from policy and cache, into `out`. No allocation.
pub fn answer(now: Now, policy: &Policy, cache: &Cache, ask: &Ask<'_>, out: &mut [u8]) -> Outcome {
    let query = match ask.query(now) {
        Ok(query) => query,
        Err(malformed) => return refuse(&malformed, ask, out),
    };
    let policy = policy.of(ask.client);
    let asked = judged(policy, &query, ask);
    if asked.verdict.decision == Decision::Block {
        return blocked(policy, &asked, &query, ask, out);
    }
    let key = CacheKey::from(&query);
    let stored = cache.get(now.mono, &key);
    // What was found clean under this policy came from upstream under it, or is no name that is answered here.
    if !stored.as_ref().is_some_and(|stored| stored.is_clean(policy.epoch())) {
        let limit = limit(&query, ask.transport);
        if let Some(len) = local::answer(policy, &asked, &query, limit, out) {
            let Some(len) = len else { return Outcome::Drop(DropReason::NoRoom) };
            return Outcome::Answered { len, hit: asked.hit() };
        }
    }
    let Some(stored) = stored else {
        return Outcome::Miss(Miss { key, hit: asked.hit() });
    };
    match serve(now, policy, &stored, (&asked, &query, ask), out) {
        // A block of the answer outweighs what the question was; else the question speaks first.
        Outcome::Answered { len, hit } if hit.as_ref().is_none_or(|hit| hit.decision != Decision::Block) => {
            Outcome::Answered { len, hit: asked.hit().or(hit) }
        }
        outcome => outcome,
    }
}

/// Answers a message from an answer that has just come from upstream and perhaps may not be cached. It is judged under
/// `policy`, and so is the question, since the policy may have changed on the way. No allocation.
pub fn answer_from(now: Now, policy: &Policy, stored: &StoredAnswer, ask: &Ask<'_>, out: &mut [u8]) -> Outcome {
    let query = match ask.query(now) {
        Ok(query) => query,
        Err(malformed) => return refuse(&malformed, ask, out),
    };
    let policy = policy.of(ask.client);
    let asked = judged(policy, &query, ask);
    if asked.verdict.decision == Decision::Block {
        return blocked(policy, &asked, &query, ask, out);
    }
    serve(now, policy, stored, (&asked, &query, ask), out)
}

/// Answers a message with SERVFAIL and the reason as an extended error; gives the reply's length, 0 if there is none to give.
pub fn fail(now: Now, ask: &Ask<'_>, failure: Failure, out: &mut [u8]) -> usize {
    let query = match ask.query(now) {
        Ok(query) => query,
        Err(malformed) => return length(&refuse(&malformed, ask, out)),
    };
    let limit = limit(&query, ask.transport);
    let Some(reply) = Reply::new(out, limit, &Head::from(&query)) else { return 0 };
    let (code, text) = failure.ede();
    let mut option = [0; ede::OPTION_OCTETS_MAX];
    reply.finish(Rcode::SERVFAIL, ede::write(code, text, &mut option))
}

/// Answers a message with no more than that the answer is to be asked for over TCP, where nobody can forge an address; gives
/// the reply's length, 0 if there is none to give.
pub fn truncate(now: Now, ask: &Ask<'_>, out: &mut [u8]) -> usize {
    let query = match ask.query(now) {
        Ok(query) => query,
        Err(malformed) => return length(&refuse(&malformed, ask, out)),
    };
    let Some(mut reply) = Reply::new(out, limit(&query, ask.transport), &Head::from(&query)) else { return 0 };
    reply.truncate();
    reply.finish(Rcode::NOERROR, &[])
}

/// Octets of the reply, if there is one.
const fn length(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Answered { len, .. } => *len,
        Outcome::Miss(_) | Outcome::Drop(_) => 0,
    }
}

/// The reply to what is no query, or none.
fn refuse(malformed: &Malformed<'_>, ask: &Ask<'_>, out: &mut [u8]) -> Outcome {
    let fault = match malformed {
        Malformed::Unanswered(why) => return Outcome::Drop((*why).into()),
        Malformed::Fault(fault) => fault,
    };
    let octets = fault.edns.map_or(512, |edns| usize::from(edns.udp_octets));
    let limit = if ask.transport == Transport::Udp { octets.min(UDP_OCTETS_MAX) } else { MESSAGE_OCTETS_MAX };
    match Reply::new(out, limit, &Head::from(fault)) {
        Some(reply) => Outcome::Answered { len: reply.finish(fault.rcode, &[]), hit: None },
        None => Outcome::Drop(DropReason::NoRoom),
    }
}

/// The question with its verdict. What is blocked over UDP only passes over TCP, and is observed there.
fn judged<'a>(policy: &Policy, query: &'a QueryView<'_>, ask: &Ask<'_>) -> Asked<'a> {
    let mut asked = Asked::new(policy, query.name(), query.qtype(), ask.client);
    let verdict = &mut asked.verdict;
    if ask.transport == Transport::Tcp && verdict.decision == Decision::Block && verdict.answer == BlockAnswer::TcpOnly
    {
        verdict.decision = Decision::Observe;
    }
    asked
}

/// The reply to a question that a rule blocks.
fn blocked(policy: &Policy, asked: &Asked<'_>, query: &QueryView<'_>, ask: &Ask<'_>, out: &mut [u8]) -> Outcome {
    let limit = limit(query, ask.transport);
    match block::answer(policy, &asked.verdict, (Blocked::Name, ask.client), query, limit, out) {
        Some(len) => Outcome::Answered { len, hit: asked.hit() },
        None => Outcome::Drop(DropReason::NoRoom),
    }
}

/// The reply from a stored answer, once it is judged; the hit is what the answer adds to the question's.
fn serve(
    now: Now,
    policy: &Policy,
    stored: &StoredAnswer,
    (asked, query, ask): (&Asked<'_>, &QueryView<'_>, &Ask<'_>),
    out: &mut [u8],
) -> Outcome {
    let limit = limit(query, ask.transport);
    let (len, hit) = match judge::answer(policy, stored, asked) {
        Judged::Pass { hit, listed } => (stored.write(now.mono, query, listed, limit, out), hit),
        Judged::Block { verdict, hit } => {
            (block::answer(policy, &verdict, (Blocked::Target, ask.client), query, limit, out), hit)
        }
        Judged::Withheld => (local::withheld(policy, query, limit, out), None),
    };
    len.map_or(Outcome::Drop(DropReason::NoRoom), |len| Outcome::Answered { len, hit })
}

/// Octets that a reply may have.
fn limit(query: &QueryView<'_>, transport: Transport) -> usize {
    match transport {
        Transport::Udp => query.udp_octets().min(UDP_OCTETS_MAX),
        Transport::Tcp => MESSAGE_OCTETS_MAX,
    }
}
