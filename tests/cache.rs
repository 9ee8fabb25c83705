//! The shared cache: bounds, expiry, who has to go, and many threads at once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

#[path = "common/dns.rs"]
mod dns_fixture;
#[path = "common/tier.rs"]
mod tier;

use dns_fixture::*;
use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use hickory_proto::rr::RecordType;
use interdict::engine::resolver::{Cache, CacheKey, StoredAnswer};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn entry(name: &str, ttl: u32) -> (CacheKey, Arc<StoredAnswer>) {
    let stored = stored(name, RecordType::A, &[address(name, ttl, "192.0.2.1")]);
    (key(name, RecordType::A), Arc::new(stored))
}

#[test]
fn what_was_put_is_found_until_it_expires() {
    let cache = Cache::new(1 << 20, 1);
    let (key, stored) = entry("a.example", 60);
    assert!(cache.get(at(0).mono, &key).is_none());
    cache.put(at(0).mono, &key, Arc::clone(&stored));
    assert!(Arc::ptr_eq(&cache.get(at(59).mono, &key).unwrap(), &stored));
    assert!(cache.get(at(60).mono, &key).is_none());
    let name = key.name();
    for other in [
        CacheKey::new(name, 28, 1, false, false),
        CacheKey::new(name, 1, 255, false, false),
        CacheKey::new(name, 1, 1, true, false),
        CacheKey::new(name, 1, 1, false, true),
        dns_fixture::key("b.example", RecordType::A),
        dns_fixture::key("example", RecordType::A),
    ] {
        assert!(cache.get(at(0).mono, &other).is_none(), "{other:?}");
    }
    // A newer answer takes the place of the older.
    let (_, newer) = entry("a.example", 90);
    cache.put(at(61).mono, &key, Arc::clone(&newer));
    assert!(Arc::ptr_eq(&cache.get(at(61).mono, &key).unwrap(), &newer));
    assert_eq!(cache.len(), 1);
    // One that may not be cached takes nobody's place.
    let (_, passing) = entry("a.example", 0);
    cache.put(at(61).mono, &key, passing);
    assert!(Arc::ptr_eq(&cache.get(at(61).mono, &key).unwrap(), &newer));
}

#[test]
fn octets_stay_within_their_bound_and_what_is_used_stays() {
    let bound = 256 * 1024;
    let cache = Cache::new(bound, 7);
    let busy: Vec<_> = (0..50).map(|i| entry(&format!("busy{i}.example"), 60)).collect();
    for (key, stored) in &busy {
        cache.put(at(0).mono, key, Arc::clone(stored));
    }
    for i in 0..10_000 {
        let (key, stored) = entry(&format!("n{i}.example"), 60);
        cache.put(at(0).mono, &key, stored);
        assert!(cache.bytes() <= bound, "after {i}");
        assert!(cache.get(at(0).mono, &key).is_some(), "the newest is there");
        if i % 20 == 0 {
            busy.iter().for_each(|(key, _)| drop(cache.get(at(0).mono, key)));
        }
    }
    let left = busy.iter().filter(|(key, _)| cache.get(at(0).mono, key).is_some()).count();
    assert!(left >= 45, "{left} of 50 that are asked for again and again");
    assert!(cache.len() > 300, "{}", cache.len());
    // One that is larger than a shard is not kept, and takes nobody's place.
    let records: Vec<_> = (0..200)
        .map(|i| address(&format!("{}.{}.example", "x".repeat(60), "y".repeat(60)), 60, &format!("10.0.0.{i}")))
        .collect();
    let name = records[0].name.to_string();
    let large = Arc::new(stored(&name, RecordType::A, &records));
    let tiny = Cache::new(16 * 1024, 7);
    tiny.put(at(0).mono, &key(&name, RecordType::A), large);
    assert_eq!((tiny.len(), tiny.bytes(), tiny.is_empty()), (0, 0, true));
}

