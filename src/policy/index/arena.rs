//! Rules on names in the order of insertion: kind, class, line and packed name. A rule's number is where it begins.
//!
//! | octets | what |
//! |---|---|
//! | 1 | kind, form of the name, how many lines after the rule before |
//! | 1 | octets of the name |
//! | 0 or 5 | class and line, where they do not follow from the rule before |
//! | | the name |
//!
//! Rules of a list have the same class, and their lines rise by little, so few rules but the first of a page say both. To read one,
//! its page is walked from there.

use crate::base::name::{Match, NameRef, Packed, pack};
use crate::policy::rules::ClassId;

/// Octets of a page; more than a rule has.
const PAGE_OCTETS: usize = 512;
/// Octets of all rules: numbers are 31 bits wide.
const OCTETS_MAX: usize = 1 << 31;
/// The largest line that a rule can tell; later ones are told as this one.
pub(super) const LINE_MAX: u32 = 0x00ff_ffff;

/// Bits of the kind in a rule's first octet.
const KIND: u8 = 0b11;
/// The kind of a rule that was taken out.
const TAKEN_OUT: u8 = 0b11;
/// Set where the name stands in wire form.
const WIRE: u8 = 0b100;
/// Set where class and line are said.
const SAID: u8 = 0b1000;
/// What else is in the first octet: lines after the rule before.
const LINES_SHIFT: u32 = 4;
const LINES_MAX: u32 = 15;

/// Rules on names.
#[derive(Debug, Default)]
pub(super) struct Arena {
    octets: Vec<u8>,
    /// Where in each page the first rule begins.
    pages: Vec<u16>,
    /// Class and line of the last rule.
    last: Option<(ClassId, u32)>,
    len: usize,
}

/// A rule as it stands here.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Entry<'a> {
    pub(in crate::policy) kind: Match,
    pub(in crate::policy) class: ClassId,
    pub(in crate::policy) line: u32,
    pub(in crate::policy) name: Packed<'a>,
}

impl Arena {
    /// How many rules there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Adds a rule; `None` where there is no room for more.
    pub(super) fn push(&mut self, class: ClassId, kind: Match, name: NameRef<'_>, line: u32) -> Option<u32> {
        let at = u32::try_from(self.octets.len()).ok().filter(|&at| (at as usize) < OCTETS_MAX)?;
        let line = line.min(LINE_MAX);
        let (page, within) = (self.octets.len() / PAGE_OCTETS, self.octets.len() % PAGE_OCTETS);
        let is_first = self.pages.len() <= page;
        if is_first {
            self.pages.push(u16::try_from(within).ok()?);
        }
        let before = self.last.replace((class, line)).filter(|before| before.0 == class && !is_first);
        let lines = before.and_then(|before| line.checked_sub(before.1)).filter(|&lines| lines <= LINES_MAX);
        let lines = lines.and_then(|lines| u8::try_from(lines).ok());
        let kind = u8::try_from(Match::ALL.iter().position(|one| *one == kind)?).ok()?;
        self.octets.extend([kind | lines.map_or(SAID, |lines| lines << LINES_SHIFT), 0]);
        if lines.is_none() {
            let [_, line @ ..] = line.to_be_bytes();
            self.octets.extend_from_slice(&class.0.to_be_bytes());
            self.octets.extend_from_slice(&line);
        }
        let start = self.octets.len();
        let is_wire = pack(name, &mut self.octets);
        let length = u8::try_from(self.octets.len() - start).ok()?;
        if let Some([flags, octets, ..]) = self.octets.get_mut(at as usize..) {
            *flags |= if is_wire { WIRE } else { 0 };
            *octets = length;
        }
        self.len += 1;
        Some(at)
    }

    /// Takes rules out: what stays keeps its number.
    pub(super) fn take_out(&mut self, at: u32) {
        if let Some(flags) = self.octets.get_mut(at as usize) {
            *flags |= TAKEN_OUT;
            self.len -= 1;
        }
    }

