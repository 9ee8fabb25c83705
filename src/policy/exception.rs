//! The operator's exceptions: they win over everything, and end.

use super::Subject;
use crate::base::model::{Wall, meant};
use crate::base::name::{Name, NameRef};
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;

/// One exception, as the operator wrote it. At least one of `name` and `net` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// The name that passes, with everything below it.
    pub name: Option<Name>,
    /// The addresses that pass.
    pub net: Option<IpNet>,
    /// The clients it is for; empty means all.
    pub clients: Vec<IpNet>,
    /// The groups of clients it is for; empty means all, and those of no group.
    pub groups: Vec<String>,
    /// Why.
    pub reason: String,
    /// Who said so.
    pub approver: String,
    /// The first moment at which it no longer holds.
    pub until: Option<Wall>,
}

/// An exception by its place in the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExceptionId(pub(super) u32);

impl ExceptionId {
    /// The place in the settings' exceptions, from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The exceptions that hold at the policy's date, ready to be looked up.
#[derive(Clone, Debug, Default)]
pub(super) struct Exceptions {
    names: HashMap<Name, Vec<ExceptionId>>,
    nets: Vec<(IpNet, ExceptionId)>,
    clients: HashMap<ExceptionId, Vec<IpNet>>,
}

impl Exceptions {
    /// The exceptions for clients of a group, or of none.
    pub(super) fn new(all: &[Exception], group: Option<&str>, at: Wall) -> Self {
        let mut made = Self::default();
        for (i, exception) in all.iter().enumerate() {
            let Ok(id) = u32::try_from(i).map(ExceptionId) else { break };
            let is_for = exception.groups.is_empty() || exception.groups.iter().any(|id| Some(&**id) == group);
            if !is_for || exception.until.is_some_and(|until| until <= at) {
                continue;
            }
            if let Some(name) = &exception.name {
                made.names.entry(name.clone()).or_default().push(id);
            }
            if let Some(net) = exception.net {
                made.nets.push((net, id));
            }
            if !exception.clients.is_empty() {
                made.clients.insert(id, exception.clients.clone());
            }
        }
        made
    }

    /// Whether there is none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.nets.is_empty()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = NameRef<'_>> {
        self.names.keys().map(Name::as_ref)
    }

    pub(super) fn mentions_name(&self, name: NameRef<'_>) -> bool {
        !self.names.is_empty() && self.covering(name).next().is_some()
    }

    /// The exception that spares a subject.
    #[inline]
    pub(super) fn spares(&self, subject: &Subject<'_>) -> Option<ExceptionId> {
        if self.is_empty() { None } else { self.find(subject) }
    }

    #[inline(never)]
    fn find(&self, subject: &Subject<'_>) -> Option<ExceptionId> {
        let client = subject.client.map(|client| client.to_canonical());
        let by_name = subject.name.and_then(|name| self.covering(name).find(|&id| self.is_for(id, client)));
        let by_address = || {
            let address = meant(subject.address?);
            self.nets.iter().find(|(net, id)| net.contains(&address) && self.is_for(*id, client)).map(|(_, id)| *id)
        };
        by_name.or_else(by_address)
    }

    fn covering(&self, name: NameRef<'_>) -> impl Iterator<Item = ExceptionId> {
        std::iter::successors(Some(name), |at| at.parent())
            .filter_map(|at| self.names.get(at.as_wire()))
            .flatten()
            .copied()
    }

    fn is_for(&self, id: ExceptionId, client: Option<IpAddr>) -> bool {
        match self.clients.get(&id) {
            None => true,
            Some(nets) => client.is_some_and(|client| nets.iter().any(|net| net.contains(&client))),
        }
    }
}
