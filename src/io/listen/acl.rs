//! Who may ask. An open resolver is an amplifier, so silence is the answer to everybody else.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

/// Prefixes that an access list may have.
pub const PREFIXES_MAX: usize = 1_024;

/// Loopback, private, link-local, shared (RFC 6598) and unique-local networks.
const LOCAL: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// Networks that change while we run: those of a gateway's interfaces.
pub type Networks = Arc<ArcSwap<Vec<IpNet>>>;

/// The client prefixes that are answered.
#[derive(Clone, Debug)]
pub struct Acl {
    fixed: Box<[IpNet]>,
    changing: Option<Networks>,
}

impl Acl {
    /// Answers clients within these prefixes; beyond [`PREFIXES_MAX`] they are left out.
    #[must_use]
    pub fn new(prefixes: impl IntoIterator<Item = IpNet>) -> Self {
        Self { fixed: prefixes.into_iter().take(PREFIXES_MAX).collect(), changing: None }
    }

    /// Answers clients within these networks too, whatever they become.
    #[must_use]
    pub fn and(self, networks: Networks) -> Self {
        Self { changing: Some(networks), ..self }
    }

    /// Whether a client is answered. An IPv4 address within IPv6 counts as what it is.
    #[must_use]
    pub fn allows(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let within = |prefixes: &[IpNet]| prefixes.iter().any(|prefix| prefix.contains(&client));
        within(&self.fixed) || self.changing.as_ref().is_some_and(|networks| within(&networks.load()))
    }
}

/// Loopback and private networks.
impl Default for Acl {
    fn default() -> Self {
        Self::new(LOCAL.iter().filter_map(|prefix| prefix.parse().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_the_neighbourhood_may_ask_and_the_world_may_not() {
        let acl = Acl::default();
        assert_eq!(acl.fixed.len(), LOCAL.len());
        for (client, allowed) in [
            ("127.0.0.1", true),
            ("192.168.1.20", true),
            ("172.31.255.1", true),
            ("172.32.0.1", false),
            ("8.8.8.8", false),
            ("::1", true),
            ("fd00::5", true),
            ("fe80::5", true),
            ("2001:db8::5", false),
            ("::ffff:10.1.1.1", true),
            ("::ffff:8.8.8.8", false),
        ] {
            assert_eq!(acl.allows(client.parse().unwrap()), allowed, "{client}");
        }
    }

    #[test]
    fn networks_that_change_are_asked_as_they_are_now() {
        let networks = Networks::default();
        let (acl, client) = (Acl::new([]).and(Arc::clone(&networks)), "2001:db8:1::9".parse().unwrap());
        assert!(!acl.allows(client));
        networks.store(Arc::new(vec!["2001:db8:1::/64".parse().unwrap()]));
        assert!(acl.allows(client));
    }
}
