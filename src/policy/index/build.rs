//! How the suffix index is made: rules come in list by list, then all keys are sorted by their hash.
//!
//! Sorting finds what a list says twice and what rules share a key, and lets the table be filled from its first bucket to its last,
//! with no search of memory that is not at hand. While rules come in, each costs 16 octets besides its own; they are given back
//! while the table grows, so that the making takes little more than what is made.

use super::arena::Arena;
use super::filter::Filter;
use super::names::{Form, Member, NameIndex, key_of};
use super::table::{Read, Slot, Table};
use crate::base::name::{NameHasher, Packed, Pattern};
use crate::policy::rules::ClassId;

/// Keys that are given back at once.
const GIVEN_BACK: usize = 1 << 16;
/// Names above rules that are remembered, so that few are kept twice.
const RECENT: usize = 1 << 12;

/// Rules while they come in.
#[derive(Debug, Default)]
pub(in crate::policy) struct NameIndexBuilder {
    hasher: NameHasher,
    arena: Arena,
    keys: Vec<Key>,
    /// Where the keys of the list begin that was read last, and where they end; each list's are sorted.
    run: (usize, usize),
    above: Above,
    shallowest: Option<u8>,
}

/// A rule by the hash of its key; that stands inverted, so that the last key is of the least hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    inverted: u64,
    at: u32,
    class: ClassId,
    form: Form,
}

const _: () = assert!(size_of::<Key>() == 16, "what a rule costs while rules come in");

impl NameIndexBuilder {
    /// How many rules there are, what a list says twice included until it is settled.
    pub(in crate::policy) const fn len(&self) -> usize {
        self.arena.len()
    }

    /// Adds a rule; `None` where there is no room for more.
    pub(in crate::policy) fn insert(&mut self, class: ClassId, pattern: &Pattern, line: u32) -> Option<()> {
        let (name, kind) = (pattern.name(), pattern.kind());
        let at = self.arena.push(class, kind, name, line)?;
        let key = key_of(name, kind);
        let (mut hash, mut labels) = (NameHasher::ROOT, 0);
        for suffix in key.suffixes() {
            if labels > 0 {
                self.above.note((hash >> u32::BITS) as u32);
            }
            hash = self.hasher.child(hash, suffix.first_label());
            labels += 1;
        }
        self.shallowest = Some(self.shallowest.map_or(labels, |least| least.min(labels)));
        self.keys.push(Key { inverted: !hash, at, class, form: Form::of(name, kind, key) });
        Some(())
    }

    /// Ends a list: what it says twice counts once. Says how much that was.
    pub(in crate::policy) fn settle(&mut self) -> usize {
        self.run = (self.run.1, self.keys.len());
        let Some(new) = self.keys.get_mut(self.run.0..) else { return 0 };
        new.sort_unstable();
        let mut again: Vec<u32> = Vec::new();
        for keys in new.chunk_by(|a, b| a.inverted == b.inverted).filter(|keys| keys.len() > 1) {
            let mut said: Vec<(ClassId, Form, Option<Packed<'_>>, u32)> = keys
                .iter()
                .map(|key| (key.class, key.form, self.arena.get(key.at).map(|entry| entry.name), key.at))
                .collect();
            said.sort_unstable();
            let repeats = said.windows(2).filter_map(|pair| match pair {
                [a, b] => ((a.0, a.1, a.2) == (b.0, b.1, b.2)).then_some(b.3),
                _ => None,
            });
            again.extend(repeats);
        }
        again.sort_unstable();
        again.iter().for_each(|at| self.arena.take_out(*at));
        if !again.is_empty() {
            self.keys.retain(|key| again.binary_search(&key.at).is_err());
        }
        self.run.1 = self.keys.len();
        again.len()
    }

    /// The rule of a class that says exactly this in the list that was settled last.
    pub(in crate::policy) fn position(&self, class: ClassId, pattern: &Pattern) -> Option<u32> {
        let (name, kind) = (pattern.name(), pattern.kind());
        let inverted = !self.hasher.hash(key_of(name, kind));
        let keys = self.keys.get(self.run.0..self.run.1)?;
        let from = keys.partition_point(|key| key.inverted < inverted);
        let mut same = keys.get(from..)?.iter().take_while(|key| key.inverted == inverted);
        let is_it = |key: &&Key| {
            let entry = self.arena.get(key.at).filter(|entry| key.class == class && entry.kind == kind);
            entry.is_some_and(|entry| entry.name.unpack().as_ref() == name)
        };
        same.find(is_it).map(|key| key.at)
    }

    /// Makes the index.
    pub(in crate::policy) fn finish(mut self) -> NameIndex {
        self.settle();
        self.arena.shrink();
        let Self { hasher, arena, mut keys, above, shallowest, .. } = self;
        // Lists that are sorted are merged.
        keys.sort();
        let count = keys.chunk_by(|a, b| a.inverted == b.inverted).count();
        let mut filter = Filter::for_entries(count);
        keys.iter().for_each(|key| filter.entry(!key.inverted));
        above.halves.iter().for_each(|half| filter.above(*half));
        drop(above);
        let mut index = NameIndex {
            hasher,
            arena,
            filter,
            table: Table::for_entries(count),
            shallowest: shallowest.unwrap_or_default(),
            ..NameIndex::default()
        };
        while let Some(last) = keys.last() {
            let from = keys.iter().rposition(|key| key.inverted != last.inverted).map_or(0, |before| before + 1);
            index.add(keys.get(from..).unwrap_or_default());
            keys.truncate(from);
            if keys.capacity() - from >= GIVEN_BACK {
                keys.shrink_to_fit();
            }
        }
        index.table.finish();
        index.members.shrink_to_fit();
        index.globs.sort_unstable_by_key(|(at, _)| *at);
        index.globs.shrink_to_fit();
        index
    }
}

impl NameIndex {
    /// Adds the rules under one hash: mostly one.
    fn add(&mut self, keys: &[Key]) {
        let [Key { inverted, at, class, form }] = *keys else { return self.add_several(keys) };
        let read = match form {
            Form::Suffix => Read::Suffix,
            Form::Exact => Read::Exact,
            Form::Below => Read::Below,
            Form::Glob => return self.add_several(keys),
        };
        self.table.insert(!inverted, Slot { offset: at, class, read, clashes: false });
    }

