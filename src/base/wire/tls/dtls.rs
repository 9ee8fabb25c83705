//! DTLS ClientHellos (RFC 6347 §4, RFC 9147 §5): handshake fragments of one message, joined by offset.

use super::{CLIENT_HELLO, HELLO_OCTETS_MAX};
use crate::base::wire::{Reader, Short};

/// Octets of a record's header before DTLS 1.3's short form, which no hello has.
pub const DTLS_RECORD_OCTETS: usize = 13;
/// Records of one datagram that are looked at.
const RECORDS_MAX: usize = 32;

/// Whether a datagram starts with a DTLS handshake record.
#[must_use]
pub fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram, [22, 0xfe, 0xfd..=0xff, 0, 0, ..] | [22, 1, 0, 0, 0, ..]) && datagram.len() > DTLS_RECORD_OCTETS
}

/// Joins the fragments of a ClientHello. A second hello (with the server's cookie) starts anew.
#[derive(Clone, Debug, Default)]
pub struct DtlsHello {
    sequence: u16,
    body: Vec<u8>,
    /// Octets from the start of the body that have come, for each fragment; merged as far as they touch.
    have: Vec<(usize, usize)>,
}

/// Fragments apart from each other that are kept.
const PIECES_MAX: usize = 64;

impl DtlsHello {
    /// Takes a datagram; the body of a hello that it made whole.
    pub fn feed(&mut self, datagram: &[u8]) -> Option<&[u8]> {
        let mut reader = Reader::new(datagram);
        let mut is_whole = false;
        for _ in 0..RECORDS_MAX {
            match self.record(&mut reader) {
                Ok(whole) => is_whole |= whole,
                Err(Short) => break,
            }
            if is_whole {
                break;
            }
        }
        is_whole.then_some(&*self.body)
    }

    /// Octets that are held.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.body.len()
    }

    fn record(&mut self, reader: &mut Reader<'_>) -> Result<bool, Short> {
        let [kind, _, _, epoch @ ..] = reader.take_array::<5>()?;
        reader.take(6)?;
        let len = usize::from(reader.u16()?);
        // A record cut by the capture still has its start.
        let mut record = reader.sub(len).unwrap_or(*reader);
        if kind != 22 || epoch != [0, 0] {
            return Ok(false);
        }
        while !record.is_empty() {
            if self.fragment(&mut record)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn fragment(&mut self, record: &mut Reader<'_>) -> Result<bool, Short> {
        let kind = record.u8()?;
        let len = u24(record)?;
        let sequence = record.u16()?;
        let at = u24(record)?;
        let part_len = u24(record)?;
        let part = record.take(part_len)?;
        let end = at + part_len;
        if kind != CLIENT_HELLO || len > HELLO_OCTETS_MAX || end > len {
            return Ok(false);
        }
        if sequence != self.sequence || self.body.len() != len {
            *self = Self { sequence, body: vec![0; len], have: Vec::new() };
        }
        if self.have.len() >= PIECES_MAX {
            return Ok(false);
        }
        if let Some(place) = self.body.get_mut(at..end) {
            place.copy_from_slice(part);
        }
        self.have.push((at, end));
        self.have.sort_unstable();
        let reached =
            self.have.iter().fold(0, |reached, &(from, to)| if from <= reached { reached.max(to) } else { reached });
        Ok(reached == len)
    }
}

fn u24(reader: &mut Reader<'_>) -> Result<usize, Short> {
    let [high, middle, low] = reader.take_array()?;
    Ok(usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low))
}

#[cfg(test)]
mod tests {
    use super::super::ClientHello;
    use super::super::hello::testing::{hello, name};
    use super::*;
    use proptest::prelude::*;

    fn body() -> Vec<u8> {
        let mut body = hello(&[(0, &name("d.example")), (21, &[0; 400])]);
        body.splice(35..35, [0]);
        body
    }

    fn datagram(body: &[u8], sequence: u16, from: usize, to: usize) -> Vec<u8> {
        let u24 = |value: usize| u32::try_from(value).unwrap().to_be_bytes()[1..].to_vec();
        let mut fragment = vec![1];
        fragment.extend(u24(body.len()));
        fragment.extend(sequence.to_be_bytes());
        fragment.extend(u24(from));
        fragment.extend(u24(to - from));
        fragment.extend(&body[from..to]);
        let mut datagram = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
        datagram.extend(u16::try_from(fragment.len()).unwrap().to_be_bytes());
        datagram.extend(fragment);
        datagram
    }

    #[test]
    fn fragments_in_any_order_and_a_second_hello() {
        let body = body();
        let mut reader = DtlsHello::default();
        assert!(is_dtls(&datagram(&body, 0, 0, 100)));
        assert_eq!(reader.feed(&datagram(&body, 0, 300, body.len())), None);
        assert_eq!(reader.feed(&datagram(&body, 0, 0, 100)), None);
        assert_eq!(reader.feed(&datagram(&body, 0, 0, 100)), None);
        let whole = reader.feed(&datagram(&body, 0, 100, 300)).unwrap();
        assert_eq!(ClientHello::parse_dtls(whole).unwrap().server_name(), Some(&b"d.example"[..]));
        assert_eq!(reader.feed(&datagram(&body, 1, 0, body.len())), Some(&body[..]));
        assert_eq!(reader.feed(&datagram(&body, 2, 0, 9)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = DtlsHello::default();
            let header = [22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200];
            reader.feed(&bytes);
            reader.feed(&[&header[..], &bytes].concat());
        }
    }
}
