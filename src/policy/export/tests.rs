use super::*;
use crate::base::name::Name;
use crate::policy::list::Format;
use crate::policy::{Exception, List, RuleSetBuilder, Settings};
use std::sync::Arc;

const NAMES_OF_ALL_KINDS: &str = "||one.example^\n|two.example^\n@@||open.one.example^\n@@|exact.one.example^\n";

fn policy(lists: &[(&str, Format, Stage)], settings: Settings) -> Policy {
    let mut builder = RuleSetBuilder::new();
    for (i, (text, format, stage)) in (0..).zip(lists) {
        let id: Arc<str> = format!("l{i}").into();
        let list = List { id: Arc::clone(&id), file: id, revision: "".into(), stage: Some(*stage), expires: None };
        builder.add_blocklist(list, *format, &mut text.as_bytes()).unwrap();
    }
    Policy::new(1, Arc::new(builder.finish()), Arc::new(settings), "2026-11-01T00:00:00Z".parse().unwrap())
}

fn exported(policy: &Policy, format: ExportFormat) -> (String, Exported) {
    let mut text = String::new();
    let exported = write(policy, format, &mut text).unwrap();
    (text, exported)
}

fn is_blocked(policy: &Policy, name: &str) -> bool {
    let name: Name = name.parse().unwrap();
    policy.decide(&Subject { name: Some(name.as_ref()), ..Subject::default() }).decision == Decision::Block
}

/// Two lists of plain names, the second observed, and an exception: what every format of resolvers is to carry.
fn home() -> Policy {
    let exception = Exception {
        groups: Vec::new(),
        name: Some("spared.one.example".parse().unwrap()),
        net: None,
        clients: Vec::new(),
        reason: "r".into(),
        approver: "a".into(),
        until: None,
    };
    let settings = Settings { exceptions: vec![exception], ..Settings::default() };
    let lists = [
        ("one.example\ntwo.example\ndeep.er.example\n", Format::Domains, Stage::Block),
        ("seen.one.example\nother.example\n", Format::Domains, Stage::Observe),
        ("192.0.2.0/24\n2001:db8::/32\n", Format::Ranges, Stage::Block),
    ];
    policy(&lists, settings)
}

const SAMPLE: [&str; 12] = [
    "one.example",
    "a.one.example",
    "b.a.one.example",
    "seen.one.example",
    "x.seen.one.example",
    "spared.one.example",
    "x.spared.one.example",
    "two.example",
    "notone.example",
    "er.example",
    "x.deep.er.example",
    "other.example",
];

#[test]
fn what_is_read_back_decides_the_same() {
    let home = home();
    for (format, back) in [
        (ExportFormat::Rpz, Format::Rpz),
        (ExportFormat::Adblock, Format::Adblock),
        (ExportFormat::Dnsmasq, Format::Dnsmasq),
        (ExportFormat::Unbound, Format::Unbound),
    ] {
        let (text, exported) = exported(&home, format);
        assert!(exported.unsaid.keys().all(|what| *what == ADDRESSES), "{format}: {exported:?}");
        let again = policy(&[(&text, back, Stage::Block)], Settings::default());
        for name in SAMPLE {
            assert_eq!(is_blocked(&again, name), is_blocked(&home, name), "{format} {name}:\n{text}");
        }
    }
}

#[test]
fn what_cannot_be_said_is_counted_and_never_said_more_broadly() {
    let home = home();
    for (format, back) in [(ExportFormat::Domains, Format::Domains), (ExportFormat::V2fly, Format::V2fly)] {
        let (text, exported) = exported(&home, format);
        assert_eq!(exported.unsaid, BTreeMap::from([(ADDRESSES, 2), (PASSING, 2)]), "{format}");
        let again = policy(&[(&text, back, Stage::Block)], Settings::default());
        assert!(is_blocked(&again, "seen.one.example") && !is_blocked(&again, "other.example"), "{format}:\n{text}");
    }
    let (text, exported) = exported(&home, ExportFormat::Hosts);
    assert_eq!(text, "0.0.0.0 one.example\n0.0.0.0 two.example\n0.0.0.0 deep.er.example\n");
    assert_eq!(exported.unsaid.get(BELOW), Some(&3));
}

#[test]
fn packet_filters_get_ranges() {
    let home = home();
    let (text, exported) = exported(&home, ExportFormat::Cidr);
    assert_eq!((text.as_str(), exported.rules), ("192.0.2.0/24\n2001:db8::/32\n", 2));
    assert_eq!(exported.unsaid, BTreeMap::from([(NAMES, 5)]));
    for (format, parts) in [
        (ExportFormat::Nftables, ["set blocked4 {", "            2001:db8::/32,"]),
        (ExportFormat::Pf, ["table <interdict> persist {", "    192.0.2.0/24"]),
        (
            ExportFormat::Routeros,
            [
                "/ipv6 firewall address-list add list=interdict address=2001:db8::/32",
                "/ip dns static add name=one.example match-subdomain=yes type=NXDOMAIN",
            ],
        ),
        (
            ExportFormat::Suricata,
            [
                "drop ip any any -> 192.0.2.0/24 any (msg:\"interdict 192.0.2.0/24\"; ",
                "drop dns any any -> any any (msg:\"interdict one.example\"; dns.query; dotprefix; content:\".one.example\"; ",
            ],
        ),
        (ExportFormat::Zeek, ["2001:db8::/32\tIntel::SUBNET\t", "one.example\tIntel::DOMAIN\t"]),
    ] {
        let (text, _) = self::exported(&home, format);
        for part in parts {
            assert!(text.lines().any(|line| line.contains(part)), "{format}: {part} is missing:\n{text}");
        }
    }
}

#[test]
fn ranges_in_a_zone_are_written_backwards() {
    let (text, _) = exported(&home(), ExportFormat::Rpz);
    for line in ["24.0.2.0.192.rpz-ip CNAME .", "32.zz.db8.2001.rpz-ip CNAME ."] {
        assert!(text.lines().any(|have| have == line), "{line} is missing:\n{text}");
    }
}

#[test]
fn rules_apart_are_counted() {
    let apart = policy(&[(NAMES_OF_ALL_KINDS, Format::Adblock, Stage::Block)], Settings::default());
    let (text, exported) = exported(&apart, ExportFormat::Adblock);
    assert!(text.contains("||one.example^\n"), "{text}");
    assert!(exported.unsaid.get(APART).is_some_and(|count| *count > 0), "{exported:?}");
}
