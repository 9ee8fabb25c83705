//! Random worlds: what is given to the policy, as the texts that its readers read.

use interdict::base::model::{BlockAnswer, Stage};
use interdict::policy::list::{Format, vendor};
use interdict::policy::{
    BlockSettings, Exception, List, Policy, RuleSetBuilder, Scope, Settings, Sinkhole, StageSetting,
};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::sync::Arc;

/// Labels of names.
pub(crate) const LABELS: [&str; 4] = ["a", "b", "ab", "ba"];
/// Labels of wildcards.
const PATTERNS: [&str; 7] = ["a", "b", "ab", "*", "a*", "*b", "*a*"];
/// What names end with.
pub(crate) const ZONES: [&str; 2] = ["x.test", "a.test"];
/// Prefixes: one within the other, and apart.
const RANGES: [&str; 7] = [
    "77.64.0.0/16",
    "77.64.0.0/23",
    "77.64.1.0/24",
    "77.64.1.77/32",
    "77.64.1.64/26",
    "2a03:2480::/32",
    "2a03:2480::/48",
];
/// Of every family that matters: forbidden or not, network or not, cloud.
const PURPOSES: [&str; 6] = ["update", "telemetry", "cloud", "web", "mail", "unknown"];
const RANGE_PURPOSES: [&str; 5] = ["vendor-network", "mail", "web", "update", "public-cloud"];
const FAMILIES: [&str; 4] = ["update", "telemetry", "web", "network"];
pub(crate) const VENDORS: [&str; 3] = ["acme", "bolt", "core"];
/// The policy's date; evidence and clauses lie before it and after it.
pub(crate) const NOW: &str = "2026-11-23T12:00:00Z";

/// An entry of a vendor file or a list.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The name or prefix.
    pub(crate) name: String,
    /// `exact`, `suffix`, `wildcard` or `range`.
    pub(crate) kind: &'static str,
    pub(crate) purpose: &'static str,
    pub(crate) verified: bool,
    pub(crate) public: bool,
    pub(crate) shared: bool,
    pub(crate) asn: bool,
    pub(crate) fresh: bool,
}

/// A vendor file.
#[derive(Clone, Debug)]
pub(crate) struct VendorFile {
    pub(crate) entries: Vec<Entry>,
    /// What its one clause forbids.
    pub(crate) forbids: Vec<&'static str>,
    pub(crate) begun: bool,
    pub(crate) binds: &'static str,
}

/// A list of the operator's.
#[derive(Clone, Debug)]
pub(crate) struct Blocklist {
    pub(crate) stage: Stage,
    pub(crate) entries: Vec<String>,
    pub(crate) ranges: bool,
}

/// An exception.
#[derive(Clone, Debug)]
pub(crate) struct Spared {
    pub(crate) name: Option<String>,
    pub(crate) net: Option<&'static str>,
    /// For the first client only.
    pub(crate) client: bool,
    pub(crate) ended: bool,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) vendors: Vec<VendorFile>,
    pub(crate) lists: Vec<Blocklist>,
    /// Vendor, part, stage.
    pub(crate) stages: Vec<(usize, Option<&'static str>, Stage)>,
    pub(crate) exceptions: Vec<Spared>,
    pub(crate) federal: bool,
    pub(crate) enforce: bool,
    pub(crate) answer: &'static str,
    pub(crate) seed: usize,
}

//----------- Strategies -----------------------------------------------------

fn pick(from: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(from)
}

fn stage() -> impl Strategy<Value = Stage> {
    prop::sample::select(Stage::ALL)
}

fn labels(from: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    (prop::collection::vec(pick(from), 0..=most), pick(&ZONES))
        .prop_map(|(labels, zone)| labels.iter().rev().fold(zone.to_owned(), |name, label| format!("{label}.{name}")))
}

