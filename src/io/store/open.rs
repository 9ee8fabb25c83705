//! Making, locking and opening the files.

use super::StoreError;
use super::migrate;
use crate::base::model::Wall;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The database in the store's directory.
pub(super) const DATABASE: &str = "ledger.sqlite";
/// The file whose lock keeps a second daemon out.
const LOCK: &str = "ledger.lock";
/// How long a statement waits for somebody else's lock.
const BUSY: Duration = Duration::from_secs(1);
/// Databases up to this size are checked when they are opened after an unclean end: about a second of reading.
const CHECK_OCTETS_MAX: u64 = 64 << 20;
/// Octets that the write-ahead log keeps on disk after a checkpoint.
const WAL_OCTETS_MAX: i64 = 16 << 20;
/// Pages that a writer keeps to itself, in KiB: what one batch touches. The system's cache has the others.
const PAGE_CACHE_KIB: i64 = 512;

/// Makes the directory if it is missing; only its owner may enter.
pub(super) fn directory(dir: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| StoreError::Directory { path: dir.to_owned(), source })
}

/// Takes the store's lock; it lasts as long as the file is held, and ends with the process however that ends.
pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let failed = |source| StoreError::Directory { path: path.clone(), source };
    let mut file = private_file(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let holder = match file.read_to_string(&mut pid) {
                Ok(1..) => format!("process {}", pid.trim()),
                _ => "another process".to_owned(),
            };
            return Err(StoreError::Locked { path: dir.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    // The number is for the sentence above alone; a full disk is no reason to refuse.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Opens the database for writing, makes it if it is missing, and brings it up to date.
pub(super) fn writable(path: &Path) -> Result<Connection, StoreError> {
    private_file(path).map_err(|source| StoreError::Directory { path: path.to_owned(), source })?;
    let failed = |source| StoreError::Database { doing: "open", path: path.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(failed)?;
    let settings = || {
        conn.busy_timeout(BUSY)?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "NORMAL")?;
        conn.pragma_update(None, "foreign_keys", true)?;
        conn.pragma_update(None, "journal_size_limit", WAL_OCTETS_MAX)?;
        conn.pragma_update(None, "cache_size", -PAGE_CACHE_KIB)?;
        conn.set_prepared_statement_cache_capacity(64);
        Ok(())
    };
    settings().map_err(failed)?;
    migrate::migrate(&mut conn, path)?;
    Ok(conn)
}

/// Opens an existing database for reading beside a daemon that writes it.
pub(super) fn readable(dir: &Path) -> Result<Connection, StoreError> {
    let path = dir.join(DATABASE);
    // Where the folder may not be entered nothing is known; opening says why.
    if matches!(path.try_exists(), Ok(false)) {
        return Err(StoreError::Missing { path: dir.to_owned() });
    }
    let failed = |source| StoreError::Database { doing: "read", path: path.clone(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&path, flags).map_err(failed)?;
    conn.busy_timeout(BUSY).map_err(failed)?;
    match migrate::version(&conn).map_err(failed)? {
        0 => Err(StoreError::Missing { path: dir.to_owned() }),
        migrate::SCHEMA => Ok(conn),
        found if found > migrate::SCHEMA => Err(StoreError::Newer { path, found, known: migrate::SCHEMA }),
        found => Err(StoreError::Older { path, found, known: migrate::SCHEMA }),
    }
}

/// Whether a database is whole; one that is too large to read through at start counts as whole until a page proves otherwise.
pub(super) fn is_whole(conn: &Connection, path: &Path) -> rusqlite::Result<bool> {
    if fs::metadata(path).map_or(0, |file| file.len()) > CHECK_OCTETS_MAX {
        return Ok(true);
    }
    conn.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)).map(|said| said == "ok")
}

/// Moves a broken database out of the way, its write-ahead log with it, and says where it is now.
pub(super) fn move_aside(path: &Path, now: Wall) -> Result<PathBuf, StoreError> {
    let suffixed = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let free = |n: u32| suffixed(path, &format!(".corrupt-{}", now.as_second().saturating_add(i64::from(n))));
    let aside = (0..1000).map(free).find(|to| !to.exists()).unwrap_or_else(|| free(0));
    fs::rename(path, &aside).map_err(|source| StoreError::Directory { path: path.to_owned(), source })?;
    for suffix in ["-wal", "-shm"] {
        // Missing is the common case, and neither file means anything without the database.
        let _ = fs::rename(suffixed(path, suffix), suffixed(&aside, suffix));
    }
    Ok(aside)
}

/// Opens a file that only its owner may read, and makes it if it is missing.
fn private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}
