//! Where in the name space the waiting clients are, so that a flood below one zone leaves room for questions below others.
//!
//! Random names below a zone whose servers are silent stay in flight until their deadline and would fill every table. When one is
//! full, a newcomer takes the place of the oldest question of the zone that has most of that table, unless its own zone is
//! (nearly) that one. No zone has a fixed bound: with room for all, none is needed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::question::QuestionId;
use crate::base::name::NameRef;

/// Labels that make a zone here: what a registrable domain has under most suffixes. Under longer ones (`co.uk`, reverse names)
/// several of them share a place, which matters only while a table is full.
const LABELS: usize = 2;

/// Which table is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Full {
    /// That of questions in flight.
    Questions,
    /// That of clients that wait.
    Waiters,
}

/// A zone's part of the tables.
#[derive(Debug, Default)]
struct Zone {
    waiters: usize,
    questions: BTreeSet<QuestionId>,
}

/// How much of a table a zone has; among equals the one with the oldest question is greatest.
type Weight = (usize, Option<Reverse<QuestionId>>);

/// Zones by how much of a table they have.
type ByWeight = BTreeSet<(Weight, Arc<[u8]>)>;

/// Questions in flight and the clients that wait for them, by zone.
#[derive(Debug, Default)]
pub(super) struct Zones {
    zones: BTreeMap<Arc<[u8]>, Zone>,
    by_questions: ByWeight,
    by_waiters: ByWeight,
}

impl Zone {
    fn has(&self, table: Full) -> usize {
        match table {
            Full::Questions => self.questions.len(),
            Full::Waiters => self.waiters,
        }
    }

    fn weight(&self, table: Full) -> Weight {
        (self.has(table), self.questions.first().copied().map(Reverse))
    }
}

impl Zones {
    /// So many clients more wait for a question about this name.
    pub(super) fn join(&mut self, name: NameRef<'_>, question: QuestionId, waiters: usize) {
        self.change(name, |zone| {
            zone.waiters += waiters;
            zone.questions.insert(question);
        });
    }

    /// So many clients wait no more, though the question goes on.
    pub(super) fn release(&mut self, name: NameRef<'_>, waiters: usize) {
        self.change(name, |zone| zone.waiters = zone.waiters.saturating_sub(waiters));
    }

    /// A question about this name has ended, for so many clients.
    pub(super) fn leave(&mut self, name: NameRef<'_>, question: QuestionId, waiters: usize) {
        self.change(name, |zone| {
            zone.waiters = zone.waiters.saturating_sub(waiters);
            zone.questions.remove(&question);
        });
    }

    /// Which question has to go for one about this name, if any. The newcomer's zone must have clearly less of the table: else the
    /// two would take each other's place in turn and neither be answered.
    pub(super) fn to_go_for(&self, name: NameRef<'_>, table: Full) -> Option<QuestionId> {
        let own = self.zones.get(zone_of(name)).map_or(0, |zone| zone.has(table));
        let by_weight = if table == Full::Questions { &self.by_questions } else { &self.by_waiters };
        let &((most, oldest), _) = by_weight.last()?;
        if own + 1 < most { oldest.map(|Reverse(question)| question) } else { None }
    }

    fn change(&mut self, name: NameRef<'_>, change: impl FnOnce(&mut Zone)) {
        let key = zone_of(name);
        let (key, mut zone) = self.zones.remove_entry(key).unwrap_or_else(|| (key.into(), Zone::default()));
        self.by_questions.remove(&(zone.weight(Full::Questions), Arc::clone(&key)));
        self.by_waiters.remove(&(zone.weight(Full::Waiters), Arc::clone(&key)));
        change(&mut zone);
        if !zone.questions.is_empty() {
            self.by_questions.insert((zone.weight(Full::Questions), Arc::clone(&key)));
            self.by_waiters.insert((zone.weight(Full::Waiters), Arc::clone(&key)));
            self.zones.insert(key, zone);
        }
    }
}

/// The end of a name that stands for its zone.
fn zone_of(name: NameRef<'_>) -> &[u8] {
    let mut zone = name;
    for _ in LABELS..name.label_count() {
        let Some(parent) = zone.parent() else { break };
        zone = parent;
    }
    zone.as_wire()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::name::Name;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn zones(waiting: &[(&str, u64)]) -> Zones {
        let mut zones = Zones::default();
        for (text, question) in waiting {
            zones.join(name(text).as_ref(), QuestionId(*question), 1);
        }
        zones
    }

    #[test]
    fn a_zone_is_the_last_two_labels() {
        for (text, zone) in [("a.b.c.example.com", "example.com"), ("example.com", "example.com"), ("com", "com")] {
            assert_eq!(zone_of(name(text).as_ref()), name(zone).as_ref().as_wire());
        }
        assert_eq!(zone_of(NameRef::from_wire(b"\0").unwrap()), b"\0");
    }

    fn to_go_for(zones: &Zones, table: Full, text: &str) -> Option<u64> {
        zones.to_go_for(name(text).as_ref(), table).map(|QuestionId(question)| question)
    }

    #[test]
    fn the_oldest_question_of_the_zone_that_has_most_goes() {
        let zones =
            zones(&[("a.good.com", 1), ("a.bad.com", 3), ("b.bad.com", 2), ("c.bad.com", 4), ("x.other.com", 5)]);
        for table in [Full::Questions, Full::Waiters] {
            assert_eq!(to_go_for(&zones, table, "new.com"), Some(2));
            assert_eq!(to_go_for(&zones, table, "b.good.com"), Some(2));
            assert_eq!(to_go_for(&zones, table, "d.bad.com"), None);
        }
    }

    #[test]
    fn many_clients_of_one_question_are_no_flood_of_questions() {
        let zones = zones(&[("a.one.com", 1), ("a.one.com", 1), ("a.one.com", 1), ("a.two.com", 2)]);
        assert_eq!(to_go_for(&zones, Full::Questions, "new.com"), None);
        assert_eq!(to_go_for(&zones, Full::Waiters, "new.com"), Some(1));
    }

    #[test]
    fn nobody_goes_where_all_have_about_as_much() {
        let zones = zones(&[("a.one.com", 1), ("b.one.com", 2), ("a.two.com", 3)]);
        assert_eq!(to_go_for(&zones, Full::Questions, "b.two.com"), None);
        assert_eq!(to_go_for(&zones, Full::Questions, "a.three.com"), Some(1));
        assert_eq!(to_go_for(&Zones::default(), Full::Questions, "a.b"), None);
    }

    #[test]
    fn nothing_is_left_of_questions_that_ended() {
        let mut zones = zones(&[("a.one.com", 1), ("a.one.com", 1), ("b.one.com", 2)]);
        zones.release(name("a.one.com").as_ref(), 1);
        zones.leave(name("a.one.com").as_ref(), QuestionId(1), 1);
        assert_eq!(zones.zones.len(), 1);
        zones.leave(name("b.one.com").as_ref(), QuestionId(2), 1);
        assert!(zones.zones.is_empty() && zones.by_questions.is_empty() && zones.by_waiters.is_empty());
        // A question that nobody has seen changes nothing.
        zones.leave(name("b.one.com").as_ref(), QuestionId(2), 1);
        assert!(zones.zones.is_empty() && zones.by_questions.is_empty() && zones.by_waiters.is_empty());
    }
}
