//! Long headers (RFC 8999, RFC 9000 §17.2).

use super::version::{Version, is_plain_google};
use crate::base::wire::{Reader, Short};

/// Octets of the largest connection id that a known version allows.
const ID_OCTETS_MAX: usize = 20;
/// Octets of the shortest datagram with a client's Initial (RFC 9000 §14.1), as middle boxes and captures cut it at worst.
const DATAGRAM_OCTETS_MIN: usize = 64;

/// A packet with a long header, up to the end that it says itself.
#[derive(Clone, Copy, Debug)]
pub struct Long<'a> {
    /// The first octet.
    pub first: u8,
    /// The version's number.
    pub version: u32,
    /// The destination connection id.
    pub destination: &'a [u8],
    /// Whether it is an Initial packet of its version.
    pub is_initial: bool,
    /// The whole packet.
    pub packet: &'a [u8],
    /// Where the packet number starts.
    pub number_at: usize,
    /// What follows in the datagram.
    pub rest: &'a [u8],
}

impl<'a> Long<'a> {
    /// Reads a packet at the start of the octets. `None` for one that says no length: Retry, version negotiation, short headers.
    #[must_use]
    pub fn parse(octets: &'a [u8], is_v2: bool) -> Option<Self> {
        Self::read(octets, is_v2).ok().flatten()
    }

    fn read(octets: &'a [u8], is_v2: bool) -> Result<Option<Self>, Short> {
        let mut reader = Reader::new(octets);
        let first = reader.u8()?;
        let version = reader.u32()?;
        if first & 0x80 == 0 || version == 0 {
            return Ok(None);
        }
        let len = usize::from(reader.u8()?);
        if len > ID_OCTETS_MAX {
            return Ok(None);
        }
        let destination = reader.take(len)?;
        let len = usize::from(reader.u8()?);
        reader.take(len)?;
        let kind = ((first >> 4) & 3).wrapping_sub(u8::from(is_v2)) & 3;
        let is_initial = kind == 0;
        if kind == 3 {
            return Ok(None);
        }
        if is_initial {
            let len = varint(&mut reader)?;
            reader.take(usize::try_from(len).map_err(|_| Short)?)?;
        }
        let len = usize::try_from(varint(&mut reader)?).map_err(|_| Short)?;
        let number_at = reader.position();
        reader.take(len)?;
        let packet = octets.get(..reader.position()).ok_or(Short)?;
        Ok(Some(Self { first, version, destination, is_initial, packet, number_at, rest: reader.rest() }))
    }
}

/// A variable-length integer (RFC 9000 §16).
pub(super) fn varint(reader: &mut Reader<'_>) -> Result<u64, Short> {
    let first = reader.u8()?;
    let mut value = u64::from(first & 0x3f);
    for _ in 1..1_u8 << (first >> 6) {
        value = value << 8 | u64::from(reader.u8()?);
    }
    Ok(value)
}

/// Whether a datagram looks like a client's first of a connection: a long header, or Google's with a version in it.
#[must_use]
pub fn may_be_quic(datagram: &[u8]) -> bool {
    if datagram.len() < DATAGRAM_OCTETS_MIN {
        return false;
    }
    let Some((&first, rest)) = datagram.split_first() else { return false };
    if first & 0x80 == 0 {
        return super::google::old_header(datagram).is_some();
    }
    let Some(version) = rest.first_chunk::<4>().map(|octets| u32::from_be_bytes(*octets)) else { return false };
    let is_known = Version::known(version).is_some() || is_plain_google(version);
    let is_reserved = version & 0x0f0f_0f0f == 0x0a0a_0a0a;
    // A number of our future: only where the rest is as a client's first must be.
    is_known
        || ((is_reserved || version != 0)
            && first & 0x40 != 0
            && datagram.len() >= 1200
            && Long::parse(datagram, false).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_the_rfc() {
        for (octets, value) in [
            (&b"\xc2\x19\x7c\x5e\xff\x14\xe8\x8c"[..], 151_288_809_941_952_652),
            (b"\x9d\x7f\x3e\x7d", 494_878_333),
            (b"\x7b\xbd", 15_293),
            (b"\x25", 37),
        ] {
            assert_eq!(varint(&mut Reader::new(octets)), Ok(value));
            assert!(varint(&mut Reader::new(octets.get(1..).unwrap())).is_err() || octets.len() > 1);
        }
        assert_eq!(varint(&mut Reader::new(b"\x40")), Err(Short));
    }

    #[test]
    fn headers_that_are_none() {
        assert!(Long::parse(b"\xc0\0\0\0\0\x08", false).is_none(), "version negotiation");
        assert!(Long::parse(b"\x40\0\0\0\x01\0\0", false).is_none(), "a short header");
        assert!(Long::parse(b"\xf0\0\0\0\x01\0\0\0\0\0", false).is_none(), "Retry");
        assert!(Long::parse(b"\xc0\0\0\0\x01\x15aaaaaaaaaaaaaaaaaaaaa\0\0\0", false).is_none(), "an id of 21 octets");
        let packet = Long::parse(b"\xd0\x6b\x33\x43\xcf\x01a\0\0\x02xyrest", true).unwrap();
        assert!(packet.is_initial && packet.rest == b"rest" && packet.destination == b"a");
        assert!(!may_be_quic(&[0xc0; 1300]) && !may_be_quic(&[0x40; 1300]) && !may_be_quic(b"\xc0\0\0\0\x01"));
    }
}
