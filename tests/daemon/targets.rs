//! Harmless names that upstream leads to listed targets: the client never gets the target, and the ledger knows.

use crate::harness::{Ask, Daemon, Home, Reply, ask, is_row};
use crate::upstream::{Act, Upstream, record, wire};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::net::{Ipv4Addr, Ipv6Addr};

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const DNAME: u16 = 39;
const SVCB: u16 = 64;
const HTTPS: u16 = 65;
const NETWORK: Ipv4Addr = Ipv4Addr::new(77, 74, 181, 10);
const NETWORK6: Ipv6Addr = Ipv6Addr::new(0x2a03, 0x2480, 0, 0, 0, 0, 0, 0x10);
const HARMLESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

fn a(owner: &str, address: Ipv4Addr) -> Vec<u8> {
    record(owner, A, &address.octets())
}

fn aaaa(owner: &str, address: Ipv6Addr) -> Vec<u8> {
    record(owner, AAAA, &address.octets())
}

fn name(owner: &str, rtype: u16, target: &str) -> Vec<u8> {
    record(owner, rtype, &wire(target))
}

/// SVCB or HTTPS: priority 0 is an alias; parameters as (key, value) in rising order.
fn svcb(owner: &str, rtype: u16, priority: u8, target: &str, params: &[(u8, &[u8])]) -> Vec<u8> {
    let target = if target.is_empty() { vec![0] } else { wire(target) };
    let params =
        params.iter().flat_map(|(key, value)| [&[0, *key, 0, u8::try_from(value.len()).unwrap()], *value].concat());
    record(owner, rtype, &[&[0, priority][..], &target, &params.collect::<Vec<u8>>()].concat())
}

/// What a harmless name is answered, and what of it must not arrive.
struct Case {
    asked: &'static str,
    rtype: u16,
    records: Vec<Vec<u8>>,
    /// Octets of the target: names in wire form, addresses.
    target: Vec<Vec<u8>>,
    /// The destination that the report names.
    destination: &'static str,
}

fn case(asked: &'static str, rtype: u16, destination: &'static str, records: Vec<Vec<u8>>, target: &[&[u8]]) -> Case {
    let target = target.iter().map(|octets| octets.to_vec()).collect();
    Case { asked, rtype, records, target, destination }
}

/// An address that must not arrive.
const LEAK: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);

/// A case in which neither the vendor's name, compressed or not, nor [`LEAK`] may arrive.
fn hides(asked: &'static str, rtype: u16, target: &'static str, records: Vec<Vec<u8>>) -> Case {
    case(asked, rtype, target, records, &[b"\x09kaspersky", &LEAK.octets()])
}

/// Listed names at the end and in the middle of CNAME chains, with records in any order.
fn by_cname() -> Vec<Case> {
    vec![
        hides(
            "cname.test",
            A,
            "s01.upd.kaspersky.com",
            vec![name("cname.test", CNAME, "S01.UPD.kaspersky.com"), a("s01.upd.kaspersky.com", LEAK)],
        ),
        hides("only.test", A, "s02.upd.kaspersky.com", vec![name("only.test", CNAME, "s02.upd.kaspersky.com")]),
        hides(
            "asked-for.test",
            CNAME,
            "s03.upd.kaspersky.com",
            vec![name("asked-for.test", CNAME, "s03.upd.kaspersky.com")],
        ),
        hides(
            "middle.test",
            A,
            "s05.upd.kaspersky.com",
            vec![
                name("middle.test", CNAME, "one.test"),
                name("one.test", CNAME, "s05.upd.kaspersky.com"),
                name("s05.upd.kaspersky.com", CNAME, "two.test"),
                a("two.test", LEAK),
            ],
        ),
        hides(
            "chain.test",
            A,
            "s06.upd.kaspersky.com",
            vec![
                a("s06.upd.kaspersky.com", LEAK),
                name("three.test", CNAME, "s06.upd.kaspersky.com"),
                name("chain.test", CNAME, "three.test"),
            ],
        ),
    ]
}

