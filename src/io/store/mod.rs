//! The ledger's storage: SQLite in one directory, written by one thread, read by anybody who may.
//!
//! | file | what |
//! |---|---|
//! | `ledger.sqlite` | the database; schema and meaning of its columns in `migrations/` |
//! | `ledger.lock` | locked while a daemon has the store |
//! | `ledger.sqlite.corrupt-<seconds>` | a database that could not be read and was moved aside |
//!
//! [`Store`] is the database with its one writer; [`Writer`] is the thread around it, fed through a bounded queue by
//! [`Sender`]; [`Ledger`] reads beside them. The data plane never waits for any of them: what the queue or the writer's
//! backlog cannot hold is lost, counted, and recorded as a gap.

mod around;
mod backlog;
mod commit;
mod convert;
mod devices;
mod error;
mod ids;
mod migrate;
mod open;
mod queue;
mod read;
mod retention;
mod rows;
mod run;
mod writer;

pub use around::{Incident, Relay};
pub use commit::{Committed, Note, Work};
pub use error::StoreError;
pub use queue::{QUEUE_BATCHES, Receiver, Sender, StoreCounters, StoreMessage, channel};
pub use read::{EndpointFacts, Evidence, Filter, Ledger, ReportRow, Summary, TOP_DESTINATIONS, TopDestination};
pub use run::{Activation, Gap, GapReason, Totals};
pub use writer::{Clock, Writer, WriterHandle};

use crate::base::model::{Sighting, Wall};
use crate::engine::ledger::Batch;
use ids::Ids;
use rusqlite::{Connection, TransactionBehavior};
use std::fs::File;
use std::path::{Path, PathBuf};

/// What the operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Days that records are kept after they last changed.
    pub retention_days: u32,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { retention_days: 400 }
    }
}

/// The database and its one writer.
#[derive(Debug)]
pub struct Store {
    conn: Connection,
    path: PathBuf,
    settings: StoreSettings,
    ids: Ids,
    totals: Totals,
    opened: Wall,
    /// Whether the start of this run is recorded; a full disk may have put it off.
    begun: bool,
    /// Why the start is not recorded yet.
    unbegun: Option<String>,
    /// Which database was moved aside in this run.
    moved: Option<String>,
    /// Held for its lock, and let go after the database.
    _lock: File,
}

/// Keeps every daemon, and every other command that changes what is stored, out of the folder as long as it is held.
#[derive(Debug)]
pub struct Held {
    _lock: File,
}

/// Takes the store's lock without opening the ledger.
///
/// # Errors
/// A daemon, or another such command, has it; or the folder cannot be made.
pub fn hold(dir: &Path) -> Result<Held, StoreError> {
    open::directory(dir)?;
    Ok(Held { _lock: open::lock(dir)? })
}

impl Store {
    /// Opens the store in a directory, and makes what is missing. A database that cannot be read is moved aside and a new one
    /// begun, with [`Store::alarm`] saying so.
    ///
    /// # Errors
    /// A directory that cannot be used, one that another daemon uses, a database of a newer version, a disk without room
    /// for a new one.
    pub fn open(dir: &Path, settings: StoreSettings, now: Wall) -> Result<Self, StoreError> {
        open::directory(dir)?;
        let lock = open::lock(dir)?;
        let path = dir.join(open::DATABASE);
        let (conn, totals, moved) = match Self::connect(&path) {
            Err(error) if error.is_corrupt() => {
                let aside = open::move_aside(&path, now)?;
                let (conn, totals) = Self::connect(&path)?;
                (conn, totals, Some(moved_alarm(&path, &aside, &error)))
            }
            other => other.map(|(conn, totals)| (conn, totals, None))?,
        };
        let ids = Ids::default();
        let mut store =
            Self { conn, path, settings, ids, totals, opened: now, begun: false, unbegun: None, moved, _lock: lock };
        match store.in_transaction(|_, _| Ok(())) {
            Ok(()) => {}
            // The writer tries again and shows the alarm until it succeeds.
            Err(error) if error::is_outside(&error) => store.unbegun = Some(store.failed("write", error).to_string()),
            Err(error) => return Err(store.failed("write", error)),
        }
        Ok(store)
    }

    fn connect(path: &Path) -> Result<(Connection, Totals), StoreError> {
        let conn = open::writable(path)?;
        let failed = |source| StoreError::Database { doing: "read", path: path.to_owned(), source };
        if !run::ended_in_order(&conn).map_err(failed)? && !open::is_whole(&conn, path).map_err(failed)? {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(failed(rusqlite::Error::SqliteFailure(code, None)));
        }
        let totals = Totals::load(&conn).map_err(failed)?;
        Ok((conn, totals))
    }

