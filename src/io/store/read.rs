//! Reading the ledger beside the daemon that writes it, or without one.

use super::around::{self, Incident, Relay};
use super::convert::{count, millis, wall, word};
use super::rows::{hours, outcomes};
use super::run::{self, Activation, Gap, Totals};
use super::{StoreError, open};
use crate::base::model::{Channel, Grade, Outcome, Purpose, Wall};
use crate::engine::ledger::{Hour, Outcomes};
use rusqlite::{Connection, TransactionBehavior, params};
use std::path::{Path, PathBuf};

/// Destinations that a row of a report shows.
pub const TOP_DESTINATIONS: usize = 5;

/// Which rows are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Rows with attempts since then, which alone are counted. The hour that it lies in counts as a whole.
    pub since: Option<Wall>,
    /// Rows of one vendor.
    pub vendor: Option<String>,
}

/// Who an endpoint is, as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointFacts {
    /// Surrogate id.
    pub id: i64,
    /// Addresses, the latest first.
    pub addresses: Vec<String>,
    /// Hardware addresses, the latest first.
    pub macs: Vec<String>,
    /// Names, the latest first.
    pub names: Vec<String>,
    /// What it calls itself to DHCP servers, in hexadecimal digits, the latest first.
    pub client_ids: Vec<String>,
    /// What made its DHCP client, the latest first.
    pub vendor_classes: Vec<String>,
    /// Where it is: a VLAN, a DHCP relay; the latest first.
    pub segments: Vec<String>,
    /// Whether one of the addresses was seen to ask for many others.
    pub is_forwarder: bool,
}

/// Where a row's attempts wanted to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopDestination {
    /// Name, address, or `(others)`.
    pub destination: String,
    /// Attempts over all channels, since the beginning.
    pub count: u64,
    /// The last one.
    pub last: Wall,
    /// The list of the rule that decided last.
    pub list: String,
    /// That list's revision.
    pub revision: String,
    /// That rule's file and line.
    pub place: String,
    /// That rule's pattern.
    pub pattern: String,
}

/// What was seen of a row's attempts besides where they wanted to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// How it was seen.
    pub channel: Channel,
    /// What.
    pub what: String,
    /// The first time.
    pub first: Wall,
    /// The last time.
    pub last: Wall,
    /// How often, since the beginning.
    pub count: u64,
}

/// One endpoint × vendor × purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportRow {
    /// Who.
    pub endpoint: EndpointFacts,
    /// Whose software.
    pub vendor: String,
    /// What for.
    pub purpose: Purpose,
    /// The first attempt ever, also where the filter has a later `since`.
    pub first: Wall,
    /// The last attempt.
    pub last: Wall,
    /// Attempts, in the filter's time.
    pub count: u64,
    /// The same by outcome.
    pub outcomes: Outcomes,
    /// Channels that were used in the filter's time.
    pub channels: Vec<Channel>,
    /// At most [`TOP_DESTINATIONS`] that were tried in the filter's time, most attempts first.
    pub destinations: Vec<TopDestination>,
    /// What was seen of them besides, the first few ever, those of the filter's time.
    pub evidence: Vec<Evidence>,
}

impl ReportRow {
    /// What the row proves.
    #[must_use]
    pub fn grade(&self) -> Grade {
        Grade::of(self.purpose, self.count, self.channels.iter().copied())
    }
}

/// The whole ledger in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The store's random id.
    pub sensor: String,
    /// Committed sums since the store was made.
    pub totals: Totals,
    /// Endpoints in the ledger.
    pub endpoints: u64,
    /// Rows: endpoint × vendor × purpose.
    pub rows: u64,
    /// Attempts in these rows: [`Totals::attempts`] without what retention let go.
    pub attempts: u64,
}

/// A ledger open for reading.
#[derive(Debug)]
pub struct Ledger {
    conn: Connection,
    path: PathBuf,
}

impl Ledger {
    /// Opens the ledger in a directory, whether or not a daemon writes it now.
    ///
    /// # Errors
    /// There is none yet, it may not be read, or it is of another version.
    pub fn open_read(dir: &Path) -> Result<Self, StoreError> {
        Ok(Self { conn: open::readable(dir)?, path: dir.join(open::DATABASE) })
    }

