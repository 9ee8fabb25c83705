//! The table of flows: bounded in flows and in octets, for everybody and for each endpoint that begins them.

use super::stream::Stream;
use crate::base::wire::packet::{Packet, protocol};
use crate::base::wire::quic::QuicClient;
use crate::base::wire::tls::DtlsHello;
use foldhash::quality::FixedState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};

/// Parts of the table. An endpoint's flows stand in one of them, so that it can push out only those that share it.
const SHELVES: usize = 64;
/// Flows of one part.
const SHELF_FLOWS: usize = 2048;
/// Octets that the flows of one part hold.
const SHELF_OCTETS: usize = 1 << 20;
/// Places that are looked at for one that may go, before any one goes.
const LOOKS_MAX: usize = 32;

/// Both ends of a flow, the smaller first, and where it was seen: one number stands for VLANs and tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) ends: [(u128, u16); 2],
    protocol: u8,
    place: u64,
}

impl Key {
    /// The key of a packet, and whether its source is the second end.
    pub(super) fn of(packet: &Packet<'_>, src: (IpAddr, u16), dst: (IpAddr, u16), protocol: u8) -> (Self, bool) {
        let mut ends = [(number(src.0), src.1), (number(dst.0), dst.1)];
        let is_turned = ends[0] > ends[1];
        if is_turned {
            ends.reverse();
        }
        let place = if packet.link.vlans.ids().is_empty() && packet.tunnels.depth == 0 { 0 } else { place(packet) };
        (Self { ends, protocol, place }, is_turned)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}

fn place(packet: &Packet<'_>) -> u64 {
    let mut hasher = FixedState::with_seed(0).build_hasher();
    packet.link.vlans.ids().hash(&mut hasher);
    packet.tunnels.network.hash(&mut hasher);
    if let Some((from, to)) = packet.tunnels.outermost {
        // Either direction of a tunnel is the same place.
        (from.min(to), from.max(to)).hash(&mut hasher);
    }
    hasher.finish().max(1)
}

/// What is known of a flow.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) key: Key,
    pub(super) state: State,
    /// Octets of IP payloads that the first and the second end sent.
    pub(super) octets: [u64; 2],
    /// Whether the second end began it.
    pub(super) is_second: bool,
    /// Touched since it was last looked at for going.
    is_used: bool,
    held: usize,
}

/// What is read of a flow.
#[derive(Debug)]
pub(super) enum State {
    /// TCP: what the first and what the second end sends.
    Tcp([Direction; 2]),
    /// UDP that is not read.
    Plain,
    Quic(Box<QuicClient>),
    Dtls(Box<DtlsHello>),
}

/// One direction of TCP.
#[derive(Debug, Default)]
pub(super) struct Direction {
    pub(super) stream: Stream,
    /// The sequence number of the last start.
    pub(super) start: Option<u32>,
    /// The time to live of the first packet.
    pub(super) ttl: Option<u8>,
    /// A right checksum was seen, so that a wrong one means something.
    pub(super) is_summed: bool,
}

/// What the table gave up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowLosses {
    /// Flows that had to make room for others while something was still to be read of them.
    pub unread: u64,
    /// Flows that had to make room with nothing left to read.
    pub read: u64,
}

/// The flows.
#[derive(Debug)]
pub(super) struct Flows {
    index: HashTable<u32>,
    hasher: foldhash::quality::RandomState,
    shelves: Vec<Shelf>,
    pub(super) losses: FlowLosses,
}

#[derive(Debug, Default)]
struct Shelf {
    flows: Vec<Flow>,
    hand: usize,
    held: usize,
}

