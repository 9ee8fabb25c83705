//! Which policy is in force: made at the start, at a reload, when a date passes, when enforcement is paused.
//!
//! A reload that fails leaves everything as it was. Policies that are replaced are kept until no worker reads them any
//! more, so that none of them is freed on a worker's time.

use crate::app::config::{Config, load};
use crate::app::gate::{InForce, judge_all};
use crate::app::lists::{self, Lists};
use crate::app::sync::Build;
use crate::app::time::{Believed, believed};
use crate::base::model::{Sighting, Wall};
use crate::io::listen::ForwarderSink;
use crate::io::store::{Activation, Gap, GapReason, Note, Sender, StoreMessage};
use crate::io::sys::clock;
use crate::io::sys::memory::{give_back, in_large_pages};
use crate::policy::list::Report;
use crate::policy::{Policy, Settings};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest pause; a longer one is a decision for the config.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What may be wrong while it runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// There is no upstream server.
    Upstream,
    /// The last reload was refused.
    Reload,
    /// The kernel does not follow the policy.
    Gateway,
    /// Another program changed what the gateway put in the kernel.
    Mended,
    /// Names of connections are not looked at.
    Names,
    /// The clock is earlier than what is known to have happened.
    Clock,
    /// An interface is not inspected.
    Inspect(String),
    /// The kernel dropped frames of an interface before they were inspected.
    Dropped(String),
    /// What a remote has for the lists of a feed was refused, or could not be fetched.
    List(String),
}

/// A pause of enforcement.
#[derive(Clone, Debug)]
pub(super) struct Pause {
    pub(super) since: Wall,
    pub(super) until: Wall,
    pub(super) reason: String,
}

/// What changes when a policy does.
struct State {
    config: Config,
    lists: Lists,
    epoch: u64,
    pause: Option<Pause>,
    alarms: BTreeMap<Alarm, String>,
    retired: Vec<Arc<Policy>>,
}

/// Makes policies and puts them in force.
pub(super) struct Activator {
    named: Option<PathBuf>,
    policy: Arc<ArcSwap<Policy>>,
    ledger: Sender,
    state: Mutex<State>,
    /// One reload at a time; held while lists are read, when `state` is not.
    reloading: Mutex<()>,
}

/// What a reload came to.
pub(super) struct Reloaded {
    pub(super) epoch: u64,
    pub(super) rules: usize,
    /// Settings that the new config has and that only a restart brings.
    pub(super) after_restart: Vec<&'static str>,
    /// What the gate let in although somebody should look at it.
    pub(super) warnings: Vec<String>,
}

impl Activator {
    pub(super) fn new(config: Config, named: Option<&Path>, lists: Lists, ledger: Sender, at: Believed) -> Self {
        let epoch = 1;
        let settings = Arc::new(config.settings.clone());
        in_large_pages(lists.rules.spans());
        let policy = Arc::new(Policy::new(epoch, Arc::clone(&lists.rules), settings, at.at));
        let state = State { config, lists, epoch, pause: None, alarms: BTreeMap::new(), retired: Vec::new() };
        let made = Self {
            named: named.map(Path::to_owned),
            policy: Arc::new(ArcSwap::new(Arc::clone(&policy))),
            ledger,
            state: Mutex::new(state),
            reloading: Mutex::new(()),
        };
        made.record(&made.state(), &policy);
        made.mind_clock(&at);
        made
    }

    /// Where workers read the policy.
    pub(super) fn swap(&self) -> Arc<ArcSwap<Policy>> {
        Arc::clone(&self.policy)
    }

    /// Where listeners tell that a client asks for many others.
    pub(super) fn forwarder_sink(&self) -> ForwarderSink {
        let ledger = self.ledger.clone();
        Box::new(move |address| {
            // The next hour tells again where there is no room for it now.
            ledger.try_send(StoreMessage::Note(Note::Forwarder { address, at: clock::now().wall }));
        })
    }

    /// Hands sightings to the ledger without waiting; `false` where there was no room.
    pub(super) fn record_sightings(&self, sightings: Vec<Sighting>) -> bool {
        self.ledger.try_send(StoreMessage::Sightings(sightings))
    }

    /// Tells the ledger something without waiting; `false` where there was no room.
    pub(super) fn tell(&self, note: Note) -> bool {
        self.ledger.try_send(StoreMessage::Note(note))
    }

    /// The policy in force.
    pub(super) fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    pub(super) fn store_path(&self) -> PathBuf {
        self.state().config.store.clone()
    }

    pub(super) fn with_config<T>(&self, read: impl FnOnce(&Config) -> T) -> T {
        read(&self.state().config)
    }

    /// What each file of the operator's lists came to when it was read.
    pub(super) fn reports(&self) -> Vec<(String, String, Report)> {
        self.state().lists.reports.clone()
    }

