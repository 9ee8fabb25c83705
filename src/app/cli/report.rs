//! `interdict report`: what the ledger knows.

use super::args::{ReportArgs, TableFormat};
use super::check::moment;
use super::maker::{Makers, is_made_up};
use super::table::{Table, printable};
use super::vendors::print;
use super::{Failure, Out};
use crate::app::config::Config;
use crate::app::time::parse_span;
use crate::base::model::{Grade, Outcome, Wall};
use crate::io::store::{Filter, Ledger, ReportRow, StoreError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::failed(error)
    }
}

/// Pieces of evidence of one row that a table shows; the other formats have all of them.
const EVIDENCE_SHOWN: usize = 3;
/// The columns of a table; further ones come last.
const COLUMNS: [&str; 10] =
    ["endpoint", "vendor", "purpose", "first", "last", "count", "outcome", "channel", "destinations", "grade"];
/// What every report says of itself.
const MEANING: &str = "An attempt is a contact, not an infection; silence here is not absence.";
/// What a report with forwarders says besides.
const FORWARDERS: &str = "A forwarder asks for others: what it asks says nothing about itself.";

pub(super) fn run(args: &ReportArgs, config: &Config, out: &mut Out) -> Result<u8, Failure> {
    let filter = filter(args)?;
    let mut ledger = Ledger::open_read(&config.store)?;
    let rows = ledger.rows(&filter)?;
    let makers = Makers::of(rows.iter().flat_map(|row| &row.endpoint.macs));
    let mut table = Table::new(&COLUMNS);
    rows.iter().for_each(|row| table.row(cells(row, forwarder(row, config))));
    let objects: Vec<Value> = rows.iter().map(|row| object(row, forwarder(row, config), &makers)).collect();
    if args.format == TableFormat::Table && rows.is_empty() {
        out.line("No attempt is recorded.")?;
    } else {
        print(&table, &objects, args.format, out)?;
    }
    if args.format == TableFormat::Table {
        for row in &rows {
            for evidence in row.evidence.iter().take(EVIDENCE_SHOWN) {
                let (who, vendor, purpose) = (called(row), &row.vendor, row.purpose);
                out.line(&format!("  {who} {vendor} {purpose}: {} {}", evidence.channel, evidence.what))?;
            }
        }
        let devices: BTreeMap<i64, &ReportRow> = rows.iter().map(|row| (row.endpoint.id, row)).collect();
        for line in devices.values().filter_map(|row| device(row, &makers)) {
            out.line(&line)?;
        }
        around(&ledger, &filter, out)?;
        let gaps = ledger.gaps(filter.since)?;
        if !gaps.is_empty() {
            let last = gaps.last().map_or_else(String::new, |gap| {
                format!("; the last: {} from {} to {}", gap.why, gap.started, gap.ended)
            });
            let stretches = match gaps.len() {
                1 => "1 stretch of time was".to_owned(),
                many => format!("{many} stretches of time were"),
            };
            out.line(&format!("\n{stretches} not covered{last}."))?;
        }
        out.line(&format!("\n{MEANING}"))?;
        if rows.iter().any(|row| forwarder(row, config).is_some()) {
            out.line(FORWARDERS)?;
        }
    }
    Ok(0)
}

/// Which rows are wanted.
pub(super) fn filter(args: &ReportArgs) -> Result<Filter, Failure> {
    let since = args.since.as_deref().map(since).transpose()?;
    Ok(Filter { since, vendor: args.vendor.clone() })
}

/// That there are incidents and relays, which have reports of their own.
fn around(ledger: &Ledger, filter: &Filter, out: &mut Out) -> Result<(), Failure> {
    let (incidents, relays) = (ledger.incidents(filter)?.len(), ledger.relays(filter)?.len());
    if incidents > 0 {
        out.line(&format!("\nWays around a block: {incidents}; `interdict report incidents` shows them."))?;
    }
    if relays > 0 {
        out.line(&format!("\nPorts that may relay for others: {relays}; `interdict report relays` shows them."))?;
    }
    Ok(())
}

/// What is known of a device beside its name, where it is known by more than its address.
fn device(row: &ReportRow, makers: &Makers) -> Option<String> {
    let endpoint = &row.endpoint;
    if endpoint.macs.is_empty() && endpoint.client_ids.is_empty() {
        return None;
    }
    let macs = endpoint.macs.iter().map(|mac| match makers.maker(mac) {
        Some(maker) => format!("{mac} ({maker})"),
        None if is_made_up(mac) => format!("{mac} (randomised)"),
        None => mac.clone(),
    });
    let ids = endpoint.client_ids.iter().map(|id| format!("DHCP {id}"));
    let known = endpoint.addresses.iter().cloned().chain(macs).chain(ids);
    let known = known.chain(endpoint.vendor_classes.iter().cloned()).chain(endpoint.segments.iter().cloned());
    Some(printable(&format!("  {}: {}", called(row), known.collect::<Vec<_>>().join(", "))))
}

