//! What happens to a miss: one state machine without sockets, clocks or threads.
//!
//! ```text
//! handle_miss ──▶ question in flight? ── yes ─▶ join it
//!                      │ no
//!                      ▼
//!            ┌─ choose a server ◀──────────────┬──────────────┬───────────────┐
//!            ▼                                 │              │               │
//!      poll_transmit ─▶ handle_response ── unhelpful    handle_failure   handle_timeout
//!            ▲               │    │                                     (still listened to)
//!            └─ TCP, no EDNS ┘    └─ answer ─▶ cache ─▶ poll_reply for each waiter, poll_close for each exchange
//! ```
//!
//! The driver calls `handle_*`, then drains every `poll_*`. Same seed, same calls: same outputs.

mod counters;
mod question;
mod server;
mod wire;
mod zones;

pub use counters::{Counter, Counters};
pub use question::{ExchangeId, Reply, Transmit, Waiter};
pub use server::{BACK_OFF_MAX, BACK_OFF_MIN, FAILURES_BEFORE_BACK_OFF, ServerHealth};

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::question::{Exchange, Question, QuestionId};
use self::server::{ServerIndex, Servers};
use self::wire::{Head, Match, Query};
use self::zones::{Full, Zones};
use super::{AnswerLimits, Cache, CacheKey, Failure, StoredAnswer, Transport};
use crate::base::model::Mono;
use crate::base::wire::dns::Rcode;

/// Questions in flight.
pub const QUESTIONS_MAX: usize = 2_048;
/// Clients that wait, over all questions.
pub const WAITERS_MAX: usize = 16_384;
/// Clients that wait for one question.
pub const WAITERS_PER_QUESTION_MAX: usize = 1_024;
/// Exchanges that are listened to, late ones included; more than questions, so that there is always room for a try.
pub const EXCHANGES_MAX: usize = 4_096;
/// Upstream servers.
pub const SERVERS_MAX: usize = 16;
/// A question's life.
pub const QUESTION_TIME: Duration = Duration::from_secs(5);
/// What each try gets before the next server is asked; the last one repeats.
pub const TRY_TIMES: [Duration; 3] =
    [Duration::from_millis(800), Duration::from_millis(1_200), Duration::from_millis(1_500)];
/// What a try over TCP gets: a handshake more than UDP.
pub const TRY_TIME_TCP: Duration = Duration::from_secs(2);

/// A DNAME substitution that grew too long (RFC 6672 §2.2): an answer like any other.
const YXDOMAIN: Rcode = Rcode(6);

/// What the state machine is made from.
#[derive(Clone, Debug)]
pub struct CoreSettings {
    /// Upstream servers in order of preference; beyond [`SERVERS_MAX`] they are left out.
    pub servers: Vec<SocketAddr>,
    /// The bounds of its tables.
    pub bounds: Bounds,
    /// Bounds of the TTLs of stored answers.
    pub answers: AnswerLimits,
}

/// The bounds of the tables; beyond them a question is refused as [`Failure::Overloaded`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Questions in flight.
    pub questions: usize,
    /// Clients that wait, over all questions.
    pub waiters: usize,
    /// Clients that wait for one question.
    pub waiters_per_question: usize,
    /// Exchanges that are listened to.
    pub exchanges: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            questions: QUESTIONS_MAX,
            waiters: WAITERS_MAX,
            waiters_per_question: WAITERS_PER_QUESTION_MAX,
            exchanges: EXCHANGES_MAX,
        }
    }
}

/// Why an exchange broke down, as its driver saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExchangeFailure {
    /// The server's host refused, or closed before the response was whole.
    Refused,
    /// There is no way to the server.
    Unreachable,
    /// Our side ran out of sockets or ports; nothing is known about the server.
    Local,
}

/// The state machine; `T` is the driver's reply path.
#[derive(Debug)]
pub struct Core<T> {
    servers: Servers,
    bounds: Bounds,
    answers: AnswerLimits,
    cache: Arc<Cache>,
    counters: Arc<Counters>,
    random: StdRng,
    next_id: u64,
    questions: BTreeMap<QuestionId, Question<T>>,
    by_key: BTreeMap<CacheKey, QuestionId>,
    wakes: BTreeSet<(Mono, QuestionId)>,
    exchanges: BTreeMap<ExchangeId, Exchange>,
    waiters: usize,
    zones: Zones,
    transmits: VecDeque<Transmit>,
    closes: VecDeque<ExchangeId>,
    replies: VecDeque<Reply<T>>,
}

