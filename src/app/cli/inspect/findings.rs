//! What an incident responder wants: endpoint, vendor, purpose, on what evidence; ways around a block; relays; what was not seen.

use super::super::args::{InspectArgs, TableFormat};
use super::super::table::{Table, printable};
use super::super::vendors;
use super::super::{Failure, Out};
use super::devices::{Behind, Devices};
use crate::base::model::Wall;
use crate::engine::inspector::endpoint::Endpoints;
use crate::engine::inspector::{Findings, Incident, Reader, Relay, Row, RowKey};
use crate::io::capture::Stats;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;

/// What every report says of itself.
const MEANING: &str = "A contact is not an infection; silence in a capture is not absence.";

/// A source that was read.
pub(super) struct Read {
    pub(super) name: String,
    pub(super) stats: Stats,
    pub(super) reader: Reader,
}

type RelayEntry<'f> = (&'f (IpAddr, u16, Arc<str>), &'f Relay);

/// What is printed, as far as it is wanted.
struct Wanted<'f> {
    rows: Vec<(&'f RowKey, &'f Row)>,
    incidents: Vec<&'f Incident>,
    relays: Vec<RelayEntry<'f>>,
    devices: Devices<'f>,
}

/// Prints the report; `missing` is what a file of listed flows lacks.
pub(super) fn print(
    (findings, endpoints): (&Findings, &Endpoints),
    sources: &[Read],
    (args, missing): (&InspectArgs, &[String]),
    out: &mut Out,
) -> Result<(), Failure> {
    let is_wanted = |vendor: &str| args.wants(vendor);
    let rows: Vec<_> = findings.rows.iter().filter(|(key, _)| is_wanted(&key.vendor)).collect();
    let incidents: Vec<_> = findings.incidents.iter().filter(|incident| is_wanted(&incident.vendor)).collect();
    let relays: Vec<_> = findings.relays.iter().filter(|((_, _, vendor), _)| is_wanted(vendor)).collect();
    let mut blind = unseen(findings, sources);
    let losses = endpoints.losses();
    if losses.crowded_out > 0 {
        blind.push(format!("{} times there was no room for a device: it is known by address only", losses.crowded_out));
    }
    blind.extend_from_slice(missing);
    let addresses = rows.iter().map(|(key, _)| key.endpoint).chain(incidents.iter().map(|incident| incident.endpoint));
    let addresses = addresses.chain(relays.iter().map(|((host, ..), _)| *host)).collect();
    let wanted = Wanted { rows, incidents, relays, devices: Devices::new(endpoints, &addresses) };
    if args.format == TableFormat::Table {
        return people(&wanted, &blind, out);
    }
    let mut objects: Vec<Value> = Vec::new();
    if args.format != TableFormat::Csv {
        objects.extend(wanted.rows.iter().map(|(key, row)| row_object(key, row, &wanted.behind_row(key, row))));
        let of_incident = |incident: &&Incident| incident_object(incident, &wanted.behind_incident(incident));
        objects.extend(wanted.incidents.iter().map(of_incident));
        objects.extend(wanted.relays.iter().map(|relay| relay_object(relay, &wanted.behind_relay(relay))));
        objects.push(json!({ "kind": "unseen", "unseen": blind }));
    }
    vendors::print(&row_table(&wanted), &objects, args.format, out)
}

impl Wanted<'_> {
    fn behind_row(&self, key: &RowKey, row: &Row) -> Behind<'_> {
        self.devices.behind(key.endpoint, row.first_ns, row.last_ns)
    }

    fn behind_incident(&self, incident: &Incident) -> Behind<'_> {
        let times = || incident.chain.iter().map(|(at, _)| at.time_ns);
        self.devices.behind(incident.endpoint, times().min().unwrap_or(0), times().max().unwrap_or(u64::MAX))
    }

    fn behind_relay(&self, ((host, ..), relay): &RelayEntry<'_>) -> Behind<'_> {
        self.devices.behind(*host, relay.last_ns, relay.last_ns)
    }
}

fn people(wanted: &Wanted<'_>, blind: &[String], out: &mut Out) -> Result<(), Failure> {
    let Wanted { rows, incidents, relays, .. } = wanted;
    if rows.is_empty() {
        out.line("No endpoint was seen talking to a listed vendor.")?;
    } else {
        out.line(&row_table(wanted).text())?;
        out.line("\nEvidence:")?;
        for (key, row) in rows {
            out.line(&format!("  {} {} {}:", key.endpoint, key.vendor, key.purpose))?;
            for (frame, text) in &row.evidence {
                out.line(&format!("    frame {frame}: {}", printable(text)))?;
            }
            if let Some(rule) = &row.rule {
                out.line(&format!("    rule: {}", printable(rule)))?;
            }
        }
    }
    for incident in incidents {
        let answer =
            incident.answer.as_deref().map_or_else(String::new, |answer| format!(" (it was answered: {answer})"));
        let by = with(incident.endpoint, &wanted.behind_incident(incident));
        out.line(&format!("\nA way around the block of {} by {by}{answer}:", incident.vendor))?;
        for (at, what) in &incident.chain {
            out.line(&format!("  {} frame {}: {}", moment(at.time_ns), at.frame, printable(what)))?;
        }
    }
    if !relays.is_empty() {
        out.line("\nHosts that may relay for others:")?;
        for entry in relays {
            let ((host, port, vendor), relay) = entry;
            let host = with(*host, &wanted.behind_relay(entry));
            let clients: Vec<_> = relay.clients.iter().map(IpAddr::to_string).collect();
            out.line(&format!(
                "  {host} port {port} ({vendor}: {}): {} flows from {}",
                relay.usage,
                relay.count,
                clients.join(", ")
            ))?;
        }
    }
    if !blind.is_empty() {
        out.line("\nNot seen:")?;
        blind.iter().try_for_each(|line| out.line(&format!("  {line}")))?;
    }
    out.line(&format!("\n{MEANING}"))?;
    Ok(())
}

