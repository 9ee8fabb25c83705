//! Two bits for each hash: whether a rule may stand under it, and whether rules may stand below it. A set bit may be another
//! hash's; a clear one is certain.

/// Slots for each rule; one rule in so many fills an eighth of them.
const SLOTS_PER_KEY: usize = 8;
/// A rule stands under this hash.
const RULE: u8 = 1;
/// Rules stand below it.
const ABOVE: u8 = 2;
/// Slots in an octet.
const SLOTS_PER_OCTET: u64 = 4;

/// The bits, four slots an octet.
#[derive(Debug, Default)]
pub(super) struct Filter {
    octets: Box<[u8]>,
    /// Slots less one; slots are a power of two.
    mask: u64,
}

/// What a slot says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks(u8);

impl Marks {
    #[inline]
    pub(super) const fn is_rule(self) -> bool {
        self.0 & RULE != 0
    }

    #[inline]
    pub(super) const fn is_above(self) -> bool {
        self.0 & ABOVE != 0
    }
}

impl Filter {
    /// An empty filter for so many rules.
    pub(super) fn for_keys(keys: usize) -> Self {
        let slots = (keys.max(1) * SLOTS_PER_KEY).next_power_of_two();
        Self { octets: vec![0; slots / SLOTS_PER_OCTET as usize].into(), mask: slots as u64 - 1 }
    }

    pub(super) fn mark_rule(&mut self, hash: u64) {
        self.mark(hash, RULE);
    }

    pub(super) fn mark_above(&mut self, hash: u64) {
        self.mark(hash, ABOVE);
    }

    /// What is said of a hash; nothing, as long as the filter is empty.
    #[inline]
    pub(super) fn get(&self, hash: u64) -> Marks {
        let (at, shift) = self.place(hash);
        Marks(self.octets.get(at).map_or(0, |octet| octet >> shift & 3))
    }

    fn mark(&mut self, hash: u64, mark: u8) {
        let (at, shift) = self.place(hash);
        if let Some(octet) = self.octets.get_mut(at) {
            *octet |= mark << shift;
        }
    }

    /// The table takes the hash's low bits and its highest seven; these are others, so that both say something.
    #[inline]
    const fn place(&self, hash: u64) -> (usize, u32) {
        let slot = (hash >> 20) & self.mask;
        ((slot / SLOTS_PER_OCTET) as usize, (slot % SLOTS_PER_OCTET) as u32 * 2)
    }

    /// Octets held.
    pub(super) fn bytes(&self) -> usize {
        self.octets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_marked_is_found_and_little_else() {
        let mut filter = Filter::for_keys(1_000);
        let hash = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..1_000).for_each(|n| filter.mark_rule(hash(n)));
        assert!((0..1_000).all(|n| filter.get(hash(n)).is_rule() && !filter.get(hash(n)).is_above()));
        let by_chance = (1_000..11_000).filter(|n| filter.get(hash(*n)).is_rule()).count();
        assert!(by_chance < 2_000, "{by_chance}");
    }
}
