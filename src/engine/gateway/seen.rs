//! A packet that the kernel logged, as an attempt.

use crate::base::model::{Channel, Decision, Outcome};
use crate::base::name::{Name, NameBuf};
use crate::base::wire::dns::Questions;
use crate::policy::{Hit, Policy, Subject, Verdict};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Extension headers of one IPv6 packet that are stepped over (RFC 8200 §4.1); more are nobody's honest traffic.
const EXTENSIONS_MAX: usize = 8;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Why the kernel logged a packet: the word that the rule gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// To a listed address, and stopped.
    Block,
    /// To a listed address, and passed.
    Observe,
    /// DNS for another resolver, and answered by us.
    Dns,
    /// Encrypted DNS that passed.
    DotObserved,
    /// Encrypted DNS that was stopped.
    DotRefused,
    /// To an address that was learned, and passed.
    LearnedObserved,
    /// To an address that was learned, and stopped.
    LearnedRefused,
}

impl Marked {
    /// Reads the word of a rule.
    #[must_use]
    pub fn read(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"interdict block" => Self::Block,
            b"interdict observe" => Self::Observe,
            b"interdict dns" => Self::Dns,
            b"interdict dot observed" => Self::DotObserved,
            b"interdict dot refused" => Self::DotRefused,
            b"interdict learned observed" => Self::LearnedObserved,
            b"interdict learned refused" => Self::LearnedRefused,
            _ => return None,
        })
    }

    /// Whether the packet got where it wanted to go.
    #[must_use]
    pub const fn passed(self) -> bool {
        matches!(self, Self::Observe | Self::DotObserved | Self::LearnedObserved)
    }

    /// Whether the destination is one that was learned.
    #[must_use]
    pub const fn is_learned(self) -> bool {
        matches!(self, Self::LearnedObserved | Self::LearnedRefused)
    }
}

/// From whom a packet is, and where it wants to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// From whom.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// The destination port of TCP and UDP.
    pub port: Option<u16>,
}

impl Packet {
    /// Reads the headers of an IP packet, of which only the beginning need be there.
    #[must_use]
    pub fn read(octets: &[u8]) -> Option<Self> {
        match octets.first()? >> 4 {
            4 => Self::v4(octets),
            6 => Self::v6(octets),
            _ => None,
        }
    }

    fn v4(octets: &[u8]) -> Option<Self> {
        let header = usize::from(octets.first()? & 0x0f) * 4;
        let (protocol, fragment) = (*octets.get(9)?, array::<2>(octets, 6)?);
        let first = u16::from_be_bytes(fragment) & 0x1fff == 0;
        Some(Self {
            source: Ipv4Addr::from(array::<4>(octets, 12)?).into(),
            destination: Ipv4Addr::from(array::<4>(octets, 16)?).into(),
            port: if first { port(protocol, octets, header) } else { None },
        })
    }

    fn v6(octets: &[u8]) -> Option<Self> {
        let (mut next, mut at) = (*octets.get(6)?, 40);
        for _ in 0..EXTENSIONS_MAX {
            // Hop-by-hop, routing and destination options have their length in their second octet; others end the walk.
            if !matches!(next, 0 | 43 | 60) {
                break;
            }
            let Some([following, length]) = array::<2>(octets, at) else { break };
            (next, at) = (following, at + 8 + usize::from(length) * 8);
        }
        Some(Self {
            source: Ipv6Addr::from(array::<16>(octets, 8)?).into(),
            destination: Ipv6Addr::from(array::<16>(octets, 24)?).into(),
            port: port(next, octets, at),
        })
    }
}

/// The name that a logged packet asks for, where it is a DNS query in a datagram and the name is whole.
#[must_use]
pub fn question(octets: &[u8]) -> Option<Name> {
    let (protocol, at) = match octets.first()? >> 4 {
        4 => (*octets.get(9)?, usize::from(octets.first()? & 0x0f) * 4),
        6 => (*octets.get(6)?, 40),
        _ => return None,
    };
    let message = octets.get(at + 8..).filter(|_| protocol == UDP)?;
    Some(Questions::read(message)?.next()?.name().ok()?.as_ref().to_name())
}

fn array<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..)?.first_chunk::<N>().copied()
}

fn port(protocol: u8, octets: &[u8], header: usize) -> Option<u16> {
    matches!(protocol, TCP | UDP).then(|| array::<2>(octets, header + 2).map(u16::from_be_bytes)).flatten()
}

