//! Finding the rules that stand apart, and the verdict that each list comes to by itself.
//!
//! Rules with a name stand in a hash table under it, as in the plain index; patterns under the labels that all their names end
//! with. What has neither is tried one by one, after one pass of all of them at once has said whether any matches at all.

use super::glob::NameText;
use super::{APART_RULES_MAX, ApartRule, FLOATING_RULES_MAX, GROUPS_MAX, Glob, Tier, Trigger};
use crate::base::name::{Match, Name, NameHasher, NameRef};
use crate::policy::Subject;
use crate::policy::index::{AddressIndex, Listed, closeness, key_of};
use crate::policy::rules::{Class, ClassId, ListId, TooMany};
use hashbrown::HashTable;
use ipnet::IpNet;
use regex::bytes::{RegexSet, RegexSetBuilder};
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

/// Octets of the pass over all floating rules at once; a larger one is left out, and they are tried one by one.
const SET_OCTETS_MAX: usize = 16 << 20;
/// End of a chain of rules.
const NO_RULE: u32 = u32::MAX;
/// The group of classes whose list has no rules apart.
const NO_GROUP: u8 = u8::MAX;

/// Where a rule comes from.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Place {
    pub(in crate::policy) class: ClassId,
    pub(in crate::policy) line: u32,
}

#[derive(Debug)]
struct Placed {
    rule: ApartRule,
    place: Place,
    group: u8,
    /// What it stands under; `None` for those that float, and for addresses.
    key: Option<Name>,
    /// As for plain rules; prefix lengths for addresses and clients.
    closeness: (u8, u8),
    /// The next rule under the same key, or [`NO_RULE`].
    next: u32,
}

/// The rule that speaks for a list.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Best {
    pub(in crate::policy) at: u32,
    pub(in crate::policy) class: ClassId,
    pub(in crate::policy) tier: Tier,
    pub(in crate::policy) closeness: (u8, u8),
    pub(in crate::policy) passes: bool,
}

/// Each list's own verdict on a subject, as far as rules apart make it.
#[derive(Debug)]
pub(in crate::policy) struct Own([Option<Best>; GROUPS_MAX]);

impl Own {
    /// Of equals, the one that lets pass, then the first.
    fn offer(&mut self, group: u8, best: Best) {
        let Some(held) = self.0.get_mut(usize::from(group)) else { return };
        let rank = |best: &Best| (best.tier, best.closeness, best.passes);
        if held.as_ref().is_none_or(|held| rank(&best) > rank(held)) {
            *held = Some(best);
        }
    }

    /// What lists have against the subject.
    pub(in crate::policy) fn against(&self) -> impl Iterator<Item = &Best> {
        self.0.iter().flatten().filter(|best| !best.passes)
    }
}

/// All rules apart.
#[derive(Debug, Default)]
pub(in crate::policy) struct Apart {
    rules: Vec<Placed>,
    hasher: NameHasher,
    heads: HashTable<u32>,
    floating: Vec<u32>,
    /// Whether any floating rule matches; `None` where that pass would be too large.
    any_floating: Option<RegexSet>,
    addresses: AddressIndex,
    clients: AddressIndex,
    /// By class.
    groups: Vec<u8>,
    /// Plain rules that their list takes back.
    removed: HashSet<u32>,
}

