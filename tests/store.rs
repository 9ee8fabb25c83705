//! The ledger's store on a real disk: sums, restarts, readers beside the writer, and everything that goes wrong at its door.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "common/tier.rs"]
mod tier;

use interdict::base::model::{
    Channel, Decision, Destination, Origin, Outcome, PolicyId, Purpose, RuleFacts, Sighting, Wall,
};
use interdict::io::store::{
    self, Activation, Filter, Gap, GapReason, Ledger, Note, ReportRow, Store, StoreError, StoreMessage, StoreSettings,
    Writer, WriterHandle,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;

fn at(second: i64) -> Wall {
    Wall::from_second(1_759_968_000 + second).unwrap()
}

fn rule(vendor: &str, purpose: Purpose) -> Arc<RuleFacts> {
    Arc::new(RuleFacts {
        vendor: vendor.into(),
        purpose,
        list: vendor.into(),
        revision: "r1".into(),
        place: format!("{vendor}.toml:{}", purpose as u8).into(),
        pattern: format!("{purpose}.{vendor}.example").into(),
    })
}

fn sighting(client: u8, second: i64, count: u64) -> Sighting {
    Sighting {
        client: [192, 168, 1, client].into(),
        origin: Origin::Client,
        channel: Channel::Dns,
        destination: Destination::Name("s00.upd.kaspersky.com".parse().unwrap()),
        port: None,
        rule: rule("kaspersky", Purpose::Update),
        verdict: Decision::Block,
        outcome: Outcome::Blocked,
        first: at(second),
        last: at(second),
        count,
        policy: PolicyId([7; 16]),
        evidence: None,
    }
}

fn open(dir: &Path, second: i64) -> Store {
    Store::open(dir, StoreSettings::default(), at(second)).unwrap()
}

fn rows(dir: &Path, filter: &Filter) -> Vec<ReportRow> {
    Ledger::open_read(dir).unwrap().rows(filter).unwrap()
}

fn spawn(store: Store, sender: &store::Sender, receiver: store::Receiver) -> WriterHandle {
    Writer::spawn(store, receiver, sender.counters(), Box::new(|| at(10))).unwrap()
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is() {
        assert!(Instant::now() < end, "{what} did not come in 10 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn any_sighting() -> impl Strategy<Value = Sighting> {
    let vendors = proptest::sample::select(&["kaspersky", "hikvision"][..]);
    let purposes = proptest::sample::select(&[Purpose::Update, Purpose::Telemetry][..]);
    let channels = proptest::sample::select(&[Channel::Dns, Channel::DnsAnswer, Channel::TlsSni][..]);
    let hosts = proptest::sample::select(&["a.example", "b.example", "c.example"][..]);
    let whole = (vendors, purposes, channels, hosts, proptest::sample::select(Outcome::ALL));
    (0_u8..4, 0_i64..4 * DAY_S, 1_u64..1000, whole).prop_map(
        |(client, second, count, (vendor, purpose, channel, host, outcome))| Sighting {
            channel,
            destination: Destination::Name(host.parse().unwrap()),
            rule: rule(vendor, purpose),
            outcome,
            ..sighting(client, second, count)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(u32::try_from(tier::count(24, 500, 5000)).unwrap()))]
    #[test]
    fn reports_say_what_a_naive_table_says(
        given in prop::collection::vec(any_sighting(), 1..60),
        batch in 1_usize..20,
        since_hour in 0_i64..96,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path(), 0);
        for chunk in given.chunks(batch) {
            store.commit_sightings(at(5 * DAY_S), chunk).unwrap();
        }
        let total: u64 = given.iter().map(|one| one.count).sum();
        prop_assert_eq!(store.totals().attempts, total);
        prop_assert_eq!(store.totals().sequence, given.len() as u64);
        // In the middle of an hour: the whole hour counts.
        let since = (since_hour > 0).then(|| at(since_hour * HOUR_S + 1800));
        let counted = |one: &&Sighting| since.is_none_or(|_| one.last >= at(since_hour * HOUR_S));
        let mut naive: HashMap<(String, String, Purpose), Vec<&Sighting>> = HashMap::new();
        for one in &given {
            naive.entry((one.client.to_string(), one.rule.vendor.to_string(), one.rule.purpose)).or_default().push(one);
        }
        naive.retain(|_, of| of.iter().any(counted));

        let rows = rows(dir.path(), &Filter { since, vendor: None });
        prop_assert_eq!(rows.len(), naive.len());
        for row in rows {
            let of = &naive[&(row.endpoint.addresses[0].clone(), row.vendor.clone(), row.purpose)];
            prop_assert_eq!(row.count, of.iter().copied().filter(counted).map(|one| one.count).sum::<u64>());
            for &outcome in Outcome::ALL {
                let same = of.iter().copied().filter(counted).filter(|one| one.outcome == outcome);
                prop_assert_eq!(row.outcomes.of(outcome), same.map(|one| one.count).sum::<u64>());
            }
            prop_assert_eq!(row.first, of.iter().map(|one| one.first).min().unwrap());
            prop_assert_eq!(row.last, of.iter().map(|one| one.last).max().unwrap());
            let channels: BTreeSet<_> = of.iter().copied().filter(counted).map(|one| one.channel).collect();
            prop_assert_eq!(row.channels, channels.into_iter().collect::<Vec<_>>());
            if since.is_none() {
                let mut destinations: BTreeMap<String, u64> = BTreeMap::new();
                for one in of {
                    *destinations.entry(one.destination.to_string()).or_default() += one.count;
                }
                let shown: BTreeMap<_, _> = row.destinations.iter().map(|d| (d.destination.clone(), d.count)).collect();
                prop_assert_eq!(shown, destinations);
                prop_assert_eq!(&row.destinations[0].place, &*of[0].rule.place);
            }
        }
    }
}

#[test]
fn a_restart_continues_where_it_was_and_knows_the_endpoint_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), 0);
    store.commit_sightings(at(1), &[sighting(1, 1, 5)]).unwrap();
    store.close(at(2)).unwrap();
    let mut store = open(dir.path(), 60);
    assert_eq!((store.totals().attempts, store.totals().sequence), (5, 1));
    store.commit_sightings(at(61), &[sighting(1, 61, 2)]).unwrap();
    store.close(at(62)).unwrap();

    let rows = rows(dir.path(), &Filter::default());
    let [row] = &rows[..] else { panic!("one endpoint, one vendor, one purpose: {rows:?}") };
    assert_eq!((row.count, row.first, row.last), (7, at(1), at(61)));
    assert_eq!(row.endpoint.addresses, ["192.168.1.1"]);
    let ledger = Ledger::open_read(dir.path()).unwrap();
    let gap = Gap { why: GapReason::Stopped, started: at(2), ended: at(60), attempts: 0, note: String::new() };
    assert_eq!(ledger.gaps(None).unwrap(), [gap]);
    assert_eq!(ledger.gaps(Some(at(61))).unwrap(), []);
}

