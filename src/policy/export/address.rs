//! Packet filters: plain prefixes, nftables, pf, RouterOS.

use super::{EXACT, ExportFormat, Exported, Item, NAMES, PASSING, Said, WILDCARDS};
use crate::base::name::Match;
use ipnet::IpNet;
use std::fmt;

/// Writes one item.
pub(super) fn line(format: ExportFormat, item: &Item, into: &mut dyn fmt::Write) -> Result<Said, fmt::Error> {
    match (format, item) {
        (ExportFormat::Routeros, Item::Range(net)) => {
            let family = if matches!(net, IpNet::V4(_)) { "ip" } else { "ipv6" };
            writeln!(into, "/{family} firewall address-list add list=interdict address={net}")?;
        }
        (_, Item::Range(net)) => writeln!(into, "{net}")?,
        (ExportFormat::Routeros, Item::Block(name, Match::Suffix)) => {
            writeln!(into, "/ip dns static add name={name} match-subdomain=yes type=NXDOMAIN")?;
        }
        (ExportFormat::Routeros, Item::Block(name, Match::Exact)) => {
            writeln!(into, "/ip dns static add name={name} type=NXDOMAIN")?;
        }
        (ExportFormat::Routeros, Item::Block(_, Match::Wildcard)) => return Ok(Said::Not(WILDCARDS)),
        (ExportFormat::Routeros, Item::Pass(_, Match::Exact)) => return Ok(Said::Not(EXACT)),
        (ExportFormat::Routeros, Item::Pass(..)) => return Ok(Said::Not(PASSING)),
        (_, Item::Block(..) | Item::Pass(..)) => return Ok(Said::Not(NAMES)),
    }
    Ok(Said::Whole)
}

/// Writes all ranges at once: an nftables table with a set for each family, or a pf table.
pub(super) fn sets(
    format: ExportFormat,
    items: &[Item],
    exported: &mut Exported,
    into: &mut dyn fmt::Write,
) -> fmt::Result {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Range(net @ IpNet::V4(_)) => v4.push(*net),
            Item::Range(net @ IpNet::V6(_)) => v6.push(*net),
            Item::Block(..) | Item::Pass(..) => exported.unsaid(NAMES),
        }
    }
    exported.rules = v4.len() + v6.len();
    if format == ExportFormat::Pf {
        into.write_str("table <interdict> persist {\n")?;
        v4.iter().chain(&v6).try_for_each(|net| writeln!(into, "    {net}"))?;
        return into.write_str("}\n");
    }
    into.write_str("table inet interdict {\n")?;
    for (name, family, nets) in [("blocked4", "ipv4_addr", &v4), ("blocked6", "ipv6_addr", &v6)] {
        // Ranges of different rules may overlap; without auto-merge the kernel would refuse the set.
        writeln!(into, "    set {name} {{\n        type {family}\n        flags interval\n        auto-merge")?;
        if !nets.is_empty() {
            into.write_str("        elements = {\n")?;
            nets.iter().try_for_each(|net| writeln!(into, "            {net},"))?;
            into.write_str("        }\n")?;
        }
        into.write_str("    }\n")?;
    }
    into.write_str("}\n")
}
