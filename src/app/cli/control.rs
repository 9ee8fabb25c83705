//! `interdict status`, `reload`, `pause`: talking to the running daemon.

use super::args::{PauseArgs, StatusArgs, StatusFormat};
use super::table::printable;
use super::{FAILED, Failure, NO_DAEMON, Out, WRONG};
use crate::app::time::parse_span;
use crate::io::control::{Command, ControlError, ask};
use serde_json::Value;
use std::path::Path;

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let code = match error {
            ControlError::NoDaemon(_) => NO_DAEMON,
            ControlError::Refused(_) => WRONG,
            ControlError::NotAllowed(_) | ControlError::Broken { .. } => FAILED,
        };
        Self { code, sentence: error.to_string() }
    }
}

pub(super) fn status(args: &StatusArgs, store: &Path, out: &mut Out) -> Result<u8, Failure> {
    let status = ask(store, Command::Status)?;
    match args.format {
        StatusFormat::Json => out.json(&status)?,
        StatusFormat::Text => out.line(&words(&status))?,
    }
    Ok(match status.get("state").and_then(Value::as_str) {
        Some("healthy") => 0,
        Some("paused" | "not-enforcing") => WRONG,
        _ => FAILED,
    })
}

pub(super) fn reload(store: &Path, out: &mut Out) -> Result<u8, Failure> {
    let done = ask(store, Command::Reload)?;
    out.line(&format!("reloaded: epoch {}, {} rules", text(&done, "/epoch"), text(&done, "/rules")))?;
    for key in strings(&done, "after_restart") {
        out.line(&format!("  {key} has changed and takes effect at the next start"))?;
    }
    for warning in strings(&done, "warnings") {
        out.line(&format!("  warning   {warning}"))?;
    }
    Ok(0)
}

pub(super) fn pause(args: &PauseArgs, store: &Path, out: &mut Out) -> Result<u8, Failure> {
    let seconds = if args.span == "off" { 0 } else { parse_span(&args.span).map_err(Failure::wrong)?.as_secs() };
    let reason = args.reason.clone().unwrap_or_default();
    if seconds > 0 && reason.trim().is_empty() {
        return Err(Failure::wrong("a pause needs --reason; it is recorded"));
    }
    let done = ask(store, Command::Pause { seconds, reason })?;
    match done.get("until").and_then(Value::as_str) {
        Some(until) => out.line(&format!("paused until {until}; `interdict pause off` ends it"))?,
        None => out.line("enforcing")?,
    }
    Ok(0)
}

fn words(status: &Value) -> String {
    let mut lines = vec![format!(
        "{} (version {}, pid {}, since {})",
        text(status, "/state"),
        text(status, "/version"),
        text(status, "/pid"),
        text(status, "/started")
    )];
    if status.pointer("/pause/until").is_some() {
        lines.push(format!("  paused    until {}: {}", text(status, "/pause/until"), text(status, "/pause/reason")));
    }
    lines.extend(strings(status, "alarms").map(|alarm| format!("  alarm     {alarm}")));
    lines.extend(strings(status, "warnings").map(|warning| format!("  warning   {warning}")));
    lines.push(format!("  listen    {}", strings(status, "listen").collect::<Vec<_>>().join(", ")));
    lines.push(format!("  upstream  {}", strings(status, "upstreams").collect::<Vec<_>>().join(", ")));
    lines.push(format!(
        "  policy    epoch {}, {} rules, id {}, staged at {}",
        text(status, "/policy/epoch"),
        text(status, "/policy/rules"),
        text(status, "/policy/id"),
        text(status, "/policy/at")
    ));
    lines.push(format!(
        "  queries   {} in, {} blocked, {} asked upstream, {} failed, {} dropped by [dns] allow",
        text(status, "/counters/queries"),
        text(status, "/counters/blocked"),
        text(status, "/counters/upstream_sent"),
        text(status, "/counters/failures"),
        text(status, "/counters/dropped_acl")
    ));
    lines.push(format!(
        "  ledger    {} attempts in {}, {} lost",
        text(status, "/ledger/attempts"),
        text(status, "/ledger/path"),
        text(status, "/ledger/lost")
    ));
    lines.join("\n")
}

/// A value as text, safe for a terminal.
fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => printable(text),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => printable(&other.to_string()),
    }
}

fn strings<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = String> + use<'a> {
    let items = value.get(key).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).map(printable)
}
