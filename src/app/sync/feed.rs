//! From `[[blocklist]]` entries to sources: lists of one repository and reference come from one commit, and are one feed.

use crate::app::config::{Blocklist, Config, GitList, Origin};
use crate::base::model::Wall;
use crate::io::sync::record::Record;
use crate::io::sync::schedule::staleness;
use crate::io::sync::source::Settings;
use crate::io::sync::{Limits, Source};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folder of all sources in the store.
const FOLDER: &str = "lists";

/// A repository, what is followed in it, and the lists that come from there.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The id of its first list.
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
    let folder = config.store.join(FOLDER);
    let folders = folders(&groups, &kept(&folder));
    groups.iter().zip(folders).filter_map(|(group, name)| feed(group, folder.join(name))).collect()
}

/// The folders that are there, each with what its record is about.
fn kept(folder: &Path) -> Vec<(String, Option<(String, String)>)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut kept: Vec<_> = entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| {
            // A damaged record is for its source to say.
            let record = Record::load(&entry.path()).ok().flatten();
            Some((entry.file_name().into_string().ok()?, record.map(|record| (record.remote, record.reference))))
        })
        .collect();
    kept.sort();
    kept
}

/// The folder of each group: the one whose record is about its repository and reference, wherever its lists stand in the config;
/// else the one that is called after one of its lists, since a repository may move, and what was accepted of the old address
/// still counts; else a new one, called after its first list.
fn folders(groups: &[Vec<(&Blocklist, &GitList)>], kept: &[(String, Option<(String, String)>)]) -> Vec<String> {
    let about = |git: &GitList| Some((git.remote.to_string(), git.reference.to_string()));
    let mut taken: Vec<Option<String>> = groups
        .iter()
        .map(|group| group.first().and_then(|(_, git)| kept.iter().find(|(_, record)| *record == about(git))))
        .map(|found| found.map(|(name, _)| name.clone()))
        .collect();
    for (at, group) in groups.iter().enumerate() {
        let is_free = |name: &str, taken: &[Option<String>]| !taken.iter().flatten().any(|other| other == name);
        let ids = || group.iter().map(|(list, _)| list.id.clone());
        let found = || ids().find(|id| kept.iter().any(|(name, _)| name == id) && is_free(id, &taken));
        // An id belongs to one group alone, so that at most one folder of its name is taken by another.
        let new = || ids().chain(ids().map(|id| id + ".")).find(|id| is_free(id, &taken)).unwrap_or_default();
        let name = taken.get(at).cloned().flatten().or_else(found).unwrap_or_else(new);
        if let Some(place) = taken.get_mut(at) {
            *place = Some(name);
        }
    }
    taken.into_iter().map(Option::unwrap_or_default).collect()
}

fn feed(group: &[(&Blocklist, &GitList)], folder: PathBuf) -> Option<Feed> {
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
        source: Source::new(folder, settings),
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
