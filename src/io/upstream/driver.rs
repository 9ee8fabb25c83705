//! The task that owns the state machine: it moves misses, bytes and time in, queries and replies out.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::pin;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, Sleep, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::sockets::{Sockets, meaning};
use super::streams::{Event, Streams};
use crate::base::model::Now;
use crate::base::model::limits::MESSAGE_OCTETS_MAX;
use crate::engine::resolver::core::{Core, CoreSettings, ExchangeFailure, Reply};
use crate::engine::resolver::front::{self, Ask, Outcome};
use crate::engine::resolver::{Failure, Transport};
use crate::io::sys::clock;
use crate::io::sys::plane::{FLUSH_INTERVAL, Missed, Plane, PolicyReader, Recorder};
use crate::io::sys::reply::{Replies, ReplyPath};

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
///
/// # Errors
/// The kernel's, when it has no descriptor left to begin with.
pub async fn run(
    settings: CoreSettings,
    plane: Arc<Plane>,
    mut misses: mpsc::Receiver<Missed>,
    mut servers: watch::Receiver<Vec<SocketAddr>>,
    stop: CancellationToken,
) -> io::Result<()> {
    let (sender, mut events) = mpsc::channel(EVENT_QUEUE_MAX);
    let mut driver = Driver::new(settings, plane, sender)?;
    let mut flush = interval(FLUSH_INTERVAL);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut draining, mut abandon) = (false, false);
    let (mut missed, mut arrived) = (Vec::with_capacity(INPUTS_MAX), Vec::with_capacity(INPUTS_MAX));
    // Made once: to make and drop them with every turn would cost more than what most turns do.
    let (wake, drained, stopped) = (sleep_until(far()), sleep_until(far()), stop.cancelled());
    pin!(wake, drained, stopped);
    loop {
        driver.set_wake(wake.as_mut());
        tokio::select! {
            // With nobody left to miss anything, only what is in flight remains.
            count = misses.recv_many(&mut missed, INPUTS_MAX), if !draining => draining = count == 0,
            _ = events.recv_many(&mut arrived, INPUTS_MAX) => {}
            () = driver.sockets.wait() => {}
            () = wake.as_mut() => {}
            _ = flush.tick() => {}
            // With nobody left to change them, they stay as they are.
            Ok(()) = servers.changed() => driver.set_servers(servers.borrow_and_update().clone()),
            () = stopped.as_mut(), if !draining => {
                misses.close();
                while let Ok(late) = misses.try_recv() {
                    missed.push(late);
                }
                draining = true;
            }
            () = drained.as_mut() => abandon = true,
        }
        if draining && drained.deadline() > Instant::now() + DRAIN_TIME {
            drained.as_mut().reset(Instant::now() + DRAIN_TIME);
        }
        driver.step(missed.drain(..), arrived.drain(..), abandon);
        if draining && driver.core.is_idle() {
            return Ok(());
        }
    }
}

struct Driver {
    settings: CoreSettings,
    plane: Arc<Plane>,
    policy: PolicyReader,
    recorder: Recorder,
    core: Core<ReplyPath>,
    sockets: Sockets,
    streams: Streams,
    events: mpsc::Sender<Event>,
    replies: Replies,
    /// Where an answer is written before its length is known.
    scratch: Vec<u8>,
}

impl Driver {
    fn new(settings: CoreSettings, plane: Arc<Plane>, events: mpsc::Sender<Event>) -> io::Result<Self> {
        Ok(Self {
            core: new_core(&settings, &plane),
            policy: plane.reader(),
            recorder: Recorder::new(Arc::clone(&plane)),
            sockets: Sockets::new()?,
            streams: Streams::new(events.clone(), Arc::clone(&plane.counters)),
            settings,
            plane,
            events,
            replies: Replies::default(),
            scratch: vec![0; MESSAGE_OCTETS_MAX],
        })
    }

    /// The default servers have changed.
    fn set_servers(&mut self, servers: Vec<SocketAddr>) {
        self.core.set_servers(&servers);
        self.settings.servers = servers;
    }

    /// Sees to it that the timer ends when the state machine wants to be woken, or before: one that ends for nothing is set again, and
    /// costs less than one that is set with every question.
    fn set_wake(&self, timer: Pin<&mut Sleep>) {
        let wake = self.core.poll_timeout().map_or_else(far, |(at, _)| Instant::now() + at.since(clock::mono()));
        if wake < timer.deadline() || timer.is_elapsed() {
            timer.reset(wake);
        }
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
                    Event::Failed(exchange, why) => self.core.handle_failure(now.mono, exchange, why),
                }
            }
            self.sockets.receive(|exchange, message| match message {
                Ok(message) => self.core.handle_response(now.mono, exchange, message),
                Err(why) => self.core.handle_failure(now.mono, exchange, why),
            });
            self.core.handle_timeout(now.mono);
            if abandon {
                self.core.abandon(now.mono);
            }
            self.deal(now);
            self.sockets.tidy(now.mono);
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
        self.sockets.clear();
        // A connection ends when nothing more can be asked on it.
        self.streams = Streams::new(self.events.clone(), Arc::clone(&self.plane.counters));
    }

    /// Deals with every output.
    fn deal(&mut self, now: Now) {
        while let Some(transmit) = self.core.poll_transmit() {
            let (id, server) = (transmit.exchange, transmit.server);
            let sent = match transmit.transport {
                Transport::Udp => self.sockets.send(now.mono, &transmit).map_err(|error| {
                    tracing::debug!(%error, %server, "an upstream exchange broke down");
                    meaning(&error)
                }),
                Transport::Tcp => self.streams.send(transmit).map_err(|_| ExchangeFailure::Local),
            };
            if let Err(why) = sent {
                self.core.handle_failure(now.mono, id, why);
            }
        }
        while let Some(closed) = self.core.poll_close() {
            self.sockets.close(closed);
        }
        while let Some(reply) = self.core.poll_reply() {
            self.reply(now, reply);
        }
        let sent = self.replies.flush();
        self.plane.counters.answered.add(sent.sent as u64);
        self.plane.counters.dropped_send.add(sent.refused as u64);
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
        match out.get(..len) {
            Some(message) if len > 0 => self.replies.add(waiter.token, message),
            _ => self.plane.counters.dropped_send.increment(),
        }
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
