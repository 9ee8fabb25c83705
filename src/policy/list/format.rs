//! Formats of lists, and telling them apart by content.

use super::line::Refusal;
use super::out::Out;
use super::{adblock, dnsmasq, domains, hosts, ranges, rpz, unbound, v2fly};
use crate::base::model::vocabulary;
use crate::policy::compile::Include;
use std::io::BufRead;

vocabulary! {
    /// How a list is written.
    pub enum Format {
        /// Told by content.
        Auto => "auto",
        /// One name a line, each with everything below it.
        Domains => "domains",
        /// An address, then names, each for itself.
        Hosts => "hosts",
        /// One `*.name` a line, each with the name itself.
        Wildcard => "wildcard",
        /// Adblock rules as DNS filters read them.
        Adblock => "adblock",
        /// dnsmasq configuration.
        Dnsmasq => "dnsmasq",
        /// Unbound configuration.
        Unbound => "unbound",
        /// A response policy zone as a zone file.
        Rpz => "rpz",
        /// One address or prefix a line.
        Ranges => "cidr",
        /// A v2fly domain list.
        V2fly => "v2fly",
        /// A vendor file.
        Vendor => "vendor",
    }
}

/// Lines that say something, of the start of a list, by which its format is told.
const DETECT_LINES_MAX: usize = 200;

/// Reads a list in a format and hands on each entry with its line. `auto` must have been resolved by [`detect`]; a vendor file
/// is no business of this function, and without one it reads plain domains.
///
/// # Errors
/// What the format's reader refuses.
pub(crate) fn read(
    format: Format,
    out: &mut Out<'_>,
    from: &mut dyn BufRead,
    include: Option<&mut Include<'_>>,
) -> Result<(), Refusal> {
    match format {
        Format::Ranges => ranges::read(out, from),
        Format::Hosts => hosts::read(out, from),
        Format::Adblock => adblock::read(out, from),
        Format::Dnsmasq => dnsmasq::read(out, from),
        Format::Unbound => unbound::read(out, from),
        Format::Rpz => rpz::read(out, from),
        Format::V2fly => v2fly::read(out, from, include),
        Format::Auto | Format::Domains | Format::Wildcard | Format::Vendor => domains::read(out, from),
    }
}

/// Tells the format by the start of a list, without taking it: the first line that only one format has decides; without one,
/// the first line of all.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn detect(file: &str, from: &mut dyn BufRead) -> Result<Format, Refusal> {
    let start = from.fill_buf().map_err(|error| Refusal::Io { file: file.to_owned(), error })?;
    let text = String::from_utf8_lossy(start);
    let text = text.trim_start_matches('\u{feff}');
    let said = |line: &&str| {
        let is_comment = line.starts_with(['#', '!', ';']) && !line.starts_with("##") && !line.starts_with("#@#");
        !line.trim().is_empty() && !is_comment
    };
    let mut first = None;
    for line in text.lines().filter(said).take(DETECT_LINES_MAX) {
        match sign(line) {
            Sign::Sure(format) => return Ok(format),
            Sign::Likely(format) => first = first.or(Some(format)),
        }
    }
    Ok(first.unwrap_or(Format::Domains))
}

/// What a line says of the format.
enum Sign {
    /// Only this format has such lines.
    Sure(Format),
    /// Several have, and this is the plainest.
    Likely(Format),
}

