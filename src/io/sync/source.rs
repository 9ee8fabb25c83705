//! One remote and the reference that is followed in it. Everything here blocks; a caller gives it a thread.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::git::{Access, Entry, Fetched, Kind, Repo};
use super::incoming::{self, Incoming};
use super::object::{CommitId, CommitInfo, Signed};
use super::record::{Accepted, Record};
use super::refused::Refused;
use super::remote::{Reference, Remote, RepoPath};
use super::run::{GitError, Limits};
use super::signature::{SignedBy, Verifier};
use crate::base::model::Wall;

/// How far clocks of honest signers may be apart, and ahead of ours.
pub const SKEW: Duration = Duration::from_secs(3_600);

/// What a source is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The repository.
    pub remote: Remote,
    /// What is followed in it.
    pub reference: Reference,
    /// Files, or folders of files, that are read; all of one commit.
    pub paths: Vec<RepoPath>,
    /// Who may sign; without it nothing is verified beyond the transport.
    pub signers: Option<PathBuf>,
    /// Bounds.
    pub limits: Limits,
}

/// One remote, its reference, and what was accepted of it so far.
#[derive(Clone, Debug)]
pub struct Source {
    dir: PathBuf,
    settings: Settings,
}

/// One file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFile {
    /// From the repository's root.
    pub path: String,
    /// Its octets.
    pub octets: Vec<u8>,
}

/// The files of one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit.
    pub commit: CommitId,
    /// The committer's time.
    pub time: Wall,
    /// Who signed it; none where no signature is asked for.
    pub signer: Option<SignedBy>,
    /// In the order of their paths.
    pub files: Vec<ListFile>,
    /// Links and submodules in a listed folder; they were not read.
    pub left_out: Vec<String>,
}

/// Why a commit is to be activated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The remote, or a bundle, has it.
    Newer,
    /// The operator goes back until something newer comes.
    RolledBack,
    /// The operator wants it until further notice.
    Pinned,
}

/// A commit that passed every check here. Nothing is remembered until [`Source::accept`]; dropped, it leaves no trace.
#[derive(Debug)]
pub struct Update {
    /// Its files.
    pub snapshot: Snapshot,
    /// Why.
    pub change: Change,
    incoming: Option<Incoming>,
    /// Held until the update is accepted or dropped, so that no other runs at the same time.
    _lock: Lock,
}

/// What a look at a remote yields.
#[derive(Debug)]
pub enum Found {
    /// Nothing new.
    Unchanged,
    /// The operator has pinned a commit; nobody was asked.
    Pinned,
    /// Something new that passed.
    Update(Box<Update>),
}

impl Source {
    /// A source that keeps its repository and record in `dir`, its own.
    #[must_use]
    pub const fn new(dir: PathBuf, settings: Settings) -> Self {
        Self { dir, settings }
    }

    /// What is remembered of it; none before the first accepted commit.
    ///
    /// # Errors
    /// The record is unreadable or damaged.
    pub fn record(&self) -> Result<Option<Record>, Refused> {
        Ok(Record::load(&self.dir)?)
    }

    /// The files of the commit in force, from disk alone; none before the first accepted commit.
    ///
    /// # Errors
    /// They cannot be read, or are not what was accepted.
    pub fn good(&self) -> Result<Option<Snapshot>, Refused> {
        let Some(record) = self.record()? else { return Ok(None) };
        let snapshot = self.snapshot(&self.kept()?, &record.good.commit, record.good.signer.clone())?;
        let hashes: BTreeMap<&str, &str> =
            record.files.iter().map(|(path, hash)| (path.as_str(), hash.as_str())).collect();
        for file in &snapshot.files {
            // A path that the config names since then has no hash yet.
            if hashes.get(file.path.as_str()).is_some_and(|hash| **hash != sha256(&file.octets)) {
                let (path, commit, dir) = (file.path.clone(), record.good.commit, self.dir.clone());
                return Err(Refused::Damaged { path, commit, dir });
            }
        }
        Ok(Some(snapshot))
    }

    /// The files of any commit of the accepted history, by the first digits of its id: to compare or to ask about.
    ///
    /// # Errors
    /// There is no such commit, or its files would be refused.
    pub fn at(&self, revision: &str) -> Result<Snapshot, Refused> {
        let record = self.require_record()?;
        let kept = self.kept()?;
        let commit = self.known(&kept, &record, revision)?;
        let signer = record.history.iter().find(|one| one.commit == commit).and_then(|one| one.signer.clone());
        self.snapshot(&kept, &commit, signer)
    }

