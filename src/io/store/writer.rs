//! The one thread that writes the ledger.

use super::backlog::{Backlog, WAITING_MAX};
use super::commit::{Note, Work};
use super::queue::{QUEUE_BATCHES, Receiver, StoreCounters, StoreMessage};
use super::{Store, StoreError};
use crate::base::model::{DeviceNote, Sighting, Wall};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the writer looks whether it should end, when nothing arrives.
const TICK: Duration = Duration::from_millis(250);
/// The pause between two commits, so that a flood is folded before it is written. With the workers' flushes a kill loses the
/// last second at most.
const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// How long it waits after a failure before it tries again.
const RETRY: Duration = Duration::from_secs(1);
/// How often it marks that it lives, when nothing arrives. An unclean end is known to this.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often it lets a step's worth of old records go.
const FORGET: Duration = Duration::from_secs(60);
/// Notes that wait for a commit at most; there is one for each reload or pause.
const NOTES_MAX: usize = 1024;
/// News of devices that wait for a commit at most.
const DEVICES_MAX: usize = 16_384;

/// Tells the writer the wall time.
pub type Clock = Box<dyn Fn() -> Wall + Send>;

/// The store with what waits for it. Runs in the thread that [`Writer::spawn`] starts.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    backlog: Backlog,
    notes: Vec<Note>,
    devices: Vec<DeviceNote>,
    counters: Arc<StoreCounters>,
    /// What [`StoreCounters::lost`] showed when it was last recorded.
    lost_recorded: u64,
    last_commit: Wall,
    retry_at: Option<Instant>,
    commit_at: Instant,
    beat_at: Instant,
    forget_at: Instant,
}

/// The running thread.
#[derive(Debug)]
pub struct WriterHandle {
    thread: JoinHandle<Result<(), StoreError>>,
    counters: Arc<StoreCounters>,
    ending: Arc<AtomicBool>,
}

impl WriterHandle {
    /// The writer's figures.
    #[must_use]
    pub fn counters(&self) -> Arc<StoreCounters> {
        Arc::clone(&self.counters)
    }

    /// Whether the thread has ended, which it does by itself only when every sender is gone.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Writes what has arrived, and ends the run in order.
    ///
    /// # Errors
    /// What could not be written at the end.
    pub fn close(self) -> Result<(), StoreError> {
        self.ending.store(true, Ordering::Release);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Writer {
    /// Starts the thread `ledger`. It ends in order when all senders are gone or [`WriterHandle::close`] is called.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn spawn(
        store: Store,
        receiver: Receiver,
        counters: Arc<StoreCounters>,
        clock: Clock,
    ) -> std::io::Result<WriterHandle> {
        let ending = Arc::new(AtomicBool::new(false));
        let mut writer = Self::new(store, Arc::clone(&counters), clock());
        let asked = Arc::clone(&ending);
        let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || {
            while writer.turn(&receiver, &asked, &clock) {}
            writer.finish(clock())
        })?;
        Ok(WriterHandle { thread, counters, ending })
    }

    pub(super) fn new(store: Store, counters: Arc<StoreCounters>, now: Wall) -> Self {
        let start = Instant::now();
        let totals = store.totals();
        counters.sequence.store(totals.sequence, Ordering::Release);
        counters.attempts.store(totals.attempts, Ordering::Release);
        counters.add_lost(totals.lost);
        counters.alarm.store(store.alarm().map(|text| Arc::new(text.to_owned())));
        Self {
            store,
            backlog: Backlog::new(WAITING_MAX),
            notes: Vec::new(),
            devices: Vec::new(),
            counters,
            lost_recorded: totals.lost,
            last_commit: now,
            retry_at: None,
            commit_at: start,
            beat_at: start,
            forget_at: start + FORGET,
        }
    }