#[test]
fn an_unclean_end_loses_nothing_committed_and_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), 0);
    for n in 0..50 {
        store.commit_sightings(at(n), &[sighting(1, n, 1)]).unwrap();
    }
    // What a killed process leaves: the files as they lie there, write-ahead log and all.
    for file in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let store = open(copy.path(), 100);
    assert_eq!((store.totals().attempts, store.alarm()), (50, None));
    let ledger = Ledger::open_read(copy.path()).unwrap();
    let gap = Gap { why: GapReason::Died, started: at(49), ended: at(100), attempts: 0, note: String::new() };
    assert_eq!(ledger.gaps(None).unwrap(), [gap]);
    let conn = rusqlite::Connection::open(copy.path().join("ledger.sqlite")).unwrap();
    let said: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
}

#[test]
fn the_files_are_their_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("a/state");
    let mut store = open(&state, 0);
    store.commit_sightings(at(1), &[sighting(1, 1, 1)]).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for file in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.lock"] {
        assert_eq!(mode(&state.join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_second_daemon_is_told_who_has_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 0);
    let error = Store::open(dir.path(), StoreSettings::default(), at(1)).unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, StoreError::Locked { .. }), "{said}");
    assert!(said.contains(&format!("process {}", std::process::id())) && said.contains("[store] path"), "{said}");
    drop(store);
    open(dir.path(), 2);
}

#[test]
fn a_directory_that_cannot_be_used_is_named_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let said = Store::open(&file.join("state"), StoreSettings::default(), at(0)).unwrap_err().to_string();
    assert!(said.contains("file/state") && said.contains("[store] path") && !said.contains('\n'), "{said}");

    let locked = dir.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(locked.join("probe"), "").is_ok() {
        tier::skip("a read-only directory does not stop this user");
        return;
    }
    let said = Store::open(&locked, StoreSettings::default(), at(0)).unwrap_err().to_string();
    assert!(said.contains("ermission denied") && said.contains("make it writable"), "{said}");
}

#[test]
fn a_newer_schema_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), 0).close(at(1)).unwrap();
    let file = dir.path().join("ledger.sqlite");
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for error in [
        Store::open(dir.path(), StoreSettings::default(), at(2)).unwrap_err(),
        Ledger::open_read(dir.path()).unwrap_err(),
    ] {
        let said = error.to_string();
        assert!(said.contains("schema 99") && said.contains("newer version"), "{said}");
    }
    assert!(file.exists());
}

