//! The gateway as an operator runs it, in a network of its own.

use crate::daemon::{Daemon, Site};
use crate::kernel::scattered;
use crate::net::{Net, dig, site};
use crate::space::{part, sh, until};
use crate::tier;
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Waits until the kernel enforces.
pub(crate) fn enforcing(daemon: &Daemon) -> Value {
    let mut status = Value::Null;
    until("the kernel enforces", Duration::from_secs(30), || {
        status = daemon.status()["gateway"].clone();
        status["hold"] != "absent" && status["ranges"]["block"].as_u64().is_some()
    });
    status
}

/// The rows of the report.
pub(crate) fn report(site: &Site) -> Vec<Value> {
    let output = site.program(&["report", "--format", "json"]);
    serde_json::from_slice::<Value>(&output.stdout).unwrap().as_array().unwrap().clone()
}

/// What a part said last.
fn said(part: Child) -> String {
    let output = part.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .rfind(|line| ["sent ", "done", "unbroken", "broken"].iter().any(|word| line.starts_with(word)))
        .unwrap()
        .to_owned()
}

const C4: &str = "10.1.0.2";

/// Waits until the report has a row of the vendor's.
pub(crate) fn named_row(site: &Site, endpoint: &str, purpose: &str, verdict: &str, channel: &str) {
    let has = |row: &Value| {
        row["endpoint"].to_string().contains(endpoint)
            && row["vendor"] == "acme"
            && row["purpose"] == purpose
            && row["verdict"] == verdict
            && row["channel"].as_array().is_some_and(|all| all.iter().any(|at| at == channel))
    };
    let begun = Instant::now();
    while !report(site).iter().any(has) {
        assert!(begun.elapsed() < Duration::from_secs(5), "{endpoint} {purpose} {channel}: {:#?}", report(site));
        sleep(Duration::from_millis(100));
    }
}

//----------- Death ----------------------------------------------------------

pub(crate) fn a_dead_or_stopped_daemon_leaks_nothing() {
    let (rate, rounds) = (tier::count(500, 2_000, 2_000), tier::count(2, 2, 6));
    let net = Net::new();
    let site = site("");
    let mut daemon = site.start();
    enforcing(&daemon);
    for round in 0..rounds {
        let seconds = 16;
        let flood = part("client", &format!("flood {C4} 203.0.113.9:443 {rate} {seconds}"));
        let talk = part("client", &format!("talk 192.0.2.9:443 {seconds}"));
        until("we answer for others", Duration::from_secs(10), || {
            dig("8.8.8.8", "", "update.acme.example") == "0.0.0.0"
        });
        sleep(Duration::from_millis(500));
        if round % 2 == 0 {
            daemon.kill();
        } else {
            sh(&format!("kill -STOP {}", daemon.pid()));
        }
        let lapsed = said(part("client", "through 8.8.8.8 update.acme.example"));
        let lapsed: f64 = lapsed.trim_start_matches("done ").parse().unwrap();
        println!("{}: the redirect lapsed {lapsed} s later", if round % 2 == 0 { "killed" } else { "stopped" });
        assert!(lapsed >= 3.0, "it lapsed at once");
        if round % 2 == 0 {
            daemon = site.start();
        } else {
            sh(&format!("kill -CONT {}", daemon.pid()));
        }
        enforcing(&daemon);
        let (sent, unbroken) = (said(flood), said(talk));
        println!("{sent} to a listed address, {} got there; an unlisted flow was {unbroken}", net.seen("listed"));
        assert_eq!(net.seen("listed"), 0);
        assert!(unbroken.starts_with("unbroken"), "{unbroken}");
        let sent: u64 = sent.trim_start_matches("sent ").parse().unwrap();
        assert!(sent > rate as u64 * 4, "{sent}");
    }
    let gaps = gaps(&site);
    println!("the ledger has the gaps {gaps:?}");
    assert!(gaps.iter().filter(|why| *why == "died").count() >= rounds.div_ceil(2), "{gaps:?}");
    assert!(gaps.iter().filter(|why| *why == "lost").count() >= rounds / 2, "{gaps:?}");
    let counted = daemon.status()["gateway"]["counters"]["block/acme/update"]["packets"].as_u64().unwrap();
    println!("{counted} packets counted over all starts");
    assert!(counted > (rate * 4) as u64);
}

