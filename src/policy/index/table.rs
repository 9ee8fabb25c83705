//! Offsets by hash, open addressing: one read of one slot says whether a hash is known, where its entry is, and whether
//! longer names stand below it.
//!
//! A slot is 64 bits: 32 of the hash, a mark, 31 of the offset. A look-up that ends at a foreign or empty slot, as nearly all
//! do, has read one line of memory; a general hash table reads two.

/// A slot that nothing stands in.
const EMPTY: u64 = 0;
/// Longer names stand below this one.
const ABOVE: u32 = 1 << 31;
/// Names stand below this hash, but no rule under it. Offsets are kept one higher, so that 0 is free for this.
const NO_ENTRY: u32 = 0;
/// Slots for every four entries, so that three of four are taken at most.
const SLOTS_PER_3: usize = 4;

/// The table. Built once for a known number of hashes.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Box<[u64]>,
}

/// What a hash stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot(u32);

impl Slot {
    /// Where the first entry is, if a rule stands here.
    #[inline]
    pub(super) const fn entry(self) -> Option<u32> {
        match self.0 & !ABOVE {
            NO_ENTRY => None,
            offset => Some(offset - 1),
        }
    }

    /// Whether longer names stand below.
    #[inline]
    pub(super) const fn is_above(self) -> bool {
        self.0 & ABOVE != 0
    }
}

impl Table {
    /// An empty table for so many hashes at most.
    pub(super) fn for_hashes(hashes: usize) -> Self {
        Self { slots: vec![EMPTY; hashes / 3 * SLOTS_PER_3 + SLOTS_PER_3].into() }
    }

    /// Says that an entry stands under a hash. Another entry whose key has the same 32 bits and the same place stands in a
    /// slot of its own behind it: whoever looks compares names and goes on.
    pub(super) fn insert(&mut self, hash: u64, offset: u32) {
        let tag = tag(hash);
        for at in self.places(hash) {
            let Some(slot) = self.slots.get_mut(at) else { return };
            // A slot that so far only said that names stand below takes the entry in.
            if *slot == EMPTY || (*slot >> 32 == tag && low(*slot) & !ABOVE == NO_ENTRY) {
                *slot = tag << 32 | u64::from((low(*slot) & ABOVE) | (offset + 1));
                return;
            }
        }
    }

    /// Says that longer names stand below a hash.
    pub(super) fn mark_above(&mut self, hash: u64) -> bool {
        let tag = tag(hash);
        for at in self.places(hash) {
            let Some(slot) = self.slots.get_mut(at) else { break };
            if *slot == EMPTY || *slot >> 32 == tag {
                let known = *slot != EMPTY && low(*slot) & ABOVE != 0;
                *slot = tag << 32 | u64::from(low(*slot) | ABOVE);
                return !known;
            }
        }
        false
    }

    /// What may stand under a hash; the caller compares names.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut each: impl FnMut(Slot)) {
        let tag = tag(hash);
        let mut at = self.start(hash);
        for _ in 0..self.slots.len() {
            let Some(&slot) = self.slots.get(at) else { return };
            if slot == EMPTY {
                return;
            }
            if slot >> 32 == tag {
                each(Slot(low(slot)));
            }
            at = if at + 1 < self.slots.len() { at + 1 } else { 0 };
        }
    }

    /// Octets held.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<u64>()
    }

    /// The slots to look at, in order: from the hash's place on, once around.
    #[inline]
    fn places(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let (start, len) = (self.start(hash), self.slots.len());
        (start..len).chain(0..start)
    }

    /// The high bits choose the place without a division.
    #[inline]
    fn start(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }
}

/// The hash's low bits; the place is made of the high ones. Never a tag of 0, so that no slot that is taken looks empty.
#[inline]
const fn tag(hash: u64) -> u64 {
    let tag = hash & 0xffff_ffff;
    if tag == 0 { 1 } else { tag }
}

#[inline]
const fn low(slot: u64) -> u32 {
    (slot & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        /// Against maps, with hashes that collide in place and in tag.
        #[test]
        fn agrees_with_a_map(
            entries in prop::collection::vec((0..4_u64, 0..4_u64), 0..40),
            above in prop::collection::vec((0..4_u64, 0..4_u64), 0..40),
        ) {
            let hash = |(place, tag): (u64, u64)| place << 61 | tag;
            let mut table = Table::for_hashes(entries.len() + above.len());
            let mut known: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
            for (offset, entry) in (0..).zip(&entries) {
                table.insert(hash(*entry), offset);
                known.entry(hash(*entry)).or_default().insert(offset);
            }
            above.iter().for_each(|entry| { table.mark_above(hash(*entry)); });
            for place in 0..4 {
                for tag in 1..4 {
                    let hash = hash((place, tag));
                    let (mut found, mut is_above) = (BTreeSet::new(), false);
                    table.find(hash, |slot| {
                        found.extend(slot.entry());
                        is_above |= slot.is_above();
                    });
                    let expected = known.get(&hash).cloned().unwrap_or_default();
                    prop_assert!(found.is_superset(&expected));
                    if above.contains(&(place, tag)) {
                        prop_assert!(is_above);
                    }
                }
            }
        }
    }
}
