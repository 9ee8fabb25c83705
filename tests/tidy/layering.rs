//! Arrows point downwards: app → io → engine → policy → base, and never sideways between engines or
//! between drivers, other than into `io/sys`.

use super::{Finding, Rule, Source};

/// The rooms, lowest first.
pub(crate) const ROOMS: [&str; 5] = ["base", "policy", "engine", "io", "app"];

/// The rooms whose modules do not know each other.
const WALLED: [&str; 2] = ["engine", "io"];

/// The modules of a walled room that their neighbours may use.
const SHARED: [(&str, &str); 1] = [("io", "sys")];

/// Judges every path of one file.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    if source.is_test {
        return Vec::new();
    }
    let finding = |line, what| Finding::new(Rule::Layering, &source.path, line, what);
    let mut findings = hidden_code(source);
    if source.is_root() {
        return findings;
    }
    if !source.room().is_some_and(|room| ROOMS.contains(&room)) {
        findings.push(finding(0, format!("in none of the rooms {}", ROOMS.join(", "))));
        return findings;
    }
    for reference in source.facts.references.iter().filter(|reference| !reference.via_import) {
        let ["crate", target @ ..] = &segments(&reference.segments)[..] else {
            continue;
        };
        if let Some(why) = refusal(&segments(&source.module), target) {
            let path = reference.segments.join("::");
            findings.push(finding(reference.line, format!("`{path}`: {why}")));
        }
    }
    findings
}

fn segments(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

/// Why code in the module `from` may not name `to`; both from the crate's root.
fn refusal(from: &[&str], to: &[&str]) -> Option<String> {
    let room = from.first()?;
    let Some((target, inner)) = to.split_first() else {
        return Some("the crate's root is no room; name what is needed".into());
    };
    let height = |room: &str| ROOMS.iter().position(|have| *have == room);
    let Some(there) = height(target) else {
        return Some(format!("`{target}` is no room; name the item in its room"));
    };
    if Some(there) > height(room) {
        return Some(format!("an arrow upwards, from {room} to {target}"));
    }
    let (Some(own), true, true) = (from.get(1), target == room, WALLED.contains(room)) else {
        return None;
    };
    match inner.first() {
        None => Some(format!("all of {room} from within {room}; name the module")),
        Some(other) if other == own || SHARED.contains(&(room, other)) => None,
        Some(other) => Some(format!("an arrow sideways, from {room}/{own} to {room}/{other}")),
    }
}

/// Code that this reading would not see: `#[path]`, and `include!` of anything but what build.rs wrote.
fn hidden_code(source: &Source) -> Vec<Finding> {
    let finding = |line, what| Finding::new(Rule::Layering, &source.path, line, what);
    let marks = source.facts.marks.iter().filter(|mark| mark.name == "path");
    let calls = source
        .facts
        .invocations
        .iter()
        .filter(|call| call.name == "include" && !call.words.iter().any(|word| word.text == "\"OUT_DIR\""));
    marks
        .map(|mark| finding(mark.line, "#[path] puts a module elsewhere than its name says"))
        .chain(calls.map(|call| finding(call.line, "include! hides code from these checks")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusals(path: &str, text: &str) -> Vec<String> {
        let source = Source::parse(path, text).unwrap();
        check(&source).iter().map(Finding::to_string).collect()
    }

    fn refused(path: &str, text: &str) -> bool {
        !refusals(path, text).is_empty()
    }

    const FRONT: &str = "src/engine/resolver/front.rs";

    #[test]
    fn an_arrow_upwards_is_refused_in_every_spelling() {
        let list = refusals("src/policy/decide.rs", "\nuse crate::engine::resolver::Core;");
        assert_eq!(
            list,
            ["src/policy/decide.rs:2: layering: `crate::engine::resolver::Core`: \
              an arrow upwards, from policy to engine"]
        );
        assert!(refused(FRONT, "fn f() { crate::io::store::open() }"));
        assert!(refused(FRONT, "use super::super::super::io;"));
        assert!(refused(FRONT, "use crate::{base::name::Name, app::{cli, config::Config}};"));
        assert!(refused(FRONT, "fn f(x: &crate::io::Row<u8>) {}"));
        assert!(refused(FRONT, "impl crate::app::Run for X {}"));
        assert!(refused(FRONT, "fn f() { tracing::debug!(x = crate::app::x()); }"));
        assert!(refused(FRONT, "macro_rules! m { () => { $crate::io::store::open() } }"));
        assert!(refused(FRONT, "fn f() { interdict::io::store::open() }"));
        assert!(refused(FRONT, "mod inner { use super::super::super::super::app::x; }"));
        assert!(refused("src/base/mod.rs", "pub use crate::policy::Policy;"));
    }

    #[test]
    fn an_arrow_sideways_is_refused_between_engines_and_between_drivers() {
        let list = refusals(FRONT, "use crate::engine::ledger::Row;");
        assert!(list.first().unwrap().ends_with("from engine/resolver to engine/ledger"));
        assert!(refused(FRONT, "use super::super::ledger::Row;"));
        assert!(refused(FRONT, "use crate::engine::{self, resolver::Core};"));
        assert!(refused(FRONT, "use crate::engine::*;"));
        assert!(refused("src/engine/resolver/mod.rs", "use super::*;"));
        assert!(refused("src/io/listen/mod.rs", "use crate::io::store::Store;"));
        assert!(refused("src/io/sys/mmsg.rs", "use crate::io::listen::Socket;"));
    }

    #[test]
    fn roads_around_the_rooms_are_refused() {
        assert!(refused(FRONT, "use crate::*;"));
        assert!(refused(FRONT, "use crate as root;"));
        assert!(refused(FRONT, "use crate::Policy;"));
        assert!(refused("src/util.rs", ""));
        assert!(refused("src/main.rs", "#[path = \"x.rs\"] mod x;"));
        assert!(refused(FRONT, "include!(\"x.rs\");"));
        assert!(!refused(FRONT, "include!(concat!(env!(\"OUT_DIR\"), \"/x.rs\"));"));
    }

    #[test]
    fn arrows_downwards_and_within_a_module_are_accepted() {
        let text = "use crate::{base::name::Name, policy::{self, Policy}};
            use super::{core::Core, Settings};
            pub(crate) mod inner { pub(in crate::engine) use super::super::core; use super::*; }
            pub(crate) fn f(&self) -> crate::engine::resolver::Core { self::inner::g() }";
        assert_eq!(refusals(FRONT, &text.replace("&self", "")), [""; 0]);
        assert!(!refused("src/io/listen/udp.rs", "use crate::io::{sys::mmsg, listen::Settings};"));
        assert!(!refused("src/app/daemon/mod.rs", "use crate::{io::store, app::config};"));
        assert!(!refused("src/engine/mod.rs", "pub mod resolver; pub use resolver::Core;"));
        assert!(!refused("src/lib.rs", "pub use crate::app::run;"));
    }

    #[test]
    fn test_code_may_reach_further() {
        assert!(!refused(FRONT, "#[cfg(test)] mod tests { use crate::engine::ledger::Row; }"));
        assert!(!refused(FRONT, "#![cfg(test)]\nuse crate::io::store;"));
    }
}
