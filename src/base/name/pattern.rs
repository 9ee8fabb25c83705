//! What a rule says about names: this one, this one and everything below, or a form with `*` in it.

use super::{Labels, Name, NameError, NameRef};
use crate::base::model::vocabulary;
use std::fmt;

vocabulary! {
    /// How a rule's name is compared.
    pub enum Match {
        /// That name only.
        Exact => "exact",
        /// The name and everything below it.
        Suffix => "suffix",
        /// `*` stands for one or more characters inside a label, or for one or more labels when it is a whole label.
        Wildcard => "wildcard",
    }
}

/// A rule's name with how it is compared.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Pattern {
    name: Name,
    kind: Match,
}

impl Pattern {
    /// Reads a host name or, for [`Match::Wildcard`], one that holds `*`.
    ///
    /// # Errors
    /// What [`Name::parse_host`] says; for a wildcard `*` is allowed too.
    pub fn parse(text: &str, kind: Match) -> Result<Self, NameError> {
        let name = match kind {
            Match::Exact | Match::Suffix => Name::parse_host(text)?,
            Match::Wildcard => {
                let allowed = |c: &char| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' | '*');
                if let Some(bad) = text.chars().find(|c| !allowed(c)) {
                    return Err(NameError::NotHost(bad));
                }
                text.parse()?
            }
        };
        Ok(Self { name, kind })
    }

    /// A pattern of a name that is one already.
    #[must_use]
    pub const fn new(name: Name, kind: Match) -> Self {
        Self { name, kind }
    }

    /// The name as written, `*` included.
    #[must_use]
    pub fn name(&self) -> NameRef<'_> {
        self.name.as_ref()
    }

    /// How it is compared.
    #[must_use]
    pub const fn kind(&self) -> Match {
        self.kind
    }

    /// Whether a name matches.
    #[must_use]
    pub fn matches(&self, name: NameRef<'_>) -> bool {
        matches_as(self.name.as_ref(), self.kind, name)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Match::Suffix => write!(f, "*.{} and itself", self.name),
            Match::Exact | Match::Wildcard => write!(f, "{}", self.name),
        }
    }
}

/// Whether `name` matches `rule` read as `kind`.
#[must_use]
pub(crate) fn matches_as(rule: NameRef<'_>, kind: Match, name: NameRef<'_>) -> bool {
    match kind {
        Match::Exact => rule == name,
        Match::Suffix => name.is_at_or_below(rule),
        Match::Wildcard => labels_match(rule, name),
    }
}

/// Wildcard match over labels: `*` alone takes one or more labels. Iterative with one fallback point, so that the time
/// is bounded by labels × labels whatever the pattern.
fn labels_match(rule: NameRef<'_>, name: NameRef<'_>) -> bool {
    let (mut want, mut have) = (rule.labels(), name.labels());
    // What follows the last `*`, and the first label that it has not taken yet.
    let mut star: Option<(Labels<'_>, Labels<'_>)> = None;
    loop {
        let mut after = want.clone();
        let mut rest = have.clone();
        match (after.next(), rest.next()) {
            (None, None) => return true,
            (Some(b"*"), Some(_)) => {
                star = Some((after.clone(), rest.clone()));
                (want, have) = (after, rest);
                continue;
            }
            (Some(pattern), Some(label)) if octets_match(pattern, label) => {
                (want, have) = (after, rest);
                continue;
            }
            (Some(_), None) => return false,
            _ => {}
        }
        let Some((after, rest)) = star.as_mut() else { return false };
        if rest.next().is_none() {
            return false;
        }
        (want, have) = (after.clone(), rest.clone());
    }
}

/// Glob inside one label: `*` takes one or more octets.
fn octets_match(pattern: &[u8], label: &[u8]) -> bool {
    let (mut p, mut l) = (0, 0);
    let mut fallback: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), label.get(l)) {
            (None, None) => return true,
            (Some(b'*'), Some(_)) => {
                fallback = Some((p, l + 1));
                p += 1;
                l += 1;
            }
            (Some(a), Some(b)) if a == b => {
                p += 1;
                l += 1;
            }
            (Some(_), None) => return false,
            _ => {
                let Some((star, from)) = fallback else { return false };
                if from >= label.len() {
                    return false;
                }
                fallback = Some((star, from + 1));
                p = star + 1;
                l = from + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hit(pattern: &str, kind: Match, name: &str) -> bool {
        Pattern::parse(pattern, kind).unwrap().matches(name.parse::<Name>().unwrap().as_ref())
    }

    #[test]
    fn table() {
        use Match::{Exact, Suffix, Wildcard};
        for (pattern, kind, name, expected) in [
            ("a.example", Exact, "a.example", true),
            ("a.example", Exact, "b.a.example", false),
            ("a.example", Suffix, "b.a.example", true),
            ("a.example", Suffix, "ba.example", false),
            ("ksn-*-geo.x.com", Wildcard, "ksn-url-geo.x.com", true),
            ("ksn-*-geo.x.com", Wildcard, "ksn--geo.x.com", false),
            ("ksn-*-geo.x.com", Wildcard, "ksn-a-geo-geo.x.com", true),
            ("ksn-*-geo.x.com", Wildcard, "a.ksn-url-geo.x.com", false),
            ("*.x.com", Wildcard, "x.com", false),
            ("*.x.com", Wildcard, "a.x.com", true),
            ("*.x.com", Wildcard, "a.b.x.com", true),
            ("watson.*.microsoft.com", Wildcard, "watson.microsoft.com", false),
            ("watson.*.microsoft.com", Wildcard, "watson.a.b.microsoft.com", true),
            ("watson.*.microsoft.com", Wildcard, "x.watson.a.microsoft.com", false),
            ("log*-normal*.t.com", Wildcard, "log16-normal-c.t.com", true),
            ("log*-normal*.t.com", Wildcard, "log16-normal.t.com", false),
        ] {
            assert_eq!(hit(pattern, kind, name), expected, "{pattern} {kind} {name}");
        }
    }

    /// The obvious recursion, as a model.
    fn model(pattern: &[String], name: &[String]) -> bool {
        fn glob(p: &[u8], l: &[u8]) -> bool {
            match (p.split_first(), l.split_first()) {
                (None, None) => true,
                (Some((b'*', rest)), Some((_, tail))) => glob(rest, tail) || glob(p, tail),
                (Some((a, rest)), Some((b, tail))) => a == b && glob(rest, tail),
                _ => false,
            }
        }
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((star, rest)), Some((_, tail))) if star == "*" => model(rest, tail) || model(pattern, tail),
            (Some((a, rest)), Some((b, tail))) => glob(a.as_bytes(), b.as_bytes()) && model(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_obvious_recursion(
            pattern in prop::collection::vec("[ab*]{1,4}", 1..5),
            name in prop::collection::vec("[ab]{1,5}", 1..7),
        ) {
            prop_assert_eq!(hit(&pattern.join("."), Match::Wildcard, &name.join(".")), model(&pattern, &name));
        }
    }
}
