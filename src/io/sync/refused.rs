//! Why a commit is not taken: one sentence each, with what to do.

use std::io;
use std::path::PathBuf;

use super::object::CommitId;
use super::record::RecordError;
use super::remote::RepoPath;
use super::run::GitError;
use super::signature::{SignatureError, SignersError};
use crate::base::model::Wall;

/// Why a commit is not taken; one sentence. What was in force stays in force.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// git, the network, or a limit.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The allowed-signers file.
    #[error(transparent)]
    Signers(#[from] SignersError),
    /// The signature.
    #[error("{what} {error}")]
    Signature {
        /// `commit 0123…` or `tag v1`.
        what: String,
        /// Why it does not count.
        error: SignatureError,
    },
    /// Another run holds the source.
    #[error("{}: another sync is running", .0.display())]
    Busy(PathBuf),
    /// Our own files.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Not a descendant of the newest accepted commit.
    #[error(
        "commit {} does not descend from {}, accepted before: the history was rewritten; publish on top of it instead",
        .tip.short(), .newest.short()
    )]
    Rewritten {
        /// What the remote has.
        tip: CommitId,
        /// The newest accepted.
        newest: CommitId,
    },
    /// An ancestor of the newest accepted commit.
    #[error("commit {} is older than {}, accepted before: a rollback; revert by a new commit instead", .tip.short(), .newest.short())]
    Older {
        /// What the remote has.
        tip: CommitId,
        /// The newest accepted.
        newest: CommitId,
    },
    /// Dated before the commit that it follows.
    #[error("commit {} is dated {time}, before {newest}, the date of what it follows; a commit is dated when it is made", .tip.short())]
    Backdated {
        /// What the remote has.
        tip: CommitId,
        /// Its time.
        time: Wall,
        /// The time of the newest accepted.
        newest: Wall,
    },
    /// Dated after now.
    #[error("commit {} is dated {time}, in the future; the clock of its author, or ours, is wrong", .tip.short())]
    Future {
        /// What the remote has.
        tip: CommitId,
        /// Its time.
        time: Wall,
    },
    /// A signed tag under another name.
    #[error("the tag {wanted} is really {found:?}: a tag was renamed")]
    TagName {
        /// What is followed.
        wanted: String,
        /// What the object says.
        found: String,
    },
    /// A path that is not in the commit.
    #[error("commit {} has no file at {path}", .commit.short())]
    Missing {
        /// The commit.
        commit: CommitId,
        /// The path.
        path: RepoPath,
    },
    /// A path that is no plain file.
    #[error("{path} is a {what}, not a file; it is not followed")]
    NotAFile {
        /// The path.
        path: RepoPath,
        /// `symbolic link` or `submodule`.
        what: &'static str,
    },
    /// Too many files.
    #[error("{count} files are more than the {max} that a source may have")]
    TooManyFiles {
        /// How many there are.
        count: usize,
        /// How many may be.
        max: usize,
    },
    /// A file too large.
    #[error("{path} has {size} octets, more than the {max} that a list may have; it was not read")]
    TooLarge {
        /// The path.
        path: String,
        /// Its octets.
        size: u64,
        /// How many may be.
        max: u64,
    },
    /// All files together too large.
    #[error("the files have {size} octets together, more than the {max} that a source may have; none was read")]
    AllTooLarge {
        /// Their octets.
        size: u64,
        /// How many may be.
        max: u64,
    },
    /// A file with too many lines.
    #[error("{path} has {lines} lines, more than the {max} that a list may have")]
    TooManyLines {
        /// The path.
        path: String,
        /// Its lines.
        lines: usize,
        /// How many may be.
        max: usize,
    },
    /// Stored files that are not what was accepted.
    #[error("{path} of commit {} is not what was accepted: the disk is damaged; remove {} and sync again", .commit.short(), .dir.display())]
    Damaged {
        /// The path.
        path: String,
        /// The commit.
        commit: CommitId,
        /// The source's folder.
        dir: PathBuf,
    },
    /// A revision that is not in the accepted history.
    #[error("{0:?} is no commit of the history that was accepted; write at least four of its digits")]
    NoSuchRevision(String),
    /// A rollback to what is not older.
    #[error("commit {} is not older than the one in force; pin it instead", .0.short())]
    NotOlder(CommitId),
    /// Nothing to go back to.
    #[error("nothing older was accepted")]
    NothingOlder,
    /// Nothing was ever accepted.
    #[error("nothing was accepted of {0} yet; sync first")]
    Nothing(String),
}
