//! Scenarios of `engine::resolver::core`: time is moved by hand, the upstream is a script.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use interdict::base::model::Mono;
use interdict::base::name::Name;
use interdict::base::wire::dns::Rcode;
use interdict::engine::resolver::core::{
    BACK_OFF_MIN, Bounds, Core, CoreSettings, Counters, ExchangeFailure, ExchangeId, Mode, QUERIES_MAX, QUESTION_TIME,
    SERVERS_MAX, Transmit, Waiter, ZoneServers,
};
use interdict::engine::resolver::{Cache, CacheKey, Failure, Transport};
use proptest::prelude::*;

const NOERROR: Rcode = Rcode::NOERROR;
const FORMERR: Rcode = Rcode::FORMERR;
const SERVFAIL: Rcode = Rcode::SERVFAIL;
const NXDOMAIN: Rcode = Rcode::NXDOMAIN;
const REFUSED: Rcode = Rcode::REFUSED;

/// What a waiter got: its token, and the RCODE or why there is none.
type Got = (u64, Result<Rcode, Failure>);

/// A core, its clock, and what has come out of it.
struct Scenario {
    core: Core<u64>,
    cache: Arc<Cache>,
    counters: Arc<Counters>,
    now: Mono,
    token: u64,
    closed: Vec<ExchangeId>,
}

impl Scenario {
    fn new(servers: usize) -> Self {
        Self::bounded(servers, Bounds::default())
    }

    fn bounded(servers: usize, bounds: Bounds) -> Self {
        Self::with(&CoreSettings { bounds, ..CoreSettings::new((1..=servers).map(server).collect()) })
    }

    fn with(settings: &CoreSettings) -> Self {
        let counters = Arc::new(Counters::default());
        let cache = Arc::new(Cache::new(1 << 20, 7));
        let core = Core::new(settings, Arc::clone(&cache), Arc::clone(&counters), [7; 32]);
        Self { core, cache, counters, now: Mono::from_nanos(1_000_000_000), token: 0, closed: Vec::new() }
    }

    /// A client asks; returns its token.
    fn ask(&mut self, name: &str) -> u64 {
        self.ask_key(&key(name))
    }

    fn ask_key(&mut self, key: &CacheKey) -> u64 {
        self.token += 1;
        let waiter = Waiter {
            client: "192.168.1.9".parse().unwrap(),
            transport: Transport::Udp,
            message: Box::from(&b"as it came"[..]),
            token: self.token,
        };
        self.core.handle_miss(self.now, key, waiter);
        self.token
    }

    /// Everything sent since the last call.
    fn sent(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.core.poll_transmit()).collect()
    }

    /// The one query sent since the last call.
    fn one(&mut self) -> Transmit {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    fn respond(&mut self, to: &Transmit, rcode: Rcode) {
        self.deliver(to, &response(&to.message, rcode));
    }

    fn deliver(&mut self, to: &Transmit, message: &[u8]) {
        self.core.handle_response(self.now, to.exchange, message);
        self.closed.extend(std::iter::from_fn(|| self.core.poll_close()));
    }

    fn fail(&mut self, to: &Transmit, why: ExchangeFailure) {
        self.core.handle_failure(self.now, to.exchange, why);
    }

    /// Moves time on, waking the core exactly when it asks for it.
    fn pass(&mut self, time: Duration) {
        let until = self.now.plus(time);
        while let Some((wake, why)) = self.core.poll_timeout() {
            assert!(!why.is_empty());
            if wake > until {
                break;
            }
            self.now = self.now.max(wake);
            self.core.handle_timeout(self.now);
        }
        self.now = until;
        self.closed.extend(std::iter::from_fn(|| self.core.poll_close()));
    }

    fn pass_ms(&mut self, millis: u64) {
        self.pass(Duration::from_millis(millis));
    }

    fn got(&mut self) -> Vec<Got> {
        std::iter::from_fn(|| self.core.poll_reply())
            .map(|reply| {
                assert_eq!(&*reply.waiter.message, b"as it came");
                (reply.waiter.token, reply.result.map(|stored| stored.rcode()))
            })
            .collect()
    }
}

fn server(number: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, u8::try_from(number).unwrap()], 53))
}

fn key(name: &str) -> CacheKey {
    CacheKey::new(name.parse::<Name>().unwrap().as_ref(), 1, 1, false, false)
}

