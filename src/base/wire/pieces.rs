//! Octets that come in any order and perhaps twice, joined within fixed bounds.

use std::ops::Range;

/// Parts apart from each other that are held.
const PARTS_MAX: usize = 512;

/// Which octets stay where two pieces differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those that came first.
    First,
    /// Those that came last.
    Last,
}

/// What a piece was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Placed {
    /// It had an octet that was not there before.
    pub is_new: bool,
    /// It had another octet where one was already.
    pub differs: bool,
    /// Octets that lay beyond the bounds.
    pub dropped: usize,
}

/// A buffer with holes.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    octets: Vec<u8>,
    /// What has come: in order, neither empty nor touching.
    have: Vec<Range<usize>>,
}

impl Pieces {
    /// Puts a piece at its place. What would end beyond `octets_max` is dropped.
    pub fn put(&mut self, at: usize, piece: &[u8], keep: Keep, octets_max: usize) -> Placed {
        let room = octets_max.saturating_sub(at);
        let kept = piece.get(..room).unwrap_or(piece);
        let mut placed = Placed { dropped: piece.len() - kept.len(), ..Placed::default() };
        let range = at..at + kept.len();
        if range.is_empty() {
            return placed;
        }
        // The common case: the next octets, and nothing waits behind a hole.
        let is_next = match self.have.as_slice() {
            [] => at == 0,
            [only] => only.start == 0 && only.end == at,
            _ => false,
        };
        if is_next && at == self.octets.len() {
            self.octets.extend_from_slice(kept);
            self.have.clear();
            self.have.push(0..range.end);
            placed.is_new = true;
            return placed;
        }
        placed.differs = self.differs(at, kept);
        placed.is_new = !self.have.iter().any(|held| held.start <= range.start && range.end <= held.end);
        if placed.is_new && self.have.len() >= PARTS_MAX && !self.touches(&range) {
            placed.dropped += kept.len();
            placed.is_new = false;
            return placed;
        }
        if self.octets.len() < range.end {
            self.octets.resize(range.end, 0);
        }
        match keep {
            Keep::Last => self.write(range.clone(), kept),
            Keep::First => self.write_missing(&range, kept),
        }
        self.note(range);
        placed
    }

    /// Whether a piece has another octet where one is already.
    #[must_use]
    pub fn differs(&self, at: usize, piece: &[u8]) -> bool {
        let end = at + piece.len();
        at < self.octets.len()
            && self.have.iter().any(|held| {
                let (from, to) = (held.start.max(at), held.end.min(end));
                from < to && self.octets.get(from..to) != piece.get(from - at..to - at)
            })
    }

    fn touches(&self, range: &Range<usize>) -> bool {
        self.have.iter().any(|held| held.start <= range.end && range.start <= held.end)
    }

    fn write(&mut self, range: Range<usize>, from: &[u8]) {
        if let Some(place) = self.octets.get_mut(range)
            && place.len() == from.len()
        {
            place.copy_from_slice(from);
        }
    }

    fn write_missing(&mut self, range: &Range<usize>, from: &[u8]) {
        let mut at = range.start;
        let held: Vec<_> =
            self.have.iter().filter(|held| held.end > range.start && held.start < range.end).cloned().collect();
        for hole_end in held.iter().map(|held| (held.start, held.end)).chain([(range.end, range.end)]) {
            let (start, next) = hole_end;
            if at < start
                && let Some(part) = from.get(at - range.start..start - range.start)
            {
                self.write(at..start, part);
            }
            at = at.max(next);
        }
    }

    fn note(&mut self, range: Range<usize>) {
        let first = self.have.partition_point(|held| held.end < range.start);
        let last = self.have.partition_point(|held| held.start <= range.end);
        let mut merged = range;
        for held in self.have.get(first..last).unwrap_or_default() {
            merged = merged.start.min(held.start)..merged.end.max(held.end);
        }
        self.have.splice(first..last, [merged]);
    }

    /// The octets from the start up to the first hole.
    #[must_use]
    pub fn contiguous(&self) -> &[u8] {
        let end = self.have.first().filter(|held| held.start == 0).map_or(0, |held| held.end);
        self.octets.get(..end).unwrap_or_default()
    }

    /// Where the first part behind a hole starts.
    #[must_use]
    pub fn behind_hole(&self) -> Option<usize> {
        self.have.iter().map(|held| held.start).find(|start| *start > 0)
    }

    /// Forgets the first `count` octets, come or not; the octet behind them becomes the first.
    pub fn forget_front(&mut self, count: usize) {
        self.octets.drain(..count.min(self.octets.len()));
        self.have.retain_mut(|held| {
            *held = held.start.saturating_sub(count)..held.end.saturating_sub(count);
            held.start < held.end
        });
        if self.octets.is_empty() {
            self.octets = Vec::new();
        }
    }

    /// Moves everything up by `count` octets that are yet to come.
    pub fn make_room_in_front(&mut self, count: usize) {
        self.octets.splice(..0, std::iter::repeat_n(0, count));
        for held in &mut self.have {
            *held = held.start + count..held.end + count;
        }
    }

    /// Octets from the first to the last that came, holes included.
    #[must_use]
    pub const fn span(&self) -> usize {
        self.octets.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.have.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a table of octets.
        #[test]
        fn as_a_table_would(
            pieces in prop::collection::vec((0..60_usize, prop::collection::vec(any::<u8>(), 0..20), any::<bool>()), 0..40),
            front in 0..30_usize,
        ) {
            let mut ours = Pieces::default();
            let mut table: Vec<Option<u8>> = vec![None; 70];
            for (at, piece, last) in &pieces {
                let keep = if *last { Keep::Last } else { Keep::First };
                let placed = ours.put(*at, piece, keep, 70);
                let (mut is_new, mut differs, mut dropped) = (false, false, 0);
                for (index, octet) in piece.iter().enumerate() {
                    let Some(place) = table.get_mut(at + index) else { dropped += 1; continue };
                    is_new |= place.is_none();
                    differs |= place.is_some_and(|held| held != *octet);
                    if place.is_none() || *last { *place = Some(*octet); }
                }
                prop_assert_eq!(placed, Placed { is_new, differs, dropped });
            }
            for _ in 0..2 {
                let whole: Vec<u8> = table.iter().map_while(|octet| *octet).collect();
                prop_assert_eq!(ours.contiguous(), &whole[..]);
                let hole = table.windows(2).position(|pair| pair[0].is_none() && pair[1].is_some()).map(|at| at + 1);
                prop_assert_eq!(ours.behind_hole(), hole);
                ours.forget_front(front);
                table.drain(..front);
            }
            ours.make_room_in_front(3);
            prop_assert_eq!(ours.contiguous(), &[] as &[u8]);
        }
    }

    #[test]
    fn parts_are_bounded() {
        let mut ours = Pieces::default();
        for at in 0..PARTS_MAX {
            assert_eq!(ours.put(1 + at * 2, b"x", Keep::First, 1 << 16).dropped, 0);
        }
        assert_eq!(ours.put(9000, b"xy", Keep::First, 1 << 16).dropped, 2);
        assert!(ours.put(2, b"y", Keep::First, 1 << 16).is_new, "what fills a hole is taken");
    }
}
