//! The upstream servers, how each has behaved, and which one is asked next.
//!
//! Health is deliberately simple: consecutive failures put a server behind the others for a while that doubles; when it is
//! over, one question at a time probes it, and the first response brings it back to its place.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use smallvec::{SmallVec, smallvec};

use super::cookie::Cookie;
use super::routes::Way;
use super::settings::Conduct;
use crate::base::model::Mono;

/// Consecutive failures after which a server backs off.
pub const FAILURES_BEFORE_BACK_OFF: u32 = 3;
/// The first back-off.
pub const BACK_OFF_MIN: Duration = Duration::from_secs(1);
/// The longest back-off; each failed probe doubles it until here.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// Responses in a row with the name in another case, after which a server is asked over TCP instead.
pub const CASE_BREAKS_MAX: u8 = 3;
/// How long that is held against it.
pub const CASE_BREAK_TIME: Duration = Duration::from_secs(3_600);
/// Failures in a row over TCP, after which a server that breaks case is asked over UDP in lower case.
pub(super) const TCP_FAILURES_MAX: u8 = 2;
/// Tries of one question at one server.
pub(super) const TRIES_PER_SERVER_MAX: u8 = 3;
/// One question in so many asks another server than the fastest first, so that a change is noticed.
const EXPLORE_ONE_IN: u32 = 32;

/// Which server is asked first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// The first in the configured order that is healthy.
    #[default]
    Ordered,
    /// The one with the shortest smoothed round-trip time; now and then another, to see how it does.
    Fastest,
    /// The first two at once; the answer that comes first counts.
    Parallel,
}

impl Mode {
    const WORDS: [(Self, &'static str); 3] =
        [(Self::Ordered, "ordered"), (Self::Fastest, "fastest"), (Self::Parallel, "parallel")];
}

/// The word is none of the three.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no such mode")]
pub struct UnknownMode;

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::WORDS.iter().find(|(_, word)| *word == text).map(|(mode, _)| *mode).ok_or(UnknownMode)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::WORDS.iter().find(|(mode, _)| mode == self).map_or("", |(_, word)| word))
    }
}

/// How an upstream server is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerHealth {
    /// The server.
    pub address: SocketAddr,
    /// Smoothed round-trip time (RFC 6298 §2: 7/8 old, 1/8 new; a failure counts as what was waited); `None` before the first.
    pub round_trip: Option<Duration>,
    /// Failures since the last response.
    pub failures: u32,
    /// Until when it stands behind the others; in the past for a healthy server.
    pub back_off_until: Mono,
}

impl ServerHealth {
    const fn new(address: SocketAddr) -> Self {
        Self { address, round_trip: None, failures: 0, back_off_until: Mono::START }
    }

    /// Whether it is to be avoided at `now`.
    fn backs_off(&self, now: Mono) -> bool {
        self.failures >= FAILURES_BEFORE_BACK_OFF && now < self.back_off_until
    }

    /// How long the failures so far are held against it.
    fn back_off(&self) -> Duration {
        let doublings = self.failures.saturating_sub(FAILURES_BEFORE_BACK_OFF).min(6);
        BACK_OFF_MIN.saturating_mul(1 << doublings).min(BACK_OFF_MAX)
    }

    fn smooth(&mut self, sample: Duration) {
        self.round_trip = Some(self.round_trip.map_or(sample, |smoothed| (smoothed * 7 + sample) / 8));
    }
}

/// A server and our dealings with it.
#[derive(Debug)]
struct Server {
    health: ServerHealth,
    cookie: Cookie,
    case_breaks: u8,
    case_off_until: Mono,
    tcp_failures: u8,
}

/// What a question has had from each server of its way.
#[derive(Clone, Debug)]
pub(super) struct Tries {
    way: Way,
    tried: SmallVec<[Tried; 4]>,
}

#[derive(Clone, Copy, Debug)]
enum Tried {
    /// Asked so many times without a response.
    Times(u8),
    /// It responded, unhelpfully; asking again will not change that.
    Done,
}

impl Tries {
    /// A clean sheet.
    pub(super) fn new(way: Way) -> Self {
        let tried = smallvec![Tried::Times(0); way.len()];
        Self { way, tried }
    }

    /// The server responded unhelpfully: this question does not ask it again.
    pub(super) fn done(&mut self, server: SocketAddr) {
        for (tried, _) in self.tried.iter_mut().zip(self.way.iter()).filter(|(_, address)| **address == server) {
            *tried = Tried::Done;
        }
    }

    /// Whether nothing has been asked yet.
    fn is_clean(&self) -> bool {
        self.tried.iter().all(|tried| matches!(tried, Tried::Times(0)))
    }
}

/// How a query is sent to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manner {
    /// Over UDP, the name in random case.
    RandomCase,
    /// It does not keep case: over TCP.
    Tcp,
    /// It does not keep case, and is not to be had over TCP.
    LowerCase,
}

/// Every server of every route.
#[derive(Debug)]
pub(super) struct Servers {
    all: BTreeMap<SocketAddr, Server>,
    mode: Mode,
    conduct: Conduct,
}

