//! The system's servers: `/etc/resolv.conf`, with ourselves left out, since a resolver that asks itself asks forever.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::Path;

use crate::engine::resolver::core::SERVERS_MAX;

/// Where the system says which servers it asks.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The port of DNS.
const DNS_PORT: u16 = 53;
/// Octets of the file that are read; a real one has some hundreds.
const FILE_OCTETS_MAX: usize = 1 << 16;

/// Why there is no server to ask.
#[derive(Debug, thiserror::Error)]
pub enum ResolvError {
    /// The file cannot be read.
    #[error("{path}: {error}; give [upstream] servers in the config")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// It names no server.
    #[error("{0}: no nameserver line with an address; give [upstream] servers in the config")]
    Empty(String),
    /// Every server that it names is this resolver.
    #[error(
        "{0}: every nameserver there is this resolver itself, which would ask itself forever; give [upstream] servers in the \
         config"
    )]
    OnlyOurselves(String),
}

/// The servers of a resolv.conf, without those that are one of `listen`.
///
/// # Errors
/// One sentence: the file, what is wrong with it, and what to do.
pub fn servers(path: &Path, listen: &[SocketAddr]) -> Result<Vec<SocketAddr>, ResolvError> {
    let shown = || path.display().to_string();
    let octets = fs::read(path).map_err(|error| ResolvError::Read { path: shown(), error })?;
    let text = String::from_utf8_lossy(octets.get(..FILE_OCTETS_MAX).unwrap_or(&octets)).into_owned();
    let interfaces = pnet::datalink::interfaces();
    let index = |name: &str| interfaces.iter().find(|interface| interface.name == name).map(|found| found.index);
    let named = parse(&text, index);
    if named.is_empty() {
        return Err(ResolvError::Empty(shown()));
    }
    let servers = without_ourselves(named, listen, &own_addresses());
    if servers.is_empty() { Err(ResolvError::OnlyOurselves(shown())) } else { Ok(servers) }
}

/// The `nameserver` lines of a resolv.conf in their order (resolv.conf(5)), each server once, [`SERVERS_MAX`] at most.
/// `interface` gives the index of an interface's name, for the zone of a link-local address.
pub fn parse(text: &str, interface: impl Fn(&str) -> Option<u32>) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let Some(server) = words.next().and_then(|address| server(address, &interface)) else { continue };
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers.truncate(SERVERS_MAX);
    servers
}

/// An address at port 53; one within IPv6 may have a zone, as number or interface.
fn server(text: &str, interface: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((address, zone)) = text.split_once('%') else {
        return text.parse().ok().map(|address| SocketAddr::new(address, DNS_PORT));
    };
    let zone = zone.parse().ok().or_else(|| interface(zone))?;
    Some(SocketAddrV6::new(address.parse().ok()?, DNS_PORT, 0, zone).into())
}

/// This machine's addresses.
#[must_use]
pub fn own_addresses() -> Vec<IpAddr> {
    pnet::datalink::interfaces().iter().flat_map(|found| found.ips.iter().map(|net| net.ip())).collect()
}

/// Leaves out every server that one of our listeners would hear. `own` are this machine's addresses.
#[must_use]
pub fn without_ourselves(servers: Vec<SocketAddr>, listen: &[SocketAddr], own: &[IpAddr]) -> Vec<SocketAddr> {
    let ours = |server: &SocketAddr| {
        let address = server.ip().to_canonical();
        listen.iter().filter(|listen| listen.port() == server.port()).any(|listen| {
            let heard = listen.ip().to_canonical();
            let same_family = heard.is_ipv4() == address.is_ipv4();
            // A wildcard hears all of this machine: every address of an interface, and all of 127.0.0.0/8.
            let local = address.is_loopback() || address.is_unspecified() || own.contains(&address);
            // "0.0.0.0" as a server is this machine, wherever it listens.
            heard == address || (heard.is_unspecified() && same_family && local) || address.is_unspecified()
        })
    };
    servers.into_iter().filter(|server| !ours(server)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<String> {
        parse(text, |name| (name == "eth0").then_some(2)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nameserver_lines_count_and_nothing_else() {
        let text = "# nameserver 9.9.9.9\n; nameserver 9.9.9.9\nsearch lan\nnameserver 192.0.2.1\n\
            \tnameserver\t2001:db8::1 # the second\nnameservers 9.9.9.9\nnameserver\nnameserver example.org\n\
            nameserver fe80::1%eth0\nnameserver fe80::2%3\nnameserver fe80::3%wlan9\nnameserver 192.0.2.1\noptions edns0\n";
        assert_eq!(parsed(text), ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%2]:53", "[fe80::2%3]:53"]);
    }

    #[test]
    fn servers_are_bounded() {
        let text: String = (0..100).map(|host| format!("nameserver 192.0.2.{host}\r\n")).collect();
        assert_eq!(parsed(&text).len(), SERVERS_MAX);
    }

    #[test]
    fn we_do_not_ask_ourselves() {
        let own: Vec<IpAddr> = ["127.0.0.1", "192.168.1.2", "fe80::2"].map(|text| text.parse().unwrap()).into();
        for (listen, server, kept) in [
            ("127.0.0.1:53", "127.0.0.1:53", false),
            ("127.0.0.1:53", "127.0.0.53:53", true),
            ("127.0.0.1:5300", "127.0.0.1:53", true),
            ("0.0.0.0:53", "127.0.0.53:53", false),
            ("0.0.0.0:53", "192.168.1.2:53", false),
            ("0.0.0.0:53", "192.168.1.1:53", true),
            ("0.0.0.0:5300", "192.168.1.2:53", true),
            ("[::]:53", "[fe80::2]:53", false),
            ("[::]:53", "[::1]:53", false),
            ("[::]:53", "192.168.1.2:53", true),
            ("192.168.1.2:53", "192.168.1.2:53", false),
            ("127.0.0.1:53", "0.0.0.0:53", false),
        ] {
            let left = without_ourselves(vec![server.parse().unwrap()], &[listen.parse().unwrap()], &own);
            assert_eq!(left.len(), usize::from(kept), "listening at {listen}, server {server}");
        }
    }

    #[test]
    fn a_file_without_servers_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let missing = servers(&path, &[]).unwrap_err().to_string();
        assert!(missing.contains("resolv.conf") && missing.contains("[upstream] servers"), "{missing}");
        fs::write(&path, "search lan\n").unwrap();
        assert!(matches!(servers(&path, &[]), Err(ResolvError::Empty(_))));
        fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
        let listen = ["127.0.0.1:53".parse().unwrap()];
        assert!(matches!(servers(&path, &listen), Err(ResolvError::OnlyOurselves(_))));
        assert_eq!(servers(&path, &[]).unwrap(), listen);
    }
}
