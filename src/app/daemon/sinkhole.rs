//! The sinkhole while the daemon runs: what it hears is judged by the policy in force, folded, and handed to the ledger.

use super::activate::Activator;
use crate::app::config::Config;
use crate::base::model::{Destination, Sighting};
use crate::engine::inspector::{Openings, Sunk};
use crate::io::listen::{Acl, Networks};
use crate::io::sinkhole::{self as driver, Contact, SinkholeError, Sockets};
use crate::io::sys::plane::FLUSH_INTERVAL;
use crate::policy::Policy;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Kinds of attempts that wait for the next flush; beyond, attempts are lost and counted.
const FOLDED_MAX: usize = 8_192;

/// Opens every address, so that one in use starts nothing.
pub(super) fn open(config: &Config) -> Result<Vec<Sockets>, SinkholeError> {
    config.sinkhole_listen.iter().map(|address| driver::open(*address)).collect()
}

/// What makes two attempts one kind.
type Key = (IpAddr, Option<u16>, String, Option<Arc<str>>);

/// The sinkhole's part of the daemon.
pub(super) struct Sinkhole {
    driver: Arc<driver::Sinkhole>,
    listen: Vec<SocketAddr>,
    heard: Arc<Heard>,
}

/// What was heard and is not handed over yet.
struct Heard {
    activator: Arc<Activator>,
    /// By the policy in force when somebody last connected; let go with that policy.
    openings: Mutex<Option<Openings>>,
    folded: Mutex<BTreeMap<Key, Sighting>>,
    attempts: AtomicU64,
    unlisted: AtomicU64,
    nameless: AtomicU64,
    lost: AtomicU64,
}

impl Heard {
    fn take(&self, contact: &Contact) {
        let policy = self.activator.policy();
        self.let_go(&policy);
        let mut openings = self.openings.lock().unwrap_or_else(PoisonError::into_inner);
        let judge = openings.get_or_insert_with(|| Openings::new(policy));
        let sunk = judge.judge(contact.at, contact.client, contact.local, &contact.first);
        drop(openings);
        let counter = match sunk {
            Sunk::Attempt(sighting) => {
                self.fold(*sighting);
                &self.attempts
            }
            Sunk::Unlisted => &self.unlisted,
            Sunk::Nameless => &self.nameless,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets go of what judges by another policy than the one in force: nobody may connect for days, and its memory waits for that.
    fn let_go(&self, policy: &Policy) {
        let mut openings = self.openings.lock().unwrap_or_else(PoisonError::into_inner);
        drop(openings.take_if(|openings| openings.policy().epoch() != policy.epoch()));
    }

    fn fold(&self, sighting: Sighting) {
        let destination = match &sighting.destination {
            Destination::Name(name) => name.to_string(),
            other => other.to_string(),
        };
        let key = (sighting.client, sighting.port, destination, sighting.evidence.clone());
        let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        if folded.len() >= FOLDED_MAX && !folded.contains_key(&key) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match folded.get_mut(&key).filter(|held| held.policy == sighting.policy) {
            Some(held) => (held.last, held.count) = (sighting.last, held.count.saturating_add(1)),
            None => drop(folded.insert(key, sighting)),
        }
    }

    fn flush(&self) {
        self.let_go(&self.activator.policy());
        let folded = std::mem::take(&mut *self.folded.lock().unwrap_or_else(PoisonError::into_inner));
        if !folded.is_empty() {
            // What there is no room for the ledger counts as lost.
            self.activator.record_sightings(folded.into_values().collect());
        }
    }
}

impl Sinkhole {
    /// One that serves nothing yet. Who may ask us may connect, and so may the clients of the gateway.
    pub(super) fn new(activator: &Arc<Activator>, sockets: &[Sockets], networks: Networks) -> Arc<Self> {
        let heard = Arc::new(Heard {
            activator: Arc::clone(activator),
            openings: Mutex::default(),
            folded: Mutex::default(),
            attempts: AtomicU64::new(0),
            unlisted: AtomicU64::new(0),
            nameless: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let acl = activator.with_config(|config| Acl::new(config.allow.iter().copied())).and(networks);
        let hears = Arc::clone(&heard);
        let driver = driver::Sinkhole::new(
            Box::new(move |client| acl.allows(client)),
            Box::new(move |contact: Contact| hears.take(&contact)),
        );
        let listen = sockets.iter().map(|sockets| sockets.address).collect();
        Arc::new(Self { driver: Arc::new(driver), listen, heard })
    }

    /// Where it takes connections.
    pub(super) fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Serves one address until `stop` is cancelled.
    pub(super) fn serve(
        &self,
        sockets: Sockets,
        stop: CancellationToken,
    ) -> impl Future<Output = io::Result<()>> + use<> {
        Arc::clone(&self.driver).serve(sockets, stop)
    }

    /// Hands over what was heard, again and again until `stop` is cancelled, and once more.
    pub(super) async fn flush(self: Arc<Self>, stop: CancellationToken) {
        let mut due = interval(FLUSH_INTERVAL);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = due.tick() => {}
            }
            self.heard.flush();
        }
    }

    /// How it goes; nothing where there is none.
    pub(super) fn status(&self) -> Option<Value> {
        if self.listen.is_empty() {
            return None;
        }
        let count = |counter: &AtomicU64| Value::from(counter.load(Ordering::Relaxed));
        let mut counters: Map<String, Value> = self
            .driver
            .counters()
            .snapshot()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect();
        counters.insert("attempts".to_owned(), count(&self.heard.attempts));
        counters.insert("unlisted".to_owned(), count(&self.heard.unlisted));
        counters.insert("nameless".to_owned(), count(&self.heard.nameless));
        counters.insert("lost".to_owned(), count(&self.heard.lost));
        Some(json!({ "listen": self.listen, "counters": counters }))
    }
}
