//! Addresses and prefixes: one `192.0.2.0/24`, `2001:db8::/32` or `192.0.2.7` a line.

use super::line::{self, Refusal};
use super::out::{Action, Out};
use ipnet::IpNet;
use std::io::BufRead;
use std::net::IpAddr;

/// The shortest IPv4 prefix that a list may hold.
pub(crate) const V4_PREFIX_MIN: u8 = 12;
/// The shortest IPv6 prefix that a list may hold.
pub(crate) const V6_PREFIX_MIN: u8 = 32;

/// Reads a list.
///
/// # Errors
/// A file that is no list, and a range wider than /12 (/32 for IPv6).
pub(super) fn read(out: &mut Out<'_>, from: &mut dyn BufRead) -> Result<(), Refusal> {
    line::each(out, from, |out, number, text| match parse(text) {
        Some(net) => out.range(net, &Action::PLAIN, number),
        None => {
            out.report.bad(number, format!("{text:?} is no address or prefix"));
            Ok(())
        }
    })
}

/// Reads one entry.
#[must_use]
pub fn parse(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).map(|net| net.trunc())
}

/// Whether a range takes more than a list may.
#[must_use]
pub(super) const fn too_wide(net: IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.prefix_len() < V4_PREFIX_MIN,
        IpNet::V6(net) => net.prefix_len() < V6_PREFIX_MIN,
    }
}

/// Why that is too much.
pub(super) fn why_too_wide(net: IpNet) -> String {
    format!("{net} is wider than /{V4_PREFIX_MIN} (/{V6_PREFIX_MIN} for IPv6) and would cut off others")
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::testing::{entries, refused};

    #[test]
    fn addresses_prefixes_and_what_is_too_wide() {
        let text = "192.0.2.7\n192.0.2.0/24 # site\n2001:db8::/32\n198.51.100.9/24\n";
        let (all, report) = entries(Format::Ranges, text);
        assert_eq!(report.rules, 4);
        assert_eq!(all, ["1 192.0.2.7/32", "2 192.0.2.0/24", "3 2001:db8::/32", "4 198.51.100.0/24"]);
        for wide in ["0.0.0.0/0", "128.0.0.0/1", "10.0.0.0/11", "::/0", "2001::/31"] {
            let error = refused(Format::Ranges, wide);
            assert!(error.starts_with(&format!("f:1: {wide} is wider than /12")), "{error}");
        }
    }
}
