//! Upstream answers, shared by all workers: sixteen shards, each under its own lock and with its own share of the octets.
//!
//! Within a shard answers go round as on a clock: a look-up gives an answer a mark, three at most; when room is needed the hand
//! takes a mark from each answer that it passes, and the first one that is expired or has none. So names asked for once come and
//! go while those asked for all the time stay. A look-up allocates nothing and writes at most a mark.

use super::stored::StoredAnswer;
use crate::base::model::Mono;
use crate::base::name::{Name, NameBuf, NameRef};
use crate::base::wire::dns::QueryView;
use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Locks, so that workers rarely meet.
const SHARDS: usize = 16;
/// Octets that an answer takes besides what its key and its message take: tables, counters, the allocator's share.
const ENTRY_OVERHEAD: usize = 160;

/// Marks that an answer gathers at most.
const MARKS_MAX: u8 = 3;

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
    const fn rest(&self) -> u64 {
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
}

impl Cache {
    /// An empty cache of at most `bytes_max` octets. `seed` is random per process, so that nobody outside can choose names
    /// that collide.
    #[must_use]
    pub fn new(bytes_max: usize, seed: u64) -> Self {
        Self {
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_random()),
            shards: std::array::from_fn(|_| RwLock::default()),
            shard_bytes_max: bytes_max / SHARDS,
        }
    }

    /// The answer to a question, unless it has expired.
    #[must_use]
    pub fn get(&self, now: Mono, key: &CacheKey) -> Option<Arc<StoredAnswer>> {
        let hash = self.hash(key);
        let shard = self.read(hash)?;
        let entry = shard.entry(shard.find(hash, key)?)?;
        if !entry.answer.is_fresh(now) {
            return None;
        }
        // A busy answer has its marks and is not written to, so that its line stays shared between cores. A mark that is lost
        // between two look-ups at once is no loss.
        let marks = entry.marks.load(Ordering::Relaxed);
        if marks < MARKS_MAX {
            entry.marks.store(marks + 1, Ordering::Relaxed);
        }
        Some(Arc::clone(&entry.answer))
    }

    /// Keeps an answer in place of what was kept for the same question. One that may not be cached (TTL 0), or that alone would
    /// pass a shard's share, is not kept.
    pub fn put(&self, now: Mono, key: &CacheKey, answer: Arc<StoredAnswer>) {
        let bytes = ENTRY_OVERHEAD + key.name().as_wire().len() + answer.bytes();
        if answer.ttl() == 0 || bytes > self.shard_bytes_max {
            return;
        }
        let hash = self.hash(key);
        let Some(mut shard) = self.write(hash) else { return };
        if let Some(at) = shard.find(hash, key) {
            shard.remove(at);
        }
        while shard.bytes + bytes > self.shard_bytes_max && shard.evict(now) {}
        let (name, rest) = (key.name().to_name(), key.rest());
        shard.insert(Entry { hash, name, rest, answer, marks: AtomicU8::new(0), bytes });
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

    fn hash(&self, key: &CacheKey) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key.name().as_wire());
        hasher.write_u64(key.rest());
        hasher.finish()
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

#[derive(Debug)]
struct Entry {
    hash: u64,
    name: Name,
    rest: u64,
    answer: Arc<StoredAnswer>,
    marks: AtomicU8,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Shard {
    /// Places in `slots`.
    index: HashTable<usize>,
    slots: Vec<Option<Entry>>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
}

impl Shard {
    fn entry(&self, at: usize) -> Option<&Entry> {
        self.slots.get(at)?.as_ref()
    }

    fn find(&self, hash: u64, key: &CacheKey) -> Option<usize> {
        let same = |entry: &Entry| entry.rest == key.rest() && entry.name.as_ref() == key.name();
        self.index.find(hash, |&at| self.entry(at).is_some_and(same)).copied()
    }

    fn insert(&mut self, entry: Entry) {
        let (hash, bytes) = (entry.hash, entry.bytes);
        let at = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(at) {
            Some(slot) => *slot = Some(entry),
            None => self.slots.push(Some(entry)),
        }
        let slots = &self.slots;
        let hash_of = |&at: &usize| slots.get(at).and_then(Option::as_ref).map_or(0, |entry| entry.hash);
        self.index.insert_unique(hash, at, hash_of);
        self.bytes += bytes;
    }

    fn remove(&mut self, at: usize) {
        let Some(entry) = self.slots.get_mut(at).and_then(Option::take) else { return };
        if let Ok(found) = self.index.find_entry(entry.hash, |&other| other == at) {
            found.remove();
        }
        self.free.push(at);
        self.bytes -= entry.bytes;
    }

    /// Moves the hand on to the first answer that may go, and lets it go; says whether there was one.
    fn evict(&mut self, now: Mono) -> bool {
        // So often round that every mark is taken, and once more.
        for _ in 0..self.slots.len() * (usize::from(MARKS_MAX) + 1) {
            let at = self.hand;
            self.hand = if at + 1 < self.slots.len() { at + 1 } else { 0 };
            let Some(entry) = self.entry(at) else { continue };
            let marks = entry.marks.load(Ordering::Relaxed);
            if marks == 0 || !entry.answer.is_fresh(now) {
                self.remove(at);
                return true;
            }
            entry.marks.store(marks - 1, Ordering::Relaxed);
        }
        false
    }
}
