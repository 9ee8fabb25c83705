//! `interdict sync`, and what the changes under `interdict blocklist` share: a running daemon does them, and where none runs,
//! the command itself, with the store's lock.

use super::args::SyncArgs;
use super::table::printable;
use super::{FAILED, Failure, Out, progress};
use crate::app::config::Config;
use crate::app::daemon::upstreams;
use crate::app::sync::{Alone, Feed, Wish, feeds, find, step};
use crate::io::control::{Command, ControlError, ask};
use crate::io::store;
use crate::io::sync::Progress;
use crate::io::upstream::lookup;
use serde_json::Value;
use std::path::Path;
use std::sync::Mutex;

/// What is said where nothing is fetched yet, or no more.
const SYNCING: &str = "syncing";

pub(super) fn run(args: &SyncArgs, config: &Config, out: &mut Out) -> Result<u8, Failure> {
    if feeds(config).is_empty() {
        out.line("no [[blocklist]] comes from git; there is nothing to do")?;
        return Ok(0);
    }
    let wish = if args.dry_run { Wish::DryRun } else { Wish::Check };
    wished(args.list.as_deref(), wish, config, out)
}

/// Does what is wished, and prints what became of it.
pub(super) fn wished(list: Option<&str>, wish: Wish, config: &Config, out: &mut Out) -> Result<u8, Failure> {
    if let Some(list) = list {
        find(&feeds(config), list).map_err(Failure::wrong)?;
    }
    let command = command(list, &wish)?;
    let asked = progress::during_with(|| how_far(&config.store), || ask(&config.store, command));
    let done = match asked {
        Ok(answer) => answer.get("lists").and_then(Value::as_array).cloned().unwrap_or_default(),
        Err(ControlError::NoDaemon(_)) => alone(list, &wish, config)?,
        Err(error) => return Err(error.into()),
    };
    let mut code = 0;
    for one in &done {
        out.line(&words(one))?;
        if one.get("error").is_some_and(|error| !error.is_null()) {
            code = FAILED;
        }
    }
    Ok(code)
}

/// The wish in the control socket's words.
fn command(list: Option<&str>, wish: &Wish) -> Result<Command, Failure> {
    let named = || list.unwrap_or_default().to_owned();
    Ok(match wish {
        Wish::Check | Wish::DryRun => Command::Sync { list: list.map(str::to_owned), dry_run: *wish == Wish::DryRun },
        Wish::Rollback(revision) => Command::Rollback { list: named(), revision: revision.clone() },
        Wish::Pin(revision) => Command::Pin { list: named(), revision: revision.clone() },
        Wish::Unpin => Command::Unpin { list: named() },
        Wish::Import(bundle) => {
            let unreadable = |error| Failure::failed(format!("{}: cannot be read: {error}", bundle.display()));
            Command::Import { list: named(), bundle: bundle.canonicalize().map_err(unreadable)? }
        }
    })
}

/// Without a daemon.
fn alone(list: Option<&str>, wish: &Wish, config: &Config) -> Result<Vec<Value>, Failure> {
    let _held = store::hold(&config.store).map_err(Failure::failed)?;
    let (servers, _) = upstreams(config);
    let resolve = |host: &str| lookup::addresses(&servers, host);
    let fetching = Mutex::new(SYNCING.to_owned());
    let said = || fetching.lock().map_or_else(|_| SYNCING.to_owned(), |said| said.clone());
    let progress = |feed: &Feed, progress: Progress| {
        if let Ok(mut said) = fetching.lock() {
            *said = fetched(&feed.id, progress.bytes);
        }
    };
    let place = Alone { config, resolve: &resolve, progress: &progress };
    let feeds = feeds(config);
    let wanted = feeds.iter().filter(|feed| list.is_none_or(|list| feed.has(list)));
    Ok(progress::during_with(said, || wanted.map(|feed| step(feed, wish, &place).object()).collect()))
}

/// What the daemon fetches while it is waited for.
fn how_far(store: &Path) -> String {
    let status = ask(store, Command::Status).ok();
    let fetching = status.as_ref().and_then(|status| status.get("fetching"));
    let id = fetching.and_then(|one| one.get("id")).and_then(Value::as_str);
    let bytes = fetching.and_then(|one| one.get("bytes")).and_then(Value::as_u64);
    id.zip(bytes).map_or_else(|| SYNCING.to_owned(), |(id, bytes)| fetched(&printable(id), bytes))
}

fn fetched(id: &str, bytes: u64) -> String {
    format!("{id}: {} KiB fetched", bytes >> 10)
}

fn words(done: &Value) -> String {
    let text = |key: &str| done.get(key).and_then(Value::as_str).map(printable);
    let id = text("id").unwrap_or_default();
    if let Some(error) = text("error") {
        return format!("{id}: refused: {error}; what was in force stays in force");
    }
    let mut said = format!("{id}: {}", text("result").unwrap_or_default().replace('-', " "));
    if let (Some(commit), Some(time)) = (text("commit"), text("time")) {
        said += &format!(": commit {commit} of {time}");
        said +=
            &text("signer").map_or_else(|| ", not signed for us".to_owned(), |signer| format!(", signed by {signer}"));
    }
    if let Some(rules) = done.get("rules").and_then(Value::as_u64) {
        said += &format!(", {rules} rules");
    }
    for warning in done.get("warnings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        said += &format!("\n  warning   {}", printable(warning));
    }
    said
}
