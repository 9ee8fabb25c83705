//! What the lists say: lists, classes of rules, rules, and the indexes that find them. Built once, then read only.

use super::apart::{APART_RULES_MAX, Apart, ApartBuilder, ApartRule, FLOATING_RULES_MAX, GROUPS_MAX, Place, Trigger};
use super::index::{AddressIndex, Listed, NameIndex, NameIndexBuilder};
use super::list::vendor::VendorFile;
use crate::base::model::limits::{CLASSES_MAX, RULES_MAX};
use crate::base::model::{BlockAnswer, Purpose, RuleFacts, Stage, Wall};
use crate::base::name::{Match, Name, Pattern};
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;

/// A list by its place in the rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListId(pub(super) u16);

impl ListId {
    /// After all others.
    pub(super) const LAST: Self = Self(u16::MAX);
}

/// A class by its place in the rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassId(pub(super) u16);

/// A rule by its place in the rule set: even ones are of plain names, odd ones of ranges and of rules apart, in turn. Means
/// something within one epoch only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(u32);

/// Which table a rule stands in, and where.
pub(super) enum Slot {
    Name(u32),
    Range(u32),
    Apart(u32),
}

impl RuleId {
    pub(super) const fn of_name(at: u32) -> Self {
        Self(at << 1)
    }

    pub(super) const fn of_range(at: u32) -> Self {
        Self(at << 2 | 1)
    }

    pub(super) const fn of_apart(at: u32) -> Self {
        Self(at << 2 | 3)
    }

    pub(super) const fn slot(self) -> Slot {
        match self.0 & 3 {
            1 => Slot::Range(self.0 >> 2),
            3 => Slot::Apart(self.0 >> 2),
            _ => Slot::Name(self.0 >> 1),
        }
    }
}

/// A list, for provenance.
#[derive(Clone, Debug)]
pub struct List {
    /// `kaspersky`, or the `id` of a `[[blocklist]]`.
    pub id: Arc<str>,
    /// The file its lines are counted in.
    pub file: Arc<str>,
    /// Content hash, or commit.
    pub revision: Arc<str>,
    /// The stage of a list that names no vendors; `None` for vendor files, whose classes are staged one by one.
    pub stage: Option<Stage>,
    /// When the operator takes the list out of force.
    pub expires: Option<Wall>,
}

/// Why rules of a class never block, whatever is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// Seen only in places that cannot be cited.
    Unrecorded,
    /// Address space that others share.
    Shared,
}

impl Limit {
    /// The reason in words.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unrecorded => "no public source for it is recorded, so it is observed only",
            Self::Shared => "the address space is shared with others, so it is never blocked by address",
        }
    }
}

/// What rules have in common; everything that decides their stage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// The list they come from.
    pub list: ListId,
    /// The vendor; `None` for lists that name none.
    pub vendor: Option<Arc<str>>,
    /// What their destinations are for.
    pub purpose: Purpose,
    /// Why they never block.
    pub limit: Option<Limit>,
    /// When their evidence is too old to block on.
    pub expires: Option<Wall>,
    /// How their list wants a block answered; `None` leaves it to vendor file and settings.
    pub answer: Option<BlockAnswer>,
    /// What their list wants answered instead, where the operator lets lists answer.
    pub data: Option<Arc<AnswerData>>,
}

impl Class {
    /// Rules of a list for a purpose, and nothing else said.
    #[must_use]
    pub const fn of(list: ListId, purpose: Purpose) -> Self {
        Self { list, vendor: None, purpose, limit: None, expires: None, answer: None, data: None }
    }
}

/// What a list answers in place of the true answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnswerData {
    /// For A.
    pub v4: Vec<Ipv4Addr>,
    /// For AAAA.
    pub v6: Vec<Ipv6Addr>,
    /// For every type: another name, to be resolved in its place. Where its first label is `*`, the name asked for stands there.
    pub cname: Option<Name>,
}