/// Why there are gaps in the ledger.
fn gaps(site: &Site) -> Vec<String> {
    let store = rusqlite::Connection::open(site.store().join("ledger.sqlite")).unwrap();
    let mut all = store.prepare("SELECT why FROM gap").unwrap();
    all.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

//----------- Others ---------------------------------------------------------

pub(crate) fn a_storm_of_flushes_opens_nothing() {
    let seconds = tier::count(3, 10, 60);
    let net = Net::new();
    for protect in [true, false] {
        let site = site(&format!("protect = {protect}\n"));
        let daemon = site.start();
        let status = enforcing(&daemon);
        assert_eq!(status["hold"], if protect { "owned" } else { "plain" });
        let before = net.seen("listed");
        let flood = part("client", &format!("flood {C4} 203.0.113.9:443 1000 {seconds}"));
        let flushes = seconds * if protect { 100 } else { 1 };
        for _ in 0..flushes {
            sh("nft flush ruleset");
            sleep(Duration::from_millis(if protect { 10 } else { 1_000 }));
        }
        let leaked = net.seen("listed") - before;
        println!("{}, {flushes} flushes, protected {protect}: {leaked} got there", said(flood));
        let mended = until("it is mended", Duration::from_secs(2), || {
            let status = daemon.status()["gateway"].clone();
            status["hold"] != "absent" && status["main"] != "absent"
        });
        println!("whole again after {mended:?}");
        if protect {
            assert_eq!(leaked, 0);
        } else {
            // At a thousand packets a second, this is how many milliseconds each flush opened it on average.
            assert!(leaked < (flushes * 1_000) as u64, "{leaked} leaked");
        }
        let status = daemon.status();
        assert!(status["gateway"]["mended"]["times"].as_u64().unwrap() > 0);
        assert!(status["alarms"].to_string().contains("another program changed"), "{status}");
        let removed = site.program(&["gateway", "remove"]);
        assert!(removed.status.success());
        assert_eq!(sh("nft list ruleset"), "");
        drop(daemon);
    }
}

pub(crate) fn one_host_hides_none() {
    let (rate, hosts) = (tier::count(2_000, 10_000, 10_000), 500);
    let net = Net::new();
    let site = site("");
    let daemon = site.start();
    enforcing(&daemon);
    let flood = part("client", &format!("flood {C4} 203.0.113.9:443 {rate} 4"));
    sleep(Duration::from_secs(1));
    let each = part("client", &format!("each 10.1.128.1 {hosts} 203.0.113.9:443"));
    println!("{}, {}", said(flood), said(each));
    let mut found = 0;
    until("all hosts are in the ledger", Duration::from_secs(10), || {
        let one = |row: &&Value| {
            let endpoint = row["endpoint"].to_string();
            endpoint.contains("10.1.12") || endpoint.contains("10.1.13")
        };
        found = report(&site).iter().filter(one).count();
        found >= hosts
    });
    let gateway = daemon.status()["gateway"].clone();
    println!(
        "{found} of {hosts} hosts are named; counted {}, lost {}",
        gateway["counters"]["block/acme/update"]["packets"], gateway["log"]["lost"]
    );
    assert_eq!(gateway["log"]["lost"], 0);
    assert_eq!(gateway["counters"]["unlogged"]["packets"], 0);
    assert_eq!(net.seen("listed"), 0);
}

pub(crate) fn a_large_update_has_no_gap() {
    let count = tier::count(20_000, 100_000, 100_000) as u32;
    let net = Net::new();
    let site = site("");
    let config = std::fs::read_to_string(site.path("interdict.toml")).unwrap();
    let list = |from: u32| scattered(count, from).replace(' ', "\n") + "\n11.255.255.0/24\n";
    site.write("list.txt", &list(0x0b00_0000));
    site.write("interdict.toml", &(config + "[[blocklist]]\nid = \"many\"\npath = \"list.txt\"\nformat = \"cidr\"\n"));
    let daemon = site.start();
    enforcing(&daemon);
    let before = daemon.status()["gateway"]["ranges"]["block"].as_u64().unwrap();
    let seconds = tier::count(12, 20, 20);
    let flood = part("client", &format!("flood {C4} 11.255.255.9:443 2000 {seconds}"));
    let talk = part("client", &format!("talk 192.0.2.9:443 {seconds}"));
    sleep(Duration::from_secs(1));
    site.write("list.txt", &list(0x0b00_0000 + count * 8));
    let begun = Instant::now();
    assert!(site.program(&["reload"]).status.success());
    let epoch = daemon.status()["policy"]["epoch"].clone();
    until("the kernel has the new policy", Duration::from_secs(60), || daemon.status()["gateway"]["epoch"] == epoch);
    println!("{before} ranges, half of them changed, {:?} after the reload was asked for", begun.elapsed());
    let (sent, unbroken) = (said(flood), said(talk));
    println!("{sent}, {} got there; an unlisted flow was {unbroken}", net.seen("listed"));
    assert_eq!(net.seen("listed"), 0);
    assert!(unbroken.starts_with("unbroken"), "{unbroken}");
    // What came is shut, what went is open.
    let came = std::net::Ipv4Addr::from(0x0b00_0000 + count * 8 + (count - 1) * 16).to_string();
    let outcome = |to: &str| {
        let words = format!("probe tcp,{C4},{to},443");
        let output = part("client", &words).wait_with_output().unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .find_map(|line| line.strip_prefix("probe 0 ").map(str::to_owned))
            .unwrap()
    };
    assert_eq!((outcome(&came), outcome("11.0.0.0")), ("reset".to_owned(), "open".to_owned()));
}

//----------- The operator ---------------------------------------------------

/// Every setting, without those that count or change by themselves.
const SETTINGS: &str = "sysctl -a 2>/dev/null | grep -v -e random -e pressure -e inode- -e dentry -e file-nr \
     -e nf_conntrack_count -e ns_last_pid | sort";

pub(crate) fn apply_refuses_undoes_and_removes() {
    let net = Net::new();
    sh("nft add table inet mine && nft add chain inet mine c '{ type filter hook forward priority 0; }'");
    let (before, settings) = (sh("nft list ruleset"), sh(SETTINGS));
    let site = site("");
    let list = |text: &str| site.write("list.txt", text);
    let config = std::fs::read_to_string(site.path("interdict.toml")).unwrap();
    let listed =
        config.replace("enabled = true", "") + "[[blocklist]]\nid = \"mine\"\npath = \"list.txt\"\nformat = \"cidr\"\n";
    site.write("interdict.toml", &listed);
    for (range, what) in [
        ("198.51.100.53", "the upstream server 198.51.100.53"),
        ("198.51.100.2", "the default route's next hop 198.51.100.2"),
        ("198.51.100.0/30", "the default route's next hop 198.51.100.2"),
        ("10.1.0.1", "this machine's own address 10.1.0.1"),
        ("10.1.7.0/24", "the clients' network 10.0.0.0/8"),
    ] {
        list(range);
        let output = site.program(&["gateway", "apply"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(&format!("the rule {range}")) && said.contains(what) && said.contains("list.txt:1"),
            "{said}"
        );
        assert_eq!(sh("nft list ruleset"), before, "{range}");
    }
    list("192.0.2.77");
    let mut login = site_command(&site, &["gateway", "apply"]);
    let output = login.env("SSH_CONNECTION", "192.0.2.77 5555 10.1.0.1 22").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("the rule 192.0.2.77") && said.contains("the login that runs this command, from 192.0.2.77"),
        "{said}"
    );
    assert_eq!(sh("nft list ruleset"), before);

    let begun = Instant::now();
    let undone = site_command(&site, &["gateway", "apply", "--confirm", "1s"]).output().unwrap();
    let said = String::from_utf8_lossy(&undone.stderr).into_owned();
    assert!(
        undone.status.code() == Some(1)
            && said.contains("so it was undone")
            && begun.elapsed() >= Duration::from_secs(1),
        "{said}"
    );
    assert_eq!(sh("nft list ruleset"), before);

    let mut confirmed = site_command(&site, &["gateway", "apply", "--confirm", "30s"]);
    let mut child = confirmed.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"yes\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(net.probe(&[["tcp", C4, "203.0.113.7", "443"], ["tcp", C4, "192.0.2.7", "443"]]), ["reset", "open"]);
    assert_eq!(site.program(&["gateway", "status"]).status.code(), Some(0));

    assert!(site.program(&["gateway", "remove"]).status.success());
    assert_eq!(sh("nft list ruleset"), before);
    let after = sh(SETTINGS);
    assert_eq!(after, settings);
    assert_eq!(site.program(&["gateway", "status"]).status.code(), Some(1));
    assert_eq!(net.probe(&[["tcp", C4, "203.0.113.7", "443"]]), ["open"]);
    boot(&site, &net, &before);
    a_reload_that_would_cut_off_changes_nothing(&site, &net, &listed);
}

/// `plan --static` is a file that the boot loads, and the daemon takes over from it.
fn boot(site: &Site, net: &Net, before: &str) {
    let output = site.program(&["gateway", "plan", "--static"]);
    assert!(output.status.success());
    site.write("boot.nft", &String::from_utf8(output.stdout).unwrap());
    sh(&format!("nft -f {}", site.path("boot.nft").display()));
    assert_eq!(net.probe(&[["tcp", C4, "203.0.113.7", "443"], ["tcp", C4, "192.0.2.7", "443"]]), ["reset", "open"]);
    assert!(site.program(&["gateway", "remove"]).status.success());
    assert_eq!(sh("nft list ruleset"), before);
}

fn a_reload_that_would_cut_off_changes_nothing(site: &Site, net: &Net, config: &str) {
    site.write("interdict.toml", &config.replace("[gateway]", "[gateway]\nenabled = true"));
    let daemon = site.start();
    enforcing(&daemon);
    site.write("list.txt", "198.51.100.2\n192.0.2.0/24\n");
    assert!(site.program(&["reload"]).status.success());
    until("the alarm is up", Duration::from_secs(10), || {
        let alarms = daemon.status()["alarms"].to_string();
        alarms.contains("the kernel stays as it was") && alarms.contains("the rule 198.51.100.2")
    });
    assert_eq!(net.probe(&[["tcp", C4, "203.0.113.7", "443"], ["tcp", C4, "192.0.2.7", "443"]]), ["reset", "open"]);
    let refused = site.program(&["gateway", "apply"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the default route's next hop 198.51.100.2"));
    site.write("list.txt", "192.0.2.0/24\n");
    assert!(site.program(&["reload"]).status.success());
    until("the alarm is over", Duration::from_secs(10), || daemon.status()["alarms"].as_array().unwrap().is_empty());
    assert_eq!(net.probe(&[["tcp", C4, "192.0.2.7", "443"]]), ["reset"]);
    assert!(site.program(&["pause", "10m", "--reason", "test"]).status.success());
    until("a pause opens", Duration::from_secs(5), || net.probe(&[["tcp", C4, "192.0.2.7", "443"]]) == ["open"]);
    let other = "update.acme.example";
    until("a pause lets others be asked", Duration::from_secs(5), || dig("8.8.8.8", "", other) == "192.0.2.80");
    assert!(site.program(&["pause", "off"]).status.success());
    until("its end shuts", Duration::from_secs(5), || net.probe(&[["tcp", C4, "192.0.2.7", "443"]]) == ["reset"]);
    until("its end answers for others", Duration::from_secs(5), || dig("8.8.8.8", "", other) == "0.0.0.0");
    others_are_kept_out();
    routes_are_followed(&daemon);
    assert!(site.program(&["gateway", "remove"]).status.success());
}

/// Neither `nft` nor another of us changes a table that a daemon owns.
fn others_are_kept_out() {
    let table = || sh("nft -s list table inet interdict-hold | grep -v expires");
    let before = table();
    let stranger = site("");
    let config = std::fs::read_to_string(stranger.path("interdict.toml")).unwrap();
    stranger.write("interdict.toml", &config.replace("enabled = true", ""));
    for words in [["gateway", "apply"], ["gateway", "remove"]] {
        let output = stranger.program(&words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("belongs to another running process"), "{said}");
    }
    let mut foreign = Command::new("nft");
    let refused = foreign.args(["delete", "table", "inet", "interdict-hold"]).stderr(Stdio::null()).status().unwrap();
    assert!(!refused.success());
    assert_eq!(table(), before);
}

/// What leads outside is known within seconds of a new default route, and so is what is inside.
fn routes_are_followed(daemon: &Daemon) {
    let outside = || sh("nft list set inet interdict-hold outside");
    assert!(outside().contains("\"wan\""), "{}", outside());
    sh("ip link add other type bridge && ip addr add 100.64.9.1/24 dev other && ip link set other up");
    let inside = || sh("nft list set inet interdict-hold clients4").contains("100.64.9.0/24");
    until("a new inside network is a client's", Duration::from_secs(10), inside);
    sh("ip route replace default via 100.64.9.2 dev other");
    until("the new way out is known", Duration::from_secs(10), || outside().contains("\"other\""));
    assert!(!inside());
    sh("ip link del other && ip route replace default via 198.51.100.2");
    until("it is forgotten", Duration::from_secs(10), || !outside().contains("\"other\""));
    assert_eq!(daemon.status()["alarms"], Value::Array(Vec::new()));
}

fn site_command(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_interdict"));
    command.arg("--config").arg(site.path("interdict.toml")).args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn what_cannot_be_done_is_said_in_a_sentence() {
    let site = site("");
    let config = std::fs::read_to_string(site.path("interdict.toml")).unwrap();
    site.write("interdict.toml", &config.replace("10.1.0.1:53", "127.0.0.1:0").replace("redirect_port", "# "));
    let sentence = |output: &std::process::Output| {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    };
    sh(&format!("chmod -R a+rX {0} && mkdir {0}/state && chmod 777 {0}/state", site.path("").display()));
    for arguments in [&["gateway", "apply"][..], &["gateway", "status"], &["gateway", "remove"], &["run"]] {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin", "--"]).arg(env!("CARGO_BIN_EXE_interdict"));
        command.arg("--config").arg(site.path("interdict.toml")).args(arguments).stdin(Stdio::null());
        let said = sentence(&command.output().unwrap());
        println!("{arguments:?} without privilege: {said}");
        assert!(said.contains("CAP_NET_ADMIN"), "{said}");
    }
    // A kernel without nftables, or without netlink for it, refuses the socket.
    if let Some(strace) = tier::program("strace") {
        let output = Command::new(strace)
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=socket", "-e", "inject=socket:error=EPROTONOSUPPORT"])
            .arg(env!("CARGO_BIN_EXE_interdict"))
            .arg("--config")
            .arg(site.path("interdict.toml"))
            .args(["gateway", "remove"])
            .output()
            .unwrap();
        let said = sentence(&output);
        println!("without nftables: {said}");
        assert!(said.contains("this kernel has no nftables"), "{said}");
    }
    // No program is needed for it: an empty PATH changes nothing.
    let output = site_command(&site, &["gateway", "status"]).env("PATH", "/nonexistent").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("not in force"));
    assert_eq!(sh("nft list ruleset"), "");
}
