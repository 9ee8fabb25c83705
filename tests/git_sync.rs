//! List updates over real git remotes: what is taken, what is refused and with which sentence, and that nothing but an accepted
//! update ever changes what is on disk.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

#[path = "common/git.rs"]
mod git;
#[path = "common/tier.rs"]
mod tier;

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{fs, thread};

use git::{EPOCH, Lab, Manner, Server};
use interdict::base::model::Wall;
use interdict::io::sync::source::{Settings, Snapshot};
use interdict::io::sync::{Access, Found, Limits, Reference, Refused, Remote, Source, Update};

//----------- What the tests share -------------------------------------------

/// Nothing is resolved and nobody is told.
const ALONE: Access<'static> = Access { resolve: &|_| Vec::new(), progress: &|_| () };

fn lab() -> Option<Lab> {
    tier::program("git").and_then(|_| tier::program("ssh-keygen")).map(|_| Lab::new())
}

fn now() -> Wall {
    Wall::from_second(EPOCH + 86_400).unwrap()
}

fn settings(lab: &Lab, url: &str, reference: Reference) -> Settings {
    Settings {
        remote: Remote::parse(url, true).unwrap(),
        reference,
        paths: vec!["lists/a.txt".parse().unwrap()],
        signers: Some(lab.path("signers")),
        limits: Limits::default(),
    }
}

fn branch() -> Reference {
    Reference::Branch("main".parse().unwrap())
}

fn source(lab: &Lab) -> Source {
    source_of(lab, &lab.url())
}

fn source_of(lab: &Lab, url: &str) -> Source {
    Source::new(lab.path("store/lists/test"), settings(lab, url, branch()))
}

fn with(lab: &Lab, change: impl FnOnce(&mut Settings)) -> Source {
    let mut settings = settings(lab, &lab.url(), branch());
    change(&mut settings);
    Source::new(lab.path("store/lists/test"), settings)
}

fn found(source: &Source) -> Result<Found, Refused> {
    source.check(now(), &ALONE)
}

fn update(source: &Source) -> Update {
    match found(source) {
        Ok(Found::Update(update)) => *update,
        other => panic!("{other:?}"),
    }
}

fn sync(source: &Source) -> String {
    let record = source.accept(update(source), now()).unwrap();
    record.good.commit.to_string()
}

fn refusal(source: &Source) -> String {
    let before = source.good().unwrap();
    let why = found(source).unwrap_err().to_string();
    assert_eq!(source.good().unwrap(), before, "a refusal changes nothing");
    assert!(incoming(source).is_empty(), "a refusal leaves nothing behind");
    why
}

fn text(snapshot: &Snapshot) -> String {
    let [file] = &snapshot.files[..] else { panic!("{snapshot:?}") };
    String::from_utf8(file.octets.clone()).unwrap()
}

fn good(source: &Source) -> String {
    text(&source.good().unwrap().unwrap())
}

/// What attempts left behind.
fn incoming(source: &Source) -> Vec<PathBuf> {
    let folder = format!("{source:?}").split('"').nth(1).map(PathBuf::from).unwrap();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.file_name().unwrap().as_encoded_bytes().starts_with(b"incoming")).collect()
}

//----------- What is taken --------------------------------------------------

#[test]
fn a_signed_list_comes_over_file_and_http() {
    let Some(mut lab) = lab() else { return };
    let server = Server::start(Manner::Git(lab.path("")));
    let first = lab.publish("one.example\n");
    for (store, url) in [("file", lab.url()), ("http", server.url("127.0.0.1"))] {
        let source = Source::new(lab.path(store), settings(&lab, &url, branch()));
        assert!(source.good().unwrap().is_none());
        let update = update(&source);
        assert_eq!(
            (text(&update.snapshot).as_str(), update.snapshot.commit.as_str()),
            ("one.example\n", first.as_str())
        );
        assert_eq!(update.snapshot.signer.as_ref().unwrap().principals, "publisher@example.org");
        assert_eq!(update.snapshot.time.as_second(), EPOCH + 60);
        assert!(source.good().unwrap().is_none(), "nothing is in force before it was accepted");
        source.accept(update, now()).unwrap();
        assert!(matches!(found(&source), Ok(Found::Unchanged)));
    }
    let second = lab.publish("two.example\n");
    for (store, url) in [("file", lab.url()), ("http", server.url("127.0.0.1"))] {
        let source = Source::new(lab.path(store), settings(&lab, &url, branch()));
        assert_eq!(good(&source), "one.example\n");
        assert_eq!((sync(&source), good(&source)), (second.clone(), "two.example\n".into()));
        assert_eq!(text(&source.at(&first[..8]).unwrap()), "one.example\n");
        assert!(incoming(&source).is_empty());
    }
}

