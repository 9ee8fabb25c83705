//! One question in flight: who waits for it, what has been tried, and the exchanges that may still bring its answer.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Failure;
use super::server::Tries;
use crate::base::model::Mono;
use crate::engine::resolver::{CacheKey, StoredAnswer, Transport};

/// A client that waits for an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiter<T> {
    /// Who asked.
    pub client: IpAddr,
    /// How; decides the size of the answer.
    pub transport: Transport,
    /// The query as it came.
    pub message: Box<[u8]>,
    /// The driver's reply path, opaque here.
    pub token: T,
}

/// What a waiter gets.
#[derive(Debug)]
pub struct Reply<T> {
    /// Who waited.
    pub waiter: Waiter<T>,
    /// The answer from upstream, still to be judged, or why there is none.
    pub result: Result<Arc<StoredAnswer>, Failure>,
}

/// A query to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// What its response is to be reported under.
    pub exchange: ExchangeId,
    /// To whom.
    pub server: SocketAddr,
    /// How; over TCP the driver adds the length prefix.
    pub transport: Transport,
    /// The query.
    pub message: Arc<[u8]>,
}

/// One query sent to one server. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExchangeId(pub(super) u64);

impl ExchangeId {
    /// For what can keep a number alone.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The exchange of a number that was kept.
    #[must_use]
    pub const fn of(number: u64) -> Self {
        Self(number)
    }
}

/// A question in flight. Never used twice, so that questions stay in the order in which they came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct QuestionId(pub(super) u64);

/// What is known about an exchange.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) question: QuestionId,
    pub(super) server: SocketAddr,
    pub(super) transport: Transport,
    /// The message id of the query.
    pub(super) id: u16,
    /// The query.
    pub(super) query: Arc<[u8]>,
    /// Where its question section stands.
    pub(super) asked: Range<usize>,
    /// Whether the response has to repeat the case of the name.
    pub(super) exact: bool,
    /// Whether the query had an OPT.
    pub(super) edns: bool,
    /// Whether the query had a cookie.
    pub(super) cookie: bool,
    pub(super) sent: Mono,
}

impl Exchange {
    /// The question section of the query.
    pub(super) fn asked(&self) -> &[u8] {
        self.query.get(self.asked.clone()).unwrap_or_default()
    }
}

/// One question in flight.
#[derive(Debug)]
pub(super) struct Question<T> {
    /// Shared: a key has room for the longest name.
    pub(super) key: Arc<CacheKey>,
    /// What is asked for now: the key, or a name that its answer led to.
    pub(super) asking: Arc<CacheKey>,
    /// The answers that led there.
    pub(super) parts: Vec<Arc<StoredAnswer>>,
    /// Who waits; nobody where an answer is renewed before it expires.
    pub(super) waiters: SmallVec<[Waiter<T>; 1]>,
    pub(super) deadline: Mono,
    /// When the current tries end.
    pub(super) try_end: Mono,
    /// When those who wait get an expired answer, if there is one; `None` once they had their chance.
    pub(super) stale_at: Option<Mono>,
    /// When it wants to be woken: the earliest of these.
    pub(super) wake: Mono,
    pub(super) tries: Tries,
    /// Queries sent so far; later ones get more time.
    pub(super) attempts: u32,
    /// The exchanges of the current tries: one, or those that race.
    pub(super) active: SmallVec<[ExchangeId; 2]>,
    /// Every exchange that is still listened to, active ones included: a response after its try is late, but an answer.
    pub(super) open: SmallVec<[ExchangeId; 2]>,
    /// The last SERVFAIL, REFUSED or the like; delivered if no server has anything better.
    pub(super) kept: Option<Arc<StoredAnswer>>,
    /// Why the last try failed; delivered if there is nothing to keep.
    pub(super) failure: Failure,
}

impl<T> Question<T> {
    pub(super) fn new(key: Arc<CacheKey>, deadline: Mono, tries: Tries) -> Self {
        Self {
            asking: Arc::clone(&key),
            key,
            parts: Vec::new(),
            waiters: SmallVec::new(),
            deadline,
            try_end: deadline,
            stale_at: None,
            wake: deadline,
            tries,
            attempts: 0,
            active: SmallVec::new(),
            open: SmallVec::new(),
            kept: None,
            failure: Failure::Timeout,
        }
    }

    /// When it wants to be woken next.
    pub(super) fn next_wake(&self) -> Mono {
        let wake = self.deadline.min(self.try_end);
        self.stale_at.map_or(wake, |stale| stale.min(wake))
    }

    /// Stops listening to an exchange; says whether that was the last of the current tries.
    pub(super) fn close(&mut self, exchange: ExchangeId) -> bool {
        self.open.retain(|open| *open != exchange);
        self.retire(exchange)
    }

    /// An exchange is no current try any more; says whether it was the last.
    pub(super) fn retire(&mut self, exchange: ExchangeId) -> bool {
        let was = self.active.contains(&exchange);
        self.active.retain(|active| *active != exchange);
        was && self.active.is_empty()
    }
}