    /// Takes in what has arrived and commits it. Returns whether there may be more.
    fn turn(&mut self, receiver: &Receiver, ending: &AtomicBool, clock: &Clock) -> bool {
        let asked = ending.load(Ordering::Acquire);
        let due = self.retry_at.unwrap_or(self.commit_at);
        let wait = match due.saturating_duration_since(Instant::now()) {
            _ if asked => Duration::ZERO,
            wait if self.has_work() => wait.min(TICK),
            _ => TICK,
        };
        let arrived = match receiver.recv_timeout(wait) {
            Ok(message) => {
                self.absorb(message);
                receiver.try_iter().take(QUEUE_BATCHES).for_each(|message| self.absorb(message));
                true
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        let now = Instant::now();
        if now >= self.retry_at.unwrap_or(self.commit_at) && (self.has_work() || now >= self.beat_at) {
            self.commit_at = now + COMMIT_EVERY;
            // The alarm says what is wrong, the backlog keeps what is not written.
            let _ = self.commit(clock());
        }
        if self.retry_at.is_none() && now >= self.forget_at {
            self.forget_old(clock());
        }
        arrived || !asked
    }

    /// Takes a message in.
    pub(super) fn absorb(&mut self, message: StoreMessage) {
        match message {
            StoreMessage::Batch(batch) => {
                let (sightings, lost) = self.store.sightings(&batch);
                self.counters.add_lost(lost);
                self.push(sightings);
            }
            StoreMessage::Sightings(sightings) => self.push(sightings),
            StoreMessage::Devices(news) => {
                let room = DEVICES_MAX.saturating_sub(self.devices.len());
                self.counters.news_lost.fetch_add(news.len().saturating_sub(room) as u64, Ordering::AcqRel);
                self.devices.extend(news.into_iter().take(room));
            }
            StoreMessage::Note(note) if self.notes.len() < NOTES_MAX => self.notes.push(note),
            StoreMessage::Note(_) => drop(self.counters.news_lost.fetch_add(1, Ordering::AcqRel)),
        }
        self.counters.waiting.store(self.backlog.sightings().len() as u64, Ordering::Release);
    }

    fn push(&mut self, sightings: Vec<Sighting>) {
        let lost = sightings.into_iter().fold(0_u64, |lost, one| lost.saturating_add(self.backlog.push(one)));
        self.counters.add_lost(lost);
    }

    fn has_work(&self) -> bool {
        let has_news = !self.notes.is_empty() || !self.devices.is_empty();
        !self.backlog.sightings().is_empty() || has_news || self.counters.lost() != self.lost_recorded
    }

    /// Commits what waits. On failure all of it keeps waiting and the alarm shows.
    ///
    /// # Errors
    /// What the alarm shows.
    pub(super) fn commit(&mut self, now: Wall) -> Result<(), StoreError> {
        let lost = self.counters.lost();
        let work = Work {
            sightings: self.backlog.sightings(),
            devices: &self.devices,
            notes: &self.notes,
            lost: lost.saturating_sub(self.lost_recorded),
            lost_since: self.last_commit,
        };
        match self.store.commit(now, work) {
            Ok(done) => {
                self.backlog.clear();
                self.notes.clear();
                self.devices.clear();
                self.counters.attempts.store(done.totals.attempts, Ordering::Release);
                self.counters.sequence.store(done.totals.sequence, Ordering::Release);
                self.counters.waiting.store(0, Ordering::Release);
                self.counters.add_lost(done.unplaced);
                self.lost_recorded = lost;
                self.last_commit = now;
                self.recovered();
                if done.first_contacts + done.reappeared != 0 {
                    tracing::info!(
                        first = done.first_contacts,
                        reappeared = done.reappeared,
                        "new contacts in the ledger"
                    );
                }
                Ok(())
            }
            Err(error) => {
                self.failed(now, &error);
                Err(error)
            }
        }
    }

    fn recovered(&mut self) {
        if self.retry_at.take().is_some() {
            tracing::info!("the ledger is written again");
        }
        // A database that was moved aside is an alarm until the next start.
        self.counters.alarm.store(self.store.alarm().map(|text| Arc::new(text.to_owned())));
        self.beat_at = Instant::now() + HEARTBEAT;
    }

    fn failed(&mut self, now: Wall, error: &StoreError) {
        if self.retry_at.is_none() {
            tracing::error!(%error, "the ledger is not written; sightings wait in memory");
        }
        let mut text = format!("{error}; sightings wait in memory");
        if error.is_corrupt() {
            match self.store.start_over(now, error) {
                Ok(()) => self.store.alarm().unwrap_or_default().clone_into(&mut text),
                Err(error) => text = error.to_string(),
            }
        }
        self.counters.alarm.store(Some(Arc::new(text)));
        self.retry_at = Some(Instant::now() + RETRY);
    }

    fn forget_old(&mut self, now: Wall) {
        match self.store.forget_old(now) {
            // More to go: on with it soon.
            Ok(1..) => self.forget_at = Instant::now() + TICK,
            Ok(0) => self.forget_at = Instant::now() + FORGET,
            Err(error) => self.failed(now, &error),
        }
    }

    /// Commits what waits and ends the run in order.
    fn finish(mut self, now: Wall) -> Result<(), StoreError> {
        self.commit(now)?;
        self.store.close(now)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, integer, opened, sighting};
    use super::super::{GapReason, Totals, run};
    use super::*;
    use crate::base::model::{Channel, Outcome, Stage};
    use crate::base::name::Name;
    use crate::engine::ledger::Folder;
    use crate::policy::list::Format;
    use crate::policy::{Hit, List, Policy, RuleSetBuilder, Subject};

    fn writer(store: Store) -> Writer {
        Writer::new(store, Arc::default(), at(0))
    }

    #[test]
    fn a_full_disk_loses_nothing_committed_and_nothing_that_waits_and_the_alarm_goes_when_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(opened(dir.path()));
        writer.absorb(StoreMessage::Sightings(vec![sighting(1, "a.upd.kaspersky.com", 1, 5)]));
        writer.commit(at(1)).unwrap();
        let counters = Arc::clone(&writer.counters);
        assert_eq!((counters.attempts_committed(), counters.sequence(), counters.alarm()), (5, 1, None));

        let pages = integer(&writer.store.conn, "PRAGMA page_count");
        writer.store.conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        let many: Vec<_> = (0..500).map(|n| sighting(n, &format!("h{n}.upd.kaspersky.com"), 2, 2)).collect();
        writer.absorb(StoreMessage::Sightings(many));
        for second in 2..5 {
            let error = writer.commit(at(second)).unwrap_err();
            assert!(error.to_string().contains("full"), "{error}");
        }
        assert!(counters.alarm().is_some_and(|text| text.contains("full") && text.contains("wait in memory")));
        assert_eq!((counters.attempts_committed(), counters.waiting()), (5, 500));
        assert_eq!(integer(&writer.store.conn, "SELECT sum(count) FROM ledger"), 5);
        // The same again folds into what waits.
        writer.absorb(StoreMessage::Sightings(vec![sighting(0, "h0.upd.kaspersky.com", 3, 10)]));
        assert_eq!(counters.waiting(), 500);

        writer.store.conn.pragma_update_and_check(None, "max_page_count", 1_i64 << 30, |_| Ok(())).unwrap();
        writer.commit(at(6)).unwrap();
        assert_eq!((counters.attempts_committed(), counters.waiting(), counters.lost()), (1015, 0, 0));
        assert_eq!(counters.alarm(), None);
        assert_eq!(integer(&writer.store.conn, "SELECT sum(count) FROM ledger"), 1015);
        assert_eq!(integer(&writer.store.conn, "SELECT sum(count) FROM ledger_day"), 1015);
        assert_eq!(integer(&writer.store.conn, "SELECT sum(count) FROM destination"), 1015);
    }

    /// A rule on `listed.example`, and attempts at hosts below it as a worker folds them.
    fn flood(hosts: &[u32]) -> StoreMessage {
        let mut builder = RuleSetBuilder::new();
        let list =
            List { id: "l".into(), file: "l".into(), revision: "1".into(), stage: Some(Stage::Block), expires: None };
        builder.add_blocklist(list, Format::Domains, &mut &b"listed.example"[..]).unwrap();
        let policy = Arc::new(Policy::new(1, Arc::new(builder.finish()), Arc::default(), at(0)));
        let mut folder = Folder::new(4_096);
        for host in hosts {
            let name: Name = format!("h{host}.listed.example").parse().unwrap();
            let verdict = policy.decide(&Subject { name: Some(name.as_ref()), ..Subject::default() });
            let hit = Hit {
                rule: verdict.rule.unwrap(),
                class: verdict.class.unwrap(),
                decision: verdict.decision,
                outcome: Outcome::Blocked,
                channel: Channel::Dns,
                name: name.as_ref().into(),
                address: None,
                port: None,
            };
            folder.record(at(1), &policy, [10, 0, 0, 7].into(), &hit);
        }
        StoreMessage::Batch(folder.flush().remove(0))
    }

    #[test]
    fn what_the_ledger_counts_together_is_folded_before_it_waits_and_what_it_tells_apart_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(opened(dir.path()));
        let counted = |writer: &Writer, host: &str| {
            integer(&writer.store.conn, &format!("SELECT sum(count) FROM destination WHERE destination LIKE '{host}'"))
        };
        let all: Vec<u32> = (0..2_000).collect();
        writer.absorb(flood(&all));
        assert_eq!(writer.counters.waiting(), 257, "as many as are told apart, and the others");
        writer.commit(at(2)).unwrap();
        assert_eq!((counted(&writer, "h0.%"), counted(&writer, "(others)")), (1, 1_744));

        writer.absorb(flood(&all[..300]));
        assert_eq!(writer.counters.waiting(), 257);
        writer.commit(at(3)).unwrap();
        assert_eq!((counted(&writer, "h0.%"), counted(&writer, "h255.%"), counted(&writer, "(others)")), (2, 2, 1_788));

        writer.absorb(flood(&all[500..700]));
        assert_eq!(writer.counters.waiting(), 1, "none of these is told apart");
        writer.commit(at(4)).unwrap();
        assert_eq!((counted(&writer, "h0.%"), counted(&writer, "(others)")), (2, 1_988));
        assert_eq!((writer.counters.attempts_committed(), counted(&writer, "%")), (2_500, 2_500));

        // What is no longer remembered is the database's to say again.
        writer.store.ids.forget();
        writer.absorb(flood(&all[500..700]));
        assert_eq!(writer.counters.waiting(), 200);
        writer.commit(at(5)).unwrap();
        assert_eq!((counted(&writer, "h0.%"), counted(&writer, "(others)")), (2, 2_188));
    }

