//! Every format: the syntax cases of `tests/data/syntax` through `Policy::decide`, real lists, and bytes of any kind.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "common/tier.rs"]
mod tier;

use interdict::base::model::{Decision, Stage};
use interdict::base::name::{Match, Name};
use interdict::policy::gate::{Check, Counts, Gate};
use interdict::policy::list::{Format, Report};
use interdict::policy::{List, Policy, RuleSet, RuleSetBuilder, Settings, Subject, Verdict, What};
use proptest::prelude::*;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn list(file: &str) -> List {
    List { id: file.into(), file: file.into(), revision: "r".into(), stage: Some(Stage::Block), expires: None }
}

fn policy(builder: RuleSetBuilder) -> Policy {
    let at = "2026-11-23T12:00:00Z".parse().unwrap();
    Policy::new(1, Arc::new(builder.finish()), Arc::new(Settings::default()), at)
}

//----------- Syntax cases ---------------------------------------------------

fn syntax(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "data", "syntax", file].iter().collect()
}

fn given(word: &str) -> Option<&str> {
    if word == "-" { None } else { Some(word) }
}

/// Runs the cases of a file; the number of them, and what went wrong.
fn cases(file: &Path) -> (usize, Vec<String>) {
    let text = fs::read_to_string(file).unwrap();
    let head = text.lines().next().unwrap();
    let mut builder = RuleSetBuilder::new();
    for name in head.strip_prefix("# lists: ").unwrap().split(' ') {
        let text = fs::read(syntax(name)).unwrap();
        builder.add_blocklist(list(name), Format::Auto, &mut &text[..]).unwrap();
    }
    let policy = policy(builder);
    let mut wrong = Vec::new();
    let mut count = 0;
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#')) {
        let words: Vec<&str> = line.split('\t').collect();
        let [name, client, qtype, address, verdict, action, rule] = words[..] else {
            panic!("{file:?}:{number}: {line}")
        };
        let name: Option<Name> = given(name).map(|name| name.parse().unwrap());
        let qtype = given(qtype).map(|word| match word {
            "A" => 1,
            "AAAA" => 28,
            "HTTPS" => 65,
            other => panic!("{file:?}:{number}: type {other}"),
        });
        let subject = Subject {
            name: name.as_ref().map(Name::as_ref),
            address: given(address).map(|address| address.parse().unwrap()),
            client: given(client).map(|client| client.parse().unwrap()),
            qtype,
            ..Subject::default()
        };
        let have = policy.decide(&subject);
        let blocks = have.decision == Decision::Block;
        let place = have.rule.and_then(|rule| policy.facts(rule)).map_or_else(|| "-".into(), |facts| facts.place);
        let said = [have.decision.as_str(), if blocks { have.answer.as_str() } else { "-" }, &place];
        if said != [verdict, action, rule] {
            wrong.push(format!("{}:{number}: {line}: {}", file.display(), said.join(" ")));
        }
        let explained = policy.explain(&subject);
        assert_eq!(explained.verdict, have, "{file:?}:{number}");
        count += 1;
    }
    (count, wrong)
}

