//! What listed names, their neighbours and everybody else's names are answered, over every way to ask.

use crate::harness::{Ask, Home, Reply, ask, is_row, run};
use crate::tier;
use crate::upstream::{Act, Upstream, record, wire};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Command;

const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
/// In AS200107, within 77.74.176.0/21.
const VENDOR_NETWORK: Ipv4Addr = Ipv4Addr::new(77, 74, 181, 10);
/// Among the vendor's mail relays, within 91.103.66.0/24.
const VENDOR_MAIL: Ipv4Addr = Ipv4Addr::new(91, 103, 66, 20);

/// Each way to ask: transport, and what an OPT offers.
const WAYS: [(bool, Option<u16>); 5] =
    [(false, None), (false, Some(512)), (false, Some(1232)), (true, None), (true, Some(4096))];

fn types() -> Vec<RecordType> {
    use RecordType::{A, AAAA, ANY, CNAME, HTTPS, MX, NS, SOA, SRV, TXT};
    vec![A, AAAA, HTTPS, TXT, ANY, SOA, MX, NS, SRV, CNAME, RecordType::Unknown(65_280)]
}

/// A block answer: the vendor's `null`, and the reason where there is an OPT to hold it.
fn assert_blocked(reply: &Reply, question: &Ask<'_>, reason: &str) {
    let message = &reply.message;
    let answers: &[&str] = match question.rtype {
        RecordType::A => &["0.0.0.0"],
        RecordType::AAAA => &["::"],
        RecordType::ANY => &["0.0.0.0", "::"],
        _ => &[],
    };
    assert_eq!(message.metadata.response_code, ResponseCode::NoError, "{question:?}");
    assert_eq!(reply.answers(), answers, "{question:?}");
    let owners = message.answers.iter().chain(&message.authorities).map(|record| record.name.to_string());
    assert!(
        owners.eq([format!("{}.", question.name)].iter().cycle().take(answers.len().max(1)).cloned()),
        "{question:?}"
    );
    let soa: Vec<_> = message.authorities.iter().map(hickory_proto::rr::Record::record_type).collect();
    assert_eq!(soa, if answers.is_empty() { vec![RecordType::SOA] } else { Vec::new() }, "{question:?}");
    assert!(!message.metadata.truncation && message.metadata.recursion_available, "{question:?}");
    assert_eq!(message.edns.is_some(), question.edns.is_some(), "an OPT for who sent one: {question:?}");
    assert_eq!(reply.ede(), question.edns.map(|_| (16, reason.to_owned())), "{question:?}");
    assert!(reply.octets.len() <= 512, "{question:?}");
}

#[test]
fn blocked_names_get_the_vendors_answer_for_every_type_and_transport() {
    let home = Home::alone("");
    let daemon = home.start();
    let act = "us/icts-2021-002 89 FR 52434 (24 June 2024); E.O. 13873; 15 CFR part 7";
    let mut asked = 0;
    for (name, purpose) in [
        ("s00.upd.kaspersky.com", "update"),
        ("S00.uPd.KASPERSKY.com", "update"),
        ("upd.kaspersky.com", "update"),
        ("x.y.ksn.kaspersky-labs.com", "telemetry"),
        ("KSN-any-GEO.kaspersky-labs.com", "telemetry"),
    ] {
        for rtype in types() {
            for (tcp, edns) in WAYS {
                let question = Ask { name, rtype, edns, tcp };
                let reply = ask(daemon.address, &question);
                assert_blocked(&reply, &question, &format!("kaspersky {purpose}: {act}"));
                asked += 1;
            }
        }
    }
    let rows = || home.rows().iter().map(|row| row["count"].as_u64().unwrap()).sum::<u64>();
    home.wait_for_row("every attempt", |_| rows() == asked);
    let row = home.wait_for_row("the update row", |row| row["purpose"] == "update");
    assert_eq!(row["count"], 3 * asked / 5, "{row}");
    assert!(is_row(&row, "kaspersky", "dns", "block", "s00.upd.kaspersky.com"), "{row}");
    assert_eq!(row["destinations"][0]["rule"]["pattern"], "upd.kaspersky.com");
}

