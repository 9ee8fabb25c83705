//! What can be wrong with the store, a sentence each.

use std::io;
use std::path::PathBuf;

/// Why the store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or a file in it cannot be made or opened.
    #[error("cannot keep the ledger in {}: {source}; make it writable for this user, or set another [store] path", .path.display())]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{} is in use by {holder}; stop that one, or give this one its own [store] path", .path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who holds it, in words.
        holder: String,
    },
    /// A newer program wrote it.
    #[error(
        "{} has schema {found} and this program knows up to {known}: a newer version wrote it; run that version, or move the file aside",
        .path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// It is older than this program, which only reads.
    #[error(
        "{} has schema {found} and this program reads {known}: start this version's daemon once, it brings the file up to date",
        .path.display()
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// There is nothing to read yet.
    #[error("there is no ledger in {}: the daemon makes it when it first runs; see [store] path", .path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The database refused.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Database {
        /// What was tried.
        doing: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Whether the file is no database, or a broken one.
    pub(super) fn is_corrupt(&self) -> bool {
        matches!(self, Self::Database { source, .. } if is_corrupt(source))
    }
}

/// Whether the file is no database, a broken one, or holds what no version of this program writes.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        || matches!(
            error,
            FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..)
        )
}

/// Whether a later attempt may succeed without anything in this program changing: no room, no device, somebody's lock.
pub(super) fn is_outside(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, ReadOnly, SystemIoFailure,
    };
    matches!(
        error.sqlite_error_code(),
        Some(CannotOpen | DatabaseBusy | DatabaseLocked | DiskFull | PermissionDenied | ReadOnly | SystemIoFailure)
    )
}
