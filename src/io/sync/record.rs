//! What is remembered of a source between runs, in `<dir>/record.toml`, outside the repository, so that nothing a remote does can
//! change it: the commit in force, the newest commit ever accepted, and what the operator chose.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::files::write_whole;
use super::object::CommitId;
use super::signature::SignedBy;
use crate::base::model::Wall;

/// The version of this format.
const VERSION: i64 = 1;
/// The file's name.
const NAME: &str = "record.toml";
/// Accepted commits that are remembered.
pub const HISTORY_MAX: usize = 64;

/// A commit that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The commit.
    pub commit: CommitId,
    /// Its own time.
    pub time: Wall,
    /// When it was accepted here.
    pub since: Wall,
    /// Who signed it; none where no signature is asked for.
    pub signer: Option<SignedBy>,
}

/// What is remembered of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The remote that all of this is about.
    pub remote: String,
    /// The reference that all of this is about.
    pub reference: String,
    /// The commit in force.
    pub good: Accepted,
    /// Path and SHA-256 of each file of it, in order.
    pub files: Vec<(String, String)>,
    /// The newest commit ever accepted: nothing that does not descend from it will be.
    pub newest: Accepted,
    /// Whether the operator holds this commit until further notice.
    pub is_pinned: bool,
    /// The commit that the operator went back from: it is not taken again.
    pub left: Option<CommitId>,
    /// Accepted commits, the latest last, at most [`HISTORY_MAX`].
    pub history: Vec<Accepted>,
}

/// A record that cannot be read or written; one sentence.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Reading or writing failed.
    #[error("{}: {error}", .file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is there, but not as it was written.
    #[error("{}: not as it was written ({why}); remove it to begin anew, trusting what the remote then has", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
}

impl Record {
    /// Reads the record in `dir`; none if nothing was ever accepted.
    ///
    /// # Errors
    /// It is unreadable or damaged. It is never taken for absent then: that would forget what must not be rolled back.
    pub fn load(dir: &Path) -> Result<Option<Self>, RecordError> {
        let file = dir.join(NAME);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(RecordError::Damaged { file, why: "no text" });
            }
            Err(error) => return Err(RecordError::Io { file, error }),
        };
        let table = text.parse::<Table>().map_err(|_| "no TOML");
        table.and_then(|table| Self::from_table(&table)).map(Some).map_err(|why| RecordError::Damaged { file, why })
    }

    /// Writes the record into `dir`: a crash leaves the old one or the new one, whole.
    ///
    /// # Errors
    /// It cannot be written; the old one stays.
    pub fn store(&self, dir: &Path) -> Result<(), RecordError> {
        let file = dir.join(NAME);
        let text = self.to_table().to_string();
        write_whole(dir, &file, text.as_bytes()).map_err(|error| RecordError::Io { file, error })
    }

    /// Notes an accepted commit as in force, and as the newest if it is.
    pub fn accept(&mut self, accepted: &Accepted, is_newest: bool) {
        self.history.retain(|one| one.commit != accepted.commit);
        if self.history.len() >= HISTORY_MAX {
            self.history.remove(0);
        }
        self.history.push(accepted.clone());
        self.good = accepted.clone();
        if is_newest {
            self.newest = accepted.clone();
            self.left = None;
        }
    }

    fn to_table(&self) -> Table {
        let file = |(path, hash): &(String, String)| {
            Value::Table(Table::from_iter([text("path", path), text("sha256", hash)]))
        };
        let history = self.history.iter().map(|one| Value::Table(one.to_table())).collect();
        let mut table = Table::from_iter([
            ("version".to_owned(), Value::Integer(VERSION)),
            text("remote", &self.remote),
            text("reference", &self.reference),
            ("pinned".to_owned(), Value::Boolean(self.is_pinned)),
            ("good".to_owned(), Value::Table(self.good.to_table())),
            ("newest".to_owned(), Value::Table(self.newest.to_table())),
            ("file".to_owned(), Value::Array(self.files.iter().map(file).collect())),
            ("accepted".to_owned(), Value::Array(history)),
        ]);
        table.extend(self.left.as_ref().map(|left| text("left", left.as_str())));
        table
    }

    fn from_table(table: &Table) -> Result<Self, &'static str> {
        if table.get("version").and_then(Value::as_integer) != Some(VERSION) {
            return Err("another version");
        }
        let tables = |key| table.get(key).and_then(Value::as_array).ok_or("a list is missing");
        let one =
            |key| table.get(key).and_then(Value::as_table).ok_or("a commit is missing").and_then(Accepted::from_table);
        let file = |value: &Value| {
            let table = value.as_table().ok_or("a file is no table")?;
            Ok::<_, &'static str>((word(table, "path")?.to_owned(), word(table, "sha256")?.to_owned()))
        };
        let accepted = |value: &Value| value.as_table().ok_or("a commit is no table").and_then(Accepted::from_table);
        let left = table.get("left").map(|_| commit(table, "left")).transpose()?;
        Ok(Self {
            remote: word(table, "remote")?.to_owned(),
            reference: word(table, "reference")?.to_owned(),
            good: one("good")?,
            files: tables("file")?.iter().map(file).collect::<Result<_, &'static str>>()?,
            newest: one("newest")?,
            is_pinned: table.get("pinned").and_then(Value::as_bool).ok_or("pinned is missing")?,
            left,
            history: tables("accepted")?.iter().map(accepted).collect::<Result<_, &'static str>>()?,
        })
    }
}

