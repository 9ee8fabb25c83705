//! Reading a list of any size line by line: bounded lines, BOM, CRLF, comments; and the signs that a file is no list.

use super::out::Out;
use std::io::{self, BufRead};

/// Octets of the longest line that a list may hold; a longer one means that the file is something else.
pub(super) const LINE_OCTETS_MAX: usize = 4_096;
/// Lines that are tolerated although they say nothing readable, of a thousand; more means that the file is something else.
pub(super) const BAD_PER_MILLE_MAX: usize = 200;
/// Lines left out that are kept to be shown, of each kind; the rest is counted.
pub(super) const BAD_LINES_SHOWN: usize = 20;
/// The same where somebody wants to see all of them.
pub(super) const BAD_LINES_ALL: usize = 100_000;

/// Why a file is refused as a list; nothing of it becomes a rule.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It could not be read.
    #[error("{file}: cannot be read: {error}; the list stays as it was")]
    Io {
        /// The file.
        file: String,
        /// What the system said.
        error: io::Error,
    },
    /// It is not a list at all, or holds an entry that must not be.
    #[error("{file}:{line}: {why}")]
    At {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u32,
        /// One sentence.
        why: String,
    },
    /// A bound was passed.
    #[error("{file}: {why}")]
    TooMany {
        /// The file.
        file: String,
        /// One sentence.
        why: crate::policy::TooMany,
    },
    /// It is a vendor file, and wrong.
    #[error(transparent)]
    Vendor(#[from] super::ListError),
}

/// A line that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The file, where it is one that the list includes.
    pub file: Option<Box<str>>,
    /// The line, from 1.
    pub line: u32,
    /// One sentence.
    pub why: String,
}

/// What reading a list came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Lines that made rules; those that say what an earlier line says are counted as well.
    pub rules: usize,
    /// Of these, how many only repeat an earlier one.
    pub duplicates: usize,
    /// Lines left out because they say nothing readable, in all.
    pub bad: usize,
    /// The first of them.
    pub shown: Vec<BadLine>,
    /// Lines left out because they say something that is not judged here, in all: page elements, unknown modifiers.
    pub ignored: usize,
    /// The first of them.
    pub ignored_shown: Vec<BadLine>,
    /// How many lines are kept of each kind.
    pub(crate) keeps: usize,
}

impl Default for Report {
    /// Nothing was read.
    fn default() -> Self {
        let (shown, ignored_shown) = (Vec::new(), Vec::new());
        Self { rules: 0, duplicates: 0, bad: 0, shown, ignored: 0, ignored_shown, keeps: BAD_LINES_SHOWN }
    }
}

impl BadLine {
    /// `file:line`, given the list's own file.
    #[must_use]
    pub fn place(&self, file: &str) -> String {
        format!("{}:{}", self.file.as_deref().unwrap_or(file), self.line)
    }
}

impl Report {
    /// Lines that were left out, as far as they were kept, in their order.
    #[must_use]
    pub fn left_out(&self) -> Vec<&BadLine> {
        let mut all: Vec<&BadLine> = self.shown.iter().chain(&self.ignored_shown).collect();
        all.sort_by_key(|line| line.line);
        all
    }

    /// Counts a line that says nothing readable.
    pub(super) fn bad(&mut self, line: u32, why: String) {
        self.bad += 1;
        if self.shown.len() < self.keeps {
            self.shown.push(BadLine { file: None, line, why });
        }
    }

    /// Counts a line that says something that is not judged here.
    pub(super) fn ignored(&mut self, line: u32, why: String) {
        self.ignored += 1;
        if self.ignored_shown.len() < self.keeps {
            self.ignored_shown.push(BadLine { file: None, line, why });
        }
    }

    /// Refuses a file of which too much was left out as unreadable.
    pub(super) fn ratio(&self, file: &str) -> Result<(), Refusal> {
        let all = self.rules + self.ignored + self.bad;
        // One bad line never costs a list, however short it is.
        let is_one = self.bad == 1 && self.rules > 0;
        if is_one || self.bad * 1_000 <= all * BAD_PER_MILLE_MAX {
            return Ok(());
        }
        let first = self.shown.first();
        let why = format!(
            "{} of {all} lines are not of this format (the first: {}); is it the right format?",
            self.bad,
            first.map_or("", |bad| &bad.why)
        );
        Err(Refusal::At { file: file.to_owned(), line: first.map_or(1, |bad| bad.line), why })
    }
}

/// Hands each line that says something to `each`: trimmed, comments (`#`, `!`, `;` at the start, `#` after white space)
/// taken off, with its number.
pub(super) fn each(
    out: &mut Out<'_>,
    from: &mut dyn BufRead,
    mut each: impl FnMut(&mut Out<'_>, u32, &str) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    each_raw(out, from, |out, number, line| {
        let line = without_comment(line);
        if line.is_empty() { Ok(()) } else { each(out, number, line) }
    })
}

