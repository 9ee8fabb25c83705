//! What the reader of a format hands on, and what no list may hold whatever its format.

use super::line::{self, Refusal, Report};
use super::ranges;
use crate::base::model::BlockAnswer;
use crate::base::name::{Match, Name, Pattern};
use crate::policy::apart::{ApartRule, Conditions, Tier, Trigger};
use crate::policy::{AnswerData, TooMany};
use ipnet::IpNet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

/// How a list wants its block answered; by default it leaves that to the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Action {
    /// The kind of answer.
    pub(crate) answer: Option<BlockAnswer>,
    /// What is answered instead.
    pub(crate) data: Option<Arc<AnswerData>>,
}

impl Action {
    /// As the operator wants.
    pub(crate) const PLAIN: Self = Self { answer: None, data: None };

    /// A kind of answer.
    pub(crate) const fn of(answer: BlockAnswer) -> Self {
        Self { answer: Some(answer), data: None }
    }
}

/// What a list line becomes.
pub(crate) enum Entry<'a> {
    /// A rule on names.
    Name(&'a Pattern, &'a Action),
    /// A rule on addresses.
    Range(IpNet, &'a Action),
    /// A rule with an exception, a condition or a pattern; with the form in which it may be taken back.
    Apart(Box<ApartRule>, Option<Box<str>>, &'a Action),
    /// A plain rule is taken back, wherever it stands in the list.
    TakeBack(Pattern),
    /// A rule apart of this form is taken back, wherever it stands.
    TakeBackApart(Box<str>),
    /// What follows is in another file, up to [`Entry::Leave`].
    Enter {
        /// The file.
        file: &'a str,
        /// Its revision.
        revision: &'a str,
    },
    /// Back to the file before.
    Leave,
}

/// Takes an entry with its line.
pub(crate) type Take<'a> = dyn FnMut(Entry<'_>, u32) -> Result<(), TooMany> + 'a;

/// A file that is left for one that it includes: its name, and the lines that were left out up to there.
pub(super) struct Left {
    file: String,
    shown: usize,
    ignored_shown: usize,
}

/// Where the reader of a format puts what it reads.
pub(crate) struct Out<'a> {
    file: String,
    answers: bool,
    take: &'a mut Take<'a>,
    pub(super) report: Report,
}

impl<'a> Out<'a> {
    /// A place for the rules of a file. `answers`: the operator lets the list answer with data of its own.
    pub(crate) fn new(file: &str, answers: bool, take: &'a mut Take<'a>) -> Self {
        Self { file: file.to_owned(), answers, take, report: Report::default() }
    }

    /// Keeps all lines that are left out, for somebody who wants to mend them.
    pub(crate) const fn keep_all(&mut self) {
        self.report.keeps = line::BAD_LINES_ALL;
    }

    /// A refusal of the whole list.
    pub(super) fn refuse(&self, line: u32, why: impl Into<String>) -> Refusal {
        Refusal::At { file: self.file.clone(), line, why: why.into() }
    }

    /// The file cannot be read.
    pub(super) fn unreadable(&self, error: io::Error) -> Refusal {
        Refusal::Io { file: self.file.clone(), error }
    }

    fn too_many(&self, why: TooMany) -> Refusal {
        Refusal::TooMany { file: self.file.clone(), why }
    }

    /// What has been read, unless too much of it was left out.
    pub(crate) fn close(self) -> Result<Report, Refusal> {
        self.report.ratio(&self.file)?;
        Ok(self.report)
    }

    fn hand(&mut self, entry: Entry<'_>, line: u32) -> Result<(), Refusal> {
        (self.take)(entry, line).map_err(|why| self.too_many(why))?;
        self.report.rules += 1;
        Ok(())
    }

    /// A rule on a name and everything below it.
    pub(super) fn suffix(&mut self, name: Name, line: u32) -> Result<(), Refusal> {
        self.name(&Pattern::new(name, Match::Suffix), &Action::PLAIN, line)
    }

    /// A rule on names.
    pub(super) fn name(&mut self, pattern: &Pattern, action: &Action, line: u32) -> Result<(), Refusal> {
        if let Some(why) = too_much(pattern) {
            return Err(self.refuse(line, why));
        }
        self.hand(Entry::Name(pattern, action), line)
    }

