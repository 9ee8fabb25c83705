//! The sinkhole: blocked names lead there, and what connects is heard, named, answered in its own words and ended.

use crate::harness::{Daemon, Home};
use crate::tier;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const BLOCKED: &str = "s00.upd.kaspersky.com";
const TABLE: &str = "[sinkhole]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\naddress = [\"127.0.0.1\"]\n\
    private_for = [\"127.0.0.0/8\"]\n";

fn sinkhole(home: &Home) -> Value {
    serde_json::from_str::<Value>(&home.run(&["status", "--format", "json"]).out).unwrap()["sinkhole"].clone()
}

/// Where it listens.
fn at(home: &Home) -> SocketAddr {
    sinkhole(home)["listen"][0].as_str().unwrap().parse().unwrap()
}

fn counted(home: &Home, name: &str) -> u64 {
    sinkhole(home)["counters"][name].as_u64().unwrap()
}

/// Says something and hears the answer to its end, which must come.
fn say(at: SocketAddr, octets: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(octets).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// A hello of TLS 1.2 that names a host.
fn hello(name: &str) -> Vec<u8> {
    let len = u16::try_from(name.len()).unwrap();
    let sni = [&(len + 3).to_be_bytes()[..], &[0], &len.to_be_bytes(), name.as_bytes()].concat();
    let extension = [&[0, 0][..], &(len + 5).to_be_bytes(), &sni].concat();
    let extensions = [&u16::try_from(extension.len()).unwrap().to_be_bytes()[..], &extension].concat();
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0], &extensions].concat();
    let message = [&[1][..], &u32::try_from(body.len()).unwrap().to_be_bytes()[1..], &body].concat();
    [&[22, 3, 1][..], &u16::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
}

fn evidence(row: &Value) -> Vec<String> {
    row["evidence"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap().to_owned()).collect()
}

fn started() -> (Home, Daemon) {
    let home = Home::alone(TABLE);
    let daemon = home.start();
    (home, daemon)
}

#[test]
fn blocked_names_lead_to_the_sinkhole_which_hears_who_connects() {
    let (home, daemon) = started();
    for (rtype, answers) in [(RecordType::A, &["127.0.0.1"][..]), (RecordType::AAAA, &[]), (RecordType::HTTPS, &[])] {
        let reply = daemon.ask(BLOCKED, rtype);
        assert_eq!((reply.answers(), reply.message.metadata.response_code), (own(answers), ResponseCode::NoError));
    }
    let only_asked = home.wait_for_row("the questions", |row| row["count"] == 3);
    assert_eq!(only_asked["channel"], serde_json::json!(["dns"]));
    let at = at(&home);
    let alert = say(at, &hello(BLOCKED));
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 49], "a fatal alert");
    let answer = String::from_utf8(say(
        at,
        b"POST /updates/x?y HTTP/1.1\r\nHost: s00.upd.kaspersky.com\r\nUser-Agent: Up/2\r\nContent-Length: 4\r\n\r\nbody",
    ))
    .unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("Connection: close"), "{answer}");
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&initial(), at).unwrap();
    let row = home.wait_for_row("the connections", |row| row["purpose"] == "update" && row["count"] == 6);
    assert_eq!(
        (&row["grade"], &row["verdict"], &row["vendor"]),
        (&"software".into(), &"block".into(), &"kaspersky".into())
    );
    assert_eq!(row["channel"], serde_json::json!(["dns", "sinkhole"]));
    assert_eq!(row["endpoint"]["addresses"][0], "127.0.0.1");
    let evidence = evidence(&row);
    for begin in [
        "TLS to s00.upd.kaspersky.com, JA4 t",
        "POST /updates/x?y to s00.upd.kaspersky.com, agent Up/2",
        "QUIC to s00.upd.kaspersky.com, JA4 q",
    ] {
        assert!(evidence.iter().any(|what| what.starts_with(begin)), "{begin}: {evidence:?}");
    }
    let table = home.run(&["report"]).good();
    assert!(table.contains("127.0.0.1 kaspersky update: sinkhole TLS to s00.upd.kaspersky.com"), "{table}");
    assert_eq!(
        [counted(&home, "tls"), counted(&home, "http"), counted(&home, "quic"), counted(&home, "attempts")],
        [1, 1, 1, 3]
    );
}

