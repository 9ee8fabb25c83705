//! Tables put in force, changed, looked at and removed, each at once or not at all.
//!
//! A table that we own (kernel 5.12) cannot be changed or flushed by anybody else as long as this socket is open; one that persists
//! (6.9) stays when it closes, and goes on as before. The next process that puts the table in force takes it over.

use super::batch::{
    Batch, CREATE, DELETE_CHAIN, DELETE_RULE, DELETE_SET, DELETE_TABLE, DUMP, GET_CHAIN, GET_ELEMENTS, GET_OBJECT,
    GET_RULE, GET_SET, GET_TABLE, NEW_ELEMENTS, NEW_TABLE, OBJECT_COUNTER, OWNER, PERSIST, REQUEST, generic, kind,
};
use super::element;
use super::encode::Queueing;
use crate::engine::gateway::{BRIDGE, Chain, Change, Hook, Part, Table, Then};
use crate::io::sys::netlink::{Message, Netlink, Writer, attribute, attributes, text};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

/// How long the kernel may take to say what became of a batch; a hundred thousand ranges take a second or two.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a listing is begun again because somebody changed it meanwhile.
const LISTING_TRIES_MAX: usize = 50;
/// Octets that may wait to be received.
const RECEIVE_OCTETS: usize = 8 << 20;

/// The table that is never made: it only asks whether one could be.
const PROBED: &str = "interdict-probed";

/// Why the kernel does not have what it should.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No privilege.
    #[error(
        "the kernel's packet filter may not be changed by this user: run as root, or as a service with CAP_NET_ADMIN"
    )]
    NotAllowed,
    /// No nftables.
    #[error("this kernel has no nftables (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET): {0}; nothing was changed")]
    Unsuitable(io::Error),
    /// Somebody else owns the table.
    #[error("the table {0} belongs to another running process, an interdict daemon perhaps; nothing was changed")]
    Owned(&'static str),
    /// Something was refused.
    #[error("the kernel refuses {what}: {error}; the table stays as it was")]
    Refused {
        /// What.
        what: String,
        /// Why.
        error: io::Error,
    },
    /// The kernel did not answer.
    #[error("the kernel's packet filter does not answer: {0}")]
    Silent(io::Error),
}

/// Who may change a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nobody but us, and it outlives us.
    Owned,
    /// Everybody with the privilege.
    Plain,
}

/// What a counter counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Packets.
    pub packets: u64,
    /// Octets.
    pub octets: u64,
}

/// A table as the kernel has it, as far as it takes to see that somebody changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Rules of each chain.
    pub rules: BTreeMap<String, usize>,
    /// Elements of each set that is ours to fill.
    pub elements: BTreeMap<String, usize>,
}

/// The kernel's packet filter.
#[derive(Debug)]
pub struct Kernel {
    socket: Netlink,
    pub(super) sequence: u32,
    pub(super) queueing: Queueing,
}

impl Kernel {
    /// Opens the way to it, and looks whether it can be used.
    ///
    /// # Errors
    /// No privilege, no nftables.
    pub fn open() -> Result<Self, KernelError> {
        let socket = Netlink::open(PATIENCE).map_err(unsuitable)?;
        socket.make_room(1 << 20, RECEIVE_OCTETS).map_err(unsuitable)?;
        let mut made = Self { socket, sequence: 0, queueing: Queueing::Native };
        made.list(GET_TABLE, |_| {}, |_| {}).map_err(unsuitable)?;
        while made.queueing != Queueing::Missing && !made.takes_queue().map_err(KernelError::Silent)? {
            made.queueing = if made.queueing == Queueing::Native { Queueing::Target } else { Queueing::Missing };
        }
        Ok(made)
    }

    /// How rules hand packets to us, on this kernel.
    #[must_use]
    pub const fn queueing(&self) -> Queueing {
        self.queueing
    }

