//! Which wall clock is believed: never one that is earlier than what is known to have happened.

use crate::base::model::Wall;
use crate::policy::list::bundled;

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
    if clock < floor { Believed { at: floor, disbelieved: Some(clock) } } else { Believed { at: clock, disbelieved: None } }
}

#[cfg(test)]
mod tests {
    use super::*;

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
