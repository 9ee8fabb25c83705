//! Packets that wait until it is said what becomes of them: the first ones of connections, on their way through a gateway.
//!
//! Only what clients send is seen here. Segments may pass until the one that completes a blocked name: without it the server knows no
//! name. A connection is let go once everything is said and its server has answered, so that no second version of what was said can
//! follow; of HTTP each request is read, as far as [`LOOK_OCTETS_MAX`] goes.

use super::names::{Ends, NameKind};
use super::reader::{Observation, Reader};
use super::stream::Progress;
use crate::base::model::{Channel, Decision, Mono};
use crate::base::name::{Name, NameRef};
use crate::base::wire::packet::{Frame, LinkType, Transport};
use crate::policy::{Hit, Policy, Subject, Verdict};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Connections that are remembered with what they said, so that they can be judged again under another policy.
const FLOWS_MAX: usize = 32_768;
/// Octets that a connection may send before it is let go unread.
pub const LOOK_OCTETS_MAX: u64 = 256 << 10;

/// What becomes of a packet, and of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It passes; nothing was said yet.
    Pass,
    /// It passes; what was said so far is allowed, and more may be said.
    Look,
    /// It passes, and the rest of its connection need not be looked at.
    Let,
    /// It is refused, and its connection with it.
    Refuse,
}

/// What was read, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InlineCounters {
    /// Packets.
    pub packets: u64,
    /// Packets that were refused.
    pub refused: u64,
    /// Connections that were let go before all was said.
    pub given_up: u64,
    /// Connections that made room for others: another policy cannot judge them by name.
    pub forgotten: u64,
}

/// Reads packets that wait, and rules.
#[derive(Default)]
pub struct Inline {
    reader: Reader,
    flows: HashMap<Key, Known>,
    /// In the order in which they came.
    order: VecDeque<Key>,
    counters: InlineCounters,
}

/// Ends, and whether it is TCP.
type Key = (Ends, bool);

/// What is known of a connection.
#[derive(Debug, Default)]
struct Known {
    /// The name that counts: the last, or one that is blocked.
    name: Option<(NameKind, Name)>,
    is_refused: bool,
    /// The epoch that judged last.
    epoch: u64,
    octets: u64,
    /// What the client acknowledged with its first octets: more means that the server has answered.
    ack: Option<u32>,
}

/// What a packet's headers say.
struct Head {
    key: Key,
    /// It begins a connection.
    is_start: bool,
    ack: u32,
    octets: u64,
}

impl Inline {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rules on the next packet, from its IP header on; `tell` hears of attempts and of who made them.
    pub fn handle_packet(
        &mut self,
        now: Mono,
        packet: &[u8],
        is_offloaded: bool,
        policy: &Policy,
        tell: &mut dyn FnMut(IpAddr, &Hit),
    ) -> Ruling {
        self.counters.packets += 1;
        let frame =
            Frame { checksums_offloaded: is_offloaded, time_ns: now.as_nanos(), ..Frame::new(LinkType::RAW, packet) };
        let Some(head) = Head::of(&frame) else { return Ruling::Pass };
        if head.is_start {
            self.flows.remove(&head.key);
        }
        let mut said = Vec::new();
        self.reader.handle_frame(now, &frame, &mut |observation| {
            if let Observation::Name(seen) = observation
                && seen.ends == head.key.0
                && let Some(name) = seen.name
            {
                said.push((seen.kind, name.to_name()));
            }
        });
        let progress = self.reader.last().map(|(_, progress)| progress);
        let ruling = self.rule(&head, said, progress, policy, tell);
        match ruling {
            Ruling::Let => self.reader.let_go(),
            Ruling::Refuse => self.counters.refused += 1,
            Ruling::Pass | Ruling::Look => {}
        }
        ruling
    }

