//! A scenario as it is written: lines, each with its number, its first word and the rest.

use std::fs;
use std::path::{Path, PathBuf};

/// A scenario.
pub(crate) struct Scenario {
    /// From `tests/data/scenarios` on.
    pub(crate) path: String,
    /// What it does.
    pub(crate) steps: Vec<Step>,
}

/// A step, with the records below it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) verb: String,
    pub(crate) words: Vec<String>,
    /// Section and the words of each record.
    pub(crate) records: Vec<(String, Vec<String>)>,
}

impl Scenario {
    /// The folder.
    pub(crate) fn category(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }
}

impl Step {
    /// Whether a word is there.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|have| have == word)
    }

    /// What stands after `key=`.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// The word at a place.
    pub(crate) fn word(&self, at: usize) -> &str {
        self.words.get(at).unwrap_or_else(|| panic!("line {}: {} wants more words", self.line, self.verb))
    }
}

/// Every scenario, in the order of their paths.
pub(crate) fn all() -> Vec<Scenario> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/scenarios");
    let mut paths = Vec::new();
    for folder in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        paths.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    }
    paths.sort();
    paths.iter().map(|path| read(&root, path)).collect()
}

fn read(root: &Path, path: &PathBuf) -> Scenario {
    let text = fs::read_to_string(path).unwrap();
    let path = path.strip_prefix(root).unwrap().display().to_string();
    assert!(text.starts_with("# "), "{path}: its first line does not say what it shows");
    let mut steps: Vec<Step> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let mut words = line.split("  # ").next().unwrap_or_default().split_whitespace().map(str::to_owned);
        let Some(verb) = words.next().filter(|verb| verb != "#") else { continue };
        let words: Vec<_> = words.collect();
        if matches!(verb.as_str(), "an" | "au" | "ar") {
            let step = steps.last_mut().unwrap_or_else(|| panic!("{path}:{}: a record of nothing", at + 1));
            step.records.push((verb, words));
        } else {
            steps.push(Step { line: at + 1, verb, words, records: Vec::new() });
        }
    }
    Scenario { path, steps }
}
