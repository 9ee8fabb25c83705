//! Google's QUIC up to Q048: the first flight is in the clear behind a hash, and its CHLO names the server.

use super::version::is_plain_google;
use crate::base::wire::{Reader, Short};

/// Entries of a CHLO that are looked through.
const ENTRIES_MAX: u16 = 128;

/// The version of a packet of Q043 and before that says one: public flags, connection id, version.
pub(super) fn old_header(datagram: &[u8]) -> Option<u32> {
    let (&flags, rest) = datagram.split_first()?;
    // A version, no reset; the id has 8 octets wherever a client says a version.
    if flags & 0x83 != 0x01 || flags & 0x08 == 0 {
        return None;
    }
    let version = u32::from_be_bytes(*rest.get(8..)?.first_chunk()?);
    is_plain_google(version).then_some(version)
}

/// The server name of a datagram with a CHLO in the clear.
#[must_use]
pub fn server_name(datagram: &[u8]) -> Option<&[u8]> {
    let is_new = matches!(datagram, [first, v0, v1, v2, v3, ..]
        if first & 0x80 != 0 && is_plain_google(u32::from_be_bytes([*v0, *v1, *v2, *v3])));
    if !is_new {
        old_header(datagram)?;
    }
    // Between header and CHLO stand a hash and frame headers that differ by version; the tag stands in no other place.
    let at = datagram.windows(4).position(|tag| tag == b"CHLO")?;
    in_chlo(datagram.get(at..)?)
}

/// The server name of a CHLO that the octets start with.
pub(super) fn in_chlo(octets: &[u8]) -> Option<&[u8]> {
    read(octets).ok().flatten()
}

fn read(octets: &[u8]) -> Result<Option<&[u8]>, Short> {
    let mut reader = Reader::new(octets);
    if reader.take(4)? != b"CHLO" {
        return Ok(None);
    }
    let entries = u16::from_le_bytes(reader.take_array()?);
    reader.take(2)?;
    if entries > ENTRIES_MAX {
        return Ok(None);
    }
    let values_at = reader.position() + usize::from(entries) * 8;
    let mut start = 0;
    for _ in 0..entries {
        let tag = reader.take(4)?;
        let end = usize::try_from(u32::from_le_bytes(reader.take_array()?)).map_err(|_| Short)?;
        if tag == b"SNI\0" {
            let values = octets.get(values_at..).ok_or(Short)?;
            return Ok(values.get(start..end).filter(|name| !name.is_empty()));
        }
        start = end;
    }
    Ok(None)
}

#[cfg(test)]
pub(super) mod testing {
    /// A CHLO with this server name.
    pub(crate) fn chlo(name: &str) -> Vec<u8> {
        let end = u32::try_from(name.len()).unwrap();
        let mut octets = b"CHLO\x03\0\0\0PAD\0\x04\0\0\0SNI\0".to_vec();
        octets.extend((4 + end).to_le_bytes());
        octets.extend(b"VER\0");
        octets.extend((8 + end).to_le_bytes());
        octets.extend(b"----");
        octets.extend(name.as_bytes());
        octets.extend(b"Q043");
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::testing::chlo;
    use super::*;

    #[test]
    fn names_behind_either_header() {
        let old = [&b"\x0d12345678Q043\x01hash-hash-ha\xa0\x01\0\0"[..], &chlo("old.example")].concat();
        assert_eq!(server_name(&old), Some(&b"old.example"[..]));
        let new = [&b"\xc3Q046\x5012345678\0\0\0\x01hash-hash-ha\xa0\x01\0\0"[..], &chlo("new.example")].concat();
        assert_eq!(server_name(&new), Some(&b"new.example"[..]));
        assert_eq!(server_name(b"\x0912345678Q043\x01CHLO"), None);
        assert_eq!(server_name(b"\x0912345678X043\x01CHLO\x01\0\0\0SNI\0\x01\0\0\0a"), None);
        let cut = new.get(..new.len() - 10).unwrap();
        assert_eq!(server_name(cut), None);
    }
}
