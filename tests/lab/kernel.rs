//! Tables in a real kernel: what is printed, what is put in force, what changes.

use crate::space::sh;
use interdict::base::model::{Stage, Wall};
use interdict::engine::gateway::{
    Change, Clients, Encrypted, GatewaySettings, Handling, Inspection, Interfaces, Listed, Mask, Redirect, Table,
    Wanted, Watching, diff, plan,
};
use interdict::io::gateway::{Held, Kernel, Queueing, Shape};
use interdict::policy::list::Format;
use interdict::policy::{Exception, List, Policy, RuleSetBuilder, Settings};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lists of ranges as a policy; each blocks unless its id begins with `o`.
pub(crate) fn policy(lists: &[(&str, &str)], exceptions: Vec<Exception>) -> Policy {
    let mut builder = RuleSetBuilder::new();
    for (id, nets) in lists {
        let stage = Some(if id.starts_with('o') { Stage::Observe } else { Stage::Block });
        let (id, revision) = (Arc::from(*id), Arc::from("1"));
        let list = List { file: Arc::clone(&id), id, revision, stage, expires: None };
        builder.add_blocklist(list, Format::Ranges, &mut nets.replace(' ', "\n").as_bytes()).unwrap();
    }
    let settings = Settings { exceptions, ..Settings::default() };
    Policy::new(1, Arc::new(builder.finish()), Arc::new(settings), Wall::UNIX_EPOCH)
}

/// Everything that can be switched on.
pub(crate) fn settings() -> GatewaySettings {
    GatewaySettings {
        clients: Clients::Private,
        local: true,
        handling: Handling::Reject,
        otherwise: ["silent".to_owned()].into(),
        observe: true,
        log_group: 4953,
        redirect: Some(Redirect {
            port: 5301,
            internal: vec!["10.0.0.0/8".parse().unwrap(), "fc00::/7".parse().unwrap()],
            servers: vec!["10.0.0.53/32".parse().unwrap()],
        }),
        dot: Encrypted::Refuse,
        learned: Watching::Refuse,
        inspect: Some(Inspection {
            tcp: [80, 443].into(),
            udp: [443].into(),
            queue: 50,
            queues: 2,
            mask: Mask::new(0x00ff_0000).unwrap(),
        }),
    }
}

fn wanted(lists: &[(&str, &str)], settings: &GatewaySettings) -> Wanted {
    let exception = Exception {
        name: None,
        net: Some("203.0.113.64/26".parse().unwrap()),
        clients: vec!["10.1.0.0/16".parse().unwrap(), "10.2.0.1/32".parse().unwrap()],
        groups: Vec::new(),
        reason: "r".into(),
        approver: "a".into(),
        until: None,
    };
    let policy = policy(lists, vec![exception]);
    let interfaces = Interfaces {
        outside: ["eth0".to_owned()].into(),
        inside: vec!["10.0.0.0/24".parse().unwrap(), "2001:db8:1::/64".parse().unwrap()],
        own: vec!["198.51.100.2".parse().unwrap()],
    };
    let listed = Listed::of(&policy, settings.observe).unwrap();
    plan(&listed, &policy, settings, &interfaces)
}

/// The rule that hands packets to us: as it is printed; as `nft` lists it, with and without iptables' own words where the kernel has only
/// that form of it; and what stands for it where `nft` cannot load what is printed.
const QUEUE: &str = "queue flags bypass to 50-51";
/// What `nft` makes of the target that stands in for it where the kernel has no `queue`. One that was built to know targets, and lacks
/// this one, lists an empty line.
const LISTED_TARGET: &str = "xt target \"NFQUEUE\"";

/// What `nft` says of a table, without what only owners have, and without what was counted.
pub(crate) fn listing(table: &str) -> Vec<String> {
    let text = sh(&format!("nft -s list table inet {table}"));
    let words = text.lines().map(|line| line.split(" # ").next().unwrap().trim());
    let plain = |line: &&str| !line.starts_with("flags owner") && !line.is_empty() && *line != LISTED_TARGET;
    words.filter(plain).map(str::to_owned).collect()
}

