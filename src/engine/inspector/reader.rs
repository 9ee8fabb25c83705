//! From frames to what is said in them.

use super::datagram;
use super::dialogue::Hint;
use super::flow::{Direction, Flow, FlowLosses, Flows, Found, Key, State, TCP, UDP};
use super::fragments::{self, Fragments};
use super::names::{Ends, NameKind, Seen};
use super::stream::{Progress, Segment, StreamLosses};
use super::tell::{Tell, hello, host, said_hello, told};
use crate::base::model::Mono;
use crate::base::wire::http::{Request, Response};
use crate::base::wire::packet::{Checksum, Frame, Ip, Packet, Tcp, Transport, Udp};
use crate::base::wire::quic::{self, may_be_quic};
use crate::base::wire::tls::{ClientHello, is_dtls};
use std::cell::Cell;

/// Octets of fragments that wait for others.
const FRAGMENT_OCTETS_MAX: usize = 16 << 20;
/// Datagrams within fragments within each other that are followed.
const RESUMED_MAX: usize = 4;
/// Hops by which packets of one sender may differ.
const HOPS: u8 = 2;

/// What was said, and who talked.
#[derive(Debug)]
pub enum Observation<'a> {
    /// A packet that says something of who sent it: the first of a flow, one of those that neighbours say of themselves.
    Sender(At, &'a Packet<'a>),
    /// A flow was begun, as far as can be told by whom.
    Begin(At, Ends),
    /// A flow is over, or is forgotten: octets that its beginner sent, and that came back.
    End(At, Ends, [u64; 2]),
    /// A name.
    Name(Seen<'a>),
    /// A client's hello, and the kind that its name is or would be.
    Hello(At, Ends, NameKind, ClientHello<'a>),
    /// The head of an HTTP request.
    Request(At, Ends, Request<'a>),
    /// The head of an HTTP reply.
    Reply(At, Ends, Response<'a>),
    /// The first octets of an HTTP reply's body.
    Body(At, Ends, &'a [u8]),
    /// A DNS response.
    Answer(At, Ends, &'a [u8]),
    /// Nothing is read of a flow for now. Unless this is set, its octets are not counted while that is so.
    Quiet(Ends, &'a Cell<bool>),
}

/// Which frame, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// Counted from 1.
    pub frame: u64,
    /// In nanoseconds since 1970.
    pub time_ns: u64,
}

/// What was read, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames.
    pub frames: u64,
    /// Frames of which nothing could be read.
    pub unreadable: u64,
    /// Frames that the capture cut off.
    pub truncated: u64,
    /// Packets whose tunnels go deeper than is followed.
    pub too_deep: u64,
    /// QUIC connections that were begun in a version or with keys that nobody knows.
    pub quic_unread: u64,
}

/// Reads frames in the order in which they were captured.
pub struct Reader {
    flows: Flows,
    fragments: Fragments,
    at: At,
    counters: Counters,
    losses: StreamLosses,
    /// The last packet's sender, and how far what it sends is read; `None` where it belongs to no flow.
    last: Option<(Ends, Progress)>,
    /// Where its flow is held.
    last_at: u32,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            flows: Flows::new(),
            fragments: Fragments::new(FRAGMENT_OCTETS_MAX),
            at: At::default(),
            counters: Counters::default(),
            losses: StreamLosses::default(),
            last: None,
            last_at: 0,
        }
    }

    /// Takes the next frame; `tell` hears what it completes.
    pub fn handle_frame(&mut self, now: Mono, frame: &Frame<'_>, tell: Tell<'_>) {
        self.handle_timeout(now, tell);
        self.counters.frames += 1;
        self.at = At { frame: self.counters.frames, time_ns: frame.time_ns };
        self.counters.truncated += u64::from(frame.missing() > 0);
        let Ok(packet) = frame.decode() else {
            self.counters.unreadable += 1;
            return;
        };
        self.packet(now, frame.checksums_offloaded, &packet, tell);
    }

    /// Time has passed, as frames count it: ends flows that were idle for long. Frames do the same; this is for when none come.
    #[inline]
    pub fn handle_timeout(&mut self, now: Mono, tell: Tell<'_>) {
        self.last = None;
        for _ in 0..self.flows.due(now) {
            self.flows.sweep(now).into_iter().for_each(|flow| self.finish_flow(flow, tell));
        }
    }

    /// Takes the next packet of a frame that was decoded elsewhere; `tell` hears what it completes.
    fn packet(&mut self, now: Mono, is_offloaded: bool, packet: &Packet<'_>, tell: Tell<'_>) {
        self.counters.too_deep += u64::from(packet.tunnels.too_deep);
        let Some(ip) = packet.ip() else { return tell(Observation::Sender(self.at, packet)) };
        if ip.fragment.is_none() {
            return self.transport(packet, ip, is_offloaded, tell);
        }
        // A first fragment that the capture cut off is all that there will be.
        if ip.missing > 0 && ip.fragment.is_some_and(|fragment| fragment.offset == 0) {
            let whole = packet.resume(ip.protocol, ip.payload);
            return whole.ip().map_or((), |inner| self.transport(&whole, inner, is_offloaded, tell));
        }
        // Two readings, each perhaps a fragment of another datagram.
        let mut waiting = vec![self.fragments.handle_packet(now, packet)];
        for _ in 0..RESUMED_MAX {
            let Some(datagram) = waiting.pop().flatten() else { return };
            for payload in [Some(datagram.first), datagram.last].into_iter().flatten() {
                let whole = packet.resume(datagram.protocol, &payload);
                match whole.ip() {
                    Some(inner) if inner.fragment.is_some() => waiting.push(self.fragments.handle_packet(now, &whole)),
                    Some(inner) => self.transport(&whole, inner, is_offloaded, tell),
                    None => {}
                }
            }
        }
    }

    fn transport(&mut self, packet: &Packet<'_>, ip: &Ip<'_>, is_offloaded: bool, tell: Tell<'_>) {
        match &ip.transport {
            Transport::Tcp(tcp) => self.tcp(packet, ip, tcp, is_offloaded, tell),
            Transport::Udp(udp) => self.udp(packet, ip, udp, tell),
            Transport::Icmp(_) if packet.neighbour().is_some() => tell(Observation::Sender(self.at, packet)),
            Transport::Icmp(_) | Transport::Fragment | Transport::Broken | Transport::Other => {}
        }
    }

    fn tcp(&mut self, packet: &Packet<'_>, ip: &Ip<'_>, tcp: &Tcp<'_>, is_offloaded: bool, tell: Tell<'_>) {
        let (key, is_turned) = Key::of(packet, (ip.src, tcp.sport), (ip.dst, tcp.dport), TCP);
        let hint = if tcp.sport == 53 || tcp.dport == 53 { Hint::Dns } else { Hint::None };
        let ends = Ends { src: ip.src, sport: tcp.sport, dst: ip.dst, dport: tcp.dport };
        let at = match self.flows.find(&key, |marks| marks.passes(is_turned, tcp, hint)) {
            Found::Passed(at) => {
                let is_begun = self.flows.marks(at).is_some_and(|marks| marks.is_begun(is_turned));
                let progress = if is_begun { Progress::Begun } else { Progress::Over };
                (self.last, self.last_at) = (Some((ends, progress)), at);
                return;
            }
            Found::At(at) => at,
            // A flow is begun by a start or by data; acknowledgements of what was not seen are nothing to go by.
            Found::New if !tcp.flags.syn() && tcp.payload.is_empty() => return,
            Found::New => {
                // Who answers a start did not begin; without a start, the smaller port serves.
                tell(Observation::Sender(self.at, packet));
                let is_reply = tcp.flags.syn() && tcp.flags.ack() || !tcp.flags.syn() && tcp.sport < tcp.dport;
                self.add(key, ip, is_turned != is_reply, State::Tcp(Default::default()), tell)
            }
        };
        if tcp.flags.syn() && !tcp.flags.ack() {
            self.begin_again(at, is_turned, (ip, tcp), is_offloaded, tell);
        }
        let has_room = self.flows.has_room(at);
        let Some(flow) = self.flows.get(at) else { return };
        flow.note_end(is_turned, tcp.flags);
        count(&mut flow.octets, is_turned, ip);
        let State::Tcp(directions) = &mut flow.state else { return };
        let (ours, theirs) = match directions {
            [first, second] if is_turned => (second, first),
            [first, second] => (first, second),
        };
        ours.ttl.get_or_insert(ip.ttl);
        let mut seq = tcp.seq;
        if tcp.flags.syn() {
            if ours.starts(ip, tcp, is_offloaded) && ours.stream.open(tcp.seq) && !tcp.flags.ack() {
                *theirs = Direction::default();
            }
            seq = seq.wrapping_add(1);
        }
        let (now, losses) = (self.at, &mut self.losses);
        if ours.stream.wants(seq, tcp.payload.len()) {
            let is_sure = ours.stream.is_reading() && is_sure(ours, ip, tcp, is_offloaded);
            let segment = Segment { seq, octets: tcp.payload, is_sure, missing: ip.missing, has_room };
            ours.stream.segment(&segment, hint, losses, &mut |heard, said| told(now, ends, heard, &said, tell));
        }
        (self.last, self.last_at) = (Some((ends, ours.stream.progress())), at);
        if tcp.flags.ack() {
            let back = ends.turned();
            let answered = !tcp.payload.is_empty();
            theirs.stream.acknowledged(tcp.ack, answered, losses, &mut |heard, said| {
                told(now, back, heard, &said, tell);
            });
        }
        self.note(at, tell);
    }

    fn udp(&mut self, packet: &Packet<'_>, ip: &Ip<'_>, udp: &Udp<'_>, tell: Tell<'_>) {
        let ends = Ends { src: ip.src, sport: udp.sport, dst: ip.dst, dport: udp.dport };
        if let Some(service) = datagram::Service::of(udp.sport, udp.dport) {
            tell(Observation::Sender(self.at, packet));
            return service.read(self.at, ends, udp.payload, tell);
        }
        if datagram::is_lone_query(udp.payload) {
            return datagram::Service::Dns.read(self.at, ends, udp.payload, tell);
        }
        let (key, is_turned) = Key::of(packet, (ip.src, udp.sport), (ip.dst, udp.dport), UDP);
        let is_dtls = is_dtls(udp.payload);
        let is_read = is_dtls || may_be_quic(udp.payload);
        let is_dhcp = datagram::is_dhcp(udp.sport, udp.dport);
        if is_dhcp {
            tell(Observation::Sender(self.at, packet));
        }
        let at = match self.flows.find(&key, |marks| !is_read && marks.is_quiet()) {
            Found::Passed(at) => {
                (self.last, self.last_at) = (Some((ends, Progress::Over)), at);
                return;
            }
            Found::At(at) => at,
            Found::New => {
                if !is_dhcp {
                    tell(Observation::Sender(self.at, packet));
                }
                self.add(key, ip, is_turned, State::Plain, tell)
            }
        };
        let Some(flow) = self.flows.get(at) else { return };
        count(&mut flow.octets, is_turned, ip);
        (self.last, self.last_at) = (Some((ends, Progress::Over)), at);
        if !is_read {
            return self.mark(at, tell);
        }
        match &mut flow.state {
            State::Plain | State::Quic(..) if is_dtls => flow.state = State::Dtls(Box::default()),
            State::Plain | State::Dtls(_) if !is_dtls => flow.state = State::Quic(Box::default(), None),
            _ => {}
        }
        let now = self.at;
        match &mut flow.state {
            // What the server says is under keys of its own.
            State::Quic(client, side) if !client.gives_up() && side.is_none_or(|side| side == is_turned) => {
                client.feed(udp.payload, |found| match found {
                    quic::Found::Hello(body) => hello(now, ends, NameKind::QuicSni, body, tell),
                    quic::Found::Google(name) => host(now, ends, NameKind::QuicSni, name, tell),
                });
                if side.is_none() && client.is_client() {
                    *side = Some(is_turned);
                }
                self.counters.quic_unread += u64::from(client.gives_up());
                if client.is_waiting() {
                    self.last = Some((ends, Progress::Reading));
                }
            }
            State::Dtls(reader) => {
                if let Some(view) = reader.feed(udp.payload).and_then(|body| ClientHello::parse_dtls(body).ok()) {
                    said_hello(now, ends, NameKind::DtlsSni, view, tell);
                }
            }
            State::Plain | State::Quic(..) | State::Tcp(_) => return,
        }
        self.note(at, tell);
    }

    /// A new flow, begun by the second of its ends if `is_second`.
    fn add(&mut self, key: Key, ip: &Ip<'_>, is_second: bool, state: State, tell: Tell<'_>) -> u32 {
        let (at, gone) = self.flows.add(key, ip.src, is_second, state);
        if let Some(flow) = gone {
            if flow.state.is_unread() {
                self.flows.losses.unread += 1;
            } else {
                self.flows.losses.read += 1;
            }
            self.finish_flow(flow, tell);
        }
        tell(Observation::Begin(self.at, key.directions(is_second)[0]));
        at
    }

    /// Another connection on the ports of one that was: the flow is ended, and begun again.
    fn begin_again(
        &mut self,
        at: u32,
        is_second: bool,
        (ip, tcp): (&Ip<'_>, &Tcp<'_>),
        is_offloaded: bool,
        tell: Tell<'_>,
    ) {
        let Some(flow) = self.flows.get(at) else { return };
        let is_over = flow.is_ended();
        let State::Tcp([first, second]) = &mut flow.state else { return };
        let ours = if is_second { second } else { first };
        let is_other = ours.start() != Some(tcp.seq) && (is_over || ours.start().is_some());
        // What has the mark of a decoy does not end what is being read.
        if !is_other || ours.stream.is_held() && !is_sure(ours, ip, tcp, is_offloaded) {
            return;
        }
        let gone = flow.begin_again(is_second);
        let key = gone.key;
        self.finish_flow(gone, tell);
        tell(Observation::Begin(self.at, key.directions(is_second)[0]));
    }

    fn note(&mut self, at: u32, tell: Tell<'_>) {
        if !self.flows.is_noted(at) {
            for (key, state) in self.flows.note(at) {
                self.finish_state(&key, state, tell);
            }
        }
        self.mark(at, tell);
    }

    /// Notes how far a flow is, so that what says nothing more is passed over.
    fn mark(&mut self, at: u32, tell: Tell<'_>) {
        let Some((flow, marks)) = self.flows.marked(at) else { return };
        let may_pass = match &flow.state {
            State::Tcp(directions) => marks.note(directions),
            State::Plain | State::Quic(..) | State::Dtls(_) => true,
        };
        let is_counted = Cell::new(false);
        if may_pass {
            tell(Observation::Quiet(flow.key.directions(flow.is_second)[0], &is_counted));
        }
        marks.set_quiet(may_pass && !is_counted.get());
    }

    fn finish_state(&mut self, key: &Key, state: State, tell: Tell<'_>) {
        let State::Tcp(directions) = state else { return };
        for (mut direction, ends) in directions.into_iter().zip(key.directions(false)) {
            let now = self.at;
            direction.stream.finish(&mut self.losses, &mut |heard, said| told(now, ends, heard, &said, tell));
        }
    }

    fn finish_flow(&mut self, flow: Flow, tell: Tell<'_>) {
        let Flow { key, state, is_second, mut octets, .. } = flow;
        self.finish_state(&key, state, tell);
        if is_second {
            octets.reverse();
        }
        tell(Observation::End(self.at, key.directions(is_second)[0], octets));
    }

    /// The frames have ended: tells what is there although its end is not, and forgets all flows.
    pub fn finish(&mut self, tell: Tell<'_>) {
        for flow in self.flows.drain() {
            self.finish_flow(flow, tell);
        }
    }

    /// Who sent the last packet, and how far what it sends is read; `None` where the packet belongs to no flow.
    #[must_use]
    pub const fn last(&self) -> Option<(Ends, Progress)> {
        self.last
    }

    /// Lets go of what is held of the last packet's flow: nothing more is to be read of it.
    pub fn let_go(&mut self) {
        if let (Some(_), Some(flow)) = (self.last, self.flows.get(self.last_at)) {
            flow.state.let_go();
            self.flows.note(self.last_at);
        }
    }

    /// What was read, and what was not.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// What streams lost.
    #[must_use]
    pub const fn stream_losses(&self) -> StreamLosses {
        self.losses
    }

    /// What the table of flows gave up.
    #[must_use]
    pub const fn flow_losses(&self) -> FlowLosses {
        self.flows.losses
    }

    /// What became of fragments.
    #[must_use]
    pub const fn fragment_counters(&self) -> fragments::Counters {
        self.fragments.counters()
    }

    /// How many flows are held.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.flows.len()
    }
}

fn count(octets: &mut [u64; 2], is_turned: bool, ip: &Ip<'_>) {
    let [first, second] = octets;
    let sent = if is_turned { second } else { first };
    *sent += ip.payload.len() as u64 + u64::from(ip.missing);
}

impl Direction {
    /// Whether a SYN starts this direction anew: the same one again does not, nor one amid others that has the mark of a decoy.
    fn starts(&mut self, ip: &Ip<'_>, tcp: &Tcp<'_>, is_offloaded: bool) -> bool {
        let is_sure = is_sure(self, ip, tcp, is_offloaded);
        if self.start() == Some(tcp.seq) || (!is_sure && self.stream.is_held()) {
            return false;
        }
        self.set_start(tcp.seq);
        self.ttl = Some(ip.ttl);
        true
    }
}

/// Whether nothing marks a segment as one that its receiver does not take.
fn is_sure(direction: &mut Direction, ip: &Ip<'_>, tcp: &Tcp<'_>, is_offloaded: bool) -> bool {
    let checksum = if is_offloaded { Checksum::Partial } else { ip.checksum() };
    direction.is_summed |= checksum == Checksum::Good;
    // Where no checksum was right so far, the sender's hardware makes them after the capture.
    let is_refused = checksum == Checksum::Bad && direction.is_summed;
    let is_near = direction.ttl.is_none_or(|ttl| ttl.abs_diff(ip.ttl) <= HOPS);
    !is_refused && is_near && (tcp.flags.ack() || tcp.flags.syn()) && !tcp.flags.rst()
}
