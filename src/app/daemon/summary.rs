//! The few lines at the start: what is listened on, what is blocked and observed under which authority, where the ledger is.

use super::activate::Activator;
use super::status::About;
use crate::base::model::{Family, Stage};
use crate::policy::list::vendor::Subject;
use crate::policy::{Policy, Why};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// The lines.
pub(super) fn text(activator: &Activator, about: &About) -> String {
    let policy = activator.policy();
    let upstreams = about.upstreams.borrow().clone();
    let mut lines = vec![format!(
        "interdict {} answers on {} (UDP and TCP) and asks {}",
        env!("CARGO_PKG_VERSION"),
        join(&about.listen),
        if upstreams.is_empty() { "nobody: no upstream is known".to_owned() } else { join(&upstreams) },
    )];
    lines.push(format!("  config    {}", activator.with_config(|config| config.source.to_string())));
    for (vendor, (families, why)) in blocked(&policy) {
        lines.push(format!("  blocks    {vendor}: {} traffic ({why})", join(&families)));
    }
    for list in policy.rules().lists().iter().filter(|list| list.stage == Some(Stage::Block)) {
        lines.push(format!("  blocks    list {} ({})", list.id, list.file));
    }
    let vendors = policy.rules().vendors();
    let bundles = vendors.iter().filter(|vendor| vendor.file.subject == Subject::Bundle).count();
    lines.push(format!(
        "  observes  everything else of {} vendors and {bundles} bundles ({} rules in all); `interdict vendors` shows why",
        vendors.len() - bundles,
        policy.rules().len()
    ));
    if !about.sinkhole.listen().is_empty() {
        lines.push(format!("  sinkhole  takes connections on {}", join(about.sinkhole.listen())));
    }
    lines.push(format!(
        "  ledger    {}; `interdict report` reads it",
        activator.store_path().join("ledger.sqlite").display()
    ));
    lines.extend(activator.alarms().into_iter().map(|alarm| format!("  alarm     {alarm}")));
    lines.join("\n")
}

/// Vendors with their blocked families, and the first reason.
fn blocked(policy: &Policy) -> BTreeMap<String, (BTreeSet<Family>, String)> {
    let mut blocked: BTreeMap<String, (BTreeSet<Family>, String)> = BTreeMap::new();
    for (id, class) in policy.rules().classes() {
        let Some(vendor) = &class.vendor else { continue };
        let Some(staged) = policy.staged(id).filter(|staged| staged.stage == Stage::Block) else { continue };
        let why = match &staged.why {
            Why::Authority { authority, .. } => policy
                .rules()
                .vendor(vendor)
                .and_then(|vendor| vendor.file.authorities.get(*authority))
                .map_or_else(String::new, |authority| format!("{}, {}", authority.id, authority.citation)),
            _ => "operator's policy".to_owned(),
        };
        let entry = blocked.entry(vendor.to_string()).or_insert_with(|| (BTreeSet::new(), why));
        entry.0.insert(class.purpose.family());
    }
    blocked
}

fn join(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
