//! Domain names in wire form (RFC 1035 §3.1), lower-cased, so that equality is octet equality.
//!
//! | type | what |
//! |---|---|
//! | [`NameRef`] | a borrowed name; what look-ups take |
//! | [`Name`] | an owned name on the heap; what rules and settings hold |
//! | [`NameBuf`] | a name on the stack, filled from untrusted bytes without allocation; what the hot path holds |
//! | [`Pattern`] | what a rule matches: exact, suffix or wildcard |
//! | [`Packed`] | a name in less room; what the index of rules keeps |
//! | [`NameHasher`] | keyed hashes, built label by label from the right |
//!
//! All of them keep one invariant: a sequence of labels of 1 to 63 octets ended by the root label, 255 octets at most,
//! A–Z never present.

mod hash;
mod packed;
mod pattern;
mod text;

pub use hash::{NameHasher, Suffixes};
pub use packed::Packed;
pub(crate) use packed::pack;
pub(crate) use pattern::matches_as;
pub use pattern::{Match, Pattern};
pub use text::NameError;

use std::borrow::Borrow;
use std::fmt;

/// Octets of the longest name, root label included (RFC 1035 §2.3.4).
pub const NAME_OCTETS_MAX: usize = 255;
/// Octets of the longest label.
pub const LABEL_OCTETS_MAX: usize = 63;
/// Labels of the longest name, the root not counted.
pub const LABELS_MAX: usize = 127;

/// A borrowed, lower-cased, uncompressed wire-form name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameRef<'a>(&'a [u8]);

impl<'a> NameRef<'a> {
    /// The root name.
    pub const ROOT: NameRef<'static> = NameRef(&[0]);

    /// Takes bytes that are exactly one valid lower-case wire name.
    ///
    /// # Errors
    /// A sentence for the first thing that breaks the form.
    pub fn from_wire(octets: &'a [u8]) -> Result<Self, NameError> {
        if octets.len() > NAME_OCTETS_MAX {
            return Err(NameError::TooLong);
        }
        let mut rest = octets;
        loop {
            let (&len, tail) = rest.split_first().ok_or(NameError::Truncated)?;
            if len == 0 {
                return if tail.is_empty() { Ok(Self(octets)) } else { Err(NameError::Truncated) };
            }
            if usize::from(len) > LABEL_OCTETS_MAX {
                return Err(NameError::LabelTooLong);
            }
            let (label, tail) = tail.split_at_checked(usize::from(len)).ok_or(NameError::Truncated)?;
            if label.iter().any(u8::is_ascii_uppercase) {
                return Err(NameError::UpperCase);
            }
            rest = tail;
        }
    }

    /// The name that the octets start with; what follows its root label is left alone. `None` if there is none.
    #[must_use]
    pub(crate) fn prefix_of(octets: &'a [u8]) -> Option<Self> {
        let mut at = 0;
        loop {
            match usize::from(*octets.get(at)?) {
                0 => return octets.get(..=at).map(Self),
                len => at += 1 + len,
            }
        }
    }

    /// The name as wire octets, root label included.
    #[must_use]
    pub const fn as_wire(self) -> &'a [u8] {
        self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub const fn is_root(self) -> bool {
        self.0.len() <= 1
    }

    /// The labels from the left, the root label left out.
    #[must_use]
    pub const fn labels(self) -> Labels<'a> {
        Labels(self.0)
    }

    /// The suffixes, the shortest first, the root left out.
    #[must_use]
    #[inline]
    pub fn suffixes(self) -> Suffixes<'a> {
        Suffixes::new(self)
    }

    /// The leftmost label; empty for the root.
    #[must_use]
    #[inline]
    pub fn first_label(self) -> &'a [u8] {
        match self.0.split_first() {
            Some((&len, rest)) => rest.get(..usize::from(len)).unwrap_or_default(),
            None => &[],
        }
    }

    /// How many labels there are, the root not counted.
    #[must_use]
    pub fn label_count(self) -> usize {
        self.labels().count()
    }

    /// The name without its leftmost label; `None` for the root.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        let (&len, rest) = self.0.split_first()?;
        if len == 0 { None } else { rest.get(usize::from(len)..).map(Self) }
    }

    /// Whether this name is `other` or below it; label boundaries are exact.
    #[must_use]
    pub fn is_at_or_below(self, other: NameRef<'_>) -> bool {
        let mut at = Some(self);
        while let Some(name) = at {
            if name.0.len() <= other.0.len() {
                return name.0 == other.0;
            }
            at = name.parent();
        }
        false
    }

    /// An owned copy.
    #[must_use]
    pub fn to_name(self) -> Name {
        Name(self.0.into())
    }
}

