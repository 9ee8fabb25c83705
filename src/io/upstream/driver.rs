//! The task that owns the state machine: it moves misses, bytes and time in, queries and replies out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::exchange::{Event, exchange};
use super::streams::Streams;
use crate::base::model::Now;
use crate::base::model::limits::MESSAGE_OCTETS_MAX;
use crate::engine::resolver::core::{Core, CoreSettings, ExchangeFailure, ExchangeId, Reply};
use crate::engine::resolver::front::{self, Ask, Outcome};
use crate::engine::resolver::{Failure, Transport};
use crate::io::sys::clock;
use crate::io::sys::plane::{FLUSH_INTERVAL, Missed, Plane, PolicyReader, Recorder};
use crate::io::sys::reply::ReplyPath;

/// How long questions in flight may go on after the stop.
pub const DRAIN_TIME: Duration = Duration::from_secs(2);
/// Messages and failures on their way from exchanges to the driver.
const EVENT_QUEUE_MAX: usize = 1_024;
/// Inputs taken before the outputs are dealt with.
const INPUTS_MAX: usize = 64;
/// When nothing is in flight: how long the timer sleeps.
const IDLE: Duration = Duration::from_secs(3_600);

/// Resolves misses until `stop` is cancelled, then for [`DRAIN_TIME`] at most what is in flight; the default servers are those that
/// `servers` has at the time. Everybody who asked gets a reply, if only that there is none.
pub async fn run(
    settings: CoreSettings,
    plane: Arc<Plane>,
    mut misses: mpsc::Receiver<Missed>,
    mut servers: watch::Receiver<Vec<SocketAddr>>,
    stop: CancellationToken,
) {
    let (sender, mut events) = mpsc::channel(EVENT_QUEUE_MAX);
    let mut driver = Driver::new(settings, plane, sender);
    let mut flush = interval(FLUSH_INTERVAL);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut drain_until, mut abandon) = (None, false);
    let (mut missed, mut arrived) = (Vec::with_capacity(INPUTS_MAX), Vec::with_capacity(INPUTS_MAX));
    loop {
        tokio::select! {
            // With nobody left to miss anything, only what is in flight remains.
            count = misses.recv_many(&mut missed, INPUTS_MAX), if drain_until.is_none() => if count == 0 {
                drain_until = Some(Instant::now() + DRAIN_TIME);
            },
            _ = events.recv_many(&mut arrived, INPUTS_MAX) => {}
            () = sleep_until(driver.wake()) => {}
            _ = flush.tick() => {}
            // With nobody left to change them, they stay as they are.
            Ok(()) = servers.changed() => driver.set_servers(servers.borrow_and_update().clone()),
            () = stop.cancelled(), if drain_until.is_none() => {
                misses.close();
                while let Ok(late) = misses.try_recv() {
                    missed.push(late);
                }
                drain_until = Some(Instant::now() + DRAIN_TIME);
            }
            () = sleep_until(drain_until.unwrap_or_else(far)), if drain_until.is_some() => abandon = true,
        }
        driver.step(missed.drain(..), arrived.drain(..), abandon);
        if drain_until.is_some() && driver.core.is_idle() {
            break;
        }
    }
}

struct Driver {
    settings: CoreSettings,
    plane: Arc<Plane>,
    policy: PolicyReader,
    recorder: Recorder,
    core: Core<ReplyPath>,
    streams: Streams,
    /// The tasks of the exchanges over UDP that are listened to.
    tasks: BTreeMap<ExchangeId, AbortHandle>,
    events: mpsc::Sender<Event>,
    /// Where an answer is written before its length is known.
    scratch: Vec<u8>,
}

impl Driver {
    fn new(settings: CoreSettings, plane: Arc<Plane>, events: mpsc::Sender<Event>) -> Self {
        Self {
            core: new_core(&settings, &plane),
            policy: plane.reader(),
            recorder: Recorder::new(Arc::clone(&plane)),
            streams: Streams::new(events.clone(), Arc::clone(&plane.counters)),
            settings,
            plane,
            tasks: BTreeMap::new(),
            events,
            scratch: vec![0; MESSAGE_OCTETS_MAX],
        }
    }

    /// The default servers have changed.
    fn set_servers(&mut self, servers: Vec<SocketAddr>) {
        self.core.set_servers(&servers);
        self.settings.servers = servers;
    }

