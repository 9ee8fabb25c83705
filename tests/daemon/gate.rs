//! The gate before lists from files, at a start and at a reload; lists from git whose last good commit cannot be used.

use crate::git::Lab;
use crate::harness::{Daemon, Home, program, run};
use crate::tier;
use crate::upstream::{Act, Upstream};
use hickory_proto::rr::RecordType;
use std::net::Ipv4Addr;
use std::process::Command;

const PASSED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

fn open() -> Upstream {
    let names = ["one.example", "two.example", "three.example", "name1.example", "name1400.example"];
    Upstream::start(names.map(|name| (name, Act::Address(PASSED))))
}

fn is_blocked(daemon: &Daemon, name: &str) -> bool {
    let answers = daemon.ask(name, RecordType::A).answers();
    assert!(answers == ["0.0.0.0"] || answers == [PASSED.to_string()], "{name}: {answers:?}");
    answers == ["0.0.0.0"]
}

const MINE: &str = "[[blocklist]]\nid = \"mine\"\npath = \"mine.txt\"\n";

fn names(count: usize) -> String {
    (0..count).map(|at| format!("name{at}.example\n")).collect()
}

#[test]
fn a_reload_keeps_the_old_list_where_the_gate_refuses_the_new_one() {
    let upstream = open();
    let home = Home::new(upstream.address, &format!("[policy]\nown = [\"corp.example\"]\n{MINE}"));
    home.write("mine.txt", &names(1_500));
    let daemon = home.start();
    for (text, reason) in [
        ("# nothing\n".to_owned(), "mine: refused by the gate (minimum): it has 0 rules"),
        (names(100), "mine: refused by the gate (shrink): it had 1500 rules and has 100"),
        (names(4_000), "mine: refused by the gate (growth): it had 1500 rules and has 4000"),
        (names(1_500) + "co.uk\n", "mine.txt:1501: refused by the gate (public-suffix): co.uk"),
        (names(1_500) + "vpn.corp.example\n", "mine.txt:1501: refused by the gate (own): it takes corp.example"),
        (names(1_200) + &"not a name\n".repeat(150), "mine: refused by the gate (errors): 150 of 1350 lines"),
        ("<!DOCTYPE html>\n<html></html>\n".to_owned(), "mine.txt:1: "),
    ] {
        home.write("mine.txt", &text);
        let ran = home.run(&["reload"]);
        assert_eq!(ran.code, Some(2), "{}{}", ran.out, ran.err);
        assert!(ran.err.contains(reason) && ran.err.contains("the old policy stays"), "{reason}: {}", ran.err);
        assert!(is_blocked(&daemon, "name1.example") && is_blocked(&daemon, "name1400.example"), "{reason}");
        let status = home.run(&["status"]);
        assert!(status.code == Some(1) && status.out.contains(reason), "{}", status.out);
    }
    // Whoever means it says so.
    let config = std::fs::read_to_string(home.path("interdict.toml")).unwrap();
    home.write("interdict.toml", &(config + "[blocklist.gate]\nshrink = 95\n"));
    home.write("mine.txt", &names(100));
    home.run(&["reload"]).good();
    assert!(is_blocked(&daemon, "name1.example") && !is_blocked(&daemon, "name1400.example"));
    assert_eq!(home.run(&["status"]).code, Some(0));
    // What goes in with a warning is said where it went in, and in the status.
    home.write("mine.txt", &(names(100) + "dyndns.org\n"));
    let warning = "mine.txt:101: dyndns.org is a public suffix (PRIVATE)";
    let said = home.run(&["reload"]).good();
    assert!(said.contains(warning), "{said}");
    assert!(home.run(&["status"]).good().contains(warning));
}

