//! How much a client may ask, and how much is sent to whom has not proven its address.
//!
//! Each limit is a table of a fixed number of buckets, shared by all workers without a lock; who shares a bucket with somebody
//! else by chance shares its limit too. A bucket is one moment: until when what it has let pass is paid for (the generic cell
//! rate algorithm), so time alone refills it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use std::hash::BuildHasher;

use crate::base::model::{Mono, is_private};

/// Buckets of a table.
const BUCKETS: usize = 1 << 14;
/// What a bucket holds when it is full: as much as this time refills.
const QUERIES_BURST: Duration = Duration::from_secs(1);
/// The same for octets of answers.
const OCTETS_BURST: Duration = Duration::from_secs(2);
/// Octets that an answer is taken for that upstream has yet to give.
const MISS_OCTETS: u64 = 512;

/// What is wanted; 0 is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitSettings {
    /// Queries a second of one client address.
    pub client_rate: u32,
    /// Queries a second of one network of clients: an IPv4 /24, an IPv6 /56.
    pub prefix_rate: u32,
    /// Kibibytes of UDP answers a second to one network that is not private, for clients that have not proven their address.
    pub answer_kib: u32,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self { client_rate: 0, prefix_rate: 0, answer_kib: 32 }
    }
}

/// The limits, and what has been used of them.
#[derive(Debug)]
pub(super) struct Limits {
    clients: Option<Meter>,
    prefixes: Option<Meter>,
    answers: Option<Meter>,
}

impl Limits {
    /// Limits of which nothing is used. `seed` is random per process, so that nobody outside can choose a bucket.
    #[must_use]
    pub(super) fn new(settings: LimitSettings, seed: u64) -> Self {
        let meter = |rate: u32, each: u64, burst| Meter::new(u64::from(rate) * each, burst, seed);
        Self {
            clients: meter(settings.client_rate, 1, QUERIES_BURST),
            prefixes: meter(settings.prefix_rate, 1, QUERIES_BURST),
            answers: meter(settings.answer_kib, 1_024, OCTETS_BURST),
        }
    }

    /// Takes one query of a client.
    ///
    /// # Errors
    /// How long it would have to wait.
    pub(super) fn query(&self, now: Mono, client: IpAddr) -> Result<(), Duration> {
        let client = client.to_canonical();
        if let Some(clients) = &self.clients {
            clients.take(now, client, 1)?;
        }
        self.prefixes.as_ref().map_or(Ok(()), |prefixes| prefixes.take(now, prefix(client), 1))
    }

    /// The budget of answers to an address that may be forged; `None` where answers are not limited: in private networks, where
    /// whoever could forge is a neighbour.
    #[must_use]
    pub(super) fn answers(&self, client: IpAddr) -> Option<Answers<'_>> {
        let client = client.to_canonical();
        let meter = self.answers.as_ref().filter(|_| !is_neighbour(client))?;
        Some(Answers { meter, prefix: prefix(client) })
    }
}

/// What may be sent to one network.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    meter: &'a Meter,
    prefix: IpAddr,
}

impl Answers<'_> {
    /// Whether nothing is left.
    #[must_use]
    pub(super) fn is_spent(&self, now: Mono) -> bool {
        self.meter.owed(now, self.prefix) > self.meter.burst
    }

    /// Takes the octets of an answer; those of one that is yet to come where they are not known.
    pub(super) fn spend(&self, now: Mono, octets: Option<usize>) {
        let octets = octets.map_or(MISS_OCTETS, |octets| u64::try_from(octets).unwrap_or(MISS_OCTETS));
        self.meter.spend(now, self.prefix, octets);
    }
}

/// The network that a client is counted with.
fn prefix(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from(u32::from(v4) & !0xff)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !(u128::MAX >> 56))),
    }
}

/// Whether an address is of a network that is ours in some way: private, or shared with the provider (RFC 6598).
fn is_neighbour(client: IpAddr) -> bool {
    is_private(client)
        || matches!(client, IpAddr::V4(v4) if u32::from(v4) >> 22 == u32::from(Ipv4Addr::new(100, 64, 0, 0)) >> 22)
}

/// Buckets that refill at one rate.
struct Meter {
    buckets: Box<[AtomicU64]>,
    hasher: SeedableRandomState,
    /// Nanoseconds that pay for one unit.
    each: u64,
    /// Nanoseconds that may be owed.
    burst: u64,
}

