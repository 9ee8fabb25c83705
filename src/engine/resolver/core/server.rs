//! The upstream servers in order of preference, how each has behaved, and which one is asked next.
//!
//! Health is deliberately simple: consecutive failures put a server behind the others for a while that doubles; when it is
//! over, one question at a time probes it, and the first response brings it back to its place.

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::model::Mono;

/// Consecutive failures after which a server backs off.
pub const FAILURES_BEFORE_BACK_OFF: u32 = 3;
/// The first back-off.
pub const BACK_OFF_MIN: Duration = Duration::from_secs(1);
/// The longest back-off; each failed probe doubles it until here.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// Tries of one question at one server.
pub(super) const TRIES_PER_SERVER_MAX: u8 = 3;

/// How an upstream server is doing, for `status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerHealth {
    /// The server.
    pub address: SocketAddr,
    /// Smoothed round-trip time (RFC 6298 §2: 7/8 old, 1/8 new); `None` before the first response.
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
}

/// A server's place in the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ServerIndex(usize);

/// What a question has had from each server.
#[derive(Clone, Debug)]
pub(super) struct Tries(Box<[Tried]>);

#[derive(Clone, Copy, Debug)]
enum Tried {
    /// Asked so many times without a response.
    Times(u8),
    /// It responded, unhelpfully; asking again will not change that.
    Done,
}

/// The servers, in order of preference.
#[derive(Debug)]
pub(super) struct Servers(Vec<ServerHealth>);

impl Servers {
    pub(super) fn new(addresses: &[SocketAddr]) -> Self {
        Self(addresses.iter().copied().map(ServerHealth::new).collect())
    }

    /// A clean sheet for a question.
    pub(super) fn no_tries(&self) -> Tries {
        Tries(vec![Tried::Times(0); self.0.len()].into())
    }

    /// Chooses the next server and counts the try: fewest tries first, then healthy before backing off, then the configured order.
    /// With `untried_only` a server is asked only if it has not been asked yet.
    pub(super) fn choose(&mut self, now: Mono, tries: &mut Tries, untried_only: bool) -> Option<ServerIndex> {
        let limit = if untried_only { 1 } else { TRIES_PER_SERVER_MAX };
        let (_, _, at) = tries
            .0
            .iter()
            .zip(&self.0)
            .enumerate()
            .filter_map(|(at, (tried, server))| match *tried {
                Tried::Times(times) if times < limit => Some((times, server.backs_off(now), at)),
                Tried::Times(_) | Tried::Done => None,
            })
            .min()?;
        if let Some(Tried::Times(times)) = tries.0.get_mut(at) {
            *times += 1;
        }
        let server = self.0.get_mut(at)?;
        if server.failures >= FAILURES_BEFORE_BACK_OFF && now >= server.back_off_until {
            // This question is the probe. It counts as failed until a response says otherwise, so the others stay away.
            server.failures = server.failures.saturating_add(1);
            server.back_off_until = now.plus(server.back_off());
        }
        Some(ServerIndex(at))
    }

    /// A server's address.
    pub(super) fn address(&self, server: ServerIndex) -> Option<SocketAddr> {
        self.0.get(server.0).map(|health| health.address)
    }

    /// A response came, whatever it said.
    pub(super) fn responded(&mut self, server: ServerIndex, after: Duration) {
        let Some(health) = self.0.get_mut(server.0) else { return };
        health.failures = 0;
        health.back_off_until = Mono::START;
        health.round_trip = Some(match health.round_trip {
            Some(smoothed) => (smoothed * 7 + after) / 8,
            None => after,
        });
    }

    /// A try timed out or broke down. While the server backs off that is no news: a thousand questions that were in flight
    /// when it died are one death.
    pub(super) fn failed(&mut self, server: ServerIndex, now: Mono) {
        let Some(health) = self.0.get_mut(server.0) else { return };
        if health.backs_off(now) {
            return;
        }
        health.failures = health.failures.saturating_add(1);
        if health.failures >= FAILURES_BEFORE_BACK_OFF {
            health.back_off_until = now.plus(health.back_off());
        }
    }

    /// How all are doing, in the configured order.
    pub(super) fn health(&self) -> &[ServerHealth] {
        &self.0
    }
}

impl Tries {
    /// The server responded unhelpfully: this question does not ask it again.
    pub(super) fn done(&mut self, server: ServerIndex) {
        if let Some(tried) = self.0.get_mut(server.0) {
            *tried = Tried::Done;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers() -> Servers {
        Servers::new(&["192.0.2.1:53".parse().unwrap(), "192.0.2.2:53".parse().unwrap()])
    }

    fn at(secs: u64) -> Mono {
        Mono::START.plus(Duration::from_secs(secs))
    }

    #[test]
    fn tries_alternate_and_end() {
        let mut servers = servers();
        let mut tries = servers.no_tries();
        let order: Vec<usize> =
            std::iter::from_fn(|| servers.choose(at(0), &mut tries, false).map(|server| server.0)).collect();
        assert_eq!(order, [0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn a_backed_off_server_is_last_and_probed_by_one_question_when_its_time_is_over() {
        let mut servers = servers();
        for _ in 0..FAILURES_BEFORE_BACK_OFF {
            servers.failed(ServerIndex(0), at(10));
        }
        let mut first = |now| {
            let mut tries = servers.no_tries();
            servers.choose(now, &mut tries, false).unwrap().0
        };
        assert_eq!(first(at(10)), 1);
        assert_eq!(first(at(11)), 0, "the probe");
        assert_eq!(first(at(11)), 1, "one probe is enough");
        servers.responded(ServerIndex(0), Duration::from_millis(20));
        let mut tries = servers.no_tries();
        assert_eq!(servers.choose(at(11), &mut tries, false).unwrap().0, 0);
    }

    #[test]
    fn back_off_doubles_with_each_failed_probe_up_to_a_minute() {
        let mut servers = servers();
        for _ in 0..1_000 {
            servers.failed(ServerIndex(0), at(100));
        }
        let mut now = at(100);
        let mut seen = Vec::new();
        for _ in 0..8 {
            let until = servers.health()[0].back_off_until;
            seen.push(until.since(now).as_secs());
            now = until;
            assert_eq!(servers.choose(now, &mut servers.no_tries(), false), Some(ServerIndex(0)));
            servers.failed(ServerIndex(0), now.plus(Duration::from_millis(800)));
        }
        assert_eq!(seen, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn round_trip_is_smoothed() {
        let mut servers = servers();
        servers.responded(ServerIndex(1), Duration::from_millis(80));
        servers.responded(ServerIndex(1), Duration::from_millis(160));
        assert_eq!(servers.health()[1].round_trip, Some(Duration::from_millis(90)));
    }
}
