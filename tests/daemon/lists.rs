//! Lists from git in the running program: what is taken changes the answers without a restart, what is refused does not.

use crate::git::{EPOCH, Lab, Manner, Server};
use crate::harness::{Daemon, Home, Ran};
use crate::tier;
use crate::upstream::{Act, Upstream};
use hickory_proto::rr::RecordType;
use std::net::Ipv4Addr;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

fn lab() -> Option<Lab> {
    tier::program("git").and_then(|_| tier::program("ssh-keygen")).map(|_| Lab::new())
}

/// A list `geo` from the lab's repository; nothing is asked of it but by command.
fn entry(lab: &Lab, url: &str, every: &str) -> String {
    let signers = lab.path("signers").display().to_string();
    format!(
        "[[blocklist]]\nid = \"geo\"\ngit = \"{url}\"\nbranch = \"main\"\npath = \"lists\"\nsigners = \"{signers}\"\nevery = \
         \"{every}\"\n"
    )
}

fn home(lab: &Lab, upstream: &Upstream) -> Home {
    Home::new(upstream.address, &entry(lab, &lab.url(), "1d"))
}

/// Answers that are not blocked.
fn open() -> Upstream {
    Upstream::start(["one.example", "two.example", "three.example"].map(|name| (name, Act::Address(PASSED))))
}

/// A vendor file of one name.
const ACME: &str = r#"version = 1
[vendor]
id = "acme"
name = "Acme"
[[source]]
id = "own"
title = "Own"
where = "https://acme.example/"
[[domain]]
name = "log.acme.example"
match = "suffix"
purpose = "telemetry"
source = ["own"]
confidence = "high"
"#;

const PASSED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

fn is_blocked(daemon: &Daemon, name: &str) -> bool {
    let answers = daemon.ask(name, RecordType::A).answers();
    assert!(answers == ["0.0.0.0"] || answers == [PASSED.to_string()], "{name}: {answers:?}");
    answers == ["0.0.0.0"]
}

fn sync(home: &Home) -> Ran {
    home.run(&["sync"])
}

/// The sentence with which a sync was refused.
fn refused(home: &Home) -> String {
    let ran = sync(home);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("geo: refused: "), "{}", ran.out);
    ran.out
}

