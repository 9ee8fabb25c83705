//! The inspector's engine with its way to the ledger, for one thread: frames in, attempts recorded. Whoever has packets uses it, be
//! it from an interface or from a queue of the kernel.

use super::gateway::Gateway;
use super::learning::WireTap;
use crate::base::model::{
    Channel, Destination, Device, DeviceNote, Fact, Mono, Now, Origin, Sighting, Wall, is_tester,
};
use crate::base::wire::host::escaped;
use crate::base::wire::packet::Frame;
use crate::engine::inspector::endpoint::{Dated, Endpoint, Endpoints, Losses};
use crate::engine::inspector::{Attempt, Blind, Elsewhere, Judge, Observation, Reader, What};
use crate::io::gateway::System;
use crate::io::store::{Incident, Note, Relay, Sender, StoreMessage};
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

/// Devices that one thread tells apart.
const ENDPOINTS_MAX: usize = 16_384;
/// News of devices, and incidents, that one turn hands over; the rest waits for the next.
const NEWS_MAX: usize = 256;
/// How often relays are told, and old devices forgotten.
const NOW_AND_THEN: Duration = Duration::from_secs(5);

/// What inspecting threads share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) plane: Arc<Plane>,
    pub(super) ledger: Sender,
    /// Where the resolver answers.
    listen: Vec<SocketAddr>,
    /// Where the sinkhole takes connections.
    sinkhole: Vec<SocketAddr>,
    /// Where answers of others' resolvers are told, if anybody learns from them.
    tap: Option<WireTap>,
    /// What others record; swapped when the machine or the config changes.
    pub(super) elsewhere: Arc<ArcSwap<Elsewhere>>,
}

