//! What a look-up costs at a million names and a hundred thousand prefixes, beside what one would otherwise take: a hash set of
//! strings walked by suffix, an `fst`, a `prefix-trie`. Also how long a million names take to load, and what they hold.
//!
//! `cargo bench --bench index` runs it; under `cargo test` it runs with few names, to stay alive.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a benchmark")]

#[path = "common/listed.rs"]
mod listed;

use criterion::{Criterion, criterion_group, criterion_main};
use interdict::base::model::Stage;
use interdict::base::name::Name;
use interdict::io::sys::memory::in_large_pages;
use interdict::policy::list::Format;
use interdict::policy::{List, Policy, RuleSetBuilder, Settings, Subject};
use ipnet::{IpNet, Ipv4Net};
use listed::{label, scale};
use prefix_trie::PrefixMap;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::HashSet;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

/// Names asked for; more than any cache of addresses keeps.
const ASKED: usize = 1 << 16;

/// Rounds of [`side_by_side`].
const ROUNDS: usize = 25;

fn policy(text: &str, format: Format) -> Policy {
    let mut builder = RuleSetBuilder::new();
    let list = List {
        id: "bench".into(),
        file: "bench".into(),
        revision: "0".into(),
        stage: Some(Stage::Block),
        expires: None,
    };
    builder.add_blocklist(list, format, &mut text.as_bytes()).unwrap();
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    Policy::new(1, Arc::new(builder.finish()), Arc::new(Settings::default()), at)
}

/// The set of strings, asked for the name and each of its suffixes.
fn walk<S: std::hash::BuildHasher>(set: &HashSet<String, S>, name: &str) -> bool {
    let mut rest = name;
    loop {
        if set.contains(rest) {
            return true;
        }
        match rest.split_once('.') {
            Some((_, parent)) => rest = parent,
            None => return false,
        }
    }
}

fn names(c: &mut Criterion) {
    let count = scale(1_000_000);
    let names = listed::names(count);
    drop(loaded(&listed::hosts(count)));
    let policy = loaded(&names);
    let std_set: HashSet<String> = names.iter().cloned().collect();
    let fold_set: HashSet<String, foldhash::fast::RandomState> = names.iter().cloned().collect();
    let reversed = {
        let mut keys: Vec<String> = names.iter().map(|name| name.chars().rev().collect()).collect();
        keys.sort();
        fst::Set::from_iter(keys).unwrap()
    };
    println!("fst: {} octets, {:.1} a name", reversed.as_fst().size(), reversed.as_fst().size() as f64 / count as f64);

    let (miss, hit) = asked_names(&names);
    for (what, asked) in [("miss", &miss), ("hit", &hit)] {
        let wire: Vec<Name> = asked.iter().map(|name| name.parse().unwrap()).collect();
        side_by_side(
            &format!("names/{what}"),
            &mut [
                ("hash set, std", &mut || asked.iter().filter(|name| walk(&std_set, black_box(name))).count()),
                ("hash set, foldhash", &mut || asked.iter().filter(|name| walk(&fold_set, black_box(name))).count()),
                ("fst", &mut || asked.iter().filter(|name| fst_suffix(&reversed, black_box(name))).count()),
                ("ours", &mut || wire.iter().filter(|name| by_name(&policy, black_box(name))).count()),
            ],
        );
        let mut group = c.benchmark_group(format!("names/{what}"));
        let mut at = 0;
        group.bench_function("ours", |b| {
            b.iter(|| {
                at = (at + 1) % ASKED;
                policy.decide(&Subject { name: Some(black_box(&wire[at]).as_ref()), ..Subject::default() })
            });
        });
        group.bench_function("hash set, std", |b| {
            b.iter(|| {
                at = (at + 1) % ASKED;
                walk(&std_set, black_box(&asked[at]))
            });
        });
        group.bench_function("hash set, foldhash", |b| {
            b.iter(|| {
                at = (at + 1) % ASKED;
                walk(&fold_set, black_box(&asked[at]))
            });
        });
        group.bench_function("fst", |b| {
            b.iter(|| {
                at = (at + 1) % ASKED;
                fst_suffix(&reversed, black_box(&asked[at]))
            });
        });
        group.finish();
    }
}

/// A policy of these names, and what it took to make.
fn loaded(names: &[String]) -> Policy {
    let (count, text) = (names.len(), names.join("\n"));
    let start = Instant::now();
    let policy = policy(&text, Format::Domains);
    in_large_pages(policy.rules().spans());
    let load = start.elapsed();
    let (octets, text) = (policy.rules().bytes() as f64 / count as f64, text.len() as f64 / count as f64 - 1.0);
    println!("load: {count} names of {text:.1} octets in {load:.2?}; {octets:.1} octets a name");
    policy
}

/// Names of four or five labels: uniformly random ones, and ones below a listed name.
fn asked_names(names: &[String]) -> (Vec<String>, Vec<String>) {
    let mut rng = StdRng::seed_from_u64(3);
    let miss = (0..ASKED)
        .map(|_| {
            let extra = if rng.random_bool(0.5) { format!("{}.", label(&mut rng)) } else { String::new() };
            format!("{extra}{}.{}.{}.com", label(&mut rng), label(&mut rng), label(&mut rng))
        })
        .collect();
    let hit = (0..ASKED)
        .map(|_| {
            let mut name = names[rng.random_range(0..names.len())].clone();
            while name.matches('.').count() < rng.random_range(3..5) {
                name = format!("{}.{name}", label(&mut rng));
            }
            name
        })
        .collect();
    (miss, hit)
}