#[test]
fn a_file_that_is_no_database_is_moved_aside_with_an_alarm() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ledger.sqlite"), "this is a text, and longer than a header of SQLite.".repeat(99))
        .unwrap();
    let mut store = open(dir.path(), 0);
    let alarm = store.alarm().unwrap().to_owned();
    let aside = dir.path().join(format!("ledger.sqlite.corrupt-{}", at(0).as_second()));
    assert!(alarm.contains(aside.to_str().unwrap()), "{alarm}");
    assert!(std::fs::read_to_string(aside).unwrap().starts_with("this is a text"));
    store.commit_sightings(at(1), &[sighting(1, 1, 1)]).unwrap();
    store.close(at(2)).unwrap();
    assert_eq!(open(dir.path(), 3).alarm(), None);
}

#[test]
fn a_damaged_page_is_found_after_an_unclean_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), 0);
    for n in 0..200 {
        store.commit_sightings(at(n), &[sighting((n % 250) as u8, n, 1)]).unwrap();
    }
    store.close(at(300)).unwrap();
    let path = dir.path().join("ledger.sqlite");
    rusqlite::Connection::open(&path).unwrap().execute("UPDATE meta SET value = 0 WHERE key = 'closed'", []).unwrap();
    let mut octets = std::fs::read(&path).unwrap();
    let page_octets = 4096;
    let last = octets.len() - page_octets;
    for octet in octets.iter_mut().skip(page_octets * 8).take(last - page_octets * 8) {
        *octet = 0xaa;
    }
    std::fs::write(&path, octets).unwrap();
    let store = open(dir.path(), 400);
    assert!(store.alarm().is_some_and(|alarm| alarm.contains(".corrupt-")), "{:?}", store.alarm());
    assert_eq!(store.totals().attempts, 0);
}

#[test]
fn nothing_to_read_is_said_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let said = Ledger::open_read(dir.path()).unwrap_err().to_string();
    assert!(said.starts_with("there is no ledger in") && said.contains("[store] path"), "{said}");
}

#[test]
fn our_own_tests_make_nobody_an_endpoint_but_are_kept_as_samples() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), 0);
    let own = [Origin::SelfTest, Origin::SelfResolve].map(|origin| Sighting { origin, ..sighting(9, 1, 3) });
    let done = store.commit_sightings(at(1), &own).unwrap();
    assert_eq!((done.totals.sequence, done.totals.attempts, done.first_contacts), (2, 0, 0));
    assert_eq!(rows(dir.path(), &Filter::default()), []);
    let conn = rusqlite::Connection::open(dir.path().join("ledger.sqlite")).unwrap();
    let samples: i64 = conn.query_row("SELECT count(*) FROM sample", [], |row| row.get(0)).unwrap();
    assert_eq!(samples, 2);
}

#[test]
fn a_vendor_and_a_time_select_rows_and_the_latest_come_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), 0);
    let other = Sighting { rule: rule("hikvision", Purpose::Cloud), ..sighting(2, DAY_S, 1) };
    store.commit_sightings(at(DAY_S), &[sighting(1, 10, 4), other, sighting(3, 2 * DAY_S, 1)]).unwrap();
    let clients =
        |filter| rows(dir.path(), &filter).into_iter().map(|row| row.endpoint.addresses[0].clone()).collect::<Vec<_>>();
    assert_eq!(clients(Filter::default()), ["192.168.1.3", "192.168.1.2", "192.168.1.1"]);
    assert_eq!(clients(Filter { since: Some(at(DAY_S)), vendor: None }), ["192.168.1.3", "192.168.1.2"]);
    assert_eq!(clients(Filter { since: None, vendor: Some("hikvision".to_owned()) }), ["192.168.1.2"]);
    assert_eq!(clients(Filter { since: None, vendor: Some("nobody".to_owned()) }), Vec::<String>::new());
}

#[test]
fn what_was_in_force_when_is_known_and_the_latest_activation_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), 0);
    assert_eq!(store.last_activation().unwrap(), None);
    let of = |n: u8, second| Activation {
        policy: PolicyId([n; 16]),
        at: at(second),
        settings: format!("settings {n}"),
        revisions: "{\"kaspersky\":\"r1\"}".to_owned(),
    };
    for activation in [of(1, 10), of(2, 20), of(1, 30), of(3, 5)] {
        store.record_activation(at(30), activation).unwrap();
    }
    assert_eq!(store.last_activation().unwrap(), Some(at(30)));
    let ledger = Ledger::open_read(dir.path()).unwrap();
    assert_eq!(ledger.last_activation().unwrap(), Some(at(30)));
    assert_eq!(ledger.activation_at(at(4)).unwrap(), None);
    assert_eq!(ledger.activation_at(at(25)).unwrap(), Some(of(2, 20)));
    assert_eq!(ledger.activation_at(at(99)).unwrap(), Some(of(1, 30)));
}