/// What a response makes of its exchange.
enum Next {
    /// The same server again, the other way.
    Again { transport: Transport, edns: bool },
    /// The next server; the response is kept in case nobody knows better.
    Keep(Arc<StoredAnswer>),
    /// The next server; the response is no use.
    Skip(Failure),
    /// The answer.
    Answer(Arc<StoredAnswer>),
}

/// The inputs.
impl<T> Core<T> {
    /// An idle machine. All its randomness comes from `seed`.
    #[must_use]
    pub fn new(settings: &CoreSettings, cache: Arc<Cache>, counters: Arc<Counters>, seed: [u8; 32]) -> Self {
        let servers = settings.servers.get(..SERVERS_MAX).unwrap_or(&settings.servers);
        Self {
            servers: Servers::new(servers),
            bounds: settings.bounds,
            answers: settings.answers,
            cache,
            counters,
            random: StdRng::from_seed(seed),
            next_id: 0,
            questions: BTreeMap::new(),
            by_key: BTreeMap::new(),
            wakes: BTreeSet::new(),
            exchanges: BTreeMap::new(),
            waiters: 0,
            zones: Zones::default(),
            transmits: VecDeque::new(),
            closes: VecDeque::new(),
            replies: VecDeque::new(),
        }
    }

    /// A client's question that neither policy nor cache answered.
    pub fn handle_miss(&mut self, now: Mono, key: &CacheKey, waiter: Waiter<T>) {
        self.counters.misses.increment();
        // It may have been answered while it was on its way here.
        if let Some(stored) = self.cache.get(now, key) {
            self.replies.push_back(Reply { waiter, result: Ok(stored) });
            return;
        }
        let existing = self.by_key.get(key).copied();
        let waiting = existing.and_then(|id| self.questions.get(&id)).map_or(0, |question| question.waiters.len());
        let full = if self.waiters >= self.bounds.waiters {
            Some(Full::Waiters)
        } else {
            (existing.is_none() && self.questions.len() >= self.bounds.questions).then_some(Full::Questions)
        };
        let refused = full.is_some_and(|table| !self.make_way(now, key, table));
        if waiting >= self.bounds.waiters_per_question || refused {
            self.counters.overloaded.increment();
            self.replies.push_back(Reply { waiter, result: Err(Failure::Overloaded) });
            return;
        }
        let id = existing.unwrap_or_else(|| self.open_question(now, key));
        if let Some(question) = self.questions.get_mut(&id) {
            self.waiters += 1;
            self.zones.join(key.name(), id);
            question.waiters.push(waiter);
        }
        if existing.is_some() {
            self.counters.joined.increment();
        } else {
            self.try_next(now, id);
        }
    }

    /// A message arrived on an exchange. Its source address is the driver's to check: UDP sockets are connected.
    pub fn handle_response(&mut self, now: Mono, exchange: ExchangeId, message: &[u8]) {
        let Some(&known) = self.exchanges.get(&exchange) else { return };
        let Some(question) = self.questions.get(&known.question) else { return };
        let next = match wire::match_response(&question.key, known.id, message) {
            Match::Stray => {
                self.counters.spoof_ignored.increment();
                return;
            }
            Match::NearMiss => {
                self.counters.spoof_ignored.increment();
                self.counters.spoof_near_misses.increment();
                match wire::next_transport(known.transport) {
                    Some(transport) => Next::Again { transport, edns: known.edns },
                    None => Next::Skip(Failure::Invalid),
                }
            }
            Match::Response(head) => {
                self.servers.responded(known.server, now.since(known.sent));
                if question.active != Some(exchange) {
                    self.counters.upstream_late.increment();
                }
                self.read_response(now, &known, head, message)
            }
        };
        self.close_exchange(exchange, &known);
        self.proceed(now, &known, next);
    }