/// A vendor or bundle: what its file says, and how much of it became rules.
#[derive(Clone, Debug)]
pub struct Vendor {
    /// The file.
    pub file: Arc<VendorFile>,
    /// Rules on names.
    pub names: usize,
    /// Rules on addresses.
    pub ranges: usize,
    /// Entries that stay off because nobody could verify them.
    pub unverified: usize,
}

/// A rule on addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct RangeRule {
    pub(super) net: IpNet,
    pub(super) line: u32,
    pub(super) class: ClassId,
}

/// All rules of all lists.
#[derive(Debug)]
pub struct RuleSet {
    pub(super) lists: Vec<List>,
    pub(super) classes: Vec<Class>,
    pub(super) vendors: Vec<Vendor>,
    pub(super) names: NameIndex,
    pub(super) ranges: Vec<RangeRule>,
    pub(super) addresses: AddressIndex,
    pub(super) apart: Apart,
}

impl RuleSet {
    /// The lists, in order of precedence.
    #[must_use]
    pub fn lists(&self) -> &[List] {
        &self.lists
    }

    /// The vendors and bundles, by id.
    #[must_use]
    pub fn vendors(&self) -> &[Vendor] {
        &self.vendors
    }

    /// The classes of rules, with the id that [`super::Policy::staged`] takes.
    pub fn classes(&self) -> impl Iterator<Item = (ClassId, &Class)> {
        (0..=u16::MAX).map(ClassId).zip(&self.classes)
    }

    /// Names the class of every rule, once a rule.
    pub fn count_by_class(&self, mut each: impl FnMut(ClassId)) {
        self.names
            .iter()
            .map(|(_, rule)| rule.class)
            .chain(self.ranges.iter().map(|rule| rule.class))
            .for_each(&mut each);
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.names.len() + self.ranges.len() + self.apart.len()).saturating_sub(self.apart.removed_len())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets held by rules and indexes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.names.bytes() + self.ranges.len() * size_of::<RangeRule>() + self.addresses.bytes() + self.apart.bytes()
    }

    /// Where in memory look-ups of names read at random, as addresses: what a driver may want to place well.
    #[must_use]
    pub fn spans(&self) -> [Range<usize>; 2] {
        self.names.spans()
    }

    /// A class by id.
    #[must_use]
    pub fn class(&self, id: ClassId) -> Option<&Class> {
        self.classes.get(usize::from(id.0))
    }

    /// A list by id.
    #[must_use]
    pub fn list(&self, id: ListId) -> Option<&List> {
        self.lists.get(usize::from(id.0))
    }

    /// A vendor or bundle by id.
    #[must_use]
    pub fn vendor(&self, id: &str) -> Option<&Vendor> {
        self.vendors.iter().find(|vendor| &*vendor.file.id == id)
    }

    /// The class of a rule.
    #[must_use]
    pub fn class_of(&self, rule: RuleId) -> Option<ClassId> {
        match rule.slot() {
            Slot::Name(at) => self.names.get(at).map(|rule| rule.class),
            Slot::Range(at) => self.ranges.get(at as usize).map(|rule| rule.class),
            Slot::Apart(at) => self.apart.get(at).map(|(_, place)| place.class),
        }
    }

    /// Whom the rules of a class are put down to, and what for.
    #[must_use]
    pub fn party(&self, class: ClassId) -> Option<(&Arc<str>, Purpose)> {
        let class = self.class(class)?;
        let party = match &class.vendor {
            Some(vendor) => vendor,
            None => &self.list(class.list)?.id,
        };
        Some((party, class.purpose))
    }

    /// How a name rule compares; `None` for ranges, and for rules with conditions or without a name.
    #[must_use]
    pub fn name_match(&self, rule: RuleId) -> Option<Match> {
        match rule.slot() {
            Slot::Name(at) => self.names.get(at).map(|rule| rule.kind),
            Slot::Range(_) => None,
            Slot::Apart(at) => match self.apart.get(at)?.0 {
                ApartRule { trigger: Trigger::Name(pattern), conditions: None, .. } => Some(pattern.kind()),
                _ => None,
            },
        }
    }

    /// Whether a rule lets pass what it matches.
    #[must_use]
    pub fn passes(&self, rule: RuleId) -> bool {
        match rule.slot() {
            Slot::Apart(at) => self.apart.get(at).is_some_and(|(rule, _)| rule.passes),
            Slot::Name(_) | Slot::Range(_) => false,
        }
    }

    /// Whether a rule is `*.name`: everything below a name, and nothing more said of it.
    #[must_use]
    pub fn is_below_only(&self, rule: RuleId) -> bool {
        let name = match rule.slot() {
            Slot::Name(at) => self.names.get(at).map(|rule| rule.name.unpack()),
            Slot::Apart(at) => self.apart.get(at).and_then(|(rule, _)| match &rule.trigger {
                Trigger::Name(pattern) => Some(pattern.name().into()),
                _ => None,
            }),
            Slot::Range(_) => None,
        };
        name.is_some_and(|name| {
            let mut labels = name.as_ref().labels();
            labels.next() == Some(b"*") && labels.all(|label| !label.contains(&b'*'))
        })
    }

    /// What a rule means outside its epoch; `None` for an id of another rule set.
    #[must_use]
    pub fn facts(&self, rule: RuleId) -> Option<RuleFacts> {
        let (line, pattern) = match rule.slot() {
            Slot::Name(at) => {
                let rule = self.names.get(at)?;
                (rule.line, rule.name.to_string())
            }
            Slot::Range(at) => {
                let rule = self.ranges.get(at as usize)?;
                (rule.line, rule.net.to_string())
            }
            Slot::Apart(at) => {
                let (rule, place) = self.apart.get(at)?;
                (place.line, rule.text.to_string())
            }
        };
        let class = self.class_of(rule)?;
        let (vendor, purpose) = self.party(class)?;
        let list = self.list(self.class(class)?.list)?;
        Some(RuleFacts {
            vendor: Arc::clone(vendor),
            purpose,
            list: Arc::clone(&list.id),
            revision: Arc::clone(&list.revision),
            place: format!("{}:{line}", list.file).into(),
            pattern: pattern.into(),
        })
    }

    /// The first rule on the longest prefix that holds an address, whatever is wanted of it: what the index alone says. No
    /// allocation.
    #[must_use]
    #[inline]
    pub fn longest(&self, address: &IpAddr) -> Option<RuleId> {
        self.addresses.find(address).first().map(|listed| RuleId::of_range(listed.rule))
    }
}

