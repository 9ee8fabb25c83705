//! One wish for one feed, from the remote to the policy in force.

use super::{Feed, feeds};
use crate::app::config::Config;
use crate::app::gate::{InForce, judge_feed, judge_files};
use crate::app::lists::{self, Lists};
use crate::app::time::believed;
use crate::io::sync::source::{Change, Snapshot};
use crate::io::sync::{Access, Found, Progress, Update};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::PathBuf;

/// What is wanted of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Ask the remote, and take what it has.
    Check,
    /// The same, but take nothing.
    DryRun,
    /// Go back to a commit, or to the one before.
    Rollback(Option<String>),
    /// Hold a commit.
    Pin(String),
    /// Move on again.
    Unpin,
    /// Take what a `git bundle` has.
    Import(PathBuf),
}

/// Makes rules of a config, beside the lists that are in force where a daemon runs.
pub type Build<'a> = dyn FnMut(&Config, Option<&Lists>) -> Result<Lists, String> + 'a;

/// Where rules are put in force.
pub trait Place {
    /// Lets `build` make rules of the config in force and remember what they come from, then puts them in force. Nothing else
    /// changes the policy meanwhile.
    ///
    /// # Errors
    /// The sentence of `build`; everything is as it was then.
    fn put_in_force(&self, build: &mut Build<'_>) -> Result<(), String>;

    /// The addresses of a host name, by our own upstreams.
    fn resolve(&self, host: &str) -> Vec<IpAddr>;

    /// Told how far a fetch is.
    fn progress(&self, feed: &Feed, progress: Progress);
}

/// What became of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// There is nothing new.
    Unchanged,
    /// A commit is held, so that nobody was asked.
    Pinned,
    /// The next look may move on.
    Unpinned,
    /// It would be taken.
    Would,
    /// It is in force.
    Taken,
    /// It is refused; what was in force stays.
    Refused,
}

impl Came {
    const fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Pinned => "pinned",
            Self::Unpinned => "unpinned",
            Self::Would => "would-be-taken",
            Self::Taken => "taken",
            Self::Refused => "refused",
        }
    }
}

/// What became of a wish, and of what.
#[derive(Clone, Debug)]
pub struct Done {
    /// The feed.
    pub feed: String,
    /// What became of it.
    pub came: Came,
    /// Why it is refused.
    pub refused: Option<String>,
    /// Commit, date and signer of what was looked at, as far as it came.
    what: Value,
    /// Rules of its lists.
    rules: Option<usize>,
    /// What somebody should look at.
    warnings: Vec<String>,
}

impl Done {
    fn new(feed: &Feed, came: Came) -> Self {
        Self { feed: feed.id.clone(), came, refused: None, what: Value::Null, rules: None, warnings: Vec::new() }
    }

    fn refused(feed: &Feed, why: impl ToString) -> Self {
        Self { refused: Some(why.to_string()), ..Self::new(feed, Came::Refused) }
    }

    /// As commands show it.
    #[must_use]
    pub fn object(&self) -> Value {
        json!({
            "id": self.feed,
            "result": self.came.word(),
            "error": self.refused,
            "commit": self.what.get("commit"),
            "time": self.what.get("time"),
            "signer": self.what.get("signer"),
            "rules": self.rules,
            "warnings": self.warnings,
        })
    }
}

/// The feed that a list comes from.
///
/// # Errors
/// A sentence, when it comes from none.
pub fn find<'f>(feeds: &'f [Feed], id: &str) -> Result<&'f Feed, String> {
    feeds.iter().find(|feed| feed.has(id)).ok_or_else(|| {
        let known: Vec<&str> = feeds.iter().flat_map(|feed| &feed.lists).map(String::as_str).collect();
        match known[..] {
            [] => format!("no [[blocklist]] {id:?} comes from git; the config has none with git"),
            _ => format!("no [[blocklist]] {id:?} comes from git; those that do: {}", known.join(", ")),
        }
    })
}