#[test]
fn a_host_that_no_resolver_knows_is_reached_by_our_own_answer() {
    let Some(mut lab) = lab() else { return };
    let server = Server::start(Manner::Git(lab.path("")));
    lab.publish("one.example\n");
    let source = source_of(&lab, &server.url("lists.interdict.invalid"));
    let asked = Mutex::new(Vec::new());
    let seen = Mutex::new(0);
    let resolve = |name: &str| {
        asked.lock().unwrap().push(name.to_owned());
        vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]
    };
    let access = Access { resolve: &resolve, progress: &|_| *seen.lock().unwrap() += 1 };
    assert!(matches!(source.check(now(), &access), Ok(Found::Update(_))));
    assert_eq!(*asked.lock().unwrap(), ["lists.interdict.invalid"]);
    assert!(*seen.lock().unwrap() > 0);
    assert_eq!(refusal(&source), "the fetch failed: our upstreams have no address for lists.interdict.invalid");
}

#[test]
fn ssh_is_led_to_our_own_answers_one_after_the_other() {
    let Some(lab) = lab() else { return };
    if tier::program("ssh").is_none() {
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let source = source_of(&lab, &format!("ssh://git@lists.interdict.invalid:{port}/work"));
    let (first, second) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let access = Access { resolve: &|_| vec![IpAddr::V4(first), IpAddr::V4(second)], progress: &|_| () };
    let why = source.check(now(), &access).unwrap_err().to_string();
    // The last of the addresses that were tried.
    assert_eq!(why, format!("the fetch failed: ssh: connect to host 127.0.0.3 port {port}: Connection refused"));
}

#[test]
fn a_signed_list_comes_over_ssh_from_a_known_host_only() {
    let (Some(mut lab), Some(sshd)) = (lab(), tier::program("sshd")) else { return };
    let server = git::Sshd::start(&lab, &sshd);
    lab.publish("one\n");
    let url = format!("ssh://{}@lists.interdict.invalid:{}{}", server.user, server.port, lab.work().display());
    let ssh_to = |known_hosts: &str| {
        with(&lab, |settings| {
            settings.remote = Remote::parse(&url, false).unwrap();
            settings.remote.transport.ssh_key = Some(lab.path("publisher"));
            settings.remote.transport.known_hosts = Some(lab.path(known_hosts));
        })
    };
    // The first address leads nowhere.
    let (first, second) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST);
    let access = Access { resolve: &|_| vec![IpAddr::V4(first), IpAddr::V4(second)], progress: &|_| () };
    let check = |source: &Source| source.check(now(), &access);
    let host_key = fs::read_to_string(lab.path("stranger.pub")).unwrap();
    fs::write(lab.path("known"), format!("[lists.interdict.invalid]:{} {host_key}", server.port)).unwrap();
    fs::write(lab.path("unknown"), format!("[other.invalid]:{} {host_key}", server.port)).unwrap();
    let why = check(&ssh_to("unknown")).unwrap_err().to_string();
    assert_eq!(why, "the fetch failed: Host key verification failed.");
    let update = check(&ssh_to("known")).unwrap();
    assert!(matches!(update, Found::Update(update) if text(&update.snapshot) == "one\n"));
}

#[test]
fn folders_are_read_whole_and_in_order() {
    let Some(mut lab) = lab() else { return };
    lab.write("lists/b/c.txt", "c\n");
    lab.write("other.txt", "other\n");
    std::os::unix::fs::symlink("/etc/passwd", lab.work().join("lists/link")).unwrap();
    lab.publish("a\n");
    let source = with(&lab, |settings| {
        settings.paths = ["other.txt", "lists", "lists/b"].map(|path| path.parse().unwrap()).to_vec();
    });
    let update = update(&source);
    let files: Vec<_> = update.snapshot.files.iter().map(|file| (file.path.as_str(), file.octets.as_slice())).collect();
    assert_eq!(files, [("lists/a.txt", &b"a\n"[..]), ("lists/b/c.txt", b"c\n"), ("other.txt", b"other\n")]);
    assert_eq!(update.snapshot.left_out, ["lists/link"]);
    drop(update);
    let source = with(&lab, |settings| settings.limits.files = 2);
    assert!(found(&source).is_ok());
    let source = with(&lab, |settings| {
        settings.paths = vec!["lists".parse().unwrap()];
        settings.limits.files = 1;
    });
    assert_eq!(refusal(&source), "2 files are more than the 1 that a source may have");
}

