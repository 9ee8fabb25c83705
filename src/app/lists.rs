//! Reading all lists that a config names into one rule set: vendor files first, then the operator's lists.

use super::config::{Blocklist, Config, GitList, Origin};
use super::sync::{Feed, feeds};
use crate::base::model::Wall;
use crate::io::sync::source::{ListFile, Snapshot};
use crate::io::sync::{CommitId, Refused};
use crate::policy::list::Format;
use crate::policy::list::{ListError, Refusal, Report, bundled, did_you_mean, vendor};
use crate::policy::{Include, Included, List, Reading, RuleSet, RuleSetBuilder, TooMany};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Octets read at once from a list.
const READ_OCTETS: usize = 64 << 10;
/// Octets of the largest list file.
const FILE_OCTETS_MAX: u64 = 1 << 30;
/// Octets of the largest list that another one includes.
const INCLUDED_OCTETS_MAX: u64 = 64 << 20;
/// Hex digits of a content hash that stand for a revision.
const REVISION_DIGITS: usize = 12;

/// Why the lists could not be read. The policy in force stays.
#[derive(Debug, thiserror::Error)]
pub enum ListsError {
    /// A vendor file is wrong.
    #[error(transparent)]
    Vendor(#[from] ListError),
    /// A list is refused.
    #[error(transparent)]
    List(#[from] Refusal),
    /// A file or folder cannot be read.
    #[error("{path}: cannot be read: {error}; name a readable file, or take the entry out of the config")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A folder of vendor files without any.
    #[error("{0}: no vendor file (*.toml) is in this folder; unset [policy] vendors to use the embedded ones")]
    NoVendors(PathBuf),
    /// Two vendor files with one id.
    #[error("{file}: the id {id:?} is taken by another vendor file; give each vendor one file")]
    Twice {
        /// The second file.
        file: String,
        /// The id.
        id: String,
    },
    /// A stage for a vendor that no file describes.
    #[error("{place}: stages names {vendor:?}, and no vendor file has that id{hint}")]
    UnknownVendor {
        /// The config's file and line.
        place: String,
        /// What the config says.
        vendor: String,
        /// The id that it resembles.
        hint: String,
    },
    /// What is kept of a repository cannot be used.
    #[error("list {id}: {why}")]
    Kept {
        /// The list.
        id: String,
        /// Why.
        why: Box<Refused>,
    },
    /// The files of a commit cannot be used.
    #[error("list {id}: {why}")]
    Commit {
        /// The list.
        id: String,
        /// Why.
        why: Box<Self>,
    },
    /// A bound was passed.
    #[error("the lists together: {0}")]
    TooMany(#[from] TooMany),
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Lists {
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// What reading each file of the operator's lists came to: list, file, report.
    pub reports: Vec<(String, String, Report)>,
    /// Rules of each of the operator's lists.
    pub counts: BTreeMap<String, usize>,
    /// Octets of text that were read of each list and vendor file.
    pub octets: BTreeMap<String, u64>,
    /// What lists from git were read from.
    pub commits: Vec<Commit>,
    /// Feeds whose last good commit cannot be used, each with a sentence: their lists have no rules.
    pub left_out: Vec<(String, String)>,
    /// What the gate let in although somebody should look at it, by list.
    pub warnings: BTreeMap<String, Vec<String>>,
}

impl Lists {
    /// The revision of every list and vendor file, and the commit of every list from git.
    #[must_use]
    pub fn revisions(&self) -> BTreeMap<&str, &str> {
        let read = self.rules.lists().iter().map(|list| (&*list.id, &*list.revision));
        // Its files may be vendor files, which have ids of their own.
        let commits = self.commits.iter().map(|commit| (commit.list.as_str(), commit.id.short()));
        read.chain(commits).collect()
    }

    /// Whether a file that was read, a vendor file too, is one of a list of the operator's.
    #[must_use]
    pub fn is_of(&self, id: &str, list: &List) -> bool {
        let commit = self.commits.iter().find(|commit| commit.list == id);
        // A vendor file has an id of its own, and what another list includes no report.
        let is_plain = list.stage.is_some() && *list.id == *id;
        let is_its = is_plain || self.reports_of(id).any(|(file, _)| file == &*list.file);
        is_its && commit.is_none_or(|commit| *list.revision == *commit.id.short())
    }

    /// Whether a feed is left out.
    #[must_use]
    pub fn is_left_out(&self, feed: &str) -> bool {
        self.left_out.iter().any(|(id, _)| id == feed)
    }

    /// The files of a list of the operator's, each with what reading it came to.
    pub fn reports_of(&self, id: &str) -> impl Iterator<Item = (&str, &Report)> {
        let files = self.reports.iter().filter(move |(list, ..)| list == id);
        files.map(|(_, file, report)| (file.as_str(), report))
    }
}

/// The commit that a list was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The list.
    pub list: String,
    /// The commit.
    pub id: CommitId,
    /// Its date.
    pub time: Wall,
    /// Who signed it.
    pub signer: Option<String>,
}

/// The files of lists from git, by list.
#[derive(Clone, Debug, Default)]
pub struct Snapshots(BTreeMap<String, Arc<Snapshot>>);

impl Snapshots {
    /// The last good commit of each feed, from disk alone. A feed of which nothing was taken yet has no files.
    ///
    /// # Errors
    /// What is kept of one cannot be used.
    pub fn held<'f>(feeds: impl IntoIterator<Item = &'f Feed>) -> Result<Self, ListsError> {
        let mut held = Self::default();
        for feed in feeds {
            let good = feed.source.good().map_err(|why| kept(feed, why))?;
            good.into_iter().for_each(|snapshot| held.insert(feed, snapshot));
        }
        Ok(held)
    }

    /// Puts a commit in the place of what a feed had.
    pub fn insert(&mut self, feed: &Feed, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        for id in &feed.lists {
            self.0.insert(id.clone(), Arc::clone(&snapshot));
        }
    }

    fn remove(&mut self, feed: &Feed) {
        self.0.retain(|id, _| !feed.has(id));
    }
}

fn kept(feed: &Feed, why: Refused) -> ListsError {
    ListsError::Kept { id: feed.lists.join(", "), why: Box::new(why) }
}

/// Reads everything that a config names.
///
/// # Errors
/// The first list that cannot be used; nothing takes effect then.
pub fn load(config: &Config) -> Result<Lists, ListsError> {
    load_with(config, &Snapshots::held(&feeds(config))?)
}

/// The same with the files of one feed replaced by others, and without the feeds that `may_lack` names where what is kept of them
/// cannot be used: a list that this version of the program refuses, or a damaged disk, does not take the others along.
///
/// # Errors
/// The first list that cannot be used.
pub fn load_lacking(
    config: &Config,
    replaced: Option<(&Feed, &Snapshot)>,
    may_lack: &dyn Fn(&str) -> bool,
) -> Result<Lists, ListsError> {
    let feeds = feeds(config);
    let may_lack = |feed: &Feed| replaced.is_none_or(|(replaced, _)| replaced.id != feed.id) && may_lack(&feed.id);
    let (mut snapshots, mut left_out) = (Snapshots::default(), Vec::new());
    for feed in &feeds {
        match replaced.filter(|(replaced, _)| replaced.id == feed.id) {
            Some((_, snapshot)) => snapshots.insert(feed, snapshot.clone()),
            None => match feed.source.good() {
                Ok(good) => good.into_iter().for_each(|snapshot| snapshots.insert(feed, snapshot)),
                Err(why) if may_lack(feed) => left_out.push((feed.id.clone(), kept(feed, why).to_string())),
                Err(why) => return Err(kept(feed, why)),
            },
        }
    }
    loop {
        let error = match load_with(config, &snapshots) {
            Ok(lists) => return Ok(Lists { left_out, ..lists }),
            Err(error) => error,
        };
        let ListsError::Commit { id, .. } = &error else { return Err(error) };
        let Some(feed) = feeds.iter().find(|feed| feed.has(id)).filter(|feed| may_lack(feed)) else {
            return Err(error);
        };
        // With its files gone, the next turn fails at another feed or at none.
        snapshots.remove(feed);
        left_out.push((feed.id.clone(), error.to_string()));
    }
}

/// The same with these files of lists from git.
///
/// # Errors
/// The first list that cannot be used; nothing takes effect then.
pub fn load_with(config: &Config, snapshots: &Snapshots) -> Result<Lists, ListsError> {
    let lists = read(config.vendors.as_deref(), true, &config.blocklists, snapshots)?;
    let stages = config.settings.stages.iter().zip(&config.stage_lines).map(|(setting, line)| (setting, line, false));
    let groups = config.settings.groups.iter().zip(&config.group_lines);
    let of_groups = groups.flat_map(|(group, line)| group.stages.iter().map(move |setting| (setting, line, true)));
    for (setting, line, may_be_list) in stages.chain(of_groups) {
        let is_list =
            may_be_list && setting.part.is_none() && config.blocklists.iter().any(|at| at.id == setting.vendor);
        if !is_list && lists.rules.vendor(&setting.vendor).is_none() {
            let ids = lists.rules.vendors().iter().map(|vendor| &*vendor.file.id);
            let hint =
                did_you_mean(&setting.vendor, ids).map_or_else(String::new, |id| format!("; did you mean {id:?}?"));
            let place = format!("{}:{line}", config.source);
            return Err(ListsError::UnknownVendor { place, vendor: setting.vendor.clone(), hint });
        }
    }
    Ok(lists)
}

/// Reads vendor files, if they are wanted, from a folder or from the binary, and further lists.
///
/// # Errors
/// The first list that cannot be used.
pub fn read(
    vendors: Option<&Path>,
    wanted: bool,
    lists: &[Blocklist],
    snapshots: &Snapshots,
) -> Result<Lists, ListsError> {
    let mut gathered = Gathered::default();
    if wanted {
        for (file, text) in vendor_texts(vendors)? {
            gathered.vendor(&file, &text, &revision(Sha256::digest(text.as_bytes()).as_ref()))?;
        }
    }
    for list in lists {
        match &list.origin {
            Origin::File(path) => {
                let read = add(&mut gathered.builder, list, path, false)?;
                gathered.done(list, &path.display().to_string(), read);
            }
            Origin::Git(git) => match snapshots.0.get(&list.id) {
                Some(snapshot) => gathered
                    .git(list, git, snapshot)
                    .map_err(|why| ListsError::Commit { id: list.id.clone(), why: Box::new(why) })?,
                None => gathered.counts.extend([(list.id.clone(), 0)]),
            },
        }
    }
    Ok(gathered.finish())
}

/// Reads one file alone, and keeps every line that is left out.
///
/// # Errors
/// It cannot be used.
pub fn read_whole(list: &Blocklist, path: &Path) -> Result<Lists, ListsError> {
    let mut gathered = Gathered::default();
    let read = add(&mut gathered.builder, list, path, true)?;
    gathered.done(list, &path.display().to_string(), read);
    Ok(gathered.finish())
}

/// Lists while they are read.
#[derive(Default)]
struct Gathered {
    builder: RuleSetBuilder,
    /// Vendor ids so far.
    seen: Vec<Arc<str>>,
    reports: Vec<(String, String, Report)>,
    counts: BTreeMap<String, usize>,
    octets: BTreeMap<String, u64>,
    commits: Vec<Commit>,
}

impl Gathered {
    /// Takes a vendor file.
    fn vendor(&mut self, file: &str, text: &str, revision: &str) -> Result<(), ListsError> {
        let read = Arc::new(vendor::read(file, text)?);
        if self.seen.contains(&read.id) {
            return Err(ListsError::Twice { file: file.to_owned(), id: read.id.to_string() });
        }
        self.seen.push(Arc::clone(&read.id));
        self.octets.insert(read.id.to_string(), text.len() as u64);
        self.builder.add_vendor_file(read, revision)?;
        Ok(())
    }

    /// Takes a list's files of a commit.
    fn git(&mut self, list: &Blocklist, git: &GitList, snapshot: &Snapshot) -> Result<(), ListsError> {
        self.counts.insert(list.id.clone(), 0);
        for file in snapshot.files.iter().filter(|file| is_listed(git, &file.path)) {
            let report = self.file(list, file, snapshot)?;
            self.done(list, &file.path, (report, file.octets.len() as u64));
        }
        self.commits.push(Commit {
            list: list.id.clone(),
            id: snapshot.commit.clone(),
            time: snapshot.time,
            signer: snapshot.signer.as_ref().map(|signer| signer.principals.clone()),
        });
        Ok(())
    }

    /// Takes one file of a commit: a vendor file by its ending, else a list.
    fn file(&mut self, list: &Blocklist, file: &ListFile, snapshot: &Snapshot) -> Result<Report, ListsError> {
        let is_vendor = list.format == Format::Auto && file.path.ends_with(".toml");
        let format = if is_vendor { Format::Vendor } else { list.format };
        let revision = snapshot.commit.short();
        let provenance = List {
            id: list.id.as_str().into(),
            file: file.path.as_str().into(),
            revision: revision.into(),
            stage: Some(list.stage),
            expires: None,
        };
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut include = |name: &str| {
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            let found = snapshot.files.iter().find(|file| file.path == path).ok_or(io::ErrorKind::NotFound)?;
            let text = Box::new(io::Cursor::new(found.octets.clone()));
            Ok(Included { file: path, revision: revision.to_owned(), text })
        };
        let include = Some(&mut include as &mut Include<'_>);
        let reading = Reading { format: Some(format), answers: list.answers, include, keeps_all: false };
        let (_, report) = self.builder.add_blocklist(provenance, reading, &mut file.octets.as_slice())?;
        Ok(report)
    }

    fn finish(self) -> Lists {
        let Self { builder, reports, counts, octets, commits, .. } = self;
        let rules = Arc::new(builder.finish());
        Lists { rules, reports, counts, octets, commits, left_out: Vec::new(), warnings: BTreeMap::new() }
    }

    fn done(&mut self, list: &Blocklist, file: &str, (report, octets): (Report, u64)) {
        *self.octets.entry(list.id.clone()).or_default() += octets;
        *self.counts.entry(list.id.clone()).or_default() += report.rules;
        self.reports.push((list.id.clone(), file.to_owned(), report));
    }
}

/// Whether a file of a commit belongs to a list: the one that its path names; or any in the folder that it names, without what
/// is there for people and tools.
fn is_listed(git: &GitList, file: &str) -> bool {
    let Some(below) = file.strip_prefix(git.path.as_str()) else { return false };
    let Some(below) = below.strip_prefix('/') else { return below.is_empty() };
    let name = below.rsplit('/').next().unwrap_or(below);
    let for_people = ["README", "LICENSE", "LICENCE", "COPYING", "CHANGELOG"];
    !(name.starts_with('.') || name.ends_with(".md") || for_people.iter().any(|word| name.starts_with(word)))
}

/// File names and texts of the vendor files.
fn vendor_texts(folder: Option<&Path>) -> Result<Vec<(String, String)>, ListsError> {
    let Some(folder) = folder else {
        return Ok(bundled::files().iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect());
    };
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error| ListsError::Unreadable { path, error }
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(ListsError::NoVendors(folder.to_owned()));
    }
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
            Ok((path.display().to_string(), text))
        })
        .collect()
}

