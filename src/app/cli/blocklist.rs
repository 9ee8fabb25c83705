//! `interdict blocklist`: each list, where it comes from and what is in it; going back, holding still, importing.

use super::args::{BlocklistCommand, TableFormat};
use super::progress::during;
use super::sync::wished;
use super::table::{Table, printable};
use super::vendors::print;
use super::{Failure, Out, compare};
use crate::app::config::{Blocklist, Config, Origin};
use crate::app::lists::{self, Lists};
use crate::app::sync::{Feed, Wish, feeds};
use crate::app::time::believed;
use crate::io::control::{Command, ask};
use crate::policy::{ClassId, List};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Seconds.
const DAY_S: i64 = 86_400;
const HOUR_S: i64 = 3_600;
/// Lines left out that are shown of each file.
const LEFT_OUT_SHOWN: usize = 5;

pub(super) fn run(command: &BlocklistCommand, config: &Config, out: &mut Out) -> Result<u8, Failure> {
    let (list, wish) = match command {
        BlocklistCommand::Status { format } => return status(*format, config, out),
        BlocklistCommand::Diff { before, after } => return compare::diff(before, after, config, out),
        BlocklistCommand::Preview { revision, queries } => return compare::preview(revision, queries, config, out),
        BlocklistCommand::Stats { format } => return compare::stats(*format, config, out),
        BlocklistCommand::Rollback { list, revision } => (list, Wish::Rollback(revision.clone())),
        BlocklistCommand::Pin { list, revision } => (list, Wish::Pin(revision.clone())),
        BlocklistCommand::Unpin { list } => (list, Wish::Unpin),
        BlocklistCommand::Import { list, bundle } => (list, Wish::Import(bundle.clone())),
    };
    wished(Some(list), wish, config, out)
}

fn status(format: TableFormat, config: &Config, out: &mut Out) -> Result<u8, Failure> {
    let feeds = feeds(config);
    let lists = during("reading lists", || lists::load_lacking(config, None, &|_| true))?;
    // What a daemon was refused last is known to it alone.
    let running = ask(&config.store, Command::Status).ok();
    let mut table = Table::new(&["list", "from", "revision", "date", "age", "signer", "rules", "left out", "state"]);
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    for list in &config.blocklists {
        let feed = feeds.iter().find(|feed| feed.has(&list.id));
        let row = match (&list.origin, feed) {
            (Origin::Git(git), Some(feed)) => {
                let refused = refused(running.as_ref(), feed);
                notes.extend(refused.iter().map(|why| format!("list {}: refused: {why}", list.id)));
                from_git(&lists, feed, (&list.id, git.path.as_str()), refused)
            }
            (Origin::File(path), _) => from_file(&lists, &list.id, &path.display().to_string()),
            (Origin::Git(_), None) => continue,
        };
        let cell = |key: &str| match row.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => "-".to_owned(),
            Some(other) => other.to_string(),
        };
        let cells = ["list", "from", "revision", "date", "age", "signer", "rules", "left_out", "state"];
        table.row(cells.map(cell).to_vec());
        rows.push(row);
    }
    print(&table, &rows, format, out)?;
    if format == TableFormat::Table {
        let now = believed(None).at;
        notes.extend(lists.left_out.iter().map(|(_, why)| format!("{why}; it has no rules")));
        notes.extend(feeds.iter().filter_map(|feed| feed.warning(now)));
        notes.iter().try_for_each(|note| out.line(&printable(note)))?;
        contents(&rows, out)?;
        config.blocklists.iter().try_for_each(|list| lines_left_out(&lists, list, out))?;
    }
    Ok(0)
}

/// The first lines of a list that were left out, with their places.
fn lines_left_out(lists: &Lists, list: &Blocklist, out: &mut Out) -> Result<(), Failure> {
    let mut shown = 0;
    for (file, report) in lists.reports_of(&list.id) {
        for line in report.left_out().into_iter().take(LEFT_OUT_SHOWN) {
            out.line(&printable(&format!("{}: left out: {}: {}", list.id, line.place(file), line.why)))?;
            shown += 1;
        }
    }
    let more = left_out(lists, &list.id).saturating_sub(shown);
    if more > 0 {
        out.line(&format!("{}: left out: and {more} more; `interdict lint` shows all of a file", list.id))?;
    }
    Ok(())
}

