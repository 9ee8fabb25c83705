//! `interdict vendors`: what is bundled, how much of it, and what is wanted for it and why.

use super::args::{TableFormat, VendorsArgs};
use super::check::moment;
use super::table::Table;
use super::{Failure, Out};
use crate::app::config::Config;
use crate::app::lists;
use crate::base::model::{Family, Purpose, Stage};
use crate::policy::list::vendor::Subject;
use crate::policy::{ClassId, Policy, Vendor};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn run(args: &VendorsArgs, config: &Config, out: &mut Out) -> Result<u8, Failure> {
    let at = moment(args.at.as_deref())?;
    let policy = Policy::new(1, lists::load(config)?.rules, Arc::new(config.settings.clone()), at);
    match &args.vendor {
        None => all(&policy, args.format, out)?,
        Some(id) => {
            let vendor = policy.rules().vendor(id).ok_or_else(|| {
                Failure::wrong(format!("no vendor file has the id {id:?}; `interdict vendors` lists them"))
            })?;
            one(&policy, vendor, args.format, out)?;
        }
    }
    Ok(0)
}

/// What is wanted for one purpose of a vendor, and why.
struct Wanted {
    purpose: Purpose,
    stage: Stage,
    why: String,
    rules: usize,
}

/// Purposes of a vendor in the order of the vocabulary; what is limited or expired stands apart from what is not.
fn wanted(policy: &Policy, vendor: &Vendor) -> Vec<Wanted> {
    let mut sizes: BTreeMap<ClassId, usize> = BTreeMap::new();
    policy.rules().count_by_class(|class| *sizes.entry(class).or_default() += 1);
    let mut folded: BTreeMap<(Purpose, Stage, String), usize> = BTreeMap::new();
    for (id, class) in policy.rules().classes() {
        let Some(staged) = policy.staged(id).filter(|_| class.vendor.as_deref() == Some(&vendor.file.id)) else {
            continue;
        };
        let key = (class.purpose, staged.stage, policy.why(class, &staged.why));
        *folded.entry(key).or_default() += sizes.get(&id).copied().unwrap_or(0);
    }
    let made = folded.into_iter().map(|((purpose, stage, why), rules)| Wanted { purpose, stage, why, rules });
    made.collect()
}

fn all(policy: &Policy, format: TableFormat, out: &mut Out) -> Result<(), Failure> {
    let mut table = Table::new(&["vendor", "name", "names", "ranges", "unverified", "blocked", "observed", "why"]);
    let mut rows = Vec::new();
    for vendor in policy.rules().vendors() {
        let wanted = wanted(policy, vendor);
        let families = |stage: Stage| {
            let mut families: Vec<Family> =
                wanted.iter().filter(|w| w.stage == stage && w.rules > 0).map(|w| w.purpose.family()).collect();
            families.sort_unstable();
            families.dedup();
            families.iter().map(|family| family.as_str()).collect::<Vec<_>>().join(" ")
        };
        let why = wanted.iter().find(|w| w.stage == Stage::Block).or_else(|| wanted.first());
        let why = why.map_or_else(|| "no rules".to_owned(), |w| w.why.clone());
        rows.push(json!({
            "vendor": &*vendor.file.id, "name": vendor.file.name,
            "bundle": vendor.file.subject == Subject::Bundle,
            "names": vendor.names, "ranges": vendor.ranges, "unverified": vendor.unverified,
            "blocked": families(Stage::Block), "observed": families(Stage::Observe), "why": why,
        }));
        table.row(vec![
            vendor.file.id.to_string(),
            vendor.file.name.clone(),
            vendor.names.to_string(),
            vendor.ranges.to_string(),
            vendor.unverified.to_string(),
            families(Stage::Block),
            families(Stage::Observe),
            why,
        ]);
    }
    print(&table, &rows, format, out)
}

fn one(policy: &Policy, vendor: &Vendor, format: TableFormat, out: &mut Out) -> Result<(), Failure> {
    let mut table = Table::new(&["vendor", "purpose", "family", "rules", "stage", "why"]);
    let mut rows = Vec::new();
    for wanted in wanted(policy, vendor) {
        let family = wanted.purpose.family().as_str();
        rows.push(json!({
            "vendor": &*vendor.file.id, "purpose": wanted.purpose.as_str(), "family": family,
            "rules": wanted.rules, "stage": wanted.stage.as_str(), "why": wanted.why,
        }));
        table.row(vec![
            vendor.file.id.to_string(),
            wanted.purpose.to_string(),
            family.to_owned(),
            wanted.rules.to_string(),
            wanted.stage.to_string(),
            wanted.why,
        ]);
    }
    print(&table, &rows, format, out)?;
    if format == TableFormat::Table {
        out.line("")?;
        let mut acts = Table::new(&["authority", "kind", "binds", "from", "forbids", "citation"]);
        for authority in &vendor.file.authorities {
            let clauses = &authority.clauses;
            let join = |texts: Vec<String>| if texts.is_empty() { "-".to_owned() } else { texts.join("; ") };
            acts.row(vec![
                authority.id.to_string(),
                authority.kind.to_string(),
                authority.binds.as_deref().unwrap_or("-").to_owned(),
                join(clauses.iter().map(|clause| clause.from.to_string()).collect()),
                join(clauses.iter().flat_map(|clause| clause.forbids.iter().map(ToString::to_string)).collect()),
                authority.citation.clone(),
            ]);
        }
        out.line(&acts.text())?;
    }
    Ok(())
}

pub(super) fn print(table: &Table, rows: &[Value], format: TableFormat, out: &mut Out) -> Result<(), Failure> {
    match format {
        TableFormat::Table => out.line(&table.text())?,
        TableFormat::Csv => out.line(&table.csv())?,
        TableFormat::Json => out.json(&Value::from(rows))?,
        TableFormat::Jsonl => rows.iter().try_for_each(|row| out.json(row))?,
    }
    Ok(())
}
