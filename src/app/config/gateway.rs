//! `[gateway]`: what the kernel enforces.

use super::check::{Problems, network};
use super::file::spanned;
use crate::engine::gateway::{Clients, Encrypted, GatewaySettings, Handling, Inspection, Mask, Redirect, Watching};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use toml::Spanned;

/// The table as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// Whether the daemon enforces.
    pub enabled: bool,
    /// Whose traffic; none is private addresses that came from inside.
    pub clients: Vec<Spanned<String>>,
    /// Whether this machine's own traffic too.
    pub local: bool,
    /// `"reject"` or `"drop"`.
    pub action: Spanned<String>,
    /// Vendors and lists for which it is the other one.
    pub other_action: Vec<String>,
    /// Whether observed ranges are recorded.
    pub observe: bool,
    /// Whether others are kept from changing the table of listed addresses.
    pub protect: bool,
    /// The NFLOG group.
    pub log_group: Spanned<u16>,
    /// Whether other resolvers' clients are answered by us.
    pub redirect_dns: bool,
    /// The port that they are led to.
    pub redirect_port: Spanned<u16>,
    /// Resolvers that may be asked.
    pub internal_networks: Vec<Spanned<String>>,
    /// Clients that are DNS servers themselves.
    pub dns_servers: Vec<Spanned<String>>,
    /// `"observe"`, `"refuse-sighted"`, `"refuse"` or `"off"`.
    pub dot: Spanned<String>,
    /// How long an endpoint that tried what is blocked counts as sighted.
    pub sighted_for: Spanned<String>,
    /// What is done with addresses that listed names lead to: `"observe"`, `"refuse"` or `"off"`.
    pub learned: Spanned<String>,
    /// How long one is remembered.
    pub learned_for: Spanned<String>,
    /// How often blocked names are asked for, or `"never"`.
    pub learn_every: Spanned<String>,
    /// Whether names in the first packets are looked at.
    pub inspect: bool,
    /// On which ports of TCP.
    pub inspect_tcp: Vec<Spanned<u16>>,
    /// On which ports of UDP.
    pub inspect_udp: Vec<Spanned<u16>>,
    /// The number of the first queue.
    pub queue: Spanned<u16>,
    /// How many there are; 0 is one for each core.
    pub queues: Spanned<u16>,
    /// The bits of connection marks that are ours.
    pub mark_mask: Spanned<u32>,
}

impl Default for Gateway {
    fn default() -> Self {
        let internal = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"];
        Self {
            enabled: false,
            clients: Vec::new(),
            local: false,
            action: spanned("reject".to_owned()),
            other_action: Vec::new(),
            observe: true,
            protect: true,
            log_group: spanned(4_953),
            redirect_dns: true,
            redirect_port: spanned(5_301),
            internal_networks: internal.map(|net| spanned(net.to_owned())).to_vec(),
            dns_servers: Vec::new(),
            dot: spanned("observe".to_owned()),
            sighted_for: spanned("24h".to_owned()),
            learned: spanned("observe".to_owned()),
            learned_for: spanned("24h".to_owned()),
            learn_every: spanned("never".to_owned()),
            inspect: true,
            inspect_tcp: [80, 443].map(spanned).to_vec(),
            inspect_udp: vec![spanned(443)],
            queue: spanned(4_953),
            queues: spanned(0),
            mark_mask: spanned(0xff00_0000),
        }
    }
}

/// The table as it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Whether the daemon enforces.
    pub enabled: bool,
    /// Whether others are kept from changing the table of listed addresses.
    pub protect: bool,
    /// How long an endpoint that tried what is blocked counts as sighted.
    pub sighted_for: Duration,
    /// How long a learned address is remembered after an answer.
    pub learned_for: Duration,
    /// How often blocked names are asked for.
    pub learn_every: Option<Duration>,
    /// How.
    pub settings: GatewaySettings,
}

impl GatewayConfig {
    /// Whether the parts that are settled when the daemon starts are the same: whether it enforces, who may change the table, the group,
    /// the port of the redirect, the queues and the bits of marks, how long and how often is learned.
    #[must_use]
    pub fn starts_as(&self, other: &Self) -> bool {
        let port = |config: &Self| config.settings.redirect.as_ref().map(|redirect| redirect.port);
        let queues = |config: &Self| {
            config.settings.inspect.as_ref().map(|inspect| (inspect.queue, inspect.queues, inspect.mask))
        };
        let learns = |config: &Self| (config.sighted_for, config.learned_for, config.learn_every);
        (self.enabled, self.protect, self.settings.log_group)
            == (other.enabled, other.protect, other.settings.log_group)
            && learns(self) == learns(other)
            && port(self) == port(other)
            && queues(self) == queues(other)
    }

