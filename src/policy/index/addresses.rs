//! The prefix index: flat, disjoint, sorted segments of the address line, each with the longest prefix over it.

use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Ranges found by longest match. Equal prefixes share one node, whose rules stand in the order of insertion.
#[derive(Debug, Default)]
pub(in crate::policy) struct AddressIndex {
    v4: Segments<u32>,
    v6: Segments<u128>,
    /// Rule numbers, grouped by node.
    rules: Vec<u32>,
    /// Where each node's rules start; one more than there are nodes.
    starts: Vec<u32>,
    /// The next wider prefix around each node's, or [`NOTHING`].
    outer: Vec<u32>,
}

/// No prefix covers this segment.
const NOTHING: u32 = u32::MAX;

#[derive(Debug, Default)]
struct Segments<A> {
    from: Vec<A>,
    node: Vec<u32>,
}

impl<A: Ord + Copy> Segments<A> {
    fn push(&mut self, from: A, node: u32) {
        if self.from.last() == Some(&from) {
            if let Some(last) = self.node.last_mut() {
                *last = node;
            }
        } else {
            self.from.push(from);
            self.node.push(node);
        }
    }

    fn find(&self, address: A) -> u32 {
        let after = self.from.partition_point(|from| *from <= address);
        after.checked_sub(1).and_then(|at| self.node.get(at)).copied().unwrap_or(NOTHING)
    }
}

/// A prefix as the first and last address it holds, on a line wide enough for both families.
type Span = (u128, u128);

impl AddressIndex {
    pub(in crate::policy) fn new(ranges: impl Iterator<Item = (IpNet, u32)>) -> Self {
        let mut v4: BTreeMap<(u128, u8), (Span, Vec<u32>)> = BTreeMap::new();
        let mut v6 = v4.clone();
        for (net, rule) in ranges {
            let (span, into) = match net {
                IpNet::V4(net) => {
                    ((u128::from(u32::from(net.network())), u128::from(u32::from(net.broadcast()))), &mut v4)
                }
                IpNet::V6(net) => ((u128::from(net.network()), u128::from(net.broadcast())), &mut v6),
            };
            into.entry((span.0, net.prefix_len())).or_insert_with(|| (span, Vec::new())).1.push(rule);
        }
        let mut made = Self { starts: vec![0], ..Self::default() };
        let line4 = made.flatten(v4, u128::from(u32::MAX));
        for (from, node) in line4 {
            made.v4.push(u32::try_from(from).unwrap_or(u32::MAX), node);
        }
        let line6 = made.flatten(v6, u128::MAX);
        for (from, node) in line6 {
            made.v6.push(from, node);
        }
        made
    }

    /// Sweeps prefixes in order of their first address, outer before inner; a stack holds those that are open.
    fn flatten(&mut self, prefixes: BTreeMap<(u128, u8), (Span, Vec<u32>)>, end: u128) -> Vec<(u128, u32)> {
        let mut line = Vec::new();
        let mut open: Vec<(u128, u32)> = Vec::new();
        for (span, rules) in prefixes.into_values() {
            Self::close(&mut line, &mut open, Some(span.0), end);
            let node = u32::try_from(self.starts.len() - 1).unwrap_or(NOTHING);
            self.rules.extend(rules);
            self.starts.push(u32::try_from(self.rules.len()).unwrap_or(u32::MAX));
            self.outer.push(open.last().map_or(NOTHING, |(_, node)| *node));
            line.push((span.0, node));
            open.push((span.1, node));
        }
        Self::close(&mut line, &mut open, None, end);
        line
    }

    /// Ends every open prefix that ends before `next`; what is open below it goes on.
    fn close(line: &mut Vec<(u128, u32)>, open: &mut Vec<(u128, u32)>, next: Option<u128>, end: u128) {
        while let Some(&(last, _)) = open.last() {
            if next.is_some_and(|next| next <= last) {
                return;
            }
            open.pop();
            if last < end {
                line.push((last + 1, open.last().map_or(NOTHING, |(_, node)| *node)));
            }
        }
    }

    /// The rules of each prefix that holds an address, the longest prefix first, as long as `each` wants more. An
    /// IPv4-mapped IPv6 address is looked up as IPv4.
    pub(in crate::policy) fn walk(&self, address: IpAddr, mut each: impl FnMut(&[u32]) -> bool) {
        let mut node = match address.to_canonical() {
            IpAddr::V4(v4) => self.v4.find(u32::from(v4)),
            IpAddr::V6(v6) => self.v6.find(u128::from(v6)),
        };
        while node != NOTHING && each(self.rules_of(node)) {
            node = self.outer.get(node as usize).copied().unwrap_or(NOTHING);
        }
    }

    fn rules_of(&self, node: u32) -> &[u32] {
        let node = node as usize;
        let bounds = (self.starts.get(node), self.starts.get(node + 1));
        let (Some(&from), Some(&to)) = bounds else { return &[] };
        self.rules.get(from as usize..to as usize).unwrap_or_default()
    }

    /// Octets held.
    pub(in crate::policy) fn bytes(&self) -> usize {
        self.v4.from.len() * 8 + self.v6.from.len() * 20 + (self.rules.len() + self.starts.len() + self.outer.len()) * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rules of the `most` longest prefixes.
    fn walked(index: &AddressIndex, address: IpAddr, most: usize) -> Vec<Vec<u32>> {
        let mut all = Vec::new();
        index.walk(address, |rules| {
            all.push(rules.to_vec());
            all.len() < most
        });
        all
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
            let index = AddressIndex::new(nets.iter().copied().zip(0..));
            let edges = nets.iter().flat_map(|net| [net.network(), net.broadcast()]);
            let random = at.iter().map(|a| IpAddr::V4((a & 0x0300_01ff).into()));
            for address in edges.chain(random).map(|address| address.to_canonical()).collect::<Vec<_>>() {
                let mut lengths: Vec<u8> =
                    nets.iter().filter(|net| net.contains(&address)).map(IpNet::prefix_len).collect();
                lengths.sort_unstable_by(|a, b| b.cmp(a));
                lengths.dedup();
                let expected: Vec<Vec<u32>> = lengths.iter().map(|length| {
                    (0..).zip(&nets)
                        .filter(|(_, net)| net.contains(&address) && net.prefix_len() == *length)
                        .map(|(rule, _)| rule).collect()
                }).collect();
                prop_assert_eq!(walked(&index, address, usize::MAX), &expected[..], "{}", address);
                prop_assert_eq!(walked(&index, address, 1), expected.get(..1).unwrap_or_default(), "{}", address);
            }
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_one() {
        let index = AddressIndex::new([("192.0.2.0/24".parse().unwrap(), 7)].into_iter());
        assert_eq!(walked(&index, "::ffff:192.0.2.9".parse().unwrap(), 9), [[7]]);
        assert!(walked(&index, "192.0.3.0".parse().unwrap(), 9).is_empty());
    }
}
