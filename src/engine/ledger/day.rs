//! A day of attempts, by hour and outcome, and its packed form.
//!
//! Packed: for each hour and outcome that has attempts, one octet `hour << 3 | outcome` and the count as unsigned
//! LEB128. A quiet day takes a few octets, the busiest some hundred, and any window of whole hours has exact outcomes.

use super::Outcomes;
use crate::base::model::{Outcome, Sighting, Wall};
use std::collections::BTreeMap;

/// Hours in a day of UTC.
pub const HOURS_IN_DAY: u8 = 24;
/// Outcomes in the order of their packed codes, which never change.
const CODES: [Outcome; 5] = [Outcome::Blocked, Outcome::Observed, Outcome::Excepted, Outcome::Leaked, Outcome::Unknown];
/// Octets that a 64-bit count takes at most in LEB128.
const LEB128_OCTETS_MAX: u32 = 10;

/// An hour of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hour {
    /// Days since 1970-01-01.
    pub day: i64,
    /// Hour in that day, 0 to 23.
    pub hour: u8,
}

impl Hour {
    /// The hour that a moment lies in.
    #[must_use]
    pub fn of(at: Wall) -> Self {
        let hours = at.as_second().div_euclid(3600);
        let hour = u8::try_from(hours.rem_euclid(i64::from(HOURS_IN_DAY))).unwrap_or_default();
        Self { day: hours.div_euclid(i64::from(HOURS_IN_DAY)), hour }
    }

    /// The hour that a sighting counts in: that of its last attempt. Folding spans a second or so, and dividing a count over
    /// a border would be a guess.
    #[must_use]
    pub fn of_sighting(sighting: &Sighting) -> Self {
        Self::of(sighting.last)
    }
}

/// Why octets are no packed day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("octet {at} of a packed day is not of its form")]
pub struct DayError {
    /// Where in the octets.
    pub at: usize,
}

/// Attempts of one day by hour and outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Day(BTreeMap<(u8, Outcome), u64>);

impl Day {
    /// Counts `count` more attempts in an hour (0 to 23; what is above counts as 23), saturating.
    pub fn add(&mut self, hour: u8, outcome: Outcome, count: u64) {
        if count == 0 {
            return;
        }
        let sum = self.0.entry((hour.min(HOURS_IN_DAY - 1), outcome)).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Adds another day's attempts.
    pub fn merge(&mut self, other: &Self) {
        for (&(hour, outcome), &count) in &other.0 {
            self.add(hour, outcome, count);
        }
    }

    /// Attempts from an hour on, by outcome; from hour 0 on it is the whole day.
    #[must_use]
    pub fn outcomes_from(&self, hour: u8) -> Outcomes {
        let mut sums = Outcomes::default();
        for (&(_, outcome), &count) in self.0.iter().filter(|((of, _), _)| *of >= hour) {
            sums.add(outcome, count);
        }
        sums
    }

    /// Attempts of each hour.
    #[must_use]
    pub fn hours(&self) -> [u64; HOURS_IN_DAY as usize] {
        let mut hours = [0_u64; HOURS_IN_DAY as usize];
        for (&(hour, _), &count) in &self.0 {
            if let Some(sum) = hours.get_mut(usize::from(hour)) {
                *sum = sum.saturating_add(count);
            }
        }
        hours
    }

    /// The packed form.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.0.len() * 3);
        for (&(hour, outcome), &count) in &self.0 {
            octets.push(hour << 3 | code(outcome));
            let mut rest = count;
            while rest >= 0x80 {
                octets.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            octets.push((rest & 0x7f) as u8);
        }
        octets
    }

    /// Reads the packed form.
    ///
    /// # Errors
    /// Octets that [`Day::pack`] does not write: a foreign hour or outcome, a count of zero, one said twice or cut off.
    pub fn unpack(octets: &[u8]) -> Result<Self, DayError> {
        let mut day = Self::default();
        let mut rest = octets;
        while let Some((&head, tail)) = rest.split_first() {
            let error = DayError { at: octets.len() - rest.len() };
            let outcome = *CODES.get(usize::from(head & 0b111)).ok_or(error)?;
            let key = (head >> 3, outcome);
            let (count, tail) = leb128(tail).ok_or(error)?;
            if key.0 >= HOURS_IN_DAY || count == 0 || day.0.insert(key, count).is_some() {
                return Err(error);
            }
            rest = tail;
        }
        Ok(day)
    }
}

/// An outcome's packed code: its place in [`CODES`].
const fn code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Blocked => 0,
        Outcome::Observed => 1,
        Outcome::Excepted => 2,
        Outcome::Leaked => 3,
        Outcome::Unknown => 4,
    }
}

