//! From a stream to its ClientHello: records joined, in whatever cuts the octets come (RFC 8446 §5.1).

use super::{CLIENT_HELLO, HELLO_OCTETS_MAX};

/// Octets of a record's header.
const HEADER: usize = 5;
/// Octets of a handshake message's header.
const HANDSHAKE_HEADER: usize = 4;
/// Octets of the largest record (RFC 8446 §5.2, with what TLS 1.2 allowed on top).
const RECORD_OCTETS_MAX: usize = (1 << 14) + 2048;
/// Records that one hello may be spread over.
const RECORDS_MAX: u32 = 1 << 14;

/// What the octets so far come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More are needed.
    More,
    /// [`HelloStream::hello`] is whole.
    Hello,
    /// This is no client's TLS.
    Other,
}

/// Reads a client's stream up to the end of its ClientHello.
#[derive(Clone, Debug, Default)]
pub struct HelloStream {
    header: [u8; HEADER],
    header_len: usize,
    /// Octets of the record that are still to come.
    left: usize,
    /// Whether the record is a handshake's; others before the hello are passed over.
    is_handshake: bool,
    records: u32,
    message: Vec<u8>,
}

impl HelloStream {
    /// Takes the next octets. After anything but [`Progress::More`] no more are to be given.
    pub fn feed(&mut self, mut octets: &[u8]) -> Progress {
        while !octets.is_empty() {
            if self.left == 0 {
                let Some((taken, rest)) = octets.split_at_checked((HEADER - self.header_len).min(octets.len())) else {
                    return Progress::Other;
                };
                octets = rest;
                for octet in taken {
                    if let Some(place) = self.header.get_mut(self.header_len) {
                        *place = *octet;
                    }
                    self.header_len += 1;
                }
                if self.header_len < HEADER {
                    return Progress::More;
                }
                if !self.open_record() {
                    return Progress::Other;
                }
                continue;
            }
            let (taken, rest) = octets.split_at_checked(self.left.min(octets.len())).unwrap_or((octets, &[]));
            octets = rest;
            self.left -= taken.len();
            if self.is_handshake {
                match self.add(taken) {
                    Progress::More => {}
                    end => return end,
                }
            }
        }
        Progress::More
    }

    fn open_record(&mut self) -> bool {
        let [kind, major, _, high, low] = self.header;
        self.header_len = 0;
        self.left = usize::from(u16::from_be_bytes([high, low]));
        self.is_handshake = kind == 22;
        self.records += 1;
        let is_plausible = matches!(kind, 20..=22) && major == 3 && self.left <= RECORD_OCTETS_MAX;
        is_plausible && self.records <= RECORDS_MAX
    }

    fn add(&mut self, octets: &[u8]) -> Progress {
        let room = self.wanted().unwrap_or(HELLO_OCTETS_MAX + HANDSHAKE_HEADER).saturating_sub(self.message.len());
        self.message.extend_from_slice(octets.get(..room).unwrap_or(octets));
        if self.message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Progress::Other;
        }
        match self.wanted() {
            Some(wanted) if wanted > HELLO_OCTETS_MAX + HANDSHAKE_HEADER => Progress::Other,
            Some(wanted) if self.message.len() >= wanted => {
                self.message.truncate(wanted);
                Progress::Hello
            }
            _ => Progress::More,
        }
    }

    fn wanted(&self) -> Option<usize> {
        let &[_, high, middle, low] = self.message.first_chunk::<HANDSHAKE_HEADER>()?;
        Some(HANDSHAKE_HEADER + (usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)))
    }

    /// The body of the hello, as far as it has come.
    #[must_use]
    pub fn hello(&self) -> &[u8] {
        self.message.get(HANDSHAKE_HEADER..).unwrap_or_default()
    }

    /// The same as an owned buffer.
    #[must_use]
    pub fn into_hello(mut self) -> Vec<u8> {
        self.message.drain(..HANDSHAKE_HEADER.min(self.message.len()));
        self.message
    }
}

#[cfg(test)]
mod tests {
    use super::super::hello::testing::{hello, name};
    use super::*;
    use proptest::prelude::*;

    fn message(body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1][..], &len[1..], body].concat()
    }

    fn records(message: &[u8], sizes: &[usize]) -> Vec<u8> {
        let mut stream = Vec::new();
        let mut rest = message;
        let mut sizes = sizes.iter().copied();
        while !rest.is_empty() {
            let (part, after) = rest.split_at(sizes.next().unwrap_or(rest.len()).min(rest.len()).max(1));
            stream.extend([22, 3, 1]);
            stream.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
            stream.extend(part);
            rest = after;
        }
        stream
    }

    proptest! {
        #[test]
        fn cuts_of_records_and_segments_change_nothing(
            padding in 0..9000_usize,
            sizes in prop::collection::vec(1..3000_usize, 0..9),
            cuts in prop::collection::vec(1..1500_usize, 0..9),
        ) {
            let body = hello(&[(21, &vec![0; padding]), (0, &name("a.example"))]);
            let stream = records(&message(&body), &sizes);
            let mut reader = HelloStream::default();
            let mut rest = &stream[..];
            let mut cuts = cuts.into_iter();
            let mut progress = Progress::More;
            while !rest.is_empty() {
                let (part, after) = rest.split_at(cuts.next().unwrap_or(rest.len()).min(rest.len()));
                prop_assert_eq!(progress, Progress::More);
                progress = reader.feed(part);
                rest = after;
            }
            prop_assert_eq!(progress, Progress::Hello);
            prop_assert_eq!(reader.hello(), &body[..]);
            prop_assert_eq!(reader.into_hello(), body);
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = HelloStream::default();
            let _ = bytes.iter().all(|octet| reader.feed(&[*octet]) == Progress::More);
        }
    }

    #[test]
    fn what_is_no_hello_is_left_early() {
        for stream in [
            &b"\x16\x03\x03\0\x04\x02\0\0\x10"[..],
            b"\x17\x03\x03\0\x01",
            b"\x16\x02\x03\0\x01",
            b"\x16\x03\x01\0\x04\x01\x02\0\0",
        ] {
            assert_eq!(HelloStream::default().feed(stream), Progress::Other, "{stream:x?}");
        }
        // An alert before it does no harm; a record of one octet each neither.
        let body = hello(&[]);
        let mut stream = b"\x15\x03\x01\0\x02\x01\0".to_vec();
        stream.extend(records(&message(&body), &vec![1; 100]));
        assert_eq!(HelloStream::default().feed(&stream), Progress::Hello);
    }
}
