//! The gateway while the daemon runs: the kernel follows the policy, what others change is mended, what it logs goes to the ledger.

mod told;

pub(in crate::app) use told::object;

use super::activate::{Activator, Alarm};
use super::learning::{Learning, Wanted, WireTap};
use super::names::Names;
use super::sighted::Sighted;
use super::ways::{Asked, Told, Ways};
use crate::app::config::{Config, GatewayConfig};
use crate::app::gateway::{GatewayError, Prepared, facts, login, prepare};
use crate::base::model::Wall;
use crate::engine::gateway::{ANSWERING, Element, GatewaySettings, Marked, Packet, SIGHTED, Watching, hit};
use crate::io::gateway::{Enforcer, Log, Logged, Queue, Queueing, Renewer, System, Teaching, Watch};
use crate::io::listen::Networks;
use crate::io::store::{Gap, GapReason};
use crate::io::sys::clock;
use crate::io::sys::plane::{Plane, Recorder};
use ipnet::IpNet;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long the threads wait for the kernel before they look up.
const TICK: Duration = Duration::from_millis(100);
/// How often interfaces and routes are looked at, and the redirect is renewed.
const LOOK: Duration = Duration::from_secs(1);
/// The least time between two looks at the tables, however much others change.
const MEND_EVERY: Duration = Duration::from_millis(200);
/// How often the elements of tables that others may change are counted.
const THOROUGH_EVERY: Duration = Duration::from_secs(10);
/// A loop that takes longer than this was not running: longer than any plan, look-up of names apart.
const STANDSTILL: Duration = Duration::from_secs(4);
/// How long the redirect of DNS goes on after it was last renewed.
const REDIRECT_LIFETIME: Duration = Duration::from_secs(5);
/// How long names are looked at after that was last renewed; whatever waits for us then waits for nobody.
const INSPECT_LIFETIME: Duration = Duration::from_secs(3);
/// How long after a refusal it is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// How long an alarm about what others changed stays up.
const MENDED_SHOWN: Duration = Duration::from_secs(3_600);
/// Clients × resolvers that are told in `gateway status`.
const BYPASSES_MAX: usize = 4_096;

/// The gateway's part of the daemon.
pub(super) struct Gateway {
    activator: Arc<Activator>,
    state: Mutex<State>,
    /// What lapses unless it is renewed; apart from the state, which is held for seconds while a large set goes to the kernel.
    renewed: Mutex<Renewed>,
    /// Whether the kernel is told of endpoints that tried what is blocked, and the clients that are servers; apart from the state, too.
    sighting: Mutex<(bool, Vec<IpNet>)>,
    /// Who looks at names, and the queues until that begins.
    names: Option<Arc<Names>>,
    queues: Mutex<Vec<Queue>>,
    /// Whose queries are answered where redirected ones arrive.
    clients: Networks,
    learning: Learning,
    /// Whether the tables are others than they were, so that endpoints have to be told to them again.
    is_new: AtomicBool,
    log: LogCounters,
    stop: AtomicBool,
}

/// Ports by set.
type Renewed = BTreeMap<&'static str, BTreeSet<u16>>;

struct State {
    enforcer: Enforcer,
    config: GatewayConfig,
    system: System,
    /// The epoch of the policy that was planned for; `None` before the first, and when it has to be planned anew.
    planned: Option<u64>,
    prepared: Option<Prepared>,
    /// When the kernel is asked again after it refused something.
    retry: Option<Instant>,
    /// Whether an operator took it out of force.
    removed: bool,
    refused: Option<String>,
    /// How often others changed our tables, when last, and what.
    mended: (u64, Option<Instant>, String),
}

#[derive(Default)]
struct LogCounters {
    lost: AtomicU64,
    foreign: AtomicU64,
    unlisted: AtomicU64,
    renewals_failed: AtomicU64,
    bypasses_dropped: AtomicU64,
    /// Endpoints that tried what is blocked of late.
    sighted: AtomicU64,
    /// Ways around a block of late.
    ways: Mutex<Told>,
    /// Who asked which resolver that no list mentions, how often, when last.
    bypasses: Mutex<BTreeMap<(IpAddr, IpAddr), (u64, Wall)>>,
}

