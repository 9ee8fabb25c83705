//! The first segments of a direction whose start was not seen and that begin nothing: of connections that are older than the capture, and
//! now and then of one whose first segment comes late. They are held as they came, since of the many almost none is read.

use super::dialogue::{Dialogue, Hint};
use super::stream::{Readings, Segment, UNANCHORED_OCTETS};
use crate::base::wire::carrier::{Start, start_of};

/// Octets that came one after the other, from the first that was seen.
#[derive(Clone, Debug)]
pub(super) struct Early {
    base: u32,
    octets: Vec<u8>,
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// It is held with the others.
    Held,
    /// What is held begins nothing, and what was before it does not come any more.
    Lost,
    /// It does not follow what is held, or not beyond doubt: all of it has to be read.
    Apart,
}

impl Early {
    /// Whether the first segment of a direction begins nothing, beyond doubt.
    pub(super) fn is_nothing(segment: &Segment<'_>, hint: Hint) -> bool {
        hint == Hint::None && is_plain(segment) && start_of(segment.octets) == Start::Other
    }

    /// Holds the first segment of a direction.
    pub(super) fn new(segment: &Segment<'_>) -> Self {
        Self { base: segment.seq, octets: segment.octets.to_vec() }
    }

    /// Takes the next segment.
    pub(super) fn take(&mut self, segment: &Segment<'_>, hint: Hint) -> Took {
        let ahead = segment.seq.wrapping_sub(self.base).cast_signed();
        let Ok(at) = usize::try_from(ahead) else { return Took::Apart };
        if at >= self.octets.len() && Dialogue::may_start(hint, segment.octets) {
            return Took::Lost;
        }
        if at != self.octets.len() || !is_plain(segment) {
            return Took::Apart;
        }
        if at + segment.octets.len() > UNANCHORED_OCTETS {
            return Took::Lost;
        }
        self.octets.extend_from_slice(segment.octets);
        Took::Held
    }

    /// Whether everything that is held is before this sequence number.
    pub(super) fn is_before(&self, seq: u32) -> bool {
        usize::try_from(seq.wrapping_sub(self.base).cast_signed()).is_ok_and(|acked| acked >= self.octets.len())
    }

    /// The same, to be read.
    pub(super) fn readings(&self) -> Readings {
        Readings::of(self.base, &self.octets)
    }

    /// Octets that are held.
    pub(super) const fn held(&self) -> usize {
        self.octets.len()
    }
}

/// Whether a segment is whole, and one that the receiver takes.
const fn is_plain(segment: &Segment<'_>) -> bool {
    segment.is_sure && segment.missing == 0
}
