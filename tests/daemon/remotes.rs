//! Remotes that mean harm, over file and http: the sentence names the reason, and the old list goes on answering. And a network whose
//! only resolver is the program itself.

use crate::git::{EPOCH, Lab, Manner, Server};
use crate::harness::{Daemon, Home, run};
use crate::tier;
use crate::upstream::{Act, Upstream};
use hickory_proto::rr::RecordType;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const PASSED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

fn lab() -> Option<Lab> {
    tier::program("git").and_then(|_| tier::program("ssh-keygen")).map(|_| Lab::new())
}

fn entry(lab: &Lab, url: &str) -> String {
    let signers = lab.path("signers").display().to_string();
    format!(
        "[[blocklist]]\nid = \"geo\"\ngit = \"{url}\"\nbranch = \"main\"\npath = \"lists/a.txt\"\nsigners = \"{signers}\"\nevery = \
         \"1d\"\ninsecure = true\n"
    )
}

fn is_blocked(daemon: &Daemon, name: &str) -> bool {
    let answers = daemon.ask(name, RecordType::A).answers();
    assert!(answers == ["0.0.0.0"] || answers == [PASSED.to_string()], "{name}: {answers:?}");
    answers == ["0.0.0.0"]
}

/// What a remote has instead of what it should have.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Stranger,
    Unsigned,
    ForcePush,
    Older,
    Emptied,
    TopLevelDomain,
    PublicSuffix,
    Page,
    Lines,
    Blob,
    Link,
    Submodule,
    PathThatLeadsOut,
    CommandInModules,
}

impl Harm {
    const ALL: [Self; 14] = [
        Self::Stranger,
        Self::Unsigned,
        Self::ForcePush,
        Self::Older,
        Self::Emptied,
        Self::TopLevelDomain,
        Self::PublicSuffix,
        Self::Page,
        Self::Lines,
        Self::Blob,
        Self::Link,
        Self::Submodule,
        Self::PathThatLeadsOut,
        Self::CommandInModules,
    ];

    /// Does it to the repository, and says what the refusal is to name.
    fn publish(self, lab: &mut Lab, first: &str) -> String {
        match self {
            Self::Stranger => {
                lab.write("lists/a.txt", "three.example\n");
                lab.commit("stranger");
                "is signed with the key SHA256:".into()
            }
            Self::Unsigned => {
                lab.write("lists/a.txt", "three.example\n");
                lab.commit("");
                "is not signed; sign it with an SSH key".into()
            }
            Self::ForcePush => {
                lab.git(&["reset", "--hard", "--quiet", first]);
                lab.publish("three.example\n");
                "the history was rewritten".into()
            }
            Self::Older => {
                lab.git(&["reset", "--hard", "--quiet", first]);
                "a rollback".into()
            }
            Self::Emptied => {
                lab.publish("# all gone\n");
                "refused by the gate (minimum): it has 0 rules".into()
            }
            Self::TopLevelDomain => {
                lab.publish("one.example\ncom\n");
                "lists/a.txt:2: \"com\"".into()
            }
            Self::PublicSuffix => {
                lab.publish("one.example\nco.uk\n");
                "lists/a.txt:2: refused by the gate (public-suffix)".into()
            }
            Self::Page => {
                lab.publish("<!DOCTYPE html>\n<html>404</html>\n");
                "lists/a.txt:1: ".into()
            }
            Self::Lines => {
                lab.publish(&"x\n".repeat(10_000_000));
                "lists/a.txt has 10000000 lines, more than the 5000000 that a list may have".into()
            }
            Self::Blob => {
                let octets = tier::count(80, 300, 300) << 20;
                lab.write("lists/a.txt", vec![0; octets]);
                lab.commit("publisher");
                format!("lists/a.txt has {octets} octets, more than the 67108864 that a list may have; it was not read")
            }
            Self::Link => {
                fs::remove_file(lab.work().join("lists/a.txt")).unwrap();
                symlink("/etc/passwd", lab.work().join("lists/a.txt")).unwrap();
                lab.commit("publisher");
                "lists/a.txt is a symbolic link, not a file; it is not followed".into()
            }
            Self::Submodule => {
                submodule(lab, first);
                "lists/a.txt is a submodule, not a file; it is not followed".into()
            }
            Self::PathThatLeadsOut => {
                path_that_leads_out(lab);
                "the fetch failed: ".into()
            }
            Self::CommandInModules => {
                lab.write(".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = -u./evil\n");
                lab.publish("three.example\n");
                "the fetch failed: ".into()
            }
        }
    }
}

