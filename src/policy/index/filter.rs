//! What a hash may stand for, in one word of a table that stays in the processor's cache: names that no rule mentions end here,
//! and never read the large table.
//!
//! A word of 64 bits is shared by the hashes that fall on it, a blocked Bloom filter. Each sets three bits of it for *an entry
//! stands here* and three others for *longer names stand below*, for which the high half of the hash is enough. At two octets an
//! entry, one absent hash in fifty or so looks present for one of both; it then costs a look into the table and nothing else.

use std::ops::Range;

/// Octets a name.
const OCTETS_PER_ENTRY: usize = 2;

/// The table of words.
#[derive(Debug, Default)]
pub(super) struct Filter {
    words: Box<[u64]>,
}

/// What a hash may stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    word: u64,
    hash: u64,
}

impl Seen {
    /// Whether an entry may stand there.
    #[inline]
    pub(super) const fn maybe_entry(self) -> bool {
        let bits = entry_bits(self.hash);
        self.word & bits == bits
    }

    /// Whether longer names may stand below.
    #[inline]
    pub(super) const fn maybe_above(self) -> bool {
        let bits = above_bits(self.hash);
        self.word & bits == bits
    }
}

impl Filter {
    /// An empty filter for about so many entries.
    pub(super) fn for_entries(entries: usize) -> Self {
        Self { words: vec![0; entries * OCTETS_PER_ENTRY / size_of::<u64>() + 1].into() }
    }

    /// An entry stands under a hash.
    pub(super) fn entry(&mut self, hash: u64) {
        self.set(hash, entry_bits(hash));
    }

    /// Longer names stand below a hash with this high half.
    pub(super) fn above(&mut self, half: u32) {
        let hash = u64::from(half) << u32::BITS;
        self.set(hash, above_bits(hash));
    }

    fn set(&mut self, hash: u64, bits: u64) {
        let at = self.place(hash);
        if let Some(word) = self.words.get_mut(at) {
            *word |= bits;
        }
    }

    /// What may stand under a hash.
    #[inline]
    pub(super) fn get(&self, hash: u64) -> Seen {
        Seen { word: self.words.get(self.place(hash)).copied().unwrap_or_default(), hash }
    }

    /// Where it stands in memory.
    pub(super) fn span(&self) -> Range<usize> {
        let Range { start, end } = self.words.as_ptr_range();
        start.addr()..end.addr()
    }

    /// Octets held.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    #[inline]
    const fn place(&self, hash: u64) -> usize {
        (((hash >> 32) * self.words.len() as u64) >> 32) as usize
    }
}

#[inline]
const fn entry_bits(hash: u64) -> u64 {
    1 << (hash & 63) | 1 << (hash >> 6 & 63) | 1 << (hash >> 12 & 63)
}

#[inline]
const fn above_bits(hash: u64) -> u64 {
    1 << (hash >> 32 & 63) | 1 << (hash >> 38 & 63) | 1 << (hash >> 44 & 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes as a hasher gives them.
    fn hashes(from: u64) -> impl Iterator<Item = u64> {
        (from..).map(|i| {
            let mixed = u128::from(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)) * 0xd1b5_4a32_d192_ed03;
            (mixed >> 64) as u64 ^ mixed as u64
        })
    }

    #[test]
    fn what_is_there_is_seen_and_little_else_is() {
        let mut filter = Filter::for_entries(10_000);
        hashes(0).take(10_000).for_each(|hash| filter.entry(hash));
        hashes(100_000).take(5_000).for_each(|hash| filter.above((hash >> 32) as u32));
        assert!(hashes(0).take(10_000).all(|hash| filter.get(hash).maybe_entry()));
        assert!(hashes(100_000).take(5_000).all(|hash| filter.get(hash).maybe_above()));
        let wrong = hashes(1_000_000).take(10_000).filter(|&hash| {
            let seen = filter.get(hash);
            seen.maybe_entry() || seen.maybe_above()
        });
        assert!((1..800).contains(&wrong.count()));
    }

    #[test]
    fn an_empty_filter_knows_nothing() {
        let seen = Filter::default().get(1);
        assert!(!seen.maybe_entry() && !seen.maybe_above());
    }
}
