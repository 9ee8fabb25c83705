//! What is wrong with a list, line by line: a reader reports everything that it finds, not the first thing alone.

use std::fmt;

/// Problems that are kept of one file; a file with more is broken as a whole, and the rest is counted.
pub const PROBLEMS_MAX: usize = 200;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, counted from 1.
    pub line: u32,
    /// One sentence: what is wrong and what to write instead.
    pub message: String,
}

/// Why a list was refused: every problem of the file, by line. Displays as one `file:line: message` a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListError {
    /// The file's name as it was given to the reader.
    pub file: String,
    /// What is wrong, by line; never empty, at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// Problems beyond those kept.
    pub more: usize,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{}: {}", self.file, problem.line, problem.message)?;
        }
        if self.more > 0 {
            write!(f, "\n{}: and {} more", self.file, self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for ListError {}

/// Collects the problems of one text; offsets become lines.
#[derive(Debug)]
pub(crate) struct Report {
    line_starts: Vec<usize>,
    problems: Vec<Problem>,
    more: usize,
}

impl Report {
    /// A report on a text, empty yet.
    pub(crate) fn new(text: &str) -> Self {
        let after_newline = text.bytes().enumerate().filter(|(_, octet)| *octet == b'\n').map(|(at, _)| at + 1);
        Self { line_starts: std::iter::once(0).chain(after_newline).collect(), problems: Vec::new(), more: 0 }
    }

    /// The line, counted from 1, in which an octet of the text stands.
    pub(crate) fn line(&self, offset: usize) -> u32 {
        u32::try_from(self.line_starts.partition_point(|start| *start <= offset)).unwrap_or(u32::MAX)
    }

    /// Reports a problem in a line.
    pub(crate) fn push(&mut self, line: u32, message: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { line, message: message.into() });
        } else {
            self.more += 1;
        }
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The error for a file with these problems.
    pub(crate) fn into_error(mut self, file: &str) -> ListError {
        self.problems.sort_by_key(|problem| problem.line);
        ListError { file: file.to_owned(), problems: self.problems, more: self.more }
    }
}

/// The known word that an unknown one was probably meant to be.
#[must_use]
pub fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    /// Below this, a suggestion puzzles more than it helps.
    const SIMILARITY_MIN: f64 = 0.8;
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(word, known), known))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines() {
        let report = Report::new("a\nbc\n\nd");
        assert_eq!([0, 1, 2, 4, 5, 6, 7].map(|offset| report.line(offset)), [1, 1, 2, 2, 3, 4, 4]);
    }

    #[test]
    fn problems_come_by_line_and_end_somewhere() {
        let mut report = Report::new("");
        for line in (0..500).rev() {
            report.push(line, "x");
        }
        let error = report.into_error("f.toml");
        assert_eq!((error.problems.len(), error.more), (PROBLEMS_MAX, 300));
        assert!(error.to_string().starts_with("f.toml:300: x\nf.toml:301: x\n"));
        assert!(error.to_string().ends_with("f.toml: and 300 more"));
    }

    #[test]
    fn suggests_only_what_is_close() {
        assert_eq!(did_you_mean("nmae", ["name", "match"]), Some("name"));
        assert_eq!(did_you_mean("zzz", ["name", "match"]), None);
    }
}