#[test]
fn syntax_cases() {
    let mut files: Vec<PathBuf> = fs::read_dir(syntax("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "tsv"));
    files.sort();
    let done: Vec<(usize, Vec<String>)> = files.iter().map(|file| cases(file)).collect();
    let wrong: Vec<&str> = done.iter().flat_map(|(_, wrong)| wrong).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let count: usize = done.iter().map(|(count, _)| count).sum();
    assert!(count >= 150, "{count} cases");
}

//----------- Real lists -----------------------------------------------------

fn load(path: &Path, format: Format) -> (RuleSet, Report) {
    let mut builder = RuleSetBuilder::new();
    let mut from = BufReader::new(File::open(path).unwrap());
    let (_, report) = builder.add_blocklist(list("list"), format, &mut from).unwrap();
    (builder.finish(), report)
}

/// How the rules compare and their names.
fn names(rules: &RuleSet) -> HashSet<(Match, String)> {
    let name = |what| match what {
        What::Name(name, kind) => (kind, name.to_string()),
        other => panic!("{other:?}"),
    };
    rules.rules().map(|rule| name(rule.what)).collect()
}

#[test]
fn one_list_in_six_syntaxes() {
    let Some(folder) = tier::shared("lists") else { return };
    let read = |file: &str| load(&folder.join(file), Format::Auto);
    let hosts = read("easylist.hosts.txt");
    let domains = read("easylist.domains.txt");
    for (rules, report) in [&hosts, &domains] {
        assert_eq!((rules.len(), report.rules, report.bad, report.ignored), (86_674, 86_674, 0, 0));
    }
    let bare = |rules: &RuleSet, kind: Match| -> HashSet<String> {
        names(rules).into_iter().map(|(have, name)| if have == kind { name } else { panic!("{have} {name}") }).collect()
    };
    let all = bare(&hosts.0, Match::Exact);
    assert_eq!(all, bare(&domains.0, Match::Suffix));
    let mut suffixes: Option<HashSet<String>> = None;
    for file in ["easylist.adblock.txt", "easylist.dnsmasq.txt", "easylist.wildcard.txt", "easylist.unbound.conf"] {
        let (rules, report) = read(file);
        assert_eq!((rules.len(), report.rules, report.bad), (50_231, 50_231, 0), "{file}");
        let have = bare(&rules, Match::Suffix);
        assert!(suffixes.as_ref().is_none_or(|same| *same == have), "{file}");
        suffixes = Some(have);
    }
    let suffixes = suffixes.unwrap();
    let covered = |name: &str| {
        let ends = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
        std::iter::once(name).chain(ends).any(|end| suffixes.contains(end))
    };
    assert_eq!(all.iter().filter(|name| !covered(name)).count(), 8);
}

#[test]
fn real_lists_pass_the_gate_and_may_not_triple_at_once() {
    let Some(folder) = tier::shared("lists") else { return };
    let gate = Gate::default();
    for file in ["easylist.adblock.txt", "easylist.domains.txt", "easylist.hosts.txt", "stevenblack.domains.txt"] {
        let (rules, report) = load(&folder.join(file), Format::Auto);
        let passed = gate.judge(&rules, "list", &report, None).map_err(|refused| refused.to_string()).unwrap();
        assert_eq!(passed.counts.rules(), rules.len(), "{file}");
        let half = Counts { names: rules.len() / 3, ..Counts::default() };
        let refused = gate.judge(&rules, "list", &report, Some(&half)).unwrap_err();
        assert_eq!(refused.check, Check::Growth, "{file}");
    }
}

#[test]
fn six_syntaxes_decide_alike() {
    let Some(folder) = tier::shared("lists") else { return };
    let files = ["easylist.adblock.txt", "easylist.dnsmasq.txt", "easylist.wildcard.txt", "easylist.unbound.conf"];
    let policies: Vec<Policy> = files
        .iter()
        .map(|file| {
            let mut builder = RuleSetBuilder::new();
            let mut from = BufReader::new(File::open(folder.join(file)).unwrap());
            builder.add_blocklist(list("list"), Format::Auto, &mut from).unwrap();
            policy(builder)
        })
        .collect();
    let asked = fs::read_to_string(folder.join("stevenblack.domains.txt")).unwrap();
    let asked = asked.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut blocked = 0;
    for text in asked.step_by(tier::count(20, 2, 1)) {
        let name: Name = text.parse().unwrap();
        let said: Vec<Verdict> = policies
            .iter()
            .map(|policy| policy.decide(&Subject { name: Some(name.as_ref()), ..Subject::default() }))
            .collect();
        assert!(said.iter().all(|one| one.decision == said[0].decision), "{text}: {said:?}");
        blocked += usize::from(said[0].decision == Decision::Block);
    }
    assert!(blocked > 100, "{blocked}");
}

#[test]
fn a_list_read_in_the_wrong_format_is_refused() {
    let Some(folder) = tier::shared("lists") else { return };
    for (file, format) in [
        ("easylist.hosts.txt", Format::Domains),
        ("easylist.domains.txt", Format::Hosts),
        ("easylist.adblock.txt", Format::Domains),
        ("easylist.dnsmasq.txt", Format::Unbound),
        ("easylist.unbound.conf", Format::Dnsmasq),
        ("easylist.unbound.conf", Format::V2fly),
        ("easylist.domains.txt", Format::Ranges),
        ("easylist.adblock.txt", Format::Rpz),
    ] {
        let mut from = BufReader::new(File::open(folder.join(file)).unwrap());
        let refusal = RuleSetBuilder::new().add_blocklist(list(file), format, &mut from).unwrap_err();
        assert!(refusal.to_string().contains("is it the right format?"), "{refusal}");
    }
}

//----------- A model of a list's own precedence ------------------------------

/// An adblock line on names of a small world, as its parts.
#[derive(Clone, Debug)]
struct Line {
    passes: bool,
    important: bool,
    back: bool,
    /// `||name^` or `|name^`.
    below: bool,
    name: String,
    /// `$denyallow`.
    spared: Option<String>,
    /// `$dnstype`.
    qtype: Option<u16>,
    /// `$client`.
    client: Option<u8>,
}

impl Line {
    fn text(&self) -> String {
        let number = |key: &str, value: &dyn std::fmt::Display| format!("{key}={value}");
        let modifiers: Vec<String> = [
            self.important.then(|| "important".to_owned()),
            self.back.then(|| "badfilter".to_owned()),
            self.spared.as_ref().map(|name| number("denyallow", name)),
            self.qtype.as_ref().map(|qtype| number("dnstype", qtype)),
            self.client.as_ref().map(|client| format!("client=10.0.0.{client}")),
        ]
        .into_iter()
        .flatten()
        .collect();
        let start = if self.below { "||" } else { "|" };
        let exception = if self.passes { "@@" } else { "" };
        let tail = if modifiers.is_empty() { String::new() } else { format!("${}", modifiers.join(",")) };
        format!("{exception}{start}{}^{tail}\n", self.name)
    }

    /// What makes two lines the same but for `$badfilter`.
    fn form(&self) -> String {
        Self { back: false, ..self.clone() }.text()
    }

    fn matches(&self, name: &str, qtype: u16, client: u8) -> bool {
        let is_below = |above: &str| name == above || name.ends_with(&format!(".{above}"));
        let named = if self.below { is_below(&self.name) } else { name == self.name };
        named
            && !self.spared.as_ref().is_some_and(|spared| is_below(spared))
            && self.qtype.is_none_or(|wanted| wanted == qtype)
            && self.client.is_none_or(|wanted| wanted == client)
    }

    const fn rank(&self) -> u8 {
        match (self.passes, self.important) {
            (true, true) => 3,
            (false, true) => 2,
            (true, false) => 1,
            (false, false) => 0,
        }
    }
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let name =
        || prop::sample::select(vec!["a.t", "b.t", "a.a.t", "b.a.t", "a.b.a.t", "b.b.t"]).prop_map(str::to_owned);
    let flags = (any::<bool>(), prop::bool::weighted(0.3), prop::bool::weighted(0.2), any::<bool>());
    let conditions = (
        prop::option::weighted(0.2, name()),
        prop::option::weighted(0.2, prop::sample::select(vec![1_u16, 28])),
        prop::option::weighted(0.2, 1..3_u8),
    );
    let line =
        (flags, name(), conditions).prop_map(|((passes, important, back, below), name, (spared, qtype, client))| {
            Line { passes, important, back, below, name, spared, qtype, client }
        });
    prop::collection::vec(line, 0..8)
}

proptest! {
    /// Two adblock lists, each walked line by line: blocked is what any of them has something against.
    #[test]
    fn own_precedence_agrees_with_the_obvious_reading(all in prop::collection::vec(lines(), 1..3)) {
        let mut builder = RuleSetBuilder::new();
        for (at, lines) in all.iter().enumerate() {
            let text: String = lines.iter().map(Line::text).collect();
            let file = format!("{at}");
            builder.add_blocklist(list(&file), Format::Adblock, &mut text.as_bytes()).unwrap();
        }
        let policy = policy(builder);
        let against = |lines: &Vec<Line>, name: &str, qtype, client| {
            let back: HashSet<String> = lines.iter().filter(|line| line.back).map(Line::form).collect();
            let strongest = lines
                .iter()
                .filter(|line| !line.back && !back.contains(&line.form()) && line.matches(name, qtype, client))
                .max_by_key(|line| line.rank());
            strongest.is_some_and(|line| !line.passes)
        };
        for name in ["a.t", "b.t", "a.a.t", "b.a.t", "a.b.a.t", "x.a.b.a.t", "b.b.t", "t"] {
            let parsed: Name = name.parse().unwrap();
            for (qtype, client) in [(1, 1), (28, 1), (1, 2), (28, 3)] {
                let subject = Subject {
                    name: Some(parsed.as_ref()),
                    qtype: Some(qtype),
                    client: format!("10.0.0.{client}").parse().ok(),
                    ..Subject::default()
                };
                let expected = all.iter().any(|lines| against(lines, name, qtype, client));
                let have = policy.decide(&subject).decision == Decision::Block;
                prop_assert_eq!(have, expected, "{} {} {}", name, qtype, client);
            }
        }
    }
}
