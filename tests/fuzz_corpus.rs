//! The fuzz targets' bodies over the committed corpus, and over copies of it in which octets were bent, cut or put in twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "../fuzz/bodies.rs"]
mod bodies;

use proptest::prelude::*;
use std::path::PathBuf;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target].iter().collect();
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// What is done to a seed: octets overwritten, a part repeated, the rest cut off.
type Bends = (Vec<(prop::sample::Index, u8)>, prop::sample::Index, prop::sample::Index, bool);

fn bent(seed: &[u8], (octets, from, to, twice): &Bends) -> Vec<u8> {
    let mut data = seed.to_vec();
    for (at, octet) in octets.iter().filter(|_| !seed.is_empty()) {
        let at = at.index(data.len());
        data.splice(at..=at, [*octet]);
    }
    let (from, to) = (from.index(data.len() + 1), to.index(data.len() + 1));
    let part = data.get(from.min(to)..from.max(to)).unwrap_or_default().to_vec();
    if *twice {
        data.splice(from..from, part);
    } else {
        data.truncate(from.max(to));
    }
    data
}

fn bends() -> impl Strategy<Value = Bends> {
    let octets = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (octets, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>())
}

fn replay(target: &str, body: fn(&[u8])) {
    let seeds = corpus(target);
    assert!(seeds.len() >= 5, "{target} has {} seeds", seeds.len());
    seeds.iter().for_each(|seed| body(seed));
    proptest!(|(which: prop::sample::Index, bends in bends())| {
        let seed: &Vec<u8> = which.get(&seeds);
        body(&bent(seed, &bends));
    });
}

#[test]
fn queries() {
    replay("dns_query", bodies::dns_query);
}

#[test]
fn queries_and_what_upstream_says() {
    replay("dns_front", bodies::dns_front);
}

#[test]
fn answers() {
    replay("dns_answer", bodies::dns_answer);
}

#[test]
fn messages_on_an_exchange() {
    replay("upstream", bodies::upstream);
}

#[test]
fn vendor_files() {
    replay("vendor_file", bodies::vendor_file);
}

#[test]
fn lists() {
    replay("list", bodies::list);
}

#[test]
fn packets() {
    replay("packet", bodies::packet);
}

#[test]
fn captures() {
    replay("capture", bodies::capture);
}

#[test]
fn hellos() {
    replay("tls", bodies::tls);
}

#[test]
fn first_flights() {
    replay("quic", bodies::quic);
}

#[test]
fn requests() {
    replay("http", bodies::http);
}

#[test]
fn conversations() {
    replay("inspector", bodies::inspector);
}