    /// The rows of a report as of one moment, the latest first.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn rows(&mut self, filter: &Filter) -> Result<Vec<ReportRow>, StoreError> {
        // One transaction sees one moment, whatever is committed meanwhile.
        let path = &self.path;
        let read = |conn: &mut Connection| {
            let transaction = conn.transaction_with_behavior(TransactionBehavior::Deferred)?;
            rows(&transaction, filter)
        };
        read(&mut self.conn).map_err(|source| failed(path, source))
    }

    /// The ledger in figures.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn summary(&mut self) -> Result<Summary, StoreError> {
        let path = &self.path;
        let read = |conn: &mut Connection| {
            let transaction = conn.transaction_with_behavior(TransactionBehavior::Deferred)?;
            let figure = |sql| transaction.query_row(sql, [], |row| count(row, 0));
            Ok(Summary {
                sensor: run::sensor(&transaction)?,
                totals: Totals::load(&transaction)?,
                endpoints: figure("SELECT count(*) FROM endpoint")?,
                rows: figure("SELECT count(*) FROM ledger")?,
                attempts: figure("SELECT ifnull(sum(count), 0) FROM ledger")?,
            })
        };
        read(&mut self.conn).map_err(|source| failed(path, source))
    }

    /// Ways around a block, of which the last step is in the filter's time, in order of their beginning.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn incidents(&self, filter: &Filter) -> Result<Vec<Incident>, StoreError> {
        let since = filter.since.map_or(i64::MIN, millis);
        around::incidents(&self.conn, since, filter.vendor.as_deref()).map_err(|source| failed(&self.path, source))
    }

    /// Hosts that relay for others, as far as seen in the filter's time.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn relays(&self, filter: &Filter) -> Result<Vec<Relay>, StoreError> {
        let since = filter.since.map_or(i64::MIN, millis);
        around::relays(&self.conn, since, filter.vendor.as_deref()).map_err(|source| failed(&self.path, source))
    }

    /// The latest activation ever recorded.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn last_activation(&self) -> Result<Option<Wall>, StoreError> {
        run::last_activation(&self.conn).map_err(|source| failed(&self.path, source))
    }

    /// What was in force at a moment.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn activation_at(&self, at: Wall) -> Result<Option<Activation>, StoreError> {
        run::activation_at(&self.conn, at).map_err(|source| failed(&self.path, source))
    }

    /// When the daemon was last known to live.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn heartbeat(&self) -> Result<Option<Wall>, StoreError> {
        run::heartbeat(&self.conn).map_err(|source| failed(&self.path, source))
    }

    /// Stretches of time in which nothing, or not everything, was seen, that ended at or after `since`; oldest first.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn gaps(&self, since: Option<Wall>) -> Result<Vec<Gap>, StoreError> {
        run::gaps(&self.conn, since).map_err(|source| failed(&self.path, source))
    }
}

fn failed(path: &Path, source: rusqlite::Error) -> StoreError {
    StoreError::Database { doing: "read", path: path.to_owned(), source }
}

fn rows(conn: &Connection, filter: &Filter) -> rusqlite::Result<Vec<ReportRow>> {
    let since = filter.since.map_or(i64::MIN, |since| millis(since).div_euclid(HOUR_MS) * HOUR_MS);
    let mut statement = conn.prepare_cached(
        "SELECT id, endpoint, vendor, purpose, first, last, count, blocked, observed, excepted, leaked, unknown FROM ledger
         WHERE last >= ?1 AND (?2 IS NULL OR vendor = ?2) ORDER BY last DESC, endpoint, vendor, purpose",
    )?;
    let found = statement.query_map(params![since, filter.vendor], |row| {
        let report = ReportRow {
            endpoint: EndpointFacts { id: row.get(1)?, ..EndpointFacts::default() },
            vendor: row.get(2)?,
            purpose: word(row, 3)?,
            first: wall(row, 4)?,
            last: wall(row, 5)?,
            count: count(row, 6)?,
            outcomes: outcomes(row, 7)?,
            channels: Vec::new(),
            destinations: Vec::new(),
            evidence: Vec::new(),
        };
        Ok((row.get::<_, i64>(0)?, report))
    })?;
    let mut reports = Vec::new();
    for pair in found {
        let (ledger, mut report) = pair?;
        if let Some(since) = filter.since {
            report.outcomes = outcomes_since(conn, ledger, since)?;
            report.count = report.outcomes.total();
        }
        facts(conn, &mut report.endpoint)?;
        report.channels = channels(conn, ledger, since)?;
        report.destinations = destinations(conn, ledger, since)?;
        report.evidence = evidence(conn, ledger, since)?;
        reports.push(report);
    }
    Ok(reports)
}