fn by_dname() -> Vec<Case> {
    vec![
        hides(
            "x.dname.test",
            A,
            "upd.kaspersky.com",
            vec![
                name("dname.test", DNAME, "upd.kaspersky.com"),
                name("x.dname.test", CNAME, "x.upd.kaspersky.com"),
                a("x.upd.kaspersky.com", LEAK),
            ],
        ),
        // The DNAME's own target is only observed; what it makes of the name asked for is blocked.
        hides(
            "s07.upd.dname-site.test",
            A,
            "s07.upd.kaspersky.com",
            vec![
                name("dname-site.test", DNAME, "kaspersky.com"),
                name("s07.upd.dname-site.test", CNAME, "s07.upd.kaspersky.com"),
                a("s07.upd.kaspersky.com", LEAK),
            ],
        ),
        // The same from a server that makes no CNAME of its DNAME.
        hides(
            "s08.upd.dname-bare.test",
            A,
            "s08.upd.kaspersky.com",
            vec![name("dname-bare.test", DNAME, "kaspersky.com"), a("s08.upd.kaspersky.com", LEAK)],
        ),
    ]
}

/// HTTPS and SVCB, as an alias and as a service, and behind a CNAME.
fn by_service() -> Vec<Case> {
    vec![
        hides(
            "alias.test",
            HTTPS,
            "s09.upd.kaspersky.com",
            vec![svcb("alias.test", HTTPS, 0, "s09.upd.kaspersky.com", &[])],
        ),
        hides(
            "service.test",
            HTTPS,
            "s10.upd.kaspersky.com",
            vec![svcb("service.test", HTTPS, 1, "s10.upd.kaspersky.com", &[(1, b"\x02h2")])],
        ),
        hides(
            "_x.svcb.test",
            SVCB,
            "s11.upd.kaspersky.com",
            vec![
                svcb("_x.svcb.test", SVCB, 1, "good.test", &[]),
                svcb("_x.svcb.test", SVCB, 2, "s11.upd.kaspersky.com", &[(3, b"\x01\xbb")]),
            ],
        ),
        hides(
            "to-alias.test",
            HTTPS,
            "s12.upd.kaspersky.com",
            vec![
                name("to-alias.test", CNAME, "harmless.test"),
                svcb("harmless.test", HTTPS, 0, "s12.upd.kaspersky.com", &[]),
            ],
        ),
    ]
}

fn by_address() -> Vec<Case> {
    let (v4, v6) = (NETWORK.octets(), NETWORK6.octets());
    let mapped = NETWORK.to_ipv6_mapped();
    let direct = |asked, rtype, records, target: &[&[u8]]| case(asked, rtype, asked, records, target);
    vec![
        direct("a.test", A, vec![a("a.test", NETWORK)], &[&v4]),
        direct("among.test", A, vec![a("among.test", HARMLESS), a("among.test", NETWORK)], &[&v4]),
        direct("aaaa.test", AAAA, vec![aaaa("aaaa.test", NETWORK6)], &[&v6]),
        direct("mapped.test", AAAA, vec![aaaa("mapped.test", mapped)], &[&v4]),
        direct("hint4.test", HTTPS, vec![svcb("hint4.test", HTTPS, 1, "", &[(1, b"\x02h2"), (4, &v4)])], &[&v4]),
        direct("hint6.test", HTTPS, vec![svcb("hint6.test", HTTPS, 1, "", &[(6, &v6)])], &[&v6]),
        direct(
            "hints.test",
            HTTPS,
            vec![svcb("hints.test", HTTPS, 1, "cdn.test", &[(4, &[HARMLESS.octets(), v4].concat()), (6, &v6)])],
            &[&v4, &v6],
        ),
        direct("far.test", A, vec![name("far.test", CNAME, "near.test"), a("near.test", NETWORK)], &[&v4]),
    ]
}

/// Neither the target nor any part of it, but the vendor's block answer, which denies nothing of the name.
fn assert_withheld(case: &Case, reply: &Reply) {
    let asked = case.asked;
    for octets in &case.target {
        assert!(
            !reply.holds(octets) && !reply.holds(&octets.to_ascii_uppercase()),
            "{asked}: {octets:x?} in {reply:?}"
        );
    }
    let expected: &[&str] = match case.rtype {
        A => &["0.0.0.0"],
        AAAA => &["::"],
        _ => &[],
    };
    assert_eq!(
        (reply.answers(), reply.message.metadata.response_code),
        (expected.iter().map(ToString::to_string).collect(), ResponseCode::NoError),
        "{asked}"
    );
    let (code, text) = reply.ede().unwrap();
    assert!(code == 16 && text.starts_with("kaspersky "), "{asked}: {code} {text}");
}