    /// What the gate let in although somebody should look at it.
    pub(super) fn gate_warnings(&self) -> Vec<String> {
        self.state().lists.warnings.values().flatten().cloned().collect()
    }

    pub(super) fn pause(&self) -> Option<Pause> {
        self.state().pause.clone()
    }

    pub(super) fn alarms(&self) -> Vec<String> {
        let state = self.state();
        let without = |(_, why): &(String, String)| {
            format!("{why}; it has no rules until a commit comes that can be used, or is gone back to")
        };
        state.alarms.values().cloned().chain(state.lists.left_out.iter().map(without)).collect()
    }

    /// Tells the ledger of a stretch of time in which not everything was enforced or seen.
    pub(super) fn record_gap(&self, gap: Gap) {
        self.ledger.send_note(Note::Gap(gap));
    }

    /// Whether an alarm is up.
    pub(super) fn has_alarm(&self, alarm: &Alarm) -> bool {
        self.state().alarms.contains_key(alarm)
    }

    /// Raises an alarm with a sentence, or takes it back.
    pub(super) fn set_alarm(&self, alarm: Alarm, sentence: Option<String>) {
        let mut state = self.state();
        // What is up already has been said.
        if let Some(sentence) = sentence.as_ref().filter(|new| state.alarms.get(&alarm) != Some(new)) {
            tracing::warn!(alarm = ?alarm, "{sentence}");
        }
        match sentence {
            Some(sentence) => state.alarms.insert(alarm, sentence),
            None => state.alarms.remove(&alarm),
        };
    }

    /// Reads config and lists again. What is wrong with them leaves everything as it was.
    pub(super) fn reload(&self) -> Result<Reloaded, String> {
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let read = load(self.named.as_deref()).map_err(|error| error.to_string()).and_then(|config| {
            let (after_restart, config) =
                self.with_config(|old| (needs_restart(old, &config), keep_running(old, config)));
            let lists = self.lists_of(&config)?;
            Ok((config, after_restart, lists))
        });
        let (config, after_restart, lists) = match read {
            Ok(read) => read,
            Err(why) => {
                self.set_alarm(
                    Alarm::Reload,
                    Some(format!("the last reload was refused, the old policy stays: {why}")),
                );
                return Err(format!("{why}; the old policy stays"));
            }
        };
        let mut state = self.state();
        let rules = lists.rules.len();
        let warnings = lists.warnings.values().flatten().cloned().collect();
        state.config = config;
        state.lists = lists;
        state.alarms.remove(&Alarm::Reload);
        let policy = self.put_in_force(&mut state);
        Ok(Reloaded { epoch: policy.epoch(), rules, after_restart, warnings })
    }

    /// The lists of a new config, if the gate lets them in. What is left out already may stay so.
    fn lists_of(&self, config: &Config) -> Result<Lists, String> {
        let (old, before) = self.in_force();
        let may_lack = |feed: &str| before.is_left_out(feed);
        let mut lists = lists::load_lacking(config, None, &may_lack).map_err(|error| error.to_string())?;
        judge_all(config, &mut lists, Some(InForce { config: &old, lists: &before }))?;
        Ok(lists)
    }

    /// Config and lists; the rules themselves are shared, not copied.
    fn in_force(&self) -> (Config, Lists) {
        let state = self.state();
        (state.config.clone(), state.lists.clone())
    }

    /// Puts rules in force that `build` makes of the config in force; its error leaves everything as it was.
    pub(super) fn replace(&self, build: &mut Build<'_>) -> Result<(), String> {
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let (config, in_force) = self.in_force();
        let mut lists = build(&config, Some(&in_force))?;
        let mut state = self.state();
        // Of the other lists nothing has changed.
        let mut warnings = std::mem::take(&mut state.lists.warnings);
        warnings.append(&mut lists.warnings);
        state.lists = Lists { warnings, ..lists };
        self.put_in_force(&mut state);
        Ok(())
    }

    /// A reload that nobody waits for.
    pub(super) fn reload_and_log(&self) {
        match self.reload() {
            Ok(reloaded) => tracing::info!(epoch = reloaded.epoch, rules = reloaded.rules, "reloaded"),
            Err(why) => tracing::error!("{why}"),
        }
    }

    /// Stops enforcing until a moment, or goes on with it at once.
    pub(super) fn set_pause(&self, span: Duration, reason: &str) -> Result<Option<Pause>, String> {
        if span > PAUSE_MAX {
            return Err(
                "a pause lasts 24 hours at most; set stages in the config to stop enforcing for longer".to_owned()
            );
        }
        if !span.is_zero() && reason.trim().is_empty() {
            return Err("a pause needs a reason; it is recorded".to_owned());
        }
        let now = believed(Some(self.policy().at())).at;
        let mut state = self.state();
        self.end_pause(&mut state, now);
        if !span.is_zero() {
            let until = now.checked_add(span).map_err(|_| "that pause would end after the end of time".to_owned())?;
            state.pause = Some(Pause { since: now, until, reason: reason.to_owned() });
        }
        self.put_in_force(&mut state);
        Ok(state.pause.clone())
    }

