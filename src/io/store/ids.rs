//! Surrogate ids: which endpoint an address is, which row a rule has.

use super::convert::millis;
use crate::base::model::{Channel, Purpose, RuleFacts, Wall};
use crate::base::name::{Name, NameRef};
use crate::engine::ledger::Folded;
use crate::policy::Policy;
use foldhash::quality::RandomState;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::Arc;

/// Endpoints that the ledger keeps apart. Attempts of further ones are counted as lost: so many addresses are a flood.
pub(super) const ENDPOINTS_MAX: u64 = 262_144;
/// Ids that are remembered of each kind; beyond, they are looked up again.
const REMEMBERED_MAX: usize = 65_536;

/// Rows whose full set of destinations is remembered; beyond, all destinations are handed to the database, which knows.
const FULL_MAX: usize = 1_024;

/// A row of the ledger by a client's address.
type Who = (IpAddr, Arc<str>, Purpose);

/// Ids that were looked up, and destinations that were. Must be forgotten when a transaction fails and when rows are deleted.
#[derive(Debug, Default)]
pub(super) struct Ids {
    endpoints: HashMap<IpAddr, i64, RandomState>,
    rules: HashMap<Arc<RuleFacts>, i64, RandomState>,
    /// The destinations that are told apart of rows that have as many as they may.
    full: HashMap<Who, HashSet<u64, RandomState>, RandomState>,
    /// The key of their hashes.
    hasher: RandomState,
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
            None => match self.make(conn, at)? {
                Some(id) => id,
                None => return Ok(None),
            },
        };
        if known.is_none() {
            conn.prepare_cached(
                "INSERT INTO endpoint_fact (endpoint, kind, value, first, last) VALUES (?1, 'address', ?2, ?3, ?3)",
            )?
            .execute(params![id, text, millis(at)])?;
        }
        self.bind(address, id);
        Ok(Some(id))
    }

    /// From now on an address is this endpoint's.
    pub(super) fn bind(&mut self, address: IpAddr, id: i64) {
        if self.endpoints.len() >= REMEMBERED_MAX {
            self.endpoints.clear();
        }
        self.endpoints.insert(address.to_canonical(), id);
    }

    fn count(&mut self, conn: &Connection) -> rusqlite::Result<u64> {
        if let Some(known) = self.known {
            return Ok(known);
        }
        let known = conn.query_row("SELECT count(*) FROM endpoint", [], |row| super::convert::count(row, 0))?;
        self.known = Some(known);
        Ok(known)
    }

    /// A new endpoint, of which nothing is known yet; `None` where there is no room for it.
    pub(super) fn make(&mut self, conn: &Connection, at: Wall) -> rusqlite::Result<Option<i64>> {
        if self.count(conn)? >= self.limit.unwrap_or(ENDPOINTS_MAX) {
            return Ok(None);
        }
        conn.prepare_cached("INSERT INTO endpoint (first, last) VALUES (?1, ?1)")?.execute([millis(at)])?;
        self.known = self.known.map(|known| known.saturating_add(1));
        Ok(Some(conn.last_insert_rowid()))
    }

    /// Lets go of the rules: those of a policy that went out of force hardly come again.
    pub(super) fn forget_rules(&mut self) {
        self.rules = HashMap::default();
    }

    /// Remembers the destinations that are told apart of a row which has as many as it may.
    pub(super) fn note_full<'d>(&mut self, who: Who, kept: impl Iterator<Item = (&'d str, Channel)>) {
        if self.full.len() >= FULL_MAX {
            self.full.clear();
        }
        let hash = |(text, channel): (&str, Channel)| match text.parse::<IpAddr>() {
            Ok(address) => Some(self.hash(None, Some(address), channel)),
            Err(_) => text.parse::<Name>().ok().map(|name| self.hash(Some(name.as_ref()), None, channel)),
        };
        let kept = kept.filter_map(hash).collect();
        self.full.insert(who, kept);
    }

    /// Whether the database may tell a destination apart. In a flood of names it tells few, and the rest is better folded
    /// before it gets there.
    pub(super) fn is_apart(&self, policy: &Policy, row: &Folded<'_>) -> bool {
        if self.full.is_empty() {
            return true;
        }
        let Some((vendor, purpose)) = policy.rules().party(row.class) else { return true };
        let Some(kept) = self.full.get(&(row.client, Arc::clone(vendor), purpose)) else { return true };
        kept.contains(&self.hash(row.name, row.address, row.channel))
    }

    fn hash(&self, name: Option<NameRef<'_>>, address: Option<IpAddr>, channel: Channel) -> u64 {
        self.hasher.hash_one((name.map(NameRef::as_wire), address, channel))
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
