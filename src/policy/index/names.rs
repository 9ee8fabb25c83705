//! The suffix index: rules under the wire form of their name, in one hash table of rule numbers over one arena of names.
//!
//! A look-up hashes each label once from the right and probes once per suffix. A wildcard rule stands under its *anchor*,
//! the labels right of its last `*`, and is compared label by label when the anchor is met. Rules under one key form a
//! chain in the order of insertion, which is the order of precedence. A wildcard whose last label holds a `*` has no anchor
//! and is never met: the readers of lists refuse it.

use crate::base::name::{Match, NameHasher, NameRef, Pattern, matches_as};
use crate::policy::rules::{ClassId, NO_RULE, NameRule};
use hashbrown::HashTable;

/// Rules on names, found by suffix.
#[derive(Debug, Default)]
pub(in crate::policy) struct NameIndex {
    hasher: NameHasher,
    arena: Vec<u8>,
    rules: Vec<NameRule>,
    heads: HashTable<u32>,
    wildcards: bool,
}

/// A rule that matches a name, and how exactly: more labels first, then more octets said literally.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Found {
    pub(in crate::policy) at: u32,
    pub(in crate::policy) class: ClassId,
    pub(in crate::policy) closeness: (u8, u8),
}

impl NameIndex {
    pub(in crate::policy) fn rules(&self) -> &[NameRule] {
        &self.rules
    }

    pub(in crate::policy) fn hash(&self, name: NameRef<'_>) -> u64 {
        self.hasher.hash(name)
    }

    /// Adds a rule; `None` when the arena or the numbering is full. A rule that the same class says twice counts once.
    pub(in crate::policy) fn insert(&mut self, class: ClassId, pattern: &Pattern, line: u32) -> Option<()> {
        let at = u32::try_from(self.rules.len()).ok().filter(|&at| at < NO_RULE >> 2)?;
        let key = key_of(pattern.name(), pattern.kind());
        let hash = self.hasher.hash(key);
        let Some(&head) = self.heads.find(hash, |&head| self.key_is(head, key)) else {
            let name_at = self.store(pattern)?;
            self.rules.push(NameRule { name_at, next: NO_RULE, line, class, kind: pattern.kind() });
            let Self { heads, rules, arena, hasher, .. } = self;
            heads.insert_unique(hash, at, |&head| {
                rules.get(head as usize).map_or(0, |rule| hasher.hash(key_of(read(arena, rule.name_at), rule.kind)))
            });
            return Some(());
        };
        let (mut last, mut name_at, mut next) = (head, None, head);
        while let Some(rule) = self.rules.get(next as usize) {
            if self.name_at(rule.name_at) == pattern.name() {
                if rule.class == class && rule.kind == pattern.kind() {
                    return Some(());
                }
                name_at = Some(rule.name_at);
            }
            (last, next) = (next, rule.next);
        }
        let name_at = match name_at {
            Some(at) => at,
            None => self.store(pattern)?,
        };
        self.rules.push(NameRule { name_at, next: NO_RULE, line, class, kind: pattern.kind() });
        self.rules.get_mut(last as usize)?.next = at;
        Some(())
    }

    /// Puts a name into the arena.
    fn store(&mut self, pattern: &Pattern) -> Option<u32> {
        let at = u32::try_from(self.arena.len()).ok()?;
        self.arena.extend_from_slice(pattern.name().as_wire());
        self.wildcards |= pattern.kind() == Match::Wildcard;
        Some(at)
    }

    /// Gives back what growth held in reserve.
    pub(in crate::policy) fn shrink(&mut self) {
        self.arena.shrink_to_fit();
        self.rules.shrink_to_fit();
    }

    /// Octets held.
    pub(in crate::policy) fn bytes(&self) -> usize {
        self.arena.capacity() + self.rules.capacity() * size_of::<NameRule>() + self.heads.allocation_size()
    }

    /// The rule of a class that says exactly this.
    pub(in crate::policy) fn position(&self, class: ClassId, pattern: &Pattern) -> Option<u32> {
        let key = key_of(pattern.name(), pattern.kind());
        let mut at = *self.heads.find(self.hasher.hash(key), |&head| self.key_is(head, key))?;
        loop {
            let rule = self.rules.get(at as usize)?;
            if (rule.class, rule.kind) == (class, pattern.kind()) && self.name_at(rule.name_at) == pattern.name() {
                return Some(at);
            }
            at = rule.next;
        }
    }

