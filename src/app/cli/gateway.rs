//! `interdict gateway`: enforcement in the kernel. A daemon that runs with `[gateway] enabled` does it; without one, the command does.

use super::args::{GatewayCommand, StatusFormat};
use super::check::moment;
use super::table::{Table, printable};
use super::{FAILED, Failure, Out};
use crate::app::config::{Config, load, running_store};
use crate::app::daemon::gateway::object;
use crate::app::gateway::{GatewayError, Prepared, facts, login, prepare, wants};
use crate::app::lists;
use crate::app::time::parse_span;
use crate::engine::gateway::{HOLD, MAIN, along};
use crate::io::control::{Command, ControlError, ask};
use crate::io::gateway::{Enforcer, Kernel, Sysctl, System};
use crate::io::sys::signal::ignore_hangup;
use crate::policy::Policy;
use serde_json::Value;
use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

impl From<GatewayError> for Failure {
    fn from(error: GatewayError) -> Self {
        Self::failed(error)
    }
}

pub(super) fn run(command: &GatewayCommand, named: Option<&Path>, out: &mut Out) -> Result<u8, Failure> {
    match command {
        GatewayCommand::Plan { only_rules } => {
            let mut config = load(named)?;
            if *only_rules {
                // Nobody is there yet to look at names.
                config.gateway.settings.inspect = None;
            }
            plan(&config, *only_rules, out)
        }
        GatewayCommand::Apply { confirm } => {
            let confirm = confirm.as_deref().map(parse_span).transpose().map_err(Failure::wrong)?;
            apply(named, confirm, out)
        }
        GatewayCommand::Status { format } => status(named, *format, out),
        GatewayCommand::Remove => remove(named, out),
    }
}

/// Asks the daemon; `None` where none runs, or one without a gateway.
fn daemon(named: Option<&Path>, command: Command) -> Result<Option<Value>, Failure> {
    match ask(&running_store(named)?, command) {
        Ok(answer) if answer.get("enabled") == Some(&Value::Bool(false)) => Ok(None),
        Ok(answer) => Ok(Some(answer)),
        Err(ControlError::NoDaemon(_)) => Ok(None),
        Err(ControlError::Refused(why)) => Err(Failure::failed(why)),
        Err(error) => Err(error.into()),
    }
}

fn prepared(config: &Config) -> Result<(Policy, System, Prepared), Failure> {
    let policy = Policy::new(1, lists::load(config)?.rules, Arc::new(config.settings.clone()), moment(None)?);
    let system = System::look();
    let prepared = prepare(&policy, &config.gateway, &system, &facts(config, &system, login()))?;
    Ok((policy, system, prepared))
}

//----------- Plan -----------------------------------------------------------

fn plan(config: &Config, only_rules: bool, out: &mut Out) -> Result<u8, Failure> {
    let (policy, system, prepared) = prepared(config)?;
    let wanted = &prepared.wanted;
    if only_rules {
        for table in [&wanted.hold, &wanted.main] {
            // What is there under the name goes in the same transaction.
            out.line(&format!("table inet {0} {{\n}}\ndelete table inet {0}", table.name))?;
            out.text(&table.to_string())?;
        }
        return Ok(0);
    }
    out.text(&format!("{}{}", wanted.hold, wanted.main))?;
    if let (Some(_), Ok(queueing)) = (&config.gateway.settings.inspect, Kernel::open().map(|kernel| kernel.queueing()))
    {
        out.line(&format!("\n# How this kernel lets packets wait for us, in place of `queue`: {}", queueing.as_str()))?;
    }
    out.line("\n# What this machine needs, and is not changed by us:")?;
    for setting in Sysctl::needed() {
        let state = if setting.is_good() { "as it is" } else { "NOT as it is" };
        out.line(&format!("#   {} = {} ({state})", setting.name, setting.wanted))?;
    }
    out.line(&format!("#   outside is {}", join(system.interfaces.outside.iter())))?;
    for want in wants(&system.interfaces) {
        out.line(&format!("#   {want}"))?;
    }
    out.line("\n# What the address ranges take along:")?;
    for along in along(&policy) {
        let carved = join(along.carved.iter().map(|(net, purpose)| format!("{net} ({purpose})")));
        let vendor = &along.vendor;
        out.line(&format!("#   {vendor}: {} blocked spans; carved out of them, and passing: {carved}", along.blocked))?;
        let names = join(along.names.iter().map(|(name, purpose)| format!("{} ({purpose})", printable(name))));
        let more = along.names_all.saturating_sub(along.names.len());
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        out.line(&format!(
            "#   {vendor}: names that pass, and not where their address is in a blocked range: {names}{more}"
        ))?;
    }
    out.line(&format!("\n# {} ranges are blocked, {} observed.", prepared.blocked, prepared.observed))?;
    for cut in &prepared.cuts {
        out.line(&format!("# REFUSED: {}", printable(&cut.to_string())))?;
    }
    Ok(if prepared.cuts.is_empty() { 0 } else { FAILED })
}

