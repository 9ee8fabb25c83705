//! The obvious implementation: every entry is looked at for every question.

use crate::given::{Given, VENDORS};
use interdict::base::model::{Decision, Stage};
use ipnet::IpNet;
use std::cmp::Reverse;
use std::net::IpAddr;

/// What is decided, in words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) decision: Decision,
    /// Place and pattern.
    pub(crate) rule: Option<String>,
    pub(crate) exception: Option<usize>,
}

/// An entry with what is wanted for it.
pub(crate) struct Entry {
    /// In the order of precedence.
    order: usize,
    place: String,
    name: String,
    kind: &'static str,
    stage: Stage,
    /// A vendor's own space, or carved out of it.
    network: bool,
}

/// All entries that have any effect, with their stages.
pub(crate) fn entries(given: &Given) -> Vec<Entry> {
    let mut all = Vec::new();
    for (v, file) in given.vendors.iter().enumerate() {
        let (_, lines) = file.text(VENDORS[v]);
        for (entry, line) in file.entries.iter().zip(lines).filter(|(entry, _)| entry.verified) {
            let family = family(entry.purpose);
            let forbidden = file.begun && (file.binds == "everyone" || given.federal) && file.forbids.contains(&family);
            let wanted = match own_stage(given, v, entry.purpose) {
                Some(stage) => stage,
                None if forbidden => Stage::Block,
                None => Stage::Observe,
            };
            let range = entry.kind == "range";
            let single = entry.name.ends_with("/32") && entry.name.contains('.');
            let lasting = entry.asn && !single;
            let may = entry.public
                && !(range && (entry.shared || entry.purpose == "public-cloud" || !(lasting || entry.fresh)));
            all.push(Entry {
                order: all.len(),
                place: format!("{}:{line}", VENDORS[v]),
                name: entry.name.clone(),
                kind: entry.kind,
                stage: if wanted == Stage::Block && !(may && given.enforce) { Stage::Observe } else { wanted },
                network: matches!(entry.purpose, "vendor-network" | "mail" | "web"),
            });
        }
    }
    for (l, list) in given.lists.iter().enumerate() {
        for (at, name) in list.entries.iter().enumerate() {
            all.push(Entry {
                order: all.len(),
                place: format!("list-{l}:{}", at + 1),
                name: name.clone(),
                kind: if list.ranges { "range" } else { "suffix" },
                stage: if list.stage == Stage::Block && !given.enforce { Stage::Observe } else { list.stage },
                network: false,
            });
        }
    }
    all
}

fn family(purpose: &str) -> &'static str {
    match purpose {
        "update" => "update",
        "telemetry" => "telemetry",
        "cloud" => "remote",
        "vendor-network" => "network",
        _ => "web",
    }
}

/// The operator's word: the purpose before its family before the bare vendor, which never means the web family; the last of
/// several.
fn own_stage(given: &Given, vendor: usize, purpose: &str) -> Option<Stage> {
    // What the config calls a family where a purpose has the same name.
    let is_family = |part: &str| matches!(part, "update" | "web" | "network");
    let mut best: Option<(u8, Stage)> = None;
    for (v, part, stage) in &given.stages {
        let closeness = match part {
            _ if *v != vendor => 0,
            None if family(purpose) != "web" => 1,
            Some(part) if is_family(part) && *part == family(purpose) => 2,
            Some(part) if !is_family(part) && *part == purpose => 3,
            _ => 0,
        };
        if closeness > 0 && best.is_none_or(|(held, _)| closeness >= held) {
            best = Some((closeness, *stage));
        }
    }
    best.map(|(_, stage)| stage)
}

fn matches(entry: &Entry, name: &str) -> bool {
    let below = |name: &str| name.ends_with(&format!(".{}", entry.name));
    match entry.kind {
        "exact" => name == entry.name,
        "suffix" => name == entry.name || below(name),
        "wildcard" => labels(&entry.name.split('.').collect::<Vec<_>>(), &name.split('.').collect::<Vec<_>>()),
        _ => false,
    }
}

fn labels(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (["*", rest @ ..], [_, tail @ ..]) => labels(rest, tail) || labels(pattern, tail),
        ([want, rest @ ..], [have, tail @ ..]) => glob(want.as_bytes(), have.as_bytes()) && labels(rest, tail),
        _ => false,
    }
}

fn glob(pattern: &[u8], label: &[u8]) -> bool {
    match (pattern, label) {
        ([], []) => true,
        ([b'*', rest @ ..], [_, tail @ ..]) => glob(rest, tail) || glob(pattern, tail),
        ([a, rest @ ..], [b, tail @ ..]) => a == b && glob(rest, tail),
        _ => false,
    }
}

/// Judges.
pub(crate) fn decide(
    given: &Given,
    all: &[Entry],
    name: Option<&str>,
    address: Option<IpAddr>,
    client: IpAddr,
) -> Said {
    let by_name = name.and_then(|name| {
        let said = |entry: &&Entry| {
            let literal = entry.name.chars().filter(|c| !matches!(c, '*' | '.')).count();
            (entry.name.split('.').count(), literal, entry.stage, Reverse(entry.order))
        };
        all.iter().filter(|entry| matches(entry, name)).max_by_key(said)
    });
    let by_address = address.and_then(|address| {
        let net = |entry: &Entry| entry.name.parse::<IpNet>().unwrap();
        let ranges = all.iter().filter(|entry| entry.kind == "range");
        let over = ranges.filter(|entry| net(entry).contains(&address.to_canonical()));
        over.max_by_key(|entry| (net(entry).prefix_len(), entry.stage, Reverse(entry.order)))
    });
    let chosen = match (by_name, by_address) {
        // Name over address, for what is the vendor's own; an address that is listed for itself is stricter or nothing.
        (Some(name), Some(range)) if range.network => Some(name),
        (Some(name), Some(range)) => Some(if range.stage > name.stage { range } else { name }),
        (name, range) => name.or(range),
    };
    let exception = exception(given, name, address, client);
    let Some(chosen) = chosen else { return Said { decision: Decision::Allow, rule: None, exception } };
    let decision = match chosen.stage {
        _ if exception.is_some() => Decision::Allow,
        Stage::Off => Decision::Allow,
        Stage::Observe => Decision::Observe,
        Stage::Block => Decision::Block,
    };
    let rule = (chosen.stage != Stage::Off).then(|| format!("{} {}", chosen.place, chosen.name));
    Said { decision, rule, exception }
}

/// The exception that speaks of the longest name, else the first that speaks of the address.
fn exception(given: &Given, name: Option<&str>, address: Option<IpAddr>, client: IpAddr) -> Option<usize> {
    let holds = |at: &usize| {
        let spared = &given.exceptions[*at];
        !spared.ended && (!spared.client || client.to_string().starts_with("10."))
    };
    let places = || (0..given.exceptions.len()).filter(holds);
    let covers = |at: usize| {
        let spared = given.exceptions[at].name.as_deref()?;
        let name = name?;
        (name == spared || name.ends_with(&format!(".{spared}"))).then_some(spared.len())
    };
    let by_name = places().filter_map(|at| Some((covers(at)?, Reverse(at)))).max().map(|(_, at)| at.0);
    by_name.or_else(|| {
        let address = address?.to_canonical();
        places()
            .find(|at| given.exceptions[*at].net.is_some_and(|net| net.parse::<IpNet>().unwrap().contains(&address)))
    })
}
