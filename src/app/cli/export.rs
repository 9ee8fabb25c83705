//! `interdict export`: what is blocked now, for another program.

use super::args::ExportArgs;
use super::check::moment;
use super::progress::during;
use super::{Failure, Out};
use crate::app::config::Config;
use crate::app::lists;
use crate::policy::{Policy, export};
use std::io::Write as _;
use std::sync::Arc;

pub(super) fn run(args: &ExportArgs, config: &Config, out: &mut Out) -> Result<u8, Failure> {
    let format = args.format.parse().map_err(|why| Failure::wrong(format!("--format: {why}")))?;
    let at = moment(args.at.as_deref())?;
    let mut text = String::new();
    let exported = during("exporting", || {
        let policy = Policy::new(1, lists::load(config)?.rules, Arc::new(config.settings.clone()), at);
        export::write(&policy, format, &mut text).map_err(Failure::failed)
    })?;
    out.text(&text)?;
    out.flush()?;
    let mut err = std::io::stderr();
    // The counts are for people; that nobody can read them is no failure.
    let _ = writeln!(err, "{} rules written as {format}", exported.rules);
    for (what, count) in &exported.unsaid {
        let _ = writeln!(err, "{format} cannot say: {count} {what}");
    }
    Ok(0)
}