/// Streams one list into the builder.
fn add(
    builder: &mut RuleSetBuilder,
    list: &Blocklist,
    path: &Path,
    keeps_all: bool,
) -> Result<(Report, u64), ListsError> {
    let unreadable = |error| ListsError::Unreadable { path: path.to_owned(), error };
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if meta.is_dir() || meta.len() > FILE_OCTETS_MAX {
        let why = if meta.is_dir() { "it is a folder" } else { "it is larger than 1 GiB" };
        return Err(unreadable(io::Error::other(why)));
    }
    let mut from = BufReader::with_capacity(READ_OCTETS, Hashing { file, hash: Sha256::new(), octets: 0 });
    let provenance = List {
        id: list.id.as_str().into(),
        file: path.display().to_string().into(),
        revision: "".into(),
        stage: Some(list.stage),
        expires: None,
    };
    let mut include = |name: &str| included(path.parent().unwrap_or_else(|| Path::new("")), name);
    let include = Some(&mut include as &mut Include<'_>);
    let reading = Reading { format: Some(list.format), answers: list.answers, include, keeps_all };
    let (id, report) = builder.add_blocklist(provenance, reading, &mut from)?;
    let Hashing { hash, octets, .. } = from.into_inner();
    builder.set_revision(id, &revision(hash.finalize().as_ref()));
    Ok((report, octets))
}

/// A list that another one includes: a file of that name in the same folder.
fn included(folder: &Path, name: &str) -> io::Result<Included> {
    let path = folder.join(name);
    let file = File::open(&path)?;
    let mut text = Vec::new();
    file.take(INCLUDED_OCTETS_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > INCLUDED_OCTETS_MAX {
        return Err(io::Error::other("it is larger than 64 MiB"));
    }
    let revision = revision(Sha256::digest(&text).as_ref());
    Ok(Included { file: path.display().to_string(), revision, text: Box::new(io::Cursor::new(text)) })
}

/// A reader that hashes and counts what goes through it.
struct Hashing {
    file: File,
    hash: Sha256,
    octets: u64,
}

impl Read for Hashing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read(into)?;
        self.hash.update(into.get(..got).unwrap_or_default());
        self.octets += got as u64;
        Ok(got)
    }
}

