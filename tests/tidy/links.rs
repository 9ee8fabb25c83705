//! Links, and paths written as code, in every Markdown file lead to something in the repository.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use super::{Finding, Rule, source};

/// A path in backticks that begins with one of these is meant as a file or folder of the repository.
const FOLDERS: [&str; 9] =
    [".ci/", "benches/", "blocklists/", "docs/", "examples/", "fuzz/", "packaging/", "src/", "tests/"];

/// Its past entries may name what is gone.
const HISTORY: &str = "CHANGELOG.md";

/// Judges all Markdown files.
pub(crate) fn check(root: &Path) -> Vec<Finding> {
    let files = source::files(root, &[""], "md");
    files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(root.join(file)).expect("a document is readable");
            check_text(root, file, &text)
        })
        .collect()
}

fn check_text(root: &Path, file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let (prose, code) = split_code(line);
        let links = if fenced { Vec::new() } else { targets(&prose) };
        let faults = links.iter().filter_map(|target| link_fault(root, file, target));
        let code = if fenced { line.split_whitespace().map(String::from).collect() } else { code };
        let paths = code.iter().filter(|_| file != HISTORY).filter_map(|word| path_fault(root, word));
        findings.extend(faults.chain(paths).map(|what| Finding::new(Rule::Links, file, index + 1, what)));
    }
    findings
}

/// The text outside backticks, and the words in them.
fn split_code(line: &str) -> (String, Vec<String>) {
    let mut prose = String::new();
    let mut code = Vec::new();
    for (index, part) in line.split('`').enumerate() {
        if index % 2 == 0 {
            prose.push_str(part);
        } else {
            code.extend(part.split_whitespace().map(String::from));
        }
    }
    (prose, code)
}

/// The targets of `[text](target)` and `[label]: target`.
fn targets(prose: &str) -> Vec<String> {
    let definition = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    inline
        .chain(definition.map(|(_, target)| target))
        .filter_map(|target| target.split_whitespace().next())
        .map(String::from)
        .collect()
}

/// Why a link leads nowhere.
fn link_fault(root: &Path, file: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
    let here = if path.is_empty() { PathBuf::from(file) } else { folder.join(path) };
    let Some(inside) = normal(&here) else {
        return Some(format!("`{target}` leads out of the repository"));
    };
    let full = root.join(&inside);
    if !full.exists() {
        return Some(format!("`{target}` is not there"));
    }
    if anchor.is_empty() || inside.extension().is_none_or(|extension| extension != "md") {
        return None;
    }
    let text = fs::read_to_string(full).unwrap_or_default();
    let known = text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
    (!known).then(|| format!("`{target}`: no such heading"))
}

/// `a/../b` as `b`; `None` where it leads out.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => inside.push(part),
            Component::CurDir => {}
            Component::ParentDir if inside.pop() => {}
            _ => return None,
        }
    }
    Some(inside)
}

/// The anchor that a heading gets.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Why a word in backticks, or in a fenced block, that looks like a path, or like `path::function`, is none.
fn path_fault(root: &Path, word: &str) -> Option<String> {
    let word = word.trim_end_matches(['.', ',', ':', ';', ')']);
    let (path, function) = word.split_once("::").map_or((word, None), |(path, name)| (path, Some(name)));
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let is_path = FOLDERS.iter().any(|folder| path.len() > folder.len() && path.starts_with(folder));
    let has = |name| fs::read_to_string(root.join(path)).is_ok_and(|text| text.contains(&format!("fn {name}(")));
    let is_there = || root.join(path).exists() && function.is_none_or(has);
    (is_path && path.chars().all(plain) && !is_there()).then(|| format!("`{word}` is not there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_nowhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("docs")).unwrap();
        fs::create_dir_all(root.join("examples")).unwrap();
        fs::write(root.join("README.md"), "# Title\n## How it's done, briefly\n").unwrap();
        fs::write(root.join("examples/home.toml"), "").unwrap();
        fs::write(root.join("docs/a.rs"), "fn here() {}").unwrap();
        fs::write(root.parent().unwrap().join("README.md.outside"), "").unwrap();
        let what = |text: &str| {
            let findings = check_text(root, "docs/a.md", text);
            findings.into_iter().map(|finding| finding.what).collect::<Vec<_>>().join("; ")
        };
        for good in [
            "[a](../README.md), [b](../README.md#how-its-done-briefly \"title\")",
            "[a](https://example.org/x), [b](mailto:a@example.org)",
            "See `examples/home.toml`, `src/<room>`, `tests/*`, `docs/`.",
            "[a]: ../examples/home.toml",
            "`[a](nowhere.md)`",
            "See `docs/a.rs::here`.",
            "```\n[a](nowhere.md)\n```",
        ] {
            assert_eq!(what(good), "", "{good}");
        }
        for (bad, why) in [
            ("[a](../LICENSE)", "`../LICENSE` is not there"),
            ("[a](../README.md#nothing)", "`../README.md#nothing`: no such heading"),
            ("[a]: ../gone.md", "`../gone.md` is not there"),
            ("[a](../../README.md.outside)", "`../../README.md.outside` leads out of the repository"),
            ("See `docs/a.rs::her`.", "`docs/a.rs::her` is not there"),
            ("Take `examples/office.toml`.", "`examples/office.toml` is not there"),
            ("```\ncp examples/gone.toml .\n```", "`examples/gone.toml` is not there"),
        ] {
            assert_eq!(what(bad), why);
        }
    }
}
