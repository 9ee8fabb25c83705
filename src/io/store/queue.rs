//! The bounded queue into the writer, and the figures that it shows.

use super::commit::Note;
use crate::base::model::{DeviceNote, Sighting};
use crate::engine::ledger::Batch;
use arc_swap::ArcSwapOption;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};

/// Messages that wait for the writer at most; some minutes of a busy resolver's flushes.
pub const QUEUE_BATCHES: usize = 1024;

/// What reaches the writer.
#[derive(Debug)]
pub enum StoreMessage {
    /// What a worker folded.
    Batch(Batch),
    /// Sightings that were folded elsewhere: imports, our own tests.
    Sightings(Vec<Sighting>),
    /// News of devices.
    Devices(Vec<DeviceNote>),
    /// An activation, a gap, an incident.
    Note(Note),
}

/// The writer's end of the queue.
pub type Receiver = mpsc::Receiver<StoreMessage>;

/// What the writer has done, for anybody to read at any time.
#[derive(Debug, Default)]
pub struct StoreCounters {
    pub(super) sequence: AtomicU64,
    pub(super) attempts: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) news_lost: AtomicU64,
    pub(super) alarm: ArcSwapOption<String>,
}

impl StoreCounters {
    /// The sequence number of the last committed sighting: how many were committed since the store was made.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// Attempts committed since the store was made.
    #[must_use]
    pub fn attempts_committed(&self) -> u64 {
        self.attempts.load(Ordering::Acquire)
    }

    /// Attempts lost since the store was made, those included that are not yet recorded: tables, the queue or the disk were
    /// full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    /// Folded sightings that wait in the writer for a commit; more than a moment's worth only while the disk refuses.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }

    /// News of devices, incidents and the like that were lost while the disk refused.
    #[must_use]
    pub fn news_lost(&self) -> u64 {
        self.news_lost.load(Ordering::Acquire)
    }

    /// What is wrong now, in a sentence.
    #[must_use]
    pub fn alarm(&self) -> Option<Arc<String>> {
        self.alarm.load_full()
    }

    pub(super) fn add_lost(&self, attempts: u64) {
        self.lost.fetch_add(attempts, Ordering::AcqRel);
    }
}

/// The workers' end of the queue.
#[derive(Clone, Debug)]
pub struct Sender {
    queue: SyncSender<StoreMessage>,
    counters: Arc<StoreCounters>,
}

/// A queue of so many messages; [`QUEUE_BATCHES`] is a good number.
#[must_use]
pub fn channel(messages: usize) -> (Sender, Receiver) {
    let (queue, receiver) = mpsc::sync_channel(messages);
    (Sender { queue, counters: Arc::default() }, receiver)
}

impl Sender {
    /// Hands sightings over without ever waiting; what the queue has no room for is lost and counted. Returns whether there
    /// was room.
    pub fn try_send(&self, message: StoreMessage) -> bool {
        match self.queue.try_send(message) {
            Ok(()) => true,
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                self.counters.add_lost(attempts(&message));
                false
            }
        }
    }

    /// Hands a note over and waits for room. For the control plane; the writer always makes room within moments. Returns
    /// whether the writer still lives.
    pub fn send_note(&self, note: Note) -> bool {
        self.queue.send(StoreMessage::Note(note)).is_ok()
    }

    /// The writer's figures.
    #[must_use]
    pub fn counters(&self) -> Arc<StoreCounters> {
        Arc::clone(&self.counters)
    }
}

/// Attempts that go with a message.
fn attempts(message: &StoreMessage) -> u64 {
    match message {
        StoreMessage::Batch(batch) => batch.attempts().saturating_add(batch.lost),
        StoreMessage::Sightings(sightings) => sightings.iter().fold(0, |sum, one| sum.saturating_add(one.count)),
        StoreMessage::Devices(_) | StoreMessage::Note(_) => 0,
    }
}