/// Where the question of a query ends.
fn question_end(query: &[u8]) -> usize {
    let mut at = 12;
    while query[at] != 0 {
        at += 1 + usize::from(query[at]);
    }
    at + 5
}

/// The response to `query`: with an A record if NOERROR, else with the question alone.
fn response(query: &[u8], rcode: Rcode) -> Vec<u8> {
    let mut out = query[..question_end(query)].to_vec();
    out[2] |= 0x80;
    out[3] = 0x80 | (out[3] & 0x10) | u8::try_from(rcode.low()).unwrap();
    out[11] = 0;
    if rcode == NOERROR {
        out[7] = 1;
        out.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 7]);
    }
    out
}

fn truncated(query: &[u8]) -> Vec<u8> {
    let mut out = response(query, NOERROR);
    out.truncate(question_end(query));
    out[2] |= 0x02;
    out[7] = 0;
    out
}

fn has_opt(query: &[u8]) -> bool {
    query[11] == 1 && query.len() == question_end(query) + 11 + 12
}

#[test]
fn a_question_is_asked_and_answered() {
    let mut s = Scenario::new(2);
    let token = s.ask("example.org");
    let query = s.one();
    assert_eq!((query.server, query.transport), (server(1), Transport::Udp));
    assert!(s.got().is_empty());
    s.respond(&query, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))]);
    assert_eq!(s.closed, [query.exchange]);
    assert!(s.core.is_idle() && s.core.poll_timeout().is_none());
}

#[test]
fn the_query_has_rd_ad_edns_1232_and_a_cookie() {
    let mut s = Scenario::new(1);
    s.ask("Example.ORG");
    let message = s.one().message;
    assert_eq!(message[2..12], [0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1]);
    assert_eq!(message[12..29].to_ascii_lowercase(), *b"\x07example\x03org\0\0\x01\0\x01");
    assert_eq!(message[29..44], [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8]);
    assert_eq!(message.len(), 44 + 8);
}

#[test]
fn the_case_of_names_is_random() {
    let mut s = Scenario::new(1);
    let (mut upper, mut all) = (0, 0);
    for number in 0..1_000 {
        s.ask(&format!("abcdefghijklm{number}.example"));
        let query = s.one();
        let letters = || query.message[12..question_end(&query.message) - 4].iter().filter(|o| o.is_ascii_alphabetic());
        upper += letters().filter(|octet| octet.is_ascii_uppercase()).count();
        all += letters().count();
        s.respond(&query, NOERROR);
        s.got();
    }
    let share = upper * 1_000 / all;
    assert!((480..=520).contains(&share), "{share} of 1,000 letters are in upper case");
}

#[test]
fn cd_and_do_go_upstream_as_asked() {
    let mut s = Scenario::new(1);
    s.ask_key(&CacheKey::new("example.org".parse::<Name>().unwrap().as_ref(), 48, 1, true, true));
    let message = s.one().message;
    assert_eq!(message[3] & 0x10, 0x10);
    assert_eq!(message[36] & 0x80, 0x80);
}

#[test]
fn five_hundred_identical_questions_are_one_query() {
    let mut s = Scenario::new(1);
    let tokens: Vec<u64> = (0..500).map(|_| s.ask("example.org")).collect();
    let query = s.one();
    s.respond(&query, NOERROR);
    assert_eq!(s.got(), tokens.iter().map(|&token| (token, Ok(NOERROR))).collect::<Vec<_>>());
    assert_eq!(s.counters.joined.get(), 499);
}

#[test]
fn questions_that_differ_in_type_do_or_cd_are_not_one() {
    let mut s = Scenario::new(1);
    let name: Name = "example.org".parse().unwrap();
    for (qtype, dnssec_ok, cd) in [(1, false, false), (28, false, false), (1, true, false), (1, false, true)] {
        s.ask_key(&CacheKey::new(name.as_ref(), qtype, 1, dnssec_ok, cd));
    }
    assert_eq!(s.sent().len(), 4);
}

#[test]
fn a_miss_that_was_answered_on_its_way_here_is_not_asked_again() {
    let mut s = Scenario::new(1);
    s.ask("example.org");
    let query = s.one();
    s.respond(&query, NOERROR);
    s.got();
    let token = s.ask("example.org");
    assert_eq!(s.got(), [(token, Ok(NOERROR))]);
    assert!(s.sent().is_empty());
}