#[test]
fn a_start_has_nothing_to_compare_with_but_takes_no_list_that_the_gate_refuses() {
    for (text, gate, reason) in [
        ("one.example\n", "minimum = 2\n", "mine: refused by the gate (minimum): it has 1 rules, and at least 2"),
        (
            "one.example\n",
            "must_have = [\"x.two.example\"]\n",
            "refused by the gate (canary): x.two.example must be in it",
        ),
        (
            "203.0.112.0/22\n",
            "widest_v4 = 24\n",
            "mine.txt:1: refused by the gate (width): 203.0.112.0/22 is wider than /24",
        ),
        ("one.example\nco.uk\n", "", "mine.txt:2: refused by the gate (public-suffix): co.uk"),
        ("", "", "mine: refused by the gate (minimum): it has 0 rules"),
    ] {
        let home = Home::alone(&format!("{MINE}[blocklist.gate]\n{gate}"));
        home.write("mine.txt", text);
        let Err(said) = Daemon::try_start(&mut home.command(&["run"])) else { panic!("{reason}") };
        assert!(said.contains(reason), "{reason}: {said}");
        let checked = home.run(&["config", "check"]);
        assert!(checked.code == Some(2) && checked.err.contains(reason), "{}", checked.err);
    }
    let home = Home::alone(&format!("{MINE}[blocklist.gate]\nminimum = 2\nmust_have = [\"x.two.example\"]\n"));
    home.write("mine.txt", "one.example\ntwo.example\n");
    home.start();
}

/// A list from the lab's repository; nothing is asked of it but by command.
fn entry(lab: &Lab, id: &str) -> String {
    let signers = lab.path("signers").display().to_string();
    format!(
        "[[blocklist]]\nid = \"{id}\"\ngit = \"{}\"\nbranch = \"main\"\npath = \"lists\"\nsigners = \"{signers}\"\nevery = \"1d\"\n",
        lab.url()
    )
}

fn labs() -> Option<[Lab; 2]> {
    tier::program("git").and_then(|_| tier::program("ssh-keygen")).map(|_| [Lab::new(), Lab::new()])
}

fn config(home: &Home, rest: &str) {
    let text = std::fs::read_to_string(home.path("interdict.toml")).unwrap();
    let head = text.split("[[blocklist]]").next().unwrap();
    home.write("interdict.toml", &(head.to_owned() + rest));
}

#[test]
fn what_was_accepted_is_remembered_wherever_a_list_stands_in_the_config() {
    let Some([mut lab, mut other]) = labs() else { return };
    let first = lab.publish("one.example\n");
    other.publish("two.example\n");
    let second_list = entry(&lab, "geo").replace("\"geo\"", "\"again\"");
    let home = Home::alone(&(entry(&lab, "geo") + &second_list + &entry(&other, "mal")));
    home.run(&["sync"]).good();
    lab.publish("one.example\nthree.example\n");
    home.run(&["sync"]).good();
    lab.git(&["reset", "--hard", "--quiet", &first]);
    for order in [
        entry(&other, "mal") + &second_list + &entry(&lab, "geo"),
        // The ids have changed places.
        entry(&other, "geo") + &entry(&lab, "mal"),
        entry(&lab, "new") + &entry(&other, "geo"),
    ] {
        config(&home, &order);
        let ran = home.run(&["sync"]);
        assert!(ran.code == Some(1) && ran.out.contains("a rollback"), "{order}: {}", ran.out);
        let json = |name: &str| home.run(&["check", "--format", "jsonl", name]).jsonl().remove(0);
        assert!(["one.example", "two.example", "three.example"].iter().all(|name| json(name)["verdict"] == "block"));
    }
    // A repository that has moved is still the same list's: what is in force stays, and older states stay refused.
    let moved = lab.path("moved");
    std::fs::rename(lab.work(), &moved).unwrap();
    config(&home, &entry(&lab, "geo").replace(&lab.url(), &format!("file://{}", moved.display())));
    let ran = home.run(&["sync"]);
    assert!(ran.code == Some(1) && ran.out.contains("a rollback"), "{}", ran.out);
}