fn submodule(lab: &Lab, commit: &str) {
    lab.git(&["rm", "--quiet", "lists/a.txt"]);
    lab.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},lists/a.txt")]);
    let tree = lab.git(&["write-tree"]);
    commit_tree(lab, &tree);
}

fn path_that_leads_out(lab: &Lab) {
    let blob = lab.git_with(&["hash-object", "-w", "--stdin"], b"three.example\n");
    let digit = |at| u8::from_str_radix(&blob[at..at + 2], 16).unwrap();
    let octets: Vec<u8> = (0..40).step_by(2).map(digit).collect();
    let raw = [b"100644 ../../x\0", &octets[..]].concat();
    let tree = lab.git_with(&["hash-object", "-t", "tree", "-w", "--stdin", "--literally"], &raw);
    commit_tree(lab, &tree);
}

/// A signed commit of a tree that no work tree could have.
fn commit_tree(lab: &Lab, tree: &str) {
    let signing = lab.signing("publisher");
    let mut args: Vec<&str> = signing.iter().map(String::as_str).collect();
    args.extend(["commit-tree", "-S", "-p", "HEAD", "-m", "x", tree]);
    let commit = lab.git_at(EPOCH + 36_000, &args);
    lab.git(&["update-ref", "refs/heads/main", &commit]);
}

