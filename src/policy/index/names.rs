//! The suffix index: rules under the wire form of their name.
//!
//! Two parts, at about 38 octets a name of a million:
//!
//! | part | what |
//! |---|---|
//! | arena | an entry a rule: kind, class, line, name; a rule's number is its offset, so that one read verifies a match |
//! | [`Table`] | by the hash of a name: the offset of its entry, and whether longer names stand below |
//!
//! A look-up walks a name from the right and ends where nothing stands below, so most names that no rule mentions cost the
//! hash of two labels and one slot of the table. The text of names is kept, not a fingerprint: a decision is never wrong by
//! chance, and `check` needs no list at hand to show the rule.
//!
//! A wildcard rule stands under its *anchor*, the labels right of its last `*`, and is compared label by label when the
//! anchor is met. Rules under one key form a chain in the order of insertion, which is the order of precedence. A wildcard
//! whose last label holds a `*` has no anchor and is never met: the readers of lists refuse it.

use super::table::{Table, TableBuilder};
use crate::base::name::{Match, NameHasher, NameRef, Pattern, matches_as};
use crate::policy::rules::ClassId;
use hashbrown::HashTable;
use std::collections::HashMap;

/// Rules on names, found by suffix.
#[derive(Debug, Default)]
pub(in crate::policy) struct NameIndex {
    hasher: NameHasher,
    arena: Vec<u8>,
    len: usize,
    /// The first rule under each key while rules are added; gone once the index is sealed.
    heads: HashTable<u32>,
    /// The next rule under the same key; few rules share one.
    next: HashMap<u32, u32>,
    table: Table,
}

/// A rule that matches a name, and how exactly: more labels first, then more octets said literally.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Found {
    pub(in crate::policy) at: u32,
    pub(in crate::policy) class: ClassId,
    pub(in crate::policy) closeness: (u8, u8),
}

/// A rule as it stands in the arena.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Entry<'a> {
    pub(in crate::policy) kind: Match,
    pub(in crate::policy) class: ClassId,
    pub(in crate::policy) line: u32,
    pub(in crate::policy) name: NameRef<'a>,
}

/// Octets before the name: kind and chain mark, class, line.
const HEADER_OCTETS: usize = 6;
/// The largest line that an entry can tell; later ones are told as this one.
const LINE_MAX: u32 = 0x00ff_ffff;
/// Set in an entry's first octet when other rules share its key.
const CHAINED: u8 = 0x80;
/// Octets of the arena: offsets are 31 bits wide.
const ARENA_OCTETS_MAX: usize = 1 << 31;

impl NameIndex {
    pub(in crate::policy) fn hash(&self, name: NameRef<'_>) -> u64 {
        self.hasher.hash(name)
    }

    /// How many rules there are.
    pub(in crate::policy) const fn len(&self) -> usize {
        self.len
    }

    /// Adds a rule; `None` when the arena is full. A rule that the same class says twice counts once.
    pub(in crate::policy) fn insert(&mut self, class: ClassId, pattern: &Pattern, line: u32) -> Option<()> {
        let key = key_of(pattern.name(), pattern.kind());
        let hash = self.hasher.hash(key);
        let Some(&head) = self.heads.find(hash, |&head| self.key_is(head, key)) else {
            let at = self.store(class, pattern, line)?;
            let Self { heads, arena, hasher, .. } = self;
            heads.insert_unique(hash, at, |&head| {
                read(arena, head).map_or(0, |entry| hasher.hash(key_of(entry.name, entry.kind)))
            });
            return Some(());
        };
        let mut last = head;
        loop {
            let entry = read(&self.arena, last)?;
            if entry.class == class && entry.kind == pattern.kind() && entry.name == pattern.name() {
                return Some(());
            }
            match self.next.get(&last) {
                Some(&next) => last = next,
                None => break,
            }
        }
        let at = self.store(class, pattern, line)?;
        self.next.insert(last, at);
        *self.arena.get_mut(last as usize)? |= CHAINED;
        Some(())
    }

    /// The rule of a class that says exactly this, as long as rules are added.
    pub(in crate::policy) fn position(&self, class: ClassId, pattern: &Pattern) -> Option<u32> {
        let key = key_of(pattern.name(), pattern.kind());
        let mut at = *self.heads.find(self.hasher.hash(key), |&head| self.key_is(head, key))?;
        loop {
            let entry = read(&self.arena, at)?;
            if entry.class == class && entry.kind == pattern.kind() && entry.name == pattern.name() {
                return Some(at);
            }
            at = *self.next.get(&at)?;
        }
    }

    /// Ends the building: makes the table, and gives back what growth held in reserve.
    pub(in crate::policy) fn seal(&mut self) {
        self.arena.shrink_to_fit();
        let heads = std::mem::take(&mut self.heads);
        let mut table = TableBuilder::for_entries(heads.len());
        for &head in &heads {
            let Some(entry) = read(&self.arena, head) else { continue };
            let key = key_of(entry.name, entry.kind);
            table.entry(self.hasher.hash(key), head);
            self.hashes_above(key, |hash| table.above(hash));
        }
        drop(heads);
        self.table = table.finish();
    }

