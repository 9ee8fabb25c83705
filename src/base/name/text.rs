//! Presentation form of names (RFC 1035 §5.1): `\.` and `\DDD` escapes in, `\DDD` for everything unprintable out.

use super::{LABEL_OCTETS_MAX, Name, NameBuf, NameRef};
use std::fmt::{self, Write as _};
use std::str::FromStr;

/// Why text or bytes are not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Two dots in a row, or no text at all.
    #[error("a label of the name is empty")]
    EmptyLabel,
    /// More than 63 octets between two dots.
    #[error("a label of the name is longer than 63 octets")]
    LabelTooLong,
    /// More than 255 octets in wire form.
    #[error("the name is longer than 255 octets")]
    TooLong,
    /// Bytes end inside a label, or go on after the root.
    #[error("the name's bytes do not end with its root label")]
    Truncated,
    /// An A–Z where lower case was promised.
    #[error("the name has upper-case letters")]
    UpperCase,
    /// A backslash that is neither `\DDD` up to 255 nor before a character.
    #[error("a backslash escape in the name is incomplete or above \\255")]
    BadEscape,
    /// A character that is no letter, digit, hyphen or underscore where a host name is wanted.
    #[error("the name holds {0:?}; only letters, digits, '-' and '_' may stand between its dots")]
    NotHost(char),
}

/// Whether an octet may stand in a host name: lists are read by the million.
const HOST: [bool; 256] = host_octets();

const fn host_octets() -> [bool; 256] {
    let mut octets = [false; 256];
    let mut octet = 0;
    #[expect(clippy::indexing_slicing, reason = "at compile time, and octets are below 256")]
    while octet < octets.len() {
        octets[octet] = (octet as u8).is_ascii_alphanumeric() || matches!(octet as u8, b'-' | b'_' | b'.');
        octet += 1;
    }
    octets
}

impl Name {
    /// Reads a host name as lists and config files write it: letters, digits, `-` and `_`, one trailing dot allowed.
    /// Names in other scripts are to be given in their `xn--` form.
    ///
    /// # Errors
    /// The first thing wrong with the text.
    pub fn parse_host(text: &str) -> Result<Self, NameError> {
        let mut buf = NameBuf::new();
        if text == "." {
            return Ok(buf.as_ref().to_name());
        }
        let is_host = |octet: u8| HOST.get(usize::from(octet)) == Some(&true);
        if !text.bytes().all(is_host) {
            let bad = text.chars().find(|c| !u8::try_from(*c).is_ok_and(is_host));
            return Err(NameError::NotHost(bad.unwrap_or('?')));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        text.as_bytes().split(|octet| *octet == b'.').try_for_each(|label| buf.push_label(label))?;
        Ok(buf.as_ref().to_name())
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads presentation form, trailing dot optional; `.` alone is the root.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut buf = NameBuf::new();
        if text == "." {
            return Ok(buf.as_ref().to_name());
        }
        let mut label = [0_u8; LABEL_OCTETS_MAX];
        let mut len = 0;
        let mut octets = text.bytes();
        let mut ended = false;
        while let Some(octet) = octets.next() {
            ended = octet == b'.';
            if ended {
                buf.push_label(label.get(..len).unwrap_or_default())?;
                len = 0;
                continue;
            }
            let octet = if octet == b'\\' { unescape(&mut octets)? } else { octet };
            *label.get_mut(len).ok_or(NameError::LabelTooLong)? = octet;
            len += 1;
        }
        if !ended {
            buf.push_label(label.get(..len).unwrap_or_default())?;
        }
        Ok(buf.as_ref().to_name())
    }
}

fn unescape(octets: &mut std::str::Bytes<'_>) -> Result<u8, NameError> {
    let first = octets.next().ok_or(NameError::BadEscape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = octets.next().filter(u8::is_ascii_digit).ok_or(NameError::BadEscape)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| NameError::BadEscape)
}

/// Writes presentation form without a trailing dot; the root is `.`. Nothing below 0x21 or above 0x7e comes out raw, so
/// no terminal, log or CSV reader can be steered by a name.
pub(super) fn write(name: NameRef<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if name.is_root() {
        return f.write_char('.');
    }
    for (i, label) in name.labels().enumerate() {
        if i > 0 {
            f.write_char('.')?;
        }
        for &octet in label {
            match octet {
                b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                    f.write_char('\\')?;
                    f.write_char(char::from(octet))?;
                }
                0x21..=0x7e => f.write_char(char::from(octet))?,
                _ => write!(f, "\\{octet:03}")?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_and_wire_agree() {
        for (text, shown) in
            [("Example.COM.", "example.com"), ("a\\.b.c", "a\\.b.c"), ("\\000\\255x", "\\000\\255x"), (".", ".")]
        {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn bad_text_is_refused() {
        for (text, error) in [
            ("", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a\\", NameError::BadEscape),
            ("\\25", NameError::BadEscape),
            ("\\256", NameError::BadEscape),
        ] {
            assert_eq!(text.parse::<Name>(), Err(error), "{text:?}");
        }
        assert_eq!(Name::parse_host("bücher.de"), Err(NameError::NotHost('ü')));
        assert_eq!(Name::parse_host("a b.de"), Err(NameError::NotHost(' ')));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..8)) {
            let mut buf = NameBuf::new();
            for label in &labels {
                buf.push_label(label).unwrap();
            }
            let shown = buf.as_ref().to_string();
            prop_assert!(shown.bytes().all(|b| (0x21..=0x7e).contains(&b)));
            let back: Name = shown.parse().unwrap();
            prop_assert_eq!(back.as_ref(), buf.as_ref());
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,300}") {
            if let Ok(name) = text.parse::<Name>() {
                prop_assert!(NameRef::from_wire(name.as_ref().as_wire()).is_ok());
            }
        }
    }
}
