//! The suffix index: rules under the wire form of their name.
//!
//! Three parts, at about 41 octets a name of a million:
//!
//! | part | what | octets |
//! |---|---|---|
//! | [`Filter`] | by the hash of a name: whether a rule, or a longer name, may stand there; stays in the cache | 2 |
//! | [`Table`] | by the hash of a name: number and class of its rule | 16 |
//! | arena | an entry a rule: kind, class, line, name; a rule's number is its offset | 6 and the name |
//!
//! A look-up walks a name from the right and ends where nothing stands below, so most names that no rule mentions cost the
//! hash of two labels and one word of the filter.
//!
//! What the table finds is known by a keyed fingerprint: 48 bits of the hash, in the five slots of the bucket that its other
//! bits chose. So a name that no rule mentions is taken for another one about once in 5 × 10¹³ reads of the table, to which the
//! filter lets one such name in fifty; nobody who does not know the process's key can look for one. Reading the text as well
//! would cost a blocked name a second wait for memory, which is most of its time. Where two listed names share a fingerprint,
//! which building the table finds out, and for wildcards and names with several rules the text decides. It is kept in memory, so
//! that `check` and the ledger need no list at hand to show a rule.
//!
//! A wildcard rule stands under its *anchor*, the labels right of its last `*`, and is compared label by label when the
//! anchor is met. Rules under one key form a chain in the order of insertion, which is the order of precedence. A wildcard
//! whose last label holds a `*` has no anchor and is never met: the readers of lists refuse it.

use super::filter::Filter;
use super::table::{Read, Slot, Table};
use crate::base::name::{Match, NameHasher, NameRef, Pattern, matches_as};
use crate::policy::rules::ClassId;
use hashbrown::HashTable;
use std::collections::{HashMap, HashSet};

/// Rules on names, found by suffix.
#[derive(Debug, Default)]
pub(in crate::policy) struct NameIndex {
    hasher: NameHasher,
    arena: Vec<u8>,
    len: usize,
    /// The first rule under each key while rules are added, with half of its hash, so that growing reads no names; gone once the
    /// index is sealed.
    heads: HashTable<(u32, u32)>,
    /// The next rule under the same key; few rules share one.
    next: HashMap<u32, u32>,
    filter: Filter,
    table: Table,
    /// Labels of the shortest key: nothing is asked about shorter names.
    shallowest: u8,
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
        let half = half(self.hasher.hash(key));
        let Some(head) = self.head(half, key) else {
            let at = self.store(class, pattern, line)?;
            self.heads.insert_unique(spread(half), (half, at), |&(half, _)| spread(half));
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
        let mut at = self.head(half(self.hasher.hash(key)), key)?;
        loop {
            let entry = read(&self.arena, at)?;
            if entry.class == class && entry.kind == pattern.kind() && entry.name == pattern.name() {
                return Some(at);
            }
            at = *self.next.get(&at)?;
        }
    }

    /// The first rule under a key, as long as rules are added.
    fn head(&self, half: u32, key: NameRef<'_>) -> Option<u32> {
        let is_it = |&(of, head): &(u32, u32)| of == half && self.key_is(head, key);
        self.heads.find(spread(half), is_it).map(|&(_, head)| head)
    }

    /// Ends the building: makes filter and table, and gives back what growth held in reserve.
    pub(in crate::policy) fn seal(&mut self) {
        self.heads = HashTable::new();
        self.arena.shrink_to_fit();
        let behind: HashSet<u32> = self.next.values().copied().collect();
        let keys = self.len - behind.len();
        let (mut filter, mut table, mut shallowest) = (Filter::for_entries(keys), Table::for_entries(keys), u8::MAX);
        for (at, entry) in self.iter().filter(|(at, _)| !behind.contains(at)) {
            let mut hash = NameHasher::ROOT;
            let mut suffixes = key_of(entry.name, entry.kind).suffixes();
            let mut labels = 0;
            while let Some(suffix) = suffixes.next() {
                hash = self.hasher.child(hash, suffix.first_label());
                labels += 1;
                if !suffixes.is_empty() {
                    filter.above(hash);
                }
            }
            filter.entry(hash);
            table.insert(hash, self.slot(at, entry));
            shallowest = shallowest.min(labels);
        }
        (self.filter, self.table, self.shallowest) = (filter, table, shallowest);
    }

