//! Names in five bits a character, as the index of rules keeps them: about two thirds of their text.
//!
//! | code | what |
//! |---|---|
//! | 0 | the end; what is missing of the last octet reads as zeros |
//! | 1–26 | `a`–`z` |
//! | 27 | a border between labels |
//! | 28 | `-` |
//! | 29 | a digit, `_` or `*`: five bits more |
//! | 30 | any octet: eight bits more |
//!
//! A name that would not become shorter stays in wire form. The same name is packed the same way always.

use super::{NAME_OCTETS_MAX, Name, NameBuf, NameRef};
use std::fmt;

/// Bits of a code.
const CODE_BITS: u32 = 5;
const BORDER: u64 = 27;
const HYPHEN: u64 = 28;
const OTHER: u64 = 29;
const RAW: u64 = 30;
/// What follows [`OTHER`] is a place here.
const OTHERS: [u8; 12] = *b"0123456789_*";

/// What a code stands for by itself, or 0.
const LETTERS: [u8; 32] = *b"\0abcdefghijklmnopqrstuvwxyz\0-\0\0\0";

/// For each octet its code, and how many bits that has.
const CODES: [(u16, u8); 256] = codes();

/// A name in packed form; made by `pack`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packed<'a> {
    octets: &'a [u8],
    is_wire: bool,
}

/// Appends a name in packed form; says whether it is its wire form.
pub(crate) fn pack(name: NameRef<'_>, into: &mut Vec<u8>) -> bool {
    let start = into.len();
    let (mut bits, mut held) = (0_u64, 0_u32);
    for (i, label) in name.labels().enumerate() {
        let border = (i > 0).then_some((BORDER as u16, CODE_BITS as u8));
        let octets = label.iter().filter_map(|&octet| CODES.get(usize::from(octet)).copied());
        for (code, width) in border.into_iter().chain(octets) {
            (bits, held) = (bits << width | u64::from(code), held + u32::from(width));
            if held >= u32::BITS {
                held -= u32::BITS;
                into.extend_from_slice(&((bits >> held) as u32).to_be_bytes());
            }
        }
    }
    let rest = ((bits << (u32::BITS - held)) as u32).to_be_bytes();
    into.extend(rest.iter().take(held.div_ceil(u8::BITS) as usize));
    let is_wire = into.len() - start >= name.as_wire().len();
    if is_wire {
        into.truncate(start);
        into.extend_from_slice(name.as_wire());
    }
    is_wire
}

impl<'a> Packed<'a> {
    /// What [`pack`] made.
    pub(crate) const fn new(octets: &'a [u8], is_wire: bool) -> Self {
        Self { octets, is_wire }
    }

    /// The name, on the heap.
    #[must_use]
    pub fn to_name(self) -> Name {
        self.unpack().as_ref().to_name()
    }

    /// The name.
    #[must_use]
    pub fn unpack(self) -> NameBuf {
        if self.is_wire {
            return NameRef(self.octets).into();
        }
        let mut bits = Bits { octets: self.octets, held: 0, bits: 0 };
        let mut octets = [0; NAME_OCTETS_MAX];
        // Where the length of the label stands, and where its next octet goes.
        let (mut length_at, mut at) = (0, 1);
        loop {
            let code = bits.take(CODE_BITS);
            let octet = match (LETTERS.get(code as usize), code) {
                (Some(&letter), _) if letter != 0 => letter,
                (_, BORDER) => {
                    close(&mut octets, length_at, at);
                    (length_at, at) = (at, at + 1);
                    continue;
                }
                (_, OTHER) => OTHERS.get(bits.take(CODE_BITS) as usize).copied().unwrap_or_default(),
                (_, RAW) => bits.take(u8::BITS) as u8,
                _ => break,
            };
            octets.get_mut(at).into_iter().for_each(|into| *into = octet);
            at += 1;
        }
        if at == 1 {
            return NameBuf::new();
        }
        close(&mut octets, length_at, at);
        NameBuf { octets, len: u8::try_from(at + 1).unwrap_or(u8::MAX) }
    }
}