/// Reads an unsigned LEB128 number and what follows it.
fn leb128(octets: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    let mut rest = octets;
    for place in 0..LEB128_OCTETS_MAX {
        let (&octet, tail) = rest.split_first()?;
        let bits = u64::from(octet & 0x7f);
        let shifted = bits.checked_shl(place * 7).filter(|&shifted| shifted >> (place * 7) == bits)?;
        number |= shifted;
        rest = tail;
        if octet & 0x80 == 0 {
            return Some((number, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_are_places() {
        for (place, &outcome) in CODES.iter().enumerate() {
            assert_eq!(usize::from(code(outcome)), place);
        }
        assert_eq!(CODES.len(), Outcome::ALL.len());
    }

    #[test]
    fn hours_are_those_of_the_calendar() {
        for (text, day, hour) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("1970-01-01T23:59:59.999Z", 0, 23),
            ("1969-12-31T23:00:00Z", -1, 23),
            ("2024-09-29T04:00:00Z", 19_995, 4),
        ] {
            assert_eq!(Hour::of(text.parse().unwrap()), Hour { day, hour }, "{text}");
        }
    }

    #[test]
    fn the_packed_form_stays_what_it_is() {
        let mut day = Day::default();
        day.add(0, Outcome::Blocked, 1);
        day.add(13, Outcome::Observed, 300);
        day.add(23, Outcome::Unknown, u64::MAX);
        let packed = day.pack();
        assert_eq!(
            packed,
            [0, 1, 13 << 3 | 1, 0xac, 0x02, 23 << 3 | 4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]
        );
        assert_eq!(Day::unpack(&packed), Ok(day));
    }

    #[test]
    fn octets_of_another_form_are_refused() {
        for (octets, at) in [
            (&[0_u8][..], 0),
            (&[5, 1], 0),
            (&[24 << 3, 1], 0),
            (&[0, 0], 0),
            (&[0, 1, 0, 1], 2),
            (&[8, 1, 0, 1, 8, 1], 4),
            (&[0, 0x80], 0),
            (&[0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], 0),
            (&[0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 129, 0], 0),
        ] {
            assert_eq!(Day::unpack(octets), Err(DayError { at }), "{octets:?}");
        }
    }

    proptest! {
        #[test]
        fn a_day_counts_like_a_table_and_reads_back(
            attempts in prop::collection::vec((0_u8..24, proptest::sample::select(Outcome::ALL), 0_u64..1 << 40), 0..60),
            from in 0_u8..24,
        ) {
            let mut day = Day::default();
            let mut hours = [0_u64; 24];
            let mut window = 0_u64;
            for &(hour, outcome, count) in &attempts {
                day.add(hour, outcome, count);
                hours[usize::from(hour)] += count;
                window += if hour >= from { count } else { 0 };
            }
            prop_assert_eq!(day.hours(), hours);
            prop_assert_eq!(day.outcomes_from(from).total(), window);
            prop_assert_eq!(Day::unpack(&day.pack()), Ok(day));
        }

        #[test]
        fn unpacking_foreign_octets_never_panics_and_only_takes_what_packs_the_same_or_longer(
            octets in prop::collection::vec(any::<u8>(), 0..64)
        ) {
            if let Ok(day) = Day::unpack(&octets) {
                prop_assert_eq!(Day::unpack(&day.pack()), Ok(day));
            }
        }
    }
}
