//! Numbers: how many rules, how many more or fewer than before, how many unreadable lines.

use super::Check;
use crate::policy::list::Report;
use crate::policy::view::What;

/// Rules from which on shrinking and growing are limited: a short list may well double.
pub const LIMITS_FROM_RULES: usize = 1_000;

/// What a revision of a list amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Plain rules on names.
    pub names: usize,
    /// Plain rules on addresses.
    pub ranges: usize,
    /// Rules with exceptions, conditions or patterns.
    pub apart: usize,
    /// Lines that say nothing readable.
    pub bad: usize,
    /// Lines about what is not judged.
    pub ignored: usize,
}

impl Counts {
    /// All rules.
    #[must_use]
    pub const fn rules(&self) -> usize {
        self.names + self.ranges + self.apart
    }

    /// Counts a rule.
    pub const fn count(&mut self, what: &What<'_>) {
        match what {
            What::Name(..) => self.names += 1,
            What::Range(_) => self.ranges += 1,
            What::Apart(_) => self.apart += 1,
        }
    }

    pub(super) const fn read(&mut self, report: &Report) {
        self.bad = report.bad;
        self.ignored = report.ignored;
    }
}

/// The numbers that a list must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The least number of rules.
    pub minimum: usize,
    /// Rules that may be gone at once, of a hundred.
    pub shrink_percent_max: u32,
    /// Rules that may be new at once, to a hundred.
    pub growth_percent_max: u32,
    /// Unreadable lines, of a hundred that say something.
    pub bad_percent_max: u32,
    /// The shortest IPv4 prefix.
    pub v4_prefix_min: u8,
    /// The shortest IPv6 prefix.
    pub v6_prefix_min: u8,
}

impl Default for Limits {
    /// At least one rule; half as many to twice as many; a tenth of the lines unreadable; /16 and /32.
    fn default() -> Self {
        Self {
            minimum: 1,
            shrink_percent_max: 50,
            growth_percent_max: 100,
            bad_percent_max: 10,
            v4_prefix_min: 16,
            v6_prefix_min: 32,
        }
    }
}

impl Limits {
    /// Compares a revision with the numbers and with the revision before.
    pub(super) fn check(&self, new: &Counts, old: Option<&Counts>) -> Result<(), (Check, String)> {
        let rules = new.rules();
        if rules < self.minimum {
            return Err((Check::Minimum, format!("it has {rules} rules, and at least {} are wanted", self.minimum)));
        }
        let lines = rules + new.bad + new.ignored;
        // One bad line never costs a list, however short it is.
        if new.bad > 1 && exceeds(new.bad, lines, self.bad_percent_max) {
            let why = format!("{} of {lines} lines are not readable; is it the right format?", new.bad);
            return Err((Check::Errors, why));
        }
        let Some(before) = old.map(Counts::rules) else { return Ok(()) };
        let lost = before.saturating_sub(rules);
        if before >= LIMITS_FROM_RULES && exceeds(lost, before, self.shrink_percent_max) {
            let why =
                format!("it had {before} rules and has {rules}; more than {} % are gone", self.shrink_percent_max);
            return Err((Check::Shrink, why));
        }
        let base = before.max(LIMITS_FROM_RULES);
        if exceeds(rules.saturating_sub(base), base, self.growth_percent_max) {
            let why = format!("it had {before} rules and has {rules}; more than {} % are new", self.growth_percent_max);
            return Err((Check::Growth, why));
        }
        Ok(())
    }
}

/// Whether `part` is more than so many of a hundred of a whole.
fn exceeds(part: usize, whole: usize, percent: u32) -> bool {
    part as u128 * 100 > whole as u128 * u128::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(names: usize) -> Counts {
        Counts { names, ..Counts::default() }
    }

    fn check(old: usize, new: usize) -> Option<Check> {
        Limits::default().check(&counts(new), Some(&counts(old))).err().map(|(check, _)| check)
    }

    #[test]
    fn shrinking_and_growing_are_limited_from_a_thousand_rules_on() {
        for (old, new, refused) in [
            (5_000, 2_500, None),
            (5_000, 2_499, Some(Check::Shrink)),
            (1_000, 500, None),
            (1_000, 499, Some(Check::Shrink)),
            (999, 1, None),
            (5_000, 0, Some(Check::Minimum)),
            (5_000, 10_000, None),
            (5_000, 10_001, Some(Check::Growth)),
            (10, 2_000, None),
            (10, 2_001, Some(Check::Growth)),
            (10, 10_000_000, Some(Check::Growth)),
            (usize::MAX / 4, usize::MAX / 4, None),
        ] {
            assert_eq!(check(old, new), refused, "{old} {new}");
        }
        assert_eq!(Limits::default().check(&counts(10_000_000), None), Ok(()));
    }

    #[test]
    fn a_tenth_of_the_lines_may_be_unreadable() {
        let with = |bad| Counts { names: 90, bad, ..Counts::default() };
        assert_eq!(Limits::default().check(&with(10), None), Ok(()));
        let short = |bad| Counts { names: 3, bad, ..Counts::default() };
        assert_eq!(Limits::default().check(&short(1), None), Ok(()));
        assert_eq!(Limits::default().check(&short(2), None).unwrap_err().0, Check::Errors);
        let (check, why) = Limits::default().check(&with(11), None).unwrap_err();
        assert_eq!((check, why.as_str()), (Check::Errors, "11 of 101 lines are not readable; is it the right format?"));
    }
}
