//! What may stand in a stream before the protocol that names somebody: proxies' headers and requests, and what asks for TLS.

use crate::base::wire::{Reader, Short};

/// Octets of the start of a stream that are looked at together: a PROXY header with everything in it, an LDAP message.
pub const START_OCTETS_MAX: usize = 4096;

/// How a stream starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Too little to tell.
    Short,
    /// So many octets that carry what follows them: SOCKS, PROXY, a request for TLS of PostgreSQL, MySQL, LDAP, RDP.
    Carrier(usize),
    /// TLS records.
    Tls,
    /// Lines of text, a request of HTTP or not.
    Text,
    /// Frames of TDS (Microsoft SQL Server), which carry TLS in the first ones.
    Tds,
    /// HTTP/2 without TLS.
    H2,
    /// Something else.
    Other,
}

const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const H2: &[u8] = crate::base::wire::http::H2_PREFACE;
/// The object identifier by which LDAP asks for TLS (RFC 4511 §4.14.1).
const LDAP_START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// Tells how a stream starts from its first octets.
#[must_use]
pub fn start_of(octets: &[u8]) -> Start {
    let known = match octets {
        [] => return Start::Short,
        [22, 3, ..] => return Start::Tls,
        [22] => return Start::Short,
        [4, ..] => socks4(octets),
        [5, ..] => socks5(octets),
        [3, ..] => rdp(octets),
        [0, ..] => postgresql(octets),
        [0x12, ..] => return if octets.starts_with(&[0x12, 1]) { Start::Tds } else { few(octets, 2) },
        [0x20, 0, ..] | [0x20] => mysql(octets),
        [0x30, ..] if octets.get(1).is_none_or(|len| *len >= 0x80 || *len < 0x20) => ldap(octets),
        [0x0d, ..] if PROXY_V2.starts_with(octets) || octets.starts_with(PROXY_V2) => proxy_v2(octets),
        _ if H2.starts_with(octets) => return if octets.len() == H2.len() { Start::H2 } else { Start::Short },
        _ if octets.starts_with(H2) => return Start::H2,
        _ => Ok(None),
    };
    match known {
        Ok(Some(len)) => Start::Carrier(len),
        Ok(None) => text(octets),
        Err(Short) => few(octets, START_OCTETS_MAX),
    }
}

const fn few(octets: &[u8], enough: usize) -> Start {
    if octets.len() < enough { Start::Short } else { Start::Other }
}

fn text(octets: &[u8]) -> Start {
    let is_text = |octet: &u8| matches!(octet, b'\t' | b'\r' | b'\n' | 0x20..=0x7e) || *octet >= 0xc2;
    if octets.iter().take(8).all(is_text) { Start::Text } else { Start::Other }
}

type Known = Result<Option<usize>, Short>;

/// A request: command, port, address, user; with 4a a name behind them.
fn socks4(octets: &[u8]) -> Known {
    let mut reader = Reader::new(octets);
    let [_, command, _, _, address @ ..] = reader.take_array::<8>()?;
    if !matches!(command, 1 | 2) {
        return Ok(None);
    }
    until_zero(&mut reader)?;
    if matches!(address, [0, 0, 0, last] if last != 0) {
        until_zero(&mut reader)?;
    }
    Ok(Some(reader.position()))
}

fn until_zero(reader: &mut Reader<'_>) -> Result<(), Short> {
    while reader.u8()? != 0 {}
    Ok(())
}

/// A greeting, perhaps a password (RFC 1929), a request (RFC 1928).
fn socks5(octets: &[u8]) -> Known {
    let mut reader = Reader::new(octets);
    reader.u8()?;
    let methods = reader.u8()?;
    if methods == 0 || methods > 16 {
        return Ok(None);
    }
    reader.take(usize::from(methods))?;
    let mut version = reader.u8()?;
    if version == 1 {
        for _ in 0..2 {
            let len = reader.u8()?;
            reader.take(usize::from(len))?;
        }
        version = reader.u8()?;
    }
    let [command, _, kind] = reader.take_array()?;
    if version != 5 || !(1..=3).contains(&command) {
        return Ok(None);
    }
    let len = match kind {
        1 => 4,
        3 => usize::from(reader.u8()?),
        4 => 16,
        _ => return Ok(None),
    };
    reader.take(len + 2)?;
    Ok(Some(reader.position()))
}

