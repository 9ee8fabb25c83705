//! The commands around the daemon: what they print, what they end with, and that they can be piped.

use crate::harness::{Home, Ran, program, run};
use crate::tier;
use crate::upstream::{Act, Upstream};
use hickory_proto::rr::RecordType;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const BLOCKED: &str = "s00.upd.kaspersky.com";

fn interdict(args: &[&str]) -> Ran {
    run(Command::new(program()).args(args))
}

#[test]
fn the_config_may_be_named_before_or_after_the_command() {
    let home = Home::with_config("version = 1\n[policy.stages]\n\"huawei\" = \"block\"\n");
    let file = home.path("interdict.toml");
    let file = file.to_str().unwrap();
    let commands: [&[&str]; 4] = [
        &["check", "huaweicloud.com"],
        &["vendors"],
        &["config", "show"],
        &["check", "--format", "jsonl", "huaweicloud.com"],
    ];
    for command in commands {
        let said: Vec<String> = [
            [&["--config", file], command].concat(),
            [command, &["--config", file]].concat(),
            [&command[..1], &["--config", file], &command[1..]].concat(),
        ]
        .iter()
        .map(|args| interdict(args).good())
        .collect();
        // The moment is the only thing that may differ.
        let timeless = |text: &str| text.split(',').filter(|part| !part.starts_with("\"at\":")).collect::<String>();
        assert!(said.iter().all(|text| timeless(text) == timeless(&said[0])), "{said:?}");
        assert!(said[0].contains("huawei"), "{said:?}");
    }
    let said = interdict(&["check", "huaweicloud.com", "--config", file]).good();
    assert!(
        said.starts_with("huaweicloud.com: block (answered null)\n  because  [policy] stages sets huawei"),
        "{said}"
    );
}

#[test]
fn what_config_prints_is_a_config() {
    let template = interdict(&["config", "template"]).good();
    let home = Home::with_config(&template);
    let good = home.run(&["config", "check"]).good();
    assert!(good.ends_with("interdict.toml: good; 1408 rules\n"), "{good}");
    let body = |text: &str| text.split_once('\n').unwrap().1.to_owned();
    let shown = home.run(&["config", "show"]).good();
    assert!(shown.starts_with(&format!("# {}\n", home.path("interdict.toml").display())), "{shown}");
    let again = Home::with_config(&shown).run(&["config", "show"]).good();
    assert_eq!(body(&shown), body(&again));
    // One that says something of everything survives too.
    home.write("list.txt", "a.example\nnot a name\nb.example\nc.example\nd.example\n");
    let full = "version = 1\n[upstream]\nservers = [\"192.0.2.1\", \"[2001:db8::1]:5353\"]\n[sinkhole]\naddress = [\"192.0.2.9\"]\n\
        [policy]\njurisdictions = [\"us\", \"uk\"]\nscope = [\"federal\"]\nstages = { \"kaspersky:web\" = \"off\", \"zte\" = \"block\" }\n\
        [[exception]]\nname = \"example.org\"\naddress = \"192.0.2.0/24\"\nclients = [\"10.0.0.0/8\"]\nreason = \"r \\\"q\\\"\"\n\
        approver = \"ä\"\nuntil = \"2027-01-01\"\n[[blocklist]]\nid = \"mine\"\npath = \"list.txt\"\n";
    home.write("interdict.toml", full);
    let shown = home.run(&["config", "show"]).good();
    home.write("interdict.toml", &shown);
    assert_eq!(home.run(&["config", "show"]).good(), shown);
    let said = home.run(&["config", "check"]).good();
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("list mine: 4 rules, 1 lines left out"));
    assert!(lines.next().is_some_and(|line| line.contains("list.txt:2: \"not a name\" is no domain name")), "{said}");
}

