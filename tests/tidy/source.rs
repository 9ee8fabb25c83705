//! One source file: its text, its place in the module tree, and the facts read from it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::facts::Facts;

/// A file below `src/`, parsed.
pub(crate) struct Source {
    /// Relative to the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The module that the file is: `["engine", "resolver"]` for `src/engine/resolver/mod.rs`, empty for the roots.
    pub(crate) module: Vec<String>,
    /// Compiled for tests alone, because its parent declares it under `#[cfg(test)]`.
    pub(crate) is_test: bool,
    /// What stands in it outside test code.
    pub(crate) facts: Facts,
}

impl Source {
    /// Parses `text` as the file at `path`.
    pub(crate) fn parse(path: &str, text: &str) -> syn::Result<Self> {
        let module = module_of(path);
        let file = syn::parse_file(text)?;
        let facts = Facts::read(&file, &module);
        let is_test = facts.whole_file_is_test;
        Ok(Self { path: path.into(), text: text.into(), module, is_test, facts })
    }

    /// Whether this is the library's or the program's root.
    pub(crate) fn is_root(&self) -> bool {
        self.module.is_empty()
    }

    /// The room, where the file is in one: the first part of its module path.
    pub(crate) fn room(&self) -> Option<&str> {
        self.module.first().map(String::as_str)
    }

    /// Whether the file is the module `room/module`, or in it.
    pub(crate) fn is_in(&self, place: &str) -> bool {
        let mut parts = self.module.iter();
        place.split('/').all(|part| parts.next().is_some_and(|have| have == part))
    }
}

/// The module path that `src/….rs` is.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let inner = inner.strip_suffix(".rs").unwrap_or(inner);
    let mut parts: Vec<String> = inner.split('/').map(String::from).collect();
    if parts.last().is_some_and(|last| last == "mod") || (parts.len() == 1 && matches!(inner, "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// Every source below `root/src`, in the order of the paths.
///
/// # Panics
/// When a file cannot be read or parsed, or there is none: then nothing was checked.
pub(crate) fn read_all(root: &Path) -> Vec<Source> {
    let mut sources: Vec<Source> = files(root, &["src"], "rs")
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(root.join(&path)).expect("a source file is readable");
            Source::parse(&path, &text).unwrap_or_else(|error| panic!("{path}:{}: {error}", error.span().start().line))
        })
        .collect();
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "src/lib.rs was not found");
    mark_tests(&mut sources);
    sources
}

/// Marks the files whose module is declared under `#[cfg(test)]`, and those below them.
fn mark_tests(sources: &mut [Source]) {
    let tests: Vec<Vec<String>> = sources.iter().flat_map(|source| source.facts.test_modules.clone()).collect();
    for source in sources {
        source.is_test |= tests.iter().any(|test| source.module.starts_with(test));
    }
}

/// The files of one extension below some folders of `root`, relative, sorted; `.git` and build output left out.
pub(crate) fn files(root: &Path, folders: &[&str], extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder of the repository is readable");
            let entries = entries.map(|entry| entry.expect("an entry is readable").path());
            open.extend(entries.filter(|path| !is_output(root, path)));
        } else if path.extension().is_some_and(|have| have == extension) {
            let relative = path.strip_prefix(root).expect("the walk stays below the root");
            found.push(relative.to_string_lossy().into_owned());
        }
    }
    found.sort();
    found
}

/// Whether this folder is none of the sources: `.git`, what a build wrote, what a run wrote.
fn is_output(root: &Path, path: &Path) -> bool {
    path.ends_with("target") || path.ends_with(".git") || path == root.join("state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_module() {
        assert!(module_of("src/lib.rs").is_empty());
        assert!(module_of("src/main.rs").is_empty());
        assert_eq!(module_of("src/engine/mod.rs"), ["engine"]);
        assert_eq!(module_of("src/engine/resolver/front.rs"), ["engine", "resolver", "front"]);
        let source = Source::parse("src/io/sys/mmsg.rs", "").unwrap();
        assert!(source.is_in("io/sys") && source.is_in("io") && !source.is_in("io/store"));
    }

    #[test]
    fn a_module_declared_for_tests_is_a_test_with_all_below_it() {
        let mut sources = vec![
            Source::parse("src/base/mod.rs", "#[cfg(test)] mod tests; mod name;").unwrap(),
            Source::parse("src/base/tests/mod.rs", "mod more;").unwrap(),
            Source::parse("src/base/tests/more.rs", "").unwrap(),
            Source::parse("src/base/name.rs", "").unwrap(),
        ];
        mark_tests(&mut sources);
        let marks: Vec<bool> = sources.iter().map(|source| source.is_test).collect();
        assert_eq!(marks, [false, true, true, false]);
    }
}
