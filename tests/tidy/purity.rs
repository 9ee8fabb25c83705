//! What may stand where: no clock, socket, file, thread, async or `unsafe` in base, policy and engine;
//! `unsafe` in io/sys alone; clap and serde derives in their places; no unbounded channel anywhere.

use super::{Finding, Rule, Source, facts::Reference};

/// The rooms that only compute.
const PURE: [&str; 3] = ["base", "policy", "engine"];

/// What they do not name: a path, from its crate, and why.
const IMPURE: &[(&str, &str)] = &[
    ("libc", "system calls belong to io/sys"),
    ("pnet", "interfaces belong to io"),
    ("rusqlite", "storage belongs to io/store"),
    ("socket2", "sockets belong to io"),
    ("std::env", "the environment is read by app"),
    ("std::fs", "files belong to io; parse `&[u8]` or `&mut dyn BufRead`"),
    ("std::io::stderr", "printing belongs to app/cli"),
    ("std::io::stdin", "input belongs to app/cli"),
    ("std::io::stdout", "printing belongs to app/cli"),
    ("std::net::TcpListener", "sockets belong to io"),
    ("std::net::TcpStream", "sockets belong to io"),
    ("std::net::ToSocketAddrs", "it asks the system's resolver"),
    ("std::net::UdpSocket", "sockets belong to io"),
    ("std::os", "the operating system belongs to io"),
    ("std::process", "programs are run by io, exits are app's"),
    ("std::thread", "threads belong to io and app"),
    ("tokio", "the runtime belongs to io and app"),
    ("tokio_util", "the runtime belongs to io and app"),
    ("tracing_subscriber", "log output belongs to app"),
];

/// Ways to read a clock; `now` is an argument.
const CLOCKS: [&str; 5] = ["Instant::now", "SystemTime::now", "TimeZone::system", "Timestamp::now", "Zoned::now"];

const PRINTING: [&str; 5] = ["dbg", "eprint", "eprintln", "print", "println"];

/// Where serde's derives may stand: what is read from or written to a file, a row, an output.
const SERDE_PLACES: [&str; 6] = ["policy/list", "app/config", "app/cli", "io/store", "io/export", "io/control"];

const UNBOUNDED: [&str; 2] = ["std::sync::mpsc::channel", "tokio::sync::mpsc::unbounded_channel"];

//----------- The rules ------------------------------------------------------

/// Judges a file of base, policy or engine.
pub(crate) fn pure_rooms(source: &Source) -> Vec<Finding> {
    if source.is_test || !source.room().is_some_and(|room| PURE.contains(&room)) {
        return Vec::new();
    }
    let facts = &source.facts;
    let mut found: Vec<(usize, String)> = Vec::new();
    for reference in &facts.references {
        let path = reference.segments.join("::");
        if let Some((_, why)) = IMPURE.iter().find(|(banned, _)| names(reference, banned)) {
            found.push((reference.line, format!("`{path}`: {why}")));
        }
        if CLOCKS.iter().any(|clock| path == *clock || path.ends_with(&format!("::{clock}"))) {
            found.push((reference.line, format!("`{path}`: `now` is an argument")));
        }
    }
    for (word, line) in &facts.keywords {
        found.push((*line, format!("`{word}` has no place in these rooms")));
    }
    for (_, line) in facts.methods.iter().filter(|(name, _)| name == "elapsed") {
        found.push((*line, "`elapsed()` reads the clock; `now` is an argument".into()));
    }
    for call in facts.invocations.iter().filter(|call| PRINTING.contains(&call.name.as_str())) {
        found.push((call.line, format!("`{}!` prints; app/cli does", call.name)));
    }
    findings(Rule::Purity, source, found)
}

/// `unsafe`, and the leave to use it, in io/sys alone.
pub(crate) fn unsafe_code(source: &Source) -> Vec<Finding> {
    if source.is_in("io/sys") {
        return Vec::new();
    }
    let keywords = source.facts.keywords.iter().filter(|(word, _)| word == "unsafe");
    let marks = source.facts.marks.iter().filter(|mark| {
        let lifts = matches!(mark.name.as_str(), "allow" | "expect" | "warn" | "cfg_attr");
        mark.name == "unsafe" || lifts && mark.words.iter().any(|word| word.text == "unsafe_code")
    });
    let lines = keywords.map(|(_, line)| *line).chain(marks.map(|mark| mark.line));
    let what = "`unsafe` belongs to src/io/sys alone";
    findings(Rule::Unsafe, source, lines.map(|line| (line, what.into())).collect())
}