fn by_name(policy: &Policy, name: &Name) -> bool {
    policy.decide(&Subject { name: Some(name.as_ref()), ..Subject::default() }).rule.is_some()
}

fn by_address(policy: &Policy, address: IpAddr) -> bool {
    policy.decide(&Subject { address: Some(address), ..Subject::default() }).rule.is_some()
}

/// What each of these takes for one of [`ASKED`], in turn, many times over: whatever else the machine does meanwhile meets all of
/// them alike. They must find the same number.
fn side_by_side(what: &str, ways: &mut [(&str, &mut dyn FnMut() -> usize)]) {
    let rounds = if scale(ROUNDS) == ROUNDS { ROUNDS } else { 1 };
    let mut took = vec![Vec::new(); ways.len()];
    let mut found = None;
    for _ in 0..rounds {
        for ((_, way), took) in ways.iter_mut().zip(&mut took) {
            let begun = Instant::now();
            let hits = black_box(way());
            took.push(begun.elapsed().as_nanos() as f64 / ASKED as f64);
            assert_eq!(*found.get_or_insert(hits), hits, "{what}");
        }
    }
    for ((way, _), took) in ways.iter().zip(&mut took) {
        took.sort_by(f64::total_cmp);
        println!("{what}: {way}: {:.1} ns in the median, {:.1} at least", took[rounds / 2], took[0]);
    }
}

/// Walks the reversed name through the automaton; a final state at a label's border is a listed suffix.
fn fst_suffix(set: &fst::Set<Vec<u8>>, name: &str) -> bool {
    let fst = set.as_fst();
    let mut node = fst.root();
    let mut octets = name.bytes().rev().peekable();
    while let Some(octet) = octets.next() {
        let Some(at) = node.find_input(octet) else { return false };
        node = fst.node(node.transition(at).addr);
        if node.is_final() && octets.peek().is_none_or(|next| *next == b'.') {
            return true;
        }
    }
    false
}

fn prefixes(c: &mut Criterion) {
    let mut rng = StdRng::seed_from_u64(4);
    let count = scale(100_000);
    let nets = listed::prefixes(count);
    let text: String = nets.iter().map(|net| format!("{net}\n")).collect();
    let policy4 = policy(&text, Format::Ranges);
    let mut trie: PrefixMap<Ipv4Net, u32> = PrefixMap::new();
    nets.iter().zip(0..).for_each(|(net, i)| {
        trie.insert(*net, i);
    });
    println!("prefixes: {} IPv4, {} octets", nets.len(), policy4.rules().bytes());
    let asked: Vec<Ipv4Addr> = (0..ASKED).map(|_| rng.random::<u32>().into()).collect();
    side_by_side(
        "prefixes/IPv4",
        &mut [
            ("prefix-trie", &mut || {
                let found = |a: &&Ipv4Addr| trie.get_lpm(&Ipv4Net::new_assert(black_box(**a), 32)).map(black_box);
                asked.iter().filter(|a| found(a).is_some()).count()
            }),
            ("ours, the index alone", &mut || {
                let found = |a: &&Ipv4Addr| policy4.rules().longest(&IpAddr::V4(black_box(**a))).map(black_box);
                asked.iter().filter(|a| found(a).is_some()).count()
            }),
            ("ours, the whole decision", &mut || {
                asked.iter().filter(|a| by_address(&policy4, IpAddr::V4(black_box(**a)))).count()
            }),
        ],
    );
    let mut at = 0;
    let mut group = c.benchmark_group("prefixes/IPv4");
    group.bench_function("ours", |b| {
        b.iter(|| {
            at = (at + 1) % ASKED;
            policy4.decide(&Subject { address: Some(IpAddr::V4(black_box(asked[at]))), ..Subject::default() })
        });
    });
    group.bench_function("prefix-trie", |b| {
        b.iter(|| {
            at = (at + 1) % ASKED;
            trie.get_lpm(&Ipv4Net::new_assert(black_box(asked[at]), 32)).map(|(_, rule)| *rule)
        });
    });
    group.finish();

    let nets: HashSet<IpNet> = (0..count)
        .map(|_| {
            let address = Ipv6Addr::from(0x2001_u128 << 112 | rng.random::<u128>() >> 16);
            IpNet::new(address.into(), rng.random_range(32..=128)).unwrap().trunc()
        })
        .collect();
    let text: String = nets.iter().map(|net| format!("{net}\n")).collect();
    let policy6 = policy(&text, Format::Ranges);
    let asked: Vec<IpAddr> =
        (0..ASKED).map(|_| IpAddr::V6((0x2001_u128 << 112 | rng.random::<u128>() >> 16).into())).collect();
    side_by_side(
        "prefixes/IPv6",
        &mut [
            ("ours, the index alone", &mut || {
                asked.iter().filter(|a| policy6.rules().longest(black_box(a)).map(black_box).is_some()).count()
            }),
            ("ours, the whole decision", &mut || asked.iter().filter(|a| by_address(&policy6, black_box(**a))).count()),
        ],
    );
    c.bench_function("prefixes/IPv6/ours", |b| {
        b.iter(|| {
            at = (at + 1) % ASKED;
            policy6.decide(&Subject { address: Some(black_box(asked[at])), ..Subject::default() })
        });
    });
}

criterion_group!(benches, names, prefixes);
criterion_main!(benches);