    /// Runs one transaction; the start of the run is recorded by the first that succeeds.
    fn in_transaction<T>(
        &mut self,
        work: impl FnOnce(&Connection, &mut Ids) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let done = (|| {
            let transaction = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if !self.begun {
                run::begin(&transaction, self.opened)?;
            }
            let done = work(&transaction, &mut self.ids)?;
            transaction.commit()?;
            Ok(done)
        })();
        match done {
            Ok(_) => {
                self.begun = true;
                self.unbegun = None;
            }
            Err(_) => self.ids.forget(),
        }
        done
    }

    /// Commits sightings and notes in one transaction.
    ///
    /// # Errors
    /// What SQLite said; nothing of the work is in the store then.
    pub fn commit(&mut self, now: Wall, work: Work<'_>) -> Result<Committed, StoreError> {
        let before = self.totals;
        let done = self
            .in_transaction(|conn, ids| commit::write(conn, ids, before, now, work))
            .map_err(|error| self.failed("write", error))?;
        self.totals = done.totals;
        Ok(done)
    }

    /// The sightings of a batch, as far apart as the ledger tells them; attempts by unknown rules are lost.
    fn sightings(&self, batch: &Batch) -> (Vec<Sighting>, u64) {
        batch.sightings(|row| self.ids.is_apart(&batch.policy, row))
    }

    /// Commits sightings alone.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit_sightings(&mut self, now: Wall, sightings: &[Sighting]) -> Result<Committed, StoreError> {
        self.commit(now, Work { sightings, devices: &[], notes: &[], lost: 0, lost_since: now })
    }

    /// Records that a policy came into force.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn record_activation(&mut self, now: Wall, activation: Activation) -> Result<(), StoreError> {
        let notes = [Note::Activation(activation)];
        self.commit(now, Work { sightings: &[], devices: &[], notes: &notes, lost: 0, lost_since: now }).map(|_| ())
    }

    /// The latest activation ever recorded: a clock that shows less is not to be believed.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn last_activation(&self) -> Result<Option<Wall>, StoreError> {
        run::last_activation(&self.conn).map_err(|error| self.failed("read", error))
    }

    /// The sums of all that was committed.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// What an operator should know about the store, beside its figures.
    #[must_use]
    pub fn alarm(&self) -> Option<&str> {
        self.unbegun.as_deref().or(self.moved.as_deref())
    }

    /// Lets a step's worth of old records go. Returns how many; 0 when there are no more.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn forget_old(&mut self, now: Wall) -> Result<usize, StoreError> {
        let days = self.settings.retention_days;
        let gone = self
            .in_transaction(|conn, _| retention::step(conn, now, days))
            .map_err(|error| self.failed("write", error))?;
        if gone != 0 {
            self.ids.forget();
        }
        Ok(gone)
    }

    /// Moves a database that turned out broken aside and begins a new one.
    ///
    /// # Errors
    /// As [`Store::open`].
    fn start_over(&mut self, now: Wall, error: &StoreError) -> Result<(), StoreError> {
        let placeholder = Connection::open_in_memory().map_err(|error| self.failed("open", error))?;
        drop(std::mem::replace(&mut self.conn, placeholder));
        self.ids.forget();
        let aside = open::move_aside(&self.path, now)?;
        (self.conn, self.totals) = Self::connect(&self.path)?;
        self.begun = false;
        self.opened = now;
        self.moved = Some(moved_alarm(&self.path, &aside, error));
        Ok(())
    }

    /// Ends the run in order: the write-ahead log goes into the database, and the next start finds no unclean end.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn close(mut self, now: Wall) -> Result<(), StoreError> {
        self.in_transaction(|conn, _| run::end(conn, now)).map_err(|error| self.failed("write", error))?;
        self.conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(|error| self.failed("write", error))
    }

    fn failed(&self, doing: &'static str, source: rusqlite::Error) -> StoreError {
        StoreError::Database { doing, path: self.path.clone(), source }
    }
}

