//! Ways around a block, as a gateway sees them without looking into packets: the resolver knows which names it refused to whom, the
//! kernel's log who was led to us from which resolver, and who went to a listed address.

use super::activate::Activator;
use crate::base::model::{Channel, Grade, Outcome, Wall};
use crate::base::name::Name;
use crate::base::wire::host::dotted;
use crate::engine::gateway::{Marked, Packet};
use crate::engine::inspector::{At, Ends, Incident, Judge, NameKind, Observation, Seen};
use crate::engine::ledger::Batch;
use crate::io::gateway::System;
use crate::io::store::{Incident as Kept, Note};
use crate::policy::Policy;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Flushes of the resolver's workers that wait for us.
const FLUSHES_MAX: usize = 256;
/// Clients × classes of one flush that are told.
const REFUSED_MAX: usize = 1_024;
/// How long what is seen waits, so that all that came before it is known by then: longer than a flush of the resolver's workers.
const WAIT: Duration = Duration::from_millis(600);
/// How much waits so.
const WAITING_MAX: usize = 16_384;
/// Steps of which it is remembered what came of them; an incident has a few, within two minutes.
const STEPS_MAX: usize = 65_536;
/// Incidents that `status` shows: the latest.
const TOLD_MAX: usize = 64;
/// The port of DNS.
const DNS: u16 = 53;

/// A name that was refused.
#[derive(Debug)]
struct Refused {
    client: IpAddr,
    at: Wall,
    name: Name,
}

/// Where the resolver's workers tell what they refused.
#[derive(Clone)]
pub(super) struct Tap(SyncSender<Vec<Refused>>);

/// What they told.
pub(super) struct Asked(Receiver<Vec<Refused>>);

/// A bounded queue of what was refused.
pub(super) fn channel() -> (Tap, Asked) {
    let (sender, receiver) = sync_channel(FLUSHES_MAX);
    (Tap(sender), Asked(receiver))
}

impl Tap {
    /// Tells what a flush has of it, the first of each client and class, without waiting; what there is no room for is no great loss: it
    /// begins an incident a little later.
    pub(super) fn see(&self, batch: &Batch) {
        let mut known = HashSet::new();
        let rows = batch.rows().filter(|row| row.channel == Channel::Dns && row.outcome == Outcome::Blocked);
        let first = rows.filter(|row| known.insert((row.client, row.class))).take(REFUSED_MAX);
        let refused: Vec<Refused> = first
            .filter_map(|row| Some(Refused { client: row.client, at: row.first, name: row.name?.to_name() }))
            .collect();
        if !refused.is_empty() {
            let _ = self.0.try_send(refused);
        }
    }
}

/// What came of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    /// We answered it.
    Answered,
    /// The kernel stopped it.
    Stopped,
    /// It passed.
    Passed,
}

impl Came {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered by us",
            Self::Stopped => "stopped",
            Self::Passed => "passed",
        }
    }
}

/// A packet that waits for its turn.
struct Logged {
    at: Wall,
    marked: Marked,
    packet: Packet,
    name: Option<Name>,
}

/// What waits until all that came before it is known.
enum Waiting {
    Refused(Refused),
    Logged(Logged),
}

impl Waiting {
    const fn at(&self) -> Wall {
        match self {
            Self::Refused(refused) => refused.at,
            Self::Logged(logged) => logged.at,
        }
    }
}

/// The engine with what is fed to it.
pub(super) struct Ways {
    judge: Judge,
    /// The address of ours that stands for the resolver.
    resolver: IpAddr,
    asked: Asked,
    waiting: VecDeque<Waiting>,
    came: BTreeMap<u64, Came>,
    steps: u64,
    dropped: u64,
}

/// What tells incidents apart: endpoint, vendor, when it began.
type Which = (IpAddr, Arc<str>, u64);

/// The latest incidents.
#[derive(Default)]
pub(super) struct Told {
    incidents: VecDeque<(Which, Value)>,
    dropped: u64,
}

impl Told {
    /// For people and programs.
    pub(super) fn object(&self) -> Value {
        let incidents: Vec<&Value> = self.incidents.iter().map(|(_, incident)| incident).collect();
        json!({ "incidents": incidents, "dropped": self.dropped })
    }

    fn put(&mut self, key: Which, incident: Value) {
        self.incidents.retain(|(held, _)| *held != key);
        if self.incidents.len() >= TOLD_MAX {
            self.incidents.pop_front();
        }
        self.incidents.push_back((key, incident));
    }
}

impl Ways {
    /// One that has seen nothing.
    pub(super) fn new(activator: &Activator, asked: Asked) -> Self {
        let listen = activator.with_config(|config| config.listen.clone());
        let own = || System::look().interfaces.own.into_iter().find(|own| !own.is_loopback());
        let named = listen.iter().map(std::net::SocketAddr::ip).find(|ip| !ip.is_unspecified());
        let resolver = named.or_else(own).unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        Self {
            judge: Judge::live(activator.policy()),
            resolver,
            asked,
            waiting: VecDeque::new(),
            came: BTreeMap::new(),
            steps: 0,
            dropped: 0,
        }
    }

    /// Takes a packet that the kernel logged.
    pub(super) fn logged(&mut self, at: Wall, marked: Marked, packet: Packet, name: Option<Name>) {
        self.wait(Waiting::Logged(Logged { at, marked, packet, name }));
    }

