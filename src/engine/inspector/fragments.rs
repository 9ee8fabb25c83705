//! IP datagrams put together from fragments (RFC 791 §3.2, RFC 8200 §4.5), as their receiver might have done it.
//!
//! Receivers differ about fragments that overlap: some keep what came first, some what came last. Where that makes a difference,
//! both datagrams are yielded, since either may be what was meant. IPv6 receivers drop such datagrams (RFC 5722), and so they are
//! dropped here.
//!
//! The table is cut into shards by a keyed hash of the source. Each has room of its own, and who fills half of one loses his own
//! oldest datagrams first: a flood of fragments from one host costs other hosts nothing, and memory has one fixed bound.

use crate::base::model::Mono;
use crate::base::wire::packet::{Fragment, Ip, Packet};
use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::iter;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Parts of the table; a power of two.
const SHARDS: usize = 64;
/// Datagrams of one shard that wait for fragments.
const WAITING_MAX: usize = 64;
/// Octets of one datagram, a header apart (RFC 791 §3.1).
const DATAGRAM_OCTETS_MAX: u32 = 65_515;
/// Stretches of one datagram that are there while others between them are missing.
const RANGES_MAX: usize = 256;
/// How long a datagram waits for its fragments, from its first: what Linux does.
const PATIENCE: Duration = Duration::from_secs(30);

/// Datagrams that wait for fragments.
pub struct Fragments {
    shards: Vec<Shard>,
    octets_max: usize,
    hasher: RandomState,
    counters: Counters,
}

/// A datagram whose fragments are all there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// What it is, for [`Packet::resume`].
    pub protocol: u8,
    /// What followed the fragments' headers; where fragments overlapped, what came first.
    pub first: Vec<u8>,
    /// The same with what came last, if that is something else.
    pub last: Option<Vec<u8>>,
}

/// What became of fragments and datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Fragments that were given in.
    pub fragments: u64,
    /// Datagrams that were put together.
    pub whole: u64,
    /// Of those, datagrams with two readings.
    pub ambiguous: u64,
    /// Fragments of which every octet was there already.
    pub duplicates: u64,
    /// Fragments that cannot be part of anything: empty, cut off by the capture, beyond the longest datagram.
    pub refused: u64,
    /// Datagrams given up because their fragments contradict each other: two ends, or an overlap in IPv6.
    pub contradictory: u64,
    /// Datagrams given up because fragments did not come in time.
    pub late: u64,
    /// Datagrams given up for want of room.
    pub crowded_out: u64,
}

#[derive(Default)]
struct Shard {
    /// The oldest first.
    waiting: Vec<Waiting>,
    octets: usize,
}

/// What fragments of one datagram have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
    src: IpAddr,
    dst: IpAddr,
    /// The virtual network, since addresses may mean something else in another.
    network: Option<u32>,
    id: u32,
    /// In IPv4 only: two protocols may use the same id.
    protocol: u8,
}

struct Waiting {
    key: Key,
    since: Mono,
    protocol: u8,
    /// Where it ends, once the last fragment has come.
    len: Option<u32>,
    /// What is there, in order, without touching each other.
    ranges: Vec<Range<u32>>,
    first: Vec<u8>,
    last: Option<Vec<u8>>,
}

/// What a fragment did to its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Joined {
    Waits,
    Duplicate,
    Whole,
    Contradiction,
    TooScattered,
}

impl Fragments {
    /// A table that never holds more than about `octets_max` octets.
    #[must_use]
    pub fn new(octets_max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Self { shards, octets_max: octets_max / SHARDS, hasher: RandomState::default(), counters: Counters::default() }
    }

