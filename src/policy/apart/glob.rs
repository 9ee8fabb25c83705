//! Patterns with `*` over the text of a name, as adblock lists write them: `*` is any characters, dots among them.

use super::LITERAL_OCTETS_MIN;
use crate::base::name::{NAME_OCTETS_MAX, Name, NameRef};

/// Where a pattern's first part must stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Anywhere.
    Anywhere,
    /// At the start of a label: `||`.
    Label,
    /// At the start of the name: `|`.
    Name,
}

/// A pattern: literal parts in their order, with anything between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    start: Start,
    /// Never empty, and none of them is.
    parts: Box<[Box<[u8]>]>,
    /// Whether the last part ends the name: `^` or `|`.
    ends: bool,
}

impl Glob {
    /// Reads the text between the anchors; letters become lower case. A `*` at an end takes the anchor there away.
    ///
    /// # Errors
    /// A character that no name has, or too little that is said literally.
    pub fn new(start: Start, text: &str, ends: bool) -> Result<Self, String> {
        let odd = |c: &char| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' | '*');
        if let Some(odd) = text.chars().find(odd) {
            return Err(format!("{text:?} holds {odd:?}, which no host name has"));
        }
        let start = if text.starts_with('*') { Start::Anywhere } else { start };
        let ends = ends && !text.ends_with('*');
        let part = |part: &str| part.to_ascii_lowercase().into_bytes().into_boxed_slice();
        let parts: Box<[Box<[u8]>]> = text.split('*').filter(|text| !text.is_empty()).map(part).collect();
        let glob = Self { start, parts, ends };
        let said = glob.longest().iter().filter(|octet| **octet != b'.').count();
        if said < LITERAL_OCTETS_MIN {
            return Err(format!(
                "{text:?} says less than {LITERAL_OCTETS_MIN} characters in a row and would take too much"
            ));
        }
        Ok(glob)
    }

    /// The longest literal part.
    #[must_use]
    pub fn longest(&self) -> &[u8] {
        self.parts.iter().max_by_key(|part| part.len()).map_or(&[], |part| part)
    }

    /// Octets said literally.
    #[must_use]
    pub fn literal_octets(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// The labels that every matching name ends with, where there are such.
    #[must_use]
    pub fn anchor(&self) -> Option<Name> {
        let last = self.parts.last().filter(|_| self.ends)?;
        let dot = last.iter().position(|octet| *octet == b'.')?;
        let text = std::str::from_utf8(last.get(dot + 1..)?).ok()?;
        Name::parse_host(text).ok()
    }

    /// Whether a name's text matches.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let Some((first, more)) = self.parts.split_first() else { return false };
        if let ([], true) = (more, self.ends) {
            // One part between two anchors: it can stand at the end only.
            return text.strip_suffix(&**first).is_some_and(|before| self.may_start_after(before));
        }
        // The leftmost place leaves most room to what follows, so no other place needs a try.
        let starts = (0..=text.len().saturating_sub(first.len())).find(|at| {
            text.split_at_checked(*at).is_some_and(|(b, rest)| self.may_start_after(b) && rest.starts_with(first))
        });
        let Some(mut rest) = starts.and_then(|at| text.get(at + first.len()..)) else { return false };
        let (between, last) = match (more.split_last(), self.ends) {
            (Some((last, between)), true) => (between, Some(last)),
            _ => (more, None),
        };
        for part in between {
            let found = rest.windows(part.len()).position(|window| window == &**part);
            let Some(after) = found.and_then(|at| rest.get(at + part.len()..)) else { return false };
            rest = after;
        }
        last.is_none_or(|last| rest.ends_with(last))
    }

    fn may_start_after(&self, before: &[u8]) -> bool {
        match self.start {
            Start::Anywhere => true,
            Start::Label => before.is_empty() || before.ends_with(b"."),
            Start::Name => before.is_empty(),
        }
    }
}

