//! What the store knows about the daemon's own life: totals, runs and gaps between them, activations of policies.

use super::convert::{count, millis, number, wall, word};
use crate::base::model::{PolicyId, Wall, vocabulary};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::net::IpAddr;
use std::time::Duration;

/// Losses that follow each other within this time are one gap.
const LOSS_JOINS: Duration = Duration::from_secs(60);

/// Addresses that are marked as forwarders at most.
const FORWARDERS_MAX: i64 = 4_096;

/// Running sums since the store was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Folded sightings committed: the sequence number of the last one.
    pub sequence: u64,
    /// Attempts committed to rows of the ledger.
    pub attempts: u64,
    /// Attempts that reached no row, because a table, a queue or the disk was full.
    pub lost: u64,
}

impl Totals {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let sum = |key| Ok::<_, rusqlite::Error>(get(conn, key)?.map_or(0, |n| u64::try_from(n).unwrap_or_default()));
        Ok(Self { sequence: sum("sequence")?, attempts: sum("attempts")?, lost: sum("lost")? })
    }

    pub(super) fn save(&self, conn: &Connection) -> rusqlite::Result<()> {
        set(conn, "sequence", number(self.sequence))?;
        set(conn, "attempts", number(self.attempts))?;
        set(conn, "lost", number(self.lost))
    }
}

vocabulary! {
    /// Why a stretch of time has no sightings, or not all of them.
    pub enum GapReason {
        /// The daemon was stopped in order.
        Stopped => "stopped",
        /// The daemon ended without closing the store: killed, crashed, or the power went.
        Died => "died",
        /// Enforcement was paused.
        Paused => "paused",
        /// It ran, and attempts were lost.
        Lost => "lost",
    }
}

/// A stretch of time in which nothing, or not everything, was seen or enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub why: GapReason,
    /// From here.
    pub started: Wall,
    /// To here.
    pub ended: Wall,
    /// Attempts that are known to be lost in it.
    pub attempts: u64,
    /// The operator's reason, where one was given.
    pub note: String,
}

/// A policy that came into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Its durable id.
    pub policy: PolicyId,
    /// When.
    pub at: Wall,
    /// Settings that it was compiled under, as text.
    pub settings: String,
    /// List revisions: a JSON object from list id to revision.
    pub revisions: String,
}

/// Notes the start of a run, and the gap since the run before. Returns whether that one ended in order.
pub(super) fn begin(conn: &Connection, now: Wall) -> rusqlite::Result<bool> {
    let before = heartbeat(conn)?;
    let closed = get(conn, "closed")?.is_none_or(|closed| closed == 1);
    if let Some(started) = before.filter(|before| *before < now || !closed) {
        let why = if closed { GapReason::Stopped } else { GapReason::Died };
        let gap = Gap { why, started, ended: now.max(started), attempts: 0, note: String::new() };
        record_gap(conn, &gap)?;
    }
    if conn.query_row("SELECT count(*) FROM meta WHERE key = 'sensor'", [], |row| row.get::<_, i64>(0))? == 0 {
        conn.execute("INSERT INTO meta (key, value) VALUES ('sensor', lower(hex(randomblob(16))))", [])?;
    }
    set(conn, "closed", 0)?;
    beat(conn, now)?;
    Ok(closed)
}

/// Whether the last run ended in order; true where there was none.
pub(super) fn ended_in_order(conn: &Connection) -> rusqlite::Result<bool> {
    Ok(get(conn, "closed")?.is_none_or(|closed| closed == 1))
}

/// Notes that the daemon lives. A clock that went back does not take the mark with it.
pub(super) fn beat(conn: &Connection, now: Wall) -> rusqlite::Result<()> {
    let latest = get(conn, "heartbeat")?.map_or_else(|| millis(now), |before| before.max(millis(now)));
    set(conn, "heartbeat", latest)
}

/// Notes an orderly end.
pub(super) fn end(conn: &Connection, now: Wall) -> rusqlite::Result<()> {
    beat(conn, now)?;
    set(conn, "closed", 1)
}

/// When the daemon was last known to live.
pub(super) fn heartbeat(conn: &Connection) -> rusqlite::Result<Option<Wall>> {
    Ok(get(conn, "heartbeat")?.and_then(|at| Wall::from_millisecond(at).ok()))
}

/// The store's random id, 32 hex digits.
pub(super) fn sensor(conn: &Connection) -> rusqlite::Result<String> {
    conn.query_row("SELECT value FROM meta WHERE key = 'sensor'", [], |row| row.get(0))
}

