//! Files that are whole or not there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes `file` in `dir`: beside it first, synced, then renamed, and the folder synced. A crash leaves the old or the new.
///
/// # Errors
/// The kernel's; the old file stays.
pub(super) fn write_whole(dir: &Path, file: &Path, octets: &[u8]) -> io::Result<()> {
    let beside = file.with_extension("new");
    let mut new = File::create(&beside)?;
    new.write_all(octets)?;
    new.sync_all()?;
    fs::rename(&beside, file)?;
    File::open(dir)?.sync_all()
}
