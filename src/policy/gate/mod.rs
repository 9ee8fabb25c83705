//! The gate: what a new revision of a list must be before it becomes policy. A refusal names the rule and keeps the old list.
//!
//! | check | refused |
//! |---|---|
//! | `minimum` | fewer rules than the least number; an emptied list |
//! | `shrink`, `growth` | far fewer or far more rules than before, counted from [`LIMITS_FROM_RULES`] on |
//! | `errors` | too many lines that say nothing readable |
//! | `canary` | an entry that must be there is not |
//! | `public-suffix` | `com`, `co.uk`: names under which others register (the ICANN section of the Public Suffix List) |
//! | `own` | the operator's own names and networks |
//! | `upstream`, `remote` | the servers that we ask, and those that lists come from |
//! | `shared` | a whole content delivery network, by name or range |
//! | `width` | a range wider than the configured prefix |
//!
//! Names of the list's PRIVATE section (`github.io`) and single addresses within shared ranges are let in with a warning.
//! Rules that let pass are not judged: they are exceptions of their own list from itself.
//!
//! | module | what |
//! |---|---|
//! | `limits` | numbers |
//! | `names` | names that no list may take |
//! | `nets` | addresses that no list may take |

mod limits;
mod names;
mod nets;

pub use limits::{Counts, LIMITS_FROM_RULES, Limits};

use super::apart::Trigger;
use super::list::Report;
use super::rules::RuleSet;
use super::view::{RuleView, What};
use crate::base::model::vocabulary;
use crate::base::name::{Match, Name, NameRef, Pattern};
use ipnet::IpNet;
use names::{Names, Take};
use nets::Nets;

/// Warnings that are kept of one list; the rest is counted.
pub const WARNINGS_MAX: usize = 20;

vocabulary! {
    /// What the gate looks at.
    pub enum Check {
        /// The least number of rules.
        Minimum => "minimum",
        /// Rules lost at once.
        Shrink => "shrink",
        /// Rules gained at once.
        Growth => "growth",
        /// Lines that say nothing readable.
        Errors => "errors",
        /// Entries that must be there.
        Canary => "canary",
        /// Names under which others register.
        PublicSuffix => "public-suffix",
        /// The operator's own names and networks.
        Own => "own",
        /// The servers that we ask.
        Upstream => "upstream",
        /// The servers that lists come from.
        Remote => "remote",
        /// Networks that many share.
        Shared => "shared",
        /// Ranges wider than the configured prefix.
        Width => "width",
    }
}

/// An entry that must be there, or one that must not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A name.
    Name(Name),
    /// Addresses.
    Net(IpNet),
}

/// Why a list is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: refused by the gate ({check}): {why}; the list in force stays")]
pub struct Refused {
    /// `file:line` of the rule, or the list's id where no single rule is at fault.
    pub place: String,
    /// What was looked at.
    pub check: Check,
    /// One sentence.
    pub why: String,
}

/// What went in although somebody should look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// `file:line` of the rule.
    pub place: String,
    /// What was looked at.
    pub check: Check,
    /// One sentence.
    pub why: String,
}

/// A list that went in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// What the next revision is compared with.
    pub counts: Counts,
    /// What somebody should look at, at most [`WARNINGS_MAX`].
    pub warnings: Vec<Warning>,
    /// Warnings beyond these.
    pub more: usize,
}

/// Everything that a list is judged by.
#[derive(Clone, Debug)]
pub struct Gate {
    limits: Limits,
    canaries: Vec<Target>,
    names: Names,
    nets: Nets,
}

impl Default for Gate {
    /// A gate that knows the shared networks of the distribution, and nothing of the operator's yet.
    fn default() -> Self {
        let (names, nets) = (Names::with_shared(), Nets::with_shared());
        Self { limits: Limits::default(), canaries: Vec::new(), names, nets }
    }
}

impl Gate {
    /// The same gate with the numbers of one list, and the entries that must be in it: names that it blocks, ranges of which it
    /// blocks the first address.
    #[must_use]
    pub fn with(&self, limits: Limits, must_have: &[Target]) -> Self {
        Self { limits, canaries: must_have.to_vec(), ..self.clone() }
    }

    /// Something that no rule may take: `check` is [`Check::Own`], [`Check::Upstream`] or [`Check::Remote`].
    pub fn must_not_take(&mut self, check: Check, target: Target) {
        match target {
            Target::Name(name) => self.names.protect(check, name),
            Target::Net(net) => self.nets.protect(check, net),
        }
    }