impl fmt::Display for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(*self, f)
    }
}

impl fmt::Debug for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The labels of a name from the left; made by [`NameRef::labels`].
#[derive(Clone, Debug)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&len, rest) = self.0.split_first()?;
        if len == 0 {
            return None;
        }
        let (label, rest) = rest.split_at_checked(usize::from(len))?;
        self.0 = rest;
        Some(label)
    }
}

/// An owned, lower-cased wire-form name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The name, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> NameRef<'_> {
        NameRef(&self.0)
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_ref(), f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name on the stack, filled label by label from untrusted input; A–Z are lower-cased on the way in.
#[derive(Clone)]
pub struct NameBuf {
    octets: [u8; NAME_OCTETS_MAX],
    len: u8,
}

impl NameBuf {
    /// The root name.
    #[must_use]
    pub const fn new() -> Self {
        Self { octets: [0; NAME_OCTETS_MAX], len: 1 }
    }

    /// Appends a label on the right, before the root.
    ///
    /// # Errors
    /// An empty or over-long label, or a name that would pass 255 octets.
    pub fn push_label(&mut self, label: &[u8]) -> Result<(), NameError> {
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if label.len() > LABEL_OCTETS_MAX {
            return Err(NameError::LabelTooLong);
        }
        let at = usize::from(self.len) - 1;
        let end = at + 1 + label.len();
        if end >= NAME_OCTETS_MAX {
            return Err(NameError::TooLong);
        }
        let into = self.octets.get_mut(at..=end).ok_or(NameError::TooLong)?;
        if let [len, body @ .., root] = into {
            *len = u8::try_from(label.len()).map_err(|_| NameError::LabelTooLong)?;
            body.copy_from_slice(label);
            body.make_ascii_lowercase();
            *root = 0;
        }
        self.len = u8::try_from(end + 1).map_err(|_| NameError::TooLong)?;
        Ok(())
    }

    /// The name, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> NameRef<'_> {
        self.octets.get(..usize::from(self.len)).map_or(NameRef::ROOT, NameRef)
    }

    /// Forgets all labels.
    pub fn clear(&mut self) {
        self.octets[0] = 0;
        self.len = 1;
    }
}

impl Default for NameBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl From<NameRef<'_>> for NameBuf {
    fn from(name: NameRef<'_>) -> Self {
        let mut buf = Self::new();
        if let Some(into) = buf.octets.get_mut(..name.0.len()) {
            into.copy_from_slice(name.0);
            buf.len = u8::try_from(name.0.len()).unwrap_or(1);
        }
        buf
    }
}

impl fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_ref(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn label_boundaries_are_exact() {
        let listed = name("kaspersky.com");
        for (text, below) in [
            ("kaspersky.com", true),
            ("a.b.kaspersky.com", true),
            ("notkaspersky.com", false),
            ("kaspersky.com.example", false),
            ("com", false),
            (".", false),
        ] {
            assert_eq!(name(text).as_ref().is_at_or_below(listed.as_ref()), below, "{text}");
        }
        assert!(listed.as_ref().is_at_or_below(NameRef::ROOT));
    }

    #[test]
    fn a_label_with_a_dot_in_it_is_not_two_labels() {
        let tricky = NameRef::from_wire(b"\x0dwww\\.kaspersk\x03com\0").is_ok();
        assert!(tricky);
        let dotted = NameRef::from_wire(b"\x0dkaspersky.com\0").unwrap();
        assert_eq!(dotted.label_count(), 1);
        assert!(!dotted.is_at_or_below(name("kaspersky.com").as_ref()));
        assert_eq!(dotted.to_string(), "kaspersky\\.com");
    }

    #[test]
    fn buffer_takes_255_octets_and_no_more() {
        let mut buf = NameBuf::new();
        for _ in 0..3 {
            buf.push_label(&[b'A'; 63]).unwrap();
        }
        assert_eq!(buf.push_label(&[b'a'; 62]), Err(NameError::TooLong));
        buf.push_label(&[b'a'; 61]).unwrap();
        assert_eq!(buf.as_ref().as_wire().len(), NAME_OCTETS_MAX);
        assert!(NameRef::from_wire(buf.as_ref().as_wire()).is_ok());
    }

    #[test]
    fn malformed_wire_is_refused() {
        for (wire, error) in [
            (&b""[..], NameError::Truncated),
            (b"\x03ab", NameError::Truncated),
            (b"\x01a", NameError::Truncated),
            (b"\x01a\0x", NameError::Truncated),
            (b"\x40", NameError::LabelTooLong),
            (b"\x01A\0", NameError::UpperCase),
        ] {
            assert_eq!(NameRef::from_wire(wire), Err(error), "{wire:?}");
        }
    }
}