impl Meter {
    /// `None` for no limit.
    fn new(rate: u64, burst: Duration, seed: u64) -> Option<Self> {
        let each = (1_000_000_000 / u64::max(rate, 1)).max(1);
        (rate > 0).then(|| Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_random()),
            each,
            burst: u64::try_from(burst.as_nanos()).unwrap_or(u64::MAX).max(each),
        })
    }

    fn bucket(&self, key: IpAddr) -> Option<&AtomicU64> {
        let hash = usize::try_from(self.hasher.hash_one(key)).unwrap_or_default();
        self.buckets.get(hash % BUCKETS)
    }

    /// Nanoseconds until everything that was taken is paid for.
    fn owed(&self, now: Mono, key: IpAddr) -> u64 {
        self.bucket(key).map_or(0, |bucket| bucket.load(Ordering::Relaxed).saturating_sub(now.as_nanos()))
    }

    /// Takes what is there, or says how long until it is.
    fn take(&self, now: Mono, key: IpAddr, units: u64) -> Result<(), Duration> {
        let owed = self.owed(now, key) + self.each * units;
        if owed > self.burst {
            return Err(Duration::from_nanos(owed - self.burst));
        }
        self.spend(now, key, units);
        Ok(())
    }

    /// Takes, whether it is there or not. Two workers that take at once may both have what one could: by one unit each.
    fn spend(&self, now: Mono, key: IpAddr, units: u64) {
        let Some(bucket) = self.bucket(key) else { return };
        let more = self.each.saturating_mul(units);
        // Never fails: there is always a new value.
        let _ = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid| {
            Some(paid.max(now.as_nanos()).saturating_add(more))
        });
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("each", &self.each).field("burst", &self.burst).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(1_000_000_000_000 + millis * 1_000_000)
    }

    fn limits(client_rate: u32, prefix_rate: u32) -> Limits {
        Limits::new(LimitSettings { client_rate, prefix_rate, answer_kib: 32 }, 1)
    }

    /// How many of `tries` queries pass, at equal distances within a second.
    fn passed(limits: &Limits, start: u64, client: &str, tries: u64) -> usize {
        let client: IpAddr = client.parse().unwrap();
        (0..tries).filter(|i| limits.query(at(start + i * 1_000 / tries), client).is_ok()).count()
    }

    #[test]
    fn a_client_has_its_rate_and_a_burst_of_a_second() {
        let limits = limits(100, 0);
        let first = passed(&limits, 0, "192.0.2.1", 1_000);
        assert!((190..=201).contains(&first), "{first}: a full bucket and a second");
        let second = passed(&limits, 1_000, "192.0.2.1", 1_000);
        assert!((98..=101).contains(&second), "{second}");
        assert_eq!(passed(&limits, 1_000, "192.0.2.2", 50), 50, "another client has its own");
        assert_eq!(passed(&limits, 9_000, "192.0.2.1", 50), 50, "time refills");
        let wait = (0..200).find_map(|_| limits.query(at(20_000), "192.0.2.9".parse().unwrap()).err()).unwrap();
        assert!(wait <= Duration::from_millis(10), "{wait:?}");
    }

    #[test]
    fn a_network_has_its_rate_whatever_addresses_it_uses() {
        let limits = limits(0, 100);
        let count = |make: fn(u64) -> String| {
            (0..1_000).filter(|i| limits.query(at(0), make(*i).parse().unwrap()).is_ok()).count()
        };
        assert_eq!(count(|i| format!("192.0.2.{}", i % 256)), 100);
        assert_eq!(count(|i| format!("2001:db8:0:{:x}::1", i % 256)), 100);
        assert_eq!(count(|_| "192.0.3.1".to_owned()), 100);
        assert_eq!(count(|_| "::ffff:192.0.3.1".to_owned()), 0, "the same network");
    }

    #[test]
    fn by_default_nobody_is_limited_but_answers_to_strangers() {
        let limits = Limits::new(LimitSettings::default(), 1);
        assert_eq!(passed(&limits, 0, "10.0.0.1", 100_000), 100_000, "an office behind one address");
        for neighbour in ["127.0.0.1", "10.1.1.1", "192.168.1.1", "100.64.0.1", "fe80::1", "fd00::1", "::1"] {
            assert!(limits.answers(neighbour.parse().unwrap()).is_none(), "{neighbour}");
        }
        for stranger in ["192.0.2.1", "2001:db8::1", "100.128.0.1", "::ffff:198.51.100.1"] {
            let answers = limits.answers(stranger.parse().unwrap()).unwrap();
            let sent =
                (0..10_000).take_while(|_| !answers.is_spent(at(0))).inspect(|_| answers.spend(at(0), Some(100)));
            assert_eq!(sent.count(), 656, "{stranger}: 64 KiB, and the answer that spends the last of it");
            assert!(answers.is_spent(at(1)) && !answers.is_spent(at(2_000)));
        }
        let off = Limits::new(LimitSettings { answer_kib: 0, ..LimitSettings::default() }, 1);
        assert!(off.answers("192.0.2.1".parse().unwrap()).is_none());
    }
}
