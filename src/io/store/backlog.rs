//! What waits for a commit: folded once more, so that an outage of the disk costs memory by kinds of sighting and not by time.

use crate::base::model::{Channel, Decision, Destination, Origin, Outcome, PolicyId, RuleFacts, Sighting};
use crate::engine::ledger::Hour;
use foldhash::quality::RandomState;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Sightings that wait at most.
pub(super) const WAITING_MAX: usize = 65_536;

/// What makes two sightings one. The hour is among it, since a sighting counts in one hour.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    client: IpAddr,
    origin: Origin,
    channel: Channel,
    destination: Destination,
    port: Option<u16>,
    rule: Arc<RuleFacts>,
    verdict: Decision,
    outcome: Outcome,
    policy: PolicyId,
    evidence: Option<Arc<str>>,
    hour: Hour,
}

impl Key {
    fn of(sighting: &Sighting) -> Self {
        Self {
            client: sighting.client,
            origin: sighting.origin,
            channel: sighting.channel,
            destination: sighting.destination.clone(),
            port: sighting.port,
            rule: Arc::clone(&sighting.rule),
            verdict: sighting.verdict,
            outcome: sighting.outcome,
            policy: sighting.policy,
            evidence: sighting.evidence.clone(),
            hour: Hour::of_sighting(sighting),
        }
    }
}

/// Sightings in the order of their first arrival.
#[derive(Debug)]
pub(super) struct Backlog {
    sightings: Vec<Sighting>,
    places: HashMap<Key, usize, RandomState>,
    limit: usize,
}

impl Backlog {
    pub(super) fn new(limit: usize) -> Self {
        Self { sightings: Vec::new(), places: HashMap::default(), limit }
    }

    pub(super) fn sightings(&self) -> &[Sighting] {
        &self.sightings
    }

    pub(super) fn clear(&mut self) {
        self.sightings.clear();
        self.places.clear();
    }

    /// Takes a sighting in. Beyond three quarters of the room destinations and evidence are given up; beyond all of it the sighting is.
    /// Returns the attempts that are lost.
    pub(super) fn push(&mut self, mut sighting: Sighting) -> u64 {
        let mut key = Key::of(&sighting);
        if self.merge(&key, &sighting) {
            return 0;
        }
        if self.sightings.len() >= self.limit / 4 * 3 {
            sighting.destination = Destination::Other;
            sighting.port = None;
            sighting.evidence = None;
            key = Key::of(&sighting);
            if self.merge(&key, &sighting) {
                return 0;
            }
        }
        if self.sightings.len() >= self.limit {
            return sighting.count;
        }
        self.places.insert(key, self.sightings.len());
        self.sightings.push(sighting);
        0
    }

    fn merge(&mut self, key: &Key, sighting: &Sighting) -> bool {
        let place = self.places.get(key);
        let Some(into) = place.and_then(|&place| self.sightings.get_mut(place)) else { return false };
        into.first = into.first.min(sighting.first);
        into.last = into.last.max(sighting.last);
        into.count = into.count.saturating_add(sighting.count);
        true
    }
}
