//! The ledger as a fold: a row and a sighting make a row and events.

use crate::base::model::{Channel, Outcome, Sighting, Wall};
use std::collections::BTreeMap;
use std::time::Duration;

/// Silence after which the next attempt is news again.
pub const REAPPEARED_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Attempts by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Stopped.
    pub blocked: u64,
    /// Passed, as wanted.
    pub observed: u64,
    /// Passed because of an exception.
    pub excepted: u64,
    /// Passed although it should have been stopped.
    pub leaked: u64,
    /// Not known.
    pub unknown: u64,
}

impl Outcomes {
    /// Counts `count` more attempts, saturating.
    pub fn add(&mut self, outcome: Outcome, count: u64) {
        let sum = match outcome {
            Outcome::Blocked => &mut self.blocked,
            Outcome::Observed => &mut self.observed,
            Outcome::Excepted => &mut self.excepted,
            Outcome::Leaked => &mut self.leaked,
            Outcome::Unknown => &mut self.unknown,
        };
        *sum = sum.saturating_add(count);
    }

    /// Attempts with one outcome.
    #[must_use]
    pub const fn of(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Blocked => self.blocked,
            Outcome::Observed => self.observed,
            Outcome::Excepted => self.excepted,
            Outcome::Leaked => self.leaked,
            Outcome::Unknown => self.unknown,
        }
    }

    /// All attempts.
    #[must_use]
    pub fn total(&self) -> u64 {
        Outcome::ALL.iter().fold(0, |sum, &outcome| sum.saturating_add(self.of(outcome)))
    }
}

/// What the ledger knows of an endpoint × vendor × purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The earliest attempt.
    pub first: Wall,
    /// The latest attempt.
    pub last: Wall,
    /// Attempts, exact.
    pub count: u64,
    /// The same by outcome.
    pub outcomes: Outcomes,
    /// The same by channel.
    pub channels: BTreeMap<Channel, u64>,
}

/// What a sighting changed that somebody may want to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The endpoint never tried this vendor and purpose before.
    FirstContact,
    /// It was silent for [`REAPPEARED_AFTER`] or longer.
    Reappeared {
        /// The last attempt before the silence.
        silent_since: Wall,
    },
    /// It never tried over this channel before.
    NewChannel(Channel),
}

