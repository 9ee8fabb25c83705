//! When to look again, and when a silent remote becomes a worry. Pure: times and random numbers are arguments.

use std::time::Duration;

use crate::base::model::Wall;

/// The first pause after a failure.
const RETRY_FIRST: Duration = Duration::from_secs(60);
/// Doublings of it at most.
const DOUBLINGS_MAX: u32 = 10;

/// When to look again after `last`: `every` ± 10 %, so that boxes that were started together do not ask together; after
/// `failures` in a row sooner, from a minute on, doubled each time, never later than `every`. `random` is any number.
#[must_use]
pub fn next_due(every: Duration, last: Wall, failures: u32, random: u32) -> Wall {
    let retry = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(DOUBLINGS_MAX));
    let pause = if failures == 0 { every } else { retry.min(every) };
    let factor = 0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX);
    // Beyond a thousand years nothing is due.
    let seconds = (pause.as_secs_f64() * factor).min(3.2e10);
    let pause = jiff::SignedDuration::from_secs_f64(seconds);
    last.checked_add(pause).unwrap_or(Wall::MAX)
}

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// A remote that does not keep its promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the list is of {time} and {} days old, but was promised every {} days; it may be held back, ask its publisher",
    .age.as_secs() / DAY_S, .promise.as_secs() / DAY_S
)]
pub struct Stale {
    /// The time of the commit in force.
    pub time: Wall,
    /// How old it is.
    pub age: Duration,
    /// How old it may be.
    pub promise: Duration,
}

/// Whether a list whose commit is of `time` is older at `now` than its publisher promised. It stays in force all the same.
#[must_use]
pub fn staleness(time: Wall, promise: Duration, now: Wall) -> Option<Stale> {
    let age = Duration::try_from(now.duration_since(time)).unwrap_or(Duration::ZERO);
    (age > promise).then_some(Stale { time, age, promise })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn pause(every: Duration, failures: u32, random: u32) -> i64 {
        let last = "2026-01-01T00:00:00Z".parse().unwrap();
        next_due(every, last, failures, random).duration_since(last).as_secs()
    }

    #[test]
    fn a_tenth_around_the_period() {
        assert_eq!((pause(HOUR, 0, 0), pause(HOUR, 0, u32::MAX)), (3_240, 3_960));
        assert!((3_590..3_610).contains(&pause(HOUR, 0, u32::MAX / 2)));
        assert!(pause(Duration::MAX, 0, 0) > 0);
    }

    #[test]
    fn failures_are_retried_sooner_and_ever_more_slowly() {
        let pauses: Vec<_> = (1..9).map(|failures| pause(HOUR, failures, u32::MAX)).collect();
        assert_eq!(pauses, [66, 132, 264, 528, 1_056, 2_112, 3_960, 3_960]);
        assert_eq!(pause(HOUR, u32::MAX, 0), 3_240);
    }

    #[test]
    fn a_remote_that_holds_still_is_said() {
        let (time, now) = ("2026-01-01T00:00:00Z".parse().unwrap(), "2026-01-16T00:00:00Z".parse().unwrap());
        let day = HOUR * 24;
        assert_eq!(staleness(time, day * 15, now), None);
        assert_eq!(staleness(now, day, time), None);
        let said = staleness(time, day * 7, now).unwrap().to_string();
        assert!(said.contains("15 days old, but was promised every 7 days"), "{said}");
    }
}
