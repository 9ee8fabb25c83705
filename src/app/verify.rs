//! Which paths are enforced, how each can be tried, and what must come of it.

use super::config::GatewayConfig;
use super::gateway::Prepared;
use crate::base::model::{BlockAnswer, Decision};
use crate::base::name::Match;
use crate::engine::gateway::{
    Element, Encrypted, Family, HOLD, Handling, Inspection, LISTED_V4, LISTED_V6, MAIN, REFUSED, Redirect,
};
use crate::io::gateway::{Counted, Found, Kernel, KernelError, Shape};
use crate::io::probe::{Came, Probe, Saying};
use crate::policy::{Policy, Subject, What};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A resolver of nobody (RFC 5737).
const RESOLVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
const HTTPS: u16 = 443;
const DOT: u16 = 853;
const DNS: u16 = 53;

/// A way that is to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Its name.
    pub name: &'static str,
    /// How.
    pub probe: Probe,
    /// What must come of it.
    pub expected: Came,
    /// The counter of the kernel that must count it.
    pub counter: Option<String>,
}

/// A name that the policy blocks, and says so in its answer.
#[must_use]
pub fn blocked_name(policy: &Policy) -> Option<String> {
    policy.rules().rules().find_map(|rule| {
        let What::Name(name, Match::Suffix | Match::Exact) = rule.what else { return None };
        let verdict = policy.decide(&Subject { name: Some(name.unpack().as_ref()), ..Subject::default() });
        let is_said = !matches!(verdict.answer, BlockAnswer::Drop | BlockAnswer::TcpOnly);
        (verdict.decision == Decision::Block && is_said).then(|| name.to_string())
    })
}

/// The ways to our own resolver.
#[must_use]
pub fn resolver_paths(policy: &Policy, listen: &[SocketAddr]) -> Vec<Path> {
    let Some(name) = blocked_name(policy) else { return Vec::new() };
    let mut paths = Vec::new();
    for server in listen.iter().copied().map(reachable) {
        for (path, tcp) in [("our DNS over UDP", false), ("our DNS over TCP", true)] {
            let probe = Probe::Dns { server, name: name.clone(), tcp };
            paths.push(Path { name: path, probe, expected: Came::Blocked, counter: None });
        }
    }
    paths
}

/// A wildcard is reached at home.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => (Ipv4Addr::LOCALHOST, listen.port()).into(),
        IpAddr::V6(v6) if v6.is_unspecified() => (Ipv6Addr::LOCALHOST, listen.port()).into(),
        _ => listen,
    }
}

/// The ports, of TCP and of UDP, at which a server is to hear names; `None` where names are not looked at.
#[must_use]
pub fn name_ports(config: &GatewayConfig) -> Option<(u16, u16)> {
    let Inspection { tcp, udp, .. } = config.settings.inspect.as_ref()?;
    let one = |ports: &BTreeSet<u16>| if ports.contains(&HTTPS) { Some(HTTPS) } else { ports.first().copied() };
    Some((one(tcp)?, one(udp)?))
}

/// The ways of a client through the gateway. `server` hears the names that are said to it.
#[must_use]
pub fn client_paths(policy: &Policy, config: &GatewayConfig, prepared: &Prepared, server: IpAddr) -> Vec<Path> {
    let mut paths = Vec::new();
    for (family, map) in [(Family::V4, LISTED_V4), (Family::V6, LISTED_V6)] {
        let Some((to, counter)) = blocked_address(prepared, map) else { continue };
        let vendor = counter.split('/').nth(1).unwrap_or_default();
        let expected = match config.settings.handling_of(vendor) {
            Handling::Reject => Came::Refused,
            Handling::Drop => Came::Silence,
        };
        let (tcp, udp) = match family {
            Family::V4 => ("address over TCP", "address over UDP"),
            Family::V6 => ("IPv6 address over TCP", "IPv6 address over UDP"),
        };
        let at = SocketAddr::new(to, HTTPS);
        for (name, probe) in [(tcp, Probe::Tcp(at)), (udp, Probe::Udp(at))] {
            paths.push(Path { name, probe, expected: expected.clone(), counter: Some(counter.clone()) });
        }
    }
    let name = blocked_name(policy).filter(|_| policy.settings().enforce);
    if let (Some(Redirect { .. }), Some(name)) = (&config.settings.redirect, &name) {
        for (path, tcp) in [("another resolver over UDP", false), ("another resolver over TCP", true)] {
            let probe = Probe::Dns { server: (RESOLVER, DNS).into(), name: name.clone(), tcp };
            paths.push(Path { name: path, probe, expected: Came::Blocked, counter: Some("dns".to_owned()) });
        }
    }
    if let (Some((tcp, udp)), Some(name)) = (name_ports(config), &name) {
        for (path, by, port) in
            [("SNI", Saying::Sni, tcp), ("HTTP host", Saying::Host, tcp), ("QUIC", Saying::Quic, udp)]
        {
            let probe = Probe::Name { by, to: (server, port).into(), name: name.clone() };
            paths.push(Path { name: path, probe, expected: Came::Refused, counter: Some(REFUSED.to_owned()) });
        }
    }
    if config.settings.dot == Encrypted::Refuse {
        for (name, probe) in [("DoT", Probe::Tcp((RESOLVER, DOT).into())), ("DoQ", Probe::Udp((RESOLVER, DOT).into()))]
        {
            paths.push(Path { name, probe, expected: Came::Refused, counter: Some("dot".to_owned()) });
        }
    }
    paths
}

/// The first address of the first range that is blocked, and its counter.
fn blocked_address(prepared: &Prepared, map: &str) -> Option<(IpAddr, String)> {
    let elements = &prepared.wanted.hold.sets.get(map)?.elements;
    elements.iter().find_map(|(element, chain)| match (element, chain) {
        // The NAT64 forms of IPv4 addresses are tried with those.
        (Element::Range(range), Some(chain))
            if chain.starts_with("block/") && !range.first.to_string().starts_with("64:ff9b") =>
        {
            Some((range.first, chain.to_string()))
        }
        _ => None,
    })
}

/// What the kernel lacks of what is wanted, or has besides; empty where it is as it should be.
///
/// # Errors
/// The kernel does not answer.
pub fn kernel_differences(kernel: &mut Kernel, prepared: &Prepared) -> Result<Vec<String>, KernelError> {
    let mut differences = Vec::new();
    for table in [&prepared.wanted.hold, &prepared.wanted.main] {
        match kernel.shape(table, true)? {
            None => differences.push(format!("the table {} is not there", table.name)),
            Some(shape) => {
                let names = shape.differences(&Shape::wanted(table, true));
                differences.extend(names.into_iter().map(|name| format!("{} of {}", name, table.name)));
            }
        }
    }
    Ok(differences)
}

/// Counters of both tables.
///
/// # Errors
/// The kernel does not answer.
pub fn counters(kernel: &mut Kernel) -> Result<BTreeMap<String, Counted>, KernelError> {
    let mut all = Found::default().counters;
    for table in [HOLD, MAIN] {
        all.extend(kernel.counters(table)?);
    }
    Ok(all)
}
