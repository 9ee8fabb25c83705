//! The table of flows: bounded in flows and in octets, for everybody and for each endpoint that begins them.

use super::idle::{Clock, seconds};
use super::names::Ends;
use super::pass::Marks;
use super::stream::Stream;
use crate::base::wire::packet::{Packet, TcpFlags, protocol};
use crate::base::wire::quic::QuicClient;
use crate::base::wire::tls::DtlsHello;
use foldhash::quality::FixedState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};

/// Parts of the table. An endpoint's flows stand in one of them, so that it can push out only those that share it.
pub(super) const SHELVES: usize = 64;
/// Flows of one part: in all, more than twice as many as a gateway of a thousand hosts has at once.
const SHELF_FLOWS: usize = 4096;
/// Octets that the flows of one part hold.
const SHELF_OCTETS: usize = 1 << 20;
/// Places that are looked at for one that may go, before any one goes.
const LOOKS_MAX: usize = 32;

/// Both ends of a flow, the smaller first, and where it was seen: one number stands for VLANs and tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) addresses: [u128; 2],
    pub(super) ports: [u16; 2],
    protocol: u8,
    place: u64,
}

impl Key {
    /// The key of a packet, and whether its source is the second end.
    #[inline]
    pub(super) fn of(packet: &Packet<'_>, src: (IpAddr, u16), dst: (IpAddr, u16), protocol: u8) -> (Self, bool) {
        let (from, to) = ((number(src.0), src.1), (number(dst.0), dst.1));
        let is_turned = from > to;
        let (first, second) = if is_turned { (to, from) } else { (from, to) };
        let place = if packet.link.vlans.ids().is_empty() && packet.tunnels.depth == 0 { 0 } else { place(packet) };
        (Self { addresses: [first.0, second.0], ports: [first.1, second.1], protocol, place }, is_turned)
    }

    /// Who sends in either direction; the second end's first if `is_second`.
    pub(super) fn directions(&self, is_second: bool) -> [Ends; 2] {
        let [src, dst] = self.addresses.map(|number| Ipv6Addr::from_bits(number).to_canonical());
        let [sport, dport] = self.ports;
        let ends = Ends { src, sport, dst, dport };
        if is_second { [ends.turned(), ends] } else { [ends, ends.turned()] }
    }

    pub(super) const fn is_tcp(&self) -> bool {
        self.protocol == TCP
    }
}

impl Hash for Key {
    /// In as few steps as there are words: it is done once a packet.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [first, second] = self.addresses;
        let [low, high] = self.ports;
        state.write_u128(first);
        state.write_u128(second);
        let rest = u64::from(low) | u64::from(high) << 16 | u64::from(self.protocol) << 32;
        state.write_u128(u128::from(self.place) << 64 | u128::from(rest));
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

/// What is known of a flow: two cache lines, since most packets look at nothing else.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Flow {
    pub(super) key: Key,
    pub(super) state: State,
    /// Octets of IP payloads that the first and the second end sent.
    pub(super) octets: [u64; 2],
    /// Octets that its state holds, as far as noted.
    held: u32,
    /// Whether the second end began it.
    pub(super) is_second: bool,
    /// How far TCP is over: each end's word, and a reset.
    ended: u8,
}

/// The size that is meant; a larger one costs every packet.
const _: () = assert!(size_of::<Flow>() == 128);

impl Flow {
    const RESET: u8 = 4;

    /// Notes what a segment, sent by the second end if `is_turned`, says of the connection's end.
    pub(super) const fn note_end(&mut self, is_turned: bool, flags: TcpFlags) {
        if flags.fin() {
            self.ended |= if is_turned { 2 } else { 1 };
        }
        if flags.rst() {
            self.ended |= Self::RESET;
        }
    }

    /// Whether both ends have ended the connection, or one has reset it.
    pub(super) const fn is_ended(&self) -> bool {
        self.ended >= 3
    }