    /// An exchange broke down; the driver has forgotten it already.
    pub fn handle_failure(&mut self, now: Mono, exchange: ExchangeId, why: ExchangeFailure) {
        let Some(known) = self.exchanges.remove(&exchange) else { return };
        self.counters.upstream_errors.increment();
        if why != ExchangeFailure::Local {
            self.servers.failed(known.server, now);
        }
        let Some(question) = self.questions.get_mut(&known.question) else { return };
        question.failure = Failure::Unreachable;
        if question.close(exchange) {
            self.try_next(now, known.question);
        }
    }

    /// Time has passed; call it when [`Core::poll_timeout`]'s moment has come.
    pub fn handle_timeout(&mut self, now: Mono) {
        while let Some(&(wake, id)) = self.wakes.first() {
            if wake > now {
                break;
            }
            self.wakes.pop_first();
            let Some(question) = self.questions.get_mut(&id) else { continue };
            let expired = question.active.take().and_then(|exchange| self.exchanges.get(&exchange));
            if let Some(exchange) = expired {
                self.counters.upstream_timeouts.increment();
                self.servers.failed(exchange.server, now);
                question.failure = Failure::Timeout;
            }
            if now >= question.deadline {
                self.give_up(now, id);
            } else {
                self.try_next(now, id);
            }
        }
    }

    /// Ends every question now, as at shutdown; their waiters get what there is.
    pub fn abandon(&mut self, now: Mono) {
        while let Some((&id, _)) = self.questions.first_key_value() {
            self.give_up(now, id);
        }
    }
}

/// The outputs.
impl<T> Core<T> {
    /// The next query to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next exchange that nobody waits for any more: its socket can go.
    pub fn poll_close(&mut self) -> Option<ExchangeId> {
        self.closes.pop_front()
    }

    /// The next reply to a waiter.
    pub fn poll_reply(&mut self) -> Option<Reply<T>> {
        self.replies.pop_front()
    }

    /// When [`Core::handle_timeout`] wants to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Mono, &'static str)> {
        let &(wake, id) = self.wakes.first()?;
        let deadline = self.questions.get(&id).is_some_and(|question| question.deadline <= wake);
        Some((wake, if deadline { "a question's deadline" } else { "the end of an upstream try" }))
    }

    /// Whether no question is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.questions.is_empty()
    }

    /// How the servers are doing, in the configured order.
    #[must_use]
    pub fn health(&self) -> &[ServerHealth] {
        self.servers.health()
    }
}

/// The course of a question.
impl<T> Core<T> {
    fn open_question(&mut self, now: Mono, key: &CacheKey) -> QuestionId {
        let id = QuestionId(self.fresh());
        let question = Question::new(key.clone(), now.plus(QUESTION_TIME), self.servers.no_tries());
        self.by_key.insert(key.clone(), id);
        self.questions.insert(id, question);
        id
    }