/// A moment, or a span back from now.
fn since(text: &str) -> Result<Wall, Failure> {
    match parse_span(text) {
        Ok(span) => {
            Wall::now().checked_sub(span).map_err(|_| Failure::wrong(format!("--since {text:?} is before all time")))
        }
        Err(_) => moment(Some(text)).map_err(|_| {
            Failure::wrong(format!("--since {text:?} is neither a time (2026-11-01) nor a span (24h, 7d)"))
        }),
    }
}

/// How an endpoint is known to ask for others: told by the config, or by what it asks.
fn forwarder(row: &ReportRow, config: &Config) -> Option<&'static str> {
    let named = |address: &String| {
        address.parse().is_ok_and(|at: IpAddr| config.forwarders.iter().any(|forwarder| forwarder.net.contains(&at)))
    };
    match row.endpoint.addresses.iter().any(named) {
        true => Some("configured"),
        false => row.endpoint.is_forwarder.then_some("detected"),
    }
}

/// The verdict that a row's attempts met, in one word: the strictest outcome that occurred.
fn verdict(row: &ReportRow) -> &'static str {
    let outcomes = &row.outcomes;
    match () {
        // What was to be stopped and was not, or of which nobody knows, is no less forbidden.
        () if outcomes.blocked + outcomes.leaked + outcomes.unknown > 0 => "block",
        () if outcomes.observed > 0 => "observe",
        () => "allow",
    }
}

fn outcomes(row: &ReportRow) -> impl Iterator<Item = (Outcome, u64)> + '_ {
    Outcome::ALL.iter().map(|outcome| (*outcome, row.outcomes.of(*outcome)))
}

/// What a row proves. What a forwarder asks is others' and proves nothing of itself.
fn grade(row: &ReportRow, forwarder: Option<&str>) -> Grade {
    if forwarder.is_some() { Grade::Contact } else { row.grade() }
}

/// What an endpoint is called.
fn called(row: &ReportRow) -> String {
    let name = row.endpoint.names.first().or_else(|| row.endpoint.addresses.first());
    name.cloned().unwrap_or_else(|| format!("#{}", row.endpoint.id))
}

fn cells(row: &ReportRow, forwarder: Option<&str>) -> Vec<String> {
    let outcome = outcomes(row).filter(|(_, count)| *count > 0).map(|(outcome, count)| format!("{outcome} {count}"));
    let destinations = row.destinations.iter().map(|destination| destination.destination.clone());
    vec![
        called(row) + if forwarder.is_some() { " (forwarder)" } else { "" },
        row.vendor.clone(),
        row.purpose.to_string(),
        row.first.to_string(),
        row.last.to_string(),
        row.count.to_string(),
        outcome.collect::<Vec<_>>().join(" "),
        row.channels.iter().map(|channel| channel.as_str()).collect::<Vec<_>>().join(" "),
        destinations.collect::<Vec<_>>().join(" "),
        grade(row, forwarder).to_string(),
    ]
}

fn object(row: &ReportRow, forwarder: Option<&str>, makers: &Makers) -> Value {
    let outcomes: serde_json::Map<String, Value> =
        outcomes(row).map(|(outcome, count)| (outcome.to_string(), count.into())).collect();
    let endpoint = &row.endpoint;
    json!({
        "endpoint": {
            "id": endpoint.id, "addresses": endpoint.addresses, "macs": endpoint.macs, "names": endpoint.names,
            "client_ids": endpoint.client_ids, "vendor_classes": endpoint.vendor_classes, "segments": endpoint.segments,
            "makers": endpoint.macs.iter().map(|mac| makers.maker(mac)).collect::<Vec<_>>(),
            "randomised": endpoint.macs.iter().map(|mac| is_made_up(mac)).collect::<Vec<_>>(),
            "forwarder": forwarder,
        },
        "vendor": row.vendor,
        "purpose": row.purpose.as_str(),
        "family": row.purpose.family().as_str(),
        "verdict": verdict(row),
        "first": row.first.to_string(),
        "last": row.last.to_string(),
        "count": row.count,
        "outcomes": outcomes,
        "channel": row.channels.iter().map(|channel| channel.as_str()).collect::<Vec<_>>(),
        "grade": grade(row, forwarder).as_str(),
        "evidence": row.evidence.iter().map(|evidence| json!({
            "channel": evidence.channel.as_str(), "what": evidence.what, "first": evidence.first.to_string(),
            "last": evidence.last.to_string(), "count": evidence.count,
        })).collect::<Vec<_>>(),
        "destinations": row.destinations.iter().map(|destination| json!({
            "destination": destination.destination,
            "count": destination.count,
            "last": destination.last.to_string(),
            "rule": {
                "pattern": destination.pattern, "list": destination.list,
                "revision": destination.revision, "place": destination.place,
            },
        })).collect::<Vec<_>>(),
    })
}
