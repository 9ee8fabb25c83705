//! Frames into capture files.

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
        let (before, tag, after) = untaken(frame);
        let added = u32::try_from(tag.as_slice().len()).unwrap_or_default();
        let len = u32::try_from(frame.bytes.len()).map_err(io::Error::other)? + added;
        let seconds = u32::try_from(frame.time_ns / 1_000_000_000).unwrap_or(u32::MAX);
        let nanoseconds = u32::try_from(frame.time_ns % 1_000_000_000).unwrap_or_default();
        let mut head = [0; 16];
        put(&mut head, &[seconds, nanoseconds, len, frame.original_len.saturating_add(added)]);
        for part in [&head[..], before, tag.as_slice(), after] {
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

//----------- pcapng ---------------------------------------------------------

/// Link types of one file that have an interface of their own.
const INTERFACES_MAX: usize = 64;

/// Writes frames of any link types with nanoseconds: the file has an interface for each link type.
pub struct PcapNgWriter<W> {
    out: W,
    /// The link types of the interfaces.
    links: Vec<LinkType>,
    refused: u64,
}

impl<W: Write> PcapNgWriter<W> {
    const SECTION: u32 = 0x0a0d_0d0a;
    const INTERFACE: u32 = 1;
    const PACKET: u32 = 6;

    /// Writes the file's head.
    ///
    /// # Errors
    /// The writer's.
    pub fn new(out: W) -> io::Result<Self> {
        let mut writer = Self { out, links: Vec::new(), refused: 0 };
        // Version 1.0; of no length that is said.
        writer.block(Self::SECTION, &[0x1a2b_3c4d, 1, u32::MAX, u32::MAX], &[])?;
        Ok(writer)
    }

    /// Writes a frame; a VLAN tag that was taken out of it is put back.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let interface = match self.links.iter().position(|link| *link == frame.link) {
            Some(interface) => interface,
            None if self.links.len() >= INTERFACES_MAX => {
                self.refused += 1;
                return Ok(());
            }
            None => {
                // Option 9: times in units of ten to the minus ninth; option 0 ends them.
                self.block(Self::INTERFACE, &[u32::from(frame.link.0), SNAP_OCTETS, 1 << 16 | 9, 9, 0], &[])?;
                self.links.push(frame.link);
                self.links.len() - 1
            }
        };
        let (before, tag, after) = untaken(frame);
        let tag = tag.as_slice();
        let original = frame.original_len.saturating_add(u32::try_from(tag.len()).unwrap_or_default());
        let octets = before.len() + tag.len() + after.len();
        let octets = u32::try_from(octets).map_err(io::Error::other)?;
        let interface = u32::try_from(interface).map_err(io::Error::other)?;
        let [high, low] = [(frame.time_ns >> 32) as u32, frame.time_ns as u32];
        self.block(Self::PACKET, &[interface, high, low, octets, original], &[before, tag, after])
    }

    /// Frames of more link types than a file has interfaces for.
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

    /// A block: words, then octets up to a word's border.
    fn block(&mut self, kind: u32, words: &[u32], parts: &[&[u8]]) -> io::Result<()> {
        let octets: usize = parts.iter().map(|part| part.len()).sum();
        let padded = octets.next_multiple_of(4);
        let len = u32::try_from(12 + words.len() * 4 + padded).map_err(io::Error::other)?;
        for word in [kind, len].iter().chain(words) {
            self.out.write_all(&word.to_le_bytes())?;
        }
        parts.iter().try_for_each(|part| self.out.write_all(part))?;
        self.out.write_all([0; 3].get(..padded - octets).unwrap_or_default())?;
        self.out.write_all(&len.to_le_bytes())
    }
}

/// A frame's octets in three parts, the second of them the VLAN tag that was taken out.
fn untaken<'a>(frame: &Frame<'a>) -> (&'a [u8], Tag, &'a [u8]) {
    match frame.vlan_tag.zip(frame.bytes.split_at_checked(12)) {
        Some((tag, (before, after))) if frame.link == LinkType::ETHERNET && !after.is_empty() => {
            let [high, low] = tag.to_be_bytes();
            (before, Tag(Some([0x81, 0, high, low])), after)
        }
        _ => (frame.bytes, Tag(None), &[]),
    }
}

/// The octets of a tag, if there is one.
struct Tag(Option<[u8; 4]>);

impl Tag {
    fn as_slice(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], <[u8; 4]>::as_slice)
    }
}

fn put(to: &mut [u8], words: &[u32]) {
    for (octets, word) in to.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *octets = word.to_le_bytes();
    }
}
