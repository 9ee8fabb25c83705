//! One transaction: sightings and notes in, rows out, all or nothing.

use super::around::{self, Incident, Relay};
use super::convert::{millis, number};
use super::devices;
use super::ids::Ids;
use super::rows::{self, Key};
use super::run::{self, Activation, Gap, Totals};
use crate::base::model::{DeviceNote, Origin, Sighting, Wall};
use crate::engine::ledger::Event;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Recent sightings that are kept as they came.
pub(super) const SAMPLES_MAX: u64 = 10_000;
/// Of one transaction's sightings, as many are kept as samples.
const SAMPLES_PER_COMMIT_MAX: usize = 256;

/// What the store is told besides sightings.
#[derive(Clone, Debug)]
pub enum Note {
    /// A policy came into force.
    Activation(Activation),
    /// Nothing, or not everything, was seen or enforced for a while.
    Gap(Gap),
    /// An endpoint goes around a block; the same again when there is more of it.
    Incident(Incident),
    /// A host serves a relay port.
    Relay(Relay),
    /// A client was seen to ask for many others.
    Forwarder {
        /// The client.
        address: IpAddr,
        /// When.
        at: Wall,
    },
}

/// What one transaction is to hold.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// Folded sightings.
    pub sightings: &'a [Sighting],
    /// News of devices, oldest first. Sightings are put down to who has their address after them.
    pub devices: &'a [DeviceNote],
    /// Notes, oldest first.
    pub notes: &'a [Note],
    /// Attempts that were lost on the way since the last transaction.
    pub lost: u64,
    /// Since when they were lost.
    pub lost_since: Wall,
}

/// What one transaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The sums after it.
    pub totals: Totals,
    /// Attempts of endpoints that there was no room for; not yet in [`Totals::lost`].
    pub unplaced: u64,
    /// Rows that are new.
    pub first_contacts: u64,
    /// Rows that were silent for long.
    pub reappeared: u64,
    /// Channels that are new to a row.
    pub new_channels: u64,
}

/// Whether a sighting is of an endpoint; our own tests and look-ups are none.
const fn is_of_endpoint(sighting: &Sighting) -> bool {
    match sighting.origin {
        Origin::Client | Origin::Import => true,
        Origin::SelfTest | Origin::SelfResolve => false,
    }
}

/// Writes everything into an open transaction.
pub(super) fn write(
    conn: &Connection,
    ids: &mut Ids,
    before: Totals,
    now: Wall,
    work: Work<'_>,
) -> rusqlite::Result<Committed> {
    let mut done = Committed { totals: before, ..Committed::default() };
    devices::write(conn, ids, work.devices)?;
    let mut groups: BTreeMap<Key<'_>, Vec<(&Sighting, i64)>> = BTreeMap::new();
    let mut endpoints: BTreeMap<i64, (&Sighting, Wall)> = BTreeMap::new();
    for (place, sighting) in work.sightings.iter().enumerate() {
        let rule = ids.rule(conn, &sighting.rule)?;
        done.totals.sequence = done.totals.sequence.saturating_add(1);
        if place < SAMPLES_PER_COMMIT_MAX {
            add_sample(conn, done.totals.sequence, sighting, rule)?;
        }
        if !is_of_endpoint(sighting) {
            continue;
        }
        let Some(endpoint) = ids.endpoint(conn, sighting.client, sighting.first)? else {
            done.unplaced = done.unplaced.saturating_add(sighting.count);
            continue;
        };
        done.totals.attempts = done.totals.attempts.saturating_add(sighting.count);
        let (_, last) = endpoints.entry(endpoint).or_insert((sighting, sighting.last));
        *last = sighting.last.max(*last);
        let key = Key { endpoint, vendor: &sighting.rule.vendor, purpose: sighting.rule.purpose };
        groups.entry(key).or_default().push((sighting, rule));
    }
    for (key, sightings) in &groups {
        let written = rows::write(conn, *key, sightings)?;
        if let (Some(full), Some((one, _))) = (&written.full, sightings.first()) {
            let who = (one.client.to_canonical(), Arc::clone(&one.rule.vendor), key.purpose);
            ids.note_full(who, full.iter().map(|(text, channel)| (text.as_str(), *channel)));
        }
        for event in written.events {
            let sum = match event {
                Event::FirstContact => &mut done.first_contacts,
                Event::Reappeared { .. } => &mut done.reappeared,
                Event::NewChannel(_) => &mut done.new_channels,
            };
            *sum = sum.saturating_add(1);
        }
    }
    for (endpoint, (sighting, last)) in endpoints {
        touch(conn, endpoint, sighting, last)?;
    }
    write_notes(conn, ids, work.notes)?;
    if work.notes.iter().any(|note| matches!(note, Note::Activation(_))) {
        ids.forget_rules();
    }
    if work.lost != 0 {
        run::record_loss(conn, work.lost_since, now, work.lost)?;
        done.totals.lost = done.totals.lost.saturating_add(work.lost);
    }
    end_ring(conn, done.totals.sequence)?;
    done.totals.save(conn)?;
    run::beat(conn, now)?;
    Ok(done)
}

fn write_notes(conn: &Connection, ids: &mut Ids, notes: &[Note]) -> rusqlite::Result<()> {
    notes.iter().try_for_each(|note| match note {
        Note::Activation(activation) => run::record_activation(conn, activation),
        Note::Gap(gap) => run::record_gap(conn, gap),
        Note::Incident(incident) => around::record_incident(conn, ids, incident),
        Note::Relay(relay) => around::record_relay(conn, relay),
        Note::Forwarder { address, at } => run::record_forwarder(conn, *address, *at),
    })
}

/// Moves an endpoint's dates, and those of its address.
fn touch(conn: &Connection, endpoint: i64, sighting: &Sighting, last: Wall) -> rusqlite::Result<()> {
    let (first, last) = (millis(sighting.first), millis(last));
    conn.prepare_cached("UPDATE endpoint SET first = min(first, ?2), last = max(last, ?3) WHERE id = ?1")?
        .execute([endpoint, first, last])?;
    conn.prepare_cached(
        "UPDATE endpoint_fact SET first = min(first, ?3), last = max(last, ?4)
         WHERE endpoint = ?1 AND kind = 'address' AND value = ?2",
    )?
    .execute(params![endpoint, sighting.client.to_canonical().to_string(), first, last])?;
    Ok(())
}

fn add_sample(conn: &Connection, sequence: u64, sighting: &Sighting, rule: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO sample (sequence, policy, client, origin, channel, destination, port, rule, verdict, outcome, first,
           last, count) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        number(sequence),
        sighting.policy.to_string(),
        sighting.client.to_canonical().to_string(),
        sighting.origin.as_str(),
        sighting.channel.as_str(),
        sighting.destination.to_string(),
        sighting.port,
        rule,
        sighting.verdict.as_str(),
        sighting.outcome.as_str(),
        millis(sighting.first),
        millis(sighting.last),
        number(sighting.count)
    ])?;
    Ok(())
}

/// Lets the oldest samples go.
fn end_ring(conn: &Connection, sequence: u64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM sample WHERE sequence <= ?1")?
        .execute([number(sequence.saturating_sub(SAMPLES_MAX))])?;
    Ok(())
}
