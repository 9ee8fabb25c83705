//! Reading all lists that a config names into one rule set: vendor files first, then the operator's lists.

use super::config::{Blocklist, Config};
use crate::policy::list::{ListError, Refusal, Report, bundled, did_you_mean, vendor};
use crate::policy::{Included, List, Reading, RuleSet, RuleSetBuilder, TooMany};
use sha2::{Digest, Sha256};
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
    /// A bound was passed.
    #[error("the lists together: {0}")]
    TooMany(#[from] TooMany),
}

/// What was read.
#[derive(Debug)]
pub struct Lists {
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// What reading each list of the operator's came to, by id.
    pub reports: Vec<(String, Report)>,
}

/// Reads everything that a config names.
///
/// # Errors
/// The first list that cannot be used; nothing takes effect then.
pub fn load(config: &Config) -> Result<Lists, ListsError> {
    let lists = read(config.vendors.as_deref(), true, &config.blocklists)?;
    for (setting, line) in config.settings.stages.iter().zip(&config.stage_lines) {
        if lists.rules.vendor(&setting.vendor).is_none() {
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
pub fn read(vendors: Option<&Path>, wanted: bool, lists: &[Blocklist]) -> Result<Lists, ListsError> {
    let mut builder = RuleSetBuilder::new();
    if wanted {
        let mut seen: Vec<Arc<str>> = Vec::new();
        for (file, text) in vendor_texts(vendors)? {
            let read = Arc::new(vendor::read(&file, &text)?);
            if seen.contains(&read.id) {
                return Err(ListsError::Twice { file, id: read.id.to_string() });
            }
            seen.push(Arc::clone(&read.id));
            builder.add_vendor_file(read, &revision(Sha256::digest(text.as_bytes()).as_ref()))?;
        }
    }
    let mut reports = Vec::new();
    for list in lists {
        reports.push((list.id.clone(), add(&mut builder, list)?));
    }
    Ok(Lists { rules: Arc::new(builder.finish()), reports })
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
fn add(builder: &mut RuleSetBuilder, list: &Blocklist) -> Result<Report, ListsError> {
    let unreadable = |error| ListsError::Unreadable { path: list.path.clone(), error };
    let file = File::open(&list.path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if meta.is_dir() || meta.len() > FILE_OCTETS_MAX {
        let why = if meta.is_dir() { "it is a folder" } else { "it is larger than 1 GiB" };
        return Err(unreadable(io::Error::other(why)));
    }
    let mut from = BufReader::with_capacity(READ_OCTETS, Hashing { file, hash: Sha256::new() });
    let provenance = List {
        id: list.id.as_str().into(),
        file: list.path.display().to_string().into(),
        revision: "".into(),
        stage: Some(list.stage),
        expires: None,
    };
    let mut include = |name: &str| included(list.path.parent().unwrap_or_else(|| Path::new("")), name);
    let reading = Reading { format: Some(list.format), answers: list.answers, include: Some(&mut include) };
    let (id, report) = builder.add_blocklist(provenance, reading, &mut from)?;
    builder.set_revision(id, &revision(from.into_inner().hash.finalize().as_ref()));
    Ok(report)
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

/// A reader that hashes what goes through it.
struct Hashing {
    file: File,
    hash: Sha256,
}

impl Read for Hashing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read(into)?;
        self.hash.update(into.get(..got).unwrap_or_default());
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
    use crate::base::model::Stage;
    use crate::policy::list::Format;
    use crate::policy::{Policy, Settings, Subject};

    fn one(path: PathBuf, answers: bool) -> Blocklist {
        Blocklist { id: "mine".into(), path, format: Format::Auto, answers, stage: Stage::Block }
    }

    #[test]
    fn a_list_takes_in_its_neighbours_each_with_its_own_lines_and_revision() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all");
        fs::write(&path, "include:ads\nfull:a.example\n").unwrap();
        fs::write(folder.path().join("ads"), "# c\nads.example @ads\n").unwrap();
        let lists = read(None, false, &[one(path.clone(), false)]).unwrap();
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
        let error = read(None, false, &[one(path, false)]).unwrap_err().to_string();
        assert!(error.contains("all:1: include:ads: "), "{error}");
    }

    #[test]
    fn a_list_answers_only_where_the_operator_lets_it_and_that_is_another_policy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        fs::write(&path, "10.0.0.5 nas.example\n").unwrap();
        let policy = |answers| {
            let lists = read(None, false, &[one(path.clone(), answers)]).unwrap();
            Policy::new(1, lists.rules, Arc::new(Settings::default()), crate::base::model::Wall::UNIX_EPOCH)
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
