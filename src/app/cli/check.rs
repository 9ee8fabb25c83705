//! `interdict check`: the decision in words, or as JSON.

use super::args::{CheckArgs, CheckFormat};
use super::enforced::{self, Enforced};
use super::progress::during;
use super::table::printable;
use super::{Failure, Out};
use crate::app::config::{Blocklist, Config, parse_moment};
use crate::app::lists::{self, Commit, Snapshots};
use crate::app::sync::{Feed, feeds};
use crate::app::time::believed;
use crate::base::model::{Decision, RuleFacts, Wall};
use crate::base::name::Name;
use crate::io::control::{Command, ask};
use crate::policy::list::Format;
use crate::policy::{Explanation, Policy, Subject};
use ipnet::IpNet;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// What is asked about.
enum Asked {
    Name(Name),
    Address(IpAddr),
}

pub(super) fn run(args: &CheckArgs, config: &Config, out: &mut Out) -> Result<u8, Failure> {
    let at = moment(args.at.as_deref())?;
    let Enforced { policy, commits, notes } = match args.as_enforced {
        true => during("reading lists", || enforced::at(at, config))?,
        false => during("reading lists", || policy(args, config, at))?,
    };
    if args.format == CheckFormat::Text {
        notes.iter().try_for_each(|note| out.line(&printable(note)))?;
    }
    // What is neither is said at the end, and keeps none of the others from being judged.
    let mut neither = Vec::new();
    for text in &args.subjects {
        let mut subject = Subject { client: args.client, ..Subject::default() };
        let asked = match asked(text) {
            Ok(asked) => asked,
            Err(why) => {
                if args.format == CheckFormat::Jsonl {
                    out.json(&json!({ "subject": text, "verdict": Value::Null, "error": why }))?;
                }
                neither.push(why);
                continue;
            }
        };
        match &asked {
            Asked::Name(name) => subject.name = Some(name.as_ref()),
            Asked::Address(address) => subject.address = Some(*address),
        }
        let explanation = args.client.map_or(&policy, |client| policy.of(client)).explain(&subject);
        let learned = subject.address.filter(|_| is_of_now(args)).and_then(|address| learned(config, address));
        match args.format {
            CheckFormat::Text => {
                out.line(&words(text, &explanation, &commits))?;
                learned.iter().flat_map(learned_words).try_for_each(|line| out.line(&line))?;
            }
            CheckFormat::Jsonl => {
                let mut object = object((text, at, args.client), &explanation, &commits);
                if let (true, Some(object)) = (args.as_enforced, object.as_object_mut()) {
                    object.insert("enforced".to_owned(), json!(notes));
                }
                if let (Some(learned), Some(object)) = (learned, object.as_object_mut()) {
                    object.insert("learned".to_owned(), learned);
                }
                out.json(&object)?;
            }
        }
    }
    if neither.is_empty() { Ok(0) } else { Err(Failure::wrong(neither.join("\n"))) }
}

/// Whether the question is about what is in force now.
fn is_of_now(args: &CheckArgs) -> bool {
    args.at.is_none() && args.rev.is_none() && !args.as_enforced && !args.no_defaults && args.list.is_empty()
}

/// Which listed names lead to an address, as far as a daemon that runs has learned it.
fn learned(config: &Config, address: IpAddr) -> Option<Value> {
    // Without a daemon, or without the right to ask it, nothing is known of it.
    let answer = ask(&config.store, Command::Learned { address }).ok()?;
    answer.get("names").is_some().then_some(answer)
}

fn learned_words(learned: &Value) -> Vec<String> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(printable).unwrap_or_default();
    let why = learned.get("why").and_then(Value::as_str).map_or_else(String::new, |why| format!(", because {why}"));
    let left = learned.get("left_s").and_then(Value::as_u64).unwrap_or_default();
    let mut lines = vec![format!("  learned  {}{}, for {left} s more", text(learned, "used"), printable(&why))];
    for name in learned.get("names").and_then(Value::as_array).into_iter().flatten() {
        lines.push(format!(
            "  from     {} led there: said by {}, {} times, first {}, last {}",
            text(name, "name"),
            text(name, "source"),
            name.get("count").and_then(Value::as_u64).unwrap_or_default(),
            text(name, "first"),
            text(name, "last"),
        ));
    }
    lines
}

/// The moment of `--at`, or now.
pub(super) fn moment(at: Option<&str>) -> Result<Wall, Failure> {
    let Some(text) = at else { return Ok(believed(None).at) };
    parse_moment(text).ok_or_else(|| {
        Failure::wrong(format!(
            "--at {text:?} is no time; write 2024-09-29, or 2024-09-29T00:00:00-04:00 with its offset"
        ))
    })
}

fn asked(text: &str) -> Result<Asked, String> {
    if let Ok(address) = text.parse() {
        return Ok(Asked::Address(address));
    }
    // Any octets make a name, these too; whoever writes them means something else.
    if text.parse::<SocketAddr>().is_ok() || text.parse::<IpNet>().is_ok() {
        return Err(format!(
            "{text:?} is neither an address nor a name: leave out the port, or name one address of the network"
        ));
    }
    let name = text.parse::<Name>().map_err(|why| format!("{text:?} is neither an address nor a name: {why}"))?;
    Ok(Asked::Name(name))
}