fn own(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

#[test]
fn forms_name_the_vendor_where_no_host_does_and_others_are_nobodys() {
    let (home, _daemon) = started();
    let at = at(&home);
    say(at, format!("GET /updates/x.klz HTTP/1.0\r\nHost: {at}\r\nUser-Agent: *Zm9vYmFy\r\n\r\n").as_bytes());
    let row = home.wait_for_row("the forms", |row| row["vendor"] == "kaspersky");
    assert!(evidence(&row)[0].contains("http-uri-prefix /updates/ (vendors/kaspersky.toml:"), "{row}");
    assert_eq!(
        (&row["grade"], row["destinations"][0]["destination"].as_str()),
        (&"software".into(), Some("127.0.0.1"))
    );
    assert!(say(at, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n").starts_with(b"HTTP/1.1 403"));
    assert_eq!(say(at, b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a"), b"");
    assert_eq!([counted(&home, "unlisted"), counted(&home, "nameless"), counted(&home, "other")], [1, 1, 1]);
    assert_eq!(home.rows().len(), 1);
}

#[test]
fn real_clients_are_ended_cleanly() {
    let (home, _daemon) = started();
    let at = at(&home);
    if let Some(curl) = tier::program("curl") {
        let lead = format!("{BLOCKED}:{}:127.0.0.1", at.port());
        let run = |scheme: &str| {
            let url = format!("{scheme}://{BLOCKED}:{}/a", at.port());
            let mut command = Command::new(&curl);
            command.args(["-sk", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}"]);
            let output = command.args(["--resolve", &lead, &url]).output().unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        };
        assert_eq!(run("http"), (Some(0), "403".to_owned()));
        assert_eq!(run("https"), (Some(35), "000".to_owned()), "the handshake is refused");
        home.wait_for_row("curl", |row| {
            row["count"] == 2 && evidence(row).iter().any(|what| what.contains("agent curl/"))
        });
    }
}

#[test]
fn one_client_has_its_share_and_gives_it_back() {
    let (home, _daemon) = started();
    let at = at(&home);
    let idle: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(at).unwrap()).collect();
    let until = Instant::now() + Duration::from_secs(10);
    while counted(&home, "connections") < 40 && Instant::now() < until {
        sleep(Duration::from_millis(50));
    }
    assert_eq!((counted(&home, "connections"), counted(&home, "dropped_client")), (40, 8));
    drop(idle);
    let until = Instant::now() + Duration::from_secs(10);
    while counted(&home, "silent") < 32 && Instant::now() < until {
        sleep(Duration::from_millis(50));
    }
    assert!(say(at, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n").starts_with(b"HTTP/1.1 403"));
}

#[test]
fn a_vendor_may_be_answered_otherwise_and_a_taken_port_is_one_sentence() {
    let home = Home::alone(&format!("[block]\nanswers = {{ \"kaspersky\" = \"nxdomain\" }}\n{TABLE}"));
    let daemon = home.start();
    assert_eq!(daemon.ask(BLOCKED, RecordType::A).message.metadata.response_code, ResponseCode::NXDomain);
    let taken = TABLE.replacen("127.0.0.1:0", &at(&home).to_string(), 1);
    let other = Home::alone(&taken).run(&["run"]);
    assert_eq!((other.code, other.err.lines().count()), (Some(1), 1), "{}", other.err);
    assert!(other.err.contains("address already in use: another program listens there"), "{}", other.err);
}

/// The first datagram of a QUIC client (version 1) that names the blocked host.
fn initial() -> Vec<u8> {
    const HEX: &str = "c10000000108313233343536373800004063f11a8068b993b43076f64dc6f77ef8274fec3e23c288ed1c3a7cd40e9bb78eea9e5434b1ac\
        10f23f63b4a6817cd9cd7d35de6046a52ba89fa31f7efe956c756e59ef22c49486566365f50c8594ace2bf3f1430e1bfafb259fba38654\
        6350dc834fe311";
    HEX.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