fn entry() -> impl Strategy<Value = Entry> {
    let plain = (labels(&LABELS, 2), pick(&["exact", "suffix"]), pick(&PURPOSES));
    let wild = labels(&PATTERNS, 2).prop_filter("has a star", |name| name.contains('*'));
    let wild = (wild, Just("wildcard"), pick(&PURPOSES));
    let range = (pick(&RANGES).prop_map(str::to_owned), Just("range"), pick(&RANGE_PURPOSES));
    let what = prop_oneof![4 => plain, 3 => wild, 3 => range];
    let often = || prop::bool::weighted(0.85);
    (what, often(), often(), often(), often(), often()).prop_map(|((name, kind, purpose), a, b, c, asn, fresh)| Entry {
        name,
        kind,
        purpose,
        verified: a || kind == "range",
        public: b,
        shared: !c,
        asn,
        fresh,
    })
}

fn vendor_file() -> impl Strategy<Value = VendorFile> {
    let clause =
        (prop::sample::subsequence(&FAMILIES[..], 1..=4), prop::bool::weighted(0.8), pick(&["everyone", "federal"]));
    (prop::collection::vec(entry(), 0..12), clause).prop_map(|(mut entries, (forbids, begun, binds))| {
        let mut seen = std::collections::BTreeSet::new();
        entries.retain(|entry| seen.insert((entry.name.clone(), entry.kind)));
        VendorFile { entries, forbids, begun, binds }
    })
}

fn list() -> impl Strategy<Value = Blocklist> {
    let names = prop::collection::vec(labels(&LABELS, 3), 1..6);
    let ranges = prop::collection::vec(pick(&RANGES).prop_map(str::to_owned), 1..4);
    let entries = prop_oneof![3 => names.prop_map(|all| (all, false)), 1 => ranges.prop_map(|all| (all, true))];
    (stage(), entries).prop_map(|(stage, (entries, ranges))| Blocklist { stage, entries, ranges })
}

fn spared() -> impl Strategy<Value = Spared> {
    let name = prop::option::weighted(0.8, labels(&LABELS, 2));
    (name, prop::option::of(pick(&RANGES)), prop::bool::ANY, prop::bool::weighted(0.2)).prop_map(
        |(name, net, client, ended)| {
            let net = if name.is_none() { net.or(Some("77.64.1.0/24")) } else { net };
            Spared { name, net, client, ended }
        },
    )
}

/// A random world.
pub(crate) fn any() -> impl Strategy<Value = Given> {
    let part = prop::option::of(pick(&["update", "web", "network", "mail", "vendor-network", "cloud"]));
    let rest = (prop::bool::weighted(0.3), prop::bool::weighted(0.9), 0..1_000_usize);
    (
        prop::collection::vec(vendor_file(), 0..=3),
        prop::collection::vec(list(), 0..3),
        prop::collection::vec((0..3_usize, part, stage()), 0..4),
        prop::collection::vec(spared(), 0..3),
        rest,
    )
        .prop_map(|(vendors, lists, stages, exceptions, (federal, enforce, seed))| Given {
            vendors,
            lists,
            stages,
            exceptions,
            federal,
            enforce,
            answer: "null",
            seed,
        })
}

//----------- Texts ----------------------------------------------------------