/// The threads, to be waited for at the end.
pub(super) struct Threads(Vec<JoinHandle<()>>);

impl Gateway {
    /// Opens the ways to the kernel, if the config wants it; nothing is in force yet.
    pub(super) fn open(activator: &Arc<Activator>, config: &Config) -> Result<Option<Arc<Self>>, GatewayError> {
        if !config.gateway.enabled {
            return Ok(None);
        }
        let enforcer = Enforcer::open(config.gateway.protect)?;
        let wanted = config.gateway.settings.inspect.as_ref().filter(|_| enforcer.queueing() != Queueing::Missing);
        let (names, queues) = wanted.map(Names::open).transpose()?.unzip();
        let state = State {
            enforcer,
            config: config.gateway.clone(),
            system: System::look(),
            planned: None,
            prepared: None,
            retry: None,
            removed: false,
            refused: None,
            mended: (0, None, String::new()),
        };
        Ok(Some(Arc::new(Self {
            activator: Arc::clone(activator),
            state: Mutex::new(state),
            renewed: Mutex::default(),
            sighting: Mutex::default(),
            names,
            queues: Mutex::new(queues.unwrap_or_default()),
            clients: Networks::default(),
            learning: Learning::new(activator, config.gateway.learned_for, config.gateway.learn_every),
            is_new: AtomicBool::new(true),
            log: LogCounters::default(),
            stop: AtomicBool::new(false),
        })))
    }

    /// The networks of the clients, as they are at any time.
    pub(super) fn clients(&self) -> Networks {
        Arc::clone(&self.clients)
    }

    /// Where whoever inspects interfaces tells of answers.
    pub(super) fn wire_tap(&self) -> WireTap {
        self.learning.tap()
    }

    /// What is known of an address that listed names may lead to.
    pub(super) fn learned(&self, address: IpAddr) -> Value {
        self.learning.about(address, self.learns())
    }

    fn learns(&self) -> Wanted {
        match self.enforced().map(|settings| settings.learned) {
            None | Some(Watching::Off) => Wanted::Nothing,
            Some(Watching::Observe) => Wanted::Observe,
            Some(Watching::Refuse) => Wanted::Refuse,
        }
    }

    /// Puts the policy in force and starts the threads that keep it so.
    pub(super) fn start(
        self: &Arc<Self>,
        plane: &Arc<Plane>,
        (asked, sighted): (Asked, Sighted),
    ) -> Result<Threads, GatewayError> {
        let (group, watch) =
            (self.state().config.settings.log_group, Watch::open(TICK).map_err(crate::io::gateway::LogError::Other)?);
        let (log, renewer, teaching) = (Log::open(group, TICK)?, Renewer::open()?, Teaching::open()?);
        self.follow();
        let (learner, asker, cache) = (Arc::clone(self), Arc::clone(self), Arc::clone(&plane.cache));
        let (keeper, reader) = (Arc::clone(self), Arc::clone(self));
        let ways = Ways::new(&self.activator, asked);
        let spawn =
            |name: &str, body: Box<dyn FnOnce() + Send>| thread::Builder::new().name(name.to_owned()).spawn(body);
        let other = |error: io::Error| GatewayError::Log(error.into());
        let queues = std::mem::take(&mut *self.queues.lock().unwrap_or_else(PoisonError::into_inner));
        let names = self.names.as_ref().map(|names| names.start(queues, plane)).transpose().map_err(other)?;
        let plane = Arc::clone(plane);
        let mut threads = vec![
            spawn("gateway", Box::new(move || keeper.keep(watch))).map_err(other)?,
            spawn("gateway-log", Box::new(move || reader.read(log, renewer, (plane, ways, sighted)))).map_err(other)?,
            spawn(
                "gateway-learn",
                Box::new(move || learner.learning.learn(&cache, teaching, &learner.stop, || learner.learns())),
            )
            .map_err(other)?,
        ];
        if self.learning.asks() {
            threads.push(spawn("gateway-ask", Box::new(move || asker.learning.ask(&asker.stop))).map_err(other)?);
        }
        threads.extend(names.into_iter().flatten());
        Ok(Threads(threads))
    }