    /// The hashes of the names above a key, the shortest first.
    fn hashes_above(&self, key: NameRef<'_>, mut each: impl FnMut(u64)) {
        let mut hash = NameHasher::ROOT;
        let mut suffixes = key.suffixes();
        while let Some(suffix) = suffixes.next() {
            if suffixes.is_empty() {
                return;
            }
            hash = self.hasher.child(hash, suffix.first_label());
            each(hash);
        }
    }

    /// Octets held.
    pub(in crate::policy) fn bytes(&self) -> usize {
        let chains = self.next.capacity() * size_of::<(u32, u32)>();
        self.arena.capacity() + self.heads.allocation_size() + chains + self.table.bytes()
    }

    /// Every rule that matches a name, those under the shortest key first.
    #[inline]
    pub(in crate::policy) fn find(&self, name: NameRef<'_>, mut each: impl FnMut(Found)) {
        let mut hash = NameHasher::ROOT;
        for (labels, suffix) in (1..).zip(name.suffixes()) {
            hash = self.hasher.child(hash, suffix.first_label());
            let mut above = false;
            self.table.find(hash, |slot| {
                above |= slot.is_above();
                if let Some(head) = slot.entry()
                    && self.key_is(head, suffix)
                {
                    self.chain(head, (name, suffix, labels), &mut each);
                }
            });
            if !above {
                return;
            }
        }
    }

    /// The rules under one key that match.
    fn chain(&self, head: u32, (name, suffix, labels): (NameRef<'_>, NameRef<'_>, u8), each: &mut impl FnMut(Found)) {
        let literal = suffix.as_wire().len() - usize::from(labels) - 1;
        let plain = (labels, u8::try_from(literal).unwrap_or(u8::MAX));
        let mut at = head;
        loop {
            let Some((kind, class)) = self.header(at) else { return };
            let closeness = match kind {
                Match::Exact if suffix.as_wire().len() != name.as_wire().len() => None,
                Match::Exact | Match::Suffix => Some(plain),
                Match::Wildcard => read(&self.arena, at)
                    .filter(|entry| matches_as(entry.name, Match::Wildcard, name))
                    .map(|entry| closeness(entry.name)),
            };
            if let Some(closeness) = closeness {
                each(Found { at, class, closeness });
            }
            let chained = self.arena.get(at as usize).is_some_and(|first| first & CHAINED != 0);
            match chained.then(|| self.next.get(&at)).flatten() {
                Some(&next) => at = next,
                None => return,
            }
        }
    }

    /// Kind and class of an entry.
    #[inline]
    fn header(&self, at: u32) -> Option<(Match, ClassId)> {
        let &[kind, high, low] = self.arena.get(at as usize..)?.first_chunk()?;
        Some((*Match::ALL.get(usize::from(kind & !CHAINED))?, ClassId(u16::from_be_bytes([high, low]))))
    }

    /// A rule by its number.
    pub(in crate::policy) fn get(&self, at: u32) -> Option<Entry<'_>> {
        read(&self.arena, at)
    }

    /// Every rule with its number, in the order of insertion.
    pub(in crate::policy) fn iter(&self) -> impl Iterator<Item = (u32, Entry<'_>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let entry = read(&self.arena, at)?;
            let this = at;
            at += u32::try_from(HEADER_OCTETS + entry.name.as_wire().len()).ok()?;
            Some((this, entry))
        })
    }

    /// Puts an entry into the arena.
    fn store(&mut self, class: ClassId, pattern: &Pattern, line: u32) -> Option<u32> {
        let at = u32::try_from(self.arena.len()).ok().filter(|&at| (at as usize) < ARENA_OCTETS_MAX)?;
        let kind =
            Match::ALL.iter().position(|kind| *kind == pattern.kind()).and_then(|kind| u8::try_from(kind).ok())?;
        let [_, line @ ..] = line.min(LINE_MAX).to_be_bytes();
        self.arena.push(kind);
        self.arena.extend_from_slice(&class.0.to_be_bytes());
        self.arena.extend_from_slice(&line);
        self.arena.extend_from_slice(pattern.name().as_wire());
        self.len += 1;
        Some(at)
    }

    /// Whether the entry at `head` stands under a key. The key ends with its root label, so that an entry's name that
    /// starts with it is it.
    #[inline]
    fn key_is(&self, head: u32, key: NameRef<'_>) -> bool {
        let Some(entry) = self.arena.get(head as usize..) else { return false };
        let Some((header, name)) = entry.split_at_checked(HEADER_OCTETS) else { return false };
        match header.first().map(|first| first & !CHAINED) {
            Some(kind) if usize::from(kind) == Match::Wildcard as usize => {
                read(&self.arena, head).is_some_and(|entry| key_of(entry.name, entry.kind) == key)
            }
            _ => name.starts_with(key.as_wire()),
        }
    }
}

