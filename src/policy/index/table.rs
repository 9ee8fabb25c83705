//! Rules by the hash of their name: one read of one line of memory says which rule it is, and of which class.
//!
//! A bucket is a line of memory with five slots. The high half of a hash chooses the bucket, its low 48 bits are the *tag* that a
//! slot keeps. What finds its bucket full stands in the next one with room. The tags of a bucket are compared without a branch,
//! so that the processor need not guess where in it a tag is.
//!
//! Hashes are put in from the least on: buckets are made when they are reached, so that what the hashes came from can be given
//! back meanwhile.

use crate::policy::rules::ClassId;
use std::ops::Range;

/// Slots of a bucket.
const SLOTS: usize = 5;
/// Of a bucket's slots so many in a hundred are taken, on average.
const TAKEN_PERCENT: usize = 80;
/// Bits of a slot's mode: its [`Read`], and whether its tag stands for two names.
const MODE_BITS: usize = 3;
const CLASHES: u32 = 0b100;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Table {
    buckets: Vec<Bucket>,
    /// How many buckets there are to be.
    count: usize,
}

/// The slots by field, so that the first compare is of one row. Free ones are the last.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Bucket {
    low: [u32; SLOTS],
    /// Kept one higher, so that 0 is a free slot.
    offsets: [u32; SLOTS],
    /// For each slot its mode.
    modes: u32,
    high: [u16; SLOTS],
    classes: [u16; SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64, "a bucket is one line of memory");

/// How a slot is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// One rule on the name and everything below it.
    Suffix = 0,
    /// One rule on the name itself.
    Exact = 1,
    /// One rule on everything below the name.
    Below = 2,
    /// Rules of other forms, or more than one: the offset says where they stand together.
    Several = 3,
}

/// What stands under a hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) offset: u32,
    pub(super) class: ClassId,
    pub(super) read: Read,
    /// Whether the tag stands for two names, so that the text has to be looked at.
    pub(super) clashes: bool,
}

impl Table {
    /// An empty table for so many entries.
    pub(super) fn for_entries(entries: usize) -> Self {
        let count = entries * 100 / (SLOTS * TAKEN_PERCENT) + 1;
        Self { buckets: Vec::with_capacity(count), count }
    }

    /// Puts a slot under a hash. Where its tag is met on the way, the text of both is to be looked at from now on.
    pub(super) fn insert(&mut self, hash: u64, mut slot: Slot) {
        let from = self.place(hash);
        for place in (from..self.count).chain(0..from) {
            self.make(place + 1);
            let Some(bucket) = self.buckets.get_mut(place) else { return };
            for at in bits(bucket.with(hash)) {
                bucket.modes |= CLASHES << (at * MODE_BITS);
                slot.clashes = true;
            }
            if bucket.push(hash, slot) {
                return;
            }
        }
    }

    /// Makes the buckets that were not reached.
    pub(super) fn finish(&mut self) {
        self.make(self.count);
    }

    fn make(&mut self, buckets: usize) {
        if self.buckets.len() < buckets {
            self.buckets.resize(buckets, Bucket::default());
        }
    }

    /// What may stand under a hash, until `is_it` says that it is what is looked for.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(Slot) -> bool) {
        let place = self.place(hash);
        let mut bucket = self.buckets.get(place);
        let mut next = place;
        while let Some(here) = bucket {
            if bits(here.with(hash)).filter_map(|at| here.slot(at)).any(&mut is_it) || !here.is_full() {
                return;
            }
            next = if next + 1 < self.buckets.len() { next + 1 } else { 0 };
            bucket = self.buckets.get(next).filter(|_| next != place);
        }
    }

    /// Where it stands in memory.
    pub(super) fn span(&self) -> Range<usize> {
        let Range { start, end } = self.buckets.as_ptr_range();
        start.addr()..end.addr()
    }

    /// Octets held.
    pub(super) fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    #[inline]
    const fn place(&self, hash: u64) -> usize {
        (((hash >> 32) * self.count as u64) >> 32) as usize
    }
}

