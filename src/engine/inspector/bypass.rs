//! Ways around a block: a blocked name, and what its endpoint does within the window after it.

use super::finding::Incident;
use super::reader::At;
use crate::base::name::{Name, NameRef};
use crate::base::wire::dns::{AnswerView, Section};
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// How long after a blocked name something counts as an answer to the block, in nanoseconds.
const WINDOW_NS: u64 = 120_000_000_000;
/// Endpoints of which blocked names are remembered, one a vendor.
const ENDPOINTS_MAX: usize = 16_384;
/// Incidents that are kept.
const INCIDENTS_MAX: usize = 10_000;
/// Steps of one incident that are kept.
const STEPS_MAX: usize = 16;

/// The blocked names of late, and the ways around them.
#[derive(Debug, Default)]
pub(super) struct Bypasses {
    endpoints: HashMap<IpAddr, BTreeMap<Arc<str>, Blocked>, RandomState>,
    /// By number, in order of their beginning.
    incidents: BTreeMap<u64, Incident>,
    /// Those that have begun or grown since they were last told.
    changed: BTreeSet<u64>,
    begun: u64,
    /// Incidents for which there was no room.
    pub(super) dropped: u64,
}

#[derive(Debug)]
struct Blocked {
    name: Name,
    at: At,
    /// Whom the endpoint asked.
    resolver: IpAddr,
    answer: Option<String>,
    /// Number of the incident that it became.
    incident: Option<u64>,
}

impl Bypasses {
    /// An endpoint asked a resolver for a name that is blocked. `false` where there is no room for that.
    pub(super) fn blocked(
        &mut self,
        at: At,
        endpoint: IpAddr,
        resolver: IpAddr,
        vendor: &Arc<str>,
        name: NameRef<'_>,
    ) -> bool {
        if self.endpoints.len() >= ENDPOINTS_MAX && !self.endpoints.contains_key(&endpoint) {
            self.endpoints.retain(|_, vendors| vendors.values().any(|held| held.is_late(at)));
            if self.endpoints.len() >= ENDPOINTS_MAX {
                return false;
            }
        }
        let vendors = self.endpoints.entry(endpoint).or_default();
        let held = vendors.get(vendor).filter(|held| held.is_late(at));
        // Asking the same again, or somebody else, goes on with what was begun.
        if held.is_none_or(|held| held.incident.is_none() && held.resolver == resolver) {
            let blocked = Blocked { name: name.to_name(), at, resolver, answer: None, incident: None };
            vendors.insert(Arc::clone(vendor), blocked);
        }
        true
    }

    /// An endpoint got an answer.
    pub(super) fn answer(&mut self, endpoint: IpAddr, message: &[u8]) {
        let Some(vendors) = self.endpoints.get_mut(&endpoint) else { return };
        let Ok(view) = AnswerView::parse(message) else { return };
        for blocked in vendors.values_mut() {
            if blocked.answer.is_none() && blocked.name.as_ref() == view.name() {
                blocked.answer = Some(kind(&view));
            }
        }
    }

    /// Whom an endpoint asked for the blocked name of a vendor, if that was of late.
    pub(super) fn resolver(&self, at: At, endpoint: IpAddr, vendor: &Arc<str>) -> Option<IpAddr> {
        self.endpoints.get(&endpoint)?.get(vendor).filter(|held| held.is_late(at)).map(|held| held.resolver)
    }

    /// The vendors of which an endpoint was refused a name of late.
    pub(super) fn vendors(&self, at: At, endpoint: IpAddr) -> Vec<Arc<str>> {
        let Some(vendors) = self.endpoints.get(&endpoint) else { return Vec::new() };
        vendors.iter().filter(|(_, held)| held.is_late(at)).map(|(vendor, _)| Arc::clone(vendor)).collect()
    }

    /// An endpoint took a step around the block.
    pub(super) fn step(&mut self, at: At, endpoint: IpAddr, vendor: &Arc<str>, what: String) {
        let vendors = self.endpoints.get_mut(&endpoint);
        let Some(blocked) = vendors.and_then(|vendors| vendors.get_mut(vendor)) else { return };
        let number = match blocked.incident {
            Some(number) => number,
            None if self.incidents.len() >= INCIDENTS_MAX => {
                self.dropped += 1;
                return;
            }
            None => {
                let first = (blocked.at, format!("asked {} for {}, which is blocked", blocked.resolver, blocked.name));
                let (vendor, answer) = (Arc::clone(vendor), blocked.answer.clone());
                self.begun += 1;
                self.incidents.insert(
                    self.begun,
                    Incident { endpoint, vendor, answer, chain: vec![first], fallbacks: Vec::new() },
                );
                self.begun
            }
        };
        blocked.incident = Some(number);
        // A step that is taken again is the same step.
        let is_new = |incident: &&mut Incident| {
            incident.chain.len() < STEPS_MAX && incident.chain.iter().all(|(_, held)| *held != what)
        };
        if let Some(incident) = self.incidents.get_mut(&number).filter(is_new) {
            incident.chain.push((at, what));
            self.changed.insert(number);
        }
    }

    /// An endpoint asked one of the vendor's fallback resolvers, by its place in the vendor's order.
    pub(super) fn fallback(&mut self, at: At, endpoint: IpAddr, vendor: &Arc<str>, (order, address): (u16, IpAddr)) {
        let what = format!("asked {address}, number {order} of the vendor's fallback resolvers");
        self.step(at, endpoint, vendor, what);
        let blocked = self.endpoints.get(&endpoint).and_then(|vendors| vendors.get(vendor));
        let incident = blocked.and_then(|blocked| self.incidents.get_mut(&blocked.incident?));
        if let Some(incident) = incident.filter(|incident| !incident.fallbacks.contains(&order)) {
            incident.fallbacks.push(order);
        }
    }

    /// An incident that has begun or grown. One that can grow no more is forgotten with this.
    pub(super) fn poll_incident(&mut self, now_ns: u64) -> Option<Incident> {
        let number = self.changed.pop_first()?;
        let told = self.incidents.get(&number)?.clone();
        let is_over = |incident: &Incident| {
            incident.chain.first().is_none_or(|(at, _)| now_ns.saturating_sub(at.time_ns) > WINDOW_NS)
        };
        let changed = &self.changed;
        self.incidents.retain(|number, incident| changed.contains(number) || !is_over(incident));
        Some(told)
    }

    /// All incidents that are kept, in order of their beginning.
    pub(super) fn into_incidents(self) -> Vec<Incident> {
        self.incidents.into_values().collect()
    }
}

impl Blocked {
    fn is_late(&self, at: At) -> bool {
        at.time_ns.saturating_sub(self.at.time_ns) <= WINDOW_NS
    }
}

/// How a name was answered, in a word.
fn kind(view: &AnswerView<'_>) -> String {
    match view.header().flags.rcode().0 {
        0 => {}
        3 => return "nxdomain".to_owned(),
        5 => return "refused".to_owned(),
        other => return format!("rcode {other}"),
    }
    let addresses = view.records().flatten().filter(|record| record.section == Section::Answer);
    match addresses.filter_map(|record| record.address().ok().flatten()).next() {
        None => "nodata".to_owned(),
        Some(address) if address.is_unspecified() => "null".to_owned(),
        Some(_) => "an address".to_owned(),
    }
}
