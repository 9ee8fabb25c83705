//! What the checks share: the rules' names, findings, exemptions, and the sources read once.

pub(crate) mod docs;
pub(crate) mod facts;
pub(crate) mod layering;
pub(crate) mod links;
pub(crate) mod lockfile;
pub(crate) mod manifest;
pub(crate) mod privacy;
pub(crate) mod purity;
pub(crate) mod size;
pub(crate) mod source;
pub(crate) mod text;
pub(crate) mod tokens;
pub(crate) mod walk;

use std::{fmt, path::PathBuf, sync::OnceLock};

pub(crate) use source::Source;

//----------- Rules and findings ---------------------------------------------

/// The name of a rule, as findings and exemptions say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Bounded,
    Changelog,
    Later,
    Layering,
    Licences,
    Lines,
    Links,
    Lock,
    Manifest,
    Map,
    Places,
    Privacy,
    Purity,
    Readme,
    Scripts,
    Size,
    Unsafe,
}

/// One place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Relative to the repository's root.
    pub(crate) file: String,
    /// Counted from 1; 0 where the whole file is meant.
    pub(crate) line: usize,
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn new(rule: Rule, file: &str, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.into(), line, rule, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = format!("{:?}", self.rule).to_lowercase();
        write!(f, "{}:{}: {rule}: {}", self.file, self.line, self.what)
    }
}

//----------- Exemptions -----------------------------------------------------

/// A file that may break a rule of form, and why.
pub(crate) struct Exemption {
    pub(crate) rule: Rule,
    pub(crate) file: &'static str,
    pub(crate) reason: &'static str,
}

/// All exemptions there are. One that no finding needs any more is itself an error.
const EXEMPTIONS: &[Exemption] = &[];

/// Rules of form, which a long table may break; the others know no exemption.
const EXEMPTIBLE: &[Rule] = &[Rule::Lines, Rule::Size];

/// `Err` has the findings that no exemption covers, and the exemptions of this rule that are wrong, a line each.
pub(crate) fn judge(rule: Rule, findings: Vec<Finding>) -> Result<(), String> {
    judge_with(EXEMPTIONS, rule, findings)
}

fn judge_with(exemptions: &[Exemption], rule: Rule, mut findings: Vec<Finding>) -> Result<(), String> {
    let mut lines = Vec::new();
    for exemption in exemptions.iter().filter(|exemption| exemption.rule == rule) {
        let before = findings.len();
        findings.retain(|finding| finding.file != exemption.file);
        if before == findings.len() {
            lines.push(format!("{}: the exemption from {rule:?} is not needed", exemption.file));
        }
        if exemption.reason.is_empty() || !EXEMPTIBLE.contains(&rule) {
            lines.push(format!("{}: {rule:?} needs a reason, or has no exemptions", exemption.file));
        }
    }
    lines.extend(findings.iter().map(Finding::to_string));
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}

//----------- The repository -------------------------------------------------

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `src/`, read and parsed once a run.
pub(crate) fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(|| source::read_all(&root()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding::new(Rule::Size, "src/base/table.rs", 501, "too long")
    }

    fn exemption(rule: Rule, reason: &'static str) -> Exemption {
        Exemption { rule, file: "src/base/table.rs", reason }
    }

    #[test]
    fn a_finding_is_reported_with_its_place() {
        let list = judge_with(&[], Rule::Size, vec![finding()]).unwrap_err();
        assert_eq!(list, "src/base/table.rs:501: size: too long");
        assert_eq!(judge_with(&[], Rule::Size, vec![]), Ok(()));
    }

    #[test]
    fn an_exemption_covers_its_file_and_rule_only() {
        let list = [exemption(Rule::Size, "a table")];
        assert_eq!(judge_with(&list, Rule::Size, vec![finding()]), Ok(()));
        let other = Finding::new(Rule::Size, "src/base/other.rs", 1, "too long");
        assert!(judge_with(&list, Rule::Size, vec![finding(), other]).is_err());
    }

    #[test]
    fn a_stale_or_bare_or_forbidden_exemption_is_an_error() {
        let stale = [exemption(Rule::Size, "a table")];
        assert!(judge_with(&stale, Rule::Size, vec![]).unwrap_err().contains("not needed"));
        let bare = [exemption(Rule::Size, "")];
        assert!(judge_with(&bare, Rule::Size, vec![finding()]).is_err());
        let forbidden = [exemption(Rule::Layering, "in a hurry")];
        let finding = Finding { rule: Rule::Layering, ..finding() };
        assert!(judge_with(&forbidden, Rule::Layering, vec![finding]).is_err());
    }
}
