//! Reading what `syn` leaves as tokens (macro calls, attributes), paths relative to a module, test marks.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{Attribute, Item};

use super::facts::Invocation;

/// An identifier or a string literal among tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) kind: WordKind,
    pub(crate) line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WordKind {
    Call,
    Name,
    Text,
}

/// What a run of tokens names.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) paths: Vec<(Vec<String>, usize)>,
    pub(crate) invocations: Vec<Invocation>,
    pub(crate) keywords: Vec<(String, usize)>,
    pub(crate) methods: Vec<(String, usize)>,
}

//----------- Tokens ---------------------------------------------------------

/// All identifiers and string literals, groups included, in order.
pub(crate) fn words(stream: &TokenStream) -> Vec<Word> {
    let trees: Vec<TokenTree> = stream.clone().into_iter().collect();
    let mut words = Vec::new();
    for (index, tree) in trees.iter().enumerate() {
        let line = tree.span().start().line;
        let followed_by_call = trees.get(index + 1).is_some_and(is_call_group);
        match tree {
            TokenTree::Ident(ident) => {
                let kind = if followed_by_call { WordKind::Call } else { WordKind::Name };
                words.push(Word { text: ident.to_string(), kind, line });
            }
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                if text.contains('"') {
                    words.push(Word { text, kind: WordKind::Text, line });
                }
            }
            TokenTree::Group(group) => words.extend(self::words(&group.stream())),
            TokenTree::Punct(_) => {}
        }
    }
    words
}

fn is_call_group(tree: &TokenTree) -> bool {
    matches!(tree, TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis)
}

/// The paths, macro calls, keywords and method calls in tokens that were not parsed.
pub(crate) fn scan(stream: &TokenStream) -> Found {
    let mut found = Found::default();
    scan_into(stream, &[], &mut found);
    found
}

fn scan_into(stream: &TokenStream, prefix: &[String], found: &mut Found) {
    let trees: Vec<TokenTree> = stream.clone().into_iter().collect();
    let mut at = 0;
    while let Some(tree) = trees.get(at) {
        match tree {
            TokenTree::Group(group) => {
                scan_into(&group.stream(), &[], found);
                at += 1;
            }
            TokenTree::Ident(_) => at = scan_path(&trees, at, prefix, found),
            _ => at += 1,
        }
    }
}

/// Reads the path that begins at `at`; returns where it ends.
fn scan_path(trees: &[TokenTree], at: usize, prefix: &[String], found: &mut Found) -> usize {
    let line = trees.get(at).map_or(0, |tree| tree.span().start().line);
    let mut segments = prefix.to_vec();
    let mut end = at;
    while let Some(TokenTree::Ident(ident)) = trees.get(end) {
        segments.push(ident.to_string());
        end += 1;
        if !(is_punct(trees.get(end), ':') && is_punct(trees.get(end + 1), ':')) {
            break;
        }
        end += 2;
    }
    if let Some(TokenTree::Group(group)) = trees.get(end)
        && is_punct(trees.get(end.wrapping_sub(1)), ':')
    {
        scan_into(&group.stream(), &segments, found);
        return end + 1;
    }
    let dot_before = |back| at.checked_sub(back).is_some_and(|i| is_punct(trees.get(i), '.'));
    let after_dot = dot_before(1) && !dot_before(2);
    let last = segments.last().cloned().unwrap_or_default();
    if after_dot && last != "await" {
        found.methods.push((last, line));
    } else if matches!(last.as_str(), "unsafe" | "async" | "await") {
        found.keywords.push((last, line));
    } else {
        if let (true, Some(TokenTree::Group(group))) = (is_punct(trees.get(end), '!'), trees.get(end + 1)) {
            let words = words(&group.stream());
            found.invocations.push(Invocation { name: last, words, line });
        }
        if segments.len() > 1 {
            found.paths.push((segments, line));
        }
    }
    end
}

