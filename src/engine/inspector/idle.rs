//! Flows that nothing has passed on for long. Whoever keeps flows on their way has forgotten them by then, so that what comes on the
//! same ports later is another flow, and an attempt of its own.
//!
//! A shelf is looked at once a minute. A flow's mark says whether it was used since; packets write no time. So all times are good to a
//! minute.

use super::flow::{Flow, Flows, SHELVES};
use crate::base::model::Mono;
use std::time::Duration;

/// Seconds that UDP may be idle (RFC 4787, REQ-5).
const UDP_S: u32 = 5 * 60;
/// Seconds that a TCP connection may be idle (RFC 5382, REQ-5).
const TCP_S: u32 = 124 * 60;
/// Seconds that a TCP connection may be idle that was ended or reset (RFC 5382, REQ-5).
const ENDED_S: u32 = 4 * 60;
/// How often a shelf is looked at.
const ROUND: Duration = Duration::from_secs(60);
/// How often the next one is.
const STEP: Duration = Duration::from_nanos(60_000_000_000 / SHELVES as u64);

/// When shelves are looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// When that is due next.
    due: Mono,
    /// The last time that was told.
    pub(super) last: Mono,
    /// The time that was told before shelves were due: no mark was set after it.
    before: Mono,
    /// The next shelf.
    next: usize,
}

impl Flows {
    /// How many shelves are to be looked at now: more than one where nothing came for a while.
    #[inline]
    pub(super) fn due(&mut self, now: Mono) -> usize {
        let clock = &mut self.clock;
        let before = std::mem::replace(&mut clock.last, now);
        if now < clock.due && !clock.is_set_back(now) {
            return 0;
        }
        clock.before = before;
        self.shelves_due(now)
    }

    #[cold]
    fn shelves_due(&mut self, now: Mono) -> usize {
        let clock = &mut self.clock;
        let was_due = std::mem::replace(&mut clock.due, now.plus(STEP));
        if was_due == Mono::START || now < was_due {
            // There is no time to compare this one with.
            self.shelves.iter_mut().for_each(|shelf| shelf.used_s.fill(seconds(now)));
            return 0;
        }
        let late = now.since(was_due).as_nanos() / STEP.as_nanos();
        usize::try_from(late).unwrap_or(SHELVES).saturating_add(1).min(SHELVES)
    }

    /// Looks at the next shelf: the flows that are over, which are forgotten.
    pub(super) fn sweep(&mut self, now: Mono) -> Vec<Flow> {
        let clock = &mut self.clock;
        clock.next = (clock.next + 1) % SHELVES;
        let (at, before) = (clock.next, clock.before);
        self.sweep_shelf(at, now, before)
    }

    fn sweep_shelf(&mut self, at: usize, now: Mono, before: Mono) -> Vec<Flow> {
        let mut gone = Vec::new();
        let mut place = 0;
        while let Some(shelf) = self.shelves.get_mut(at)
            && let (Some(flow), Some(marks), Some(used_s)) =
                (shelf.flows.get(place), shelf.marks.get_mut(place), shelf.used_s.get_mut(place))
        {
            if marks.is_used() {
                *used_s = seconds(before);
            }
            marks.set_used(false);
            if seconds(now).saturating_sub(*used_s) < may_be_idle(flow) {
                place += 1;
            } else if let Some(flow) = self.take(at, place) {
                gone.push(flow);
            }
        }
        gone
    }
}

impl Clock {
    /// Whether this time is far before the last: the clock was set back, or it is another file's.
    fn is_set_back(&self, now: Mono) -> bool {
        now.plus(ROUND) < self.due
    }
}

fn may_be_idle(flow: &Flow) -> u32 {
    match flow.key.is_tcp() {
        false => UDP_S,
        true if flow.is_ended() => ENDED_S,
        true => TCP_S,
    }
}

