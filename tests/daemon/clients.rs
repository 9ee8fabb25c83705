//! Who asks: cookies, limits, forwarders and groups, as clients of the real program meet them.

use crate::harness::{Daemon, Home, over_tcp, over_udp};
use crate::tier;
use crate::upstream::{Act, Upstream, wire};
use hickory_proto::op::Message;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

const BLOCKED: &str = "s00.upd.kaspersky.com";
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

/// A query with these whole EDNS options.
fn query(name: &str, options: &[u8]) -> Vec<u8> {
    let mut octets = b"\x47\x11\x01\0\0\x01\0\0\0\0\0\x01".to_vec();
    octets.extend(wire(name));
    octets.extend(b"\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0");
    octets.extend(u16::try_from(options.len()).unwrap().to_be_bytes());
    octets.extend(options);
    octets
}

/// The data of an option of a reply.
fn option(reply: &[u8], code: u16) -> Option<Vec<u8>> {
    let message = Message::from_vec(reply).unwrap();
    let edns = message.edns.as_ref()?;
    let (_, option) = edns.options().as_ref().iter().find(|(at, _)| u16::from(*at) == code)?;
    Some(Vec::<u8>::try_from(option).unwrap())
}

fn answers(reply: &[u8]) -> Vec<String> {
    Message::from_vec(reply).unwrap().answers.iter().map(|record| record.data.to_string()).collect()
}

fn counter(home: &Home, name: &str) -> u64 {
    home.run(&["status", "--format", "json"]).json()["counters"][name].as_u64().unwrap()
}

/// A config without upstream that has this in `[dns]`.
fn configured(dns: &str) -> Home {
    let home = Home::alone("");
    let text = std::fs::read_to_string(home.path("interdict.toml")).unwrap();
    home.write("interdict.toml", &text.replace("workers = 1", &format!("workers = 1\n{dns}")));
    home
}

/// Whether an attempt of this client is in the ledger, waited for.
fn wait_for_client(home: &Home, client: &str) -> Value {
    home.wait_for_row(client, |row| row["endpoint"]["addresses"].as_array().unwrap().iter().any(|at| at == client))
}

#[test]
fn clients_with_a_cookie_get_ours_with_every_answer() {
    let upstream = Upstream::start([("www.allowed.example", Act::Address(ELSEWHERE))]);
    let home = Home::new(upstream.address, "");
    let daemon = home.start();
    let mut seen = Vec::new();
    for name in [BLOCKED, "www.allowed.example", "www.allowed.example", "x.localhost"] {
        for ask in [over_udp, over_tcp] {
            let reply = ask(daemon.address, &query(name, b"\0\x0a\0\x08a cookie"));
            let cookie = option(&reply, 10).unwrap();
            assert_eq!((cookie.len(), &cookie[..12]), (24, &b"a cookie\x01\0\0\0"[..]), "{name}");
            assert_eq!(answers(&reply).len(), 1);
            seen.push(cookie);
        }
        assert_eq!(option(&over_udp(daemon.address, &query(name, b"")), 10), None, "none for who sends none");
    }
    // The whole of it comes back with the next question.
    let sent = [&b"\0\x0a\0\x18"[..], &seen[0]].concat();
    assert_eq!(option(&over_udp(daemon.address, &query(BLOCKED, &sent)), 10).unwrap()[..8], *b"a cookie");
    let wrong = over_udp(daemon.address, &query(BLOCKED, b"\0\x0a\0\x09a cookie!"));
    assert_eq!(wrong[3] & 15, 1, "FORMERR (RFC 7873 section 5.2.2)");
    let other = over_udp(daemon.address, &query(BLOCKED, b"\0\x0a\0\x08another!"));
    assert_ne!(option(&other, 10).unwrap()[16..], seen[0][16..]);
}

#[test]
fn streams_are_told_how_long_they_may_idle() {
    let daemon = Home::alone("").start();
    let asked = query(BLOCKED, b"\0\x0b\0\0");
    assert_eq!(option(&over_tcp(daemon.address, &asked), 11).as_deref(), Some(&[0, 100][..]), "ten seconds");
    assert_eq!(option(&over_tcp(daemon.address, &query(BLOCKED, b"")), 11), None);
    assert_eq!(option(&over_udp(daemon.address, &asked), 11), None, "it means nothing in a datagram");
}

