//! IEEE 802.11 data frames that are not encrypted, as monitoring interfaces and CAPWAP have them.

use super::Fault;
use super::link::Link;
use super::shim::Layer;
use crate::base::model::Mac;

/// Steps over a radiotap header (<https://www.radiotap.org>).
pub(super) fn after_radiotap(bytes: &[u8]) -> Result<&[u8], Fault> {
    let &[version, _, l0, l1] = bytes.first_chunk::<4>().ok_or(Fault::Short)?;
    if version != 0 {
        return Err(Fault::Malformed);
    }
    bytes.get(usize::from(u16::from_le_bytes([l0, l1]))..).ok_or(Fault::Short)
}

/// The header of a frame (IEEE 802.11-2020 §9.2.4). What is no data frame, or is encrypted, carries nothing.
pub(super) fn read<'a>(bytes: &'a [u8], link: &mut Link) -> Result<(Layer, &'a [u8]), Fault> {
    const TO_DS: u8 = 0x01;
    const FROM_DS: u8 = 0x02;
    const PROTECTED: u8 = 0x40;
    const ORDER: u8 = 0x80;
    let (head, mut rest) = bytes.split_first_chunk::<24>().ok_or(Fault::Short)?;
    // There is only version 0. Some access points write the two octets of frame control the other way round (in CAPWAP), and then
    // the direction stands where the version should.
    let &[first, second, _, _, ref addresses @ .., _, _] = head;
    let (kind, flags) = if first & 3 == 0 { (first, second) } else { (second, first) };
    let is_data = kind & 0x0c == 0x08;
    let is_empty = kind & 0x40 != 0;
    if !is_data || is_empty || flags & PROTECTED != 0 {
        return Ok((Layer::Unknown(0), bytes));
    }
    let &[one, two, three] = addresses.as_chunks::<6>().0 else { return Err(Fault::Short) };
    let (dst, mut src) = match (flags & TO_DS != 0, flags & FROM_DS != 0) {
        (false, false) => (one, two),
        (false, true) => (one, three),
        (true, _) => (three, two),
    };
    if flags & (TO_DS | FROM_DS) == TO_DS | FROM_DS {
        (src, rest) = rest.split_first_chunk().map(|(src, rest)| (*src, rest)).ok_or(Fault::Short)?;
    }
    let has_qos = kind & 0x80 != 0;
    if has_qos {
        let control = *rest.first().ok_or(Fault::Short)?;
        rest = rest.get(2..).ok_or(Fault::Short)?;
        if flags & ORDER != 0 {
            rest = rest.get(4..).ok_or(Fault::Short)?;
        }
        // Several frames in one; the first one's header has both addresses and a length.
        if control & 0x80 != 0 {
            rest = rest.get(14..).ok_or(Fault::Short)?;
        }
    }
    link.dst_mac = Some(Mac(dst));
    link.src_mac = Some(Mac(src));
    Ok((Layer::Llc, rest))
}
