//! JA4, the fingerprint of a TLS client (FoxIO's published method for `TLSClient`; BSD 3-Clause).

use super::{ClientHello, is_grease};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// What carries the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TLS over TCP: `t`.
    Tcp,
    /// QUIC: `q`.
    Quic,
    /// DTLS: `d`.
    Dtls,
}

/// The fingerprint: 36 characters.
#[must_use]
pub fn ja4(hello: &ClientHello<'_>, transport: Transport) -> String {
    let mut ciphers: Vec<u16> = hello.ciphers().filter(|number| !is_grease(*number)).collect();
    let mut extensions: Vec<u16> =
        hello.extensions().map(|(number, _)| number).filter(|number| !is_grease(*number)).collect();
    let head = format!(
        "{}{}{}{:02}{:02}{}",
        match transport {
            Transport::Tcp => 't',
            Transport::Quic => 'q',
            Transport::Dtls => 'd',
        },
        version(hello.version()),
        if extensions.contains(&0) { 'd' } else { 'i' },
        ciphers.len().min(99),
        extensions.len().min(99),
        alpn(hello.alpn().next().unwrap_or_default()),
    );
    ciphers.sort_unstable();
    // The server name and ALPN are in the head already.
    extensions.retain(|number| !matches!(number, 0 | 16));
    extensions.sort_unstable();
    let mut tail = listed(extensions.into_iter());
    let signatures = listed(hello.signature_algorithms());
    if !signatures.is_empty() {
        let _ = write!(tail, "_{signatures}");
    }
    format!("{head}_{}_{}", hashed(&listed(ciphers.into_iter())), hashed(&tail))
}

const fn version(number: u16) -> &'static str {
    match number {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    }
}

/// First and last character of the first protocol; of its hexadecimal form where they are no letters or digits.
fn alpn(protocol: &[u8]) -> String {
    let (Some(&first), Some(&last)) = (protocol.first(), protocol.last()) else { return "00".to_owned() };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(first), char::from(last)].iter().collect();
    }
    format!("{:x}{:x}", first >> 4, last & 15)
}

fn listed(numbers: impl Iterator<Item = u16>) -> String {
    let mut text = String::new();
    for number in numbers {
        let _ = write!(text, "{}{number:04x}", if text.is_empty() { "" } else { "," });
    }
    text
}

fn hashed(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(12);
    }
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(6).fold(String::new(), |mut hex, octet| {
        let _ = write!(hex, "{octet:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the published method: Chrome's ciphers, extensions and algorithms.
    #[test]
    fn the_published_example() {
        let ciphers = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035";
        let mut body = vec![3, 3];
        body.extend([0; 33]);
        body.extend([0, 32, 0x0a, 0x0a]);
        body.extend(ciphers.split(',').flat_map(|hex| u16::from_str_radix(hex, 16).unwrap().to_be_bytes()));
        body.extend([1, 0]);
        let algorithms = b"\0\x10\x04\x03\x08\x04\x04\x01\x05\x03\x08\x05\x05\x01\x08\x06\x06\x01";
        let mut list = Vec::new();
        for hex in "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015".split(',') {
            let data: &[u8] = match hex {
                "000d" => algorithms,
                "0010" => b"\0\x03\x02h2",
                "002b" => b"\x02\x03\x04",
                _ => b"",
            };
            list.extend(u16::from_str_radix(hex, 16).unwrap().to_be_bytes());
            list.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            list.extend(data);
        }
        body.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
        body.extend(list);
        let hello = ClientHello::parse(&body).unwrap();
        assert_eq!(ja4(&hello, Transport::Tcp), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn a_bare_hello() {
        let body = [&[3, 1][..], &[0; 33], &[0, 0, 1, 0]].concat();
        let hello = ClientHello::parse(&body).unwrap();
        assert_eq!(ja4(&hello, Transport::Tcp), "t10i000000_000000000000_000000000000");
        assert_eq!((alpn(b"\xab\xcd"), alpn(b"h"), alpn(b"0\xab")), ("ad".into(), "hh".into(), "3b".into()));
    }
}
