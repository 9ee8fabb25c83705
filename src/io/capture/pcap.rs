//! The classic format (draft-ietf-opsawg-pcap): one link type, one resolution of time, records of a fixed head.

use super::file::{FRAME_OCTETS_MAX, Found, Stop};
use super::input::Input;
use crate::base::wire::packet::{Direction, Frame, LinkType};

/// Octets of the file's head.
pub(super) const HEAD_OCTETS: usize = 24;

/// What the head of the file says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pcap {
    word: fn([u8; 4]) -> u32,
    link: LinkType,
    nanoseconds: bool,
    /// Kuznetzov's: eight more octets a record, with interface, protocol and direction.
    modified: bool,
    /// Before version 2.3 the two lengths stood the other way round, and at 2.3 nobody knew.
    minor: u16,
}

impl Pcap {
    /// Reads the head; `None` when these octets are none.
    pub(super) fn new(head: &[u8; HEAD_OCTETS]) -> Option<Self> {
        let (magic, rest) = head.split_first_chunk::<4>()?;
        let little: fn([u8; 4]) -> u32 = u32::from_le_bytes;
        let big: fn([u8; 4]) -> u32 = u32::from_be_bytes;
        let (word, nanoseconds, modified) = [little, big].into_iter().find_map(|word| match word(*magic) {
            0xa1b2_c3d4 => Some((word, false, false)),
            0xa1b2_3c4d => Some((word, true, false)),
            0xa1b2_cd34 => Some((word, false, true)),
            _ => None,
        })?;
        // Major and minor are two half-words: read as one word, the second is in the lower half in one byte order only.
        let versions = word(*rest.first_chunk()?);
        let is_little = word(*magic) == u32::from_le_bytes(*magic);
        let minor = if is_little { versions >> 16 } else { versions & 0xffff };
        // The upper bits say how long a frame check sequence is.
        let link = LinkType(u16::try_from(word(*rest.last_chunk()?) & 0xffff).ok()?);
        Some(Self { word, link, nanoseconds, modified, minor: u16::try_from(minor).ok()? })
    }

    /// The next record.
    #[inline]
    pub(super) fn next(&self, input: &mut Input) -> Result<Found, Stop> {
        let head_len = if self.modified { 24 } else { 16 };
        let Some(head) = input.peek(head_len)? else { return Ok(Found::Nothing) };
        let Some(&[s0, s1, s2, s3, f0, f1, f2, f3, c0, c1, c2, c3, o0, o1, o2, o3]) = head.first_chunk() else {
            return Ok(Found::Nothing);
        };
        let (mut captured, mut original) = ((self.word)([c0, c1, c2, c3]), (self.word)([o0, o1, o2, o3]));
        if self.minor < 3 || self.minor == 3 && captured > original {
            (captured, original) = (original, captured);
        }
        let direction = if self.modified { head.get(22).copied().and_then(Direction::of_packet_type) } else { None };
        let len = captured as usize;
        if len > FRAME_OCTETS_MAX {
            return Err(Stop::Damaged(format!("a record says that its frame has {captured} octets")));
        }
        if input.peek(head_len + len)?.is_none() {
            return Ok(Found::Nothing);
        }
        input.take(head_len + len);
        let seconds = u64::from((self.word)([s0, s1, s2, s3]));
        let fraction = u64::from((self.word)([f0, f1, f2, f3]));
        let nanoseconds = if self.nanoseconds { fraction } else { fraction * 1_000 };
        let frame = Frame {
            time_ns: seconds * 1_000_000_000 + nanoseconds,
            original_len: original,
            direction,
            ..Frame::new(self.link, &[])
        };
        Ok(Found::Frame { frame, len, after: 0 })
    }
}
