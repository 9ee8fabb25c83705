//! The prefix index: flat, disjoint, sorted segments of the address line, each with the longest prefix over it.

use crate::policy::rules::ClassId;
use ipnet::IpNet;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Ranges found by longest match. Prefixes that are equal share their segments; their rules stand in the order of insertion.
#[derive(Debug, Default)]
pub(in crate::policy) struct AddressIndex {
    v4: Box<[Segment<u32>]>,
    v6: Box<[Segment<u128>]>,
    /// For IPv4, by the first 16 bits of an address: how many segments start before. Empty while there are few.
    blocks: Box<[u32]>,
    /// Rules of prefixes that more than one rule names.
    shared: Vec<Box<[Listed]>>,
    /// By the first rule of a prefix that lies within another one: what that one holds.
    outer: HashMap<u32, Holds>,
}

/// A rule and its class, which says what is wanted: kept together, so that a decision reads one line of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Listed {
    pub(in crate::policy) rule: u32,
    pub(in crate::policy) class: ClassId,
}

/// The addresses from here to the next segment.
#[derive(Clone, Copy, Debug)]
struct Segment<A> {
    from: A,
    holds: Holds,
}

/// The rules of the longest prefix over a segment.
#[derive(Clone, Copy, Debug)]
enum Holds {
    Nothing,
    One(Listed),
    Shared(u32),
}

/// Bits of an IPv4 address below its block.
const BLOCK_BITS: u32 = 16;
/// With fewer segments a plain binary search is as fast, and the blocks' 256 KiB are saved.
const SEGMENTS_FOR_BLOCKS: usize = 4_096;

/// For each block of IPv4 addresses, and for the end, how many segments start before it.
fn blocks(line: &[Segment<u32>]) -> Box<[u32]> {
    if line.len() < SEGMENTS_FOR_BLOCKS {
        return Box::default();
    }
    let start = |block: u64| line.partition_point(|segment| u64::from(segment.from) < block << BLOCK_BITS);
    (0..=1_u64 << (u32::BITS - BLOCK_BITS)).map(|block| u32::try_from(start(block)).unwrap_or(u32::MAX)).collect()
}

/// A prefix as the first and last address it holds, on a line wide enough for both families.
type Span = (u128, u128);

/// Prefixes by their first address and length, outer before inner, with their rules.
type Prefixes = BTreeMap<(u128, u8), (Span, Vec<Listed>)>;

impl AddressIndex {
    pub(in crate::policy) fn new(ranges: impl Iterator<Item = (IpNet, Listed)>) -> Self {
        let (mut v4, mut v6) = (Prefixes::new(), Prefixes::new());
        for (net, listed) in ranges {
            let (span, into) = match net {
                IpNet::V4(net) => {
                    ((u128::from(u32::from(net.network())), u128::from(u32::from(net.broadcast()))), &mut v4)
                }
                IpNet::V6(net) => ((u128::from(net.network()), u128::from(net.broadcast())), &mut v6),
            };
            into.entry((span.0, net.prefix_len())).or_insert_with(|| (span, Vec::new())).1.push(listed);
        }
        let mut made = Self::default();
        let line = made.flatten(v4, u128::from(u32::MAX));
        let narrow = |(from, holds)| Segment { from: u32::try_from(from).unwrap_or(u32::MAX), holds };
        made.v4 = line.into_iter().map(narrow).collect();
        let line = made.flatten(v6, u128::MAX);
        made.v6 = line.into_iter().map(|(from, holds)| Segment { from, holds }).collect();
        made.blocks = blocks(&made.v4);
        made
    }

    /// Sweeps prefixes in order of their first address; a stack holds those that are open.
    fn flatten(&mut self, prefixes: Prefixes, end: u128) -> Vec<(u128, Holds)> {
        let mut line = Vec::new();
        let mut open: Vec<(u128, Holds)> = Vec::new();
        for (span, rules) in prefixes.into_values() {
            close(&mut line, &mut open, Some(span.0), end);
            if let (Some(first), Some((_, around))) = (rules.first(), open.last()) {
                self.outer.insert(first.rule, *around);
            }
            let holds = match *rules {
                [one] => Holds::One(one),
                _ => {
                    self.shared.push(rules.into());
                    Holds::Shared(u32::try_from(self.shared.len() - 1).unwrap_or(u32::MAX))
                }
            };
            push(&mut line, span.0, holds);
            open.push((span.1, holds));
        }
        close(&mut line, &mut open, None, end);
        line
    }

    /// The rules of the longest prefix that holds an address. An IPv4-mapped IPv6 address is looked up as IPv4.
    #[inline]
    pub(in crate::policy) fn find(&self, address: IpAddr) -> &[Listed] {
        self.listed(self.locate(address))
    }

    /// The rules of each prefix that holds an address, the longest prefix first, as long as `each` wants more.
    pub(in crate::policy) fn walk<'a>(&'a self, address: IpAddr, mut each: impl FnMut(&'a [Listed]) -> bool) {
        let mut holds = self.locate(address);
        loop {
            let rules = self.listed(holds);
            let Some(first) = rules.first() else { return };
            if !each(rules) {
                return;
            }
            holds = self.outer.get(&first.rule);
        }
    }