/// An address, and who is behind it.
fn with(address: IpAddr, behind: &Behind<'_>) -> String {
    let words = behind.words();
    if words.is_empty() { address.to_string() } else { format!("{address} ({words})") }
}

fn row_table(wanted: &Wanted<'_>) -> Table {
    let mut table = Table::new(&[
        "endpoint",
        "device",
        "vendor",
        "purpose",
        "grade",
        "first",
        "last",
        "count",
        "bytes",
        "verdict",
        "channel",
        "destinations",
    ]);
    for (key, row) in &wanted.rows {
        let [sent, received] = row.octets;
        let mut destinations: Vec<_> = row.destinations.iter().cloned().collect();
        if row.destinations_more > 0 {
            destinations.push(format!("and {} more", row.destinations_more));
        }
        table.row(vec![
            key.endpoint.to_string(),
            wanted.behind_row(key, row).words(),
            key.vendor.to_string(),
            key.purpose.to_string(),
            row.grade(key).to_string(),
            moment(row.first_ns),
            moment(row.last_ns),
            row.count.to_string(),
            (sent + received).to_string(),
            row.decision.to_string(),
            channels(row).join(" "),
            destinations.join(" "),
        ]);
    }
    table
}

fn row_object(key: &RowKey, row: &Row, behind: &Behind<'_>) -> Value {
    let [sent, received] = row.octets;
    let evidence: Vec<_> = row.evidence.iter().map(|(frame, text)| json!({ "frame": frame, "what": text })).collect();
    json!({
        "kind": "row",
        "endpoint": key.endpoint,
        "devices": behind.objects(),
        "vendor": &*key.vendor,
        "purpose": key.purpose.as_str(),
        "grade": row.grade(key).as_str(),
        "first": moment(row.first_ns),
        "last": moment(row.last_ns),
        "count": row.count,
        "bytes_sent": sent,
        "bytes_received": received,
        "verdict": row.decision.as_str(),
        "channel": channels(row),
        "destinations": row.destinations,
        "destinations_more": row.destinations_more,
        "rule": row.rule,
        "evidence": evidence,
    })
}

fn incident_object(incident: &Incident, behind: &Behind<'_>) -> Value {
    let chain: Vec<_> = incident
        .chain
        .iter()
        .map(|(at, what)| json!({ "frame": at.frame, "time": moment(at.time_ns), "what": what }))
        .collect();
    json!({
        "kind": "incident",
        "endpoint": incident.endpoint,
        "devices": behind.objects(),
        "vendor": &*incident.vendor,
        "answer": incident.answer,
        "chain": chain,
    })
}

fn relay_object(((host, port, vendor), relay): &RelayEntry<'_>, behind: &Behind<'_>) -> Value {
    json!({
        "kind": "relay",
        "host": host,
        "devices": behind.objects(),
        "port": port,
        "vendor": &**vendor,
        "use": relay.usage,
        "clients": relay.clients,
        "count": relay.count,
        "last": moment(relay.last_ns),
    })
}

fn channels(row: &Row) -> Vec<&'static str> {
    row.channels.iter().map(|channel| channel.as_str()).collect()
}

fn moment(time_ns: u64) -> String {
    Wall::from_nanosecond(i128::from(time_ns)).map_or_else(|_| "?".to_owned(), |time| format!("{time:.3}"))
}

/// What could not be seen, and why, a sentence each.
fn unseen(findings: &Findings, sources: &[Read]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |count: u64, what: &str| {
        if count > 0 {
            lines.push(format!("{count} {what}"));
        }
    };
    let blind = &findings.blind;
    say(
        blind.encrypted_hellos,
        "handshakes with an encrypted hello (ECH, or what looks like it): the name that was read may stand for another",
    );
    say(blind.nameless_hellos, "handshakes without a server name");
    say(blind.encrypted_dns, "flows to port 853 (DNS over TLS or QUIC): what they ask is encrypted");
    say(
        blind.weak_relays,
        "hosts that serve one port of a vendor's relays, and nothing else that says so: too little to go by",
    );
    say(blind.dropped, "findings and answers given up for want of room");
    for Read { name, stats, reader } in sources {
        let (counters, streams, flows, fragments) =
            (reader.counters(), reader.stream_losses(), reader.flow_losses(), reader.fragment_counters());
        let given_up = fragments.late + fragments.crowded_out + fragments.contradictory;
        say(stats.dropped, &format!("frames that were lost before they came from {name}"));
        say(stats.skipped, &format!("frames of {name} on interfaces that it does not describe"));
        say(counters.unreadable, &format!("frames of {name} that cannot be read: another protocol, or damaged"));
        say(counters.truncated, &format!("frames of {name} that the capture cut off"));
        say(counters.too_deep, &format!("packets of {name} in more tunnels than are followed"));
        say(counters.quic_unread, &format!("QUIC connections of {name} in a version or with keys that nobody knows"));
        say(streams.holes, &format!("holes in streams of {name}: segments that were lost, or not captured"));
        say(streams.differing, &format!("octets of {name} that were sent in two readings; both were read"));
        say(flows.unread, &format!("flows of {name} that had to make room for others before they were read"));
        say(given_up, &format!("fragmented datagrams of {name} that never became whole"));
    }
    lines
}
