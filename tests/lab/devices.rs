//! Devices that change address and name, on one flat segment and behind a router with a DHCP relay. Server and relay are dnsmasq; the
//! clients speak DHCP frame by frame, so that one host can be fifty.
//!
//! ```text
//! flat (netns) ─ 10.2.0.1 flat [box: daemon, DHCP server] uplink 10.4.0.1 ─ 10.4.0.2 [router: relay] 10.3.0.1 ─ behind (netns)
//! ```

use crate::daemon::{Daemon, Site};
use crate::net::VENDOR;
use crate::space::{on, part, sh, until};
use crate::tier;
use pnet::datalink::{self, Channel, DataLinkReceiver, DataLinkSender};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
/// The hardware addresses of whom clients send through.
const BOX: &str = "02:00:00:00:ff:01";
const ROUTER: &str = "02:00:00:00:ff:03";

fn network() {
    sh(&format!(
        "for host in flat router behind; do ip netns add $host; ip netns exec $host ip link set lo up; done
         ip link add flat address {BOX} type veth peer name eth0 netns flat
         ip link add uplink type veth peer name eth0 netns router
         ip netns exec router ip link add eth1 address {ROUTER} type veth peer name eth0 netns behind
         ip addr add 10.2.0.1/24 dev flat; ip link set flat up; ip netns exec flat ip link set eth0 up
         ip addr add 10.4.0.1/24 dev uplink; ip link set uplink up; ip netns exec behind ip link set eth0 up
         ip netns exec router sh -ec 'ip addr add 10.4.0.2/24 dev eth0; ip link set eth0 up
            ip addr add 10.3.0.1/24 dev eth1; ip link set eth1 up; sysctl -qw net.ipv4.ip_forward=1'
         ip route add 10.3.0.0/24 via 10.4.0.2"
    ));
}