impl Flows {
    pub(super) fn new() -> Self {
        let mut shelves = Vec::new();
        shelves.resize_with(SHELVES, Shelf::default);
        Self {
            index: HashTable::new(),
            hasher: foldhash::quality::RandomState::default(),
            shelves,
            losses: FlowLosses::default(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The place of a flow.
    pub(super) fn find(&mut self, key: &Key) -> Option<u32> {
        let shelves = &self.shelves;
        let hash = self.hasher.hash_one(key);
        let found = self.index.find(hash, |at| flow_in(shelves, *at).is_some_and(|flow| flow.key == *key)).copied()?;
        if let Some(flow) = self.get(found) {
            flow.is_used = true;
        }
        Some(found)
    }

    /// The flow at a place.
    pub(super) fn get(&mut self, at: u32) -> Option<&mut Flow> {
        let (shelf, place) = parts(at);
        self.shelves.get_mut(shelf)?.flows.get_mut(place)
    }

    /// A new flow, begun by `from`, which is its second end if `is_second`; what had to go for it.
    pub(super) fn add(&mut self, key: Key, from: IpAddr, is_second: bool, state: State) -> (u32, Option<Flow>) {
        let shelf_at = usize::try_from(self.hasher.hash_one(from) % SHELVES as u64).unwrap_or(0);
        let flow = Flow { key, state, octets: [0; 2], is_second, is_used: false, held: 0 };
        let Some(shelf) = self.shelves.get_mut(shelf_at) else { return (0, None) };
        let (place, gone) = if shelf.flows.len() < SHELF_FLOWS {
            shelf.flows.push(flow);
            (shelf.flows.len() - 1, None)
        } else {
            let place = shelf.victim();
            (place, shelf.flows.get_mut(place).map(|held| std::mem::replace(held, flow)))
        };
        let at = u32::try_from(shelf_at * SHELF_FLOWS + place).unwrap_or(u32::MAX);
        if let Some(gone) = &gone {
            shelf.held = shelf.held.saturating_sub(gone.held);
            self.forget(&gone.key, at);
        }
        let hash = self.hasher.hash_one(key);
        let (shelves, hasher) = (&self.shelves, &self.hasher);
        self.index.insert_unique(hash, at, |at| flow_in(shelves, *at).map_or(0, |flow| hasher.hash_one(flow.key)));
        (at, gone)
    }

    fn forget(&mut self, key: &Key, at: u32) {
        let hash = self.hasher.hash_one(key);
        if let Ok(entry) = self.index.find_entry(hash, |held| *held == at) {
            entry.remove();
        }
    }

    /// Notes what a flow holds now. Where its shelf holds too much, the states of others that go for it.
    pub(super) fn note(&mut self, at: u32) -> Vec<(Key, State)> {
        let (shelf_at, place) = parts(at);
        let Some(shelf) = self.shelves.get_mut(shelf_at) else { return Vec::new() };
        if let Some(flow) = shelf.flows.get_mut(place) {
            let held = flow.state.held();
            shelf.held = (shelf.held + held).saturating_sub(flow.held);
            flow.held = held;
        }
        let mut given_up = Vec::new();
        for _ in 0..SHELF_FLOWS {
            if shelf.held <= SHELF_OCTETS {
                break;
            }
            let victim = shelf.victim();
            if victim == place && shelf.flows.len() > 1 {
                continue;
            }
            if let Some(flow) = shelf.flows.get_mut(victim).filter(|flow| flow.held > 0) {
                shelf.held = shelf.held.saturating_sub(flow.held);
                flow.held = 0;
                self.losses.unread += 1;
                given_up.push((
                    flow.key,
                    std::mem::replace(&mut flow.state, State::Tcp([Direction::done(), Direction::done()])),
                ));
            }
        }
        given_up
    }

    /// Empties the table.
    pub(super) fn drain(&mut self) -> Vec<Flow> {
        self.index.clear();
        let mut shelves = std::mem::take(&mut self.shelves);
        self.shelves.resize_with(SHELVES, Shelf::default);
        shelves.iter_mut().flat_map(|shelf| std::mem::take(&mut shelf.flows)).collect()
    }
}

const fn parts(at: u32) -> (usize, usize) {
    (at as usize / SHELF_FLOWS, at as usize % SHELF_FLOWS)
}

fn flow_in(shelves: &[Shelf], at: u32) -> Option<&Flow> {
    let (shelf, place) = parts(at);
    shelves.get(shelf)?.flows.get(place)
}

impl Shelf {
    /// A flow that was not used for a while: the hand goes round and clears marks until it finds one.
    fn victim(&mut self) -> usize {
        for _ in 0..LOOKS_MAX {
            self.hand = (self.hand + 1) % self.flows.len().max(1);
            match self.flows.get_mut(self.hand) {
                Some(flow) if flow.is_used => flow.is_used = false,
                _ => break,
            }
        }
        self.hand
    }
}

impl State {
    /// Octets that are held.
    fn held(&self) -> usize {
        match self {
            Self::Tcp(directions) => directions.iter().map(|direction| direction.stream.held()).sum(),
            Self::Plain => 0,
            Self::Quic(client) => client.held(),
            Self::Dtls(hello) => hello.held(),
        }
    }

    /// Forgets what was read; what starts anew is read again.
    pub(super) fn let_go(&mut self) {
        match self {
            Self::Tcp(directions) => *directions = [Direction::done(), Direction::done()],
            Self::Plain | Self::Quic(_) | Self::Dtls(_) => *self = Self::Plain,
        }
    }

    /// Whether something may still be read of it.
    pub(super) fn is_unread(&self) -> bool {
        match self {
            Self::Tcp(directions) => directions.iter().any(|direction| matches!(direction.stream, Stream::Reading(_))),
            Self::Plain => false,
            Self::Quic(client) => client.is_waiting(),
            Self::Dtls(hello) => hello.held() > 0,
        }
    }
}

impl Direction {
    const fn done() -> Self {
        Self { stream: Stream::Done, start: None, ttl: None, is_summed: false }
    }
}

/// The protocol numbers of keys.
pub(super) const TCP: u8 = protocol::TCP;
/// See [`TCP`].
pub(super) const UDP: u8 = protocol::UDP;
