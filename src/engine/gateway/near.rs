//! Blocks of addresses in which listed ones lie. Nearly every packet goes to none of them: whether it does is one look into a hash
//! table, where the search among a hundred thousand ranges is eighteen steps through memory that no cache holds.

use super::listed::Listed;
use super::table::{Element, Elements, Family};
use std::net::IpAddr;

/// Blocks of a family; where ranges lie in more, they are not told.
const BLOCKS_MAX: u64 = 65_536;

impl Family {
    /// Bits of an address that say its block.
    #[must_use]
    pub const fn block_bits(self) -> u8 {
        match self {
            Self::V4 => 16,
            Self::V6 => 32,
        }
    }

    /// The number of an address' block.
    fn block(self, address: IpAddr) -> u64 {
        match address {
            IpAddr::V4(v4) => u64::from(u32::from(v4) >> (32 - self.block_bits())),
            // 32 bits are left of 128.
            IpAddr::V6(v6) => u64::try_from(u128::from(v6) >> (128 - self.block_bits())).unwrap_or(u64::MAX),
        }
    }

    /// The first address of a block.
    fn first_of(self, block: u64) -> Option<IpAddr> {
        match self {
            Self::V4 => u32::try_from(block << (32 - self.block_bits())).ok().map(|bits| IpAddr::V4(bits.into())),
            Self::V6 => Some(IpAddr::V6((u128::from(block) << (128 - self.block_bits())).into())),
        }
    }
}

/// The first address of each block of a family in which something is listed; `None` where those are too many.
pub(super) fn blocks(listed: &Listed, family: Family) -> Option<Elements> {
    let mut elements = Elements::new();
    // What is listed is in order, so that a block comes again only right after itself.
    let mut next = 0;
    for (range, _) in listed.of_family(family) {
        let (first, last) = (family.block(range.first).max(next), family.block(range.last));
        if elements.len() as u64 + (last + 1).saturating_sub(first) > BLOCKS_MAX {
            return None;
        }
        elements.extend((first..=last).filter_map(|block| Some((Element::Address(family.first_of(block)?), None))));
        next = last + 1;
    }
    Some(elements)
}

#[cfg(test)]
mod tests {
    use super::super::listed::Kind;
    use super::super::table::Range;
    use super::*;
    use crate::base::model::{Decision, Purpose};
    use std::sync::Arc;

    fn said(nets: &[&str], family: Family) -> Option<Vec<String>> {
        let kind = Arc::new(Kind { decision: Decision::Block, vendor: "b".into(), purpose: Purpose::Update });
        let range = |net: &&str| (Range::of(net.parse().unwrap()), Arc::clone(&kind));
        let listed = Listed { kinds: vec![Arc::clone(&kind)], ranges: nets.iter().map(range).collect() };
        Some(blocks(&listed, family)?.keys().map(ToString::to_string).collect())
    }

    #[test]
    fn every_listed_address_lies_in_a_block_and_each_block_is_told_once() {
        let nets = ["0.0.0.1/32", "192.0.2.0/24", "192.0.9.1/32", "198.18.0.0/15", "255.255.255.255/32"];
        let nets: Vec<&str> = nets.into_iter().chain(["2001:db8::/31", "2001:dba:1::7/128"]).collect();
        let v4 = ["0.0.0.0", "192.0.0.0", "198.18.0.0", "198.19.0.0", "255.255.0.0"];
        assert_eq!(said(&nets, Family::V4).unwrap(), v4);
        assert_eq!(said(&nets, Family::V6).unwrap(), ["2001:db8::", "2001:db9::", "2001:dba::"]);
    }

    #[test]
    fn too_many_blocks_are_not_told() {
        assert_eq!(said(&["0.0.0.0/0"], Family::V4).unwrap().len(), 65_536);
        assert_eq!(said(&["2000::/16"], Family::V6).unwrap().len(), 65_536);
        assert_eq!(said(&["2000::/16", "3000::1/128"], Family::V6), None);
        assert!(said(&["0.0.0.0/0"], Family::V6).unwrap().is_empty());
    }
}