/// The attempt that a logged packet is; `None` where no rule of the policy is about it.
#[must_use]
pub fn hit(policy: &Policy, packet: &Packet, marked: Marked) -> Option<Hit> {
    let subject = Subject {
        address: Some(packet.destination),
        port: packet.port,
        client: Some(packet.source),
        ..Subject::default()
    };
    attempt(&policy.decide(&subject), packet.destination, packet.port, marked.passed())
}

/// A packet to an address, as the attempt that a rule makes it.
pub(super) fn attempt(verdict: &Verdict, address: IpAddr, port: Option<u16>, passed: bool) -> Option<Hit> {
    let (decision, outcome) =
        if passed { (Decision::Observe, Outcome::Observed) } else { (Decision::Block, Outcome::Blocked) };
    Some(Hit {
        rule: verdict.rule?,
        class: verdict.class?,
        decision,
        outcome,
        channel: Channel::Address,
        name: NameBuf::default(),
        address: Some(address),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::super::listed::tests::policy;
    use super::*;
    use crate::base::model::Stage;
    use proptest::prelude::*;

    /// Version 4, no options, TCP to 192.0.2.9:443 from 10.0.0.5.
    fn tcp4() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, TCP, 0, 0, 10, 0, 0, 5, 192, 0, 2, 9];
        packet.extend([0xc0, 0, 0x01, 0xbb]);
        packet
    }

    #[test]
    fn addresses_and_port_are_read_behind_options_and_extensions() {
        let (source, destination) = ("10.0.0.5".parse().unwrap(), "192.0.2.9".parse().unwrap());
        let plain = tcp4();
        assert_eq!(Packet::read(&plain), Some(Packet { source, destination, port: Some(443) }));
        let mut options = plain.clone();
        options[0] = 0x46;
        options.splice(20..20, [1, 1, 1, 0]);
        assert_eq!(Packet::read(&options).unwrap().port, Some(443));
        let mut fragment = plain;
        fragment[7] = 8;
        assert_eq!(Packet::read(&fragment).unwrap().port, None);
        let mut v6 = vec![0x60, 0, 0, 0, 0, 16, 60, 64];
        v6.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        v6.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        v6.extend([UDP, 0, 1, 4, 0, 0, 0, 0]);
        v6.extend([0xc0, 0, 0x03, 0x55]);
        let read = Packet::read(&v6).unwrap();
        assert_eq!(
            (read.source.to_string(), read.destination.to_string()),
            ("2001:db8::1".into(), "2001:db8::2".into())
        );
        assert_eq!(read.port, Some(853));
    }

    #[test]
    fn a_logged_packet_is_an_attempt_with_the_rule_of_its_destination() {
        let policy = policy(&[("b", Stage::Block, "192.0.2.0/24")], Vec::new());
        let packet = Packet::read(&tcp4()).unwrap();
        let blocked = hit(&policy, &packet, Marked::read(b"interdict block").unwrap()).unwrap();
        assert_eq!((blocked.outcome, blocked.port, blocked.channel), (Outcome::Blocked, Some(443), Channel::Address));
        assert_eq!(&*policy.facts(blocked.rule).unwrap().pattern, "192.0.2.0/24");
        let elsewhere = Packet { destination: "198.51.100.1".parse().unwrap(), ..packet };
        assert!(hit(&policy, &elsewhere, Marked::Dns).is_none());
    }

    #[test]
    fn the_name_of_a_query_is_read_where_it_is_whole() {
        let dns = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x02Up\x04acme\x07example\0\0\x01\0\x01";
        let mut v4 = tcp4();
        v4[9] = UDP;
        v4.truncate(20);
        v4.extend([0xc0, 0, 0, 53, 0, 0, 0, 0]);
        v4.extend(dns);
        assert_eq!(question(&v4).unwrap().to_string(), "up.acme.example");
        let v6 = [&[0x60, 0, 0, 0, 0, 0, UDP, 64][..], &[0; 32], &v4[20..]].concat();
        assert_eq!(question(&v6).unwrap().to_string(), "up.acme.example");
        assert!(question(&v4[..v4.len() - 6]).is_none());
        v4[9] = TCP;
        assert!(question(&v4).is_none());
    }

    proptest! {
        #[test]
        fn no_octets_do_harm(octets in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (Packet::read(&octets), question(&octets));
        }

        #[test]
        fn no_packet_of_either_version_does_harm(mut octets in prop::collection::vec(any::<u8>(), 1..80), six: bool) {
            octets[0] = if six { 0x60 } else { 0x40 | octets[0] & 0x0f };
            let _ = Packet::read(&octets);
        }
    }
}
