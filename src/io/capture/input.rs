//! Octets of a file in large pieces, looked at before they are taken.

use std::io::{self, Read};

/// Octets asked for at once: what fits into the second cache beside what is done with it.
const READ_OCTETS: usize = 256 << 10;

/// A buffer over a reader.
pub(super) struct Input {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Octets of the reader before `start`.
    offset: u64,
    /// Octets that are to be thrown away before anything else is looked at.
    to_skip: u64,
}

impl Input {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self { reader, buffer: vec![0; READ_OCTETS], start: 0, end: 0, offset: 0, to_skip: 0 }
    }

    /// Where the octets stand that [`Input::peek`] shows.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Octets that are buffered and not taken.
    pub(super) const fn buffered(&self) -> usize {
        self.end - self.start
    }

    /// The next `len` octets, without taking them; `None` when the reader has fewer for now.
    #[inline]
    pub(super) fn peek(&mut self, len: usize) -> io::Result<Option<&[u8]>> {
        if (self.to_skip > 0 || self.buffered() < len) && !self.fill(len)? {
            return Ok(None);
        }
        Ok(self.buffer.get(self.start..self.start + len))
    }

    /// Takes `len` octets, which were peeked at.
    #[inline]
    pub(super) fn take(&mut self, len: usize) {
        let len = len.min(self.buffered());
        self.start += len;
        self.offset += len as u64;
    }

    /// The last `len` octets that were taken, without the last `after` of them. They stay until the next look.
    #[inline]
    pub(super) fn taken(&self, len: usize, after: usize) -> &[u8] {
        let end = self.start.saturating_sub(after);
        self.buffer.get(end.saturating_sub(len)..end).unwrap_or_default()
    }

    /// Throws `len` octets away, however many, as they come.
    pub(super) fn skip(&mut self, len: u64) {
        self.to_skip += len;
        self.drain();
    }

    fn drain(&mut self) {
        let now = usize::try_from(self.to_skip).unwrap_or(usize::MAX).min(self.buffered());
        self.take(now);
        self.to_skip -= now as u64;
    }

    /// Reads until `len` octets are there; `false` when the reader ends before.
    #[cold]
    fn fill(&mut self, len: usize) -> io::Result<bool> {
        loop {
            self.drain();
            if self.to_skip == 0 && self.buffered() >= len {
                return Ok(true);
            }
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let wanted = len.max(READ_OCTETS);
            if self.buffer.len() < wanted {
                self.buffer.resize(wanted, 0);
            }
            match self.reader.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its octets one, two, three … at a time.
    struct Dribble(Vec<u8>, usize);

    impl Read for Dribble {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 += 1;
            let len = self.1.min(self.0.len()).min(buffer.len());
            buffer[..len].copy_from_slice(&self.0[..len]);
            self.0.drain(..len);
            Ok(len)
        }
    }

    #[test]
    fn octets_come_in_order_whatever_the_pieces() {
        let octets: Vec<u8> = (0..=255).cycle().take(5_000).collect();
        let mut input = Input::new(Box::new(Dribble(octets.clone(), 0)));
        let mut at = 0;
        for len in (1..60).cycle() {
            if at + len > octets.len() {
                break;
            }
            assert_eq!(input.peek(len).unwrap(), Some(&octets[at..at + len]));
            input.take(len);
            at += len;
            assert_eq!((input.offset(), input.taken(len, 0)), (at as u64, &octets[at - len..at]));
            if at + 7 < octets.len() {
                input.skip(7);
                at += 7;
            }
        }
        assert_eq!(input.peek(octets.len()).unwrap(), None, "more than there is");
        assert_eq!(input.buffered(), octets.len() - at);
    }

    #[test]
    fn a_record_longer_than_the_buffer_is_seen_whole() {
        let octets: Vec<u8> = (0..=255).cycle().take(READ_OCTETS * 3).collect();
        let mut input = Input::new(Box::new(io::Cursor::new(octets.clone())));
        input.skip(3);
        assert_eq!(input.peek(READ_OCTETS * 2).unwrap(), Some(&octets[3..READ_OCTETS * 2 + 3]));
        input.take(READ_OCTETS * 2);
        assert_eq!(input.taken(2, 1), &octets[READ_OCTETS * 2..READ_OCTETS * 2 + 2]);
    }
}
