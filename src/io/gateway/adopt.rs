//! A table that is there already, of a process before us perhaps, goes over into the one that is wanted by its differences.
//!
//! To make it anew instead would let packets through. A packet that is on its way while the kernel goes from one generation of rules to
//! the next meets each chain that the kernel enters, and each set, as it is at that instant: the new chain while it is still empty, then
//! the old one when it is so already. Where chains and sets stay, and only rules within them are exchanged, it meets the old rules or the
//! new ones, and an element that is in both is found throughout.
//!
//! Where a table has to be made anew all the same, another one with the same rules stands beside it for that time.

use super::batch::{Batch, CREATE, GET_CHAIN, GET_ELEMENTS, GET_SET, NEW_TABLE};
use super::element;
use super::kernel::{Kernel, KernelError};
use crate::engine::gateway::{
    BRIDGE, Chain, Element, Elements, Family, HOLD, Hook, Key, Range, Set, SetKind, Table, diff,
};
use crate::io::sys::netlink::{Writer, attribute, attributes, text};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The end of a range.
const INTERVAL_END: u32 = 1;
/// What no rule stops, passes.
const ACCEPT: u32 = 1;

impl Kernel {
    /// Makes the table what is wanted by the differences; `false` where that cannot be done, and nothing was changed.
    pub(super) fn adopt(&mut self, wanted: &Table, flags: u32) -> Result<bool, KernelError> {
        let Some(found) = self.found(wanted)? else { return Ok(false) };
        let Some(changes) = diff(&found, wanted) else { return Ok(false) };
        let mut batch = Batch::new(wanted, self.sequence, self.queueing);
        batch.message(NEW_TABLE, CREATE, |m| m.number(2, flags), "the table");
        batch.changes(&changes);
        match self.commit(batch) {
            Ok(()) => Ok(true),
            // Something is in the way that was not seen.
            Err(KernelError::Refused { error, .. }) if error.raw_os_error() != Some(libc::EOPNOTSUPP) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts a table with the rules of the one that holds beside it, a step later in the packet's way; `false` where there is nothing to be
    /// held.
    pub(super) fn bridge(&mut self, table: &Table) -> Result<bool, KernelError> {
        if table.name != HOLD {
            return Ok(false);
        }
        let mut bridge = Table { name: BRIDGE, ..table.clone() };
        for (_, priority) in bridge.chains.iter_mut().filter_map(|chain| chain.hook.as_mut()) {
            *priority += 1;
        }
        // One that a process before us left behind.
        self.remove(BRIDGE)?;
        self.put(&bridge, false)?;
        Ok(true)
    }

    /// What a table has. Rules are not read: those of every chain count as others than are wanted.
    fn found(&mut self, wanted: &Table) -> Result<Option<Table>, KernelError> {
        let mut found = Table { name: wanted.name, ..Table::default() };
        found.counters = self.counters(wanted.name)?.into_keys().map(Arc::from).collect();
        let Some(chains) = self.chains(wanted.name)? else { return Ok(None) };
        found.chains = chains;
        let natures = self.natures(wanted.name)?;
        for (name, nature) in natures {
            let set = match wanted.sets.get(&*name) {
                Some(set) if nature != Nature::of(set) => return Ok(None),
                Some(set) if set.kind.is_ours() => {
                    let Some(elements) = self.elements_of(wanted.name, &name, set)? else { return Ok(None) };
                    Set { elements, ..*set }
                }
                Some(set) => Set { elements: Elements::new(), ..*set },
                // It goes, whatever it is.
                None => Set { key: Key::Port, kind: SetKind::Plain, elements: Elements::new() },
            };
            found.sets.insert(name.into(), set);
        }
        Ok(Some(found))
    }

    /// Every chain, and where the kernel enters it; `None` where one is of a kind that we never make.
    fn chains(&mut self, table: &str) -> Result<Option<Vec<Chain>>, KernelError> {
        let (mut chains, mut is_ours) = (Vec::new(), true);
        let take = |body: &[u8]| {
            if attribute(body, 1).map(text).as_deref() != Some(table) {
                return;
            }
            let hook = attribute(body, 4).map(|hook| entered(body, hook));
            is_ours &= hook != Some(None);
            let name = attribute(body, 3).map(text).unwrap_or_default().into();
            // A rule without parts is none of ours.
            chains.push(Chain { name, hook: hook.flatten(), rules: vec![Vec::new()] });
        };
        self.list(GET_CHAIN, |m| m.text(1, table), take).map_err(KernelError::Silent)?;
        Ok(is_ours.then_some(chains))
    }

    fn natures(&mut self, table: &str) -> Result<BTreeMap<String, Nature>, KernelError> {
        let mut natures = BTreeMap::new();
        let take = |body: &[u8]| {
            if attribute(body, 1).map(text).as_deref() != Some(table) {
                return;
            }
            let size = attribute(body, 9).and_then(|about| number(about, 1)).unwrap_or(0);
            let timeout = attribute(body, 11).and_then(|octets| octets.first_chunk());
            let nature = Nature {
                key: [3, 4, 5].map(|kind| number(body, kind).unwrap_or(0)),
                size,
                timeout_ms: timeout.map_or(0, |octets| u64::from_be_bytes(*octets)),
            };
            natures.insert(attribute(body, 2).map(text).unwrap_or_default(), nature);
        };
        self.list(GET_SET, |m| m.text(1, table), take).map_err(KernelError::Silent)?;
        Ok(natures)
    }

    /// The elements of a set; `None` where they are not as we write them.
    fn elements_of(&mut self, table: &str, name: &str, set: &Set) -> Result<Option<Elements>, KernelError> {
        let mut points = Vec::new();
        let ask = |m: &mut Writer| {
            m.text(1, table);
            m.text(2, name);
        };
        let take = |body: &[u8]| {
            let elements = attribute(body, 3).into_iter().flat_map(attributes);
            points.extend(elements.filter_map(|(_, element)| Point::read(element)));
        };
        self.list(GET_ELEMENTS, ask, take).map_err(KernelError::Silent)?;
        Ok(match set.key {
            Key::Address(_) if set.kind == SetKind::Plain => points.into_iter().map(Point::single).collect(),
            Key::Address(family) => ranges(family, points),
            Key::Interface => points.into_iter().map(Point::interface).collect(),
            Key::Port => None,
        })
    }
}

/// What a set is, as the kernel says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nature {
    key: [u32; 3],
    size: u32,
    timeout_ms: u64,
}

impl Nature {
    fn of(set: &Set) -> Self {
        let (size, timeout_ms) = match set.kind {
            SetKind::Logged { timeout_s, size } => (size, u64::from(timeout_s) * 1_000),
            _ => (0, 0),
        };
        Self { key: element::nature(set), size, timeout_ms }
    }
}

/// Where the kernel enters a chain; `None` where we never make such.
fn entered(chain: &[u8], hook: &[u8]) -> Option<(Hook, i32)> {
    let place = match (attribute(chain, 7).map(text)?.as_str(), number(hook, 1)?) {
        ("nat", 0) => Hook::Redirect,
        ("filter", 2) => Hook::Forward,
        ("filter", 3) => Hook::Output,
        _ => return None,
    };
    let priority = i32::from_be_bytes(*attribute(hook, 2)?.first_chunk()?);
    (number(chain, 5)? == ACCEPT).then_some((place, priority))
}

/// An element as the kernel has it: a single one, or the beginning or end of a range.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    key: Vec<u8>,
    is_start: bool,
    chain: Option<Arc<str>>,
}

