//! Hosts files (hosts(5)): an address, then one or more names. Each name stands for itself alone.
//!
//! The lines that every hosts file begins with (`127.0.0.1 localhost`) name nobody to be blocked and are passed over. An address
//! that leads somewhere is answer data.

use super::host;
use super::line::{self, Refusal};
use super::out::Out;
use crate::base::name::{Match, Pattern};
use std::io::BufRead;
use std::net::IpAddr;

/// Names that a hosts file gives to the machine itself and to its links.
const STANDARD: [&str; 13] = [
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost4.localdomain4",
    "localhost6",
    "localhost6.localdomain6",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "0.0.0.0",
];
/// How the names of multicast groups begin: `ip6-allnodes`, `ip6-allrouters`, `ip6-allhosts`.
const STANDARD_GROUPS: &str = "ip6-all";

/// Reads a list.
///
/// # Errors
/// A file that is no list.
pub(super) fn read(out: &mut Out<'_>, from: &mut dyn BufRead) -> Result<(), Refusal> {
    line::each(out, from, |out, number, text| {
        let mut words = text.split_ascii_whitespace();
        let Some(address) = words.next().and_then(address) else {
            out.report.bad(number, format!("{text:?} does not begin with an address"));
            return Ok(());
        };
        let action = out.addresses(&[address]);
        let mut any = false;
        for word in words {
            any = true;
            if is_standard(word) {
                continue;
            }
            match host::parse(word) {
                Ok(name) => out.name(&Pattern::new(name, Match::Exact), &action, number)?,
                Err(why) => out.report.bad(number, why),
            }
        }
        if !any {
            out.report.bad(number, format!("{text:?} names nobody"));
        }
        Ok(())
    })
}

/// An address, with or without the interface that a link-local one is on.
fn address(word: &str) -> Option<IpAddr> {
    word.split('%').next()?.parse().ok()
}

/// Whether a name is the machine's own, or one of its links'.
pub(super) fn is_standard(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    STANDARD.contains(&word.as_str()) || word.starts_with(STANDARD_GROUPS)
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::testing::{entries, entries_with_answers};

    const TEXT: &str = "127.0.0.1 localhost localhost.localdomain\n::1 ip6-localhost ip6-allnodes\nfe80::1%lo0 localhost\n\
        0.0.0.0 0.0.0.0\n0.0.0.0 A.example b.example. # why\n10.0.0.5\tnas.example\n0.0.0.0 a.example\n0.0.0.0 bücher.example\n";

    #[test]
    fn every_name_of_a_line_and_none_of_the_machines_own() {
        let (all, report) = entries(Format::Hosts, TEXT);
        assert_eq!(
            all,
            ["5 exact a.example", "5 exact b.example", "6 exact nas.example", "8 exact xn--bcher-kva.example"]
        );
        assert_eq!((report.rules, report.duplicates, report.bad), (5, 1, 0));
    }

    #[test]
    fn an_address_that_leads_somewhere_is_data_where_lists_may_answer() {
        let (all, _) = entries_with_answers(Format::Hosts, TEXT);
        assert_eq!(all[2], "6 exact nas.example -> 10.0.0.5");
        assert_eq!(all[0], "5 exact a.example");
    }

    #[test]
    fn lines_without_a_name_or_an_address_are_bad() {
        let text = "0.0.0.0 a.example\n".repeat(20) + "0.0.0.0\nb.example\n0.0.0.0 ok.example b/c.example\n";
        let (_, report) = entries(Format::Hosts, &text);
        let bad: Vec<u32> = report.shown.iter().map(|bad| bad.line).collect();
        assert_eq!(bad, [21, 22, 23]);
    }
}
