//! Keyed hashes of names, built label by label from the right.
//!
//! The name index is asked for the suffixes of a name. Hashing each of them apart would read a name of n labels n times;
//! here each label is read once and folded onto the hash of what stands right of it.

use super::{LABELS_MAX, NameRef};
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

/// The suffixes of a name, the shortest first, the root left out; made by [`NameRef::suffixes`].
#[derive(Clone, Debug)]
pub struct Suffixes<'a> {
    wire: &'a [u8],
    offsets: [u8; LABELS_MAX + 1],
    left: usize,
}

impl<'a> Suffixes<'a> {
    #[inline]
    pub(super) fn new(name: NameRef<'a>) -> Self {
        let wire = name.as_wire();
        let mut offsets = [0_u8; LABELS_MAX + 1];
        let mut left = 0;
        let mut at = 0;
        while let Some(&len) = wire.get(at) {
            let Some(slot) = offsets.get_mut(left).filter(|_| len != 0) else { break };
            *slot = u8::try_from(at).unwrap_or(u8::MAX);
            left += 1;
            at += 1 + usize::from(len);
        }
        Self { wire, offsets, left }
    }
}

impl Suffixes<'_> {
    /// Whether there is none left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Suffixes<'a> {
    type Item = NameRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<NameRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        let from = usize::from(*self.offsets.get(self.left)?);
        self.wire.get(from..).map(NameRef)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Name;
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
        assert_eq!(name.as_ref().suffixes().count(), LABELS_MAX);
    }
}
