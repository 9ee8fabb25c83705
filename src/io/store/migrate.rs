//! Versions of the schema. A version once released never changes; what is new is a further file.

use super::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// Each brings the schema from the version of its place to the next.
const MIGRATIONS: [&str; 4] = [
    include_str!("migrations/0001_ledger.sql"),
    include_str!("migrations/0002_forwarder.sql"),
    include_str!("migrations/0003_evidence.sql"),
    include_str!("migrations/0004_devices.sql"),
];
/// The version that this program knows.
pub(super) const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// The version of a database; 0 where nothing has been made yet.
pub(super) fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings a database to [`SCHEMA`], each version in its own transaction.
pub(super) fn migrate(conn: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Database { doing: "bring up to date", path: path.to_owned(), source };
    let found = version(conn).map_err(failed)?;
    let Some(done) = usize::try_from(found).ok().filter(|done| *done <= MIGRATIONS.len()) else {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: SCHEMA });
    };
    for (sql, to) in MIGRATIONS.iter().zip(1_i64..).skip(done) {
        let step = |conn: &mut Connection| {
            let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(sql)?;
            transaction.pragma_update(None, "user_version", to)?;
            transaction.commit()
        };
        step(conn).map_err(failed)?;
    }
    Ok(())
}