#[test]
fn a_last_good_commit_that_cannot_be_used_takes_nothing_else_along() {
    let Some([mut lab, mut other]) = labs() else { return };
    let upstream = open();
    let first = lab.publish("one.example CNAME .\n");
    other.publish("two.example\n");
    let zone = entry(&lab, "zone");
    let home = Home::new(upstream.address, &(zone.clone() + &entry(&other, "plain")));
    home.run(&["sync"]).good();
    // As if another version of the program read this format otherwise.
    config(&home, &(zone + "format = \"dnsmasq\"\n" + &entry(&other, "plain")));
    let daemon = home.start();
    assert!(!is_blocked(&daemon, "one.example") && is_blocked(&daemon, "two.example"));
    let status = home.run(&["status"]);
    assert_eq!(status.code, Some(1));
    assert!(status.out.contains("alarm     list zone: lists/a.txt:1: "), "{}", status.out);
    assert!(status.out.contains("it has no rules until a commit comes that can be used"), "{}", status.out);
    assert!(home.run(&["blocklist", "status"]).good().contains("list zone: lists/a.txt:1: "));
    // The others go on: a reload, and a sync.
    home.run(&["reload"]).good();
    other.publish("two.example\nthree.example\n");
    home.run(&["sync", "plain"]).good();
    assert!(is_blocked(&daemon, "three.example"));
    // Nothing new at the remote is no end of the alarm; a commit that can be used is.
    home.run(&["sync", "zone"]).good();
    assert_eq!(home.run(&["status"]).code, Some(1));
    lab.publish("address=/one.example/#\n");
    home.run(&["sync", "zone"]).good();
    assert!(is_blocked(&daemon, "one.example"));
    assert_eq!(home.run(&["status"]).code, Some(0));
    // A reload that would lose a list which is in force is refused.
    let text = std::fs::read_to_string(home.path("interdict.toml")).unwrap();
    home.write("interdict.toml", &text.replace("\"dnsmasq\"", "\"rpz\""));
    let ran = home.run(&["reload"]);
    assert!(ran.code == Some(2) && ran.err.contains("list zone: lists/a.txt:1: "), "{}", ran.err);
    assert!(is_blocked(&daemon, "one.example"));
    home.write("interdict.toml", &text.replace("\"dnsmasq\"", "\"auto\""));
    home.run(&["reload"]).good();
    home.run(&["blocklist", "rollback", "zone", &first[..10]]).good();
}

#[test]
fn a_commit_in_force_that_the_gate_would_refuse_by_now_is_a_warning_and_the_next_one_refused() {
    let Some([mut lab, _]) = labs() else { return };
    let upstream = open();
    lab.publish("one.example\nvpn.corp.example\n");
    let home = Home::new(upstream.address, &entry(&lab, "geo"));
    home.run(&["sync"]).good();
    let daemon = home.start();
    let text = std::fs::read_to_string(home.path("interdict.toml")).unwrap();
    home.write("interdict.toml", &format!("{text}[policy]\nown = [\"corp.example\", \"198.51.100.0/24\"]\n"));
    let warning = "list geo: lists/a.txt:2: refused by the gate (own): it takes corp.example or what is below, which is the \
                   operator's own; it stays in force";
    assert!(home.run(&["reload"]).good().contains(warning));
    assert!(home.run(&["status"]).good().contains(warning) && is_blocked(&daemon, "one.example"));
    lab.publish("two.example\nvpn.corp.example\n");
    let ran = home.run(&["sync"]);
    assert!(ran.code == Some(1) && ran.out.contains("refused by the gate (own)"), "{}", ran.out);
    // Another path of the same commit was never judged.
    lab.write("more/a.txt", "one.example\nco.uk\n");
    lab.publish("one.example\n");
    home.run(&["sync"]).good();
    assert!(!home.run(&["status"]).good().contains("corp.example"));
    let more = entry(&lab, "more").replace("\"lists\"", "\"more\"");
    home.write("interdict.toml", &(text + &more));
    let ran = home.run(&["reload"]);
    assert!(
        ran.code == Some(2) && ran.err.contains("more/a.txt:2: refused by the gate (public-suffix)"),
        "{}",
        ran.err
    );
}