    /// Asks the remote, and checks what it has.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn check(&self, now: Wall, access: &Access<'_>) -> Result<Found, Refused> {
        if let (Reference::Commit(wanted), Some(record)) = (&self.settings.reference, self.record()?) {
            // A commit never changes: nobody needs to be asked again.
            if self.is_same(&record) && record.good.commit == *wanted {
                return Ok(Found::Unchanged);
            }
        }
        self.find(now, |incoming| incoming.fetch(&self.settings.remote, &self.settings.reference, access))
    }

    /// Takes a `git bundle` for the remote: the same checks, and never anything older.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn import(&self, bundle: &Path, now: Wall) -> Result<Found, Refused> {
        self.find(now, |incoming| incoming.fetch_bundle(bundle, &self.settings.reference))
    }

    /// Goes back to an older commit of the accepted history, or to the one accepted before. The commit that is left is not
    /// taken again; what follows it is.
    ///
    /// # Errors
    /// There is none, or it would be refused.
    pub fn rollback(&self, revision: Option<&str>) -> Result<Update, Refused> {
        let lock = self.lock()?;
        let record = self.require_record()?;
        let kept = self.kept()?;
        let good = &record.good.commit;
        let commit = match revision {
            Some(revision) => self.known(&kept, &record, revision)?,
            None => {
                let is_older =
                    |one: &&Accepted| one.commit != *good && matches!(kept.is_ancestor(&one.commit, good), Ok(true));
                record.history.iter().rev().find(is_older).ok_or(Refused::NothingOlder)?.commit.clone()
            }
        };
        if commit == *good || !kept.is_ancestor(&commit, good)? {
            return Err(Refused::NotOlder(commit));
        }
        self.chosen(&kept, &record, &commit, Change::RolledBack, lock)
    }

    /// Holds a commit of the accepted history until [`Source::unpin`].
    ///
    /// # Errors
    /// There is no such commit, or it would be refused.
    pub fn pin(&self, revision: &str) -> Result<Update, Refused> {
        let lock = self.lock()?;
        let record = self.require_record()?;
        let kept = self.kept()?;
        let commit = self.known(&kept, &record, revision)?;
        self.chosen(&kept, &record, &commit, Change::Pinned, lock)
    }

    /// Lets the next [`Source::check`] move on from a pinned commit, or back to one that was left.
    ///
    /// # Errors
    /// The record cannot be read or written.
    pub fn unpin(&self) -> Result<(), Refused> {
        let _lock = self.lock()?;
        let mut record = self.require_record()?;
        (record.is_pinned, record.left) = (false, None);
        Ok(record.store(&self.dir)?)
    }

    /// Remembers an update as in force, once it is: the history first, then the record.
    ///
    /// # Errors
    /// It cannot be written; the old one is still what is remembered.
    pub fn accept(&self, update: Update, now: Wall) -> Result<Record, Refused> {
        let Snapshot { commit, time, signer, files, .. } = &update.snapshot;
        let kept = self.kept()?;
        if let Some(incoming) = &update.incoming {
            kept.keep(&incoming.repo, commit)?;
        }
        let accepted = Accepted { commit: commit.clone(), time: *time, since: now, signer: signer.clone() };
        let (remote, reference) = self.names();
        let old = self.record()?;
        let history = old.as_ref().map(|old| old.history.clone()).unwrap_or_default();
        let (newest, left) = match old {
            Some(old) => (old.newest, old.left),
            None => (accepted.clone(), None),
        };
        let files = files.iter().map(|file| (file.path.clone(), sha256(&file.octets))).collect();
        let good = accepted.clone();
        let mut record = Record { remote, reference, good, files, newest, is_pinned: false, left, history };
        record.accept(&accepted, update.change == Change::Newer);
        match update.change {
            Change::Newer => {}
            Change::RolledBack => record.left = Some(record.newest.commit.clone()),
            Change::Pinned => record.is_pinned = true,
        }
        record.store(&self.dir)?;
        // Only tidiness is lost when this fails.
        let _ = kept.compact(&record.newest.commit);
        Ok(record)
    }

    //--- What the above is made of

    fn find(&self, now: Wall, fetch: impl FnOnce(&Repo) -> Result<Fetched, GitError>) -> Result<Found, Refused> {
        let lock = self.lock()?;
        let record = self.record()?;
        if record.as_ref().is_some_and(|record| record.is_pinned) {
            return Ok(Found::Pinned);
        }
        let verifier = self.settings.signers.as_deref().map(Verifier::open).transpose()?;
        let kept = self.kept()?;
        let newest = record.as_ref().map(|record| record.newest.commit.as_str());
        // A repository that was lost is fetched anew.
        let have = newest.map(|newest| kept.resolve(newest)).transpose()?.flatten();
        let incoming = Incoming::new(&self.dir, &kept, have.as_ref())?;
        let fetched = fetch(&incoming.repo)?;
        let is_held =
            |record: &Record| record.good.commit == fetched.commit || record.left.as_ref() == Some(&fetched.commit);
        if record.as_ref().is_some_and(|record| self.is_same(record) && is_held(record)) {
            return Ok(Found::Unchanged);
        }
        let info = incoming.repo.commit_info(&fetched.commit)?;
        if let Some(record) = &record {
            self.follows(&incoming.repo, record, &fetched.commit, info.time)?;
        }
        let (tip, time) = (fetched.commit.clone(), info.time);
        if now.checked_add(SKEW).is_ok_and(|latest| time > latest) {
            return Err(Refused::Future { tip, time });
        }
        let signer = verifier.map(|verifier| self.signer(&verifier, &fetched, &info)).transpose()?;
        let snapshot = self.snapshot(&incoming.repo, &fetched.commit, signer)?;
        let incoming = Some(incoming);
        Ok(Found::Update(Box::new(Update { snapshot, change: Change::Newer, incoming, _lock: lock })))
    }

    /// Whether `tip` may come after what was accepted. Another reference is another history by the operator's choice; another
    /// remote may be, but never an older state of the same one.
    fn follows(&self, repo: &Repo, record: &Record, tip: &CommitId, time: Wall) -> Result<(), Refused> {
        let (remote, reference) = self.names();
        if record.reference != reference {
            return Ok(());
        }
        let newest = &record.newest.commit;
        let is_known = repo.resolve(newest.as_str())?.is_some();
        if is_known && tip != newest && repo.is_ancestor(tip, newest)? {
            return Err(Refused::Older { tip: tip.clone(), newest: newest.clone() });
        }
        if !is_known || !repo.is_ancestor(newest, tip)? {
            let rewritten = Refused::Rewritten { tip: tip.clone(), newest: newest.clone() };
            return if record.remote == remote { Err(rewritten) } else { Ok(()) };
        }
        if time.checked_add(SKEW).is_ok_and(|time| time < record.newest.time) {
            return Err(Refused::Backdated { tip: tip.clone(), time, newest: record.newest.time });
        }
        Ok(())
    }

    /// Who signed: the annotated tag where it is signed, otherwise the commit.
    fn signer(&self, verifier: &Verifier, fetched: &Fetched, info: &CommitInfo) -> Result<SignedBy, Refused> {
        if let (Some(tag), Reference::Tag(wanted)) = (&fetched.tag, &self.settings.reference) {
            if tag.name != wanted.to_string() {
                return Err(Refused::TagName { wanted: wanted.to_string(), found: tag.name.clone() });
            }
            if tag.signed != Signed::No {
                let error = |error| Refused::Signature { what: format!("tag {wanted}"), error };
                return verifier.verify(&tag.signed, &tag.payload, tag.time).map_err(error);
            }
        }
        verify_commit(verifier, &fetched.commit, info)
    }

    fn chosen(
        &self,
        kept: &Repo,
        record: &Record,
        commit: &CommitId,
        change: Change,
        lock: Lock,
    ) -> Result<Update, Refused> {
        // What was accepted once was verified then; a commit between two of those was not.
        let signer = match record.history.iter().find(|one| one.commit == *commit) {
            Some(accepted) => accepted.signer.clone(),
            None => match &self.settings.signers {
                Some(file) => Some(verify_commit(&Verifier::open(file)?, commit, &kept.commit_info(commit)?)?),
                None => None,
            },
        };
        let snapshot = self.snapshot(kept, commit, signer)?;
        Ok(Update { snapshot, change, incoming: None, _lock: lock })
    }

    fn snapshot(&self, repo: &Repo, commit: &CommitId, signer: Option<SignedBy>) -> Result<Snapshot, Refused> {
        let limits = &self.settings.limits;
        let time = repo.commit_info(commit)?.time;
        let (entries, left_out) = self.entries(repo, commit)?;
        if entries.len() > limits.files {
            return Err(Refused::TooManyFiles { count: entries.len(), max: limits.files });
        }
        let entries: Vec<&Entry> = entries.values().collect();
        let mut total = 0_u64;
        for (entry, size) in entries.iter().zip(repo.sizes(&entries)?) {
            if size > limits.file_bytes {
                return Err(Refused::TooLarge { path: entry.path.clone(), size, max: limits.file_bytes });
            }
            total = total.saturating_add(size);
        }
        if total > limits.total_bytes {
            return Err(Refused::AllTooLarge { size: total, max: limits.total_bytes });
        }
        let mut files = Vec::with_capacity(entries.len());
        for (entry, octets) in entries.iter().zip(repo.read_all(&entries, limits.file_bytes)?) {
            let lines = octets.iter().filter(|octet| **octet == b'\n').count();
            if lines > limits.file_lines {
                return Err(Refused::TooManyLines { path: entry.path.clone(), lines, max: limits.file_lines });
            }
            files.push(ListFile { path: entry.path.clone(), octets });
        }
        Ok(Snapshot { commit: commit.clone(), time, signer, files, left_out })
    }

    /// The plain files at and below the paths, and what else lies there.
    fn entries(&self, repo: &Repo, commit: &CommitId) -> Result<(BTreeMap<String, Entry>, Vec<String>), Refused> {
        let (mut files, mut left_out) = (BTreeMap::new(), Vec::new());
        for path in &self.settings.paths {
            let before = files.len();
            for entry in repo.list(commit, path)? {
                let what = match entry.kind {
                    Kind::File => {
                        files.insert(entry.path.clone(), entry);
                        continue;
                    }
                    Kind::Link => "symbolic link",
                    Kind::Submodule => "submodule",
                };
                if entry.path == path.as_str() {
                    return Err(Refused::NotAFile { path: path.clone(), what });
                }
                left_out.push(entry.path);
            }
            let is_there = files.len() > before || files.keys().any(|file| is_below(file, path.as_str()));
            if !is_there {
                return Err(Refused::Missing { commit: commit.clone(), path: path.clone() });
            }
        }
        Ok((files, left_out))
    }

    /// A commit that the newest accepted one descends from, or that one.
    fn known(&self, kept: &Repo, record: &Record, revision: &str) -> Result<CommitId, Refused> {
        let no_such = || Refused::NoSuchRevision(revision.chars().take(64).collect());
        let commit = kept.resolve(revision)?.ok_or_else(no_such)?;
        if kept.is_ancestor(&commit, &record.newest.commit)? { Ok(commit) } else { Err(no_such()) }
    }

    fn kept(&self) -> Result<Repo, Refused> {
        Ok(Repo::open_or_init(&self.dir.join("kept.git"), self.settings.limits)?)
    }

    fn require_record(&self) -> Result<Record, Refused> {
        self.record()?.ok_or_else(|| Refused::Nothing(self.settings.remote.to_string()))
    }

    fn names(&self) -> (String, String) {
        (self.settings.remote.to_string(), self.settings.reference.to_string())
    }

    fn is_same(&self, record: &Record) -> bool {
        (record.remote.clone(), record.reference.clone()) == self.names()
    }

    /// The source for this run alone. What a killed run before left behind is removed.
    fn lock(&self) -> Result<Lock, Refused> {
        let failed = |error| Refused::Io { path: self.dir.clone(), error };
        fs::create_dir_all(&self.dir).map_err(failed)?;
        let file = File::create(self.dir.join("lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Refused::Busy(self.dir.clone())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let lock = Lock(file);
        incoming::sweep(&self.dir).map_err(failed)?;
        self.kept()?.sweep();
        Ok(lock)
    }
}

/// The source's lock file, locked.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Unlocks by a call: merely closed, it would stay locked by a program that another thread is about to start.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

fn verify_commit(verifier: &Verifier, commit: &CommitId, info: &CommitInfo) -> Result<SignedBy, Refused> {
    let error = |error| Refused::Signature { what: format!("commit {}", commit.short()), error };
    verifier.verify(&info.signed, &info.payload, info.time).map_err(error)
}

fn is_below(file: &str, path: &str) -> bool {
    file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn sha256(octets: &[u8]) -> String {
    Sha256::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect()
}
