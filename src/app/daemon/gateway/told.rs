//! How it goes with the gateway, for people and programs.

use super::Gateway;
use crate::app::gateway::wants;
use crate::engine::gateway::UNLOGGED;
use crate::io::gateway::{Counted, Found, Held, Queueing};
use serde_json::{Map, Value, json};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

impl Gateway {
    /// What may be missing in the ledger: who sent packets that only the counters have.
    pub(in crate::app::daemon) fn warnings(&self) -> Vec<String> {
        let counters = self.state().enforcer.found().unwrap_or_default().counters;
        let unlogged = counters.get(UNLOGGED).map_or(0, |counted| counted.packets);
        let lost = self.log.lost.load(Ordering::Relaxed);
        let queueing = self.state().enforcer.queueing();
        let is_blind = self.state().config.settings.inspect.is_some() && queueing == Queueing::Missing;
        let blind = is_blind.then(|| {
            "gateway: names of connections are not looked at: this kernel lets no packet wait for us (CONFIG_NFT_QUEUE, or \
             CONFIG_NFT_COMPAT with CONFIG_NETFILTER_XT_TARGET_NFQUEUE)"
                .to_owned()
        });
        let why = [
            (unlogged, "had no room among those that are recorded"),
            (lost, "were lost on the way from the kernel to us"),
        ];
        let missing = why.into_iter().filter(|(packets, _)| *packets > 0);
        missing
            .map(|(packets, why)| format!("gateway: {packets} packets {why}: endpoints may be missing in the report"))
            .chain(blind)
            .collect()
    }

    /// How it goes.
    pub(in crate::app::daemon) fn status(&self) -> Value {
        let mut state = self.state();
        let found = state.enforcer.found().unwrap_or_default();
        let mut object = object(&found);
        object.insert("enabled".to_owned(), true.into());
        object.insert("removed".to_owned(), state.removed.into());
        object.insert("epoch".to_owned(), state.planned.into());
        object.insert("refused".to_owned(), state.refused.clone().into());
        let ranges =
            state.prepared.as_ref().map(|prepared| json!({"block": prepared.blocked, "observe": prepared.observed}));
        object.insert("ranges".to_owned(), ranges.unwrap_or_default());
        object.insert("queue".to_owned(), state.enforcer.queueing().as_str().into());
        object.insert("inspect".to_owned(), self.names.as_ref().map(|names| names.status()).into());
        object.insert("wants".to_owned(), wants(&state.system.interfaces).into());
        object.insert("mended".to_owned(), json!({"times": state.mended.0, "last": state.mended.2}));
        drop(state);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.log;
        let bypasses = counters.bypasses.lock().unwrap_or_else(PoisonError::into_inner);
        let bypasses: Vec<Value> = bypasses
            .iter()
            .map(|((client, resolver), (count, last))| {
                json!({"endpoint": client, "resolver": resolver, "count": count, "last": last.to_string()})
            })
            .collect();
        object.insert("bypass".to_owned(), bypasses.into());
        let log = json!({
            "lost": count(&counters.lost),
            "foreign": count(&counters.foreign),
            "unlisted": count(&counters.unlisted),
            "renewals_failed": count(&counters.renewals_failed),
            "bypass_dropped": count(&counters.bypasses_dropped),
        });
        object.insert("sighted".to_owned(), count(&counters.sighted).into());
        object.insert("log".to_owned(), log);
        object.insert("learned".to_owned(), self.learning.status());
        object.insert("ways".to_owned(), counters.ways.lock().unwrap_or_else(PoisonError::into_inner).object());
        object.into()
    }
}

/// What the kernel has, for people and programs.
pub(in crate::app) fn object(found: &Found) -> Map<String, Value> {
    let held = |held: Option<Held>| match held {
        None => "absent",
        Some(Held::Owned) => "owned",
        Some(Held::Plain) => "plain",
    };
    let counted = |counted: &Counted| json!({"packets": counted.packets, "octets": counted.octets});
    let counters: Map<String, Value> =
        found.counters.iter().map(|(name, count)| (name.clone(), counted(count))).collect();
    let mut object = Map::new();
    object.insert("hold".to_owned(), held(found.hold).into());
    object.insert("main".to_owned(), held(found.main).into());
    object.insert("counters".to_owned(), counters.into());
    object
}