    /// When the state machine wants to be woken.
    fn wake(&self) -> Instant {
        self.core.poll_timeout().map_or_else(far, |(at, _)| Instant::now() + at.since(clock::mono()))
    }

    /// Feeds inputs and time, and deals with what comes out; with `abandon`, everything in flight ends. After a panic it goes
    /// on with an empty state machine: whoever waited asks again.
    fn step(&mut self, missed: impl Iterator<Item = Missed>, arrived: impl Iterator<Item = Event>, abandon: bool) {
        let turn = AssertUnwindSafe(|| {
            let now = clock::now();
            // Also when there is nothing to judge: a policy that nobody else uses must not be kept alive.
            self.policy.load();
            for Missed { key, waiter } in missed {
                self.core.handle_miss(now.mono, &key, waiter);
            }
            for event in arrived {
                match event {
                    Event::Message(exchange, message) => self.core.handle_response(now.mono, exchange, &message),
                    Event::Failed(exchange, why) => {
                        self.tasks.remove(&exchange);
                        self.core.handle_failure(now.mono, exchange, why);
                    }
                }
            }
            self.core.handle_timeout(now.mono);
            if abandon {
                self.core.abandon(now.mono);
            }
            self.deal(now);
            self.recorder.flush_if_due(now.mono);
        });
        if catch_unwind(turn).is_err() {
            self.plane.counters.worker_restarts.increment();
            tracing::error!("the upstream driver panicked and goes on without what was in flight");
            self.core = new_core(&self.settings, &self.plane);
            self.stop_exchanges();
        }
    }

    fn stop_exchanges(&mut self) {
        // A connection ends when nothing more can be asked on it.
        self.streams = Streams::new(self.events.clone(), Arc::clone(&self.plane.counters));
        let tasks = std::mem::take(&mut self.tasks);
        tasks.into_values().for_each(|task| task.abort());
    }

    /// Deals with every output.
    fn deal(&mut self, now: Now) {
        while let Some(transmit) = self.core.poll_transmit() {
            let id = transmit.exchange;
            match transmit.transport {
                Transport::Udp => {
                    let task = tokio::spawn(exchange(transmit, self.events.clone()));
                    self.tasks.insert(id, task.abort_handle());
                }
                Transport::Tcp => {
                    if self.streams.send(transmit).is_err() {
                        self.core.handle_failure(now.mono, id, ExchangeFailure::Local);
                    }
                }
            }
        }
        while let Some(closed) = self.core.poll_close() {
            if let Some(task) = self.tasks.remove(&closed) {
                task.abort();
            }
        }
        while let Some(reply) = self.core.poll_reply() {
            self.reply(now, reply);
        }
    }

    /// Judges the answer under the policy in force now, and sends what that makes of it.
    fn reply(&mut self, now: Now, reply: Reply<ReplyPath>) {
        let waiter = reply.waiter;
        let cookies = Some((&self.plane.cookies, waiter.token.sender()));
        let ask = Ask { cookies, ..Ask::new(waiter.client, waiter.transport, &waiter.message) };
        let policy = self.policy.load();
        let out = &mut self.scratch;
        let outcome = match reply.result {
            Ok(stored) => front::answer_from(now, policy, &stored, &ask, out),
            Err(failure) => Outcome::Answered { len: front::fail(now, &ask, failure, out), hit: None },
        };
        let len = match outcome {
            Outcome::Answered { len, hit } => {
                if let Some(hit) = hit {
                    self.recorder.record(now, policy, waiter.client, &hit);
                }
                len
            }
            Outcome::Miss(_) | Outcome::Drop(_) => front::fail(now, &ask, Failure::Invalid, out),
        };
        let sent = len > 0 && waiter.token.send(out.get(..len).unwrap_or_default());
        let counters = &self.plane.counters;
        if sent { counters.answered.increment() } else { counters.dropped_send.increment() }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop_exchanges();
    }
}

/// A state machine with randomness of the operating system.
fn new_core(settings: &CoreSettings, plane: &Plane) -> Core<ReplyPath> {
    Core::new(settings, Arc::clone(&plane.cache), Arc::clone(&plane.counters), rand::random())
}

/// A moment that does not come.
fn far() -> Instant {
    Instant::now() + IDLE
}
