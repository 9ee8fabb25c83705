//! Rows of the ledger in SQL: read, folded, written.

use super::convert::{count, millis, number, wall, word};
use crate::base::model::{Channel, Destination, Outcome, Purpose, Sighting, Wall};
use crate::engine::ledger::{DESTINATIONS_MAX, Day, Event, Hour, Outcomes, Row, fold};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::{BTreeMap, BTreeSet};

/// Pieces of evidence that are kept of one endpoint × vendor × purpose: the first ones.
const EVIDENCE_MAX: i64 = 16;

/// An endpoint × vendor × purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key<'a> {
    pub(super) endpoint: i64,
    pub(super) vendor: &'a str,
    pub(super) purpose: Purpose,
}

/// Destinations by text and channel.
pub(super) type Kept = BTreeSet<(String, Channel)>;

/// What writing a row did.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) events: Vec<Event>,
    /// The destinations that are told apart, if it turned out that there can be no more.
    pub(super) full: Option<Kept>,
}

/// Folds sightings of one row, each with its rule's id, into it and writes what changed.
pub(super) fn write(conn: &Connection, key: Key<'_>, sightings: &[(&Sighting, i64)]) -> rusqlite::Result<Written> {
    let (id, mut row) = load(conn, key)?;
    let mut events = Vec::new();
    let mut days: BTreeMap<i64, Added> = BTreeMap::new();
    let mut channels: BTreeMap<Channel, (Wall, u64)> = BTreeMap::new();
    for &(sighting, _) in sightings {
        let (folded, news) = fold(row.take(), sighting);
        row = Some(folded);
        events.extend(news);
        let Hour { day, hour } = Hour::of_sighting(sighting);
        days.entry(day).or_insert_with(|| Added::new(sighting)).add(hour, sighting);
        let (last, count) = channels.entry(sighting.channel).or_insert((sighting.last, 0));
        *last = sighting.last.max(*last);
        *count = count.saturating_add(sighting.count);
    }
    let Some(row) = row else { return Ok(Written { events, full: None }) };
    let id = save(conn, key, id, &row)?;
    for (channel, (last, count)) in channels {
        add_channel(conn, id, channel, last, count)?;
    }
    for (day, added) in days {
        add_day(conn, id, day, added)?;
    }
    let mut destinations = Destinations { conn, ledger: id, kept: None, others: BTreeMap::new() };
    for &(sighting, rule) in sightings {
        destinations.add(sighting, rule)?;
    }
    let full = destinations.finish()?;
    for (sighting, what) in sightings.iter().filter_map(|(sighting, _)| Some((sighting, sighting.evidence.as_deref()?)))
    {
        add_evidence(conn, id, sighting, what)?;
    }
    Ok(Written { events, full })
}