    /// Asks the next server. When there is none left: late responses are waited for, unless there is an answer to give.
    fn try_next(&mut self, now: Mono, id: QuestionId) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        let untried_only = question.kept.is_some();
        if let Some(server) = self.servers.choose(now, &mut question.tries, untried_only) {
            self.start(now, id, server, Transport::Udp, true);
        } else if question.kept.is_some() || question.open.is_empty() {
            self.give_up(now, id);
        } else {
            let deadline = question.deadline;
            self.wake_at(id, deadline);
        }
    }

    /// Begins an exchange; it becomes the question's current try.
    fn start(&mut self, now: Mono, id: QuestionId, server: ServerIndex, transport: Transport, edns: bool) {
        self.make_room();
        let exchange = ExchangeId(self.fresh());
        let message_id: u16 = self.random.random();
        let Some(address) = self.servers.address(server) else { return };
        let Some(question) = self.questions.get_mut(&id) else { return };
        let message = Query { key: &question.key, id: message_id, edns }.build();
        let time = match transport {
            Transport::Tcp => TRY_TIME_TCP,
            Transport::Udp => {
                let [first, second, later] = TRY_TIMES;
                match question.attempts {
                    0 => first,
                    1 => second,
                    _ => later,
                }
            }
        };
        question.attempts += 1;
        question.active = Some(exchange);
        question.open.push(exchange);
        let wake = now.plus(time).min(question.deadline);
        self.wake_at(id, wake);
        let known = Exchange { question: id, server, transport, id: message_id, edns, sent: now };
        self.exchanges.insert(exchange, known);
        self.counters.upstream_sent.increment();
        self.transmits.push_back(Transmit { exchange, server: address, transport, message });
    }

    /// Judges a matching response.
    fn read_response(&self, now: Mono, exchange: &Exchange, head: Head, message: &[u8]) -> Next {
        if head.rcode == Rcode::FORMERR && exchange.edns {
            return Next::Again { transport: exchange.transport, edns: false };
        }
        if head.truncated {
            self.counters.upstream_truncated.increment();
            return match wire::next_transport(exchange.transport) {
                Some(transport) => Next::Again { transport, edns: exchange.edns },
                None => Next::Skip(Failure::Invalid),
            };
        }
        let Some(question) = self.questions.get(&exchange.question) else { return Next::Skip(Failure::Invalid) };
        let Ok(stored) = StoredAnswer::from_upstream(now, &question.key, message, &self.answers) else {
            self.counters.upstream_invalid.increment();
            return Next::Skip(Failure::Invalid);
        };
        let stored = Arc::new(stored);
        match head.rcode {
            Rcode::NOERROR | Rcode::NXDOMAIN | YXDOMAIN => Next::Answer(stored),
            _ => Next::Keep(stored),
        }
    }

    /// Goes on from a response whose exchange is closed.
    fn proceed(&mut self, now: Mono, exchange: &Exchange, next: Next) {
        let id = exchange.question;
        let Some(question) = self.questions.get_mut(&id) else { return };
        match next {
            Next::Again { transport, edns } => {
                self.start(now, id, exchange.server, transport, edns);
                return;
            }
            Next::Answer(stored) => {
                self.finish(now, id, Ok(stored));
                return;
            }
            Next::Keep(stored) => question.kept = Some(stored),
            Next::Skip(failure) => question.failure = failure,
        }
        question.tries.done(exchange.server);
        // A late word from one server does not cut short the try at another.
        if question.active.is_none() {
            self.try_next(now, id);
        }
    }

    /// Ends a question with what there is.
    fn give_up(&mut self, now: Mono, id: QuestionId) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        let result = question.kept.take().ok_or(question.failure);
        self.finish(now, id, result);
    }

    /// Ends a question: the answer to the cache, a reply to each waiter, every exchange closed.
    fn finish(&mut self, now: Mono, id: QuestionId, result: Result<Arc<StoredAnswer>, Failure>) {
        let Some(question) = self.questions.remove(&id) else { return };
        self.by_key.remove(&question.key);
        self.wakes.remove(&(question.wake, id));
        self.waiters = self.waiters.saturating_sub(question.waiters.len());
        self.zones.leave(question.key.name(), id, question.waiters.len());
        for exchange in question.open {
            self.exchanges.remove(&exchange);
            self.closes.push_back(exchange);
        }
        match &result {
            Ok(stored) => self.cache.put(now, &question.key, Arc::clone(stored)),
            Err(_) => self.counters.failures.increment(),
        }
        self.replies.extend(question.waiters.into_iter().map(|waiter| Reply { waiter, result: result.clone() }));
    }
}

/// Book-keeping.
impl<T> Core<T> {
    fn fresh(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn wake_at(&mut self, id: QuestionId, at: Mono) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        self.wakes.remove(&(question.wake, id));
        question.wake = at;
        self.wakes.insert((at, id));
    }

    fn close_exchange(&mut self, exchange: ExchangeId, known: &Exchange) {
        self.exchanges.remove(&exchange);
        self.closes.push_back(exchange);
        if let Some(question) = self.questions.get_mut(&known.question) {
            question.close(exchange);
        }
    }

    /// Ends a question for one that needs its place, if the newcomer has the better claim to it.
    fn make_way(&mut self, now: Mono, key: &CacheKey, table: Full) -> bool {
        let Some(id) = self.zones.to_go_for(key.name(), table) else { return false };
        self.counters.overloaded.increment();
        self.finish(now, id, Err(Failure::Overloaded));
        true
    }

    /// When the table is full, the oldest exchange that nobody counts on goes.
    fn make_room(&mut self) {
        if self.exchanges.len() < self.bounds.exchanges {
            return;
        }
        let late = self.exchanges.iter().find(|(id, exchange)| {
            self.questions.get(&exchange.question).is_none_or(|question| question.active != Some(**id))
        });
        if let Some((&id, &exchange)) = late {
            self.close_exchange(id, &exchange);
        }
    }
}
