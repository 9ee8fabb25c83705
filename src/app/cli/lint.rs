//! `interdict lint`: what a list file would come to, with every line that is wrong.

use super::args::LintArgs;
use super::progress::during;
use super::table::printable;
use super::{Failure, Out, WRONG};
use crate::app::config::{Blocklist, Config};
use crate::app::gate::{gate, judge_whole, words};
use crate::app::lists;
use crate::policy::gate::Gate;
use crate::policy::list::{Format, vendor};
use std::path::Path;

/// Refusals of one file that are shown.
const REFUSALS_MAX: usize = 10_000;

/// What the list is called while it is looked at; no path begins so.
const ID: &str = ":lint";

pub(super) fn run(args: &LintArgs, config: &Config, out: &mut Out) -> Result<u8, Failure> {
    let format = args.written.parse().map_err(|why| Failure::wrong(format!("--as: {why}")))?;
    let gate = gate(config);
    let mut code = 0;
    for file in &args.files {
        match during(&format!("reading {}", file.display()), || one(file, format, &gate)) {
            Ok(lines) => lines.iter().try_for_each(|line| out.line(line))?,
            Err(refused) => {
                out.line(&format!("{}: refused", file.display()))?;
                refused.lines().try_for_each(|line| out.line(&format!("  {}", printable(line))))?;
                code = WRONG;
            }
        }
    }
    Ok(code)
}

/// What to print of a good file.
fn one(file: &Path, format: Format, gate: &Gate) -> Result<Vec<String>, String> {
    let shown = file.display();
    if format == Format::Auto && file.extension().is_some_and(|ending| ending == "toml") {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: cannot be read: {error}"))?;
        let read = vendor::read(&shown.to_string(), &text).map_err(|why| why.to_string())?;
        let entries = read.domains.len() + read.ranges.len();
        return Ok(vec![format!("{shown}: good: vendor file {}, {entries} entries", read.id)]);
    }
    let list = Blocklist::of_file(ID, file, format);
    let lists = lists::read_whole(&list, file).map_err(|why| why.to_string())?;
    let mut lines = Vec::new();
    for (path, report) in lists.reports_of(ID) {
        let left_out = report.bad + report.ignored;
        lines.push(format!("{shown}: good: {} rules, {left_out} lines left out", report.rules));
        let told = report.left_out();
        lines.extend(told.iter().map(|line| printable(&format!("  {}: {}", line.place(path), line.why))));
        let more = left_out.saturating_sub(told.len());
        if more > 0 {
            lines.push(format!("  {shown}: and {more} more"));
        }
    }
    let passed = judge_whole(gate, &list, &lists, None, REFUSALS_MAX).map_err(|refused| {
        let said = |refused| {
            let said = words(refused);
            said.strip_prefix(ID).map_or_else(|| said.clone(), |rest| format!("{shown}{rest}"))
        };
        // What was left out may be why.
        let left_out = lines.iter().skip(1).map(|line| line.trim_start().to_owned());
        refused.iter().map(said).chain(left_out).collect::<Vec<_>>().join("\n")
    })?;
    lines.extend(passed.warnings.iter().map(|warning| format!("  {}: warning: {}", warning.place, warning.why)));
    if passed.more > 0 {
        lines.push(format!("  {shown}: and {} more warnings", passed.more));
    }
    Ok(lines)
}