    /// Looks at dates: restages when a stage changes, ends a pause, frees what no worker reads any more.
    pub(super) fn tick(&self) {
        let policy = self.policy();
        let now = believed(Some(policy.at()));
        self.mind_clock(&now);
        let mut state = self.state();
        let retired = state.retired.len();
        state.retired.retain(|old| Arc::strong_count(old) > 1);
        if state.retired.len() != retired {
            give_back();
        }
        let paused_out = state.pause.as_ref().is_some_and(|pause| pause.until <= now.at);
        if paused_out {
            self.end_pause(&mut state, now.at);
        }
        if paused_out || policy.next_change().is_some_and(|change| change <= now.at) {
            let policy = self.put_in_force(&mut state);
            drop(state);
            tracing::info!(epoch = policy.epoch(), "stages changed");
        }
    }

    /// Makes a policy of the state and puts it in force.
    fn put_in_force(&self, state: &mut State) -> Arc<Policy> {
        let at = believed(Some(self.policy.load().at())).at;
        state.epoch += 1;
        in_large_pages(state.lists.rules.spans());
        let settings = Settings { enforce: state.pause.is_none(), ..state.config.settings.clone() };
        let policy = Arc::new(Policy::new(state.epoch, Arc::clone(&state.lists.rules), Arc::new(settings), at));
        state.retired.push(self.policy.swap(Arc::clone(&policy)));
        self.record(state, &policy);
        policy
    }

    fn end_pause(&self, state: &mut State, now: Wall) {
        let Some(pause) = state.pause.take() else { return };
        let ended = pause.until.min(now);
        let gap = Gap { why: GapReason::Paused, started: pause.since, ended, attempts: 0, note: pause.reason };
        self.ledger.send_note(Note::Gap(gap));
    }

    /// Tells the ledger which policy is in force from now on, with all that it takes to make it again.
    fn record(&self, state: &State, policy: &Policy) {
        self.ledger.send_note(Note::Activation(Activation {
            policy: policy.id(),
            at: policy.at(),
            settings: toml::to_string(&state.config.file).unwrap_or_default(),
            revisions: serde_json::to_string(&state.lists.revisions()).unwrap_or_default(),
        }));
    }

    fn mind_clock(&self, at: &Believed) {
        let up = self.state().alarms.contains_key(&Alarm::Clock);
        match at.disbelieved {
            Some(clock) if !up => self.set_alarm(
                Alarm::Clock,
                Some(format!("the clock says {clock}, which is before {}; dates are counted from the latter", at.at)),
            ),
            None if up => self.set_alarm(Alarm::Clock, None),
            _ => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with the lock left a state that was whole before its last assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of a new config only a restart brings.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let changed = [
        ("[dns] listen", old.listen != new.listen),
        ("[dns] allow", old.allow != new.allow),
        ("[dns] client_rate, prefix_rate, answer_kib", old.limits != new.limits),
        ("[dns] forwarders", old.forwarders != new.forwarders),
        ("[dns] workers", old.workers != new.workers),
        ("[dns] cache_mib", old.cache_octets != new.cache_octets),
        ("[upstream] servers", old.upstreams != new.upstreams),
        ("[inspect] interfaces", old.inspect != new.inspect),
        ("[gateway]", !old.gateway.starts_as(&new.gateway)),
        ("[upstream] and [[zone]]", old.resolving != new.resolving),
        ("[sinkhole] listen", old.sinkhole_listen != new.sinkhole_listen),
        ("[store] path", old.store != new.store),
        ("[ledger] keep_days", old.keep_days != new.keep_days),
        ("[log]", old.log_level != new.log_level || old.log_json != new.log_json),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
}

/// A new config with the parts of the old one that go on until a restart.
fn keep_running(old: &Config, new: Config) -> Config {
    Config {
        listen: old.listen.clone(),
        allow: old.allow.clone(),
        limits: old.limits,
        forwarders: old.forwarders.clone(),
        workers: old.workers,
        cache_octets: old.cache_octets,
        upstreams: old.upstreams.clone(),
        inspect: old.inspect.clone(),
        gateway: new.gateway.clone().running_as(&old.gateway),
        resolving: old.resolving.clone(),
        sinkhole_listen: old.sinkhole_listen.clone(),
        store: old.store.clone(),
        keep_days: old.keep_days,
        log_level: old.log_level.clone(),
        log_json: old.log_json,
        ..new
    }
}
