//! Frames into a pcap file.

use std::io::{self, Write};

use crate::base::wire::packet::{Frame, LinkType};

/// The magic number of files with nanoseconds.
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// The longest frame that readers are to expect; libpcap's own.
const SNAP_OCTETS: u32 = 262_144;

/// Writes frames of one link type with nanoseconds. A pcap file has no place for other link types: their frames are refused.
pub struct PcapWriter<W> {
    out: W,
    link: LinkType,
    refused: u64,
}

impl<W: Write> PcapWriter<W> {
    /// Writes the file's head.
    ///
    /// # Errors
    /// The writer's.
    pub fn new(mut out: W, link: LinkType) -> io::Result<Self> {
        let mut head = [0; 24];
        let fields = [NANOSECONDS, 4 << 16 | 2, 0, 0, SNAP_OCTETS, u32::from(link.0)];
        put(&mut head, &fields);
        out.write_all(&head)?;
        Ok(Self { out, link, refused: 0 })
    }

    /// Writes a frame; a VLAN tag that was taken out of it is put back.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        if frame.link != self.link {
            self.refused += 1;
            return Ok(());
        }
        let (before, after) = match frame.vlan_tag {
            Some(_) if self.link == LinkType::ETHERNET => {
                frame.bytes.split_at_checked(12).unwrap_or((frame.bytes, &[]))
            }
            _ => (frame.bytes, &[][..]),
        };
        let tag = match frame.vlan_tag {
            Some(tag) if !after.is_empty() => {
                let [high, low] = tag.to_be_bytes();
                &[0x81, 0, high, low][..]
            }
            _ => &[],
        };
        let added = u32::try_from(tag.len()).unwrap_or_default();
        let len = u32::try_from(frame.bytes.len()).map_err(io::Error::other)? + added;
        let seconds = u32::try_from(frame.time_ns / 1_000_000_000).unwrap_or(u32::MAX);
        let nanoseconds = u32::try_from(frame.time_ns % 1_000_000_000).unwrap_or_default();
        let mut head = [0; 16];
        put(&mut head, &[seconds, nanoseconds, len, frame.original_len.saturating_add(added)]);
        for part in [&head, before, tag, after] {
            self.out.write_all(part)?;
        }
        Ok(())
    }

    /// Frames that were of another link type.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// The writer, flushed.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

fn put(to: &mut [u8], words: &[u32]) {
    for (octets, word) in to.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *octets = word.to_le_bytes();
    }
}
