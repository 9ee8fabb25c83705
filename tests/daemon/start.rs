//! The program from its first line to its last: ready lines, no config at all, signals, a terminal that goes away.

use crate::harness::{Ask, Daemon, Home, ask, program, run};
use crate::tier;
use crate::upstream::{Act, Upstream};
use hickory_proto::rr::RecordType;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const BLOCKED: &str = "s00.upd.kaspersky.com";

#[test]
fn the_ready_lines_say_what_is_listened_on_blocked_and_observed_and_where_the_ledger_is() {
    let home =
        Home::alone("[[blocklist]]\nid = \"mine\"\npath = \"mine.txt\"\n[policy.stages]\n\"hikvision\" = \"block\"\n");
    home.write("mine.txt", "ads.example\n");
    let daemon = home.start();
    let ledger = home.path("state/ledger.sqlite");
    let said = daemon.ready.join("\n");
    for part in [
        &format!(
            "interdict {} answers on {} (UDP and TCP) and asks 127.0.0.1:9",
            env!("CARGO_PKG_VERSION"),
            daemon.address
        ),
        &format!("  config    {}", home.path("interdict.toml").display()),
        "  blocks    kaspersky: update, telemetry, network traffic (us/icts-2021-002, 89 FR 52434",
        "  blocks    hikvision: telemetry, remote traffic (operator's policy)",
        &format!("  blocks    list mine ({})", home.path("mine.txt").display()),
        "  observes  everything else of 20 vendors and 3 bundles",
        &format!("  ledger    {}; `interdict report` reads it", ledger.display()),
    ] {
        assert!(daemon.ready.iter().any(|line| line.starts_with(part)), "{part:?} is missing:\n{said}");
    }
    assert!(daemon.ready.len() <= 10, "a few lines:\n{said}");
    assert!(ledger.exists() && home.path("state/control.sock").exists());
    let mode = |path| std::fs::metadata(home.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("state"), mode("state/ledger.sqlite"), mode("state/control.sock")], [0o700, 0o600, 0o600]);
}

#[test]
fn without_a_config_an_ordinary_user_gets_the_default() {
    let free = UdpSocket::bind("127.0.0.1:5300").is_ok() && TcpListener::bind("127.0.0.1:5300").is_ok();
    if !free || std::path::Path::new("/etc/interdict/interdict.toml").exists() {
        return tier::skip("127.0.0.1:5300 is taken, or there is a config in /etc");
    }
    // A copy in a folder that anybody may enter, since the build's folder may be closed.
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let copy = folder.path().join("interdict");
    std::fs::copy(program(), &copy).unwrap();
    let command = || {
        let mut command = Command::new(&copy);
        command.current_dir(folder.path());
        if effective_user() == 0 {
            command.uid(65_534).gid(65_534);
        }
        command
    };
    let daemon = match Daemon::try_start(command().arg("run")) {
        Ok(daemon) => daemon,
        // Somebody took it since, most likely this test in another checkout.
        Err(said) if said.contains("address already in use") => return tier::skip(said),
        Err(said) => panic!("{said}"),
    };
    assert_eq!(daemon.address, "127.0.0.1:5300".parse().unwrap());
    assert!(daemon.ready.iter().any(|line| line == "  config    the embedded default"), "{:?}", daemon.ready);
    assert!(daemon.ready.iter().any(|line| line.starts_with("  ledger    state/ledger.sqlite;")), "{:?}", daemon.ready);
    assert_eq!(daemon.ask(BLOCKED, RecordType::A).answers(), ["0.0.0.0"]);
    let until = Instant::now() + Duration::from_secs(3);
    while run(command().args(["report", "--format", "jsonl"])).jsonl().is_empty() {
        assert!(Instant::now() < until, "no row after three seconds");
        sleep(Duration::from_millis(100));
    }
    assert!(daemon.stop(Duration::from_secs(5)).success());
}

fn effective_user() -> u32 {
    tier::effective_user(&std::fs::read_to_string("/proc/self/status").unwrap()).unwrap()
}

#[test]
fn sigterm_ends_it_in_order_and_nothing_counted_is_lost() {
    let upstream =
        Upstream::start([("slow.example", Act::Silence), ("example.org", Act::Address(Ipv4Addr::LOCALHOST))]);
    let home = Home::new(upstream.address, "");
    let daemon = home.start();
    // A question in flight, and a stream that is open, hold nothing up.
    let (address, idle) = (daemon.address, std::net::TcpStream::connect(daemon.address).unwrap());
    std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let _ = socket.send_to(&crate::dns::query("slow.example", RecordType::A, None), address);
    });
    for _ in 0..50 {
        daemon.ask(BLOCKED, RecordType::A);
    }
    let status = daemon.stop(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0));
    drop(idle);
    assert_eq!(home.rows().first().map(|row| row["count"].clone()), Some(50.into()));
    assert!(!home.path("state/control.sock").exists());
    assert_eq!(home.run(&["status"]).code, Some(3));
    // The next one goes on where this one ended, and says that nothing was seen in between.
    let daemon = home.start();
    daemon.ask(BLOCKED, RecordType::A);
    home.wait_for_row("the next attempt", |row| row["count"] == 51);
    let text = home.run(&["report"]).good();
    assert!(text.contains("1 stretch of time was not covered; the last: stopped from "), "{text}");
}

#[test]
fn sighup_reads_again_and_a_bad_config_changes_nothing() {
    let home = Home::alone("");
    let daemon = home.start();
    assert_eq!(daemon.ask("mine.example", RecordType::A).message.metadata.response_code.to_string(), "Server Failure");
    let good = std::fs::read_to_string(home.path("interdict.toml")).unwrap();
    home.write("mine.txt", "mine.example\n");
    home.write("interdict.toml", &(good + "[[blocklist]]\nid = \"mine\"\npath = \"mine.txt\"\n"));
    hangup(&daemon);
    let answered = || daemon.ask("mine.example", RecordType::A).answers() == ["0.0.0.0"];
    wait("the list is in force", answered);
    home.write("mine.txt", "<html>gone\n");
    hangup(&daemon);
    wait("the refusal is logged", || daemon.log().contains("the old policy stays"));
    assert!(answered(), "the old policy stays");
    assert_eq!(daemon.ask(BLOCKED, RecordType::A).answers(), ["0.0.0.0"]);
}

fn hangup(daemon: &Daemon) {
    run(Command::new("kill").args(["-HUP", &daemon.pid().to_string()])).good();
}

fn wait(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(5);
    while !done() {
        assert!(Instant::now() < until, "not after five seconds: {what}");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn it_outlives_whoever_read_its_output() {
    let home = Home::alone("");
    let mut child = home.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    // As `interdict run 2>&1 | head -1` does.
    drop(child.stderr.take());
    let address = line.split_once("answers on ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    wait("the control socket answers", || home.run(&["status"]).code == Some(0));
    for _ in 0..3 {
        // Each of these writes to the log.
        home.run(&["pause", "1h", "--reason", "test"]).good();
        home.run(&["pause", "off"]).good();
        run(Command::new("kill").args(["-HUP", &child.id().to_string()])).good();
        sleep(Duration::from_millis(300));
        let question = Ask { name: BLOCKED, rtype: RecordType::A, edns: None, tcp: false };
        assert_eq!(ask(address, &question).answers(), ["0.0.0.0"]);
        assert_eq!(child.try_wait().unwrap(), None, "it still runs");
    }
    home.wait_for_row("the ledger is written", |row| row["count"] == 3);
    run(Command::new("kill").args(["-TERM", &child.id().to_string()])).good();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