    /// What became of everything so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Octets that wait.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.shards.iter().map(|shard| shard.octets).sum()
    }

    /// Takes a fragment; the datagram that it completes. A packet that is none is not touched.
    pub fn handle_packet(&mut self, now: Mono, packet: &Packet<'_>) -> Option<Datagram> {
        let ip = packet.ip()?;
        let fragment = ip.fragment?;
        self.counters.fragments += 1;
        let Some((range, octets)) = part(ip, fragment) else {
            self.counters.refused += 1;
            return None;
        };
        let key = Key {
            src: ip.src,
            dst: ip.dst,
            network: packet.tunnels.network,
            id: fragment.id,
            protocol: if ip.src.is_ipv4() { ip.protocol } else { 0 },
        };
        let number = usize::try_from(self.hasher.hash_one(key.src) % SHARDS as u64).ok()?;
        let shard = self.shards.get_mut(number)?;
        self.counters.late += shard.expire(now);
        let at = shard.find_or_add(key, ip.protocol, now);
        let waiting = shard.waiting.get_mut(at)?;
        if fragment.offset == 0 {
            waiting.protocol = ip.protocol;
        }
        let before = waiting.octets();
        let joined = waiting.join(&range, octets, fragment.more);
        let after = waiting.octets();
        shard.octets = shard.octets + after - before;
        match joined {
            Joined::Waits => {}
            Joined::Duplicate => self.counters.duplicates += 1,
            Joined::Whole => {
                let Waiting { protocol, first, last, .. } = shard.remove(at)?;
                let last = last.filter(|last| *last != first);
                self.counters.whole += 1;
                self.counters.ambiguous += u64::from(last.is_some());
                return Some(Datagram { protocol, first, last });
            }
            Joined::Contradiction => {
                shard.remove(at);
                self.counters.contradictory += 1;
            }
            Joined::TooScattered => {
                shard.remove(at);
                self.counters.crowded_out += 1;
            }
        }
        self.counters.crowded_out += shard.make_room(key.src, self.octets_max);
        None
    }

    /// Gives up datagrams whose time is over.
    pub fn handle_timeout(&mut self, now: Mono) {
        for shard in &mut self.shards {
            self.counters.late += shard.expire(now);
        }
    }
}

/// Where a fragment belongs, and its octets; `None` if it can belong nowhere.
fn part<'a>(ip: &Ip<'a>, fragment: Fragment) -> Option<(Range<u32>, &'a [u8])> {
    // All but the last are cut at eight octets; what is over is not used by anybody.
    let len = if fragment.more { ip.payload.len() & !7 } else { ip.payload.len() };
    let end = fragment.offset.checked_add(u32::try_from(len).ok()?)?;
    let fits = ip.missing == 0 && len > 0 && end <= DATAGRAM_OCTETS_MAX;
    fits.then_some((fragment.offset..end, ip.payload.get(..len)?))
}

impl Shard {
    fn find_or_add(&mut self, key: Key, protocol: u8, now: Mono) -> usize {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.key == key) {
            return at;
        }
        let waiting =
            Waiting { key, since: now, protocol, len: None, ranges: Vec::new(), first: Vec::new(), last: None };
        self.octets += waiting.octets();
        self.waiting.push(waiting);
        self.waiting.len() - 1
    }

    fn remove(&mut self, at: usize) -> Option<Waiting> {
        (at < self.waiting.len()).then(|| {
            let waiting = self.waiting.remove(at);
            self.octets -= waiting.octets();
            waiting
        })
    }

    fn expire(&mut self, now: Mono) -> u64 {
        let mut expired = 0;
        while self.waiting.first().is_some_and(|waiting| now.since(waiting.since) >= PATIENCE) {
            self.remove(0);
            expired += 1;
        }
        expired
    }

    /// Gives up datagrams until what is there fits; how many.
    fn make_room(&mut self, newcomer: IpAddr, octets_max: usize) -> u64 {
        let mut given_up = 0;
        while self.waiting.len() > WAITING_MAX || self.octets > octets_max {
            let is_own = |waiting: &&Waiting| waiting.key.src == newcomer;
            let own: usize = self.waiting.iter().filter(is_own).count();
            let own_octets: usize = self.waiting.iter().filter(is_own).map(Waiting::octets).sum();
            let is_greedy = own * 2 > self.waiting.len() || own_octets * 2 > self.octets;
            let own_oldest = self.waiting.iter().position(|waiting| waiting.key.src == newcomer).filter(|_| is_greedy);
            self.remove(own_oldest.unwrap_or(0));
            given_up += 1;
        }
        given_up
    }
}

