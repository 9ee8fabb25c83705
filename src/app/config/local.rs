//! `[dns] records`, `hosts`, `private_names` and `rebind_protection`, and `[block] canaries`: what is answered here.

use super::check::Problems;
use super::file::File;
use crate::base::name::Name;
use crate::engine::resolver::core::ZoneServers;
use crate::policy::local::{Local, LocalRecord, LocalSettings, RECORDS_MAX, hosts};
use std::fs;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;

/// Octets of the largest hosts file.
const HOSTS_OCTETS_MAX: u64 = 16 << 20;

/// What a file says about names that are answered here; a hosts file is read now. Names with servers of their own are asked
/// there, and may have private addresses.
pub(super) fn local(p: &mut Problems<'_>, file: &File, zones: &[ZoneServers], base: &Path) -> Arc<Local> {
    let mut records = Vec::new();
    for at in &file.dns.records {
        match at.get_ref().parse::<LocalRecord>() {
            Ok(record) => records.push(record),
            Err(why) => {
                p.push(at, &format!("records: {:?}: {why}; write \"nas.home.arpa A 192.168.1.5\"", at.get_ref()));
            }
        }
    }
    if let Some(at) = &file.dns.hosts {
        let path = base.join(at.get_ref());
        match read_hosts(&path) {
            Ok(of_hosts) => records.extend(of_hosts),
            Err(why) => p.push(at, &format!("hosts: {} cannot be read: {why}", path.display())),
        }
    }
    if let (true, Some(at)) = (records.len() > RECORDS_MAX, file.dns.records.first()) {
        p.push(at, &format!("there are more than {RECORDS_MAX} local records"));
    }
    let mut private_names: Vec<Name> = file.dns.private_names.iter().filter_map(|at| name(p, at)).collect();
    private_names.extend(zones.iter().map(|zone| zone.name.clone()));
    Arc::new(Local::new(LocalSettings {
        records,
        private_names,
        canaries: file.block.canaries,
        rebind_protection: file.dns.rebind_protection,
    }))
}

fn name(p: &mut Problems<'_>, at: &Spanned<String>) -> Option<Name> {
    let name = Name::parse_host(at.get_ref());
    if let Err(why) = &name {
        p.push(at, &format!("private_names: {:?}: {why}", at.get_ref()));
    }
    name.ok()
}

fn read_hosts(path: &Path) -> io::Result<Vec<LocalRecord>> {
    let file = fs::File::open(path)?;
    if file.metadata()?.len() > HOSTS_OCTETS_MAX {
        return Err(io::Error::other("it is larger than 16 MiB, so it is no hosts file"));
    }
    hosts(&mut BufReader::new(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::{Source, parse};

    #[test]
    fn names_with_servers_of_their_own_are_asked_there() {
        let zone =
            "[[zone]]\nnames = [\"corp.home.arpa\"]\nnetworks = [\"192.168.1.0/24\"]\nservers = [\"192.0.2.5\"]\n";
        let config = parse(&format!("version = 1\n{zone}"), &Source::Embedded).unwrap();
        let local = &config.settings.local;
        let is_ours = |name: &str| local.find(name.parse::<Name>().unwrap().as_ref()).is_some();
        assert!(!is_ours("dc.corp.home.arpa") && !is_ours("7.1.168.192.in-addr.arpa"));
        assert!(is_ours("other.home.arpa") && is_ours("7.2.168.192.in-addr.arpa"));
        let withheld = |name: &str| local.withholds(name.parse::<Name>().unwrap().as_ref(), [192, 168, 1, 7].into());
        assert!(withheld("example.org") && !withheld("dc.corp.home.arpa"));
    }
}