impl Shared {
    pub(super) fn new(
        plane: &Arc<Plane>,
        ledger: Sender,
        listen: &[SocketAddr],
        sinkhole: &[SocketAddr],
        tap: Option<WireTap>,
    ) -> Self {
        let (listen, sinkhole) = (listen.to_vec(), sinkhole.to_vec());
        Self { plane: Arc::clone(plane), ledger, listen, sinkhole, tap, elsewhere: Arc::default() }
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
    let ruled = enforced.inspect.map(|inspection| (inspection.tcp, inspection.udp)).unwrap_or_default();
    Elsewhere { own, redirect, ruled, kernel_logs: (true, enforced.observe), ..Elsewhere::default() }
}

/// The engine of one thread.
pub(super) struct Inspection {
    shared: Shared,
    reader: Reader,
    judge: Judge,
    endpoints: Endpoints,
    policy: PolicyReader,
    recorder: Recorder,
    elsewhere: Arc<Elsewhere>,
    forms: Vec<Sighting>,
    now: Now,
    /// When relays were told last.
    told: Mono,
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
            endpoints: Endpoints::new(ENDPOINTS_MAX),
            policy: shared.plane.reader(),
            recorder: Recorder::new(Arc::clone(&shared.plane)),
            elsewhere,
            forms: Vec::new(),
            now: clock::now(),
            told: clock::mono(),
            attempts: 0,
            lost: 0,
            shared: shared.clone(),
        }
    }

    /// Reads a frame. What it shows to be an attempt is told to `see`, which may change what became of it, and recorded.
    pub(super) fn frame(&mut self, frame: &Frame<'_>, see: &mut dyn FnMut(&mut Attempt)) {
        let (judge, endpoints, elsewhere) = (&mut self.judge, &mut self.endpoints, &self.elsewhere);
        let tap = self.shared.tap.as_ref();
        let now = Mono::from_nanos(frame.time_ns);
        self.reader.handle_frame(now, frame, &mut |observation| match observation {
            Observation::Sender(_, packet) => endpoints.handle_packet(now, packet),
            other => {
                if let (Observation::Answer(_, ends, message), Some(tap)) = (&other, tap)
                    && ![ends.src, ends.dst].iter().any(|end| elsewhere.own.contains(end))
                {
                    tap.tell(message);
                }
                judge.observe(&other);
            }
        });
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
        let time_ns = u64::try_from(self.now.wall.as_nanosecond()).unwrap_or_default();
        let judge = &mut self.judge;
        self.reader.handle_timeout(Mono::from_nanos(time_ns), &mut |observation| judge.observe(&observation));
        self.judge.handle_timeout(time_ns);
        self.judge.set_policy(self.policy.load());
        self.record(see);
        // Who is behind an address goes before what that address did.
        self.tell_devices(Mono::from_nanos(time_ns));
        self.recorder.flush_if_due(self.now.mono);
        self.tell_around(time_ns);
        if !self.forms.is_empty() {
            let forms = std::mem::take(&mut self.forms);
            self.shared.ledger.try_send(StoreMessage::Sightings(forms));
        }
    }

    fn tell_devices(&mut self, now: Mono) {
        let mut news: Vec<DeviceNote> = Vec::new();
        while news.len() < NEWS_MAX {
            let next = self.endpoints.poll_router().map(DeviceNote::Router);
            let next = next.or_else(|| {
                self.endpoints.poll_changed(now).map(|endpoint| DeviceNote::Seen(Box::new(device(endpoint))))
            });
            let Some(next) = next else { break };
            news.push(next);
        }
        let count = news.len() as u64;
        if count > 0 && !self.shared.ledger.try_send(StoreMessage::Devices(news)) {
            // They are told again after a while.
            self.lost += count;
        }
    }

    /// Tells incidents, and now and then relays.
    fn tell_around(&mut self, time_ns: u64) {
        let mut notes = Vec::new();
        for _ in 0..NEWS_MAX {
            let Some(incident) = self.judge.poll_incident(time_ns) else { break };
            let steps = incident.chain.into_iter().map(|(at, what)| (wall(at.time_ns), what)).collect();
            let (endpoint, vendor) = (incident.endpoint.to_string(), incident.vendor.to_string());
            notes.push(Note::Incident(Incident { endpoint, vendor, answer: incident.answer, steps }));
        }
        if self.now.mono.since(self.told) >= NOW_AND_THEN {
            self.told = self.now.mono;
            self.endpoints.handle_timeout(Mono::from_nanos(time_ns));
            notes.extend(self.judge.take_relays().into_iter().map(|((host, port, vendor), relay)| {
                let last = wall(relay.last_ns);
                Note::Relay(Relay {
                    host: host.to_string(),
                    port,
                    vendor: vendor.to_string(),
                    usage: relay.usage,
                    clients: relay.clients.iter().map(ToString::to_string).collect(),
                    first: last,
                    last,
                    count: relay.count,
                })
            }));
        }
        for note in notes {
            self.lost += u64::from(!self.shared.ledger.try_send(StoreMessage::Note(note)));
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

    /// What was given up of devices.
    pub(super) const fn device_losses(&self) -> Losses {
        self.endpoints.losses()
    }

    /// What could not be seen, attempts that were recorded, and findings that were given up for want of room.
    pub(super) const fn seen(&self) -> (Blind, u64, u64) {
        let blind = self.judge.blind();
        (blind, self.attempts, blind.dropped + self.lost)
    }
}

/// What the ledger is told of a device.
fn device(endpoint: &Endpoint) -> Device {
    let vlan = endpoint.vlan.map(|vlan| format!("vlan {vlan}"));
    let text = |octets: &[u8]| escaped(octets);
    Device {
        mac: endpoint.mac,
        client_id: endpoint.client_id.as_ref().map(|id| id.iter().map(|octet| format!("{octet:02x}")).collect()),
        vendor_class: endpoint.vendor_class.as_deref().map(text),
        segment: vlan.or_else(|| endpoint.relay.map(|relay| format!("relay {relay}"))),
        addresses: endpoint.addresses.iter().map(|dated| fact(dated, |address| *address)).collect(),
        names: endpoint.names.iter().map(|dated| fact(dated, |(_, name)| escaped(name))).collect(),
        last: wall(endpoint.last.as_nanos()),
    }
}

fn fact<T, U>(dated: &Dated<T>, what: impl Fn(&T) -> U) -> Fact<U> {
    (what(&dated.what), wall(dated.first.as_nanos()), wall(dated.last.as_nanos()))
}

/// A frame's time; the engine counts in the same.
fn wall(time_ns: u64) -> Wall {
    Wall::from_nanosecond(i128::from(time_ns)).unwrap_or_default()
}