/// Rules by vendor and purpose, a line a list.
fn contents(rows: &[Value], out: &mut Out) -> Result<(), Failure> {
    for row in rows {
        let Some(by) = row.get("by").and_then(Value::as_object).filter(|by| !by.is_empty()) else { continue };
        let id = row.get("list").and_then(Value::as_str).unwrap_or_default();
        let parts: Vec<String> = by.iter().map(|(what, count)| format!("{what} {count}")).collect();
        out.line(&format!("{id}: {}", parts.join(", ")))?;
    }
    Ok(())
}

fn from_git(lists: &Lists, feed: &Feed, (id, path): (&str, &str), refused: Option<String>) -> Value {
    let record = feed.source.record().ok().flatten();
    let commit = lists.commits.iter().find(|commit| commit.list == id);
    let state = match (&record, &refused) {
        (None, _) => "nothing taken yet",
        (_, Some(_)) => "refused",
        (Some(record), None) if record.is_pinned => "pinned",
        (Some(record), None) if record.left.is_some() => "rolled back",
        (Some(_), None) => "good",
    };
    let revision = commit.map(|commit| commit.id.short());
    json!({
        "list": id,
        "from": format!("{}, {path}", feed.place),
        "revision": revision,
        "date": commit.map(|commit| commit.time.to_string()),
        "age": commit.map(|commit| age(believed(None).at.as_second() - commit.time.as_second())),
        "signer": commit.and_then(|commit| commit.signer.clone()),
        "rules": lists.counts.get(id).copied().unwrap_or(0),
        "left_out": left_out(lists, id),
        "state": state,
        "refused": refused,
        "taken": record.map(|record| record.good.since.to_string()),
        "by": by_purpose(lists, |list| lists.is_of(id, list)),
    })
}

fn from_file(lists: &Lists, id: &str, path: &str) -> Value {
    let list = lists.rules.lists().iter().find(|list| lists.is_of(id, list) && &*list.file == path);
    json!({
        "list": id,
        "from": path,
        "revision": list.map(|list| list.revision.to_string()),
        "rules": lists.counts.get(id).copied().unwrap_or(0),
        "left_out": left_out(lists, id),
        "state": "good",
        "by": by_purpose(lists, |list| lists.is_of(id, list)),
    })
}

fn left_out(lists: &Lists, id: &str) -> usize {
    lists.reports_of(id).map(|(_, report)| report.bad + report.ignored).sum()
}

/// `vendor purpose` of rules, with how many there are.
fn by_purpose(lists: &Lists, is_its: impl Fn(&List) -> bool) -> BTreeMap<String, usize> {
    let mut sizes: BTreeMap<ClassId, usize> = BTreeMap::new();
    lists.rules.count_by_class(|class| *sizes.entry(class).or_default() += 1);
    let mut by = BTreeMap::new();
    for (id, class) in lists.rules.classes() {
        if lists.rules.list(class.list).is_some_and(&is_its) {
            let vendor = class.vendor.as_deref().map_or_else(String::new, |vendor| format!("{vendor} "));
            *by.entry(format!("{vendor}{}", class.purpose)).or_default() += sizes.get(&id).copied().unwrap_or(0);
        }
    }
    by
}

/// What the running daemon was refused last.
fn refused(running: Option<&Value>, feed: &Feed) -> Option<String> {
    let feeds = running?.get("sync")?.as_array()?;
    let one = feeds.iter().find(|one| one.get("id").and_then(Value::as_str) == Some(&feed.id))?;
    one.get("refused")?.as_str().map(str::to_owned)
}

fn age(seconds: i64) -> String {
    match seconds {
        ..0 => "0 h".to_owned(),
        0..=DAY_S => format!("{} h", seconds / HOUR_S),
        _ => format!("{} d", seconds / DAY_S),
    }
}
