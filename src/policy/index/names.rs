//! The suffix index: rules under the wire form of their name.
//!
//! Three parts, at about 38 octets a name of 26 octets of text, provenance included:
//!
//! | part | what | octets |
//! |---|---|---|
//! | [`Filter`] | by the hash of a name: whether a rule, or a longer name, may stand there; stays in the cache | 2 |
//! | [`Table`] | by the hash of a name: number and class of its rule | 16 |
//! | [`Arena`] | the rules themselves: kind, class, line, packed name; a rule's number is where it stands | 2, and two thirds of the text |
//!
//! A look-up walks a name from the right and ends where nothing stands below, so most names that no rule mentions cost the
//! hash of two labels and one word of the filter.
//!
//! What the table finds is known by a keyed fingerprint: 48 bits of the hash, in the five slots of the bucket that its other
//! bits chose. So a name that no rule mentions is taken for another one about once in 5 × 10¹³ reads of the table, to which the
//! filter lets one such name in fifty; nobody who does not know the process's key can look for one. Reading the text as well
//! would cost a blocked name a second wait for memory, which is most of its time. Where two listed names share a fingerprint,
//! which building the table finds out, the text decides.
//!
//! The text is kept in memory although no look-up needs it, so that `check`, the ledger and exports show a rule as it was when it
//! decided, with no list at hand: read back from the list's file it would be 20 octets less a name, and wrong or gone once somebody
//! has changed the file. Packed to five bits a character it costs those who do not look at it nothing but its room.
//!
//! A wildcard rule stands under its *anchor*, the labels right of its last `*`, and is compared label by label when the
//! anchor is met. Rules under one key stand together in the order of insertion, which is the order of precedence. A wildcard
//! whose last label holds a `*` has no anchor and is never met: the readers of lists refuse it.

use super::arena::{Arena, Entry};
use super::filter::Filter;
use super::table::{Read, Slot, Table};
use crate::base::name::{Match, Name, NameHasher, NameRef, matches_as};
use crate::policy::rules::ClassId;
use std::ops::Range;

/// Rules on names, found by suffix. Made by [`super::NameIndexBuilder`].
#[derive(Debug, Default)]
pub(in crate::policy) struct NameIndex {
    pub(super) hasher: NameHasher,
    pub(super) arena: Arena,
    pub(super) filter: Filter,
    pub(super) table: Table,
    /// Rules that share a key, and those that must be compared label by label: each key's together.
    pub(super) members: Vec<Member>,
    /// The text of the latter, by their numbers.
    pub(super) globs: Vec<(u32, Name)>,
    /// Labels of the shortest key: nothing is asked about shorter names.
    pub(super) shallowest: u8,
}

/// One of the rules under a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) at: u32,
    pub(super) class: ClassId,
    pub(super) form: Form,
    pub(super) is_last: bool,
}

/// How a rule is compared once its key is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// The key and everything below it.
    Suffix,
    /// The key itself.
    Exact,
    /// Everything below the key.
    Below,
    /// Label by label.
    Glob,
}

impl Form {
    /// The form of a rule under its key.
    pub(super) fn of(name: NameRef<'_>, kind: Match, key: NameRef<'_>) -> Self {
        match kind {
            Match::Exact => Self::Exact,
            Match::Suffix => Self::Suffix,
            Match::Wildcard if name.first_label() == b"*" && name.parent() == Some(key) => Self::Below,
            Match::Wildcard => Self::Glob,
        }
    }
}

/// A rule that matches a name, and how exactly: more labels first, then more octets said literally.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Found {
    pub(in crate::policy) at: u32,
    pub(in crate::policy) class: ClassId,
    pub(in crate::policy) closeness: (u8, u8),
}

/// What is asked: a name, a suffix of it that is looked up, and how many labels that has.
type Asked<'a> = (NameRef<'a>, NameRef<'a>, u8);

impl NameIndex {
    pub(in crate::policy) fn hash(&self, name: NameRef<'_>) -> u64 {
        self.hasher.hash(name)
    }

    /// How many rules there are.
    pub(in crate::policy) const fn len(&self) -> usize {
        self.arena.len()
    }

    /// Where in memory look-ups read at random.
    pub(in crate::policy) fn spans(&self) -> [Range<usize>; 2] {
        [self.filter.span(), self.table.span()]
    }

