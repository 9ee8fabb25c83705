//! What `interdict inspect` says of traffic to listed vendors, and on what evidence.

use super::frames::{CLIENT, SERVER, Sent, datagram, hello};
use super::tier;
use interdict::base::wire::packet::{Frame, LinkType};
use interdict::io::capture::{FileSource, Next, PcapWriter, Source};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

const VENDOR: &str = r#"
version = 1
[vendor]
id = "acme"
name = "Acme"
[[source]]
id = "s"
title = "Made up"
where = "https://example.org/"
[[domain]]
name = "acme.example"
match = "suffix"
purpose = "update"
source = ["s"]
confidence = "high"
[[signature]]
kind = "http-uri-prefix"
value = ["/bases/index"]
source = ["s"]
confidence = "high"
[[signature]]
kind = "http-host-literal"
value = ["ipv4"]
source = ["s"]
confidence = "high"
[[signature]]
kind = "body-magic"
offset = 0
value = ["ACME"]
source = ["s"]
confidence = "high"
[[fallback]]
order = 1
address = "9.9.9.9"
operator = "Somebody"
source = ["s"]
confidence = "high"
"#;

struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Self {
        let lab = Self(tempfile::tempdir().unwrap());
        fs::create_dir(lab.path("vendors")).unwrap();
        fs::write(lab.path("vendors/acme.toml"), VENDOR).unwrap();
        let stages = "[policy.stages]\n\"acme\" = \"block\"\n";
        let config = format!("version = 1\n[policy]\nvendors = {:?}\n{stages}", lab.path("vendors"));
        fs::write(lab.path("interdict.toml"), config).unwrap();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn inspect(&self, packets: &[Vec<u8>], more: &[&str]) -> Vec<Value> {
        let file = self.path("capture.pcap");
        let mut writer = PcapWriter::new(File::create(&file).unwrap(), LinkType::RAW).unwrap();
        for (time, packet) in packets.iter().enumerate() {
            let frame = Frame {
                time_ns: 1_700_000_000_000_000_000 + time as u64 * 1_000_000_000,
                ..Frame::new(LinkType::RAW, packet)
            };
            writer.write(&frame).unwrap();
        }
        writer.finish().unwrap();
        inspect(&self.path("interdict.toml"), &[&file], more)
    }
}

fn inspect(config: &Path, files: &[&PathBuf], more: &[&str]) -> Vec<Value> {
    let out = Command::new(env!("CARGO_BIN_EXE_interdict"))
        .arg("--config")
        .arg(config)
        .args(["inspect", "--format", "jsonl", "--read"])
        .args(files)
        .args(more)
        .output()
        .unwrap();
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kind<'v>(values: &'v [Value], kind: &str) -> Vec<&'v Value> {
    values.iter().filter(|value| value["kind"] == kind).collect()
}

fn request(head: &str) -> Vec<u8> {
    Sent { dport: 80, ..Sent::client(1, head.as_bytes()) }.packet()
}

fn reply(ack: usize, text: &str) -> Vec<u8> {
    let ack = 1 + u32::try_from(ack).unwrap();
    Sent { sport: 80, dport: 40_000, ack, ..Sent::client(1, text.as_bytes()) }.packet()
}

#[test]
fn one_form_is_weak_and_two_together_are_not() {
    let lab = Lab::new();
    let path_alone = "GET /bases/index.xml HTTP/1.0\r\nHost: www.example\r\n\r\n";
    assert!(kind(&lab.inspect(&[request(path_alone)], &[]), "row").is_empty());
    let literal = "GET /bases/index.xml HTTP/1.0\r\nHost: 192.0.2.80\r\n\r\n";
    assert!(kind(&lab.inspect(&[request(literal)], &[]), "row").is_empty(), "paths and literal hosts are everywhere");
    let body = "HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\nACMEdata";
    let found = lab.inspect(&[request(path_alone), reply(path_alone.len(), body)], &[]);
    let rows = kind(&found, "row");
    assert_eq!(rows.len(), 1, "{found:?}");
    assert_eq!(
        (&rows[0]["vendor"], &rows[0]["purpose"], &rows[0]["verdict"]),
        (&"acme".into(), &"update".into(), &"block".into())
    );
    assert_eq!((&rows[0]["grade"], &rows[0]["count"]), (&"software".into(), &1.into()));
    assert_eq!(rows[0]["endpoint"], "10.0.0.5");
}

