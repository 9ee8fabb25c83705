//! `check --as-enforced`: the policy that was in force at a moment, rebuilt from what the ledger recorded when it came into force, and
//! only if it comes to the same id.

use super::Failure;
use crate::app::config::{self, Config};
use crate::app::lists::{self, Commit, Lists, Snapshots};
use crate::app::sync::feeds;
use crate::base::model::Wall;
use crate::io::store::{Activation, Gap, GapReason, Ledger};
use crate::policy::{Policy, Settings};
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long a daemon may be silent and still be taken for running.
const SILENCE_MAX: SignedDuration = SignedDuration::from_secs(10);

/// A policy as it was in force.
pub(super) struct Enforced {
    /// Staged at the moment that was asked about.
    pub(super) policy: Policy,
    /// What its lists from git were read from.
    pub(super) commits: Vec<Commit>,
    /// Since when it was in force, and whether anything was enforced at the moment.
    pub(super) notes: Vec<String>,
}

/// What was in force at a moment.
///
/// # Errors
/// Nothing was, or what was is not all here any more.
pub(super) fn at(at: Wall, config: &Config) -> Result<Enforced, Failure> {
    let ledger = Ledger::open_read(&config.store).map_err(Failure::failed)?;
    let activation = ledger.activation_at(at).map_err(Failure::failed)?;
    let activation = activation.ok_or_else(|| {
        Failure::failed(format!("the ledger knows of nothing that was in force at {at}; it began later, or forgot it"))
    })?;
    let lost = |why: String| Failure::failed(format!("what was in force at {at} cannot be told: {why}"));
    let recorded: BTreeMap<String, String> =
        serde_json::from_str(&activation.revisions).map_err(|why| lost(why.to_string()))?;
    let then = config::parse(&activation.settings, &config.source).map_err(|why| lost(why.to_string()))?;
    let then = Config { store: config.store.clone(), ..then };
    let lists = lists_of(&then, &recorded).map_err(lost)?;
    let (policy, is_paused) = policy(&lists, &then, &activation, at).map_err(lost)?;
    let mut notes = vec![format!("policy {} in force since {}", activation.policy, activation.at)];
    if is_paused {
        notes.push("enforcement was paused: what would be blocked was observed".to_owned());
    }
    let gaps = ledger.gaps(Some(at)).map_err(Failure::failed)?;
    notes.extend(gaps.iter().find_map(|gap| silent(gap, at)));
    let heartbeat = ledger.heartbeat().map_err(Failure::failed)?;
    notes.extend(
        heartbeat
            .filter(|seen| at.duration_since(*seen) > SILENCE_MAX)
            .map(|seen| format!("no daemon was seen after {seen}: this is what it enforced last")),
    );
    Ok(Enforced { policy, commits: lists.commits, notes })
}

/// That no daemon ran.
fn silent(gap: &Gap, at: Wall) -> Option<String> {
    let is_then = gap.started <= at && at < gap.ended;
    let is_of_daemon = matches!(gap.why, GapReason::Stopped | GapReason::Died);
    (is_then && is_of_daemon)
        .then(|| format!("no daemon ran from {} to {}: nothing was answered then", gap.started, gap.ended))
}

/// The lists of a config with the revisions that were recorded.
fn lists_of(then: &Config, recorded: &BTreeMap<String, String>) -> Result<Lists, String> {
    let mut snapshots = Snapshots::default();
    for feed in feeds(then) {
        let Some(revision) = feed.lists.iter().find_map(|id| recorded.get(id)) else { continue };
        let snapshot = feed.source.at(revision).map_err(|why| format!("list {}: {why}", feed.lists.join(", ")))?;
        snapshots.insert(&feed, snapshot);
    }
    let lists = lists::load_with(then, &snapshots).map_err(|why| why.to_string())?;
    let have = lists.revisions();
    let differs = recorded.iter().filter(|(id, was)| have.get(id.as_str()).is_none_or(|is| is != was));
    let differs: Vec<String> = differs
        .map(|(id, was)| match have.get(id.as_str()) {
            Some(is) => format!("{id} had revision {was} and has {is} now"),
            None => format!("{id} had revision {was} and is not here any more"),
        })
        .collect();
    if differs.is_empty() { Ok(lists) } else { Err(differs.join("; ")) }
}

/// The policy with the recorded id, and whether it was paused.
fn policy(lists: &Lists, then: &Config, activation: &Activation, at: Wall) -> Result<(Policy, bool), String> {
    let of = |enforce| {
        let settings = Settings { enforce, ..then.settings.clone() };
        Policy::new(1, Arc::clone(&lists.rules), Arc::new(settings), at)
    };
    let (enforcing, paused) = (of(true), of(false));
    if enforcing.id() == activation.policy {
        return Ok((enforcing, false));
    }
    if paused.id() == activation.policy {
        return Ok((paused, true));
    }
    Err(format!(
        "its lists and settings come to policy {} here, and it was {}; another version of this program made it",
        enforcing.id(),
        activation.policy
    ))
}
