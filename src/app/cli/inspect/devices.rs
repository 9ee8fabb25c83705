//! Who is behind an address of the report: what devices say of themselves, and what their frames show.

use super::super::maker::{Makers, is_made_up};
use super::super::table::printable;
use crate::base::wire::host::escaped;
use crate::engine::inspector::endpoint::{Dated, Endpoint, Endpoints};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// How long before and after an address was heard of it is taken for the same device's, in nanoseconds: flows go on when they have begun.
const SLACK_NS: u64 = 600_000_000_000;

/// Devices by their addresses.
pub(super) struct Devices<'e> {
    by_address: BTreeMap<IpAddr, Vec<(&'e Dated<IpAddr>, &'e Endpoint)>>,
    makers: Makers,
}

/// Devices that had an address during some time.
pub(super) struct Behind<'d> {
    devices: Vec<&'d Endpoint>,
    makers: &'d Makers,
}

impl<'e> Devices<'e> {
    /// What is known of whoever had one of these addresses.
    pub(super) fn new(endpoints: &'e Endpoints, addresses: &BTreeSet<IpAddr>) -> Self {
        let mut by_address: BTreeMap<IpAddr, Vec<(&Dated<IpAddr>, &Endpoint)>> = BTreeMap::new();
        for (_, endpoint) in endpoints.iter() {
            for dated in endpoint.addresses.iter().filter(|dated| addresses.contains(&dated.what)) {
                by_address.entry(dated.what).or_default().push((dated, endpoint));
            }
        }
        by_address.values_mut().for_each(|devices| devices.sort_by_key(|(dated, _)| dated.first));
        let macs = by_address.values().flatten().filter_map(|(_, endpoint)| endpoint.mac);
        let macs: BTreeSet<String> = macs.map(|mac| mac.to_string()).collect();
        Self { by_address, makers: Makers::of(macs.iter()) }
    }

    /// The devices that had this address from a first to a last time, in the order in which they had it; those of any other time where
    /// there is none.
    pub(super) fn behind(&self, address: IpAddr, first_ns: u64, last_ns: u64) -> Behind<'_> {
        let all = self.by_address.get(&address).map_or(&[][..], Vec::as_slice);
        let is_then = |dated: &Dated<IpAddr>| {
            dated.first.as_nanos() <= last_ns.saturating_add(SLACK_NS)
                && dated.last.as_nanos().saturating_add(SLACK_NS) >= first_ns
        };
        let is_known = all.iter().any(|(dated, _)| is_then(dated));
        let then = all.iter().filter(|(dated, _)| !is_known || is_then(dated));
        Behind { devices: then.map(|(_, endpoint)| *endpoint).collect(), makers: &self.makers }
    }
}

impl Behind<'_> {
    /// A few words: what it calls itself, its hardware address, who made that. Nothing where nothing is known.
    pub(super) fn words(&self) -> String {
        let devices: Vec<String> = self.devices.iter().map(|device| self.words_of(device)).collect();
        devices.join(", then ")
    }

    fn words_of(&self, device: &Endpoint) -> String {
        let name = device.names.iter().max_by_key(|dated| dated.last).map(|dated| escaped(&dated.what.1));
        let mac = device.mac.map(|mac| mac.to_string()).map(|mac| match self.makers.maker(&mac) {
            Some(maker) => format!("{mac} ({maker})"),
            None if is_made_up(&mac) => format!("{mac} (made up)"),
            None => mac,
        });
        // A device behind a relay has an id where it has no hardware address.
        let id = device.client_id.as_deref().filter(|_| mac.is_none()).map(|id| format!("DHCP {}", digits(id)));
        let words: Vec<String> = name.into_iter().chain(mac).chain(id).chain(segment(device)).collect();
        printable(&words.join(" "))
    }

    /// All that is known, an object a device.
    pub(super) fn objects(&self) -> Vec<Value> {
        let object = |device: &&Endpoint| {
            let mac = device.mac.map(|mac| mac.to_string());
            json!({
                "mac": mac,
                "maker": mac.as_deref().and_then(|mac| self.makers.maker(mac)),
                "randomised": mac.as_deref().is_some_and(is_made_up),
                "client_id": device.client_id.as_deref().map(digits),
                "vendor_class": device.vendor_class.as_deref().map(escaped),
                "segment": segment(device),
                "names": device.names.iter().map(|dated| escaped(&dated.what.1)).collect::<BTreeSet<_>>(),
                "addresses": device.addresses.iter().map(|dated| dated.what).collect::<Vec<_>>(),
            })
        };
        self.devices.iter().map(object).collect()
    }
}

/// Where it is.
fn segment(device: &Endpoint) -> Option<String> {
    let vlan = device.vlan.map(|vlan| format!("vlan {vlan}"));
    vlan.or_else(|| device.relay.map(|relay| format!("relay {relay}")))
}

fn digits(id: &[u8]) -> String {
    id.iter().map(|octet| format!("{octet:02x}")).collect()
}