/// Hands the rows of an endpoint to another; where both have one, they become one. Bounds of what hangs on a row may be passed by as
/// much as one row has.
pub(super) fn merge(conn: &Connection, from: i64, into: i64) -> rusqlite::Result<()> {
    conn.execute(
        "UPDATE ledger SET endpoint = ?2 WHERE endpoint = ?1 AND NOT EXISTS
           (SELECT 1 FROM ledger o WHERE o.endpoint = ?2 AND o.vendor = ledger.vendor AND o.purpose = ledger.purpose)",
        [from, into],
    )?;
    let pairs: Vec<(i64, i64)> = conn
        .prepare_cached(
            "SELECT a.id, b.id FROM ledger a JOIN ledger b ON b.vendor = a.vendor AND b.purpose = a.purpose
             WHERE a.endpoint = ?1 AND b.endpoint = ?2",
        )?
        .query_map([from, into], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (from, into) in pairs {
        for statement in MERGE {
            conn.prepare_cached(statement)?.execute([from, into])?;
        }
        let days: Vec<(i64, Added)> = conn
            .prepare_cached("SELECT day, hours, first, last FROM ledger_day WHERE ledger = ?1")?
            .query_map([from], |row| {
                Ok((row.get(0)?, Added { attempts: hours(row, 1)?, first: wall(row, 2)?, last: wall(row, 3)? }))
            })?
            .collect::<Result<_, _>>()?;
        days.into_iter().try_for_each(|(day, added)| add_day(conn, into, day, added))?;
        conn.execute("DELETE FROM ledger WHERE id = ?1", [from])?;
    }
    Ok(())
}

/// One row into another: ?1 into ?2, all but its days.
const MERGE: [&str; 4] = [
    "UPDATE ledger SET first = min(ledger.first, o.first), last = max(ledger.last, o.last), count = ledger.count + o.count,
       blocked = ledger.blocked + o.blocked, observed = ledger.observed + o.observed, excepted = ledger.excepted + o.excepted,
       leaked = ledger.leaked + o.leaked, unknown = ledger.unknown + o.unknown
       FROM (SELECT * FROM ledger WHERE id = ?1) o WHERE ledger.id = ?2",
    "INSERT INTO ledger_channel SELECT ?2, channel, last, count FROM ledger_channel WHERE ledger = ?1
       ON CONFLICT DO UPDATE SET last = max(last, excluded.last), count = count + excluded.count",
    "INSERT INTO destination SELECT ?2, destination, channel, rule, first, last, count FROM destination WHERE ledger = ?1
       ON CONFLICT DO UPDATE SET rule = iif(excluded.last >= last, excluded.rule, rule), first = min(first, excluded.first),
         last = max(last, excluded.last), count = count + excluded.count",
    "INSERT INTO evidence SELECT ?2, channel, what, first, last, count FROM evidence WHERE ledger = ?1
       ON CONFLICT DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last), count = count + excluded.count",
];

/// Attempts that a day gains.
struct Added {
    attempts: Day,
    first: Wall,
    last: Wall,
}

impl Added {
    fn new(sighting: &Sighting) -> Self {
        Self { attempts: Day::default(), first: sighting.last, last: sighting.last }
    }

    fn add(&mut self, hour: u8, sighting: &Sighting) {
        self.attempts.add(hour, sighting.outcome, sighting.count);
        self.first = self.first.min(sighting.first);
        self.last = self.last.max(sighting.last);
    }
}

fn load(conn: &Connection, key: Key<'_>) -> rusqlite::Result<(Option<i64>, Option<Row>)> {
    let found = conn
        .prepare_cached(
            "SELECT id, first, last, count, blocked, observed, excepted, leaked, unknown FROM ledger
             WHERE endpoint = ?1 AND vendor = ?2 AND purpose = ?3",
        )?
        .query_row(params![key.endpoint, key.vendor, key.purpose.as_str()], |row| {
            let folded = Row {
                first: wall(row, 1)?,
                last: wall(row, 2)?,
                count: count(row, 3)?,
                outcomes: outcomes(row, 4)?,
                channels: BTreeMap::new(),
            };
            Ok((row.get::<_, i64>(0)?, folded))
        })
        .optional()?;
    let Some((id, mut row)) = found else { return Ok((None, None)) };
    let mut statement = conn.prepare_cached("SELECT channel, count FROM ledger_channel WHERE ledger = ?1")?;
    for pair in statement.query_map([id], |row| Ok((word(row, 0)?, count(row, 1)?)))? {
        let (channel, count) = pair?;
        row.channels.insert(channel, count);
    }
    Ok((Some(id), Some(row)))
}

