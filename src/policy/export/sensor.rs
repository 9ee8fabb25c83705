//! Network sensors: rules for Suricata, an intelligence file for Zeek.

use super::{BELOW, ExportFormat, Item, PASSING, Said, WILDCARDS};
use crate::base::name::Match;
use std::fmt;

/// The header of Zeek's intelligence framework; fields are separated by tabs.
pub(super) const ZEEK_HEAD: &str = "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\n";
/// The first of the numbers that are left to local rules of Suricata.
const SID_FIRST: usize = 1_000_000;

/// Writes one item; `before` are the rules written so far.
pub(super) fn line(
    format: ExportFormat,
    item: &Item,
    before: usize,
    into: &mut dyn fmt::Write,
) -> Result<Said, fmt::Error> {
    match (format, item) {
        (_, Item::Pass(..)) => return Ok(Said::Not(PASSING)),
        (_, Item::Block(_, Match::Wildcard)) => return Ok(Said::Not(WILDCARDS)),
        (ExportFormat::Suricata, Item::Block(name, kind)) => {
            let text = name.to_string();
            let what = match kind {
                Match::Suffix => format!("dotprefix; content:\".{text}\"; nocase; endswith;"),
                _ => format!("content:\"{text}\"; nocase; bsize:{};", text.len()),
            };
            for (at, protocol, buffer) in [(0, "dns", "dns.query"), (1, "tls", "tls.sni")] {
                let sid = SID_FIRST + 2 * before + at;
                writeln!(
                    into,
                    "drop {protocol} any any -> any any (msg:\"interdict {text}\"; {buffer}; {what} sid:{sid}; rev:1;)"
                )?;
            }
        }
        (ExportFormat::Suricata, Item::Range(net)) => {
            let sid = SID_FIRST + 2 * before;
            writeln!(into, "drop ip any any -> {net} any (msg:\"interdict {net}\"; sid:{sid}; rev:1;)")?;
        }
        (_, Item::Block(name, kind)) => {
            writeln!(into, "{name}\tIntel::DOMAIN\tinterdict\tblocked name")?;
            if *kind == Match::Suffix {
                return Ok(Said::Partly(BELOW));
            }
        }
        (_, Item::Range(net)) => writeln!(into, "{net}\tIntel::SUBNET\tinterdict\tblocked range")?,
    }
    Ok(Said::Whole)
}
