//! What a message makes of its exchange.

use std::sync::Arc;

use super::cookie::Seen;
use super::question::{Exchange, ExchangeId};
use super::wire::{self, Head, Match, Opt};
use super::{CacheKey, Core, Failure, StoredAnswer, Transport};
use crate::base::model::Mono;
use crate::base::wire::dns::Rcode;
use crate::engine::resolver::alias;

/// The cookie was not the one that the server wants to hear (RFC 7873 §5.3).
const BADCOOKIE: u16 = 23;

/// How a question goes on after a message.
pub(super) enum Next {
    /// The same server again, the other way.
    Again { transport: Transport, edns: bool },
    /// The same server over TCP beside this exchange, which is still listened to.
    Beside,
    /// The next server; the response is kept in case nobody knows better.
    Keep(Arc<StoredAnswer>),
    /// The next server; the response is no use.
    Skip(Failure),
    /// The answer.
    Answer(Arc<StoredAnswer>),
    /// A part of it, and the question that is left.
    Follow(Arc<StoredAnswer>, Arc<CacheKey>),
}

impl<T> Core<T> {
    /// Judges a message; `None` where nothing has happened and listening goes on.
    pub(super) fn read(&mut self, now: Mono, id: ExchangeId, exchange: &Exchange, message: &[u8]) -> Option<Next> {
        let matched = wire::match_response(exchange.asked(), exchange.id, exchange.exact, message);
        if !matches!(matched, Match::Response(_)) {
            self.counters.spoof_ignored.increment();
        }
        match matched {
            Match::Response(head) => self.read_response(now, id, exchange, head, message),
            Match::OtherCase => {
                self.counters.spoof_other_case.increment();
                if self.servers.broke_case(exchange.server, now) {
                    self.counters.upstream_case_broken.increment();
                }
                self.mistrust(exchange)
            }
            Match::NearMiss => self.mistrust(exchange),
            Match::Stray => self.pass_over(exchange),
        }
    }

    /// What has nothing to do with our query ends nothing, except on a connection, where only the server can have said it.
    fn pass_over(&self, exchange: &Exchange) -> Option<Next> {
        let ends = exchange.transport == Transport::Tcp || !self.conduct.listen_on;
        ends.then_some(Next::Skip(Failure::Invalid))
    }

    /// Somebody may be guessing: one right guess is all that they need, and over TCP there is none to make.
    fn mistrust(&self, exchange: &Exchange) -> Option<Next> {
        self.counters.spoof_near_misses.increment();
        match wire::next_transport(exchange.transport) {
            Some(transport) if self.conduct.near_miss_to_tcp => Some(Next::Again { transport, edns: exchange.edns }),
            Some(_) => None,
            None => Some(Next::Skip(Failure::Invalid)),
        }
    }

    /// Judges a message that matches its query.
    fn read_response(
        &mut self,
        now: Mono,
        id: ExchangeId,
        exchange: &Exchange,
        head: Head,
        message: &[u8],
    ) -> Option<Next> {
        let transport = exchange.transport;
        if head.rcode == Rcode::FORMERR && exchange.edns && self.conduct.without_edns {
            self.responded(now, id, exchange);
            return Some(Next::Again { transport, edns: false });
        }
        if head.truncated && self.conduct.tcp_when_truncated {
            self.counters.upstream_truncated.increment();
            self.responded(now, id, exchange);
            return Some(match wire::next_transport(transport) {
                Some(transport) => Next::Again { transport, edns: exchange.edns },
                None => Next::Skip(Failure::Invalid),
            });
        }
        let Ok(opt) = wire::opt(message) else { return self.unreadable(id, exchange) };
        if exchange.cookie {
            match self.read_cookie(exchange, head, &opt) {
                Cookied::Right => {}
                Cookied::Not(next) => return next,
            }
        }
        let question = self.questions.get(&exchange.question)?;
        let stored = match StoredAnswer::from_upstream(now, &question.asking, message, &self.answers) {
            Ok(stored) => Arc::new(stored),
            Err(error) if error.is_unreadable() => return self.unreadable(id, exchange),
            Err(_) => {
                self.counters.upstream_invalid.increment();
                self.responded(now, id, exchange);
                return Some(Next::Skip(Failure::Invalid));
            }
        };
        let left = alias::left(&question.asking, &stored).filter(|_| self.conduct.follow);
        self.responded(now, id, exchange);
        Some(match left {
            _ if stored.is_failure() => Next::Keep(stored),
            Some(key) => Next::Follow(stored, Arc::new(key)),
            None => Next::Answer(stored),
        })
    }

    /// The server is alive, whatever it said.
    fn responded(&mut self, now: Mono, id: ExchangeId, exchange: &Exchange) {
        let tcp = exchange.transport == Transport::Tcp;
        self.servers.responded(exchange.server, now.since(exchange.sent), tcp);
        if self.questions.get(&exchange.question).is_some_and(|question| !question.active.contains(&id)) {
            self.counters.upstream_late.increment();
        }
    }

    /// It matches, but cannot be read. A forger could make the question fail with it: so it is asked again where there are no
    /// forgers, and the true response may still come.
    fn unreadable(&self, id: ExchangeId, exchange: &Exchange) -> Option<Next> {
        self.counters.upstream_invalid.increment();
        let active = self.questions.get(&exchange.question).is_some_and(|question| question.active.contains(&id));
        match exchange.transport {
            Transport::Udp if self.conduct.listen_on => active.then_some(Next::Beside),
            Transport::Udp | Transport::Tcp => Some(Next::Skip(Failure::Invalid)),
        }
    }

    fn read_cookie(&mut self, exchange: &Exchange, head: Head, opt: &Opt<'_>) -> Cookied {
        let Some(cookie) = self.servers.cookie(exchange.server) else { return Cookied::Right };
        let before = cookie.data();
        let seen = cookie.read(opt.cookie);
        let news = cookie.data() != before;
        match (seen, exchange.transport) {
            (Seen::Foreign, _) => {
                self.counters.spoof_ignored.increment();
                self.counters.spoof_cookies.increment();
                Cookied::Not(self.pass_over(exchange))
            }
            (Seen::Missing, Transport::Udp) => {
                self.counters.spoof_ignored.increment();
                self.counters.spoof_cookies.increment();
                Cookied::Not(self.mistrust(exchange))
            }
            (Seen::Missing, Transport::Tcp) => {
                cookie.forget();
                Cookied::Right
            }
            (Seen::Good, transport) if head.rcode.0 | opt.rcode_high == BADCOOKIE => {
                let transport = if news { Some(transport) } else { wire::next_transport(transport) };
                let again = |transport| Next::Again { transport, edns: true };
                Cookied::Not(Some(transport.map_or(Next::Skip(Failure::Invalid), again)))
            }
            (Seen::Good | Seen::Never, _) => Cookied::Right,
        }
    }
}

/// What a response's cookie makes of it.
enum Cookied {
    /// It may be read.
    Right,
    /// It may not; this is what happens instead.
    Not(Option<Next>),
}