#[test]
fn a_commit_and_a_signed_tag_may_be_followed() {
    let Some(mut lab) = lab() else { return };
    let first = lab.publish("one\n");
    let second = lab.publish("two\n");
    let pinned = with(&lab, |settings| settings.reference = Reference::Commit(first.parse().unwrap()));
    assert_eq!((sync(&pinned), good(&pinned)), (first, "one\n".into()));
    fs::remove_dir_all(lab.path("store")).unwrap();
    // An unsigned commit under a signed tag.
    lab.write("lists/a.txt", "three\n");
    lab.commit("");
    let signing = lab.signing("publisher");
    let tag = |name: &str, sign: &str| {
        let mut args: Vec<&str> = signing.iter().map(String::as_str).collect();
        args.extend(["tag", sign, "-m", "release", name]);
        lab.git(&args);
    };
    tag("v1", "-s");
    tag("plain", "-a");
    let follow = |name: &str| with(&lab, |settings| settings.reference = Reference::Tag(name.parse().unwrap()));
    assert!(lab.git_verifies("verify-tag", "v1") && !lab.git_verifies("verify-tag", "plain"));
    let source = follow("v1");
    assert_eq!((sync(&source), good(&source)), (lab.git(&["rev-parse", "HEAD"]), "three\n".into()));
    assert!(refusal(&follow("plain")).contains("is not signed; sign it with an SSH key"));
    // The same signed object under another name.
    lab.git(&["update-ref", "refs/tags/v2", "refs/tags/v1"]);
    assert_eq!(refusal(&follow("v2")), "the tag v2 is really \"v1\": a tag was renamed");
    // An unsigned tag on a signed commit: the commit's signature counts.
    lab.git(&["tag", "-a", "-m", "x", "on-signed", &second]);
    lab.git(&["tag", "light", &second]);
    assert_eq!(sync(&follow("on-signed")), second);
    assert_eq!(sync(&follow("light")), second);
}

//----------- Signatures -----------------------------------------------------

#[test]
fn only_a_listed_key_that_is_valid_at_the_time_opens_the_door() {
    let Some(mut lab) = lab() else { return };
    let first = lab.publish("one\n");
    let source = source(&lab);
    let day = |options: &str| {
        lab.allow(options);
        lab.git_verifies("verify-commit", "HEAD")
    };
    // 1780000060 is 2026-05-28T20:27:40Z. What git says of the same file is beside.
    assert!(!day("valid-before=\"20260528Z\""));
    assert!(refusal(&source).contains("after the key had expired (2026-05-28T00:00:00Z)"));
    assert!(!day("valid-after=\"20260529Z\""));
    assert!(refusal(&source).contains("before the key was valid (2026-05-29T00:00:00Z)"));
    assert!(!day("namespaces=\"file,email\""));
    assert!(refusal(&source).contains("who may not sign in the namespace git"));
    assert!(day("namespaces=\"git\",valid-after=\"20260528Z\",valid-before=\"202605282028Z\""));
    assert_eq!(sync(&source), first);

    lab.write("lists/a.txt", "evil\n");
    let unsigned = lab.commit("");
    assert!(!lab.git_verifies("verify-commit", "HEAD"));
    assert!(refusal(&source).starts_with(&format!("commit {} is not signed; sign it", &unsigned[..12])));
    lab.git(&["reset", "--hard", "-q", &first]);
    lab.write("lists/a.txt", "evil\n");
    lab.commit("stranger");
    assert!(!lab.git_verifies("verify-commit", "HEAD"));
    let why = refusal(&source);
    assert!(why.contains("is signed with the key SHA256:") && why.ends_with("signers does not list"), "{why}");

    // The publisher's signature over another text.
    lab.git(&["reset", "--hard", "-q", &first]);
    let signed = lab.publish("two\n");
    let raw = lab.git(&["cat-file", "commit", &signed]).replace("\n\nupdate", "\n\nupdated") + "\n";
    let forged = lab.git_with(&["hash-object", "-t", "commit", "-w", "--stdin"], raw.as_bytes());
    lab.git(&["reset", "--hard", "-q", &forged]);
    assert!(!lab.git_verifies("verify-commit", "HEAD"));
    assert!(refusal(&source).ends_with("was changed after it was signed, or the signature was"));
    // The honest one still comes through, although the remote showed others before.
    lab.git(&["reset", "--hard", "-q", &signed]);
    lab.allow("");
    assert!(lab.git_verifies("verify-commit", "HEAD"));
    assert_eq!((sync(&source), good(&source)), (signed, "two\n".into()));
    // A key that left the file signs nothing any more.
    fs::write(lab.path("signers"), fs::read(lab.path("stranger.pub")).map(|key| [b"x ", &key[..]].concat()).unwrap())
        .unwrap();
    lab.publish("three\n");
    assert!(refusal(&source).ends_with("signers does not list"));
}