fn is_punct(tree: Option<&TokenTree>, wanted: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

//----------- Paths ----------------------------------------------------------

/// Writes out `crate`, `self` and `super` as seen from `module`; other paths stay as they are.
pub(crate) fn absolute(segments: Vec<String>, module: &[String]) -> Vec<String> {
    let mut base = module.to_vec();
    let mut rest = segments.iter().peekable();
    match rest.peek().map(|first| first.as_str()) {
        Some("crate" | "interdict") => {
            rest.next();
            base.clear();
        }
        Some("self" | "super") => {}
        _ => return segments,
    }
    while let Some(step) = rest.next_if(|step| matches!(step.as_str(), "self" | "super")) {
        if step == "super" {
            base.pop();
        }
    }
    ["crate".to_owned()].into_iter().chain(base).chain(rest.cloned()).collect()
}

//----------- Test code ------------------------------------------------------

/// Whether these attributes leave the item out of every build but a test's.
pub(crate) fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Ok(list) = attribute.meta.require_list() else {
            return attribute.path().is_ident("test");
        };
        if !list.path.is_ident("cfg") {
            return false;
        }
        let mut trees = list.tokens.clone().into_iter();
        match (trees.next(), trees.next()) {
            (Some(TokenTree::Ident(word)), None) => word == "test",
            (Some(TokenTree::Ident(word)), Some(TokenTree::Group(group))) => {
                word == "all" && has_term(group.stream(), "test")
            }
            _ => false,
        }
    })
}

/// Whether one of the comma-separated terms is just `wanted`.
fn has_term(stream: TokenStream, wanted: &str) -> bool {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    trees.split(|tree| is_punct(Some(tree), ',')).any(|term| matches!(term, [TokenTree::Ident(word)] if word == wanted))
}

/// The attributes of an item, whatever it is.
pub(crate) fn item_attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Found {
        scan(&text.parse().unwrap())
    }

    #[test]
    fn paths_calls_and_keywords_are_found_in_tokens() {
        let found = found("x => { std::fs::read(p).await; y.elapsed(); println!(\"{}\", a) }");
        assert_eq!(found.paths.first().unwrap().0, ["std", "fs", "read"]);
        assert_eq!(found.keywords.first().unwrap().0, "await");
        assert_eq!(found.methods.first().unwrap().0, "elapsed");
        assert_eq!(found.invocations.first().unwrap().name, "println");
    }

    #[test]
    fn a_use_tree_in_a_macro_is_written_out() {
        let found = found("use std::{fs::File, net}; $crate::app::run()");
        let paths: Vec<String> = found.paths.iter().map(|(path, _)| path.join("::")).collect();
        assert_eq!(paths, ["std::fs::File", "std::net", "crate::app::run"]);
    }

    #[test]
    fn relative_paths_are_resolved_from_their_module() {
        let module = ["engine".to_owned(), "resolver".to_owned()];
        let path = |text: &str| absolute(text.split("::").map(String::from).collect(), &module).join("::");
        assert_eq!(path("super::ledger::Row"), "crate::engine::ledger::Row");
        assert_eq!(path("self::front"), "crate::engine::resolver::front");
        assert_eq!(path("self::super::super::io"), "crate::io");
        assert_eq!(path("interdict::io"), "crate::io");
        assert_eq!(path("std::fs"), "std::fs");
    }

    #[test]
    fn only_code_of_tests_alone_counts_as_test_code() {
        let is_test = |text: &str| {
            let item: Item = syn::parse_str(text).unwrap();
            is_test_only(item_attributes(&item))
        };
        assert!(is_test("#[cfg(test)] mod tests {}"));
        assert!(is_test("#[cfg(all(test, target_os = \"linux\"))] fn f() {}"));
        assert!(is_test("#[test] fn f() {}"));
        assert!(!is_test("#[cfg(any(test, fuzzing))] mod fuzzing {}"));
        assert!(!is_test("#[cfg(not(test))] fn f() {}"));
        assert!(!is_test("#[cfg(all(not(test), unix))] fn f() {}"));
    }
}
