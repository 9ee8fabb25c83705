//! Names in the first packets of connections: real clients, cut and large hellos, QUIC, and what becomes of connections that were open.

use crate::gateway::{enforcing, named_row};
use crate::net::{Net, site};
use crate::space::{on, part, sh, until};
use crate::tier;
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A web server of the internet: TLS and HTTP on ports of its own, since the internet answers on the usual ones.
const WEB: &str = "
daemon off; pid web.pid; error_log stderr crit; worker_processes 1; user root;
events { worker_connections 512; }
http {
    access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    server {
        listen 192.0.2.20:8443 ssl http2; listen [2001:db8:900d::20]:8443 ssl http2;
        listen 192.0.2.20:8080; listen [2001:db8:900d::20]:8080;
        ssl_certificate cert.pem; ssl_certificate_key key.pem; ssl_protocols TLSv1.2 TLSv1.3;
        location / { return 200 \"served\"; }
    }
}
";

/// The ports beside the usual ones.
pub(crate) const PORTS: &str = "inspect_tcp = [80, 443, 8080, 8443]\ninspect_udp = [443]\n";
const LISTED: &str = "a.update.acme.example";
const OTHER: &str = "other.example";

/// A browser with a new profile, and without what browsers do by themselves. Its hellos are post-quantum, longer than a datagram, and
/// cut and shuffled as it likes.
const BROWSER: &str = "timeout 30 chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-dev-shm-usage \
    --disable-background-networking --disable-component-update --disable-sync --user-data-dir=$(mktemp -d -p /run) \
    --ignore-certificate-errors --ignore-certificate-errors-spki-list=$(cat /run/web/spki) \
    --host-resolver-rules='MAP * 192.0.2.20' --dump-dom";
/// A QUIC client with a version and an address; it says the name that it resolves, and leaves what it was given in a file.
const QUIC: &str = "quic() { cd $(mktemp -d -p /run) && echo $2 NAME > hosts && unshare -m sh -c 'mount --bind hosts /etc/hosts && \
    gtlsclient -q --timeout=3s --exit-on-all-streams-close --download=. -v $0 NAME 443 https://NAME/' $1; cat index.html; }; quic";

/// What real clients say to whom, with the name in place of NAME, and the channel that has it in the ledger.
const CLIENTS: &[(&str, &str)] = &[
    ("curl -sk --max-time 5 --connect-to ::192.0.2.20:8443 https://NAME/", "tls-sni"),
    ("curl -sk --max-time 5 --http1.1 --tls-max 1.2 --connect-to ::192.0.2.20:8443 https://NAME/", "tls-sni"),
    ("curl -sk --max-time 5 --connect-to ::[2001:db8:900d::20]:8443 https://NAME/", "tls-sni"),
    ("curl -s --max-time 5 --connect-to ::192.0.2.20:8080 http://NAME/", "http-host"),
    ("curl -s --max-time 5 --connect-to ::[2001:db8:900d::20]:8080 http://NAME/", "http-host"),
    ("curl -s --max-time 5 --connect-to ::192.0.2.20:8080 http://other.example/ http://NAME/", "http-host"),
    ("GET | openssl s_client -quiet -connect 192.0.2.20:8443 -servername NAME 2>/dev/null", "tls-sni"),
    ("GET | openssl s_client -quiet -tls1_2 -connect 192.0.2.20:8443 -servername NAME 2>/dev/null", "tls-sni"),
    (
        "GET | openssl s_client -quiet -max_send_frag 512 -connect 192.0.2.20:8443 -servername NAME 2>/dev/null",
        "tls-sni",
    ),
    ("BROWSER https://NAME:8443/", "tls-sni"),
    ("BROWSER --origin-to-force-quic-on=NAME:443 https://NAME/", "quic-sni"),
    ("QUIC v1 192.0.2.20", "quic-sni"),
    ("QUIC v2draft 192.0.2.20", "quic-sni"),
    ("QUIC v1 2001:db8:900d::20", "quic-sni"),
];

/// Our own clients: kind, address, octets of padding, octets of each segment (0: all at once).
const OWN: &[(&str, &str, u16, usize, &str)] = &[
    ("tls", "192.0.2.7", 0, 0, "tls-sni"),
    ("tls", "192.0.2.7", 0, 1, "tls-sni"),
    ("tls", "192.0.2.7", 0, 40, "tls-sni"),
    ("tls", "192.0.2.7", 1_700, 0, "tls-sni"),
    ("tls", "192.0.2.7", 1_700, 700, "tls-sni"),
    ("tls", "2001:db8:900d::7", 1_700, 1_200, "tls-sni"),
    ("tls", "192.0.2.7", 12_000, 0, "tls-sni"),
    ("quic1", "192.0.2.7", 0, 0, "quic-sni"),
    ("quic1", "192.0.2.7", 1_500, 0, "quic-sni"),
    ("quic2", "192.0.2.7", 0, 0, "quic-sni"),
    ("quic2", "192.0.2.7", 1_500, 0, "quic-sni"),
    ("quic1", "2001:db8:900d::7", 1_500, 0, "quic-sni"),
    ("http", "192.0.2.7", 0, 0, "http-host"),
    ("http", "192.0.2.7", 0, 7, "http-host"),
];

/// The web servers; they end with this.
pub(crate) struct Web(Vec<Child>);

impl Web {
    pub(crate) fn start() -> Option<Self> {
        let nginx = tier::program("nginx")?;
        sh(&format!(
            "mkdir -p /run/web/logs && cd /run/web && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem \
             -out cert.pem -subj /CN=web.example -days 30 2>/dev/null && mkdir pages && printf served > pages/index.html && \
             openssl x509 -in cert.pem -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64 > spki && \
             cat > web.conf <<'END'\n{WEB}\nEND"
        ));
        let mut web = Self(Vec::new());
        let mut serve = |command: &mut Command| {
            let quiet =
                command.current_dir("/run/web").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            web.0.push(quiet.spawn().unwrap());
        };
        serve(on("internet", nginx).args(["-p", "/run/web", "-c", "web.conf"]));
        if let Some(quic) = tier::program("gtlsserver") {
            for address in ["192.0.2.20", "2001:db8:900d::20"] {
                serve(on("internet", &quic).args(["-q", "-d", "pages", address, "443", "key.pem", "cert.pem"]));
            }
        }
        until("the web server answers", Duration::from_secs(10), || {
            fetch("curl -s --max-time 1 --connect-to ::192.0.2.20:8080 http://NAME/", OTHER) == "served"
        });
        Some(web)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        for server in &mut self.0 {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// What a client of the client's host gets.
fn fetch(line: &str, name: &str) -> String {
    let line = line
        .replace("GET |", "printf 'GET / HTTP/1.0\\r\\n\\r\\n' |")
        .replace("BROWSER", BROWSER)
        .replace("QUIC", QUIC);
    let line = line.replace("NAME", name);
    let output = on("client", "sh").args(["-c", &line]).stderr(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // What follows the head of a reply, and what a browser shows around it.
    let body = text.rsplit("\r\n\r\n").next().unwrap_or_default();
    if body.starts_with("<html>") { body.matches("served").collect() } else { body.to_owned() }
}

/// What our own client came to.
fn own((kind, to, padding, segment, _): &(&str, &str, u16, usize, &str), name: &str) -> String {
    let child = part("client", &format!("say {kind} {to} {name} {padding} {segment}"));
    let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("said ")).unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Waits until the kernel hands us packets.
pub(crate) fn looking() {
    until("names are looked at", Duration::from_secs(10), || {
        sh("nft list set inet interdict inspect-tcp").contains("443")
            && sh("nft list set inet interdict inspect-udp").contains("443")
    });
}

pub(crate) fn real_clients_are_told_by_their_names() {
    let net = Net::new();
    let web = Web::start();
    let clients = if web.is_some() && tier::program("curl").is_some() { CLIENTS } else { &[] };
    let site = site(PORTS);
    let daemon = site.start();
    let status = enforcing(&daemon);
    looking();
    println!("packets wait for us by {}", status["queue"]);
    let mut rows = 0;
    let has_quic = tier::program("gtlsserver").is_some() && tier::program("gtlsclient").is_some();
    let has_browser = tier::program("chromium").is_some();
    for (line, channel) in clients {
        if line.starts_with("BROWSER") && !has_browser || *channel == "quic-sni" && !has_quic {
            continue;
        }
        let (with, without) = (fetch(line, LISTED), fetch(line, OTHER));
        println!("{channel:9} listed: {with:8} not listed: {without:12} {}", line.split(" 2>").next().unwrap());
        // Two requests on one connection: the first one is served.
        let (blocked, open) = if line.contains("http://other") { ("served", "servedserved") } else { ("", "served") };
        assert_eq!((with.as_str(), without.as_str()), (blocked, open), "{line}");
        rows += 1;
    }
    for case in OWN {
        let (with, without) = (own(case, LISTED), own(case, OTHER));
        println!("{:9} listed: {with:10} not listed: {without:12} {case:?}", case.4);
        let refused = if case.4 == "quic-sni" { "prohibited" } else { "reset" };
        assert_eq!((with.as_str(), without.as_str()), (refused, "open"), "{case:?}");
        rows += 1;
    }
    println!("{rows} rows");
    for channel in ["tls-sni", "http-host", "quic-sni"] {
        named_row(&site, "10.1.0.2", "update", "block", channel);
    }
    let inspect = &daemon.status()["gateway"]["inspect"];
    println!("{inspect}");
    assert_eq!(
        (&inspect["restarts"], &inspect["resets_failed"], &inspect["overruns"]),
        (&0.into(), &0.into(), &0.into())
    );
    assert_eq!(net.seen("listed"), 0);
    servers_are_reset();
}

/// No connection that was refused is left open at its server.
fn servers_are_reset() {
    until("no refused connection is left at its server", Duration::from_secs(3), || {
        sh("ip netns exec internet ss -tnH state established '( sport = :443 or sport = :8443 or sport = :8080 )'")
            .is_empty()
    });
}

pub(crate) fn this_machines_own_connections_are_told_by_their_names() {
    let net = Net::new();
    let (Some(_web), Some(_)) = (Web::start(), tier::program("curl")) else { return };
    let site = site(&format!("{PORTS}local = true\n"));
    let daemon = site.start();
    enforcing(&daemon);
    looking();
    let here = |line: &str, name: &str| {
        let output = Command::new("sh").args(["-c", &line.replace("NAME", name)]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (line, channel) in CLIENTS.iter().filter(|(line, _)| line.starts_with("curl") && !line.contains("http://other"))
    {
        let (with, without) = (here(line, LISTED), here(line, OTHER));
        println!("{channel:9} listed: {with:8} not listed: {without:8} {line}");
        assert_eq!((with.as_str(), without.as_str()), ("", "served"), "{line}");
        let own = if line.contains('[') { "2001:db8:ff::1" } else { "198.51.100.1" };
        named_row(&site, own, "update", "block", channel);
    }
    // What this machine sends to itself waits for nobody.
    let inspected = |daemon: &crate::daemon::Daemon| daemon.status()["gateway"]["counters"]["inspected"].clone();
    std::thread::sleep(Duration::from_millis(500));
    let before = inspected(&daemon);
    let listener = std::net::TcpListener::bind("127.0.0.1:8080").unwrap();
    std::net::TcpStream::connect("127.0.0.1:8080").unwrap();
    drop(listener);
    assert_eq!(inspected(&daemon), before);
    assert_eq!(net.seen("listed"), 0);
    servers_are_reset();
}

/// A connection that keeps talking, and was begun with a name.
fn talker(name: &str, port: &str, seconds: usize) -> Child {
    part("client", &format!("talk-as {name} 192.0.2.9:{port} {seconds}"))
}

/// When a connection broke after it began, in seconds.
fn broke(talker: Child) -> Option<f64> {
    let text = String::from_utf8(talker.wait_with_output().unwrap().stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("unbroken") || line.starts_with("broken")).unwrap();
    line.strip_prefix("broken after ").map(|words| words.split(' ').next().unwrap().parse().unwrap())
}

pub(crate) fn a_new_ban_ends_open_connections() {
    let net = Net::new();
    let site = site("[[blocklist]]\nid = \"late\"\npath = \"late.txt\"\nformat = \"domains\"\n");
    site.write("late.txt", "nothing.example\n");
    let daemon = site.start();
    enforcing(&daemon);
    looking();
    let talkers = [("late.example", "443"), ("late.example", "80"), (OTHER, "443"), (OTHER, "80")];
    let begun = Instant::now();
    let running = talkers.map(|(name, port)| talker(name, port, 14));
    std::thread::sleep(Duration::from_secs(3));
    let packets = |daemon: &crate::daemon::Daemon| daemon.status()["gateway"]["inspect"]["packets"].as_u64().unwrap();
    let before = packets(&daemon);
    std::thread::sleep(Duration::from_millis(500));
    println!("{} packets left the kernel in half a second of four connections", packets(&daemon) - before);
    site.write("late.txt", "late.example\n");
    let asked = begun.elapsed();
    assert!(site.program(&["reload"]).status.success());
    let reloaded = begun.elapsed();
    for ((name, port), running) in talkers.iter().zip(running) {
        let broke = broke(running);
        println!(
            "{name} port {port}: broke at {broke:?} s; the reload was asked for at {asked:?}, done at {reloaded:?}"
        );
        match broke {
            // How soon is a figure, printed above; that it is before the connection would have ended is the claim.
            Some(at) if *name != OTHER => assert!(at >= asked.as_secs_f64() - 0.5, "{name}: {at}"),
            other => assert!(other.is_none() && *name == OTHER, "{name} port {port}: {other:?}"),
        }
    }
    assert_eq!(net.seen("listed"), 0);
    let refused: &Value = &daemon.status()["gateway"]["counters"]["refused"]["packets"];
    assert!(refused.as_u64().unwrap() >= 2, "{refused}");
}
