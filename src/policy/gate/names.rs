//! Names that no list may take: public suffixes, the operator's own, those that we depend on, those that many share.

use super::{Check, Fault, matches};
use crate::base::name::{Match, Name, NameRef};
use crate::policy::apart::ApartRule;
use psl::{Psl as _, Type};
use std::collections::HashMap;

/// Names under which every customer has its own.
const SHARED: &str = include_str!("../../../blocklists/shared/names.txt");

/// A label that nobody has: a rule that takes it below a name takes everything there.
const PROBE: &str = "interdict-gate-probe";

/// Public suffixes below which a pattern without a name must not take everything.
const PROBED_SUFFIXES: [&str; 16] =
    ["com", "net", "org", "io", "de", "ru", "cn", "fr", "info", "co.uk", "com.br", "eu", "nl", "jp", "us", "gov"];

/// A rule on names, as far as the gate cares.
pub(super) enum Take<'a> {
    /// A name with how it is compared.
    Plain(NameRef<'a>, Match),
    /// A pattern or a regular expression.
    Apart(&'a ApartRule),
}

impl Take<'_> {
    fn takes(&self, name: NameRef<'_>) -> bool {
        match self {
            Self::Plain(rule, kind) => matches(*rule, *kind, name),
            Self::Apart(rule) => rule.mentions(name),
        }
    }
}

/// Places of names; each rule of a list is looked up.
type Places = HashMap<Name, usize, foldhash::fast::RandomState>;

/// A name that must not be taken.
#[derive(Clone, Debug)]
struct Protected {
    name: Name,
    check: Check,
}

/// Names that no list may take.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// For shared names, a name below.
    all: Vec<Protected>,
    /// By every name at or above a protected one: which it would take.
    above: Places,
    /// By the protected name itself.
    exact: Places,
    /// The operator's own of these: nothing below them may be taken either.
    own: Places,
    /// Names below which a pattern must not take everything.
    probes: Vec<Name>,
}

impl Names {
    /// With the shared names of the distribution.
    pub(super) fn with_shared() -> Self {
        let probe = |name: &str| format!("{PROBE}.{name}").parse::<Name>().ok();
        let probes = PROBED_SUFFIXES.iter().filter_map(|name| probe(name)).collect();
        let (above, exact, own) = Default::default();
        let mut made = Self { all: Vec::new(), above, exact, own, probes };
        for line in SHARED.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            if let Some(name) = probe(line) {
                made.protect(Check::Shared, name);
            }
        }
        made
    }

    /// Adds a name that must not be taken.
    pub(super) fn protect(&mut self, check: Check, name: Name) {
        let at = self.all.len();
        for suffix in name.as_ref().suffixes() {
            // The operator's word goes before what is shared.
            self.above.entry(suffix.to_name()).and_modify(|held| *held = at).or_insert(at);
        }
        self.exact.insert(name.clone(), at);
        if check == Check::Own {
            self.own.insert(name.clone(), at);
        }
        self.all.push(Protected { name, check });
    }

    /// What is wrong with a rule.
    pub(super) fn judge(&self, take: &Take<'_>) -> Option<Fault> {
        let public = match take {
            Take::Plain(name, kind) => public_suffix(*name, *kind),
            Take::Apart(_) => self.probes.iter().find(|probe| take.takes(probe.as_ref())).map(|probe| {
                let why = format!("it takes {probe}, so it takes everything under a public suffix");
                Fault::refusal(Check::PublicSuffix, why)
            }),
        };
        let refused = public.as_ref().is_some_and(|fault| !fault.is_warning);
        if refused {
            return public;
        }
        self.protected(take).map(|protected| protected.fault()).or(public)
    }

    fn protected(&self, take: &Take<'_>) -> Option<&Protected> {
        let at = |map: &Places, name: NameRef<'_>| self.all.get(*map.get(name.as_wire())?);
        let taken = match take {
            Take::Plain(name, Match::Suffix) => at(&self.above, *name),
            // The name alone, which of a shared one is harmless.
            Take::Plain(name, Match::Exact) => at(&self.exact, *name),
            Take::Plain(_, Match::Wildcard) | Take::Apart(_) => {
                self.all.iter().find(|protected| take.takes(protected.name.as_ref()))
            }
        };
        let within = || match take {
            Take::Plain(name, _) if !self.own.is_empty() => name.suffixes().find_map(|suffix| at(&self.own, suffix)),
            Take::Plain(..) | Take::Apart(_) => None,
        };
        taken.or_else(within)
    }
}

impl Protected {
    fn fault(&self) -> Fault {
        let name = &self.name;
        let why = match self.check {
            Check::Upstream => format!("it takes {name}, a server that is asked for answers"),
            Check::Remote => format!("it takes {name}, a server that lists come from"),
            Check::Shared => {
                let shared = name.as_ref().parent().unwrap_or(NameRef::ROOT);
                format!("it takes everything below {shared}, which many share; list the hosts below it instead")
            }
            _ => format!("it takes {name} or what is below, which is the operator's own"),
        };
        Fault::refusal(self.check, why)
    }
}

/// What is wrong with taking everything below a public suffix.
fn public_suffix(name: NameRef<'_>, kind: Match) -> Option<Fault> {
    let base = match kind {
        Match::Exact => return None,
        Match::Suffix => name,
        // `*.co.uk` takes what `co.uk` takes; a star elsewhere takes less.
        Match::Wildcard if name.first_label() == b"*" => name.parent()?,
        Match::Wildcard => return None,
    };
    // No public suffix has more labels than this.
    if base.label_count() > SUFFIX_LABELS_MAX {
        return None;
    }
    let suffix = psl::List.find(base.suffixes().map(NameRef::first_label));
    // In octets of text: the dots are as many as the lengths of labels but one.
    if suffix.len + 2 != base.as_wire().len() {
        return None;
    }
    let text = base.to_string();
    match suffix.typ {
        Some(Type::Icann) => {
            let why =
                format!("{text} is a public suffix (ICANN), under which others register; list the names below it");
            Some(Fault::refusal(Check::PublicSuffix, why))
        }
        Some(Type::Private) => {
            let why = format!("{text} is a public suffix (PRIVATE): all customers of its owner are taken");
            Some(Fault::warning(Check::PublicSuffix, why))
        }
        None if base.label_count() == 1 => {
            Some(Fault::refusal(Check::PublicSuffix, format!("{text} is a whole top-level domain")))
        }
        None => None,
    }
}

/// Labels of the longest public suffix, with room.
const SUFFIX_LABELS_MAX: usize = 8;