#[test]
fn nxdomain_is_an_answer() {
    let mut s = Scenario::new(2);
    let token = s.ask("nothing.example");
    let query = s.one();
    s.respond(&query, NXDOMAIN);
    assert_eq!(s.got(), [(token, Ok(NXDOMAIN))]);
    assert!(s.sent().is_empty());
}

#[test]
fn silence_for_800_ms_moves_on_to_the_next_server() {
    let mut s = Scenario::new(2);
    let token = s.ask("example.org");
    s.one();
    s.pass_ms(799);
    assert!(s.sent().is_empty());
    s.pass_ms(1);
    let second = s.one();
    assert_eq!(second.server, server(2));
    s.respond(&second, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))]);
    assert_eq!(s.counters.upstream_timeouts.get(), 1);
}

#[test]
fn every_transmit_has_its_own_id() {
    let mut s = Scenario::new(1);
    s.ask("example.org");
    let mut ids = vec![s.one().message[..2].to_vec()];
    for _ in 0..2 {
        s.pass_ms(1_200);
        ids.extend(s.sent().iter().map(|sent| sent.message[..2].to_vec()));
    }
    assert_eq!(ids.len(), 3);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_late_answer_is_an_answer_and_the_later_try_is_closed() {
    let mut s = Scenario::new(2);
    let token = s.ask("example.org");
    let first = s.one();
    s.pass_ms(900);
    let second = s.one();
    s.respond(&first, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))]);
    assert!(s.closed.contains(&first.exchange) && s.closed.contains(&second.exchange));
    assert_eq!(s.counters.upstream_late.get(), 1);
    s.respond(&second, NOERROR);
    assert!(s.got().is_empty());
}

#[test]
fn an_answer_after_the_tries_but_before_the_deadline_still_counts() {
    let mut s = Scenario::new(1);
    let token = s.ask("example.org");
    let first = s.one();
    s.pass_ms(4_900);
    assert_eq!(s.sent().len(), 2);
    assert!(s.got().is_empty());
    s.respond(&first, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))]);
}

#[test]
fn total_silence_fails_at_the_deadline() {
    for servers in [1, 2, 3] {
        let mut s = Scenario::new(servers);
        let token = s.ask("example.org");
        s.pass(QUESTION_TIME - Duration::from_millis(1));
        assert!(s.got().is_empty());
        s.pass_ms(1);
        assert_eq!(s.got(), [(token, Err(Failure::Timeout))], "{servers} servers");
        assert_eq!(s.closed.len(), s.sent().len());
        assert!(s.core.is_idle());
    }
}

#[test]
fn a_wrong_id_is_not_believed_and_the_exchange_goes_on_over_tcp() {
    let mut s = Scenario::new(2);
    let token = s.ask("example.org");
    let query = s.one();
    let mut spoof = response(&query.message, NOERROR);
    spoof[0] ^= 0x55;
    s.deliver(&query, &spoof);
    assert!(s.got().is_empty());
    assert_eq!((s.counters.spoof_ignored.get(), s.counters.spoof_near_misses.get()), (1, 1));
    let tcp = s.one();
    assert_eq!((tcp.server, tcp.transport), (server(1), Transport::Tcp));
    s.respond(&query, NOERROR);
    assert!(s.got().is_empty(), "the UDP exchange is no longer listened to");
    s.respond(&tcp, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))]);
}

/// Delivers what `edit` makes of the right answer, expects it to be ignored, then lets the right one through.
fn ignored(what: &str, edit: impl Fn(&mut Vec<u8>)) {
    let mut s = Scenario::new(1);
    let token = s.ask("example.org");
    let query = s.one();
    let mut spoof = response(&query.message, NOERROR);
    edit(&mut spoof);
    s.deliver(&query, &spoof);
    assert!(s.got().is_empty() && s.sent().is_empty() && s.closed.is_empty(), "{what}");
    assert_eq!(s.counters.spoof_ignored.get(), 1, "{what}");
    s.respond(&query, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))], "{what}: listening went on");
}