/// Folds a sighting into the row that it belongs to. Rows come out the same in whatever order sightings go in; events tell
/// of the order that they came in.
#[must_use]
pub fn fold(row: Option<Row>, sighting: &Sighting) -> (Row, Vec<Event>) {
    let mut events = Vec::new();
    let mut row = row.unwrap_or_else(|| {
        events.push(Event::FirstContact);
        Row {
            first: sighting.first,
            last: sighting.last,
            count: 0,
            outcomes: Outcomes::default(),
            channels: BTreeMap::new(),
        }
    });
    let silence = sighting.first.duration_since(row.last);
    if Duration::try_from(silence).is_ok_and(|silence| silence >= REAPPEARED_AFTER) {
        events.push(Event::Reappeared { silent_since: row.last });
    }
    let known = row.channels.len();
    let by_channel = row.channels.entry(sighting.channel).or_default();
    *by_channel = by_channel.saturating_add(sighting.count);
    if known != 0 && row.channels.len() != known {
        events.push(Event::NewChannel(sighting.channel));
    }
    row.first = row.first.min(sighting.first);
    row.last = row.last.max(sighting.last);
    row.count = row.count.saturating_add(sighting.count);
    row.outcomes.add(sighting.outcome, sighting.count);
    (row, events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::model::{Decision, Destination, Origin, PolicyId, Purpose, RuleFacts};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn sighting(at_s: i64, span_s: i64, channel: Channel, outcome: Outcome, count: u64) -> Sighting {
        let rule = RuleFacts {
            vendor: "kaspersky".into(),
            purpose: Purpose::Update,
            list: "kaspersky".into(),
            revision: "1".into(),
            place: "kaspersky.toml:1".into(),
            pattern: "*.upd.kaspersky.com".into(),
        };
        Sighting {
            client: [192, 0, 2, 1].into(),
            origin: Origin::Client,
            channel,
            destination: Destination::Other,
            port: None,
            rule: Arc::new(rule),
            verdict: Decision::Block,
            outcome,
            first: Wall::from_second(at_s).unwrap(),
            last: Wall::from_second(at_s + span_s).unwrap(),
            count,
            policy: PolicyId([0; 16]),
            evidence: None,
        }
    }

    fn any_sighting() -> impl Strategy<Value = Sighting> {
        (
            0_i64..100_000_000,
            0_i64..2,
            proptest::sample::select(Channel::ALL),
            proptest::sample::select(Outcome::ALL),
            1_u64..1_000_000,
        )
            .prop_map(|(at, span, channel, outcome, count)| sighting(at, span, channel, outcome, count))
    }

    fn fold_all<'a>(sightings: impl IntoIterator<Item = &'a Sighting>) -> Option<Row> {
        sightings.into_iter().fold(None, |row, sighting| Some(fold(row, sighting).0))
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_sightings_in_any_order(
            (given, shuffled) in prop::collection::vec(any_sighting(), 1..40)
                .prop_flat_map(|given| (Just(given.clone()), Just(given).prop_shuffle()))
        ) {
            let row = fold_all(&given).unwrap();
            prop_assert_eq!(&row, &fold_all(&shuffled).unwrap());
            let sum = |keep: &dyn Fn(&Sighting) -> bool| -> u64 { given.iter().filter(|s| keep(s)).map(|s| s.count).sum() };
            prop_assert_eq!(row.count, sum(&|_| true));
            prop_assert_eq!(row.outcomes.total(), row.count);
            for &outcome in Outcome::ALL {
                prop_assert_eq!(row.outcomes.of(outcome), sum(&|s| s.outcome == outcome));
            }
            for &channel in Channel::ALL {
                prop_assert_eq!(row.channels.get(&channel).copied().unwrap_or(0), sum(&|s| s.channel == channel));
            }
            prop_assert_eq!(row.first, given.iter().map(|s| s.first).min().unwrap());
            prop_assert_eq!(row.last, given.iter().map(|s| s.last).max().unwrap());
        }
    }

    #[test]
    fn first_contact_and_new_channels_are_told_once() {
        let (row, events) = fold(None, &sighting(100, 0, Channel::Dns, Outcome::Blocked, 3));
        assert_eq!(events, [Event::FirstContact]);
        let (row, events) = fold(Some(row), &sighting(101, 0, Channel::Dns, Outcome::Blocked, 1));
        assert_eq!(events, []);
        let (row, events) = fold(Some(row), &sighting(102, 0, Channel::TlsSni, Outcome::Leaked, 1));
        assert_eq!(events, [Event::NewChannel(Channel::TlsSni)]);
        let (_, events) = fold(Some(row), &sighting(103, 0, Channel::TlsSni, Outcome::Leaked, 1));
        assert_eq!(events, []);
    }

    #[test]
    fn thirty_silent_days_make_the_next_attempt_news_and_a_second_less_does_not() {
        let month_s = i64::try_from(REAPPEARED_AFTER.as_secs()).unwrap();
        let (row, _) = fold(None, &sighting(0, 1, Channel::Dns, Outcome::Blocked, 1));
        let (_, events) = fold(Some(row.clone()), &sighting(month_s, 0, Channel::Dns, Outcome::Blocked, 1));
        assert_eq!(events, []);
        let (row, events) = fold(Some(row), &sighting(month_s + 1, 0, Channel::Dns, Outcome::Blocked, 1));
        assert_eq!(events, [Event::Reappeared { silent_since: Wall::from_second(1).unwrap() }]);
        // One that comes late and tells of earlier times is no news.
        let (_, events) = fold(Some(row), &sighting(5, 0, Channel::Dns, Outcome::Blocked, 1));
        assert_eq!(events, []);
    }
}