#[test]
fn lint_shows_every_line_and_every_refusal() {
    let home = Home::alone("[policy]\nown = [\"corp.example\"]\n");
    let file = home.write("bad.txt", "one.example\nco.uk\ncom.cn\nx.corp.example\n");
    let ran = run(home.command(&["lint", file.to_str().unwrap()]).current_dir(home.path("")));
    assert_eq!(ran.code, Some(2));
    for part in
        ["bad.txt:2: refused by the gate", "bad.txt:3: refused by the gate", "bad.txt:4: refused by the gate (own)"]
    {
        assert!(ran.out.contains(part), "{part} is missing: {}", ran.out);
    }
    let many = home.write("many.txt", &(names(1_000) + &"not a name\n".repeat(60)));
    let said = run(Command::new(program()).arg("lint").arg(&many)).good();
    assert_eq!(said.lines().filter(|line| line.contains("many.txt:10")).count(), 60, "{said}");
    assert!(!said.contains("more"), "{said}");
}

#[test]
fn vendor_files_and_included_lists_stand_before_the_gate_as_well() {
    let vendor = |name: &str| {
        format!(
            "version = 1\n[vendor]\nid = \"acme\"\nname = \"Acme\"\n[[source]]\nid = \"own\"\ntitle = \"Own\"\nwhere = \
             \"https://acme.example/\"\n[[domain]]\nname = \"{name}\"\nmatch = \"suffix\"\npurpose = \"telemetry\"\nsource = \
             [\"own\"]\nconfidence = \"high\"\n"
        )
    };
    let home = Home::alone(
        "[policy]\nown = [\"corp.example\"]\n[[blocklist]]\nid = \"file\"\npath = \"acme.toml\"\nformat = \"vendor\"\n",
    );
    home.write("acme.toml", &vendor("log.acme.example"));
    let said = home.run(&["config", "check"]).good();
    assert!(said.starts_with("list file: 1 rules"), "{said}");
    home.write("acme.toml", &vendor("log.corp.example"));
    let ran = home.run(&["config", "check"]);
    assert!(ran.code == Some(2) && ran.err.contains("acme.toml:9: refused by the gate (own)"), "{}", ran.err);

    let Some([mut lab, _]) = labs() else { return };
    // Only the sibling names the folder that the included list is in.
    lab.write("lists/all.txt", "include:more\n");
    lab.write("more/README.md", "# Nothing\n");
    lab.publish("one.example\n");
    let home = Home::alone(&(entry(&lab, "geo").replace("\"lists\"", "\"lists/all.txt\"") + &entry(&lab, "all")));
    lab.write("lists/more", "two.example\nco.uk\n");
    lab.publish("one.example\n");
    let ran = home.run(&["sync"]);
    assert!(
        ran.code == Some(1) && ran.out.contains("lists/more:2: refused by the gate (public-suffix)"),
        "{}",
        ran.out
    );
    lab.write("lists/more", names(20) + "not a name\n");
    lab.publish("one.example\n");
    home.run(&["sync"]).good();
    let said = home.run(&["blocklist", "status"]).good();
    assert!(said.contains("\ngeo: left out: lists/more:21: \"a\" is no @attribute"), "{said}");
    let rows = home.run(&["blocklist", "status", "--format", "json"]).json();
    assert_eq!((&rows[0]["list"], &rows[0]["by"]["unknown"]), (&"geo".into(), &20.into()), "{rows}");
}

#[test]
fn a_file_that_has_become_bad_does_not_slip_in_with_a_commit() {
    let Some([mut lab, _]) = labs() else { return };
    let upstream = open();
    lab.publish("two.example\n");
    let home = Home::new(upstream.address, &(entry(&lab, "geo") + MINE));
    home.write("mine.txt", "one.example\n");
    home.run(&["sync"]).good();
    let daemon = home.start();
    home.write("mine.txt", "# gone\n");
    lab.publish("two.example\nthree.example\n");
    let ran = home.run(&["sync"]);
    assert!(ran.code == Some(1) && ran.out.contains("mine: refused by the gate (minimum)"), "{}", ran.out);
    assert_eq!(
        ["one.example", "two.example", "three.example"].map(|name| is_blocked(&daemon, name)),
        [true, true, false]
    );
    home.write("mine.txt", "one.example\n");
    home.run(&["sync"]).good();
    assert_eq!(["one.example", "three.example"].map(|name| is_blocked(&daemon, name)), [true, true]);
}
