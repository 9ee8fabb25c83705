//! Plain domains: one name a line; the name and everything below it. `*.name` is taken as `name`.

use super::line::{self, Refusal, Report};
use crate::base::name::{Match, Name, Pattern};
use crate::policy::TooMany;
use std::io::BufRead;

/// Reads a list and hands on each rule with its line.
///
/// # Errors
/// A file that is no list, and a name of one label: it would take a whole top-level domain.
pub(super) fn read(
    file: &str,
    read: &mut dyn BufRead,
    mut rule: impl FnMut(&Pattern, u32) -> Result<(), TooMany>,
) -> Result<Report, Refusal> {
    let mut report = Report::default();
    line::each(file, read, |number, text| {
        let text = text.strip_prefix("*.").unwrap_or(text);
        match Name::parse_host(text) {
            Err(why) => report.bad(number, format!("{text:?} is no domain name: {why}")),
            Ok(name) if name.as_ref().label_count() < 2 => {
                let why = format!("{text:?} would take a whole top-level domain; list the names below it instead");
                return Err(Refusal::At { file: file.to_owned(), line: number, why });
            }
            Ok(name) => {
                rule(&Pattern::new(name, Match::Suffix), number)
                    .map_err(|why| Refusal::TooMany { file: file.to_owned(), why })?;
                report.rules += 1;
            }
        }
        Ok(())
    })?;
    report.ratio(file)?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<(Vec<String>, Report), String> {
        let mut all = Vec::new();
        let report = read("f", &mut text.as_bytes(), |pattern, line| {
            all.push(format!("{}@{line}", pattern.name()));
            Ok(())
        })
        .map_err(|refusal| refusal.to_string())?;
        Ok((all, report))
    }

    #[test]
    fn names_with_and_without_a_trailing_dot_and_stars() {
        let (names, report) = names("A.Example.\n*.b.example\nc_d.example\n").unwrap();
        assert_eq!(names, ["a.example@1", "b.example@2", "c_d.example@3"]);
        assert_eq!((report.rules, report.bad), (3, 0));
    }

    #[test]
    fn one_bad_line_is_counted_and_shown_and_many_mean_another_format() {
        let (_, report) = names("a.example\nb.example\nc.example\nd.example\nnot a name\n").unwrap();
        assert_eq!((report.rules, report.bad), (4, 1));
        assert_eq!(report.shown[0].line, 5);
        let error = names("0.0.0.0 a.example\n0.0.0.0 b.example\n").unwrap_err();
        assert!(error.starts_with("f:1: 2 of 2 lines are not of this format"), "{error}");
    }

    #[test]
    fn a_top_level_domain_is_refused() {
        let error = names("a.example\ncom\n").unwrap_err();
        assert!(error.starts_with("f:2: \"com\" would take a whole top-level domain"), "{error}");
    }
}
