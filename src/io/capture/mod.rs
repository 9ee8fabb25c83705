//! Frames from files and interfaces, behind one port: [`Source`].
//!
//! | type | what |
//! |---|---|
//! | [`FileSource`] | pcap and pcapng, also compressed, from standard input, or still being written |
//! | [`live::open`], [`live::RingSource`], [`live::PnetSource`] | interfaces |
//! | [`PcapWriter`], [`PcapNgWriter`] | frames into files, of one link type or of several |

mod compressed;
mod file;
mod input;
pub mod live;
mod pcap;
mod pcapng;
#[cfg(test)]
mod tests;
mod write;

pub use file::FileSource;
pub use write::{PcapNgWriter, PcapWriter};

use crate::base::wire::packet::Frame;

/// Where frames come from.
pub trait Source {
    /// The next frame. Its octets are good until the next call.
    ///
    /// # Errors
    /// One sentence: which source, where in it, what is wrong. There is nothing more to come from it then.
    fn next(&mut self) -> Result<Next<'_>, CaptureError>;

    /// What was read and lost so far.
    fn stats(&self) -> Stats;
}

/// What a source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// Nothing within the source's pause; more may come.
    Idle,
    /// Nothing, and nothing will come.
    End,
}

/// What a source has read and lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Frames that were handed over.
    pub frames: u64,
    /// Octets taken from the file, decompressed, or from the kernel.
    pub octets: u64,
    /// Frames that the capturing side says it lost.
    pub dropped: u64,
    /// Frames that could not be handed over: of an interface that the file does not describe.
    pub skipped: u64,
    /// Octets of a last record that is not whole; at least 1 where a compressed file is cut off.
    pub torn: u64,
}

/// Why a source ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It cannot be opened.
    #[error("{name}: cannot be opened: {error}")]
    Open {
        /// The source.
        name: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// It cannot be read, or not be decompressed.
    #[error("{name}: offset {offset}: cannot be read on: {error}")]
    Read {
        /// The source.
        name: String,
        /// Octets read before.
        offset: u64,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is no capture file.
    #[error("{name}: is neither a pcap nor a pcapng file; it begins with {begins:02x?}")]
    Format {
        /// The source.
        name: String,
        /// Its first octets.
        begins: [u8; 4],
    },
    /// A record that cannot be.
    #[error("{name}: offset {offset}: {what}; the file is damaged from here on")]
    Damaged {
        /// The source.
        name: String,
        /// Where the record begins.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
}