/// TPKT (RFC 1006) with an X.224 connection request.
fn rdp(octets: &[u8]) -> Known {
    let [_, reserved, high, low, _, kind] = Reader::new(octets).take_array()?;
    let len = usize::from(u16::from_be_bytes([high, low]));
    Ok((reserved == 0 && kind == 0xe0 && (7..=1024).contains(&len)).then_some(len))
}

/// SSLRequest and GSSENCRequest.
fn postgresql(octets: &[u8]) -> Known {
    let [len @ .., c0, c1, c2, c3] = Reader::new(octets).take_array::<8>()?;
    Ok((len == [0, 0, 0, 8] && [c0, c1, c2] == [0x04, 0xd2, 0x16] && matches!(c3, 0x2f | 0x30)).then_some(8))
}

/// The client's first packet, where it asks for TLS.
fn mysql(octets: &[u8]) -> Known {
    let [l0, l1, l2, sequence, _, capabilities] = Reader::new(octets).take_array()?;
    Ok((l0 == 0x20 && l1 == 0 && l2 == 0 && sequence == 1 && capabilities & 8 != 0).then_some(36))
}

/// A message, where it is the request for TLS.
fn ldap(octets: &[u8]) -> Known {
    let mut reader = Reader::new(octets);
    reader.u8()?;
    let mut len = usize::from(reader.u8()?);
    if len >= 0x80 {
        let count = len & 0x7f;
        if !(1..=4).contains(&count) {
            return Ok(None);
        }
        len = reader.take(count)?.iter().fold(0, |len, octet| len << 8 | usize::from(*octet));
    }
    if len > START_OCTETS_MAX / 2 {
        return Ok(None);
    }
    let message = reader.take(len)?;
    let asks = message.first() == Some(&2) && message.windows(LDAP_START_TLS.len()).any(|part| part == LDAP_START_TLS);
    Ok(asks.then_some(reader.position()))
}

/// The binary header of the PROXY protocol.
fn proxy_v2(octets: &[u8]) -> Known {
    let mut reader = Reader::new(octets);
    reader.take(PROXY_V2.len() + 2)?;
    let len = reader.u16()?;
    reader.take(usize::from(len))?;
    Ok(Some(reader.position()))
}

/// Whether a line is the text header of the PROXY protocol.
#[must_use]
pub fn is_proxy_v1(line: &[u8]) -> bool {
    line.starts_with(b"PROXY TCP") || line.starts_with(b"PROXY UNKNOWN")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn starts_that_are_known() {
        let cases: &[(&[u8], Start)] = &[
            (b"", Start::Short),
            (b"\x16\x03\x01", Start::Tls),
            (b"GET / HTTP/1.1\r\n", Start::Text),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Start::H2),
            (b"PRI * HTTP", Start::Short),
            (b"\x04\x01\0\x50\x0a\0\0\x01user\0rest", Start::Carrier(13)),
            (b"\x04\x01\0\x50\0\0\0\x01user\0a.example\0rest", Start::Carrier(23)),
            (b"\x05\x01\0\x05\x01\0\x03\x09a.example\0\x50", Start::Carrier(19)),
            (b"\x05\x02\0\x02\x01\x01u\x01p\x05\x01\0\x01\x0a\0\0\x01\0\x50", Start::Carrier(19)),
            (b"\x05\x01\0", Start::Short),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Start::Carrier(8)),
            (b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0", Start::Carrier(19)),
            (b"\x20\0\0\x01\x85\xae\x03\0", Start::Carrier(36)),
            (b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037", Start::Carrier(31)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c____________GET", Start::Carrier(28)),
            (b"\r\nGET / HTTP/1.1", Start::Text),
            (b"\x12\x01\0\x2f", Start::Tds),
            (b"\x01\x02\x03\x04\x05\x06\x07\x08", Start::Other),
            (b"0123456789", Start::Text),
        ];
        for (octets, start) in cases {
            assert_eq!(start_of(octets), *start, "{:?}", octets.escape_ascii().to_string());
        }
        assert!(is_proxy_v1(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2") && !is_proxy_v1(b"PROXY a"));
    }

    proptest! {
        /// More octets never turn what is known into something else.
        #[test]
        fn what_is_told_stays(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..6_u8], 0..40),
            first in prop::sample::select(vec![3_u8, 4, 5, 0, 0x20, 0x30, 0x0d, 0x12]),
        ) {
            let bytes = [&[first][..], &bytes].concat();
            let mut known = Start::Short;
            for end in 0..=bytes.len() {
                let now = start_of(&bytes[..end]);
                prop_assert!(known == Start::Short || known == now || (known == Start::Text && now == Start::Other));
                known = now;
            }
        }
    }
}
