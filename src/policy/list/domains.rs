//! Plain domains, one a line: the name and everything below it. `*.name` and `.name` mean the same.
//!
//! That is so in the format `wildcard` as well. Publishers of `*.name` lists give the same list without the stars to resolvers
//! that match suffixes by themselves, so the name itself is meant; and a line whose star was forgotten is not another rule.

use super::host;
use super::line::{self, Refusal};
use super::out::Out;
use std::io::BufRead;

/// Reads a list.
///
/// # Errors
/// A file that is no list, and a name of one label: it would take a whole top-level domain.
pub(super) fn read(out: &mut Out<'_>, from: &mut dyn BufRead) -> Result<(), Refusal> {
    line::each(out, from, |out, number, text| {
        let bare = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
        match host::parse(bare) {
            Ok(name) => out.suffix(name, number),
            Err(why) => {
                out.report.bad(number, why);
                Ok(())
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::testing::{entries, refused};

    #[test]
    fn names_with_and_without_a_trailing_dot_and_stars() {
        let text = "A.Example.\n*.b.example\n.c_d.example\nBücher.example\na.example\n";
        for format in [Format::Domains, Format::Wildcard] {
            let (names, report) = entries(format, text);
            assert_eq!(
                names,
                ["1 suffix a.example", "2 suffix b.example", "3 suffix c_d.example", "4 suffix xn--bcher-kva.example"]
            );
            assert_eq!((report.rules, report.duplicates, report.bad), (5, 1, 0));
        }
    }

    #[test]
    fn one_bad_line_is_counted_and_shown_and_many_mean_another_format() {
        let (_, report) = entries(Format::Domains, "a.example\nb.example\nc.example\nd.example\nnot a name\n");
        assert_eq!((report.rules, report.bad), (4, 1));
        assert_eq!(report.shown[0].line, 5);
        let error = refused(Format::Domains, "0.0.0.0 a.example\n0.0.0.0 b.example\n");
        assert!(error.starts_with("f:1: 2 of 2 lines are not of this format"), "{error}");
    }

    #[test]
    fn a_top_level_domain_is_refused() {
        let error = refused(Format::Domains, "a.example\ncom\n");
        assert!(error.starts_with("f:2: \"com\" would take a whole top-level domain"), "{error}");
    }
}