    /// Keeps the kernel as the policy wants it, until the daemon stops.
    fn keep(&self, mut watch: Watch) {
        let (mut looked, mut mended, mut thorough) = (Instant::now(), Instant::now(), Instant::now());
        let (mut is_changed, mut awake) = (false, (Instant::now(), clock::now().wall));
        while !self.stop.load(Ordering::Relaxed) {
            is_changed |= watch.changed();
            awake = self.mind_standstill(awake);
            if is_changed && mended.elapsed() >= MEND_EVERY || thorough.elapsed() >= THOROUGH_EVERY {
                let is_thorough = thorough.elapsed() >= THOROUGH_EVERY;
                self.mend(is_thorough);
                (mended, is_changed) = (Instant::now(), false);
                if is_thorough {
                    thorough = Instant::now();
                }
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look();
            }
            self.follow();
        }
    }

    /// Records a stretch in which this process stood still: the kernel went on, but DNS was not answered and nothing was recorded.
    fn mind_standstill(&self, (at, wall): (Instant, Wall)) -> (Instant, Wall) {
        let now = (Instant::now(), clock::now().wall);
        if now.0.duration_since(at) > STANDSTILL {
            let note = "the process stood still; listed addresses stayed shut".to_owned();
            self.activator.record_gap(Gap { why: GapReason::Lost, started: wall, ended: now.1, attempts: 0, note });
        }
        now
    }

    /// Notices what changed of interfaces and routes.
    fn look(&self) {
        let system = System::look();
        let mut state = self.state();
        if state.system != system {
            tracing::info!("interfaces or routes have changed");
            state.system = system;
            state.planned = None;
        }
    }

    /// Plans and enforces anew if the policy or the machine changed. What would cut the box off leaves all as it was.
    fn follow(&self) {
        let policy = self.activator.policy();
        let (system, is_due) = {
            let state = self.state();
            let is_new = state.planned != Some(policy.epoch()) || state.retry.is_some_and(|at| at <= Instant::now());
            (state.system.clone(), !state.removed && is_new)
        };
        if is_due {
            // Said in `status`, and in the alarm.
            let _ = self.enforce(&system, login());
        }
    }

    fn enforce(&self, system: &System, login: Option<IpAddr>) -> Result<(), GatewayError> {
        let policy = self.activator.policy();
        let config = self.activator.with_config(Config::clone);
        // Names are looked up and ranges computed without the lock: others ask for the status meanwhile.
        let facts = facts(&config, system, login);
        let prepared = prepare(&policy, &config.gateway, system, &facts);
        self.clients.store(Arc::new(config.gateway.settings.client_networks(&system.interfaces)));
        let mut state = self.state();
        state.config = config.gateway;
        state.planned = Some(policy.epoch());
        state.retry = None;
        let done = prepared.and_then(|prepared| {
            if !prepared.cuts.is_empty() {
                return Err(GatewayError::Cuts(prepared.cuts));
            }
            state.enforcer.enforce(prepared.wanted.clone())?;
            Ok(prepared)
        });
        let done = match done {
            Ok(prepared) => {
                tracing::info!(epoch = policy.epoch(), blocked = prepared.blocked, "the kernel enforces");
                (state.prepared, state.removed, state.refused) = (Some(prepared), false, None);
                Ok(())
            }
            Err(error) => {
                state.refused = Some(error.to_string());
                // What would be cut off may not be tomorrow: an upstream or a route that changed brings it here again by itself.
                state.retry = Some(Instant::now() + RETRY);
                Err(error)
            }
        };
        let wanted = state.enforcer.in_force();
        let is_telling = wanted.is_some_and(|wanted| wanted.main.sets.contains_key(SIGHTED[0]));
        let servers = state.config.settings.redirect.as_ref().map(|redirect| redirect.servers.clone());
        *self.sighting.lock().unwrap_or_else(PoisonError::into_inner) = (is_telling, servers.unwrap_or_default());
        let renewed = wanted.map(|wanted| wanted.renewed.clone());
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = renewed.unwrap_or_default();
        if let (Some(names), Ok(())) = (&self.names, &done) {
            names.in_force(policy.epoch());
        }
        let refused = state.refused.clone();
        drop(state);
        self.learning.in_force(Some(facts));
        self.is_new.store(true, Ordering::Relaxed);
        let alarm =
            refused.map(|why| format!("the gateway does not follow the policy, the kernel stays as it was: {why}"));
        self.activator.set_alarm(Alarm::Gateway, alarm);
        done
    }

