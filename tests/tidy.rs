//! The house rules as a test: what CONTRIBUTING.md says about the sources, read from the sources.
//!
//! Each test below checks one rule over the whole repository and prints `file:line: rule: what` for each
//! place that breaks it. The checks live in `tests/tidy/`, beside small sources that they must refuse.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a broken rule, and a repository that cannot be read, are reported by a panic"
)]

#[path = "tidy/mod.rs"]
mod rules;

use rules::{Finding, Rule, Source, docs, layering, links, lockfile, manifest, privacy, purity, size, text};

/// Runs one per-file check over all sources and reports what is left after the exemptions.
fn over_sources(rule: Rule, check: impl Fn(&Source) -> Vec<Finding>) {
    report(rule, rules::sources().iter().flat_map(check).collect());
}

fn report(rule: Rule, findings: Vec<Finding>) {
    if let Err(list) = rules::judge(rule, findings) {
        panic!("\n{list}\n");
    }
}

#[test]
fn arrows_between_rooms_point_downwards() {
    over_sources(Rule::Layering, layering::check);
}

#[test]
fn base_policy_and_engine_are_pure() {
    over_sources(Rule::Purity, purity::pure_rooms);
}

#[test]
fn unsafe_stays_in_io_sys() {
    over_sources(Rule::Unsafe, purity::unsafe_code);
}

#[test]
fn clap_and_serde_stay_in_their_places() {
    over_sources(Rule::Places, purity::places);
}

#[test]
fn channels_are_bounded() {
    over_sources(Rule::Bounded, purity::bounded_channels);
}

#[test]
fn names_and_addresses_are_not_logged_above_debug() {
    over_sources(Rule::Privacy, privacy::check);
}

#[test]
fn files_functions_and_arguments_keep_their_size() {
    over_sources(Rule::Size, size::check);
}

#[test]
fn lines_are_clean_and_short() {
    report(Rule::Lines, text::lines(&rules::root()));
}

#[test]
fn nothing_is_left_for_later() {
    over_sources(Rule::Later, text::left_for_later);
}

#[test]
fn the_map_names_every_module_and_no_other() {
    report(Rule::Map, docs::architecture(&rules::root(), rules::sources()));
}

#[test]
fn the_changelog_has_its_shape() {
    report(Rule::Changelog, docs::changelog(&docs::read(&rules::root(), "CHANGELOG.md")));
}

#[test]
fn the_readme_names_the_two_commands() {
    report(Rule::Readme, docs::readme(&docs::read(&rules::root(), "README.md")));
}

#[test]
fn links_and_examples_lead_somewhere() {
    report(Rule::Links, links::check(&rules::root()));
}

#[test]
fn each_dependency_has_its_sentence() {
    report(Rule::Manifest, manifest::sentences(&docs::read(&rules::root(), "Cargo.toml")));
}

#[test]
fn locked_versions_are_sound() {
    let lock = docs::read(&rules::root(), "Cargo.lock");
    let deny = docs::read(&rules::root(), "deny.toml");
    report(Rule::Lock, lockfile::check(&lock, &deny));
}

#[test]
fn licences_of_dependencies_are_allowed() {
    let deny = docs::read(&rules::root(), "deny.toml");
    report(Rule::Licences, manifest::licences(&manifest::cargo_metadata(), &deny));
}

#[test]
fn scripts_parse_and_may_be_run() {
    report(Rule::Scripts, text::scripts(&rules::root()));
}
