//! `[dns] records`, `hosts`, `private_names` and `rebind_protection`, and `[block] canaries`: what is answered here.

use super::check::Problems;
use super::file::File;
use crate::base::name::Name;
use crate::policy::local::{Local, LocalRecord, LocalSettings, RECORDS_MAX, hosts};
use std::fs;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;

/// Octets of the largest hosts file.
const HOSTS_OCTETS_MAX: u64 = 16 << 20;

/// What a file says about names that are answered here; a hosts file is read now.
pub(super) fn local(p: &mut Problems<'_>, file: &File, base: &Path) -> Arc<Local> {
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
    Arc::new(Local::new(LocalSettings {
        records,
        private_names: file.dns.private_names.iter().filter_map(|at| name(p, at)).collect(),
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