/// Gives `nft` a text.
pub(crate) fn nft(text: &str) {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn the_printed_plan_is_what_the_kernel_gets() {
    let lists = [
        ("loud", "203.0.113.0/24 198.51.100.7 198.51.100.9 2001:db8:bad::/48"),
        ("silent", "192.0.2.0/25 2001:db8:5::1"),
        ("observed", "192.0.2.128/26"),
    ];
    let mut kernel = Kernel::open().unwrap();
    for settings in [
        settings(),
        GatewaySettings {
            clients: Clients::Networks(vec!["10.9.0.0/16".parse().unwrap()]),
            local: false,
            redirect: None,
            dot: Encrypted::Off,
            learned: Watching::Observe,
            inspect: None,
            ..settings()
        },
    ] {
        let wanted = wanted(&lists, &settings);
        for (table, own) in [(&wanted.hold, true), (&wanted.main, false)] {
            let has_queue = kernel.queueing() == Queueing::Native;
            let text = table.to_string();
            nft(&if has_queue { text } else { text.replace(QUEUE, "") });
            let printed = listing(table.name);
            kernel.remove(table.name).unwrap();
            let held = kernel.put(table, own).unwrap();
            assert_eq!(held, if own { Held::Owned } else { Held::Plain });
            assert_eq!(listing(table.name), printed, "{table}");
            let shape = kernel.shape(table, true).unwrap().unwrap();
            assert_eq!(shape, Shape::wanted(table, true));
            assert!(kernel.remove(table.name).unwrap());
            assert!(!kernel.remove(table.name).unwrap());
        }
    }
    assert_eq!(sh("nft list ruleset"), "");
}

pub(crate) fn changes_make_the_new_table_of_the_old_one() {
    let tables = [
        wanted(&[("a", "203.0.113.0/24")], &settings()),
        wanted(&[("a", "203.0.113.0/25 203.0.113.192/26"), ("b", "203.0.113.128/26 192.0.2.1")], &settings()),
        wanted(&[("b", "203.0.113.0/24 192.0.2.0/30"), ("silent", "192.0.2.9")], &settings()),
        wanted(&[("silent", "192.0.2.0/24"), ("o", "203.0.113.0/24")], &settings()),
        wanted(&[("o", "0.0.0.0/12 255.255.255.0/24 ffff:ffff::/32")], &settings()),
        wanted(&[], &GatewaySettings { local: false, ..settings() }),
    ];
    let mut kernel = Kernel::open().unwrap();
    for old in &tables {
        for new in &tables {
            for (old, new) in [(&old.hold, &new.hold), (&old.main, &new.main)] {
                changes(&mut kernel, old, new);
            }
        }
    }
}

fn changes(kernel: &mut Kernel, old: &Table, new: &Table) {
    kernel.put(new, false).unwrap();
    let expected = listing(new.name);
    kernel.remove(new.name).unwrap();
    kernel.put(old, false).unwrap();
    let steps = diff(old, new).unwrap();
    kernel.change(new, &steps).unwrap();
    let order = |lines: Vec<String>| {
        let mut lines: Vec<String> = lines;
        lines.sort();
        lines
    };
    // A counter that was there stays.
    let gone = |line: &String| old.counters.difference(&new.counters).any(|name| *line == format!("counter {name} {{"));
    let found: Vec<String> = listing(new.name).into_iter().filter(|line| !gone(line)).collect();
    let braces = |lines: Vec<String>| order(lines.into_iter().filter(|line| line != "}").collect());
    assert_eq!(braces(found), braces(expected), "{steps:?}");
    assert_eq!(kernel.shape(new, true).unwrap().unwrap(), Shape::wanted(new, true));
    kernel.remove(new.name).unwrap();
}

/// Addresses, each the only one of its sixteen.
pub(crate) fn scattered(count: u32, from: u32) -> String {
    (0..count).map(|i| std::net::Ipv4Addr::from(from + i * 16).to_string()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn a_hundred_thousand_ranges_take_seconds() {
    let count = 100_000;
    let old = wanted(&[("a", &scattered(count, 0x0b00_0000))], &settings());
    // Half of them go, as many come.
    let new = wanted(&[("a", &scattered(count, 0x0b00_0000 + count * 8))], &settings());
    let mut kernel = Kernel::open().unwrap();
    let begun = Instant::now();
    kernel.put(&old.hold, true).unwrap();
    let put = begun.elapsed();
    let begun = Instant::now();
    let steps = diff(&old.hold, &new.hold).unwrap();
    assert!(steps.iter().all(|step| matches!(step, Change::AddElements(..) | Change::RemoveElements(..))));
    kernel.change(&new.hold, &steps).unwrap();
    let changed = begun.elapsed();
    let begun = Instant::now();
    assert_eq!(kernel.shape(&new.hold, true).unwrap().unwrap(), Shape::wanted(&new.hold, true));
    println!(
        "{count} ranges: put in force in {put:?}, half of them changed in {changed:?}, read back in {:?}",
        begun.elapsed()
    );
    assert!(put < Duration::from_secs(30) && changed < Duration::from_secs(30));
}
