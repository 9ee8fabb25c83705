//! What a connection's mark says of it: whether its names were judged, under which policy, and what came of it.

/// Bits for the state of a connection; all others of the mask are for the policy's epoch.
const STATE_BITS: u32 = 2;

/// The bits of marks that are ours: in a row, at least four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask(u32);

/// What came of a connection's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing more is to be read: the rest never leaves the kernel.
    Passed = 1,
    /// A name is blocked: both sides are reset.
    Refused = 2,
    /// What was said so far passes, and more may be said (HTTP).
    Looking = 3,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Passed, Self::Refused, Self::Looking];
}

impl Mask {
    /// A mask of these bits; `None` unless they are four or more in a row.
    #[must_use]
    pub const fn new(bits: u32) -> Option<Self> {
        if bits.count_ones() < STATE_BITS + 2 {
            return None;
        }
        let row = bits >> bits.trailing_zeros();
        if row & row.wrapping_add(1) == 0 { Some(Self(bits)) } else { None }
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The mark of a connection that was judged under the policy of an epoch. Never 0, which is the mark of one that was not judged.
    /// Epochs come round; by then an idle connection has long been forgotten.
    #[must_use]
    pub const fn of(self, epoch: u64, state: State) -> u32 {
        let turns = (1_u64 << (self.0.count_ones() - STATE_BITS)) - 1;
        let turn = (1 + epoch % turns) as u32;
        (turn << STATE_BITS | state as u32) << self.0.trailing_zeros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bits_in_a_row_are_a_mask() {
        for good in [0xff00_0000, 0xf, 0x00f0_0000, u32::MAX] {
            assert_eq!(Mask::new(good).map(Mask::bits), Some(good));
        }
        for bad in [0, 0x7, 0x8000_0000, 0xf0f, 0x1_000f] {
            assert_eq!(Mask::new(bad), None, "{bad:x}");
        }
    }

    #[test]
    fn marks_stay_within_their_mask_and_tell_epochs_in_a_row_apart() {
        for bits in [0xff00_0000_u32, 0xf, 0x00f0_0000, u32::MAX] {
            let mask = Mask::new(bits).unwrap();
            for epoch in [0, 1, 2, 62, 63, 64, u64::MAX - 1] {
                let mut seen = std::collections::BTreeSet::new();
                for state in State::ALL {
                    for at in [epoch, epoch + 1] {
                        let mark = mask.of(at, state);
                        assert_eq!(mark & !bits, 0);
                        assert!(mark != 0 && seen.insert(mark), "{bits:x} {at} {state:?}");
                    }
                }
            }
        }
    }
}
