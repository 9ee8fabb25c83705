//! Hosts as protocols write them: with a port, in brackets, in any case, with any octets.

use crate::base::name::NameBuf;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

/// A host without its port, as it was written otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a>(&'a [u8]);

impl<'a> Host<'a> {
    /// Reads `host`, `host:port`, `[v6]`, `[v6]:port`; a trailing dot is left out.
    #[must_use]
    pub fn new(written: &'a [u8]) -> Self {
        let written = written.trim_ascii();
        if let Some(inner) = written.strip_prefix(b"[")
            && let Some(end) = inner.iter().position(|octet| *octet == b']')
        {
            return Self(inner.get(..end).unwrap_or_default());
        }
        let host = match written.iter().rposition(|octet| *octet == b':') {
            Some(at) if is_port(written.get(at + 1..).unwrap_or_default()) && !is_v6(written) => {
                written.get(..at).unwrap_or_default()
            }
            _ => written,
        };
        Self(host.strip_suffix(b".").filter(|host| !host.is_empty()).unwrap_or(host))
    }

    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The address, where one is written instead of a name.
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        std::str::from_utf8(self.0).ok()?.parse().ok()
    }

    /// The name; `None` for an address, and for what cannot be a name.
    #[must_use]
    pub fn name(self) -> Option<NameBuf> {
        if self.address().is_some() || self.0.is_empty() {
            return None;
        }
        let mut name = NameBuf::new();
        for label in self.0.split(|octet| *octet == b'.') {
            name.push_label(label).ok()?;
        }
        Some(name)
    }

    /// Lower case; octets that are no printable ASCII as `\DDD`.
    #[must_use]
    pub fn text(self) -> String {
        let mut text = String::with_capacity(self.0.len());
        write_octets(self.0, &mut text);
        text
    }
}

/// The name in the same form: labels between dots, without a trailing one; the root is `.`.
#[must_use]
pub fn name_text<'a>(labels: impl Iterator<Item = &'a [u8]>) -> String {
    let mut text = String::new();
    for label in labels {
        if !text.is_empty() {
            text.push('.');
        }
        write_octets(label, &mut text);
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

fn write_octets(octets: &[u8], text: &mut String) {
    for octet in octets {
        match octet {
            0x21..=0x7e => text.push(char::from(octet.to_ascii_lowercase())),
            _ => {
                let _ = write!(text, "\\{octet:03}");
            }
        }
    }
}

fn is_port(text: &[u8]) -> bool {
    text.len() <= 5 && text.iter().all(u8::is_ascii_digit)
}

fn is_v6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_as_they_are_written() {
        for (written, text) in [
            (&b"A.Example"[..], "a.example"),
            (b" a.example.:8080 ", "a.example"),
            (b"a.example:", "a.example"),
            (b"[FF02::C]:1900", "ff02::c"),
            (b"2001:db8::1:80", "2001:db8::1:80"),
            (b"10.0.0.1:80", "10.0.0.1"),
            (b"a b\xff.example", "a\\032b\\255.example"),
            (b"a:b", "a:b"),
            (b".", "."),
        ] {
            assert_eq!(Host::new(written).text(), text, "{written:?}");
        }
        assert_eq!(Host::new(b"10.0.0.1:80").address(), Some("10.0.0.1".parse().unwrap()));
        assert!(Host::new(b"10.0.0.1").name().is_none() && Host::new(b"a..b").name().is_none());
        assert_eq!(Host::new(b"A.example.").name().unwrap().as_ref().to_string(), "a.example");
    }

    proptest! {
        #[test]
        fn nothing_unprintable_comes_out(written: Vec<u8>) {
            let host = Host::new(&written);
            prop_assert!(host.text().bytes().all(|octet| (0x21..=0x7e).contains(&octet)));
            let _ = host.name();
        }
    }
}
