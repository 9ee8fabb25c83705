//! Following lists from git while the daemon runs: one source at a time, on a thread of its own, so that nothing else ever waits
//! for a remote.

use super::activate::{Activator, Alarm};
use crate::app::sync::{Build, Came, Done, Feed, Place, Wish, feeds, find, step};
use crate::app::time::believed;
use crate::base::model::Wall;
use crate::io::sync::Progress;
use crate::io::sync::schedule::next_due;
use crate::io::upstream::lookup;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::watch;

/// How often the thread looks whether something is due: a list that a reload brings is fetched within this time.
const LOOK: Duration = Duration::from_millis(500);
/// The longest that the first look of a start is put off, so that boxes started together do not ask together.
const FIRST_MAX: Duration = Duration::from_secs(30);

/// What is known of a feed since the start.
#[derive(Clone, Debug)]
struct Seen {
    checked: Option<Wall>,
    next: Wall,
    failures: u32,
    refused: Option<String>,
}

/// Follows every feed of the config in force.
pub(super) struct Follower {
    activator: Arc<Activator>,
    servers: watch::Receiver<Vec<SocketAddr>>,
    /// One wish at a time; whoever comes second waits.
    one: Mutex<()>,
    seen: Mutex<BTreeMap<String, Seen>>,
    /// The feed that is being fetched, and how far it is.
    fetching: Mutex<Option<(String, Progress)>>,
}

impl Follower {
    pub(super) fn new(activator: Arc<Activator>, servers: watch::Receiver<Vec<SocketAddr>>) -> Self {
        Self { activator, servers, one: Mutex::new(()), seen: Mutex::new(BTreeMap::new()), fetching: Mutex::new(None) }
    }

    /// Starts the thread `sync`. It ends with the process: a sync that is cut off leaves the old list or the new one.
    pub(super) fn start(self: &Arc<Self>) -> io::Result<()> {
        let follower = Arc::clone(self);
        thread::Builder::new().name("sync".to_owned()).spawn(move || {
            loop {
                if catch_unwind(AssertUnwindSafe(|| follower.turn())).is_err() {
                    tracing::error!("the sync of a list panicked; the lists stay as they are");
                }
                thread::sleep(LOOK);
            }
        })?;
        Ok(())
    }

    /// Does what is due.
    fn turn(&self) {
        let feeds = self.activator.with_config(feeds);
        self.forget(&feeds);
        for feed in &feeds {
            if self.is_due(feed) {
                let done = self.one(feed, &Wish::Check);
                if done.came == Came::Taken {
                    tracing::info!(list = %feed.id, "a list has changed");
                }
            }
        }
    }

    /// Does what a command wishes, of one list's feed or of all.
    pub(super) fn wish(&self, list: Option<&str>, wish: &Wish) -> Result<Value, String> {
        let feeds = self.activator.with_config(feeds);
        let wanted: Vec<&Feed> = match list {
            Some(list) => vec![find(&feeds, list)?],
            None => feeds.iter().collect(),
        };
        let done: Vec<Value> = wanted.into_iter().map(|feed| self.one(feed, wish).object()).collect();
        Ok(json!({ "lists": done }))
    }

    /// Warnings of all feeds.
    pub(super) fn warnings(&self) -> Vec<String> {
        let now = believed(None).at;
        self.activator.with_config(feeds).iter().filter_map(|feed| feed.warning(now)).collect()
    }

    /// When each feed was looked at, when it is next, and what was refused.
    pub(super) fn objects(&self) -> Vec<Value> {
        let object = |(id, seen): (&String, &Seen)| {
            json!({
                "id": id,
                "checked": seen.checked.map(|at| at.to_string()),
                "next": seen.next.to_string(),
                "refused": seen.refused,
            })
        };
        self.seen().iter().map(object).collect()
    }

    /// What is being fetched now, and how far it is.
    pub(super) fn fetching(&self) -> Option<Value> {
        let fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, progress) = fetching.as_ref()?;
        Some(json!({ "id": id, "bytes": progress.bytes, "seconds": progress.elapsed.as_secs() }))
    }

    fn set_fetching(&self, fetching: Option<(String, Progress)>) {
        *self.fetching.lock().unwrap_or_else(PoisonError::into_inner) = fetching;
    }

    fn one(&self, feed: &Feed, wish: &Wish) -> Done {
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        let done = step(feed, wish, self);
        self.set_fetching(None);
        let is_check = *wish == Wish::Check;
        if is_check || done.came == Came::Taken {
            let alarm = done
                .refused
                .as_ref()
                .map(|why| format!("list {}: {why}; what was in force stays in force", feed.lists.join(", ")));
            self.activator.set_alarm(Alarm::List(feed.id.clone()), alarm);
        }
        if is_check {
            let now = believed(None).at;
            let mut seen = self.seen();
            let before = seen.get(&feed.id).map_or(0, |seen| seen.failures);
            let failures = if done.refused.is_some() { before.saturating_add(1) } else { 0 };
            let next = next_due(feed.every, now, failures, rand::random());
            let refused = done.refused.clone();
            seen.insert(feed.id.clone(), Seen { checked: Some(now), next, failures, refused });
        }
        done
    }

    fn is_due(&self, feed: &Feed) -> bool {
        let now = believed(None).at;
        let mut seen = self.seen();
        let seen = seen.entry(feed.id.clone()).or_insert_with(|| {
            // A list that has nothing yet is wanted at once.
            let has_some = matches!(feed.source.record(), Ok(Some(_)));
            let most = if has_some { (feed.every / 10).min(FIRST_MAX) } else { Duration::ZERO };
            let wait = most.mul_f64(rand::random());
            let next = now.checked_add(wait).unwrap_or(now);
            Seen { checked: None, next, failures: 0, refused: None }
        });
        // A clock that was set back does not stop the following for longer than a period.
        let latest = now.checked_add(feed.every.saturating_mul(2)).unwrap_or(Wall::MAX);
        seen.next <= now || seen.next > latest
    }

    /// Drops what is known of feeds that have left the config, and their alarms.
    fn forget(&self, feeds: &[Feed]) {
        let gone: Vec<String> =
            self.seen().keys().filter(|id| !feeds.iter().any(|feed| feed.id == **id)).cloned().collect();
        for id in gone {
            self.seen().remove(&id);
            self.activator.set_alarm(Alarm::List(id), None);
        }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place for Follower {
    fn put_in_force(&self, build: &mut Build<'_>) -> Result<(), String> {
        self.activator.replace(build)
    }

    fn resolve(&self, host: &str) -> Vec<IpAddr> {
        // Not held while they are asked: whoever changes them does not wait.
        let servers = self.servers.borrow().clone();
        lookup::addresses(&servers, host)
    }

    fn progress(&self, feed: &Feed, progress: Progress) {
        tracing::debug!(list = %feed.id, bytes = progress.bytes, "fetching");
        self.set_fetching(Some((feed.id.clone(), progress)));
    }
}
