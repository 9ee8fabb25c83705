//! Addresses and prefixes: one `192.0.2.0/24`, `2001:db8::/32` or `192.0.2.7` a line.

use super::line::{self, Refusal, Report};
use crate::policy::TooMany;
use ipnet::IpNet;
use std::io::BufRead;
use std::net::IpAddr;

/// The shortest IPv4 prefix that a list may hold.
pub(super) const V4_PREFIX_MIN: u8 = 12;
/// The shortest IPv6 prefix that a list may hold.
pub(super) const V6_PREFIX_MIN: u8 = 32;

/// Reads a list and hands on each range with its line.
///
/// # Errors
/// A file that is no list, and a range wider than /12 (/32 for IPv6).
pub(super) fn read(
    file: &str,
    read: &mut dyn BufRead,
    mut rule: impl FnMut(IpNet, u32) -> Result<(), TooMany>,
) -> Result<Report, Refusal> {
    let mut report = Report::default();
    line::each(file, read, |number, text| {
        let Some(net) = parse(text) else {
            report.bad(number, format!("{text:?} is no address or prefix"));
            return Ok(());
        };
        if too_wide(net) {
            let why =
                format!("{net} is wider than /{V4_PREFIX_MIN} (/{V6_PREFIX_MIN} for IPv6) and would cut off others");
            return Err(Refusal::At { file: file.to_owned(), line: number, why });
        }
        rule(net, number).map_err(|why| Refusal::TooMany { file: file.to_owned(), why })?;
        report.rules += 1;
        Ok(())
    })?;
    report.ratio(file)?;
    Ok(report)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_prefixes_and_what_is_too_wide() {
        let mut all = Vec::new();
        let mut text = &b"192.0.2.7\n192.0.2.0/24 # site\n2001:db8::/32\n198.51.100.9/24\n"[..];
        let report = read("f", &mut text, |net, line| {
            all.push(format!("{net}@{line}"));
            Ok(())
        });
        assert_eq!(report.unwrap().rules, 4);
        assert_eq!(all, ["192.0.2.7/32@1", "192.0.2.0/24@2", "2001:db8::/32@3", "198.51.100.0/24@4"]);
        for wide in ["0.0.0.0/0", "128.0.0.0/1", "10.0.0.0/11", "::/0", "2001::/31"] {
            let error = read("f", &mut wide.as_bytes(), |_, _| Ok(())).unwrap_err().to_string();
            assert!(error.starts_with(&format!("f:1: {wide} is wider than /12")), "{error}");
        }
    }
}
