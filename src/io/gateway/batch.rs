//! Messages of one transaction, and the numbers that `linux/netfilter/nf_tables.h` gives them.

use super::element;
use super::encode::{self, Queueing};
use super::kernel::Counted;
use crate::engine::gateway::{Chain, Change, Elements, Table};
use crate::io::sys::netlink::Writer;

pub(super) const SUBSYSTEM: u16 = 10;
pub(super) const BATCH_BEGIN: u16 = 16;
pub(super) const BATCH_END: u16 = 17;
pub(super) const NEW_TABLE: u16 = 0;
pub(super) const GET_TABLE: u16 = 1;
pub(super) const DELETE_TABLE: u16 = 2;
pub(super) const NEW_CHAIN: u16 = 3;
pub(super) const GET_CHAIN: u16 = 4;
pub(super) const DELETE_CHAIN: u16 = 5;
pub(super) const NEW_RULE: u16 = 6;
pub(super) const GET_RULE: u16 = 7;
pub(super) const DELETE_RULE: u16 = 8;
pub(super) const NEW_SET: u16 = 9;
pub(super) const GET_SET: u16 = 10;
pub(super) const DELETE_SET: u16 = 11;
pub(super) const NEW_ELEMENTS: u16 = 12;
pub(super) const GET_ELEMENTS: u16 = 13;
pub(super) const DELETE_ELEMENTS: u16 = 14;
pub(super) const NEW_OBJECT: u16 = 18;
pub(super) const GET_OBJECT: u16 = 19;
pub(super) const OBJECT_COUNTER: u32 = 1;

/// The table belongs to the socket that made it.
pub(super) const OWNER: u32 = 2;
/// The table outlives its owner.
pub(super) const PERSIST: u32 = 4;

pub(super) const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
pub(super) const ACK: u16 = libc::NLM_F_ACK as u16;
pub(super) const DUMP: u16 = libc::NLM_F_DUMP as u16;
pub(super) const CREATE: u16 = libc::NLM_F_CREATE as u16;
pub(super) const APPEND: u16 = libc::NLM_F_APPEND as u16;

/// Messages of one transaction.
pub(super) struct Batch<'t> {
    pub(super) table: &'t Table,
    writer: Writer,
    /// The number of its beginning; those of its messages follow.
    pub(super) first: u32,
    sequence: u32,
    sets: u32,
    queueing: Queueing,
    /// What each message is about.
    labels: Vec<String>,
}

impl<'t> Batch<'t> {
    pub(super) fn new(table: &'t Table, sequence: u32, queueing: Queueing) -> Self {
        let mut writer = Writer::default();
        writer.message(BATCH_BEGIN, REQUEST, sequence, batch_header);
        Self { table, writer, first: sequence, sequence, sets: 0, queueing, labels: Vec::new() }
    }

    pub(super) fn message(&mut self, message: u16, flags: u16, body: impl FnOnce(&mut Writer), label: &str) {
        self.sequence = self.sequence.wrapping_add(1);
        self.labels.push(label.to_owned());
        self.writer.message(kind(message), REQUEST | ACK | flags, self.sequence, |m| {
            generic(m, libc::NFPROTO_INET as u8);
            m.text(1, self.table.name);
            body(m);
        });
    }

    pub(super) fn counter(&mut self, name: &str, before: Counted) {
        let body = |m: &mut Writer| {
            m.text(2, name);
            m.number(3, OBJECT_COUNTER);
            m.nested(4, |data| {
                data.attribute(1, &before.octets.to_be_bytes());
                data.attribute(2, &before.packets.to_be_bytes());
            });
        };
        self.message(NEW_OBJECT, CREATE, body, &format!("the counter {name}"));
    }

    pub(super) fn set(&mut self, name: &str) {
        let Some(set) = self.table.sets.get(name) else { return };
        self.sets += 1;
        let id = self.sets;
        let body = |m: &mut Writer| {
            m.text(2, name);
            element::set(m, set, id);
        };
        self.message(NEW_SET, CREATE, body, &format!("the set {name}"));
    }

    pub(super) fn chain(&mut self, chain: &Chain) {
        let body = |m: &mut Writer| {
            m.text(3, &chain.name);
            if let Some((hook, priority)) = chain.hook {
                element::hook(m, hook, priority);
            }
        };
        self.message(NEW_CHAIN, CREATE, body, &format!("the chain {}", chain.name));
    }

    pub(super) fn rules(&mut self, chain: &Chain) {
        for (at, rule) in (1..).zip(&chain.rules) {
            let queueing = self.queueing;
            let body = |m: &mut Writer| {
                m.text(2, &chain.name);
                m.nested(4, |list| encode::rule(list, rule, queueing));
            };
            self.message(NEW_RULE, CREATE | APPEND, body, &format!("rule {at} of the chain {}", chain.name));
        }
    }

    pub(super) fn elements(&mut self, message: u16, set: &str, elements: &Elements, timeout_ms: Option<u64>) {
        let mut left = elements.iter().peekable();
        let flags = if message == NEW_ELEMENTS { CREATE } else { 0 };
        while left.peek().is_some() {
            let body = |m: &mut Writer| {
                m.text(2, set);
                element::elements(m, &mut left, timeout_ms);
            };
            self.message(message, flags, body, &format!("elements of the set {set}"));
        }
    }

    /// Changes that lead to the table.
    pub(super) fn changes(&mut self, changes: &[Change]) {
        let table = self.table;
        let chain = |name: &str| table.chains.iter().find(|chain| &*chain.name == name);
        for change in changes {
            match change {
                Change::AddCounter(name) => self.counter(name, Counted::default()),
                Change::AddSet(name) => self.set(name),
                Change::AddChain(name) => chain(name).into_iter().for_each(|chain| self.chain(chain)),
                Change::Fill(name) => {
                    self.message(DELETE_RULE, 0, |m| m.text(2, name), "the removal of old rules");
                    chain(name).into_iter().for_each(|chain| self.rules(chain));
                }
                Change::RemoveElements(set, elements) => self.elements(DELETE_ELEMENTS, set, elements, None),
                Change::AddElements(set, elements) => self.elements(NEW_ELEMENTS, set, elements, None),
                Change::RemoveChain(name) => {
                    self.message(DELETE_CHAIN, 0, |m| m.text(3, name), "the removal of a chain")
                }
                Change::RemoveSet(name) => self.message(DELETE_SET, 0, |m| m.text(2, name), "the removal of a set"),
            }
        }
    }

    /// The messages without the end of the transaction: the kernel looks at them and changes nothing.
    pub(super) fn unfinished(self) -> (Writer, usize) {
        (self.writer, self.labels.len())
    }

    pub(super) fn close(mut self) -> (Writer, Vec<String>) {
        self.writer.message(BATCH_END, REQUEST, self.sequence.wrapping_add(1), batch_header);
        (self.writer, self.labels)
    }
}

pub(super) const fn kind(message: u16) -> u16 {
    SUBSYSTEM << 8 | message
}

/// The header of netfilter's messages.
pub(super) fn generic(writer: &mut Writer, family: u8) {
    writer.raw(&[family, 0, 0, 0]);
}

fn batch_header(writer: &mut Writer) {
    writer.raw(&[0, 0]);
    writer.raw(&SUBSYSTEM.to_be_bytes());
}
