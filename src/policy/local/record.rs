//! The operator's records as they are written: `name [ttl] TYPE data`, and hosts files.

use crate::base::name::{Name, NameError};
use crate::base::wire::dns::rtype;
use std::io::{self, BufRead};
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// Records that are taken at most.
pub const RECORDS_MAX: usize = 100_000;
/// Octets of a hosts file's line that are read.
const LINE_OCTETS_MAX: u64 = 4_096;
/// Seconds that a record may be cached where nothing is said.
const TTL_DEFAULT: u32 = 60;
/// Seconds that a record may be cached at most (RFC 2181 §8).
const TTL_MAX: u32 = i32::MAX as u32;
/// Octets of one character string (RFC 1035 §3.3).
const STRING_OCTETS_MAX: usize = 255;
/// Octets of all data of a record: with any name it fits into every UDP answer.
const DATA_OCTETS_MAX: usize = 900;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRecord {
    /// Whose it is.
    pub name: Name,
    /// Seconds that it may be cached.
    pub ttl: u32,
    /// Its type.
    pub rtype: u16,
    /// Its data in wire form.
    pub data: Box<[u8]>,
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The owner is no name.
    #[error("{0:?} is no name: {1}")]
    Name(String, NameError),
    /// There is no type, or no data.
    #[error("it has no type or no data")]
    Short,
    /// The type is none of those.
    #[error("{0:?} is no type of a local record; A, AAAA, PTR, TXT, MX and SRV are")]
    Type(String),
    /// The data are not of the type.
    #[error("{0:?} is no data of that type")]
    Data(String),
    /// The time to live is too long.
    #[error("the time to live is more than 2147483647 seconds")]
    Ttl,
}

impl LocalRecord {
    /// An address record.
    #[must_use]
    pub fn address(name: Name, address: IpAddr) -> Self {
        let (rtype, data): (u16, Box<[u8]>) = match address {
            IpAddr::V4(v4) => (rtype::A, v4.octets().into()),
            IpAddr::V6(v6) => (rtype::AAAA, v6.octets().into()),
        };
        Self { name, ttl: TTL_DEFAULT, rtype, data }
    }

    /// The record that leads back from an address to its name.
    pub(super) fn reverse(&self) -> Option<Self> {
        let labels = match (self.rtype, &*self.data) {
            (rtype::A, &[a, b, c, d]) => format!("{d}.{c}.{b}.{a}.in-addr.arpa"),
            (rtype::AAAA, octets) => {
                let nibbles = octets.iter().rev().map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4));
                nibbles.collect::<String>() + "ip6.arpa"
            }
            _ => return None,
        };
        let data = self.name.as_ref().as_wire().into();
        Some(Self { name: labels.parse().ok()?, ttl: self.ttl, rtype: rtype::PTR, data })
    }
}

impl FromStr for LocalRecord {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let (owner, rest) = word(text);
        let name = Name::parse_host(owner).map_err(|why| RecordError::Name(owner.to_owned(), why))?;
        let (ttl, rest) = match word(rest) {
            (number, after) if number.parse::<u64>().is_ok() => {
                let ttl = number.parse::<u32>().ok().filter(|&ttl| ttl <= TTL_MAX).ok_or(RecordError::Ttl)?;
                (ttl, after)
            }
            _ => (TTL_DEFAULT, rest),
        };
        let (kind, data) = word(rest);
        if kind.is_empty() || data.is_empty() {
            return Err(RecordError::Short);
        }
        let bad = || RecordError::Data(data.to_owned());
        let (rtype, octets) = match kind.to_ascii_uppercase().as_str() {
            "A" => (rtype::A, data.parse::<Ipv4Addr>().map_err(|_| bad())?.octets().to_vec()),
            "AAAA" => (rtype::AAAA, data.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?.octets().to_vec()),
            "PTR" => (rtype::PTR, target(data).ok_or_else(bad)?),
            "TXT" => (rtype::TXT, strings(data)),
            "MX" => (rtype::MX, numbers_and_target::<1>(data).ok_or_else(bad)?),
            "SRV" => (rtype::SRV, numbers_and_target::<3>(data).ok_or_else(bad)?),
            _ => return Err(RecordError::Type(kind.to_owned())),
        };
        if octets.len() > DATA_OCTETS_MAX {
            return Err(bad());
        }
        Ok(Self { name, ttl, rtype, data: octets.into() })
    }
}

/// The first word, and what comes after it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(|c: char| c.is_ascii_whitespace()).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

fn target(text: &str) -> Option<Vec<u8>> {
    Name::parse_host(text).ok().map(|name| name.as_ref().as_wire().to_vec())
}

