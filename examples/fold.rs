//! Folds attempts into sightings and sightings into the rows of a ledger, without any storage:
//!
//! ```text
//! cargo run --example fold
//! ```
//!
//! A sensor of any kind records its hits into a `Folder`, a bounded table that counts equal ones together, and flushes it now
//! and then. `fold` takes what comes out, in any order, into one row for each endpoint, vendor and purpose, and tells what is
//! news about it.

#[path = "judge.rs"]
pub(crate) mod judge;

use interdict::base::model::{Channel, Decision, Outcome, Purpose, Wall};
use interdict::base::name::Name;
use interdict::engine::ledger::{Event, FOLDER_SLOTS, Folder, Row, fold};
use interdict::policy::{Hit, Policy, Subject};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Write as _, stdout};
use std::net::IpAddr;
use std::sync::Arc;

/// Endpoint, vendor, purpose.
pub(crate) type Key = (IpAddr, Arc<str>, Purpose);

/// Attempts as a sensor sees them: who, when (seconds since 1970), which name.
pub(crate) const ATTEMPTS: [(&str, i64, &str); 6] = [
    ("192.168.1.7", 1_795_000_000, "s00.upd.kaspersky.com"),
    ("192.168.1.7", 1_795_000_000, "s00.upd.kaspersky.com"),
    ("192.168.1.7", 1_795_003_600, "s01.upd.kaspersky.com"),
    ("192.168.1.7", 1_795_003_601, "ksn-file-geo.kaspersky-labs.com"),
    ("192.168.1.9", 1_795_003_700, "www.kaspersky.com"),
    ("192.168.1.9", 1_795_003_701, "example.org"),
];

/// Records the attempts that a rule mentions.
pub(crate) fn record(folder: &mut Folder, policy: &Arc<Policy>) -> Result<(), Box<dyn Error>> {
    for (client, second, name) in ATTEMPTS {
        let (client, name): (IpAddr, Name) = (client.parse()?, name.parse()?);
        let subject = Subject { name: Some(name.as_ref()), client: Some(client), ..Subject::default() };
        let verdict = policy.decide(&subject);
        let Some((rule, class)) = verdict.rule.zip(verdict.class) else { continue };
        let outcome = if verdict.decision == Decision::Block { Outcome::Blocked } else { Outcome::Observed };
        let hit = Hit {
            rule,
            class,
            decision: verdict.decision,
            outcome,
            channel: Channel::Dns,
            name: name.as_ref().into(),
            address: None,
            port: None,
        };
        folder.record(Wall::from_second(second)?, policy, client, &hit);
    }
    Ok(())
}

/// Folds what was recorded into rows; each event is handed to `news`.
pub(crate) fn rows(folder: &mut Folder, mut news: impl FnMut(&Key, Event)) -> BTreeMap<Key, Row> {
    let mut rows: BTreeMap<Key, Row> = BTreeMap::new();
    for batch in folder.flush() {
        // Rules mean something within their policy only; a sighting carries what they meant.
        let (sightings, _lost) = batch.sightings(|_| true);
        for sighting in sightings {
            let key = (sighting.client, Arc::clone(&sighting.rule.vendor), sighting.rule.purpose);
            let (row, events) = fold(rows.remove(&key), &sighting);
            events.into_iter().for_each(|event| news(&key, event));
            rows.insert(key, row);
        }
    }
    rows
}

#[allow(dead_code, reason = "a test calls the functions above")]
fn main() -> Result<(), Box<dyn Error>> {
    let policy = Arc::new(judge::policy(Wall::now())?);
    let mut folder = Folder::new(FOLDER_SLOTS);
    record(&mut folder, &policy)?;
    let mut told = Vec::new();
    let rows = rows(&mut folder, |(client, vendor, purpose), event| {
        told.push(format!("news: {client} {vendor} {purpose}: {event:?}"));
    });
    let mut out = stdout();
    for line in told {
        writeln!(out, "{line}")?;
    }
    for ((client, vendor, purpose), row) in rows {
        let (first, last, count) = (row.first, row.last, row.count);
        writeln!(out, "{client} {vendor} {purpose}: {count} attempts from {first} to {last}, {:?}", row.outcomes)?;
    }
    Ok(())
}
