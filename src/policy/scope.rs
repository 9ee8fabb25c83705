//! Whose law counts: which acts bind within the configured scope.

use super::list::vendor::Authority;

/// The configured jurisdictions, and the bodies that the operator is one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Jurisdictions, `us`.
    pub jurisdictions: Vec<String>,
    /// Bodies, `everyone`, `federal`; acts that bind everyone always count.
    pub binds: Vec<String>,
}

/// The word for acts that bind all.
const EVERYONE: &str = "everyone";

impl Scope {
    /// Whether an act's clauses bind here. An act that nobody could verify has no effect.
    #[must_use]
    pub fn is_bound_by(&self, authority: &Authority) -> bool {
        let bound = |binds: &str| binds == EVERYONE || self.binds.iter().any(|body| body == binds);
        authority.provenance.verified
            && authority.kind.forbids_traffic()
            && self.jurisdictions.iter().any(|own| **own == *authority.jurisdiction)
            && authority.binds.as_deref().is_some_and(bound)
    }
}