#[test]
fn another_question_or_case_is_not_believed_and_the_exchange_goes_on_over_tcp() {
    type Edit = fn(&mut Vec<u8>);
    let edits: [(&str, Edit); 4] = [
        ("name", |m| m[13] = if m[13] == b'f' { b'g' } else { b'f' }),
        ("type", |m| m[26] = 28),
        ("class", |m| m[28] = 3),
        ("case", |m| m[13] ^= 0x20),
    ];
    for (what, edit) in edits {
        let mut s = Scenario::new(1);
        let token = s.ask("example.org");
        let query = s.one();
        let mut spoof = response(&query.message, NOERROR);
        edit(&mut spoof);
        s.deliver(&query, &spoof);
        assert!(s.got().is_empty(), "{what}");
        let tcp = s.one();
        assert_eq!((tcp.server, tcp.transport), (server(1), Transport::Tcp), "{what}");
        s.respond(&tcp, NOERROR);
        assert_eq!(s.got(), [(token, Ok(NOERROR))], "{what}");
        assert_eq!(s.counters.spoof_near_misses.get(), 1, "{what}");
    }
}

#[test]
fn a_query_back_at_us_is_ignored() {
    ignored("QR", |m| m[2] &= 0x7f);
}

#[test]
fn another_opcode_is_ignored() {
    ignored("opcode", |m| m[2] |= 0x28);
}

#[test]
fn no_question_or_two_are_ignored() {
    ignored("QDCOUNT=0", |m| m[5] = 0);
    ignored("QDCOUNT=2", |m| m[5] = 2);
}

#[test]
fn bytes_too_short_to_be_a_message_are_ignored() {
    ignored("empty", Vec::clear);
    ignored("eleven octets", |m| m.truncate(11));
    ignored("half a question", |m| m.truncate(20));
}

#[test]
fn over_tcp_the_case_does_not_matter() {
    let mut s = Scenario::new(1);
    let token = s.ask("big.example");
    let query = s.one();
    s.deliver(&query, &truncated(&query.message));
    let tcp = s.one();
    let mut answer = response(&tcp.message, NOERROR);
    answer[13..16].make_ascii_uppercase();
    s.deliver(&tcp, &answer);
    assert_eq!(s.got(), [(token, Ok(NOERROR))]);
}

#[test]
fn truncation_asks_the_same_server_over_tcp() {
    let mut s = Scenario::new(2);
    let token = s.ask("big.example");
    let query = s.one();
    s.deliver(&query, &truncated(&query.message));
    assert!(s.got().is_empty());
    let tcp = s.one();
    assert_eq!((tcp.server, tcp.transport), (query.server, Transport::Tcp));
    assert!(has_opt(&tcp.message));
    s.respond(&tcp, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))]);
}

#[test]
fn truncation_over_tcp_is_a_failure() {
    let mut s = Scenario::new(1);
    let token = s.ask("big.example");
    let query = s.one();
    s.deliver(&query, &truncated(&query.message));
    let tcp = s.one();
    s.deliver(&tcp, &truncated(&tcp.message));
    assert_eq!(s.got(), [(token, Err(Failure::Invalid))]);
}

#[test]
fn a_server_without_tcp_is_left_for_the_next() {
    let mut s = Scenario::new(2);
    let token = s.ask("big.example");
    let query = s.one();
    s.deliver(&query, &truncated(&query.message));
    let tcp = s.one();
    s.fail(&tcp, ExchangeFailure::Refused);
    let next = s.one();
    assert_eq!((next.server, next.transport), (server(2), Transport::Udp));
    s.respond(&next, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))]);
}

#[test]
fn formerr_to_edns_asks_once_without_it() {
    let mut s = Scenario::new(2);
    let token = s.ask("example.org");
    let query = s.one();
    assert!(has_opt(&query.message));
    s.respond(&query, FORMERR);
    let plain = s.one();
    assert_eq!((plain.server, has_opt(&plain.message)), (server(1), false));
    s.respond(&plain, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))]);
}

#[test]
fn a_bare_header_formerr_counts_for_edns_only() {
    let mut s = Scenario::new(1);
    let token = s.ask("example.org");
    let query = s.one();
    let mut bare = response(&query.message, FORMERR);
    bare.truncate(12);
    bare[5] = 0;
    s.deliver(&query, &bare);
    let plain = s.one();
    assert!(!has_opt(&plain.message));
    s.respond(&plain, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))]);
}

#[test]
fn formerr_without_edns_moves_on_and_is_delivered_if_nobody_knows_better() {
    let mut s = Scenario::new(2);
    let token = s.ask("example.org");
    for expected in [server(1), server(2)] {
        let query = s.one();
        assert_eq!(query.server, expected);
        s.respond(&query, FORMERR);
        let plain = s.one();
        s.respond(&plain, FORMERR);
    }
    assert_eq!(s.got(), [(token, Ok(FORMERR))]);
}

