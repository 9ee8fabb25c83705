//! `interdict config`: check, show, template.

use super::args::ConfigCommand;
use super::{Failure, Out};
use crate::app::config::{TEMPLATE, load};
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
            let lists = lists::load(&config)?;
            for (id, report) in &lists.reports {
                out.line(&format!("list {id}: {} rules, {} lines left out", report.rules, report.bad))?;
                for bad in &report.shown {
                    out.line(&format!("  line {}: {}", bad.line, bad.why))?;
                }
            }
            out.line(&format!("{}: good; {} rules", config.source, lists.rules.len()))?;
        }
    }
    Ok(0)
}
