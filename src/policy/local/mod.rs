//! What is answered here, without asking anybody: the operator's records, names that mean something on this network only, and
//! the names by which applications ask whether they may go round this resolver.
//!
//! Also which names belong to the operator's own network: those are asked upstream although they are special, and may have
//! private addresses.

mod record;
mod special;

pub use record::{LocalRecord, RECORDS_MAX, RecordError, hosts};

use crate::base::model::is_private;
use crate::base::name::{Name, NameRef};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;

/// What the operator says about local names.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// Records to answer with, [`RECORDS_MAX`] at most; an address brings the name back for it.
    pub records: Vec<LocalRecord>,
    /// Names of the operator's own network, with everything below them.
    pub private_names: Vec<Name>,
    /// Whether applications that ask are told not to go round this resolver.
    pub canaries: bool,
    /// Whether an answer that gives a public name a private address is withheld.
    pub rebind_protection: bool,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self { records: Vec::new(), private_names: Vec::new(), canaries: true, rebind_protection: true }
    }
}

/// What is answered here, ready to be looked up.
#[derive(Clone)]
pub struct Local {
    names: HashMap<Name, Vec<LocalRecord>>,
    /// Names with a record below them: they exist.
    above: HashSet<Name>,
    zones: HashMap<Name, Zone>,
    loopback: Vec<LocalRecord>,
    rebind_protection: bool,
    /// Of everything that the operator said.
    digest: u64,
}

/// What holds for a name and everything below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Zone {
    /// The operator's own network: asked upstream.
    Own,
    /// Nothing exists there.
    Void,
    /// Everything exists there, without data.
    Empty,
    /// The machine that asks.
    Loopback,
    /// An application asks whether it may go round this resolver; that the name does not exist says no.
    Canary,
}

/// What is known here about a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found<'a> {
    /// These are all of its records; it may have none.
    Records(&'a [LocalRecord]),
    /// It does not exist.
    Missing,
    /// It is to be denied, so that an application does not go round this resolver.
    Canary,
}

impl Local {
    /// Makes what can be looked up of what the operator said.
    #[must_use]
    pub fn new(settings: LocalSettings) -> Self {
        let mut hash = Sha256::new();
        hash.update(format!("{} {}", settings.canaries, settings.rebind_protection));
        let mut zones: HashMap<Name, Zone> = special::zones().collect();
        if settings.canaries {
            zones.extend(special::canaries());
        }
        for name in settings.private_names {
            hash.update(name.as_ref().as_wire());
            zones.insert(name, Zone::Own);
        }
        let mut made = Self {
            names: HashMap::new(),
            above: HashSet::new(),
            zones,
            loopback: special::loopback(),
            rebind_protection: settings.rebind_protection,
            digest: 0,
        };
        for record in settings.records.into_iter().take(RECORDS_MAX) {
            hash.update(format!("{record:?}"));
            let back = record.reverse();
            made.insert(record);
            // The first name of an address is what it is called.
            if let Some(back) = back.filter(|back| !made.names.contains_key(back.name.as_ref().as_wire())) {
                made.insert(back);
            }
        }
        for record in special::pointers() {
            if !made.names.contains_key(record.name.as_ref().as_wire()) {
                made.insert(record);
            }
        }
        made.digest = hash.finalize().first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets));
        made
    }

    fn insert(&mut self, record: LocalRecord) {
        let mut at = record.name.as_ref().parent();
        // Once a name is in, so are all names above it.
        while let Some(parent) = at.filter(|parent| !parent.is_root() && self.above.insert(parent.to_name())) {
            at = parent.parent();
        }
        let records = self.names.entry(record.name.clone()).or_default();
        if !records.contains(&record) {
            records.push(record);
        }
    }

    /// What is known here about a name; `None` if others are to be asked. No allocation.
    #[must_use]
    pub fn find(&self, name: NameRef<'_>) -> Option<Found<'_>> {
        if let Some(records) = self.names.get(name.as_wire()) {
            return Some(Found::Records(records));
        }
        let (at, zone) = self.zone(name)?;
        match zone {
            Zone::Own => None,
            Zone::Loopback => Some(Found::Records(&self.loopback)),
            Zone::Canary => Some(Found::Canary),
            Zone::Empty => Some(Found::Records(&[])),
            Zone::Void if at == name || self.above.contains(name.as_wire()) => Some(Found::Records(&[])),
            Zone::Void => Some(Found::Missing),
        }
    }

    /// Whether an answer that gives this name this address is to be withheld: a page of a stranger would reach into the network
    /// through it (DNS rebinding). No allocation.
    #[must_use]
    pub fn withholds(&self, name: NameRef<'_>, address: IpAddr) -> bool {
        self.rebind_protection && is_private(address) && is_public(name) && self.zone(name).is_none()
    }

    /// The longest zone over a name.
    fn zone<'n>(&self, name: NameRef<'n>) -> Option<(NameRef<'n>, Zone)> {
        std::iter::successors(Some(name), |at| at.parent()).find_map(|at| Some((at, *self.zones.get(at.as_wire())?)))
    }
}

/// Special-use names, canaries, and protection against rebinding.
impl Default for Local {
    fn default() -> Self {
        Self::new(LocalSettings::default())
    }
}

/// The same for the same words of the operator, however maps are ordered: a policy's id is made of it.
impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Local {{ names: {}, digest: {:016x} }}", self.names.len(), self.digest)
    }
}