/// The text of a name on the stack, lower case, without a trailing dot. A dot within a label is shown as `\`, so that it never
/// looks like a border between labels.
pub(super) struct NameText {
    octets: [u8; NAME_OCTETS_MAX],
    len: usize,
}

impl NameText {
    pub(super) fn new(name: NameRef<'_>) -> Self {
        let mut made = Self { octets: [0; NAME_OCTETS_MAX], len: 0 };
        for label in name.labels() {
            if made.len > 0 {
                made.push(b'.');
            }
            label.iter().for_each(|&octet| made.push(if octet == b'.' { b'\\' } else { octet }));
        }
        made
    }

    fn push(&mut self, octet: u8) {
        if let Some(into) = self.octets.get_mut(self.len) {
            *into = octet;
            self.len += 1;
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn anchors_and_stars() {
        use Start::{Anywhere, Label, Name};
        for (start, text, ends, name, expected) in [
            (Label, "ads*.x.example", true, "ads7.x.example", true),
            (Label, "ads*.x.example", true, "a.ads.b.x.example", true),
            (Label, "ads*.x.example", true, "bads7.x.example", false),
            (Label, "ads*.x.example", true, "ads7.x.example.org", false),
            (Label, "ads.", false, "ads.example", true),
            (Label, "ads.", false, "b.ads.example", true),
            (Label, "ads.", false, "bads.example", false),
            (Name, "ads.", false, "b.ads.example", false),
            (Name, "ads*track", false, "ads-for-track.example", true),
            (Anywhere, "ample.org", true, "example.org", true),
            (Anywhere, "ample.org", true, "example.org.example", false),
            (Anywhere, "-ads-", false, "x-ads-y.example", true),
            (Anywhere, "-ads-", false, "xads-y.example", false),
            (Name, "ads.example", true, "ads.example", true),
            (Name, "ads.example", true, "x.ads.example", false),
            (Anywhere, "*tracker*", true, "x.tracker.example", true),
        ] {
            let glob = Glob::new(start, text, ends).unwrap();
            assert_eq!(glob.matches(name.as_bytes()), expected, "{start:?} {text} {name}");
        }
    }

    #[test]
    fn too_little_is_refused_and_anchors_are_whole_labels() {
        for text in ["", "*", "a*b*c", ".ab.", "*.*", "ad"] {
            assert!(Glob::new(Start::Anywhere, text, false).is_err(), "{text}");
        }
        assert!(Glob::new(Start::Anywhere, "ads/x", false).unwrap_err().contains("'/'"));
        let anchor = |text, ends| Glob::new(Start::Label, text, ends).unwrap().anchor().map(|name| name.to_string());
        assert_eq!(anchor("ads*.x.example", true), Some("x.example".into()));
        assert_eq!(anchor("ads*x.example", true), Some("example".into()));
        assert_eq!(anchor("ads*.x.example", false), None);
        assert_eq!(anchor("ads*example", true), None);
    }

    #[test]
    fn a_dot_within_a_label_is_no_border() {
        let name: Name = "www\\.ads.example".parse().unwrap();
        assert_eq!(NameText::new(name.as_ref()).as_bytes(), b"www\\ads.example");
    }

    proptest! {
        /// Against the regular expression that says the same.
        #[test]
        fn agrees_with_a_regular_expression(
            start in 0..3_usize, text in "[ab.*]{1,8}", ends in any::<bool>(), name in "[ab.]{0,12}",
        ) {
            let start = [Start::Anywhere, Start::Label, Start::Name][start];
            let Ok(glob) = Glob::new(start, &text, ends) else { return Ok(()) };
            let head = match start {
                _ if text.starts_with('*') => "",
                Start::Anywhere => "",
                Start::Label => "(?:^|\\.)",
                Start::Name => "^",
            };
            let body = regex::escape(&text).replace("\\*", ".*");
            let tail = if ends { "$" } else { "" };
            let same = regex::Regex::new(&format!("{head}{body}{tail}")).unwrap();
            prop_assert_eq!(glob.matches(name.as_bytes()), same.is_match(&name), "{} {}", text, name);
        }
    }
}