    fn rule(
        &mut self,
        head: &Head,
        said: Vec<(NameKind, Name)>,
        progress: Option<Progress>,
        policy: &Policy,
        tell: &mut dyn FnMut(IpAddr, &Hit),
    ) -> Ruling {
        let policy = policy.of(head.key.0.src);
        let known = known(&mut self.flows, &mut self.order, &mut self.counters, head.key);
        known.octets += head.octets;
        let is_new = known.epoch != policy.epoch();
        known.epoch = policy.epoch();
        if said.is_empty() && is_new {
            // What it said before is held against the policy that is in force now.
            known.is_refused = known.name.as_ref().is_some_and(|(kind, name)| {
                let (verdict, hit) = judge(policy, &head.key.0, *kind, name.as_ref());
                let is_blocked = verdict.decision == Decision::Block;
                hit.filter(|_| is_blocked).inspect(|hit| tell(head.key.0.src, hit));
                is_blocked
            });
        }
        for (kind, name) in said {
            let (verdict, hit) = judge(policy, &head.key.0, kind, name.as_ref());
            if !known.is_refused {
                hit.inspect(|hit| tell(head.key.0.src, hit));
                known.is_refused = verdict.decision == Decision::Block;
                known.name = Some((kind, name));
            }
        }
        if known.is_refused {
            return Ruling::Refuse;
        }
        let is_answered = head.key.1 && known.ack.is_some_and(|first| first != head.ack);
        if head.octets > 0 {
            known.ack.get_or_insert(head.ack);
        }
        let more = if known.name.is_some() { Ruling::Look } else { Ruling::Pass };
        match progress {
            Some(Progress::Begun) => Ruling::Pass,
            Some(Progress::Reading) if known.octets > LOOK_OCTETS_MAX => {
                self.counters.given_up += 1;
                Ruling::Let
            }
            Some(Progress::Reading) => more,
            Some(Progress::Read) if !is_answered => more,
            // Acknowledgements of a connection that was let go, or that began before us.
            Some(Progress::Read | Progress::Over) | None => Ruling::Let,
        }
    }

    /// What was read, and what was not.
    #[must_use]
    pub const fn counters(&self) -> InlineCounters {
        self.counters
    }
}

fn known<'f>(
    flows: &'f mut HashMap<Key, Known>,
    order: &mut VecDeque<Key>,
    counters: &mut InlineCounters,
    key: Key,
) -> &'f mut Known {
    if !flows.contains_key(&key) {
        // A connection that began anew stands there twice: its first place is as good.
        while order.len() >= FLOWS_MAX {
            if let Some(first) = order.pop_front() {
                counters.forgotten += u64::from(flows.remove(&first).is_some());
            }
        }
        order.push_back(key);
    }
    flows.entry(key).or_default()
}

/// The verdict on a name that a connection says, and the attempt that it is.
fn judge(policy: &Policy, ends: &Ends, kind: NameKind, name: NameRef<'_>) -> (Verdict, Option<Hit>) {
    let subject = Subject {
        name: Some(name),
        address: Some(ends.dst),
        port: Some(ends.dport),
        client: Some(ends.src),
        qtype: None,
    };
    let verdict = policy.decide(&subject);
    let by_name = policy.decide(&Subject { address: None, port: None, ..subject }).rule == verdict.rule;
    // What passes for its address the kernel has counted already.
    let channel =
        if by_name { kind.channel() } else { (verdict.decision == Decision::Block).then_some(Channel::Address) };
    let hit = channel.and_then(|channel| Hit::of(&verdict, false, channel, name, Some(ends.dst)));
    (verdict, hit.map(|hit| Hit { port: Some(ends.dport), ..hit }))
}