/// Collects rules; list order is the order of precedence.
#[derive(Debug, Default)]
pub struct RuleSetBuilder {
    lists: Vec<List>,
    classes: Vec<Class>,
    known: HashMap<Class, ClassId>,
    vendors: Vec<Vendor>,
    names: NameIndexBuilder,
    ranges: Vec<RangeRule>,
    apart: ApartBuilder,
}

/// A bound was passed while rules were collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// Lists or classes.
    #[error("more than {CLASSES_MAX} lists or kinds of rules; merge lists that mean the same")]
    Classes,
    /// Rules.
    #[error("more than {RULES_MAX} rules, or more text than their names may take; leave some lists out")]
    Rules,
    /// Rules with exceptions, conditions or patterns, or lists that have such.
    #[error(
        "more than {APART_RULES_MAX} rules with exceptions, conditions or patterns, {FLOATING_RULES_MAX} keywords and \
         regular expressions, or {GROUPS_MAX} lists that have such; leave some lists out"
    )]
    Apart,
}

impl RuleSetBuilder {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a list, after all earlier ones in precedence.
    ///
    /// # Errors
    /// [`TooMany::Classes`].
    pub fn list(&mut self, list: List) -> Result<ListId, TooMany> {
        let id = u16::try_from(self.lists.len()).map_err(|_| TooMany::Classes)?;
        self.lists.push(list);
        Ok(ListId(id))
    }

    /// Adds a list that another one includes: in all but file and revision the same to the operator.
    pub(super) fn included(&mut self, by: ListId, file: &str, revision: &str) -> Result<ListId, TooMany> {
        let by = self.lists.get(usize::from(by.0)).ok_or(TooMany::Classes)?;
        let list = List { file: file.into(), revision: revision.into(), ..by.clone() };
        self.list(list)
    }