#[test]
fn dig_shows_the_answer_and_the_reason() {
    let Some(dig) = tier::program("dig") else { return };
    let home = Home::alone("");
    let daemon = home.start();
    let port = daemon.address.port().to_string();
    for (rtype, line) in [
        ("A", "S00.upd.Kaspersky.com.\t60\tIN\tA\t0.0.0.0"),
        ("AAAA", "S00.upd.Kaspersky.com.\t60\tIN\tAAAA\t::"),
        ("HTTPS", "S00.upd.Kaspersky.com.\t60\tIN\tSOA\tblocked.interdict.invalid. nobody.invalid."),
        ("TXT", "S00.upd.Kaspersky.com.\t60\tIN\tSOA\tblocked.interdict.invalid. nobody.invalid."),
        ("ANY", "S00.upd.Kaspersky.com.\t60\tIN\tA\t0.0.0.0"),
    ] {
        let args = ["@127.0.0.1", "-p", &port, "S00.upd.Kaspersky.com", rtype, "+tries=1"];
        let said = run(Command::new(&dig).args(args)).good();
        assert!(said.contains("status: NOERROR") && said.contains(line), "{said}");
        assert!(said.contains("EDE: 16 (Censored): (kaspersky update: us/icts-2021-002 89 FR 52434"), "{said}");
        assert!(!said.contains("WARNING") && !said.contains("Warning") && !said.contains(";; Got bad"), "{said}");
        let plain = run(Command::new(&dig).args(args).args(["+noedns", "+tcp"])).good();
        assert!(plain.contains(line) && !plain.contains("EDE") && !plain.contains("OPT PSEUDO"), "{plain}");
    }
}

fn others() -> Upstream {
    let here = |name: &'static str| (name, Act::Address(ELSEWHERE));
    let mx = |preference: u8, host: &str| record("kaspersky.com", 15, &[&[0, preference], &wire(host)[..]].concat());
    Upstream::start([
        here("notkaspersky.com"),
        here("kaspersky.com.example"),
        here("example.org"),
        here("huaweicloud.com"),
        here("hik-connect.com"),
        ("www.kaspersky.com", Act::Address(VENDOR_NETWORK)),
        ("kaspersky.com", Act::Records(vec![mx(10, "mx12.kaspersky-labs.com"), mx(20, "mx.mailer.example")])),
        ("mx12.kaspersky-labs.com", Act::Address(VENDOR_MAIL)),
        ("mx.mailer.example", Act::Address(VENDOR_MAIL)),
    ])
}

#[test]
fn neighbours_sites_and_mail_resolve_and_what_is_listed_is_observed() {
    let upstream = others();
    let home = Home::new(upstream.address, "");
    let daemon = home.start();
    for (name, rtype, answers) in [
        ("notkaspersky.com", RecordType::A, vec!["203.0.113.7"]),
        ("kaspersky.com.example", RecordType::A, vec!["203.0.113.7"]),
        ("Example.ORG", RecordType::A, vec!["203.0.113.7"]),
        ("hUaWeicloud.com", RecordType::A, vec!["203.0.113.7"]),
        ("hik-connect.com", RecordType::A, vec!["203.0.113.7"]),
        ("www.Kaspersky.com", RecordType::A, vec!["77.74.181.10"]),
        ("kaspersky.com", RecordType::MX, vec!["10 mx12.kaspersky-labs.com.", "20 mx.mailer.example."]),
        ("mx12.kaspersky-labs.com", RecordType::A, vec!["91.103.66.20"]),
        ("mx.mailer.example", RecordType::A, vec!["91.103.66.20"]),
    ] {
        // The second time from the cache, then over TCP and without an OPT.
        for (tcp, edns) in [(false, Some(1232)), (false, Some(1232)), (true, None)] {
            let question = Ask { name, rtype, edns, tcp };
            let reply = ask(daemon.address, &question);
            assert_eq!(reply.message.metadata.response_code, ResponseCode::NoError, "{question:?}");
            assert_eq!(reply.answers(), answers, "{question:?}");
            assert_eq!((reply.ede(), reply.message.edns.is_some()), (None, edns.is_some()), "{question:?}");
        }
        let asked = upstream.asked().iter().filter(|asked| asked.name.eq_ignore_ascii_case(name)).count();
        assert_eq!(asked, 1, "{name} is cached");
    }
    for (vendor, purpose, channel, destination, count) in [
        ("kaspersky", "web", "dns", "www.kaspersky.com", 6),
        ("kaspersky", "mail", "dns", "mx12.kaspersky-labs.com", 6),
        ("kaspersky", "mail", "dns-answer", "mx.mailer.example", 6),
        ("huawei", "cloud", "dns", "huaweicloud.com", 3),
        ("hikvision", "cloud", "dns", "hik-connect.com", 3),
    ] {
        let row = home.wait_for_row(destination, |row| {
            is_row(row, vendor, channel, "observe", destination) && row["count"] == count
        });
        assert_eq!(row["purpose"], purpose, "{row}");
        assert_eq!(row["outcomes"]["observed"], count, "{row}");
    }
    let rows = home.rows();
    assert!(rows.iter().all(|row| row["verdict"] == "observe"), "{rows:#?}");
    let all = rows.iter().flat_map(|row| row["destinations"].as_array().unwrap());
    let all: BTreeSet<&str> = all.map(|at| at["destination"].as_str().unwrap()).collect();
    let listed =
        ["hik-connect.com", "huaweicloud.com", "kaspersky.com", "mx.mailer.example", "mx12.kaspersky-labs.com"];
    assert_eq!(all, listed.into_iter().chain(["www.kaspersky.com"]).collect(), "and nothing of anybody else");
}