#[test]
fn a_signature_for_files_is_none_for_commits() {
    let Some(mut lab) = lab() else { return };
    let first = lab.publish("one\n");
    lab.write("lists/a.txt", "two\n");
    let plain = lab.commit("");
    let raw = lab.git(&["cat-file", "commit", &plain]) + "\n";
    fs::write(lab.path("raw"), &raw).unwrap();
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-Y", "sign", "-n", "file", "-f"]).arg(lab.path("publisher")).arg(lab.path("raw"));
    assert!(sign.stderr(Stdio::null()).status().unwrap().success());
    let armour = fs::read_to_string(lab.path("raw.sig")).unwrap().trim_end().replace('\n', "\n ");
    let signed = raw.replacen("\n\n", &format!("\ngpgsig {armour}\n\n"), 1);
    let id = lab.git_with(&["hash-object", "-t", "commit", "-w", "--stdin"], signed.as_bytes());
    lab.git(&["reset", "--hard", "-q", &first]);
    let source = source(&lab);
    assert_eq!(sync(&source), first);
    lab.git(&["reset", "--hard", "-q", &id]);
    assert!(refusal(&source).ends_with("carries a signature made for \"file\", not for git"));
}

#[test]
fn a_key_of_another_kind_is_named() {
    let Some(mut lab) = lab() else { return };
    let ed = fs::read_to_string(lab.path("publisher.pub")).unwrap();
    for (kind, name) in [("ecdsa", "ecdsa-sha2-nistp256"), ("rsa", "ssh-rsa")] {
        let mut make = Command::new("ssh-keygen");
        make.args(["-q", "-t", kind, "-N", "", "-f"]).arg(lab.path(kind));
        assert!(make.status().unwrap().success());
        let key = fs::read_to_string(lab.path(&format!("{kind}.pub"))).unwrap();
        fs::write(lab.path("signers"), format!("c {key}\np {ed}")).unwrap();
        lab.write("lists/a.txt", "one\n");
        lab.commit(kind);
        assert!(lab.git_verifies("verify-commit", "HEAD"));
        let why = refusal(&source(&lab));
        let accepted = "accepted are ssh-ed25519 and sk-ssh-ed25519@openssh.com";
        assert!(why.ends_with(&format!("is signed with a key of kind {name}; {accepted}")), "{why}");
    }
}

//----------- Histories ------------------------------------------------------

#[test]
fn rewritten_older_backdated_and_future_histories_are_refused() {
    let Some(mut lab) = lab() else { return };
    let first = lab.publish("one\n");
    let second = lab.publish("two\n");
    let source = source(&lab);
    assert_eq!(sync(&source), second);
    lab.git(&["reset", "--hard", "-q", &first]);
    let (new, old) = (&second[..12], &first[..12]);
    assert_eq!(
        refusal(&source),
        format!("commit {old} is older than {new}, accepted before: a rollback; revert by a new commit instead")
    );
    let forced = lab.publish("forced\n");
    let tip = &forced[..12];
    assert!(
        refusal(&source)
            .starts_with(&format!("commit {tip} does not descend from {new}, accepted before: the history was"))
    );
    // An orphan shares nothing with what was accepted.
    lab.git(&["checkout", "-q", "--orphan", "other"]);
    lab.publish("orphan\n");
    lab.git(&["branch", "-q", "-f", "main", "other"]);
    assert!(refusal(&source).contains("the history was rewritten"));
    // What was refused before does not stand in the way of what is honest now.
    lab.git(&["checkout", "-q", "-B", "main", &second]);
    lab.write("lists/a.txt", "dated\n");
    lab.commit_at("publisher", EPOCH - 86_400);
    assert!(refusal(&source).contains("is dated 2026-05-27T20:26:40Z, before 2026-05-28T20:28:40Z"));
    lab.git(&["reset", "--hard", "-q", &second]);
    lab.write("lists/a.txt", "dated\n");
    lab.commit_at("publisher", EPOCH + 86_400 + 3_700);
    assert!(refusal(&source).contains("in the future; the clock of its author, or ours, is wrong"));
    lab.git(&["reset", "--hard", "-q", &second]);
    lab.publish("three\n");
    sync(&source);
    assert_eq!(good(&source), "three\n");
}

#[test]
fn another_remote_may_have_another_history_but_no_older_one() {
    let Some(mut lab) = lab() else { return };
    let first = lab.publish("one\n");
    let second = lab.publish("two\n");
    sync(&source(&lab));
    let mirror = format!("file://{}/./.git", lab.work().display());
    assert!(found(&source_of(&lab, &mirror)).is_ok());
    lab.git(&["reset", "--hard", "-q", &first]);
    assert!(refusal(&source_of(&lab, &mirror)).contains("a rollback"));
    lab.git(&["checkout", "-q", "--orphan", "other"]);
    let other = lab.publish("other\n");
    lab.git(&["branch", "-q", "-f", "main", "other"]);
    assert_eq!(sync(&source_of(&lab, &mirror)), other);
    // Back at the first remote, what it had is rewritten history now.
    lab.git(&["branch", "-q", "-f", "main", &second]);
    assert!(refusal(&source_of(&lab, &mirror)).contains("rewritten"));
}