#[test]
fn a_name_is_judged_and_what_an_endpoint_resolved_stands_for_a_hello_without_one() {
    let lab = Lab::new();
    let named = [Sent::start(0).packet(), Sent::client(1, &hello("cdn.acme.example", 10, 9000)).packet()];
    let found = lab.inspect(&named, &[]);
    let rows = kind(&found, "row");
    assert_eq!(rows[0]["channel"], serde_json::json!(["tls-sni"]), "{found:?}");
    assert!(rows[0]["rule"].as_str().unwrap().contains("acme.toml:"));
    assert!(rows[0]["evidence"][1]["what"].as_str().unwrap().starts_with("JA4 t12d0102"), "{found:?}");
    assert!(kind(&lab.inspect(&named, &["--vendor", "acme"]), "row").len() == 1);
    // The answer to a query, then a flow that says nothing.
    let mut answer =
        b"\0\x01\x81\x80\0\x01\0\x01\0\0\0\0\x04acme\x07example\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04"
            .to_vec();
    answer.extend(SERVER);
    let mut answered = datagram(40_000, &answer);
    answered[12..16].copy_from_slice(&[10, 0, 0, 1]);
    answered[16..20].copy_from_slice(&CLIENT);
    answered[20..22].copy_from_slice(&53_u16.to_be_bytes());
    let silent =
        [answered.clone(), Sent::start(0).packet(), Sent::client(1, b"\x01\x02\x03\x04\x05\x06\x07\x08\x09").packet()];
    let found = lab.inspect(&silent, &[]);
    let rows = kind(&found, "row");
    assert_eq!(rows[0]["channel"], serde_json::json!(["address"]), "{found:?}");
    assert!(
        rows[0]["evidence"][0]["what"]
            .as_str()
            .unwrap()
            .contains("resolved acme.example to it 1 s before; confidence high")
    );
    // A name of its own says better.
    let other = [answered, Sent::start(0).packet(), Sent::client(1, &hello("www.example", 10, 9000)).packet()];
    assert!(kind(&lab.inspect(&other, &[]), "row").is_empty());
}

#[test]
fn a_fallback_after_a_block_is_an_incident() {
    let lab = Lab::new();
    let query = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x04acme\x07example\0\0\x01\0\x01";
    let mut refused = datagram(40_000, b"\0\x01\x81\x83\0\x01\0\0\0\0\0\0\x04acme\x07example\0\0\x01\0\x01");
    refused[12..16].copy_from_slice(&SERVER);
    refused[16..20].copy_from_slice(&CLIENT);
    refused[20..22].copy_from_slice(&53_u16.to_be_bytes());
    let mut fallback = datagram(53, query);
    fallback[16..20].copy_from_slice(&[9, 9, 9, 9]);
    let found = lab.inspect(&[datagram(53, query), refused, fallback], &[]);
    let incidents = kind(&found, "incident");
    assert_eq!(incidents.len(), 1, "{found:?}");
    assert_eq!((&incidents[0]["answer"], &incidents[0]["endpoint"]), (&"nxdomain".into(), &"10.0.0.5".into()));
    let chain = incidents[0]["chain"].as_array().unwrap();
    assert_eq!(chain[0]["frame"], 1);
    assert!(
        chain.iter().any(|step| step["what"].as_str().unwrap().contains("number 1 of the vendor's fallback resolvers"))
    );
    assert!(kind(&lab.inspect(&[datagram(53, query), datagram(53, query)], &[]), "incident").is_empty());
}

/// Frames in a file of this link type, one a second.
fn write(path: &Path, link: LinkType, frames: &[Vec<u8>]) {
    let mut writer = PcapWriter::new(File::create(path).unwrap(), link).unwrap();
    for (second, frame) in (1_700_000_000..).zip(frames) {
        writer.write(&Frame { time_ns: second * 1_000_000_000, ..Frame::new(link, frame) }).unwrap();
    }
    writer.finish().unwrap();
}

/// A raw packet on Ethernet, from this host of 10.0.0.0/24 and its card.
fn on_ethernet(card: u8, host: u8, packet: &[u8]) -> Vec<u8> {
    let mut frame = [&[2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, card, 8, 0], packet].concat();
    frame[14 + 15] = host;
    frame
}

