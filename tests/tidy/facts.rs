//! What the rules need to know of a file, as plain data: every path that it names, every macro that it
//! calls, its functions, keywords, methods and attributes. Test code is left out.

use std::collections::BTreeMap;

use syn::{Item, spanned::Spanned};

use super::{
    tokens::{self, Word},
    walk,
};

/// A path of two or more segments, or an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// From the crate's root as `["crate", …]`, or from another crate's name.
    pub(crate) segments: Vec<String>,
    /// `use …::*`, the segments being what stands before the star.
    pub(crate) glob: bool,
    /// Resolved through a name that an import brought in; the import is a reference of its own.
    pub(crate) via_import: bool,
    pub(crate) line: usize,
}

/// A macro call, with the words and strings between its delimiters.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    /// The last segment: `info` for `tracing::info!`.
    pub(crate) name: String,
    pub(crate) words: Vec<Word>,
    pub(crate) line: usize,
}

/// A function with a body.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Lines between the braces.
    pub(crate) body: usize,
    /// `self` not counted.
    pub(crate) arguments: usize,
    pub(crate) line: usize,
}

/// An attribute: its name and the words in it.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) name: String,
    pub(crate) words: Vec<Word>,
    pub(crate) line: usize,
}

/// Everything read from one file.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) references: Vec<Reference>,
    pub(crate) invocations: Vec<Invocation>,
    pub(crate) functions: Vec<Function>,
    /// `unsafe`, `async`, `await`, each with its line.
    pub(crate) keywords: Vec<(String, usize)>,
    /// The names of called methods, each with its line.
    pub(crate) methods: Vec<(String, usize)>,
    pub(crate) marks: Vec<Mark>,
    /// The module paths declared under `#[cfg(test)]`.
    pub(crate) test_modules: Vec<Vec<String>>,
    /// The line of the first top-level `#[cfg(test)] mod tests`.
    pub(crate) tests_line: Option<usize>,
    pub(crate) whole_file_is_test: bool,
}

impl Facts {
    /// Reads a parsed file that is the module `module`.
    pub(crate) fn read(file: &syn::File, module: &[String]) -> Self {
        let mut facts = walk::collect(file, module);
        facts.whole_file_is_test = tokens::is_test_only(&file.attrs);
        facts.tests_line = tests_line(file);
        facts.resolve_imports();
        facts
    }

    /// Writes out the paths that start with an imported name: `fs::read` after `use std::fs`.
    fn resolve_imports(&mut self) {
        let imports: BTreeMap<String, Vec<String>> = self
            .references
            .iter()
            .filter(|reference| !reference.glob)
            .filter_map(|reference| Some((reference.alias()?, reference.target())))
            .collect();
        for reference in &mut self.references {
            reference.segments.retain(|segment| !segment.starts_with('='));
            // Twice: a name may have come in through another imported name.
            for _ in 0..2 {
                let Some((first, rest)) = reference.segments.split_first() else {
                    continue;
                };
                let Some(target) = imports.get(first).filter(|target| target.first() != Some(first)) else {
                    continue;
                };
                reference.segments = target.iter().chain(rest).cloned().collect();
                reference.via_import = true;
            }
        }
    }
}

impl Reference {
    /// The name that this import brings in. Until imports are resolved, it stands last as `=name`.
    fn alias(&self) -> Option<String> {
        self.segments.last()?.strip_prefix('=').map(String::from)
    }

    fn target(&self) -> Vec<String> {
        self.segments.iter().filter(|segment| !segment.starts_with('=')).cloned().collect()
    }
}

/// The line where the first top-level `#[cfg(test)] mod tests` begins, its attributes included.
fn tests_line(file: &syn::File) -> Option<usize> {
    file.items.iter().find_map(|item| match item {
        Item::Mod(item) if item.ident == "tests" && tokens::is_test_only(&item.attrs) => {
            item.attrs.first().map(|attribute| attribute.span().start().line)
        }
        _ => None,
    })
}