#[test]
fn the_writer_commits_within_a_second_and_readers_see_whole_moments() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, receiver) = store::channel(store::QUEUE_BATCHES);
    let handle = spawn(open(dir.path(), 0), &sender, receiver);
    let counters = handle.counters();
    let started = Instant::now();
    assert!(sender.try_send(StoreMessage::Sightings(vec![sighting(1, 1, 3)])));
    wait_until("the first commit", || counters.attempts_committed() == 3);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());

    let mut ledger = Ledger::open_read(dir.path()).unwrap();
    let feeder = {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for n in 0..300 {
                // Each message has two endpoints: a moment that shows one without the other is no moment.
                let message = StoreMessage::Sightings(vec![sighting(1, n, 1), sighting(2, n, 1)]);
                assert!(sender.try_send(message));
                std::thread::sleep(Duration::from_millis(1));
            }
        })
    };
    let mut looks = 0;
    while !feeder.is_finished() {
        let rows = ledger.rows(&Filter::default()).unwrap();
        let count =
            |client: &str| rows.iter().find(|row| row.endpoint.addresses == [client]).map_or(0, |row| row.count);
        assert_eq!(count("192.168.1.1"), count("192.168.1.2") + 3);
        looks += 1;
    }
    feeder.join().unwrap();
    assert!(looks > 10, "{looks}");
    assert!(sender.send_note(Note::Gap(Gap {
        why: GapReason::Paused,
        started: at(5),
        ended: at(6),
        attempts: 0,
        note: "maintenance".to_owned(),
    })));
    handle.close().unwrap();
    assert_eq!((counters.attempts_committed(), counters.waiting(), counters.lost()), (603, 0, 0));
    assert_eq!(ledger.summary().unwrap().attempts, 603);
    assert_eq!(ledger.gaps(None).unwrap()[0].note, "maintenance");
    drop(ledger);
    // Closed in order: no gap by death, and nothing left in the write-ahead log.
    assert_eq!(std::fs::metadata(dir.path().join("ledger.sqlite-wal")).map_or(0, |wal| wal.len()), 0);
    let gaps = {
        open(dir.path(), 20);
        Ledger::open_read(dir.path()).unwrap().gaps(None).unwrap()
    };
    assert_eq!(gaps.last().map(|gap| gap.why), Some(GapReason::Stopped));
}

#[test]
fn the_writer_ends_in_order_when_all_senders_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, receiver) = store::channel(4);
    let handle = spawn(open(dir.path(), 0), &sender, receiver);
    assert!(sender.try_send(StoreMessage::Sightings(vec![sighting(1, 1, 3)])));
    drop(sender);
    wait_until("the end of the writer", || handle.is_finished());
    handle.close().unwrap();
    assert_eq!(rows(dir.path(), &Filter::default())[0].count, 3);
}

#[test]
fn a_full_queue_counts_what_it_drops_and_the_loss_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, receiver) = store::channel(2);
    let sent: Vec<bool> =
        (0..5).map(|_| sender.try_send(StoreMessage::Sightings(vec![sighting(1, 1, 10), sighting(2, 1, 1)]))).collect();
    assert_eq!(sent, [true, true, false, false, false]);
    let counters = sender.counters();
    assert_eq!(counters.lost(), 33);
    let handle = spawn(open(dir.path(), 0), &sender, receiver);
    wait_until("what the queue held", || counters.attempts_committed() == 22);
    handle.close().unwrap();
    let mut ledger = Ledger::open_read(dir.path()).unwrap();
    assert_eq!(ledger.summary().unwrap().totals.lost, 33);
    let gaps = ledger.gaps(None).unwrap();
    assert_eq!(gaps.iter().map(|gap| (gap.why, gap.attempts)).collect::<Vec<_>>(), [(GapReason::Lost, 33)]);
    // The next run goes on from there.
    let (sender, receiver) = store::channel(2);
    let handle = spawn(open(dir.path(), 30), &sender, receiver);
    assert_eq!((handle.counters().lost(), handle.counters().attempts_committed()), (33, 22));
    handle.close().unwrap();
}

#[test]
fn a_ledger_is_readable_without_a_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), 0);
    store.commit_sightings(at(1), &[sighting(1, 1, 2)]).unwrap();
    store.close(at(2)).unwrap();
    let mut ledger = Ledger::open_read(dir.path()).unwrap();
    let summary = ledger.summary().unwrap();
    assert_eq!((summary.endpoints, summary.rows, summary.attempts, summary.sensor.len()), (1, 1, 2, 32));
    assert_eq!(ledger.heartbeat().unwrap(), Some(at(2)));
}