#[test]
fn rollback_holds_until_something_newer_and_pin_until_further_notice() {
    let Some(mut lab) = lab() else { return };
    let source = source(&lab);
    assert_eq!(
        source.rollback(None).unwrap_err().to_string(),
        format!("nothing was accepted of {} yet; sync first", lab.url())
    );
    let first = lab.publish("one\n");
    sync(&source);
    assert_eq!(source.rollback(None).unwrap_err().to_string(), "nothing older was accepted");
    lab.write("lists/a.txt", "between, unsigned\n");
    let between = lab.commit("");
    lab.publish("two\n");
    sync(&source);
    lab.publish("three\n");
    sync(&source);

    let back = source.rollback(None).unwrap();
    assert!(matches!(found(&source), Err(Refused::Busy(_))), "nobody else may run meanwhile");
    source.accept(back, now()).unwrap();
    assert_eq!(good(&source), "two\n");
    assert!(matches!(found(&source), Ok(Found::Unchanged)), "the commit that was left is not taken again");
    assert!(matches!(source.rollback(Some(&between[..10])), Err(Refused::Signature { .. })));
    source.accept(source.rollback(Some(&first[..10])).unwrap(), now()).unwrap();
    assert_eq!(good(&source), "one\n");
    assert!(matches!(found(&source), Ok(Found::Unchanged)));
    let fourth = lab.publish("four\n");
    sync(&source);
    assert_eq!(good(&source), "four\n");

    source.accept(source.pin(&first).unwrap(), now()).unwrap();
    lab.publish("five\n");
    assert!(matches!(found(&source), Ok(Found::Pinned)));
    assert_eq!(good(&source), "one\n");
    assert!(matches!(source.rollback(Some(&fourth)), Err(Refused::NotOlder(_))));
    for bad in ["", "abc", "zzzz", "--all", "HEAD", "0000000000"] {
        assert!(matches!(source.pin(bad), Err(Refused::NoSuchRevision(_))), "{bad}");
    }
    source.unpin().unwrap();
    sync(&source);
    assert_eq!(good(&source), "five\n");
}

//----------- Sizes ----------------------------------------------------------

#[test]
fn a_huge_blob_in_a_small_pack_is_refused_before_it_is_read() {
    let Some(mut lab) = lab() else { return };
    let server = Server::start(Manner::Git(lab.path("")));
    let source = {
        let mut settings = settings(&lab, &server.url("127.0.0.1"), branch());
        // Address space, not memory in use: git cannot have held the blob.
        settings.limits.memory_bytes = 224 << 20;
        settings.limits.file_bytes = 32 << 20;
        Source::new(lab.path("store/lists/test"), settings)
    };
    lab.publish("one\n");
    sync(&source);
    let megabytes = tier::count(40, 300, 300);
    lab.write("lists/a.txt", vec![0; megabytes << 20]);
    lab.commit("publisher");
    let start = Instant::now();
    let why = refusal(&source);
    let size = megabytes << 20;
    assert_eq!(
        why,
        format!("lists/a.txt has {size} octets, more than the 33554432 that a list may have; it was not read")
    );
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    // Elsewhere in the repository it does no harm.
    lab.git(&["mv", "lists/a.txt", "elsewhere"]);
    lab.publish("two\n");
    sync(&source);
    assert_eq!(good(&source), "two\n");
}

#[test]
fn ten_million_lines_are_refused() {
    let Some(mut lab) = lab() else { return };
    let lines = tier::count(1_000_000, 10_000_000, 10_000_000);
    let source = with(&lab, |settings| settings.limits.file_lines = lines / 2);
    lab.publish(&"x\n".repeat(lines / 2));
    sync(&source);
    lab.publish(&"x\n".repeat(lines));
    assert_eq!(
        refusal(&source),
        format!("lists/a.txt has {lines} lines, more than the {} that a list may have", lines / 2)
    );
    let source = with(&lab, |settings| settings.limits.total_bytes = 1_000);
    let why = found(&source).unwrap_err().to_string();
    assert!(why.contains("octets together, more than the 1000 that a source may have; none was read"), "{why}");
}

#[test]
fn more_than_the_disk_may_take_is_ended() {
    let Some(mut lab) = lab() else { return };
    let mut noise = vec![0; 4 << 20];
    let mut state = tier::seed() | 1;
    for octet in &mut noise {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *octet = (state >> 56) as u8;
    }
    lab.write("noise", noise);
    lab.publish("one\n");
    let source = with(&lab, |settings| settings.limits.disk_bytes = 1 << 20);
    assert_eq!(refusal(&source), "the fetch would take more than 1 MiB on disk and was ended");
}