impl Apart {
    /// Whether there is nothing here.
    pub(in crate::policy) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.removed.is_empty()
    }

    /// How many rules there are.
    pub(in crate::policy) fn len(&self) -> usize {
        self.rules.len()
    }

    /// How many plain rules their list takes back.
    pub(in crate::policy) fn removed_len(&self) -> usize {
        self.removed.len()
    }

    /// Whether a list takes a plain rule on names back.
    pub(in crate::policy) fn removes(&self, at: u32) -> bool {
        !self.removed.is_empty() && self.removed.contains(&at)
    }

    /// A rule with where it comes from.
    pub(in crate::policy) fn get(&self, at: u32) -> Option<(&ApartRule, Place)> {
        self.rules.get(at as usize).map(|placed| (&placed.rule, placed.place))
    }

    /// Octets held, regular expressions by estimate.
    pub(in crate::policy) fn bytes(&self) -> usize {
        let one = |placed: &Placed| {
            let trigger = match &placed.rule.trigger {
                Trigger::Name(pattern) => pattern.name().as_wire().len(),
                Trigger::Glob(glob) => glob.literal_octets(),
                Trigger::Regex(regex) => regex.as_str().len() * 64,
                Trigger::Address(_) | Trigger::Client(_) => 0,
            };
            size_of::<Placed>() + placed.rule.text.len() + trigger
        };
        self.rules.iter().map(one).sum::<usize>() + self.heads.allocation_size() + self.removed.capacity() * 8
    }

    /// Whether some rule depends on who asks, so that what is true for one client need not be for the next.
    pub(in crate::policy) fn is_by_client(&self) -> bool {
        self.rules.iter().any(|placed| placed.rule.is_by_client())
    }

    /// Whether a name may pass somewhere that nobody can tell beforehand.
    pub(in crate::policy) fn passes_anywhere(&self) -> bool {
        self.floating.iter().filter_map(|at| self.get(*at)).any(|(rule, _)| rule.passes)
    }

    /// Names that something lets pass, with how they compare; `blocks` tells which classes block.
    pub(in crate::policy) fn open<'a>(
        &'a self,
        blocks: impl Fn(ClassId) -> bool + 'a,
    ) -> impl Iterator<Item = (NameRef<'a>, Match)> {
        self.rules.iter().flat_map(move |placed| {
            let open = placed.rule.passes || !blocks(placed.place.class);
            let spared = placed.rule.conditions.iter().flat_map(|conditions| conditions.not_below.iter());
            let named = match &placed.rule.trigger {
                Trigger::Name(pattern) => Some((pattern.name(), pattern.kind())),
                _ => None,
            };
            named.filter(|_| open).into_iter().chain(spared.map(|name| (name.as_ref(), Match::Suffix)))
        })
    }

    /// The labels above all names that a pattern lets pass.
    pub(in crate::policy) fn open_anchors(&self) -> impl Iterator<Item = NameRef<'_>> {
        let globs = self.rules.iter().filter(|placed| matches!(placed.rule.trigger, Trigger::Glob(_)));
        globs.filter(|placed| placed.rule.passes).filter_map(|placed| placed.key.as_ref()).map(Name::as_ref)
    }

    /// Each list's own verdict.
    pub(in crate::policy) fn judge(&self, subject: &Subject<'_>) -> Own {
        let mut own = Own([None; GROUPS_MAX]);
        self.each(subject, |at, placed| {
            let (Place { class, .. }, ApartRule { tier, passes, .. }) = (placed.place, &placed.rule);
            let best = Best { at, class, tier: *tier, closeness: placed.closeness, passes: *passes };
            own.offer(placed.group, best);
        });
        own
    }

    /// Whether a list's own verdict leaves one of its plain rules nothing to say.
    pub(in crate::policy) fn silences(&self, own: &Own, class: ClassId, tier: Tier, closeness: (u8, u8)) -> bool {
        let group = self.groups.get(usize::from(class.0)).copied().unwrap_or(NO_GROUP);
        let Some(best) = own.0.get(usize::from(group)).and_then(Option::as_ref) else { return false };
        (best.tier, best.closeness, best.passes) > (tier, closeness, false)
    }

    /// Whether a rule that is against something mentions a name, whatever its conditions.
    pub(in crate::policy) fn mentions(&self, name: NameRef<'_>) -> bool {
        let mut mentioned = false;
        self.each_on_name(name, |_, placed| mentioned |= !placed.rule.passes);
        mentioned
    }

    /// Every rule that matches, with its conditions.
    pub(in crate::policy) fn matching(&self, subject: &Subject<'_>) -> Vec<u32> {
        let mut all = Vec::new();
        self.each(subject, |at, _| all.push(at));
        all
    }

    fn each(&self, subject: &Subject<'_>, mut found: impl FnMut(u32, &Placed)) {
        let mut applies = |at: u32, placed: &Placed| {
            if placed.rule.applies(subject) {
                found(at, placed);
            }
        };
        if let Some(name) = subject.name {
            self.each_on_name(name, &mut applies);
            self.each_over(&self.clients, subject.client, &mut applies);
        }
        self.each_over(&self.addresses, subject.address, &mut applies);
    }

    fn each_over(&self, index: &AddressIndex, address: Option<IpAddr>, found: &mut impl FnMut(u32, &Placed)) {
        let Some(address) = address else { return };
        index.walk(&address, |rules| {
            for listed in rules {
                if let Some(placed) = self.rules.get(listed.rule as usize) {
                    found(listed.rule, placed);
                }
            }
            true
        });
    }

    fn each_on_name(&self, name: NameRef<'_>, mut found: impl FnMut(u32, &Placed)) {
        let text = NameText::new(name);
        let mut try_one = |at: u32| {
            let Some(placed) = self.rules.get(at as usize) else { return NO_RULE };
            if placed.rule.is_on(name, text.as_bytes()) {
                found(at, placed);
            }
            placed.next
        };
        let mut hash = NameHasher::ROOT;
        for suffix in name.suffixes() {
            hash = self.hasher.child(hash, suffix.first_label());
            let mut at = self.heads.find(hash, |&head| self.key_is(head, suffix)).copied().unwrap_or(NO_RULE);
            while at != NO_RULE {
                at = try_one(at);
            }
        }
        if self.any_floating.as_ref().is_none_or(|any| any.is_match(text.as_bytes())) {
            for &at in &self.floating {
                try_one(at);
            }
        }
    }

    fn key_is(&self, head: u32, key: NameRef<'_>) -> bool {
        self.rules.get(head as usize).and_then(|placed| placed.key.as_ref()).is_some_and(|held| held.as_ref() == key)
    }
}