fn save(conn: &Connection, key: Key<'_>, id: Option<i64>, row: &Row) -> rusqlite::Result<i64> {
    let sums = &row.outcomes;
    let (first, last, count) = (millis(row.first), millis(row.last), number(row.count));
    let [blocked, observed, excepted, leaked, unknown] =
        [sums.blocked, sums.observed, sums.excepted, sums.leaked, sums.unknown].map(number);
    if let Some(id) = id {
        conn.prepare_cached(
            "UPDATE ledger SET first = ?2, last = ?3, count = ?4, blocked = ?5, observed = ?6, excepted = ?7, leaked = ?8,
             unknown = ?9 WHERE id = ?1",
        )?
        .execute(params![id, first, last, count, blocked, observed, excepted, leaked, unknown])?;
        return Ok(id);
    }
    conn.prepare_cached(
        "INSERT INTO ledger (endpoint, vendor, purpose, first, last, count, blocked, observed, excepted, leaked, unknown)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        key.endpoint,
        key.vendor,
        key.purpose.as_str(),
        first,
        last,
        count,
        blocked,
        observed,
        excepted,
        leaked,
        unknown
    ])?;
    Ok(conn.last_insert_rowid())
}

fn add_channel(conn: &Connection, id: i64, channel: Channel, last: Wall, count: u64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO ledger_channel (ledger, channel, last, count) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET last = max(last, excluded.last), count = count + excluded.count",
    )?
    .execute(params![id, channel.as_str(), millis(last), number(count)])?;
    Ok(())
}

fn add_evidence(conn: &Connection, id: i64, sighting: &Sighting, what: &str) -> rusqlite::Result<()> {
    let (channel, first, last) = (sighting.channel.as_str(), millis(sighting.first), millis(sighting.last));
    let count = number(sighting.count);
    let known = conn
        .prepare_cached(
            "UPDATE evidence SET first = min(first, ?4), last = max(last, ?5), count = count + ?6
             WHERE ledger = ?1 AND channel = ?2 AND what = ?3",
        )?
        .execute(params![id, channel, what, first, last, count])?;
    if known == 0 {
        conn.prepare_cached(
            "INSERT INTO evidence (ledger, channel, what, first, last, count) SELECT ?1, ?2, ?3, ?4, ?5, ?6
             WHERE (SELECT count(*) FROM evidence WHERE ledger = ?1) < ?7",
        )?
        .execute(params![id, channel, what, first, last, count, EVIDENCE_MAX])?;
    }
    Ok(())
}

fn add_day(conn: &Connection, id: i64, day: i64, added: Added) -> rusqlite::Result<()> {
    let stored: Option<Day> = conn
        .prepare_cached("SELECT hours FROM ledger_day WHERE ledger = ?1 AND day = ?2")?
        .query_row([id, day], |row| hours(row, 0))
        .optional()?;
    let mut attempts = added.attempts;
    if let Some(stored) = stored {
        attempts.merge(&stored);
    }
    let sums = attempts.outcomes_from(0);
    let [count, blocked, observed, excepted, leaked, unknown] =
        [sums.total(), sums.blocked, sums.observed, sums.excepted, sums.leaked, sums.unknown].map(number);
    conn.prepare_cached(
        "INSERT INTO ledger_day (ledger, day, hours, first, last, count, blocked, observed, excepted, leaked, unknown)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT DO UPDATE SET hours = excluded.hours, first = min(first, excluded.first), last = max(last, excluded.last),
           count = excluded.count, blocked = excluded.blocked, observed = excluded.observed, excepted = excluded.excepted,
           leaked = excluded.leaked, unknown = excluded.unknown",
    )?
    .execute(params![
        id,
        day,
        attempts.pack(),
        millis(added.first),
        millis(added.last),
        count,
        blocked,
        observed,
        excepted,
        leaked,
        unknown
    ])?;
    Ok(())
}

/// The destinations of one row, bounded. A flood of names that are not kept apart costs one statement, not one a name.
struct Destinations<'a> {
    conn: &'a Connection,
    ledger: i64,
    /// Those that there are, once one was met that may be new.
    kept: Option<Kept>,
    /// What goes to "(others)".
    others: BTreeMap<Channel, Gain>,
}

/// What a destination gains.
#[derive(Clone, Copy)]
struct Gain {
    /// The rule that decided last.
    rule: i64,
    first: Wall,
    last: Wall,
    count: u64,
}

