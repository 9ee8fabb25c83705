//! One shard of the cache, and who has to go when it is full.
//!
//! Two queues of answers (S3-FIFO): a newcomer stands in the short one, a tenth of the octets, and moves to the long one only if
//! it is asked for twice more before its turn comes; within the long one, marks from look-ups let an answer stand in line again. So
//! names that are asked for once — a flood of random ones above all — come and go in the short queue and push nobody out who is
//! in use. The hashes of those that had to leave it are remembered for a while: who comes back soon goes to the long one at once.

use super::cache::CacheKey;
use super::stored::StoredAnswer;
use crate::base::model::Mono;
use crate::base::name::Name;
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};

/// Marks that an answer gathers at most.
pub(super) const MARKS_MAX: u8 = 3;
/// Marks with which an answer moves from the short queue to the long one. One is not enough: who asks a random name may ask twice.
const MARKS_TO_STAY: u8 = 2;
/// The short queue's share of the octets is one in so many.
const SHORT_ONE_IN: usize = 10;
/// Octets of a shard for each hash that is remembered.
const OCTETS_A_GHOST: usize = 128;

/// An answer in its place.
#[derive(Debug)]
pub(super) struct Entry {
    hash: u64,
    name: Name,
    rest: u64,
    pub(super) answer: Arc<StoredAnswer>,
    /// How often it was asked for, up to [`MARKS_MAX`].
    pub(super) marks: AtomicU8,
    /// Whether it was noted that it is about to expire.
    pub(super) noted: AtomicBool,
    /// Until when it is served though it has expired, in nanoseconds.
    pub(super) held_until: AtomicU64,
    /// Whether it stands in the short queue.
    short: bool,
    bytes: usize,
}

impl Entry {
    pub(super) fn new(hash: u64, key: &CacheKey, answer: Arc<StoredAnswer>, bytes: usize) -> Self {
        Self {
            hash,
            name: key.name().to_name(),
            rest: key.rest(),
            answer,
            marks: AtomicU8::new(0),
            noted: AtomicBool::new(false),
            held_until: AtomicU64::new(0),
            short: true,
            bytes,
        }
    }
}

/// The answers of one shard.
#[derive(Debug)]
pub(super) struct Shard {
    /// Places in `slots`.
    pub(super) index: HashTable<usize>,
    pub(super) bytes: usize,
    slots: Vec<Option<Entry>>,
    free: Vec<usize>,
    short: VecDeque<usize>,
    long: VecDeque<usize>,
    short_bytes: usize,
    short_bytes_max: usize,
    /// Parts of hashes, each at the place that the hash gives it; no memory is taken for them before one is remembered.
    ghosts: Box<[u32]>,
    ghosts_max: usize,
}

impl Shard {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            index: HashTable::new(),
            bytes: 0,
            slots: Vec::new(),
            free: Vec::new(),
            short: VecDeque::new(),
            long: VecDeque::new(),
            short_bytes: 0,
            short_bytes_max: bytes_max / SHORT_ONE_IN,
            ghosts: Box::default(),
            ghosts_max: bytes_max / OCTETS_A_GHOST + 1,
        }
    }

    pub(super) fn entry(&self, at: usize) -> Option<&Entry> {
        self.slots.get(at)?.as_ref()
    }

    pub(super) fn find(&self, hash: u64, key: &CacheKey) -> Option<usize> {
        let same = |entry: &Entry| entry.rest == key.rest() && entry.name.as_ref() == key.name();
        self.index.find(hash, |&at| self.entry(at).is_some_and(same)).copied()
    }

    pub(super) fn insert(&mut self, mut entry: Entry) {
        let (hash, bytes) = (entry.hash, entry.bytes);
        entry.short = !self.was_here(hash);
        let at = self.free.pop().unwrap_or(self.slots.len());
        if entry.short {
            self.short.push_back(at);
            self.short_bytes += bytes;
        } else {
            self.long.push_back(at);
        }
        match self.slots.get_mut(at) {
            Some(slot) => *slot = Some(entry),
            None => self.slots.push(Some(entry)),
        }
        let slots = &self.slots;
        let hash_of = |&at: &usize| slots.get(at).and_then(Option::as_ref).map_or(0, |entry| entry.hash);
        self.index.insert_unique(hash, at, hash_of);
        self.bytes += bytes;
    }

    /// Puts another answer in the place of one, which keeps its place in line and its marks.
    pub(super) fn replace(&mut self, at: usize, answer: Arc<StoredAnswer>, bytes: usize) {
        let Some(entry) = self.slots.get_mut(at).and_then(Option::as_mut) else { return };
        self.bytes = self.bytes - entry.bytes + bytes;
        if entry.short {
            self.short_bytes = self.short_bytes - entry.bytes + bytes;
        }
        entry.answer = answer;
        entry.bytes = bytes;
        // In use is what is asked for within one life of an answer.
        *entry.marks.get_mut() = (*entry.marks.get_mut()).min(1);
        *entry.noted.get_mut() = false;
        *entry.held_until.get_mut() = 0;
    }

    /// Lets one answer go; says whether there was one. Each turn takes an answer out, a mark off it, or it over to the long
    /// queue, so this ends.
    pub(super) fn evict(&mut self, now: Mono, stale_max: u32) -> bool {
        loop {
            let of_short = self.short_bytes > self.short_bytes_max || self.long.is_empty();
            let queue = if of_short { &mut self.short } else { &mut self.long };
            let Some(at) = queue.pop_front() else { return false };
            let Some(entry) = self.slots.get_mut(at).and_then(Option::as_mut) else { continue };
            let marks = *entry.marks.get_mut();
            let of_use = entry.answer.is_fresh(now) || entry.answer.is_stale(now, stale_max);
            let least = if of_short { MARKS_TO_STAY } else { 1 };
            if marks < least || !of_use {
                self.remove(at);
                return true;
            }
            if of_short {
                entry.short = false;
                self.short_bytes -= entry.bytes;
                *entry.marks.get_mut() = 0;
            } else {
                *entry.marks.get_mut() = marks - 1;
            }
            self.long.push_back(at);
        }
    }

    /// Takes out an answer that stands in no queue any more.
    fn remove(&mut self, at: usize) {
        let Some(entry) = self.slots.get_mut(at).and_then(Option::take) else { return };
        if let Ok(found) = self.index.find_entry(entry.hash, |&other| other == at) {
            found.remove();
        }
        self.free.push(at);
        self.bytes -= entry.bytes;
        if entry.short {
            self.short_bytes -= entry.bytes;
            if self.ghosts.is_empty() {
                self.ghosts = vec![0; self.ghosts_max].into();
            }
            if let Some(ghost) = self.ghost(entry.hash) {
                *ghost = fingerprint(entry.hash);
            }
        }
    }

    /// Whether an answer with this hash has left the short queue lately; it is told once.
    fn was_here(&mut self, hash: u64) -> bool {
        let Some(ghost) = self.ghost(hash) else { return false };
        let was = *ghost == fingerprint(hash);
        if was {
            *ghost = 0;
        }
        was
    }

    fn ghost(&mut self, hash: u64) -> Option<&mut u32> {
        let at = usize::try_from(hash >> 36).unwrap_or_default() % self.ghosts.len().max(1);
        self.ghosts.get_mut(at)
    }
}

/// A part of a hash that is never 0, which stands for none.
const fn fingerprint(hash: u64) -> u32 {
    (hash & 0xffff_ffff) as u32 | 1
}
