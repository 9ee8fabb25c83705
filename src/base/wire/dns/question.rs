//! The questions of any message, as somebody who listens sees them: multicast, several at once, compressed, cut off.

use super::name::{self, Labels};
use super::{Header, NameFault};
use crate::base::name::NameBuf;
use crate::base::wire::Reader;

/// Questions of one message that are read.
const QUESTIONS_MAX: u16 = 64;

/// One question.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    message: &'a [u8],
    at: usize,
    /// The type that is asked for.
    pub qtype: u16,
    /// The class; multicast DNS uses its first bit for something else (RFC 6762 §5.4).
    pub qclass: u16,
}

impl Question<'_> {
    /// The name, expanded and lower-cased.
    ///
    /// # Errors
    /// It cannot be expanded.
    pub fn name(&self) -> Result<NameBuf, NameFault> {
        name::expand(self.message, self.at)
    }

    /// The first label as it stands there.
    #[must_use]
    pub fn first_label(&self) -> Option<&[u8]> {
        Labels::new(self.message, self.at).next().ok().flatten()
    }
}

/// The questions of a message in order; the first that cannot be read ends them. Made by [`Questions::read`].
#[derive(Clone, Debug)]
pub struct Questions<'a> {
    message: &'a [u8],
    reader: Reader<'a>,
    header: Header,
    left: u16,
}

impl<'a> Questions<'a> {
    /// Reads the header.
    #[must_use]
    pub fn read(message: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(message);
        let header = Header::read(&mut reader).ok()?;
        Some(Self { message, reader, header, left: header.questions.min(QUESTIONS_MAX) })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }
}

impl<'a> Iterator for Questions<'a> {
    type Item = Question<'a>;

    fn next(&mut self) -> Option<Question<'a>> {
        self.left = self.left.checked_sub(1)?;
        let at = self.reader.position();
        name::skip(&mut self.reader).ok()?;
        let question =
            Question { message: self.message, at, qtype: self.reader.u16().ok()?, qclass: self.reader.u16().ok()? };
        Some(question)
    }
}

/// A NetBIOS name out of its first label (RFC 1001 §14.1): its octets without padding, and what kind of name it is.
#[must_use]
pub fn netbios_name(label: &[u8]) -> Option<(Vec<u8>, u8)> {
    let (pairs, []) = label.as_chunks::<2>() else { return None };
    let mut octets = Vec::with_capacity(16);
    for [high, low] in pairs {
        let nibble = |letter: u8| letter.checked_sub(b'A').filter(|nibble| *nibble < 16);
        octets.push(nibble(*high)? << 4 | nibble(*low)?);
    }
    let kind = octets.pop().filter(|_| octets.len() == 15)?;
    let len = octets.iter().rposition(|octet| !matches!(octet, b' ' | 0)).map_or(0, |at| at + 1);
    octets.truncate(len);
    Some((octets, kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn several_questions_and_a_compressed_name() {
        let message = b"\0\0\0\0\0\x03\0\0\0\0\0\0\x05_Http\x05local\0\0\x0c\0\x01\x01a\xc0\x12\0\x01\x80\x01\x01b";
        let mut questions = Questions::read(message).unwrap();
        assert_eq!(questions.header().questions, 3);
        let first = questions.next().unwrap();
        assert_eq!((first.name().unwrap().as_ref().to_string().as_str(), first.qtype), ("_http.local", 12));
        assert_eq!(first.first_label(), Some(&b"_Http"[..]));
        let second = questions.next().unwrap();
        assert_eq!((second.name().unwrap().as_ref().to_string().as_str(), second.qclass), ("a.local", 0x8001));
        assert!(questions.next().is_none() && Questions::read(b"\0").is_none());
    }

    #[test]
    fn netbios_names() {
        let label = b"FIFDFEFCEFEBENFPEIFJCACACACACAAA";
        assert_eq!(netbios_name(label), Some((b"XSTREAM_HY".to_vec(), 0)));
        assert_eq!(netbios_name(b"CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), Some((b"*".to_vec(), 0)));
        assert!(netbios_name(b"www").is_none() && netbios_name(b"AA").is_none() && netbios_name(b"zz").is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Some(questions) = Questions::read(&bytes) {
                questions.for_each(|question| drop(question.name()));
            }
            let _ = netbios_name(&bytes);
        }
    }
}