/// Collects rules apart.
#[derive(Debug, Default)]
pub(in crate::policy) struct ApartBuilder {
    made: Apart,
    groups: BTreeMap<ListId, u8>,
    count: u8,
}

impl ApartBuilder {
    /// A group for rules that answer to each other, of lists that are one to the operator.
    ///
    /// # Errors
    /// [`TooMany::Apart`].
    pub(in crate::policy) fn group(&mut self, lists: &[ListId]) -> Result<u8, TooMany> {
        let group = self.count;
        if usize::from(group) >= GROUPS_MAX {
            return Err(TooMany::Apart);
        }
        self.count += 1;
        self.groups.extend(lists.iter().map(|list| (*list, group)));
        Ok(group)
    }

    /// Adds a rule of a group.
    ///
    /// # Errors
    /// [`TooMany::Apart`].
    pub(in crate::policy) fn add(&mut self, group: u8, place: Place, rule: ApartRule) -> Result<(), TooMany> {
        let made = &mut self.made;
        let at = u32::try_from(made.rules.len()).map_err(|_| TooMany::Apart)?;
        if made.rules.len() >= APART_RULES_MAX {
            return Err(TooMany::Apart);
        }
        let key = key(&rule.trigger);
        let floats = key.is_none() && matches!(rule.trigger, Trigger::Glob(_) | Trigger::Regex(_));
        if floats {
            if made.floating.len() >= FLOATING_RULES_MAX {
                return Err(TooMany::Apart);
            }
            made.floating.push(at);
        }
        let closeness = rule_closeness(&rule.trigger, key.as_ref());
        made.rules.push(Placed { rule, place, group, key, closeness, next: NO_RULE });
        made.chain(at);
        Ok(())
    }

