//! `interdict blocklist diff`, `preview` and `stats`: what differs between lists, what would differ for real names, and what
//! each list is worth.

use super::args::TableFormat;
use super::check::at_revision;
use super::progress::during;
use super::table::{Table, printable};
use super::vendors::print;
use super::{Failure, Out};
use crate::app::config::{Blocklist, Config, Origin};
use crate::app::lists::{self, Lists};
use crate::app::sync::feeds;
use crate::app::time::believed;
use crate::base::model::Decision;
use crate::base::name::Name;
use crate::io::store::{Filter, Ledger, StoreError};
use crate::policy::list::Format;
use crate::policy::{Policy, Subject};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;

/// Distinct names of a query log that are judged; the rest is left out and said.
const QUERIES_MAX: usize = 5_000_000;

/// What a side says of a pattern: whose it is, what for, and where it stands.
struct Said {
    vendor: String,
    place: String,
}

/// Rules that are in, out, or moved to another vendor or purpose.
pub(super) fn diff(a: &str, b: &str, config: &Config, out: &mut Out) -> Result<u8, Failure> {
    let (before, after) = during("comparing", || Ok::<_, Failure>((side(a, config)?, side(b, config)?)))?;
    let mut by: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    let mut lines = Vec::new();
    for (pattern, said) in &after {
        match before.get(pattern) {
            None => {
                by.entry(&said.vendor).or_default().0 += 1;
                lines.push(format!("+ {pattern} ({}), {}", said.vendor, said.place));
            }
            Some(old) if old.vendor != said.vendor => {
                by.entry(&said.vendor).or_default().2 += 1;
                lines.push(format!("~ {pattern} ({} → {}), {}", old.vendor, said.vendor, said.place));
            }
            Some(_) => {}
        }
    }
    for (pattern, said) in before.iter().filter(|(pattern, _)| !after.contains_key(*pattern)) {
        by.entry(&said.vendor).or_default().1 += 1;
        lines.push(format!("- {pattern} ({}), {}", said.vendor, said.place));
    }
    for (vendor, (is_in, is_out, moved)) in &by {
        out.line(&printable(&format!("{vendor}: {is_in} in, {is_out} out, {moved} moved")))?;
    }
    if lines.is_empty() {
        out.line("no difference")?;
    }
    lines.iter().try_for_each(|line| out.line(&printable(line)))?;
    Ok(0)
}

/// The rules of a list file, or of all lists from git as of a commit.
fn side(text: &str, config: &Config) -> Result<BTreeMap<String, Said>, Failure> {
    let path = Path::new(text);
    let lists = if path.exists() {
        let list = Blocklist::of_file("list", path, Format::Auto);
        lists::read(None, false, &[list], &lists::Snapshots::default())?
    } else {
        let from_git = config.blocklists.iter().filter(|list| matches!(list.origin, Origin::Git(_)));
        let from_git: Vec<Blocklist> = from_git.cloned().collect();
        lists::read(None, false, &from_git, &at_revision(&feeds(config), text)?)?
    };
    let mut rules = BTreeMap::new();
    for rule in lists.rules.rules() {
        let Some(facts) = lists.rules.facts(rule.id) else { continue };
        let vendor = lists.rules.class(rule.class).and_then(|class| class.vendor.as_deref());
        let vendor = vendor.map_or_else(|| "no vendor".to_owned(), |vendor| format!("{vendor} {}", facts.purpose));
        let kind = lists.rules.name_match(rule.id).map_or_else(String::new, |kind| format!(" {kind}"));
        rules.insert(format!("{}{kind}", facts.pattern), Said { vendor, place: facts.place.to_string() });
    }
    Ok(rules)
}

/// Which names of a query log another revision would newly block, or no longer block.
pub(super) fn preview(revision: &str, queries: &Path, config: &Config, out: &mut Out) -> Result<u8, Failure> {
    let at = believed(None).at;
    let policy = |lists: Lists| Policy::new(1, lists.rules, Arc::new(config.settings.clone()), at);
    let (now, then, (names, nameless)) = during("reading lists and queries", || {
        let now = policy(lists::load(config)?);
        let then = policy(lists::load_with(config, &at_revision(&feeds(config), revision)?)?);
        Ok::<_, Failure>((now, then, names(queries)?))
    })?;
    let (mut newly, mut no_longer) = (0_usize, 0_usize);
    for name in &names {
        let is_blocked = |policy: &Policy| {
            let subject = Subject { name: Some(name.as_ref()), ..Subject::default() };
            policy.decide(&subject).decision == Decision::Block
        };
        match (is_blocked(&now), is_blocked(&then)) {
            (false, true) => {
                newly += 1;
                out.line(&printable(&format!("+ {name}")))?;
            }
            (true, false) => {
                no_longer += 1;
                out.line(&printable(&format!("- {name}")))?;
            }
            _ => {}
        }
    }
    out.line(&format!("{} names: {newly} newly blocked, {no_longer} no longer blocked", names.len()))?;
    if nameless > 0 {
        out.line(&format!("{nameless} lines of {} tell of no name that was asked for", queries.display()))?;
    }
    Ok(0)
}

