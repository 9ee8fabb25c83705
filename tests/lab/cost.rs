//! What enforcement costs those who are not listed: the same traffic with it and without, in turn. Nothing here fails for a time.

use crate::daemon::{Daemon, Site};
use crate::gateway::enforcing;
use crate::kernel::scattered;
use crate::names::{PORTS, Web, looking};
use crate::net::{Net, site};
use crate::space::{on, part, sh, until};
use crate::tier;
use serde_json::Value;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The server of bulk data.
const BULK: &str = "192.0.2.30";
/// One on which the first packets of connections are looked at.
const BULK_PORT: &str = "8443";
/// Every interface that packets pass on their way.
const INTERFACES: [(&str, &str); 4] = [("", "lan"), ("", "wan"), ("client", "eth0"), ("internet", "eth0")];

/// How the gateway forwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// With nothing in the kernel.
    Bare,
    /// With its connections tracked, as on any gateway that translates addresses or has a firewall with a state.
    Tracking,
    /// With enforcement.
    Enforcing,
}

/// Has the kernel track connections, and no more.
const TRACK: &str = "nft -f - <<'END'
table inet track {
    chain forward {
        type filter hook forward priority 0
        ct state established counter
    }
}
END
";

/// What one turn came to.
#[derive(Clone, Debug, Default)]
struct Turn {
    /// Gbit/s with segments put together, and one by one.
    bulk: [f64; 2],
    /// Full TLS 1.3 handshakes a second.
    handshakes: f64,
    /// Microseconds to the first answer: median and 99th percentile, over TCP and over UDP.
    first: [f64; 4],
}

/// The server of bulk data as it runs.
struct Bulk(Child);

impl Drop for Bulk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn what_enforcement_costs_others() {
    let (rounds, count) = (tier::count(1, 3, 20), tier::count(1_000, 100_000, 100_000));
    let (Some(iperf), Some(_)) = (tier::program("iperf3"), tier::program("curl")) else { return };
    let _net = Net::new();
    let Some(_web) = Web::start() else { return };
    let server = on("internet", iperf).args(["-s", "-B", BULK, "-p", BULK_PORT]).stdout(Stdio::null()).spawn().unwrap();
    let _bulk = Bulk(server);
    let site = site(&format!(
        "{PORTS}[[blocklist]]\nid = \"many\"\npath = \"many.txt\"\nformat = \"cidr\"\n\
         [[blocklist]]\nid = \"names\"\npath = \"names.txt\"\nformat = \"domains\"\n"
    ));
    let ranges = u32::try_from(count).unwrap();
    site.write("many.txt", &(scattered(ranges, 0x0b00_0000).replace(' ', "\n") + "\n"));
    let names: Vec<String> = (0..count).map(|at| format!("n{at}.listed.example\n")).collect();
    site.write("names.txt", &names.concat());
    let daemon = site.start();
    enforcing(&daemon);
    let mut turns: [Vec<Turn>; 3] = Default::default();
    for round in 0..rounds {
        // Each is first in one round, in the middle in the next, and last in the one after.
        let mut order = [State::Bare, State::Tracking, State::Enforcing];
        order.rotate_left(round % 3);
        for state in order {
            switch(&site, &daemon, state);
            let turn = turn(tier::count(1, 1, 2));
            println!("round {round} {state:?} {turn:?}");
            turns[state as usize].push(turn);
        }
    }
    let figure = |what: &str, of: &dyn Fn(&Turn) -> f64, unit: &str| {
        let [bare, tracking, enforcing] = turns.each_ref().map(|turns| turns.iter().map(of).collect::<Vec<f64>>());
        println!(
            "{what:26} {:8.2} {unit:6} bare; tracking {}; enforcing {}, {} of tracking",
            median(&bare),
            share(&tracking, &bare),
            share(&enforcing, &bare),
            share(&enforcing, &tracking),
        );
    };
    println!(
        "{rounds} rounds, {count} ranges and names; medians, and the interval that holds the median of the ratios at 95 %:"
    );
    figure("iperf3, GSO", &|turn| turn.bulk[0], "Gbit/s");
    figure("iperf3, no GSO", &|turn| turn.bulk[1], "Gbit/s");
    figure("TLS 1.3 handshakes", &|turn| turn.handshakes, "1/s");
    for (at, what) in
        ["TCP, first answer, median", "TCP, first answer, p99", "UDP, first answer, median", "UDP, first answer, p99"]
            .iter()
            .enumerate()
    {
        figure(what, &|turn| turn.first[at], "us");
    }
}

