//! From tables to types: words, names, addresses and dates are what they should be, entries cite sources that exist, and
//! nothing stands twice. Checks go on after a problem, so that one run shows them all.

mod address;
mod authority;
mod names;
mod payload;

use super::raw::{At, Cited, File, Head, Source, Text};
use super::{Provenance, Subject, VendorFile, raw};
use crate::base::model::UnknownWord;
use crate::policy::list::problem::{Report, did_you_mean};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

/// What checks share: where problems go, the sources so far, and what was seen already.
struct Check<'r> {
    report: &'r mut Report,
    /// Source id → is it public.
    sources: BTreeMap<Arc<str>, bool>,
    /// What must not stand twice → the line where it stands.
    seen: BTreeMap<(&'static str, String), u32>,
}

/// Checks a whole file; `None` where no vendor could be made of it. Problems, if any, are in the report.
pub(super) fn file(name: &str, raw: File, report: &mut Report) -> Option<VendorFile> {
    let mut check = Check { report, sources: BTreeMap::new(), seen: BTreeMap::new() };
    let check = &mut check;
    let sources = raw.source.into_iter().filter_map(|source| check.source(source)).collect();
    let head = check.head(raw.head);
    let authorities = raw.authority.into_iter().filter_map(|entry| check.authority(entry)).collect();
    let domains = raw.domain.into_iter().filter_map(|entry| check.domain(entry)).collect();
    let ranges = raw.range.into_iter().filter_map(|entry| check.range(entry)).collect();
    let ports = raw.port.into_iter().filter_map(|entry| check.port(entry)).collect();
    let fallbacks = raw.fallback.into_iter().filter_map(|entry| check.fallback(entry)).collect();
    let signatures = raw.signature.into_iter().filter_map(|entry| check.signature(entry)).collect();
    let excludes = raw.exclude.into_iter().filter_map(|entry| check.exclude(entry)).collect();
    let resolvers = raw.resolver.into_iter().filter_map(|entry| check.resolver(entry)).collect();
    let canaries = raw.canary.into_iter().filter_map(|entry| check.canary(entry)).collect();
    let (subject, Head { id, name: vendor, country, aliases, answer, notes }) = head?;
    let country = country.and_then(|country| check.country(country));
    Some(VendorFile {
        file: name.into(),
        subject,
        id: check.slug(&id, "id")?,
        name: check.text(vendor, "name"),
        country,
        aliases: check.texts(aliases, "aliases"),
        notes: check.texts(notes, "notes"),
        answer: answer.and_then(|answer| check.word(&answer)),
        sources,
        authorities,
        domains,
        ranges,
        ports,
        fallbacks,
        signatures,
        excludes,
        resolvers,
        canaries,
    })
}

