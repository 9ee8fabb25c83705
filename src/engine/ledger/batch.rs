//! What a worker hands over: attempts by kind under one policy, and how they become sightings.

use super::Hour;
use super::folder::{Entry, Kind};
use crate::base::model::{Channel, Decision, Destination, Origin, Outcome, RuleFacts, Sighting, Wall};
use crate::base::name::NameRef;
use crate::policy::{ClassId, Policy, RuleId};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Attempts of one kind under one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded<'a> {
    /// The client's address, IPv4 as such.
    pub client: IpAddr,
    /// Who caused it.
    pub origin: Origin,
    /// The rule, of the batch's policy.
    pub rule: RuleId,
    /// The rule's class.
    pub class: ClassId,
    /// What was decided.
    pub decision: Decision,
    /// What became of it.
    pub outcome: Outcome,
    /// How it was seen.
    pub channel: Channel,
    /// The name that it wanted, if it was one.
    pub name: Option<NameRef<'a>>,
    /// The address that it wanted where there was no name.
    pub address: Option<IpAddr>,
    /// The port, where the channel has one.
    pub port: Option<u16>,
    /// First attempt.
    pub first: Wall,
    /// Last attempt.
    pub last: Wall,
    /// Attempts, exact.
    pub count: u64,
}

impl Folded<'_> {
    /// Where it wanted to go.
    #[must_use]
    pub fn destination(&self) -> Destination {
        match (self.name, self.address) {
            (Some(name), _) => Destination::Name(name.to_name()),
            (None, Some(address)) => Destination::Address(address),
            (None, None) => Destination::Other,
        }
    }
}

/// What one folder recorded under one policy between two flushes, as it stood in its table: names are copied as a whole, not
/// one by one.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The policy that decided; rules are ids of its epoch.
    pub policy: Arc<Policy>,
    pub(super) entries: Box<[Entry]>,
    pub(super) names: Box<[u8]>,
    /// Attempts that no row had room for.
    pub lost: u64,
}

impl Batch {
    /// Attempts by kind, in the order of their first arrival.
    pub fn rows(&self) -> impl Iterator<Item = Folded<'_>> {
        self.entries.iter().map(|entry| entry.folded(&self.names))
    }

    /// Attempts in the rows.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.count))
    }

    /// Resolves the rules: sightings mean the same in any epoch. Destinations that `is_apart` does not want told apart fall
    /// together, by client and class, under the rule of the first of them. Attempts by a rule that the policy does not have,
    /// which no engine makes, come back as lost.
    #[must_use]
    pub fn sightings(&self, mut is_apart: impl FnMut(&Folded<'_>) -> bool) -> (Vec<Sighting>, u64) {
        let policy = self.policy.id();
        let mut facts: HashMap<RuleId, Option<Arc<RuleFacts>>, RandomState> = HashMap::default();
        // The hour is among the key, since a sighting counts in one.
        let mut together: HashMap<(Kind, Hour), usize, RandomState> = HashMap::default();
        let mut lost = self.lost;
        let mut sightings: Vec<Sighting> = Vec::new();
        for row in self.rows() {
            let Folded { client, origin, channel, outcome, first, last, count, .. } = row;
            let together_as = (!is_apart(&row)).then(|| {
                let Folded { class, decision, .. } = row;
                (Kind { client, origin, class, decision, outcome, channel }, Hour::of(last))
            });
            let place = together_as.as_ref().and_then(|key| together.get(key));
            if let Some(into) = place.and_then(|&place| sightings.get_mut(place)) {
                into.first = into.first.min(first);
                into.last = into.last.max(last);
                into.count = into.count.saturating_add(count);
                continue;
            }
            let known = facts.entry(row.rule).or_insert_with(|| self.policy.facts(row.rule).map(Arc::new));
            let Some(rule) = known else {
                lost = lost.saturating_add(count);
                continue;
            };
            let (mut destination, mut port) = (row.destination(), row.port);
            if let Some(key) = together_as {
                (destination, port) = (Destination::Other, None);
                together.insert(key, sightings.len());
            }
            let (rule, verdict) = (Arc::clone(rule), row.decision);
            sightings.push(Sighting {
                client,
                origin,
                channel,
                destination,
                port,
                rule,
                verdict,
                outcome,
                first,
                last,
                count,
                policy,
                evidence: None,
            });
        }
        (sightings, lost)
    }
}
