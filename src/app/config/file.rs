//! The config file as it is written. Field names are keys, `Default` is what silence means.

pub use super::gateway::Gateway;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// The version of this shape.
pub const VERSION: u32 = 1;

/// How often a remote is asked where `every` is left out.
pub const EVERY_DEFAULT: Duration = Duration::from_secs(24 * 3_600);

/// A whole config file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Must be [`VERSION`]; silence is a mistake.
    #[serde(default)]
    pub version: Option<Spanned<u32>>,
    /// `[dns]`
    pub dns: Dns,
    /// `[upstream]`
    pub upstream: Upstream,
    /// `[policy]`
    pub policy: Policy,
    /// `[block]`
    pub block: Block,
    /// `[sinkhole]`
    pub sinkhole: Sinkhole,
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[store]`
    pub store: Store,
    /// `[ledger]`
    pub ledger: Ledger,
    /// `[log]`
    pub log: Log,
    /// `[[exception]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exception: Vec<Exception>,
    /// `[[blocklist]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocklist: Vec<Blocklist>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            version: Some(Spanned::new(0..0, VERSION)),
            dns: Dns::default(),
            upstream: Upstream::default(),
            policy: Policy::default(),
            block: Block::default(),
            sinkhole: Sinkhole::default(),
            gateway: Gateway::default(),
            store: Store::default(),
            ledger: Ledger::default(),
            log: Log::default(),
            exception: Vec::new(),
            blocklist: Vec::new(),
        }
    }
}

/// Where we listen, and who may ask.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// `addr:port`, UDP and TCP.
    pub listen: Vec<Spanned<String>>,
    /// Networks that may ask.
    pub allow: Vec<Spanned<String>>,
    /// UDP workers for each address; 0 is one a core.
    pub workers: Spanned<usize>,
    /// Mebibytes of the answer cache.
    pub cache_mib: Spanned<usize>,
}

impl Default for Dns {
    fn default() -> Self {
        let networks = ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"];
        let networks = networks.iter().chain(&["::1/128", "fc00::/7", "fe80::/10"]);
        Self {
            listen: vec![spanned("127.0.0.1:5300".to_owned())],
            allow: networks.map(|net| spanned((*net).to_owned())).collect(),
            workers: spanned(0),
            cache_mib: spanned(64),
        }
    }
}

/// Who answers what is not blocked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// `"system"`, or `["addr:port", …]` in the order of preference.
    pub servers: Spanned<Servers>,
}

impl Default for Upstream {
    fn default() -> Self {
        Self { servers: spanned(Servers::One("system".to_owned())) }
    }
}

/// One word or a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Servers {
    /// `"system"`.
    One(String),
    /// Addresses.
    Many(Vec<String>),
}

/// What is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Jurisdictions whose acts count.
    pub jurisdictions: Vec<Spanned<String>>,
    /// Bodies that we are one of.
    pub scope: Vec<Spanned<String>>,
    /// `"vendor"` or `"vendor:purpose"` to `"off" | "observe" | "block"`.
    pub stages: BTreeMap<Spanned<String>, Spanned<String>>,
    /// A folder of vendor files instead of the embedded ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendors: Option<Spanned<PathBuf>>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            jurisdictions: vec![spanned("us".to_owned())],
            scope: vec![spanned("everyone".to_owned())],
            stages: BTreeMap::new(),
            vendors: None,
        }
    }
}

/// How blocks are answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Block {
    /// For rules whose vendor file wants none of its own.
    pub answer: Spanned<String>,
    /// Seconds that a block answer may be cached.
    pub ttl: Spanned<u32>,
}

impl Default for Block {
    fn default() -> Self {
        let block = crate::policy::BlockSettings::default();
        Self { answer: spanned(block.answer.to_string()), ttl: spanned(block.ttl) }
    }
}

/// Where sinkholed names lead.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sinkhole {
    /// At most one IPv4 and one IPv6 address.
    pub address: Vec<Spanned<String>>,
}

/// Where the ledger and the control socket are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// A folder.
    pub path: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        Self { path: "state".into() }
    }
}

/// What the ledger keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    /// Days that a row is kept after its last attempt.
    pub keep_days: Spanned<u32>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { keep_days: spanned(400) }
    }
}

/// Where logs go: always standard error.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`. Names and client addresses appear from `debug` on.
    pub level: Spanned<String>,
    /// `text` or `json`.
    pub format: Spanned<String>,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: spanned("info".to_owned()), format: spanned("text".to_owned()) }
    }
}

/// An operator's exception.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// A name, with everything below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Spanned<String>>,
    /// An address or prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Spanned<String>>,
    /// Clients that it is for; silence means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<Spanned<String>>,
    /// Why.
    pub reason: Spanned<String>,
    /// Who said so.
    pub approver: Spanned<String>,
    /// The day or moment from which it no longer holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Spanned<String>>,
}

/// A list of the operator's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blocklist {
    /// What reports call it.
    pub id: Spanned<String>,
    /// The file; with `git` a file or folder inside the repository.
    pub path: Spanned<PathBuf>,
    /// The repository's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<Spanned<String>>,
    /// The branch that is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<Spanned<String>>,
    /// The tag that is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Spanned<String>>,
    /// The commit that is held, all of its digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Spanned<String>>,
    /// How often the remote is asked; [`EVERY_DEFAULT`] without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Spanned<String>>,
    /// An allowed-signers file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signers: Option<Spanned<PathBuf>>,
    /// How often the publisher promises to move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promise: Option<Spanned<String>>,
    /// Whether plain http may be used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// Certificates that https is checked against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Spanned<PathBuf>>,
    /// The private key for ssh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_key: Option<Spanned<PathBuf>>,
    /// The host keys for ssh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<Spanned<PathBuf>>,
    /// `auto`, or how it is written.
    #[serde(default = "auto")]
    pub format: Spanned<String>,
    /// Whether it may answer with data of its own.
    #[serde(default)]
    pub answers: bool,
    /// `off`, `observe` or `block`.
    #[serde(default = "block")]
    pub stage: Spanned<String>,
}

fn auto() -> Spanned<String> {
    spanned("auto".to_owned())
}

fn block() -> Spanned<String> {
    spanned("block".to_owned())
}

/// A value that no file wrote.
pub(super) fn spanned<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}
