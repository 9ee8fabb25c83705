//! Ways around a block, and relays, as packets show them.

use super::convert::{count, millis, number, wall};
use super::ids::Ids;
use crate::base::model::Wall;
use rusqlite::{Connection, params};
use std::net::IpAddr;

/// Incidents that are kept: the latest.
const INCIDENTS_MAX: i64 = 10_000;
/// Pairs of a relay's port and a client that are kept.
const RELAYS_MAX: u64 = 65_536;

/// A blocked name, and what its endpoint did to get around the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// The endpoint's address; of one that was read, its name or address.
    pub endpoint: String,
    /// The vendor.
    pub vendor: String,
    /// How the blocked name had been answered, where that was seen.
    pub answer: Option<String>,
    /// What happened, in order: the blocked name first.
    pub steps: Vec<(Wall, String)>,
}

/// A host that serves a relay port of a vendor's, and one that talks to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The vendor.
    pub vendor: String,
    /// What the port is for.
    pub usage: String,
    /// Who talks to it; of those that were read, all of them.
    pub clients: Vec<String>,
    /// When it was seen first.
    pub first: Wall,
    /// When last.
    pub last: Wall,
    /// Flows.
    pub count: u64,
}

pub(super) fn record_incident(conn: &Connection, ids: &mut Ids, incident: &Incident) -> rusqlite::Result<()> {
    let (Some((started, _)), Some((last, _))) = (incident.steps.first(), incident.steps.last()) else { return Ok(()) };
    let Ok(address) = incident.endpoint.parse::<IpAddr>() else { return Ok(()) };
    let Some(endpoint) = ids.endpoint(conn, address, *started)? else { return Ok(()) };
    let steps: Vec<(i64, &str)> = incident.steps.iter().map(|(at, what)| (millis(*at), what.as_str())).collect();
    let steps = serde_json::to_string(&steps).unwrap_or_default();
    conn.execute(
        "INSERT INTO incident (endpoint, vendor, started, last, answer, steps) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET last = excluded.last, answer = excluded.answer, steps = excluded.steps",
        params![endpoint, incident.vendor, millis(*started), millis(*last), incident.answer, steps],
    )?;
    conn.execute(
        "DELETE FROM incident WHERE id <= (SELECT id FROM incident ORDER BY id DESC LIMIT 1 OFFSET ?1)",
        [INCIDENTS_MAX],
    )?;
    Ok(())
}

pub(super) fn record_relay(conn: &Connection, relay: &Relay) -> rusqlite::Result<()> {
    // Flows are counted with the first of the clients that were seen together.
    for (client, flows) in relay.clients.iter().zip([relay.count].into_iter().chain(std::iter::repeat(0))) {
        let grown = conn.execute(
            "UPDATE relay SET usage = ?5, first = min(first, ?6), last = max(last, ?7), count = count + ?8
             WHERE host = ?1 AND port = ?2 AND vendor = ?3 AND client = ?4",
            params![
                relay.host,
                relay.port,
                relay.vendor,
                client,
                relay.usage,
                millis(relay.first),
                millis(relay.last),
                number(flows)
            ],
        )?;
        let known = conn.query_row("SELECT count(*) FROM relay", [], |row| count(row, 0))?;
        if grown == 0 && known < RELAYS_MAX {
            conn.execute(
                "INSERT INTO relay (host, port, vendor, client, usage, first, last, count) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![relay.host, relay.port, relay.vendor, client, relay.usage, millis(relay.first), millis(relay.last), number(flows)],
            )?;
        }
    }
    Ok(())
}

/// Incidents whose last step was at or after `since`, in order of their beginning.
pub(super) fn incidents(conn: &Connection, since: i64, vendor: Option<&str>) -> rusqlite::Result<Vec<Incident>> {
    let mut statement = conn.prepare_cached(
        "SELECT coalesce((SELECT value FROM endpoint_fact f WHERE f.endpoint = i.endpoint AND kind IN ('name', 'address')
                            ORDER BY kind DESC, last DESC LIMIT 1), '#' || i.endpoint), vendor, answer, steps
         FROM incident i WHERE last >= ?1 AND (?2 IS NULL OR vendor = ?2) ORDER BY started, id",
    )?;
    let all = statement.query_map(params![since, vendor], |row| {
        let steps: Vec<(i64, String)> = serde_json::from_str(row.get_ref(3)?.as_str()?).unwrap_or_default();
        let steps = steps.into_iter().filter_map(|(at, what)| Some((Wall::from_millisecond(at).ok()?, what))).collect();
        Ok(Incident { endpoint: row.get(0)?, vendor: row.get(1)?, answer: row.get(2)?, steps })
    })?;
    all.collect()
}

/// Relays that were seen at or after `since`. One port is weak, since others use the same: told are hosts that serve two of a
/// vendor's, or that are in the ledger with the vendor themselves.
pub(super) fn relays(conn: &Connection, since: i64, vendor: Option<&str>) -> rusqlite::Result<Vec<Relay>> {
    let mut statement = conn.prepare_cached(
        "SELECT host, port, vendor, max(usage), group_concat(client, ' '), min(first), max(last), sum(count) FROM relay r
         WHERE last >= ?1 AND (?2 IS NULL OR vendor = ?2)
           AND (EXISTS (SELECT 1 FROM relay o WHERE o.host = r.host AND o.vendor = r.vendor AND o.port <> r.port)
             OR EXISTS (SELECT 1 FROM endpoint_fact f JOIN ledger l ON l.endpoint = f.endpoint
                        WHERE f.kind = 'address' AND f.value = r.host AND l.vendor = r.vendor))
         GROUP BY host, port, vendor ORDER BY host, port, vendor",
    )?;
    let all = statement.query_map(params![since, vendor], |row| {
        let clients: String = row.get(4)?;
        Ok(Relay {
            host: row.get(0)?,
            port: row.get(1)?,
            vendor: row.get(2)?,
            usage: row.get(3)?,
            clients: clients.split(' ').map(str::to_owned).collect(),
            first: wall(row, 5)?,
            last: wall(row, 6)?,
            count: count(row, 7)?,
        })
    })?;
    all.collect()
}
