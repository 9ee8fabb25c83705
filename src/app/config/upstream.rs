//! `[upstream]` and `[[zone]]`: who is asked, how, and how long answers are kept.

use super::check::{Problems, network};
use super::file::{self, File, Servers};
use crate::base::name::Name;
use crate::engine::resolver::AnswerLimits;
use crate::engine::resolver::core::{Conduct, Mode, ZoneServers};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use toml::Spanned;

/// Seconds of the longest time that anything is kept: a week.
const KEPT_MAX: u32 = 604_800;
/// Names that have servers of their own.
const ZONES_MAX: usize = 1_024;

/// Who answers what is not blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstreams {
    /// The servers of `/etc/resolv.conf`.
    System,
    /// These, in the order of preference.
    Servers(Vec<SocketAddr>),
}

/// How upstream is asked, and how long answers are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolving {
    /// Which server is asked first.
    pub mode: Mode,
    /// What is done against forgers and for broken servers.
    pub conduct: Conduct,
    /// Bounds of stored answers.
    pub answers: AnswerLimits,
    /// Seconds that an answer is of use after it has expired.
    pub stale_max: u32,
    /// Names that have servers of their own.
    pub zones: Vec<ZoneServers>,
}

pub(super) fn servers(p: &mut Problems<'_>, upstream: &file::Upstream) -> Upstreams {
    let at = &upstream.servers;
    let texts = match at.get_ref() {
        Servers::One(word) if word == "system" => return Upstreams::System,
        Servers::One(word) => std::slice::from_ref(word),
        Servers::Many(words) if words.len() == 1 && words.iter().all(|word| word == "system") => {
            return Upstreams::System;
        }
        Servers::Many(words) => words,
    };
    Upstreams::Servers(addresses(p, at, texts, ", or \"system\""))
}

pub(super) fn resolving(p: &mut Problems<'_>, file: &File) -> Resolving {
    let upstream = &file.upstream;
    let conduct = Conduct {
        random_case: upstream.random_case,
        cookies: upstream.cookies,
        prefetch: upstream.prefetch,
        stale: *upstream.stale_max.get_ref() > 0,
        ..Conduct::default()
    };
    let answers = AnswerLimits {
        ttl_min: p.bound(&upstream.ttl_min, "ttl_min", 0, 3_600),
        ttl_max: p.bound(&upstream.ttl_max, "ttl_max", 1, KEPT_MAX),
        negative_ttl_max: p.bound(&upstream.negative_ttl_max, "negative_ttl_max", 0, KEPT_MAX),
        ..AnswerLimits::default()
    };
    if answers.ttl_min > answers.ttl_max {
        p.push(&upstream.ttl_min, "ttl_min is greater than ttl_max");
    }
    Resolving {
        mode: p.parse(&upstream.mode, "mode", "write \"ordered\", \"fastest\" or \"parallel\"").unwrap_or_default(),
        conduct,
        answers,
        stale_max: p.bound(&upstream.stale_max, "stale_max", 0, KEPT_MAX),
        zones: zones(p, &file.zone),
    }
}

fn zones(p: &mut Problems<'_>, all: &[file::Zone]) -> Vec<ZoneServers> {
    let mut zones: Vec<ZoneServers> = Vec::new();
    for at in all {
        let servers = addresses(p, &at.servers, at.servers.get_ref(), "");
        if at.names.is_empty() && at.networks.is_empty() {
            p.push(&at.servers, "a [[zone]] needs names or networks");
        }
        let names = at.names.iter().filter_map(|text| Some((text, p.parse_host(text)?))).collect::<Vec<_>>();
        let networks = at.networks.iter().filter_map(|text| Some((text, network(p, text, "networks")?)));
        let reverse = networks.flat_map(|(text, net)| reverse_names(net).into_iter().map(move |name| (text, name)));
        for (text, name) in names.into_iter().chain(reverse.collect::<Vec<_>>()) {
            if zones.iter().any(|zone| zone.name == name) {
                p.push(text, &format!("{name} is in two [[zone]]; one of them has to go"));
            } else if zones.len() == ZONES_MAX {
                p.push(text, &format!("there are more than {ZONES_MAX} names with servers of their own"));
                return zones;
            } else {
                zones.push(ZoneServers { name, servers: servers.clone() });
            }
        }
    }
    zones
}

/// Servers as `address:port`; a bare address means port 53, as in resolv.conf.
fn addresses<T>(p: &mut Problems<'_>, at: &Spanned<T>, texts: &[String], or: &str) -> Vec<SocketAddr> {
    if texts.is_empty() {
        p.push(at, &format!("servers is empty, so nothing could be resolved; name a server{or}"));
    }
    let mut servers = Vec::new();
    for text in texts {
        match text.parse::<SocketAddr>().or_else(|_| text.parse::<IpAddr>().map(|address| (address, 53).into())) {
            Ok(server) => servers.push(server),
            Err(_) => {
                p.push(at, &format!("servers: {text:?} is no \"address:port\"; write \"192.0.2.1:53\"{or}"));
            }
        }
    }
    servers
}

