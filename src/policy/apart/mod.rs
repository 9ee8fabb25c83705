//! Rules that are more than a name or a range: exceptions and precedence within a list, conditions, patterns, clients.
//!
//! They stand apart from the plain indexes and cost nothing where there are none. A list that has some comes to a verdict of
//! its own first: of all its rules that match, the one of the highest [`Tier`] speaks for it, then the closest one. A rule that
//! passes silences its list for that subject and nothing else; only then do lists compete with each other.
//!
//! | module | what |
//! |---|---|
//! | `rule` | what such a rule says |
//! | `glob` | patterns with `*` over the text of a name |
//! | `index` | finding those that match, and each list's own verdict |

mod glob;
mod index;
mod rule;

pub use glob::{Glob, Start};
pub(super) use index::{Apart, ApartBuilder, Best, Own, Place};
pub(super) use rule::regex;
pub use rule::{ApartRule, Conditions, Selection, Tier, Trigger};

/// Rules that may stand apart in one policy.
pub(super) const APART_RULES_MAX: usize = 250_000;
/// Of these, how many have no name to be found under and are tried one by one: regular expressions, keywords.
pub(super) const FLOATING_RULES_MAX: usize = 2_000;
/// Lists that have such rules in one policy.
pub(super) const GROUPS_MAX: usize = 32;
/// Octets of a regular expression as written.
pub(super) const REGEX_OCTETS_MAX: usize = 1_024;
/// Octets of a compiled regular expression.
pub(super) const REGEX_COMPILED_OCTETS_MAX: usize = 1 << 20;
/// Octets that matching one regular expression may keep for itself in a thread.
pub(super) const REGEX_CACHE_OCTETS_MAX: usize = 1 << 18;
/// Octets of a pattern's or keyword's longest literal part; below this it would take too much.
pub(super) const LITERAL_OCTETS_MIN: usize = 3;
/// Names, types or clients of one condition.
pub(super) const CONDITION_ITEMS_MAX: usize = 1_000;
