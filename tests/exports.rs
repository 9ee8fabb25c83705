//! What is exported and read back decides the same, over real lists: by our own readers where we have one, else by readers of the
//! test's own that know no more of the format than its lines.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::print_stdout, reason = "the figures are what a run at length is for")]

#[path = "common/tier.rs"]
mod tier;

use interdict::base::model::{Decision, Stage};
use interdict::base::name::Name;
use interdict::policy::export::{ExportFormat, Exported, write};
use interdict::policy::list::Format;
use interdict::policy::{Exception, List, Policy, RuleSetBuilder, Settings, Subject};
use ipnet::IpNet;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

fn policy(lists: &[(&str, Format, Stage)], settings: Settings) -> Policy {
    let mut builder = RuleSetBuilder::new();
    for (at, (text, format, stage)) in lists.iter().enumerate() {
        let id: Arc<str> = format!("list{at}").into();
        let list = List { id: Arc::clone(&id), file: id, revision: "r".into(), stage: Some(*stage), expires: None };
        builder.add_blocklist(list, *format, &mut text.as_bytes()).unwrap();
    }
    Policy::new(1, Arc::new(builder.finish()), Arc::new(settings), "2026-11-23T12:00:00Z".parse().unwrap())
}

fn exported(policy: &Policy, format: ExportFormat) -> (String, Exported) {
    let mut text = String::new();
    let exported = write(policy, format, &mut text).unwrap();
    (text, exported)
}

fn of_policy(policy: &Policy, name: Option<&Name>, address: Option<IpAddr>) -> bool {
    let subject = Subject { name: name.map(Name::as_ref), address, ..Subject::default() };
    policy.decide(&subject).decision == Decision::Block
}

/// What another program would make of an export.
enum Back {
    /// Our own reader of the format.
    Ours(Box<Policy>),
    /// Names with everything below them, names alone, ranges by family and length.
    Plain { below: HashSet<String>, alone: HashSet<String>, nets: HashSet<IpNet> },
}

impl Back {
    fn read(format: ExportFormat, text: &str) -> Self {
        let ours = match format {
            ExportFormat::Rpz => Format::Rpz,
            ExportFormat::Hosts => Format::Hosts,
            ExportFormat::Domains => Format::Domains,
            ExportFormat::Adblock => Format::Adblock,
            ExportFormat::Dnsmasq => Format::Dnsmasq,
            ExportFormat::Unbound => Format::Unbound,
            ExportFormat::V2fly => Format::V2fly,
            ExportFormat::Cidr => Format::Ranges,
            _ => return Self::plain(format, text),
        };
        Self::Ours(Box::new(policy(&[(text, ours, Stage::Block)], Settings::default())))
    }

    fn plain(format: ExportFormat, text: &str) -> Self {
        let (mut below, mut alone, mut nets) = (HashSet::new(), HashSet::new(), HashSet::new());
        let between = |line: &str, from: &str, to: &str| -> Option<String> {
            let rest = &line[line.find(from)? + from.len()..];
            Some(rest[..rest.find(to).unwrap_or(rest.len())].to_owned())
        };
        for line in text.lines() {
            let name = match format {
                ExportFormat::Routeros => {
                    between(line, " name=", " ").map(|name| (line.contains("match-subdomain=yes"), name))
                }
                // The rule on TLS says the same of the same name.
                ExportFormat::Suricata if line.contains("tls.sni") => continue,
                ExportFormat::Suricata => between(line, "content:\"", "\"").map(|name| match name.strip_prefix('.') {
                    Some(name) => (line.contains("dotprefix") && line.contains("endswith"), name.to_owned()),
                    None => (false, name),
                }),
                ExportFormat::Zeek if line.contains("Intel::DOMAIN") => {
                    between(line, "", "\t").map(|name| (false, name))
                }
                _ => None,
            };
            match name {
                Some((true, name)) => drop(below.insert(name)),
                Some((false, name)) => drop(alone.insert(name)),
                None => {
                    let words = line.split([' ', '\t', ',']).map(|word| word.trim_start_matches("address="));
                    nets.extend(words.filter_map(|word| word.parse::<IpNet>().ok()));
                }
            }
        }
        Self::Plain { below, alone, nets }
    }

