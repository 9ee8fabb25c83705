//! How it goes, as JSON: for `interdict status`, for monitors.

use super::activate::Activator;
use super::follow::Follower;
use super::gateway::Gateway;
use super::inspect::Inspect;
use super::sinkhole::Sinkhole;
use crate::base::model::{Stage, Wall};
use crate::engine::resolver::core::Counters;
use crate::io::store::StoreCounters;
use crate::policy::Policy;
use crate::policy::list::Report;
use jiff::ToSpan as _;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// Days before the evidence of a blocked range is too old to block on, from which this is said.
const EXPIRY_NOTICE_DAYS: i64 = 30;

/// What does not change while the daemon runs, and the figures that the data plane keeps.
pub(super) struct About {
    pub(super) listen: Vec<SocketAddr>,
    pub(super) upstreams: watch::Receiver<Vec<SocketAddr>>,
    pub(super) counters: Arc<Counters>,
    pub(super) store: Arc<StoreCounters>,
    pub(super) started: Wall,
    pub(super) follower: Arc<Follower>,
    pub(super) gateway: Option<Arc<Gateway>>,
    pub(super) sinkhole: Arc<Sinkhole>,
    pub(super) inspect: Option<Arc<Inspect>>,
}

/// Everything that `status` shows.
pub(super) fn object(activator: &Activator, about: &About) -> Value {
    let policy = activator.policy();
    let mut alarms = activator.alarms();
    alarms.extend(about.store.alarm().map(|alarm| alarm.to_string()));
    let pause = activator.pause();
    let state = if pause.is_some() {
        "paused"
    } else if !blocks(&policy) {
        "not-enforcing"
    } else if alarms.is_empty() {
        "healthy"
    } else {
        "alarm"
    };
    let counters: Map<String, Value> =
        about.counters.snapshot().into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
    let mut warnings = warnings(activator, &policy);
    warnings.extend(about.follower.warnings());
    warnings.extend(about.gateway.iter().flat_map(|gateway| gateway.warnings()));
    json!({
        "state": state,
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "started": about.started.to_string(),
        "listen": about.listen,
        "upstreams": *about.upstreams.borrow(),
        "pause": pause.map(|pause| json!({
            "since": pause.since.to_string(), "until": pause.until.to_string(), "reason": pause.reason,
        })),
        "alarms": alarms,
        "warnings": warnings,
        "sync": about.follower.objects(),
        "fetching": about.follower.fetching(),
        "policy": policy_object(&policy),
        "gateway": about.gateway.as_ref().map(|gateway| gateway.status()),
        "sinkhole": about.sinkhole.status(),
        "inspect": about.inspect.as_ref().map(|inspect| inspect.status()),
        "counters": counters,
        "ledger": {
            "path": activator.store_path().join("ledger.sqlite"),
            "sequence": about.store.sequence(),
            "attempts": about.store.attempts_committed(),
            "lost": about.store.lost(),
            "waiting": about.store.waiting(),
            "news_lost": about.store.news_lost(),
        },
    })
}

fn policy_object(policy: &Policy) -> Value {
    let lists = policy.rules().lists().iter().map(|list| json!({"id": &*list.id, "revision": &*list.revision}));
    json!({
        "epoch": policy.epoch(),
        "id": policy.id().to_string(),
        "at": policy.at().to_string(),
        "next_change": policy.next_change().map(|change| change.to_string()),
        "rules": policy.rules().len(),
        "bytes": policy.rules().bytes(),
        "lists": lists.collect::<Vec<_>>(),
    })
}

/// Whether anything at all is blocked, for anybody.
fn blocks(policy: &Policy) -> bool {
    policy.groups().iter().any(blocks)
        || policy.rules().classes().any(|(id, _)| policy.staged(id).is_some_and(|staged| staged.stage == Stage::Block))
}

/// What is not wrong yet: evidence that runs out, list lines that were left out.
fn warnings(activator: &Activator, policy: &Policy) -> Vec<String> {
    let notice = policy.at().checked_add((24 * EXPIRY_NOTICE_DAYS).hours()).unwrap_or(Wall::MAX);
    let mut expiring: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (id, class) in policy.rules().classes() {
        let blocked = policy.staged(id).is_some_and(|staged| staged.stage == Stage::Block);
        if let (true, Some(expires), Some(vendor)) = (blocked, class.expires, &class.vendor)
            && expires <= notice
        {
            *expiring.entry((vendor.to_string(), expires.to_string())).or_default() += 1;
        }
    }
    let expiring = expiring.into_keys().map(|(vendor, when)| {
        format!("address ranges of {vendor} fall to observe on {when}: their evidence is then a year old")
    });
    let reports = activator.reports();
    let reports = reports.iter().filter_map(|(list, file, report)| left_out(list, file, report));
    expiring.chain(reports).chain(activator.gate_warnings()).collect()
}

/// What was left out of a file, with the first line of it.
fn left_out(list: &str, file: &str, report: &Report) -> Option<String> {
    let counted = [(report.bad, "unreadable"), (report.ignored, "not judged here")];
    let counted: Vec<String> =
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let first = report.left_out().into_iter().next()?;
    let (counted, place, why) = (counted.join(", "), first.place(file), &first.why);
    Some(format!("list {list}: lines left out: {counted}; the first is {place}: {why}"))
}
