//! `interdict config`: check, show, template.

use super::args::ConfigCommand;
use super::progress::during;
use super::table::printable;
use super::{Failure, Out};
use crate::app::config::{TEMPLATE, load};
use crate::app::gate::judge_all;
use crate::app::lists;
use std::path::Path;

pub(super) fn run(command: &ConfigCommand, named: Option<&Path>, out: &mut Out) -> Result<u8, Failure> {
    match command {
        ConfigCommand::Template => out.line(TEMPLATE.trim_end())?,
        ConfigCommand::Show => {
            let config = load(named)?;
            let shown = toml::to_string(&config.file).map_err(Failure::failed)?;
            out.line(&format!("# {}\n{}", config.source, shown.trim_end()))?;
        }
        ConfigCommand::Check => {
            let config = load(named)?;
            let lists = during("reading lists", || {
                let mut lists = lists::load(&config)?;
                judge_all(&config, &mut lists, None).map_err(Failure::wrong)?;
                Ok::<_, Failure>(lists)
            })?;
            for (id, file, report) in &lists.reports {
                let left_out = report.bad + report.ignored;
                out.line(&format!("list {id}: {} rules, {left_out} lines left out", report.rules))?;
                for line in report.left_out() {
                    out.line(&printable(&format!("  {}: {}", line.place(file), line.why)))?;
                }
            }
            for warning in lists.warnings.values().flatten() {
                out.line(&format!("  warning   {}", printable(warning)))?;
            }
            out.line(&format!("{}: good; {} rules", config.source, lists.rules.len()))?;
        }
    }
    Ok(0)
}
