//! Between our types and SQL's.

use crate::base::model::{UnknownWord, Wall};
use rusqlite::types::Type;
use std::str::FromStr;

/// Unix milliseconds.
pub(super) fn millis(at: Wall) -> i64 {
    at.as_millisecond()
}

/// A count, saturating where SQL's integers end.
pub(super) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Reads unix milliseconds.
pub(super) fn wall(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Wall> {
    Wall::from_millisecond(row.get(column)?).map_err(|error| refused(column, Type::Integer, error))
}

/// Reads a count.
pub(super) fn count(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|error| refused(column, Type::Integer, error))
}

/// Reads a word of a vocabulary.
pub(super) fn word<T: FromStr<Err = UnknownWord>>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|error: UnknownWord| refused(column, Type::Text, error))
}

/// What a column holds is not what it should.
pub(super) fn refused(
    column: usize,
    is: Type,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, is, Box::new(error))
}