    /// Whether the kernel would take a rule that hands packets to us, as it would be written. Nothing is changed.
    fn takes_queue(&mut self) -> io::Result<bool> {
        let rules = vec![vec![Part::Then(Then::Queue(0, 1))]];
        let chain = Chain { name: "forward".into(), hook: Some((Hook::Forward, 0)), rules };
        let table = Table { name: PROBED, ..Table::default() };
        let mut batch = Batch::new(&table, self.sequence, self.queueing);
        batch.message(NEW_TABLE, CREATE, |_| {}, "a table");
        batch.chain(&chain);
        batch.rules(&chain);
        let (writer, messages) = batch.unfinished();
        self.sequence = self.sequence.wrapping_add(u32::try_from(messages).unwrap_or(0));
        self.socket.send(writer.octets())?;
        loop {
            for message in self.socket.receive()?.filter(|message| i32::from(message.kind) == libc::NLMSG_ERROR) {
                match message.acknowledged() {
                    // It may be that only the right to change anything is missing; that is said when something is changed.
                    Err(_) => return Ok(false),
                    Ok(()) if message.sequence == self.sequence => return Ok(true),
                    Ok(()) => {}
                }
            }
        }
    }

    /// Puts a table in force in place of what is there under its name; what counters counted stays. `own` where nobody else should be
    /// able to change it; the answer says whether the kernel can do that.
    ///
    /// # Errors
    /// What the kernel refuses; then all is as before.
    pub fn put(&mut self, table: &Table, own: bool) -> Result<Held, KernelError> {
        if own {
            match self.replace(table, OWNER | PERSIST) {
                Err(KernelError::Refused { error, .. }) if is_unknown(&error) => {}
                other => return other.map(|()| Held::Owned),
            }
        }
        self.replace(table, 0).map(|()| Held::Plain)
    }

    fn replace(&mut self, table: &Table, flags: u32) -> Result<(), KernelError> {
        let silent = KernelError::Silent;
        let there = self.flags(table.name).map_err(silent)?;
        if there.is_some_and(|there| there & PERSIST == flags & PERSIST) && self.adopt(table, flags)? {
            return Ok(());
        }
        let counted = self.counters(table.name)?;
        let is_bridged = there.is_some() && self.bridge(table)?;
        let keeps = there.is_some_and(|there| there & PERSIST == flags & PERSIST);
        let (chains, sets) = (self.names(GET_CHAIN, table.name, 3)?, self.names(GET_SET, table.name, 2)?);
        let mut batch = Batch::new(table, self.sequence, self.queueing);
        if there.is_some() && !keeps {
            batch.message(DELETE_TABLE, 0, |_| {}, "the removal of the old table");
        }
        batch.message(NEW_TABLE, CREATE, |m| m.number(2, flags), "the table");
        if keeps {
            batch.message(DELETE_RULE, 0, |_| {}, "the removal of old rules");
            for set in sets {
                batch.message(DELETE_SET, 0, |m| m.text(2, &set), "the removal of an old set");
            }
            for chain in chains {
                batch.message(DELETE_CHAIN, 0, |m| m.text(3, &chain), "the removal of an old chain");
            }
        }
        for counter in &table.counters {
            let before = counted.get(&**counter).copied().unwrap_or_default();
            batch.counter(counter, before);
        }
        for name in table.sets.keys() {
            batch.set(name);
        }
        for chain in &table.chains {
            batch.chain(chain);
        }
        for (name, set) in &table.sets {
            batch.elements(NEW_ELEMENTS, name, &set.elements, None);
        }
        for chain in &table.chains {
            batch.rules(chain);
        }
        let done = self.commit(batch);
        if is_bridged {
            self.remove(BRIDGE)?;
        }
        done
    }

