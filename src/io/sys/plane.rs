//! What every thread of the data plane reads, and how each of them hands over what it saw.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::reply::ReplyPath;
use crate::base::model::{Mono, Now, Outcome};
use crate::engine::ledger::{Batch, FOLDER_SLOTS, Folder};
use crate::engine::resolver::core::{Counters, Waiter};
use crate::engine::resolver::{Cache, CacheKey, Cookies};
use crate::policy::{Hit, Policy};

/// How often what was seen is handed to the ledger.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(250);
/// Misses on their way to the upstream driver.
pub const MISS_QUEUE_MAX: usize = 4_096;

/// Where folded hits go: app wires it to the ledger's bounded queue. It must neither wait nor panic; `false` says that the
/// batch is lost.
pub type HitSink = Arc<dyn Fn(Batch) -> bool + Send + Sync>;

/// What the threads of the data plane share. Nothing in it is ever waited for.
pub struct Plane {
    /// The policy in force; swapped by app, read once a batch.
    pub policy: Arc<ArcSwap<Policy>>,
    /// The answer cache.
    pub cache: Arc<Cache>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// What makes the cookies that clients get.
    pub cookies: Cookies,
    /// Where folded hits go.
    pub hits: HitSink,
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plane").field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// A question that neither policy nor cache answered, on its way to the upstream driver.
#[derive(Debug)]
pub struct Missed {
    /// What is asked.
    pub key: CacheKey,
    /// Who asks, and the way back.
    pub waiter: Waiter<ReplyPath>,
}

/// The policy as one thread reads it: a check of one pointer a batch, no lock.
pub type PolicyReader = arc_swap::Cache<Arc<ArcSwap<Policy>>, Arc<Policy>>;

impl Plane {
    /// A reader of the policy, for one thread.
    #[must_use]
    pub fn reader(&self) -> PolicyReader {
        PolicyReader::new(Arc::clone(&self.policy))
    }
}

/// One thread's folded hits and when they were last handed over.
pub struct Recorder {
    plane: Arc<Plane>,
    folder: Folder,
    /// Blocks since the last flush; a shared counter would be fought over by all workers with every answer.
    blocked: u64,
    flushed: Mono,
}

impl Recorder {
    /// An empty table.
    #[must_use]
    pub fn new(plane: Arc<Plane>) -> Self {
        Self { plane, folder: Folder::new(FOLDER_SLOTS), blocked: 0, flushed: Mono::START }
    }

    /// Records an attempt that `policy` decided.
    pub fn record(&mut self, now: Now, policy: &Arc<Policy>, client: IpAddr, hit: &Hit) {
        if hit.outcome == Outcome::Blocked {
            self.blocked += 1;
        }
        self.folder.record(now.wall, policy, client, hit);
    }

    /// Hands over what was folded, if it is time or the table is nearly full.
    pub fn flush_if_due(&mut self, now: Mono) {
        if now.since(self.flushed) >= FLUSH_INTERVAL || self.folder.is_nearly_full() {
            self.flushed = now;
            self.flush();
        }
    }

    /// Hands over what was folded.
    pub fn flush(&mut self) {
        self.plane.counters.blocked.add(std::mem::take(&mut self.blocked));
        for batch in self.folder.flush() {
            let attempts = batch.attempts();
            if !(self.plane.hits)(batch) {
                self.plane.counters.dropped_hits.add(attempts);
            }
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.flush();
    }
}
