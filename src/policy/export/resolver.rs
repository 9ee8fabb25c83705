//! Resolvers and their lists: RPZ, hosts, plain domains, adblock, dnsmasq, Unbound, v2fly.

use super::{ADDRESSES, BELOW, EXACT, ExportFormat, Item, PASSING, Said, WILDCARDS};
use crate::base::name::{Match, NameRef};
use ipnet::IpNet;
use std::fmt;

/// What a zone needs before its rules; the resolver that loads it counts its own serial.
pub(super) const RPZ_HEAD: &str =
    "$TTL 60\n@ IN SOA localhost. root.localhost. 1 3600 600 86400 60\n@ IN NS localhost.\n";

/// Writes one item.
pub(super) fn line(format: ExportFormat, item: &Item, into: &mut dyn fmt::Write) -> Result<Said, fmt::Error> {
    match format {
        ExportFormat::Rpz => rpz(item, into),
        ExportFormat::Hosts => hosts(item, into),
        _ => plain(format, item, into),
    }
}

fn rpz(item: &Item, into: &mut dyn fmt::Write) -> Result<Said, fmt::Error> {
    let (name, kind, target) = match item {
        Item::Block(name, kind) => (name, *kind, "."),
        Item::Pass(name, kind) => (name, *kind, "rpz-passthru."),
        Item::Range(net) => {
            let Some(owner) = rpz_ip(*net) else { return Ok(Said::Not(ADDRESSES)) };
            writeln!(into, "{owner}.rpz-ip CNAME .")?;
            return Ok(Said::Whole);
        }
    };
    match kind {
        Match::Suffix => writeln!(into, "{name} CNAME {target}\n*.{name} CNAME {target}")?,
        Match::Exact => writeln!(into, "{name} CNAME {target}")?,
        Match::Wildcard if is_below_only(name.as_ref()) => writeln!(into, "{name} CNAME {target}")?,
        Match::Wildcard => return Ok(Said::Not(WILDCARDS)),
    }
    Ok(Said::Whole)
}

/// Prefix length and address backwards; `zz` is `::`.
fn rpz_ip(net: IpNet) -> Option<String> {
    let (separator, text) = match net {
        IpNet::V4(net) => ('.', net.network().to_string()),
        IpNet::V6(net) => (':', net.network().to_string()),
    };
    // An IPv4 address within an IPv6 one has no form there.
    if separator == ':' && text.contains('.') {
        return None;
    }
    let backwards = |text: &str| text.rsplit(separator).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
    let address = match text.split_once("::") {
        Some((left, right)) => {
            let parts = [backwards(right), "zz".to_owned(), backwards(left)];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
        }
        None => backwards(&text),
    };
    Some(format!("{}.{address}", net.prefix_len()))
}

/// `*.name`, and no other star.
fn is_below_only(name: NameRef<'_>) -> bool {
    let mut labels = name.labels();
    labels.next() == Some(b"*") && labels.all(|label| !label.contains(&b'*'))
}

fn hosts(item: &Item, into: &mut dyn fmt::Write) -> Result<Said, fmt::Error> {
    match item {
        Item::Block(name, kind @ (Match::Exact | Match::Suffix)) => {
            writeln!(into, "0.0.0.0 {name}")?;
            Ok(if *kind == Match::Exact { Said::Whole } else { Said::Partly(BELOW) })
        }
        Item::Block(_, Match::Wildcard) => Ok(Said::Not(WILDCARDS)),
        // Only names that are said are blocked, so that these pass by themselves.
        Item::Pass(..) => Ok(Said::Whole),
        Item::Range(_) => Ok(Said::Not(ADDRESSES)),
    }
}

/// Formats with one line a name.
fn plain(format: ExportFormat, item: &Item, into: &mut dyn fmt::Write) -> Result<Said, fmt::Error> {
    let (name, kind, passes) = match item {
        Item::Block(name, kind) => (name, *kind, false),
        Item::Pass(name, kind) => (name, *kind, true),
        Item::Range(_) => return Ok(Said::Not(ADDRESSES)),
    };
    match (format, passes, kind) {
        (_, _, Match::Wildcard) => return Ok(Said::Not(if passes { PASSING } else { WILDCARDS })),
        (ExportFormat::Domains, false, Match::Suffix) => writeln!(into, "{name}")?,
        (ExportFormat::Adblock, false, Match::Suffix) => writeln!(into, "||{name}^")?,
        (ExportFormat::Adblock, false, Match::Exact) => writeln!(into, "|{name}^")?,
        (ExportFormat::Adblock, true, Match::Suffix) => writeln!(into, "@@||{name}^")?,
        (ExportFormat::Adblock, true, Match::Exact) => writeln!(into, "@@|{name}^")?,
        (ExportFormat::Dnsmasq, false, Match::Suffix) => writeln!(into, "address=/{name}/#")?,
        (ExportFormat::Dnsmasq, true, Match::Suffix) => writeln!(into, "server=/{name}/#")?,
        (ExportFormat::Unbound, false, Match::Suffix) => writeln!(into, "local-zone: \"{name}.\" always_null")?,
        (ExportFormat::Unbound, true, Match::Suffix) => writeln!(into, "local-zone: \"{name}.\" always_transparent")?,
        (ExportFormat::V2fly, false, Match::Suffix) => writeln!(into, "domain:{name}")?,
        (ExportFormat::V2fly, false, Match::Exact) => writeln!(into, "full:{name}")?,
        (_, true, _) => return Ok(Said::Not(PASSING)),
        (_, false, _) => return Ok(Said::Not(EXACT)),
    }
    Ok(Said::Whole)
}