    /// Begins anew, by the second end if `is_second`: another connection on the same ports. The one before.
    pub(super) fn begin_again(&mut self, is_second: bool) -> Self {
        let state = State::Tcp(Default::default());
        std::mem::replace(self, Self { key: self.key, state, octets: [0; 2], held: self.held, is_second, ended: 0 })
    }
}

/// What is read of a flow.
#[derive(Debug)]
pub(super) enum State {
    /// TCP: what the first and what the second end sends.
    Tcp([Direction; 2]),
    /// UDP that is not read.
    Plain,
    /// QUIC; which end is its client, once that is known.
    Quic(Box<QuicClient>, Option<bool>),
    Dtls(Box<DtlsHello>),
}

/// One direction of TCP.
#[derive(Debug, Default)]
pub(super) struct Direction {
    pub(super) stream: Stream,
    /// The sequence number of the last start, if there was one.
    start: u32,
    is_started: bool,
    /// A right checksum was seen, so that a wrong one means something.
    pub(super) is_summed: bool,
    /// The time to live of the first packet.
    pub(super) ttl: Option<u8>,
}

/// What the table gave up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowLosses {
    /// Flows that had to make room for others while something was still to be read of them.
    pub unread: u64,
    /// Flows that had to make room with nothing left to read.
    pub read: u64,
}

/// Where a flow is, and the upper part of the hash of its key.
#[derive(Clone, Copy, Debug)]
struct Slot(u64);

impl Slot {
    const PLACE_BITS: u32 = (SHELVES * SHELF_FLOWS).ilog2();
    const PLACE: u64 = (1 << Self::PLACE_BITS) - 1;

    const fn new(hash: u64, at: u32) -> Self {
        Self(hash & !Self::PLACE | at as u64 & Self::PLACE)
    }

    const fn at(self) -> u32 {
        (self.0 & Self::PLACE) as u32
    }

    /// Whether the upper parts of the hashes are the same.
    const fn may_be(self, hash: u64) -> bool {
        (self.0 ^ hash) >> Self::PLACE_BITS == 0
    }
}

/// What a look for a packet's flow came to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// It says nothing; the place of its flow.
    Passed(u32),
    /// The place of its flow.
    At(u32),
    /// There is no such flow.
    New,
}

/// The flows.
#[derive(Debug)]
pub(super) struct Flows {
    index: HashTable<Slot>,
    hasher: foldhash::quality::RandomState,
    pub(super) shelves: Vec<Shelf>,
    pub(super) losses: FlowLosses,
    pub(super) clock: Clock,
}

