//! The acts that ban a vendor, and when they forbid which traffic.

use crate::base::model::vocabulary;
use crate::base::model::{Purpose, PurposeSelector, Wall};

vocabulary! {
    /// What kind of act an authority is. Only the first three forbid traffic; the rest is shown, never enforced.
    pub enum AuthorityKind {
        /// Forbids the vendor to provide or others to deal.
        Prohibition => "prohibition",
        /// Forbids some bodies to use the products.
        UseBan => "use-ban",
        /// Orders access providers to block.
        AccessBlock => "access-block",
        /// Removal from application stores.
        AppDistribution => "app-distribution",
        /// A place on a list.
        Listing => "listing",
        /// A ban on buying.
        Procurement => "procurement",
        /// An export rule.
        ExportControl => "export-control",
        /// A sanction on persons, not on the company.
        SanctionOnPersons => "sanction-on-persons",
        /// Loss of a licence to serve.
        ServiceRevocation => "service-revocation",
        /// A public warning.
        Warning => "warning",
        /// Advice.
        Advice => "advice",
        /// A parliament's resolution.
        Resolution => "resolution",
        /// Background.
        Information => "information",
    }
}

impl AuthorityKind {
    /// Whether acts of this kind forbid traffic, so that they may carry clauses.
    #[must_use]
    pub const fn forbids_traffic(self) -> bool {
        matches!(self, Self::Prohibition | Self::UseBan | Self::AccessBlock)
    }
}

/// What an act forbids, and from when until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// The first moment it is in force.
    pub from: Wall,
    /// The first moment it is no longer in force.
    pub until: Option<Wall>,
    /// The families and purposes it forbids.
    pub forbids: Vec<PurposeSelector>,
}

impl Clause {
    /// Whether it is in force at a moment.
    #[must_use]
    pub fn in_force(&self, at: Wall) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }

    /// Whether it forbids a purpose.
    #[must_use]
    pub fn forbids(&self, purpose: Purpose) -> bool {
        self.forbids.iter().any(|selector| selector.covers(purpose))
    }
}

/// An act that bans a vendor, or says something about it.
#[derive(Clone, Debug)]
pub struct Authority {
    /// `us/icts-2021-002`.
    pub id: String,
    /// `us`.
    pub jurisdiction: String,
    /// What kind of act it is.
    pub kind: AuthorityKind,
    /// Whom it binds: `everyone`, `federal`, …; acts without clauses may leave it out.
    pub binds: Option<String>,
    /// Its name.
    pub instrument: String,
    /// How it is cited.
    pub citation: String,
    /// The day it took effect, as written in its source.
    pub effective: String,
    /// Whether a source could be read; an unverified act has no effect.
    pub verified: bool,
    /// What it forbids.
    pub clauses: Vec<Clause>,
}

/// Whose law counts here: the configured jurisdictions and the bodies that the operator is one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Jurisdictions, `us`.
    pub jurisdictions: Vec<String>,
    /// Bodies, `everyone`, `federal`; acts that bind everyone always count.
    pub binds: Vec<String>,
}

/// The word for acts that bind all.
const EVERYONE: &str = "everyone";

impl Authority {
    /// Whether its clauses bind within a scope.
    #[must_use]
    pub fn binds_in(&self, scope: &Scope) -> bool {
        let bound = |binds: &String| binds == EVERYONE || scope.binds.contains(binds);
        self.verified
            && self.kind.forbids_traffic()
            && scope.jurisdictions.contains(&self.jurisdiction)
            && self.binds.as_ref().is_some_and(bound)
    }
}
