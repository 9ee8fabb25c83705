//! Upstream answers, shared by all workers: sixteen shards, each under its own lock and with its own share of the octets. A
//! look-up allocates nothing and writes at most a mark.
//!
//! An answer that has expired stays as long as there is room: it is served while upstream gives no other (RFC 8767). One that was
//! asked for twice is noted in the last tenth of its life, so that there is a new one before it expires.

use super::shard::{Entry, MARKS_MAX, Shard};
use super::stored::StoredAnswer;
use crate::base::model::Mono;
use crate::base::name::{NameBuf, NameRef};
use crate::base::wire::dns::{QueryView, rtype};
use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Locks, so that workers rarely meet.
const SHARDS: usize = 16;
/// Octets that an answer takes besides what its key and its message take: tables, counters, the allocator's share.
const ENTRY_OVERHEAD: usize = 184;
/// Marks from which on an answer is in use: this look-up is then the second.
const MARKS_IN_USE: u8 = 1;
/// Answers about to expire that are noted at a time.
const AGEING_MAX: usize = 256;
/// Answers with addresses that are told at a time.
const TOLD_MAX: usize = 4_096;

/// What an answer is kept under.
#[derive(Clone)]
pub struct CacheKey {
    name: NameBuf,
    qtype: u16,
    qclass: u16,
    dnssec_ok: bool,
    checking_disabled: bool,
}

impl CacheKey {
    /// The key of a question with the flags DO and CD, on which answers depend too.
    #[must_use]
    pub fn new(name: NameRef<'_>, qtype: u16, qclass: u16, dnssec_ok: bool, checking_disabled: bool) -> Self {
        Self { name: name.into(), qtype, qclass, dnssec_ok, checking_disabled }
    }

    /// The name asked for.
    #[must_use]
    pub fn name(&self) -> NameRef<'_> {
        self.name.as_ref()
    }

    /// The type asked for.
    #[must_use]
    pub const fn qtype(&self) -> u16 {
        self.qtype
    }

    /// The class asked for.
    #[must_use]
    pub const fn qclass(&self) -> u16 {
        self.qclass
    }

    /// Whether DNSSEC records are wanted (DO).
    #[must_use]
    pub const fn dnssec_ok(&self) -> bool {
        self.dnssec_ok
    }

    /// Whether data that fail validation are wanted too (CD).
    #[must_use]
    pub const fn cd(&self) -> bool {
        self.checking_disabled
    }

    /// Everything but the name in one number.
    pub(super) const fn rest(&self) -> u64 {
        (self.qtype as u64) << 32
            | (self.qclass as u64) << 16
            | (self.dnssec_ok as u64) << 1
            | self.checking_disabled as u64
    }
}

impl From<&QueryView<'_>> for CacheKey {
    fn from(query: &QueryView<'_>) -> Self {
        Self::new(query.name(), query.qtype(), query.qclass(), query.dnssec_ok(), query.checking_disabled())
    }
}

impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for CacheKey {}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.name().as_wire());
        state.write_u64(self.rest());
    }
}

impl PartialOrd for CacheKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CacheKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.name().cmp(&other.name()).then(self.rest().cmp(&other.rest()))
    }
}

impl std::fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let flags = [(self.dnssec_ok, " +do"), (self.checking_disabled, " +cd")];
        write!(f, "{} type {} class {}", self.name(), self.qtype, self.qclass)?;
        flags.iter().filter(|(set, _)| *set).try_for_each(|(_, word)| f.write_str(word))
    }
}

/// The shared cache.
#[derive(Debug)]
pub struct Cache {
    hasher: SeedableRandomState,
    shards: [RwLock<Shard>; SHARDS],
    shard_bytes_max: usize,
    stale_max: u32,
    /// Answers in use that are about to expire, for `core` to ask for again.
    ageing: Mutex<Vec<CacheKey>>,
    /// Answers with addresses, for whoever learns from them; `None` where nobody does.
    told: Option<Mutex<Told>>,
}

/// Answers that came, and how many there was no room for.
#[derive(Debug, Default)]
struct Told {
    answers: Vec<Arc<StoredAnswer>>,
    dropped: u64,
}

impl Cache {
    /// An empty cache of at most `bytes_max` octets, of no use for expired answers. `seed` is random per process, so that nobody
    /// outside can choose names that collide.
    #[must_use]
    pub fn new(bytes_max: usize, seed: u64) -> Self {
        Self::with_stale(bytes_max, seed, 0)
    }

