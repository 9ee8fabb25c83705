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

    /// The octets as written.
    #[must_use]
    pub const fn octets(self) -> &'a [u8] {
        self.0
    }
}

/// Octets of a name as text that says all of them: lower case, those that are no printable ASCII as `\DDD`.
#[must_use]
pub fn escaped(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for octet in octets {
        match octet {
            0x20..=0x7e => text.push(char::from(octet.to_ascii_lowercase())),
            _ => {
                let _ = write!(text, "\\{octet:03}");
            }
        }
    }
    text
}

/// Octets of a name as most programs show them: lower case, UTF-8 where it is that, ASCII control characters as `\DDD`, and U+FFFD
/// for what is neither.
#[must_use]
pub fn shown(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for character in String::from_utf8_lossy(octets).chars().flat_map(char::to_lowercase) {
        if character.is_ascii_control() {
            let _ = write!(text, "\\{:03}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text
}

/// The octets of a name, labels between dots, without a trailing one; the root is `.`.
#[must_use]
pub fn dotted<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut octets = Vec::with_capacity(64);
    for label in labels {
        if !octets.is_empty() {
            octets.push(b'.');
        }
        octets.extend_from_slice(label);
    }
    if octets.is_empty() {
        octets.push(b'.');
    }
    octets
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
            (b"a b\xff.example", "a b\\255.example"),
            (b"a:b", "a:b"),
            (b".", "."),
        ] {
            assert_eq!(escaped(Host::new(written).octets()), text, "{written:?}");
        }
        assert_eq!(Host::new(b"10.0.0.1:80").address(), Some("10.0.0.1".parse().unwrap()));
        assert!(Host::new(b"10.0.0.1").name().is_none() && Host::new(b"a..b").name().is_none());
        assert_eq!(Host::new(b"A.example.").name().unwrap().as_ref().to_string(), "a.example");
    }

    #[test]
    fn names_in_other_octets() {
        let octets = dotted([&b"J\xe4ger"[..], "ÄÖ".as_bytes(), b"\x01"].into_iter());
        assert_eq!(
            (escaped(&octets), shown(&octets)),
            ("j\\228ger.\\195\\132\\195\\150.\\001".into(), "j\u{fffd}ger.äö.\\001".into())
        );
        assert_eq!(dotted(std::iter::empty()), b".");
    }

    proptest! {
        #[test]
        fn nothing_unprintable_comes_out(written: Vec<u8>) {
            let host = Host::new(&written);
            prop_assert!(escaped(host.octets()).bytes().all(|octet| (0x20..=0x7e).contains(&octet)));
            prop_assert!(!shown(host.octets()).chars().any(|character| character.is_ascii_control()));
            let _ = host.name();
        }
    }
}
