//! The datagrams of one client, joined to what it says first.

use super::google;
use super::keys::Keys;
use super::packet::{Long, varint};
use super::version::Version;
use crate::base::wire::pieces::{Keep, Pieces};
use crate::base::wire::tls::{CLIENT_HELLO, HELLO_OCTETS_MAX};
use crate::base::wire::{Reader, Short};
use std::ops::Range;

/// Packets of one datagram that are looked at.
const PACKETS_MAX: usize = 16;
/// First flights that are held apart: a connection's before and after Retry or version negotiation, and its successors.
const FLIGHTS_MAX: usize = 4;
/// Packets that no key opened, before nothing more is tried.
const FAILURES_MAX: u32 = 48;

/// What a client said first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The body of a ClientHello.
    Hello(&'a [u8]),
    /// The server name of Google's handshake.
    Google(&'a [u8]),
}

/// What was sent under one set of keys.
#[derive(Debug)]
struct Flight {
    version: u32,
    destination: Box<[u8]>,
    keys: Keys,
    is_google: bool,
    crypto: Pieces,
    is_read: bool,
}

/// Reads the first flights of a client. Holds nothing once they are read.
#[derive(Debug, Default)]
pub struct QuicClient {
    flights: Vec<Flight>,
    failures: u32,
}

impl QuicClient {
    /// Takes a datagram; `found` is told what it made whole.
    pub fn feed(&mut self, datagram: &[u8], mut found: impl FnMut(Found<'_>)) {
        if let Some(name) = google::server_name(datagram) {
            return found(Found::Google(name));
        }
        let mut rest = datagram;
        let mut buffer = Vec::new();
        for _ in 0..PACKETS_MAX {
            let Some(number) = rest.get(1..5).and_then(|octets| octets.first_chunk()) else { return };
            let version = u32::from_be_bytes(*number);
            let known = Version::known(version);
            let Some(long) = Long::parse(rest, known.is_some_and(|known| known.is_v2)) else { return };
            rest = long.rest;
            if !self.gives_up() && (long.is_initial || known.is_none()) {
                self.packet(&long, known, &mut buffer, &mut found);
            }
        }
    }

    /// Whether nothing will be read of this client any more.
    #[must_use]
    pub const fn gives_up(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    /// Whether it was told by its first flight that this is the client: what comes back is not its.
    #[must_use]
    pub const fn is_client(&self) -> bool {
        !self.flights.is_empty()
    }

    /// Octets that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.flights.iter().map(|flight| flight.crypto.span()).sum()
    }

    /// Whether a flight was opened whose hello is not whole.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.flights.iter().any(|flight| !flight.is_read)
    }

    fn packet(
        &mut self,
        long: &Long<'_>,
        known: Option<Version>,
        buffer: &mut Vec<u8>,
        found: &mut impl FnMut(Found<'_>),
    ) {
        for flight in &mut self.flights {
            let is_its = flight.version == long.version && *flight.destination == *long.destination;
            if is_its && flight.is_read {
                return;
            }
            // A client goes on under its first keys when it takes the id that the server chose.
            match flight.keys.open(long, buffer) {
                Some(frames) => return flight.take(buffer.get(frames).unwrap_or_default(), found),
                None if is_its => {
                    self.failures += 1;
                    return;
                }
                None => {}
            }
        }
        let Some((mut flight, frames)) = Self::open_first(long, known, buffer) else {
            self.failures += 1;
            return;
        };
        flight.take(buffer.get(frames).unwrap_or_default(), found);
        if self.flights.len() >= FLIGHTS_MAX {
            self.flights.remove(0);
        }
        self.flights.push(flight);
    }

    /// The flight that a packet begins, and where in the buffer its frames are.
    fn open_first(long: &Long<'_>, known: Option<Version>, buffer: &mut Vec<u8>) -> Option<(Flight, Range<usize>)> {
        let trials = Version::to_try();
        let versions = known.as_ref().map_or(&trials[..], std::slice::from_ref);
        versions.iter().find_map(|version| {
            let keys = Keys::of_client(version, long.destination)?;
            let frames = keys.open(long, buffer)?;
            let flight = Flight {
                version: long.version,
                destination: long.destination.into(),
                keys,
                is_google: version.is_google,
                crypto: Pieces::default(),
                is_read: false,
            };
            Some((flight, frames))
        })
    }
}

impl Flight {
    fn take(&mut self, frames: &[u8], found: &mut impl FnMut(Found<'_>)) {
        if self.is_read {
            return;
        }
        // A broken frame ends the packet; what stood before it counts.
        let _: Result<(), Short> = self.read_frames(frames);
        let joined = self.crypto.contiguous();
        if self.is_google {
            if let Some(name) = google::in_chlo(joined) {
                found(Found::Google(name));
                self.finish();
            }
            return;
        }
        let &[kind, high, middle, low, ref body @ ..] = joined else { return };
        let len = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if kind != CLIENT_HELLO || len > HELLO_OCTETS_MAX {
            return self.finish();
        }
        if let Some(body) = body.get(..len) {
            found(Found::Hello(body));
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.is_read = true;
        self.crypto = Pieces::default();
    }

    fn read_frames(&mut self, frames: &[u8]) -> Result<(), Short> {
        let mut reader = Reader::new(frames);
        while !reader.is_empty() {
            match reader.u8()? {
                // PADDING, PING.
                0 | 1 => {}
                kind @ (2 | 3) => skip_ack(&mut reader, kind == 3)?,
                kind @ (6 | 8) if kind == 6 || self.is_google => {
                    let at = usize::try_from(varint(&mut reader)?).map_err(|_| Short)?;
                    let len = usize::try_from(varint(&mut reader)?).map_err(|_| Short)?;
                    self.crypto.put(at, reader.take(len)?, Keep::First, HELLO_OCTETS_MAX + 4);
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}

fn skip_ack(reader: &mut Reader<'_>, has_counts: bool) -> Result<(), Short> {
    varint(reader)?;
    varint(reader)?;
    let ranges = varint(reader)?;
    varint(reader)?;
    // As many as there are; each is two octets at least, so the packet bounds them.
    for _ in 0..ranges {
        varint(reader)?;
        varint(reader)?;
    }
    for _ in 0..if has_counts { 3 } else { 0 } {
        varint(reader)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::google::testing::chlo;
    use super::super::keys::testing::seal;
    use super::*;
    use crate::base::wire::tls::{ClientHello, testing};
    use proptest::prelude::*;

    fn hello() -> Vec<u8> {
        let body = testing::hello(&[(51, &[5; 3000]), (0, &testing::name("q.example"))]);
        [&[1][..], &u32::try_from(body.len()).unwrap().to_be_bytes()[1..], &body].concat()
    }

    fn crypto(message: &[u8], from: usize, to: usize) -> Vec<u8> {
        let mut frame = vec![6];
        frame.extend((0x4000 | u16::try_from(from).unwrap()).to_be_bytes());
        frame.extend((0x4000 | u16::try_from(to - from).unwrap()).to_be_bytes());
        frame.extend(&message[from..to]);
        frame
    }

    fn names(datagrams: &[Vec<u8>]) -> Vec<String> {
        let mut client = QuicClient::default();
        let mut names = Vec::new();
        for datagram in datagrams {
            client.feed(datagram, |found| {
                let name = match found {
                    Found::Hello(body) => ClientHello::parse(body).unwrap().server_name().unwrap().to_vec(),
                    Found::Google(name) => name.to_vec(),
                };
                names.push(String::from_utf8(name).unwrap());
            });
        }
        assert!(!client.is_waiting() && client.held() == 0);
        names
    }

    const ID: &[u8] = b"12345678";

    proptest! {
        /// Frames cut anywhere, in any order, over any number of packets, with others between them.
        #[test]
        fn frames_in_any_cut_and_order(
            version in prop::sample::select(vec![1_u32, 0x6b33_43cf, 0xff00_001d, 0xff00_001b, 0xff00_0016, 0xface_b002, 0x5430_3531]),
            cuts in prop::collection::btree_set(1..3000_usize, 0..12),
            order in any::<prop::sample::Index>(),
        ) {
            let message = hello();
            let mut cuts: Vec<_> = cuts.into_iter().collect();
            cuts.push(message.len());
            let mut from = 0;
            let mut datagrams = Vec::new();
            for (number, to) in cuts.into_iter().enumerate() {
                let frames = [&b"\0\x01\x02\0\0\x01\0\0\0"[..], &crypto(&message, from, to), &[0; 20]].concat();
                let destination = if number == 0 { ID } else { b"chosen" };
                datagrams.push(seal(version, ID, destination, u8::try_from(number).unwrap(), &frames));
                from = to;
            }
            let keyed = datagrams.remove(0);
            let turn = order.index(datagrams.len() + 1);
            datagrams.rotate_left(turn);
            datagrams.insert(0, keyed);
            prop_assert_eq!(names(&datagrams), ["q.example"]);
            prop_assert_eq!(names(&[datagrams.concat()]), ["q.example"], "coalesced");
        }

        #[test]
        fn any_datagram_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), frames: Vec<u8>) {
            let mut client = QuicClient::default();
            client.feed(&bytes, |_| {});
            client.feed(&[&b"\xc0\0\0\0\x01\x08"[..], &bytes].concat(), |_| {});
            let frames = [frames, vec![0; 20]].concat();
            client.feed(&seal(1, ID, ID, 0, &frames), |_| {});
            assert!(client.held() <= (HELLO_OCTETS_MAX + 4) * FLIGHTS_MAX);
        }
    }

    #[test]
    fn after_retry_and_version_negotiation() {
        let message = hello();
        let half = crypto(&message, 0, 1000);
        let whole = crypto(&message, 0, message.len());
        let retried = [
            seal(1, ID, ID, 0, &half),
            b"\xf0\0\0\0\x01\0\x01xtoken".to_vec(),
            seal(1, b"server", b"server", 1, &whole),
        ];
        let mut client = QuicClient::default();
        let mut count = 0;
        retried.iter().for_each(|datagram| client.feed(datagram, |_| count += 1));
        assert_eq!(count, 1);
        let mut unknown = seal(1, ID, ID, 0, &whole);
        assert_eq!(names(&[unknown.clone()]), ["q.example"]);
        unknown[0] ^= 1;
        let mut broken = QuicClient::default();
        broken.feed(&unknown, |_| panic!("it cannot be opened"));
        for _ in 0..FAILURES_MAX {
            broken.feed(&unknown, |_| {});
        }
        assert!(broken.gives_up());
    }

    #[test]
    fn the_handshake_of_q050() {
        let message = chlo("g.example");
        let mut frame = vec![8, 0];
        frame.extend((0x4000 | u16::try_from(message.len()).unwrap()).to_be_bytes());
        frame.extend(&message);
        assert_eq!(names(&[seal(0x5130_3530, ID, ID, 1, &frame)]), ["g.example"]);
    }
}
