use super::*;
use crate::base::wire::tls::testing;
use crate::policy::list::vendor;
use crate::policy::{RuleSetBuilder, Settings};
use proptest::prelude::*;

const VENDOR: &str = r#"
version = 1
[vendor]
id = "acme"
name = "Acme"
country = "RU"
[[source]]
id = "s"
title = "the test"
where = "https://example.org"
version = "2026-01-01"
[[domain]]
name = "update.acme.example"
match = "suffix"
purpose = "update"
confidence = "high"
source = ["s"]
[[signature]]
kind = "http-uri-prefix"
value = ["/updates/"]
confidence = "high"
source = ["s"]
[[signature]]
kind = "http-host-literal"
value = ["ipv4"]
confidence = "high"
source = ["s"]
[[signature]]
kind = "http-user-agent"
value = ["*"]
confidence = "medium"
source = ["s"]
"#;

fn policy() -> Arc<Policy> {
    let mut builder = RuleSetBuilder::new();
    builder.add_vendor_file(Arc::new(vendor::read("acme.toml", VENDOR).unwrap()), "test").unwrap();
    let settings = Settings {
        stages: vec![crate::policy::StageSetting {
            vendor: "acme".to_owned(),
            part: None,
            stage: crate::base::model::Stage::Block,
        }],
        ..Settings::default()
    };
    Arc::new(Policy::new(1, Arc::new(builder.finish()), Arc::new(settings), at()))
}

fn at() -> Wall {
    "2026-11-26T00:00:00Z".parse().unwrap()
}

fn hello(name: &str) -> Vec<u8> {
    let body = testing::hello(&[(0, &testing::name(name))]);
    let message = [&[1][..], &u32::try_from(body.len()).unwrap().to_be_bytes()[1..], &body].concat();
    [&[22, 3, 1][..], &u16::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
}

fn opened(parts: &[&[u8]]) -> First {
    let mut opening = Opening::default();
    for part in parts {
        if opening.feed(part) {
            break;
        }
    }
    opening.finish()
}

/// What a connection is, in a line.
fn judged(client: &str, said: &[u8]) -> String {
    let (client, local) = (client.parse().unwrap(), "198.18.0.1:80".parse().unwrap());
    match Openings::new(policy()).judge(at(), client, local, &opened(&[said])) {
        Sunk::Attempt(one) => format!(
            "{} {} {} {} {}:{} {} {} | {}",
            one.client,
            one.origin,
            one.rule.vendor,
            one.rule.purpose,
            one.destination,
            one.port.unwrap(),
            one.channel,
            one.outcome,
            one.evidence.unwrap()
        ),
        Sunk::Unlisted => "unlisted".to_owned(),
        Sunk::Nameless => "nameless".to_owned(),
    }
}

#[test]
fn what_is_said_is_the_same_in_any_cut() {
    let request = b"GET /a HTTP/1.1\r\nHost: update.acme.example\r\nUser-Agent: x\r\n\r\n";
    let tls = hello("update.acme.example");
    for cut in 0..request.len() {
        assert_eq!(opened(&[&request[..cut], &request[cut..]]), First::Http(request.to_vec()), "cut at {cut}");
    }
    for cut in 0..tls.len() {
        let First::Tls(hello) = opened(&[&tls[..cut], &tls[cut..]]) else { panic!("cut at {cut}") };
        assert_eq!(hello.name.as_deref(), Some(&b"update.acme.example"[..]));
    }
    // A request whose end never came still names its host.
    assert_eq!(opened(&[&request[..45]]), First::Http(request[..45].to_vec()));
    assert_eq!(opened(&[]), First::Silence);
    assert_eq!(opened(&[&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]), First::Other);
}

#[test]
fn a_connection_is_an_attempt_by_name_or_by_forms() {
    let http = |host: &str, target: &str, agent: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n\r\n").into_bytes()
    };
    for (client, said, expected) in [
        (
            "10.0.0.5:1",
            http("a.update.acme.example:80", "/x?y", "Up/1"),
            "10.0.0.5 client acme update a.update.acme.example:80 sinkhole blocked | GET /x?y to a.update.acme.example:80, agent Up/1",
        ),
        (
            "169.254.173.2:1",
            http("update.acme.example", "/", "v"),
            "169.254.173.2 self-test acme update update.acme.example:80 sinkhole blocked | GET / to update.acme.example, agent v",
        ),
        (
            "10.0.0.5:1",
            http("198.18.0.1", "/updates/x", "*Zm9v"),
            "10.0.0.5 client acme update 198.18.0.1:80 sinkhole blocked | GET /updates/x to 198.18.0.1, agent *Zm9v; http-uri-prefix \
             /updates/ (acme.toml:18), http-host-literal ipv4 (acme.toml:23), http-user-agent * (acme.toml:28)",
        ),
        ("10.0.0.5:1", http("198.18.0.1", "/updates/x", "v"), "nameless"),
        ("10.0.0.5:1", http("other.example", "/", "v"), "unlisted"),
        ("10.0.0.5:1", hello("other.example"), "unlisted"),
        ("10.0.0.5:1", b"\x01\x02\x03\x04\x05\x06\x07\x08".to_vec(), "nameless"),
    ] {
        assert_eq!(judged(client, &said), expected);
    }
    let tls = judged("[::ffff:10.0.0.6]:1", &hello("update.acme.example"));
    assert!(
        tls.starts_with(
            "10.0.0.6 client acme update update.acme.example:80 sinkhole blocked | TLS to update.acme.example, JA4 t"
        ),
        "{tls}"
    );
}

#[test]
fn evidence_is_text_and_bounded() {
    let (target, agent) = ("a".repeat(7_000), "\u{1}".repeat(5_000));
    let head = format!("GET /{target} HTTP/1.1\r\nHost: update.acme.example\r\nUser-Agent: {agent}\r\n\r\n");
    let said = judged("10.0.0.5:1", head.as_bytes());
    assert!(said.contains("agent \\001\\001") && said.len() < 600, "{said}");
}

proptest! {
    #[test]
    fn no_octets_do_harm(parts: Vec<Vec<u8>>) {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let first = opened(&parts);
        let sunk = Openings::new(policy()).judge(at(), "10.0.0.1:1".parse().unwrap(), "198.18.0.1:80".parse().unwrap(), &first);
        prop_assert!(!matches!(sunk, Sunk::Attempt(_)));
        parts.iter().for_each(|part| drop(QuicOpening::default().feed(part)));
    }
}