#[test]
fn servfail_moves_on_to_the_next_server_at_once() {
    let mut s = Scenario::new(2);
    let token = s.ask("example.org");
    let query = s.one();
    s.respond(&query, SERVFAIL);
    let next = s.one();
    assert_eq!(next.server, server(2));
    s.respond(&next, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))]);
}

#[test]
fn servfail_everywhere_is_delivered() {
    let mut s = Scenario::new(3);
    let token = s.ask("example.org");
    for rcode in [REFUSED, REFUSED, SERVFAIL] {
        let query = s.one();
        s.respond(&query, rcode);
    }
    assert_eq!(s.got(), [(token, Ok(SERVFAIL))]);
    assert!(s.core.health().iter().all(|health| health.failures == 0), "they are alive");
}

#[test]
fn servfail_from_one_and_silence_from_the_other_is_servfail_after_one_try() {
    let mut s = Scenario::new(2);
    let token = s.ask("example.org");
    let query = s.one();
    s.respond(&query, SERVFAIL);
    s.one();
    s.pass_ms(1_200);
    assert_eq!(s.got(), [(token, Ok(SERVFAIL))]);
    assert!(s.sent().is_empty());
}

#[test]
fn a_late_servfail_does_not_cut_short_the_try_at_another_server() {
    let mut s = Scenario::new(2);
    let token = s.ask("example.org");
    let first = s.one();
    s.pass_ms(800);
    let second = s.one();
    s.respond(&first, SERVFAIL);
    assert!(s.got().is_empty() && s.sent().is_empty());
    s.respond(&second, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))]);
}

#[test]
fn refused_connections_everywhere_fail_at_once() {
    let mut s = Scenario::new(2);
    let token = s.ask("example.org");
    let mut tries = 0;
    while let Some(query) = s.core.poll_transmit() {
        tries += 1;
        s.fail(&query, ExchangeFailure::Refused);
    }
    assert_eq!(tries, 6);
    assert_eq!(s.got(), [(token, Err(Failure::Unreachable))]);
}

#[test]
fn running_out_of_sockets_is_not_held_against_the_server() {
    let mut s = Scenario::new(1);
    s.ask("example.org");
    let query = s.one();
    s.fail(&query, ExchangeFailure::Local);
    assert_eq!(s.core.health()[0].failures, 0);
}

#[test]
fn no_server_at_all_fails_at_once() {
    let mut s = Scenario::new(0);
    let token = s.ask("example.org");
    assert!(matches!(s.got()[..], [(t, Err(_))] if t == token));
    assert!(s.core.is_idle());
}

#[test]
fn waiters_of_one_question_are_bounded() {
    let bounds = Bounds { waiters_per_question: 3, ..Bounds::default() };
    let mut s = Scenario::bounded(1, bounds);
    for _ in 0..3 {
        s.ask("example.org");
    }
    let fourth = s.ask("example.org");
    assert_eq!(s.got(), [(fourth, Err(Failure::Overloaded))]);
    let query = s.one();
    s.respond(&query, NOERROR);
    assert_eq!(s.got().len(), 3);
    assert_eq!(s.counters.overloaded.get(), 1);
}

#[test]
fn waiters_are_bounded_over_all_questions_and_places_come_free() {
    let mut s = Scenario::bounded(1, Bounds { waiters: 2, ..Bounds::default() });
    s.ask("a.example");
    s.ask("b.example");
    let third = s.ask("c.example");
    assert_eq!(s.got(), [(third, Err(Failure::Overloaded))]);
    let query = s.sent().remove(0);
    s.respond(&query, NOERROR);
    s.got();
    s.ask("c.example");
    assert_eq!(s.sent().len(), 1);
    assert!(s.got().is_empty());
}

#[test]
fn questions_are_bounded_but_may_be_joined() {
    let mut s = Scenario::bounded(1, Bounds { questions: 1, ..Bounds::default() });
    s.ask("a.example");
    s.ask("a.example");
    assert!(s.got().is_empty());
    let other = s.ask("b.example");
    assert_eq!(s.got(), [(other, Err(Failure::Overloaded))]);
}