/// The names below which the addresses of a network are looked up (RFC 1035 §3.5, RFC 3596 §2.5): one where the prefix ends with a
/// label, else as many as it takes.
fn reverse_names(net: IpNet) -> Vec<Name> {
    let (octets, bits, suffix) = match net.network() {
        IpAddr::V4(v4) => (v4.octets().to_vec(), 8, "in-addr.arpa"),
        IpAddr::V6(v6) => (v6.octets().iter().flat_map(|octet| [octet >> 4, octet & 15]).collect(), 4, "ip6.arpa"),
    };
    let prefix = usize::from(net.prefix_len());
    let labels = prefix.div_ceil(bits);
    let (fixed, last) = octets.split_at(labels.saturating_sub(1));
    let spread = 1_u16 << (labels * bits - prefix);
    let first = if labels == 0 { None } else { last.first().copied().map(u16::from) };
    let label = |value: u16| if bits == 8 { value.to_string() } else { format!("{value:x}") };
    let below = fixed.iter().rev().map(|&value| label(value.into()) + ".").collect::<String>();
    let names = match first {
        Some(first) => (first..first + spread).map(|value| format!("{}.{below}{suffix}", label(value))).collect(),
        None => vec![suffix.to_owned()],
    };
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::{Source, parse};

    #[test]
    fn networks_have_reverse_names() {
        for (net, names) in [
            ("192.168.1.0/24", vec!["1.168.192.in-addr.arpa"]),
            ("10.0.0.0/8", vec!["10.in-addr.arpa"]),
            ("0.0.0.0/0", vec!["in-addr.arpa"]),
            ("192.0.2.7/32", vec!["7.2.0.192.in-addr.arpa"]),
            ("192.168.4.0/23", vec!["4.168.192.in-addr.arpa", "5.168.192.in-addr.arpa"]),
            ("fd00::/8", vec!["d.f.ip6.arpa"]),
            ("2001:db8::/32", vec!["8.b.d.0.1.0.0.2.ip6.arpa"]),
            ("fc00::/7", vec!["c.f.ip6.arpa", "d.f.ip6.arpa"]),
        ] {
            let found: Vec<String> = reverse_names(net.parse().unwrap()).iter().map(ToString::to_string).collect();
            assert_eq!(found, names, "{net}");
        }
        let sixteen = reverse_names("172.16.0.0/12".parse().unwrap());
        assert_eq!((sixteen.len(), sixteen[15].to_string()), (16, "31.172.in-addr.arpa".to_owned()));
    }

    fn zone(text: &str) -> Result<Resolving, String> {
        let read = parse(&format!("version = 1\n{text}"), &Source::Embedded);
        read.map(|config| config.resolving).map_err(|error| error.to_string())
    }

    #[test]
    fn zones_are_names_with_servers() {
        let zones = zone(
            "[[zone]]\nnames = [\"Corp.Example\", \"lan\"]\nnetworks = [\"10.1.0.0/16\"]\nservers = [\"10.1.0.1\"]\n",
        )
        .unwrap()
        .zones;
        let shown: Vec<_> = zones.iter().map(|zone| format!("{} {:?}", zone.name, zone.servers)).collect();
        assert_eq!(shown, ["corp.example [10.1.0.1:53]", "lan [10.1.0.1:53]", "1.10.in-addr.arpa [10.1.0.1:53]"]);
    }

    #[test]
    fn mistakes_are_said_with_their_line() {
        for (text, said) in [
            ("[[zone]]\nservers = [\"10.0.0.1\"]\n", ":3: a [[zone]] needs names or networks"),
            ("[[zone]]\nnames = [\"a.b\"]\nservers = []\n", ":4: servers is empty"),
            ("[[zone]]\nnames = [\"a.b\"]\nservers = [\"x\"]\n", ":4: servers: \"x\" is no \"address:port\""),
            ("[[zone]]\nnames = [\"a..b\"]\nservers = [\"::1\"]\n", ":3: names = \"a..b\""),
            (
                "[[zone]]\nnetworks = [\"lan\"]\nservers = [\"::1\"]\n",
                ":3: networks = \"lan\" is no address or network",
            ),
            ("[[zone]]\nnames = [\"a\", \"A\"]\nservers = [\"::1\"]\n", ":3: a is in two [[zone]]"),
            ("[upstream]\nmode = \"best\"\n", ":3: mode = \"best\": no such mode; write \"ordered\""),
            ("[upstream]\nttl_min = 60\nttl_max = 30\n", ":3: ttl_min is greater than ttl_max"),
            ("[upstream]\nstale_max = 9999999\n", ":3: stale_max = 9999999 is out of bounds"),
        ] {
            let error = zone(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn no_staleness_is_a_switch() {
        assert!(!zone("[upstream]\nstale_max = 0\n").unwrap().conduct.stale);
        assert_eq!(zone("").unwrap().conduct, Conduct::default());
    }
}