    /// A rule by its number.
    pub(super) fn get(&self, at: u32) -> Option<Entry<'_>> {
        let page = at as usize / PAGE_OCTETS;
        let from = page * PAGE_OCTETS + usize::from(*self.pages.get(page)?);
        let mut walk = Walk { arena: self, at: from, last: (ClassId(0), 0) };
        loop {
            let (here, entry) = walk.step()?;
            if here >= at {
                return entry.filter(|_| here == at);
            }
        }
    }

    /// Every rule with its number, in the order of insertion.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Entry<'_>)> {
        let mut walk = Walk { arena: self, at: 0, last: (ClassId(0), 0) };
        std::iter::from_fn(move || walk.step()).filter_map(|(at, entry)| Some((at, entry?)))
    }

    /// Gives back what growth held in reserve.
    pub(super) fn shrink(&mut self) {
        self.octets.shrink_to_fit();
        self.pages.shrink_to_fit();
    }

    /// Octets held.
    pub(super) fn bytes(&self) -> usize {
        self.octets.capacity() + self.pages.capacity() * size_of::<u16>()
    }
}

/// Rules in turn.
struct Walk<'a> {
    arena: &'a Arena,
    at: usize,
    last: (ClassId, u32),
}

impl<'a> Walk<'a> {
    /// The next rule with its number; without a rule where it was taken out.
    #[inline]
    fn step(&mut self) -> Option<(u32, Option<Entry<'a>>)> {
        let here = u32::try_from(self.at).ok()?;
        let (&[flags, length], mut rest) = self.arena.octets.get(self.at..)?.split_first_chunk()?;
        self.at += 2 + usize::from(length);
        let (mut class, mut line) = (self.last.0, self.last.1 + u32::from(flags >> LINES_SHIFT));
        if flags & SAID != 0 {
            let (said, name) = rest.split_first_chunk()?;
            let &[class_high, class_low, line_high, line_mid, line_low] = said;
            class = ClassId(u16::from_be_bytes([class_high, class_low]));
            line = u32::from_be_bytes([0, line_high, line_mid, line_low]);
            rest = name;
            self.at += said.len();
        }
        self.last = (class, line);
        let name = Packed::new(rest.get(..usize::from(length))?, flags & WIRE != 0);
        let kind = Match::ALL.get(usize::from(flags & KIND));
        Some((here, kind.map(|&kind| Entry { kind, class, line, name })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::name::Name;
    use proptest::prelude::*;

    proptest! {
        /// Against a list: pages, lines that rise by much or fall, classes that change, rules that are taken out.
        #[test]
        fn what_was_put_in_is_found_by_its_number(
            rules in prop::collection::vec(("[a-z0-9]{1,40}", 0..3_usize, 0..3_u16, 0..40_u32, prop::bool::weighted(0.1)), 0..200),
        ) {
            let (mut arena, mut list, mut line) = (Arena::default(), Vec::new(), 0);
            for (text, kind, class, lines, is_out) in &rules {
                line = if *lines == 39 { LINE_MAX + 5 } else if line > LINE_MAX { 1 } else { line + lines };
                let (name, kind): (Name, _) = (text.parse().unwrap(), Match::ALL[*kind]);
                let at = arena.push(ClassId(*class), kind, name.as_ref(), line).unwrap();
                list.push((at, (kind, *class, line.min(LINE_MAX), text.clone()), *is_out));
            }
            list.iter().filter(|(.., is_out)| *is_out).for_each(|(at, ..)| arena.take_out(*at));
            let words = |entry: Entry<'_>| (entry.kind, entry.class.0, entry.line, entry.name.to_string());
            for (at, rule, is_out) in &list {
                prop_assert_eq!(arena.get(*at).map(words), (!is_out).then(|| rule.clone()));
                prop_assert!(arena.get(at + 1).is_none());
            }
            let left: Vec<_> = list.into_iter().filter(|(.., is_out)| !is_out).map(|(at, rule, _)| (at, rule)).collect();
            prop_assert_eq!(arena.len(), left.len());
            prop_assert_eq!(arena.iter().map(|(at, entry)| (at, words(entry))).collect::<Vec<_>>(), left);
            prop_assert!(arena.get(u32::MAX).is_none());
        }
    }
}