impl Servers {
    pub(super) fn new(mode: Mode, conduct: Conduct) -> Self {
        Self { all: BTreeMap::new(), mode, conduct }
    }

    /// Makes these the servers that are known; those that were keep their health.
    pub(super) fn set(&mut self, addresses: &[SocketAddr], random: &mut StdRng) {
        self.all.retain(|address, _| addresses.contains(address));
        for &address in addresses {
            self.all.entry(address).or_insert_with(|| Server {
                health: ServerHealth::new(address),
                cookie: Cookie::new(random.random()),
                case_breaks: 0,
                case_off_until: Mono::START,
                tcp_failures: 0,
            });
        }
    }

    /// Which server a question asks next, if any is left: first those it asked less often, then healthy before backing off, then
    /// as the mode says. With `untried_only` a server is asked only if it has not been asked yet.
    pub(super) fn choose(
        &mut self,
        now: Mono,
        tries: &mut Tries,
        untried_only: bool,
        random: &mut StdRng,
    ) -> Option<SocketAddr> {
        let limit = if untried_only { 1 } else { TRIES_PER_SERVER_MAX };
        let explore = self.mode == Mode::Fastest && tries.is_clean() && random.random_range(0..EXPLORE_ONE_IN) == 0;
        let mut rank = |health: &ServerHealth| match self.mode {
            Mode::Fastest if explore => Duration::from_nanos(random.random::<u32>().into()),
            Mode::Fastest => health.round_trip.unwrap_or_default(),
            Mode::Ordered | Mode::Parallel => Duration::ZERO,
        };
        let candidates = tries.tried.iter().zip(tries.way.iter()).enumerate().filter_map(|(at, (tried, address))| {
            let health = &self.all.get(address)?.health;
            match *tried {
                Tried::Times(times) if times < limit => Some((times, health.backs_off(now), rank(health), at)),
                Tried::Times(_) | Tried::Done => None,
            }
        });
        let (_, _, _, at) = candidates.min()?;
        if let Some(Tried::Times(times)) = tries.tried.get_mut(at) {
            *times += 1;
            // Without fail-over nobody else is asked after this one.
            if !self.conduct.fail_over {
                tries.tried.iter_mut().for_each(|tried| *tried = Tried::Done);
            }
        }
        let address = *tries.way.get(at)?;
        let health = &mut self.all.get_mut(&address)?.health;
        if health.failures >= FAILURES_BEFORE_BACK_OFF && now >= health.back_off_until {
            // This question is the probe. It counts as failed until a response says otherwise, so the others stay away.
            health.failures = health.failures.saturating_add(1);
            health.back_off_until = now.plus(health.back_off());
        }
        Some(address)
    }

    /// How a query goes to a server.
    pub(super) fn manner(&self, server: SocketAddr, now: Mono) -> Manner {
        match self.all.get(&server) {
            Some(server) if self.conduct.random_case && server.case_off_until <= now => Manner::RandomCase,
            Some(server) if self.conduct.random_case && server.tcp_failures < TCP_FAILURES_MAX => Manner::Tcp,
            _ => Manner::LowerCase,
        }
    }

    /// The cookie between us and a server.
    pub(super) fn cookie(&mut self, server: SocketAddr) -> Option<&mut Cookie> {
        self.all.get_mut(&server).filter(|_| self.conduct.cookies).map(|server| &mut server.cookie)
    }

    /// A response came, whatever it said.
    pub(super) fn responded(&mut self, server: SocketAddr, after: Duration, tcp: bool) {
        let Some(server) = self.all.get_mut(&server) else { return };
        server.health.failures = 0;
        server.health.back_off_until = Mono::START;
        server.health.smooth(after);
        if tcp {
            server.tcp_failures = 0;
        } else {
            server.case_breaks = 0;
        }
    }

    /// A response was right but for the case of its name. Says whether the server is now known for it.
    pub(super) fn broke_case(&mut self, server: SocketAddr, now: Mono) -> bool {
        let Some(server) = self.all.get_mut(&server) else { return false };
        server.case_breaks = server.case_breaks.saturating_add(1);
        let known = server.case_breaks == CASE_BREAKS_MAX;
        if server.case_breaks >= CASE_BREAKS_MAX {
            server.case_off_until = now.plus(CASE_BREAK_TIME);
        }
        known
    }

    /// A try timed out or broke down after so long. While the server backs off that is no news: a thousand questions that were
    /// in flight when it died are one death.
    pub(super) fn failed(&mut self, server: SocketAddr, now: Mono, after: Duration, tcp: bool) {
        let Some(server) = self.all.get_mut(&server) else { return };
        if tcp {
            server.tcp_failures = server.tcp_failures.saturating_add(1);
        }
        let health = &mut server.health;
        if health.backs_off(now) {
            return;
        }
        health.smooth(after);
        health.failures = health.failures.saturating_add(1);
        if self.conduct.back_off && health.failures >= FAILURES_BEFORE_BACK_OFF {
            health.back_off_until = now.plus(health.back_off());
        }
    }