/// Puts it in force, or takes it out.
fn switch(site: &Site, daemon: &Daemon, state: State) {
    // Of the state before: ours goes with `remove`.
    sh("nft delete table inet track 2>/dev/null || true");
    let output = site.program(&["gateway", if state == State::Enforcing { "apply" } else { "remove" }]);
    assert!(output.status.success(), "{output:?}");
    match state {
        State::Enforcing => {
            enforcing(daemon);
            looking();
        }
        State::Bare => {
            until("nothing is in the kernel", Duration::from_secs(10), || sh("nft list ruleset").is_empty());
        }
        State::Tracking => drop(sh(TRACK)),
    }
}

/// The median of ratios of turns beside each other, with its interval.
fn share(of: &[f64], to: &[f64]) -> String {
    let ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| 100.0 * of / to).collect();
    let (low, high) = interval(&ratios);
    format!("{:.1} % [{low:.1}, {high:.1}]", median(&ratios))
}

fn turn(seconds: usize) -> Turn {
    let bulk = [true, false].map(|together| {
        segments(together);
        throughput(seconds)
    });
    segments(true);
    Turn { bulk, handshakes: handshakes(seconds * 400), first: first_answers(seconds * 200) }
}

/// Whether segments may travel together.
fn segments(together: bool) {
    let most = if together { 65_535 } else { 1 };
    for (host, interface) in INTERFACES {
        let set =
            format!("link set {interface} gso_max_segs {most} gso_max_size {}", if together { 65_536 } else { 1_500 });
        if host.is_empty() {
            sh(&format!("ip {set}"))
        } else {
            sh(&format!("ip -n {host} {set}"))
        };
    }
}

fn throughput(seconds: usize) -> f64 {
    let seconds = seconds.to_string();
    let output = on("client", "iperf3")
        .args(["-c", BULK, "-p", BULK_PORT, "-C", "cubic", "-J", "-t", &seconds])
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let bits = said["end"]["sum_received"]["bits_per_second"].as_f64();
    bits.unwrap_or_else(|| panic!("{said}")) / 1e9
}

/// Each of a name of its own, so that none is resumed; eight at a time.
fn handshakes(count: usize) -> f64 {
    let begun = Instant::now();
    let url = format!("https://h[1-{count}].other.example/");
    let mut curl = on("client", "curl");
    curl.args(["-sk", "--tlsv1.3", "--parallel", "--parallel-max", "8", "--connect-to", "::192.0.2.20:8443"]);
    let output = curl.args(["-o", "/dev/null", "-w", "%{http_code}\n", &url]).output().unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let served = String::from_utf8_lossy(&output.stdout).lines().filter(|line| *line == "200").count();
    assert_eq!(served, count, "{output:?}");
    count as f64 / seconds
}

fn first_answers(count: usize) -> [f64; 4] {
    let output = part("client", &format!("first 192.0.2.7:443 {count}")).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let of = |word: &str| {
        let all = text.lines().filter_map(|line| line.strip_prefix(word));
        let mut all: Vec<f64> = all.map(|number| number.trim().parse().unwrap()).collect();
        assert_eq!(all.len(), count, "{text}");
        all.sort_unstable_by(f64::total_cmp);
        [median(&all), all[(all.len() * 99 / 100).min(all.len() - 1)]]
    };
    let ([tcp, tcp99], [udp, udp99]) = (of("tcp "), of("udp "));
    [tcp, tcp99, udp, udp99]
}

fn median(all: &[f64]) -> f64 {
    let mut sorted = all.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 }
}

/// The order statistics between which the median lies with at least 95 %: without assumptions, by the binomial distribution. With few
/// values, the least and the greatest.
fn interval(all: &[f64]) -> (f64, f64) {
    let mut sorted = all.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let count = sorted.len();
    let (mut below, mut chance, mut out) = (0.5_f64.powi(count as i32), 0.5_f64.powi(count as i32), 0);
    // As long as both tails together stay within 5 %.
    while 2.0 * below <= 0.05 && out < count / 2 {
        out += 1;
        chance *= (count - out + 1) as f64 / out as f64;
        below += chance;
    }
    let out = out.saturating_sub(1);
    (sorted[out], sorted[count - 1 - out])
}
