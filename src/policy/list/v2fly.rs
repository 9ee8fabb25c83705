//! v2fly domain lists: `domain:` (or nothing) for a name and everything below it, `full:` for that name, `keyword:` for names
//! with that text, `regexp:` for a regular expression, `include:` for another list, `@word` for attributes.
//!
//! All rules of the list are taken, whatever their attributes; `include:name @word` takes those of the other list that have the
//! attribute, `@-word` those that do not. Where includes are found is for the caller to say; their depth and number are bounded.

use super::host;
use super::line::{self, Refusal};
use super::out::{self, Action, Out};
use crate::base::name::{Match, Pattern};
use crate::policy::apart::{Glob, Start, Tier, Trigger, regex};
use crate::policy::compile::Include;
use std::io::BufRead;

/// Lists within lists.
const INCLUDE_DEPTH_MAX: usize = 8;
/// Lists that one list takes in, directly or through others.
const INCLUDES_MAX: usize = 256;

/// Reads a list.
///
/// # Errors
/// A file that is no list, a list that cannot be included, and a name that would take a whole top-level domain.
pub(super) fn read(
    out: &mut Out<'_>,
    from: &mut dyn BufRead,
    include: Option<&mut Include<'_>>,
) -> Result<(), Refusal> {
    let mut reader = Reader { include, open: Vec::new(), taken: 0 };
    reader.file(out, from, &[])
}

struct Reader<'i, 'f> {
    include: Option<&'i mut Include<'f>>,
    /// The lists that are being read, outermost first.
    open: Vec<String>,
    taken: usize,
}

impl Reader<'_, '_> {
    fn file(&mut self, out: &mut Out<'_>, from: &mut dyn BufRead, wanted: &[String]) -> Result<(), Refusal> {
        line::each(out, from, |out, number, text| {
            let mut words = text.split_ascii_whitespace();
            let first = words.next().unwrap_or_default();
            // `&name` hands a rule to another list as well, which this one need not care about.
            let attributes: Vec<String> = words.filter(|word| !word.starts_with('&')).map(str::to_lowercase).collect();
            if let Some(odd) = attributes.iter().find(|word| !word.starts_with('@')) {
                out.report.bad(number, format!("{odd:?} is no @attribute"));
                return Ok(());
            }
            match first.split_once(':') {
                Some(("include", name)) => self.include(out, name, &attributes, number),
                _ if !is_wanted(&attributes, wanted) => Ok(()),
                parts => rule(out, parts.unwrap_or(("domain", first)), text, number),
            }
        })
    }

    fn include(&mut self, out: &mut Out<'_>, name: &str, wanted: &[String], number: u32) -> Result<(), Refusal> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '!');
        if name.is_empty() || !name.chars().all(good) {
            out.report.bad(number, format!("include:{name:?} is no name of a list"));
            return Ok(());
        }
        let name = name.to_ascii_lowercase();
        if self.open.contains(&name) || self.open.len() >= INCLUDE_DEPTH_MAX {
            let why = format!("include:{name} leads back to itself, or deeper than {INCLUDE_DEPTH_MAX} lists");
            return Err(out.refuse(number, why));
        }
        self.taken += 1;
        if self.taken > INCLUDES_MAX {
            return Err(out.refuse(number, format!("more than {INCLUDES_MAX} lists are included")));
        }
        let Some(include) = self.include.as_mut() else {
            return Err(out.refuse(number, format!("include:{name}: nothing can be included here")));
        };
        let included = include(&name).map_err(|error| {
            out.refuse(number, format!("include:{name}: {error}; give the list its includes, or take the line out"))
        })?;
        let mut text = included.text;
        let before = out.enter(included.file, &included.revision)?;
        self.open.push(name);
        let done = self.file(out, &mut text, wanted);
        self.open.pop();
        done.and_then(|()| out.leave(before))
    }
}

/// Whether a rule has what an include asks for.
fn is_wanted(attributes: &[String], wanted: &[String]) -> bool {
    wanted.iter().all(|wanted| match wanted.strip_prefix("@-") {
        Some(unwanted) => !attributes.iter().any(|have| have.get(1..) == Some(unwanted)),
        None => attributes.contains(wanted),
    })
}