    fn blocks(&self, name: &Name) -> bool {
        match self {
            Self::Ours(policy) => of_policy(policy, Some(name), None),
            Self::Plain { below, alone, .. } => {
                let text = name.to_string();
                let ends = text.match_indices('.').map(|(at, _)| &text[at + 1..]);
                alone.contains(&text) || std::iter::once(text.as_str()).chain(ends).any(|end| below.contains(end))
            }
        }
    }

    fn blocks_address(&self, address: IpAddr) -> bool {
        match self {
            Self::Ours(policy) => of_policy(policy, None, Some(address)),
            Self::Plain { nets, .. } => {
                let most = if address.is_ipv4() { 32 } else { 128 };
                (0..=most).any(|len| nets.contains(&IpNet::new(address, len).unwrap().trunc()))
            }
        }
    }
}

/// Always the same numbers for one seed.
fn numbers() -> impl FnMut(u64) -> u64 {
    let mut state = tier::seed() | 1;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

/// Names of other lists, and names near those of `listed`: itself, below it, above it, beside it.
fn sample(listed: &[&str], others: &[&str], count: usize) -> Vec<Name> {
    let mut number = numbers();
    let mut any = |of: &[&str]| of[usize::try_from(number(of.len() as u64)).unwrap()].to_owned();
    let mut names = Vec::new();
    for at in 0..count {
        let name = any(listed);
        let name = match at % 6 {
            0 | 1 => any(others),
            2 => name,
            3 => format!("a{at}.{name}"),
            4 => name.split_once('.').map_or_else(|| name.clone(), |(_, above)| above.to_owned()),
            _ => format!("not{name}"),
        };
        names.extend(name.parse::<Name>());
    }
    names
}

fn text_of(file: &str) -> Option<String> {
    tier::shared("lists").map(|folder| std::fs::read_to_string(folder.join(file)).unwrap())
}

fn plain_lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
}

/// Compares every decision; how many of them block.
fn compare(home: &Policy, back: &Back, names: &[Name], what: &str) -> usize {
    let mut blocked = 0;
    for name in names {
        let is_blocked = of_policy(home, Some(name), None);
        assert_eq!(back.blocks(name), is_blocked, "{what}: {name}");
        blocked += usize::from(is_blocked);
    }
    blocked
}

const NAMES_MAX: (usize, usize, usize) = (6_000, 100_000, 100_000);

/// `one.example suffix` in every syntax that can say it.
#[test]
fn names_with_all_below_them_come_back_from_eight_formats() {
    let (Some(list), Some(listed), Some(others)) =
        (text_of("easylist.adblock.txt"), text_of("easylist.domains.txt"), text_of("stevenblack.domains.txt"))
    else {
        return;
    };
    let home = policy(&[(&list, Format::Adblock, Stage::Block)], Settings::default());
    let (fast, lab, soak) = NAMES_MAX;
    let names = sample(&plain_lines(&listed), &plain_lines(&others), tier::count(fast, lab, soak));
    for format in [
        ExportFormat::Rpz,
        ExportFormat::Domains,
        ExportFormat::Adblock,
        ExportFormat::Dnsmasq,
        ExportFormat::Unbound,
        ExportFormat::V2fly,
        ExportFormat::Routeros,
        ExportFormat::Suricata,
    ] {
        let (text, exported) = exported(&home, format);
        assert_eq!((exported.rules, exported.unsaid.len()), (50_231, 0), "{format}: {exported:?}");
        let blocked = compare(&home, &Back::read(format, &text), &names, &format.to_string());
        println!("{format}: {} names, {blocked} of them blocked, all alike", names.len());
        assert!(blocked > names.len() / 10, "{blocked}");
    }
    // Formats that know names alone say those, and count each whose lower names are missing.
    let rules: HashSet<String> =
        home.rules().rules().filter_map(|rule| home.facts(rule.id)).map(|facts| facts.pattern.to_string()).collect();
    for format in [ExportFormat::Hosts, ExportFormat::Zeek] {
        let (text, exported) = exported(&home, format);
        assert_eq!((exported.rules, exported.unsaid.values().sum::<usize>()), (50_231, 50_231), "{format}");
        let back = Back::read(format, &text);
        for name in &names {
            assert_eq!(back.blocks(name), rules.contains(&name.to_string()), "{format}: {name}");
        }
    }
}