/// The names of a query log, each once, and how many of its lines have none.
fn names(file: &Path) -> Result<(BTreeSet<Name>, usize), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("{}: cannot be read: {error}", file.display()));
    let (mut names, mut nameless) = (BTreeSet::new(), 0);
    // What clients ask for is not always text.
    for line in BufReader::new(File::open(file).map_err(failed)?).split(b'\n') {
        let line = line.map_err(failed)?;
        let name = asked(&String::from_utf8_lossy(&line));
        match name.and_then(|text| Name::parse_host(text.trim_end_matches('.')).ok()) {
            Some(name) => drop(names.insert(name)),
            None => nameless += 1,
        }
        if names.len() > QUERIES_MAX {
            return Err(Failure::wrong(format!(
                "{}: more than {QUERIES_MAX} names; give a part of it",
                file.display()
            )));
        }
    }
    Ok((names, nameless))
}

/// The name in a line of a log: JSON with a `name`, dnsmasq's `query[A] NAME from …`, Unbound's `… NAME TYPE CLASS`, or the name.
fn asked(line: &str) -> Option<String> {
    let line = line.trim();
    if line.starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        return Some(value.get("name")?.as_str()?.to_owned());
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    if let Some(at) = words.iter().position(|word| word.starts_with("query[")) {
        return words.get(at + 1).map(|name| (*name).to_owned());
    }
    match words[..] {
        [name] if !name.starts_with('#') => Some(name.to_owned()),
        [.., name, _, "IN"] => Some(name.to_owned()),
        // With the times of a log of replies.
        [.., name, _, "IN", _, _, _, _] => Some(name.to_owned()),
        _ => None,
    }
}

/// Octets of text, rules, the memory that these take, and what the ledger saw of each list and vendor.
pub(super) fn stats(format: TableFormat, config: &Config, out: &mut Out) -> Result<u8, Failure> {
    let lists = during("reading lists", || lists::load(config))?;
    let mut hits: BTreeMap<String, u64> = BTreeMap::new();
    match Ledger::open_read(&config.store) {
        Ok(mut ledger) => {
            for row in ledger.rows(&Filter::default()).map_err(Failure::failed)? {
                *hits.entry(row.vendor).or_default() += row.count;
            }
        }
        // Nothing was seen yet.
        Err(StoreError::Missing { .. }) => {}
        Err(error) => return Err(Failure::failed(error)),
    }
    let mut counts: BTreeMap<String, (usize, f64)> = BTreeMap::new();
    for rule in lists.rules.rules() {
        let Some(class) = lists.rules.class(rule.class) else { continue };
        let whose = class.vendor.clone().or_else(|| lists.rules.list(class.list).map(|list| Arc::clone(&list.id)));
        let (count, octets) = counts.entry(whose.map_or_else(String::new, |id| id.to_string())).or_default();
        *count += 1;
        *octets += lists.rules.octets_of(&rule);
    }
    let mut table = Table::new(&["list", "bytes", "rules", "memory", "hits"]);
    let mut rows = Vec::new();
    for id in counts.keys().chain(lists.octets.keys()).collect::<BTreeSet<_>>() {
        let (rules, memory) = counts.get(id).copied().unwrap_or_default();
        let (bytes, seen) = (lists.octets.get(id).copied().unwrap_or(0), hits.get(id).copied().unwrap_or(0));
        let memory = memory.round() as u64;
        table.row(vec![id.clone(), bytes.to_string(), rules.to_string(), memory.to_string(), seen.to_string()]);
        rows.push(json!({ "list": id, "bytes": bytes, "rules": rules, "memory": memory, "hits": seen }));
    }
    print(&table, &rows, format, out)?;
    if format == TableFormat::Table {
        out.line(&format!("{} rules in {} octets of memory", lists.rules.len(), lists.rules.bytes()))?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_logs_of_all_kinds() {
        for (line, name) in [
            ("one.example", Some("one.example")),
            ("{\"frame\": 3, \"proto\": \"dns\", \"name\": \"one.example\"}", Some("one.example")),
            ("Nov 23 10:00:00 dnsmasq[7]: query[AAAA] one.example from 10.0.0.2", Some("one.example")),
            ("Nov 23 10:00:00 dnsmasq[7]: forwarded one.example to 192.0.2.1", None),
            ("[1700000000] unbound[7:0] info: 10.0.0.2 one.example. A IN", Some("one.example.")),
            ("[1700000000] unbound[7:0] info: 10.0.0.2 one.example. A IN NOERROR 0.000000 1 45", Some("one.example.")),
            ("# comment", None),
            ("", None),
        ] {
            assert_eq!(asked(line).as_deref(), name, "{line}");
        }
    }
}
