//! One question in flight: who waits for it, what has been tried, and the exchanges that may still bring its answer.

use std::net::IpAddr;
use std::sync::Arc;

use super::Failure;
use super::server::{ServerIndex, Tries};
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
    pub server: std::net::SocketAddr,
    /// How; over TCP the driver adds the length prefix.
    pub transport: Transport,
    /// The query.
    pub message: Box<[u8]>,
}

/// One query sent to one server: over UDP a socket of its own, over TCP a connection. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExchangeId(pub(super) u64);

/// A question in flight. Never used twice, so that questions stay in the order in which they came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct QuestionId(pub(super) u64);

/// What is known about an exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) question: QuestionId,
    pub(super) server: ServerIndex,
    pub(super) transport: Transport,
    /// The message id of the query.
    pub(super) id: u16,
    /// Whether the query had an OPT.
    pub(super) edns: bool,
    pub(super) sent: Mono,
}

/// One question in flight.
#[derive(Debug)]
pub(super) struct Question<T> {
    pub(super) key: CacheKey,
    pub(super) waiters: Vec<Waiter<T>>,
    pub(super) deadline: Mono,
    /// When it wants to be woken: the end of the current try or the deadline.
    pub(super) wake: Mono,
    pub(super) tries: Tries,
    /// Tries begun so far; later ones get more time.
    pub(super) attempts: u32,
    /// The exchange of the current try.
    pub(super) active: Option<ExchangeId>,
    /// Every exchange that is still listened to, the active one included: a response after its try is late, but an answer.
    pub(super) open: Vec<ExchangeId>,
    /// The last SERVFAIL, REFUSED or the like; delivered if no server has anything better.
    pub(super) kept: Option<Arc<StoredAnswer>>,
    /// Why the last try failed; delivered if there is nothing to keep.
    pub(super) failure: Failure,
}

impl<T> Question<T> {
    pub(super) const fn new(key: CacheKey, deadline: Mono, tries: Tries) -> Self {
        Self {
            key,
            waiters: Vec::new(),
            deadline,
            wake: deadline,
            tries,
            attempts: 0,
            active: None,
            open: Vec::new(),
            kept: None,
            failure: Failure::Timeout,
        }
    }

    /// Stops listening to an exchange; says whether it was the current try.
    pub(super) fn close(&mut self, exchange: ExchangeId) -> bool {
        self.open.retain(|&open| open != exchange);
        let active = self.active == Some(exchange);
        if active {
            self.active = None;
        }
        active
    }
}