#[test]
fn names_alone_come_back_from_seven_formats() {
    let (Some(list), Some(others)) = (text_of("easylist.hosts.txt"), text_of("stevenblack.domains.txt")) else {
        return;
    };
    let listed: Vec<&str> = plain_lines(&list).into_iter().filter_map(|line| line.split(' ').nth(1)).collect();
    let home = policy(&[(&list, Format::Hosts, Stage::Block)], Settings::default());
    let (fast, lab, soak) = NAMES_MAX;
    let names = sample(&listed, &plain_lines(&others), tier::count(fast, lab, soak));
    for format in [
        ExportFormat::Rpz,
        ExportFormat::Hosts,
        ExportFormat::Adblock,
        ExportFormat::V2fly,
        ExportFormat::Routeros,
        ExportFormat::Suricata,
        ExportFormat::Zeek,
    ] {
        let (text, exported) = exported(&home, format);
        assert_eq!((exported.rules, exported.unsaid.len()), (86_674, 0), "{format}: {exported:?}");
        let blocked = compare(&home, &Back::read(format, &text), &names, &format.to_string());
        println!("{format}: {} names, {blocked} of them blocked, all alike", names.len());
        assert!(blocked > names.len() / 10, "{blocked}");
    }
    for format in [ExportFormat::Domains, ExportFormat::Dnsmasq, ExportFormat::Unbound] {
        let (text, exported) = exported(&home, format);
        assert_eq!((exported.rules, exported.unsaid.values().sum::<usize>()), (0, 86_674), "{format}");
        assert!(!text.lines().any(|line| line.contains(listed[0])), "{format}");
    }
}

#[test]
fn what_passes_below_a_blocked_name_comes_back_from_four_formats() {
    let (Some(list), Some(listed), Some(others)) =
        (text_of("easylist.adblock.txt"), text_of("easylist.domains.txt"), text_of("stevenblack.domains.txt"))
    else {
        return;
    };
    let listed = plain_lines(&listed);
    let observed: String = listed.iter().step_by(7).map(|name| format!("seen.{name}\n")).collect();
    let exception = |name: &&str| Exception {
        name: format!("spared.{name}").parse().ok(),
        net: None,
        clients: Vec::new(),
        groups: Vec::new(),
        reason: "r".into(),
        approver: "a".into(),
        until: None,
    };
    let exceptions = listed.iter().step_by(1_000).map(exception).collect();
    let settings = Settings { exceptions, ..Settings::default() };
    let alone: String = listed.iter().step_by(11).map(|name| format!("0.0.0.0 alone.{name}\n")).collect();
    let lists = [
        (list.as_str(), Format::Adblock, Stage::Block),
        (&observed, Format::Domains, Stage::Observe),
        (&alone, Format::Hosts, Stage::Observe),
    ];
    let home = policy(&lists, settings.clone());
    // Two formats cannot spare a name without what is below it.
    let without_alone = policy(&lists[..2], settings);
    let (fast, lab, soak) = NAMES_MAX;
    let mut names = sample(&listed, &plain_lines(&others), tier::count(fast, lab, soak));
    let near: Vec<Name> = listed
        .iter()
        .step_by(7 * tier::count(10, 1, 1))
        .flat_map(|name| ["seen.", "x.seen.", "alone.", "x.alone."].map(|below| format!("{below}{name}")))
        .chain(
            listed
                .iter()
                .step_by(11 * tier::count(10, 1, 1))
                .flat_map(|name| ["alone.", "x.alone."].map(|below| format!("{below}{name}"))),
        )
        .chain(
            listed.iter().step_by(1_000).flat_map(|name| ["", "x.", "no"].map(|below| format!("{below}spared.{name}"))),
        )
        .filter_map(|name| name.parse().ok())
        .collect();
    let passes = near.iter().filter(|name| !of_policy(&home, Some(name), None)).count();
    names.extend(near);
    for (format, home) in [
        (ExportFormat::Rpz, &home),
        (ExportFormat::Adblock, &home),
        (ExportFormat::Dnsmasq, &without_alone),
        (ExportFormat::Unbound, &without_alone),
    ] {
        let (text, exported) = exported(home, format);
        assert!(exported.unsaid.is_empty(), "{format}: {exported:?}");
        compare(home, &Back::read(format, &text), &names, &format.to_string());
        println!("{format}: {} names, {passes} of them pass below a blocked one, all alike", names.len());
    }
    assert!(passes > 1_000, "{passes}");
    // The others block what is above, and count what should have passed.
    for format in [ExportFormat::Domains, ExportFormat::V2fly, ExportFormat::Routeros, ExportFormat::Suricata] {
        let (_, exported) = exported(&home, format);
        assert!(exported.unsaid.values().sum::<usize>() > 10_000, "{format}: {exported:?}");
    }
}