/// Does what is wished.
pub fn step(feed: &Feed, wish: &Wish, place: &dyn Place) -> Done {
    let now = believed(None).at;
    let resolve = |host: &str| place.resolve(host);
    let progress = |progress| place.progress(feed, progress);
    let access = Access { resolve: &resolve, progress: &progress };
    let source = &feed.source;
    let found = match wish {
        Wish::Check | Wish::DryRun => source.check(now, &access),
        Wish::Import(bundle) => source.import(bundle, now),
        Wish::Rollback(revision) => source.rollback(revision.as_deref()).map(|update| Found::Update(Box::new(update))),
        Wish::Pin(revision) => source.pin(revision).map(|update| Found::Update(Box::new(update))),
        Wish::Unpin => {
            return match source.unpin() {
                Ok(()) => Done::new(feed, Came::Unpinned),
                Err(why) => Done::refused(feed, why),
            };
        }
    };
    match found {
        Err(why) => Done::refused(feed, why),
        Ok(Found::Unchanged) => Done::new(feed, Came::Unchanged),
        Ok(Found::Pinned) => Done::new(feed, Came::Pinned),
        Ok(Found::Update(update)) => take(feed, *update, *wish == Wish::DryRun, place),
    }
}

/// Builds the rules that an update would make, and unless this is a trial, remembers it and puts them in force.
fn take(feed: &Feed, update: Update, trial: bool, place: &dyn Place) -> Done {
    let mut done =
        Done { what: facts(&update.snapshot), ..Done::new(feed, if trial { Came::Would } else { Came::Taken }) };
    let mut update = Some(update);
    let mut rules = None;
    let mut warnings = Vec::new();
    let mut refused = None;
    let result = place.put_in_force(&mut |config, in_force| {
        let update = update.take().ok_or("asked twice")?;
        let lists = rules_with(config, feed, (&update.snapshot, update.change), in_force)?;
        warnings = feed.lists.iter().filter_map(|id| lists.warnings.get(id)).flatten().cloned().collect();
        rules = Some(feed.lists.iter().filter_map(|id| lists.counts.get(id)).sum());
        if trial {
            // Neither remembered nor in force: an error is how nothing happens.
            refused = Some(());
            return Err(String::new());
        }
        feed.source.accept(update, believed(None).at).map_err(|why| why.to_string())?;
        Ok(lists)
    });
    (done.rules, done.warnings) = (rules, warnings);
    match (result, refused) {
        (Ok(()), _) | (Err(_), Some(())) => done,
        (Err(why), None) => Done { came: Came::Refused, refused: Some(why), ..done },
    }
}

fn facts(snapshot: &Snapshot) -> Value {
    json!({
        "commit": snapshot.commit.short(),
        "time": snapshot.time.to_string(),
        "signer": snapshot.signer.as_ref().map(|signer| signer.principals.as_str()),
    })
}

/// The rules of a config with the files of one feed replaced by others, if the gate lets them in.
fn rules_with(
    config: &Config,
    feed: &Feed,
    (snapshot, change): (&Snapshot, Change),
    in_force: Option<&Lists>,
) -> Result<Lists, String> {
    let feeds = feeds(config);
    let still = feeds.iter().find(|other| other.id == feed.id && other.place == feed.place);
    let still = still.ok_or_else(|| format!("{} has left the config meanwhile", feed.id))?;
    let replaced = Some((still, snapshot));
    // What is left out already may stay so; without a daemon the next start sees.
    let may_lack = |id: &str| in_force.is_none_or(|lists| lists.is_left_out(id));
    let mut lists = lists::load_lacking(config, replaced, &may_lack).map_err(|why| why.to_string())?;
    // Whoever goes back, or holds a commit, means to lose or gain what lies between.
    let is_compared = change == Change::Newer;
    judge_feed(config, still, &mut lists, is_compared)?;
    if let Some(in_force) = in_force {
        // Files were read again, and may have changed since.
        judge_files(config, &mut lists, InForce { config, lists: in_force })?;
    }
    Ok(lists)
}

/// A place where no daemon runs: what is remembered is in force with its next start.
pub struct Alone<'a> {
    /// The config.
    pub config: &'a Config,
    /// The addresses of a host name.
    pub resolve: &'a dyn Fn(&str) -> Vec<IpAddr>,
    /// Told how far a fetch is.
    pub progress: &'a dyn Fn(&Feed, Progress),
}

impl Place for Alone<'_> {
    fn put_in_force(&self, build: &mut Build<'_>) -> Result<(), String> {
        build(self.config, None).map(drop)
    }

    fn resolve(&self, host: &str) -> Vec<IpAddr> {
        (self.resolve)(host)
    }

    fn progress(&self, feed: &Feed, progress: Progress) {
        (self.progress)(feed, progress);
    }
}
