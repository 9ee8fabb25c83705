//! Letting old records go, a little at a time, so that the writer is never long away from its queue.

use super::convert::millis;
use crate::base::model::Wall;
use crate::engine::ledger::Hour;
use jiff::SignedDuration;
use rusqlite::{Connection, params};

/// Records of one kind that one step removes.
const STEP_RECORDS_MAX: i64 = 500;

/// Removes a step's worth of what is older than so many days. Returns how many records went; 0 when nothing is left to do.
pub(super) fn step(conn: &Connection, now: Wall, days: u32) -> rusqlite::Result<usize> {
    let Ok(cutoff) = now.checked_sub(SignedDuration::from_hours(i64::from(days) * 24)) else { return Ok(0) };
    let oldest = millis(cutoff);
    let mut gone = conn
        .prepare_cached(
            "DELETE FROM ledger_day WHERE (ledger, day) IN (SELECT ledger, day FROM ledger_day WHERE day < ?1 LIMIT ?2)",
        )?
        .execute([Hour::of(cutoff).day, STEP_RECORDS_MAX])?;
    // What hangs on a deleted row goes with it. An endpoint goes after its last row, a policy and a rule after their last
    // mention; the activation that was in force at the cutoff stays, since it says what was enforced after it.
    let statements = [
        "DELETE FROM destination WHERE (ledger, destination, channel) IN
           (SELECT ledger, destination, channel FROM destination WHERE last < ?1 LIMIT ?2)",
        "DELETE FROM ledger WHERE id IN (SELECT id FROM ledger WHERE last < ?1 LIMIT ?2)",
        "DELETE FROM endpoint WHERE id IN (SELECT id FROM endpoint e WHERE e.last < ?1
           AND NOT EXISTS (SELECT 1 FROM ledger l WHERE l.endpoint = e.id) LIMIT ?2)",
        "DELETE FROM incident WHERE id IN (SELECT id FROM incident WHERE last < ?1 LIMIT ?2)",
        "DELETE FROM relay WHERE (host, port, vendor, client) IN
           (SELECT host, port, vendor, client FROM relay WHERE last < ?1 LIMIT ?2)",
        "DELETE FROM sample WHERE sequence IN (SELECT sequence FROM sample WHERE last < ?1 ORDER BY sequence LIMIT ?2)",
        "DELETE FROM gap WHERE id IN (SELECT id FROM gap WHERE ended < ?1 LIMIT ?2)",
        "DELETE FROM activation WHERE id IN (SELECT id FROM activation WHERE activated_at < ?1 AND id <
           (SELECT id FROM activation WHERE activated_at < ?1 ORDER BY activated_at DESC, id DESC LIMIT 1) LIMIT ?2)",
    ];
    for statement in statements {
        gone += conn.prepare_cached(statement)?.execute(params![oldest, STEP_RECORDS_MAX])?;
    }
    let unmentioned = [
        "DELETE FROM policy WHERE id IN (SELECT id FROM policy p
           WHERE NOT EXISTS (SELECT 1 FROM activation a WHERE a.policy = p.id) LIMIT ?1)",
        "DELETE FROM rule WHERE id IN (SELECT id FROM rule r
           WHERE NOT EXISTS (SELECT 1 FROM destination d WHERE d.rule = r.id)
             AND NOT EXISTS (SELECT 1 FROM sample s WHERE s.rule = r.id) LIMIT ?1)",
    ];
    for statement in unmentioned {
        gone += conn.prepare_cached(statement)?.execute([STEP_RECORDS_MAX])?;
    }
    Ok(gone)
}