impl Gain {
    const fn of(sighting: &Sighting, rule: i64) -> Self {
        Self { rule, first: sighting.first, last: sighting.last, count: sighting.count }
    }

    fn add(&mut self, more: Self) {
        self.rule = if more.last >= self.last { more.rule } else { self.rule };
        self.first = self.first.min(more.first);
        self.last = self.last.max(more.last);
        self.count = self.count.saturating_add(more.count);
    }
}

impl Destinations<'_> {
    fn add(&mut self, sighting: &Sighting, rule: i64) -> rusqlite::Result<()> {
        let (channel, gain) = (sighting.channel, Gain::of(sighting, rule));
        if sighting.destination == Destination::Other {
            self.add_to_others(channel, gain);
            return Ok(());
        }
        let place = (sighting.destination.to_string(), channel);
        if self.kept.as_ref().is_none_or(|kept| kept.contains(&place)) && self.update(&place.0, channel, gain)? {
            return Ok(());
        }
        if self.kept.is_none() {
            self.kept = Some(self.read()?);
        }
        let kept = self.kept.get_or_insert_default();
        if kept.len() >= DESTINATIONS_MAX {
            self.add_to_others(channel, gain);
            return Ok(());
        }
        let text = place.0.clone();
        kept.insert(place);
        self.insert(&text, channel, gain)
    }

    fn add_to_others(&mut self, channel: Channel, gain: Gain) {
        self.others.entry(channel).and_modify(|others| others.add(gain)).or_insert(gain);
    }

    /// Writes what went to "(others)"; gives the destinations that are told apart if there can be no more.
    fn finish(self) -> rusqlite::Result<Option<Kept>> {
        let text = Destination::Other.to_string();
        for (&channel, &gain) in &self.others {
            if !self.update(&text, channel, gain)? {
                self.insert(&text, channel, gain)?;
            }
        }
        Ok(self.kept.filter(|kept| kept.len() >= DESTINATIONS_MAX))
    }

    fn update(&self, text: &str, channel: Channel, gain: Gain) -> rusqlite::Result<bool> {
        let changed = self
            .conn
            .prepare_cached(
                "UPDATE destination SET rule = iif(?5 >= last, ?4, rule), first = min(first, ?6), last = max(last, ?5),
                 count = count + ?7 WHERE ledger = ?1 AND destination = ?2 AND channel = ?3",
            )?
            .execute(params![
                self.ledger,
                text,
                channel.as_str(),
                gain.rule,
                millis(gain.last),
                millis(gain.first),
                number(gain.count)
            ])?;
        Ok(changed != 0)
    }

    fn insert(&self, text: &str, channel: Channel, gain: Gain) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO destination (ledger, destination, channel, rule, first, last, count)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                self.ledger,
                text,
                channel.as_str(),
                gain.rule,
                millis(gain.first),
                millis(gain.last),
                number(gain.count)
            ])?;
        Ok(())
    }

    fn read(&self) -> rusqlite::Result<Kept> {
        self.conn
            .prepare_cached("SELECT destination, channel FROM destination WHERE ledger = ?1")?
            .query_map([self.ledger], |row| Ok((row.get(0)?, word(row, 1)?)))?
            .collect()
    }
}

/// Reads the five outcome columns from `column` on.
pub(super) fn outcomes(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Outcomes> {
    let mut sums = Outcomes::default();
    let order = [Outcome::Blocked, Outcome::Observed, Outcome::Excepted, Outcome::Leaked, Outcome::Unknown];
    for (place, outcome) in order.into_iter().enumerate() {
        sums.add(outcome, count(row, column + place)?);
    }
    Ok(sums)
}

/// Reads a packed day.
pub(super) fn hours(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Day> {
    Day::unpack(row.get_ref(column)?.as_blob()?).map_err(|error| super::convert::refused(column, Type::Blob, error))
}
