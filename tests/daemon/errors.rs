//! Everything that can be wrong at the start: one sentence, where it is, and the documented exit code.

use crate::harness::{Home, Ran};
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

/// Command line, config or list wrong.
const WRONG: i32 = 2;
/// The command failed.
const FAILED: i32 = 1;

/// One line on standard error that starts with the program's name and then `start`, and holds `part`.
fn assert_sentence(ran: &Ran, code: i32, start: &str, part: &str) {
    assert_eq!(ran.code, Some(code), "{}{}", ran.out, ran.err);
    assert_eq!((ran.out.as_str(), ran.err.lines().count()), ("", 1), "one sentence: {}", ran.err);
    assert!(ran.err.starts_with(&format!("interdict: {start}")), "{start:?}: {}", ran.err);
    assert!(ran.err.contains(part), "{part:?}: {}", ran.err);
    assert!(!ran.err.contains("Error {") && !ran.err.contains("Os {"), "words, not structures: {}", ran.err);
}

/// `run`, which must end, and so must `config check` with the same words.
fn refused(home: &Home, start: &str, part: &str) {
    let began = Instant::now();
    for command in [&["run"][..], &["config", "check"]] {
        assert_sentence(&home.run(command), WRONG, start, part);
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// A config after `version = 1`.
fn config(rest: &str) -> Home {
    Home::with_config(&format!("version = 1\n[dns]\nlisten = [\"127.0.0.1:0\"]\n{rest}"))
}

#[test]
fn a_config_that_is_wrong_is_refused_with_its_line() {
    for (rest, line, sentence) in [
        ("lisen = []\n", 4, "unknown key `lisen`; did you mean `listen`?"),
        ("[polcy]\n", 4, "unknown key `polcy`; did you mean `policy`?"),
        ("[[exception]]\nname = \"a.b\"\nreason = \"r\"\napprover = \"a\"\nwhen = 1\n", 8, "unknown key `when`"),
        ("workers = \"two\"\n", 4, "invalid type: string \"two\", expected usize"),
        ("[policy]\nscope = \"everyone\"\n", 5, "invalid type: string \"everyone\", expected a sequence"),
        ("[upstream]\nservers = 53\n", 5, ""),
        ("[upstream]\nservers = [\"dns.example\"]\n", 5, "servers: \"dns.example\" is no \"address:port\""),
        ("workers = 100000\n", 4, "workers = 100000 is out of bounds"),
        ("[policy]\nstages = { \"kaspersky\" = \"blok\" }\n", 5, "kaspersky = \"blok\": \"blok\" is no "),
        ("[policy]\nstages = { \"kaspersky:sales\" = \"block\" }\n", 5, "stages: \"sales\" is no "),
        ("[store\n", 4, ""),
        ("workers = 1\nworkers = 2\n", 5, "duplicate key"),
    ] {
        let home = config(rest);
        refused(&home, &format!("{}:{line}: ", home.path("interdict.toml").display()), sentence);
    }
}

#[test]
fn a_config_that_cannot_be_read_is_named() {
    let home = config("");
    let file = home.path("interdict.toml");
    std::fs::remove_file(&file).unwrap();
    refused(&home, &format!("{}: cannot be read: ", file.display()), "No such file");
    std::fs::create_dir(&file).unwrap();
    refused(&home, &format!("{}: cannot be read: ", file.display()), "directory");
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, [0xff, 0xfe, b'x']).unwrap();
    refused(&home, &format!("{}: cannot be read: ", file.display()), "UTF-8");
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    let home = Home::with_config(&format!("version = 1\n[dns]\nlisten = [\"{address}\"]\n"));
    assert_sentence(&home.run(&["run"]), FAILED, &format!("{address}: address already in use"), "[dns] listen");
    drop(udp);
    let Ok(_tcp) = TcpListener::bind(address) else { return };
    assert_sentence(&home.run(&["run"]), FAILED, &format!("{address}: address already in use"), "[dns] listen");
    let foreign = Home::with_config("version = 1\n[dns]\nlisten = [\"192.0.2.1:5300\"]\n");
    assert_sentence(&foreign.run(&["run"]), FAILED, "192.0.2.1:5300: no interface", "[dns] listen");
}

#[test]
fn a_store_that_cannot_be_written_is_named() {
    let home = config("[store]\npath = \"file/state\"\n");
    home.write("file", "");
    let path = home.path("file/state");
    let start = format!("cannot keep the ledger in {}: ", path.display());
    assert_sentence(&home.run(&["run"]), FAILED, &start, "Not a directory");
    let kernel = config("[store]\npath = \"/proc/interdict\"\n");
    assert_sentence(&kernel.run(&["run"]), FAILED, "cannot keep the ledger in /proc/interdict: ", "[store] path");
}

#[test]
fn a_second_daemon_on_the_same_store_is_refused_and_does_not_disturb_the_first() {
    let home = config("");
    let first = home.start();
    let start = format!("{} is in use by process {}", home.path("state").display(), first.pid());
    assert_sentence(&home.run(&["run"]), FAILED, &start, "[store] path");
    assert_eq!(home.run(&["status"]).code.map(|code| code < 2), Some(true), "the first answers on its socket");
    assert_eq!(first.ask("s00.upd.kaspersky.com", hickory_proto::rr::RecordType::A).answers(), ["0.0.0.0"]);
}

#[test]
fn a_list_that_is_none_is_refused_with_its_line() {
    let list = |format: &str, text: Option<&str>| {
        let home = config(&format!("[[blocklist]]\nid = \"mine\"\npath = \"list.txt\"\nformat = \"{format}\"\n"));
        let path = text.map_or_else(|| home.path("list.txt"), |text| home.write("list.txt", text));
        (home, path)
    };
    for (format, text, line, sentence) in [
        ("domains", "<!DOCTYPE html>\n<html><body>Moved</body></html>\n", 1, "this is an HTML page, not a list"),
        ("auto", "# a list\n\n  <html lang=\"en\">\n", 3, "this is an HTML page, not a list"),
        ("domains", "a.example\ncom\n", 2, "\"com\" would take a whole top-level domain"),
        ("auto", "a.example\n*.com\n", 2, "\"com\" would take a whole top-level domain"),
        ("cidr", "192.0.2.0/24\n0.0.0.0/0\n", 2, "0.0.0.0/0 is wider than /12"),
        ("auto", "0.0.0.0/0\n", 1, "0.0.0.0/0 is wider than /12"),
        ("auto", "::/0\n", 1, "::/0 is wider than /12 (/32 for IPv6)"),
        ("domains", "a.example\nb\0c\n", 2, "a NUL octet"),
        ("domains", "0.0.0.0 a.example\n0.0.0.0 b.example\n", 1, "2 of 2 lines are not of this format"),
    ] {
        let (home, path) = list(format, Some(text));
        refused(&home, &format!("{}:{line}: ", path.display()), sentence);
    }
    let (home, path) = list("auto", None);
    refused(&home, &format!("{}: cannot be read: ", path.display()), "No such file");
    std::fs::create_dir(&path).unwrap();
    refused(&home, &format!("{}: cannot be read: ", path.display()), "folder");
    // `check --list` says the same.
    let (home, path) = list("auto", Some("a.example\ncom\n"));
    let named = home.run(&["check", "a.example", "--no-defaults", "--list", path.to_str().unwrap()]);
    assert_sentence(&named, WRONG, &format!("{}:2: ", path.display()), "top-level domain");
}

/// A vendor file that is good until `entry`.
fn vendor(entry: &str) -> (Home, String) {
    let home = config("[policy]\nvendors = \"vendors\"\n");
    let head = "version = 1\n[vendor]\nid = \"acme\"\nname = \"Acme\"\n[[source]]\nid = \"doc\"\ntitle = \"t\"\nwhere = \"-\"\n";
    let path = home.write("vendors/acme.toml", &format!("{head}{entry}"));
    (home, path.display().to_string())
}

#[test]
fn a_vendor_file_that_takes_too_much_is_refused_with_its_line() {
    let domain = |name: &str, kind: &str| {
        format!(
            "[[domain]]\nname = \"{name}\"\nmatch = \"{kind}\"\npurpose = \"update\"\nsource = [\"doc\"]\nconfidence = \"high\"\n"
        )
    };
    let range = |cidr: &str| {
        format!(
            "[[range]]\ncidr = \"{cidr}\"\nasn = 1\npurpose = \"vendor-network\"\n\
             source = [\"doc\"]\nconfidence = \"high\"\nevidence = \"2026-01-01\"\n"
        )
    };
    for (entry, part) in [
        (range("0.0.0.0/0"), "0.0.0.0/0"),
        (range("::/0"), "::/0"),
        (range("8.0.0.0/8"), "8.0.0.0/8"),
        (range("192.168.0.0/16"), "192.168.0.0/16"),
        (domain("com", "suffix"), "com"),
        (domain("*.com", "wildcard"), "com"),
        (domain("a..example", "exact"), "label"),
        (domain("a.example", "regex"), "regex"),
        (domain("a.example", "suffix").replace("[\"doc\"]", "[]"), "source"),
        (domain("a.example", "suffix").replace("\"doc\"", "\"dok\""), "dok"),
        (domain("a.example", "suffix").replace("confidence", "confidense"), "confidense"),
    ] {
        let (home, path) = vendor(&entry);
        let ran = home.run(&["run"]);
        assert_sentence(&ran, WRONG, &format!("{path}:"), part);
        let line: usize = ran.err[format!("interdict: {path}:").len()..].split(':').next().unwrap().parse().unwrap();
        assert!((9..=17).contains(&line), "{}", ran.err);
        assert_sentence(&home.run(&["config", "check"]), WRONG, &format!("{path}:{line}: "), part);
    }
    let (home, _) = vendor(&domain("a.example", "suffix"));
    assert!(home.run(&["config", "check"]).good().ends_with("good; 1 rules\n"));
}

#[test]
fn vendors_and_folders_that_are_not_there_are_named() {
    let unknown = config("[policy]\nstages = { \"kasperski\" = \"block\" }\n");
    let place = format!("{}:5: ", unknown.path("interdict.toml").display());
    refused(&unknown, &place, "\"kasperski\"");
    let folder = config("[policy]\nvendors = \"vendors\"\n");
    let path = folder.path("vendors");
    refused(&folder, &format!("{}: cannot be read: ", path.display()), "No such file");
    std::fs::create_dir(&path).unwrap();
    refused(&folder, &format!("{}: no vendor file", path.display()), "[policy] vendors");
}

#[test]
fn a_command_line_that_is_wrong_ends_with_two() {
    let home = config("");
    for args in [
        &["chek"][..],
        &["check"],
        &["check", "a..b"],
        &["check", "77.74.181.10:443"],
        &["check", "77.74.176.0/21"],
        &["check", "x", "--at", "soon"],
        &["report", "--format", "xml"],
    ] {
        let ran = home.run(args);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.is_empty()), (Some(WRONG), "", false), "{args:?} {}", ran.err);
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
    }
}