pub(super) fn record_gap(conn: &Connection, gap: &Gap) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO gap (why, started, ended, attempts, note) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![gap.why.as_str(), millis(gap.started), millis(gap.ended), number(gap.attempts), gap.note])?;
    Ok(())
}

/// Records lost attempts: the last loss grows while they go on.
pub(super) fn record_loss(conn: &Connection, since: Wall, now: Wall, attempts: u64) -> rusqlite::Result<()> {
    let joins = i64::try_from(LOSS_JOINS.as_millis()).unwrap_or(i64::MAX);
    let grown = conn
        .prepare_cached(
            "UPDATE gap SET ended = max(ended, ?1), attempts = attempts + ?2
             WHERE id = (SELECT max(id) FROM gap WHERE why = 'lost') AND ended >= ?3 AND started <= ?1",
        )?
        .execute(params![millis(now), number(attempts), millis(since).saturating_sub(joins)])?;
    if grown == 0 {
        let started = since.min(now);
        record_gap(conn, &Gap { why: GapReason::Lost, started, ended: now, attempts, note: String::new() })?;
    }
    Ok(())
}

/// Marks a client as one that asks for others. Of very many the latest are kept.
pub(super) fn record_forwarder(conn: &Connection, address: IpAddr, at: Wall) -> rusqlite::Result<()> {
    conn.execute(
        "INSERT INTO forwarder (address, first, last) VALUES (?1, ?2, ?2)
         ON CONFLICT (address) DO UPDATE SET last = max(last, excluded.last)",
        params![address.to_canonical().to_string(), millis(at)],
    )?;
    conn.execute(
        "DELETE FROM forwarder WHERE last < (SELECT last FROM forwarder ORDER BY last DESC LIMIT 1 OFFSET ?1)",
        [FORWARDERS_MAX],
    )?;
    Ok(())
}

/// Gaps that ended at or after `since`, oldest first.
pub(super) fn gaps(conn: &Connection, since: Option<Wall>) -> rusqlite::Result<Vec<Gap>> {
    let mut statement = conn
        .prepare_cached("SELECT why, started, ended, attempts, note FROM gap WHERE ended >= ?1 ORDER BY started, id")?;
    let rows = statement.query_map([since.map_or(i64::MIN, millis)], |row| {
        Ok(Gap {
            why: word(row, 0)?,
            started: wall(row, 1)?,
            ended: wall(row, 2)?,
            attempts: count(row, 3)?,
            note: row.get(4)?,
        })
    })?;
    rows.collect()
}

pub(super) fn record_activation(conn: &Connection, activation: &Activation) -> rusqlite::Result<()> {
    let (id, at) = (activation.policy.to_string(), millis(activation.at));
    conn.execute(
        "INSERT INTO policy (id, settings, revisions) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![id, activation.settings, activation.revisions],
    )?;
    conn.execute("INSERT INTO activation (policy, activated_at) VALUES (?1, ?2)", params![id, millis(activation.at)])?;
    let latest = get(conn, "last_activation")?.map_or(at, |latest| latest.max(at));
    set(conn, "last_activation", latest)
}

/// The latest activation ever recorded; a clock that shows less is wrong.
pub(super) fn last_activation(conn: &Connection) -> rusqlite::Result<Option<Wall>> {
    Ok(get(conn, "last_activation")?.and_then(|at| Wall::from_millisecond(at).ok()))
}

/// Activations at or before a moment, the newest first: the head is what was in force then.
pub(super) fn activation_at(conn: &Connection, at: Wall) -> rusqlite::Result<Option<Activation>> {
    conn.query_row(
        "SELECT p.id, a.activated_at, p.settings, p.revisions FROM activation a JOIN policy p ON p.id = a.policy
         WHERE a.activated_at <= ?1 ORDER BY a.activated_at DESC, a.id DESC LIMIT 1",
        [millis(at)],
        |row| {
            let policy = policy_id(row.get_ref(0)?.as_str()?).ok_or(rusqlite::Error::InvalidQuery)?;
            Ok(Activation { policy, at: wall(row, 1)?, settings: row.get(2)?, revisions: row.get(3)? })
        },
    )
    .optional()
}

/// Reads 32 hex digits.
fn policy_id(text: &str) -> Option<PolicyId> {
    (text.len() == 32).then_some(())?;
    u128::from_str_radix(text, 16).ok().map(|id| PolicyId(id.to_be_bytes()))
}

fn get(conn: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()
}

fn set(conn: &Connection, key: &str, value: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![key, value])?;
    Ok(())
}