    /// Adds rules that stand together, those under each key by themselves: two names may have one hash.
    #[cold]
    fn add_several(&mut self, keys: &[Key]) {
        let mut left = keys.to_vec();
        while let Some(&Key { inverted, at, class, .. }) = left.first() {
            let Some(first) = self.arena.get(at) else { return };
            let name = first.name.unpack();
            let key = key_of(name.as_ref(), first.kind);
            let offset = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
            left.retain(|other| {
                let Some(entry) = self.arena.get(other.at).filter(|entry| entry.is_under(key)) else { return true };
                if other.form == Form::Glob {
                    self.globs.push((other.at, entry.name.to_name()));
                }
                self.members.push(Member { at: other.at, class: other.class, form: other.form, is_last: false });
                false
            });
            self.members.last_mut().into_iter().for_each(|member| member.is_last = true);
            self.table.insert(!inverted, Slot { offset, class, read: Read::Several, clashes: false });
        }
    }
}

/// High halves of the hashes of names above rules. Lists name neighbours one after the other, so that few are kept twice.
#[derive(Debug)]
struct Above {
    halves: Vec<u32>,
    recent: Box<[u32]>,
}

impl Default for Above {
    fn default() -> Self {
        // Each place begins with what never stands there.
        Self { halves: Vec::new(), recent: (0..RECENT as u32).map(|place| !place).collect() }
    }
}

impl Above {
    fn note(&mut self, half: u32) {
        let Some(recent) = self.recent.get_mut(half as usize % RECENT) else { return };
        if *recent != half {
            *recent = half;
            self.halves.push(half);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::name::{Match, Name};
    use crate::policy::index::arena::LINE_MAX;

    #[test]
    fn a_rule_keeps_its_class_and_its_line_and_a_list_says_a_thing_once() {
        let mut index = NameIndexBuilder::default();
        let pattern = Pattern::parse("a.example", Match::Exact).unwrap();
        for (class, line) in [(0x1234, 70_000), (0x1234, 70_001), (7, u32::MAX)] {
            index.insert(ClassId(class), &pattern, line).unwrap();
        }
        assert_eq!(index.settle(), 1);
        let at = index.position(ClassId(7), &pattern).unwrap();
        assert!(index.position(ClassId(8), &pattern).is_none());
        // Another list says it for itself.
        index.insert(ClassId(9), &pattern, 1).unwrap();
        assert_eq!(index.settle(), 0);
        let index = index.finish();
        let all: Vec<_> = index.iter().map(|(_, entry)| (entry.class.0, entry.line, entry.kind)).collect();
        assert_eq!(all, [(0x1234, 70_000, Match::Exact), (7, LINE_MAX, Match::Exact), (9, 1, Match::Exact)]);
        assert_eq!((index.len(), index.get(at).unwrap().class), (3, ClassId(7)));
    }

    /// No two names are known that have one hash, so rules are put under one by hand.
    #[test]
    fn names_that_share_a_hash_are_told_apart_by_their_text() {
        let mut builder = NameIndexBuilder::default();
        for (text, kind) in
            [("a.example", Match::Exact), ("b.example", Match::Suffix), ("*.a.example", Match::Wildcard)]
        {
            builder.insert(ClassId(3), &Pattern::parse(text, kind).unwrap(), 1).unwrap();
        }
        let name = |text: &str| text.parse::<Name>().unwrap();
        let hash = builder.hasher.hash(name("a.example").as_ref());
        builder.keys.iter_mut().for_each(|key| key.inverted = !hash);
        let index = builder.finish();
        let found = |text: &str| {
            let (name, mut found) = (name(text), Vec::new());
            index.find(name.as_ref(), |rule| found.push(index.get(rule.at).unwrap().name.to_string()));
            found
        };
        assert_eq!(found("a.example"), ["a.example"]);
        assert_eq!(found("x.a.example"), ["*.a.example"]);
        assert_eq!(found("c.example"), [""; 0]);
    }
}
