//! The vendor files read anew and matched the obvious way: nothing of the program's own code.

use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Moment for which ranges' evidence is judged; the checks of the tests that use it name it too.
pub(crate) const TODAY: &str = "2026-11-23";

/// An entry of a vendor file.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Vendor or bundle.
    pub(crate) vendor: String,
    /// `vendors/file.toml:line`, the line of its header.
    pub(crate) place: String,
    /// The name or prefix as written.
    pub(crate) name: String,
    /// `exact`, `suffix`, `wildcard`, or `range`.
    pub(crate) how: String,
    pub(crate) purpose: String,
    pub(crate) verified: bool,
    /// Whether the public can look up one of its sources.
    pub(crate) public: bool,
    /// Whether a range may be blocked: not shared, not too old.
    pub(crate) blockable: bool,
    pub(crate) examples: Vec<String>,
}

/// Families of the purposes that the determination forbids; all else is observed.
const FORBIDDEN: [&str; 13] = [
    "update",
    "download",
    "oem-update",
    "config",
    "telemetry",
    "crash",
    "discovery",
    "push",
    "ads",
    "acr",
    "web-analytics",
    "time",
    "vendor-network",
];

/// All entries on names.
pub(crate) fn names() -> Vec<Entry> {
    entries("domain", "name")
}

/// All entries on addresses.
pub(crate) fn ranges() -> Vec<Entry> {
    entries("range", "cidr")
}

fn entries(table: &str, key: &str) -> Vec<Entry> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/blocklists/vendors");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeSet<_> = files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    let mut entries = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let file: toml::Table = text.parse().unwrap();
        let vendor = file.get("vendor").or_else(|| file.get("bundle")).unwrap()["id"].as_str().unwrap();
        let sources: BTreeMap<&str, bool> = array(&file, "source")
            .iter()
            .map(|source| (source["id"].as_str().unwrap(), flag(source, "public", true)))
            .collect();
        let header = format!("[[{table}]]");
        let lines = (1..).zip(text.lines()).filter(|(_, line)| line.trim() == header).map(|(number, _)| number);
        let lines: Vec<usize> = lines.collect();
        assert_eq!(lines.len(), array(&file, table).len());
        for (line, entry) in lines.into_iter().zip(array(&file, table)) {
            entries.push(Entry {
                vendor: vendor.to_owned(),
                place: format!("vendors/{}:{line}", path.file_name().unwrap().to_str().unwrap()),
                name: entry[key].as_str().unwrap().to_owned(),
                how: entry.get("match").map_or("range", |how| how.as_str().unwrap()).to_owned(),
                purpose: entry["purpose"].as_str().unwrap().to_owned(),
                verified: flag(entry, "verified", true),
                public: strings(entry, "source").iter().any(|source| sources[source.as_str()]),
                blockable: table == "domain" || blockable(entry),
                examples: strings(entry, "examples"),
            });
        }
    }
    entries
}

/// A range of a vendor's own, announced by it, or one seen within the year.
fn blockable(range: &toml::Value) -> bool {
    let net: IpNet = range["cidr"].as_str().unwrap().parse().unwrap();
    let own = range.get("asn").is_some() && range.get("carrier").is_none() && net.prefix_len() < net.max_prefix_len();
    let evidence: jiff::civil::Date = range["evidence"].as_str().unwrap().parse().unwrap();
    let today: jiff::civil::Date = TODAY.parse().unwrap();
    let fresh = (today - evidence).get_days() < 365;
    !flag(range, "shared", false) && range["purpose"].as_str() != Some("public-cloud") && (own || fresh)
}

fn array<'a>(file: &'a toml::Table, key: &str) -> &'a [toml::Value] {
    file.get(key).and_then(toml::Value::as_array).map_or(&[], Vec::as_slice)
}

fn flag(entry: &toml::Value, key: &str, default: bool) -> bool {
    entry.get(key).map_or(default, |value| value.as_bool().unwrap())
}

fn strings(entry: &toml::Value, key: &str) -> Vec<String> {
    let all = entry.get(key).and_then(toml::Value::as_array);
    all.into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

//----------- Matching -------------------------------------------------------

impl Entry {
    /// Whether a name in lower case matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let below = |name: &str| name.strip_suffix(&self.name).is_some_and(|rest| rest.ends_with('.'));
        match self.how.as_str() {
            "exact" => name == self.name,
            "suffix" => name == self.name || below(name),
            "wildcard" => {
                let split = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
                labels(&split(&self.name), &split(name))
            }
            _ => false,
        }
    }

    /// Whether an address lies in it.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.name.parse::<IpNet>().unwrap().contains(&address.to_canonical())
    }

    /// How exactly it speaks: labels, then characters that are said.
    fn closeness(&self) -> (usize, usize) {
        (self.name.split('.').count(), self.name.chars().filter(|c| !matches!(c, '.' | '*')).count())
    }

    /// What is wanted for it by default.
    pub(crate) fn verdict(&self) -> &'static str {
        let forbidden = self.vendor == "kaspersky" && FORBIDDEN.contains(&self.purpose.as_str());
        if forbidden && self.public && self.blockable { "block" } else { "observe" }
    }

    /// A name that it matches.
    pub(crate) fn instance(&self) -> String {
        match self.how.as_str() {
            "suffix" => format!("probe-7.x.{}", self.name),
            _ => self.name.replace('*', "probe-7"),
        }
    }
}

fn labels(pattern: &[String], name: &[String]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((star, rest)), Some((_, tail))) if star == "*" => labels(rest, tail) || labels(pattern, tail),
        (Some((want, rest)), Some((have, tail))) => glob(want.as_bytes(), have.as_bytes()) && labels(rest, tail),
        _ => false,
    }
}

fn glob(pattern: &[u8], label: &[u8]) -> bool {
    match (pattern.split_first(), label.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), Some((_, tail))) => glob(rest, tail) || glob(pattern, tail),
        (Some((a, rest)), Some((b, tail))) => a == b && glob(rest, tail),
        _ => false,
    }
}

/// The entries that decide about a name: the most specific ones, of them those that are blocked if any is.
pub(crate) fn decides_name<'a>(entries: &'a [Entry], name: &str) -> Vec<&'a Entry> {
    let name = name.to_ascii_lowercase();
    let matching: Vec<&Entry> = entries.iter().filter(|entry| entry.verified && entry.matches(&name)).collect();
    let Some(most) = matching.iter().map(|entry| entry.closeness()).max() else { return Vec::new() };
    strictest(matching.into_iter().filter(|entry| entry.closeness() == most).collect())
}

/// The same for an address.
pub(crate) fn decides_address(entries: &[Entry], address: IpAddr) -> Vec<&Entry> {
    let length = |entry: &Entry| entry.name.parse::<IpNet>().unwrap().prefix_len();
    let holding: Vec<&Entry> = entries.iter().filter(|entry| entry.verified && entry.holds(address)).collect();
    let Some(longest) = holding.iter().map(|entry| length(entry)).max() else { return Vec::new() };
    strictest(holding.into_iter().filter(|entry| length(entry) == longest).collect())
}

fn strictest(equal: Vec<&Entry>) -> Vec<&Entry> {
    let blocked: Vec<&Entry> = equal.iter().copied().filter(|entry| entry.verdict() == "block").collect();
    if blocked.is_empty() { equal } else { blocked }
}
