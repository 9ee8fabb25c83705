//! HTTP/2 in the clear (RFC 9113): frames of one direction, and what their header blocks say.

use super::hpack::Decoder;
use crate::base::wire::Reader;

/// What a client begins with (RFC 9113 §3.4).
pub const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Octets of a frame's header.
const FRAME_HEADER: usize = 9;
/// Octets of a header block, continuations joined.
const BLOCK_OCTETS_MAX: usize = 1 << 16;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// Reads the frames that follow the preface.
#[derive(Clone, Debug, Default)]
pub struct H2Stream {
    decoder: Decoder,
    header: [u8; FRAME_HEADER],
    header_len: usize,
    /// Octets of the frame that are still to come.
    left: usize,
    /// Where a header frame is collected, and the block that it adds to.
    frame: Vec<u8>,
    block: Vec<u8>,
    is_lost: bool,
}

impl H2Stream {
    /// Octets that can be passed over unseen: the rest of a frame that says nothing.
    #[must_use]
    pub const fn blind(&self) -> usize {
        if self.is_told() { 0 } else { self.left }
    }

    /// Passes over that many of them.
    pub const fn pass(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count);
    }

    /// Whether the blocks cannot be decoded any more.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        self.is_lost
    }

    const fn is_told(&self) -> bool {
        let [_, _, _, kind, ..] = self.header;
        matches!(kind, HEADERS | CONTINUATION)
    }

    /// Takes the next octets; `authority` is told the host of every request.
    pub fn feed(&mut self, mut octets: &[u8], mut authority: impl FnMut(&[u8])) {
        while !octets.is_empty() && !self.is_lost {
            if self.left == 0 {
                let (taken, rest) = octets.split_at_checked(FRAME_HEADER - self.header_len).unwrap_or((octets, &[]));
                octets = rest;
                for octet in taken {
                    if let Some(place) = self.header.get_mut(self.header_len) {
                        *place = *octet;
                    }
                    self.header_len += 1;
                }
                if self.header_len == FRAME_HEADER {
                    let [high, middle, low, ..] = self.header;
                    self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                    self.header_len = 0;
                    self.is_lost = self.is_told() && self.left + self.block.len() > BLOCK_OCTETS_MAX;
                    // A frame without content is over at once.
                    if self.left == 0 && self.is_told() {
                        self.end_frame(&mut authority);
                    }
                }
                continue;
            }
            let (taken, rest) = octets.split_at_checked(self.left).unwrap_or((octets, &[]));
            octets = rest;
            self.left -= taken.len();
            if self.is_told() {
                self.frame.extend_from_slice(taken);
                if self.left == 0 {
                    self.end_frame(&mut authority);
                }
            }
        }
    }

    fn end_frame(&mut self, authority: &mut impl FnMut(&[u8])) {
        let [_, _, _, kind, flags, ..] = self.header;
        let mut reader = Reader::new(&self.frame);
        let mut padding = 0;
        if kind == HEADERS {
            self.block.clear();
            if flags & PADDED != 0 {
                padding = usize::from(reader.u8().unwrap_or(0));
            }
            if flags & PRIORITY != 0 {
                self.is_lost |= reader.take(5).is_err();
            }
        }
        let part = reader.rest();
        self.block.extend_from_slice(part.get(..part.len().saturating_sub(padding)).unwrap_or_default());
        self.frame.clear();
        if flags & END_HEADERS == 0 {
            return;
        }
        let mut host: Option<Box<[u8]>> = None;
        let read = self.decoder.block(&self.block, |name, value| {
            if name == b":authority" || (name == b"host" && host.is_none()) {
                host = Some(value.into());
            }
        });
        if let Some(host) = host.filter(|host| !host.is_empty()) {
            authority(&host);
        }
        self.is_lost |= read.is_err();
        self.block.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
        let len = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&len[1..], &[kind, flags, 0, 0, 0, 1], content].concat()
    }

    proptest! {
        #[test]
        fn requests_in_any_cut(cut in any::<prop::sample::Index>()) {
            let block = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
            let stream = [
                frame(4, 0, &[0; 6]),
                frame(HEADERS, PADDED | PRIORITY, &[&[3, 0, 0, 0, 0, 16][..], &block[..6], &[0; 3]].concat()),
                frame(CONTINUATION, END_HEADERS, &block[6..]),
                frame(0, 1, &[7; 500]),
                frame(HEADERS, END_HEADERS, b"\x82\xbe"),
            ].concat();
            let mut reader = H2Stream::default();
            let mut hosts = Vec::new();
            let cut = cut.index(stream.len());
            reader.feed(&stream[..cut], |host| hosts.push(host.to_vec()));
            let blind = reader.blind();
            reader.pass(blind);
            reader.feed(&stream[cut + blind..], |host| hosts.push(host.to_vec()));
            prop_assert_eq!(hosts, [b"www.example.com", b"www.example.com"]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, flags: u8) {
            let mut reader = H2Stream::default();
            reader.feed(&frame(HEADERS, flags, &bytes), |_| {});
            reader.feed(&bytes, |_| {});
        }
    }
}