fn policy(args: &CheckArgs, config: &Config, at: Wall) -> Result<Enforced, Failure> {
    let mut further = if args.no_defaults { Vec::new() } else { config.blocklists.clone() };
    for list in &args.list {
        further.push(named_list(list, further.len())?);
    }
    let feeds = if args.no_defaults { Vec::new() } else { feeds(config) };
    let snapshots = match &args.rev {
        None => Snapshots::held(&feeds)?,
        Some(revision) => at_revision(&feeds, revision)?,
    };
    let lists = lists::read(config.vendors.as_deref(), !args.no_defaults, &further, &snapshots)?;
    let policy = Policy::new(1, lists.rules, Arc::new(config.settings.clone()), at);
    Ok(Enforced { policy, commits: lists.commits, notes: Vec::new() })
}

/// Lists from git as of a commit; those of other repositories stay as they are.
pub(super) fn at_revision(feeds: &[Feed], revision: &str) -> Result<Snapshots, Failure> {
    let mut snapshots = Snapshots::held(feeds)?;
    let mut refused = format!("--rev {revision:?}: no list comes from git");
    let mut is_found = false;
    for feed in feeds {
        match feed.source.at(revision) {
            Ok(snapshot) => {
                snapshots.insert(feed, snapshot);
                is_found = true;
            }
            Err(why) => refused = format!("--rev: {why}"),
        }
    }
    if is_found { Ok(snapshots) } else { Err(Failure::wrong(refused)) }
}

/// `FILE`, or `FILE:FORMAT` where what follows the last colon is a format's word.
fn named_list(text: &str, place: usize) -> Result<Blocklist, Failure> {
    let (path, format) = match text.rsplit_once(':') {
        Some((path, word)) if !path.is_empty() && !PathBuf::from(text).exists() => {
            (path, word.parse().map_err(|why| Failure::wrong(format!("--list {text:?}: {why}")))?)
        }
        _ => (text, Format::Auto),
    };
    let id = PathBuf::from(path).file_stem().map_or_else(|| format!("list-{place}"), |stem| stem.display().to_string());
    Ok(Blocklist::of_file(id, path, format))
}

fn words(text: &str, explanation: &Explanation, commits: &[Commit]) -> String {
    let verdict = &explanation.verdict;
    let mut said = format!("{}: {}", printable(text), verdict.decision);
    if verdict.decision == Decision::Block {
        said += &format!(" (answered {})", verdict.answer);
    }
    said += &format!("\n  because  {}", printable(&explanation.reason));
    if let Some(group) = &explanation.group {
        said += &format!("\n  group    {group}");
    }
    if let Some(rule) = &explanation.rule {
        said += &format!("\n  rule     {}", rule_words(rule));
        if let Some(commit) = commit_of(rule, commits) {
            let signer = commit.signer.as_deref().map_or_else(String::new, |signer| format!(", signed by {signer}"));
            said += &format!("\n  commit   {} of {}{}", commit.id, commit.time, printable(&signer));
        }
    }
    for other in &explanation.others {
        said += &format!("\n  also     {}: {}", rule_words(&other.rule), other.stage);
    }
    said
}

fn rule_words(rule: &RuleFacts) -> String {
    format!("{} ({} {}), {}, revision {}", rule.pattern, rule.vendor, rule.purpose, rule.place, rule.revision)
}

/// The commit that a rule came from.
fn commit_of<'c>(rule: &RuleFacts, commits: &'c [Commit]) -> Option<&'c Commit> {
    commits.iter().find(|commit| commit.id.short() == &*rule.revision)
}

fn object((text, at, client): (&str, Wall, Option<IpAddr>), explanation: &Explanation, commits: &[Commit]) -> Value {
    let rule = explanation.rule.as_ref();
    let blocked = explanation.verdict.decision == Decision::Block;
    json!({
        "subject": text,
        "verdict": explanation.verdict.decision.as_str(),
        "answer": blocked.then(|| explanation.verdict.answer.as_str()),
        "vendor": rule.map(|rule| &*rule.vendor),
        "purpose": rule.map(|rule| rule.purpose.as_str()),
        "rule": rule.map(|rule| rule_object(rule, commits)),
        "authority": explanation.authority,
        "citation": explanation.citation,
        "reason": explanation.reason,
        "at": at.to_string(),
        "client": client,
        "group": explanation.group,
        "others": explanation.others.iter().map(|other| json!({
            "rule": rule_object(&other.rule, commits),
            "vendor": &*other.rule.vendor,
            "purpose": other.rule.purpose.as_str(),
            "stage": other.stage.as_str(),
            "reason": other.why,
        })).collect::<Vec<_>>(),
    })
}

fn rule_object(rule: &RuleFacts, commits: &[Commit]) -> Value {
    let commit = commit_of(rule, commits);
    let mut object = json!({
        "pattern": &*rule.pattern,
        "list": &*rule.list,
        "revision": &*rule.revision,
        "place": &*rule.place,
    });
    if let (Some(commit), Some(object)) = (commit, object.as_object_mut()) {
        let signer = commit.signer.as_deref();
        let told = json!({ "id": commit.id.as_str(), "time": commit.time.to_string(), "signer": signer });
        object.insert("commit".to_owned(), told);
    }
    object
}