impl Waiting {
    /// What it costs to keep.
    fn octets(&self) -> usize {
        let last = self.last.as_ref().map_or(0, Vec::capacity);
        size_of::<Self>() + self.first.capacity() + last + self.ranges.capacity() * size_of::<Range<u32>>()
    }

    fn join(&mut self, range: &Range<u32>, octets: &[u8], more: bool) -> Joined {
        let is_beyond = self.len.is_some_and(|len| range.end > len || (!more && range.end != len));
        let has_more = !more && self.ranges.last().is_some_and(|last| last.end > range.end);
        if is_beyond || has_more {
            return Joined::Contradiction;
        }
        if !more {
            self.len = Some(range.end);
        }
        let is_covered = self.ranges.iter().any(|there| there.start <= range.start && range.end <= there.end);
        let is_same = is_covered && slice(&self.first, range) == Some(octets);
        let overlaps = self.ranges.iter().any(|there| there.start < range.end && range.start < there.end);
        if overlaps && !is_same && self.key.src.is_ipv6() {
            return Joined::Contradiction;
        }
        if is_same && self.last.is_none() {
            return Joined::Duplicate;
        }
        self.write(range, octets, overlaps);
        self.insert(range);
        if self.ranges.len() > RANGES_MAX {
            return Joined::TooScattered;
        }
        let is_whole = matches!(self.ranges.as_slice(), [only] if only.start == 0 && self.len == Some(only.end));
        if is_whole { Joined::Whole } else { Joined::Waits }
    }

    /// Writes octets into both readings.
    fn write(&mut self, range: &Range<u32>, octets: &[u8], overlaps: bool) {
        let end = range.end as usize;
        if self.first.len() < end {
            self.first.reserve_exact(end - self.first.len());
            self.first.resize(end, 0);
        }
        let differs = overlaps
            && self.ranges.iter().any(|there| {
                let common = there.start.max(range.start)..there.end.min(range.end);
                !common.is_empty() && slice(&self.first, &common) != slice(octets, &within(&common, range))
            });
        if differs && self.last.is_none() {
            self.last = Some(self.first.clone());
        }
        if let Some(last) = &mut self.last {
            if last.len() < end {
                last.resize(end, 0);
            }
            copy(last, range, octets);
        }
        // Into the gaps between what is there already.
        let mut from = range.start;
        for there in &self.ranges {
            let gap = from..there.start.min(range.end);
            if let Some(octets) = slice(octets, &within(&gap, range)).filter(|_| !gap.is_empty()) {
                copy(&mut self.first, &gap, octets);
            }
            from = from.max(there.end);
        }
        let gap = from..range.end;
        if let Some(octets) = slice(octets, &within(&gap, range)).filter(|_| !gap.is_empty()) {
            copy(&mut self.first, &gap, octets);
        }
    }

    /// Adds a range to those that are there, joining those that touch.
    fn insert(&mut self, range: &Range<u32>) {
        let from = self.ranges.partition_point(|there| there.end < range.start);
        let to = self.ranges.partition_point(|there| there.start <= range.end);
        let start = self.ranges.get(from).map_or(range.start, |there| there.start.min(range.start));
        let end = to
            .checked_sub(1)
            .and_then(|last| self.ranges.get(last))
            .map_or(range.end, |there| there.end.max(range.end));
        self.ranges.splice(from..to.max(from), iter::once(start..end));
    }
}

/// A range of the datagram, counted from where `whole` begins.
const fn within(range: &Range<u32>, whole: &Range<u32>) -> Range<u32> {
    range.start.saturating_sub(whole.start)..range.end.saturating_sub(whole.start)
}

fn slice<'a>(octets: &'a [u8], range: &Range<u32>) -> Option<&'a [u8]> {
    octets.get(range.start as usize..range.end as usize)
}

fn copy(to: &mut [u8], range: &Range<u32>, octets: &[u8]) {
    if let Some(to) = to.get_mut(range.start as usize..range.end as usize).filter(|to| to.len() == octets.len()) {
        to.copy_from_slice(octets);
    }
}
