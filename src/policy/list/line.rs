//! Reading a list of any size line by line: bounded lines, BOM, CRLF, comments; and the signs that a file is no list.

use std::io::{self, BufRead, Read as _};

/// Octets of the longest line that a list may hold; a longer one means that the file is something else.
pub(super) const LINE_OCTETS_MAX: usize = 4_096;
/// Lines that are tolerated although they say nothing readable, of a thousand; more means that the file is something else.
pub(super) const BAD_PER_MILLE_MAX: usize = 200;
/// Bad lines that are kept to be shown; the rest is counted.
pub(super) const BAD_LINES_SHOWN: usize = 20;

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
}

/// A line that says nothing readable, and is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The line, from 1.
    pub line: u32,
    /// One sentence.
    pub why: String,
}

/// What reading a list came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rules made.
    pub rules: usize,
    /// Lines left out, in all.
    pub bad: usize,
    /// The first of them.
    pub shown: Vec<BadLine>,
}

impl Report {
    /// Counts a line that is left out.
    pub(super) fn bad(&mut self, line: u32, why: String) {
        self.bad += 1;
        if self.shown.len() < BAD_LINES_SHOWN {
            self.shown.push(BadLine { line, why });
        }
    }

    /// Refuses a file of which too much was left out.
    pub(super) fn ratio(&self, file: &str) -> Result<(), Refusal> {
        let all = self.rules + self.bad;
        if self.bad * 1_000 <= all * BAD_PER_MILLE_MAX {
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

/// Hands each line that says something to `each`: trimmed, comments (`#`, `!`, `;` at the start or after white space)
/// taken off, with its number.
pub(super) fn each(
    file: &str,
    read: &mut dyn BufRead,
    mut each: impl FnMut(u32, &str) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut raw = Vec::with_capacity(256);
    let mut number = 0_u32;
    loop {
        raw.clear();
        let limit = LINE_OCTETS_MAX as u64 + 1;
        let got = (&mut *read)
            .take(limit)
            .read_until(b'\n', &mut raw)
            .map_err(|error| Refusal::Io { file: file.to_owned(), error })?;
        if got == 0 {
            return Ok(());
        }
        number = number.saturating_add(1);
        let refuse = |why: &str| Err(Refusal::At { file: file.to_owned(), line: number, why: why.to_owned() });
        if raw.len() > LINE_OCTETS_MAX {
            return refuse("a line is longer than 4096 octets, so this is no list");
        }
        if raw.contains(&0) {
            return refuse("a NUL octet: this is a binary file, not a list");
        }
        let Ok(text) = std::str::from_utf8(&raw) else {
            return refuse("not UTF-8: save the list as UTF-8");
        };
        let text = if number == 1 { text.trim_start_matches('\u{feff}') } else { text };
        let line = without_comment(text);
        if line.is_empty() {
            continue;
        }
        if line.starts_with('<') {
            return refuse("this is an HTML page, not a list; look at what the address of the list serves");
        }
        each(number, line)?;
    }
}

fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with(['#', '!', ';']) {
        return "";
    }
    match line.find(" #").or_else(|| line.find("\t#")) {
        Some(at) => line.get(..at).unwrap_or(line).trim_end(),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Result<Vec<(u32, String)>, String> {
        let mut all = Vec::new();
        each("f", &mut &*text, |number, line| {
            all.push((number, line.to_owned()));
            Ok(())
        })
        .map_err(|refusal| refusal.to_string())?;
        Ok(all)
    }

    #[test]
    fn bom_crlf_comments_and_blank_lines() {
        let text = "\u{feff}a.example\r\n\r\n# c\n! c\n b.example # why\n;\nlast.example";
        let have = lines(text.as_bytes()).unwrap();
        assert_eq!(have, [(1, "a.example".into()), (5, "b.example".into()), (7, "last.example".into())]);
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_line() {
        let long = [b'a'; LINE_OCTETS_MAX + 1];
        for (text, part) in [
            (&b"\n<!DOCTYPE html>"[..], "f:2: this is an HTML page"),
            (b"a\0b", "f:1: a NUL octet"),
            (b"ok.example\n\xff\xfe", "f:2: not UTF-8"),
            (&long, "f:1: a line is longer"),
        ] {
            let error = lines(text).unwrap_err();
            assert!(error.starts_with(part), "{error}");
        }
    }
}