    /// These settings, with the parts that are settled at the start as they were.
    #[must_use]
    pub fn running_as(mut self, started: &Self) -> Self {
        (self.enabled, self.protect) = (started.enabled, started.protect);
        (self.learned_for, self.learn_every) = (started.learned_for, started.learn_every);
        self.sighted_for = started.sighted_for;
        self.settings.log_group = started.settings.log_group;
        let port = started.settings.redirect.as_ref().map(|redirect| redirect.port);
        self.settings.redirect = self.settings.redirect.zip(port).map(|(redirect, port)| Redirect { port, ..redirect });
        let inspect = self.settings.inspect.zip(started.settings.inspect.as_ref());
        self.settings.inspect =
            inspect.map(|(new, started)| Inspection { tcp: new.tcp, udp: new.udp, ..started.clone() });
        self
    }

    /// Where redirected clients are answered by the daemon: everywhere, since the kernel leads them to the address that they came in at.
    #[must_use]
    pub fn listen(&self) -> Vec<SocketAddr> {
        let port = self.settings.redirect.as_ref().filter(|_| self.enabled).map(|redirect| redirect.port);
        port.into_iter()
            .flat_map(|port| [(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()])
            .collect()
    }
}

/// Checks the table.
pub(super) fn check(p: &mut Problems<'_>, file: &Gateway) -> GatewayConfig {
    let clients = networks(p, &file.clients, "clients");
    let redirect = Redirect {
        port: p.bound(&file.redirect_port, "redirect_port", 1, u16::MAX),
        internal: networks(p, &file.internal_networks, "internal_networks"),
        servers: networks(p, &file.dns_servers, "dns_servers"),
    };
    let inspect = inspection(p, file);
    let mut remembered = |span: &Spanned<String>, key: &str| {
        let remembered = p.span(span, key).unwrap_or_default();
        if remembered > REMEMBERED_MAX {
            p.push(span, &format!("{key} is 30 days at most: addresses change hands"));
        }
        remembered
    };
    let (sighted_for, learned_for) =
        (remembered(&file.sighted_for, "sighted_for"), remembered(&file.learned_for, "learned_for"));
    let is_never = file.learn_every.get_ref() == "never";
    let learn_every = if is_never { None } else { p.span(&file.learn_every, "learn_every") };
    GatewayConfig {
        enabled: file.enabled,
        protect: file.protect,
        sighted_for,
        learned_for,
        learn_every: learn_every.map(|every| every.max(LEARN_EVERY_MIN)),
        settings: GatewaySettings {
            clients: if clients.is_empty() { Clients::Private } else { Clients::Networks(clients) },
            local: file.local,
            handling: p.parse(&file.action, "action", "write \"reject\" or \"drop\"").unwrap_or(Handling::Reject),
            otherwise: file.other_action.iter().cloned().collect(),
            observe: file.observe,
            log_group: p.bound(&file.log_group, "log_group", 1, u16::MAX),
            redirect: file.redirect_dns.then_some(redirect),
            dot: p.parse(&file.dot, "dot", ENCRYPTED).unwrap_or(Encrypted::Observe),
            learned: p.parse(&file.learned, "learned", WATCHING).unwrap_or(Watching::Observe),
            inspect: file.inspect.then_some(inspect).flatten(),
        },
    }
}

/// What may be written for [`Encrypted`].
const ENCRYPTED: &str = "write \"observe\", \"refuse-sighted\", \"refuse\" or \"off\"";
/// What may be written for [`Watching`].
const WATCHING: &str = "write \"observe\", \"refuse\" or \"off\"";
/// The longest time that an address is remembered.
const REMEMBERED_MAX: Duration = Duration::from_secs(30 * 86_400);
/// The shortest time between two rounds of questions for blocked names: upstream is no toy.
const LEARN_EVERY_MIN: Duration = Duration::from_secs(60);
/// Queues are threads.
const QUEUES_MAX: u16 = 64;

fn inspection(p: &mut Problems<'_>, file: &Gateway) -> Option<Inspection> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let queues = match p.bound(&file.queues, "queues", 0, QUEUES_MAX) {
        0 => u16::try_from(cores).unwrap_or(QUEUES_MAX).min(QUEUES_MAX),
        queues => queues,
    };
    let mut ports = |all: &[Spanned<u16>], key: &str| all.iter().map(|port| p.bound(port, key, 1, u16::MAX)).collect();
    let (tcp, udp) = (ports(&file.inspect_tcp, "inspect_tcp"), ports(&file.inspect_udp, "inspect_udp"));
    let queue = p.bound(&file.queue, "queue", 0, u16::MAX - QUEUES_MAX);
    let mask = Mask::new(*file.mark_mask.get_ref());
    if mask.is_none() {
        p.push(&file.mark_mask, "mark_mask must be four or more bits in a row, like 0xff000000");
    }
    Some(Inspection { tcp, udp, queue, queues, mask: mask? })
}

fn networks(p: &mut Problems<'_>, all: &[Spanned<String>], key: &str) -> Vec<IpNet> {
    all.iter().filter_map(|text| network(p, text, key)).collect()
}
