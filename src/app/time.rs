//! Which wall clock is believed: never one that is earlier than what is known to have happened.

use crate::base::model::Wall;
use crate::policy::list::bundled;
use std::time::Duration;

/// The date to stage for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Believed {
    /// The latest of the clock, the build and the last activation.
    pub at: Wall,
    /// What the clock says, where it is not believed.
    pub disbelieved: Option<Wall>,
}

/// Reads the clock. `last` is the last activation that the store knows of.
#[must_use]
pub fn believed(last: Option<Wall>) -> Believed {
    latest(Wall::now(), bundled::build_date(), last)
}

fn latest(clock: Wall, built: Wall, last: Option<Wall>) -> Believed {
    let floor = last.map_or(built, |last| last.max(built));
    if clock < floor {
        Believed { at: floor, disbelieved: Some(clock) }
    } else {
        Believed { at: clock, disbelieved: None }
    }
}

/// Reads a span: a number with `s`, `m`, `h` or `d`; `1h30m` works too.
///
/// # Errors
/// One sentence.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no span of time; write 90s, 30m, 24h or 7d");
    let mut total = 0_u64;
    let mut digits = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let amount: u64 = std::mem::take(&mut digits).parse().map_err(|_| wrong())?;
        total = amount.checked_mul(unit).and_then(|seconds| total.checked_add(seconds)).ok_or_else(wrong)?;
    }
    if digits.is_empty() && total > 0 { Ok(Duration::from_secs(total)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit_and_are_not_empty() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("1h30m", 5_400), ("7d", 604_800)] {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)));
        }
        for bad in ["", "30", "m", "0s", "5x", "-1h", "99999999999999999999d", "9999999999999999d"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_clock_before_the_build_or_the_last_activation_is_not_believed() {
        let at = |text: &str| text.parse::<Wall>().unwrap();
        let (built, last) = (at("2026-11-01T00:00:00Z"), at("2026-11-10T00:00:00Z"));
        for (clock, known, believed) in [
            ("1970-01-01T00:00:00Z", None, Err(built)),
            ("2026-11-05T00:00:00Z", Some(last), Err(last)),
            ("2026-11-05T00:00:00Z", None, Ok(())),
            ("2026-11-11T00:00:00Z", Some(last), Ok(())),
        ] {
            let have = latest(at(clock), built, known);
            match believed {
                Ok(()) => assert_eq!(have, Believed { at: at(clock), disbelieved: None }),
                Err(floor) => assert_eq!(have, Believed { at: floor, disbelieved: Some(at(clock)) }),
            }
        }
    }
}