#[test]
fn a_flood_below_one_zone_leaves_room_for_questions_below_others() {
    let mut s = Scenario::bounded(1, Bounds { questions: 4, exchanges: 8, ..Bounds::default() });
    let flood: Vec<u64> = (0..4).map(|n| s.ask(&format!("x{n}.victim.example"))).collect();
    let more = s.ask("x4.victim.example");
    assert_eq!(s.got(), [(more, Err(Failure::Overloaded))], "the flood has no claim to more");
    let silent = s.sent();
    let good = s.ask("www.good.example");
    assert_eq!(s.got(), [(flood[0], Err(Failure::Overloaded))], "the oldest of the flood makes way");
    let query = s.one();
    s.respond(&query, NOERROR);
    assert_eq!(s.got(), [(good, Ok(NOERROR))]);
    assert!(s.closed.contains(&silent[0].exchange));
    // The place that came free is anybody's.
    s.ask("x5.victim.example");
    assert!(s.got().is_empty());
    s.pass(QUESTION_TIME);
    assert_eq!(s.got().len(), 4);
    assert!(s.core.is_idle());
}

#[test]
fn clients_of_a_silent_name_do_not_take_every_place() {
    let mut s = Scenario::bounded(1, Bounds { waiters: 4, ..Bounds::default() });
    let waiting: Vec<u64> = (0..4).map(|_| s.ask("x.victim.example")).collect();
    let good = s.ask("www.good.example");
    let got: Vec<u64> = s.got().into_iter().map(|(token, _)| token).collect();
    assert_eq!(got, waiting);
    let query = s.sent().remove(1);
    s.respond(&query, NOERROR);
    assert_eq!(s.got(), [(good, Ok(NOERROR))]);
}

#[test]
fn when_exchanges_are_full_the_oldest_late_one_goes() {
    let mut s = Scenario::bounded(2, Bounds { questions: 2, exchanges: 2, ..Bounds::default() });
    s.ask("example.org");
    let first = s.one();
    s.pass_ms(800);
    let second = s.one();
    s.ask("example.net");
    s.pass_ms(0);
    assert_eq!(s.closed, [first.exchange]);
    s.respond(&second, NOERROR);
    assert_eq!(s.got().len(), 1);
}

#[test]
fn a_dead_server_backs_off_and_is_probed_again() {
    let mut s = Scenario::new(2);
    for number in 0..3 {
        s.ask(&format!("q{number}.example"));
        let query = s.one();
        assert_eq!(query.server, server(1));
        s.fail(&query, ExchangeFailure::Refused);
        let query = s.one();
        s.respond(&query, NOERROR);
    }
    s.ask("during.example");
    let query = s.one();
    assert_eq!(query.server, server(2), "it backs off");
    s.respond(&query, NOERROR);
    s.pass(BACK_OFF_MIN);
    s.ask("probe.example");
    s.ask("beside.example");
    let sent = s.sent();
    assert_eq!((sent[0].server, sent[1].server), (server(1), server(2)), "one question probes");
    s.respond(&sent[0], NOERROR);
    s.ask("after.example");
    assert_eq!(s.one().server, server(1), "it is back");
}

#[test]
fn when_all_back_off_they_are_asked_all_the_same() {
    let mut s = Scenario::new(1);
    for number in 0..4 {
        s.ask(&format!("q{number}.example"));
        s.pass(QUESTION_TIME);
        assert!(!s.sent().is_empty());
    }
    assert!(s.core.health()[0].failures >= 3);
    let token = s.ask("example.org");
    s.got();
    let query = s.one();
    s.respond(&query, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))]);
}

#[test]
fn an_unreadable_answer_asks_over_tcp_and_ends_nothing() {
    let mut s = Scenario::new(2);
    let token = s.ask("example.org");
    let query = s.one();
    let mut broken = response(&query.message, NOERROR);
    broken.truncate(broken.len() - 3);
    s.deliver(&query, &broken);
    assert_eq!(s.counters.upstream_invalid.get(), 1);
    let tcp = s.one();
    assert_eq!((tcp.server, tcp.transport), (server(1), Transport::Tcp));
    s.deliver(&query, &broken);
    assert!(s.sent().is_empty(), "once is enough");
    s.respond(&query, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))], "the true response was still listened for");
    assert!(s.closed.contains(&query.exchange) && s.closed.contains(&tcp.exchange));
}

#[test]
fn a_message_on_a_closed_exchange_is_nothing() {
    let mut s = Scenario::new(1);
    s.ask("example.org");
    let query = s.one();
    s.respond(&query, NOERROR);
    s.got();
    s.respond(&query, NXDOMAIN);
    s.fail(&query, ExchangeFailure::Refused);
    assert!(s.got().is_empty() && s.core.is_idle());
}

