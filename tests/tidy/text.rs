//! Rules over plain text: line length and stray whitespace, words that put work off, scripts that parse.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use super::{Finding, Rule, Source, source};

/// Characters in a line of Rust; rustfmt holds code at 100, strings and tables may need more.
const LINE_CHARS_MAX: usize = 140;

const RUST_FOLDERS: [&str; 6] = ["src", "tests", "benches", "examples", "fuzz", "build.rs"];

/// Words that say that something is not done.
const LATER_WORDS: [&str; 3] = ["FIXME", "TODO", "XXX"];

/// Macros that say it to the machine.
const LATER_MACROS: [&str; 2] = ["todo", "unimplemented"];

/// Scripts that people and machines start.
const SCRIPTS: [&str; 2] = [".ci/run", "tests/soak"];

//----------- Lines ----------------------------------------------------------

/// Judges the lines of every Rust file of the repository.
pub(crate) fn lines(root: &Path) -> Vec<Finding> {
    let files = source::files(root, &RUST_FOLDERS, "rs");
    files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(root.join(file)).expect("a source file is readable");
            lines_of(file, &text)
        })
        .collect()
}

fn lines_of(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let mut refuse = |what: String| {
            findings.push(Finding::new(Rule::Lines, file, index + 1, what));
        };
        if line.contains('\t') {
            refuse("a tab".into());
        }
        if line.ends_with(char::is_whitespace) {
            refuse("whitespace at the end".into());
        }
        let chars = line.chars().count();
        if chars > LINE_CHARS_MAX {
            refuse(format!("{chars} characters of at most {LINE_CHARS_MAX}"));
        }
    }
    findings
}

//----------- Words ----------------------------------------------------------

/// Refuses what puts work off, in code, comments and tests alike.
pub(crate) fn left_for_later(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '!');
        for word in words {
            let is_macro = word.strip_suffix('!').is_some_and(|name| LATER_MACROS.contains(&name));
            if is_macro || LATER_WORDS.contains(&word.trim_end_matches('!')) {
                let what = format!("`{word}`: do it, or write an issue");
                findings.push(Finding::new(Rule::Later, &source.path, index + 1, what));
            }
        }
    }
    findings
}

//----------- Scripts --------------------------------------------------------

/// Each script is there, may be executed, and is bash.
pub(crate) fn scripts(root: &Path) -> Vec<Finding> {
    SCRIPTS
        .iter()
        .filter_map(|script| {
            let what = script_fault(&root.join(script))?;
            Some(Finding::new(Rule::Scripts, script, 0, what))
        })
        .collect()
}

fn script_fault(path: &Path) -> Option<String> {
    let Ok(metadata) = fs::metadata(path) else {
        return Some("is missing".into());
    };
    if metadata.permissions().mode() & 0o111 == 0 {
        return Some("may not be executed".into());
    }
    let output = Command::new("bash").arg("-n").arg(path).output().expect("bash runs");
    let fault = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { None } else { Some(fault) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unclean_and_long_lines_are_refused() {
        let what = |text: &str| lines_of("a.rs", text).iter().map(Finding::to_string).collect::<Vec<_>>().join("; ");
        assert_eq!(what("a\n\tb\n"), "a.rs:2: lines: a tab");
        assert_eq!(what("a \n"), "a.rs:1: lines: whitespace at the end");
        assert_eq!(what("a\r\n"), "a.rs:1: lines: whitespace at the end");
        assert_eq!(what(&"ä".repeat(141)), "a.rs:1: lines: 141 characters of at most 140");
        assert_eq!(what(&format!("fn f() {{}}\n{}\n", "ä".repeat(140))), "");
    }

    #[test]
    fn work_put_off_is_refused() {
        let refused = |text: &str| !left_for_later(&Source::parse("src/base/a.rs", text).unwrap()).is_empty();
        let (later, never) = (["TO", "DO"].concat(), ["unimplement", "ed!"].concat());
        assert!(refused(&format!("// {later}: later")));
        assert!(refused(&format!("// {later}!")));
        assert!(refused(&format!("fn f() {{ {never}() }}")));
        assert!(!refused("// Nothing to do: an unimplemented type is refused. XXXX"));
    }

    #[test]
    fn a_script_must_be_there_and_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script");
        assert_eq!(script_fault(&path).unwrap(), "is missing");
        fs::write(&path, "if true; then\n").unwrap();
        assert_eq!(script_fault(&path).unwrap(), "may not be executed");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(script_fault(&path).unwrap().contains("syntax error"));
        fs::write(&path, "true\n").unwrap();
        assert_eq!(script_fault(&path), None);
    }
}
