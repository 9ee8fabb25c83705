//! `interdict report incidents` and `relays`: ways around a block, and hosts that relay for others, as packets showed them.

use super::args::{ReportArgs, TableFormat};
use super::report::filter;
use super::table::Table;
use super::vendors::print;
use super::{Failure, Out};
use crate::app::config::Config;
use crate::io::store::{Incident, Ledger, Relay};
use serde_json::{Value, json};

pub(super) fn incidents(args: &ReportArgs, config: &Config, out: &mut Out) -> Result<u8, Failure> {
    let incidents = Ledger::open_read(&config.store)?.incidents(&filter(args)?)?;
    let mut table = Table::new(&["endpoint", "vendor", "first", "last", "answer", "steps"]);
    for incident in &incidents {
        let moment = |step: Option<&(_, String)>| {
            step.map_or_else(String::new, |(at, _): &(crate::base::model::Wall, _)| at.to_string())
        };
        let steps: Vec<&str> = incident.steps.iter().map(|(_, what)| what.as_str()).collect();
        table.row(vec![
            incident.endpoint.clone(),
            incident.vendor.clone(),
            moment(incident.steps.first()),
            moment(incident.steps.last()),
            incident.answer.clone().unwrap_or_default(),
            steps.join("; "),
        ]);
    }
    if args.format == TableFormat::Table && incidents.is_empty() {
        out.line("No way around a block is recorded.")?;
        return Ok(0);
    }
    print(&table, &incidents.iter().map(incident_object).collect::<Vec<_>>(), args.format, out)?;
    Ok(0)
}

pub(super) fn relays(args: &ReportArgs, config: &Config, out: &mut Out) -> Result<u8, Failure> {
    let relays = Ledger::open_read(&config.store)?.relays(&filter(args)?)?;
    let mut table = Table::new(&["host", "port", "vendor", "use", "first", "last", "count", "clients"]);
    for relay in &relays {
        table.row(vec![
            relay.host.clone(),
            relay.port.to_string(),
            relay.vendor.clone(),
            relay.usage.clone(),
            relay.first.to_string(),
            relay.last.to_string(),
            relay.count.to_string(),
            relay.clients.join(" "),
        ]);
    }
    if args.format == TableFormat::Table && relays.is_empty() {
        out.line("No relay is recorded.")?;
        return Ok(0);
    }
    print(&table, &relays.iter().map(relay_object).collect::<Vec<_>>(), args.format, out)?;
    Ok(0)
}

fn incident_object(incident: &Incident) -> Value {
    let steps: Vec<Value> =
        incident.steps.iter().map(|(at, what)| json!({ "time": at.to_string(), "what": what })).collect();
    json!({ "endpoint": incident.endpoint, "vendor": incident.vendor, "answer": incident.answer, "chain": steps })
}

fn relay_object(relay: &Relay) -> Value {
    json!({
        "host": relay.host,
        "port": relay.port,
        "vendor": relay.vendor,
        "use": relay.usage,
        "clients": relay.clients,
        "first": relay.first.to_string(),
        "last": relay.last.to_string(),
        "count": relay.count,
    })
}