/// clap in app/cli alone; serde derives only where files, rows and outputs are described.
pub(crate) fn places(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    if !source.is_in("app/cli") {
        let clap = source.facts.references.iter().filter(|reference| names(reference, "clap"));
        found.extend(clap.map(|reference| (reference.line, "clap belongs to src/app/cli".into())));
    }
    if !source.is_test && !SERDE_PLACES.iter().any(|place| source.is_in(place)) {
        let derives = source.facts.marks.iter().filter(|mark| {
            matches!(mark.name.as_str(), "derive" | "cfg_attr")
                && mark.words.iter().any(|word| matches!(word.text.as_str(), "Serialize" | "Deserialize"))
        });
        let what = format!("serde derives belong to {}", SERDE_PLACES.join(", "));
        found.extend(derives.map(|mark| (mark.line, what.clone())));
    }
    findings(Rule::Places, source, found)
}

/// No channel without a bound, tests included as far as they are in this file's production code.
pub(crate) fn bounded_channels(source: &Source) -> Vec<Finding> {
    let lines = source.facts.references.iter().filter(|reference| {
        UNBOUNDED.iter().any(|banned| names(reference, banned))
            || reference.segments.last().is_some_and(|last| last == "unbounded_channel")
    });
    let what = "a channel without a bound: use sync_channel(limit), or tokio's channel(limit)";
    findings(Rule::Bounded, source, lines.map(|found| (found.line, what.into())).collect())
}

//----------- Matching -------------------------------------------------------

/// Whether a path is `banned` or below it, or brings it in by a star.
fn names(reference: &Reference, banned: &str) -> bool {
    let banned: Vec<&str> = banned.split("::").collect();
    let have = &reference.segments;
    let common = have.iter().zip(&banned).take_while(|(have, banned)| have == *banned).count();
    common == banned.len() || (reference.glob && !have.is_empty() && common == have.len())
}