/// A dnsmasq that gives no DNS.
fn dnsmasq(mut command: Command, site: &Site, name: &str, arguments: &[&str]) -> Child {
    let leases = format!("--dhcp-leasefile={}", site.path(name).display());
    command.args([
        "--no-daemon",
        "--port=0",
        "--conf-file=/dev/null",
        "--user=root",
        "--pid-file",
        "--no-ping",
        &leases,
    ]);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Lets clients of a host lease an address each and ask for a listed name: hardware address, host name, the address that is wished.
fn clients(host: &str, through: &str, server: &str, clients: &[[String; 3]]) -> Vec<String> {
    let words: Vec<String> = clients.iter().map(|client| client.join(",")).collect();
    let output = part(host, &format!("dhcp {through} {server} {}", words.join(" "))).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let leased: Vec<String> = text.lines().filter_map(|line| line.strip_prefix("leased ")).map(str::to_owned).collect();
    assert_eq!(leased.len(), clients.len(), "{text}");
    leased
}

fn rows(site: &Site, daemon: &Daemon, attempts: u64) -> Vec<Value> {
    let mut rows = Vec::new();
    until("the attempts are in the report", PATIENCE, || {
        let output = site.program(&["report", "--format", "json"]);
        rows = serde_json::from_slice::<Vec<Value>>(&output.stdout).unwrap_or_default();
        rows.iter().map(|row| row["count"].as_u64().unwrap()).sum::<u64>() >= attempts
    });
    // Who is behind an address may become known a little later than what it did.
    std::thread::sleep(Duration::from_secs(3));
    let output = site.program(&["report", "--format", "json"]);
    assert!(daemon.status()["alarms"].as_array().unwrap().is_empty(), "{}", daemon.log());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn texts(value: &Value) -> BTreeSet<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

pub(crate) fn a_device_is_one_endpoint_wherever_it_is() {
    if tier::program("dnsmasq").is_none() {
        return;
    }
    network();
    let site = Site::with(
        "version = 1\n[dns]\nlisten = [\"10.2.0.1:53\", \"10.4.0.1:53\"]\n[upstream]\nservers = [\"127.0.0.1:9\"]\n\
         [store]\npath = \"state\"\n[policy]\nvendors = \"vendors\"\n[policy.stages]\n\"acme\" = \"block\"\n\
         [inspect]\ninterfaces = [\"flat\", \"uplink\"]\n",
    );
    std::fs::create_dir(site.path("vendors")).unwrap();
    site.write("vendors/acme.toml", VENDOR);
    let daemon = site.start();
    until("both interfaces are read", PATIENCE, || {
        let status = daemon.status();
        (0..2).all(|at| status["inspect"][at]["reading"] == true)
    });
    let ranges = ["2", "3"].map(|net| format!("--dhcp-range=10.{net}.0.100,10.{net}.0.250,255.255.255.0,1h"));
    let mut server = dnsmasq(
        Command::new("dnsmasq"),
        &site,
        "leases",
        &["--interface=flat", "--interface=uplink", &ranges[0], &ranges[1]],
    );
    let mut relay = dnsmasq(on("router", "dnsmasq"), &site, "none", &["--dhcp-relay=10.3.0.1,10.4.0.1"]);

    let count = tier::count(50, 50, 50);
    let client = |net: u8, number: usize, name: String, wish: &str| {
        [format!("02:00:00:00:{net:02x}:{number:02x}"), name, wish.to_owned()]
    };
    let alpha = [client(2, 1, "alpha".into(), "10.2.0.150"), client(2, 1, "beta".into(), "10.2.0.160")];
    assert_eq!(clients("flat", BOX, "10.2.0.1", &alpha), ["10.2.0.150", "10.2.0.160"]);
    let mut many: Vec<_> = (1..=count).map(|number| client(3, number, format!("pc-{number}"), "-")).collect();
    // It moves before others may have taken the address that it moves to.
    many.insert(7, client(3, 7, "renamed".into(), "10.3.0.250"));
    assert_eq!(clients("behind", ROUTER, "10.4.0.1", &many)[7], "10.3.0.250");

    let rows = rows(&site, &daemon, count as u64 + 3);
    let endpoints: BTreeSet<i64> = rows.iter().map(|row| row["endpoint"]["id"].as_i64().unwrap()).collect();
    assert_eq!((rows.len(), endpoints.len()), (count + 1, count + 1), "{rows:#?}");
    let of = |mac: &str| rows.iter().find(|row| texts(&row["endpoint"]["macs"]).contains(mac)).unwrap();
    let flat = of("02:00:00:00:02:01");
    assert_eq!(flat["count"], 2, "{flat:#}");
    assert_eq!(texts(&flat["endpoint"]["addresses"]), ["10.2.0.150", "10.2.0.160"].into());
    assert_eq!(texts(&flat["endpoint"]["names"]), ["alpha", "beta"].into());
    assert_eq!(flat["endpoint"]["randomised"], serde_json::json!([true]));
    let seventh = of("02:00:00:00:03:07");
    assert_eq!((&seventh["count"], texts(&seventh["endpoint"]["names"])), (&2.into(), ["pc-7", "renamed"].into()));
    for row in &rows {
        let endpoint = &row["endpoint"];
        assert_eq!(texts(&endpoint["macs"]).len(), 1, "the router is nobody: {row:#}");
        if row != flat {
            assert_eq!(texts(&endpoint["segments"]), ["relay 10.3.0.1"].into(), "{row:#}");
        }
    }
    println!("{} devices, {} attempts, 2 of them moved and were renamed", endpoints.len(), count + 3);
    for child in [&mut server, &mut relay] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

//----------- The clients ----------------------------------------------------

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACKNOWLEDGE: u8 = 5;
const RELEASE: u8 = 7;

/// Plays clients, one after another: each leases an address, and asks for a listed name with it. One that was here before gives back
/// what it had.
pub(crate) fn play(through: &str, server: &str, clients: &[&str]) {
    let server: Ipv4Addr = server.parse().unwrap();
    let interface = datalink::interfaces().into_iter().find(|interface| interface.name == "eth0").unwrap();
    let config = datalink::Config { read_timeout: Some(Duration::from_millis(100)), ..datalink::Config::default() };
    let Channel::Ethernet(mut sender, mut receiver) = datalink::channel(&interface, config).unwrap() else { panic!() };
    let mut held: Vec<([u8; 6], Ipv4Addr, Ipv4Addr)> = Vec::new();
    for (number, client) in clients.iter().enumerate() {
        let [mac, name, wish] = client.split(',').collect::<Vec<_>>()[..] else { panic!("{client}") };
        let mac = octets(mac);
        let mut client = Client { mac, name, id: 0x1000 + number as u32, through: octets(through) };
        if let Some((_, address, by)) = held.iter().find(|(known, ..)| *known == mac) {
            client.send(&mut *sender, RELEASE, *address, &[option(54, &by.octets())].concat());
        }
        let wished = wish.parse::<Ipv4Addr>().map(|wish| option(50, &wish.octets())).unwrap_or_default();
        let (offered, by) = client.exchange(&mut *sender, &mut *receiver, (DISCOVER, OFFER), &wished);
        let wanted = [option(50, &offered.octets()), option(54, &by.octets())].concat();
        client.id += 0x1_0000;
        let (address, by) = client.exchange(&mut *sender, &mut *receiver, (REQUEST, ACKNOWLEDGE), &wanted);
        held.push((mac, address, by));
        let query = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x06update\x04acme\x07example\0\0\x01\0\x01";
        client.packet(&mut *sender, (address, server), (40_000, 53), query);
        println!("\nleased {address}");
    }
}

struct Client<'a> {
    mac: [u8; 6],
    name: &'a str,
    id: u32,
    through: [u8; 6],
}

impl Client<'_> {
    /// Asks until it is answered: the address, and the server.
    fn exchange(
        &self,
        sender: &mut dyn DataLinkSender,
        receiver: &mut dyn DataLinkReceiver,
        (asked, wanted): (u8, u8),
        options: &[u8],
    ) -> (Ipv4Addr, Ipv4Addr) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            self.send(sender, asked, Ipv4Addr::UNSPECIFIED, options);
            let sent = Instant::now();
            while sent.elapsed() < Duration::from_secs(1) {
                let Some(found) = receiver.next().ok().and_then(|frame| self.reply(frame, wanted)) else { continue };
                return found;
            }
        }
        panic!("no answer to DHCP message {asked}");
    }

    fn reply(&self, frame: &[u8], wanted: u8) -> Option<(Ipv4Addr, Ipv4Addr)> {
        // Ethernet 14, IPv4 20, UDP 8: dnsmasq sets no IP options.
        let dhcp =
            frame.get(42..).filter(|_| frame[12..14] == [8, 0] && frame[23] == 17 && frame[36..38] == [0, 68])?;
        let is_ours = *dhcp.first()? == 2 && dhcp.get(4..8)? == self.id.to_be_bytes();
        let mut options = dhcp.get(240..).filter(|_| is_ours)?;
        let (mut kind, mut server) = (0, Ipv4Addr::UNSPECIFIED);
        while let [code, len, rest @ ..] = options {
            let (value, next) = rest.split_at_checked(usize::from(*len))?;
            match code {
                53 => kind = value[0],
                54 => server = <[u8; 4]>::try_from(value).unwrap().into(),
                255 => break,
                _ => {}
            }
            options = next;
        }
        let given: [u8; 4] = dhcp.get(16..20)?.try_into().unwrap();
        (kind == wanted).then_some((given.into(), server))
    }

    fn send(&self, sender: &mut dyn DataLinkSender, kind: u8, current: Ipv4Addr, options: &[u8]) {
        // Answers are to be broadcast: this host has none of the addresses. So is a release, so that the relay takes it to the server
        // that knows which network it is about.
        let head = [
            &[1, 1, 6, 0][..],
            &self.id.to_be_bytes(),
            &[0, 0, 0x80, 0],
            &current.octets(),
            &[0; 12],
            &self.mac,
            &[0; 10],
        ];
        let own = [option(53, &[kind]), option(61, &[&[1], &self.mac[..]].concat()), option(12, self.name.as_bytes())];
        let message = [&head.concat()[..], &[0; 192], &[99, 130, 83, 99], &own.concat(), options, &[255]].concat();
        let datagram = udp((68, 67), &message);
        let packet = ipv4((Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST), &datagram);
        sender.send_to(&[&[0xff; 6], &self.mac[..], &[8, 0], &packet].concat(), None).unwrap().unwrap();
    }

    fn packet(&self, sender: &mut dyn DataLinkSender, ends: (Ipv4Addr, Ipv4Addr), ports: (u16, u16), payload: &[u8]) {
        let frame = [&self.through, &self.mac[..], &[8, 0], &ipv4(ends, &udp(ports, payload))].concat();
        sender.send_to(&frame, None).unwrap().unwrap();
    }
}

fn option(code: u8, value: &[u8]) -> Vec<u8> {
    [&[code, u8::try_from(value.len()).unwrap()], value].concat()
}

fn octets(mac: &str) -> [u8; 6] {
    let octets: Vec<u8> = mac.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
    octets.try_into().unwrap()
}

fn udp((from, to): (u16, u16), payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len() + 8).unwrap();
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload].concat()
}

fn ipv4((from, to): (Ipv4Addr, Ipv4Addr), payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len() + 20).unwrap().to_be_bytes();
    let mut head = [&[0x45, 0, len[0], len[1], 0, 0, 0, 0, 64, 17, 0, 0][..], &from.octets(), &to.octets()].concat();
    let mut sum: u32 = head.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    head[10..12].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
    [head, payload.to_vec()].concat()
}
