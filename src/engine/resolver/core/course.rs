//! The course of a question: opened, tried at one server after the other, ended with an answer, an expired one or a failure.

use std::net::SocketAddr;
use std::sync::Arc;

use rand::RngExt;
use smallvec::SmallVec;

use super::question::{Exchange, Question, QuestionId, Reply, Transmit};
use super::reading::Next;
use super::server::{Manner, Mode, Tries};
use super::settings::{QUESTION_TIME, STALE_AFTER, STALE_HOLD, TRY_TIME_TCP, TRY_TIMES};
use super::wire::Query;
use super::zones::Full;
use super::{CacheKey, Core, ExchangeId, Failure, StoredAnswer, Transport};
use crate::base::model::Mono;
use crate::engine::resolver::alias;

impl<T> Core<T> {
    pub(super) fn open_question(&mut self, now: Mono, key: &CacheKey) -> QuestionId {
        let id = QuestionId(self.fresh());
        let tries = Tries::new(self.routes.find(key.name()));
        let key = Arc::new(key.clone());
        let mut question = Question::new(Arc::clone(&key), now.plus(QUESTION_TIME), tries);
        question.stale_at = Some(now.plus(STALE_AFTER));
        self.by_key.insert(key, id);
        self.questions.insert(id, Box::new(question));
        id
    }

    /// Asks again for an answer that is in use and about to expire, unless there is better to do.
    pub(super) fn renew(&mut self, now: Mono, key: &CacheKey) {
        if !self.conduct.prefetch || self.by_key.contains_key(key) || self.questions.len() >= self.bounds.questions / 2
        {
            return;
        }
        self.counters.prefetched.increment();
        let id = self.open_question(now, key);
        self.zones.join(key.name(), id, 0);
        self.try_next(now, id);
    }

