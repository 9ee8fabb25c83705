//! Who is asked: the servers of the config, or those that the system asks, followed when they change there.

use super::activate::{Activator, Alarm};
use crate::app::config::{Config, Upstreams};
use crate::engine::resolver::core::ZoneServers;
use crate::io::upstream::resolv;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

/// How often the system's resolv.conf is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// The default servers to ask. Having none is no reason not to block: the alarm shows, and questions that need one fail.
pub(in super::super) fn upstreams(config: &Config) -> (Vec<SocketAddr>, Option<String>) {
    upstreams_of(config, Path::new(resolv::RESOLV_CONF))
}

fn upstreams_of(config: &Config, system: &Path) -> (Vec<SocketAddr>, Option<String>) {
    match &config.upstreams {
        Upstreams::Servers(named) => not_ourselves(config, named, "[upstream] servers"),
        Upstreams::System => match resolv::servers(system, &config.listen) {
            Ok(servers) => (servers, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        },
    }
}

/// Names that have servers of their own. One that is left without any keeps its name: it is nobody else's business.
pub(super) fn zones(config: &Config) -> (Vec<ZoneServers>, Option<String>) {
    let mut alarm = None;
    let zones = config.resolving.zones.iter().map(|zone| {
        let (servers, wrong) = not_ourselves(config, &zone.servers, "a [[zone]]");
        alarm = alarm.take().or(wrong);
        ZoneServers { name: zone.name.clone(), servers }
    });
    (zones.collect(), alarm)
}

/// Every server that is asked for anything.
pub(in super::super) fn asked(config: &Config) -> Vec<SocketAddr> {
    let zones = zones(config).0.into_iter().flat_map(|zone| zone.servers);
    upstreams(config).0.into_iter().chain(zones).collect()
}

fn not_ourselves(config: &Config, named: &[SocketAddr], place: &str) -> (Vec<SocketAddr>, Option<String>) {
    let servers = resolv::without_ourselves(named.to_vec(), &config.listen, &resolv::own_addresses());
    let ours: Vec<String> = named.iter().filter(|server| !servers.contains(server)).map(ToString::to_string).collect();
    let alarm = (!ours.is_empty())
        .then(|| format!("{place} names ourselves ({}), which is left out: we would ask us forever", ours.join(", ")));
    (servers, alarm)
}

/// What tells one state of a file from another: when it was written, its length, which file it is.
type Stamp = (i64, i64, u64, u64);

/// The default servers as they change.
pub(super) struct Watch {
    system: PathBuf,
    seen: Option<Stamp>,
    servers: watch::Sender<Vec<SocketAddr>>,
    alarm: Option<String>,
}

impl Watch {
    /// The servers now, and where they are seen to change.
    pub(super) fn new(config: &Config) -> (Self, watch::Receiver<Vec<SocketAddr>>) {
        Self::of(config, Path::new(resolv::RESOLV_CONF))
    }

    fn of(config: &Config, system: &Path) -> (Self, watch::Receiver<Vec<SocketAddr>>) {
        let seen = stamp(system);
        let (servers, upstream) = upstreams_of(config, system);
        let (servers, receiver) = watch::channel(servers);
        (Self { system: system.to_owned(), seen, servers, alarm: upstream.or_else(|| zones(config).1) }, receiver)
    }

    /// Raises the alarm or ends it.
    pub(super) fn say(&self, activator: &Activator) {
        activator.set_alarm(Alarm::Upstream, self.alarm.clone());
    }

    /// Looks whether the system asks others by now.
    pub(super) fn look(&mut self, activator: &Activator) {
        if activator.with_config(|config| self.follow(config)) {
            self.say(activator);
        }
    }

    /// Reads the file again if it is another; says whether it was. One without servers changes nothing but the alarm: it may be
    /// half written, and the old servers are better than none.
    fn follow(&mut self, config: &Config) -> bool {
        let now = stamp(&self.system);
        if config.upstreams != Upstreams::System || now == self.seen {
            return false;
        }
        self.seen = now;
        let (servers, alarm) = upstreams_of(config, &self.system);
        self.alarm = alarm.or_else(|| zones(config).1);
        if !servers.is_empty() && *self.servers.borrow() != servers {
            tracing::info!("the system asks other servers by now, and so do we");
            self.servers.send_replace(servers);
        }
        true
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.mtime(), meta.mtime_nsec(), meta.len(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::{Source, parse};

    fn config(text: &str) -> Config {
        parse(&format!("version = 1\n{text}"), &Source::Embedded).unwrap()
    }

    #[test]
    fn the_systems_servers_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let write = |text: &str| {
            // As a DHCP client does it: another file in its place.
            let new = dir.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, &path).unwrap();
        };
        write("nameserver 192.0.2.1\n");
        let config = config("");
        let (mut watch, servers) = Watch::of(&config, &path);
        let now = || servers.borrow().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!((now(), watch.follow(&config)), (vec!["192.0.2.1:53".to_owned()], false));
        write("nameserver 192.0.2.2\nnameserver 192.0.2.3\n");
        assert!(watch.follow(&config) && watch.alarm.is_none());
        assert_eq!(now(), ["192.0.2.2:53", "192.0.2.3:53"]);
        // Half written, or gone: the alarm shows, and the old ones are asked on.
        write("search lan\n");
        assert!(watch.follow(&config) && watch.alarm.as_ref().is_some_and(|alarm| alarm.contains("no nameserver")));
        std::fs::remove_file(&path).unwrap();
        assert!(watch.follow(&config) && !watch.follow(&config));
        assert_eq!(now(), ["192.0.2.2:53", "192.0.2.3:53"]);
        write("nameserver 192.0.2.4\n");
        assert!(watch.follow(&config) && watch.alarm.is_none());
        assert_eq!(now(), ["192.0.2.4:53"]);
    }

    #[test]
    fn named_servers_are_not_the_systems() {
        let config = config("[upstream]\nservers = [\"192.0.2.9\"]\n");
        let (mut watch, servers) = Watch::of(&config, Path::new("/nonexistent"));
        assert!(!watch.follow(&config));
        assert_eq!(*servers.borrow(), ["192.0.2.9:53".parse().unwrap()]);
    }

    #[test]
    fn a_zone_at_ourselves_keeps_its_name_and_says_so() {
        let config = config("[[zone]]\nnames = [\"lan\"]\nservers = [\"127.0.0.1:5300\", \"192.0.2.5\"]\n");
        let (zones, alarm) = zones(&config);
        assert_eq!(zones[0].servers, ["192.0.2.5:53".parse().unwrap()]);
        assert!(alarm.is_some_and(|alarm| alarm.starts_with("a [[zone]] names ourselves (127.0.0.1:5300)")));
        assert!(asked(&config).contains(&"192.0.2.5:53".parse().unwrap()));
    }
}
