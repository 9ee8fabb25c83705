//! Who is behind an address: devices, and the dated facts that frames say of them.
//!
//! A device is known by what stays when its address and its name change: the DUID or client id that it gives to DHCP servers, also
//! through relays, or its hardware address where it is on the same segment. A hardware address that sends for many addresses at
//! once, or for others what has passed a router already, is a router's and nobody's identity: who is behind it is told apart by
//! address, and by DHCP where that is relayed in sight.
//!
//! Everything is bounded by device. When the table is full, newcomers are counted and known by address only; nobody is pushed out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use foldhash::fast::RandomState;

use crate::base::model::{Mac, Mono};
use crate::base::wire::dhcp::Dhcp;
use crate::base::wire::packet::{Packet, Transport};

mod said;
#[cfg(test)]
mod tests;

/// Addresses of one device; the one not seen for longest makes room.
pub const ADDRESSES_MAX: usize = 16;
/// Names of one device; the one not seen for longest makes room.
pub const NAMES_MAX: usize = 8;
/// Octets of a name, a class or an id that are kept.
pub const TEXT_OCTETS_MAX: usize = 128;
/// Networks (IPv4 addresses, IPv6 prefixes of 64 bits) that a host may have at once; beyond that it is a router.
const HOST_NETWORKS_MAX: usize = 4;
/// A device that was not heard of for so long is forgotten: 30 days.
const SILENT_S: u64 = 30 * 86_400;
/// What "at once" means.
const AT_ONCE_S: u64 = 60;
/// How long a device that is known by its hardware address alone is looked at before it is told: a router's shows itself soon.
const SETTLE_S: u64 = 2;
/// How often it is told of a device that nothing has changed but when it was last heard of.
const REFRESH_S: u64 = 300;

/// A device's number, good for one run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EndpointId(u32);

/// Where a name was seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NameSource {
    /// The host name in DHCP or DHCPv6.
    Dhcp,
    /// Multicast DNS.
    Mdns,
    /// LLMNR.
    Llmnr,
    /// NetBIOS.
    Nbns,
}

/// Something that held from a first to a last time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dated<T> {
    /// What.
    pub what: T,
    /// First seen.
    pub first: Mono,
    /// Last seen.
    pub last: Mono,
}

/// A device.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Endpoint {
    /// Its hardware address, from its own segment or from DHCP. See [`Mac::is_local`] for those that it made up.
    pub mac: Option<Mac>,
    /// What it calls itself to DHCP servers.
    pub client_id: Option<Box<[u8]>>,
    /// What made its DHCP client.
    pub vendor_class: Option<Box<[u8]>>,
    /// The relay that its DHCP messages came through: which segment it is on.
    pub relay: Option<IpAddr>,
    /// The outermost VLAN that its frames had.
    pub vlan: Option<u16>,
    /// When it was last heard of.
    pub last: Mono,
    /// Its addresses.
    pub addresses: Vec<Dated<IpAddr>>,
    /// Its names as it says them, lower case.
    pub names: Vec<Dated<(NameSource, Box<[u8]>)>>,
    /// When it was told last.
    told: Option<Mono>,
}

/// What was given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Losses {
    /// Devices for which there was no room, once for each time that one was to be remembered.
    pub crowded_out: u64,
    /// Addresses and names of devices that had too many.
    pub forgotten: u64,
}

/// All devices.
pub struct Endpoints {
    known: BTreeMap<EndpointId, Endpoint>,
    next: u32,
    endpoints_max: usize,
    by_mac: HashMap<Mac, Sender, RandomState>,
    by_client: HashMap<Box<[u8]>, EndpointId, RandomState>,
    by_address: HashMap<IpAddr, EndpointId, RandomState>,
    /// Devices of which there is news.
    changed: BTreeSet<EndpointId>,
    /// Hardware addresses that turned out to be routers' after they were told as a device's.
    routers: BTreeSet<Mac>,
    losses: Losses,
}

/// What is known of a hardware address on the segment.
#[derive(Clone, Debug)]
enum Sender {
    Host { id: EndpointId, networks: Vec<(IpAddr, Mono)> },
    Router,
}

