//! What tests of formats share: a list read, its entries as words.

use super::format::{self, Format};
use super::line::Report;
use super::out::{Action, Entry, Out};
use crate::base::model::BlockAnswer;
use crate::policy::apart::{ApartRule, Selection, Trigger};
use std::collections::HashSet;

/// Entries as words, and the report.
pub(super) fn entries(format: Format, text: &str) -> (Vec<String>, Report) {
    read(format, text, false).unwrap()
}

/// The same where the operator lets lists answer.
pub(super) fn entries_with_answers(format: Format, text: &str) -> (Vec<String>, Report) {
    read(format, text, true).unwrap()
}

/// Why a list is refused.
pub(super) fn refused(format: Format, text: &str) -> String {
    read(format, text, false).unwrap_err()
}

fn read(format: Format, text: &str, answers: bool) -> Result<(Vec<String>, Report), String> {
    let mut all = Vec::new();
    let (mut seen, mut duplicates) = (HashSet::new(), 0);
    let mut take = |entry: Entry<'_>, line| {
        let said = match &entry {
            Entry::Name(pattern, action) => format!("{} {}{}", pattern.kind(), pattern.name(), done(action)),
            Entry::Range(net, action) => format!("{net}{}", done(action)),
            Entry::Apart(rule, _, action) => format!("{}{}", apart(rule), done(action)),
            Entry::TakeBack(pattern) => format!("back {} {}", pattern.kind(), pattern.name()),
            Entry::TakeBackApart(form) => format!("back {form}"),
            Entry::Enter { file, .. } => format!("enter {file}"),
            Entry::Leave => "leave".to_owned(),
        };
        if seen.insert(said.clone()) {
            all.push(format!("{line} {said}"));
        } else {
            duplicates += 1;
        }
        Ok(())
    };
    let mut out = Out::new("f", answers, &mut take);
    format::read(format, &mut out, &mut text.as_bytes(), None).map_err(|refusal| refusal.to_string())?;
    let report = out.close().map_err(|refusal| refusal.to_string())?;
    Ok((all, Report { duplicates, ..report }))
}

fn done(action: &Action) -> String {
    let answer = action.answer.map_or(String::new(), |answer: BlockAnswer| format!(" {answer}"));
    let data = action.data.as_ref().map_or(String::new(), |data| {
        let v4 = data.v4.iter().map(ToString::to_string);
        let v6 = data.v6.iter().map(ToString::to_string);
        let all: Vec<String> = v4.chain(v6).chain(data.cname.iter().map(ToString::to_string)).collect();
        format!(" -> {}", all.join(","))
    });
    answer + &data
}

fn apart(rule: &ApartRule) -> String {
    let passes = if rule.passes { "pass" } else { "block" };
    let trigger = match &rule.trigger {
        Trigger::Name(pattern) => format!("{} {}", pattern.kind(), pattern.name()),
        Trigger::Glob(glob) => format!("glob {}", String::from_utf8_lossy(glob.longest())),
        Trigger::Regex(regex) => format!("/{regex}/"),
        Trigger::Address(net) => net.to_string(),
        Trigger::Client(net) => format!("client {net}"),
    };
    let conditions = rule.conditions.as_ref().map_or(String::new(), |conditions| {
        let not_below: Vec<String> = conditions.not_below.iter().map(ToString::to_string).collect();
        let not_below = if not_below.is_empty() { String::new() } else { format!(" but {}", not_below.join(",")) };
        not_below + &selection(" type", &conditions.types) + &selection(" client", &conditions.clients)
    });
    format!("{passes} {:?} {trigger}{conditions}", rule.tier)
}

fn selection<T: ToString>(what: &str, selection: &Selection<T>) -> String {
    let words = |all: &[T], sign: &str| all.iter().map(|one| format!("{sign}{}", one.to_string())).collect::<Vec<_>>();
    let all = [words(&selection.only, ""), words(&selection.not, "~")].concat();
    if all.is_empty() { String::new() } else { format!("{what} {}", all.join("|")) }
}
