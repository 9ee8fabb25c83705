//! From one table to another, as changes that the kernel takes at once: a packet meets the old state or the new one.

use super::table::{Element, Elements, Set, Table};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A change, in the order in which the kernel must be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A counter begins.
    AddCounter(Arc<str>),
    /// A set begins, empty.
    AddSet(Arc<str>),
    /// A chain begins, empty.
    AddChain(Arc<str>),
    /// A chain has the new table's rules instead of its own; where the new one lacks it, none.
    Fill(Arc<str>),
    /// Elements go.
    RemoveElements(Arc<str>, Elements),
    /// Elements come.
    AddElements(Arc<str>, Elements),
    /// A chain goes.
    RemoveChain(Arc<str>),
    /// A set goes.
    RemoveSet(Arc<str>),
}

/// The changes that make `new` of `old`. `None` where something of the same name is of another kind: then all has to be made anew.
/// Counters are never taken away: what they counted is not to be lost.
#[must_use]
pub fn diff(old: &Table, new: &Table) -> Option<Vec<Change>> {
    let mut changes: Vec<Change> = new.counters.difference(&old.counters).cloned().map(Change::AddCounter).collect();
    let mut elements = (Vec::new(), Vec::new());
    for (name, set) in &new.sets {
        let before = match old.sets.get(name) {
            Some(before) if (before.key, before.kind) != (set.key, set.kind) => return None,
            Some(before) => Some(before),
            None => {
                changes.push(Change::AddSet(Arc::clone(name)));
                None
            }
        };
        let (gone, come) = differing(before, set);
        if !gone.is_empty() {
            elements.0.push(Change::RemoveElements(Arc::clone(name), gone));
        }
        if !come.is_empty() {
            elements.1.push(Change::AddElements(Arc::clone(name), come));
        }
    }
    let (old_chains, new_chains) = (by_name(old), by_name(new));
    let mut fills = Vec::new();
    for chain in &new.chains {
        match old_chains.get(&chain.name) {
            Some(before) if before.hook != chain.hook => return None,
            Some(before) if before.rules == chain.rules => {}
            Some(_) => fills.push(Change::Fill(Arc::clone(&chain.name))),
            None => {
                changes.push(Change::AddChain(Arc::clone(&chain.name)));
                fills.push(Change::Fill(Arc::clone(&chain.name)));
            }
        }
    }
    let gone: Vec<&Arc<str>> = old_chains.keys().copied().filter(|name| !new_chains.contains_key(*name)).collect();
    fills.extend(gone.iter().map(|name| Change::Fill(Arc::clone(name))));
    changes.extend(fills);
    changes.extend(elements.0);
    changes.extend(elements.1);
    changes.extend(gone.into_iter().map(|name| Change::RemoveChain(Arc::clone(name))));
    let sets = old.sets.keys().filter(|name| !new.sets.contains_key(*name));
    changes.extend(sets.map(|name| Change::RemoveSet(Arc::clone(name))));
    Some(changes)
}

fn by_name(table: &Table) -> BTreeMap<&Arc<str>, &super::table::Chain> {
    table.chains.iter().map(|chain| (&chain.name, chain)).collect()
}

/// Elements that go, and that come; one that leads elsewhere does both.
fn differing(old: Option<&Set>, new: &Set) -> (Elements, Elements) {
    let empty = Elements::new();
    let old = old.map_or(&empty, |old| &old.elements);
    let less = |some: &Elements, than: &Elements| -> Elements {
        let is_in = |(element, to): &(&Element, &Option<Arc<str>>)| than.get(*element) != Some(*to);
        some.iter().filter(is_in).map(|(element, to)| (element.clone(), to.clone())).collect()
    };
    (less(old, &new.elements), less(&new.elements, old))
}