    /// The same, with answers of use for so many seconds after they have expired.
    #[must_use]
    pub fn with_stale(bytes_max: usize, seed: u64, stale_max: u32) -> Self {
        let shard_bytes_max = bytes_max / SHARDS;
        Self {
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_random()),
            shards: std::array::from_fn(|_| RwLock::new(Shard::new(shard_bytes_max))),
            shard_bytes_max,
            stale_max,
            ageing: Mutex::new(Vec::with_capacity(AGEING_MAX)),
            told: None,
        }
    }

    /// The same, that tells of answers with addresses by [`Self::take_told`].
    #[must_use]
    pub fn telling(mut self) -> Self {
        self.told = Some(Mutex::default());
        self
    }

    /// Answers with addresses that came since the last call, kept or not, and how many were not told for want of room.
    #[must_use]
    pub fn take_told(&self) -> (Vec<Arc<StoredAnswer>>, u64) {
        let Some(told) = &self.told else { return (Vec::new(), 0) };
        let Told { answers, dropped } = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
        (answers, dropped)
    }

    fn tell(&self, key: &CacheKey, answer: &Arc<StoredAnswer>) {
        let Some(told) = &self.told else { return };
        if answer.is_failure() || !matches!(key.qtype(), rtype::A | rtype::AAAA | rtype::SVCB | rtype::HTTPS) {
            return;
        }
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.answers.len() < TOLD_MAX {
            told.answers.push(Arc::clone(answer));
        } else {
            told.dropped += 1;
        }
    }

    /// The answer to a question, unless it has expired and nobody said that it will do all the same.
    #[must_use]
    pub fn get(&self, now: Mono, key: &CacheKey) -> Option<Arc<StoredAnswer>> {
        let hash = self.hash(key);
        let shard = self.read(hash)?;
        let entry = shard.entry(shard.find(hash, key)?)?;
        if !entry.answer.is_fresh(now) {
            let held = Mono::from_nanos(entry.held_until.load(Ordering::Relaxed)) > now;
            return (held && entry.answer.is_stale(now, self.stale_max)).then(|| Arc::clone(&entry.answer));
        }
        // A busy answer has its marks and is not written to, so that its line stays shared between cores. A mark that is lost
        // between two look-ups at once is no loss.
        let marks = entry.marks.load(Ordering::Relaxed);
        if marks < MARKS_MAX {
            entry.marks.store(marks + 1, Ordering::Relaxed);
        }
        if marks >= MARKS_IN_USE && entry.answer.is_ageing(now) && !entry.noted.swap(true, Ordering::Relaxed) {
            self.note_ageing(key);
        }
        Some(Arc::clone(&entry.answer))
    }

    /// An answer that is better than none: fresh, or expired but not too long ago. Never a failure.
    #[must_use]
    pub fn stale(&self, now: Mono, key: &CacheKey) -> Option<Arc<StoredAnswer>> {
        let hash = self.hash(key);
        let shard = self.read(hash)?;
        let answer = &shard.entry(shard.find(hash, key)?)?.answer;
        let usable = answer.is_fresh(now) || answer.is_stale(now, self.stale_max);
        (usable && !answer.is_failure()).then(|| Arc::clone(answer))
    }

    /// Until then an expired answer is served as if it were not: upstream has just failed to give another.
    pub fn hold(&self, key: &CacheKey, until: Mono) {
        let hash = self.hash(key);
        let Some(shard) = self.read(hash) else { return };
        if let Some(entry) = shard.find(hash, key).and_then(|at| shard.entry(at)) {
            entry.held_until.store(until.as_nanos(), Ordering::Relaxed);
        }
    }

    /// The keys of answers in use that have come into the last tenth of their lives since the last call.
    #[must_use]
    pub fn take_ageing(&self) -> Vec<CacheKey> {
        let mut ageing = self.ageing.lock().unwrap_or_else(PoisonError::into_inner);
        // The room stays where it is, so that noting one allocates nothing.
        ageing.drain(..).collect()
    }

    /// Keeps an answer in place of what was kept for the same question. One that may not be cached (TTL 0), or that alone would
    /// pass a shard's share, is not kept.
    pub fn put(&self, now: Mono, key: &CacheKey, answer: Arc<StoredAnswer>) {
        self.tell(key, &answer);
        let bytes = ENTRY_OVERHEAD + key.name().as_wire().len() + answer.bytes();
        if answer.ttl() == 0 || bytes > self.shard_bytes_max {
            return;
        }
        let hash = self.hash(key);
        let Some(mut shard) = self.write(hash) else { return };
        if let Some(at) = shard.find(hash, key) {
            shard.replace(at, answer, bytes);
        } else {
            shard.insert(Entry::new(hash, key, answer, bytes));
        }
        while shard.bytes > self.shard_bytes_max && shard.evict(now, self.stale_max) {}
    }

    /// Octets in use.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.sum(|shard| shard.bytes)
    }

    /// Answers kept, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sum(|shard| shard.index.len())
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn sum(&self, of: impl Fn(&Shard) -> usize) -> usize {
        self.shards.iter().map(|shard| of(&shard.read().unwrap_or_else(PoisonError::into_inner))).sum()
    }

    /// A worker never waits for this: what is not noted is asked for when it has expired.
    fn note_ageing(&self, key: &CacheKey) {
        let Ok(mut ageing) = self.ageing.try_lock() else { return };
        if ageing.len() < AGEING_MAX {
            ageing.push(key.clone());
        }
    }

    fn hash(&self, key: &CacheKey) -> u64 {
        self.hasher.hash_one(key)
    }

    fn read(&self, hash: u64) -> Option<RwLockReadGuard<'_, Shard>> {
        Some(self.shards.get(shard_of(hash))?.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, hash: u64) -> Option<RwLockWriteGuard<'_, Shard>> {
        Some(self.shards.get(shard_of(hash))?.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Bits that the tables within the shards use least.
const fn shard_of(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}