impl VendorFile {
    /// The file, and the line of each entry.
    pub(crate) fn text(&self, id: &str) -> (String, Vec<usize>) {
        let mut text = format!("version = 1\n[vendor]\nid = \"{id}\"\nname = \"{id}\"\n");
        text += "[[source]]\nid = \"doc\"\ntitle = \"t\"\nwhere = \"-\"\n";
        text += "[[source]]\nid = \"unrecorded\"\ntitle = \"t\"\nwhere = \"-\"\npublic = false\n";
        let from = if self.begun { "2024-09-29T00:00:00-04:00" } else { "2031-01-01T00:00:00Z" };
        text += &format!(
            "[[authority]]\nid = \"us/{id}\"\nauthority = \"A\"\ninstrument = \"I\"\ncitation = \"C\"\njurisdiction = \"us\"\n\
             kind = \"prohibition\"\nbinds = \"{}\"\nsource = [\"doc\"]\nconfidence = \"high\"\n\
             clause = [{{ from = \"{from}\", forbids = {:?} }}]\n",
            self.binds, self.forbids
        );
        let mut lines = Vec::new();
        for entry in &self.entries {
            lines.push(text.lines().count() + 1);
            let source = if entry.public { "doc" } else { "unrecorded" };
            text += &if entry.kind == "range" {
                let (asn, shared) = (if entry.asn { "asn = 1\n" } else { "" }, entry.shared);
                let evidence = if entry.fresh { "2026-06-01" } else { "2020-01-01" };
                let name = &entry.name;
                format!("[[range]]\ncidr = \"{name}\"\n{asn}evidence = \"{evidence}\"\nshared = {shared}\n")
            } else {
                format!("[[domain]]\nname = \"{}\"\nmatch = \"{}\"\n", entry.name, entry.kind)
            };
            let _ = writeln!(text, "purpose = \"{}\"\nsource = [\"{source}\"]\nconfidence = \"low\"", entry.purpose);
            if !entry.verified {
                text += "verified = false\n";
            }
        }
        (text, lines)
    }
}

impl Given {
    /// Everything, to be read by who mends what is found.
    pub(crate) fn text(&self) -> String {
        let files = self.vendors.iter().zip(VENDORS).map(|(file, id)| file.text(id).0);
        files.collect::<String>() + &format!("{:?} {:?} {:?}", self.lists, self.stages, self.exceptions)
    }
}

/// What the program makes of it.
pub(crate) struct World {
    pub(crate) policy: Policy,
}

impl World {
    pub(crate) fn new(given: &Given) -> Self {
        let mut builder = RuleSetBuilder::new();
        for (file, id) in given.vendors.iter().zip(VENDORS) {
            let (text, _) = file.text(id);
            let read = vendor::read(id, &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            builder.add_vendor_file(Arc::new(read), "test").unwrap();
        }
        for (at, list) in given.lists.iter().enumerate() {
            let id: Arc<str> = format!("list-{at}").into();
            let provenance =
                List { id: Arc::clone(&id), file: id, revision: "test".into(), stage: Some(list.stage), expires: None };
            let format = if list.ranges { Format::Ranges } else { Format::Domains };
            builder.add_blocklist(provenance, format, &mut list.entries.join("\n").as_bytes()).unwrap();
        }
        let policy = Policy::new(1, Arc::new(builder.finish()), Arc::new(settings(given)), NOW.parse().unwrap());
        Self { policy }
    }
}

fn settings(given: &Given) -> Settings {
    let stage = |(vendor, part, stage): &(usize, Option<&str>, Stage)| StageSetting {
        vendor: VENDORS[*vendor].to_owned(),
        part: part.map(|part| part.parse().unwrap()),
        stage: *stage,
    };
    let exception = |spared: &Spared| Exception {
        groups: Vec::new(),
        name: spared.name.as_ref().map(|name| name.parse().unwrap()),
        net: spared.net.map(|net| net.parse().unwrap()),
        clients: if spared.client { vec!["10.0.0.0/8".parse().unwrap()] } else { Vec::new() },
        reason: "r".to_owned(),
        approver: "a".to_owned(),
        until: spared.ended.then(|| NOW.parse().unwrap()),
    };
    let binds = if given.federal { vec!["federal".to_owned()] } else { vec!["everyone".to_owned()] };
    Settings {
        scope: Scope { jurisdictions: vec!["us".to_owned()], binds },
        stages: given.stages.iter().map(stage).collect(),
        exceptions: given.exceptions.iter().map(exception).collect(),
        block: BlockSettings { answer: given.answer.parse().unwrap_or(BlockAnswer::Null), ttl: 60 },
        sinkhole: Sinkhole::default(),
        enforce: given.enforce,
        ..Settings::default()
    }
}
