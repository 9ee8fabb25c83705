//! What is listed, and what to do about it.
//!
//! ```text
//! vendor files, lists ─ list ▸ compile ─▶ RuleSet ─┐
//!                       settings, date ─ stage ────┴▶ Policy ─ decide ─▶ Verdict
//!                                                            └ explain ─▶ words
//! ```
//! [`RuleSet`] is what the lists say and never changes; [`Policy`] is that under settings at a date, with an epoch. A clause
//! that begins makes a new [`Policy`] over the same [`RuleSet`] ([`Policy::restage`]), which costs one pass over the classes
//! of rules, not over the rules.

mod apart;
mod compile;
mod decide;
mod exception;
mod explain;
pub mod export;
pub mod gate;
mod group;
mod hit;
mod index;
pub mod list;
pub mod local;
mod rules;
mod scope;
mod settings;
mod spans;
mod stage;
mod view;

pub use apart::{ApartRule, Conditions, Glob, Selection, Start, Tier, Trigger};
pub use compile::{Include, Included, Reading};
pub use decide::{Subject, Verdict};
pub use exception::{Exception, ExceptionId};
pub use explain::{Explanation, Reason};
pub use group::{GROUPS_MAX, Group};
pub use hit::Hit;
pub use rules::{AnswerData, Class, ClassId, Limit, List, ListId, RuleId, RuleSet, RuleSetBuilder, TooMany, Vendor};
pub use scope::Scope;
pub use settings::{BlockSettings, Settings, Sinkhole, StageSetting};
pub use spans::Span;
pub use stage::{Staged, Why};
pub use view::{RuleView, What};

use crate::base::model::{BlockAnswer, Decision, PolicyId, RuleFacts, Wall};
use crate::base::name::{Match, NameRef};
use local::Local;
use std::net::IpAddr;
use std::sync::Arc;

/// Rules under settings at a date: immutable, and the only thing that decides.
#[derive(Debug)]
pub struct Policy {
    epoch: u64,
    id: PolicyId,
    at: Wall,
    rules: Arc<RuleSet>,
    settings: Arc<Settings>,
    staged: Box<[Staged]>,
    exceptions: exception::Exceptions,
    open_below: stage::OpenBelow,
    /// Whether there are neither exceptions nor rules apart.
    is_plain: bool,
    /// Whether some rule depends on who asks.
    by_client: bool,
    next_change: Option<Wall>,
    /// Which client is of which group.
    members: group::Members,
    /// The policy of each group.
    groups: Box<[Self]>,
    /// The group whose policy this is.
    group: Option<usize>,
}

impl Policy {
    /// Puts rules under settings as of `at`. `epoch` is the caller's, above 0 and rising.
    #[must_use]
    pub fn new(epoch: u64, rules: Arc<RuleSet>, settings: Arc<Settings>, at: Wall) -> Self {
        stage::policy(epoch, rules, settings, at)
    }

    /// The same rules and settings at another date.
    #[must_use]
    pub fn restage(&self, epoch: u64, at: Wall) -> Self {
        Self::new(epoch, Arc::clone(&self.rules), Arc::clone(&self.settings), at)
    }

    /// The policy that holds for a client: its group's, or else this one. Rules are the same in all of them. No allocation.
    #[must_use]
    pub fn of(&self, client: IpAddr) -> &Self {
        if self.groups.is_empty() {
            return self;
        }
        self.members.find(client).and_then(|at| self.groups.get(at)).unwrap_or(self)
    }

    /// The group whose policy this is.
    #[must_use]
    pub fn group(&self) -> Option<&Group> {
        self.settings.groups.get(self.group?)
    }

    /// The policies of all groups.
    #[must_use]
    pub fn groups(&self) -> &[Self] {
        &self.groups
    }

    /// Which activation this is; rules are known by [`RuleId`] within it only.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The durable id: a hash of rules and settings.
    #[must_use]
    pub const fn id(&self) -> PolicyId {
        self.id
    }

    /// The date that stages were resolved for.
    #[must_use]
    pub const fn at(&self) -> Wall {
        self.at
    }

    /// When a clause, an expiry or an exception's end changes some stage next.
    #[must_use]
    pub const fn next_change(&self) -> Option<Wall> {
        self.next_change
    }

    /// What the lists say.
    #[must_use]
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// The settings that staged them.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is wanted for a class of rules, and why.
    #[must_use]
    pub fn staged(&self, class: ClassId) -> Option<&Staged> {
        self.staged.get(usize::from(class.0))
    }

    /// Seconds that block answers and their SOA may be cached.
    #[must_use]
    pub fn block_ttl(&self) -> u32 {
        self.settings.block.ttl
    }

    /// The sinkhole's addresses, where one is configured.
    #[must_use]
    pub fn sinkhole(&self) -> &Sinkhole {
        &self.settings.sinkhole
    }

    /// What is answered here without asking anybody.
    #[must_use]
    pub fn local(&self) -> &Local {
        &self.settings.local
    }

    /// What a rule means outside this epoch. An id of another epoch gives the facts of no rule.
    #[must_use]
    pub fn facts(&self, rule: RuleId) -> Option<RuleFacts> {
        self.rules.facts(rule)
    }

    /// Whether a rule, whatever its conditions, or an exception mentions a name.
    #[must_use]
    pub fn covers_name(&self, name: NameRef<'_>) -> bool {
        let apart = &self.rules.apart;
        let mut plain = false;
        self.rules.names.find(name, |found| plain |= !apart.removes(found.at));
        plain || self.exceptions.mentions_name(name) || (!apart.is_empty() && apart.mentions(name))
    }

    /// Whether some rule depends on who asks: then what is found clean for one client need not be for the next.
    #[must_use]
    pub const fn judges_by_client(&self) -> bool {
        self.by_client
    }

    /// What the deciding rule's list answers in place of the true answer, where the operator lets it.
    #[must_use]
    pub fn answer_data(&self, verdict: &Verdict) -> Option<&AnswerData> {
        let class = verdict.class.filter(|_| verdict.decision == Decision::Block)?;
        self.rules.class(class)?.data.as_deref()
    }

    /// Whether something below a name is allowed or observed, so that the name itself cannot be said not to exist.
    #[must_use]
    pub fn passes_below(&self, name: NameRef<'_>) -> bool {
        self.open_below.holds(&self.rules, name)
    }

    /// Whether NXDOMAIN is a true answer for a blocked name: it denies everything below too (RFC 8020), so the rule must
    /// hold there as well, and nothing below may pass.
    #[must_use]
    pub fn answers_nxdomain(&self, verdict: &Verdict, name: NameRef<'_>) -> bool {
        let holds_below = |rule| match self.rules.name_match(rule) {
            Some(Match::Suffix) => true,
            // `*.name`: everything below a name that it matches matches as well.
            Some(Match::Wildcard) => self.rules.is_below_only(rule),
            Some(Match::Exact) | None => false,
        };
        verdict.answer == BlockAnswer::Nxdomain
            && verdict.rule.is_some_and(holds_below)
            && !self.passes_below(name)
            && !self.rules.apart.passes_anywhere()
    }

    /// The complete EDNS option (RFC 8914) that says why a block is one: option code 15, length, INFO-CODE, text.
    #[must_use]
    pub fn ede(&self, verdict: &Verdict) -> Option<&[u8]> {
        if verdict.decision != Decision::Block {
            return None;
        }
        self.staged(verdict.class?).map(|staged| &*staged.ede).filter(|ede| !ede.is_empty())
    }
}