    /// Asks the next server; in parallel mode the first time two. When there is none left: late responses are waited for, unless
    /// there is an answer to give.
    pub(super) fn try_next(&mut self, now: Mono, id: QuestionId) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        let untried_only = question.kept.is_some();
        let racers = if self.mode == Mode::Parallel && question.attempts == 0 { 2 } else { 1 };
        let tries = &mut question.tries;
        let chosen: SmallVec<[SocketAddr; 2]> = (0..racers)
            .filter_map(|_| self.servers.choose(now, tries, untried_only || racers > 1, &mut self.random))
            .collect();
        let started = chosen.into_iter().filter(|&server| self.start(now, id, server, Transport::Udp, true)).count();
        if started > 0 {
            return;
        }
        let Some(question) = self.questions.get_mut(&id) else { return };
        if question.kept.is_some() || question.open.is_empty() {
            self.give_up(now, id);
        } else {
            question.try_end = question.deadline;
            self.schedule(id);
        }
    }

    /// Begins an exchange; it becomes a current try of the question. `false` where the question has had all of its queries.
    fn start(&mut self, now: Mono, id: QuestionId, server: SocketAddr, transport: Transport, edns: bool) -> bool {
        let attempts = self.questions.get(&id).map_or(u32::MAX, |question| question.attempts);
        if attempts >= self.bounds.queries {
            self.counters.upstream_query_limit.increment();
            return false;
        }
        self.make_room();
        let exchange = ExchangeId(self.fresh());
        let (transport, exact) = match (transport, self.servers.manner(server, now)) {
            (Transport::Udp, Manner::RandomCase) => (Transport::Udp, true),
            (Transport::Udp, Manner::LowerCase) => (Transport::Udp, false),
            (Transport::Tcp, _) | (_, Manner::Tcp) => (Transport::Tcp, false),
        };
        let message_id: u16 = self.random.random();
        let cookie = self.servers.cookie(server).filter(|_| edns).map(|cookie| cookie.data());
        let Some(question) = self.questions.get_mut(&id) else { return false };
        let case = exact.then_some(&mut self.random);
        let has_cookie = cookie.is_some();
        let asked = Query { key: &question.asking, case, id: message_id, edns, cookie }.build(&mut self.scratch);
        let query: Arc<[u8]> = self.scratch.as_slice().into();
        let known = Exchange {
            question: id,
            server,
            transport,
            id: message_id,
            exact,
            edns,
            cookie: has_cookie,
            sent: now,
            query: Arc::clone(&query),
            asked,
        };
        let [first, second, later] = TRY_TIMES;
        let time = match (transport, attempts) {
            (Transport::Tcp, _) => TRY_TIME_TCP,
            (Transport::Udp, 0) => first,
            (Transport::Udp, 1) => second,
            (Transport::Udp, _) => later,
        };
        question.attempts += 1;
        question.active.push(exchange);
        question.open.push(exchange);
        question.try_end = now.plus(time);
        self.schedule(id);
        self.exchanges.insert(exchange, Arc::new(known));
        self.counters.upstream_sent.increment();
        self.transmits.push_back(Transmit { exchange, server, transport, message: query });
        true
    }

    /// Goes on from a message.
    pub(super) fn proceed(&mut self, now: Mono, exchange: ExchangeId, known: &Exchange, next: Next) {
        let id = known.question;
        let Some(question) = self.questions.get_mut(&id) else { return };
        if matches!(next, Next::Beside) {
            question.retire(exchange);
        } else {
            self.close_exchange(exchange, id);
        }
        let Some(question) = self.questions.get_mut(&id) else { return };
        let again = match next {
            Next::Answer(stored) => {
                let whole = self.whole(now, id, stored);
                self.finish(now, id, whole);
                return;
            }
            Next::Follow(stored, key) => {
                self.follow(now, id, stored, key);
                return;
            }
            Next::Again { transport, edns } => Some((transport, edns)),
            Next::Beside => Some((Transport::Tcp, known.edns)),
            Next::Keep(stored) => {
                question.kept = Some(stored);
                None
            }
            Next::Skip(failure) => {
                question.failure = failure;
                None
            }
        };
        if let Some((transport, edns)) = again {
            if self.start(now, id, known.server, transport, edns) {
                return;
            }
        } else {
            question.tries.done(known.server);
        }
        // A late word from one server does not cut short the try at another.
        if self.questions.get(&id).is_some_and(|question| question.active.is_empty()) {
            self.try_next(now, id);
        }
    }

    /// Goes on with the name that an answer led to, at whoever answers for that.
    fn follow(&mut self, now: Mono, id: QuestionId, part: Arc<StoredAnswer>, key: Arc<CacheKey>) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        if key == question.key {
            // It has come round; clients are told how.
            let whole = self.whole(now, id, part);
            self.finish(now, id, whole);
            return;
        }
        question.parts.push(part);
        question.tries = Tries::new(self.routes.find(key.name()));
        question.asking = key;
        question.kept = None;
        // What is still under way asks for what is known by now.
        for exchange in std::mem::take(&mut question.open) {
            self.close_exchange(exchange, id);
        }
        self.try_next(now, id);
    }

    /// The answer to the question as it was put, of the last answer and those that led to it.
    fn whole(&self, now: Mono, id: QuestionId, last: Arc<StoredAnswer>) -> Result<Arc<StoredAnswer>, Failure> {
        let Some(question) = self.questions.get(&id).filter(|question| !question.parts.is_empty()) else {
            return Ok(last);
        };
        let parts = [&question.parts[..], &[Arc::clone(&last)]].concat();
        let whole = alias::join(&question.key, &parts)
            .and_then(|message| StoredAnswer::from_upstream(now, &question.key, &message, &self.answers))
            .map(|whole| whole.with_error_of(&last));
        match whole {
            Ok(whole) => Ok(Arc::new(whole)),
            Err(_) => {
                self.counters.upstream_invalid.increment();
                Err(Failure::Invalid)
            }
        }
    }

    /// A question's moment has come: the end of its tries, of its clients' patience, or its own.
    pub(super) fn wake(&mut self, now: Mono, id: QuestionId) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        let tries_end = question.try_end <= now;
        let expired = if tries_end { std::mem::take(&mut question.active) } else { SmallVec::new() };
        if !expired.is_empty() {
            question.failure = Failure::Timeout;
        }
        let deadline = question.deadline;
        for exchange in expired {
            let Some(known) = self.exchanges.get(&exchange) else { continue };
            self.counters.upstream_timeouts.increment();
            let tcp = known.transport == Transport::Tcp;
            self.servers.failed(known.server, now, now.since(known.sent), tcp);
            if !self.conduct.late_answers {
                self.close_exchange(exchange, id);
            }
        }
        self.console(now, id);
        if now >= deadline {
            self.give_up(now, id);
        } else if tries_end {
            self.try_next(now, id);
        } else {
            self.schedule(id);
        }
    }

    /// Those who have waited long enough get an expired answer, if there is one; the question goes on without them.
    fn console(&mut self, now: Mono, id: QuestionId) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        if question.stale_at.is_none_or(|stale| stale > now) {
            return;
        }
        question.stale_at = None;
        let key = Arc::clone(&question.key);
        let Some(stale) = self.stale(now, &key) else { return };
        let Some(question) = self.questions.get_mut(&id) else { return };
        let waiters = std::mem::take(&mut question.waiters);
        self.waiters = self.waiters.saturating_sub(waiters.len());
        self.zones.release(key.name(), waiters.len());
        self.counters.answered_stale.add(waiters.len() as u64);
        self.replies.extend(waiters.into_iter().map(|waiter| Reply { waiter, result: Ok(Arc::clone(&stale)) }));
    }

    /// An answer that is better than none, though it may have expired.
    pub(super) fn stale(&self, now: Mono, key: &CacheKey) -> Option<Arc<StoredAnswer>> {
        if self.conduct.stale { self.cache.stale(now, key) } else { None }
    }

    /// Ends a question with what there is.
    pub(super) fn give_up(&mut self, now: Mono, id: QuestionId) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        let result = match question.kept.take() {
            Some(stored) => self.whole(now, id, stored),
            None => Err(question.failure),
        };
        self.finish(now, id, result);
    }

    /// Ends a question: the answer to the cache, a reply to each waiter, every exchange closed.
    fn finish(&mut self, now: Mono, id: QuestionId, result: Result<Arc<StoredAnswer>, Failure>) {
        let Some(mut question) = self.questions.remove(&id) else { return };
        self.by_key.remove(&question.key);
        self.wakes.remove(&(question.wake, id));
        self.waiters = self.waiters.saturating_sub(question.waiters.len());
        self.zones.leave(question.key.name(), id, question.waiters.len());
        for exchange in std::mem::take(&mut question.open) {
            self.exchanges.remove(&exchange);
            self.closes.push_back(exchange);
        }
        if result.is_err() {
            self.counters.failures.increment();
        }
        let result = self.keep(now, &question, result);
        self.replies.extend(question.waiters.into_iter().map(|waiter| Reply { waiter, result: result.clone() }));
    }

    /// Keeps a result, or what was kept before where that is better; gives what the waiters get.
    fn keep(
        &self,
        now: Mono,
        question: &Question<T>,
        result: Result<Arc<StoredAnswer>, Failure>,
    ) -> Result<Arc<StoredAnswer>, Failure> {
        let key = &question.key;
        // Only that no server can say anything is no news; that data is forged is (RFC 8767 §4).
        let no_news = result.as_ref().map_or(true, |stored| stored.is_failure() && !stored.is_bogus());
        if no_news && let Some(stale) = self.stale(now, key) {
            self.cache.hold(key, now.plus(STALE_HOLD));
            if !stale.is_fresh(now) {
                self.counters.answered_stale.add(question.waiters.len() as u64);
            }
            return Ok(stale);
        }
        match &result {
            Ok(stored) => self.cache.put(now, key, Arc::clone(stored)),
            // What says something about us, or was never asked, says nothing about the name.
            Err(Failure::Overloaded) => {}
            Err(_) if question.attempts == 0 => {}
            Err(failure) => {
                let failed = StoredAnswer::failed(now, key, *failure, &self.answers);
                self.cache.put(now, key, Arc::new(failed));
            }
        }
        result
    }
}

/// Book-keeping.
impl<T> Core<T> {
    fn fresh(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn schedule(&mut self, id: QuestionId) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        self.wakes.remove(&(question.wake, id));
        question.wake = question.next_wake();
        self.wakes.insert((question.wake, id));
    }

    fn close_exchange(&mut self, exchange: ExchangeId, question: QuestionId) {
        self.exchanges.remove(&exchange);
        self.closes.push_back(exchange);
        if let Some(question) = self.questions.get_mut(&question) {
            question.close(exchange);
        }
    }

    /// Ends a question for one that needs its place, if the newcomer has the better claim to it.
    pub(super) fn make_way(&mut self, now: Mono, key: &CacheKey, table: Full) -> bool {
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
            self.questions.get(&exchange.question).is_none_or(|question| !question.active.contains(id))
        });
        if let Some((&id, exchange)) = late {
            let question = exchange.question;
            self.close_exchange(id, question);
        }
    }
}
