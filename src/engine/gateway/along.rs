//! What an address set takes along: the kernel sees no name, so a vendor's site or mail host within its blocked ranges is stopped
//! with the rest unless its address is carved out.

use crate::base::model::{Decision, Family, Purpose, Stage};
use crate::policy::{Policy, What};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names of one vendor that are told in full.
const NAMES_MAX: usize = 20;

/// What the blocked ranges of one vendor may take along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Along {
    /// The vendor.
    pub vendor: Arc<str>,
    /// Ranges that are blocked.
    pub blocked: usize,
    /// Ranges within them that are carved out, so that they pass.
    pub carved: Vec<(String, Purpose)>,
    /// Names that pass by themselves, and not if their address is in a blocked range; the first of them.
    pub names: Vec<(String, Purpose)>,
    /// How many such names there are.
    pub names_all: usize,
}

/// For each vendor with blocked ranges, by id.
#[must_use]
pub fn along(policy: &Policy) -> Vec<Along> {
    let mut vendors: BTreeMap<Arc<str>, Along> = BTreeMap::new();
    for span in policy.spans().iter().filter(|span| span.verdict.decision == Decision::Block) {
        let class = span.verdict.rule.and_then(|rule| policy.rules().class(policy.rules().class_of(rule)?));
        let Some(vendor) = class.and_then(|class| class.vendor.clone()) else { continue };
        let new =
            || Along { vendor: Arc::clone(&vendor), blocked: 0, carved: Vec::new(), names: Vec::new(), names_all: 0 };
        vendors.entry(Arc::clone(&vendor)).or_insert_with(new).blocked += 1;
    }
    for rule in policy.rules().rules() {
        let passes = policy.staged(rule.class).is_some_and(|staged| staged.stage != Stage::Block);
        let Some(class) =
            policy.rules().class(rule.class).filter(|class| passes && class.purpose.family() == Family::Web)
        else {
            continue;
        };
        let Some(along) = class.vendor.as_ref().and_then(|vendor| vendors.get_mut(vendor)) else { continue };
        match rule.what {
            What::Range(net) => along.carved.push((net.to_string(), class.purpose)),
            What::Name(name, _) => {
                along.names_all += 1;
                if along.names.len() < NAMES_MAX {
                    along.names.push((name.to_string(), class.purpose));
                }
            }
            What::Apart(_) => {}
        }
    }
    vendors.into_values().collect()
}