fn sign(raw: &str) -> Sign {
    let line = raw.trim();
    let first = line.split_whitespace().next().unwrap_or_default();
    let lower = first.to_ascii_lowercase();
    let starts = |starts: &[&str]| starts.iter().any(|start| lower.starts_with(start));
    if starts(&["address=/", "server=/", "local=/", "--address=/", "--server=/", "--local=/"]) {
        return Sign::Sure(Format::Dnsmasq);
    }
    if starts(&["local-zone:", "local-data:"]) || line == "server:" {
        return Sign::Sure(Format::Unbound);
    }
    if ["$ttl", "$origin"].contains(&lower.as_str()) || is_record(line) {
        return Sign::Sure(Format::Rpz);
    }
    if starts(&["domain:", "full:", "keyword:", "regexp:", "include:"]) {
        return Sign::Sure(Format::V2fly);
    }
    if line == "[vendor]" || line == "[bundle]" || (lower == "version" && line.contains('=')) {
        return Sign::Sure(Format::Vendor);
    }
    let is_page = ["##", "#@#", "#?#", "#$#"].iter().any(|sign| line.contains(sign));
    let is_expression = line.starts_with('/') && line.get(1..).is_some_and(|rest| rest.contains('/'));
    if starts(&["|", "@@", "[adblock"]) || line.contains('^') || is_page || is_expression {
        return Sign::Sure(Format::Adblock);
    }
    let second = line.split_whitespace().nth(1).filter(|word| !word.starts_with('#'));
    let address = first.split('%').next().unwrap_or_default();
    match (address.parse::<std::net::IpAddr>().is_ok(), second) {
        (true, Some(_)) => Sign::Sure(Format::Hosts),
        _ if ranges::parse(first).is_some() => Sign::Likely(Format::Ranges),
        _ if first.starts_with("*.") => Sign::Likely(Format::Wildcard),
        _ => Sign::Likely(Format::Domains),
    }
}

/// Whether a line is a record with a type that policy zones have: owner, perhaps TTL and class, type, data of that type.
fn is_record(line: &str) -> bool {
    let mut words = line
        .split_whitespace()
        .skip(1)
        .skip_while(|word| word.eq_ignore_ascii_case("IN") || word.bytes().all(|octet| octet.is_ascii_digit()));
    let (Some(kind), Some(data)) = (words.next(), words.next()) else { return false };
    match kind.to_ascii_uppercase().as_str() {
        "A" => data.parse::<std::net::Ipv4Addr>().is_ok(),
        "AAAA" => data.parse::<std::net::Ipv6Addr>().is_ok(),
        "SOA" | "CNAME" | "NS" | "TXT" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_tells_the_format() {
        for (text, format) in [
            ("# c\n\n192.0.2.0/24\n", Format::Ranges),
            ("2001:db8::1 # host\n", Format::Ranges),
            ("a.example\n", Format::Domains),
            ("", Format::Domains),
            ("# only comments\n", Format::Domains),
            ("\u{feff}# c\r\n0.0.0.0 a.example\r\n", Format::Hosts),
            ("::1 localhost\n", Format::Hosts),
            ("fe80::1%lo0 localhost\n", Format::Hosts),
            ("*.a.example\n", Format::Wildcard),
            ("a.example\n*.b.example\n", Format::Domains),
            ("! Title\n||a.example^\n", Format::Adblock),
            ("[Adblock Plus 2.0]\na.example\n", Format::Adblock),
            ("a.example\n@@||b.example^\n", Format::Adblock),
            ("/^ads[0-9]/\n", Format::Adblock),
            ("a.example##.banner\n", Format::Adblock),
            ("address=/a.example/#\n", Format::Dnsmasq),
            ("domain-needed\nserver=/a.example/\n", Format::Dnsmasq),
            ("server:\n  local-zone: \"a.example.\" refuse\n", Format::Unbound),
            ("local-zone: \"a.example.\" refuse\n", Format::Unbound),
            ("$TTL 60\n@ SOA a. b. 1 2 3 4 5\n", Format::Rpz),
            ("a.example CNAME .\n", Format::Rpz),
            ("a.example 60 IN A 192.0.2.1\n", Format::Rpz),
            ("a.example\nnot a name\n", Format::Domains),
            ("a.example\nfull:b.example @ads\n", Format::V2fly),
            ("include:other\n", Format::V2fly),
            ("version = 1\n[vendor]\n", Format::Vendor),
        ] {
            assert_eq!(detect("f", &mut text.as_bytes()).unwrap(), format, "{text}");
        }
    }
}