    /// Every rule that matches a name, those under the longest key first. `each` says whether the rule counts; keys above
    /// the first plain match that does are walked for wildcards only, since no plain rule there can be closer.
    pub(in crate::policy) fn find<'a>(&'a self, name: NameRef<'a>, mut each: impl FnMut(Found) -> bool) {
        let suffixes = self.hasher.suffixes(name);
        let mut plain_found = false;
        for (suffix, hash) in suffixes.iter() {
            if plain_found && !self.wildcards {
                return;
            }
            let Some(&head) = self.heads.find(hash, |&head| self.key_is(head, suffix)) else { continue };
            let plain_above = plain_found;
            let mut at = head;
            while let Some(rule) = self.rules.get(at as usize) {
                let matched = match rule.kind {
                    Match::Exact => !plain_above && suffix.as_wire().len() == name.as_wire().len(),
                    Match::Suffix => !plain_above,
                    Match::Wildcard => matches_as(self.name_at(rule.name_at), Match::Wildcard, name),
                };
                if matched {
                    let counts =
                        each(Found { at, class: rule.class, closeness: closeness(self.name_at(rule.name_at)) });
                    plain_found |= counts && rule.kind != Match::Wildcard;
                }
                at = rule.next;
            }
        }
    }

    /// The pattern of a rule as written.
    pub(in crate::policy) fn pattern(&self, rule: &NameRule) -> NameRef<'_> {
        self.name_at(rule.name_at)
    }

    fn key_is(&self, head: u32, key: NameRef<'_>) -> bool {
        self.rules.get(head as usize).is_some_and(|rule| key_of(self.name_at(rule.name_at), rule.kind) == key)
    }

    fn name_at(&self, at: u32) -> NameRef<'_> {
        read(&self.arena, at)
    }
}

/// The name that starts at an offset of the arena; it ends at its root label.
fn read(arena: &[u8], at: u32) -> NameRef<'_> {
    let from = arena.get(at as usize..).unwrap_or_default();
    NameRef::prefix_of(from).unwrap_or(NameRef::ROOT)
}

/// What a rule stands under: its name, or for a wildcard the labels right of its last `*`.
pub(in crate::policy) fn key_of(name: NameRef<'_>, kind: Match) -> NameRef<'_> {
    if kind != Match::Wildcard {
        return name;
    }
    let mut anchor = name;
    let mut at = name;
    while let Some(parent) = at.parent() {
        if at.labels().next().is_some_and(|label| label.contains(&b'*')) {
            anchor = parent;
        }
        at = parent;
    }
    anchor
}

/// More labels first, then more octets said literally.
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

    fn found(index: &NameIndex, name: &str) -> Vec<u32> {
        let name: Name = name.parse().unwrap();
        let mut all = Vec::new();
        index.find(name.as_ref(), |found| {
            all.push(found.at);
            true
        });
        all
    }

    #[test]
    fn a_wildcard_stands_under_its_anchor_and_closer_wildcards_above_a_suffix_are_met() {
        let mut index = NameIndex::default();
        for (text, kind) in [
            ("x.com", Match::Suffix),
            ("b.x.com", Match::Suffix),
            ("a.*.x.com", Match::Wildcard),
            ("k-*.x.com", Match::Wildcard),
        ] {
            index.insert(ClassId(0), &Pattern::parse(text, kind).unwrap(), 1).unwrap();
        }
        assert_eq!(found(&index, "a.b.x.com"), [1, 2]);
        assert_eq!(found(&index, "k-1.x.com"), [0, 3]);
        assert_eq!(found(&index, "com"), [] as [u32; 0]);
    }

    proptest! {
        /// Against a list of patterns walked one by one: every match that no longer plain key hides is found.
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
            for name in &names {
                let parsed: Name = name.parse().unwrap();
                let matching: Vec<_> = (0..).zip(&list).filter(|(_, rule)| rule.matches(parsed.as_ref())).collect();
                let longest = matching.iter().filter(|(_, rule)| rule.kind() != Match::Wildcard)
                    .map(|(_, rule)| rule.name().label_count()).max();
                let mut expected: Vec<u32> = matching.iter()
                    .filter(|(_, rule)| rule.kind() == Match::Wildcard || Some(rule.name().label_count()) == longest)
                    .map(|(at, _)| *at).collect();
                let mut have = found(&index, name);
                have.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(have, expected);
            }
        }
    }
}