    #[test]
    fn more_than_the_backlog_holds_is_lost_counted_and_recorded_as_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(opened(dir.path()));
        writer.backlog = Backlog::new(8);
        let many: Vec<_> = (0..20).map(|n| sighting(n, "a.upd.kaspersky.com", 1, 3)).collect();
        writer.absorb(StoreMessage::Sightings(many));
        writer.commit(at(2)).unwrap();
        assert_eq!((writer.counters.attempts_committed(), writer.counters.lost()), (8 * 3, 12 * 3));
        writer.counters.add_lost(4);
        writer.commit(at(3)).unwrap();
        let gaps = run::gaps(&writer.store.conn, None).unwrap();
        let [gap] = &gaps[..] else { panic!("losses in a row are one gap: {gaps:?}") };
        assert_eq!((gap.why, gap.attempts, gap.started, gap.ended), (GapReason::Lost, 40, at(0), at(3)));
        assert_eq!(Totals::load(&writer.store.conn).unwrap().lost, 40);
        // What was recorded is not recorded again.
        writer.commit(at(4)).unwrap();
        assert_eq!(Totals::load(&writer.store.conn).unwrap().lost, 40);
    }

    #[test]
    fn a_database_that_breaks_while_it_is_used_is_moved_aside_and_what_waits_is_written_to_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(opened(dir.path()));
        writer.absorb(StoreMessage::Sightings(vec![sighting(1, "a.upd.kaspersky.com", 1, 5)]));
        writer.commit(at(1)).unwrap();
        writer.store.conn.execute("UPDATE ledger_day SET hours = x'ff'", []).unwrap();
        writer.absorb(StoreMessage::Sightings(vec![sighting(1, "a.upd.kaspersky.com", 1, 7)]));
        assert!(writer.commit(at(2)).is_err());
        writer.commit(at(3)).unwrap();
        assert_eq!(integer(&writer.store.conn, "SELECT sum(count) FROM ledger"), 7);
        assert!(writer.counters.alarm().is_some_and(|text| text.contains("moved to") && text.contains(".corrupt-")));
        let mut files = std::fs::read_dir(dir.path()).unwrap().filter_map(Result::ok);
        assert!(files.any(|file| file.file_name().to_string_lossy().starts_with("ledger.sqlite.corrupt-")));
    }
}
