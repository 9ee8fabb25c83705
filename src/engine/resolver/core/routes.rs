//! Which servers a name is asked of: those of the longest zone above it, else the default ones.
//!
//! An answer is kept under the whole question, so a zone's servers can say something about names below it and no others: where
//! an alias leads out of the zone, what they add about its target is kept with the alias alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::settings::{CoreSettings, SERVERS_MAX};
use crate::base::name::{Name, NameRef};

/// The servers of a route, in the configured order.
pub(super) type Way = Arc<[SocketAddr]>;

/// Every route.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    default: Way,
    zones: BTreeMap<Name, Way>,
}

impl Routes {
    pub(super) fn new(settings: &CoreSettings) -> Self {
        let zones = settings.zones.iter().map(|zone| (zone.name.clone(), bounded(&zone.servers)));
        Self { default: bounded(&settings.servers), zones: zones.collect() }
    }

    /// The servers for a name, and whether they are a zone's.
    pub(super) fn find(&self, name: NameRef<'_>) -> (Way, bool) {
        let mut at = Some(name).filter(|_| !self.zones.is_empty());
        while let Some(suffix) = at {
            if let Some(way) = self.zones.get(suffix.as_wire()) {
                return (Arc::clone(way), true);
            }
            at = suffix.parent();
        }
        (Arc::clone(&self.default), false)
    }

    /// Puts others in place of the default servers; questions in flight keep theirs.
    pub(super) fn set_default(&mut self, servers: &[SocketAddr]) {
        self.default = bounded(servers);
    }

    /// Every server once, the default ones first.
    pub(super) fn servers(&self) -> Vec<SocketAddr> {
        let mut all = Vec::new();
        for server in self.default.iter().chain(self.zones.values().flat_map(|way| way.iter())) {
            if !all.contains(server) {
                all.push(*server);
            }
        }
        all
    }
}

fn bounded(servers: &[SocketAddr]) -> Way {
    servers.get(..SERVERS_MAX).unwrap_or(servers).into()
}

#[cfg(test)]
mod tests {
    use super::super::ZoneServers;
    use super::*;

    #[test]
    fn the_longest_zone_above_a_name_has_its_servers() {
        let zone = |name: &str, server: &str| ZoneServers {
            name: name.parse().unwrap(),
            servers: vec![server.parse().unwrap()],
        };
        let mut settings = CoreSettings::new(vec!["192.0.2.1:53".parse().unwrap()]);
        settings.zones = vec![zone("corp.example", "192.0.2.2:53"), zone("lab.corp.example", "192.0.2.3:53")];
        let mut routes = Routes::new(&settings);
        let find = |routes: &Routes, name: &str| {
            let name: Name = name.parse().unwrap();
            let (way, zone) = routes.find(name.as_ref());
            (way[0].to_string(), zone)
        };
        for (name, server, zone) in [
            ("corp.example", "192.0.2.2:53", true),
            ("a.b.corp.example", "192.0.2.2:53", true),
            ("lab.corp.example", "192.0.2.3:53", true),
            ("x.lab.corp.example", "192.0.2.3:53", true),
            ("example", "192.0.2.1:53", false),
            ("notcorp.example", "192.0.2.1:53", false),
        ] {
            assert_eq!(find(&routes, name), (server.to_owned(), zone), "{name}");
        }
        assert_eq!(routes.servers().len(), 3);
        routes.set_default(&["192.0.2.9:53".parse().unwrap()]);
        assert_eq!(find(&routes, "example"), ("192.0.2.9:53".to_owned(), false));
        let (way, zone) = routes.find(NameRef::ROOT);
        assert_eq!((way.len(), zone), (1, false));
    }
}