#[test]
fn abandoning_answers_everybody() {
    let mut s = Scenario::new(2);
    let first = s.ask("a.example");
    let second = s.ask("b.example");
    let query = s.sent().remove(0);
    s.respond(&query, SERVFAIL);
    s.core.abandon(s.now);
    assert_eq!(s.got(), [(first, Ok(SERVFAIL)), (second, Err(Failure::Timeout))]);
    assert!(s.core.is_idle() && s.core.poll_timeout().is_none());
}

#[test]
fn the_same_seed_and_the_same_calls_give_the_same_queries() {
    let run = || {
        let mut s = Scenario::new(2);
        for number in 0..20 {
            s.ask(&format!("q{number}.example"));
        }
        s.pass_ms(2_000);
        s.sent()
    };
    assert_eq!(run(), run());
}

#[test]
fn answers_say_whether_a_zones_servers_gave_them() {
    let zone = ZoneServers { name: "corp.example".parse().unwrap(), servers: vec![server(9)] };
    let mut s = Scenario::with(&CoreSettings { zones: vec![zone], ..CoreSettings::new(vec![server(1)]) });
    for (name, to, of_zone) in [("www.corp.example", 9, true), ("www.example.org", 1, false)] {
        s.ask(name);
        let query = s.one();
        assert_eq!(query.server, server(to));
        s.respond(&query, NOERROR);
        let stored = s.core.poll_reply().unwrap().result.unwrap();
        assert_eq!(stored.is_of_zone(), of_zone, "{name}");
        assert_eq!(s.cache.get(s.now, &key(name)).unwrap().is_of_zone(), of_zone, "{name}");
    }
    // An alias leads out of the zone: what it brings is the world's, and so is the whole.
    s.ask("alias.corp.example");
    let query = s.one();
    let mut alias = response(&query.message, NOERROR);
    alias.truncate(question_end(&query.message));
    alias.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x05\x03www\0");
    s.deliver(&query, &alias);
    let query = s.one();
    assert_eq!(query.server, server(1));
    s.respond(&query, NOERROR);
    let whole = s.core.poll_reply().unwrap().result.unwrap();
    assert!(!whole.is_of_zone() && whole.ttl() == 60);
}

#[test]
fn other_servers_take_over_for_questions_to_come_and_health_is_kept() {
    let mut s = Scenario::new(2);
    for number in 0..3 {
        s.ask(&format!("q{number}.example"));
        let query = s.one();
        s.fail(&query, ExchangeFailure::Refused);
        let query = s.one();
        s.respond(&query, NOERROR);
    }
    s.got();
    let token = s.ask("in.flight");
    let query = s.one();
    s.core.set_servers(&[server(1), server(3)]);
    s.respond(&query, NOERROR);
    assert_eq!(s.got(), [(token, Ok(NOERROR))], "it goes on with the servers that it had");
    s.ask("after.example");
    assert_eq!(s.one().server, server(3), "the first is still known to be bad");
    let health = s.core.health();
    assert_eq!(health.iter().map(|health| health.address).collect::<Vec<_>>(), [server(1), server(3)]);
    assert_eq!(health[0].failures, 3);
}

#[test]
fn servers_beyond_the_bound_are_left_out() {
    let s = Scenario::new(SERVERS_MAX + 4);
    assert_eq!(s.core.health().len(), SERVERS_MAX);
}

#[test]
fn a_dead_upstream_is_asked_less_than_once_a_second_for_a_name_that_a_thousand_clients_want() {
    let mut s = Scenario::new(2);
    let (mut asked, mut answered, mut sent) = (0, 0, 0);
    for _ in 0..60 {
        for _ in 0..1_000 {
            // A worker looks into the cache before it hands a miss on.
            if s.cache.get(s.now, &key("example.org")).is_none() {
                s.ask("example.org");
                asked += 1;
            }
        }
        s.pass(Duration::from_secs(1));
        sent += s.sent().len();
        answered += s.got().len();
    }
    s.pass(QUESTION_TIME);
    assert!(sent <= 60, "{sent} queries in a minute");
    assert_eq!(asked, answered + s.got().len());
}

