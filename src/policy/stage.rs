//! Stages: what is wanted for each class of rules at a date, and why. The only place where dates and authorities count.

use super::exception::Exceptions;
use super::group::{GROUPS_MAX, Group, Members};
use super::index::anchor;
use super::list::vendor::Clause;
use super::rules::{Class, ClassId, RuleSet, Vendor};
use super::{Policy, Settings, StageSetting};
use crate::base::model::{BlockAnswer, PolicyId, Stage, Wall};
use crate::base::name::{Match, NameRef};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::Arc;

/// EDE INFO-CODE for a block by the operator's own rules (RFC 8914 §4.16).
const EDE_BLOCKED: u16 = 15;
/// EDE INFO-CODE for a block that an authority demands (RFC 8914 §4.17).
const EDE_CENSORED: u16 = 16;
/// EDNS option code of EDE.
const EDE_OPTION: u16 = 15;
/// Bits of an epoch that tell policies apart; those above tell groups apart.
const GROUP_EPOCH_BITS: u32 = 48;
/// Octets of EDE text; keeps a blocked answer well under 512 octets for any name.
const EDE_TEXT_OCTETS_MAX: usize = 160;

/// What is wanted for a class of rules.
#[derive(Clone, Debug)]
pub struct Staged {
    /// What is wanted.
    pub stage: Stage,
    /// Why.
    pub why: Why,
    /// How a block is answered.
    pub answer: BlockAnswer,
    /// The EDNS option that goes with a block.
    pub(super) ede: Box<[u8]>,
}

/// Why a class has its stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A clause of an authority forbids the purpose.
    Authority {
        /// Place in the vendor's authorities.
        authority: usize,
        /// Place in the authority's clauses.
        clause: usize,
    },
    /// The operator said so, at this place of `stages`.
    Setting(usize),
    /// The operator said so for a group of clients, at these places of `groups` and its `stages`.
    Group {
        /// Place in the settings' groups.
        group: usize,
        /// Place in the group's stages.
        stage: usize,
    },
    /// The operator's list says so.
    List,
    /// Nothing is said about it, so it is observed.
    Default,
    /// Blocking is wanted, but the rule may only be observed.
    Limited(super::Limit),
    /// Blocking is wanted, but the evidence is too old.
    Expired(Wall),
    /// Blocking is wanted, but enforcement is paused.
    Paused,
}

/// Puts rules under settings as of a moment, for all and for each group.
pub(super) fn policy(epoch: u64, rules: Arc<RuleSet>, settings: Arc<Settings>, at: Wall) -> Policy {
    let groups = (0..settings.groups.len().min(GROUPS_MAX)).map(|group| {
        // Apart from the epochs of all: those rise by one with each policy.
        let epoch = epoch | (group as u64 + 1) << GROUP_EPOCH_BITS;
        for_group((epoch, at), &rules, &settings, Some(group))
    });
    let groups = groups.collect();
    Policy { groups, ..for_group((epoch, at), &rules, &settings, None) }
}

/// The policy of a group, or of the clients of none.
fn for_group((epoch, at): (u64, Wall), rules: &Arc<RuleSet>, settings: &Arc<Settings>, group: Option<usize>) -> Policy {
    let of = group.and_then(|group| Some((group, settings.groups.get(group)?)));
    let staged: Box<[Staged]> = rules.classes().map(|(_, class)| stage(rules, settings, of, class, at)).collect();
    let exceptions = Exceptions::new(&settings.exceptions, of.map(|(_, group)| &*group.id), at);
    let open_below = open_below(rules, &staged, &exceptions);
    let members = if group.is_none() { Members::new(&settings.groups) } else { Members::default() };
    Policy {
        epoch,
        id: durable_id(rules, settings),
        at,
        staged,
        is_plain: exceptions.is_empty() && rules.apart.is_empty(),
        exceptions,
        open_below,
        by_client: rules.apart.is_by_client(),
        next_change: next_change(rules, settings, at),
        members,
        groups: Box::default(),
        group,
        rules: Arc::clone(rules),
        settings: Arc::clone(settings),
    }
}

/// What is wanted for one class.
fn stage(rules: &RuleSet, settings: &Settings, group: Option<(usize, &Group)>, class: &Class, at: Wall) -> Staged {
    let vendor = class.vendor.as_ref().and_then(|id| rules.vendor(id));
    let (wanted, why) = group
        .and_then(|group| wanted_by_group(rules, group, class, vendor, at))
        .unwrap_or_else(|| wanted(rules, settings, class, vendor, at));
    let (stage, why) = match (wanted, class.limit, class.expires) {
        (Stage::Block, Some(limit), _) => (Stage::Observe, Why::Limited(limit)),
        (Stage::Block, None, Some(expires)) if expires <= at => (Stage::Observe, Why::Expired(expires)),
        (Stage::Block, ..) if !settings.enforce => (Stage::Observe, Why::Paused),
        _ => (wanted, why),
    };
    let id = vendor.map(|vendor| &vendor.file.id).or_else(|| rules.list(class.list).map(|list| &list.id));
    let own = id.and_then(|id| settings.answers.get(&**id)).copied();
    let answer = class.answer.unwrap_or_else(|| answer(settings, vendor, own));
    let ede = if stage == Stage::Block { ede(rules, class, vendor, &why) } else { Box::default() };
    Staged { stage, why, answer, ede }
}

