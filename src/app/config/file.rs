//! The config file as it is written. Field names are keys, `Default` is what silence means.

pub use super::gateway::Gateway;
pub use super::sinkhole::Sinkhole;

use crate::engine::resolver::AnswerLimits;
use crate::engine::resolver::core::{Conduct, Mode};
use crate::policy::gate::Limits;
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
    /// `[inspect]`
    pub inspect: Inspect,
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[store]`
    pub store: Store,
    /// `[ledger]`
    pub ledger: Ledger,
    /// `[log]`
    pub log: Log,
    /// `[[zone]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zone: Vec<Zone>,
    /// `[[group]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<Group>,
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
            inspect: Inspect::default(),
            gateway: Gateway::default(),
            store: Store::default(),
            ledger: Ledger::default(),
            log: Log::default(),
            zone: Vec::new(),
            group: Vec::new(),
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
    /// Queries a second of one client; 0 is no limit.
    pub client_rate: Spanned<u32>,
    /// Queries a second of one IPv4 /24 or IPv6 /56; 0 is no limit.
    pub prefix_rate: Spanned<u32>,
    /// Kibibytes of UDP answers a second to a public network whose clients have not proven their address; 0 is no limit.
    pub answer_kib: Spanned<u32>,
    /// Who asks for others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forwarders: Vec<Forwarder>,
    /// UDP workers for each address; 0 is one a core.
    pub workers: Spanned<usize>,
    /// Mebibytes of the answer cache.
    pub cache_mib: Spanned<usize>,
    /// Records to answer with: `name [ttl] TYPE data`.
    pub records: Vec<Spanned<String>>,
    /// A hosts file to answer from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Spanned<PathBuf>>,
    /// Names of the own network: asked upstream although special, and allowed private addresses.
    pub private_names: Vec<Spanned<String>>,
    /// Whether answers with private addresses for public names are withheld.
    pub rebind_protection: bool,
}

impl Default for Dns {
    fn default() -> Self {
        let networks = ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"];
        let networks = networks.iter().chain(&["::1/128", "fc00::/7", "fe80::/10"]);
        let limits = crate::io::listen::LimitSettings::default();
        Self {
            listen: vec![spanned("127.0.0.1:5300".to_owned())],
            allow: networks.map(|net| spanned((*net).to_owned())).collect(),
            client_rate: spanned(limits.client_rate),
            prefix_rate: spanned(limits.prefix_rate),
            answer_kib: spanned(limits.answer_kib),
            forwarders: Vec::new(),
            workers: spanned(0),
            cache_mib: spanned(64),
            records: Vec::new(),
            hosts: None,
            private_names: Vec::new(),
            rebind_protection: true,
        }
    }
}

/// Addresses that ask for others.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forwarder {
    /// An address or network.
    pub address: Spanned<String>,
    /// How it names the client: `proxy`, `ecs`, `mac`; silence means not at all.
    #[serde(default)]
    pub identity: Vec<Spanned<String>>,
}

/// Who answers what is not blocked, and how long that is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// `"system"`, or `["addr:port", …]` in the order of preference.
    pub servers: Spanned<Servers>,
    /// `ordered`, `fastest` or `parallel`.
    pub mode: Spanned<String>,
    /// Whether queries carry their name in random case.
    pub random_case: bool,
    /// Whether queries carry a cookie.
    pub cookies: bool,
    /// Seconds that an answer is kept at least.
    pub ttl_min: Spanned<u32>,
    /// Seconds that an answer is kept at most.
    pub ttl_max: Spanned<u32>,
    /// Seconds that absence is believed at most.
    pub negative_ttl_max: Spanned<u32>,
    /// Seconds that an answer is of use after it has expired.
    pub stale_max: Spanned<u32>,
    /// Whether answers in use are asked for again before they expire.
    pub prefetch: bool,
}

impl Default for Upstream {
    fn default() -> Self {
        let (answers, conduct) = (AnswerLimits::default(), Conduct::default());
        Self {
            servers: spanned(Servers::One("system".to_owned())),
            mode: spanned(Mode::default().to_string()),
            random_case: conduct.random_case,
            cookies: conduct.cookies,
            ttl_min: spanned(answers.ttl_min),
            ttl_max: spanned(answers.ttl_max),
            negative_ttl_max: spanned(answers.negative_ttl_max),
            stale_max: spanned(86_400),
            prefetch: conduct.prefetch,
        }
    }
}

/// Names that have servers of their own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Names, each with everything below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Spanned<String>>,
    /// Networks whose addresses are looked up there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Spanned<String>>,
    /// `["addr:port", …]` in the order of preference.
    pub servers: Spanned<Vec<String>>,
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
    /// Our own names and networks, which no list may take.
    pub own: Vec<Spanned<String>>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            jurisdictions: vec![spanned("us".to_owned())],
            scope: vec![spanned("everyone".to_owned())],
            stages: BTreeMap::new(),
            vendors: None,
            own: Vec::new(),
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
    /// Whether applications that ask are told not to go round this resolver.
    pub canaries: bool,
    /// Vendors and lists whose blocks are answered otherwise.
    pub answers: BTreeMap<Spanned<String>, Spanned<String>>,
}

impl Default for Block {
    fn default() -> Self {
        let block = crate::policy::BlockSettings::default();
        Self {
            answer: spanned(block.answer.to_string()),
            ttl: spanned(block.ttl),
            canaries: true,
            answers: BTreeMap::new(),
        }
    }
}

/// What passes is inspected.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inspect {
    /// The interfaces that clients are on.
    pub interfaces: Vec<Spanned<String>>,
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

/// Clients for whom other stages hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What it is called.
    pub id: Spanned<String>,
    /// Networks, addresses and hardware addresses.
    pub clients: Vec<Spanned<String>>,
    /// As `[policy.stages]`; a list's id stands for the list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stages: BTreeMap<Spanned<String>, Spanned<String>>,
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
    /// Groups that it is for; silence means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Spanned<String>>,
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
    /// What a revision of it must be to become policy.
    #[serde(default)]
    pub gate: Gate,
}

/// What a revision of a list must be to become policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// The least number of rules.
    pub minimum: Spanned<usize>,
    /// Rules that may be gone at once, in percent.
    pub shrink: Spanned<u32>,
    /// Rules that may be new at once, in percent.
    pub growth: Spanned<u32>,
    /// Lines that may be unreadable, in percent.
    pub unreadable: Spanned<u32>,
    /// The widest IPv4 range, as the length of its prefix.
    pub widest_v4: Spanned<u8>,
    /// The widest IPv6 range, as the length of its prefix.
    pub widest_v6: Spanned<u8>,
    /// Names and networks that must be in it.
    pub must_have: Vec<Spanned<String>>,
}

impl Default for Gate {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            minimum: spanned(limits.minimum),
            shrink: spanned(limits.shrink_percent_max),
            growth: spanned(limits.growth_percent_max),
            unreadable: spanned(limits.bad_percent_max),
            widest_v4: spanned(limits.v4_prefix_min),
            widest_v6: spanned(limits.v6_prefix_min),
            must_have: Vec::new(),
        }
    }
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
