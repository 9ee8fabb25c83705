//! The acts that list a vendor, and the dated clauses of those that forbid traffic.

use super::Provenance;
use crate::base::model::{Confidence, Purpose, PurposeSelector, Wall, vocabulary};
use std::sync::Arc;

vocabulary! {
    /// What an act does. Only the first three forbid traffic; the others are shown and never enforced.
    pub enum AuthorityKind {
        /// Forbids the vendor to provide.
        Prohibition => "prohibition",
        /// Forbids somebody to use.
        UseBan => "use-ban",
        /// Orders access to be blocked.
        AccessBlock => "access-block",
        /// Forbids stores to carry applications.
        AppDistribution => "app-distribution",
        /// Puts the vendor on a list.
        Listing => "listing",
        /// Forbids somebody to buy.
        Procurement => "procurement",
        /// Restricts exports to the vendor.
        ExportControl => "export-control",
        /// Takes a licence to provide services away.
        ServiceRevocation => "service-revocation",
        /// Sanctions persons, not the company.
        SanctionOnPersons => "sanction-on-persons",
        /// Warns.
        Warning => "warning",
        /// Advises.
        Advice => "advice",
        /// Declares a parliament's will.
        Resolution => "resolution",
        /// Changes how another act is found or cited.
        Information => "information",
    }
}

impl AuthorityKind {
    /// Whether acts of this kind may carry clauses.
    #[must_use]
    pub const fn forbids_traffic(self) -> bool {
        matches!(self, Self::Prohibition | Self::UseBan | Self::AccessBlock)
    }
}

/// An act that lists a vendor. Acts with the same id are parts of one.
#[derive(Clone, Debug)]
pub struct Authority {
    /// `us/icts-2021-002`: jurisdiction and short name.
    pub id: Arc<str>,
    /// Who acted.
    pub authority: String,
    /// The act's title.
    pub instrument: String,
    /// How to cite it.
    pub citation: String,
    /// `us`.
    pub jurisdiction: Arc<str>,
    /// What it does.
    pub kind: AuthorityKind,
    /// Whom it binds: `everyone`, `federal`, `contractors`, …; always there where clauses are.
    pub binds: Option<Arc<str>>,
    /// Date of issue: a day, a month or a year, as far as it is known.
    pub issued: Option<String>,
    /// Date of effect, likewise.
    pub effective: Option<String>,
    /// Where to read it.
    pub url: Option<String>,
    /// What it covers, in words.
    pub covers: Option<String>,
    /// How sure the fact is.
    pub confidence: Confidence,
    /// What it forbids as traffic, and when.
    pub clauses: Vec<Clause>,
    /// Where it stands and what stands behind it.
    pub provenance: Provenance,
}

/// What an act forbids within a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Line of the clause in its file.
    pub line: u32,
    /// The first moment in force.
    pub from: Wall,
    /// The first moment no longer in force.
    pub until: Option<Wall>,
    /// Families or purposes, at least one.
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
