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
    /// Ask the remotes of lists from git now; what is refused leaves the old list (exit code 1 when anything was refused)
    Sync(SyncArgs),
    /// Check list files: every line that is left out, every refusal (exit code 2 when a file is refused)
    Lint(LintArgs),
    /// Say which endpoint talks to which listed vendor in packets of files or interfaces, on what evidence
    Inspect(InspectArgs),
    /// Write what is blocked now for another program; what its format cannot say is counted on standard error
    Export(ExportArgs),
    /// Enforce in the kernel of a gateway: show, apply, look, remove
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// Try each enforced path with a harmless probe: path, result, evidence (exit code 1 where one is not enforced)
    Verify(VerifyArgs),
    /// Show lists and their commits; go back, hold still, import, compare
    #[command(subcommand)]
    Blocklist(BlocklistCommand),
    /// Check, show or explain the config
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Args)]
pub(super) struct SyncArgs {
    /// Only the repository that this list comes from
    #[arg(value_name = "LIST")]
    pub(super) list: Option<String>,
    /// Fetch and check everything, and take nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct LintArgs {
    /// List files; *.toml are vendor files
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// How they are written, as in [[blocklist]]
    #[arg(long = "as", value_name = "FORMAT", default_value = "auto")]
    pub(super) written: String,
}

#[derive(Clone, Debug, Args)]
pub(super) struct InspectArgs {
    /// Capture files (pcap, pcapng, also compressed); - is standard input
    #[arg(long, required_unless_present = "interface", num_args = 1.., value_name = "FILE|-")]
    pub(super) read: Vec<PathBuf>,
    /// Interfaces, until SIGINT or SIGTERM; then the report is printed
    #[arg(long, num_args = 1.., value_name = "IF")]
    pub(super) interface: Vec<String>,
    /// The end of a file is none: somebody is still writing it; until SIGINT or SIGTERM
    #[arg(long, requires = "read", conflicts_with = "interface")]
    pub(super) follow: bool,
    /// Write the packets of listed flows to a file: pcap, or pcapng where it is called so
    #[arg(long, value_name = "OUT.pcap|OUT.pcapng")]
    pub(super) write: Option<PathBuf>,
    /// Print every name that is seen, one JSON object a line, and judge nothing
    #[arg(long, conflicts_with_all = ["vendor", "format", "at", "write"])]
    pub(super) names: bool,
    /// Only these vendors
    #[arg(long, num_args = 1.., value_name = "VENDOR")]
    pub(super) vendor: Vec<String>,
    /// Judge as of this moment instead of now
    #[arg(long, value_name = "TIME")]
    pub(super) at: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(super) format: TableFormat,
}

impl InspectArgs {
    /// Whether a vendor's rows are wanted.
    pub(super) fn wants(&self, vendor: &str) -> bool {
        self.vendor.is_empty() || self.vendor.iter().any(|wanted| wanted == vendor)
    }
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// rpz, hosts, domains, adblock, dnsmasq, unbound, v2fly, cidr, nftables, pf, routeros, suricata or zeek
    #[arg(long, value_name = "FORMAT")]
    pub(super) format: String,
    /// What is blocked at this moment instead of now
    #[arg(long, value_name = "TIME")]
    pub(super) at: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Also as a client: from a network namespace that is made for it and removed (needs root and the program `ip`)
    #[arg(long)]
    pub(super) namespace: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = StatusFormat::Text)]
    pub(super) format: StatusFormat,
    /// One probe, in the namespace
    #[arg(long, hide = true)]
    pub(super) probe: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum GatewayCommand {
    /// Show the rules that the kernel would get, what this machine needs for them, and what they take along
    Plan {
        /// Only the rules, as a file that `nft -f` loads at boot before the network is up
        #[arg(long = "static")]
        only_rules: bool,
    },
    /// Put the rules in force; refused where they would cut this machine off (exit code 1)
    Apply {
        /// Undo it after this time unless `yes` is typed
        #[arg(long, value_name = "SPAN")]
        confirm: Option<String>,
    },
    /// Show what the kernel has and what it counted (exit code 0 in force, 1 not or not as wanted)
    Status {
        /// How to print
        #[arg(long, value_enum, default_value_t = StatusFormat::Text)]
        format: StatusFormat,
    },
    /// Take out of the kernel all that was put there
    Remove,
}

#[derive(Debug, Subcommand)]
pub(super) enum BlocklistCommand {
    /// Each list: where from, commit, signer, age, rules, lines left out, and what was refused last
    Status {
        /// How to print
        #[arg(long, value_enum, default_value_t = TableFormat::Table)]
        format: TableFormat,
    },
    /// Put an older commit in force, or the one before; the one that is left is not taken again
    Rollback {
        /// The list; lists of the same repository and reference go with it
        list: String,
        /// The first digits of the commit
        revision: Option<String>,
    },
    /// Hold a commit until `unpin`
    Pin {
        /// The list; lists of the same repository and reference go with it
        list: String,
        /// The first digits of the commit
        revision: String,
    },
    /// Follow the remote again
    Unpin {
        /// The list
        list: String,
    },
    /// Take a `git bundle` where there is no network: the same checks, and nothing older than what is in force
    Import {
        /// The list
        list: String,
        /// The file
        bundle: PathBuf,
    },
    /// Rules that are in, out, or moved between two list files, or two commits of the lists from git
    Diff {
        /// A list file, or the first digits of a commit
        before: String,
        /// The same
        after: String,
    },
    /// Names of a query log that another commit of the lists from git would newly block, or no longer block
    Preview {
        /// The first digits of the commit
        revision: String,
        /// Names, one a line, or a log of dnsmasq or Unbound, or JSON lines with a `name`
        #[arg(long, value_name = "FILE")]
        queries: PathBuf,
    },
    /// Rules of each list and vendor, and attempts that the ledger saw of it
    Stats {
        /// How to print
        #[arg(long, value_enum, default_value_t = TableFormat::Table)]
        format: TableFormat,
    },
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
    /// Decide with the lists and settings that were in force at the moment of --at, as the ledger recorded them
    #[arg(long, conflicts_with_all = ["no_defaults", "list", "rev"])]
    pub(super) as_enforced: bool,
    /// Decide with this commit of the lists from git, by its first digits
    #[arg(long, value_name = "COMMIT", conflicts_with = "no_defaults")]
    pub(super) rev: Option<String>,
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
    /// Ways around a block: what an endpoint did after a blocked name
    Incidents,
    /// Hosts that serve a vendor's relay ports, and who talks to them
    Relays,
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
