//! Surrogate ids: which endpoint an address is, which row a rule has.

use super::convert::millis;
use crate::base::model::{RuleFacts, Wall};
use foldhash::quality::RandomState;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Endpoints that the ledger keeps apart. Attempts of further ones are counted as lost: so many addresses are a flood.
pub(super) const ENDPOINTS_MAX: u64 = 262_144;
/// Ids that are remembered of each kind; beyond, they are looked up again.
const REMEMBERED_MAX: usize = 65_536;

/// Ids that were looked up. Must be forgotten when a transaction fails and when rows are deleted.
#[derive(Debug, Default)]
pub(super) struct Ids {
    endpoints: HashMap<IpAddr, i64, RandomState>,
    rules: HashMap<Arc<RuleFacts>, i64, RandomState>,
    /// How many endpoints there are, once counted.
    known: Option<u64>,
    /// The bound, smaller in tests.
    limit: Option<u64>,
}

impl Ids {
    pub(super) fn forget(&mut self) {
        *self = Self { limit: self.limit, ..Self::default() };
    }

    #[cfg(test)]
    pub(super) fn limit_endpoints(&mut self, limit: u64) {
        self.limit = Some(limit);
    }

    /// The endpoint that an address belongs to; a new one where the address is new; `None` where there is no room for it.
    pub(super) fn endpoint(&mut self, conn: &Connection, address: IpAddr, at: Wall) -> rusqlite::Result<Option<i64>> {
        let address = address.to_canonical();
        if let Some(&id) = self.endpoints.get(&address) {
            return Ok(Some(id));
        }
        let text = address.to_string();
        let known = conn
            .prepare_cached(
                "SELECT endpoint FROM endpoint_fact WHERE kind = 'address' AND value = ?1 ORDER BY last DESC LIMIT 1",
            )?
            .query_row([&text], |row| row.get(0))
            .optional()?;
        let id = match known {
            Some(id) => id,
            None if self.count(conn)? >= self.limit.unwrap_or(ENDPOINTS_MAX) => return Ok(None),
            None => self.new_endpoint(conn, &text, at)?,
        };
        if self.endpoints.len() >= REMEMBERED_MAX {
            self.endpoints.clear();
        }
        self.endpoints.insert(address, id);
        Ok(Some(id))
    }

    fn count(&mut self, conn: &Connection) -> rusqlite::Result<u64> {
        if let Some(known) = self.known {
            return Ok(known);
        }
        let known = conn.query_row("SELECT count(*) FROM endpoint", [], |row| super::convert::count(row, 0))?;
        self.known = Some(known);
        Ok(known)
    }

    fn new_endpoint(&mut self, conn: &Connection, address: &str, at: Wall) -> rusqlite::Result<i64> {
        conn.prepare_cached("INSERT INTO endpoint (first, last) VALUES (?1, ?1)")?.execute([millis(at)])?;
        let id = conn.last_insert_rowid();
        conn.prepare_cached(
            "INSERT INTO endpoint_fact (endpoint, kind, value, first, last) VALUES (?1, 'address', ?2, ?3, ?3)",
        )?
        .execute(params![id, address, millis(at)])?;
        self.known = self.known.map(|known| known.saturating_add(1));
        Ok(id)
    }

    /// The row of a rule's facts.
    pub(super) fn rule(&mut self, conn: &Connection, rule: &Arc<RuleFacts>) -> rusqlite::Result<i64> {
        if let Some(&id) = self.rules.get(rule) {
            return Ok(id);
        }
        let facts =
            params![&*rule.vendor, rule.purpose.as_str(), &*rule.list, &*rule.revision, &*rule.place, &*rule.pattern];
        let known = conn
            .prepare_cached(
                "SELECT id FROM rule WHERE vendor = ?1 AND purpose = ?2 AND list = ?3 AND revision = ?4 AND place = ?5
                 AND pattern = ?6",
            )?
            .query_row(facts, |row| row.get(0))
            .optional()?;
        let id = if let Some(id) = known {
            id
        } else {
            conn.prepare_cached(
                "INSERT INTO rule (vendor, purpose, list, revision, place, pattern) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(facts)?;
            conn.last_insert_rowid()
        };
        if self.rules.len() >= REMEMBERED_MAX {
            self.rules.clear();
        }
        self.rules.insert(Arc::clone(rule), id);
        Ok(id)
    }
}