impl Check<'_> {
    fn problem(&mut self, at: &Text, message: impl Into<String>) {
        let line = self.report.line(at.span().start);
        self.report.push(line, message);
    }

    fn head(&mut self, mut heads: Vec<(Subject, At<Head>)>) -> Option<(Subject, Head)> {
        if heads.len() > 1 {
            let line = heads.iter().map(|(_, head)| head.line).max().unwrap_or(1);
            self.report.push(line, "a file is about one [vendor] or one [bundle], not both");
        }
        let head = heads.pop();
        if head.is_none() && self.report.is_empty() {
            self.report.push(1, "the file says of nobody: write [vendor] or [bundle] with `id` and `name`");
        }
        head.map(|(subject, head)| (subject, head.entry))
    }

    fn source(&mut self, At { line, entry }: At<Source>) -> Option<super::Source> {
        let Source { id, title, location, licence, version, note, public } = entry;
        let public = public.unwrap_or(true);
        let slug = self.slug(&id, "id");
        let title = self.text(title, "title");
        let location = self.text(location, "where");
        let slug = slug?;
        self.once("source", slug.to_string(), line);
        self.sources.insert(Arc::clone(&slug), public);
        Some(super::Source {
            line,
            id: slug,
            title,
            location,
            licence: self.maybe(licence, "licence"),
            version: self.maybe(version, "version"),
            note: self.maybe(note, "note"),
            public,
        })
    }

    /// The sources of an entry: at least one, each of them defined.
    fn provenance(&mut self, line: u32, cited: Cited, verified: Option<bool>) -> Provenance {
        let at = self.report.line(cited.span().start);
        let mut provenance =
            Provenance { line, sources: Vec::new(), public: false, verified: verified.unwrap_or(true) };
        let cited = cited.into_inner();
        if cited.is_empty() {
            self.report.push(at, "this entry has no source; an entry without one cannot be listed");
        }
        for id in cited {
            let Some((known, public)) = self.sources.get_key_value(id.as_ref().as_str()) else {
                let meant = did_you_mean(id.as_ref(), self.sources.keys().map(|known| &**known));
                let hint =
                    meant.map_or_else(|| "add a [[source]]".to_owned(), |meant| format!("did you mean {meant:?}?"));
                self.problem(&id, format!("source {:?} is not defined in this file; {hint}", id.as_ref()));
                continue;
            };
            provenance.public |= public;
            provenance.sources.push(Arc::clone(known));
        }
        provenance
    }

    /// Reports a second entry of the same kind and key.
    fn once(&mut self, kind: &'static str, key: String, line: u32) {
        match self.seen.get(&(kind, key.clone())) {
            Some(first) => self.report.push(line, format!("{kind} {key} stands in line {first} already")),
            None => {
                self.seen.insert((kind, key), line);
            }
        }
    }

    /// A word of a closed vocabulary.
    fn word<T: FromStr<Err = UnknownWord>>(&mut self, text: &Text) -> Option<T> {
        match text.as_ref().parse() {
            Ok(word) => Some(word),
            Err(error) => {
                let hint = did_you_mean(&error.word, error.known.iter().copied());
                let hint = hint.map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"));
                self.problem(text, format!("{error}{hint}"));
                None
            }
        }
    }

    fn words<T: FromStr<Err = UnknownWord>>(&mut self, texts: &[Text]) -> Vec<T> {
        texts.iter().filter_map(|text| self.word(text)).collect()
    }

    /// A text that says something.
    fn text(&mut self, text: Text, key: &str) -> String {
        if text.as_ref().trim().is_empty() {
            self.problem(&text, format!("`{key}` is empty; leave the key out or say something"));
        }
        text.into_inner()
    }

    fn texts(&mut self, texts: Vec<Text>, key: &str) -> Vec<String> {
        texts.into_iter().map(|text| self.text(text, key)).collect()
    }

    fn maybe(&mut self, text: Option<Text>, key: &str) -> Option<String> {
        text.map(|text| self.text(text, key))
    }

    /// An id: lower-case letters, digits and hyphens.
    fn slug(&mut self, text: &Text, key: &str) -> Option<Arc<str>> {
        if is_slug(text.as_ref()) {
            return Some(text.as_ref().as_str().into());
        }
        self.problem(text, format!("`{key}` {:?} is to be of lower-case letters, digits and hyphens", text.as_ref()));
        None
    }

    fn country(&mut self, text: Text) -> Option<String> {
        if text.as_ref().len() == 2 && text.as_ref().bytes().all(|octet| octet.is_ascii_uppercase()) {
            return Some(text.into_inner());
        }
        self.problem(&text, format!("`country` {:?} is to be two capital letters (ISO 3166)", text.as_ref()));
        None
    }

    /// A day, `2026-05-19`.
    fn day(&mut self, text: &Text, key: &str) -> Option<jiff::civil::Date> {
        let day = (text.as_ref().len() == 10).then(|| text.as_ref().parse().ok()).flatten();
        if day.is_none() {
            self.problem(text, format!("`{key}` {:?} is no day; write it as 2026-05-19", text.as_ref()));
        }
        day
    }
}

fn is_slug(text: &str) -> bool {
    let inner = text.bytes().all(|octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    inner && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}
