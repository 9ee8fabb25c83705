//! Addresses that listed names lead to: learned from answers as they come, kept in the kernel for a time, told to whoever asks.
//!
//! One thread takes what the resolver's cache was given, what inspected interfaces saw, and what questions of our own came to; it alone
//! changes the sets in the kernel. Where it is asked for, another thread asks our upstream where blocked names lead.

use super::activate::Activator;
use super::upstreams;
use crate::base::name::Name;
use crate::engine::gateway::{About, Facts, Learned, Source, Taught, Use, blocked_names};
use crate::engine::resolver::Cache;
use crate::io::gateway::{KernelError, Teaching};
use crate::io::sys::clock;
use crate::io::upstream::lookup;
use crate::policy::{Hit, Policy};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Answers that wait to be taken.
const HEARD_MAX: usize = 4_096;
/// How long the thread waits for answers before it looks up.
const TICK: Duration = Duration::from_millis(100);
/// How often the kernel's sets are brought to what was learned, at most.
const TEACH_EVERY: Duration = Duration::from_millis(250);
/// How often it is asked what the kernel has.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Names that are asked for in one round.
const ASKED_MAX: usize = 4_096;
/// The time between two of them.
const PACE: Duration = Duration::from_millis(50);

/// An answer, as it is told from elsewhere.
#[derive(Debug)]
enum Heard {
    /// A response that somebody else gave.
    Message(Box<[u8]>),
    /// What a question of our own came to.
    Answer(Name, Vec<IpAddr>),
}

/// Where whoever inspects an interface tells of answers.
#[derive(Clone, Debug)]
pub(super) struct WireTap {
    heard: SyncSender<Heard>,
    dropped: Arc<AtomicU64>,
}

