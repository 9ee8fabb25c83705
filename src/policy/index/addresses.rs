//! The prefix index: flat, disjoint, sorted segments of the address line, each with the longest prefix over it.

use crate::base::model::meant;
use crate::policy::rules::ClassId;
use ipnet::IpNet;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Ranges found by longest match. Prefixes that are equal share their segments; their rules stand in the order of insertion.
#[derive(Debug, Default)]
pub(in crate::policy) struct AddressIndex {
    /// Of where a segment begins its low half; the high half is its block.
    v4: Line<u16>,
    v6: Line<u128>,
    /// For each block of IPv4 addresses, and for the end, how many segments start before it. Empty where there is no segment.
    blocks: Box<[u32]>,
    /// Rules of prefixes that more than one rule names.
    shared: Vec<Box<[Listed]>>,
    /// By the first rule of a prefix that lies within another one: what that one holds.
    outer: HashMap<u32, Listed>,
}

/// A rule and its class, which says what is wanted: kept together, so that a decision reads one line of memory. Where a
/// segment has no rule or several, the number says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Listed {
    pub(in crate::policy) rule: u32,
    pub(in crate::policy) class: ClassId,
}

impl Listed {
    /// No rule.
    const NOTHING: Self = Self { rule: u32::MAX, class: ClassId(0) };
    /// Set where the rest of the number is a place in [`AddressIndex::shared`]; rules are far fewer.
    const SHARED: u32 = 1 << 31;
}

/// Where segments begin, in order, and what is the longest prefix over each.
#[derive(Debug, Default)]
struct Line<A> {
    from: Box<[A]>,
    holds: Box<[Listed]>,
    /// A bit a segment, whether it has a rule: most addresses are in none, and end at this small part of the line.
    taken: Box<[u64]>,
}

impl<A> Line<A> {
    fn new(from: Vec<A>, holds: Vec<Listed>) -> Self {
        let word = |holds: &[Listed]| {
            holds.iter().rev().fold(0, |word, listed| word << 1 | u64::from(*listed != Listed::NOTHING))
        };
        let taken = holds.chunks(64).map(word).collect();
        Self { from: from.into(), holds: holds.into(), taken }
    }

    /// What the segment before this place holds.
    #[inline]
    fn before(&self, place: usize) -> Option<&Listed> {
        let at = place.checked_sub(1)?;
        let taken = self.taken.get(at / 64)? >> (at % 64) & 1;
        if taken == 0 { None } else { self.holds.get(at) }
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.from) + size_of_val(&*self.holds) + size_of_val(&*self.taken)
    }
}

/// Blocks of IPv4 addresses, by their high half.
const BLOCKS: usize = 1 << 16;
/// Segments of a block that are compared at once, without a branch that the processor would have to guess.
const LANES: usize = 8;

