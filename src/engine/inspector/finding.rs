//! What was found: rows of endpoint, vendor and purpose; incidents; relays; and what could not be seen.

use super::attempt::Attempt;
use super::names::Ends;
use super::reader::At;
use crate::base::model::{Channel, Decision, Grade, Purpose};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Rows that are kept.
const ROWS_MAX: usize = 100_000;
/// Destinations of one row that are named.
const DESTINATIONS_MAX: usize = 8;
/// Fallback resolvers that no other program asks in this order by chance.
const FALLBACKS_TELLING: usize = 3;
/// Pieces of evidence of one row that are kept: the first ones.
const EVIDENCE_MAX: usize = 8;

/// Whose row it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// The endpoint.
    pub endpoint: IpAddr,
    /// The vendor, or the list that names none.
    pub vendor: Arc<str>,
    /// What for.
    pub purpose: Purpose,
}

/// What one endpoint had to do with one vendor for one purpose.
#[derive(Clone, Debug)]
pub struct Row {
    /// The strictest verdict.
    pub decision: Decision,
    /// When it was seen first, in nanoseconds since 1970.
    pub first_ns: u64,
    /// When last.
    pub last_ns: u64,
    /// Attempts: queries, handshakes, requests, flows that said nothing else.
    pub count: u64,
    /// Octets that the endpoint sent in its flows, and that came back.
    pub octets: [u64; 2],
    /// How it was seen.
    pub channels: BTreeSet<Channel>,
    /// Names and addresses, the first few.
    pub destinations: BTreeSet<String>,
    /// Destinations beyond those.
    pub destinations_more: u64,
    /// What was seen, with the frame's number, the first few.
    pub evidence: Vec<(u64, String)>,
    /// The rule that decided first: list, file and line, pattern.
    pub rule: Option<String>,
}

impl Row {
    /// What it proves.
    #[must_use]
    pub fn grade(&self, key: &RowKey) -> Grade {
        Grade::of(key.purpose, self.count, self.channels.iter().copied())
    }
}

/// A sighting on its way into a row.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub(super) key: RowKey,
    pub(super) decision: Decision,
    pub(super) channel: Channel,
    pub(super) destination: String,
    pub(super) evidence: String,
    pub(super) rule: Option<String>,
    /// Whether it is an attempt of its own, or a further sign of one.
    pub(super) is_attempt: bool,
    /// The same for the ledger; nothing where what is listed is neither blocked, observed nor excepted.
    pub(super) attempt: Option<Attempt>,
}

/// A name that was blocked, and the ways around the block that its endpoint tried after it.
#[derive(Clone, Debug)]
pub struct Incident {
    /// The endpoint.
    pub endpoint: IpAddr,
    /// The vendor.
    pub vendor: Arc<str>,
    /// How the blocked name had been answered, where that was seen.
    pub answer: Option<String>,
    /// What happened, in order: frame, time, what.
    pub chain: Vec<(At, String)>,
    /// The numbers of the vendor's fallback resolvers that were asked, in order of their first questions.
    pub fallbacks: Vec<u16>,
}

impl Incident {
    /// What it proves. Many programs ask the first of these resolvers; only the vendor's products are documented to ask several in
    /// the vendor's order.
    #[must_use]
    pub fn grade(&self) -> Grade {
        let in_order = self.fallbacks.is_sorted() && self.fallbacks.len() >= FALLBACKS_TELLING;
        if in_order { Grade::Product } else { Grade::Contact }
    }
}

/// A host of the operator's side that serves a vendor's relay ports.
#[derive(Clone, Debug)]
pub struct Relay {
    /// The port's use, as the vendor file says.
    pub usage: String,
    /// Who talks to it, the first few.
    pub clients: BTreeSet<IpAddr>,
    /// Flows.
    pub count: u64,
    /// When it was seen last, in nanoseconds since 1970.
    pub last_ns: u64,
}