/// What a group has to say about a class: about its vendor, or about the operator's list that it is of.
fn wanted_by_group(
    rules: &RuleSet,
    (group, said): (usize, &Group),
    class: &Class,
    vendor: Option<&Vendor>,
    at: Wall,
) -> Option<(Stage, Why)> {
    let list = rules.list(class.list).filter(|list| list.stage.is_some());
    if list.and_then(|list| list.expires).is_some_and(|expires| expires <= at) {
        return None;
    }
    let closeness = |setting: &StageSetting| match (list, vendor) {
        (Some(list), _) if setting.vendor == *list.id && setting.part.is_none() => Some(0),
        (_, Some(vendor)) => setting.closeness(&vendor.file.id, class.purpose),
        _ => None,
    };
    let own = (0..).zip(&said.stages).filter_map(|(i, setting)| Some((closeness(setting)?, i, setting.stage)));
    let (_, stage, wanted) = own.max_by_key(|(closeness, i, _)| (*closeness, *i))?;
    Some((wanted, Why::Group { group, stage }))
}

fn wanted(rules: &RuleSet, settings: &Settings, class: &Class, vendor: Option<&Vendor>, at: Wall) -> (Stage, Why) {
    let list = rules.list(class.list);
    if let Some(stage) = list.and_then(|list| list.stage) {
        let over = list.and_then(|list| list.expires).is_some_and(|expires| expires <= at);
        return (if over { Stage::Off } else { stage }, Why::List);
    }
    let Some(vendor) = vendor else { return (Stage::Observe, Why::Default) };
    let own = (0..)
        .zip(&settings.stages)
        .filter_map(|(i, setting)| Some((setting.closeness(&vendor.file.id, class.purpose)?, i, setting.stage)))
        .max_by_key(|(closeness, i, _)| (*closeness, *i));
    if let Some((_, i, stage)) = own {
        return (stage, Why::Setting(i));
    }
    match clause_in_force(settings, vendor, class, at) {
        Some(why) => (Stage::Block, why),
        None => (Stage::Observe, Why::Default),
    }
}

/// The first clause in force that binds here and forbids the purpose.
fn clause_in_force(settings: &Settings, vendor: &Vendor, class: &Class, at: Wall) -> Option<Why> {
    binding(settings, vendor)
        .find(|(_, _, clause)| clause.in_force(at) && clause.forbids(class.purpose))
        .map(|(authority, clause, _)| Why::Authority { authority, clause })
}

/// The clauses that bind within the configured scope.
fn binding<'a>(settings: &'a Settings, vendor: &'a Vendor) -> impl Iterator<Item = (usize, usize, &'a Clause)> {
    (0..)
        .zip(&vendor.file.authorities)
        .filter(|(_, authority)| settings.scope.is_bound_by(authority))
        .flat_map(|(a, authority)| (0..).zip(&authority.clauses).map(move |(c, clause)| (a, c, clause)))
}

/// The operator's own word about the vendor or list, if there is one. Else a sinkhole, wherever one is configured, for vendors
/// whose file lets the answer lead nowhere: the connection that it draws names the real client behind a forwarder.
fn answer(settings: &Settings, vendor: Option<&Vendor>, own: Option<BlockAnswer>) -> BlockAnswer {
    if let Some(own) = own.filter(|own| *own != BlockAnswer::Sinkhole || settings.sinkhole.is_some()) {
        return own;
    }
    match vendor.and_then(|vendor| vendor.file.answer).unwrap_or(settings.block.answer) {
        BlockAnswer::Null if vendor.is_some() && settings.sinkhole.is_some() => BlockAnswer::Sinkhole,
        BlockAnswer::Sinkhole if !settings.sinkhole.is_some() => BlockAnswer::Null,
        answer => answer,
    }
}

