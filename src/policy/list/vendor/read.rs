//! From text to tables: TOML with a line for everything, and every problem of the file at once.

use super::check;
use super::raw::{At, File};
use super::{Subject, VendorFile};
use crate::policy::list::problem::{ListError, Report, did_you_mean};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Octets of the largest vendor file.
pub const FILE_OCTETS_MAX: usize = 4 * 1024 * 1024;
/// The schema that this reader knows.
const VERSION: &str = "1";
/// The tables and keys at the top of a file.
const SECTIONS: &[&str] = &[
    "version",
    "vendor",
    "bundle",
    "source",
    "authority",
    "domain",
    "range",
    "port",
    "fallback",
    "signature",
    "exclude",
    "resolver",
    "canary",
];

/// Reads a vendor file. `file` is what problems call it; nothing is opened.
///
/// # Errors
/// Every problem of the text, by line.
pub fn read(file: &str, text: &str) -> Result<VendorFile, ListError> {
    let mut report = Report::new(text);
    let raw = tables(text, &mut report);
    let checked = raw.and_then(|raw| check::file(file, raw, &mut report));
    match checked {
        Some(checked) if report.is_empty() => Ok(checked),
        _ => {
            if report.is_empty() {
                report.push(1, "the file cannot be read");
            }
            Err(report.into_error(file))
        }
    }
}

/// The tables of a text; `None` where it is no TOML at all, or not of this version.
fn tables(text: &str, report: &mut Report) -> Option<File> {
    if text.len() > FILE_OCTETS_MAX {
        report.push(1, format!("the file has {} octets; {FILE_OCTETS_MAX} are allowed", text.len()));
        return None;
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = report.line(error.span().map_or(0, |span| span.start));
        report.push(line, format!("this is not TOML: {}", error.message().replace('\n', " ")));
    }
    if !errors.is_empty() {
        return None;
    }
    let root = root.into_inner();
    version(&root, report)?;
    let mut file = File::default();
    for (key, value) in root {
        let at = key.span().start;
        section(&mut file, (key.into_inner().as_ref(), at), value, report);
    }
    Some(file)
}

fn version(root: &DeTable<'_>, report: &mut Report) -> Option<()> {
    let Some(value) = root.get("version") else {
        report.push(1, "`version = 1` is missing; it stands before the first table");
        return None;
    };
    if value.get_ref().as_integer().is_some_and(|version| version.as_str() == VERSION) {
        return Some(());
    }
    let line = report.line(value.span().start);
    report.push(line, format!("this version of the schema is not known; write `version = {VERSION}`"));
    None
}

/// Sorts one top-level value into its place.
fn section(file: &mut File, (key, at): (&str, usize), value: Spanned<DeValue<'_>>, report: &mut Report) {
    match key {
        "version" => {}
        "vendor" | "bundle" => {
            let subject = if key == "vendor" { Subject::Vendor } else { Subject::Bundle };
            let line = report.line(at);
            if value.get_ref().is_table() {
                file.head.extend(entry(value, line, report).map(|head| (subject, head)));
            } else {
                report.push(line, format!("{key:?} is one table: write [{key}]"));
            }
        }
        "source" => file.source = entries(key, at, value, report),
        "authority" => file.authority = entries(key, at, value, report),
        "domain" => file.domain = entries(key, at, value, report),
        "range" => file.range = entries(key, at, value, report),
        "port" => file.port = entries(key, at, value, report),
        "fallback" => file.fallback = entries(key, at, value, report),
        "signature" => file.signature = entries(key, at, value, report),
        "exclude" => file.exclude = entries(key, at, value, report),
        "resolver" => file.resolver = entries(key, at, value, report),
        "canary" => file.canary = entries(key, at, value, report),
        _ => {
            let line = report.line(at);
            report.push(line, unknown_key(key, SECTIONS));
        }
    }
}

/// The entries of an array of tables, those that can be read.
fn entries<'de, T: Deserialize<'de>>(
    key: &str,
    at: usize,
    value: Spanned<DeValue<'de>>,
    report: &mut Report,
) -> Vec<At<T>> {
    let line = report.line(at);
    let DeValue::Array(array) = value.into_inner() else {
        report.push(line, format!("{key:?} is a list of tables: write [[{key}]]"));
        return Vec::new();
    };
    array
        .into_iter()
        .filter_map(|value| {
            let line = report.line(value.span().start);
            entry(value, line, report)
        })
        .collect()
}

/// One table by the schema.
fn entry<'de, T: Deserialize<'de>>(value: Spanned<DeValue<'de>>, line: u32, report: &mut Report) -> Option<At<T>> {
    match T::deserialize(value.into_deserializer()) {
        Ok(entry) => Some(At { line, entry }),
        Err(error) => {
            // A missing key is reported with the span of the whole table, whose start is the header.
            let line = error.span().map_or(line, |span| report.line(span.start));
            report.push(line, sentence(&error));
            None
        }
    }
}

/// Serde's message as a sentence of ours.
fn sentence(error: &toml::de::Error) -> String {
    let message = error.message();
    // The words of serde's derive are stable: unknown field `a`, expected one of `b`, `c`.
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let known: Vec<_> = quoted.clone().skip(1).collect();
        return unknown_key(quoted.next().unwrap_or_default(), &known);
    }
    if message.starts_with("missing field") {
        return format!("this entry has no `{}`", quoted.next().unwrap_or_default());
    }
    // The last line of the error as a whole names the key.
    let whole = error.to_string();
    match whole.lines().find_map(|line| line.strip_prefix("in ")) {
        Some(key) => {
            let plain = message.trim_start_matches("invalid type: ").replace("a sequence", "a list");
            format!("wrong type for {key}: {}", plain.replace("map,", "date or table,"))
        }
        None => message.to_owned(),
    }
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    match did_you_mean(key, known.iter().copied()) {
        Some(meant) => format!("unknown key `{key}`; did you mean `{meant}`?"),
        None => format!("unknown key `{key}`; known here are {}", known.join(", ")),
    }
}
