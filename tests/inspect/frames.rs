//! Frames made by hand, and what is read of them.

use interdict::base::model::Mono;
use interdict::base::wire::host::escaped;
use interdict::base::wire::packet::{Frame, LinkType};
use interdict::base::wire::tls::client_hello;
use interdict::engine::inspector::{NameKind, Observation, Reader};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A name that was told.
pub(crate) type Named = (NameKind, IpAddr, u16, String);

/// A segment to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) sport: u16,
    pub(crate) dport: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    /// SYN 2, ACK 16, PSH 8.
    pub(crate) flags: u8,
    pub(crate) ttl: u8,
    pub(crate) is_summed: bool,
    pub(crate) octets: Vec<u8>,
}

pub(crate) const CLIENT: [u8; 4] = [10, 0, 0, 5];
pub(crate) const SERVER: [u8; 4] = [192, 0, 2, 80];

impl Sent {
    pub(crate) fn client(seq: u32, octets: &[u8]) -> Self {
        Self { sport: 40_000, dport: 443, seq, ack: 1, flags: 24, ttl: 64, is_summed: true, octets: octets.to_vec() }
    }

    pub(crate) fn start(seq: u32) -> Self {
        Self { flags: 2, ack: 0, ..Self::client(seq, b"") }
    }

    /// A raw IPv4 packet; from the client, unless it comes from the served port.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let (src, dst) = if self.sport < self.dport { (SERVER, CLIENT) } else { (CLIENT, SERVER) };
        let mut tcp = Vec::new();
        tcp.extend(self.sport.to_be_bytes());
        tcp.extend(self.dport.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.extend([0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(&self.octets);
        let pseudo = [&src[..], &dst, &[0, 6], &u16::try_from(tcp.len()).unwrap().to_be_bytes()].concat();
        let sum = !sum(&[&pseudo[..], &tcp].concat());
        let sum = if self.is_summed { sum } else { sum ^ 0x5555 };
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        ip(6, self.ttl, src, dst, &tcp)
    }
}

/// A UDP datagram from the client, as a raw IPv4 packet.
pub(crate) fn datagram(dport: u16, octets: &[u8]) -> Vec<u8> {
    let len = u16::try_from(octets.len() + 8).unwrap();
    let udp = [&40_000_u16.to_be_bytes()[..], &dport.to_be_bytes(), &len.to_be_bytes(), &[0, 0], octets].concat();
    ip(17, 64, CLIENT, SERVER, &udp)
}

fn ip(protocol: u8, ttl: u8, src: [u8; 4], dst: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len() + 20).unwrap().to_be_bytes();
    [&[0x45, 0, len[0], len[1], 0, 1, 0, 0, ttl, protocol, 0, 0][..], &src, &dst, payload].concat()
}

fn sum(octets: &[u8]) -> u16 {
    let mut sum: u32 =
        octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// Reads raw IP packets; the names, and the reader at its end.
pub(crate) fn read<'p>(packets: impl IntoIterator<Item = &'p Vec<u8>>) -> (BTreeSet<Named>, Reader) {
    let mut reader = Reader::new();
    let mut names = BTreeSet::new();
    let mut tell = |observation: Observation<'_>| {
        if let Observation::Name(seen) = observation {
            names.insert((seen.kind, seen.ends.dst, seen.ends.dport, escaped(seen.octets)));
        }
    };
    for (time, packet) in packets.into_iter().enumerate() {
        let mut frame = Frame::new(LinkType::RAW, packet);
        frame.time_ns = time as u64 * 1000;
        reader.handle_frame(Mono::from_nanos(frame.time_ns), &frame, &mut tell);
    }
    reader.finish(&mut tell);
    (names, reader)
}

/// The names of segments alone.
pub(crate) fn texts(sent: &[Sent]) -> Vec<String> {
    let packets: Vec<_> = sent.iter().map(Sent::packet).collect();
    read(&packets).0.into_iter().map(|(_, _, _, text)| text).collect()
}

/// The TLS records of a ClientHello for a name, so many octets of padding in it.
pub(crate) fn hello(name: &str, padding: u16, record_octets: usize) -> Vec<u8> {
    records(&client_hello(name, padding).unwrap(), |_| record_octets)
}

/// A handshake message in records of these sizes.
pub(crate) fn records(message: &[u8], mut size: impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut at = 0;
    while at < message.len() {
        let end = (at + size(at).max(1)).min(message.len());
        stream.extend([22, 3, 1]);
        stream.extend(u16::try_from(end - at).unwrap().to_be_bytes());
        stream.extend(&message[at..end]);
        at = end;
    }
    stream
}