fn ask_all(cases: &[Case], daemon: &Daemon, upstream: &Upstream) {
    for case in cases {
        let question = Ask { name: case.asked, rtype: RecordType::from(case.rtype), edns: Some(1232), tcp: false };
        assert_withheld(case, &ask(daemon.address, &question));
        assert_withheld(case, &ask(daemon.address, &Ask { tcp: true, ..question }));
        assert_withheld(case, &ask(daemon.address, &question));
        let plain = ask(daemon.address, &Ask { edns: None, ..question });
        assert!(case.target.iter().all(|octets| !plain.holds(octets)), "{}", case.asked);
        let asked = upstream.asked().iter().filter(|asked| asked.name.eq_ignore_ascii_case(case.asked)).count();
        assert_eq!(asked, 1 + usize::from(case.records.len() == 1 && case.asked == "only.test") * 3, "{}", case.asked);
    }
}

/// Proves some cases with a daemon of their own: no more than a row of the report names destinations.
fn prove(cases: &[Case], purpose: &str) {
    let upstream = Upstream::start(cases.iter().map(|case| (case.asked, Act::Records(case.records.clone()))));
    let home = Home::new(upstream.address, "");
    let daemon = home.start();
    ask_all(cases, &daemon, &upstream);
    let total = 4 * cases.len() as u64;
    let row = home.wait_for_row("every attempt", |row| row["purpose"] == purpose && row["count"] == total);
    assert_eq!(
        (&row["channel"], &row["outcomes"]["blocked"]),
        (&serde_json::json!(["dns-answer"]), &total.into()),
        "{row}"
    );
    for case in cases {
        assert!(is_row(&row, "kaspersky", "dns-answer", "block", case.destination), "{}: {row}", case.destination);
        let all = row["destinations"].as_array().unwrap();
        let at = all.iter().find(|at| at["destination"] == case.destination).unwrap();
        assert_eq!(at["count"], 4, "{at}: cached answers count as well");
    }
}

#[test]
fn a_harmless_name_that_leads_to_a_listed_name_is_blocked_and_counted_cached_or_not() {
    for cases in [by_cname(), by_dname(), by_service()] {
        cases.chunks(5).for_each(|cases| prove(cases, "update"));
    }
}

#[test]
fn a_harmless_name_that_leads_into_the_vendors_network_is_blocked_and_counted_cached_or_not() {
    by_address().chunks(5).for_each(|cases| prove(cases, "vendor-network"));
}

#[test]
fn an_exception_and_a_listed_name_decide_over_the_vendors_network() {
    let records = |owner: &str| Act::Records(vec![a(owner, NETWORK)]);
    let upstream = Upstream::start([
        ("spared.test", records("spared.test")),
        ("www.kaspersky.com", records("www.kaspersky.com")),
        (
            "to-site.test",
            Act::Records(vec![name("to-site.test", CNAME, "www.kaspersky.com"), a("www.kaspersky.com", NETWORK)]),
        ),
        ("stopped.test", records("stopped.test")),
    ]);
    let home = Home::new(
        upstream.address,
        "[[exception]]\nname = \"spared.test\"\nreason = \"a customer\"\napprover = \"ciso\"\nuntil = \"2100-01-01\"\n",
    );
    let daemon = home.start();
    for _ in 0..2 {
        assert_eq!(daemon.ask("spared.test", RecordType::A).answers(), ["77.74.181.10"]);
        assert_eq!(daemon.ask("www.kaspersky.com", RecordType::A).answers(), ["77.74.181.10"]);
        assert_eq!(daemon.ask("to-site.test", RecordType::A).answers(), ["www.kaspersky.com.", "77.74.181.10"]);
        assert_eq!(daemon.ask("stopped.test", RecordType::A).answers(), ["0.0.0.0"]);
    }
    let row = home.wait_for_row("the exception", |row| row["outcomes"]["excepted"] == 2);
    assert_eq!(row["purpose"], "vendor-network", "{row}");
    home.wait_for_row("the site", |row| row["purpose"] == "web" && row["count"] == 4);
}
