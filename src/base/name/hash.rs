//! Keyed hashes of names, built label by label from the right.
//!
//! The name index is asked for the suffixes of a name. Hashing each of them apart would read a name of n labels n times;
//! here each label is read once and folded onto the hash of what stands right of it.

use super::NameRef;
use foldhash::quality::RandomState;
use std::hash::{BuildHasher, Hasher};

/// The key of all name hashes of one table; random per process, so that nobody outside can choose names that collide.
#[derive(Clone, Debug, Default)]
pub struct NameHasher(RandomState);

impl NameHasher {
    /// The hash of the root.
    pub const ROOT: u64 = 0;

    /// The hash of a name whose parent's hash is known.
    #[must_use]
    #[inline]
    pub fn child(&self, parent: u64, label: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write_u64(parent);
        hasher.write(label);
        hasher.finish()
    }

    /// The hash of a whole name.
    #[must_use]
    pub fn hash(&self, name: NameRef<'_>) -> u64 {
        name.suffixes().fold(Self::ROOT, |parent, suffix| self.child(parent, suffix.first_label()))
    }
}

/// Labels whose places fit into a register.
const PACKED_MAX: u8 = 8;

/// The suffixes of a name, the shortest first, the root left out; made by [`NameRef::suffixes`].
///
/// Lengths stand left of labels, so that a name can only be walked from the left: where its labels begin is kept an octet each,
/// the last ones lowest. Names of more labels than fit are walked again.
#[derive(Clone, Debug)]
pub struct Suffixes<'a> {
    wire: &'a [u8],
    packed: u64,
    held: u8,
    /// Where the last suffix began; all is given out when that was the first octet.
    end: usize,
}

impl<'a> Suffixes<'a> {
    #[inline]
    pub(super) const fn new(name: NameRef<'a>) -> Self {
        let wire = name.as_wire();
        Self { wire, packed: 0, held: 0, end: wire.len().saturating_sub(1) }
    }

    /// Walks up to what was given out last.
    #[inline]
    fn walk(&mut self) {
        let mut at = 0;
        while let Some(&len) = self.wire.get(at).filter(|_| at < self.end) {
            self.packed = self.packed << u8::BITS | at as u64;
            self.held = PACKED_MAX.min(self.held + 1);
            at += 1 + usize::from(len);
        }
    }
}

impl Suffixes<'_> {
    /// Whether there is none left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.end == 0
    }
}

impl<'a> Iterator for Suffixes<'a> {
    type Item = NameRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<NameRef<'a>> {
        if self.held == 0 {
            self.walk();
        }
        self.held = self.held.checked_sub(1)?;
        self.end = (self.packed & 0xff) as usize;
        self.packed >>= u8::BITS;
        self.wire.get(self.end..).map(NameRef)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LABELS_MAX, Name};
    use super::*;

    #[test]
    fn a_suffix_hashes_as_the_name_that_it_is() {
        let hasher = NameHasher::default();
        let name: Name = "a.bb.ccc.example".parse().unwrap();
        let mut parent = NameHasher::ROOT;
        let mut seen = Vec::new();
        for suffix in name.as_ref().suffixes() {
            parent = hasher.child(parent, suffix.first_label());
            assert_eq!(hasher.hash(suffix), parent, "{suffix}");
            seen.push(suffix.to_string());
        }
        assert_eq!(seen, ["example", "ccc.example", "bb.ccc.example", "a.bb.ccc.example"]);
        assert_eq!(NameRef::ROOT.suffixes().count(), 0);
    }

    #[test]
    fn label_borders_count() {
        let hasher = NameHasher::default();
        let one: Name = "ab.c".parse().unwrap();
        let two: Name = "a.bc".parse().unwrap();
        assert_ne!(hasher.hash(one.as_ref()), hasher.hash(two.as_ref()));
    }

    #[test]
    fn the_longest_name_has_all_its_suffixes() {
        let text = vec!["a"; LABELS_MAX].join(".");
        let name: Name = text.parse().unwrap();
        let suffixes: Vec<String> = name.as_ref().suffixes().map(|suffix| suffix.to_string()).collect();
        let expected: Vec<&str> = (0..LABELS_MAX).rev().filter_map(|at| text.get(2 * at..)).collect();
        assert_eq!(suffixes, expected);
    }
}