#[test]
fn the_report_has_one_shape_in_four_formats() {
    let upstream = Upstream::start([("www.kaspersky.com", Act::Address(Ipv4Addr::new(203, 0, 113, 7)))]);
    let home = Home::new(upstream.address, "");
    let none = home.run(&["report"]);
    assert_eq!((none.code, none.err.lines().count()), (Some(1), 1), "no ledger yet: {}", none.err);
    let daemon = home.start();
    assert_eq!(home.run(&["report", "--format", "json"]).good(), "[]\n");
    assert!(home.run(&["report"]).good().starts_with("No attempt is recorded.\n"));
    for _ in 0..3 {
        daemon.ask(BLOCKED, RecordType::A);
    }
    daemon.ask("www.kaspersky.com", RecordType::A);
    home.wait_for_row("the update row", |row| row["purpose"] == "update" && row["count"] == 3);
    home.wait_for_row("the web row", |row| row["purpose"] == "web");
    let rows = home.rows();
    assert_eq!(rows.len(), 2, "{rows:?}");
    for row in &rows {
        let keys: Vec<&str> = row["endpoint"].as_object().unwrap().keys().map(String::as_str).collect();
        // Additive only.
        assert_eq!(
            keys,
            [
                "addresses",
                "client_ids",
                "forwarder",
                "id",
                "macs",
                "makers",
                "names",
                "randomised",
                "segments",
                "vendor_classes"
            ]
        );
        assert_eq!(row["endpoint"]["addresses"], serde_json::json!(["127.0.0.1"]));
        assert!(row["vendor"].is_string() && row["count"].is_u64() && row["endpoint"]["id"].is_u64(), "{row}");
        for key in ["first", "last"] {
            let at: jiff::Timestamp = row[key].as_str().unwrap().parse().unwrap();
            assert!(jiff::Timestamp::now().duration_since(at).as_secs() < 60, "{row}");
        }
        for key in ["verdict", "purpose", "channel", "destinations"] {
            assert!(!row[key].is_null(), "{key}: {row}");
        }
        assert!(
            row["destinations"][0]["rule"]["place"].as_str().unwrap().starts_with("vendors/kaspersky.toml:"),
            "{row}"
        );
    }
    assert_eq!(home.run(&["report", "endpoints", "--format", "jsonl"]).jsonl(), rows);
    let csv = home.run(&["report", "--format", "csv"]).good();
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!(lines[0], "endpoint,vendor,purpose,first,last,count,outcome,channel,destinations,grade");
    assert_eq!((lines.len(), lines[3]), (4, ""), "{csv:?}");
    assert!(lines[1..3].iter().all(|line| line.starts_with("127.0.0.1,kaspersky,") && line.split(',').count() == 10));
    let table = home.run(&["report"]).good();
    assert!(table.starts_with("ENDPOINT   VENDOR     PURPOSE  FIRST "), "{table}");
    assert!(table.ends_with("\nAn attempt is a contact, not an infection; silence here is not absence.\n"), "{table}");
    // Filters.
    let count = |args: &[&str]| home.run(&[&["report", "--format", "jsonl"], args].concat()).jsonl().len();
    assert_eq!(count(&["--vendor", "kaspersky"]), 2);
    assert_eq!(count(&["--vendor", "huawei"]), 0);
    assert_eq!(count(&["--since", "1h"]), 2);
    assert_eq!(count(&["--since", "2100-01-01"]), 0);
    assert_eq!(home.run(&["report", "--since", "soon"]).code, Some(2));
}