impl WireTap {
    /// Tells of a response without waiting.
    pub(super) fn tell(&self, message: &[u8]) {
        if self.heard.try_send(Heard::Message(message.into())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What was learned, and how it goes.
pub(super) struct Learning {
    activator: Arc<Activator>,
    learned: Mutex<Learned>,
    /// What this machine needs, as it was known when the kernel was told last.
    facts: Mutex<Arc<Facts>>,
    every: Option<Duration>,
    tap: WireTap,
    heard: Mutex<Option<Receiver<Heard>>>,
    /// Whether the tables are others than they were.
    is_new: AtomicBool,
    /// Addresses in the kernel that pass, and that are refused.
    taught: [AtomicU64; 2],
    failed: AtomicU64,
    asked: AtomicU64,
    unasked: AtomicU64,
}

/// What the operator wants, as far as it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing is.
    Nothing,
    /// Packets are recorded.
    Observe,
    /// Packets are refused where that is allowed.
    Refuse,
}

impl Learning {
    /// One that knows nothing.
    pub(super) fn new(activator: &Arc<Activator>, lifetime: Duration, every: Option<Duration>) -> Self {
        let (heard, receiver) = sync_channel(HEARD_MAX);
        Self {
            activator: Arc::clone(activator),
            learned: Mutex::new(Learned::new(lifetime)),
            facts: Mutex::default(),
            every,
            tap: WireTap { heard, dropped: Arc::default() },
            heard: Mutex::new(Some(receiver)),
            is_new: AtomicBool::new(true),
            taught: Default::default(),
            failed: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            unasked: AtomicU64::new(0),
        }
    }

    /// Where others tell of answers.
    pub(super) fn tap(&self) -> WireTap {
        self.tap.clone()
    }

    /// The kernel was told: what this machine needs as of now, and the sets have to be looked at.
    pub(super) fn in_force(&self, facts: Option<Facts>) {
        if let Some(facts) = facts {
            *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(facts);
        }
        self.is_new.store(true, Ordering::Relaxed);
    }

    /// Takes answers and teaches the kernel, until `stop`; `wanted` says what is in force.
    pub(super) fn learn(&self, cache: &Cache, mut teaching: Teaching, stop: &AtomicBool, wanted: impl Fn() -> Wanted) {
        let Some(heard) = self.heard.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let (mut taught_at, mut looked_at) = (Instant::now(), Instant::now());
        let (mut is_due, mut epoch) = (true, 0);
        while !stop.load(Ordering::Relaxed) {
            let first = match heard.recv_timeout(TICK) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                // The tap that this holds is never closed.
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let policy = self.activator.policy();
            is_due |= self.hear(&policy, first.into_iter().chain(heard.try_iter().take(HEARD_MAX)), cache);
            is_due |= std::mem::replace(&mut epoch, policy.epoch()) != policy.epoch();
            let look = self.is_new.load(Ordering::Relaxed) || looked_at.elapsed() >= LOOK_EVERY;
            if taught_at.elapsed() < TEACH_EVERY || !(is_due || look) {
                continue;
            }
            (taught_at, is_due) = (Instant::now(), false);
            if look {
                looked_at = Instant::now();
                self.is_new.store(false, Ordering::Relaxed);
            }
            if let Err(error) = self.teach(&policy, &mut teaching, wanted(), look) {
                self.failed.fetch_add(1, Ordering::Relaxed);
                // The tables may be gone until they are mended.
                self.is_new.store(true, Ordering::Relaxed);
                tracing::debug!(%error, "learned addresses do not get into the kernel");
            }
        }
    }

    /// Takes what came; whether there was anything.
    fn hear(&self, policy: &Policy, heard: impl Iterator<Item = Heard>, cache: &Cache) -> bool {
        let (answers, dropped) = cache.take_told();
        self.tap.dropped.fetch_add(dropped, Ordering::Relaxed);
        let now = clock::now();
        let (mut learned, mut any) = (self.learned(), !answers.is_empty());
        for answer in answers {
            learned.handle_message(now, policy, answer.octets(), Source::Resolver);
        }
        for one in heard {
            any = true;
            match one {
                Heard::Message(message) => learned.handle_message(now, policy, &message, Source::Wire),
                Heard::Answer(name, addresses) => {
                    learned.handle_answer(now, policy, &[name], &addresses, Source::Schedule);
                }
            }
        }
        any
    }

    fn teach(&self, policy: &Policy, teaching: &mut Teaching, wanted: Wanted, look: bool) -> Result<(), KernelError> {
        let (now, facts) = (clock::mono(), self.facts());
        let taught = match wanted {
            Wanted::Nothing => Taught::new(),
            _ => {
                let mut learned = self.learned();
                learned.forget(now);
                learned.taught(now, policy, &facts, wanted == Wanted::Refuse)
            }
        };
        let told = if wanted == Wanted::Nothing { 0 } else { teaching.sync(now, &taught, look)? };
        let refused = taught.values().filter(|(is_refused, _)| *is_refused).count();
        for (figure, count) in self.taught.iter().zip([taught.len() - refused, refused]) {
            figure.store(count as u64, Ordering::Relaxed);
        }
        if told > 0 {
            tracing::debug!(told, "learned addresses in the kernel have changed");
        }
        Ok(())
    }

    /// Whether the config wants questions of our own.
    pub(super) const fn asks(&self) -> bool {
        self.every.is_some()
    }

    /// Asks our upstream where blocked names lead, again and again, where the config wants that.
    pub(super) fn ask(&self, stop: &AtomicBool) {
        let Some(every) = self.every else { return };
        let mut due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(TICK);
            if due <= Instant::now() {
                due = Instant::now() + every;
                self.round(stop);
            }
        }
    }

    fn round(&self, stop: &AtomicBool) {
        let names = blocked_names(&self.activator.policy());
        self.unasked.store(names.len().saturating_sub(ASKED_MAX) as u64, Ordering::Relaxed);
        let servers = self.activator.with_config(|config| upstreams(config).0);
        for name in names.into_iter().take(ASKED_MAX) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let addresses = lookup::addresses(&servers, &name.to_string());
            self.asked.fetch_add(1, Ordering::Relaxed);
            if !addresses.is_empty() && self.tap.heard.try_send(Heard::Answer(name, addresses)).is_err() {
                self.tap.dropped.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(PACE);
        }
    }

    /// The attempt that a packet to a learned address is.
    pub(super) fn hit(&self, policy: &Policy, destination: IpAddr, port: Option<u16>, refused: bool) -> Option<Hit> {
        self.learned().hit(policy, destination, port, refused)
    }

    /// What is known of an address, for people and programs.
    pub(super) fn about(&self, address: IpAddr, wanted: Wanted) -> Value {
        let about = self.learned().about(
            clock::mono(),
            &self.activator.policy(),
            &self.facts(),
            wanted == Wanted::Refuse,
            address,
        );
        about.map_or(Value::Null, |about| object(address, &about))
    }

    /// How it goes.
    pub(super) fn status(&self) -> Value {
        let (learned, count) = (self.learned(), |counter: &AtomicU64| counter.load(Ordering::Relaxed));
        let (counters, (addresses, others), [observed, refused]) = (learned.counters(), learned.len(), &self.taught);
        json!({
            "addresses": addresses,
            "observed": count(observed),
            "refused": count(refused),
            "others": others,
            "answers": counters.answers,
            "dropped": counters.dropped + count(&self.tap.dropped),
            "forgotten": counters.forgotten,
            "asked": count(&self.asked),
            "unasked": count(&self.unasked),
            "failed": count(&self.failed),
        })
    }

    fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        // Whoever panicked with the lock left whole entries.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn object(address: IpAddr, about: &About) -> Value {
    let (used, why) = match &about.used {
        Use::Observed => ("observed", None),
        Use::Refused => ("refused", None),
        Use::Unused(why) => ("unused", Some(why.as_str())),
    };
    let names = about.teachers.iter().map(|teacher| {
        json!({
            "name": teacher.name.to_string(),
            "source": teacher.source.as_str(),
            "first": teacher.first.to_string(),
            "last": teacher.last.to_string(),
            "count": teacher.count,
        })
    });
    json!({
        "address": address,
        "used": used,
        "why": why,
        "left_s": about.left.as_secs(),
        "names": names.collect::<Vec<_>>(),
    })
}