impl Accepted {
    fn to_table(&self) -> Table {
        let mut table = Table::from_iter([
            text("commit", self.commit.as_str()),
            text("time", &self.time.to_string()),
            text("since", &self.since.to_string()),
        ]);
        if let Some(signer) = &self.signer {
            table.extend([text("signer", &signer.principals), text("key", &signer.fingerprint)]);
        }
        table
    }

    fn from_table(table: &Table) -> Result<Self, &'static str> {
        let time = |key| word(table, key)?.parse().map_err(|_| "a time is no time");
        let signer = match (table.get("signer"), table.get("key")) {
            (None, None) => None,
            _ => Some(SignedBy {
                principals: word(table, "signer")?.to_owned(),
                fingerprint: word(table, "key")?.to_owned(),
            }),
        };
        Ok(Self { commit: commit(table, "commit")?, time: time("time")?, since: time("since")?, signer })
    }
}

fn text(key: &str, value: &str) -> (String, Value) {
    (key.to_owned(), Value::String(value.to_owned()))
}

fn word<'a>(table: &'a Table, key: &str) -> Result<&'a str, &'static str> {
    table.get(key).and_then(Value::as_str).ok_or("a word is missing")
}

fn commit(table: &Table, key: &str) -> Result<CommitId, &'static str> {
    word(table, key)?.parse().map_err(|_| "a commit is no commit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(digit: char) -> Accepted {
        Accepted {
            commit: digit.to_string().repeat(40).parse().unwrap(),
            time: "2026-01-02T03:04:05Z".parse().unwrap(),
            since: "2026-01-02T03:05:00.25Z".parse().unwrap(),
            signer: Some(SignedBy { principals: "who \"x\"".into(), fingerprint: "SHA256:abc".into() }),
        }
    }

    fn record() -> Record {
        Record {
            remote: "https://a.example/x".into(),
            reference: "branch main".into(),
            good: accepted('a'),
            files: vec![("lists/a.txt".into(), "00ff".into())],
            newest: Accepted { signer: None, ..accepted('b') },
            is_pinned: true,
            left: Some(accepted('c').commit),
            history: vec![accepted('a'), accepted('b')],
        }
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Record::load(folder.path()).unwrap().is_none());
        record().store(folder.path()).unwrap();
        assert_eq!(Record::load(folder.path()).unwrap(), Some(record()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_half_written_successor_does_not_matter_and_a_damaged_record_is_not_taken_for_absent() {
        let folder = tempfile::tempdir().unwrap();
        record().store(folder.path()).unwrap();
        fs::write(folder.path().join("record.new"), "version = 1\nrem").unwrap();
        assert_eq!(Record::load(folder.path()).unwrap(), Some(record()));
        let whole = fs::read(folder.path().join(NAME)).unwrap();
        for end in 0..whole.len() - 1 {
            fs::write(folder.path().join(NAME), &whole[..end]).unwrap();
            assert!(!matches!(Record::load(folder.path()), Ok(None)), "{end}");
        }
        fs::write(folder.path().join(NAME), b"\xff").unwrap();
        assert!(Record::load(folder.path()).unwrap_err().to_string().contains("no text"));
    }

    #[test]
    fn the_history_is_bounded_and_names_each_commit_once() {
        let mut record = record();
        for number in 0..HISTORY_MAX as u32 * 2 {
            let commit = format!("{number:040x}").parse().unwrap();
            record.accept(&Accepted { commit, ..accepted('a') }, true);
        }
        let latest = record.newest.clone();
        record.accept(&latest, false);
        assert_eq!((record.history.len(), &record.good), (HISTORY_MAX, &latest));
        assert_eq!(record.history.iter().filter(|one| **one == latest).count(), 1);
    }
}
