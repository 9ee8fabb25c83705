//! Compressed files, recognised by their first octets and read as a stream: memory is bounded whatever they grow to.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Octets of compressed input read at once.
const READ_OCTETS: usize = 64 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTANDARD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The octets that were compressed, if they were.
pub(super) fn decompressed(mut reader: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut begins = Vec::with_capacity(ZSTANDARD.len());
    reader.by_ref().take(ZSTANDARD.len() as u64).read_to_end(&mut begins)?;
    let is_gzip = begins.starts_with(&GZIP);
    let is_zstandard = begins == ZSTANDARD;
    let whole = Cursor::new(begins).chain(reader);
    if is_gzip {
        Ok(Box::new(MultiGzDecoder::new(BufReader::with_capacity(READ_OCTETS, whole))))
    } else if is_zstandard {
        Ok(Box::new(Zstandard::new(BufReader::with_capacity(READ_OCTETS, whole))))
    } else {
        Ok(Box::new(whole))
    }
}

/// Zstandard frames one after another (RFC 8878 §3); the library reads one.
struct Zstandard<R> {
    reader: R,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: BufRead> Zstandard<R> {
    fn new(reader: R) -> Self {
        Self { reader, decoder: FrameDecoder::new(), within: false }
    }

    /// Begins the next frame, if there is one.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.reader.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.reader) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut self.reader.by_ref().take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstandard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within && !self.begin()? {
                return Ok(0);
            }
            self.within = true;
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.decoder.is_finished() {
                self.within = false;
            } else {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.reader, one).map_err(io::Error::other)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use std::io::Write;

    /// Two frames with a skippable one between them, of blocks that are not compressed (RFC 8878 §3.1).
    fn zstandard(parts: [&[u8]; 2]) -> Vec<u8> {
        let frame = |data: &[u8]| {
            let len = u8::try_from(data.len()).unwrap();
            [&ZSTANDARD[..], &[0x20, len], &[len << 3 | 1, len >> 5, 0], data].concat()
        };
        [frame(parts[0]), vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9], frame(parts[1])].concat()
    }

    fn gzip(parts: [&[u8]; 2]) -> Vec<u8> {
        parts
            .iter()
            .flat_map(|part| {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(part).unwrap();
                encoder.finish().unwrap()
            })
            .collect()
    }

    fn read(octets: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        decompressed(Box::new(Cursor::new(octets)))?.read_to_end(&mut whole)?;
        Ok(whole)
    }

    #[test]
    fn what_is_compressed_is_told_by_its_first_octets() {
        let parts = [&b"the first part"[..], b" and the second"];
        let whole = parts.concat();
        assert_eq!(read(zstandard(parts)).unwrap(), whole);
        assert_eq!(read(gzip(parts)).unwrap(), whole);
        assert_eq!(read(whole.clone()).unwrap(), whole);
        for short in [vec![], vec![0x1f], vec![1, 2, 3]] {
            assert_eq!(read(short.clone()).unwrap(), short);
        }
    }

    #[test]
    fn what_ends_early_is_said() {
        for octets in [zstandard([b"one", b"two"]), gzip([b"one", b"two"])] {
            assert!(read(octets[..octets.len() - 2].to_vec()).is_err());
        }
        assert!(read([&ZSTANDARD[..], &[0xff; 30]].concat()).is_err());
    }
}