    /// A rule on addresses.
    pub(super) fn range(&mut self, net: IpNet, action: &Action, line: u32) -> Result<(), Refusal> {
        if ranges::too_wide(net) {
            return Err(self.refuse(line, ranges::why_too_wide(net)));
        }
        self.hand(Entry::Range(net, action), line)
    }

    /// A rule with an exception, a condition or a pattern. One that would take too much is left out.
    pub(super) fn apart(
        &mut self,
        rule: ApartRule,
        form: Option<Box<str>>,
        action: &Action,
        line: u32,
    ) -> Result<(), Refusal> {
        let why = match &rule.trigger {
            Trigger::Name(pattern) if !rule.passes => too_much(pattern),
            Trigger::Address(net) if !rule.passes && ranges::too_wide(*net) => Some(ranges::why_too_wide(*net)),
            _ => None,
        };
        if let Some(why) = why {
            self.report.ignored(line, why);
            return Ok(());
        }
        self.hand(Entry::Apart(Box::new(rule), form, action), line)
    }

    /// A name that passes for this list, closer names left aside.
    pub(super) fn passes(&mut self, pattern: Pattern, text: &str, line: u32) -> Result<(), Refusal> {
        self.apart(rule(text, Trigger::Name(pattern), Tier::Plain, true), None, &Action::PLAIN, line)
    }

    /// Takes rules back.
    pub(super) fn take_back(&mut self, entry: Entry<'_>, line: u32) -> Result<(), Refusal> {
        (self.take)(entry, line).map_err(|why| self.too_many(why))
    }

    /// Reads on in another file.
    pub(super) fn enter(&mut self, file: String, revision: &str) -> Result<Left, Refusal> {
        (self.take)(Entry::Enter { file: &file, revision }, 0).map_err(|why| self.too_many(why))?;
        let (shown, ignored_shown) = (self.report.shown.len(), self.report.ignored_shown.len());
        Ok(Left { file: std::mem::replace(&mut self.file, file), shown, ignored_shown })
    }

    /// Reads on in the file before.
    pub(super) fn leave(&mut self, left: Left) -> Result<(), Refusal> {
        let included = std::mem::replace(&mut self.file, left.file);
        let shown = self.report.shown.iter_mut().skip(left.shown);
        for line in shown.chain(self.report.ignored_shown.iter_mut().skip(left.ignored_shown)) {
            // Those of a list that this one includes in turn have theirs.
            line.file.get_or_insert_with(|| included.as_str().into());
        }
        (self.take)(Entry::Leave, 0).map_err(|why| self.too_many(why))
    }

    /// What it means that a list answers with addresses: a plain block where they lead nowhere or the operator does not
    /// let lists answer.
    pub(super) fn addresses(&self, addresses: &[IpAddr]) -> Action {
        let nowhere = |address: &IpAddr| address.is_unspecified() || address.is_loopback();
        if addresses.iter().all(nowhere) {
            return Action::PLAIN;
        }
        let mut data = AnswerData::default();
        for address in addresses {
            match address {
                IpAddr::V4(v4) => data.v4.push(*v4),
                IpAddr::V6(v6) => data.v6.push(*v6),
            }
        }
        self.data(data)
    }

    /// What it means that a list answers with data.
    pub(super) fn data(&self, data: AnswerData) -> Action {
        if self.answers { Action { answer: None, data: Some(Arc::new(data)) } } else { Action::PLAIN }
    }
}

/// A rule apart without conditions.
pub(super) fn rule(text: &str, trigger: Trigger, tier: Tier, passes: bool) -> ApartRule {
    ApartRule { text: text.into(), trigger, conditions: None::<Box<Conditions>>, tier, passes }
}

/// Why a rule on names would take too much.
fn too_much(pattern: &Pattern) -> Option<String> {
    let name = pattern.name();
    if name.is_root() {
        return Some("this would take every name".to_owned());
    }
    let said = name.labels().filter(|label| label.iter().any(|octet| *octet != b'*')).count();
    let last = name.labels().last().unwrap_or_default();
    match pattern.kind() {
        Match::Exact => None,
        _ if said == 0 => Some("this would take every name".to_owned()),
        _ if said < 2 || last.contains(&b'*') => {
            Some(format!("\"{name}\" would take a whole top-level domain; list the names below it instead"))
        }
        Match::Suffix | Match::Wildcard => None,
    }
}
