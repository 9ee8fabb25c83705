//! Interfaces, routes and settings of this machine's network, as the gateway needs them.

use crate::engine::gateway::Interfaces;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ROUTES_V4: &str = "/proc/net/route";
const ROUTES_V6: &str = "/proc/net/ipv6_route";
/// A route that is up, and one that leads over a router.
const UP: u32 = 0x1;
const GATEWAY: u32 = 0x2;
const REJECT: u32 = 0x200;

/// What the gateway needs to know of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Interfaces and addresses.
    pub interfaces: Interfaces,
    /// Next hops of default routes.
    pub routers: Vec<IpAddr>,
}

/// A setting that a gateway needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// As sysctl(8) names it.
    pub name: &'static str,
    /// What it has to be.
    pub wanted: &'static str,
    /// What it is; `None` where the kernel has no such setting.
    pub is: Option<String>,
}

impl System {
    /// Looks at the machine.
    #[must_use]
    pub fn look() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let mut defaults = routes_v4(&read(ROUTES_V4));
        defaults.extend(routes_v6(&read(ROUTES_V6)));
        let outside: BTreeSet<String> = defaults.iter().map(|(name, _)| name.clone()).collect();
        let routers = defaults.into_iter().filter_map(|(_, router)| router).collect();
        let mut interfaces = Interfaces { outside, ..Interfaces::default() };
        for found in pnet::datalink::interfaces() {
            for net in &found.ips {
                interfaces.own.push(net.ip());
                let is_outside = found.is_loopback() || interfaces.outside.contains(&found.name);
                if let (false, Ok(net)) = (is_outside, IpNet::new(net.ip(), net.prefix())) {
                    interfaces.inside.push(net.trunc());
                }
            }
        }
        interfaces.own.sort_unstable();
        interfaces.inside.sort_unstable();
        interfaces.inside.dedup();
        Self { interfaces, routers }
    }
}

impl Sysctl {
    /// The settings without which nothing is forwarded. They are looked at and never changed.
    #[must_use]
    pub fn needed() -> Vec<Self> {
        [("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1")]
            .into_iter()
            .map(|(name, wanted)| {
                let path = format!("/proc/sys/{}", name.replace('.', "/"));
                let is = fs::read_to_string(path).ok().map(|value| value.trim().to_owned());
                Self { name, wanted, is }
            })
            .collect()
    }

    /// Whether it is as it has to be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is.as_deref().is_none_or(|is| is == self.wanted)
    }
}

/// Default routes: their interface, and the next hop where there is one.
fn routes_v4(text: &str) -> Vec<(String, Option<IpAddr>)> {
    let route = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?.to_owned();
        let mut hex = words.map(|word| u32::from_str_radix(word, 16).ok());
        let (destination, router, flags) = (hex.next()??, hex.next()??, hex.next()??);
        let mask = hex.nth(3)??;
        let is_default = destination == 0 && mask == 0 && flags & UP != 0 && flags & REJECT == 0;
        // The file has addresses as the processor holds them.
        let router = (flags & GATEWAY != 0).then(|| IpAddr::V4(Ipv4Addr::from(router.to_ne_bytes())));
        is_default.then_some((name, router))
    };
    text.lines().skip(1).filter_map(route).collect()
}

fn routes_v6(text: &str) -> Vec<(String, Option<IpAddr>)> {
    let route = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [destination, length, _, _, router, _, _, _, flags, name] = *words.as_slice() else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let is_default = length == "00" && destination.bytes().all(|digit| digit == b'0');
        let router = Ipv6Addr::from(u128::from_str_radix(router, 16).ok()?);
        let is_good = is_default && flags & UP != 0 && flags & REJECT == 0 && name != "lo";
        is_good.then(|| (name.to_owned(), (!router.is_unspecified()).then_some(IpAddr::V6(router))))
    };
    text.lines().filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_read_with_their_router() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth1\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                    ppp0\t00000000\t00000000\t0001\t0\t0\t9\t00000000\t0\t0\t0\n";
        let eth0 = ("eth0".to_owned(), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(routes_v4(text), [eth0, ("ppp0".to_owned(), None)]);
        let zero = "0".repeat(32);
        let text = format!(
            "{zero} 00 {zero} 00 20010db8000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n\
             20010db8{} 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0\n",
            "0".repeat(24)
        );
        assert_eq!(routes_v6(&text), [("eth0".to_owned(), Some("2001:db8::1".parse().unwrap()))]);
    }
}