#[test]
fn status_ends_with_a_code_for_each_state() {
    let home = Home::alone("");
    let gone = home.run(&["status"]);
    assert_eq!((gone.code, gone.out.as_str(), gone.err.lines().count()), (Some(3), "", 1), "{}", gone.err);
    for command in [&["reload"][..], &["pause", "1m", "--reason", "x"]] {
        assert_eq!(home.run(command).code, Some(3), "{command:?}");
    }
    let _daemon = home.start();
    let state = || {
        let ran = home.run(&["status", "--format", "json"]);
        let status: Value = serde_json::from_str(&ran.out).unwrap();
        (ran.code.unwrap(), status["state"].as_str().unwrap().to_owned(), status)
    };
    let (code, word, status) = state();
    assert_eq!((code, word.as_str()), (0, "healthy"), "{status}");
    assert_eq!(status["policy"]["rules"], 1408);
    for key in ["sequence", "attempts", "lost"] {
        assert!(status["ledger"][key].is_u64(), "{status}");
    }
    // A refused reload is an alarm until one is taken; a config that is wrong keeps nobody from the daemon.
    let file = home.path("interdict.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    home.write("interdict.toml", &format!("{good}[policy]\nscopes = []\n"));
    let refused = home.run(&["reload"]);
    assert_eq!((refused.code, refused.err.lines().count()), (Some(2), 1), "{}", refused.err);
    let start =
        format!("interdict: {}:8: unknown key `scopes`; did you mean `scope`?; the old policy stays", file.display());
    assert!(refused.err.starts_with(&start), "{}", refused.err);
    let (code, word, status) = state();
    assert_eq!((code, word.as_str()), (1, "alarm"), "{status}");
    assert!(status["alarms"][0].as_str().unwrap().contains("the old policy stays"), "{status}");
    home.run(&["pause", "1h", "--reason", "the config is broken too"]).good();
    assert_eq!(state().0, 2);
    home.run(&["pause", "off"]).good();
    // Nothing is blocked: not enforcing, whatever else is well.
    home.write("interdict.toml", &format!("{good}[policy]\nstages = {{ \"kaspersky\" = \"off\" }}\n"));
    let said = home.run(&["reload"]).good();
    assert!(said.starts_with("reloaded: epoch 4, 1408 rules"), "{said}");
    let (code, word, _) = state();
    assert_eq!((code, word.as_str()), (2, "not-enforcing"));
    home.write("interdict.toml", &good);
    home.run(&["reload"]).good();
    assert_eq!(state().0, 0);
    home.run(&["pause", "1h", "--reason", "test"]).good();
    let (code, word, status) = state();
    assert_eq!((code, word.as_str(), &status["pause"]["reason"]), (2, "paused", &"test".into()));
    home.run(&["pause", "off"]).good();
    assert_eq!(state().0, 0);
    for bad in [&["pause", "1h"][..], &["pause", "2d", "--reason", "x"], &["pause", "soon", "--reason", "x"]] {
        let ran = home.run(bad);
        assert_eq!((ran.code, ran.err.lines().count()), (Some(2), 1), "{bad:?}: {}", ran.err);
    }
    assert_eq!(state().0, 0, "none of these paused");
}

#[test]
fn a_pause_observes_and_ends_by_itself_and_is_a_gap() {
    let upstream = Upstream::start([(BLOCKED, Act::Address(Ipv4Addr::new(203, 0, 113, 7)))]);
    let home = Home::new(upstream.address, "");
    let daemon = home.start();
    let ask = || daemon.ask(BLOCKED, RecordType::A).answers();
    assert_eq!(ask(), ["0.0.0.0"]);
    let said = home.run(&["pause", "1s", "--reason", "ticket 4711"]).good();
    let began = Instant::now();
    assert!(said.starts_with("paused until "), "{said}");
    assert_eq!(ask(), ["203.0.113.7"]);
    while ask() != ["0.0.0.0"] {
        assert!(began.elapsed() < Duration::from_secs(3), "it ends by itself");
        sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() > Duration::from_millis(900), "not before its time: {:?}", began.elapsed());
    let row = home.wait_for_row("both outcomes", |row| {
        row["outcomes"]["observed"].as_u64() > Some(0) && row["outcomes"]["blocked"].as_u64() > Some(1)
    });
    assert_eq!(row["verdict"], "block");
    let text = home.run(&["report"]).good();
    assert!(text.contains("1 stretch of time was not covered; the last: paused from "), "{text}");
    assert_eq!(home.run(&["status"]).code, Some(0));
    // One that is ended early is recorded too.
    home.run(&["pause", "1h", "--reason", "again"]).good();
    home.run(&["pause", "off"]).good();
    assert_eq!(ask(), ["0.0.0.0"]);
    let until = Instant::now() + Duration::from_secs(3);
    while !home.run(&["report"]).good().contains("2 stretches of time were not covered") {
        assert!(Instant::now() < until, "no second gap");
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn vendors_shows_what_is_bundled_and_what_is_wanted_for_it() {
    let home = Home::with_config("version = 1\n[policy.stages]\n\"zte\" = \"block\"\n");
    let all = home.run(&["vendors", "--format", "jsonl"]).jsonl();
    assert_eq!(all.len(), 23);
    let row = |id: &str| all.iter().find(|row| row["vendor"] == id).unwrap();
    assert_eq!(row("kaspersky")["blocked"], "update telemetry network");
    assert!(row("kaspersky")["why"].as_str().unwrap().starts_with("us/icts-2021-002 (89 FR 52434"));
    assert_eq!(row("zte")["blocked"], "remote");
    assert_eq!((&row("huawei")["blocked"], &row("encrypted-dns")["bundle"]), (&"".into(), &true.into()));
    let before = home.run(&["vendors", "--at", "2024-09-28", "--format", "json"]).json();
    assert!(before.as_array().unwrap().iter().filter(|row| row["blocked"] != "").all(|row| row["vendor"] == "zte"));
    let one = home.run(&["vendors", "kaspersky"]).good();
    assert!(one.contains("us/bod-17-01") && one.contains("2024-09-29T04:00:00Z"), "{one}");
    let unknown = home.run(&["vendors", "kaspersk"]);
    assert_eq!((unknown.code, unknown.err.lines().count()), (Some(2), 1), "{}", unknown.err);
}

#[test]
fn a_reader_that_goes_away_is_no_mistake() {
    let home = Home::with_config("version = 1\n");
    let names: Vec<String> = (0..1_500).map(|i| format!("host-{i}.upd.kaspersky.com")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // More than a pipe holds, so that it is still writing when its reader ends.
    for args in [
        &[&["check", "--format", "jsonl"], &names[..]].concat()[..],
        &["vendors", "kaspersky"],
        &["config", "template"],
    ] {
        let mut child = home.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
    }
    let full = home.command(&["vendors"]).stdout(std::fs::File::create("/dev/full").unwrap()).output().unwrap();
    let said = String::from_utf8(full.stderr).unwrap();
    assert_eq!(full.status.code(), Some(1));
    assert!(said.starts_with("interdict: cannot write the output: ") && said.lines().count() == 1, "{said}");
}

#[test]
fn colour_goes_to_terminals_that_want_it() {
    let Some(script) = tier::program("script") else { return };
    let home = Home::alone("");
    // A terminal of its own; the daemon is told to stop after a moment, and its last log line is on it.
    let on_terminal = |no_color: &str| {
        let run = format!("timeout -s TERM 1.5 {} --config {} run", program(), home.path("interdict.toml").display());
        let output = Command::new(&script)
            .args(["-qec", &run, "/dev/null"])
            .env("NO_COLOR", no_color)
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (plain, coloured) = (on_terminal("1"), on_terminal(""));
    assert!(plain.contains("stopping") && !plain.contains('\u{1b}'), "{plain:?}");
    assert!(coloured.contains("stopping") && coloured.contains('\u{1b}'), "{coloured:?}");
    // A pipe is no terminal.
    let wrong = Command::new(program()).arg("nonsense").env_remove("NO_COLOR").output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!String::from_utf8(wrong.stderr).unwrap().contains('\u{1b}'));
}