    /// Octets held.
    pub(in crate::policy) fn bytes(&self) -> usize {
        let chains = self.next.capacity() * size_of::<(u32, u32)>();
        self.arena.capacity() + self.heads.allocation_size() + chains + self.table_bytes()
    }

    /// Octets of what finds the rules.
    pub(in crate::policy) fn table_bytes(&self) -> usize {
        self.filter.bytes() + self.table.bytes()
    }

    /// Octets of the entry of a rule with this name.
    pub(in crate::policy) const fn entry_octets(name: NameRef<'_>) -> usize {
        HEADER_OCTETS + name.as_wire().len()
    }

    /// Every rule that matches a name, those under the shortest key first.
    #[inline]
    pub(in crate::policy) fn find(&self, name: NameRef<'_>, mut each: impl FnMut(Found)) {
        let mut hash = NameHasher::ROOT;
        for (labels, suffix) in (1..).zip(name.suffixes()) {
            hash = self.hasher.child(hash, suffix.first_label());
            if labels < self.shallowest {
                continue;
            }
            let seen = self.filter.get(hash);
            if seen.maybe_entry() {
                self.table.find(hash, |slot| self.read(slot, (name, suffix, labels), &mut each));
            }
            if !seen.maybe_above() {
                return;
            }
        }
    }

    /// Names the rules of a slot that match; says whether the slot is the suffix's own.
    #[inline]
    fn read(&self, slot: Slot, at: (NameRef<'_>, NameRef<'_>, u8), each: &mut impl FnMut(Found)) -> bool {
        let (name, suffix, labels) = at;
        match slot.read {
            Read::Exact if suffix.as_wire().len() != name.as_wire().len() => {}
            Read::Exact | Read::Suffix => {
                each(Found { at: slot.offset, class: slot.class, closeness: plain(suffix, labels) });
            }
            Read::Entry if self.key_is(slot.offset, suffix) => self.chain(slot.offset, at, each),
            Read::Entry => return false,
        }
        true
    }

    /// The rules under one key that match.
    #[inline(never)]
    fn chain(&self, head: u32, (name, suffix, labels): (NameRef<'_>, NameRef<'_>, u8), each: &mut impl FnMut(Found)) {
        let mut at = head;
        loop {
            let Some((kind, class)) = self.header(at) else { return };
            let closeness = match kind {
                Match::Exact if suffix.as_wire().len() != name.as_wire().len() => None,
                Match::Exact | Match::Suffix => Some(plain(suffix, labels)),
                Match::Wildcard => read(&self.arena, at)
                    .filter(|entry| matches_as(entry.name, Match::Wildcard, name))
                    .map(|entry| closeness(entry.name)),
            };
            if let Some(closeness) = closeness {
                each(Found { at, class, closeness });
            }
            match self.is_chained(at).then(|| self.next.get(&at)).flatten() {
                Some(&next) => at = next,
                None => return,
            }
        }
    }

    fn is_chained(&self, at: u32) -> bool {
        self.arena.get(at as usize).is_some_and(|first| first & CHAINED != 0)
    }

    /// What the table says of an entry.
    fn slot(&self, at: u32, entry: Entry<'_>) -> Slot {
        let read = match entry.kind {
            _ if self.is_chained(at) => Read::Entry,
            Match::Exact => Read::Exact,
            Match::Suffix => Read::Suffix,
            Match::Wildcard => Read::Entry,
        };
        Slot { offset: at, class: entry.class, read }
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
            at += u32::try_from(Self::entry_octets(entry.name)).ok()?;
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

/// The half of a hash that is kept while rules are added.
const fn half(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// A hash of such a half, for a table that looks at both ends of it.
const fn spread(half: u32) -> u64 {
    (half as u64) << 32 | half as u64
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

/// How exactly a name without stars speaks, whose labels are counted already.
#[inline]
fn plain(name: NameRef<'_>, labels: u8) -> (u8, u8) {
    let literal = name.as_wire().len() - usize::from(labels) - 1;
    (labels, u8::try_from(literal).unwrap_or(u8::MAX))
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