impl Endpoints {
    /// A table for so many devices.
    #[must_use]
    pub fn new(endpoints_max: usize) -> Self {
        Self {
            known: BTreeMap::new(),
            next: 0,
            endpoints_max,
            by_mac: HashMap::default(),
            by_client: HashMap::default(),
            by_address: HashMap::default(),
            changed: BTreeSet::new(),
            routers: BTreeSet::new(),
            losses: Losses::default(),
        }
    }

    /// The device that has this address now.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<(EndpointId, &Endpoint)> {
        let id = *self.by_address.get(&address)?;
        self.known.get(&id).map(|endpoint| (id, endpoint))
    }

    /// All devices, in the order in which they were met.
    pub fn iter(&self) -> impl Iterator<Item = (EndpointId, &Endpoint)> {
        self.known.iter().map(|(&id, endpoint)| (id, endpoint))
    }

    /// Whether this hardware address is a router's, as far as seen.
    #[must_use]
    pub fn is_router(&self, mac: Mac) -> bool {
        matches!(self.by_mac.get(&mac), Some(Sender::Router))
    }

    /// What was given up.
    #[must_use]
    pub const fn losses(&self) -> Losses {
        self.losses
    }

    /// The next device of which there is news. Each is told again after a while also when there is none.
    pub fn poll_changed(&mut self, now: Mono) -> Option<&Endpoint> {
        let is_settled = |id: &EndpointId| {
            self.known.get(id).is_some_and(|endpoint| {
                let first = endpoint.addresses.iter().map(|address| address.first).min().unwrap_or(now);
                endpoint.client_id.is_some() || now.since(first).as_secs() >= SETTLE_S
            })
        };
        let id = self.changed.iter().copied().find(is_settled)?;
        self.changed.remove(&id);
        let endpoint = self.known.get_mut(&id)?;
        endpoint.told = Some(now);
        Some(endpoint)
    }

    /// The next hardware address that turned out to be a router's after it was told as a device's.
    pub fn poll_router(&mut self) -> Option<Mac> {
        self.routers.pop_first()
    }

    /// Takes what a packet says of who sent it. Everything that it learns is in the first packets of flows, in ARP, neighbour discovery
    /// and DHCP: the others need not come by.
    pub fn handle_packet(&mut self, now: Mono, packet: &Packet<'_>) {
        if let Some((address, mac)) = packet.neighbour() {
            self.sends(now, mac, address, false, packet);
        }
        let Some(ip) = packet.ip() else { return };
        if let Transport::Udp(udp) = ip.transport {
            let dhcp = match (udp.sport, udp.dport) {
                (67 | 68, 67 | 68) => Dhcp::v4(udp.payload),
                (546 | 547, _) | (_, 546 | 547) => Dhcp::v6(udp.payload),
                _ => None,
            };
            if let Some(dhcp) = dhcp {
                return self.handle_dhcp(now, packet, &dhcp);
            }
        }
        let is_ours = !ip.src.is_unspecified() && !ip.src.is_multicast() && !ip.src.is_loopback();
        if let Some(mac) = packet.link.src_mac.filter(|mac| is_ours && !mac.is_group()) {
            self.sends(now, mac, ip.src, has_passed_a_router(ip.ttl), packet);
        }
        if let Transport::Udp(udp) = ip.transport {
            said::names(ip.src, &udp, &mut |source, name| self.handle_name(now, ip.src, source, name));
        }
    }

    /// Forgets devices that were silent for long, and makes room. It looks at every device: once an hour is enough.
    pub fn handle_timeout(&mut self, now: Mono) {
        self.known.retain(|_, endpoint| now.since(endpoint.last).as_secs() < SILENT_S);
        let known = &self.known;
        self.changed.retain(|id| known.contains_key(id));
        self.by_mac.retain(|_, sender| match sender {
            Sender::Host { id, .. } => known.contains_key(id),
            Sender::Router => true,
        });
        self.by_client.retain(|_, id| known.contains_key(id));
        self.by_address.retain(|_, id| known.contains_key(id));
    }

    /// Takes a name that a device said to have at this address.
    pub fn handle_name(&mut self, now: Mono, address: IpAddr, source: NameSource, name: &[u8]) {
        let Some(&id) = self.by_address.get(&address) else { return };
        let Some(endpoint) = self.known.get_mut(&id) else { return };
        let known = endpoint.names.len();
        let forgotten = endpoint.name(now, source, name);
        self.losses.forgotten += forgotten;
        if forgotten > 0 || endpoint.names.len() != known {
            self.changed.insert(id);
        }
    }

    /// A hardware address sent something for an address.
    fn sends(&mut self, now: Mono, mac: Mac, address: IpAddr, has_passed: bool, packet: &Packet<'_>) {
        let is_known = match self.by_mac.get(&mac) {
            Some(Sender::Host { id, .. }) => self.known.contains_key(id),
            Some(Sender::Router) => return,
            None => false,
        };
        if !is_known && has_passed {
            // A host of the segment would have been seen without: by its own ARP, if its packets start from an odd number of hops.
            if self.by_mac.len() < self.endpoints_max {
                self.by_mac.insert(mac, Sender::Router);
            } else {
                self.losses.crowded_out += 1;
            }
            return;
        }
        if !is_known {
            let Some(id) = self.add() else { return };
            self.known.entry(id).or_default().mac = Some(mac);
            self.point(mac, id);
        }
        let Some(Sender::Host { id, networks }) = self.by_mac.get_mut(&mac) else { return };
        let id = *id;
        let network = network(address);
        networks.retain(|(other, last)| *other != network && now.since(*last).as_secs() < AT_ONCE_S);
        networks.push((network, now));
        if networks.len() > HOST_NETWORKS_MAX || has_passed && networks.len() > 1 {
            return self.is_a_router_after_all(mac, id);
        }
        if let Some(endpoint) = self.known.get_mut(&id) {
            endpoint.vlan = packet.link.vlans.ids().first().copied().or(endpoint.vlan);
        }
        self.bind(now, id, address);
    }

    /// What was known of a device is known of nobody: others' addresses, sent on by a router.
    fn is_a_router_after_all(&mut self, mac: Mac, id: EndpointId) {
        self.by_mac.insert(mac, Sender::Router);
        let Some(endpoint) = self.known.get_mut(&id) else { return };
        if endpoint.told.is_some() {
            self.routers.insert(mac);
        }
        endpoint.mac = None;
        for address in endpoint.addresses.drain(..) {
            if self.by_address.get(&address.what) == Some(&id) {
                self.by_address.remove(&address.what);
            }
        }
        if endpoint.client_id.is_none() {
            self.known.remove(&id);
        }
    }

    fn handle_dhcp(&mut self, now: Mono, packet: &Packet<'_>, dhcp: &Dhcp<'_>) {
        // A client of the sixth version says its hardware address only by sending; a relay's is not its own.
        let sender = packet.link.src_mac.filter(|_| dhcp.relay.is_none() && !dhcp.is_reply);
        let mac = dhcp.mac.or(sender).filter(|&mac| !self.is_router(mac));
        let Some(id) = self.client(dhcp.client_id, mac) else { return };
        let Some(endpoint) = self.known.get_mut(&id) else { return };
        endpoint.last = endpoint.last.max(now);
        self.changed.insert(id);
        if !dhcp.vendor_class.is_empty() {
            endpoint.vendor_class = Some(cut(dhcp.vendor_class).into());
        }
        endpoint.relay = dhcp.relay.or(endpoint.relay);
        if !dhcp.host_name.is_empty() {
            self.losses.forgotten += endpoint.name(now, NameSource::Dhcp, dhcp.host_name);
        }
        if let Some(address) = dhcp.address {
            self.bind(now, id, address);
        }
    }

    /// The device of this client id or hardware address, one of both if they turn out to be the same.
    fn client(&mut self, client_id: &[u8], mac: Option<Mac>) -> Option<EndpointId> {
        let client_id = cut(client_id);
        let by_client = self.by_client.get(client_id).copied();
        let by_mac = mac.and_then(|mac| self.by_mac.get(&mac)).and_then(|sender| match sender {
            Sender::Host { id, .. } => Some(*id).filter(|id| self.known.contains_key(id)),
            Sender::Router => None,
        });
        let id = match (by_client, by_mac) {
            (Some(id), Some(other)) if id != other => {
                self.merge(other, id);
                id
            }
            (Some(id), _) | (None, Some(id)) => id,
            (None, None) if client_id.is_empty() && mac.is_none() => return None,
            (None, None) => self.add()?,
        };
        if let Some(mac) = mac {
            self.point(mac, id);
        }
        let endpoint = self.known.get_mut(&id)?;
        endpoint.mac = mac.or(endpoint.mac);
        if !client_id.is_empty() {
            // One that changes its client id is known by the new one from now on.
            if let Some(before) = endpoint.client_id.replace(client_id.into()).filter(|before| **before != *client_id) {
                self.by_client.remove(&before);
            }
            self.by_client.insert(client_id.into(), id);
        }
        Some(id)
    }

    /// Two were one all along.
    fn merge(&mut self, from: EndpointId, into: EndpointId) {
        let Some(gone) = self.known.remove(&from) else { return };
        for address in gone.addresses {
            self.bind(address.first, into, address.what);
            self.bind(address.last, into, address.what);
        }
        let Some(endpoint) = self.known.get_mut(&into) else { return };
        for name in gone.names {
            let (source, text) = name.what;
            self.losses.forgotten += endpoint.name(name.first, source, &text) + endpoint.name(name.last, source, &text);
        }
        endpoint.vlan = endpoint.vlan.or(gone.vlan);
        if let Some(client_id) = gone.client_id {
            self.by_client.remove(&client_id);
        }
    }

    /// A hardware address is this device's from now on.
    fn point(&mut self, mac: Mac, to: EndpointId) {
        let has_room = self.by_mac.len() < self.endpoints_max;
        match self.by_mac.get_mut(&mac) {
            Some(Sender::Host { id, .. }) => *id = to,
            Some(Sender::Router) => {}
            None if has_room => drop(self.by_mac.insert(mac, Sender::Host { id: to, networks: Vec::new() })),
            None => self.losses.crowded_out += 1,
        }
    }

    fn add(&mut self) -> Option<EndpointId> {
        if self.known.len() >= self.endpoints_max || self.by_mac.len() >= self.endpoints_max {
            self.losses.crowded_out += 1;
            return None;
        }
        let id = EndpointId(self.next);
        self.next = self.next.checked_add(1)?;
        self.known.insert(id, Endpoint::default());
        Some(id)
    }

    /// From now on the address is this device's.
    fn bind(&mut self, now: Mono, id: EndpointId, address: IpAddr) {
        let before = self.by_address.insert(address, id);
        let Some(endpoint) = self.known.get_mut(&id) else { return };
        endpoint.last = endpoint.last.max(now);
        if before != Some(id) || endpoint.told.is_none_or(|told| now.since(told).as_secs() >= REFRESH_S) {
            self.changed.insert(id);
        }
        if let Some(gone) = seen(&mut endpoint.addresses, address, now, ADDRESSES_MAX) {
            self.losses.forgotten += 1;
            if self.by_address.get(&gone) == Some(&id) {
                self.by_address.remove(&gone);
            }
        }
    }
}