/// Hands every line to `each` as it stands, without its end.
pub(super) fn each_raw(
    out: &mut Out<'_>,
    from: &mut dyn BufRead,
    mut each: impl FnMut(&mut Out<'_>, u32, &str) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    // What the buffer has of a line that goes on in the next one.
    let mut begun = Vec::with_capacity(256);
    let mut number = 0_u32;
    loop {
        let octets = from.fill_buf().map_err(|error| out.unreadable(error))?;
        let is_end = octets.is_empty();
        let mut rest = octets;
        while let Some((line, after)) = split_line(rest) {
            number = number.saturating_add(1);
            if begun.is_empty() {
                one(out, number, line, &mut each)?;
            } else {
                begun.extend_from_slice(line);
                one(out, number, &begun, &mut each)?;
                begun.clear();
            }
            rest = after;
        }
        begun.extend_from_slice(rest);
        if (is_end || begun.len() > LINE_OCTETS_MAX) && !begun.is_empty() {
            number = number.saturating_add(1);
            one(out, number, &begun, &mut each)?;
            begun.clear();
        }
        if is_end {
            return Ok(());
        }
        let read = octets.len();
        from.consume(read);
    }
}

/// A line without its end, and what follows it; `None` where its end is not here.
fn split_line(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = octets.iter().position(|octet| *octet == b'\n')?;
    let (line, rest) = octets.split_at(end);
    Some((line, rest.get(1..).unwrap_or_default()))
}

/// Hands a line on, if it is one of a list.
fn one(
    out: &mut Out<'_>,
    number: u32,
    raw: &[u8],
    each: &mut impl FnMut(&mut Out<'_>, u32, &str) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    if let Some(why) = no_list(raw) {
        return Err(out.refuse(number, why));
    }
    // One comment in another encoding must not cost the list; a file of them has too many bad lines.
    let Ok(text) = std::str::from_utf8(raw) else {
        if !raw.trim_ascii_start().starts_with(b"#") && !raw.trim_ascii_start().starts_with(b"!") {
            out.report.bad(number, "not UTF-8; save the list as UTF-8".to_owned());
        }
        return Ok(());
    };
    let text = if number == 1 { text.trim_start_matches('\u{feff}') } else { text };
    each(out, number, text.trim_end())
}

/// The sign in a line that the whole file is no list.
fn no_list(raw: &[u8]) -> Option<&'static str> {
    if raw.len() > LINE_OCTETS_MAX {
        return Some("a line is longer than 4096 octets, so this is no list");
    }
    match raw.iter().find(|octet| **octet < b' ' && !matches!(octet, b'\t' | b'\r' | 0x0c)) {
        None => {}
        Some(0) => return Some("a NUL octet: this is a binary file, not a list"),
        Some(_) => return Some("a control character: this is a binary file, not a list"),
    }
    let start = raw.strip_prefix("\u{feff}".as_bytes()).unwrap_or(raw).trim_ascii();
    if start.starts_with(b"<") {
        return Some("this is an HTML page, not a list; look at what the address of the list serves");
    }
    if start.starts_with(b"{") || start.starts_with(b"[{") || start.starts_with(b"[\"") || start == b"[" {
        return Some("this is JSON, not a list; look at what the address of the list serves");
    }
    None
}

fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with(['#', '!', ';']) {
        return "";
    }
    let mut signs = line.match_indices('#').filter_map(|(at, _)| line.get(..at));
    signs.find(|before| before.ends_with([' ', '\t'])).map_or(line, str::trim_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Result<(Vec<(u32, String)>, Report), String> {
        let mut all = Vec::new();
        let mut none = |_: super::super::out::Entry<'_>, _| Ok(());
        let mut out = Out::new("f", false, &mut none);
        each(&mut out, &mut &*text, |_, number, line| {
            all.push((number, line.to_owned()));
            Ok(())
        })
        .map_err(|refusal| refusal.to_string())?;
        Ok((all, out.report))
    }

    #[test]
    fn bom_crlf_comments_and_blank_lines() {
        let text = "\u{feff}a.example\r\n\r\n# c\n! c\n b.example # why\n;\nlast.example";
        let (have, _) = lines(text.as_bytes()).unwrap();
        assert_eq!(have, [(1, "a.example".into()), (5, "b.example".into()), (7, "last.example".into())]);
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_line() {
        let long = [b'a'; LINE_OCTETS_MAX + 1];
        for (text, part) in [
            (&b"\n<!DOCTYPE html>"[..], "f:2: this is an HTML page"),
            (b"\xef\xbb\xbf<html>", "f:1: this is an HTML page"),
            (b"a\0b", "f:1: a NUL octet"),
            (b"\x1f\x8b\x08", "f:1: a control character"),
            (b"{\"a\": 1}", "f:1: this is JSON"),
            (b"[\n1]", "f:1: this is JSON"),
            (b"[{\"a\": 1}]", "f:1: this is JSON"),
            (&long, "f:1: a line is longer"),
        ] {
            let error = lines(text).unwrap_err();
            assert!(error.starts_with(part), "{error}");
        }
    }

    #[test]
    fn a_line_of_another_encoding_is_left_out() {
        let (have, report) = lines(b"# caf\xe9\na.example\nb\xe9.example\n").unwrap();
        assert_eq!(have, [(2, "a.example".into())]);
        assert_eq!((report.bad, report.shown[0].line), (1, 3));
    }
}