impl Point {
    fn read(element: &[u8]) -> Option<Self> {
        let key = attribute(attribute(element, 1)?, 1)?.to_vec();
        let is_start = number(element, 3).unwrap_or(0) & INTERVAL_END == 0;
        let verdict = attribute(element, 2).and_then(|data| attribute(data, 2));
        let chain = verdict.and_then(|verdict| attribute(verdict, 2)).map(|name| text(name).into());
        Some(Self { key, is_start, chain })
    }

    fn address(&self) -> Option<IpAddr> {
        match self.key.len() {
            4 => Some(Ipv4Addr::from(*self.key.first_chunk::<4>()?).into()),
            16 => Some(Ipv6Addr::from(*self.key.first_chunk::<16>()?).into()),
            _ => None,
        }
    }

    fn single(self) -> Option<(Element, Option<Arc<str>>)> {
        Some((Element::Address(self.address()?), self.chain))
    }

    fn interface(self) -> Option<(Element, Option<Arc<str>>)> {
        self.is_start.then(|| (Element::Interface(text(&self.key)), self.chain))
    }
}

/// Ranges of their beginnings and ends, in whatever order; `None` where one has not both.
fn ranges(family: Family, mut points: Vec<Point>) -> Option<Elements> {
    // Where one begins as another ends, the end comes first.
    points.sort_unstable();
    let (mut elements, mut open) = (Elements::new(), None);
    for point in points {
        let at = point.address().filter(|at| Family::of(*at) == family)?;
        if point.is_start {
            if open.is_some() {
                return None;
            }
            open = Some((at, point.chain));
        } else {
            let (first, chain) = open.take()?;
            elements.insert(Element::Range(Range { first, last: before(at)? }), chain);
        }
    }
    if let Some((first, chain)) = open {
        elements.insert(Element::Range(Range { first, last: family.greatest() }), chain);
    }
    Some(elements)
}

/// The address before one; `None` before the least.
fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_sub(1).map(|before| Ipv4Addr::from(before).into()),
        IpAddr::V6(v6) => u128::from(v6).checked_sub(1).map(|before| Ipv6Addr::from(before).into()),
    }
}

fn number(octets: &[u8], kind: u16) -> Option<u32> {
    attribute(octets, kind).and_then(|octets| octets.first_chunk()).map(|octets| u32::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(key: [u8; 4], is_start: bool) -> Point {
        Point { key: key.to_vec(), is_start, chain: is_start.then(|| "c".into()) }
    }

    fn said(points: Vec<Point>) -> Option<Vec<String>> {
        let ranges = ranges(Family::V4, points)?;
        Some(ranges.iter().map(|(range, chain)| format!("{range} {}", chain.as_deref().unwrap())).collect())
    }

    #[test]
    fn ranges_are_read_in_any_order_and_only_whole() {
        let points = || {
            vec![
                point([192, 0, 2, 8], false),
                point([255, 255, 255, 0], true),
                point([192, 0, 2, 8], true),
                point([192, 0, 2, 9], false),
                point([192, 0, 2, 0], true),
            ]
        };
        let whole = ["192.0.2.0-192.0.2.7 c", "192.0.2.8 c", "255.255.255.0-255.255.255.255 c"];
        assert_eq!(said(points()), Some(whole.map(str::to_owned).to_vec()));
        let without = |gone: usize| points().into_iter().enumerate().filter(move |(at, _)| *at != gone).map(|(_, p)| p);
        for gone in [0, 2, 4] {
            assert_eq!(said(without(gone).collect()), None, "{gone}");
        }
        let of_others = vec![Point { key: vec![0; 16], is_start: true, chain: None }];
        assert_eq!(ranges(Family::V4, of_others), None);
    }
}