#[test]
fn the_device_behind_an_address_is_named() {
    let lab = Lab::new();
    let file = lab.path("devices.pcap");
    let says = |host: u8| {
        let record = [&b"\x06Laptop\x05local\0\0\x01\x80\x01\0\0\0\x78\0\x04\x0a\0\0"[..], &[host]].concat();
        let mut packet = datagram(5353, &[&b"\0\0\x84\0\0\0\0\x01\0\0\0\0"[..], &record].concat());
        packet[20..22].copy_from_slice(&5353_u16.to_be_bytes());
        packet
    };
    let query = datagram(53, b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x04acme\x07example\0\0\x01\0\x01");
    // It moves from one address to another; somebody else, who says nothing, has the first one later.
    let mut frames = vec![on_ethernet(7, 5, &says(5)), on_ethernet(7, 5, &query), on_ethernet(7, 6, &query)];
    frames.resize(2_000, on_ethernet(9, 99, &datagram(9_999, b"passing")));
    frames.push(on_ethernet(8, 5, &query));
    write(&file, LinkType::ETHERNET, &frames[..3]);
    let config = lab.path("interdict.toml");
    let found = inspect(&config, &[&file], &[]);
    let rows = kind(&found, "row");
    assert_eq!(rows.len(), 2, "{found:?}");
    for row in rows {
        let device = &row["devices"][0];
        assert_eq!((&device["mac"], &device["randomised"]), (&"02:00:00:00:00:07".into(), &true.into()), "{row}");
        assert_eq!(device["names"], serde_json::json!(["laptop.local"]));
        assert_eq!(device["addresses"], serde_json::json!(["10.0.0.5", "10.0.0.6"]));
    }
    let table = inspect_as_table(&config, &file);
    assert!(table.contains("10.0.0.6  laptop.local 02:00:00:00:00:07 (made up)  acme"), "{table}");
    // Half an hour lies between both users of the address.
    write(&file, LinkType::ETHERNET, &frames);
    let table = inspect_as_table(&config, &file);
    let both = "laptop.local 02:00:00:00:00:07 (made up), then 02:00:00:00:00:08 (made up)";
    assert!(table.contains(&format!("10.0.0.5  {both}  acme")), "{table}");
    assert!(table.contains("10.0.0.6  laptop.local 02:00:00:00:00:07 (made up)  "), "{table}");
}

fn inspect_as_table(config: &Path, file: &Path) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_interdict"))
        .arg("--config")
        .arg(config)
        .args(["inspect", "--read"])
        .arg(file)
        .output()
        .unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn listed_packets_of_any_link_type_are_kept() {
    let lab = Lab::new();
    let flow = |sport, name| {
        let sent = [Sent::start(0), Sent::client(1, &hello(name, 10, 9000))];
        sent.map(|sent| Sent { sport, ..sent }.packet())
    };
    let files = [lab.path("raw.pcap"), lab.path("ethernet.pcap")];
    write(&files[0], LinkType::RAW, &[flow(40_001, "www.example"), flow(40_002, "cdn.acme.example")].concat());
    let ethernet: Vec<_> = flow(40_003, "www.acme.example").iter().map(|packet| on_ethernet(7, 6, packet)).collect();
    write(&files[1], LinkType::ETHERNET, &ethernet);
    let kept = |name: &str| {
        let out = lab.path(name);
        let more = ["--write", out.to_str().unwrap()];
        let found = inspect(&lab.path("interdict.toml"), &[&files[0], &files[1]], &more);
        let mut source = FileSource::open(&out, false).unwrap();
        let mut links = Vec::new();
        while let Next::Frame(frame) = source.next().unwrap() {
            links.push(frame.link.0);
        }
        (links, kind(&found, "unseen")[0].to_string())
    };
    let (links, unseen) = kept("out.pcapng");
    assert_eq!((links, unseen.contains("another link type")), (vec![101, 101, 1, 1], false), "{unseen}");
    let (links, unseen) = kept("out.pcap");
    assert_eq!(links, [101, 101]);
    assert!(unseen.contains("2 frames of another link type than the first"), "{unseen}");
}

/// Every address range out of the vendor file: what remains is what the products send.
#[test]
fn the_vendor_is_told_by_what_it_sends() {
    let Some(captures) = tier::shared("captures") else { return };
    let lab = Lab::new();
    let text = interdict::policy::list::bundled::files().iter().find(|(file, _)| file.contains("kaspersky")).unwrap().1;
    let tables: Vec<&str> = text.split("\n[[").collect();
    let kept: Vec<&str> = tables.into_iter().filter(|table| !table.starts_with("range]]")).collect();
    assert!(!kept.join("\n[[").contains("[[range]]"));
    fs::write(lab.path("vendors/acme.toml"), kept.join("\n[[")).unwrap();
    let config = format!("version = 1\n[policy]\nvendors = {:?}\n", lab.path("vendors"));
    fs::write(lab.path("interdict.toml"), config).unwrap();
    let mut paths: Vec<_> = fs::read_dir(captures).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "pcap" || ending == "pcapng"));
    for path in paths {
        let is_it = path.ends_with("kaspersky-update-http-lbnl.pcap");
        let out = Command::new(env!("CARGO_BIN_EXE_interdict"))
            .arg("--config")
            .arg(lab.path("interdict.toml"))
            .args(["inspect", "--vendor", "kaspersky", "--format", "jsonl", "--read"])
            .arg(&path)
            .output()
            .unwrap();
        let found: Vec<Value> =
            out.stdout.split(|octet| *octet == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let rows = kind(&found, "row");
        assert_eq!(rows.len(), usize::from(is_it), "{}: {rows:?}", path.display());
        assert!(
            kind(&found, "incident").is_empty() && kind(&found, "relay").is_empty(),
            "{}: {found:?}",
            path.display()
        );
        if is_it {
            assert_eq!((&rows[0]["endpoint"], &rows[0]["purpose"]), (&"128.3.116.128".into(), &"update".into()));
            assert_eq!((&rows[0]["grade"], &rows[0]["count"]), (&"software".into(), &2.into()));
            let evidence = rows[0]["evidence"].to_string();
            for sign in
                ["/updaters/updater.xml", "http-host-literal ipv4", "http-user-agent *", "body-magic KLD2", ".klz"]
            {
                assert!(evidence.contains(sign), "{sign}: {evidence}");
            }
        }
    }
}
