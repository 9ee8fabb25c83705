//! From `[[blocklist]]` entries to sources: lists of one repository and reference come from one commit, and are one feed.

use crate::app::config::{Blocklist, Config, GitList, Origin};
use crate::base::model::Wall;
use crate::io::sync::schedule::staleness;
use crate::io::sync::source::Settings;
use crate::io::sync::{Limits, Source};
use std::path::Path;
use std::time::Duration;

/// The folder of all sources in the store.
const FOLDER: &str = "lists";

/// A repository, what is followed in it, and the lists that come from there.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The id of its first list, which is its folder's name too.
    pub id: String,
    /// The ids of its lists.
    pub lists: Vec<String>,
    /// What fetches, verifies and keeps.
    pub source: Source,
    /// Its address and what is followed, in words.
    pub place: String,
    /// How often the remote is asked.
    pub every: Duration,
    /// How old its newest commit may be before that is said.
    pub promise: Option<Duration>,
}

/// The feeds of a config, in its order.
#[must_use]
pub fn feeds(config: &Config) -> Vec<Feed> {
    let mut groups: Vec<Vec<(&Blocklist, &GitList)>> = Vec::new();
    for list in &config.blocklists {
        let Origin::Git(git) = &list.origin else { continue };
        let same = groups.iter_mut().find(|group| group.iter().any(|(_, other)| other.is_same_source(git)));
        match same {
            Some(group) => group.push((list, git)),
            None => groups.push(vec![(list, git)]),
        }
    }
    groups.iter().filter_map(|group| feed(group, &config.store)).collect()
}

fn feed(group: &[(&Blocklist, &GitList)], store: &Path) -> Option<Feed> {
    let (first, git) = group.first()?;
    let settings = Settings {
        remote: git.remote.clone(),
        reference: git.reference.clone(),
        paths: group.iter().map(|(_, git)| git.path.clone()).collect(),
        signers: git.signers.clone(),
        limits: Limits::default(),
    };
    Some(Feed {
        id: first.id.clone(),
        lists: group.iter().map(|(list, _)| list.id.clone()).collect(),
        source: Source::new(store.join(FOLDER).join(&first.id), settings),
        place: format!("{}, {}", git.remote, git.reference),
        every: group.iter().map(|(_, git)| git.every).min()?,
        promise: group.iter().filter_map(|(_, git)| git.promise).min(),
    })
}

impl Feed {
    /// Whether a list of this id comes from here.
    #[must_use]
    pub fn has(&self, list: &str) -> bool {
        self.lists.iter().any(|id| id == list)
    }

    /// What is not wrong yet: nothing fetched so far, or nothing new for longer than was promised.
    #[must_use]
    pub fn warning(&self, now: Wall) -> Option<String> {
        let lists = self.lists.join(", ");
        match self.source.record() {
            Ok(None) => Some(format!("list {lists}: nothing was taken from {} yet, so it has no rules", self.place)),
            Ok(Some(record)) => {
                let stale = staleness(record.good.time, self.promise?, now)?;
                Some(format!("list {lists}: {stale}"))
            }
            Err(why) => Some(format!("list {lists}: {why}")),
        }
    }
}
