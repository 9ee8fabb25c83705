//! The inspector's engine with its way to the ledger, for one thread: frames in, attempts recorded. Whoever has packets uses it, be
//! it from an interface or from a queue of the kernel.

use super::gateway::Gateway;
use crate::base::model::{Channel, Destination, Mono, Now, Origin, Sighting, is_tester};
use crate::base::wire::packet::Frame;
use crate::engine::inspector::{Attempt, Blind, Elsewhere, Judge, Reader, What};
use crate::io::gateway::System;
use crate::io::store::{Sender, StoreMessage};
use crate::io::sys::clock;
use crate::io::sys::plane::{Plane, PolicyReader, Recorder};
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How often a thread that inspects looks at the policy and hands over what it saw: well within the second that a kill may cost.
pub(super) const TURN: Duration = Duration::from_millis(100);
/// Sightings by payload forms that wait for the next turn; they are rare.
const FORMS_MAX: usize = 1_024;

/// What inspecting threads share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) plane: Arc<Plane>,
    pub(super) ledger: Sender,
    /// Where the resolver answers.
    listen: Vec<SocketAddr>,
    /// Where the sinkhole takes connections.
    sinkhole: Vec<SocketAddr>,
    /// What others record; swapped when the machine or the config changes.
    pub(super) elsewhere: Arc<ArcSwap<Elsewhere>>,
}

impl Shared {
    pub(super) fn new(plane: &Arc<Plane>, ledger: Sender, listen: &[SocketAddr], sinkhole: &[SocketAddr]) -> Self {
        let (listen, sinkhole) = (listen.to_vec(), sinkhole.to_vec());
        Self { plane: Arc::clone(plane), ledger, listen, sinkhole, elsewhere: Arc::default() }
    }

    /// Looks what the resolver and the gateway record. To be called now and then; it may wait for the gateway.
    pub(super) fn look(&self, gateway: Option<&Gateway>) {
        let (listen, sinkhole) = (self.listen.clone(), self.sinkhole.clone());
        let elsewhere = Elsewhere { listen, sinkhole, ..of_machine(gateway) };
        if **self.elsewhere.load() != elsewhere {
            self.elsewhere.store(Arc::new(elsewhere));
        }
    }
}

/// What does not depend on where we answer.
fn of_machine(gateway: Option<&Gateway>) -> Elsewhere {
    let interfaces = System::look().interfaces;
    let own = interfaces.own.iter().map(|own| own.to_canonical()).collect();
    let Some(enforced) = gateway.and_then(Gateway::enforced) else {
        return Elsewhere { own, ..Elsewhere::default() };
    };
    let redirect = enforced.redirect.map(|redirect| {
        let internal = redirect.internal.into_iter().chain(interfaces.inside);
        (internal.collect(), redirect.servers)
    });
    Elsewhere { own, redirect, kernel_logs: (true, enforced.observe), ..Elsewhere::default() }
}

/// The engine of one thread.
pub(super) struct Inspection {
    shared: Shared,
    reader: Reader,
    judge: Judge,
    policy: PolicyReader,
    recorder: Recorder,
    elsewhere: Arc<Elsewhere>,
    forms: Vec<Sighting>,
    now: Now,
    attempts: u64,
    lost: u64,
}

impl Inspection {
    /// One that has seen nothing.
    pub(super) fn new(shared: &Shared) -> Self {
        let elsewhere = shared.elsewhere.load_full();
        let mut judge = Judge::live(shared.plane.policy.load_full());
        judge.set_elsewhere((*elsewhere).clone());
        Self {
            reader: Reader::new(),
            judge,
            policy: shared.plane.reader(),
            recorder: Recorder::new(Arc::clone(&shared.plane)),
            elsewhere,
            forms: Vec::new(),
            now: clock::now(),
            attempts: 0,
            lost: 0,
            shared: shared.clone(),
        }
    }

    /// Reads a frame. What it shows to be an attempt is told to `see`, which may change what became of it, and recorded.
    pub(super) fn frame(&mut self, frame: &Frame<'_>, see: &mut dyn FnMut(&mut Attempt)) {
        let judge = &mut self.judge;
        self.reader
            .handle_frame(Mono::from_nanos(frame.time_ns), frame, &mut |observation| judge.observe(&observation));
        self.record(see);
    }

    /// To be called each [`TURN`] between frames: another policy, time that has passed, and what was seen to the ledger.
    pub(super) fn turn(&mut self, see: &mut dyn FnMut(&mut Attempt)) {
        self.now = clock::now();
        let elsewhere = self.shared.elsewhere.load();
        if !Arc::ptr_eq(&elsewhere, &self.elsewhere) {
            self.elsewhere = Arc::clone(&elsewhere);
            self.judge.set_elsewhere((**elsewhere).clone());
        }
        self.judge.handle_timeout(u64::try_from(self.now.wall.as_nanosecond()).unwrap_or_default());
        self.judge.set_policy(self.policy.load());
        self.record(see);
        self.recorder.flush_if_due(self.now.mono);
        if !self.forms.is_empty() {
            let forms = std::mem::take(&mut self.forms);
            self.shared.ledger.try_send(StoreMessage::Sightings(forms));
        }
    }

    fn record(&mut self, see: &mut dyn FnMut(&mut Attempt)) {
        while let Some(mut attempt) = self.judge.poll_attempt() {
            see(&mut attempt);
            self.attempts += 1;
            let Attempt { ends, policy, what } = attempt;
            match what {
                What::Rule(hit) => self.recorder.record(self.now, &policy, ends.src, &hit),
                What::Forms(..) if self.forms.len() >= FORMS_MAX => self.lost += 1,
                What::Forms(rule, verdict, outcome, evidence) => self.forms.push(Sighting {
                    client: ends.src.to_canonical(),
                    origin: if is_tester(ends.src) { Origin::SelfTest } else { Origin::Client },
                    channel: Channel::Signature,
                    destination: Destination::Address(ends.dst),
                    port: Some(ends.dport),
                    rule: Arc::new(rule),
                    verdict,
                    outcome,
                    first: self.now.wall,
                    last: self.now.wall,
                    count: 1,
                    policy: policy.id(),
                    evidence: Some(evidence),
                }),
            }
        }
    }

    /// What is read, with what was not.
    pub(super) const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What could not be seen, attempts that were recorded, and findings that were given up for want of room.
    pub(super) const fn seen(&self) -> (Blind, u64, u64) {
        let blind = self.judge.blind();
        (blind, self.attempts, blind.dropped + self.lost)
    }
}