    fn mend(&self, thorough: bool) {
        let mut state = self.state();
        let sentence = match state.enforcer.mend(thorough) {
            Ok(mended) if mended.is_empty() => {
                let is_over = state.mended.1.is_some_and(|last| last.elapsed() > MENDED_SHOWN);
                if !is_over {
                    return;
                }
                state.mended.1 = None;
                None
            }
            Ok(mended) => {
                let what = mended.into_iter().collect::<Vec<_>>().join(", ");
                state.mended = (state.mended.0 + 1, Some(Instant::now()), what.clone());
                Some(format!("another program changed what the gateway put in the kernel, which was mended: {what}"))
            }
            Err(error) => Some(format!("what another program changed in the kernel could not be mended: {error}")),
        };
        let is_new = state.mended.0 <= 1 || sentence.is_none();
        drop(state);
        self.learning.in_force(None);
        self.is_new.store(true, Ordering::Relaxed);
        // A storm is one alarm.
        if is_new || !self.activator.has_alarm(&Alarm::Mended) {
            self.activator.set_alarm(Alarm::Mended, sentence);
        }
    }

    /// Reads what the kernel logs, and renews the redirect, until the daemon stops.
    fn read(&self, mut log: Log, mut renewer: Renewer, (plane, mut ways, mut sighted): (Arc<Plane>, Ways, Sighted)) {
        let mut recorder = Recorder::new(plane);
        let mut renewed: Option<Instant> = None;
        while !self.stop.load(Ordering::Relaxed) {
            if renewed.is_none_or(|at| at.elapsed() >= LOOK) {
                renewed = Some(Instant::now());
                self.renew(&mut renewer);
                self.sight(&mut sighted, &mut renewer);
            }
            let policy = self.activator.policy();
            // After the wait for packets: what they came after must not look later than they.
            let mut heard = None;
            let read = log.read(|Logged { marked, packet, name }| {
                let now = *heard.get_or_insert_with(clock::now);
                let hit = match marked.is_learned() {
                    true => self.learning.hit(&policy, packet.destination, packet.port, !marked.passed()),
                    false => hit(&policy, &packet, marked),
                };
                match hit {
                    Some(hit) => recorder.record(now, &policy, packet.source, &hit),
                    None => self.unlisted(marked, &packet, now.wall),
                }
                ways.logged(now.wall, marked, packet, name);
            });
            let now = clock::now();
            let notes = ways.turn(now.wall, &policy, &mut self.log.ways.lock().unwrap_or_else(PoisonError::into_inner));
            // One that there is no room for is told again with its next step.
            for note in notes {
                self.activator.tell(note);
            }
            if let Err(error) = read {
                tracing::warn!(%error, "reading what the kernel logs");
                thread::sleep(TICK);
            }
            let (lost, foreign) = log.missed();
            self.log.lost.store(lost, Ordering::Relaxed);
            self.log.foreign.store(foreign, Ordering::Relaxed);
            recorder.flush_if_due(now.mono);
        }
    }