fn within(seconds: u64, what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(seconds);
    while !is_so() {
        assert!(Instant::now() < until, "{what}: not within {seconds} s");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_list_is_followed_without_a_restart_and_what_is_refused_leaves_the_old_one() {
    let Some(mut lab) = lab() else { return };
    let upstream = open();
    let first = lab.publish("one.example\n");
    let home = home(&lab, &upstream);
    let daemon = home.start();
    within(10, "the first look", || is_blocked(&daemon, "one.example"));

    let second = lab.publish("one.example\ntwo.example\n");
    assert!(!is_blocked(&daemon, "two.example"));
    let trial = home.run(&["sync", "--dry-run"]).good();
    assert!(trial.starts_with(&format!("geo: would be taken: commit {}", &second[..12])), "{trial}");
    assert!(!is_blocked(&daemon, "two.example"), "a trial changes nothing");
    let said = sync(&home).good();
    assert!(said.starts_with(&format!("geo: taken: commit {}", &second[..12])), "{said}");
    assert!(said.ends_with("signed by publisher@example.org, 2 rules\n"), "{said}");
    assert!(is_blocked(&daemon, "two.example"));
    assert_eq!(sync(&home).good(), "geo: unchanged\n");

    lab.write("lists/a.txt", "three.example\n");
    lab.commit("stranger");
    let why = refused(&home);
    assert!(why.contains("is signed with the key SHA256:"), "{why}");
    let status = home.run(&["status", "--format", "json"]);
    assert_eq!(status.code, Some(1));
    assert!(status.out.contains("is signed with the key SHA256:"), "{}", status.out);
    let table = home.run(&["blocklist", "status"]).good();
    assert!(table.contains("is signed with the key SHA256:") && table.contains(&second[..12]), "{table}");

    lab.git(&["reset", "--hard", "--quiet", &first]);
    let why = refused(&home);
    assert!(why.contains("a rollback"), "{why}");
    lab.publish("three.example\n");
    let why = refused(&home);
    assert!(why.contains("the history was rewritten"), "{why}");

    lab.git(&["reset", "--hard", "--quiet", &second]);
    for (text, reason) in [
        ("# nothing\n", "refused by the gate (minimum)"),
        ("one.example\ncom\n", "lists/a.txt:2: "),
        ("one.example\nco.uk\n", "lists/a.txt:2: refused by the gate (public-suffix)"),
        ("127.0.0.1\n192.0.2.1\n", "lists/a.txt:1: refused by the gate (own)"),
        ("<!DOCTYPE html>\n<html></html>\n", "lists/a.txt:1: "),
    ] {
        lab.publish(text);
        let why = refused(&home);
        assert!(why.contains(reason), "{text:?}: {why}");
        assert!(is_blocked(&daemon, "one.example") && is_blocked(&daemon, "two.example"), "{text:?}");
        assert!(!is_blocked(&daemon, "three.example"), "{text:?}");
    }

    lab.publish("one.example\ntwo.example\nthree.example\n");
    sync(&home).good();
    assert!(is_blocked(&daemon, "three.example"));
    let status = home.run(&["status", "--format", "json"]).json();
    assert_eq!(status["alarms"].as_array().map(Vec::len), Some(0), "{status}");
}

#[test]
fn check_names_commit_date_and_line_also_of_another_revision() {
    let Some(mut lab) = lab() else { return };
    let first = lab.publish("# one\none.example\n");
    let home = Home::alone(&entry(&lab, &lab.url(), "1d"));
    sync(&home).good();
    let second = lab.publish("two.example\none.example\nthree.example\n");
    sync(&home).good();
    let said = home.run(&["check", "www.three.example"]).good();
    let lines = [
        format!("  rule     three.example (geo unknown), lists/a.txt:3, revision {}", &second[..12]),
        format!("  commit   {second} of 2026-05-28T20:28:40Z, signed by publisher@example.org"),
    ];
    for line in &lines {
        assert!(said.lines().any(|have| have == line), "{line} is missing:\n{said}");
    }
    let before =
        home.run(&["check", "--rev", &first[..8], "--format", "jsonl", "three.example", "one.example"]).jsonl();
    assert_eq!((&before[0]["verdict"], &before[1]["verdict"]), (&"allow".into(), &"block".into()), "{before:?}");
    assert_eq!(before[1]["rule"]["place"], "lists/a.txt:2");
    assert_eq!(before[1]["rule"]["commit"]["id"], first.as_str());
    let unknown = home.run(&["check", "--rev", "0123456", "one.example"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("is no commit of the history that was accepted"), "{}", unknown.err);
    assert_eq!(EPOCH + 120, 1_780_000_120, "the date above");
}

#[test]
fn rollback_pin_and_bundle_with_and_without_a_daemon() {
    let Some(mut lab) = lab() else { return };
    let upstream = open();
    let first = lab.publish("one.example\n");
    let home = home(&lab, &upstream);
    sync(&home).good();
    lab.publish("one.example\ntwo.example\n");
    sync(&home).good();
    let daemon = home.start();
    assert!(is_blocked(&daemon, "two.example"));

    let said = home.run(&["blocklist", "rollback", "geo"]).good();
    assert!(said.starts_with(&format!("geo: taken: commit {}", &first[..12])), "{said}");
    assert!(is_blocked(&daemon, "one.example") && !is_blocked(&daemon, "two.example"));
    assert_eq!(sync(&home).good(), "geo: unchanged\n", "what was left is not taken again");
    assert!(home.run(&["blocklist", "status"]).good().contains("rolled back"));

    home.run(&["blocklist", "pin", "geo", &first[..10]]).good();
    lab.publish("one.example\nthree.example\n");
    assert_eq!(sync(&home).good(), "geo: pinned\n");
    home.run(&["blocklist", "unpin", "geo"]).good();
    sync(&home).good();
    assert!(is_blocked(&daemon, "three.example"));

    let old = lab.path("old.bundle");
    let new = lab.path("new.bundle");
    lab.git(&["bundle", "create", "--quiet", new.to_str().unwrap(), "main"]);
    std::fs::copy(&new, &old).unwrap();
    lab.publish("two.example\n");
    lab.git(&["bundle", "create", "--quiet", new.to_str().unwrap(), "main"]);
    home.run(&["blocklist", "import", "geo", new.to_str().unwrap()]).good();
    assert!(is_blocked(&daemon, "two.example") && !is_blocked(&daemon, "three.example"));
    let why = home.run(&["blocklist", "import", "geo", old.to_str().unwrap()]);
    assert_eq!(why.code, Some(1));
    assert!(why.out.contains("a rollback"), "{}", why.out);
    drop(daemon);
    home.run(&["blocklist", "rollback", "geo", &first[..10]]).good();
    assert!(home.run(&["check", "two.example"]).good().starts_with("two.example: allow"));
    let none = home.run(&["blocklist", "pin", "mine", "abcd"]);
    assert_eq!((none.code, none.err.contains("those that do: geo")), (Some(2), true), "{}", none.err);
}

#[test]
fn a_remote_that_is_away_at_the_start_leaves_the_last_good_list() {
    let Some(mut lab) = lab() else { return };
    let upstream = open();
    lab.publish("one.example\n");
    let home = Home::new(upstream.address, &entry(&lab, &lab.url(), "1s"));
    sync(&home).good();
    std::fs::rename(lab.work(), lab.path("away")).unwrap();
    let daemon = home.start();
    assert!(is_blocked(&daemon, "one.example"));
    within(10, "the alarm", || home.run(&["status"]).out.contains("list geo: "));
    assert!(is_blocked(&daemon, "one.example"));
    std::fs::rename(lab.path("away"), lab.work()).unwrap();
    lab.publish("two.example\n");
    within(15, "the remote is back", || is_blocked(&daemon, "two.example"));
    within(5, "the alarm ends", || home.run(&["status"]).code == Some(0));
}

#[test]
fn a_list_that_was_never_fetched_is_a_warning_and_holding_still_too_long_another() {
    let Some(mut lab) = lab() else { return };
    let upstream = open();
    lab.publish("one.example\n");
    let away = entry(&lab, "file:///nowhere/at/all.git", "1d");
    let home = Home::new(upstream.address, &away);
    let daemon = home.start();
    let status = home.run(&["status"]).out;
    assert!(status.contains("warning   list geo: nothing was taken from file:///nowhere/at/all.git"), "{status}");
    drop(daemon);
    let home = Home::new(upstream.address, &(entry(&lab, &lab.url(), "1d") + "promise = \"1d\"\n"));
    sync(&home).good();
    let _daemon = home.start();
    let status = home.run(&["status"]).out;
    assert!(status.contains("days old, but was promised every 1 days"), "{status}");
}

#[test]
fn killed_at_any_moment_of_a_sync_it_has_the_old_list_or_the_new_one() {
    let Some(mut lab) = lab() else { return };
    let upstream = open();
    lab.publish("one.example\n");
    let home = home(&lab, &upstream);
    sync(&home).good();
    lab.publish("two.example\n");
    let start = Instant::now();
    sync(&home).good();
    let whole = start.elapsed();
    let kills = tier::count(8, 64, 400);
    let (mut old, mut new) = (0, 0);
    for kill in 0..kills {
        let daemon = home.start();
        // One of the two is in the old list, the other in the new one; the file's length keeps the parts apart.
        let names = if kill % 2 == 0 { ["two.example", "one.example"] } else { ["one.example", "two.example"] };
        lab.publish(&format!("{}\n{}", names[1], "filler.example\n".repeat(kill)));
        let mut command = home.command(&["sync"]);
        let mut asked =
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        sleep(whole.mul_f64(1.4 * kill as f64 / kills as f64));
        if kill + 1 == kills {
            // The last one comes when all is done.
            asked.wait().unwrap();
        }
        // SIGKILL.
        drop(daemon);
        asked.wait().unwrap();
        let daemon = home.start();
        let [was, is] = names.map(|name| is_blocked(&daemon, name));
        assert!(was != is, "kill {kill}: old {was}, new {is}");
        (old, new) = if is { (old, new + 1) } else { (old + 1, new) };
        drop(daemon);
        sync(&home).good();
    }
    println!("killed {kills} times within {:?} of a sync: {old} old, {new} new, never neither", whole.mul_f64(1.4));
    assert!(old > 0 && new > 0, "the kills were all too early, or all too late: {old} old, {new} new");
}

#[test]
fn the_only_dns_of_its_network_syncs_by_host_name() {
    let Some(mut lab) = lab() else { return };
    lab.publish("one.example\n");
    let server = Server::start(Manner::Git(lab.path("")));
    let upstream = Upstream::start([
        ("lists.interdict.invalid", Act::Address(Ipv4Addr::LOCALHOST)),
        ("one.example", Act::Address(PASSED)),
    ]);
    let url = server.url("lists.interdict.invalid");
    let home = Home::new(upstream.address, &(entry(&lab, &url, "1d") + "insecure = true\n"));
    let daemon = home.start();
    within(15, "the first sync", || is_blocked(&daemon, "one.example"));
    assert!(upstream.count("lists.interdict.invalid") >= 1);
}

#[test]
fn lists_of_one_repository_change_together_and_vendor_files_are_read() {
    let Some(mut lab) = lab() else { return };
    lab.write("vendors/acme.toml", ACME);
    lab.write("lists/README.md", "# These are lists\n");
    lab.publish("one.example\n");
    let second = entry(&lab, &lab.url(), "1d").replace("\"geo\"", "\"own\"").replace("\"lists\"", "\"lists/a.txt\"");
    let third = second.replace("\"own\"", "\"acme-list\"").replace("\"lists/a.txt\"", "\"vendors\"");
    let stages = "[policy.stages]\n\"acme\" = \"block\"\n";
    let home = Home::alone(&(entry(&lab, &lab.url(), "1d") + &second + &third));
    let said = sync(&home).good();
    assert!(said.starts_with("geo: taken: ") && said.ends_with(", 3 rules\n") && said.lines().count() == 1, "{said}");
    assert!(home.path("state/lists/geo/record.toml").exists() && !home.path("state/lists/own").exists());
    let json = home.run(&["blocklist", "status", "--format", "json"]).json();
    assert_eq!((&json[0]["rules"], &json[1]["rules"]), (&1.into(), &1.into()), "{json}");
    assert_eq!(json[0]["revision"], json[1]["revision"]);
    assert_eq!(json[2]["by"]["acme telemetry"], 1, "{json}");
    let config = std::fs::read_to_string(home.path("interdict.toml")).unwrap();
    home.write("interdict.toml", &(config + stages));
    let said = home.run(&["check", "log.acme.example"]).good();
    assert!(said.starts_with("log.acme.example: block") && said.contains("vendors/acme.toml:"), "{said}");
    assert!(said.contains("\n  commit   "), "{said}");
}

#[test]
fn lint_shows_every_problem_and_ends_with_2() {
    let home = Home::alone("");
    let names: String = (0..12).map(|at| format!("name{at}.example\n")).collect();
    let good = home.write("good.txt", &(names + "not a name\n"));
    let tenth: String = (0..12).map(|at| format!("name{at}.example\n")).collect();
    let tenth = home.write("tenth.txt", &(tenth + "not a name\nnor this\n"));
    let bad = home.write("bad.txt", "one.example\ncom\n");
    let empty = home.write("empty.txt", "# nothing\n");
    let program = |files: &[&std::path::Path]| {
        crate::harness::run(Command::new(crate::harness::program()).arg("lint").args(files))
    };
    let said = program(&[&good]).good();
    assert!(said.contains("good.txt: good: 12 rules, 1 lines left out") && said.contains("good.txt:13: "), "{said}");
    let ran = program(&[&good, &bad, &tenth, &empty]);
    assert_eq!(ran.code, Some(2));
    for part in [
        "bad.txt:2: \"com\"",
        "empty.txt: refused by the gate (minimum)",
        "tenth.txt: refused by the gate (errors)",
        "tenth.txt:13: ",
        "tenth.txt:14: ",
    ] {
        assert!(ran.out.contains(part), "{part} is missing: {}", ran.out);
    }
}

#[test]
fn an_export_says_what_is_blocked_and_counts_what_its_format_cannot_say() {
    let home = Home::alone("[[blocklist]]\nid = \"mine\"\npath = \"mine.txt\"\n");
    home.write("mine.txt", "one.example\ntwo.example\n");
    for format in
        ["rpz", "hosts", "domains", "adblock", "dnsmasq", "unbound", "v2fly", "cidr", "nftables", "pf", "routeros"]
    {
        let ran = home.run(&["export", "--format", format]);
        assert!(ran.err.contains(&format!(" rules written as {format}\n")), "{}", ran.err);
        let is_of_names = !["cidr", "nftables", "pf"].contains(&format);
        assert_eq!(ran.out.contains("one.example"), is_of_names, "{format}: {}", ran.out);
        assert_eq!(ran.out.contains("kaspersky.com"), is_of_names, "{format}");
        assert_eq!(ran.code, Some(0));
    }
    let hosts = home.run(&["export", "--format", "hosts"]);
    assert!(hosts.err.contains("hosts cannot say: "), "{}", hosts.err);
    let before = home.run(&["export", "--format", "domains", "--at", "2024-09-01"]).good();
    assert_eq!(before, "one.example\ntwo.example\n", "before the clause nothing but the own list is blocked");
    let wrong = home.run(&["export", "--format", "bind"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.err);
    // What was written for another resolver decides the same when it is read back.
    home.write("out.rpz", &home.run(&["export", "--format", "rpz"]).good());
    let list = format!("{}:rpz", home.path("out.rpz").display());
    let names = ["s00.upd.kaspersky.com", "www.kaspersky.com", "one.example", "x.two.example", "example.org"];
    for name in names {
        let ours = home.run(&["check", "--format", "jsonl", name]).jsonl();
        let back = home.run(&["check", "--no-defaults", "--list", &list, "--format", "jsonl", name]).jsonl();
        assert_eq!(ours[0]["verdict"] == "block", back[0]["verdict"] == "block", "{name}");
    }
}

#[test]
fn revisions_and_files_are_compared_and_tried_on_a_query_log() {
    let Some(mut lab) = lab() else { return };
    let upstream = open();
    let first = lab.publish("one.example\nboth.example\n");
    let home = home(&lab, &upstream);
    sync(&home).good();
    let second = lab.publish("two.example\nboth.example\n");
    sync(&home).good();
    let said = home.run(&["blocklist", "diff", &first[..8], &second[..8]]).good();
    let expected = "no vendor: 1 in, 1 out, 0 moved\n+ two.example suffix (no vendor), lists/a.txt:1\n- one.example suffix (no \
                    vendor), lists/a.txt:1\n";
    assert_eq!(said, expected);
    let (a, b) =
        (home.write("a.txt", "one.example\n"), home.write("b.txt", "0.0.0.0 one.example\n0.0.0.0 two.example\n"));
    let said = home.run(&["blocklist", "diff", a.to_str().unwrap(), b.to_str().unwrap()]).good();
    assert!(said.contains("two.example exact"), "{said}");
    let text = "Nov 23 10:00:00 dnsmasq[7]: query[A] www.one.example from 10.0.0.2\nwww.two.example\nboth.example\nother.example\n\
               {\"frame\": 3, \"proto\": \"dns-query\", \"name\": \"other.example\", \"oracle\": [\"tshark\"]}\nno name at all\n";
    let log = home.path("queries.log");
    std::fs::write(&log, [text.as_bytes(), b"\xff\xfe\n"].concat()).unwrap();
    let said = home.run(&["blocklist", "preview", &first[..8], "--queries", log.to_str().unwrap()]).good();
    let expected = "+ www.one.example\n- www.two.example\n4 names: 1 newly blocked, 1 no longer blocked\n";
    let nameless = format!("2 lines of {} tell of no name that was asked for\n", log.display());
    assert_eq!(said, expected.to_owned() + &nameless);
    let daemon = home.start();
    assert!(is_blocked(&daemon, "two.example"));
    home.wait_for_row("the attempt", |row| row["vendor"] == "geo");
    let stats = home.run(&["blocklist", "stats", "--format", "json"]).json();
    let geo = stats.as_array().unwrap().iter().find(|row| row["list"] == "geo").unwrap();
    assert_eq!((&geo["bytes"], &geo["rules"], &geo["hits"]), (&25.into(), &2.into(), &1.into()));
    // Two entries of header and name at least, and the tables' share at most.
    assert!((40..1_000).contains(&geo["memory"].as_u64().unwrap()), "{geo}");
    let bundled = stats.as_array().unwrap().iter().find(|row| row["list"] == "kaspersky").unwrap();
    assert!(bundled["bytes"].as_u64().unwrap() > 10_000 && bundled["rules"].as_u64().unwrap() > 100, "{bundled}");
}

#[test]
fn a_list_that_loses_most_of_its_rules_is_refused_but_may_be_gone_back_to() {
    let Some(mut lab) = lab() else { return };
    let names = |count: usize| (0..count).map(|at| format!("name{at}.example\n")).collect::<String>();
    lab.publish("one.example\n");
    let home = Home::alone(&entry(&lab, &lab.url(), "1d"));
    sync(&home).good();
    lab.publish(&names(1_500));
    sync(&home).good();
    lab.publish(&names(100));
    let why = refused(&home);
    assert!(why.contains("geo: refused by the gate (shrink): it had 1500 rules and has 100"), "{why}");
    home.run(&["blocklist", "rollback", "geo"]).good();
    assert!(home.run(&["check", "one.example"]).good().starts_with("one.example: block"));
}