/// Whole seconds, good until 2106.
pub(super) fn seconds(time: Mono) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use crate::base::model::Mono;
    use crate::base::wire::packet::frames::{A, B, PSH_ACK, SYN, ipv4, tcp_between, udp};
    use crate::base::wire::packet::{Frame, LinkType};
    use crate::engine::inspector::{Ends, Observation, Reader};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const FIN_ACK: u8 = 0x11;
    const RST: u8 = 0x04;

    /// A reader, and the flows that it has told of: when each was begun and ended, in seconds, and with how many octets.
    #[derive(Default)]
    struct Told {
        reader: Reader,
        begun: Vec<(u64, Ends)>,
        ended: Vec<(u64, Ends, [u64; 2])>,
    }

    impl Told {
        fn give(&mut self, second: u64, packet: Option<&[u8]>) {
            let Self { reader, begun, ended } = self;
            let mut tell = |observation: Observation<'_>| match observation {
                Observation::Begin(_, ends) => begun.push((second, ends)),
                Observation::End(_, ends, octets) => ended.push((second, ends, octets)),
                Observation::Quiet(_, is_counted) => is_counted.set(true),
                _ => {}
            };
            let now = Mono::from_nanos((1_000 + second) * 1_000_000_000);
            match packet {
                Some(packet) => {
                    reader.handle_frame(now, &Frame::new(LinkType::RAW, packet), &mut tell);
                }
                None => reader.handle_timeout(now, &mut tell),
            }
        }

        fn ended(&self) -> Vec<u64> {
            self.ended.iter().map(|(second, ..)| *second).collect()
        }
    }

    fn datagram(sport: u16) -> Vec<u8> {
        ipv4(17, &udp(sport, 9_999, b"nothing"))
    }

    fn segment(seq: u32, flags: u8) -> Vec<u8> {
        let data = if flags == PSH_ACK { &b"\x01\x02"[..] } else { b"" };
        ipv4(6, &tcp_between(A.into(), B.into(), seq, flags, data))
    }

    /// The same from the other end.
    fn turned(mut packet: Vec<u8>) -> Vec<u8> {
        packet[12..16].copy_from_slice(&B.octets());
        packet[16..20].copy_from_slice(&A.octets());
        let (from, to) = packet[20..24].split_at_mut(2);
        from.swap_with_slice(to);
        packet
    }

    #[test]
    fn on_the_same_ports_after_a_while_it_is_another_flow() {
        let mut told = Told::default();
        for second in [0, 100, 300, 540] {
            told.give(second, Some(&datagram(5_000)));
        }
        assert_eq!((told.begun.len(), told.ended.len()), (1, 0));
        told.give(1_000, Some(&datagram(5_000)));
        assert_eq!((told.begun.len(), told.begun[1].0), (2, 1_000));
        assert_eq!((told.ended.len(), told.ended[0].2), (1, [4 * 15, 0]), "what the first one sent");
        // Nothing needs to come for that.
        (1_000..1_500).for_each(|second| told.give(second, None));
        assert_eq!((told.ended.len(), told.reader.flows()), (2, 0));
        assert!((1_300..=1_420).contains(&told.ended()[1]), "{:?}", told.ended());
    }

    #[test]
    fn a_connection_may_be_idle_for_long_unless_it_was_ended() {
        for (ends, from, to) in [
            (vec![], 7_440, 7_600),
            (vec![segment(9, FIN_ACK)], 7_440, 7_600),
            (vec![segment(9, FIN_ACK), turned(segment(9, FIN_ACK))], 240, 370),
            (vec![turned(segment(9, RST))], 240, 370),
        ] {
            let mut told = Told::default();
            told.give(0, Some(&segment(0, SYN)));
            ends.iter().for_each(|packet| told.give(1, Some(packet)));
            (2..8_000).for_each(|second| told.give(second, None));
            assert_eq!((told.begun.len(), told.ended.len()), (1, 1));
            assert!((from..=to).contains(&told.ended()[0]), "{:?} with {} ends", told.ended(), ends.len());
        }
    }

    #[test]
    fn another_start_is_another_connection() {
        let mut told = Told::default();
        let give = |told: &mut Told, packets: &[Vec<u8>]| {
            packets.iter().for_each(|packet| told.give(0, Some(packet)));
            (told.begun.len(), told.ended.len())
        };
        // Once more, and data before a start that comes late.
        assert_eq!(give(&mut told, &[segment(5, PSH_ACK), segment(0, SYN), segment(0, SYN)]), (1, 0));
        assert_eq!(give(&mut told, &[segment(70_000, SYN)]), (2, 1));
        assert_eq!(told.ended[0].2, [3 * 20 + 2, 0]);
        // From the other end, once this one is over.
        assert_eq!(give(&mut told, &[turned(segment(3, SYN))]), (2, 1), "both at once are one connection");
        assert_eq!(give(&mut told, &[segment(70_001, RST), turned(segment(900, SYN))]), (3, 2));
        let [first, second, third] = told.begun[..] else { panic!("{:?}", told.begun) };
        assert_eq!((first.1, second.1, third.1), (first.1, first.1, first.1.turned()));
    }

    #[test]
    fn a_clock_that_is_set_ends_nothing_that_is_in_use() {
        let mut told = Told::default();
        for second in [100_000, 100_001, 7, 8, 100, 1] {
            told.give(second, Some(&datagram(5_000)));
        }
        assert_eq!((told.begun.len(), told.ended.len()), (1, 0));
        // A leap forward is as if nothing had come, up to the end of all time.
        told.give(500_000, Some(&datagram(5_000)));
        assert_eq!((told.begun.len(), told.ended.len()), (2, 1));
        for nanos in [u64::MAX, u64::MAX, 0, 0, u64::MAX] {
            told.reader.handle_timeout(Mono::from_nanos(nanos), &mut |_| {});
        }
        assert_eq!(told.reader.flows(), 0);
    }

    proptest! {
        /// Of one host, and so on one shelf: flows in use are never ended, idle ones are, and each is told once.
        #[test]
        fn flows_end_when_a_naive_table_says_so(steps in prop::collection::vec((0..40_u16, 0..90_u64), 1..300)) {
            let mut told = Told::default();
            let mut used: BTreeMap<u16, u64> = BTreeMap::new();
            let mut second = 0;
            for (port, pause) in steps {
                second += pause;
                let (begun, before) = (told.begun.len(), told.ended.len());
                told.give(second, Some(&datagram(5_000 + port)));
                for (_, ends, octets) in &told.ended[before..] {
                    let last = used.remove(&(ends.sport - 5_000));
                    prop_assert!(last.is_some_and(|last| second - last >= 240), "{last:?} at {second}");
                    prop_assert!(octets[0] > 0 && octets[0] % 15 == 0);
                }
                prop_assert_eq!(told.begun.len() > begun, !used.contains_key(&port));
                used.insert(port, second);
                prop_assert_eq!(told.reader.flows(), used.len());
                prop_assert!(used.values().all(|last| second - last <= 450), "{:?} at {}", used, second);
            }
        }
    }
}