/// Whether a name is one of the public name space, which strangers can register names in.
fn is_public(name: NameRef<'_>) -> bool {
    let mut labels = name.labels();
    let Some(top) = labels.next().map(|first| labels.last().map(|last| (first, last))) else { return false };
    // A name of one label is nobody's on the Internet.
    top.is_some_and(|(_, top)| !special::PRIVATE_TOPS.contains(&top))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::wire::dns::rtype;

    fn local(records: &[&str], private_names: &[&str]) -> Local {
        Local::new(LocalSettings {
            records: records.iter().map(|text| text.parse().unwrap()).collect(),
            private_names: private_names.iter().map(|text| text.parse().unwrap()).collect(),
            ..LocalSettings::default()
        })
    }

    /// In words: types of the records, or what else it is.
    fn found(local: &Local, name: &str) -> String {
        let name: Name = name.parse().unwrap();
        match local.find(name.as_ref()) {
            None => "ask".to_owned(),
            Some(Found::Missing) => "missing".to_owned(),
            Some(Found::Canary) => "canary".to_owned(),
            Some(Found::Records(records)) => format!("{:?}", records.iter().map(|r| r.rtype).collect::<Vec<_>>()),
        }
    }

    #[test]
    fn special_names_are_answered_here_and_others_are_not() {
        let plain = Local::default();
        let both = format!("{:?}", [rtype::A, rtype::AAAA]);
        for (name, said) in [
            ("localhost", both.as_str()),
            ("x.localhost", &both),
            ("invalid", "[]"),
            ("x.invalid", "missing"),
            ("printer.local", "missing"),
            ("x.y.onion", "missing"),
            ("nas.home.arpa", "missing"),
            ("home.arpa", "[]"),
            ("_dns.resolver.arpa", "[]"),
            ("3.2.1.10.in-addr.arpa", "missing"),
            ("1.20.172.in-addr.arpa", "missing"),
            ("1.15.172.in-addr.arpa", "ask"),
            ("1.32.172.in-addr.arpa", "ask"),
            ("1.63.100.in-addr.arpa", "ask"),
            ("1.64.100.in-addr.arpa", "missing"),
            ("1.0.0.127.in-addr.arpa", "[12]"),
            ("8.8.8.8.in-addr.arpa", "ask"),
            ("1.0.d.f.ip6.arpa", "missing"),
            ("use-application-dns.net", "canary"),
            ("mask.icloud.com", "canary"),
            ("mask-h2.icloud.com", "canary"),
            ("www.icloud.com", "ask"),
            ("notlocalhost", "ask"),
            ("localhost.example", "ask"),
            ("arpa", "ask"),
            (".", "ask"),
        ] {
            assert_eq!(found(&plain, name), said, "{name}");
        }
        let none = Local::new(LocalSettings { canaries: false, ..LocalSettings::default() });
        assert_eq!(found(&none, "use-application-dns.net"), "ask");
    }

    #[test]
    fn records_and_own_names_come_before_special_ones() {
        let local = local(
            &["nas.home.arpa A 192.168.1.5", "a.b.local AAAA fd00::5", "www.example.org TXT hi"],
            &["corp.local", "1.168.192.in-addr.arpa"],
        );
        for (name, said) in [
            ("nas.home.arpa", "[1]"),
            ("x.nas.home.arpa", "missing"),
            ("b.local", "[]"),
            ("c.local", "missing"),
            ("dc.corp.local", "ask"),
            ("5.1.168.192.in-addr.arpa", "[12]"),
            ("6.1.168.192.in-addr.arpa", "ask"),
            ("6.2.168.192.in-addr.arpa", "missing"),
            ("www.example.org", "[16]"),
            ("example.org", "ask"),
        ] {
            assert_eq!(found(&local, name), said, "{name}");
        }
    }

    #[test]
    fn the_first_name_of_an_address_is_what_it_is_called() {
        let local = local(&["nas.example A 192.0.2.5", "other.example A 192.0.2.5"], &[]);
        let name: Name = "5.2.0.192.in-addr.arpa".parse().unwrap();
        let Some(Found::Records([record])) = local.find(name.as_ref()) else { panic!() };
        assert_eq!(&*record.data, b"\x03nas\x07example\0");
    }

    #[test]
    fn private_addresses_of_public_names_are_withheld() {
        let local = local(&[], &["plex.direct", "corp.example"]);
        let withheld = |name: &str, address: &str| {
            let name: Name = name.parse().unwrap();
            local.withholds(name.as_ref(), address.parse().unwrap())
        };
        assert!(withheld("evil.example", "192.168.1.1"));
        assert!(withheld("evilplex.direct", "192.168.1.1"));
        for passes in
            ["x.plex.direct", "dc.corp.example", "nas", "nas.lan", "nas.local", "fritz.home.arpa", "x.localhost"]
        {
            assert!(!withheld(passes, "192.168.1.1"), "{passes}");
        }
        assert!(!withheld("evil.example", "192.0.2.1"));
        let off = Local::new(LocalSettings { rebind_protection: false, ..LocalSettings::default() });
        let name: Name = "evil.example".parse().unwrap();
        assert!(!off.withholds(name.as_ref(), "10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn the_same_words_have_the_same_debug_form() {
        let two = ["a.example A 192.0.2.1", "b.example A 192.0.2.2"];
        assert_eq!(format!("{:?}", local(&two, &["x"])), format!("{:?}", local(&two, &["x"])));
        assert_ne!(format!("{:?}", local(&two, &["x"])), format!("{:?}", local(&two, &["y"])));
        assert_ne!(format!("{:?}", local(&two, &[])), format!("{:?}", local(&two[..1], &[])));
    }
}
