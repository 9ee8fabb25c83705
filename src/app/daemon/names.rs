//! Names in the first packets of connections through the gateway: one thread for each queue from the kernel reads them, rules by the
//! policy in force, and tells the ledger.

use crate::base::model::Now;
use crate::engine::gateway::{Inspection, State};
use crate::engine::inspector::{Inline, InlineCounters, Ruling};
use crate::io::gateway::{Queue, QueueError, Resetter, Waiting, Word};
use crate::io::sys::clock;
use crate::io::sys::plane::{Plane, PolicyReader, Recorder};
use serde_json::{Value, json};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a thread waits for packets before it looks up.
const TICK: Duration = Duration::from_millis(100);
/// A thread that was not round for this long stands still; then names are not looked at, and packets pass.
const STANDSTILL: Duration = Duration::from_millis(1_500);

/// What the threads share with whoever asks how they are.
pub(super) struct Names {
    inspection: Inspection,
    /// The epoch whose marks the kernel knows; 0 before there are any.
    epoch: AtomicU64,
    begun: Instant,
    queues: Vec<Beat>,
    stop: AtomicBool,
}

/// How one thread is.
#[derive(Default)]
struct Beat {
    /// When it was last round: milliseconds since all began.
    last_ms: AtomicU64,
    counters: Mutex<InlineCounters>,
    overruns: AtomicU64,
    restarts: AtomicU64,
    resets_failed: AtomicU64,
}

impl Names {
    /// Opens the queues; packets wait in them once the kernel's rules say so.
    pub(super) fn open(inspection: &Inspection) -> Result<(Arc<Self>, Vec<Queue>), QueueError> {
        let numbers = (0..inspection.queues).map(|at| inspection.queue.saturating_add(at));
        let queues: Vec<Queue> = numbers.map(|number| Queue::open(number, TICK)).collect::<Result<_, _>>()?;
        let names = Self {
            inspection: inspection.clone(),
            epoch: AtomicU64::new(0),
            begun: Instant::now(),
            queues: queues.iter().map(|_| Beat::default()).collect(),
            stop: AtomicBool::new(false),
        };
        Ok((Arc::new(names), queues))
    }

    /// Starts the threads.
    pub(super) fn start(self: &Arc<Self>, queues: Vec<Queue>, plane: &Arc<Plane>) -> io::Result<Vec<JoinHandle<()>>> {
        let spawn = |(at, queue)| {
            let (names, plane) = (Arc::clone(self), Arc::clone(plane));
            thread::Builder::new().name(format!("queue-{at}")).spawn(move || Reader::new(&names, at, &plane).run(queue))
        };
        queues.into_iter().enumerate().map(spawn).collect()
    }

    /// The kernel has the rules of this epoch.
    pub(super) fn in_force(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    /// Whether every thread is round again and again.
    pub(super) fn is_alive(&self) -> bool {
        let now = self.now_ms();
        let least = now.saturating_sub(u64::try_from(STANDSTILL.as_millis()).unwrap_or(u64::MAX));
        self.queues.iter().all(|beat| beat.last_ms.load(Ordering::Relaxed) >= least)
    }

    /// Ends the threads.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How it goes, over all queues.
    pub(super) fn status(&self) -> Value {
        let mut all = InlineCounters::default();
        for beat in &self.queues {
            let one = *beat.counters.lock().unwrap_or_else(PoisonError::into_inner);
            all.packets += one.packets;
            all.refused += one.refused;
            all.given_up += one.given_up;
            all.forgotten += one.forgotten;
        }
        let sum =
            |of: fn(&Beat) -> &AtomicU64| self.queues.iter().map(|beat| of(beat).load(Ordering::Relaxed)).sum::<u64>();
        json!({
            "queues": self.queues.len(),
            "alive": self.is_alive(),
            "packets": all.packets,
            "refused": all.refused,
            "given_up": all.given_up,
            "forgotten": all.forgotten,
            "overruns": sum(|beat| &beat.overruns),
            "restarts": sum(|beat| &beat.restarts),
            "resets_failed": sum(|beat| &beat.resets_failed),
        })
    }
}

/// One thread.
struct Reader<'n> {
    names: &'n Names,
    beat: Option<&'n Beat>,
    policy: PolicyReader,
    inline: Inline,
    recorder: Recorder,
    resetter: Option<Resetter>,
}

impl<'n> Reader<'n> {
    fn new(names: &'n Names, at: usize, plane: &Arc<Plane>) -> Self {
        let resetter = Resetter::open();
        if let Err(error) = &resetter {
            tracing::warn!(%error, "servers are not told when a connection is refused: it needs CAP_NET_RAW");
        }
        Self {
            names,
            beat: names.queues.get(at),
            policy: plane.reader(),
            inline: Inline::new(),
            recorder: Recorder::new(Arc::clone(plane)),
            resetter: resetter.ok(),
        }
    }

    fn run(mut self, mut queue: Queue) {
        while !self.names.stop.load(Ordering::Relaxed) {
            let now = clock::now();
            // Also when nothing comes: an idle thread would keep a policy alive that nobody else uses.
            self.policy.load();
            if let Err(error) = queue.read(|waiting| self.word(waiting)) {
                tracing::warn!(%error, "reading packets that wait for our word");
                thread::sleep(TICK);
            }
            self.recorder.flush_if_due(now.mono);
            if let Some(beat) = self.beat {
                beat.last_ms.store(self.names.now_ms(), Ordering::Relaxed);
                beat.overruns.store(queue.overruns(), Ordering::Relaxed);
                *beat.counters.lock().unwrap_or_else(PoisonError::into_inner) = self.inline.counters();
            }
        }
    }

    /// What becomes of a packet. Whatever goes wrong, it passes.
    fn word(&mut self, waiting: Waiting<'_>) -> Word {
        let now = clock::now();
        let ruled = catch_unwind(AssertUnwindSafe(|| self.rule(now, waiting)));
        let ruling = ruled.unwrap_or_else(|_| {
            tracing::error!("reading a packet panicked; it passed, and its connection is forgotten");
            // What a panic leaves behind is nobody's any more.
            self.inline = Inline::new();
            self.count(|beat| &beat.restarts);
            Ruling::Pass
        });
        let state = match ruling {
            Ruling::Pass => return Word::Pass,
            Ruling::Look => State::Looking,
            Ruling::Let => State::Passed,
            Ruling::Refuse => State::Refused,
        };
        if ruling == Ruling::Refuse && self.resetter.as_ref().is_none_or(|to| to.send(waiting.octets).is_err()) {
            self.count(|beat| &beat.resets_failed);
        }
        match self.names.epoch.load(Ordering::Relaxed) {
            0 => Word::Pass,
            epoch => Word::Mark(self.names.inspection.mask.bits(), self.names.inspection.mask.of(epoch, state)),
        }
    }

    fn rule(&mut self, now: Now, waiting: Waiting<'_>) -> Ruling {
        let policy = self.policy.load();
        let (inline, recorder) = (&mut self.inline, &mut self.recorder);
        inline.handle_packet(now.mono, waiting.octets, waiting.is_offloaded, policy, &mut |client, hit| {
            recorder.record(now, policy, client, hit);
        })
    }

    fn count(&self, counter: impl Fn(&Beat) -> &AtomicU64) {
        if let Some(beat) = self.beat {
            counter(beat).fetch_add(1, Ordering::Relaxed);
        }
    }
}
