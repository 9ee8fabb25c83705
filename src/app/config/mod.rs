//! The config: one TOML file, `version = 1`; unknown keys are refused with their line and a suggestion.
//!
//! | module | what |
//! |---|---|
//! | `file` | the file as it is written; every key with its default |
//! | `load` | finding and reading it, errors with file and line |
//! | `check` | from the file to what the engines take: settings, addresses, lists |
//! | `clients` | who asks: limits, forwarders |
//! | `local` | what is answered here: records, a hosts file, names of the own network |
//! | `blocklist` | `[[blocklist]]`: files, and repositories |
//! | `gateway` | `[gateway]`: what the kernel enforces |
//! | `sinkhole` | `[sinkhole]`: where connections to blocked names are taken |
//! | `upstream` | `[upstream]` and `[[zone]]` |
//! | `template` | the commented file that documents every key |
//!
//! Relative paths in a config file are relative to the folder of that file.

mod blocklist;
mod check;
mod clients;
pub mod file;
mod gateway;
mod load;
mod local;
mod sinkhole;
mod template;
mod upstream;

pub use blocklist::{Blocklist, GitList, ListGate, Origin};
pub use check::{Config, parse_moment};
pub use file::{File, VERSION};
pub use gateway::GatewayConfig;
pub use load::{ConfigError, DEFAULT_PATH, Source, load, parse, running_store};
pub use template::TEMPLATE;
pub use upstream::{Resolving, Upstreams};