#[test]
fn a_remote_without_end_is_ended() {
    if lab().is_none() {
        return;
    }
    for manner in [Manner::Silent, Manner::Endless] {
        let lab = Lab::new();
        let server = Server::start(manner.clone());
        let mut settings = settings(&lab, &server.url("127.0.0.1"), branch());
        settings.limits.time = Duration::from_secs(1);
        let source = Source::new(lab.path("store"), settings);
        let start = Instant::now();
        assert_eq!(refusal(&source), "the fetch took longer than 1 s and was ended", "{manner:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

//----------- Hostile repositories -------------------------------------------

#[test]
fn links_and_submodules_are_not_followed() {
    let Some(mut lab) = lab() else { return };
    let first = lab.publish("one\n");
    let source = source(&lab);
    sync(&source);
    fs::remove_file(lab.work().join("lists/a.txt")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", lab.work().join("lists/a.txt")).unwrap();
    lab.commit("publisher");
    assert_eq!(refusal(&source), "lists/a.txt is a symbolic link, not a file; it is not followed");
    // A folder that is a link leads nowhere either.
    lab.git(&["rm", "-q", "-r", "lists"]);
    std::os::unix::fs::symlink("/etc", lab.work().join("lists")).unwrap();
    lab.commit("publisher");
    assert!(refusal(&source).ends_with("has no file at lists/a.txt"));
    lab.git(&["rm", "-q", "lists"]);
    lab.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{first},lists/a.txt")]);
    lab.git(&["-c", "core.hooksPath=/dev/null", "commit", "-q", "--no-gpg-sign", "-m", "x"]);
    let tree = lab.git(&["write-tree"]);
    let signing = lab.signing("publisher");
    let mut args: Vec<&str> = signing.iter().map(String::as_str).collect();
    args.extend(["commit-tree", "-S", "-p", "HEAD", "-m", "x", &tree]);
    let commit = lab.git_at(EPOCH + 600, &args);
    lab.git(&["update-ref", "refs/heads/main", &commit]);
    assert_eq!(refusal(&source), "lists/a.txt is a submodule, not a file; it is not followed");
}

#[test]
fn hooks_attributes_and_settings_of_a_repository_do_nothing() {
    let Some(mut lab) = lab() else { return };
    let mark = lab.path("mark");
    let script = format!("#!/bin/sh\ntouch {}\n", mark.display());
    for hook in
        ["post-checkout", "post-merge", "reference-transaction", "post-update", "fsmonitor", "post-index-change"]
    {
        lab.write(&format!("hooks/{hook}"), &script);
        lab.write(&format!(".git/hooks/{hook}"), &script);
        for path in [format!("hooks/{hook}"), format!(".git/hooks/{hook}")] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(lab.work().join(path), mode).unwrap();
        }
    }
    lab.write("config", format!("[core]\n\tfsmonitor = touch {}\n", mark.display()));
    lab.write("HEAD", "ref: refs/heads/main\n");
    lab.write(".gitattributes", "* filter=evil diff=evil\n");
    lab.publish("one\n");
    let _ = fs::remove_file(&mark);
    let source = source(&lab);
    sync(&source);
    assert_eq!(good(&source), "one\n");
    assert!(!mark.exists());
    assert!(
        fs::read_dir(lab.path("store/lists/test/kept.git"))
            .unwrap()
            .flatten()
            .all(|entry| entry.file_name() != "hooks")
    );
}

#[test]
fn trees_that_lead_out_and_commands_in_gitmodules_are_refused_whole() {
    let Some(mut lab) = lab() else { return };
    let first = lab.publish("one\n");
    let source = source(&lab);
    sync(&source);
    let blob = lab.git_with(&["hash-object", "-w", "--stdin"], b"evil\n");
    let octets: Vec<u8> = (0..40).step_by(2).map(|at| u8::from_str_radix(&blob[at..at + 2], 16).unwrap()).collect();
    let signing = lab.signing("publisher");
    for name in ["../../x", "..", ".git", "/etc/x"] {
        let raw = [b"100644 ", name.as_bytes(), b"\0", &octets].concat();
        let tree = lab.git_with(&["hash-object", "-t", "tree", "-w", "--stdin", "--literally"], &raw);
        let mut args: Vec<&str> = signing.iter().map(String::as_str).collect();
        args.extend(["commit-tree", "-S", "-p", &first, "-m", "x", &tree]);
        let commit = lab.git_at(EPOCH + 600, &args);
        lab.git(&["update-ref", "refs/heads/main", &commit]);
        let why = refusal(&source);
        assert!(why.starts_with("the fetch failed: "), "{name}: {why}");
    }
    lab.git(&["reset", "--hard", "-q", &first]);
    lab.write(".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = -u./evil\n");
    lab.commit("publisher");
    assert!(refusal(&source).starts_with("the fetch failed: "));
    assert!(!lab.path("x").exists() && !lab.path("store/x").exists());
}

#[test]
fn a_redirect_is_not_followed() {
    let Some(mut lab) = lab() else { return };
    lab.publish("one\n");
    let real = Server::start(Manner::Git(lab.path("")));
    let other = Server::start(Manner::Redirect(format!("http://{}", real.address)));
    let why = refusal(&source_of(&lab, &other.url("127.0.0.1")));
    assert!(why.starts_with("the fetch failed: ") && why.contains("301"), "{why}");
    assert!(found(&source_of(&lab, &real.url("127.0.0.1"))).is_ok());
}

//----------- Bundles --------------------------------------------------------

#[test]
fn a_bundle_is_taken_and_an_older_one_refused() {
    let Some(mut lab) = lab() else { return };
    let bundle = |lab: &Lab, name: &str, what: &[&str]| {
        let path = lab.path(name);
        lab.git(&[&["bundle", "create", "-q", path.to_str().unwrap()], what].concat());
        path
    };
    lab.publish("one\n");
    let old = bundle(&lab, "old.bundle", &["main"]);
    lab.publish("two\n");
    let new = bundle(&lab, "new.bundle", &["main"]);
    // Only a bundle ever reaches this machine.
    let source = source_of(&lab, "https://lists.interdict.invalid/x");
    let import = |path: &PathBuf| source.import(path, now());
    let take = |path: &PathBuf| match import(path) {
        Ok(Found::Update(update)) => source.accept(*update, now()).unwrap(),
        other => panic!("{other:?}"),
    };
    take(&old);
    take(&new);
    assert_eq!(good(&source), "two\n");
    assert!(matches!(import(&new), Ok(Found::Unchanged)));
    assert!(import(&old).unwrap_err().to_string().contains("a rollback"));
    let second = lab.git(&["rev-parse", "main"]);
    let third = lab.publish("three\n");
    lab.publish("four\n");
    let gap = bundle(&lab, "gap.bundle", &["main", &format!("^{third}")]);
    assert!(
        import(&gap).unwrap_err().to_string().starts_with("reading the bundle failed: "),
        "what it builds on is not here"
    );
    take(&bundle(&lab, "next.bundle", &["main", &format!("^{second}")]));
    assert_eq!(good(&source), "four\n");
    lab.write("lists/a.txt", "evil\n");
    lab.commit("stranger");
    let evil = bundle(&lab, "evil.bundle", &["main"]);
    assert!(matches!(import(&evil), Err(Refused::Signature { .. })));
    lab.git(&["checkout", "-q", "-b", "other"]);
    let other = bundle(&lab, "other.bundle", &["other"]);
    assert_eq!(import(&other).unwrap_err().to_string(), "reading the bundle failed: it has no branch main");
    fs::write(lab.path("junk"), "junk").unwrap();
    assert!(import(&lab.path("junk")).is_err() && import(&lab.path("")).is_err() && import(&lab.path("none")).is_err());
    assert_eq!(good(&source), "four\n");
}

//----------- Failures of the machine ----------------------------------------

#[test]
fn the_last_good_files_are_there_when_the_remote_is_not() {
    let Some(mut lab) = lab() else { return };
    lab.publish("one\n");
    sync(&source(&lab));
    fs::rename(lab.work(), lab.path("away")).unwrap();
    let source = source(&lab);
    assert_eq!(good(&source), "one\n");
    assert!(refusal(&source).starts_with("the fetch failed: "));
    let unreachable = source_of(&lab, "http://127.0.0.1:1/x");
    assert!(refusal(&unreachable).contains("Failed to connect"));
    assert_eq!(good(&unreachable), "one\n");
}

#[test]
fn a_damaged_store_is_said_and_mended_by_the_next_sync() {
    let Some(mut lab) = lab() else { return };
    lab.publish("one\n");
    let source = source(&lab);
    sync(&source);
    let record = lab.path("store/lists/test/record.toml");
    let whole = fs::read_to_string(&record).unwrap();
    let at = whole.find("sha256 = \"").unwrap() + 10;
    let wrong = if &whole[at..=at] == "0" { "1" } else { "0" };
    fs::write(&record, [&whole[..at], wrong, &whole[at + 1..]].concat()).unwrap();
    assert!(source.good().unwrap_err().to_string().contains("is not what was accepted: the disk is damaged"));
    fs::write(&record, &whole).unwrap();
    fs::remove_dir_all(lab.path("store/lists/test/kept.git")).unwrap();
    assert!(source.good().is_err());
    lab.publish("two\n");
    sync(&source);
    assert_eq!(good(&source), "two\n");
    // What must not be rolled back is remembered even so.
    fs::remove_dir_all(lab.path("store/lists/test/kept.git")).unwrap();
    lab.git(&["reset", "--hard", "-q", "HEAD^"]);
    assert!(found(&source).unwrap_err().to_string().contains("the history was rewritten"));
}

#[test]
fn many_updates_stay_few_files() {
    let Some(mut lab) = lab() else { return };
    let source = source(&lab);
    let updates = tier::count(36, 120, 400);
    for number in 0..updates {
        lab.publish(&format!("{number}\n"));
        sync(&source);
    }
    let packs = fs::read_dir(lab.path("store/lists/test/kept.git/objects/pack")).unwrap().count();
    assert!(packs < 110, "{packs} files for {updates} updates");
    assert_eq!(good(&source), format!("{}\n", updates - 1));
    assert_eq!(source.record().unwrap().unwrap().history.len(), updates.min(64));
}

/// Runs by itself only: one sync of the source that the environment names. The tests below kill it.
#[test]
fn one_sync_in_a_process_of_its_own() {
    let Ok(folder) = std::env::var("INTERDICT_GIT_SYNC") else { return };
    let settings = Settings {
        remote: Remote::parse(&format!("file://{folder}/work"), false).unwrap(),
        reference: branch(),
        paths: vec!["lists/a.txt".parse().unwrap()],
        signers: Some(format!("{folder}/signers").into()),
        limits: Limits::default(),
    };
    sync(&Source::new(format!("{folder}/store/lists/test").into(), settings));
}

#[test]
fn a_sync_killed_at_any_moment_leaves_the_old_or_the_new() {
    let Some(mut lab) = lab() else { return };
    let source = source(&lab);
    lab.publish("0\n");
    let start = Instant::now();
    sync(&source);
    let whole = start.elapsed();
    let rounds = tier::count(12, 200, 2_000);
    let (mut old, mut new) = (0, 0);
    for round in 1..=rounds {
        lab.publish(&format!("{round}\n"));
        let mut process = Command::new(std::env::current_exe().unwrap());
        process
            .args(["--exact", "one_sync_in_a_process_of_its_own"])
            .env("INTERDICT_GIT_SYNC", lab.path("store").parent().unwrap());
        let mut process = process.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(whole.mul_f64(1.5 * round as f64 / rounds as f64));
        let _ = process.kill();
        process.wait().unwrap();
        let is_new = good(&source) == format!("{round}\n");
        assert!(is_new || good(&source) == format!("{}\n", round - 1), "round {round}: {}", good(&source));
        (old, new) = if is_new { (old, new + 1) } else { (old + 1, new) };
        if is_new {
            let found = found(&source);
            assert!(matches!(found, Ok(Found::Unchanged)), "round {round}: {found:?}");
        } else {
            sync(&source);
        }
        assert_eq!(good(&source), format!("{round}\n"));
        // The killed process's git dies a moment after it and may still leave something; the next look sweeps it up.
        let swept = (0..50).any(|_| {
            let swept = incoming(&source).is_empty();
            if !swept {
                thread::sleep(Duration::from_millis(100));
                assert!(matches!(found(&source), Ok(Found::Unchanged)));
            }
            swept
        });
        assert!(swept, "round {round}: {:?}", incoming(&source));
    }
    println!("killed {rounds} times within {:?}: {old} old, {new} new", whole.mul_f64(1.5));
    assert!(old > 0);
}

#[test]
fn a_git_killed_at_any_moment_is_a_failed_sync_and_no_more() {
    let Some(mut lab) = lab() else { return };
    let source = source(&lab);
    lab.publish("0\n");
    sync(&source);
    let (mut failed, mut done) = (0, 0);
    for round in 1..=tier::count(12, 200, 2_000) {
        lab.publish(&format!("{round}\n"));
        let folder = lab.path("store").display().to_string();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let result = thread::scope(|scope| {
            let killer = scope.spawn(|| {
                thread::sleep(Duration::from_millis(round as u64 * 37 % 300));
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    if kill_one_git_of(&folder) {
                        return;
                    }
                    thread::sleep(Duration::from_micros(200));
                }
            });
            let result = found(&source).and_then(|found| match found {
                Found::Update(update) => source.accept(*update, now()).map(drop),
                other => panic!("{other:?}"),
            });
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            killer.join().unwrap();
            result
        });
        let expected = if result.is_ok() { round } else { round - 1 };
        assert_eq!(good(&source), format!("{expected}\n"), "round {round}: {result:?}");
        if result.is_err() {
            sync(&source);
        }
        (failed, done) = if result.is_err() { (failed + 1, done) } else { (failed, done + 1) };
        assert_eq!(good(&source), format!("{round}\n"));
        assert!(incoming(&source).is_empty());
    }
    println!("{failed} failed, {done} done");
    assert!(failed > 0);
}

/// Kills the first git process that works below `folder`.
fn kill_one_git_of(folder: &str) -> bool {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(words) = fs::read(entry.path().join("cmdline")) else { continue };
        let words = String::from_utf8_lossy(&words).into_owned();
        if words.starts_with("git") && words.contains(folder) {
            let id = entry.file_name();
            return Command::new("kill").arg("-9").arg(id).stderr(Stdio::null()).status().unwrap().success();
        }
    }
    false
}
