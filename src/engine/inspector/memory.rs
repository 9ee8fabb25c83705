//! What each client was told about names: so that a flow without a name is put down to what its client just resolved.

use super::reader::At;
use crate::base::model::Confidence;
use crate::base::name::{Name, NameRef};
use crate::base::wire::dns::{AnswerView, Section};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Clients that are remembered.
const CLIENTS_MAX: usize = 16_384;
/// Addresses that are remembered of one client.
const ADDRESSES_MAX: usize = 512;
/// How often a full table is searched for what is old, in nanoseconds.
const SWEEP_NS: u64 = 10_000_000_000;
/// How long an answer is believed at least: programs hold on to addresses beyond their time to live.
const BELIEVED_MIN: Duration = Duration::from_secs(300);
/// How long at most.
const BELIEVED_MAX: Duration = Duration::from_secs(86_400);

/// What clients resolved.
#[derive(Debug, Default)]
pub(super) struct Memory {
    clients: HashMap<IpAddr, Client, RandomState>,
    /// When old clients were forgotten last.
    swept_ns: u64,
    /// Answers that were forgotten for want of room.
    pub(super) dropped: u64,
}

#[derive(Debug, Default)]
struct Client {
    addresses: HashMap<IpAddr, Told, RandomState>,
}

#[derive(Debug)]
struct Told {
    name: Name,
    at_ns: u64,
    until_ns: u64,
    /// Another name led here too.
    is_shared: bool,
}

/// A name that a client resolved to an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolved<'a> {
    pub(super) name: NameRef<'a>,
    /// How long before.
    pub(super) ago: Duration,
    /// Whether the address stands for other names too, or the answer is old.
    pub(super) confidence: Confidence,
}

impl Memory {
    /// Remembers the addresses of a response that `client` got.
    pub(super) fn answer(&mut self, at: At, client: IpAddr, message: &[u8]) {
        let Ok(view) = AnswerView::parse(message) else { return };
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&client) {
            self.forget_old(at);
            if self.clients.len() >= CLIENTS_MAX {
                self.dropped += 1;
                return;
            }
        }
        let held = self.clients.entry(client).or_default();
        for record in view.records().flatten().filter(|record| record.section == Section::Answer) {
            let Ok(Some(address)) = record.address() else { continue };
            let ttl = Duration::from_secs(u64::from(record.ttl)).clamp(BELIEVED_MIN, BELIEVED_MAX);
            let until_ns = at.time_ns.saturating_add(u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX));
            if held.addresses.len() >= ADDRESSES_MAX && !held.addresses.contains_key(&address) {
                held.addresses.retain(|_, told| told.until_ns > at.time_ns);
                if held.addresses.len() >= ADDRESSES_MAX {
                    self.dropped += 1;
                    continue;
                }
            }
            let name = view.name().to_name();
            let is_shared = held
                .addresses
                .get(&address)
                .is_some_and(|told| told.until_ns > at.time_ns && (told.is_shared || told.name != name));
            held.addresses.insert(address, Told { name, at_ns: at.time_ns, until_ns, is_shared });
        }
    }

    /// Forgets clients of which nothing is believed any more; now and then, since it looks at all of them.
    fn forget_old(&mut self, at: At) {
        if at.time_ns.saturating_sub(self.swept_ns) >= SWEEP_NS {
            self.swept_ns = at.time_ns;
            self.clients.retain(|_, client| client.addresses.values().any(|told| told.until_ns > at.time_ns));
        }
    }

    /// The name that a client resolved to an address last.
    pub(super) fn name_of(&self, at: At, client: IpAddr, address: IpAddr) -> Option<Resolved<'_>> {
        let told = self.clients.get(&client)?.addresses.get(&address)?;
        let is_old = told.until_ns < at.time_ns;
        let confidence = match (is_old, told.is_shared) {
            (false, false) => Confidence::High,
            (false, true) | (true, false) => Confidence::Medium,
            (true, true) => Confidence::Low,
        };
        let ago = Duration::from_nanos(at.time_ns.saturating_sub(told.at_ns));
        Some(Resolved { name: told.name.as_ref(), ago, confidence })
    }

    /// Whether any answer to a client was seen.
    pub(super) fn knows(&self, client: IpAddr) -> bool {
        self.clients.contains_key(&client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: &[u8], address: [u8; 4], ttl: u32) -> Vec<u8> {
        let mut message = b"\0\x01\x81\x80\0\x01\0\x01\0\0\0\0".to_vec();
        message.extend(name);
        message.extend(b"\0\x01\0\x01\xc0\x0c\0\x01\0\x01");
        message.extend(ttl.to_be_bytes());
        message.extend(b"\0\x04");
        message.extend(address);
        message
    }

    #[test]
    fn the_last_name_and_how_sure_it_is() {
        let mut memory = Memory::default();
        let (client, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let address = "192.0.2.1".parse().unwrap();
        let at = |seconds: u64| At { frame: 1, time_ns: seconds * 1_000_000_000 };
        memory.answer(at(10), client, &answer(b"\x01a\0", [192, 0, 2, 1], 60));
        let told = memory.name_of(at(12), client, address).unwrap();
        assert_eq!((told.name.to_string().as_str(), told.ago.as_secs(), told.confidence), ("a", 2, Confidence::High));
        assert!(memory.name_of(at(12), other, address).is_none() && !memory.knows(other) && memory.knows(client));
        assert_eq!(memory.name_of(at(1000), client, address).unwrap().confidence, Confidence::Medium, "it is old");
        memory.answer(at(20), client, &answer(b"\x01b\0", [192, 0, 2, 1], 60));
        let told = memory.name_of(at(21), client, address).unwrap();
        assert_eq!((told.name.to_string().as_str(), told.confidence), ("b", Confidence::Medium));
        memory.answer(at(22), client, b"\0\x01\x81\x80\0\x01\0\x01");
    }

    #[test]
    fn one_client_takes_no_more_than_its_room() {
        let mut memory = Memory::default();
        let client = "10.0.0.1".parse().unwrap();
        for number in 0..600_u16 {
            let [high, low] = number.to_be_bytes();
            memory.answer(At::default(), client, &answer(b"\x01a\0", [192, 0, high, low], 60));
        }
        assert_eq!(memory.clients[&client].addresses.len(), ADDRESSES_MAX);
        assert_eq!(memory.dropped, 600 - ADDRESSES_MAX as u64);
    }
}
