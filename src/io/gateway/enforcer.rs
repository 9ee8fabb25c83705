//! Keeps the kernel as it is wanted: puts tables in force, changes them by their differences, mends what others did to them.

use super::encode::Queueing;
use super::kernel::{Counted, Held, Kernel, KernelError, Shape};
use crate::engine::gateway::{BRIDGE, Element, HOLD, MAIN, Table, Wanted, diff};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The tables that are in force, and the way to the kernel.
#[derive(Debug)]
pub struct Enforcer {
    kernel: Kernel,
    /// Whether nobody else may change the hold table.
    protect: bool,
    now: Option<Wanted>,
    held: Option<Held>,
}

/// What counters counted, and who may change the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Of the hold table; `None` where it is not there.
    pub hold: Option<Held>,
    /// Of the other table.
    pub main: Option<Held>,
    /// Counters of both.
    pub counters: BTreeMap<String, Counted>,
}

impl Enforcer {
    /// Opens the way to the kernel; nothing is changed.
    ///
    /// # Errors
    /// No privilege, no nftables.
    pub fn open(protect: bool) -> Result<Self, KernelError> {
        Ok(Self { kernel: Kernel::open()?, protect, now: None, held: None })
    }

    /// Puts tables in force: the differences to those that are, or all of them where this process did not put any yet.
    ///
    /// # Errors
    /// What the kernel refuses. A table that was refused is as before.
    pub fn enforce(&mut self, wanted: Wanted) -> Result<(), KernelError> {
        let now = self.now.take();
        let put = self.put(now.as_ref(), &wanted);
        // After a refusal the next attempt begins from nothing.
        self.now = put.is_ok().then_some(wanted);
        put
    }

    fn put(&mut self, now: Option<&Wanted>, wanted: &Wanted) -> Result<(), KernelError> {
        match now.and_then(|now| diff(&now.hold, &wanted.hold)) {
            Some(changes) => self.kernel.change(&wanted.hold, &changes)?,
            None => {
                self.held = Some(self.kernel.put(&wanted.hold, self.protect)?);
                // Of a process that did not come to its end.
                self.kernel.remove(BRIDGE)?;
            }
        }
        match now.and_then(|now| diff(&now.main, &wanted.main)) {
            Some(changes) => self.kernel.change(&wanted.main, &changes),
            None => self.kernel.put(&wanted.main, false).map(|_| ()),
        }
    }

    /// Looks whether the kernel still has what was put in force, and puts it in force again where it has not. `thorough` counts the
    /// elements of sets too. The names of what was mended.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn mend(&mut self, thorough: bool) -> Result<BTreeSet<String>, KernelError> {
        let Some(now) = &self.now else { return Ok(BTreeSet::new()) };
        let mut mended = BTreeSet::new();
        for table in [&now.hold, &now.main] {
            let own = table.name == HOLD && self.held == Some(Held::Owned);
            let held = self.kernel.held(table.name)?;
            // What nobody else can change need not be looked at further.
            if own && held == Some(Held::Owned) {
                continue;
            }
            let found = self.kernel.shape(table, thorough)?;
            let wanted = Shape::wanted(table, thorough);
            match found {
                Some(found) if found == wanted && !own => continue,
                Some(found) => {
                    mended.extend(found.differences(&wanted).into_iter().map(|name| format!("{}: {name}", table.name)))
                }
                None => {}
            }
            mended.insert(table.name.to_owned());
            let put = self.kernel.put(table, table.name == HOLD && self.protect)?;
            if table.name == HOLD {
                self.held = Some(put);
            }
        }
        Ok(mended)
    }

    /// What is in force by this process.
    #[must_use]
    pub const fn in_force(&self) -> Option<&Wanted> {
        self.now.as_ref()
    }

    /// What the kernel has, whoever put it there.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn found(&mut self) -> Result<Found, KernelError> {
        let mut counters = self.kernel.counters(HOLD)?;
        for (name, counted) in self.kernel.counters(MAIN)? {
            let sum: &mut Counted = counters.entry(name).or_default();
            sum.packets = sum.packets.saturating_add(counted.packets);
            sum.octets = sum.octets.saturating_add(counted.octets);
        }
        Ok(Found { hold: self.kernel.held(HOLD)?, main: self.kernel.held(MAIN)?, counters })
    }

    /// How rules hand packets to us, on this kernel.
    #[must_use]
    pub const fn queueing(&self) -> Queueing {
        self.kernel.queueing()
    }

    /// Removes both tables; says which were there.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn remove(&mut self) -> Result<Vec<&'static str>, KernelError> {
        self.now = None;
        let mut gone = Vec::new();
        // Where the first belongs to another process, so does the second.
        for name in [HOLD, MAIN, BRIDGE] {
            if self.kernel.remove(name)? {
                gone.push(name);
            }
        }
        Ok(gone)
    }
}

/// Lets go on what lapses unless it is renewed: the redirect of DNS, the inspection of names. It has a way to the kernel of its own:
/// whoever renews must wait for
/// nothing else.
#[derive(Debug)]
pub struct Renewer {
    kernel: Kernel,
}

impl Renewer {
    /// Opens the way to the kernel.
    ///
    /// # Errors
    /// No privilege, no nftables.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self { kernel: Kernel::open()? })
    }

    /// Renews elements of a set; they go on for `lifetime`.
    ///
    /// # Errors
    /// What the kernel refuses: the table may be gone, until it is mended.
    pub fn renew(
        &mut self,
        set: &str,
        elements: impl IntoIterator<Item = Element>,
        lifetime: Duration,
    ) -> Result<(), KernelError> {
        let table = Table { name: MAIN, ..Table::default() };
        let elements = elements.into_iter().map(|element| (element, None)).collect();
        self.kernel.renew(&table, set, &elements, lifetime)
    }
}
