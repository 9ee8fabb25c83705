//! Sets whose elements end by themselves: what lapses unless it is renewed, and addresses that were learned.

use super::batch::{Batch, DELETE_ELEMENTS, GET_ELEMENTS, NEW_ELEMENTS};
use super::kernel::{Kernel, KernelError};
use crate::base::model::Mono;
use crate::engine::gateway::{
    Element, Elements, Family, LEARNED_OBSERVED, LEARNED_REFUSED, MAIN, Table, Taught, nat64,
};
use crate::io::sys::netlink::{Writer, attribute, attributes};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

impl Kernel {
    /// Lets elements of a timed set live for `lifetime` from now on.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn renew(
        &mut self,
        table: &Table,
        set: &str,
        elements: &Elements,
        lifetime: Duration,
    ) -> Result<(), KernelError> {
        let lifetime = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        // An element that is there keeps the end that it has, so it goes first; one that is not there cannot go.
        for goes_first in [true, false] {
            let mut batch = Batch::new(table, self.sequence, self.queueing);
            if goes_first {
                batch.elements(DELETE_ELEMENTS, set, elements, None);
            }
            batch.elements(NEW_ELEMENTS, set, elements, Some(lifetime));
            match self.commit(batch) {
                Err(KernelError::Refused { error, .. }) if goes_first && error.raw_os_error() == Some(libc::ENOENT) => {
                }
                other => return other,
            }
        }
        Ok(())
    }

    /// The addresses in a set; `None` where there is no such set.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn addresses(&mut self, table: &str, set: &str) -> Result<Option<BTreeSet<IpAddr>>, KernelError> {
        let mut all = BTreeSet::new();
        let ask = |m: &mut Writer| {
            m.text(1, table);
            m.text(2, set);
        };
        let take = |body: &[u8]| {
            let elements = attribute(body, 3).into_iter().flat_map(attributes);
            all.extend(elements.filter_map(|(_, element)| address(attribute(attribute(element, 1)?, 1)?)));
        };
        match self.list(GET_ELEMENTS, ask, take) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            other => other.map(|()| Some(all)).map_err(KernelError::Silent),
        }
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => Some(Ipv4Addr::from(*octets.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*octets.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// Keeps the sets of learned addresses as they are wanted, by their differences.
#[derive(Debug)]
pub struct Teaching {
    kernel: Kernel,
    /// What the kernel has from us, as far as we know.
    put: Taught,
}

impl Teaching {
    /// Opens the way to the kernel.
    ///
    /// # Errors
    /// No privilege, no nftables.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self { kernel: Kernel::open()?, put: Taught::new() })
    }

    /// Makes the sets what is wanted. With `look`, what the kernel really has is asked first: others may have changed it, and it forgets by
    /// itself. How many elements the kernel was told about.
    ///
    /// # Errors
    /// What the kernel refuses; then the sets are as before, and the next call looks.
    pub fn sync(&mut self, now: Mono, wanted: &Taught, look: bool) -> Result<usize, KernelError> {
        if look {
            self.look()?;
        }
        let result = self.tell(now, wanted);
        if result.is_err() {
            // One that has just ended cannot be taken out.
            self.look()?;
            return self.tell(now, wanted);
        }
        result
    }

    fn look(&mut self) -> Result<(), KernelError> {
        let mut found = Taught::new();
        for (sets, is_refused) in [(LEARNED_OBSERVED, false), (LEARNED_REFUSED, true)] {
            for set in sets {
                for address in self.kernel.addresses(MAIN, set)?.unwrap_or_default() {
                    let until =
                        self.put.get(&address).filter(|(known, _)| *known == is_refused).map(|(_, until)| *until);
                    found.insert(address, (is_refused, until.unwrap_or(Mono::START)));
                }
            }
        }
        self.put = found;
        Ok(())
    }

    fn tell(&mut self, now: Mono, wanted: &Taught) -> Result<usize, KernelError> {
        // Every IPv4 address has its NAT64 form beside it, as listed ones have.
        let forms = |(address, how): (&IpAddr, &(bool, Mono))| {
            let how = *how;
            [Some(*address), nat64(*address)].into_iter().flatten().map(move |address| (address, how))
        };
        let wanted: Taught = wanted.iter().flat_map(forms).collect();
        let (gone, come) = differences(now, &self.put, &wanted);
        if gone.is_empty() && come.is_empty() {
            return Ok(0);
        }
        let table = Table { name: MAIN, ..Table::default() };
        let mut batch = Batch::new(&table, self.kernel.sequence, self.kernel.queueing);
        for (set, elements) in &by_set(gone.iter().map(|(address, is_refused)| (*address, *is_refused, ()))) {
            batch.elements(DELETE_ELEMENTS, set.0, elements, None);
        }
        let timed = come.iter().map(|(address, (is_refused, until))| (*address, *is_refused, seconds(now, *until)));
        for ((set, seconds), elements) in &by_set(timed) {
            batch.elements(NEW_ELEMENTS, set, elements, Some(seconds * 1_000));
        }
        self.kernel.commit(batch)?;
        let told = gone.len() + come.len();
        self.put.retain(|address, _| !gone.contains_key(address));
        self.put.extend(come);
        Ok(told)
    }
}

/// Whole seconds from now on, at least one.
fn seconds(now: Mono, until: Mono) -> u64 {
    until.since(now).as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX).max(1)
}