fn moved_alarm(path: &Path, aside: &Path, error: &StoreError) -> String {
    format!("{error}; it was moved to {} and {} begun anew", aside.display(), path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::model::{Channel, Decision, Destination, Origin, Outcome, PolicyId, Purpose, RuleFacts};
    use std::sync::Arc;

    pub(super) fn at(second: i64) -> Wall {
        Wall::from_second(1_760_000_000 + second).unwrap()
    }

    pub(super) fn sighting(client: u16, host: &str, second: i64, count: u64) -> Sighting {
        let rule = RuleFacts {
            vendor: "kaspersky".into(),
            purpose: Purpose::Update,
            list: "kaspersky".into(),
            revision: "1".into(),
            place: "kaspersky.toml:1".into(),
            pattern: "upd.kaspersky.com".into(),
        };
        Sighting {
            client: [10, 0, (client >> 8) as u8, client as u8].into(),
            origin: Origin::Client,
            channel: Channel::Dns,
            destination: Destination::Name(host.parse().unwrap()),
            port: None,
            rule: Arc::new(rule),
            verdict: Decision::Block,
            outcome: Outcome::Blocked,
            first: at(second),
            last: at(second),
            count,
            policy: PolicyId([7; 16]),
            evidence: None,
        }
    }

    pub(super) fn opened(dir: &Path) -> Store {
        Store::open(dir, StoreSettings::default(), at(0)).unwrap()
    }

    pub(super) fn integer(conn: &Connection, sql: &str) -> i64 {
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_new_file_gets_the_whole_schema_and_an_old_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = opened(dir.path());
        assert_eq!(migrate::version(&store.conn).unwrap(), migrate::SCHEMA);
        assert_eq!(integer(&store.conn, "PRAGMA foreign_keys"), 1);
        assert_eq!(store.conn.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0)).unwrap(), "wal");
        assert_eq!(
            integer(&store.conn, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE '%STRICT%'"),
            0
        );
        let sensor = run::sensor(&store.conn).unwrap();
        assert_eq!(sensor.len(), 32);
        store.close(at(1)).unwrap();
        let store = opened(dir.path());
        assert_eq!(run::sensor(&store.conn).unwrap(), sensor);
    }

    #[test]
    fn a_flood_of_addresses_makes_no_more_endpoints_than_there_is_room_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = opened(dir.path());
        store.ids.limit_endpoints(3);
        let many: Vec<_> = (0..10).map(|n| sighting(n, "a.upd.kaspersky.com", 1, 1)).collect();
        let done = store.commit_sightings(at(1), &many).unwrap();
        assert_eq!((done.totals.attempts, done.unplaced), (3, 7));
        let again = store.commit_sightings(at(2), &many).unwrap();
        assert_eq!((again.totals.attempts, again.unplaced), (6, 7));
        assert_eq!(integer(&store.conn, "SELECT count(*) FROM endpoint"), 3);
    }

    #[test]
    fn destinations_beyond_the_bound_are_counted_together() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = opened(dir.path());
        let many: Vec<_> = (0..1000).map(|n| sighting(1, &format!("h{n}.upd.kaspersky.com"), n, 1)).collect();
        for chunk in many.chunks(100) {
            store.commit_sightings(at(1), chunk).unwrap();
        }
        let max = i64::try_from(crate::engine::ledger::DESTINATIONS_MAX).unwrap();
        assert_eq!(integer(&store.conn, "SELECT count(*) FROM destination"), max + 1);
        assert_eq!(integer(&store.conn, "SELECT count FROM destination WHERE destination = '(others)'"), 1000 - max);
        assert_eq!(integer(&store.conn, "SELECT sum(count) FROM destination"), 1000);
    }

    #[test]
    fn samples_are_a_ring() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = opened(dir.path());
        let many: Vec<_> = (0..200).map(|n| sighting(1, &format!("h{n}.upd.kaspersky.com"), 0, 1)).collect();
        for _ in 0..60 {
            store.commit_sightings(at(1), &many).unwrap();
        }
        let max = i64::try_from(commit::SAMPLES_MAX).unwrap();
        assert_eq!(integer(&store.conn, "SELECT count(*) FROM sample"), max);
        assert_eq!(integer(&store.conn, "SELECT max(sequence) FROM sample"), 12_000);
    }

    #[test]
    fn old_records_go_step_by_step_and_what_was_in_force_stays_known() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path(), StoreSettings { retention_days: 30 }, at(0)).unwrap();
        let day = 24 * 60 * 60;
        for (n, second) in [(1, 0), (2, day), (1, 40 * day)] {
            let policy = PolicyId([n; 16]);
            let activation = Activation { policy, at: at(second), settings: String::new(), revisions: "{}".to_owned() };
            store.record_activation(at(second), activation).unwrap();
        }
        let old: Vec<_> = (0..1200).map(|n| sighting(n, "a.upd.kaspersky.com", 0, 1)).collect();
        store.commit_sightings(at(0), &old).unwrap();
        store.commit_sightings(at(40 * day), &[sighting(0, "b.upd.kaspersky.com", 40 * day, 1)]).unwrap();
        let mut steps = 0;
        while store.forget_old(at(41 * day)).unwrap() != 0 {
            steps += 1;
        }
        assert!(steps > 2, "{steps}");
        for (what, left) in [("ledger_day", 1), ("destination", 1), ("ledger", 1), ("endpoint", 1), ("activation", 2)] {
            assert_eq!(integer(&store.conn, &format!("SELECT count(*) FROM {what}")), left, "{what}");
        }
        assert_eq!(run::activation_at(&store.conn, at(20 * day)).unwrap().unwrap().policy, PolicyId([2; 16]));
        assert_eq!(integer(&store.conn, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
        // An endpoint that comes back after it was forgotten is a new one.
        store.commit_sightings(at(41 * day), &[sighting(5, "b.upd.kaspersky.com", 41 * day, 1)]).unwrap();
        assert_eq!(integer(&store.conn, "SELECT count(*) FROM endpoint"), 2);
    }
}