fn findings(rule: Rule, source: &Source, found: Vec<(usize, String)>) -> Vec<Finding> {
    found.into_iter().map(|(line, what)| Finding::new(rule, &source.path, line, what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&Source) -> Vec<Finding>;

    fn refused(check: Check, path: &str, text: &str) -> bool {
        !check(&Source::parse(path, text).unwrap()).is_empty()
    }

    const ENGINE: &str = "src/engine/ledger/fold.rs";

    #[test]
    fn what_touches_the_world_is_refused_in_the_pure_rooms() {
        for text in [
            "use std::fs;",
            "use std::{fmt, net::{IpAddr, UdpSocket}};",
            "use std::net::*;",
            "use std::*;",
            "use std as s; fn f() { s::fs::read(p); }",
            "use std::net; fn f() { net::TcpStream::connect(a); }",
            "fn f() { ::std::process::exit(1) }",
            "fn f() { std::thread::spawn(|| {}); }",
            "fn f() { std::env::var(\"X\"); }",
            "fn f() { let x = vec![std::fs::read(p)]; }",
            "use std::io; fn f() { io::stdout(); }",
            "use std::os::fd::OwnedFd;",
            "extern crate libc;",
            "use tokio::sync::watch;",
            "fn f(x: &rusqlite::Connection) {}",
            "#[tokio::main] fn f() {}",
            "use pnet::datalink; use socket2::Socket;",
        ] {
            assert!(refused(pure_rooms, ENGINE, text), "{text}");
        }
    }

    #[test]
    fn clocks_are_refused_in_the_pure_rooms() {
        for text in [
            "fn f() { std::time::Instant::now(); }",
            "use std::time::Instant; fn f() { Instant::now(); }",
            "use std::time::Instant as I; fn f() { I::now(); }",
            "fn f() { x.unwrap_or_else(jiff::Timestamp::now) }",
            "use jiff::Zoned; fn f() { Zoned::now(); }",
            "fn f(then: Instant) { then.elapsed(); }",
            "fn f() { tracing::debug!(x = ?then.elapsed()); }",
            "use std::time::*; fn f() { SystemTime::now(); }",
        ] {
            assert!(refused(pure_rooms, ENGINE, text), "{text}");
        }
    }

    #[test]
    fn async_unsafe_and_printing_are_refused_in_the_pure_rooms() {
        for text in [
            "async fn f() {}",
            "fn f() { async { 1 }; }",
            "fn f() { async || 1; }",
            "fn f() { x.await; }",
            "trait T { async fn f(); }",
            "fn f() { unsafe { g() } }",
            "fn f() { m!(unsafe { g() }); }",
            "fn f() { println!(\"x\"); }",
            "fn f() { std::eprintln!(\"x\"); }",
            "fn f() { m!(dbg!(x)); }",
        ] {
            assert!(refused(pure_rooms, ENGINE, text), "{text}");
        }
    }

    #[test]
    fn what_only_computes_is_accepted() {
        let text = "use std::{net::{IpAddr, SocketAddr}, time::{Duration, Instant}, io::BufRead};
            use jiff::Timestamp;
            const VERSION: &str = env!(\"CARGO_PKG_VERSION\");
            fn f(now: Instant, lines: &mut dyn BufRead) -> Duration { now.duration_since(then) }
            #[cfg(test)] mod tests { use std::fs; fn f() { println!(\"{:?}\", Instant::now()); } }";
        assert!(!refused(pure_rooms, ENGINE, text));
        assert!(!refused(pure_rooms, "src/io/store/mod.rs", "use std::fs; async fn f() {}"));
        assert!(!refused(pure_rooms, ENGINE, "/// Like `std::fs::read`.\nfn f() {}"));
    }

    #[test]
    fn unsafe_and_the_leave_for_it_are_refused_outside_sys() {
        let driver = "src/io/listen/udp.rs";
        for text in [
            "fn f() { unsafe { g() } }",
            "unsafe fn f() {}",
            "unsafe impl Send for X {}",
            "unsafe trait T {}",
            "unsafe extern \"C\" { fn f(); }",
            "#![allow(unsafe_code)]",
            "#[unsafe(no_mangle)] fn f() {}",
        ] {
            assert!(refused(unsafe_code, driver, text), "{text}");
            assert!(!refused(unsafe_code, "src/io/sys/mmsg.rs", text), "{text}");
        }
        assert!(!refused(unsafe_code, driver, "#![forbid(unsafe_code)]\nfn f() {}"));
    }

    #[test]
    fn clap_and_serde_are_refused_out_of_place() {
        assert!(refused(places, "src/app/daemon/mod.rs", "use clap::Parser;"));
        assert!(refused(places, "src/main.rs", "#[derive(clap::Parser)] struct X;"));
        assert!(!refused(places, "src/app/cli/mod.rs", "use clap::Parser;"));
        let derive = "#[derive(Debug, serde::Serialize)] struct X;";
        assert!(refused(places, "src/base/model/mod.rs", derive));
        assert!(refused(places, "src/io/listen/mod.rs", "#[derive(Deserialize)] struct X;"));
        assert!(refused(places, "src/base/a.rs", "#[cfg_attr(x, derive(Serialize))] struct X;"));
        assert!(!refused(places, "src/io/store/rows.rs", derive));
        assert!(!refused(places, "src/base/model/mod.rs", "#[derive(Debug, Clone)] struct X;"));
    }

    #[test]
    fn unbounded_channels_are_refused_everywhere() {
        let app = "src/app/daemon/mod.rs";
        for text in [
            "use std::sync::mpsc::channel;",
            "use std::sync::mpsc; fn f() { mpsc::channel(); }",
            "use std::sync::mpsc::*;",
            "use tokio::sync::mpsc; fn f() { mpsc::unbounded_channel(); }",
            "fn f() { tokio::sync::mpsc::unbounded_channel(); }",
        ] {
            assert!(refused(bounded_channels, app, text), "{text}");
        }
        for text in [
            "use std::sync::mpsc; fn f() { mpsc::sync_channel(LIMIT); }",
            "use tokio::sync::mpsc; fn f() { mpsc::channel(LIMIT); }",
        ] {
            assert!(!refused(bounded_channels, app, text), "{text}");
        }
    }
}