/// Milliseconds of an hour.
const HOUR_MS: i64 = 3_600_000;

fn outcomes_since(conn: &Connection, ledger: i64, since: Wall) -> rusqlite::Result<Outcomes> {
    let from = Hour::of(since);
    let mut statement = conn.prepare_cached("SELECT day, hours FROM ledger_day WHERE ledger = ?1 AND day >= ?2")?;
    let days = statement.query_map([ledger, from.day], |row| Ok((row.get::<_, i64>(0)?, hours(row, 1)?)))?;
    let mut sums = Outcomes::default();
    for pair in days {
        let (day, attempts) = pair?;
        let counted = attempts.outcomes_from(if day == from.day { from.hour } else { 0 });
        for &outcome in Outcome::ALL {
            sums.add(outcome, counted.of(outcome));
        }
    }
    Ok(sums)
}

fn facts(conn: &Connection, endpoint: &mut EndpointFacts) -> rusqlite::Result<()> {
    let mut statement =
        conn.prepare_cached("SELECT kind, value FROM endpoint_fact WHERE endpoint = ?1 ORDER BY last DESC, value")?;
    for pair in statement.query_map([endpoint.id], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))? {
        let (kind, value) = pair?;
        match kind.as_str() {
            "address" => endpoint.addresses.push(value),
            "mac" => endpoint.macs.push(value),
            "client-id" => endpoint.client_ids.push(value),
            "vendor-class" => endpoint.vendor_classes.push(value),
            "segment" => endpoint.segments.push(value),
            _ => endpoint.names.push(value),
        }
    }
    endpoint.is_forwarder = conn
        .prepare_cached(
            "SELECT count(*) FROM forwarder JOIN endpoint_fact ON kind = 'address' AND value = address WHERE endpoint = ?1",
        )?
        .query_row([endpoint.id], |row| count(row, 0))?
        > 0;
    Ok(())
}

fn channels(conn: &Connection, ledger: i64, since: i64) -> rusqlite::Result<Vec<Channel>> {
    let mut statement = conn.prepare_cached("SELECT channel FROM ledger_channel WHERE ledger = ?1 AND last >= ?2")?;
    let mut channels =
        statement.query_map([ledger, since], |row| word(row, 0))?.collect::<Result<Vec<Channel>, _>>()?;
    channels.sort_unstable();
    Ok(channels)
}

fn destinations(conn: &Connection, ledger: i64, since: i64) -> rusqlite::Result<Vec<TopDestination>> {
    // With a single max(), SQLite takes the bare column `rule` from the row that has it: the rule that decided last.
    let mut statement = conn.prepare_cached(
        "SELECT d.destination, d.attempts, d.latest, r.list, r.revision, r.place, r.pattern FROM
           (SELECT destination, sum(count) AS attempts, max(last) AS latest, rule FROM destination
            WHERE ledger = ?1 AND last >= ?2 GROUP BY destination ORDER BY 2 DESC, 1 LIMIT ?3) d
         JOIN rule r ON r.id = d.rule ORDER BY d.attempts DESC, d.destination",
    )?;
    let limit = i64::try_from(TOP_DESTINATIONS).unwrap_or(i64::MAX);
    let top = statement.query_map(params![ledger, since, limit], |row| {
        Ok(TopDestination {
            destination: row.get(0)?,
            count: count(row, 1)?,
            last: wall(row, 2)?,
            list: row.get(3)?,
            revision: row.get(4)?,
            place: row.get(5)?,
            pattern: row.get(6)?,
        })
    })?;
    top.collect()
}

fn evidence(conn: &Connection, ledger: i64, since: i64) -> rusqlite::Result<Vec<Evidence>> {
    let mut statement = conn.prepare_cached(
        "SELECT channel, what, first, last, count FROM evidence WHERE ledger = ?1 AND last >= ?2 ORDER BY first, channel, what",
    )?;
    let all = statement.query_map([ledger, since], |row| {
        let (channel, what) = (word(row, 0)?, row.get(1)?);
        Ok(Evidence { channel, what, first: wall(row, 2)?, last: wall(row, 3)?, count: count(row, 4)? })
    })?;
    all.collect()
}
