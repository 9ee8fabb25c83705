//! A capture file as a source: its format and its compression are found from its first octets.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::compressed::decompressed;
use super::input::Input;
use super::pcap::{HEAD_OCTETS, Pcap};
use super::pcapng::{PcapNg, SECTION};
use super::{CaptureError, Next, Source, Stats};
use crate::base::wire::packet::Frame;

/// Octets of the largest frame; capturing hosts write 256 KiB at most.
pub(super) const FRAME_OCTETS_MAX: usize = 1 << 20;
/// How long a source that follows its file waits for more of it.
const PAUSE: Duration = Duration::from_millis(100);

/// Frames of a pcap or pcapng file, plain or compressed with gzip or Zstandard.
pub struct FileSource {
    name: String,
    input: Input,
    /// Found with the first octets.
    format: Option<Format>,
    follow: bool,
    stats: Stats,
    /// Octets of the file as it is stored.
    consumed: Arc<AtomicU64>,
}

/// Counts what is read through it.
struct Counted<R>(R, Arc<AtomicU64>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

/// What a look for the next frame came to.
pub(super) enum Found {
    /// A frame without its octets: they are the last `len` that were taken, without the last `after` of them.
    Frame {
        /// All else that is known of it.
        frame: Frame<'static>,
        /// Its octets.
        len: usize,
        /// Octets of the record after it.
        after: usize,
    },
    /// A frame that cannot be handed over.
    Skipped,
    /// No whole record; nothing was taken.
    Nothing,
}

/// Why there is no going on.
pub(super) enum Stop {
    Read(io::Error),
    Format([u8; 4]),
    Damaged(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl FileSource {
    /// Opens a file; `-` is standard input. With `follow` its end is not taken for one: somebody may still be writing.
    ///
    /// # Errors
    /// It cannot be opened or read.
    pub fn open(path: &Path, follow: bool) -> Result<Self, CaptureError> {
        let name = path.display().to_string();
        let consumed = Arc::default();
        let opened: io::Result<Box<dyn Read + Send>> = match path.to_str() {
            Some("-") => Ok(Box::new(io::stdin())),
            _ => File::open(path).map(|file| Box::new(Counted(file, Arc::clone(&consumed))) as _),
        };
        match opened.and_then(decompressed) {
            Ok(reader) => Ok(Self { consumed, ..Self::new(name, reader, follow) }),
            Err(error) => Err(CaptureError::Open { name, error }),
        }
    }

    /// Reads from anything; `name` is for sentences.
    #[must_use]
    pub fn new(name: String, reader: Box<dyn Read + Send>, follow: bool) -> Self {
        let (input, consumed) = (Input::new(reader), Arc::default());
        Self { name, input, format: None, follow, stats: Stats::default(), consumed }
    }

    /// Octets of the file, as it is stored, that were read; for progress.
    #[must_use]
    pub fn consumed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.consumed)
    }

    /// The next frame that can be handed over.
    #[inline]
    fn look(&mut self) -> Result<Found, Stop> {
        loop {
            let found = match &mut self.format {
                Some(Format::Pcap(format)) => format.next(&mut self.input)?,
                Some(Format::PcapNg(format)) => format.next(&mut self.input)?,
                None => {
                    if self.begin()? {
                        continue;
                    }
                    Found::Nothing
                }
            };
            if !matches!(found, Found::Skipped) {
                return Ok(found);
            }
            self.stats.skipped += 1;
        }
    }

    #[cold]
    fn stopped(&mut self, stop: Stop) -> Result<Next<'_>, CaptureError> {
        let (name, offset) = (self.name.clone(), self.input.offset());
        match stop {
            // A compressed file that is cut off: how many octets are missing cannot be told.
            Stop::Read(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.stats.torn = 1;
                Ok(Next::End)
            }
            Stop::Read(error) => Err(CaptureError::Read { name, offset, error }),
            Stop::Format(begins) => Err(CaptureError::Format { name, begins }),
            Stop::Damaged(what) => Err(CaptureError::Damaged { name, offset, what }),
        }
    }

    /// Reads the first octets. `false` when there are none, or not enough yet.
    fn begin(&mut self) -> Result<bool, Stop> {
        let Some(&begins) = self.input.peek(4)?.and_then(<[u8]>::first_chunk) else { return Ok(false) };
        if begins == SECTION {
            self.format = Some(Format::PcapNg(PcapNg::new()));
            return Ok(true);
        }
        let Some(head) = self.input.peek(HEAD_OCTETS)?.and_then(<[u8]>::first_chunk) else { return Ok(false) };
        self.format = Some(Format::Pcap(Pcap::new(head).ok_or(Stop::Format(begins))?));
        self.input.take(HEAD_OCTETS);
        Ok(true)
    }
}

impl Source for FileSource {
    #[inline]
    fn next(&mut self) -> Result<Next<'_>, CaptureError> {
        match self.look() {
            Ok(Found::Frame { frame, len, after }) => {
                self.stats.frames += 1;
                Ok(Next::Frame(Frame { bytes: self.input.taken(len, after), ..frame }))
            }
            // Only `look` meets those, and steps over them.
            Ok(Found::Skipped) => Ok(Next::Idle),
            Ok(Found::Nothing) if self.follow => {
                thread::sleep(PAUSE);
                Ok(Next::Idle)
            }
            Ok(Found::Nothing) => Ok(Next::End),
            Err(stop) => self.stopped(stop),
        }
    }

    fn stats(&self) -> Stats {
        let dropped = match &self.format {
            Some(Format::PcapNg(format)) => format.dropped(),
            Some(Format::Pcap(_)) | None => 0,
        };
        let torn = if self.follow { 0 } else { self.stats.torn.max(self.input.buffered() as u64) };
        Stats { octets: self.input.offset(), dropped, torn, ..self.stats }
    }
}