    #[inline]
    fn locate(&self, address: IpAddr) -> Option<&Holds> {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let address = u32::from(v4);
                let block = (address >> BLOCK_BITS) as usize;
                match (self.blocks.get(block), self.blocks.get(block + 1)) {
                    (Some(&least), Some(&most)) => last_before(&self.v4, address, least as usize, most as usize),
                    _ => last_before(&self.v4, address, 0, self.v4.len()),
                }
            }
            IpAddr::V6(v6) => last_before(&self.v6, u128::from(v6), 0, self.v6.len()),
        }
    }

    #[inline]
    fn listed<'a>(&'a self, holds: Option<&'a Holds>) -> &'a [Listed] {
        match holds {
            None | Some(Holds::Nothing) => &[],
            Some(Holds::One(listed)) => std::slice::from_ref(listed),
            Some(Holds::Shared(at)) => self.shared.get(*at as usize).map_or(&[], |rules| rules),
        }
    }

    /// Octets held.
    pub(in crate::policy) fn bytes(&self) -> usize {
        let shared: usize = self.shared.iter().map(|rules| size_of_val(&**rules) + size_of::<Box<[Listed]>>()).sum();
        let outer = self.outer.capacity() * size_of::<(u32, Holds)>();
        size_of_val(&*self.v4) + size_of_val(&*self.v6) + size_of_val(&*self.blocks) + shared + outer
    }
}

/// The last segment that starts at or before an address: one of those between, or the one before them.
#[inline]
fn last_before<A: Ord>(line: &[Segment<A>], address: A, least: usize, most: usize) -> Option<&Holds> {
    let between = line.get(least..most).unwrap_or_default();
    let after = least + between.partition_point(|segment| segment.from <= address);
    after.checked_sub(1).and_then(|at| line.get(at)).map(|segment| &segment.holds)
}

/// Ends every open prefix that ends before `next`; what is open below it goes on.
fn close(line: &mut Vec<(u128, Holds)>, open: &mut Vec<(u128, Holds)>, next: Option<u128>, end: u128) {
    while let Some(&(last, _)) = open.last() {
        if next.is_some_and(|next| next <= last) {
            return;
        }
        open.pop();
        if last < end {
            push(line, last + 1, open.last().map_or(Holds::Nothing, |(_, holds)| *holds));
        }
    }
}

/// Begins a segment; one that would begin at the same address is replaced.
fn push(line: &mut Vec<(u128, Holds)>, from: u128, holds: Holds) {
    match line.last_mut() {
        Some(last) if last.0 == from => last.1 = holds,
        _ => line.push((from, holds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index(nets: &[IpNet]) -> AddressIndex {
        let listed = (0..).map(|rule| Listed { rule, class: ClassId(9) });
        AddressIndex::new(nets.iter().copied().zip(listed))
    }

    fn found(index: &AddressIndex, address: IpAddr) -> Vec<u32> {
        index.find(address).iter().map(|listed| listed.rule).collect()
    }

    proptest! {
        /// Against a list walked one by one.
        #[test]
        fn agrees_with_a_list(
            v4 in prop::collection::vec((any::<u32>(), 0..=32_u8), 0..40),
            v6 in prop::collection::vec((any::<u128>(), 0..=128_u8), 0..20),
            at in prop::collection::vec(any::<u32>(), 1..40),
        ) {
            // Few distinct high bits, so that prefixes nest and touch.
            let nets: Vec<IpNet> = v4.iter()
                .map(|(a, len)| IpNet::new(IpAddr::V4((a & 0x0300_00ff).into()), *len).unwrap().trunc())
                .chain(v6.iter().map(|(a, len)| IpNet::new(IpAddr::V6((a & (3 << 120 | 0xff)).into()), *len).unwrap().trunc()))
                .collect();
            let index = index(&nets);
            let edges = nets.iter().flat_map(|net| [net.network(), net.broadcast()]);
            let random = at.iter().map(|a| IpAddr::V4((a & 0x0300_01ff).into()));
            for address in edges.chain(random).map(|address| address.to_canonical()).collect::<Vec<_>>() {
                let longest = nets.iter().filter(|net| net.contains(&address)).map(IpNet::prefix_len).max();
                let expected: Vec<u32> = (0..).zip(&nets)
                    .filter(|(_, net)| net.contains(&address) && Some(net.prefix_len()) == longest)
                    .map(|(rule, _)| rule).collect();
                prop_assert_eq!(found(&index, address), expected, "{}", address);
                let mut lengths: Vec<u8> =
                    nets.iter().filter(|net| net.contains(&address)).map(IpNet::prefix_len).collect();
                lengths.sort_unstable_by(|a, b| b.cmp(a));
                lengths.dedup();
                let mut walked = Vec::new();
                index.walk(address, |rules| {
                    walked.push(nets[rules[0].rule as usize].prefix_len());
                    true
                });
                prop_assert_eq!(walked, lengths, "{}", address);
            }
        }
    }

    #[test]
    fn with_so_many_segments_that_blocks_are_used_the_answers_are_the_same() {
        let net =
            |i: u32| IpNet::new(IpAddr::V4(i.wrapping_mul(0x9e37_79b9).into()), 12 + (i % 21) as u8).unwrap().trunc();
        let nets: Vec<IpNet> = (0..6_000).map(net).collect();
        let index = index(&nets);
        assert!(!index.blocks.is_empty());
        for i in 0..2_000_u32 {
            let address = IpAddr::V4(i.wrapping_mul(0x85eb_ca6b).into());
            let longest = nets.iter().filter(|net| net.contains(&address)).max_by_key(|net| net.prefix_len());
            let first = found(&index, address).first().map(|rule| nets[*rule as usize]);
            assert_eq!(first, longest.copied(), "{address}");
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_one() {
        let index = index(&["192.0.2.0/24".parse().unwrap()]);
        assert_eq!(found(&index, "::ffff:192.0.2.9".parse().unwrap()), [0]);
        assert_eq!(found(&index, "192.0.3.0".parse().unwrap()), [0_u32; 0]);
    }
}