fn what_means_harm_is_refused(lab: &mut Lab, url: &str) {
    let upstream =
        Upstream::start(["one.example", "two.example", "three.example"].map(|name| (name, Act::Address(PASSED))));
    let first = lab.publish("one.example\n");
    let home = Home::new(upstream.address, &entry(lab, url));
    home.run(&["sync"]).good();
    let good = lab.publish("one.example\ntwo.example\n");
    home.run(&["sync"]).good();
    let daemon = home.start();
    for harm in Harm::ALL {
        let reason = harm.publish(lab, &first);
        let ran = home.run(&["sync"]);
        assert!(ran.code == Some(1) && ran.out.starts_with("geo: refused: "), "{harm:?}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains(&reason), "{harm:?}: {reason}: {}", ran.out);
        let blocked = ["one.example", "two.example", "three.example"].map(|name| is_blocked(&daemon, name));
        assert_eq!(blocked, [true, true, false], "{harm:?}");
        let status = home.run(&["status"]);
        assert!(status.code == Some(1) && status.out.contains(&reason), "{harm:?}: {}", status.out);
        lab.git(&["reset", "--hard", "--quiet", &good]);
        lab.git(&["clean", "-fdq"]);
    }
    assert_eq!(home.run(&["sync"]).good(), "geo: unchanged\n");
    assert_eq!(home.run(&["status"]).code, Some(0), "the alarm ends with the harm");
    let left: Vec<_> =
        fs::read_dir(home.path("state/lists/geo")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "record, history and lock: {left:?}");
    assert!(!home.path("x").exists() && !home.path("state/x").exists() && !home.path("state/lists/x").exists());
}

#[test]
fn what_means_harm_is_refused_over_file_and_the_old_list_serves() {
    let Some(mut lab) = lab() else { return };
    let url = lab.url();
    what_means_harm_is_refused(&mut lab, &url);
}

#[test]
fn what_means_harm_is_refused_over_http_and_the_old_list_serves() {
    let Some(mut lab) = lab() else { return };
    let server = Server::start(Manner::Git(lab.path("")));
    what_means_harm_is_refused(&mut lab, &server.url("127.0.0.1"));
}

#[test]
fn hooks_attributes_and_settings_of_a_remote_run_nothing() {
    let Some(mut lab) = lab() else { return };
    let mark = lab.path("mark");
    let script = format!("#!/bin/sh\ntouch {}\n", mark.display());
    let home = Home::alone(&entry(&lab, &lab.url()));
    for hook in
        ["post-checkout", "post-merge", "reference-transaction", "post-update", "pre-receive", "post-index-change"]
    {
        for path in [format!("hooks/{hook}"), format!(".git/hooks/{hook}")] {
            lab.write(&path, &script);
            fs::set_permissions(lab.work().join(path), PermissionsExt::from_mode(0o755)).unwrap();
        }
    }
    lab.write("config", format!("[core]\n\tfsmonitor = touch {}\n", mark.display()));
    lab.write(".gitattributes", "* filter=evil diff=evil\n");
    lab.publish("one.example\n");
    let _ = fs::remove_file(&mark);
    home.run(&["sync"]).good();
    assert!(home.run(&["check", "one.example"]).good().starts_with("one.example: block"));
    assert!(!mark.exists(), "a hook ran");
}

/// Set in the process that runs in namespaces of its own.
const INSIDE: &str = "INTERDICT_NAMESPACE";

#[test]
fn a_network_whose_only_resolver_is_us_syncs_by_host_name_from_a_cold_start() {
    if std::env::var_os(INSIDE).is_some() {
        return the_only_resolver();
    }
    let programs = ["git", "ssh-keygen", "unshare", "ip", "mount", "getent"];
    if !tier::root() || programs.iter().any(|program| tier::program(program).is_none()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let resolv = folder.path().join("resolv.conf");
    fs::write(&resolv, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
    let inside = format!(
        "ip link set lo up && mount --bind {} /etc/resolv.conf && exec {} --exact \
         remotes::a_network_whose_only_resolver_is_us_syncs_by_host_name_from_a_cold_start --nocapture",
        resolv.display(),
        std::env::current_exe().unwrap().display()
    );
    let ran = run(Command::new("unshare").args(["--net", "--mount", "sh", "-c", &inside]).env(INSIDE, "1"));
    assert!(ran.code == Some(0) && ran.out.contains("1 passed"), "{}{}", ran.out, ran.err);
}

fn the_only_resolver() {
    let mut lab = Lab::new();
    lab.publish("one.example\n");
    let server = Server::start(Manner::Git(lab.path("")));
    let host = "lists.interdict.test";
    let upstream = Upstream::start([(host, Act::Address(Ipv4Addr::LOCALHOST)), ("one.example", Act::Address(PASSED))]);
    let getent = || run(Command::new("getent").args(["hosts", host]));
    assert_ne!(getent().code, Some(0), "nobody resolves before we do");
    let home = Home::with_config(&format!(
        "version = 1\n[dns]\nlisten = [\"127.0.0.1:53\"]\nworkers = 1\n[upstream]\nservers = [\"{}\"]\n{}",
        upstream.address,
        entry(&lab, &server.url(host))
    ));
    let daemon = home.start();
    let until = Instant::now() + Duration::from_secs(20);
    while !is_blocked(&daemon, "one.example") {
        assert!(Instant::now() < until, "the first sync: {}", daemon.log());
        sleep(Duration::from_millis(50));
    }
    assert!(getent().good().starts_with("127.0.0.1 "), "the machine resolves through us");
    let second = lab.publish("one.example\ntwo.example\n");
    let said = home.run(&["sync"]).good();
    assert!(said.starts_with(&format!("geo: taken: commit {}", &second[..12])), "{said}");
    // Whoever asks for the list's host without a daemon asks the same servers.
    drop(daemon);
    lab.publish("two.example\n");
    assert!(home.run(&["sync"]).good().starts_with("geo: taken: "));
    assert!(upstream.count(host) >= 1);
}

#[test]
fn long_work_shows_a_line_on_a_terminal_and_none_in_a_pipe() {
    let (Some(mut lab), Some(script)) = (lab(), tier::program("script")) else { return };
    lab.publish("one.example\n");
    let server = Server::start(Manner::Git(lab.path("")));
    let slow = |name| (name, Act::After(Duration::from_millis(800), Box::new(Act::Address(Ipv4Addr::LOCALHOST))));
    let known = ("one.example", Act::Address(PASSED));
    let upstream = Upstream::start([slow("lists.interdict.test"), slow("again.interdict.test"), known]);
    let home = |host: &str| Home::new(upstream.address, &entry(&lab, &server.url(host)));
    let on_terminal = |home: &Home| {
        let line = format!("{} sync --config {}", crate::harness::program(), home.path("interdict.toml").display());
        run(Command::new(&script).args(["-qec", &line, "/dev/null"])).good()
    };
    let alone = home("lists.interdict.test");
    let shown = on_terminal(&alone);
    assert!(shown.contains("\r\u{1b}[Ksyncing (0 s)") && shown.contains("\r\u{1b}[Kgeo: taken: "), "{shown:?}");
    // The daemon's own first look is over before it is asked for another.
    let followed = home("again.interdict.test");
    let daemon = followed.start();
    let until = Instant::now() + Duration::from_secs(20);
    while !is_blocked(&daemon, "one.example") {
        assert!(Instant::now() < until, "the first sync: {}", daemon.log());
        sleep(Duration::from_millis(50));
    }
    let shown = on_terminal(&followed);
    assert!(shown.contains("\r\u{1b}[Ksyncing (0 s)") && shown.ends_with("geo: unchanged\r\n"), "{shown:?}");
    for home in [&alone, &followed] {
        let ran = home.run(&["sync"]);
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("geo: unchanged\n", ""));
    }
}
