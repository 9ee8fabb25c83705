//! Messages from words, and words from messages.

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::EdnsOption;
use std::net::{Ipv4Addr, Ipv6Addr};

const TYPES: [(&str, u16); 24] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("NAPTR", 35),
    ("DNAME", 39),
    ("OPT", 41),
    ("DS", 43),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("NSEC3", 50),
    ("TLSA", 52),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("AXFR", 252),
    ("ANY", 255),
    ("CAA", 257),
    ("MAILB", 253),
];

const RCODES: [(&str, u16); 10] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("NOTAUTH", 9),
    ("BADVERS", 16),
    ("BADCOOKIE", 23),
];

const PARAMS: [(&str, u16); 7] =
    [("mandatory", 0), ("alpn", 1), ("no-default-alpn", 2), ("port", 3), ("ipv4hint", 4), ("ech", 5), ("ipv6hint", 6)];

fn number(table: &[(&str, u16)], prefix: &str, word: &str) -> u16 {
    let known = table.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
    known.or_else(|| word.strip_prefix(prefix)?.parse().ok()).unwrap_or_else(|| panic!("{word} is no {prefix}"))
}

/// The number of a record type.
pub(crate) fn rtype(word: &str) -> u16 {
    number(&TYPES, "TYPE", word)
}

/// The number of a response code.
pub(crate) fn rcode(word: &str) -> u16 {
    number(&RCODES, "RCODE", word)
}

/// Octets from hexadecimal digits.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A name in wire form, its case kept.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// Octets with their length in front.
fn counted(octets: &[u8]) -> Vec<u8> {
    [&u16::try_from(octets.len()).unwrap().to_be_bytes()[..], octets].concat()
}

/// A record from its words: `NAME TTL TYPE DATA…`.
pub(crate) fn record(words: &[String]) -> Vec<u8> {
    let [owner, ttl, kind, data @ ..] = words else { panic!("{words:?} is no record") };
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    let ttl: u32 = ttl.parse().unwrap();
    [name(owner), rtype(kind).to_be_bytes().into(), vec![0, 1], ttl.to_be_bytes().into(), counted(&rdata(kind, &data))]
        .concat()
}

fn rdata(kind: &str, data: &[&str]) -> Vec<u8> {
    match (kind, data) {
        (_, ["#", digits @ ..]) => hex(&digits.concat()),
        ("A", [address]) => address.parse::<Ipv4Addr>().unwrap().octets().into(),
        ("AAAA", [address]) => address.parse::<Ipv6Addr>().unwrap().octets().into(),
        ("NS" | "CNAME" | "DNAME" | "PTR", [target]) => name(target),
        ("MX", [preference, target]) => [&preference.parse::<u16>().unwrap().to_be_bytes()[..], &name(target)].concat(),
        ("SRV", [a, b, c, target]) => {
            let numbers = [a, b, c].map(|number| number.parse::<u16>().unwrap().to_be_bytes());
            [numbers.as_flattened(), &name(target)].concat()
        }
        ("TXT", words) => {
            words.iter().flat_map(|word| [&[u8::try_from(word.len()).unwrap()], word.as_bytes()].concat()).collect()
        }
        ("SOA", [minimum]) => {
            let numbers = [1, 2, 3, 4, minimum.parse::<u32>().unwrap()].map(u32::to_be_bytes);
            [&name("ns.example")[..], &name("admin.example"), numbers.as_flattened()].concat()
        }
        ("RRSIG", [covered]) => {
            [&rtype(covered).to_be_bytes()[..], &[8, 2, 0, 0, 0, 60], &[0; 8], &[0, 1, 0, 9, 9]].concat()
        }
        ("NSEC", [next]) => [&name(next)[..], &[0, 1, 0x40]].concat(),
        ("SVCB" | "HTTPS", [priority, target, params @ ..]) => {
            let mut out = [&priority.parse::<u16>().unwrap().to_be_bytes()[..], &name(target)].concat();
            params.iter().for_each(|param| out.extend(parameter(param)));
            out
        }
        _ => panic!("{kind} {data:?} cannot be written"),
    }
}

fn parameter(text: &str) -> Vec<u8> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let octets = match key {
        "mandatory" => value.split(',').flat_map(|key| number(&PARAMS, "key", key).to_be_bytes()).collect(),
        "alpn" => {
            value.split(',').flat_map(|id| [&[u8::try_from(id.len()).unwrap()], id.as_bytes()].concat()).collect()
        }
        "port" => value.parse::<u16>().unwrap().to_be_bytes().into(),
        "ipv4hint" => value.split(',').flat_map(|hint| hint.parse::<Ipv4Addr>().unwrap().octets()).collect(),
        "ipv6hint" => value.split(',').flat_map(|hint| hint.parse::<Ipv6Addr>().unwrap().octets()).collect(),
        _ => hex(value),
    };
    [&number(&PARAMS, "key", key).to_be_bytes()[..], &counted(&octets)].concat()
}

/// An option of an OPT record.
pub(crate) fn option(code: u16, data: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &counted(data)].concat()
}

/// An OPT record.
pub(crate) fn opt(size: u16, rcode: u16, dnssec_ok: bool, options: &[u8]) -> Vec<u8> {
    let high = u8::try_from(rcode >> 4).unwrap();
    [&[0, 0, 41][..], &size.to_be_bytes(), &[high, 0, if dnssec_ok { 0x80 } else { 0 }, 0], &counted(options)].concat()
}

/// Where the question section of a message ends.
pub(crate) fn question_end(message: &[u8]) -> usize {
    let mut at = 12;
    while message[at] != 0 {
        at += 1 + usize::from(message[at]);
    }
    at + 5
}

/// The data of an option in a message's OPT.
pub(crate) fn option_of(message: &[u8], code: u16) -> Option<Vec<u8>> {
    let options = &Message::from_vec(message).unwrap().edns?.options().clone();
    let (_, found) = options.as_ref().iter().find(|(have, _)| u16::from(*have) == code)?;
    // Those that hickory-proto knows are only asked after, never looked into.
    Some(if let EdnsOption::Unknown(_, data) = found { data.clone() } else { Vec::new() })
}

/// The records of a message as text by section, read by hickory-proto; OPT left out.
pub(crate) fn shown(octets: &[u8]) -> Vec<String> {
    let message = Message::from_vec(octets).unwrap_or_else(|error| panic!("{error}: {octets:02x?}"));
    let sections = [("an", &message.answers), ("au", &message.authorities), ("ar", &message.additionals)];
    let lines = sections.iter().flat_map(|(section, records)| {
        records.iter().map(move |record| format!("{section} {} ", record.to_string().to_ascii_lowercase()))
    });
    lines.collect()
}

/// The same of records in words.
pub(crate) fn shown_words(records: &[(String, Vec<String>)]) -> Vec<String> {
    let mut message = vec![0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (at, section) in ["an", "au", "ar"].iter().enumerate() {
        for (_, words) in records.iter().filter(|(have, _)| have == section) {
            message[7 + 2 * at] += 1;
            message.extend(record(words));
        }
    }
    shown(&message)
}
