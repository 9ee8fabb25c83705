//! One keyed hash per suffix of a name, computed from the right in one pass.
//!
//! The name index is asked for every suffix of a name. Hashing each of them apart would read a name of n labels n times;
//! here each label is read once and folded onto the hash of what stands right of it.

use super::{LABELS_MAX, NameRef};
use foldhash::quality::RandomState;
use std::hash::{BuildHasher, Hasher};

/// The key of all name hashes of one table; random per process, so that nobody outside can choose names that collide.
#[derive(Clone, Debug, Default)]
pub struct NameHasher(RandomState);

impl NameHasher {
    /// The hash of the root.
    const ROOT: u64 = 0;

    /// The hash of a name whose parent's hash is known.
    #[must_use]
    pub fn child(&self, parent: u64, label: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write_u64(parent);
        hasher.write(label);
        hasher.finish()
    }

    /// The hash of a whole name.
    #[must_use]
    pub fn hash(&self, name: NameRef<'_>) -> u64 {
        self.suffixes(name).full()
    }

    /// The hashes of all suffixes of a name.
    #[must_use]
    pub fn suffixes<'a>(&self, name: NameRef<'a>) -> SuffixHashes<'a> {
        let wire = name.as_wire();
        let mut offsets = [0_u8; LABELS_MAX + 1];
        let mut count = 0;
        let mut at = 0;
        while let Some(&len) = wire.get(at) {
            let Some(slot) = offsets.get_mut(count).filter(|_| len != 0) else { break };
            *slot = u8::try_from(at).unwrap_or(u8::MAX);
            count += 1;
            at += 1 + usize::from(len);
        }
        let mut hashes = [Self::ROOT; LABELS_MAX + 1];
        let mut parent = Self::ROOT;
        for (offset, slot) in offsets.iter().zip(&mut hashes).take(count).rev() {
            let from = usize::from(*offset);
            let len = wire.get(from).map_or(0, |&len| usize::from(len));
            parent = self.child(parent, wire.get(from + 1..from + 1 + len).unwrap_or_default());
            *slot = parent;
        }
        SuffixHashes { wire, offsets, hashes, count }
    }
}

/// The suffixes of a name with their hashes, from the whole name to its last label.
#[derive(Clone, Debug)]
pub struct SuffixHashes<'a> {
    wire: &'a [u8],
    offsets: [u8; LABELS_MAX + 1],
    hashes: [u64; LABELS_MAX + 1],
    count: usize,
}

impl<'a> SuffixHashes<'a> {
    /// The hash of the whole name.
    #[must_use]
    pub fn full(&self) -> u64 {
        if self.count == 0 { NameHasher::ROOT } else { self.hashes.first().copied().unwrap_or(NameHasher::ROOT) }
    }

    /// Each suffix, longest first, the root left out.
    pub fn iter(&self) -> impl Iterator<Item = (NameRef<'a>, u64)> + '_ {
        self.offsets
            .iter()
            .zip(&self.hashes)
            .take(self.count)
            .filter_map(|(&offset, &hash)| Some((NameRef(self.wire.get(usize::from(offset)..)?), hash)))
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
        let suffixes = hasher.suffixes(name.as_ref());
        let all: Vec<_> = suffixes.iter().collect();
        assert_eq!(all.len(), 4);
        for (suffix, hash) in all {
            assert_eq!(hasher.hash(suffix), hash, "{suffix}");
        }
        assert_eq!(hasher.suffixes(NameRef::ROOT).iter().count(), 0);
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
        assert_eq!(NameHasher::default().suffixes(name.as_ref()).iter().count(), LABELS_MAX);
    }
}