#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) flows: Vec<Flow>,
    /// One for each of them.
    pub(super) marks: Vec<Marks>,
    /// When each of them was used last, as far as known: see [`super::idle`].
    pub(super) used_s: Vec<u32>,
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
            clock: Clock::default(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The flow of a packet, unless `passes` says by its marks that the packet may be passed over. Marks are taken for the packet's by 46
    /// bits of a keyed hash, and so without a look at the flow; everything else goes by the key.
    #[inline]
    pub(super) fn find(&mut self, key: &Key, passes: impl Fn(Marks) -> bool) -> Found {
        let shelves = &self.shelves;
        let hash = self.hasher.hash_one(key);
        let mut is_passed = false;
        let found = self.index.find(hash, |slot| {
            slot.may_be(hash) && {
                is_passed = marks_in(shelves, slot.at()).is_some_and(|marks| passes(*marks));
                is_passed || flow_in(shelves, slot.at()).is_some_and(|flow| flow.key == *key)
            }
        });
        let Some(at) = found.map(|slot| slot.at()) else { return Found::New };
        if let Some(marks) = self.marks(at).filter(|marks| !marks.is_used()) {
            marks.set_used(true);
        }
        if is_passed { Found::Passed(at) } else { Found::At(at) }
    }

    /// The marks of the flow at a place.
    #[inline]
    pub(super) fn marks(&mut self, at: u32) -> Option<&mut Marks> {
        let (shelf, place) = parts(at);
        self.shelves.get_mut(shelf)?.marks.get_mut(place)
    }

    /// The flow at a place.
    #[inline]
    pub(super) fn get(&mut self, at: u32) -> Option<&mut Flow> {
        let (shelf, place) = parts(at);
        self.shelves.get_mut(shelf)?.flows.get_mut(place)
    }

    /// The flow at a place, and its marks.
    #[inline]
    pub(super) fn marked(&mut self, at: u32) -> Option<(&mut Flow, &mut Marks)> {
        let (shelf, place) = parts(at);
        let shelf = self.shelves.get_mut(shelf)?;
        shelf.flows.get_mut(place).zip(shelf.marks.get_mut(place))
    }

    /// A new flow, begun by `from`, which is its second end if `is_second`; what had to go for it.
    pub(super) fn add(&mut self, key: Key, from: IpAddr, is_second: bool, state: State) -> (u32, Option<Flow>) {
        let shelf_at = usize::try_from(self.hasher.hash_one(from) % SHELVES as u64).unwrap_or(0);
        let flow = Flow { key, state, octets: [0; 2], held: 0, is_second, ended: 0 };
        let now_s = seconds(self.clock.last);
        let Some(shelf) = self.shelves.get_mut(shelf_at) else { return (0, None) };
        let (place, gone) = if shelf.flows.len() < SHELF_FLOWS {
            shelf.flows.push(flow);
            shelf.marks.push(Marks::default());
            shelf.used_s.push(now_s);
            (shelf.flows.len() - 1, None)
        } else {
            let place = shelf.victim();
            if let Some((marks, used_s)) = shelf.marks.get_mut(place).zip(shelf.used_s.get_mut(place)) {
                (*marks, *used_s) = (Marks::default(), now_s);
            }
            (place, shelf.flows.get_mut(place).map(|held| std::mem::replace(held, flow)))
        };
        let at = joined(shelf_at, place);
        if let Some(gone) = &gone {
            shelf.held = shelf.held.saturating_sub(gone.held as usize);
            self.forget(&gone.key, at);
        }
        let hash = self.hasher.hash_one(key);
        let (shelves, hasher) = (&self.shelves, &self.hasher);
        let rehash = |slot: &Slot| flow_in(shelves, slot.at()).map_or(0, |flow| hasher.hash_one(flow.key));
        self.index.insert_unique(hash, Slot::new(hash, at), rehash);
        (at, gone)
    }

    /// Takes the flow out that is at a place; the last of its shelf moves there.
    pub(super) fn take(&mut self, shelf_at: usize, place: usize) -> Option<Flow> {
        let shelf = self.shelves.get_mut(shelf_at)?;
        let last = shelf.flows.len().checked_sub(1).filter(|last| place <= *last)?;
        let flow = shelf.flows.swap_remove(place);
        shelf.marks.swap_remove(place);
        shelf.used_s.swap_remove(place);
        shelf.held = shelf.held.saturating_sub(flow.held as usize);
        let moved = shelf.flows.get(place).map(|moved| self.hasher.hash_one(moved.key));
        let at = joined(shelf_at, place);
        self.forget(&flow.key, at);
        let was_at = joined(shelf_at, last);
        if let Some(hash) = moved
            && let Some(slot) = self.index.find_mut(hash, |slot| slot.at() == was_at)
        {
            *slot = Slot::new(hash, at);
        }
        Some(flow)
    }

    fn forget(&mut self, key: &Key, at: u32) {
        let hash = self.hasher.hash_one(key);
        if let Ok(entry) = self.index.find_entry(hash, |slot| slot.at() == at) {
            entry.remove();
        }
    }

    /// Whether a flow may hold what is perhaps never read: only while three quarters of its shelf are left for others.
    #[inline]
    pub(super) fn has_room(&self, at: u32) -> bool {
        self.shelves.get(parts(at).0).is_some_and(|shelf| shelf.held < SHELF_OCTETS / 4)
    }

    /// Whether what a flow holds is noted already.
    #[inline]
    pub(super) fn is_noted(&mut self, at: u32) -> bool {
        self.get(at).is_none_or(|flow| flow.held as usize == flow.state.held())
    }

    /// Notes what a flow holds now. Where its shelf holds too much, the states of others that go for it.
    pub(super) fn note(&mut self, at: u32) -> Vec<(Key, State)> {
        let (shelf_at, place) = parts(at);
        let Some(shelf) = self.shelves.get_mut(shelf_at) else { return Vec::new() };
        if let Some(flow) = shelf.flows.get_mut(place) {
            let held = flow.state.held();
            shelf.held = (shelf.held + held).saturating_sub(flow.held as usize);
            // No state holds 4 GiB.
            flow.held = u32::try_from(held).unwrap_or(u32::MAX);
        }
        if shelf.held <= SHELF_OCTETS { Vec::new() } else { self.make_room(shelf_at, place) }
    }

    /// Takes the states of flows of a shelf, but not of the one at `place`, until it holds no more than it may.
    #[cold]
    fn make_room(&mut self, shelf_at: usize, place: usize) -> Vec<(Key, State)> {
        let mut given_up = Vec::new();
        let Some(shelf) = self.shelves.get_mut(shelf_at) else { return given_up };
        for _ in 0..SHELF_FLOWS {
            if shelf.held <= SHELF_OCTETS {
                break;
            }
            let victim = shelf.victim();
            if victim == place && shelf.flows.len() > 1 {
                continue;
            }
            if let Some(flow) = shelf.flows.get_mut(victim).filter(|flow| flow.held > 0) {
                shelf.held = shelf.held.saturating_sub(flow.held as usize);
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

#[inline]
const fn parts(at: u32) -> (usize, usize) {
    (at as usize / SHELF_FLOWS, at as usize % SHELF_FLOWS)
}

fn joined(shelf: usize, place: usize) -> u32 {
    u32::try_from(shelf * SHELF_FLOWS + place).unwrap_or(u32::MAX)
}

#[inline]
fn marks_in(shelves: &[Shelf], at: u32) -> Option<&Marks> {
    let (shelf, place) = parts(at);
    shelves.get(shelf)?.marks.get(place)
}

#[inline]
fn flow_in(shelves: &[Shelf], at: u32) -> Option<&Flow> {
    let (shelf, place) = parts(at);
    shelves.get(shelf)?.flows.get(place)
}

impl Shelf {
    /// A flow that was not used for a while: the hand goes round and clears marks until it finds one.
    fn victim(&mut self) -> usize {
        for _ in 0..LOOKS_MAX {
            self.hand = (self.hand + 1) % self.flows.len().max(1);
            match self.marks.get_mut(self.hand) {
                Some(marks) if marks.is_used() => marks.set_used(false),
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
            Self::Quic(client, _) => client.held(),
            Self::Dtls(hello) => hello.held(),
        }
    }

    /// Forgets what was read; what starts anew is read again.
    pub(super) fn let_go(&mut self) {
        match self {
            Self::Tcp(directions) => *directions = [Direction::done(), Direction::done()],
            Self::Plain | Self::Quic(..) | Self::Dtls(_) => *self = Self::Plain,
        }
    }

    /// Whether something may still be read of it.
    pub(super) fn is_unread(&self) -> bool {
        match self {
            Self::Tcp(directions) => directions.iter().any(|direction| matches!(direction.stream, Stream::Reading(_))),
            Self::Plain => false,
            Self::Quic(client, _) => client.is_waiting(),
            Self::Dtls(hello) => hello.held() > 0,
        }
    }
}

impl Direction {
    const fn done() -> Self {
        Self { stream: Stream::Done, start: 0, is_started: false, is_summed: false, ttl: None }
    }

    /// The sequence number of the last start.
    pub(super) const fn start(&self) -> Option<u32> {
        if self.is_started { Some(self.start) } else { None }
    }

    /// A start was seen.
    pub(super) const fn set_start(&mut self, seq: u32) {
        (self.start, self.is_started) = (seq, true);
    }
}

/// The protocol numbers of keys.
pub(super) const TCP: u8 = protocol::TCP;
/// See [`TCP`].
pub(super) const UDP: u8 = protocol::UDP;
