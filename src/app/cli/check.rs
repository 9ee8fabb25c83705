//! `interdict check`: the decision in words, or as JSON.

use super::args::{CheckArgs, CheckFormat};
use super::table::printable;
use super::{Failure, Out};
use crate::app::config::{Blocklist, Config, parse_moment};
use crate::app::lists;
use crate::app::time::believed;
use crate::base::model::{Decision, RuleFacts, Stage, Wall};
use crate::base::name::Name;
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
    let policy = policy(args, config, at)?;
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
        let explanation = policy.explain(&subject);
        match args.format {
            CheckFormat::Text => out.line(&words(text, &explanation))?,
            CheckFormat::Jsonl => out.json(&object(text, &explanation, at, args.client))?,
        }
    }
    if neither.is_empty() { Ok(0) } else { Err(Failure::wrong(neither.join("\n"))) }
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

fn policy(args: &CheckArgs, config: &Config, at: Wall) -> Result<Policy, Failure> {
    let mut further = if args.no_defaults { Vec::new() } else { config.blocklists.clone() };
    for list in &args.list {
        further.push(named_list(list, further.len())?);
    }
    let lists = lists::read(config.vendors.as_deref(), !args.no_defaults, &further)?;
    Ok(Policy::new(1, lists.rules, Arc::new(config.settings.clone()), at))
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
    Ok(Blocklist { id, path: path.into(), format, answers: false, stage: Stage::Block })
}

fn words(text: &str, explanation: &Explanation) -> String {
    let verdict = &explanation.verdict;
    let mut said = format!("{}: {}", printable(text), verdict.decision);
    if verdict.decision == Decision::Block {
        said += &format!(" (answered {})", verdict.answer);
    }
    said += &format!("\n  because  {}", printable(&explanation.reason));
    if let Some(rule) = &explanation.rule {
        said += &format!("\n  rule     {}", rule_words(rule));
    }
    for other in &explanation.others {
        said += &format!("\n  also     {}: {}", rule_words(&other.rule), other.stage);
    }
    said
}

fn rule_words(rule: &RuleFacts) -> String {
    format!("{} ({} {}), {}, revision {}", rule.pattern, rule.vendor, rule.purpose, rule.place, rule.revision)
}

fn object(text: &str, explanation: &Explanation, at: Wall, client: Option<IpAddr>) -> Value {
    let rule = explanation.rule.as_ref();
    let blocked = explanation.verdict.decision == Decision::Block;
    json!({
        "subject": text,
        "verdict": explanation.verdict.decision.as_str(),
        "answer": blocked.then(|| explanation.verdict.answer.as_str()),
        "vendor": rule.map(|rule| &*rule.vendor),
        "purpose": rule.map(|rule| rule.purpose.as_str()),
        "rule": rule.map(rule_object),
        "authority": explanation.authority,
        "citation": explanation.citation,
        "reason": explanation.reason,
        "at": at.to_string(),
        "client": client,
        "others": explanation.others.iter().map(|other| json!({
            "rule": rule_object(&other.rule),
            "vendor": &*other.rule.vendor,
            "purpose": other.rule.purpose.as_str(),
            "stage": other.stage.as_str(),
            "reason": other.why,
        })).collect::<Vec<_>>(),
    })
}

fn rule_object(rule: &RuleFacts) -> Value {
    json!({
        "pattern": &*rule.pattern,
        "list": &*rule.list,
        "revision": &*rule.revision,
        "place": &*rule.place,
    })
}