impl fmt::Display for Packed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.unpack().as_ref(), f)
    }
}

impl fmt::Debug for Packed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes the length of a label that ends before `end`.
fn close(octets: &mut [u8; NAME_OCTETS_MAX], length_at: usize, end: usize) {
    let length = end.saturating_sub(length_at + 1);
    octets.get_mut(length_at).into_iter().for_each(|into| *into = u8::try_from(length).unwrap_or_default());
}

/// Bits from the first octet's highest on, then zeros.
struct Bits<'a> {
    octets: &'a [u8],
    bits: u64,
    held: u32,
}

impl Bits<'_> {
    #[inline]
    fn take(&mut self, width: u32) -> u64 {
        if self.held < width {
            let (now, later) = self.octets.split_at(self.octets.len().min(4));
            let mut four = [0; 4];
            four.iter_mut().zip(now).for_each(|(into, octet)| *into = *octet);
            self.bits = self.bits << u32::BITS | u64::from(u32::from_be_bytes(four));
            self.held += u32::BITS;
            self.octets = later;
        }
        self.held -= width;
        self.bits >> self.held & ((1 << width) - 1)
    }
}

const fn codes() -> [(u16, u8); 256] {
    let mut codes = [(0, 0); 256];
    let mut octet = 0;
    #[expect(clippy::indexing_slicing, reason = "at compile time, and octets are below 256")]
    while octet < codes.len() {
        codes[octet] = code(octet as u8);
        octet += 1;
    }
    codes
}

const fn code(octet: u8) -> (u16, u8) {
    let mut other = 0;
    #[expect(clippy::indexing_slicing, reason = "at compile time, and within the bound that the loop tests")]
    while other < OTHERS.len() {
        if OTHERS[other] == octet {
            return ((OTHER << CODE_BITS) as u16 | other as u16, 2 * CODE_BITS as u8);
        }
        other += 1;
    }
    match octet {
        b'a'..=b'z' => ((octet - b'a' + 1) as u16, CODE_BITS as u8),
        b'-' => (HYPHEN as u16, CODE_BITS as u8),
        _ => ((RAW << u8::BITS) as u16 | octet as u16, (CODE_BITS + u8::BITS) as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Name;
    use super::*;
    use proptest::prelude::*;

    fn packed(name: NameRef<'_>) -> (Vec<u8>, bool) {
        let mut octets = vec![7];
        let is_wire = pack(name, &mut octets);
        (octets.split_off(1), is_wire)
    }

    #[test]
    fn host_names_take_two_thirds_of_their_text() {
        for (text, octets) in [("ads.example.com", 10), ("a-1.example", 8), ("*.x_y.de", 7), (".", 0)] {
            let name: Name = text.parse().unwrap();
            let (have, is_wire) = packed(name.as_ref());
            assert_eq!((have.len(), is_wire), (octets, false), "{text}");
            assert_eq!(Packed::new(&have, is_wire).to_string(), text);
        }
    }

    #[test]
    fn what_would_not_become_shorter_stays_as_it_is() {
        let name = NameRef::from_wire(b"\x04\xff\xfe\xfd\xfc\x01~\0").unwrap();
        let (have, is_wire) = packed(name);
        assert_eq!((&*have, is_wire), (name.as_wire(), true));
    }

    proptest! {
        #[test]
        fn every_name_comes_back(
            labels in prop::collection::vec(prop::collection::vec(
                prop_oneof![Just(b'a'), Just(b'z'), Just(b'9'), Just(b'-'), Just(b'*'), Just(0), any::<u8>()], 1..64), 0..9),
        ) {
            let mut name = NameBuf::new();
            for label in &labels {
                let _ = name.push_label(label);
            }
            let (octets, is_wire) = packed(name.as_ref());
            prop_assert!(octets.len() <= name.as_ref().as_wire().len());
            let back = Packed::new(&octets, is_wire).unpack();
            prop_assert_eq!(back.as_ref(), name.as_ref());
        }

        /// Damaged octets are a name or another, and no panic.
        #[test]
        fn any_octets_are_read(octets in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Packed::new(&octets, false).to_string();
        }
    }
}
