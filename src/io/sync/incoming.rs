//! The repository of one attempt: beside the one that is kept, whose objects it sees, and gone with the attempt.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::git::Repo;
use super::object::CommitId;
use super::run::GitError;

/// How the names of [`Incoming`] begin.
const INCOMING: &str = "incoming-";

/// A repository for one attempt; gone with it.
#[derive(Debug)]
pub(super) struct Incoming {
    path: PathBuf,
    /// It sees what is kept as well.
    pub(super) repo: Repo,
}

impl Incoming {
    pub(super) fn new(dir: &Path, kept: &Repo, have: Option<&CommitId>) -> Result<Self, GitError> {
        // A git that outlives a killed run for a moment must not meet the next one's files.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{INCOMING}{}-{number}.git", std::process::id()));
        match Repo::init_beside(&path, kept, have) {
            Ok(repo) => Ok(Self { path, repo }),
            Err(error) => {
                let _ = fs::remove_dir_all(&path);
                Err(error)
            }
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // What cannot be removed now is at the next run.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what runs before left behind in `dir`. The caller holds the source's lock.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(INCOMING.as_bytes()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}