    /// Puts what was seen where its time is: the resolver's threads and the kernel tell of it each at their own pace.
    fn wait(&mut self, seen: Waiting) {
        if self.waiting.len() >= WAITING_MAX {
            self.dropped += 1;
            return;
        }
        let place = self.waiting.partition_point(|held| held.at() <= seen.at());
        self.waiting.insert(place, seen);
    }

    /// To be called every now and then: what was refused, then what came after it.
    /// Gives what the ledger is to know.
    pub(super) fn turn(&mut self, now: Wall, policy: &Arc<Policy>, told: &mut Told) -> Vec<Note> {
        self.judge.set_policy(policy);
        while let Ok(refused) = self.asked.0.try_recv() {
            refused.into_iter().for_each(|refused| self.wait(Waiting::Refused(refused)));
        }
        let is_due =
            |first: &mut Waiting| Duration::try_from(now.duration_since(first.at())).is_ok_and(|waited| waited >= WAIT);
        while let Some(first) = self.waiting.pop_front_if(is_due) {
            match first {
                Waiting::Refused(Refused { client, at, name }) => {
                    let ends = Ends { src: client, sport: 0, dst: self.resolver, dport: DNS };
                    self.query(at, ends, &name);
                }
                Waiting::Logged(logged) => self.step(&logged),
            }
        }
        let now_ns = nanoseconds(now);
        self.judge.handle_timeout(now_ns);
        // They are recorded already.
        while self.judge.poll_attempt().is_some() {}
        let mut notes = Vec::new();
        while let Some(incident) = self.judge.poll_incident(now_ns) {
            notes.push(Note::Incident(self.kept(&incident)));
            let key = (incident.endpoint, Arc::clone(&incident.vendor), started(&incident));
            told.put(key, self.object(&incident));
        }
        told.dropped = self.dropped + self.judge.blind().dropped;
        notes
    }

    fn step(&mut self, logged: &Logged) {
        let Logged { at, marked, packet, name } = logged;
        let ends = Ends { src: packet.source, sport: 0, dst: packet.destination, dport: packet.port.unwrap_or(0) };
        if let Some(name) = name {
            return self.query(*at, ends, name);
        }
        let at = self.note(
            *at,
            match marked {
                Marked::Dns => Came::Answered,
                Marked::Block | Marked::DotRefused | Marked::LearnedRefused => Came::Stopped,
                Marked::Observe | Marked::DotObserved | Marked::LearnedObserved => Came::Passed,
            },
        );
        self.judge.observe(&Observation::Begin(at, ends));
        self.judge.observe(&Observation::End(at, ends, [0; 2]));
    }

    fn query(&mut self, at: Wall, ends: Ends, name: &Name) {
        let At { frame, time_ns } = self.note(at, Came::Answered);
        let (octets, kind, name) = (dotted(name.as_ref().labels()), NameKind::DnsQuery, Some(name.as_ref()));
        self.judge.observe(&Observation::Name(Seen { frame, time_ns, ends, kind, octets: &octets, name }));
    }

    /// Remembers what came of a step.
    fn note(&mut self, at: Wall, came: Came) -> At {
        self.steps += 1;
        self.came.insert(self.steps, came);
        if self.came.len() > STEPS_MAX {
            self.came.pop_first();
        }
        At { frame: self.steps, time_ns: nanoseconds(at) }
    }

    /// As the ledger keeps it: what came of each step is said with it, and last what they prove together.
    fn kept(&self, incident: &Incident) -> Kept {
        let came = |at: &At| self.came.get(&at.frame).map_or("unknown", |came| came.as_str());
        let wall = |at: &At| Wall::from_nanosecond(i128::from(at.time_ns)).unwrap_or_default();
        let mut steps: Vec<(Wall, String)> =
            incident.chain.iter().map(|(at, what)| (wall(at), format!("{what}: {}", came(at)))).collect();
        if let Some((last, _)) = incident.chain.last().filter(|_| incident.grade() == Grade::Product) {
            let count = incident.fallbacks.len();
            steps.push((
                wall(last),
                format!("{count} fallback resolvers in the vendor's order: a product of the vendor's"),
            ));
        }
        let (endpoint, vendor) = (incident.endpoint.to_string(), incident.vendor.to_string());
        Kept { endpoint, vendor, answer: incident.answer.clone(), steps }
    }

    fn object(&self, incident: &Incident) -> Value {
        let came = |at: &At| self.came.get(&at.frame).copied();
        let time = |at: &At| Wall::from_nanosecond(i128::from(at.time_ns)).unwrap_or_default().to_string();
        let steps = incident.chain.iter().map(
            |(at, what)| json!({ "time": time(at), "what": what, "came": came(at).map_or("unknown", Came::as_str) }),
        );
        let is_blocked = incident.chain.iter().all(|(at, _)| came(at).is_some_and(|came| came != Came::Passed));
        json!({
            "endpoint": incident.endpoint,
            "vendor": &*incident.vendor,
            "grade": incident.grade().as_str(),
            "fallbacks": incident.fallbacks,
            "blocked": is_blocked,
            "chain": steps.collect::<Vec<_>>(),
        })
    }
}

fn started(incident: &Incident) -> u64 {
    incident.chain.first().map_or(0, |(at, _)| at.time_ns)
}

fn nanoseconds(at: Wall) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or_default()
}