fn rule(out: &mut Out<'_>, (kind, value): (&str, &str), text: &str, number: u32) -> Result<(), Refusal> {
    let apart = |trigger| out::rule(text, trigger, Tier::Plain, false);
    match kind {
        "domain" | "full" => match host::parse(value) {
            Ok(name) => {
                let kind = if kind == "full" { Match::Exact } else { Match::Suffix };
                return out.name(&Pattern::new(name, kind), &Action::PLAIN, number);
            }
            Err(why) => out.report.bad(number, why),
        },
        "keyword" => match Glob::new(Start::Anywhere, value, false) {
            Ok(glob) => return out.apart(apart(Trigger::Glob(glob)), None, &Action::PLAIN, number),
            Err(why) => out.report.ignored(number, why),
        },
        "regexp" => match regex(value) {
            Ok(regex) => return out.apart(apart(Trigger::Regex(regex)), None, &Action::PLAIN, number),
            Err(why) => out.report.ignored(number, why),
        },
        _ => out
            .report
            .bad(number, format!("{kind:?} is no kind of rule; it is domain, full, keyword, regexp or include")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::out::Entry;
    use super::super::testing::{entries, refused};
    use super::*;
    use crate::policy::compile::Included;
    use std::io;

    #[test]
    fn every_kind() {
        let text =
            "# c\nexample.org\ndomain:a.example @ads @cn\nfull:b.example # c\nkeyword:Tracker\nregexp:^ads[0-9]\\.\n\
            keyword:ad\nregexp:(?!x)\nother:x\nb.example x\n"
                .to_owned();
        let (all, report) = entries(Format::V2fly, &(text + &"a.example\n".repeat(5)));
        assert_eq!(
            all,
            [
                "2 suffix example.org",
                "3 suffix a.example",
                "4 exact b.example",
                "5 block Plain glob tracker",
                "6 block Plain /^ads[0-9]\\./",
            ]
        );
        assert_eq!((report.rules, report.duplicates, report.ignored, report.bad), (10, 5, 2, 2));
    }

    fn files(name: &str) -> io::Result<Included> {
        let text = match name {
            "one" => "one.example\ninclude:two @ads\n",
            "two" => "two.example @ads\nnot.example @cn\n",
            "loop" => "include:loop\n",
            _ => return Err(io::Error::other("there is no such list")),
        };
        Ok(Included { file: name.to_owned(), revision: "r".into(), text: Box::new(text.as_bytes()) })
    }

    fn included(text: &str) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        let mut take = |entry: Entry<'_>, line| {
            match entry {
                Entry::Name(pattern, _) => all.push(format!("{line} {}", pattern.name())),
                Entry::Enter { file, .. } => all.push(format!("> {file}")),
                Entry::Leave => all.push("<".to_owned()),
                _ => {}
            }
            Ok(())
        };
        let mut out = Out::new("f", false, &mut take);
        read(&mut out, &mut text.as_bytes(), Some(&mut files)).map_err(|refusal| refusal.to_string())?;
        Ok(all)
    }

    #[test]
    fn includes_keep_their_own_lines_and_are_bounded() {
        assert_eq!(
            included("a.example\ninclude:one\nb.example\ninclude:two @-cn\n").unwrap(),
            [
                "1 a.example",
                "> one",
                "1 one.example",
                "> two",
                "1 two.example",
                "<",
                "<",
                "3 b.example",
                "> two",
                "1 two.example",
                "<"
            ]
        );
        for (text, why) in [
            ("include:loop\n", "loop:1: include:loop leads back to itself"),
            ("include:none\n", "f:1: include:none: there is no such list"),
        ] {
            let error = included(text).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
        let many = "include:two\n".repeat(INCLUDES_MAX + 1);
        assert!(included(&many).unwrap_err().contains("more than 256 lists"));
        assert!(refused(Format::V2fly, "include:one\n").contains("nothing can be included here"));
        let (_, report) = entries(Format::V2fly, &("a.example\n".repeat(9) + "include:../../etc/passwd\n"));
        assert_eq!(report.bad, 1);
    }
}
