//! From policy, config and machine to what the kernel should have, and what speaks against it. The daemon and the commands both come
//! here.

use super::config::{Config, GatewayConfig, Origin};
use super::daemon::asked;
use crate::base::model::Decision;
use crate::engine::gateway::{
    Cut, Dependency, Encrypted, Facts, GatewaySettings, Interfaces, Listed, TooManyRanges, Wanted, Watching, cuts, plan,
};
use crate::io::gateway::{KernelError, LogError, QueueError, System};
use crate::io::upstream::lookup;
use crate::policy::Policy;
use ipnet::IpNet;
use std::fs;
use std::net::{IpAddr, SocketAddr};

/// Processes above ours that are asked where their login came from.
const ANCESTORS_MAX: usize = 32;
/// Things that would be cut off which are told; the first few say enough.
const CUTS_TOLD_MAX: usize = 5;

/// Why the kernel is not told to enforce.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Bounds.
    #[error(transparent)]
    Bounds(#[from] TooManyRanges),
    /// It would cut off something.
    #[error("{}", cuts_words(.0))]
    Cuts(Vec<Cut>),
}

fn cuts_words(cuts: &[Cut]) -> String {
    let told: Vec<String> = cuts.iter().take(CUTS_TOLD_MAX).map(ToString::to_string).collect();
    told.join("\n")
}

/// What is wanted of the kernel.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The tables.
    pub wanted: Wanted,
    /// Ranges that are blocked.
    pub blocked: usize,
    /// Ranges that are observed.
    pub observed: usize,
    /// What it would cut off.
    pub cuts: Vec<Cut>,
}

/// Plans for a policy.
///
/// # Errors
/// [`GatewayError::Bounds`].
pub fn prepare(
    policy: &Policy,
    config: &GatewayConfig,
    system: &System,
    facts: &Facts,
) -> Result<Prepared, GatewayError> {
    let settings = in_force(&config.settings, policy);
    let listed = Listed::of(policy, settings.observe)?;
    Ok(Prepared {
        wanted: plan(&listed, policy, &settings, &system.interfaces),
        blocked: listed.count(Decision::Block),
        observed: listed.count(Decision::Observe),
        cuts: cuts(policy, &listed, facts),
    })
}

/// The settings, without what a pause takes out of force.
fn in_force(settings: &GatewaySettings, policy: &Policy) -> GatewaySettings {
    let mut settings = settings.clone();
    if !policy.settings().enforce {
        settings.redirect = None;
        if settings.dot != Encrypted::Off {
            settings.dot = Encrypted::Observe;
        }
        if settings.learned != Watching::Off {
            settings.learned = Watching::Observe;
        }
    }
    settings
}

/// What the box cannot do without. Names of remotes are looked up with our own upstream servers, which may take seconds.
#[must_use]
pub fn facts(config: &Config, system: &System, login: Option<IpAddr>) -> Facts {
    let servers = asked(config);
    let mut facts: Facts = servers.iter().map(|server| (Dependency::Upstream, IpNet::from(server.ip()))).collect();
    for list in &config.blocklists {
        if let Origin::Git(git) = &list.origin {
            let addresses = remote(git.remote.host_name(), git.remote.host(), &servers);
            facts.extend(addresses.into_iter().map(|address| (Dependency::Remote, IpNet::from(address))));
        }
    }
    facts.extend(system.routers.iter().map(|router| (Dependency::Router, IpNet::from(*router))));
    facts.extend(system.interfaces.own.iter().map(|own| (Dependency::Own, IpNet::from(*own))));
    let clients = config.gateway.settings.client_networks(&system.interfaces);
    facts.extend(clients.into_iter().map(|net| (Dependency::Clients, net)));
    facts.extend(login.map(|login| (Dependency::Login, IpNet::from(login))));
    facts
}

fn remote(name: Option<&str>, host: &str, servers: &[SocketAddr]) -> Vec<IpAddr> {
    match name {
        Some(name) => lookup::addresses(servers, name),
        None => host.parse().into_iter().collect(),
    }
}

/// Where whoever runs this process is logged in from, if that is another machine: what sshd told the shell, which `sudo` hides from us
/// but not from the process that called it.
#[must_use]
pub fn login() -> Option<IpAddr> {
    let mut process = std::process::id().to_string();
    for _ in 0..ANCESTORS_MAX {
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let said = environment.split(|octet| *octet == 0).find_map(|line| line.strip_prefix(b"SSH_CONNECTION="));
        let address = said.and_then(|said| std::str::from_utf8(said).ok()?.split(' ').next()?.parse().ok());
        if address.is_some() {
            return address;
        }
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        process = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().to_owned();
    }
    None
}

/// What is missing on this machine for the gateway to work, each a sentence.
#[must_use]
pub fn wants(interfaces: &Interfaces) -> Vec<String> {
    let mut wants: Vec<String> = crate::io::gateway::Sysctl::needed()
        .iter()
        .filter(|setting| !setting.is_good())
        .map(|setting| {
            let is = setting.is.as_deref().unwrap_or("-");
            format!("{} is {is}, so nothing is forwarded: it needs {}", setting.name, setting.wanted)
        })
        .collect();
    if interfaces.outside.is_empty() {
        wants.push(
            "there is no default route, so every private address that is forwarded counts as a client's".to_owned(),
        );
    }
    wants
}