#[test]
fn what_has_expired_goes_first() {
    let cache = Cache::new(64 * 1024, 3);
    let count = |seconds: u64, names: &[String]| {
        names.iter().filter(|name| cache.get(at(seconds).mono, &key(name, RecordType::A)).is_some()).count()
    };
    let old: Vec<_> = (0..60).map(|i| format!("old{i}.example")).collect();
    for name in &old {
        let (key, stored) = entry(name, 10);
        cache.put(at(0).mono, &key, stored);
        drop(cache.get(at(0).mono, &key));
    }
    let before = cache.len();
    // All of them were used, none is of use any more.
    let new: Vec<_> = (0..40).map(|i| format!("new{i}.example")).collect();
    for name in &new {
        let (key, stored) = entry(name, 60);
        cache.put(at(20).mono, &key, stored);
    }
    assert_eq!((before, count(20, &new), count(20, &old)), (60, 40, 0));
}

#[test]
fn many_threads_put_and_get() {
    let cache = Cache::new(128 * 1024, 5);
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let cache = &cache;
            scope.spawn(move || {
                for i in 0..2_000_usize {
                    let name = format!("n{}.example", (i * (thread + 1)) % 900);
                    let (key, stored) = entry(&name, 60);
                    match cache.get(at(0).mono, &key) {
                        Some(found) => assert_eq!(found.octets(), stored.octets(), "{name}"),
                        None => cache.put(at(0).mono, &key, stored),
                    }
                }
            });
        }
    });
    assert!(cache.bytes() <= 128 * 1024 && !cache.is_empty());
}

#[test]
fn a_thread_that_panicked_with_the_lock_held_stops_nobody() {
    let cache = Cache::new(1 << 20, 1);
    let (key, stored) = entry("a.example", 60);
    cache.put(at(0).mono, &key, stored);
    std::thread::scope(|scope| {
        let died = scope.spawn(|| {
            let _held = cache.get(at(0).mono, &key).unwrap();
            panic!("as it happens");
        });
        assert!(died.join().is_err());
    });
    assert!(cache.get(at(0).mono, &key).is_some());
}

#[test]
fn a_flood_of_names_asked_for_once_pushes_nobody_out_who_is_in_use() {
    let flood = tier::count(100_000, 1_000_000, 10_000_000);
    let cache = Cache::new(1 << 20, 7);
    let busy: Vec<_> = (0..500).map(|i| entry(&format!("busy{i}.example"), 86_400)).collect();
    for (key, stored) in &busy {
        cache.put(at(0).mono, key, Arc::clone(stored));
        (0..3).for_each(|_| drop(cache.get(at(0).mono, key)));
    }
    // Forty times what there is room for and more, while nobody asks for the busy ones. The answers have the same octets.
    let (_, stored) = entry("random.victim.example", 60);
    for i in 0..flood {
        cache.put(at(0).mono, &key(&format!("random{i}.victim.example"), RecordType::A), Arc::clone(&stored));
    }
    let left = busy.iter().filter(|(key, _)| cache.get(at(0).mono, key).is_some()).count();
    println!("{flood} names asked for once: {left} of 500 in use are still there");
    assert!(left >= 475, "{left} of 500");
}