impl Head {
    fn of(frame: &Frame<'_>) -> Option<Self> {
        let packet = frame.decode().ok()?;
        let ip = packet.ip()?;
        let ends = |sport, dport| Ends { src: ip.src, sport, dst: ip.dst, dport };
        match ip.transport {
            Transport::Tcp(tcp) => Some(Self {
                key: (ends(tcp.sport, tcp.dport), true),
                is_start: tcp.flags.syn() && !tcp.flags.ack(),
                ack: tcp.ack,
                octets: tcp.payload.len() as u64,
            }),
            Transport::Udp(udp) => Some(Self {
                key: (ends(udp.sport, udp.dport), false),
                is_start: false,
                ack: 0,
                octets: udp.payload.len() as u64,
            }),
            Transport::Icmp(_) | Transport::Fragment | Transport::Broken | Transport::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::model::{Outcome, Stage, Wall};
    use crate::base::wire::packet::frames::{A, PSH_ACK, SYN, ipv4, tcp, udp};
    use crate::base::wire::quic::initials;
    use crate::base::wire::tls::{client_hello, record};
    use crate::policy::list::Format;
    use crate::policy::{List, RuleSetBuilder, Settings};
    use std::sync::Arc;

    /// A policy that blocks these names.
    fn policy(epoch: u64, names: &str) -> Policy {
        let mut builder = RuleSetBuilder::new();
        let (id, stage) = (Arc::from("list"), Some(Stage::Block));
        let list = List { file: Arc::clone(&id), id, revision: "1".into(), stage, expires: None };
        builder.add_blocklist(list, Format::Domains, &mut names.as_bytes()).unwrap();
        Policy::new(epoch, Arc::new(builder.finish()), Arc::new(Settings::default()), Wall::UNIX_EPOCH)
    }

    /// The rulings on packets of one client in turn, and the attempts that came of them.
    fn rule(inline: &mut Inline, policy: &Policy, packets: &[Vec<u8>]) -> (Vec<Ruling>, Vec<String>) {
        let mut hits = Vec::new();
        let mut tell = |client: IpAddr, hit: &Hit| {
            assert_eq!((client, hit.outcome), (A.into(), Outcome::Blocked));
            hits.push(format!("{} {}", hit.channel, hit.name.as_ref()));
        };
        let rulings =
            packets.iter().map(|packet| inline.handle_packet(Mono::START, packet, false, policy, &mut tell)).collect();
        (rulings, hits)
    }

    fn segment(seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        ipv4(6, &tcp(seq, flags, payload))
    }

    /// A SYN, and a hello in segments of so many octets.
    fn hello(name: &str, octets: usize) -> Vec<Vec<u8>> {
        let hello = record(&client_hello(name, 0).unwrap()).unwrap();
        let parts = hello.chunks(octets).enumerate();
        let data = parts.map(|(at, part)| segment(u32::try_from(1 + at * octets).unwrap(), PSH_ACK, part));
        std::iter::once(segment(0, SYN, &[])).chain(data).collect()
    }

    #[test]
    fn segments_pass_until_one_completes_a_blocked_name() {
        let (mut inline, policy) = (Inline::new(), policy(1, "bad.example\n"));
        let (rulings, hits) = rule(&mut inline, &policy, &hello("a.bad.example", 20));
        let (last, before) = rulings.split_last().unwrap();
        assert!(before.iter().all(|ruling| *ruling == Ruling::Pass), "{rulings:?}");
        assert_eq!((*last, hits), (Ruling::Refuse, vec!["tls-sni a.bad.example".to_owned()]));
        // The client tries again with the same segment; that is one attempt.
        let again = hello("a.bad.example", 20).pop().unwrap();
        assert_eq!(rule(&mut inline, &policy, &[again]), (vec![Ruling::Refuse], Vec::new()));
    }

    #[test]
    fn a_connection_is_let_go_once_its_server_has_answered() {
        let (mut inline, policy) = (Inline::new(), policy(1, "bad.example\n"));
        let (rulings, hits) = rule(&mut inline, &policy, &hello("good.example", 2_000));
        assert_eq!((rulings, hits.len()), (vec![Ruling::Pass, Ruling::Look], 0));
        let mut finished = segment(500, PSH_ACK, b"\x14\x03\x03\0\x01\x01");
        finished[20 + 8..20 + 12].copy_from_slice(&4_000_u32.to_be_bytes());
        assert_eq!(rule(&mut inline, &policy, &[finished]).0, [Ruling::Let]);
        // The same ends once more.
        assert_eq!(rule(&mut inline, &policy, &hello("bad.example", 2_000)).0, [Ruling::Pass, Ruling::Refuse]);
    }

    #[test]
    fn another_policy_judges_open_connections_again_by_what_they_said() {
        let mut inline = Inline::new();
        rule(&mut inline, &policy(1, "bad.example\n"), &hello("late.example", 2_000));
        let bare = || [segment(300, 0x10, &[])];
        let (rulings, hits) = rule(&mut inline, &policy(2, "late.example\n"), &bare());
        assert_eq!((rulings, hits), (vec![Ruling::Refuse], vec!["tls-sni late.example".to_owned()]));
        assert_ne!(rule(&mut inline, &policy(3, "bad.example\n"), &bare()).0, [Ruling::Refuse]);
        // One that began before us has said nothing here.
        assert_eq!(rule(&mut Inline::new(), &policy(2, "late.example\n"), &bare()).0, [Ruling::Let]);
    }

    #[test]
    fn each_request_on_a_connection_is_judged() {
        let (mut inline, policy) = (Inline::new(), policy(1, "bad.example\n"));
        let request =
            |seq, host: &str| segment(seq, PSH_ACK, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let packets = [segment(0, SYN, &[]), request(1, "good.example"), request(39, "bad.example")];
        let (rulings, hits) = rule(&mut inline, &policy, &packets);
        assert_eq!(rulings, [Ruling::Pass, Ruling::Look, Ruling::Refuse]);
        assert_eq!(hits, ["http-host bad.example"]);
    }

    #[test]
    fn quic_is_read_over_two_datagrams_and_other_datagrams_are_let_go() {
        let (mut inline, policy) = (Inline::new(), policy(1, "bad.example\n"));
        let flight = |name| {
            let datagrams = initials(1, b"12345678", &client_hello(name, 1_500).unwrap()).unwrap();
            datagrams.into_iter().map(|datagram| ipv4(17, &udp(5_000, 443, &datagram))).collect::<Vec<_>>()
        };
        let (rulings, hits) = rule(&mut inline, &policy, &flight("bad.example"));
        assert_eq!((rulings, hits), (vec![Ruling::Pass, Ruling::Refuse], vec!["quic-sni bad.example".to_owned()]));
        assert_eq!(rule(&mut Inline::new(), &policy, &flight("good.example")).0, [Ruling::Pass, Ruling::Let]);
        let other = ipv4(17, &udp(5_001, 443, b"\x01something else"));
        assert_eq!(rule(&mut inline, &policy, &[other]).0, [Ruling::Let]);
    }

    #[test]
    fn what_says_nothing_is_let_go_in_the_end_and_connections_are_bounded() {
        let (mut inline, policy) = (Inline::new(), policy(1, "bad.example\n"));
        rule(&mut inline, &policy, &[segment(0, SYN, &[])]);
        assert_eq!(rule(&mut inline, &policy, &[segment(1, PSH_ACK, b"\x01\x02\x03\x04")]).0, [Ruling::Let]);
        let mut request = b"POST / HTTP/1.1\r\nHost: good.example\r\nContent-Length: 999999999\r\n\r\n".to_vec();
        request.resize(1_000, b'.');
        let packets: Vec<_> = (0..300).map(|at| segment(1 + at * 1_000, PSH_ACK, &request)).collect();
        let mut inline = Inline::new();
        rule(&mut inline, &policy, &[segment(0, SYN, &[])]);
        let (rulings, _) = rule(&mut inline, &policy, &packets);
        assert_eq!((rulings[0], rulings[299], inline.counters().given_up > 0), (Ruling::Look, Ruling::Let, true));
        for port in 0..=u16::MAX {
            let datagram = ipv4(17, &udp(port, 443, b"\x01"));
            inline.handle_packet(Mono::START, &datagram, false, &policy, &mut |_, _| {});
        }
        assert!(inline.flows.len() <= FLOWS_MAX && inline.counters().forgotten > 30_000);
    }
}