#[test]
fn ranges_come_back_from_seven_formats() {
    let mut number = numbers();
    let mut nets = Vec::new();
    for at in 0..2_000_u32 {
        let v4 = Ipv4Addr::from(0xC600_0000 | u32::try_from(number(1 << 24)).unwrap());
        let v6 = Ipv6Addr::from((0x2001_0db8_u128 << 96) | (u128::from(number(1 << 31)) << 65) | u128::from(at));
        let (short, long) = (16 + u8::try_from(number(17)).unwrap(), 48 + u8::try_from(number(81)).unwrap());
        nets.push(IpNet::new(v4.into(), short).unwrap().trunc());
        nets.push(IpNet::new(v6.into(), long).unwrap().trunc());
    }
    let text: String = nets.iter().map(|net| format!("{net}\n")).collect();
    let home = policy(&[(&text, Format::Ranges, Stage::Block)], Settings::default());
    let addresses: Vec<IpAddr> = (0..tier::count(6_000, 100_000, 100_000))
        .map(|at| match (nets[at % nets.len()].addr(), number(3)) {
            (IpAddr::V4(v4), 0) => IpAddr::V4(v4),
            (IpAddr::V4(v4), 1) => IpAddr::V4(Ipv4Addr::from(u32::from(v4) ^ u32::try_from(number(1 << 12)).unwrap())),
            (IpAddr::V4(_), _) => IpAddr::V4(Ipv4Addr::from(u32::try_from(number(1 << 31)).unwrap() * 2)),
            (IpAddr::V6(v6), 0) => IpAddr::V6(v6),
            (IpAddr::V6(v6), _) => {
                IpAddr::V6(Ipv6Addr::from(u128::from(v6) ^ (u128::from(number(1 << 31)) << number(64))))
            }
        })
        .collect();
    for format in [
        ExportFormat::Cidr,
        ExportFormat::Rpz,
        ExportFormat::Nftables,
        ExportFormat::Pf,
        ExportFormat::Routeros,
        ExportFormat::Suricata,
        ExportFormat::Zeek,
    ] {
        let (text, exported) = exported(&home, format);
        assert!(exported.unsaid.is_empty(), "{format}: {exported:?}");
        let back = Back::read(format, &text);
        let mut blocked = 0;
        for address in &addresses {
            let is_blocked = of_policy(&home, None, Some(*address));
            assert_eq!(back.blocks_address(*address), is_blocked, "{format}: {address}");
            blocked += usize::from(is_blocked);
        }
        println!("{format}: {} addresses, {blocked} of them blocked, all alike", addresses.len());
        assert!(blocked > addresses.len() / 4, "{blocked}");
    }
}
