//! The date of an authority's clause passes while the daemon runs.

use crate::daemon::Site;
use crate::dns::Answer;
use crate::load::{ask_once, socket};
use crate::tier;
use crate::upstream::{Habits, Upstream, address_of};
use interdict::base::model::Wall;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The clause of the determination of 2024 as the vendor file has it.
const CLAUSE: &str = "from = \"2024-09-29T00:00:00-04:00\"";
/// A name that the clause is about.
const FORBIDDEN: &str = "s00.upd.kaspersky.com";
/// A harmless name whose answer leads to one that the clause is about.
const ALIAS: (&str, &str) = ("news.harmless.example", "s01.upd.kaspersky.com");
/// A name that no rule mentions.
const HARMLESS: &str = "www.harmless.example";
/// What EDE calls a block by an authority.
const CENSORED: u16 = 16;

pub(crate) fn a_clause_date_passes() {
    let rounds = tier::count(1, 3, 20);
    for round in 0..rounds {
        let late = passes();
        println!("round {}: blocked {late:.0?} after the date at the latest", round + 1);
    }
}

/// Lets a date pass; says how long after it the last name was blocked.
fn passes() -> Duration {
    let upstream = Upstream::start(Habits { alias: Some(ALIAS), ..Habits::default() });
    let site = Site::new(&upstream, "[policy]\nvendors = \"vendors\"\n");
    let file = include_str!("../../blocklists/vendors/kaspersky.toml");
    assert_eq!(file.matches(CLAUSE).count(), 1, "the determination's clause has changed its text");
    let date = Wall::now().checked_add(Duration::from_secs(3)).unwrap();
    std::fs::create_dir(site.path("vendors")).unwrap();
    site.write("vendors/kaspersky.toml", &file.replace(CLAUSE, &format!("from = \"{date}\"")));
    let mut daemon = site.start();
    let asks = socket(2, daemon.address);
    let resolved =
        |name: &str| ask(&asks, name).address == Some(address_of(if name == ALIAS.0 { ALIAS.1 } else { name }));
    let names = [FORBIDDEN, ALIAS.0, HARMLESS];
    for name in names {
        assert!(resolved(name), "{name} before the date: {}", daemon.log());
    }
    let asked = upstream.asked();
    let begun = Instant::now();
    let mut blocked = [None; 2];
    while blocked.contains(&None) {
        for (name, since) in names.iter().zip(&mut blocked) {
            let before = Wall::now();
            let answer = ask(&asks, name);
            let after = Wall::now();
            if is_block(&answer) {
                assert!(after >= date, "{name} was blocked before the date");
                since.get_or_insert(after);
            } else {
                assert!(since.is_none(), "{name} was blocked and is no more: {answer:?}");
                assert!(before < date.checked_add(Duration::from_secs(1)).unwrap(), "{name} is let through too late");
            }
        }
        assert!(resolved(HARMLESS));
        assert!(begun.elapsed() < Duration::from_secs(10), "the date passed unnoticed: {}", daemon.log());
        sleep(Duration::from_millis(5));
    }
    assert_eq!(upstream.asked(), asked, "all answers were of the cache");
    assert!(daemon.lives());
    let last = blocked.into_iter().flatten().max().unwrap();
    last.duration_since(date).try_into().unwrap()
}

fn ask(socket: &UdpSocket, name: &str) -> Answer {
    ask_once(socket, name, Duration::from_secs(5)).unwrap_or_else(|| panic!("{name} got no answer"))
}

fn is_block(answer: &Answer) -> bool {
    answer.address == Some(Ipv4Addr::UNSPECIFIED) && answer.ede == Some(CENSORED)
}