    /// Judges the list with this id of a rule set. `old` is what its last accepted revision counted.
    ///
    /// # Errors
    /// The first thing that is refused, with the rule that is at fault.
    pub fn judge(
        &self,
        rules: &RuleSet,
        id: &str,
        report: &Report,
        old: Option<&Counts>,
    ) -> Result<Passed, Box<Refused>> {
        let own = |rule: &RuleView<'_>| list_of(rules, rule).is_some_and(|list| &*list.id == id);
        let place = |rule: &RuleView<'_>| {
            list_of(rules, rule).map_or_else(String::new, |l| format!("{}:{}", l.file, rule.line))
        };
        let all = self.judge_rules(id, rules.rules().filter(own), place, (report, old), 1);
        all.map_err(|mut refused| Box::new(refused.swap_remove(0)))
    }

    /// The same over rules from anywhere; `place` tells where a rule stands. It looks for no more than `most` refusals.
    ///
    /// # Errors
    /// What is refused, at least one thing, each with the rule that is at fault.
    pub fn judge_rules<'r>(
        &self,
        id: &str,
        rules: impl Iterator<Item = RuleView<'r>>,
        place: impl Fn(&RuleView<'r>) -> String,
        (report, old): (&Report, Option<&Counts>),
        most: usize,
    ) -> Result<Passed, Vec<Refused>> {
        let most = most.max(1);
        let refuse = |(check, why)| Refused { place: id.to_owned(), check, why };
        let mut passed = Passed::default();
        let mut all = Vec::new();
        let mut missing: Vec<&Target> = self.canaries.iter().collect();
        for rule in rules {
            passed.counts.count(&rule.what);
            missing.retain(|canary| !takes(&rule.what, canary));
            match self.judge_rule(&rule.what) {
                None => {}
                Some(Fault { check, why, is_warning: false }) => {
                    all.push(Refused { place: place(&rule), check, why });
                    if all.len() >= most {
                        return Err(all);
                    }
                }
                Some(Fault { .. }) if passed.warnings.len() >= WARNINGS_MAX => passed.more += 1,
                Some(Fault { check, why, .. }) => passed.warnings.push(Warning { place: place(&rule), check, why }),
            }
        }
        passed.counts.read(report);
        all.extend(self.limits.check(&passed.counts, old).map_err(refuse).err());
        for canary in missing {
            let what = match canary {
                Target::Name(name) => name.to_string(),
                Target::Net(net) => net.to_string(),
            };
            let why = format!("{what} must be in it and is not; is it the right list?");
            all.push(refuse((Check::Canary, why)));
        }
        all.truncate(most);
        if all.is_empty() { Ok(passed) } else { Err(all) }
    }

    fn judge_rule(&self, what: &What<'_>) -> Option<Fault> {
        match what {
            What::Name(name, kind) => self.names.judge(&Take::Plain(name.unpack().as_ref(), *kind)),
            What::Range(net) => self.nets.judge(*net, &self.limits),
            What::Apart(rule) if rule.passes => None,
            What::Apart(rule) => match &rule.trigger {
                Trigger::Name(pattern) => self.names.judge(&Take::Plain(pattern.name(), pattern.kind())),
                Trigger::Address(net) => self.nets.judge(*net, &self.limits),
                Trigger::Glob(_) | Trigger::Regex(_) => self.names.judge(&Take::Apart(rule)),
                // Whose queries are refused is the operator's to say; the rule takes nothing from others.
                Trigger::Client(_) => None,
            },
        }
    }
}

/// What is wrong with a rule.
struct Fault {
    check: Check,
    why: String,
    is_warning: bool,
}

impl Fault {
    const fn refusal(check: Check, why: String) -> Self {
        Self { check, why, is_warning: false }
    }

    const fn warning(check: Check, why: String) -> Self {
        Self { check, why, is_warning: true }
    }
}

fn list_of<'a>(rules: &'a RuleSet, rule: &RuleView<'_>) -> Option<&'a super::List> {
    rules.list(rules.class(rule.class)?.list)
}

/// Whether a rule is against a target.
fn takes(what: &What<'_>, target: &Target) -> bool {
    let is_in = |net: &IpNet, target: &IpNet| net.contains(&target.network());
    match (what, target) {
        (What::Name(name, kind), Target::Name(target)) => matches(name.unpack().as_ref(), *kind, target.as_ref()),
        (What::Range(net), Target::Net(target)) => is_in(net, target),
        (What::Apart(rule), Target::Name(target)) => !rule.passes && rule.mentions(target.as_ref()),
        (What::Apart(rule), Target::Net(target)) => match &rule.trigger {
            Trigger::Address(net) => !rule.passes && is_in(net, target),
            _ => false,
        },
        _ => false,
    }
}

fn matches(rule: NameRef<'_>, kind: Match, name: NameRef<'_>) -> bool {
    match kind {
        Match::Exact => rule == name,
        Match::Suffix => name.is_at_or_below(rule),
        Match::Wildcard => Pattern::new(rule.to_name(), kind).matches(name),
    }
}

#[cfg(test)]
mod tests;
