//! Names and prefixes to list, the same in every run.

use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeSet, HashSet};
use std::net::Ipv4Addr;

/// Few under `cargo test`, which passes no `--bench`.
pub(crate) fn scale(full: usize) -> usize {
    if std::env::args().any(|arg| arg == "--bench") { full } else { full / 1_000 }
}

/// A label of three to ten letters.
pub(crate) fn label(rng: &mut StdRng) -> String {
    let len = rng.random_range(3..11);
    (0..len).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect()
}

/// Names of two or three labels under few top-level domains, as lists have them.
pub(crate) fn names(count: usize) -> Vec<String> {
    const TOP: [&str; 8] = ["com", "net", "org", "info", "ru", "de", "co.uk", "io"];
    let mut rng = StdRng::seed_from_u64(1);
    let mut names: HashSet<String> = HashSet::new();
    while names.len() < count {
        let top = TOP[rng.random_range(0..TOP.len())];
        let name = format!("{}.{top}", label(&mut rng));
        names.insert(if rng.random_bool(0.5) { format!("{}.{name}", label(&mut rng)) } else { name });
    }
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    names
}

/// Names in the shape of those that large public lists have: two to six labels, 26 octets on average, some digits and hyphens.
pub(crate) fn hosts(count: usize) -> Vec<String> {
    const TOP: [&str; 8] = ["com", "com", "com", "net", "org", "info", "xyz", "it"];
    let mut rng = StdRng::seed_from_u64(5);
    let mut names: HashSet<String> = HashSet::new();
    while names.len() < count {
        let below = [1, 2, 2, 2, 2, 3, 3, 4, 5][rng.random_range(0..9)];
        let mut name = TOP[rng.random_range(0..TOP.len())].to_owned();
        for _ in 0..below {
            name = format!("{}.{name}", host_label(&mut rng));
        }
        names.insert(name);
    }
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    names
}

/// A label of five to thirteen characters, one of twenty a digit, one of fifty a hyphen.
fn host_label(rng: &mut StdRng) -> String {
    let len = rng.random_range(5..14);
    let inner = |at: usize| at > 0 && at + 1 < len;
    let one = |at| match rng.random_range(0..100) {
        0..5 => char::from(rng.random_range(b'0'..=b'9')),
        5..7 if inner(at) => '-',
        _ => char::from(rng.random_range(b'a'..=b'z')),
    };
    (0..len).map(one).collect()
}

/// IPv4 prefixes of 16 to 32 bits anywhere.
pub(crate) fn prefixes(count: usize) -> BTreeSet<Ipv4Net> {
    let mut rng = StdRng::seed_from_u64(2);
    let mut prefix = || Ipv4Net::new(Ipv4Addr::from(rng.random::<u32>()), rng.random_range(16..=32)).unwrap().trunc();
    (0..count).map(|_| prefix()).collect()
}