#[test]
fn a_client_that_asks_too_much_is_held_back_and_others_are_not() {
    let home = configured("client_rate = 50");
    let daemon = home.start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket.connect(daemon.address).unwrap();
    for _ in 0..200 {
        socket.send(&query(BLOCKED, b"")).unwrap();
    }
    let mut buffer = [0; 1_232];
    let answered = std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count();
    assert!((50..=75).contains(&answered), "{answered} of 200, where 50 and what a moment refills may pass");
    let other = UdpSocket::bind("127.0.0.2:0").unwrap();
    other.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    other.send_to(&query(BLOCKED, b""), daemon.address).unwrap();
    assert!(other.recv(&mut buffer).is_ok(), "another client has its own rate");
    // Over TCP the client waits, and nothing is lost.
    let begun = Instant::now();
    let mut stream = TcpStream::connect(daemon.address).unwrap();
    let message = query(BLOCKED, b"");
    let framed = [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
    stream.write_all(&framed.repeat(100)).unwrap();
    let mut len = [0; 2];
    for _ in 0..100 {
        stream.read_exact(&mut len).unwrap();
        stream.read_exact(&mut buffer[..usize::from(u16::from_be_bytes(len))]).unwrap();
    }
    assert!(begun.elapsed() > Duration::from_millis(900), "100 at 50 a second took {:?}", begun.elapsed());
    assert!(counter(&home, "limited_queries") >= 125);
}

const SUBNET: &[u8] = b"\0\x08\0\x08\0\x01\x20\0\x0a\x01\x02\x03";
const MAC: &[u8] = b"\xfd\xe9\0\x06\x02\x11\x22\x33\x44\x55";

fn proxied(message: &[u8]) -> Vec<u8> {
    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\x0a\x09\x08\x07\x0a\0\0\x01\0\x63\0\x35";
    [&head[..], message].concat()
}

#[test]
fn a_forwarder_names_its_clients_and_strangers_do_not() {
    let home = configured("forwarders = [{ address = \"127.0.0.1\", identity = [\"proxy\", \"ecs\", \"mac\"] }]");
    let daemon = home.start();
    assert_eq!(answers(&over_udp(daemon.address, &query(BLOCKED, SUBNET))), ["0.0.0.0"]);
    over_udp(daemon.address, &query(BLOCKED, MAC));
    over_udp(daemon.address, &proxied(&query(BLOCKED, b"")));
    // Over TCP the header comes once, before the first message.
    let mut stream = TcpStream::connect(daemon.address).unwrap();
    let message = query("s01.upd.kaspersky.com", b"");
    let framed = [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
    stream.write_all(&proxied(&framed.repeat(2))).unwrap();
    stream.read_exact(&mut [0; 80]).unwrap();
    for client in ["10.1.2.3", "fe80::11:22ff:fe33:4455"] {
        assert_eq!(wait_for_client(&home, client)["count"], 1);
    }
    let row = home.wait_for_row("10.9.8.7", |row| row["count"] == 3);
    assert_eq!(row["endpoint"]["addresses"][0], "10.9.8.7");
    assert_eq!(home.rows().len(), 3, "nothing is said of the forwarder itself");
    drop(daemon);
    // Without being named in the config, nobody is believed.
    let home = Home::alone("");
    let daemon = home.start();
    over_udp(daemon.address, &query(BLOCKED, SUBNET));
    over_udp(daemon.address, &query(BLOCKED, MAC));
    home.wait_for_row("127.0.0.1", |row| row["count"] == 2 && row["endpoint"]["addresses"][0] == "127.0.0.1");
    assert_eq!(over_udp(daemon.address, &proxied(&query(BLOCKED, b"")))[3] & 15, 4, "to us it is opcode 1");
    assert_eq!(home.rows().len(), 1);
}

const GROUPS: &str = r#"
[[group]]
id = "lab"
clients = ["127.0.0.2", "02:11:22:33:44:55"]
stages = { "kaspersky" = "observe", "mine" = "off" }
[[exception]]
name = "spared.example"
groups = ["lab"]
reason = "r"
approver = "a"
[[blocklist]]
id = "mine"
path = "mine.txt"
"#;

/// What a client at this address is answered.
fn from(address: [u8; 4], daemon: &Daemon, name: &str) -> Vec<String> {
    let socket = UdpSocket::bind((IpAddr::from(address), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.send_to(&query(name, b""), daemon.address).unwrap();
    let mut buffer = [0; 1_232];
    let len = socket.recv(&mut buffer).unwrap();
    answers(&buffer[..len])
}

#[test]
fn groups_have_their_own_stages_and_the_cache_does_not_mix_them() {
    let upstream = Upstream::start([
        (BLOCKED, Act::Address(ELSEWHERE)),
        ("listed.example", Act::Address(ELSEWHERE)),
        ("spared.example", Act::Address(ELSEWHERE)),
        ("alias.example", Act::Alias("listed.example", ELSEWHERE)),
        // In the vendor's network, which names that nobody mentions must not lead to.
        ("unlisted.example", Act::Address(Ipv4Addr::new(77, 74, 181, 10))),
    ]);
    let home = Home::new(upstream.address, GROUPS);
    home.write("mine.txt", "listed.example\nspared.example\n");
    let daemon = home.start();
    let (lab, office) = ([127, 0, 0, 2], [127, 0, 0, 1]);
    let names = [BLOCKED, "listed.example", "spared.example", "alias.example", "unlisted.example"];
    for round in 0..3 {
        for name in names {
            let first = from(lab, &daemon, name);
            assert!(!first.is_empty() && first[0] != "0.0.0.0", "{name} for the lab in round {round}: {first:?}");
            let then = from(office, &daemon, name);
            assert_eq!(then, ["0.0.0.0"], "{name} for the office in round {round}");
        }
    }
    let check = |client: &str, name: &str| home.run(&["check", "--client", client, "--format", "jsonl", name]).json();
    let said = check("127.0.0.2", BLOCKED);
    assert_eq!((&said["verdict"], &said["group"]), (&"observe".into(), &"lab".into()));
    assert_eq!(said["reason"], "[[group]] lab sets kaspersky to observe");
    assert_eq!(check("127.0.0.1", BLOCKED)["verdict"], "block");
    assert_eq!(check("fe80::11:22ff:fe33:4455", BLOCKED)["group"], "lab", "by its hardware address");
    assert_eq!(check("127.0.0.2", "spared.example")["verdict"], "allow");
    assert_eq!(check("127.0.0.1", "spared.example")["verdict"], "block");
    let words = home.run(&["check", "--client", "127.0.0.2", BLOCKED]).good();
    assert!(words.contains("\n  group    lab"), "{words}");
}

#[test]
fn mistakes_about_clients_are_sentences_with_their_line() {
    let head = "version = 1\n";
    for (text, said) in [
        ("[[group]]\nid = \"a\"\nclients = [\"x\"]\n", ":4: clients = \"x\" is no address or network"),
        ("[[group]]\nid = \"a\"\nclients = []\n", ":3: [[group]] a has no clients, so nothing of it would ever hold"),
        (
            "[[group]]\nid = \"a\"\nclients = [\"10.0.0.1\"]\nstages = { \"kaspersy\" = \"off\" }\n",
            ":3: stages names \"kaspersy\"",
        ),
        (
            "[dns]\nforwarders = [{ address = \"10.0.0.1\", identity = [\"x\"] }]\n",
            ":3: identity = \"x\": \"x\" is no Identity",
        ),
        ("[dns]\nrecords = [\"a.b CNAME c.d\"]\n", ":3: records: \"a.b CNAME c.d\": \"CNAME\" is no type"),
        ("[dns]\nhosts = \"nowhere\"\n", ":3: hosts: "),
        ("[dns]\nclient_rate = 9999999\n", ":3: client_rate = 9999999 is out of bounds"),
        (
            "[[exception]]\nname = \"a.b\"\ngroups = [\"x\"]\nreason = \"r\"\napprover = \"a\"\n",
            ":4: groups: \"x\" is no [[group]] of this file",
        ),
    ] {
        let ran = Home::with_config(&format!("{head}{text}")).run(&["config", "check"]);
        assert_ne!(ran.code, Some(0), "{text}");
        assert!(ran.err.contains(said), "{text}: {}", ran.err);
    }
}

/// Whether this is the test's own copy within a network of its own; if not, runs it there.
fn is_alone(test: &str) -> bool {
    if std::env::var_os("INTERDICT_ALONE").is_some() {
        return true;
    }
    let (true, Some(unshare)) = (tier::root(), tier::program("unshare")) else { return false };
    let ran = Command::new(unshare)
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("INTERDICT_ALONE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    false
}

fn ip(arguments: &str) {
    let ran = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(ran.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn forged_senders_get_no_more_than_they_send_and_real_clients_recover() {
    if !is_alone("clients::forged_senders_get_no_more_than_they_send_and_real_clients_recover") {
        return;
    }
    for command in ["link set lo up", "addr add 192.0.2.1/24 dev lo", "addr add 192.0.2.9/24 dev lo"] {
        ip(command);
    }
    let home = configured("allow = [\"192.0.2.0/24\"]");
    let text = std::fs::read_to_string(home.path("interdict.toml")).unwrap();
    home.write("interdict.toml", &text.replace("127.0.0.1:0", "192.0.2.1:0"));
    let daemon = home.start();
    // Whoever is flooded counts what comes; the sender's address is as good as forged.
    let victim = UdpSocket::bind("192.0.2.9:0").unwrap();
    victim.set_nonblocking(true).unwrap();
    let message = query(BLOCKED, b"");
    let mut buffer = [0; 1_232];
    let seconds = u64::try_from(tier::count(3, 10, 60)).unwrap();
    let (mut queries, mut sent, mut came) = (0_u128, 0, 0);
    let begun = Instant::now();
    let mut is_counted = false;
    while begun.elapsed() < Duration::from_secs(1 + seconds) {
        if !is_counted && begun.elapsed() > Duration::from_secs(1) {
            (is_counted, sent, came) = (true, 0, 0);
        }
        // Ten thousand a second.
        while queries * 100 < begun.elapsed().as_micros() {
            victim.send_to(&message, daemon.address).unwrap();
            queries += 1;
            sent += message.len();
        }
        while let Ok(len) = victim.recv(&mut buffer) {
            came += len;
        }
    }
    assert!(came <= sent, "{came} octets for {sent}, {:.2} times as many", came as f64 / sent as f64);
    assert!(came > 0, "every second query is told to come over TCP");
    assert!(counter(&home, "limited_answers") > 0 && counter(&home, "limited_truncated") > 0);
    // A real client next door: over TCP at once, and over UDP once it has a cookie.
    let socket = UdpSocket::bind("192.0.2.9:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket.connect(daemon.address).unwrap();
    let truncated = (0..5_000).find_map(|_| {
        socket.send(&query(BLOCKED, b"\0\x0a\0\x08a cookie")).unwrap();
        let len = socket.recv(&mut buffer).ok()?;
        (buffer[2] & 2 != 0).then(|| buffer[..len].to_vec())
    });
    let truncated = truncated.expect("the share of its network is spent again");
    assert_eq!(answers(&over_tcp(daemon.address, &message)), ["0.0.0.0"]);
    let cookie = [&b"\0\x0a\0\x18"[..], &option(&truncated, 10).unwrap()].concat();
    for _ in 0..2_000 {
        socket.send(&query(BLOCKED, &cookie)).unwrap();
        let len = socket.recv(&mut buffer).unwrap();
        assert_eq!(answers(&buffer[..len]), ["0.0.0.0"], "whoever has our cookie is not limited");
    }
}

#[test]
fn who_asks_for_many_is_marked_as_a_forwarder_and_who_asks_often_is_not() {
    let home = configured("forwarders = [{ address = \"127.0.0.3\" }]");
    let daemon = home.start();
    let (many, often, named) = ([127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3]);
    for n in 0..4_000 {
        assert_eq!(from(many, &daemon, &format!("host{n}.upd.kaspersky.com")), ["0.0.0.0"]);
        from(often, &daemon, &format!("host{}.upd.kaspersky.com", n % 100));
    }
    from(named, &daemon, BLOCKED);
    for (address, wanted) in
        [("127.0.0.1", "detected".into()), ("127.0.0.2", Value::Null), ("127.0.0.3", "configured".into())]
    {
        home.wait_for_row(address, |row| {
            row["endpoint"]["addresses"][0] == address && row["endpoint"]["forwarder"] == wanted
        });
    }
    let table = home.run(&["report"]).good();
    assert!(table.contains("127.0.0.1 (forwarder)") && table.contains("127.0.0.3 (forwarder)"), "{table}");
    assert!(!table.contains("127.0.0.2 (forwarder)") && table.contains("A forwarder asks for others"), "{table}");
    drop(daemon);
    // The mark outlives the daemon.
    assert!(home.rows().iter().any(|row| row["endpoint"]["forwarder"] == "detected"));
}
