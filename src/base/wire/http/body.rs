//! How far the body of a message goes (RFC 9112 §6), told without holding it.

use super::head::Headers;

/// Octets of a line that says a chunk's size.
const SIZE_LINE_MAX: u32 = 4096;

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many octets.
    Octets(u64),
    /// Chunks.
    Chunks(Chunk),
    /// Everything until the connection ends.
    UntilEnd,
}

/// Where in a chunked body the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// In the line with the size.
    Size {
        /// The digits so far.
        size: u64,
        /// No more digits will come: an extension or the line's end.
        ended: bool,
        /// Octets of the line.
        octets: u32,
    },
    /// In the data; so many octets, the line end behind them included.
    Data(u64),
    /// In the trailers; whether the line is empty so far.
    Trailers(bool),
}

const SIZE: Chunk = Chunk::Size { size: 0, ended: false, octets: 0 };

impl Body {
    /// No body.
    pub const NONE: Self = Self::Octets(0);

    /// The body that the headers promise. `has_length` says whether one without a length goes on until the end.
    #[must_use]
    pub fn promised(headers: Headers<'_>, has_length: bool) -> Self {
        let is_chunked = |value: &[u8]| value.to_ascii_lowercase().windows(7).any(|part| part == b"chunked");
        if headers.all("transfer-encoding").any(is_chunked) {
            return Self::Chunks(SIZE);
        }
        let length = headers.all("content-length").find_map(|value| std::str::from_utf8(value).ok()?.parse().ok());
        match length {
            Some(octets) => Self::Octets(octets),
            None if has_length => Self::NONE,
            None => Self::UntilEnd,
        }
    }

    /// Whether nothing is to come.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Octets(0))
    }

    /// Octets that can be passed over unseen.
    #[must_use]
    pub const fn blind(&self) -> u64 {
        match self {
            Self::Octets(octets) | Self::Chunks(Chunk::Data(octets)) => *octets,
            Self::Chunks(_) => 0,
            Self::UntilEnd => u64::MAX,
        }
    }

    /// Passes over that many of them.
    pub const fn pass(&mut self, count: u64) {
        match self {
            Self::Octets(octets) => *octets = octets.saturating_sub(count),
            Self::Chunks(Chunk::Data(octets)) => {
                *octets = octets.saturating_sub(count);
                if *octets == 0 {
                    *self = Self::Chunks(SIZE);
                }
            }
            Self::Chunks(_) | Self::UntilEnd => {}
        }
    }

    /// Takes octets as far as they are the body's, and says how many. `None` where they cannot be a body.
    pub fn feed(&mut self, octets: &[u8]) -> Option<usize> {
        let mut taken = 0;
        while taken < octets.len() && !self.is_over() {
            let left = octets.len() - taken;
            match self {
                Self::UntilEnd => return Some(octets.len()),
                Self::Octets(_) | Self::Chunks(Chunk::Data(_)) => {
                    let count = usize::try_from(self.blind()).map_or(left, |blind| blind.min(left));
                    self.pass(count as u64);
                    taken += count;
                }
                Self::Chunks(chunk) => {
                    let octet = *octets.get(taken)?;
                    taken += 1;
                    match chunk.step(octet)? {
                        Some(next) => *chunk = next,
                        None => *self = Self::NONE,
                    }
                }
            }
        }
        Some(taken)
    }
}

impl Chunk {
    /// The place after one more octet: outer `None` for what is no chunk, inner `None` after the last.
    fn step(self, octet: u8) -> Option<Option<Self>> {
        match self {
            Self::Size { octets: SIZE_LINE_MAX.., .. } => None,
            Self::Size { size: 0, octets: 1.., .. } if octet == b'\n' => Some(Some(Self::Trailers(true))),
            Self::Size { octets: 0, .. } if octet == b'\n' => None,
            // The line end behind the data belongs to it.
            Self::Size { size, .. } if octet == b'\n' => Some(Some(Self::Data(size.checked_add(2)?))),
            Self::Size { size, ended, octets } => {
                let digit = char::from(octet).to_digit(16).filter(|_| !ended);
                if digit.is_none() && octets == 0 {
                    return None;
                }
                let size = match digit {
                    Some(digit) => size.checked_mul(16)?.checked_add(u64::from(digit))?,
                    None => size,
                };
                Some(Some(Self::Size { size, ended: digit.is_none(), octets: octets + 1 }))
            }
            Self::Data(_) => Some(Some(self)),
            Self::Trailers(true) if octet == b'\n' => Some(None),
            Self::Trailers(is_empty) => Some(Some(Self::Trailers(octet == b'\n' || (is_empty && octet == b'\r')))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Request;
    use super::*;
    use proptest::prelude::*;

    fn body(head: &[u8]) -> Body {
        Body::promised(Request::parse(head).unwrap().headers(), true)
    }

    #[test]
    fn what_headers_promise() {
        assert_eq!(body(b"GET / HTTP/1.1\r\n\r\n"), Body::NONE);
        assert_eq!(body(b"POST / HTTP/1.1\r\ncontent-length: 17\r\n\r\n"), Body::Octets(17));
        assert_eq!(
            body(b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 3\r\n\r\n"),
            Body::Chunks(SIZE)
        );
        assert_eq!(Body::promised(Request::parse(b"GET / HTTP/1.0\n\n").unwrap().headers(), false), Body::UntilEnd);
    }

    proptest! {
        #[test]
        fn chunks_in_any_cut(sizes in prop::collection::vec(1..300_usize, 0..6), cut in any::<prop::sample::Index>(), trailer: bool) {
            let mut stream = Vec::new();
            for size in &sizes {
                stream.extend(format!("{size:x};ext=\"1\"\r\n").bytes());
                stream.extend(vec![b'\n'; *size]);
                stream.extend(b"\r\n");
            }
            stream.extend(if trailer { &b"0\r\nA: b\r\n\r\n"[..] } else { b"0\r\n\r\n" });
            let end = stream.len();
            stream.extend(b"GET");
            let cut = cut.index(stream.len());
            let mut body = Body::Chunks(SIZE);
            let mut taken = body.feed(&stream[..cut]).unwrap();
            taken += body.feed(&stream[taken..]).unwrap();
            prop_assert_eq!((taken, body.is_over()), (end, true));
        }

        #[test]
        fn any_bytes_end(bytes: Vec<u8>) {
            let mut body = Body::Chunks(SIZE);
            if let Some(taken) = body.feed(&bytes) {
                prop_assert!(taken == bytes.len() || body.is_over());
            }
        }
    }
}