    /// Makes changes of [`crate::engine::gateway::diff`]; `new` is the table that they lead to.
    ///
    /// # Errors
    /// What the kernel refuses; then all is as before.
    pub fn change(&mut self, new: &Table, changes: &[Change]) -> Result<(), KernelError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new(new, self.sequence, self.queueing);
        batch.changes(changes);
        self.commit(batch)
    }

    /// Removes a table, if it is there; says whether it was.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn remove(&mut self, name: &'static str) -> Result<bool, KernelError> {
        if self.flags(name).map_err(KernelError::Silent)?.is_none() {
            return Ok(false);
        }
        let table = Table { name, ..Table::default() };
        let mut batch = Batch::new(&table, self.sequence, self.queueing);
        batch.message(DELETE_TABLE, 0, |_| {}, "the removal of the table");
        self.commit(batch).map(|()| true)
    }

    /// Whether a table is there, and who may change it.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn held(&mut self, name: &str) -> Result<Option<Held>, KernelError> {
        let flags = self.flags(name).map_err(KernelError::Silent)?;
        Ok(flags.map(|flags| if flags & OWNER == OWNER { Held::Owned } else { Held::Plain }))
    }

    /// What the counters of a table counted; empty where there is none.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn counters(&mut self, table: &str) -> Result<BTreeMap<String, Counted>, KernelError> {
        let mut all = BTreeMap::new();
        let number = |data: &[u8], kind| {
            attribute(data, kind)
                .and_then(|octets| octets.first_chunk())
                .map_or(0, |octets| u64::from_be_bytes(*octets))
        };
        let ask = |m: &mut Writer| {
            m.text(1, table);
            m.number(3, OBJECT_COUNTER);
        };
        let take = |body: &[u8]| {
            let is_ours = attribute(body, 1).is_some_and(|name| text(name) == table);
            if let (true, Some(name), Some(data)) = (is_ours, attribute(body, 2), attribute(body, 4)) {
                all.insert(text(name), Counted { octets: number(data, 1), packets: number(data, 2) });
            }
        };
        self.list(GET_OBJECT, ask, take).map_err(KernelError::Silent)?;
        Ok(all)
    }

    /// The shape of a table; `None` where there is none. With `elements`, also what is in its sets that we fill.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn shape(&mut self, table: &Table, elements: bool) -> Result<Option<Shape>, KernelError> {
        if self.flags(table.name).map_err(KernelError::Silent)?.is_none() {
            return Ok(None);
        }
        let mut shape = Shape::default();
        for chain in self.names(GET_CHAIN, table.name, 3)? {
            shape.rules.insert(chain, 0);
        }
        for chain in self.names(GET_RULE, table.name, 2)? {
            *shape.rules.entry(chain).or_default() += 1;
        }
        for set in self.names(GET_SET, table.name, 2)? {
            let ours = table.sets.get(&*set).is_none_or(|set| set.kind.is_ours());
            let count = if elements && ours { self.count_elements(table.name, &set)? } else { 0 };
            shape.elements.insert(set, count);
        }
        Ok(Some(shape))
    }

    fn count_elements(&mut self, table: &str, set: &str) -> Result<usize, KernelError> {
        let mut count = 0;
        let ask = |m: &mut Writer| {
            m.text(1, table);
            m.text(2, set);
        };
        let take = |body: &[u8]| count += attribute(body, 3).map_or(0, |list| attributes(list).count());
        match self.list(GET_ELEMENTS, ask, take) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(0),
            other => other.map(|()| count).map_err(KernelError::Silent),
        }
    }

    pub(super) fn flags(&mut self, name: &str) -> io::Result<Option<u32>> {
        let mut flags = None;
        let take = |body: &[u8]| {
            if attribute(body, 1).is_some_and(|found| text(found) == name) {
                flags = attribute(body, 2)
                    .and_then(|octets| octets.first_chunk())
                    .map(|octets| u32::from_be_bytes(*octets));
            }
        };
        self.list(GET_TABLE, |_| {}, take)?;
        Ok(flags)
    }

    /// The names of everything of a kind in a table; `kind` is the attribute that has them.
    pub(super) fn names(&mut self, message: u16, table: &str, kind: u16) -> Result<Vec<String>, KernelError> {
        let mut names = Vec::new();
        let take = |body: &[u8]| {
            let is_ours = attribute(body, 1).is_some_and(|name| text(name) == table);
            names.extend(attribute(body, kind).filter(|_| is_ours).map(text));
        };
        match self.list(message, |m| m.text(1, table), take) {
            // There is no such table, or it went meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Vec::new()),
            other => other.map(|()| names).map_err(KernelError::Silent),
        }
    }

    /// Lists what the kernel has. A listing that somebody disturbed is begun again, so `take` may get some of it twice; for that it is
    /// given all of one listing at once.
    pub(super) fn list(
        &mut self,
        message: u16,
        ask: impl Fn(&mut Writer),
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        for _ in 0..LISTING_TRIES_MAX {
            match self.list_once(message, &ask)? {
                Some(bodies) => {
                    bodies.iter().for_each(|body| take(body));
                    return Ok(());
                }
                None => continue,
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    fn list_once(&mut self, message: u16, ask: &impl Fn(&mut Writer)) -> io::Result<Option<Vec<Vec<u8>>>> {
        /// The message is a part of a listing that was changed meanwhile.
        const INTERRUPTED: u16 = libc::NLM_F_DUMP_INTR as u16;
        self.sequence = self.sequence.wrapping_add(1);
        let (mut request, mut bodies, mut whole) = (Writer::default(), Vec::new(), true);
        request.message(kind(message), REQUEST | DUMP, self.sequence, |m| {
            generic(m, libc::NFPROTO_INET as u8);
            ask(m);
        });
        self.socket.send(request.octets())?;
        loop {
            for message in self.socket.receive()?.filter(|message| message.sequence == self.sequence) {
                whole &= message.flags & INTERRUPTED == 0;
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(whole.then_some(bodies)),
                    libc::NLMSG_ERROR => message.acknowledged()?,
                    // Behind the header of netfilter.
                    _ => bodies.push(message.body.get(4..).unwrap_or_default().to_vec()),
                }
            }
        }
    }

    /// Sends a batch and waits for what became of it.
    pub(super) fn commit(&mut self, batch: Batch<'_>) -> Result<(), KernelError> {
        let (table, first) = (batch.table.name, batch.first);
        let (writer, labels) = batch.close();
        let last = first.wrapping_add(u32::try_from(labels.len()).unwrap_or(u32::MAX));
        self.sequence = last.wrapping_add(1);
        self.socket.make_room(writer.octets().len() * 2, RECEIVE_OCTETS).map_err(unsuitable)?;
        self.socket.send(writer.octets()).map_err(KernelError::Silent)?;
        let deadline = Instant::now() + PATIENCE;
        let refused = |message: &Message<'_>, error: io::Error| {
            let at = message.sequence.wrapping_sub(first).wrapping_sub(1);
            let what = usize::try_from(at).ok().and_then(|at| labels.get(at)).map_or("the changes", String::as_str);
            match error.raw_os_error() {
                Some(libc::EPERM) if at < u32::MAX / 2 => KernelError::Owned(table),
                Some(libc::EPERM) => KernelError::NotAllowed,
                _ => KernelError::Refused { what: format!("{what} of table {table}"), error },
            }
        };
        let mut failed = None;
        loop {
            let messages = self.socket.receive().map_err(KernelError::Silent)?;
            for message in messages.filter(|message| i32::from(message.kind) == libc::NLMSG_ERROR) {
                if message.sequence.wrapping_sub(first) > last.wrapping_sub(first).wrapping_add(1) {
                    continue;
                }
                if let Err(error) = message.acknowledged() {
                    failed.get_or_insert_with(|| refused(&message, error));
                }
                // The kernel answers in order; the beginning of a batch is answered only where the whole of it is refused.
                if message.sequence == last || message.sequence == first {
                    return failed.map_or(Ok(()), Err);
                }
            }
            if Instant::now() > deadline {
                return Err(failed.unwrap_or_else(|| KernelError::Silent(io::ErrorKind::TimedOut.into())));
            }
        }
    }
}

impl Shape {
    /// The shape that a table should have.
    #[must_use]
    pub fn wanted(table: &Table, elements: bool) -> Self {
        let ours = |set: &crate::engine::gateway::Set| {
            if elements && set.kind.is_ours() { element::count(&set.elements) } else { 0 }
        };
        Self {
            rules: table.chains.iter().map(|chain| (chain.name.to_string(), chain.rules.len())).collect(),
            elements: table.sets.iter().map(|(name, set)| (name.to_string(), ours(set))).collect(),
        }
    }

    /// The names of what differs.
    #[must_use]
    pub fn differences(&self, other: &Self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (a, b) in [(&self.rules, &other.rules), (&self.elements, &other.elements)] {
            names.extend(a.iter().chain(b).map(|(name, _)| name).filter(|name| a.get(*name) != b.get(*name)).cloned());
        }
        names
    }
}

fn unsuitable(error: io::Error) -> KernelError {
    if error.kind() == io::ErrorKind::PermissionDenied {
        KernelError::NotAllowed
    } else {
        KernelError::Unsuitable(error)
    }
}

/// Whether the kernel knows no such flag.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL))
}