/// The start of a content hash, in hex.
fn revision(hash: &[u8]) -> String {
    hash.iter().take(REVISION_DIGITS / 2).fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::list::Format;
    use crate::policy::{Policy, Settings, Subject};

    fn one(path: PathBuf, answers: bool) -> Blocklist {
        Blocklist { answers, ..Blocklist::of_file("mine", path, Format::Auto) }
    }

    #[test]
    fn a_list_takes_in_its_neighbours_each_with_its_own_lines_and_revision() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all");
        fs::write(&path, "include:ads\nfull:a.example\n").unwrap();
        fs::write(folder.path().join("ads"), "# c\nads.example @ads\n").unwrap();
        let lists = read(None, false, &[one(path.clone(), false)], &Snapshots::default()).unwrap();
        let places: Vec<(String, String)> = lists
            .rules
            .rules()
            .map(|rule| lists.rules.facts(rule.id).unwrap())
            .map(|facts| (facts.place.to_string(), facts.list.to_string()))
            .collect();
        let place = |file: &str, line| (format!("{}:{line}", folder.path().join(file).display()), "mine".to_owned());
        assert_eq!(places, [place("ads", 2), place("all", 2)]);
        let revisions: Vec<&str> = lists.rules.lists().iter().map(|list| &*list.revision).collect();
        assert!(revisions.iter().all(|revision| revision.len() == REVISION_DIGITS) && revisions[0] != revisions[1]);
        fs::remove_file(folder.path().join("ads")).unwrap();
        let error = read(None, false, &[one(path, false)], &Snapshots::default()).unwrap_err().to_string();
        assert!(error.contains("all:1: include:ads: "), "{error}");
    }

    #[test]
    fn a_list_answers_only_where_the_operator_lets_it_and_that_is_another_policy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        fs::write(&path, "10.0.0.5 nas.example\n").unwrap();
        let policy = |answers| {
            let lists = read(None, false, &[one(path.clone(), answers)], &Snapshots::default()).unwrap();
            Policy::new(1, lists.rules, Arc::new(Settings::default()), Wall::UNIX_EPOCH)
        };
        let name: crate::base::name::Name = "nas.example".parse().unwrap();
        let data = |policy: &Policy| {
            let verdict = policy.decide(&Subject { name: Some(name.as_ref()), ..Subject::default() });
            policy.answer_data(&verdict).map(|data| data.v4.clone())
        };
        let (plain, answering) = (policy(false), policy(true));
        assert_eq!(data(&plain), None);
        assert_eq!(data(&answering), Some(vec!["10.0.0.5".parse().unwrap()]));
        assert_ne!(plain.id(), answering.id());
    }
}