    /// Takes a plain rule on names back.
    pub(in crate::policy) fn remove(&mut self, at: u32) {
        self.made.removed.insert(at);
    }

    /// Closes the set.
    pub(in crate::policy) fn finish(mut self, classes: &[Class]) -> Apart {
        let group = |class: &Class| self.groups.get(&class.list).copied().unwrap_or(NO_GROUP);
        let groups = classes.iter().map(group).collect();
        let made = &mut self.made;
        let nets = |pick: fn(&Trigger) -> Option<IpNet>| {
            AddressIndex::new((0..).zip(&made.rules).filter_map(|(rule, placed)| {
                let net = pick(&placed.rule.trigger)?.trunc();
                Some((net, Listed { rule, class: placed.place.class }))
            }))
        };
        let addresses = nets(|trigger| if let Trigger::Address(net) = trigger { Some(*net) } else { None });
        let clients = nets(|trigger| if let Trigger::Client(net) = trigger { Some(*net) } else { None });
        made.any_floating = made.set();
        Apart { addresses, clients, groups, ..self.made }
    }
}

impl Apart {
    /// Puts a rule at the end of the chain under its key.
    fn chain(&mut self, at: u32) {
        let Some(key) = self.rules.get(at as usize).and_then(|placed| placed.key.clone()) else { return };
        let hash = self.hasher.hash(key.as_ref());
        let Some(&head) = self.heads.find(hash, |&head| self.key_is(head, key.as_ref())) else {
            let Self { heads, rules, hasher, .. } = self;
            let key_of = |at: &u32| rules.get(*at as usize).and_then(|placed| placed.key.as_ref());
            heads.insert_unique(hash, at, |head| key_of(head).map_or(0, |key| hasher.hash(key.as_ref())));
            return;
        };
        // The order within a chain decides nothing, so the new rule comes second: chains may be long.
        let second = self.rules.get_mut(head as usize).map_or(NO_RULE, |head| std::mem::replace(&mut head.next, at));
        if let Some(placed) = self.rules.get_mut(at as usize) {
            placed.next = second;
        }
    }

    /// All floating rules at once: a regular expression as it is, of a pattern its longest part.
    fn set(&self) -> Option<RegexSet> {
        let texts = self.floating.iter().filter_map(|at| match &self.rules.get(*at as usize)?.rule.trigger {
            Trigger::Regex(regex) => Some(regex.as_str().to_owned()),
            Trigger::Glob(glob) => Some(regex::escape(&String::from_utf8_lossy(glob.longest()))),
            Trigger::Name(_) | Trigger::Address(_) | Trigger::Client(_) => None,
        });
        let mut builder = RegexSetBuilder::new(texts);
        builder.unicode(false).case_insensitive(true).size_limit(SET_OCTETS_MAX).build().ok()
    }
}

/// How exactly a rule speaks. A pattern is as close as a wildcard of one label more than it ends with.
fn rule_closeness(trigger: &Trigger, key: Option<&Name>) -> (u8, u8) {
    let octets = |glob: &Glob| u8::try_from(glob.literal_octets()).unwrap_or(u8::MAX);
    let labels = |key: &Name| u8::try_from(key.as_ref().label_count() + 1).unwrap_or(u8::MAX);
    match trigger {
        Trigger::Name(pattern) => closeness(pattern.name()),
        Trigger::Glob(glob) => (key.map_or(0, labels), octets(glob)),
        Trigger::Regex(_) => (0, 0),
        Trigger::Address(net) | Trigger::Client(net) => (0, net.prefix_len()),
    }
}

/// What a rule is found under.
fn key(trigger: &Trigger) -> Option<Name> {
    match trigger {
        Trigger::Name(pattern) => Some(key_of(pattern.name(), pattern.kind()).to_name()),
        Trigger::Glob(glob) => glob.anchor(),
        Trigger::Regex(_) | Trigger::Address(_) | Trigger::Client(_) => None,
    }
}