/// What could not be seen, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blind {
    /// Hellos with an encrypted one inside: the name that was read may stand for another.
    pub encrypted_hellos: u64,
    /// Hellos without a name.
    pub nameless_hellos: u64,
    /// Flows to resolvers by TLS or QUIC (port 853): what they ask is not seen.
    pub encrypted_dns: u64,
    /// Hosts that serve one port of a vendor's relays, which others use too.
    pub weak_relays: u64,
    /// Rows, incidents, answers and matches that were given up for want of room.
    pub dropped: u64,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Rows.
    pub rows: BTreeMap<RowKey, Row>,
    /// Incidents, in order of their beginning.
    pub incidents: Vec<Incident>,
    /// Relays: host, port and vendor.
    pub relays: BTreeMap<(IpAddr, u16, Arc<str>), Relay>,
    /// What could not be seen.
    pub blind: Blind,
}

impl Findings {
    pub(super) fn add(&mut self, at: At, hit: Hit) {
        if self.rows.len() >= ROWS_MAX && !self.rows.contains_key(&hit.key) {
            self.blind.dropped += 1;
            return;
        }
        let row = self.rows.entry(hit.key).or_insert_with(|| Row {
            decision: hit.decision,
            first_ns: at.time_ns,
            last_ns: at.time_ns,
            count: 0,
            octets: [0; 2],
            channels: BTreeSet::new(),
            destinations: BTreeSet::new(),
            destinations_more: 0,
            evidence: Vec::new(),
            rule: None,
        });
        row.decision = row.decision.max(hit.decision);
        row.first_ns = row.first_ns.min(at.time_ns);
        row.last_ns = row.last_ns.max(at.time_ns);
        // A row has one attempt at least, also where the sign of it came first.
        row.count = (row.count + u64::from(hit.is_attempt)).max(1);
        row.channels.insert(hit.channel);
        if row.destinations.len() < DESTINATIONS_MAX {
            row.destinations.insert(hit.destination);
        } else if !row.destinations.contains(&hit.destination) {
            row.destinations_more += 1;
        }
        if row.evidence.len() < EVIDENCE_MAX {
            row.evidence.push((at.frame, hit.evidence));
        }
        row.rule = row.rule.take().or(hit.rule);
    }

    /// A further sign of what a row has already.
    pub(super) fn note(&mut self, key: &RowKey, at: At, what: impl FnOnce() -> String) {
        if let Some(row) = self.rows.get_mut(key).filter(|row| row.evidence.len() < EVIDENCE_MAX) {
            row.evidence.push((at.frame, what()));
        }
    }

    pub(super) fn add_octets(&mut self, key: &RowKey, octets: [u64; 2]) {
        if let Some(row) = self.rows.get_mut(key) {
            let ([sent, received], [more_sent, more_received]) = (&mut row.octets, octets);
            *sent += more_sent;
            *received += more_received;
        }
    }

    /// One port is weak, since others use the same: a relay serves two of its vendor's, or talks to the vendor itself.
    pub(super) fn weigh_relays(&mut self) {
        let candidates: Vec<_> = self.relays.keys().cloned().collect();
        let rows = &self.rows;
        let serves_others = |host: IpAddr, port: u16, vendor: &Arc<str>| {
            candidates.iter().any(|(other, at, of)| *other == host && *at != port && of == vendor)
        };
        let before = self.relays.len();
        self.relays.retain(|(host, port, vendor), _| {
            serves_others(*host, *port, vendor) || rows.keys().any(|key| key.endpoint == *host && key.vendor == *vendor)
        });
        self.blind.weak_relays += (before - self.relays.len()) as u64;
    }

    pub(super) fn add_relay(&mut self, at: At, ends: Ends, vendor: &Arc<str>, usage: &str) {
        const RELAYS_MAX: usize = 4096;
        const CLIENTS_MAX: usize = 256;
        let key = (ends.dst, ends.dport, Arc::clone(vendor));
        if self.relays.len() >= RELAYS_MAX && !self.relays.contains_key(&key) {
            self.blind.dropped += 1;
            return;
        }
        let relay = self.relays.entry(key).or_insert_with(|| Relay {
            usage: usage.to_owned(),
            clients: BTreeSet::new(),
            count: 0,
            last_ns: at.time_ns,
        });
        relay.count += 1;
        relay.last_ns = relay.last_ns.max(at.time_ns);
        if relay.clients.len() < CLIENTS_MAX {
            relay.clients.insert(ends.src);
        }
    }
}
