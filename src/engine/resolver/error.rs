//! Extended DNS errors (RFC 8914) as whole options, as answers are kept with them.

use crate::base::wire::dns::{AnswerFault, Record, Section, ede, rtype};
use crate::base::wire::{Reader, Short};

/// Octets of text that are passed on; an error whose text is longer loses it.
const TEXT_OCTETS_MAX: usize = 128;

/// The option of an expired answer.
pub(super) const STALE: [u8; 6] = bare(ede::STALE_ANSWER);
/// The option of an expired answer that the name does not exist.
pub(super) const STALE_NXDOMAIN: [u8; 6] = bare(ede::STALE_NXDOMAIN);

const fn bare(code: u16) -> [u8; 6] {
    let ([a, b], [c, d]) = (ede::OPTION.to_be_bytes(), code.to_be_bytes());
    [a, b, 0, 2, c, d]
}

/// An error with its text.
pub(super) fn option(code: u16, text: &[u8]) -> Box<[u8]> {
    let len = u16::try_from(text.len() + 2).unwrap_or(2).to_be_bytes();
    [&ede::OPTION.to_be_bytes()[..], &len, &code.to_be_bytes(), text].concat().into()
}

/// The code of an option made here.
pub(super) fn code(option: &[u8]) -> Option<u16> {
    let mut reader = Reader::new(option);
    reader.take(4).ok()?;
    reader.u16().ok()
}

/// Whether a code says that data failed validation, or could not pass it.
pub(super) const fn is_bogus(code: u16) -> bool {
    matches!(code, 1 | 2 | 5..=12 | 25 | 27)
}

/// The first error in the OPT of a response.
pub(super) fn of(records: &[Record<'_>]) -> Result<Option<Box<[u8]>>, AnswerFault> {
    let opt = records.iter().find(|record| record.section == Section::Additional && record.rtype == rtype::OPT);
    Ok(opt.map(|opt| first(opt.data())).transpose()?.flatten())
}

fn first(options: &[u8]) -> Result<Option<Box<[u8]>>, Short> {
    let mut options = Reader::new(options);
    while !options.is_empty() {
        let (kind, len) = (options.u16()?, options.u16()?);
        let mut data = options.sub(usize::from(len))?;
        if kind == ede::OPTION {
            let code = data.u16()?;
            let text = data.rest();
            return Ok(Some(option(code, if text.len() <= TEXT_OCTETS_MAX { text } else { &[] })));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_taken_with_its_text_unless_that_is_long() {
        let long = option(9, &[b'x'; 200]);
        for (options, expected) in [
            (&b""[..], None),
            (b"\0\x0a\0\x01x", None),
            (b"\0\x0a\0\x01x\0\x0f\0\x04\0\x06no\0\x0f\0\x02\0\x07", Some(&b"\0\x0f\0\x04\0\x06no"[..])),
            (&long, Some(b"\0\x0f\0\x02\0\x09")),
        ] {
            assert_eq!(first(options).unwrap().as_deref(), expected, "{options:?}");
        }
        for broken in [&b"\0"[..], b"\0\x0f\0\x09x", b"\0\x0f\0\x01x"] {
            assert!(first(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn bogus_is_what_validation_says() {
        assert_eq!(code(&option(6, b"bad")), Some(6));
        assert_eq!(code(b""), None);
        assert!([1, 6, 9, 12].into_iter().all(is_bogus) && [0, 3, 13, 22, 23].into_iter().all(|code| !is_bogus(code)));
    }
}
