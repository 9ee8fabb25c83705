//! One process after another puts the same table in force, under a flood of packets to a listed address.

use crate::kernel::{nft, policy, scattered, settings};
use crate::net::Net;
use crate::space::{part, sh};
use crate::tier;
use interdict::engine::gateway::{GatewaySettings, HOLD, Listed, Wanted, plan};
use interdict::io::gateway::{Held, Kernel, System};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

fn flood(seconds: usize) -> Child {
    part("client", &format!("flood 10.1.0.2 203.0.113.9:443 {RATE} {seconds}"))
}

/// Packets a second.
const RATE: usize = 20_000;

fn wanted(more: u32) -> Wanted {
    let settings = GatewaySettings { redirect: None, inspect: None, ..settings() };
    let lists = format!("203.0.113.0/24 {}", scattered(200, 0x0b00_0000 + more * 16));
    let policy = policy(&[("b", &lists)], Vec::new());
    let listed = Listed::of(&policy, true).unwrap();
    plan(&listed, &policy, &settings, &System::look().interfaces)
}

pub(crate) fn a_table_is_taken_over_without_a_gap() {
    let tries = tier::count(100, 1_000, 10_000);
    let net = Net::new();
    let tables = [wanted(0).hold, wanted(1).hold];
    let mut owner = Kernel::open().unwrap();
    let Held::Owned = owner.put(&tables[0], true).unwrap() else {
        return tier::skip("this kernel lets nobody own a table");
    };
    let (mut running, mut begun, before) = (flood(30), Instant::now(), net.seen("listed"));
    sleep(Duration::from_secs(1));
    for turn in 1..=tries {
        if begun.elapsed() > Duration::from_secs(28) {
            running.wait().unwrap();
            (running, begun) = (flood(30), Instant::now());
            sleep(Duration::from_millis(300));
        }
        // The owner is gone; its table stays, with other ranges than the next one wants.
        drop(owner);
        owner = Kernel::open().unwrap();
        assert_eq!(owner.put(&tables[turn % 2], true).unwrap(), Held::Owned);
    }
    let counted = owner.counters(HOLD).unwrap()["block/b/unknown"].packets;
    println!(
        "{tries} processes, one after another, each with other ranges: {counted} packets counted, {} got there",
        net.seen("listed") - before
    );
    assert!(counted > 1_000);
    assert_eq!(net.seen("listed"), before);
    of_the_boot(&net, owner, tier::count(20, 100, 200));
    running.kill().unwrap();
    running.wait().unwrap();
}

/// How many got there, once all that were on their way have.
fn settled(net: &Net) -> u64 {
    let mut seen = net.seen("listed");
    loop {
        sleep(Duration::from_millis(50));
        let now = net.seen("listed");
        if now == seen {
            return now;
        }
        seen = now;
    }
}

/// What was loaded at boot is anybody's table, and becomes ours.
fn of_the_boot(net: &Net, mut owner: Kernel, tries: usize) {
    let ours = wanted(0).hold;
    let (mut leaked, mut running) = (0, flood(300));
    for _ in 0..tries {
        owner.remove(HOLD).unwrap();
        nft(&ours.to_string());
        let before = settled(net);
        assert_eq!(owner.put(&ours, true).unwrap(), Held::Owned);
        leaked += settled(net) - before;
    }
    running.kill().unwrap();
    running.wait().unwrap();
    println!("taken over from the boot {tries} times: {leaked} got there");
    assert_eq!(leaked, 0);
    let tables = sh("nft list tables");
    assert_eq!(tables.trim(), "table inet interdict-hold");
    assert!(sh("nft list ruleset").contains("flags owner"));
}