#[test]
fn a_flood_of_random_names_leaves_cached_names_and_memory_alone() {
    let mut s = Scenario::new(1);
    let good: Vec<_> = (0..100).map(|number| key(&format!("good{number}.example"))).collect();
    for key in &good {
        s.ask_key(key);
        let query = s.one();
        s.respond(&query, NOERROR);
        (0..3).for_each(|_| drop(s.cache.get(s.now, key)));
    }
    s.got();
    let mut most = 0;
    for number in 0..20_000 {
        s.ask(&format!("random{number}.victim.example"));
        most = most.max(s.sent().len());
        s.got();
        if number % 500 == 0 {
            s.pass_ms(10);
        }
    }
    assert!(most <= 2, "{most} queries for one question at once");
    let hits = good.iter().filter(|key| s.cache.get(s.now, key).is_some()).count();
    assert_eq!(hits, 100);
    assert!(s.cache.bytes() <= 1 << 20);
    s.pass(QUESTION_TIME);
    s.pass(QUESTION_TIME);
    assert!(s.core.is_idle());
}

/// What may happen next to a core.
#[derive(Clone, Debug)]
enum Happens {
    Asks(u8),
    /// The response to one of the last queries, with octets changed.
    Responds(u8, Vec<(u16, u8)>, u8),
    Cut(u8, u8),
    Fails(u8, u8),
    Passes(u16),
    Servers(u8),
}

fn happens() -> impl Strategy<Value = Happens> {
    let change = prop::collection::vec((any::<u16>(), any::<u8>()), 0..3);
    prop_oneof![
        3 => (0..12_u8).prop_map(Happens::Asks),
        4 => (any::<u8>(), change, 0..6_u8).prop_map(|(which, change, rcode)| Happens::Responds(which, change, rcode)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(which, octets)| Happens::Cut(which, octets)),
        1 => (any::<u8>(), 0..3_u8).prop_map(|(which, why)| Happens::Fails(which, why)),
        3 => (0..2_500_u16).prop_map(Happens::Passes),
        1 => (0..4_u8).prop_map(Happens::Servers),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order: every client gets one reply within a question's life, nothing is left over, and no
    /// question makes more queries than it may.
    #[test]
    fn everybody_gets_one_reply(events in prop::collection::vec(happens(), 1..120), mode in 0..3_usize) {
        let mode = [Mode::Ordered, Mode::Fastest, Mode::Parallel][mode];
        let settings = CoreSettings {
            mode,
            bounds: Bounds { questions: 8, waiters: 20, waiters_per_question: 6, exchanges: 20, ..Bounds::default() },
            ..CoreSettings::new((1..=3).map(server).collect())
        };
        let mut s = Scenario::with(&settings);
        let (mut sent, mut got): (Vec<Transmit>, Vec<Got>) = (Vec::new(), Vec::new());
        for event in events {
            let pick = |which: u8| sent.len().checked_sub(1 + usize::from(which) % sent.len().clamp(1, 12)).map(|at| sent[at].clone());
            match event {
                Happens::Asks(name) => { s.ask(&format!("n{name}.example")); }
                Happens::Responds(which, change, rcode) => if let Some(query) = pick(which) {
                    let mut message = response(&query.message, Rcode(rcode.into()));
                    for (at, octet) in change {
                        let at = usize::from(at) % message.len();
                        message[at] ^= octet;
                    }
                    s.deliver(&query, &message);
                },
                Happens::Cut(which, octets) => if let Some(query) = pick(which) {
                    let message = response(&query.message, NOERROR);
                    s.deliver(&query, &message[..message.len().saturating_sub(octets.into())]);
                },
                Happens::Fails(which, why) => if let Some(query) = pick(which) {
                    let all = [ExchangeFailure::Refused, ExchangeFailure::Unreachable, ExchangeFailure::Local];
                    s.fail(&query, all[usize::from(why)]);
                },
                Happens::Passes(millis) => s.pass_ms(millis.into()),
                Happens::Servers(count) => s.core.set_servers(&(1..=usize::from(count)).map(server).collect::<Vec<_>>()),
            }
            sent.extend(s.sent());
            got.extend(s.got());
        }
        // Twice: an answer may have been renewed at the end.
        s.pass(QUESTION_TIME);
        s.pass(QUESTION_TIME);
        sent.extend(s.sent());
        got.extend(s.got());
        let mut tokens: Vec<u64> = got.iter().map(|(token, _)| *token).collect();
        tokens.sort_unstable();
        prop_assert_eq!(tokens, (1..=s.token).collect::<Vec<_>>());
        prop_assert!(s.core.is_idle() && s.core.poll_timeout().is_none());
        let questions = s.token + s.counters.prefetched.get();
        prop_assert!(sent.len() as u64 <= questions * u64::from(QUERIES_MAX));
    }
}