/// High and low half of an IPv4 address.
#[inline]
const fn halves(address: u32) -> (usize, u16) {
    ((address >> 16) as usize, (address & 0xffff) as u16)
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
        (made.blocks, made.v4) = in_blocks(&line);
        let (from, holds): (Vec<u128>, Vec<Listed>) = made.flatten(v6, u128::MAX).into_iter().unzip();
        made.v6 = Line::new(from, holds);
        made
    }

    /// Sweeps prefixes in order of their first address; a stack holds those that are open.
    fn flatten(&mut self, prefixes: Prefixes, end: u128) -> Vec<(u128, Listed)> {
        let mut line = Vec::new();
        let mut open: Vec<(u128, Listed)> = Vec::new();
        for (span, rules) in prefixes.into_values() {
            close(&mut line, &mut open, Some(span.0), end);
            if let (Some(first), Some((_, around))) = (rules.first(), open.last()) {
                self.outer.insert(first.rule, *around);
            }
            let holds = match *rules {
                [one] => one,
                _ => {
                    self.shared.push(rules.into());
                    let place = u32::try_from(self.shared.len() - 1).unwrap_or(u32::MAX);
                    Listed { rule: Listed::SHARED | place, ..Listed::NOTHING }
                }
            };
            push(&mut line, span.0, holds);
            open.push((span.1, holds));
        }
        close(&mut line, &mut open, None, end);
        line
    }

    /// The rules of the longest prefix that holds an address, as it is meant.
    #[inline]
    pub(in crate::policy) fn find(&self, address: &IpAddr) -> &[Listed] {
        self.listed(self.locate(address))
    }

    /// The rules of each prefix that holds an address, the longest prefix first, as long as `each` wants more.
    pub(in crate::policy) fn walk<'a>(&'a self, address: &IpAddr, mut each: impl FnMut(&'a [Listed]) -> bool) {
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

    /// Takes the address by reference: moving an `IpAddr` about costs more than finding it.
    #[inline]
    fn locate(&self, address: &IpAddr) -> Option<&Listed> {
        match *address {
            IpAddr::V4(v4) => self.v4.before(self.started(u32::from(v4))?),
            IpAddr::V6(_) => self.locate_v6(*address),
        }
    }

    fn locate_v6(&self, address: IpAddr) -> Option<&Listed> {
        match meant(address) {
            IpAddr::V4(v4) => self.v4.before(self.started(u32::from(v4))?),
            IpAddr::V6(v6) => self.v6.before(self.v6.from.partition_point(|from| *from <= u128::from(v6))),
        }
    }

    /// How many segments start at or before an address.
    #[inline]
    fn started(&self, address: u32) -> Option<usize> {
        let (block, low) = halves(address);
        let &[least, most] = self.blocks.get(block..)?.first_chunk()?;
        let (least, most) = (least as usize, most as usize);
        if most - least > LANES {
            return Some(least + self.v4.from.get(least..most)?.partition_point(|from| *from <= low));
        }
        let lanes: &[u16; LANES] = self.v4.from.get(least..)?.first_chunk()?;
        let started: [u8; LANES] = lanes.map(|from| if from <= low { u8::MAX } else { 0 });
        let run = (!u64::from_le_bytes(started)).trailing_zeros() / u8::BITS;
        Some(least + (run as usize).min(most - least))
    }

    #[inline]
    fn listed<'a>(&'a self, holds: Option<&'a Listed>) -> &'a [Listed] {
        match holds {
            None => &[],
            Some(listed) if listed.rule & Listed::SHARED == 0 => std::slice::from_ref(listed),
            Some(listed) => self.shared.get((listed.rule & !Listed::SHARED) as usize).map_or(&[], |rules| rules),
        }
    }

    /// Octets held.
    pub(in crate::policy) fn bytes(&self) -> usize {
        let shared: usize = self.shared.iter().map(|rules| size_of_val(&**rules) + size_of::<Box<[Listed]>>()).sum();
        let outer = self.outer.capacity() * size_of::<(u32, Listed)>();
        self.v4.bytes() + self.v6.bytes() + size_of_val(&*self.blocks) + shared + outer
    }
}

/// The line of IPv4 in blocks.
fn in_blocks(line: &[(u128, Listed)]) -> (Box<[u32]>, Line<u16>) {
    if line.is_empty() {
        return <_>::default();
    }
    let mut blocks = vec![0_u32; BLOCKS + 1];
    let mut from = Vec::with_capacity(line.len() + LANES);
    for (start, _) in line {
        let (block, low) = halves(u32::try_from(*start).unwrap_or(u32::MAX));
        from.push(low);
        blocks.get_mut(block + 1).into_iter().for_each(|count| *count += 1);
    }
    let mut started = 0;
    for count in &mut blocks {
        started += *count;
        *count = started;
    }
    // The last block is read as widely as any.
    from.extend([u16::MAX; LANES]);
    (blocks.into(), Line::new(from, line.iter().map(|(_, holds)| *holds).collect()))
}

/// Ends every open prefix that ends before `next`; what is open below it goes on.
fn close(line: &mut Vec<(u128, Listed)>, open: &mut Vec<(u128, Listed)>, next: Option<u128>, end: u128) {
    while let Some(&(last, _)) = open.last() {
        if next.is_some_and(|next| next <= last) {
            return;
        }
        open.pop();
        if last < end {
            push(line, last + 1, open.last().map_or(Listed::NOTHING, |(_, holds)| *holds));
        }
    }
}

/// Begins a segment; one that would begin at the same address is replaced.
fn push(line: &mut Vec<(u128, Listed)>, from: u128, holds: Listed) {
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
        index.find(&address).iter().map(|listed| listed.rule).collect()
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
                index.walk(&address, |rules| {
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
