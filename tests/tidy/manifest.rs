//! Cargo.toml: a sentence above each dependency; the licences of all of them allowed in deny.toml.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

use super::{Finding, Rule};

//----------- Sentences ------------------------------------------------------

/// Each dependency has a comment on the line above it.
pub(crate) fn sentences(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_dependencies = false;
    let mut depth: usize = 0;
    let mut before = "";
    for (index, line) in text.lines().enumerate() {
        let at_top = depth == 0;
        let opens_table = at_top && line.starts_with('[');
        if opens_table {
            in_dependencies = line.trim_end().ends_with("dependencies]");
        }
        let is_entry = at_top && in_dependencies && !opens_table && is_key(line);
        let is_table = opens_table && line.contains("dependencies.");
        if (is_entry || is_table) && !is_sentence(before) {
            let what = format!("`{line}` has no comment above it that says what it is for");
            findings.push(Finding::new(Rule::Manifest, "Cargo.toml", index + 1, what));
        }
        if !opens_table && !line.starts_with('#') {
            depth += line.matches(['{', '[']).count();
            depth = depth.saturating_sub(line.matches(['}', ']']).count());
        }
        before = line;
    }
    findings
}

fn is_key(line: &str) -> bool {
    line.starts_with(|c: char| c.is_ascii_alphabetic() || c == '"') && line.contains('=')
}

fn is_sentence(line: &str) -> bool {
    line.strip_prefix("# ").is_some_and(|text| text.split_whitespace().count() > 1)
}

//----------- Licences -------------------------------------------------------

/// What cargo knows of the packages that a Linux build uses.
///
/// # Panics
/// When cargo cannot say.
pub(crate) fn cargo_metadata() -> Value {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform"])
        .arg(platform)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON")
}

/// Each package may be used under licences that deny.toml allows.
pub(crate) fn licences(metadata: &Value, deny: &str) -> Vec<Finding> {
    let deny: toml::Table = deny.parse().expect("deny.toml is TOML");
    let allow = deny.get("licenses").and_then(|table| table.get("allow"));
    let allowed: BTreeSet<&str> = allow
        .and_then(toml::Value::as_array)
        .expect("deny.toml has licenses.allow")
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    let packages = metadata.get("packages").and_then(Value::as_array).expect("there are packages");
    let refused = packages.iter().filter_map(|package| {
        let licence = package.get("license").and_then(Value::as_str).unwrap_or("no licence field");
        let name = package.get("name").and_then(Value::as_str).unwrap_or_default();
        (!permits(licence, &allowed)).then(|| format!("`{name}` is under `{licence}`"))
    });
    refused.map(|what| Finding::new(Rule::Licences, "deny.toml", 0, what)).collect()
}

/// Whether an SPDX expression (or the older `A/B`) can be met with the allowed licences.
fn permits(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    either(&mut rest, allowed) && rest.is_empty()
}

fn either(rest: &mut &[&str], allowed: &BTreeSet<&str>) -> bool {
    let mut permitted = both(rest, allowed);
    while let Some(("OR", after)) = split(rest) {
        *rest = after;
        permitted |= both(rest, allowed);
    }
    permitted
}

fn both(rest: &mut &[&str], allowed: &BTreeSet<&str>) -> bool {
    let mut permitted = one(rest, allowed);
    while let Some(("AND", after)) = split(rest) {
        *rest = after;
        permitted &= one(rest, allowed);
    }
    permitted
}

fn one(rest: &mut &[&str], allowed: &BTreeSet<&str>) -> bool {
    let Some((word, after)) = split(rest) else {
        return false;
    };
    *rest = after;
    if word == "(" {
        let permitted = either(rest, allowed);
        let closed = split(rest).filter(|(word, _)| *word == ")");
        *rest = closed.map_or(*rest, |(_, after)| after);
        return permitted && closed.is_some();
    }
    if let ["WITH", exception, after @ ..] = *rest {
        *rest = after;
        return allowed.contains(format!("{word} WITH {exception}").as_str());
    }
    allowed.contains(word)
}

fn split<'a, 'b>(rest: &'b [&'a str]) -> Option<(&'a str, &'b [&'a str])> {
    rest.split_first().map(|(first, after)| (*first, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_a_sentence_is_refused() {
        let refused = |text: &str| sentences(text).iter().map(|finding| finding.line).collect::<Vec<_>>();
        let good = "[package]\nname = \"x\"\n[dependencies]\n# Does this.\na = { version = \"1\", features = [\n  \
                    \"b\",\n] }\n# Does that.\nc = \"1\"\n[lints.rust]\nd = \"warn\"\n";
        assert_eq!(refused(good), [0; 0]);
        assert_eq!(refused(&good.replace("# Does that.\n", "")), [8]);
        assert_eq!(refused(&good.replace("# Does this.", "#")), [5]);
        assert_eq!(refused("[dev-dependencies]\na = \"1\"\n"), [2]);
        assert_eq!(refused("[target.'cfg(unix)'.dependencies]\n\na = \"1\"\n"), [3]);
        assert_eq!(refused("\n[dependencies.a]\nversion = \"1\"\n"), [2]);
    }

    #[test]
    fn a_licence_is_judged_by_what_it_leaves_to_choose() {
        let allowed = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]);
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("Unlicense/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("(GPL-3.0 OR MIT) AND ISC", true),
            ("GPL-3.0 OR MIT AND BSD-3-Clause", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("MIT WITH some-exception", false),
            ("(MIT", false),
            ("no licence field", false),
            ("", false),
        ] {
            assert_eq!(permits(expression, &allowed), expected, "{expression}");
        }
    }

    #[test]
    fn a_package_under_another_licence_is_refused() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "a", "license": "MIT" }, { "name": "b", "license": "GPL-3.0" }, { "name": "c" }
        ]});
        let findings = licences(&metadata, "[licenses]\nallow = [\"MIT\"]");
        let what: Vec<&str> = findings.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(what, ["`b` is under `GPL-3.0`", "`c` is under `no licence field`"]);
    }
}
