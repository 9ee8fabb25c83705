//! What the indexes hold and what building them takes, counted by the allocator itself: a million names of 14 octets, and as many of
//! 26 in the shape of real lists, beside a hash set of strings and an `fst`; a hundred thousand prefixes beside a `prefix-trie`.
//!
//! `cargo bench --bench bytes` runs it; under `cargo test` it runs with few names, to stay alive.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a benchmark")]
#![allow(unsafe_code, reason = "an allocator that counts is the only way to see what is allocated")]

#[path = "common/listed.rs"]
mod listed;

use interdict::base::model::Stage;
use interdict::policy::list::Format;
use interdict::policy::{List, RuleSet, RuleSetBuilder};
use ipnet::Ipv4Net;
use listed::{hosts, names, prefixes, scale};
use prefix_trie::PrefixMap;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

fn add(octets: usize) {
    let held = HELD.fetch_add(octets, Ordering::Relaxed) + octets;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came; counting touches two atomics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Large blocks move by changing the map: both sizes are never resident at once.
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        add(size);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What something holds that `make` makes, and what making it takes at most.
fn counted<T>(what: &str, entries: usize, make: impl FnOnce() -> T) -> T {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let made = make();
    let held = HELD.load(Ordering::Relaxed) - before;
    let peak = PEAK.load(Ordering::Relaxed) - before;
    println!("{what}: {held} octets, {:.1} each; at most {peak} while it is made", held as f64 / entries as f64);
    made
}

fn rules(text: &str, format: Format) -> RuleSet {
    let mut builder = RuleSetBuilder::new();
    let list =
        List { id: "b".into(), file: "b".into(), revision: "0".into(), stage: Some(Stage::Block), expires: None };
    builder.add_blocklist(list, format, &mut text.as_bytes()).unwrap();
    builder.finish()
}

fn main() {
    for names in [names(scale(1_000_000)), hosts(scale(1_000_000))] {
        let count = names.len();
        let text = names.join("\n");
        println!("{count} names of {:.1} octets of text", text.len() as f64 / count as f64 - 1.0);
        let made = counted("rules", count, || rules(&text, Format::Domains));
        println!("which says of itself: {} octets", made.bytes());
        drop(made);
        drop(counted("hash set of strings", count, || names.iter().cloned().collect::<HashSet<String>>()));
        let mut reversed: Vec<String> = names.iter().map(|name| name.chars().rev().collect()).collect();
        reversed.sort();
        drop(counted("fst, which only says whether", count, || fst::Set::from_iter(&reversed).unwrap()));
    }

    let nets = prefixes(scale(100_000));
    let text: String = nets.iter().map(|net| format!("{net}\n")).collect();
    drop(counted("IPv4 prefixes", nets.len(), || rules(&text, Format::Ranges)));
    drop(counted("prefix-trie", nets.len(), || {
        let mut trie: PrefixMap<Ipv4Net, u32> = PrefixMap::new();
        nets.iter().zip(0..).for_each(|(net, rule)| {
            trie.insert(*net, rule);
        });
        trie
    }));
}
