//! `interdict run`: the daemon in the foreground.

use super::{Failure, Out};
use crate::app::config::Config;
use crate::app::daemon::{self, StartError};
use std::io::IsTerminal as _;
use std::path::Path;
use tracing_subscriber::EnvFilter;

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Lists(error) => error.into(),
            StartError::Gate(_) => Self::wrong(error),
            StartError::Gateway(_)
            | StartError::Store(_)
            | StartError::Listen(_)
            | StartError::Sinkhole(_)
            | StartError::Control { .. }
            | StartError::System(_) => Self::failed(error),
        }
    }
}

pub(super) fn run(config: Config, named: Option<&Path>, out: &mut Out) -> Result<u8, Failure> {
    start_log(&config);
    let mut printed = Ok(());
    daemon::run(config, named, |summary| printed = out.line(summary).and_then(|()| out.flush()))?;
    printed?;
    Ok(0)
}

/// Logs go to standard error, in colour on a terminal that wants it (<https://no-color.org>).
fn start_log(config: &Config) {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // SQLite, tokio and the like have nothing to say below warnings.
    let filter = EnvFilter::new(format!("warn,interdict={}", config.log_level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    // A log that nobody can read any more (`2>&1 | head`, a full disk) is no reason to panic, and saying so would be one:
    // there is only standard error to say it to.
    let log = log.log_internal_errors(false);
    // A second subscriber cannot be: this is the only place that sets one.
    let _ = if config.log_json { log.json().try_init() } else { log.try_init() };
}