/// What goes out, and from which kind of set; what comes in.
fn differences(now: Mono, put: &Taught, wanted: &Taught) -> (BTreeMap<IpAddr, bool>, Taught) {
    let (mut gone, mut come) = (BTreeMap::new(), Taught::new());
    for (address, (is_refused, until)) in put {
        let left = until.since(now);
        match wanted.get(address) {
            Some((same, wanted)) if same == is_refused && left > wanted.since(now) / 2 => {}
            Some(_) => drop(gone.insert(*address, *is_refused)),
            // What is about to end does so by itself.
            None if *until > Mono::START && left < Duration::from_secs(1) => {}
            None => drop(gone.insert(*address, *is_refused)),
        }
    }
    for (address, how) in wanted {
        if gone.contains_key(address) || !put.contains_key(address) {
            come.insert(*address, *how);
        }
    }
    (gone, come)
}

/// Elements by set, and by what else tells them apart.
fn by_set<T: Ord>(all: impl Iterator<Item = (IpAddr, bool, T)>) -> BTreeMap<(&'static str, T), Elements> {
    let mut sets: BTreeMap<(&'static str, T), Elements> = BTreeMap::new();
    for (address, is_refused, how) in all {
        let [v4, v6] = if is_refused { LEARNED_REFUSED } else { LEARNED_OBSERVED };
        let set = if Family::of(address) == Family::V4 { v4 } else { v6 };
        sets.entry((set, how)).or_default().insert(Element::Address(address), None);
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told_and_what_is_half_over_is_renewed() {
        let at = |seconds: u64| Mono::from_nanos(seconds * 1_000_000_000);
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let put: Taught = [
            (address(1), (false, at(100))),
            (address(2), (false, at(100))),
            (address(3), (false, at(100))),
            (address(4), (false, at(20))),
            (address(5), (true, at(100))),
            (address(6), (true, Mono::START)),
        ]
        .into();
        let wanted: Taught = [
            (address(1), (false, at(105))),
            (address(2), (true, at(100))),
            (address(4), (false, at(100))),
            (address(7), (false, at(100))),
        ]
        .into();
        let (gone, come) = differences(at(10), &put, &wanted);
        let expected = [(2, false), (3, false), (4, false), (5, true), (6, true)];
        assert_eq!(gone, expected.map(|(last, is_refused)| (address(last), is_refused)).into());
        assert_eq!(come.keys().copied().collect::<Vec<_>>(), [address(2), address(4), address(7)]);
        let (gone, come) = differences(at(10), &come, &come);
        assert!(gone.is_empty() && come.is_empty());
    }
}