impl Bucket {
    /// The taken slots with a hash's tag, a bit each.
    #[inline]
    fn with(&self, hash: u64) -> u32 {
        let (low, high) = tag(hash);
        let fields = self.low.iter().zip(&self.high).zip(&self.offsets);
        fields.enumerate().fold(0, |all, (at, ((have_low, have_high), offset))| {
            all | u32::from((*have_low == low) & (*have_high == high) & (*offset != 0)) << at
        })
    }

    const fn is_full(&self) -> bool {
        self.offsets[SLOTS - 1] != 0
    }

    fn push(&mut self, hash: u64, slot: Slot) -> bool {
        let Some(at) = self.offsets.iter().position(|&offset| offset == 0) else { return false };
        let fields = (self.low.get_mut(at), self.high.get_mut(at), self.offsets.get_mut(at), self.classes.get_mut(at));
        let (Some(low), Some(high), Some(offset), Some(class)) = fields else { return false };
        (*low, *high) = tag(hash);
        (*offset, *class) = (slot.offset + 1, slot.class.0);
        self.modes |= (slot.read as u32 | if slot.clashes { CLASHES } else { 0 }) << (at * MODE_BITS);
        true
    }

    #[inline]
    fn slot(&self, at: usize) -> Option<Slot> {
        let mode = self.modes >> (at * MODE_BITS);
        let read = match mode & 0b11 {
            0 => Read::Suffix,
            1 => Read::Exact,
            2 => Read::Below,
            _ => Read::Several,
        };
        let (offset, class) = (self.offsets.get(at)? - 1, ClassId(*self.classes.get(at)?));
        Some(Slot { offset, class, read, clashes: mode & CLASHES != 0 })
    }
}

/// The low 48 bits, in two parts.
#[inline]
const fn tag(hash: u64) -> (u32, u16) {
    ((hash & 0xffff_ffff) as u32, (hash >> 32 & 0xffff) as u16)
}

/// The bits that are set, from the lowest.
#[inline]
fn bits(mut set: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros() as usize);
        set &= set.wrapping_sub(1);
        lowest
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slot(offset: u32) -> Slot {
        Slot { offset, class: ClassId(9), read: Read::Suffix, clashes: false }
    }

    /// As the index searches: a slot that stands for itself is believed, another one only if its text is right.
    fn found(table: &Table, hash: u64, is_right: impl Fn(u32) -> bool) -> Option<u32> {
        let mut found = None;
        table.find(hash, |slot| {
            found = (!slot.clashes || is_right(slot.offset)).then_some(slot.offset);
            found.is_some()
        });
        found
    }

    proptest! {
        /// Against a list, with hashes that crowd at both ends of the table, overflow their buckets and share tags.
        #[test]
        fn agrees_with_a_list(
            entries in prop::collection::btree_set((0..6_u64, 0..9_u64), 0..60),
            room in 0..80_usize,
        ) {
            let places = [0, 1 << 48, 1 << 61, 3 << 61, 7 << 61, u64::MAX << 48];
            let mut hashes: Vec<u64> = entries.iter().map(|(place, low)| places[*place as usize] ^ low).collect();
            hashes.sort_unstable();
            let mut table = Table::for_entries(hashes.len().max(room));
            for (offset, hash) in (0..).zip(&hashes) {
                table.insert(*hash, slot(offset));
            }
            table.finish();
            for (offset, hash) in (0..).zip(&hashes) {
                prop_assert_eq!(found(&table, *hash, |at| at == offset), Some(offset));
            }
            prop_assert_eq!(found(&table, 99, |_| true), None);
        }
    }

    #[test]
    fn a_full_table_is_searched_once_around_and_no_further() {
        let mut table = Table::for_entries(0);
        (0..6).for_each(|offset| table.insert(u64::from(offset), slot(offset)));
        assert_eq!(found(&table, 4, |_| false), Some(4));
        assert_eq!(found(&table, 5, |_| true), None);
    }
}