    /// The plain classes of lists.
    pub(super) fn plain_classes(&self, lists: &[ListId]) -> Vec<ClassId> {
        let plain = |list: &ListId| self.known.get(&Class::of(*list, Purpose::Unknown)).copied();
        lists.iter().filter_map(plain).collect()
    }

    /// Sets a list's revision, which is known only when all of it has been read.
    pub fn set_revision(&mut self, list: ListId, revision: &str) {
        if let Some(list) = self.lists.get_mut(usize::from(list.0)) {
            list.revision = revision.into();
        }
    }

    /// Adds a vendor or bundle.
    pub fn vendor(&mut self, vendor: Vendor) {
        self.vendors.push(vendor);
    }

    /// The id of a class, added on first use.
    ///
    /// # Errors
    /// [`TooMany::Classes`].
    pub fn class(&mut self, class: Class) -> Result<ClassId, TooMany> {
        if let Some(&id) = self.known.get(&class) {
            return Ok(id);
        }
        let id = u16::try_from(self.classes.len()).map(ClassId).map_err(|_| TooMany::Classes)?;
        self.classes.push(class.clone());
        self.known.insert(class, id);
        Ok(id)
    }

    /// Adds a rule on names.
    ///
    /// # Errors
    /// [`TooMany::Rules`].
    pub fn name(&mut self, class: ClassId, pattern: &Pattern, line: u32) -> Result<(), TooMany> {
        if self.plain_len() >= RULES_MAX {
            return Err(TooMany::Rules);
        }
        self.names.insert(class, pattern, line).ok_or(TooMany::Rules)
    }

    /// Adds a rule on addresses.
    ///
    /// # Errors
    /// [`TooMany::Rules`].
    pub fn range(&mut self, class: ClassId, net: IpNet, line: u32) -> Result<(), TooMany> {
        if self.plain_len() >= RULES_MAX {
            return Err(TooMany::Rules);
        }
        self.ranges.push(RangeRule { net: net.trunc(), line, class });
        Ok(())
    }

    /// Adds what a list's rules apart say, once all of the list is read. `lists` are the list and those that it includes.
    ///
    /// # Errors
    /// [`TooMany::Apart`].
    pub(super) fn apart(&mut self, lists: &[ListId], rules: Vec<(Place, ApartRule)>) -> Result<(), TooMany> {
        if rules.is_empty() {
            return Ok(());
        }
        let group = self.apart.group(lists)?;
        rules.into_iter().try_for_each(|(place, rule)| self.apart.add(group, place, rule))
    }

    /// Ends a list: what it says twice of names counts once. Says how much that was.
    pub(super) fn settle(&mut self) -> usize {
        self.names.settle()
    }

    /// Takes a plain rule on names back, if the list that was settled last has one of this class.
    pub(super) fn remove(&mut self, class: ClassId, pattern: &Pattern) {
        if let Some(at) = self.names.position(class, pattern) {
            self.apart.remove(at);
        }
    }

    /// How many plain rules there are, what a list says twice included until it is settled.
    pub(super) fn plain_len(&self) -> usize {
        self.names.len() + self.ranges.len()
    }

    /// Whether a vendor or bundle of this id is there.
    pub(super) fn has_vendor(&self, id: &str) -> bool {
        self.vendors.iter().any(|vendor| &*vendor.file.id == id)
    }

    /// Closes the set.
    #[must_use]
    pub fn finish(mut self) -> RuleSet {
        self.vendors.sort_by(|a, b| a.file.id.cmp(&b.file.id));
        let apart = self.apart.finish(&self.classes);
        let listed = |(rule, range): (u32, &RangeRule)| (range.net, Listed { rule, class: range.class });
        let addresses = AddressIndex::new((0..).zip(&self.ranges).map(listed));
        RuleSet {
            apart,
            lists: self.lists,
            classes: self.classes,
            vendors: self.vendors,
            names: self.names.finish(),
            ranges: self.ranges,
            addresses,
        }
    }
}
