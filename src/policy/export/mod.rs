//! What is blocked now, in the words of other programs. What a format cannot say is left out and counted. A name that passes below a
//! blocked one is so too, where the format cannot spare it: a ban is not dropped for it.
//!
//! | module | formats |
//! |---|---|
//! | `resolver` | those of resolvers and their lists |
//! | `address` | those of packet filters |
//! | `sensor` | those of network sensors |

mod address;
mod resolver;
mod sensor;

use super::apart::Trigger;
use super::{Policy, Subject, What};
use crate::base::model::{Decision, Stage, vocabulary};
use crate::base::name::{Match, Name, NameRef};
use ipnet::IpNet;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

vocabulary! {
    /// How rules are written for another program.
    pub enum ExportFormat {
        /// Response policy zone.
        Rpz => "rpz",
        /// `0.0.0.0 name`.
        Hosts => "hosts",
        /// One name a line, each with everything below it.
        Domains => "domains",
        /// Adblock syntax for DNS.
        Adblock => "adblock",
        /// `address=/name/#`.
        Dnsmasq => "dnsmasq",
        /// `local-zone`.
        Unbound => "unbound",
        /// A v2fly domain list.
        V2fly => "v2fly",
        /// One prefix a line.
        Cidr => "cidr",
        /// Sets of nftables.
        Nftables => "nftables",
        /// A table of pf.
        Pf => "pf",
        /// A script for RouterOS.
        Routeros => "routeros",
        /// Rules for Suricata.
        Suricata => "suricata",
        /// An intelligence file for Zeek.
        Zeek => "zeek",
    }
}

/// What a format may not be able to say.
const ADDRESSES: &str = "address ranges";
const NAMES: &str = "names";
const BELOW: &str = "names said without what is below them";
const EXACT: &str = "names that are meant without what is below them";
const WILDCARDS: &str = "wildcards within names";
const PASSING: &str = "names that pass below a blocked one";
const APART: &str = "rules with conditions, patterns or exceptions";
const CLIENTS: &str = "exceptions for some clients";
const UNUSUAL: &str = "names with unusual characters";

/// What an export came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Rules written.
    pub rules: usize,
    /// What could not be said, with how many there are.
    pub unsaid: BTreeMap<&'static str, usize>,
}

impl Exported {
    fn unsaid(&mut self, what: &'static str) {
        *self.unsaid.entry(what).or_default() += 1;
    }
}

/// One thing to say.
#[derive(Clone, Debug)]
enum Item {
    /// A name is blocked.
    Block(Name, Match),
    /// A name passes although one above it is blocked.
    Pass(Name, Match),
    /// A range is blocked.
    Range(IpNet),
}

/// What became of an item.
enum Said {
    /// It is written.
    Whole,
    /// It is written, but narrower.
    Partly(&'static str),
    /// It is not written.
    Not(&'static str),
}

/// Writes what a policy blocks.
///
/// # Errors
/// What `into` says.
pub fn write(policy: &Policy, format: ExportFormat, into: &mut dyn fmt::Write) -> Result<Exported, fmt::Error> {
    let mut exported = Exported::default();
    let items = items(policy, &mut exported);
    if matches!(format, ExportFormat::Nftables | ExportFormat::Pf) {
        address::sets(format, &items, &mut exported, into)?;
        return Ok(exported);
    }
    into.write_str(head(format))?;
    for item in &items {
        let said = if is_unusual(item) {
            Said::Not(UNUSUAL)
        } else {
            match format {
                ExportFormat::Cidr | ExportFormat::Routeros | ExportFormat::Nftables | ExportFormat::Pf => {
                    address::line(format, item, into)?
                }
                ExportFormat::Suricata | ExportFormat::Zeek => sensor::line(format, item, exported.rules, into)?,
                _ => resolver::line(format, item, into)?,
            }
        };
        match said {
            Said::Whole => exported.rules += 1,
            Said::Partly(what) => {
                exported.rules += 1;
                exported.unsaid(what);
            }
            Said::Not(what) => exported.unsaid(what),
        }
    }
    Ok(exported)
}

const fn head(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Rpz => resolver::RPZ_HEAD,
        ExportFormat::Unbound => "server:\n",
        ExportFormat::Zeek => sensor::ZEEK_HEAD,
        _ => "",
    }
}

/// Names that no syntax needs to quote.
fn is_unusual(item: &Item) -> bool {
    let (Item::Block(name, _) | Item::Pass(name, _)) = item else { return false };
    let usual = |c: &u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'*');
    let name = name.as_ref();
    name.is_root() || !name.labels().all(|label| label.iter().all(usual))
}

/// What is blocked, and what passes below it; each once.
fn items(policy: &Policy, exported: &mut Exported) -> Vec<Item> {
    let blocks = |class| policy.staged(class).is_some_and(|staged| staged.stage == Stage::Block);
    let is_blocked = |name: NameRef<'_>| {
        policy.decide(&Subject { name: Some(name), ..Subject::default() }).decision == Decision::Block
    };
    let (mut items, mut seen, mut suffixes) = (Vec::new(), HashSet::new(), HashSet::new());
    for rule in policy.rules().rules().filter(|rule| blocks(rule.class)) {
        match rule.what {
            What::Range(net) => items.push(Item::Range(net)),
            What::Name(name, kind) => {
                // An exception, or a rule that is as close and wins, may let it pass.
                let name = name.to_name();
                let holds = kind == Match::Wildcard || is_blocked(name.as_ref());
                if holds && seen.insert((name.clone(), kind)) {
                    if kind == Match::Suffix {
                        suffixes.insert(name.clone());
                    }
                    items.push(Item::Block(name, kind));
                }
            }
            What::Apart(_) => exported.unsaid(APART),
        }
    }
    let is_below = |name: NameRef<'_>| name.suffixes().any(|suffix| suffixes.contains(suffix.as_wire()));
    let mut pass = |name: NameRef<'_>, kind: Match| {
        let passes = is_below(name) && (kind == Match::Wildcard || !is_blocked(name));
        if passes && seen.insert((name.to_name(), kind)) {
            items.push(Item::Pass(name.to_name(), kind));
        }
    };
    for rule in policy.rules().rules().filter(|rule| !blocks(rule.class)) {
        match rule.what {
            What::Name(name, kind) => pass(name.unpack().as_ref(), kind),
            What::Apart(apart) => {
                if let Trigger::Name(pattern) = &apart.trigger {
                    pass(pattern.name(), pattern.kind());
                }
            }
            What::Range(_) => {}
        }
    }
    for exception in &policy.settings().exceptions {
        if exception.until.is_some_and(|until| until <= policy.at()) {
            continue;
        }
        match &exception.name {
            Some(_) if !exception.clients.is_empty() => exported.unsaid(CLIENTS),
            Some(name) => pass(name.as_ref(), Match::Suffix),
            None => {}
        }
    }
    items
}

#[cfg(test)]
mod tests;
