//! The command line: one definition of every command, and what each of them prints.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the command failed; for `status`: an alarm is up |
//! | 2 | the command line, the config or a list is wrong; for `status`: paused or not enforcing |
//! | 3 | no daemon is running |

mod args;
mod around;
mod blocklist;
mod check;
mod compare;
mod config;
mod control;
mod enforced;
mod export;
mod gateway;
mod inspect;
mod lint;
mod maker;
mod progress;
mod report;
mod run;
mod sync;
mod table;
mod vendors;
mod verify;

pub use args::Cli;

use super::config::{ConfigError, load, running_store};
use super::lists::ListsError;
use args::{Command, ReportWhat};
use clap::Parser as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// What a command came to when it was not done.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    sentence: String,
}

/// The command failed.
const FAILED: u8 = 1;
/// Command line, config or list is wrong.
const WRONG: u8 = 2;
/// No daemon is running.
const NO_DAEMON: u8 = 3;

impl Failure {
    fn failed(why: impl ToString) -> Self {
        Self { code: FAILED, sentence: why.to_string() }
    }

    fn wrong(why: impl ToString) -> Self {
        Self { code: WRONG, sentence: why.to_string() }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::wrong(error)
    }
}

impl From<ListsError> for Failure {
    fn from(error: ListsError) -> Self {
        Self::wrong(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::failed(format!("cannot write the output: {error}"))
    }
}

/// Reads the command line, runs one command, and says how the process should end.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // clap's own texts; help and version are no mistakes.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { WRONG } else { 0 });
        }
    };
    match dispatch(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let _ = writeln!(io::stderr(), "interdict: {}", failure.sentence.replace('\n', "\ninterdict: "));
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(cli: &Cli) -> Result<u8, Failure> {
    let out = &mut Out(io::stdout().lock());
    let named = cli.config.as_deref();
    let config = || load(named);
    // Whoever talks to a running daemon needs to find it, no more.
    let store = || running_store(named);
    match &cli.command {
        Command::Run => run::run(config()?, named, out),
        Command::Check(args) => check::run(args, &config()?, out),
        Command::Report(args) => match args.what.as_ref().unwrap_or(&ReportWhat::Endpoints) {
            ReportWhat::Endpoints => report::run(args, &config()?, out),
            ReportWhat::Incidents => around::incidents(args, &config()?, out),
            ReportWhat::Relays => around::relays(args, &config()?, out),
        },
        Command::Vendors(args) => vendors::run(args, &config()?, out),
        Command::Status(args) => control::status(args, &store()?, out),
        Command::Reload => control::reload(&store()?, out),
        Command::Pause(args) => control::pause(args, &store()?, out),
        Command::Sync(args) => sync::run(args, &config()?, out),
        Command::Lint(args) => lint::run(args, &config()?, out),
        Command::Inspect(args) => inspect::run(args, named, out),
        Command::Export(args) => export::run(args, &config()?, out),
        Command::Verify(args) => verify::run(args, named, out),
        Command::Gateway(command) => gateway::run(command, named, out),
        Command::Blocklist(command) => blocklist::run(command, &config()?, out),
        Command::Config(command) => config::run(command, named, out),
    }
}

/// Standard output. A reader that goes away early (`| head`) ends the output, not the command.
pub(super) struct Out(io::StdoutLock<'static>);

impl Out {
    fn line(&mut self, text: &str) -> io::Result<()> {
        unless_gone(self.0.write_all(text.as_bytes()).and_then(|()| self.0.write_all(b"\n")))
    }

    /// The same; `false` when nobody reads any more, for what would go on for ever.
    fn line_unless_gone(&mut self, text: &str) -> io::Result<bool> {
        match self.0.write_all(text.as_bytes()).and_then(|()| self.0.write_all(b"\n")) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        unless_gone(self.0.write_all(text.as_bytes()))
    }

    fn json(&mut self, value: &serde_json::Value) -> io::Result<()> {
        self.line(&value.to_string())
    }

    fn flush(&mut self) -> io::Result<()> {
        unless_gone(self.0.flush())
    }
}

fn unless_gone(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}