/// Names of one shard, and of one place in it, under the hash that we use with a seed that an attacker guessed. The cache's own seed
/// is drawn by each process: they are spread over all shards as any names are, and none takes longer to be put there.
#[test]
fn names_that_are_chosen_to_collide_do_not() {
    let count = tier::count(2_000, 20_000, 100_000);
    static GUESS: SharedSeed = SharedSeed::from_u64(1);
    let guessed = SeedableRandomState::with_seed(7, &GUESS);
    let hash = |key: &CacheKey| {
        let mut hasher = guessed.build_hasher();
        hasher.write(key.name().as_wire());
        hasher.write_u64(u64::from(key.qtype()) << 32 | u64::from(key.qclass()) << 16);
        hasher.finish()
    };
    // The lower bits choose the place, those from the 33rd on the shard.
    let collide = |key: &CacheKey| hash(key) & 0xf_0000_000f == 0;
    let keys = (0_u64..).map(|n| key(&format!("n{n}.chosen.example"), RecordType::A));
    let chosen: Vec<CacheKey> = keys.filter(collide).take(count).collect();
    let any: Vec<CacheKey> = (0..count).map(|n| key(&format!("n{n}.others.example"), RecordType::A)).collect();
    let (_, stored) = entry("n1.chosen.example", 60);
    let put = |keys: &[CacheKey]| {
        // Room for twice as many, since by chance some shards have more than others; for an eighth if all of them were in one.
        let each = 184 + keys[0].name().as_wire().len() + 3 + stored.bytes();
        let cache = Cache::new(each * count * 2, 7);
        let mut times: Vec<Duration> = Vec::with_capacity(keys.len());
        for key in keys {
            let begun = Instant::now();
            cache.put(at(0).mono, key, Arc::clone(&stored));
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        (cache.len(), times[times.len() / 2], times[times.len() * 99 / 100])
    };
    let ((chosen, median, most), (any, median_any, most_any)) = (put(&chosen), put(&any));
    println!(
        "{count} names chosen to collide: {chosen} have room, half are put within {median:?}, 99 % within {most:?}; of others {any}, \
         {median_any:?}, {most_any:?}"
    );
    assert_eq!((chosen, any), (count, count));
}

#[test]
fn who_comes_back_soon_stays() {
    let cache = Cache::new(256 * 1024, 7);
    let flood = |from: usize, count: usize| {
        for i in from..from + count {
            let (key, stored) = entry(&format!("random{i}.example"), 60);
            cache.put(at(0).mono, &key, stored);
        }
    };
    let mine: Vec<_> = (0..50).map(|i| entry(&format!("mine{i}.example"), 60)).collect();
    let put = || mine.iter().for_each(|(key, stored)| cache.put(at(0).mono, key, Arc::clone(stored)));
    let left = || mine.iter().filter(|(key, _)| cache.get(at(0).mono, key).is_some()).count();
    flood(0, 2_000);
    put();
    flood(2_000, 1_100);
    let kept = left();
    assert!(kept <= 5, "{kept} of 50 stand a flood, though nobody asks for them again");
    put();
    flood(4_000, 2_000);
    let kept = left();
    assert!(kept >= 30, "{kept} of 50 stand one when they come back");
}

#[test]
fn an_expired_answer_is_of_use_for_a_while_and_served_only_when_held() {
    let cache = Cache::with_stale(1 << 20, 1, 100);
    let (key, stored) = entry("a.example", 10);
    cache.put(at(0).mono, &key, stored);
    assert!(cache.stale(at(5).mono, &key).is_some() && cache.get(at(10).mono, &key).is_none());
    assert!(cache.stale(at(109).mono, &key).is_some() && cache.stale(at(110).mono, &key).is_none());
    cache.hold(&key, at(50).mono);
    assert!(cache.get(at(49).mono, &key).is_some() && cache.get(at(50).mono, &key).is_none());
    cache.hold(&key, at(500).mono);
    assert!(cache.get(at(109).mono, &key).is_some() && cache.get(at(110).mono, &key).is_none());
    // A new answer is held by nothing that was said of the old one.
    let (_, newer) = entry("a.example", 10);
    cache.put(at(0).mono, &key, newer);
    assert!(cache.get(at(20).mono, &key).is_none());
    assert!(Cache::new(1 << 20, 1).stale(at(0).mono, &key).is_none());
}

#[test]
fn answers_in_use_are_noted_once_when_they_are_about_to_expire() {
    let cache = Cache::new(1 << 20, 1);
    let (used, stored) = entry("used.example", 100);
    cache.put(at(0).mono, &used, stored);
    let (once, stored) = entry("once.example", 100);
    cache.put(at(0).mono, &once, stored);
    drop(cache.get(at(1).mono, &used));
    drop(cache.get(at(89).mono, &used));
    assert!(cache.take_ageing().is_empty());
    for second in [90, 95, 99] {
        drop(cache.get(at(second).mono, &used));
    }
    drop(cache.get(at(95).mono, &once));
    assert_eq!(cache.take_ageing(), [used]);
    assert!(cache.take_ageing().is_empty());
    // However many there are: so many at a time.
    let many: Vec<_> = (0..1_000).map(|i| entry(&format!("n{i}.example"), 100)).collect();
    for (key, stored) in &many {
        cache.put(at(0).mono, key, Arc::clone(stored));
        drop(cache.get(at(1).mono, key));
        drop(cache.get(at(95).mono, key));
    }
    assert_eq!(cache.take_ageing().len(), 256);
}