    /// How a server is doing.
    pub(super) fn health(&self, server: SocketAddr) -> Option<ServerHealth> {
        self.all.get(&server).map(|server| server.health)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    struct Given {
        servers: Servers,
        way: Way,
        random: StdRng,
    }

    impl Given {
        fn new(mode: Mode) -> Self {
            let way: Way = ["192.0.2.1:53".parse().unwrap(), "192.0.2.2:53".parse().unwrap()].into();
            let mut random = StdRng::from_seed([7; 32]);
            let mut servers = Servers::new(mode, Conduct::default());
            servers.set(&way, &mut random);
            Self { servers, way, random }
        }

        fn first(&mut self, now: Mono) -> usize {
            let mut tries = Tries::new(Way::clone(&self.way));
            self.next(now, &mut tries).unwrap()
        }

        fn next(&mut self, now: Mono, tries: &mut Tries) -> Option<usize> {
            let chosen = self.servers.choose(now, tries, false, &mut self.random)?;
            self.way.iter().position(|server| *server == chosen)
        }

        fn fail(&mut self, at: usize, now: Mono) {
            self.servers.failed(self.way[at], now, ms(800), false);
        }

        fn respond(&mut self, at: usize, after: Duration) {
            self.servers.responded(self.way[at], after, false);
        }
    }

    fn at(secs: u64) -> Mono {
        Mono::START.plus(Duration::from_secs(secs))
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn tries_alternate_and_end() {
        let mut given = Given::new(Mode::Ordered);
        let mut tries = Tries::new(Way::clone(&given.way));
        let order: Vec<usize> = std::iter::from_fn(|| given.next(at(0), &mut tries)).collect();
        assert_eq!(order, [0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn a_backed_off_server_is_last_and_probed_by_one_question_when_its_time_is_over() {
        let mut given = Given::new(Mode::Ordered);
        for _ in 0..FAILURES_BEFORE_BACK_OFF {
            given.fail(0, at(10));
        }
        assert_eq!(given.first(at(10)), 1);
        assert_eq!(given.first(at(11)), 0, "the probe");
        assert_eq!(given.first(at(11)), 1, "one probe is enough");
        given.respond(0, ms(20));
        assert_eq!(given.first(at(11)), 0);
    }

    #[test]
    fn back_off_doubles_with_each_failed_probe_up_to_a_minute() {
        let mut given = Given::new(Mode::Ordered);
        for _ in 0..1_000 {
            given.fail(0, at(100));
        }
        let mut now = at(100);
        let mut seen = Vec::new();
        for _ in 0..8 {
            let until = given.servers.health(given.way[0]).unwrap().back_off_until;
            seen.push(until.since(now).as_secs());
            now = until;
            assert_eq!(given.first(now), 0);
            given.fail(0, now.plus(ms(800)));
        }
        assert_eq!(seen, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn round_trip_is_smoothed_and_a_failure_counts_as_what_was_waited() {
        let mut given = Given::new(Mode::Ordered);
        given.respond(1, ms(80));
        given.respond(1, ms(160));
        assert_eq!(given.servers.health(given.way[1]).unwrap().round_trip, Some(ms(90)));
        given.fail(1, at(0));
        assert!(given.servers.health(given.way[1]).unwrap().round_trip > Some(ms(178)));
    }

    #[test]
    fn the_fastest_is_asked_first_and_the_others_now_and_then() {
        let mut given = Given::new(Mode::Fastest);
        given.respond(0, ms(30));
        assert_eq!(given.first(at(0)), 1, "nobody knows it yet");
        given.respond(1, ms(10));
        let first: Vec<usize> = (0..1_000).map(|second| given.first(at(second))).collect();
        let slower = first.iter().filter(|&&at| at == 0).count();
        assert!((5..60).contains(&slower), "{slower} of 1,000 ask the slower one");
    }

    #[test]
    fn case_is_given_up_after_three_breaks_in_a_row_and_tried_again_later() {
        let mut given = Given::new(Mode::Ordered);
        let server = given.way[0];
        for _ in 0..3 {
            given.servers.broke_case(server, at(0));
            given.servers.broke_case(server, at(0));
            given.respond(0, ms(1));
        }
        assert_eq!(given.servers.manner(server, at(0)), Manner::RandomCase);
        let known: Vec<bool> = (0..4).map(|_| given.servers.broke_case(server, at(0))).collect();
        assert_eq!(known, [false, false, true, false]);
        assert_eq!(given.servers.manner(server, at(1)), Manner::Tcp);
        given.servers.failed(server, at(1), ms(1), true);
        given.servers.failed(server, at(1), ms(1), true);
        assert_eq!(given.servers.manner(server, at(1)), Manner::LowerCase);
        assert_eq!(given.servers.manner(server, at(3_600)), Manner::RandomCase);
    }

    #[test]
    fn modes_have_words() {
        for mode in [Mode::Ordered, Mode::Fastest, Mode::Parallel] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("first".parse::<Mode>(), Err(UnknownMode));
    }
}