    /// Lets go on what lapses without us. What looks at names does not where one of its threads stands still: packets then pass.
    fn renew(&self, renewer: &mut Renewer) {
        let is_alive = self.names.as_ref().is_some_and(|names| names.is_alive());
        let stuck = "names of connections are not looked at: a thread of the gateway stands still; restart the daemon";
        if self.names.is_some() && is_alive == self.activator.has_alarm(&Alarm::Names) {
            self.activator.set_alarm(Alarm::Names, (!is_alive).then(|| stuck.to_owned()));
        }
        let renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (set, ports) in renewed {
            let lifetime = if set == ANSWERING { REDIRECT_LIFETIME } else { INSPECT_LIFETIME };
            if set != ANSWERING && !is_alive {
                continue;
            }
            if let Err(error) = renewer.renew(set, ports.into_iter().map(Element::Port), lifetime) {
                self.log.renewals_failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%error, set, "what lapses is not renewed");
            }
        }
    }

    /// Tells the kernel whose encrypted DNS is refused, where that is wanted.
    fn sight(&self, sighted: &mut Sighted, renewer: &mut Renewer) {
        let (is_wanted, servers) = self.sighting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sighted.hear(Instant::now(), &servers);
        self.log.sighted.store(sighted.len() as u64, Ordering::Relaxed);
        if self.is_new.swap(false, Ordering::Relaxed) || !is_wanted {
            sighted.tell_again();
        }
        if is_wanted && let Err(error) = sighted.tell(renewer) {
            self.log.renewals_failed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%error, "endpoints do not get into the kernel");
        }
    }

    /// A packet that no rule is about: a resolver that is on no list, or one that has just left it.
    fn unlisted(&self, marked: Marked, packet: &Packet, now: Wall) {
        self.log.unlisted.fetch_add(1, Ordering::Relaxed);
        if marked != Marked::Dns {
            return;
        }
        let mut bypasses = self.log.bypasses.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (packet.source, packet.destination);
        if bypasses.len() >= BYPASSES_MAX && !bypasses.contains_key(&key) {
            self.log.bypasses_dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (count, last) = bypasses.entry(key).or_insert((0, now));
        (*count, *last) = (*count + 1, now);
    }

    /// Puts the policy in force, also after [`Self::remove`].
    pub(super) fn apply(&self, login: Option<IpAddr>) -> Result<Value, String> {
        let system = System::look();
        self.state().system.clone_from(&system);
        self.enforce(&system, login).map_err(|error| error.to_string())?;
        Ok(self.status())
    }

    /// Takes everything out of the kernel until the next [`Self::apply`] or start.
    pub(super) fn remove(&self) -> Result<Value, String> {
        let mut state = self.state();
        state.removed = true;
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.sighting.lock().unwrap_or_else(PoisonError::into_inner).0 = false;
        state.prepared = None;
        let gone = state.enforcer.remove().map_err(|error| error.to_string())?;
        drop(state);
        self.activator.set_alarm(
            Alarm::Gateway,
            Some("the gateway was taken out of force by `interdict gateway remove`; `interdict gateway apply` puts it back".to_owned()),
        );
        Ok(json!({ "removed": gone }))
    }

    /// The settings that are in force; nothing while the kernel does not enforce. A redirect that is not in force, and names that nobody
    /// looks at, are not among them.
    pub(super) fn enforced(&self) -> Option<GatewaySettings> {
        let state = self.state();
        state.prepared.as_ref().filter(|_| !state.removed)?;
        let mut settings = state.config.settings.clone();
        let is_redirecting = self.renewed.lock().unwrap_or_else(PoisonError::into_inner).contains_key(ANSWERING);
        settings.redirect = settings.redirect.filter(|_| is_redirecting);
        settings.inspect = settings.inspect.filter(|_| self.names.as_ref().is_some_and(|names| names.is_alive()));
        Some(settings)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with the lock left a state that was whole before its last assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the threads. What is in the kernel stays: the next start takes it over.
    pub(super) fn stop(&self, threads: Threads) {
        self.stop.store(true, Ordering::Relaxed);
        self.names.iter().for_each(|names| names.stop());
        for thread in threads.0 {
            let _ = thread.join();
        }
    }
}