    /// Octets held.
    pub(in crate::policy) fn bytes(&self) -> usize {
        let members = self.members.capacity() * size_of::<Member>();
        let text: usize = self.globs.iter().map(|(_, name)| name.as_ref().as_wire().len()).sum();
        let globs = self.globs.capacity() * size_of::<(u32, Name)>() + text;
        self.arena.bytes() + members + globs + self.filter.bytes() + self.table.bytes()
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
    fn read(&self, slot: Slot, asked: Asked<'_>, each: &mut impl FnMut(Found)) -> bool {
        if slot.clashes && !self.is_under(&slot, asked.1) {
            return false;
        }
        let form = match slot.read {
            Read::Suffix => Form::Suffix,
            Read::Exact => Form::Exact,
            Read::Below => Form::Below,
            Read::Several => {
                self.several(slot.offset, asked, each);
                return true;
            }
        };
        let closeness = self.closeness(slot.offset, form, asked);
        closeness.into_iter().for_each(|closeness| each(Found { at: slot.offset, class: slot.class, closeness }));
        true
    }

    /// The rules under one key that match.
    #[inline(never)]
    fn several(&self, first: u32, asked: Asked<'_>, each: &mut impl FnMut(Found)) {
        for member in self.members.get(first as usize..).unwrap_or_default() {
            let Member { at, class, form, is_last } = *member;
            if let Some(closeness) = self.closeness(at, form, asked) {
                each(Found { at, class, closeness });
            }
            if is_last {
                return;
            }
        }
    }

    /// How exactly a rule speaks of a name below whose suffix its key is met; `None` where it does not match.
    #[inline]
    fn closeness(&self, at: u32, form: Form, (name, suffix, labels): Asked<'_>) -> Option<(u8, u8)> {
        let literal = suffix.as_wire().len() - usize::from(labels) - 1;
        let plain = (labels, u8::try_from(literal).unwrap_or(u8::MAX));
        let is_whole = suffix.as_wire().len() == name.as_wire().len();
        match form {
            Form::Suffix => Some(plain),
            Form::Exact => is_whole.then_some(plain),
            Form::Below => (!is_whole).then_some((labels.saturating_add(1), plain.1)),
            Form::Glob => {
                let place = self.globs.binary_search_by_key(&at, |(at, _)| *at).ok()?;
                let (_, glob) = self.globs.get(place)?;
                matches_as(glob.as_ref(), Match::Wildcard, name).then(|| closeness(glob.as_ref()))
            }
        }
    }

    /// Whether the rules of a slot stand under a key.
    #[cold]
    fn is_under(&self, slot: &Slot, key: NameRef<'_>) -> bool {
        let at = match slot.read {
            Read::Several => self.members.get(slot.offset as usize).map(|member| member.at),
            _ => Some(slot.offset),
        };
        at.and_then(|at| self.arena.get(at)).is_some_and(|entry| entry.is_under(key))
    }

    /// A rule by its number.
    pub(in crate::policy) fn get(&self, at: u32) -> Option<Entry<'_>> {
        self.arena.get(at)
    }

    /// Every rule with its number, in the order of insertion.
    pub(in crate::policy) fn iter(&self) -> impl Iterator<Item = (u32, Entry<'_>)> {
        self.arena.iter()
    }
}

impl Entry<'_> {
    /// Whether the rule stands under a key.
    pub(super) fn is_under(&self, key: NameRef<'_>) -> bool {
        key_of(self.name.unpack().as_ref(), self.kind) == key
    }
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
    use super::super::NameIndexBuilder;
    use super::*;
    use crate::base::name::Pattern;
    use proptest::prelude::*;

    fn found(index: &NameIndex, name: &str) -> Vec<String> {
        let name: Name = name.parse().unwrap();
        let mut all = Vec::new();
        index.find(name.as_ref(), |found| all.push(index.get(found.at).unwrap().name.to_string()));
        all
    }

    #[test]
    fn a_wildcard_stands_under_its_anchor() {
        let mut index = NameIndexBuilder::default();
        for (text, kind) in [
            ("x.com", Match::Suffix),
            ("b.x.com", Match::Suffix),
            ("a.*.x.com", Match::Wildcard),
            ("k-*.x.com", Match::Wildcard),
        ] {
            index.insert(ClassId(0), &Pattern::parse(text, kind).unwrap(), 1).unwrap();
        }
        let index = index.finish();
        assert_eq!(found(&index, "a.b.x.com"), ["x.com", "a.*.x.com", "b.x.com"]);
        assert_eq!(found(&index, "k-1.x.com"), ["x.com", "k-*.x.com"]);
        assert_eq!(found(&index, "com"), [] as [&str; 0]);
    }

    proptest! {
        /// Against a list of patterns walked one by one.
        #[test]
        fn agrees_with_a_list(
            rules in prop::collection::vec(("[ab*]{1,2}(\\.[ab*]{1,2}){0,3}", 0..3_usize), 0..30),
            names in prop::collection::vec("[ab]{1,2}(\\.[ab]{1,2}){0,4}", 1..20),
        ) {
            let mut index = NameIndexBuilder::default();
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
            let index = index.finish();
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