fn join(items: impl Iterator<Item = impl ToString>) -> String {
    let all: Vec<String> = items.map(|item| item.to_string()).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

//----------- Apply and remove -----------------------------------------------

fn apply(named: Option<&Path>, confirm: Option<Duration>, out: &mut Out) -> Result<u8, Failure> {
    if confirm.is_some() {
        // A login that is cut off must not take the way back with it.
        ignore_hangup();
    }
    match daemon(named, Command::GatewayApply { login: login() })? {
        Some(status) => out.line(&words(&status))?,
        None => {
            let config = load(named)?;
            let (_, system, prepared) = prepared(&config)?;
            let mut enforcer = Enforcer::open(config.gateway.protect).map_err(Failure::failed)?;
            if !prepared.cuts.is_empty() {
                return Err(GatewayError::Cuts(prepared.cuts).into());
            }
            enforcer.enforce(prepared.wanted).map_err(Failure::failed)?;
            out.line(&format!("in force: {} ranges blocked, {} observed", prepared.blocked, prepared.observed))?;
            out.line("without `interdict run`, DNS is not redirected, nothing is recorded, and policy changes are not followed")?;
            for want in wants(&system.interfaces) {
                out.line(&format!("  {want}"))?;
            }
        }
    }
    let Some(span) = confirm else { return Ok(0) };
    out.line(&format!("type `yes` within {} s, or it is undone", span.as_secs()))?;
    out.flush()?;
    if is_confirmed(span) {
        return out.line("confirmed").map(|()| 0).map_err(Failure::from);
    }
    remove(named, out)?;
    Err(Failure::failed("not confirmed in time, so it was undone"))
}

/// Whether a line `yes` is typed in time. Another line, or the end of the input, is no answer.
fn is_confirmed(span: Duration) -> bool {
    let (sender, lines) = sync_channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let until = Instant::now() + span;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) if line.trim() == "yes" => return true,
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(left);
                return false;
            }
        }
    }
}

fn remove(named: Option<&Path>, out: &mut Out) -> Result<u8, Failure> {
    let gone = match daemon(named, Command::GatewayRemove)? {
        Some(answer) => {
            let gone = answer.get("removed").and_then(Value::as_array).cloned().unwrap_or_default();
            gone.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        None => {
            let gone = Enforcer::open(false).and_then(|mut enforcer| enforcer.remove()).map_err(Failure::failed)?;
            gone.into_iter().map(str::to_owned).collect::<Vec<_>>()
        }
    };
    match gone.is_empty() {
        true => out.line("nothing of ours was in the kernel")?,
        false => out.line(&format!("removed the tables {}", gone.join(" and ")))?,
    }
    Ok(0)
}

//----------- Status ---------------------------------------------------------

fn status(named: Option<&Path>, format: StatusFormat, out: &mut Out) -> Result<u8, Failure> {
    let (status, by_daemon) = match daemon(named, Command::GatewayStatus)? {
        Some(status) => (status, true),
        None => {
            let found = Enforcer::open(false).and_then(|mut enforcer| enforcer.found()).map_err(Failure::failed)?;
            (Value::from(object(&found)), false)
        }
    };
    match format {
        StatusFormat::Json => out.json(&status)?,
        StatusFormat::Text => {
            out.line(&words(&status))?;
            if !by_daemon {
                out.line("  no daemon follows the policy and records what is stopped")?;
            }
        }
    }
    let is_there = status.get("hold").and_then(Value::as_str) != Some("absent");
    let is_refused = status.get("refused").is_some_and(|refused| !refused.is_null());
    Ok(if is_there && !is_refused { 0 } else { FAILED })
}

fn words(status: &Value) -> String {
    let text = |pointer: &str| match status.pointer(pointer) {
        Some(Value::String(text)) => printable(text),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => printable(&other.to_string()),
    };
    let held = |pointer: &str| match status.pointer(pointer).and_then(Value::as_str) {
        Some("owned") => "in force, and nobody else can change it",
        Some("plain") => "in force",
        _ => "not in force",
    };
    let mut lines = vec![format!("table {HOLD}: {}", held("/hold")), format!("table {MAIN}: {}", held("/main"))];
    if status.pointer("/ranges/block").is_some() {
        lines.push(format!("  ranges    {} blocked, {} observed", text("/ranges/block"), text("/ranges/observe")));
        lines.push(format!(
            "  logged    {} lost on the way to us, {} of no rule",
            text("/log/lost"),
            text("/log/unlisted")
        ));
        lines.push(format!(
            "  names     by {}, {} packets looked at, {} refused",
            text("/queue"),
            text("/inspect/packets"),
            text("/inspect/refused")
        ));
        lines.push(format!(
            "  learned   {} addresses: {} observed, {} refused",
            text("/learned/addresses"),
            text("/learned/observed"),
            text("/learned/refused")
        ));
        lines.push(format!("  mended    {} times", text("/mended/times")));
    }
    if status.get("refused").is_some_and(|refused| !refused.is_null()) {
        lines.push(format!("  refused   {}", text("/refused")));
    }
    let wants = status.get("wants").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    lines.extend(wants.map(|want| format!("  needs     {}", printable(want))));
    let counters = status.get("counters").and_then(Value::as_object).into_iter().flatten();
    let mut table = Table::new(&["counter", "packets", "octets"]);
    for (name, counted) in counters {
        let count = |key: &str| counted.get(key).and_then(Value::as_u64).unwrap_or_default().to_string();
        table.row(vec![name.clone(), count("packets"), count("octets")]);
    }
    lines.push(table.text());
    let mut table = Table::new(&["endpoint", "asked resolver", "times", "last"]);
    for bypass in status.get("bypass").and_then(Value::as_array).into_iter().flatten() {
        let cell = |key: &str| {
            bypass
                .get(key)
                .map_or_else(String::new, |cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned))
        };
        table.row(vec![cell("endpoint"), cell("resolver"), cell("count"), cell("last")]);
    }
    if status.get("bypass").and_then(Value::as_array).is_some_and(|all| !all.is_empty()) {
        lines.push(table.text());
    }
    lines.join("\n")
}
