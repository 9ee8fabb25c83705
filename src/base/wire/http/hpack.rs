//! Header compression of HTTP/2 (RFC 7541), a decoder within fixed bounds.

use super::huffman;
use crate::base::wire::{Reader, Short};
use std::collections::VecDeque;

/// Octets of the dynamic table that are held, whatever a peer allows.
const TABLE_OCTETS_MAX: usize = 1 << 16;
/// Octets of the dynamic table before anybody says otherwise (RFC 9113 §6.5.2).
const TABLE_OCTETS: usize = 4096;
/// What each entry costs beside its octets (RFC 7541 §4.1).
const ENTRY_OCTETS: usize = 32;
/// Octets of one string.
const STRING_OCTETS_MAX: usize = 1 << 15;

/// Names of the static table (RFC 7541 appendix A).
const NAMES: [&str; 61] = [
    ":authority",
    ":method",
    ":method",
    ":path",
    ":path",
    ":scheme",
    ":scheme",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
];
/// Values of the static table where they matter: method, path, scheme, status.
const VALUES: [&str; 16] = [
    "",
    "GET",
    "POST",
    "/",
    "/index.html",
    "http",
    "https",
    "200",
    "204",
    "206",
    "304",
    "400",
    "404",
    "500",
    "",
    "gzip, deflate",
];

type Field = (Box<[u8]>, Box<[u8]>);

/// The state of one direction.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    table: VecDeque<Field>,
    octets: usize,
    octets_max: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { table: VecDeque::new(), octets: 0, octets_max: TABLE_OCTETS }
    }
}

impl Decoder {
    /// Decodes a block; each field is told. After an error the table is of no use any more.
    pub(super) fn block(&mut self, block: &[u8], mut field: impl FnMut(&[u8], &[u8])) -> Result<(), Short> {
        let mut reader = Reader::new(block);
        while !reader.is_empty() {
            let first = reader.u8()?;
            if first & 0x80 != 0 {
                let (name, value) = self.entry(integer(&mut reader, first, 7)?).ok_or(Short)?;
                field(name, value);
            } else if first & 0xe0 == 0x20 {
                self.octets_max = integer(&mut reader, first, 5)?.min(TABLE_OCTETS_MAX);
                self.evict();
            } else {
                let is_kept = first & 0xc0 == 0x40;
                let index = integer(&mut reader, first, if is_kept { 6 } else { 4 })?;
                let name = if index == 0 { string(&mut reader)? } else { self.entry(index).ok_or(Short)?.0.into() };
                let value = string(&mut reader)?;
                field(&name, &value);
                if is_kept {
                    self.octets += name.len() + value.len() + ENTRY_OCTETS;
                    self.table.push_front((name, value));
                    self.evict();
                }
            }
        }
        Ok(())
    }

    fn entry(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let at = index.checked_sub(1)?;
        if let Some(name) = NAMES.get(at) {
            return Some((name.as_bytes(), VALUES.get(at).map_or(&b""[..], |value| value.as_bytes())));
        }
        self.table.get(at - NAMES.len()).map(|(name, value)| (&**name, &**value))
    }

    fn evict(&mut self) {
        while self.octets > self.octets_max {
            let Some((name, value)) = self.table.pop_back() else { return };
            self.octets = self.octets.saturating_sub(name.len() + value.len() + ENTRY_OCTETS);
        }
    }
}

/// An integer whose first bits stand in `first` (RFC 7541 §5.1).
fn integer(reader: &mut Reader<'_>, first: u8, bits: u8) -> Result<usize, Short> {
    let mask = (1_u8 << bits) - 1;
    let mut value = usize::from(first & mask);
    if value < usize::from(mask) {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let octet = reader.u8()?;
        value += usize::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Short)
}

fn string(reader: &mut Reader<'_>) -> Result<Box<[u8]>, Short> {
    let first = reader.u8()?;
    let len = integer(reader, first, 7)?;
    if len > STRING_OCTETS_MAX {
        return Err(Short);
    }
    let octets = reader.take(len)?;
    if first & 0x80 == 0 {
        return Ok(octets.into());
    }
    let mut text = Vec::with_capacity(len * 2);
    huffman::decode(octets, &mut text).ok_or(Short)?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(decoder: &mut Decoder, block: &[u8]) -> Vec<String> {
        let mut fields = Vec::new();
        let told = |name: &[u8], value: &[u8]| {
            fields.push(format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
        };
        decoder.block(block, told).unwrap();
        fields
    }

    /// RFC 7541 appendix C.4: three requests on one connection.
    #[test]
    fn the_requests_of_the_rfc() {
        let mut decoder = Decoder::default();
        let first = decode(&mut decoder, b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff");
        assert_eq!(first, [":method=GET", ":scheme=http", ":path=/", ":authority=www.example.com"]);
        let second = decode(&mut decoder, b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf");
        assert_eq!(
            second,
            [":method=GET", ":scheme=http", ":path=/", ":authority=www.example.com", "cache-control=no-cache"]
        );
        let third = decode(
            &mut decoder,
            b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
        );
        assert_eq!(
            third,
            [
                ":method=GET",
                ":scheme=https",
                ":path=/index.html",
                ":authority=www.example.com",
                "custom-key=custom-value"
            ]
        );
        assert_eq!(decoder.octets, 164);
        decode(&mut decoder, b"\x20");
        assert_eq!((decoder.octets, decoder.table.len()), (0, 0));
        assert!(decoder.block(b"\xbe", |_, _| {}).is_err() && decoder.block(b"\x80", |_, _| {}).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(blocks: [Vec<u8>; 3]) {
            let mut decoder = Decoder::default();
            for block in blocks {
                let _ = decoder.block(&block, |_, _| {});
                prop_assert!(decoder.octets <= TABLE_OCTETS_MAX);
            }
        }
    }
}