/// The whole option: code, length, INFO-CODE, text.
fn ede(rules: &RuleSet, class: &Class, vendor: Option<&Vendor>, why: &Why) -> Box<[u8]> {
    let authority = match why {
        Why::Authority { authority, .. } => vendor.and_then(|vendor| vendor.file.authorities.get(*authority)),
        _ => None,
    };
    let (code, mut text) = match (authority, vendor) {
        (Some(authority), Some(vendor)) => {
            (EDE_CENSORED, format!("{} {}: {} {}", vendor.file.id, class.purpose, authority.id, authority.citation))
        }
        (None, Some(vendor)) => (EDE_BLOCKED, format!("{} {}: operator's policy", vendor.file.id, class.purpose)),
        (_, None) => {
            let list = rules.list(class.list).map_or("list", |list| &list.id);
            (EDE_BLOCKED, format!("list {list}: operator's policy"))
        }
    };
    let mut end = text.len().min(EDE_TEXT_OCTETS_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    let length = u16::try_from(text.len() + 2).unwrap_or(u16::MAX);
    [&EDE_OPTION.to_be_bytes()[..], &length.to_be_bytes(), &code.to_be_bytes(), text.as_bytes()].concat().into()
}

/// Which names have something below them that passes, as hashes.
#[derive(Debug, Default)]
pub(super) struct OpenBelow {
    /// Every name above one that passes.
    above: HashSet<u64>,
    /// Names below which a wildcard that passes may match at any depth.
    anchors: HashSet<u64>,
}

impl OpenBelow {
    /// Adds a name that passes.
    fn add(&mut self, rules: &RuleSet, name: NameRef<'_>, kind: Match) {
        let mut at = name.parent();
        // Once a name is in, so are all names above it.
        while let Some(parent) = at.filter(|&parent| !parent.is_root() && self.above.insert(rules.names.hash(parent))) {
            at = parent.parent();
        }
        let anchor = if kind == Match::Wildcard { anchor(name) } else { return };
        // With one label left of the anchor that is more than a star, nothing below what it matches matches.
        if name.label_count() > anchor.label_count() + 1 || name.first_label() == b"*" {
            self.anchors.insert(rules.names.hash(anchor));
        }
    }

    /// Whether something below a name passes.
    pub(super) fn holds(&self, rules: &RuleSet, name: NameRef<'_>) -> bool {
        let is = |set: &HashSet<u64>, name| !set.is_empty() && set.contains(&rules.names.hash(name));
        is(&self.above, name) || name.suffixes().any(|suffix| is(&self.anchors, suffix))
    }
}

/// Needed only if some answer is NXDOMAIN at all.
fn open_below(rules: &RuleSet, staged: &[Staged], exceptions: &Exceptions) -> OpenBelow {
    let mut open = OpenBelow::default();
    if !staged.iter().any(|staged| staged.stage == Stage::Block && staged.answer == BlockAnswer::Nxdomain) {
        return open;
    }
    let blocks = |ClassId(class): ClassId| staged.get(usize::from(class)).is_some_and(|s| s.stage == Stage::Block);
    for (_, rule) in rules.names.iter().filter(|(_, rule)| !blocks(rule.class)) {
        open.add(rules, rule.name.unpack().as_ref(), rule.kind);
    }
    rules.apart.open(blocks).for_each(|(name, kind)| open.add(rules, name, kind));
    exceptions.names().for_each(|name| open.add(rules, name, Match::Exact));
    for anchor in rules.apart.open_anchors() {
        open.anchors.insert(rules.names.hash(anchor));
    }
    open
}

/// The next moment at which some stage may differ.
fn next_change(rules: &RuleSet, settings: &Settings, at: Wall) -> Option<Wall> {
    let clauses = rules
        .vendors()
        .iter()
        .flat_map(|vendor| binding(settings, vendor))
        .flat_map(|(_, _, clause)| [Some(clause.from), clause.until]);
    let expiries = rules.classes().map(|(_, class)| class.expires);
    let lists = rules.lists().iter().map(|list| list.expires);
    let exceptions = settings.exceptions.iter().map(|exception| exception.until);
    clauses.chain(expiries).chain(lists).chain(exceptions).flatten().filter(|change| *change > at).min()
}

/// The same rules and settings have the same id wherever and whenever they are compiled.
fn durable_id(rules: &RuleSet, settings: &Settings) -> PolicyId {
    let mut hash = Sha256::new();
    for list in rules.lists() {
        let stage = list.stage.map_or("", Stage::as_str);
        hash.update(format!("{}\0{}\0{stage}\0{:?}\n", list.id, list.revision, list.expires));
    }
    // The same text means other rules where the operator lets the list answer, or names another format.
    for (_, class) in rules.classes().filter(|(_, class)| class.answer.is_some() || class.data.is_some()) {
        hash.update(format!("{:?}\0{:?}\n", class.answer, class.data));
    }
    hash.update(format!("{}\n", rules.len()));
    // Settings hold vectors and plain values only, so that their debug form is the same for the same settings.
    hash.update(format!("{settings:?}"));
    let mut id = [0; 16];
    id.iter_mut().zip(hash.finalize()).for_each(|(into, octet)| *into = octet);
    PolicyId(id)
}
