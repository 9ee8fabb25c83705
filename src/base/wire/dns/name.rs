//! Names inside messages (RFC 1035 §4.1.4): compressed by whoever sent them, expanded here under fixed bounds.
//!
//! The pitfalls of RFC 9267 and what is done about each: a pointer must lead to before the run of labels that it ends, so that
//! expansion cannot loop; pointers are counted; label types 0x40 and 0x80 are refused; a name never passes 255 octets.

use crate::base::name::{NAME_OCTETS_MAX, NameBuf, NameError};
use crate::base::wire::{Reader, Short};

/// Pointers that are followed in one name.
const POINTERS_MAX: u8 = 126;
/// The two bits that mark a pointer.
const POINTER: u8 = 0xc0;

/// What is wrong with a name in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// It goes on past the end of the message.
    #[error("a name goes on past the end of the message")]
    Short,
    /// A pointer where none may stand, or one that does not lead backwards, or too many.
    #[error("a compression pointer in a name leads forwards, nowhere, or stands where none may")]
    Pointer,
    /// A label of a type that nobody uses (RFC 6891 §5).
    #[error("a label has an unknown type")]
    LabelType,
    /// More than 255 octets.
    #[error("a name is longer than 255 octets")]
    TooLong,
}

impl From<Short> for NameFault {
    fn from(_: Short) -> Self {
        Self::Short
    }
}

impl From<NameError> for NameFault {
    fn from(_: NameError) -> Self {
        Self::TooLong
    }
}

/// Steps over a name without following pointers.
pub(super) fn skip(reader: &mut Reader<'_>) -> Result<(), NameFault> {
    let start = reader.position();
    loop {
        let len = reader.u8()?;
        match len {
            0 => break,
            1..=63 => drop(reader.take(usize::from(len))?),
            POINTER.. => {
                reader.u8()?;
                break;
            }
            _ => return Err(NameFault::LabelType),
        }
    }
    // Both a root label and a pointer end a name; what stands before them may not pass the limit either.
    if reader.position() - start > NAME_OCTETS_MAX + 1 { Err(NameFault::TooLong) } else { Ok(()) }
}

/// Reads a name that may not be compressed: a question's, an SVCB target.
pub(super) fn read_plain(reader: &mut Reader<'_>) -> Result<NameBuf, NameFault> {
    let mut name = NameBuf::new();
    loop {
        let len = reader.u8()?;
        match len {
            0 => return Ok(name),
            1..=63 => name.push_label(reader.take(usize::from(len))?)?,
            POINTER.. => return Err(NameFault::Pointer),
            _ => return Err(NameFault::LabelType),
        }
    }
}

/// The labels of a perhaps compressed name, from the left, as they were written.
#[derive(Clone, Debug)]
pub(super) struct Labels<'a> {
    message: &'a [u8],
    reader: Reader<'a>,
    run: usize,
    pointers: u8,
}

impl<'a> Labels<'a> {
    /// The labels of the name at `at`.
    pub(super) const fn new(message: &'a [u8], at: usize) -> Self {
        Self { message, reader: Reader::starting_at(message, at), run: at, pointers: 0 }
    }

    /// The next label; `None` is the root.
    pub(super) fn next(&mut self) -> Result<Option<&'a [u8]>, NameFault> {
        loop {
            let len = self.reader.u8()?;
            match len {
                0 => return Ok(None),
                1..=63 => return Ok(Some(self.reader.take(usize::from(len))?)),
                POINTER.. => {
                    let target = usize::from(u16::from_be_bytes([len & !POINTER, self.reader.u8()?]));
                    self.pointers += 1;
                    if target >= self.run || self.pointers > POINTERS_MAX {
                        return Err(NameFault::Pointer);
                    }
                    self.run = target;
                    self.reader = Reader::starting_at(self.message, target);
                }
                _ => return Err(NameFault::LabelType),
            }
        }
    }
}

/// The name at `at`, expanded and lower-cased.
pub(super) fn expand(message: &[u8], at: usize) -> Result<NameBuf, NameFault> {
    let mut labels = Labels::new(message, at);
    let mut name = NameBuf::new();
    while let Some(label) = labels.next()? {
        name.push_label(label)?;
    }
    Ok(name)
}

/// The name at `at`, expanded, in the case in which it was written; uncompressed wire form.
pub(super) fn expand_raw(message: &[u8], at: usize) -> Result<Vec<u8>, NameFault> {
    let mut labels = Labels::new(message, at);
    let mut raw = Vec::with_capacity(64);
    while let Some(label) = labels.next()? {
        if raw.len() + label.len() + 2 > NAME_OCTETS_MAX {
            return Err(NameFault::TooLong);
        }
        raw.push(u8::try_from(label.len()).map_err(|_| NameFault::TooLong)?);
        raw.extend_from_slice(label);
    }
    raw.push(0);
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_lead_backwards_only() {
        //             0        3          7   9
        let message = b"\x01a\0\x01b\xc0\0\xc0\x03\xc0\x09";
        assert_eq!(expand(message, 3).unwrap().as_ref().to_string(), "b.a");
        assert_eq!(expand(message, 7).unwrap().as_ref().to_string(), "b.a");
        assert_eq!(expand(message, 9).unwrap_err(), NameFault::Pointer, "to itself");
        assert_eq!(expand(b"\xc0\x02\x01a\0", 0).unwrap_err(), NameFault::Pointer, "forwards");
        assert_eq!(expand(b"\x01a\xc0\0", 0).unwrap_err(), NameFault::Pointer, "into its own run");
        assert_eq!(expand(b"\x01a", 0).unwrap_err(), NameFault::Short);
        assert_eq!(expand(b"\x40a\0", 0).unwrap_err(), NameFault::LabelType);
        assert_eq!(expand(b"", 5).unwrap_err(), NameFault::Short);
    }

    #[test]
    fn many_pointers_and_long_names_end() {
        let mut message = vec![0_u8];
        for hop in 0..200_u16 {
            let target = if hop == 0 { 0 } else { (hop - 1) * 2 + 1 };
            message.extend((0xc000 | target).to_be_bytes());
        }
        assert!(expand(&message, 1 + 125 * 2).is_ok());
        assert_eq!(expand(&message, 1 + 126 * 2).unwrap_err(), NameFault::Pointer);
        // Each name is one more long label in front of the one before it.
        let mut message = vec![0_u8];
        let mut at = 0_u16;
        for _ in 0..5 {
            let next = u16::try_from(message.len()).unwrap();
            message.push(63);
            message.extend([b'x'; 63]);
            message.extend((0xc000 | at).to_be_bytes());
            at = next;
        }
        assert_eq!(expand(&message, usize::from(at)).unwrap_err(), NameFault::TooLong);
        assert_eq!(expand_raw(&message, usize::from(at)).unwrap_err(), NameFault::TooLong);
    }

    #[test]
    fn plain_names_hold_no_pointer() {
        assert_eq!(read_plain(&mut Reader::new(b"\x01A\x01b\0")).unwrap().as_ref().to_string(), "a.b");
        assert_eq!(read_plain(&mut Reader::new(b"\x01a\xc0\0")).unwrap_err(), NameFault::Pointer);
        assert_eq!(read_plain(&mut Reader::new(b"\x80")).unwrap_err(), NameFault::LabelType);
    }
}
