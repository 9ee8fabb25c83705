//! What a rule that stands apart says: what it matches, under which conditions, and how strongly it speaks in its list.

use super::glob::NameText;
use super::{Glob, REGEX_CACHE_OCTETS_MAX, REGEX_COMPILED_OCTETS_MAX, REGEX_OCTETS_MAX};
use crate::base::name::{Name, NameRef, Pattern};
use crate::policy::Subject;
use ipnet::IpNet;
use regex::bytes::{Regex, RegexBuilder};
use std::net::IpAddr;

/// How strongly a rule speaks within its own list, weakest first.
///
/// RPZ orders its triggers: client address, then name, then address. Adblock orders rules: `$important`, then `@@`, then the
/// rest. Both orders fit one line, since no list has the rules of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// An address that an answer leads to.
    Address,
    /// A name; what plain rules are as well.
    Plain,
    /// `@@`.
    Exception,
    /// `$important`.
    Important,
    /// `@@` with `$important`.
    ImportantException,
    /// Who asks.
    Client,
}

/// What a rule matches.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// A name, those below it, or a wildcard of labels.
    Name(Pattern),
    /// The text of a name.
    Glob(Glob),
    /// The text of a name, without a trailing dot.
    Regex(Regex),
    /// An address that is wanted, or that an answer leads to.
    Address(IpNet),
    /// Whoever asks for a name.
    Client(IpNet),
}

/// Some of a kind: one of `only`, unless that is empty, and none of `not`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection<T> {
    /// The wanted ones; empty means all.
    pub only: Box<[T]>,
    /// The unwanted ones.
    pub not: Box<[T]>,
}

impl<T> Default for Selection<T> {
    fn default() -> Self {
        Self { only: Box::default(), not: Box::default() }
    }
}

impl<T> Selection<T> {
    /// Whether it selects at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.only.is_empty() && self.not.is_empty()
    }

    /// Whether a value is selected. What is not known is selected by an empty selection only.
    fn holds<V>(&self, value: Option<V>, is: impl Fn(&T, &V) -> bool) -> bool {
        let Some(value) = value else { return self.is_empty() };
        let within = |some: &[T]| some.iter().any(|one| is(one, &value));
        (self.only.is_empty() || within(&self.only)) && !within(&self.not)
    }
}

/// What must hold besides the trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The rule says nothing of these names and of what is below them.
    pub not_below: Box<[Name]>,
    /// The query types that it is for.
    pub types: Selection<u16>,
    /// The clients that it is for.
    pub clients: Selection<IpNet>,
}

impl Conditions {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.not_below.is_empty() && self.types.is_empty() && self.clients.is_empty()
    }

    fn hold(&self, subject: &Subject<'_>) -> bool {
        let client = subject.client.map(|client| client.to_canonical());
        let spared = |name: NameRef<'_>| self.not_below.iter().any(|above| name.is_at_or_below(above.as_ref()));
        self.types.holds(subject.qtype, |one, asked| one == asked)
            && self.clients.holds(client, |net, client: &IpAddr| net.contains(client))
            && !subject.name.is_some_and(spared)
    }
}

/// A rule that stands apart.
#[derive(Clone, Debug)]
pub struct ApartRule {
    /// The rule as written, without a comment.
    pub text: Box<str>,
    /// What it matches.
    pub trigger: Trigger,
    /// What must hold besides; `None` is nothing.
    pub conditions: Option<Box<Conditions>>,
    /// How strongly it speaks within its list.
    pub tier: Tier,
    /// Whether it lets pass what it matches; else it is against it.
    pub passes: bool,
}

impl ApartRule {
    /// Whether the conditions hold.
    pub(super) fn applies(&self, subject: &Subject<'_>) -> bool {
        self.conditions.as_ref().is_none_or(|conditions| conditions.hold(subject))
    }

    /// Whether its trigger is a name that this is one of, whatever its conditions.
    #[must_use]
    pub fn mentions(&self, name: NameRef<'_>) -> bool {
        self.is_on(name, NameText::new(name).as_bytes())
    }

    /// The same, with the name's text at hand.
    pub(super) fn is_on(&self, name: NameRef<'_>, text: &[u8]) -> bool {
        match &self.trigger {
            Trigger::Name(pattern) => pattern.matches(name),
            Trigger::Glob(glob) => glob.matches(text),
            Trigger::Regex(regex) => regex.is_match(text),
            Trigger::Address(_) | Trigger::Client(_) => false,
        }
    }

    /// Whether what it says depends on who asks.
    #[must_use]
    pub fn is_by_client(&self) -> bool {
        let by_condition = self.conditions.as_ref().is_some_and(|conditions| !conditions.clients.is_empty());
        by_condition || matches!(self.trigger, Trigger::Client(_))
    }
}

/// Compiles a regular expression over names: letters in any case, linear time, bounded size.
///
/// # Errors
/// One sentence: too long, too large, not understood, or true of every name.
pub(in crate::policy) fn regex(text: &str) -> Result<Regex, String> {
    if text.len() > REGEX_OCTETS_MAX {
        return Err(format!("a regular expression of more than {REGEX_OCTETS_MAX} octets"));
    }
    let compiled = builder(text).build().map_err(|error| {
        let said = error.to_string();
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("not understood").trim();
        format!("/{text}/ is no regular expression that runs in linear time: {}", last.trim_start_matches("error: "))
    })?;
    // What is true of names that have nothing in common is true of all.
    if [&b""[..], b"q", b"q0x.invalid"].iter().any(|name| compiled.is_match(name)) {
        return Err(format!("/{text}/ would match every name"));
    }
    Ok(compiled)
}

fn builder(text: &str) -> RegexBuilder {
    let mut builder = RegexBuilder::new(text);
    builder
        .unicode(false)
        .case_insensitive(true)
        .size_limit(REGEX_COMPILED_OCTETS_MAX)
        .dfa_size_limit(REGEX_CACHE_OCTETS_MAX);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_expressions_are_bounded_and_say_something() {
        assert!(regex("^ads[0-9]+\\.").unwrap().is_match(b"ADS7.example"));
        for (text, why) in [
            (".*", "would match every name"),
            ("", "would match every name"),
            ("[a-z]", "would match every name"),
            ("(?=ads)", "is no regular expression that runs in linear time: look-around"),
            ("(ads", "is no regular expression that runs in linear time: unclosed group"),
            ("((a{200}){200}){200}", "is no regular expression that runs in linear time"),
        ] {
            let error = regex(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(regex(&"a".repeat(REGEX_OCTETS_MAX + 1)).unwrap_err().contains("more than 1024 octets"));
    }

    #[test]
    fn what_is_not_known_fulfils_no_condition() {
        let for_a = Conditions { types: Selection { only: [1].into(), not: Box::default() }, ..Conditions::default() };
        let not_a = Conditions { types: Selection { only: Box::default(), not: [1].into() }, ..Conditions::default() };
        let asked = |qtype| Subject { qtype, ..Subject::default() };
        assert_eq!([Some(1), Some(28), None].map(|t| for_a.hold(&asked(t))), [true, false, false]);
        assert_eq!([Some(1), Some(28), None].map(|t| not_a.hold(&asked(t))), [false, true, false]);
    }
}
