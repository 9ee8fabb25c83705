//! Offsets by hash: one read of one line of memory says whether a hash is known, where its entry is, and whether longer names
//! stand below it.
//!
//! A slot is 64 bits: the high 32 of the hash (its *tag*), a mark, 31 of an offset. Slots stand in the order of their tags, each
//! at the place that its tag asks for or as soon after it as there is room. A look-up starts at that place and ends at the
//! first greater tag or empty slot, so that not finding costs no more than finding, although three of four slots are taken.

/// A slot that nothing stands in.
const EMPTY: u64 = 0;
/// Longer names stand below this one.
const ABOVE: u32 = 1 << 31;
/// Names stand below this hash, but no rule under it. Offsets are kept one higher, so that 0 is free for this.
const NO_ENTRY: u32 = 0;
/// Ancestors that were just seen; lists are sorted by name or by site, so most of them come again at once.
const RECENT: usize = 1 << 12;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Box<[u64]>,
    /// Places that tags ask for; the slots beyond are for those that found theirs taken.
    places: u64,
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

/// Collects what the table is to hold.
#[derive(Debug)]
pub(super) struct TableBuilder {
    slots: Vec<u64>,
    recent: Box<[u64]>,
}

impl TableBuilder {
    /// For about so many entries.
    pub(super) fn for_entries(entries: usize) -> Self {
        Self { slots: Vec::with_capacity(entries), recent: vec![EMPTY; RECENT].into() }
    }

    /// An entry stands under a hash.
    pub(super) fn entry(&mut self, hash: u64, offset: u32) {
        self.slots.push(slot(hash, offset + 1));
    }

    /// Longer names stand below a hash.
    pub(super) fn above(&mut self, hash: u64) {
        let slot = slot(hash, ABOVE | NO_ENTRY);
        let Some(recent) = self.recent.get_mut(hash as usize % RECENT) else { return };
        if *recent != slot {
            *recent = slot;
            self.slots.push(slot);
        }
    }

    /// Puts the slots in order.
    pub(super) fn finish(mut self) -> Table {
        self.slots.sort_unstable();
        self.slots.dedup();
        let places = self.slots.len() / 3 * 4 + 4;
        let mut table = Table { slots: Box::default(), places: places as u64 };
        // The slots that found their place taken reach beyond the last place by a few.
        let mut free = 0;
        let end = self.slots.iter().fold(0, |_, slot| {
            free = free.max(table.place(*slot >> 32)) + 1;
            free
        });
        let mut slots = vec![EMPTY; end.max(places) + 1];
        free = 0;
        for slot in &self.slots {
            let at = free.max(table.place(*slot >> 32));
            if let Some(into) = slots.get_mut(at) {
                *into = *slot;
            }
            free = at + 1;
        }
        table.slots = slots.into();
        table
    }
}

impl Table {
    /// What may stand under a hash; the caller compares names.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut each: impl FnMut(Slot)) {
        let tag = tag(hash);
        let from = self.slots.get(self.place(tag)..).unwrap_or_default();
        for slot in from {
            let have = slot >> 32;
            if have > tag || *slot == EMPTY {
                return;
            }
            if have == tag {
                each(Slot((slot & 0xffff_ffff) as u32));
            }
        }
    }

    /// Octets held.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<u64>()
    }

    /// The place that a tag asks for; greater tags never ask for an earlier one.
    #[inline]
    const fn place(&self, tag: u64) -> usize {
        ((tag * self.places) >> 32) as usize
    }
}

/// Never 0, so that no slot that is taken looks empty.
#[inline]
const fn tag(hash: u64) -> u64 {
    let tag = hash >> 32;
    if tag == 0 { 1 } else { tag }
}

const fn slot(hash: u64, low: u32) -> u64 {
    tag(hash) << 32 | low as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Against lists, with hashes that crowd at both ends of the table and share tags.
        #[test]
        fn agrees_with_lists(
            entries in prop::collection::vec((0..6_u64, 0..4_u64), 0..60),
            above in prop::collection::vec((0..6_u64, 0..4_u64), 0..60),
        ) {
            let hash = |(place, low): (u64, u64)| [0, 1 << 32, 1 << 61, 3 << 61, 7 << 61, u64::MAX][place as usize] ^ low;
            let mut builder = TableBuilder::for_entries(entries.len());
            (0..).zip(&entries).for_each(|(offset, entry)| builder.entry(hash(*entry), offset));
            above.iter().for_each(|name| builder.above(hash(*name)));
            let table = builder.finish();
            for at in (0..6).flat_map(|place| (0..4).map(move |low| (place, low))) {
                let (mut found, mut is_above) = (BTreeSet::new(), false);
                table.find(hash(at), |slot| {
                    found.extend(slot.entry());
                    is_above |= slot.is_above();
                });
                let same = |other: &(u64, u64)| tag(hash(*other)) == tag(hash(at));
                let expected: BTreeSet<u32> = (0..).zip(&entries).filter(|(_, entry)| same(entry)).map(|(i, _)| i).collect();
                prop_assert_eq!(found, expected);
                prop_assert_eq!(is_above, above.iter().any(same));
            }
        }
    }
}
