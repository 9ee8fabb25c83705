//! What happens to a miss: one state machine without sockets, clocks or threads.
//!
//! ```text
//! handle_miss ──▶ question in flight? ── yes ─▶ join it
//!                      │ no                                    answers about to expire
//!                      ▼                                                 │
//!            ┌─ route, servers ◀───────────────┬──────────────┬──────────┴────┐
//!            ▼                                 │              │               │
//!      poll_transmit ─▶ handle_response ── unhelpful    handle_failure   handle_timeout
//!            ▲               │    │                                     (still listened to)
//!            └─ TCP, no EDNS ┘    └─ answer ─▶ cache ─▶ poll_reply for each waiter, poll_close for each exchange
//! ```
//!
//! | module | what |
//! |---|---|
//! | `settings` | what it is made from; bounds |
//! | `routes` | which servers a name is asked of |
//! | `server` | how servers behave, and which one is next |
//! | `question` | one question in flight |
//! | `course` | the course of a question from its first try to its end |
//! | `reading` | what a message makes of its exchange |
//! | `wire`, `cookie` | queries as bytes; what tells a response from a forgery |
//! | `zones` | who makes way when a table is full |
//!
//! The driver calls `handle_*`, then drains every `poll_*`. Same seed, same calls: same outputs.

mod cookie;
mod counters;
mod course;
mod question;
mod reading;
mod routes;
mod server;
mod settings;
mod wire;
mod zones;

pub use counters::{Counter, Counters};
pub use question::{ExchangeId, Reply, Transmit, Waiter};
pub use server::{
    BACK_OFF_MAX, BACK_OFF_MIN, CASE_BREAK_TIME, CASE_BREAKS_MAX, FAILURES_BEFORE_BACK_OFF, Mode, ServerHealth,
    UnknownMode,
};
pub use settings::{
    Bounds, Conduct, CoreSettings, EXCHANGES_MAX, QUERIES_MAX, QUESTION_TIME, QUESTIONS_MAX, SERVERS_MAX, STALE_AFTER,
    STALE_HOLD, TRY_TIME_TCP, TRY_TIMES, WAITERS_MAX, WAITERS_PER_QUESTION_MAX, ZoneServers,
};

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::quality::RandomState;
use rand::SeedableRng;
use rand::rngs::StdRng;

use self::question::{Exchange, Question, QuestionId};
use self::routes::Routes;
use self::server::Servers;
use self::zones::{Full, Zones};
use super::{AnswerLimits, Cache, CacheKey, Failure, StoredAnswer, Transport};
use crate::base::model::Mono;

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
    routes: Routes,
    servers: Servers,
    mode: Mode,
    bounds: Bounds,
    answers: AnswerLimits,
    conduct: Conduct,
    cache: Arc<Cache>,
    counters: Arc<Counters>,
    random: StdRng,
    next_id: u64,
    /// Boxed, because a tree moves what it holds.
    questions: BTreeMap<QuestionId, Box<Question<T>>>,
    by_key: HashMap<Arc<CacheKey>, QuestionId, RandomState>,
    wakes: BTreeSet<(Mono, QuestionId)>,
    exchanges: BTreeMap<ExchangeId, Arc<Exchange>>,
    waiters: usize,
    zones: Zones,
    transmits: VecDeque<Transmit>,
    closes: VecDeque<ExchangeId>,
    replies: VecDeque<Reply<T>>,
    /// Where a query is written before its length is known.
    scratch: Vec<u8>,
}

/// The inputs.
impl<T> Core<T> {
    /// An idle machine. All its randomness comes from `seed`.
    #[must_use]
    pub fn new(settings: &CoreSettings, cache: Arc<Cache>, counters: Arc<Counters>, seed: [u8; 32]) -> Self {
        let mut random = StdRng::from_seed(seed);
        let routes = Routes::new(settings);
        let mut servers = Servers::new(settings.mode, settings.conduct);
        servers.set(&routes.servers(), &mut random);
        Self {
            routes,
            servers,
            mode: settings.mode,
            bounds: settings.bounds,
            answers: settings.answers,
            conduct: settings.conduct,
            cache,
            counters,
            random,
            next_id: 0,
            questions: BTreeMap::new(),
            by_key: HashMap::default(),
            wakes: BTreeSet::new(),
            exchanges: BTreeMap::new(),
            waiters: 0,
            zones: Zones::default(),
            transmits: VecDeque::new(),
            closes: VecDeque::new(),
            replies: VecDeque::new(),
            scratch: Vec::new(),
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
        let existing = self.by_key.get(key).copied().filter(|_| self.conduct.join);
        let waiting = existing.and_then(|id| self.questions.get(&id));
        // Those who came before had their expired answer already: upstream is no faster for those who come now.
        if waiting.is_some_and(|question| question.stale_at.is_none())
            && let Some(stale) = self.stale(now, key)
        {
            self.counters.answered_stale.increment();
            self.replies.push_back(Reply { waiter, result: Ok(stale) });
            return;
        }
        let waiting = waiting.map_or(0, |question| question.waiters.len());
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
            self.zones.join(key.name(), id, 1);
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
        let Some(known) = self.exchanges.get(&exchange).cloned() else { return };
        if let Some(next) = self.read(now, exchange, &known, message) {
            self.proceed(now, exchange, &known, next);
        }
    }

    /// An exchange broke down; the driver has forgotten it already.
    pub fn handle_failure(&mut self, now: Mono, exchange: ExchangeId, why: ExchangeFailure) {
        let Some(known) = self.exchanges.remove(&exchange) else { return };
        self.counters.upstream_errors.increment();
        if why != ExchangeFailure::Local {
            let tcp = known.transport == Transport::Tcp;
            self.servers.failed(known.server, now, now.since(known.sent), tcp);
        }
        let Some(question) = self.questions.get_mut(&known.question) else { return };
        question.failure = Failure::Unreachable;
        if question.close(exchange) {
            self.try_next(now, known.question);
        }
    }

    /// Time has passed; call it when [`Core::poll_timeout`]'s moment has come, and now and then for answers about to expire.
    pub fn handle_timeout(&mut self, now: Mono) {
        for key in self.cache.take_ageing() {
            self.renew(now, &key);
        }
        while let Some(&(wake, id)) = self.wakes.first() {
            if wake > now {
                break;
            }
            self.wakes.pop_first();
            self.wake(now, id);
        }
    }

    /// Puts others in place of the default servers. Questions in flight go on with those that they had.
    pub fn set_servers(&mut self, servers: &[SocketAddr]) {
        self.routes.set_default(servers);
        self.servers.set(&self.routes.servers(), &mut self.random);
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

    /// The next exchange that nobody waits for any more.
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
        let why = match self.questions.get(&id) {
            Some(question) if question.deadline <= wake => "a question's deadline",
            Some(question) if question.stale_at.is_some_and(|stale| stale <= wake) => "the end of a client's patience",
            _ => "the end of an upstream try",
        };
        Some((wake, why))
    }

    /// Whether no question is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.questions.is_empty()
    }

    /// How the servers are doing: the default ones in the configured order, then those of zones.
    #[must_use]
    pub fn health(&self) -> Vec<ServerHealth> {
        self.routes.servers().into_iter().filter_map(|server| self.servers.health(server)).collect()
    }
}
