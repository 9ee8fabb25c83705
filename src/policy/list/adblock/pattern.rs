//! What stands before `$`: what a rule matches.

use super::super::{host, hosts, ranges};
use super::Left;
use crate::base::name::{Match, Pattern};
use crate::policy::apart::{Glob, Start, Trigger, regex};
use std::net::IpAddr;

/// Reads a pattern.
pub(super) fn parse(text: &str) -> Result<Trigger, Left> {
    if let Some(expression) = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).filter(|e| !e.is_empty()) {
        return regex(expression).map(Trigger::Regex).map_err(Left::Ignored);
    }
    if text.contains(char::is_whitespace) {
        return Err(Left::Bad(format!("{text:?} is no rule")));
    }
    if text.contains('/') {
        return Err(Left::Ignored(format!("{text:?} is about an address of the web, not about names")));
    }
    let (start, rest) = match text.strip_prefix("||") {
        Some(rest) => (Start::Label, rest),
        None => text.strip_prefix('|').map_or((Start::Anywhere, text), |rest| (Start::Name, rest)),
    };
    let body = rest.trim_end_matches(['^', '|', '*']);
    // After `^` or `|` a name is over, so a `*` behind them says nothing; without them it leaves the end open.
    let end = rest.get(body.len()..).unwrap_or_default();
    let ends = end.starts_with(['^', '|']);
    let open = end.starts_with('*');
    if body.contains(['^', '|']) {
        return Err(Left::Ignored(format!("{text:?} has a separator where no name has one")));
    }
    if let Some(net) = ranges::parse(body).filter(|_| start != Start::Anywhere || end.is_empty()) {
        return Ok(Trigger::Address(net));
    }
    if let (Some(below), true) = (body.strip_prefix("*."), start != Start::Name && !open)
        && !below.contains('*')
    {
        return named(below).and_then(|name| host::below(&name).map_err(Left::Bad)).map(Trigger::Name);
    }
    // Without an end of its own, `||name` is taken as `||name^`, and a bare name as a line of a hosts file.
    let kind = match start {
        Start::Label if !open => Some(Match::Suffix),
        Start::Name if ends => Some(Match::Exact),
        Start::Anywhere if end.is_empty() => Some(Match::Exact),
        _ => None,
    };
    let is_name =
        !body.contains('*') && !body.ends_with('.') && (start != Start::Anywhere || !body.starts_with(['-', '_', '.']));
    if let Some(kind) = kind.filter(|_| is_name)
        && (body.contains('.') || ends || start == Start::Anywhere)
    {
        return named(body).map(|name| Trigger::Name(Pattern::new(name, kind)));
    }
    let glob = if open { format!("{body}*") } else { body.to_owned() };
    Glob::new(start, &glob, ends).map(Trigger::Glob).map_err(Left::Ignored)
}

fn named(text: &str) -> Result<crate::base::name::Name, Left> {
    host::parse(text).map_err(Left::Bad)
}

/// An address and the names after it, as in a hosts file.
pub(super) fn hosts_line(text: &str) -> Option<(IpAddr, Vec<Pattern>)> {
    let text = text.split(" #").next().unwrap_or(text);
    let mut words = text.split_ascii_whitespace();
    let address = words.next()?.parse().ok()?;
    let mut words = words.peekable();
    words.peek()?;
    let words = words.filter(|word| !hosts::is_standard(word));
    Some((address, words.filter_map(|word| Some(Pattern::new(host::parse(word).ok()?, Match::Exact))).collect()))
}

/// What a rule and the one that takes it back have in common.
pub(super) fn form(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Name(pattern) => format!("{}:{}", pattern.kind(), pattern.name()),
        Trigger::Glob(glob) => format!("{glob:?}"),
        Trigger::Regex(regex) => format!("/{regex}/"),
        Trigger::Address(net) | Trigger::Client(net) => net.to_string(),
    }
}