/// The entry at an offset.
#[inline]
fn read(arena: &[u8], at: u32) -> Option<Entry<'_>> {
    let (header, rest) = arena.get(at as usize..)?.split_at_checked(HEADER_OCTETS)?;
    let &[kind, class_high, class_low, line_high, line_mid, line_low] = header else { return None };
    Some(Entry {
        kind: *Match::ALL.get(usize::from(kind & !CHAINED))?,
        class: ClassId(u16::from_be_bytes([class_high, class_low])),
        line: u32::from_be_bytes([0, line_high, line_mid, line_low]),
        name: NameRef::prefix_of(rest)?,
    })
}

/// What a rule stands under: its name, or for a wildcard its anchor.
pub(in crate::policy) fn key_of(name: NameRef<'_>, kind: Match) -> NameRef<'_> {
    if kind == Match::Wildcard { anchor(name) } else { name }
}

/// The labels right of a wildcard's last `*`.
pub(in crate::policy) fn anchor(name: NameRef<'_>) -> NameRef<'_> {
    let literal = |suffix: &NameRef<'_>| !suffix.first_label().contains(&b'*');
    name.suffixes().take_while(literal).last().unwrap_or(NameRef::ROOT)
}

/// How exactly a name with or without stars speaks: more labels first, then more octets said literally.
pub(in crate::policy) fn closeness(name: NameRef<'_>) -> (u8, u8) {
    let (mut labels, mut literal) = (0_u8, 0_u8);
    for label in name.labels() {
        labels = labels.saturating_add(1);
        let said = label.iter().filter(|&&octet| octet != b'*').count();
        literal = literal.saturating_add(u8::try_from(said).unwrap_or(u8::MAX));
    }
    (labels, literal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::name::Name;
    use proptest::prelude::*;

    fn found(index: &NameIndex, name: &str) -> Vec<String> {
        let name: Name = name.parse().unwrap();
        let mut all = Vec::new();
        index.find(name.as_ref(), |found| all.push(index.get(found.at).unwrap().name.to_string()));
        all
    }

    #[test]
    fn a_wildcard_stands_under_its_anchor() {
        let mut index = NameIndex::default();
        for (text, kind) in [
            ("x.com", Match::Suffix),
            ("b.x.com", Match::Suffix),
            ("a.*.x.com", Match::Wildcard),
            ("k-*.x.com", Match::Wildcard),
        ] {
            index.insert(ClassId(0), &Pattern::parse(text, kind).unwrap(), 1).unwrap();
        }
        index.seal();
        assert_eq!(found(&index, "a.b.x.com"), ["x.com", "a.*.x.com", "b.x.com"]);
        assert_eq!(found(&index, "k-1.x.com"), ["x.com", "k-*.x.com"]);
        assert_eq!(found(&index, "com"), [] as [&str; 0]);
    }

    #[test]
    fn an_entry_keeps_its_class_and_its_line_and_says_a_thing_once() {
        let mut index = NameIndex::default();
        let pattern = Pattern::parse("a.example", Match::Exact).unwrap();
        for (class, line) in [(0x1234, 70_000), (0x1234, 70_001), (7, u32::MAX)] {
            index.insert(ClassId(class), &pattern, line).unwrap();
        }
        let all: Vec<_> = index.iter().map(|(_, entry)| (entry.class.0, entry.line, entry.kind)).collect();
        assert_eq!(all, [(0x1234, 70_000, Match::Exact), (7, LINE_MAX, Match::Exact)]);
        assert_eq!(index.len(), 2);
    }

    proptest! {
        /// Against a list of patterns walked one by one.
        #[test]
        fn agrees_with_a_list(
            rules in prop::collection::vec(("[ab*]{1,2}(\\.[ab*]{1,2}){0,3}", 0..3_usize), 0..30),
            names in prop::collection::vec("[ab]{1,2}(\\.[ab]{1,2}){0,4}", 1..20),
        ) {
            let mut index = NameIndex::default();
            let mut list = Vec::new();
            for (text, kind) in &rules {
                let kind = Match::ALL[*kind];
                let Ok(pattern) = Pattern::parse(text, kind) else { continue };
                if key_of(pattern.name(), kind).is_root() {
                    continue;
                }
                // Each rule in a class of its own: the same rule of one class would count once.
                index.insert(ClassId(u16::try_from(list.len()).unwrap()), &pattern, 1).unwrap();
                list.push(pattern);
            }
            index.seal();
            for name in &names {
                let parsed: Name = name.parse().unwrap();
                let mut have = Vec::new();
                index.find(parsed.as_ref(), |found| have.push(found.class.0));
                have.sort_unstable();
                let matching = (0..).zip(&list).filter(|(_, rule)| rule.matches(parsed.as_ref()));
                prop_assert_eq!(have, matching.map(|(at, _)| at).collect::<Vec<u16>>());
            }
        }
    }
}
