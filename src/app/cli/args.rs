//! Every command and option, once; help texts are these comments.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Enforces a vendor ban on the network: a DNS resolver that blocks the update and telemetry traffic of listed vendors,
/// and a ledger that names the endpoints that still try.
#[derive(Debug, Parser)]
#[command(name = "interdict", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done; 1 failed; 2 command line, config or list wrong; 3 no daemon is running.")]
pub struct Cli {
    /// Config file; without it /etc/interdict/interdict.toml if that is there, else the embedded default
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Answer DNS queries until told to stop (SIGTERM, SIGINT); SIGHUP reads config and lists again
    Run,
    /// Say what is decided about names and addresses, and why
    Check(CheckArgs),
    /// Show what the ledger knows: which endpoints tried which vendors, how often, when
    Report(ReportArgs),
    /// Show the vendors that are bundled, and what is wanted for them today and why
    Vendors(VendorsArgs),
    /// Show how the running daemon is (exit code 0 healthy, 1 alarm, 2 paused or not enforcing, 3 no daemon)
    Status(StatusArgs),
    /// Let the running daemon read config and lists again; the old policy stays if they are wrong
    Reload,
    /// Stop enforcing for a time; what would be blocked is observed, and the pause is recorded
    Pause(PauseArgs),
    /// Check, show or explain the config
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Domain names, addresses
    #[arg(required = true, value_name = "NAME|ADDRESS")]
    pub(super) subjects: Vec<String>,
    /// Decide as of this moment instead of now, over today's lists: 2024-09-29, or 2024-09-29T00:00:00-04:00
    #[arg(long, value_name = "TIME")]
    pub(super) at: Option<String>,
    /// Decide for this client
    #[arg(long, value_name = "ADDRESS")]
    pub(super) client: Option<std::net::IpAddr>,
    /// A further list that blocks; after a colon its format (auto, domains, cidr)
    #[arg(long, value_name = "FILE[:FORMAT]")]
    pub(super) list: Vec<String>,
    /// Leave out the vendor files and the config's lists
    #[arg(long)]
    pub(super) no_defaults: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    pub(super) format: CheckFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CheckFormat {
    /// For people
    Text,
    /// One JSON object a line
    Jsonl,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    #[command(subcommand)]
    pub(super) what: Option<ReportWhat>,
    /// Only what was seen since: a time (2026-11-01) or a span (24h, 7d)
    #[arg(long, global = true, value_name = "TIME|SPAN")]
    pub(super) since: Option<String>,
    /// Only this vendor
    #[arg(long, global = true, value_name = "VENDOR")]
    pub(super) vendor: Option<String>,
    /// How to print
    #[arg(long, global = true, value_enum, default_value_t = TableFormat::Table)]
    pub(super) format: TableFormat,
}

#[derive(Debug, Subcommand)]
pub(super) enum ReportWhat {
    /// One row an endpoint, vendor and purpose (the default)
    Endpoints,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TableFormat {
    /// For people
    Table,
    /// One JSON array
    Json,
    /// One JSON object a line
    Jsonl,
    /// RFC 4180, with a header
    Csv,
}

#[derive(Debug, Args)]
pub(super) struct VendorsArgs {
    /// Tell everything about this vendor
    #[arg(value_name = "VENDOR")]
    pub(super) vendor: Option<String>,
    /// Stages as of this moment instead of now
    #[arg(long, value_name = "TIME")]
    pub(super) at: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(super) format: TableFormat,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// How to print
    #[arg(long, value_enum, default_value_t = StatusFormat::Text)]
    pub(super) format: StatusFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum StatusFormat {
    /// For people
    Text,
    /// One JSON object
    Json,
}

#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    /// How long: 30m, 2h; `off` ends a pause at once
    #[arg(value_name = "SPAN|off")]
    pub(super) span: String,
    /// Why; recorded
    #[arg(long)]
    pub(super) reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say whether config and lists are good, with file and line of everything that is not
    Check,
    /// Print the config that is in force, defaults filled in; it can be read again
    Show,
    /// Print a config that documents every key
    Template,
}