impl Endpoint {
    /// Takes a name; how many it pushed out.
    fn name(&mut self, now: Mono, source: NameSource, name: &[u8]) -> u64 {
        let name = cut(name).to_ascii_lowercase().into_boxed_slice();
        u64::from(seen(&mut self.names, (source, name), now, NAMES_MAX).is_some())
    }
}

/// Dates a fact, or adds it; the one that has to go for it.
fn seen<T: PartialEq>(facts: &mut Vec<Dated<T>>, what: T, now: Mono, facts_max: usize) -> Option<T> {
    if let Some(fact) = facts.iter_mut().find(|fact| fact.what == what) {
        fact.last = fact.last.max(now);
        return None;
    }
    let oldest = facts.iter().enumerate().min_by_key(|(_, fact)| fact.last).map(|(at, _)| at);
    let gone = oldest.filter(|_| facts.len() >= facts_max).map(|at| facts.remove(at).what);
    facts.push(Dated { what, first: now, last: now });
    gone
}

fn cut(text: &[u8]) -> &[u8] {
    text.get(..TEXT_OCTETS_MAX).unwrap_or(text)
}

/// What counts as one when a host has many: privacy addresses (RFC 8981) share their prefix.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
    }
}

/// Hosts start from 255, 128 or 64, and from less than 33 where they mean to reach neighbours, or trace a route.
const fn has_passed_a_router(ttl: u8) -> bool {
    !matches!(ttl, 0..=32 | 64 | 128 | 255)
}
