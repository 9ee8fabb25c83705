//! The documents that must keep up with the code: ARCHITECTURE.md, CHANGELOG.md, README.md.

use std::{collections::BTreeSet, fs, path::Path};

use super::{Finding, Rule, Source, layering::ROOMS};

/// The text of a file that must be there.
///
/// # Panics
/// When it is not.
pub(crate) fn read(root: &Path, file: &str) -> String {
    fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

//----------- ARCHITECTURE.md ------------------------------------------------

const MAP: &str = "ARCHITECTURE.md";

/// The map names every `room/module` that there is, and nothing of that shape that there is not.
pub(crate) fn architecture(root: &Path, sources: &[Source]) -> Vec<Finding> {
    let modules: BTreeSet<String> = sources
        .iter()
        .filter(|source| !source.is_test)
        .filter_map(|source| Some(source.module.get(..2)?.join("/")))
        .collect();
    let exists = |place: &str| {
        let path = root.join("src").join(place);
        path.exists() || path.with_extension("rs").exists()
    };
    compare_map(&read(root, MAP), &modules, exists)
}

fn compare_map(text: &str, modules: &BTreeSet<String>, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let named: Vec<(usize, String)> =
        text.lines().enumerate().flat_map(|(index, line)| places(line).map(move |place| (index + 1, place))).collect();
    let missing = modules.iter().filter(|module| {
        !named.iter().any(|(_, place)| {
            place.strip_prefix(module.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    });
    let gone = named.iter().filter(|(_, place)| !exists(place));
    missing
        .map(|module| Finding::new(Rule::Map, MAP, 0, format!("does not name `{module}`")))
        .chain(
            gone.map(|(line, place)| {
                Finding::new(Rule::Map, MAP, *line, format!("names `{place}`, which is not in src/"))
            }),
        )
        .collect()
}

/// What has the shape `room/module…` in a line, with or without `src/` before it.
fn places(line: &str) -> impl Iterator<Item = String> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && !"_/.-".contains(c)).filter_map(|word| {
        let word = word.strip_prefix("src/").unwrap_or(word);
        let word = word.trim_end_matches(['.', '/', '-']);
        let (room, module) = word.split_once('/')?;
        (ROOMS.contains(&room) && !module.is_empty()).then(|| word.to_owned())
    })
}

//----------- CHANGELOG.md ---------------------------------------------------

const CHANGELOG: &str = "CHANGELOG.md";

/// The sections of a version, in their order.
const SECTIONS: [&str; 5] = ["Breaking", "New", "Improvements", "Bug fixes", "Security"];

/// `## [Unreleased]`, then `## [1.2.3] - 2026-11-23`; below each, some of the sections, each with entries.
pub(crate) fn changelog(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut versions = 0;
    let mut section: Option<usize> = None;
    let mut open: Option<usize> = None;
    for (line, text) in text.lines().enumerate().map(|(index, text)| (index + 1, text)) {
        let mut refuse = |line, what: String| {
            findings.push(Finding::new(Rule::Changelog, CHANGELOG, line, what));
        };
        if text.starts_with("- ") {
            open = None;
        } else if text.starts_with('#')
            && let Some(line) = open.take()
        {
            refuse(line, "a section without an entry".into());
        }
        if let Some(version) = text.strip_prefix("## ") {
            versions += 1;
            section = None;
            if (version == "[Unreleased]") != (versions == 1) {
                refuse(line, "`## [Unreleased]` comes first, and once".into());
            } else if versions > 1 && !is_release(version) {
                refuse(line, "a version is `## [1.2.3] - 2026-11-23`".into());
            }
        } else if let Some(name) = text.strip_prefix("### ") {
            let place = SECTIONS.iter().position(|have| *have == name);
            if place.is_none() || versions == 0 || place <= section {
                let list = SECTIONS.join(", ");
                refuse(line, format!("`{name}`: sections are {list}, in this order, once a version"));
            }
            section = place;
            open = Some(line);
        } else if text.starts_with("####") || (text.starts_with("# ") && line > 1) {
            refuse(line, "a heading of another level".into());
        }
    }
    if let Some(line) = open {
        findings.push(Finding::new(Rule::Changelog, CHANGELOG, line, "a section without an entry"));
    }
    if versions == 0 {
        findings.push(Finding::new(Rule::Changelog, CHANGELOG, 0, "has no `## [Unreleased]`"));
    }
    findings
}

fn is_release(heading: &str) -> bool {
    let Some((version, date)) = heading.split_once(" - ") else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let version = version.strip_prefix('[').and_then(|version| version.strip_suffix(']'));
    version.is_some_and(|version| version.split('.').count() == 3 && version.split('.').all(digits))
        && date.parse::<jiff::civil::Date>().is_ok()
}

//----------- README.md ------------------------------------------------------

/// The two commands that a newcomer runs; `.ci/run` runs the second as it stands.
const COMMANDS: [&str; 2] = ["cargo run --release -- run", "cargo test"];

/// The README has each command on a line of its own.
pub(crate) fn readme(text: &str) -> Vec<Finding> {
    let has = |command: &str| {
        text.lines().any(|line| line.trim().trim_start_matches("$ ").split(" #").next().map(str::trim) == Some(command))
    };
    COMMANDS
        .iter()
        .filter(|command| !has(command))
        .map(|command| Finding::new(Rule::Readme, "README.md", 0, format!("has no line `{command}`")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(|finding| format!("{}: {}", finding.line, finding.what)).collect()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn the_map_and_the_modules_must_agree() {
        let modules = BTreeSet::from(["io/sys".to_owned(), "base/name".to_owned()]);
        let compare = |text: &str| {
            list(&compare_map(text, &modules, |place| ["io/sys", "io/sys/mmsg.rs", "base/name"].contains(&place)))
        };
        assert_eq!(compare("`io/sys/mmsg.rs`, and src/base/name/."), NONE);
        assert_eq!(
            compare("`base/name`, `io/system`"),
            ["0: does not name `io/sys`", "1: names `io/system`, which is not in src/"]
        );
        assert_eq!(compare("io/sys\nbase/name, tests/base/x, and/or"), NONE);
    }

    #[test]
    fn the_changelog_is_held_to_its_shape() {
        let good = "# Changelog\n\n## [Unreleased]\n\n### New\n\n- A thing.\n\n### Security\n- Two.\n\n\
                    ## [0.1.0] - 2026-11-23\n### Breaking\n- All.\n";
        assert_eq!(list(&changelog(good)), NONE);
        for (from, to, line) in [
            ("[Unreleased]", "Unreleased", 3),
            ("### New", "### Added", 5),
            ("- A thing.", "A thing.", 5),
            ("### Security", "### Breaking", 9),
            ("### Security", "### New", 9),
            ("### Security", "#### Security", 9),
            ("2026-11-23", "2026-13-23", 12),
            ("[0.1.0]", "0.1", 12),
            ("[0.1.0] - 2026-11-23", "[Unreleased]", 12),
            ("- All.\n", "", 13),
        ] {
            let findings = changelog(&good.replacen(from, to, 1));
            assert_eq!(findings.first().map(|finding| finding.line), Some(line), "{from} → {to}");
        }
        assert_eq!(list(&changelog("# Changelog\n")), ["0: has no `## [Unreleased]`"]);
    }

    #[test]
    fn the_commands_must_stand_in_the_readme() {
        assert_eq!(list(&readme("```\ncargo run --release -- run\n$ cargo test  # all\n```")), NONE);
        assert_eq!(readme("run cargo test --all\ncargo run --release\n").len(), 2);
    }
}