fn numbers_and_target<const N: usize>(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut rest = text;
    for _ in 0..N {
        let (number, after) = word(rest);
        octets.extend(number.parse::<u16>().ok()?.to_be_bytes());
        rest = after;
    }
    octets.extend(target(rest)?);
    Some(octets)
}

/// Text, with or without quotes around it, as character strings.
fn strings(text: &str) -> Vec<u8> {
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if bare.is_empty() {
        return vec![0];
    }
    let strings = bare.as_bytes().chunks(STRING_OCTETS_MAX);
    strings.flat_map(|part| u8::try_from(part.len()).into_iter().chain(part.iter().copied())).collect()
}

/// Reads a hosts file (hosts(5)). Lines that are none are passed over; so are loopback addresses, which mean the machine that
/// the file is for and would lead every other one to itself.
///
/// # Errors
/// The file cannot be read.
pub fn hosts(from: &mut dyn BufRead) -> io::Result<Vec<LocalRecord>> {
    let mut records = Vec::new();
    let mut line = Vec::new();
    while records.len() < RECORDS_MAX {
        line.clear();
        if io::Read::take(&mut *from, LINE_OCTETS_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.split_once('#').map_or(&*text, |(text, _)| text);
        let mut words = text.split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
            continue;
        }
        let names = words.filter_map(|word| Name::parse_host(word).ok());
        records.extend(names.map(|name| LocalRecord::address(name, address)));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_are_written() {
        for (text, ttl, rtype, data) in [
            ("Nas.home.arpa A 192.168.1.5", 60, 1, &b"\xc0\xa8\x01\x05"[..]),
            ("nas 300 a 10.0.0.1", 300, 1, b"\x0a\0\0\x01"),
            ("nas.example.  0  AAAA  ::1", 0, 28, b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
            ("1.2.0.192.in-addr.arpa PTR nas.example", 60, 12, b"\x03nas\x07example\0"),
            ("a.b TXT \"two words\"", 60, 16, b"\x09two words"),
            ("a.b TXT \"\"", 60, 16, b"\0"),
            ("a.b MX 10 mail.a.b", 60, 15, b"\0\x0a\x04mail\x01a\x01b\0"),
            ("_x._tcp.a.b SRV 1 2 443 h.a.b", 60, 33, b"\0\x01\0\x02\x01\xbb\x01h\x01a\x01b\0"),
        ] {
            let record: LocalRecord = text.parse().unwrap();
            assert_eq!((record.ttl, record.rtype, &*record.data), (ttl, rtype, data), "{text}");
        }
        let long: LocalRecord = format!("a.b TXT {}", "x".repeat(300)).parse().unwrap();
        assert_eq!((long.data.len(), long.data[0], long.data[256]), (302, 255, 45));
    }

    #[test]
    fn what_is_no_record_is_said_in_a_sentence() {
        for (text, said) in [
            ("", "\"\" is no name"),
            ("a b.c d", "\"b.c\" is no type"),
            ("a.b A", "it has no type or no data"),
            ("a.b CNAME c.d", "\"CNAME\" is no type of a local record; A, AAAA, PTR, TXT, MX and SRV are"),
            ("a.b A ::1", "\"::1\" is no data of that type"),
            ("a.b MX mail.a.b", "\"mail.a.b\" is no data of that type"),
            ("a.b 4294967295 A 10.0.0.1", "the time to live is more than 2147483647 seconds"),
        ] {
            let error = text.parse::<LocalRecord>().unwrap_err().to_string();
            assert!(error.starts_with(said), "{text}: {error}");
        }
    }

    #[test]
    fn hosts_files_name_others_than_their_own_machine() {
        let text = "127.0.0.1 localhost\n127.0.1.1 me\n::1 ip6-localhost\nff02::1 ip6-allnodes\n\
                    192.168.1.5\tnas.lan nas # the box\n# comment\nfe80::1%eth0 router\nnonsense\nfd00::5 nas.lan\n";
        let records = hosts(&mut text.as_bytes()).unwrap();
        let said: Vec<String> = records.iter().map(|record| format!("{} {}", record.name, record.rtype)).collect();
        assert_eq!(said, ["nas.lan 1", "nas 1", "nas.lan 28"]);
        let back = records[0].reverse().unwrap();
        assert_eq!((back.name.to_string().as_str(), back.rtype), ("5.1.168.192.in-addr.arpa", rtype::PTR));
        assert_eq!(
            records[2].reverse().unwrap().name.to_string(),
            "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa"
        );
    }

    #[test]
    fn a_line_without_end_is_no_memory() {
        let mut endless = io::Read::take(io::repeat(b'x'), 1 << 20);
        assert!(hosts(&mut io::BufReader::new(&mut endless)).unwrap().is_empty());
    }
}
