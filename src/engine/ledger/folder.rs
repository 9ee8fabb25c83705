//! Folding where attempts arise: one bounded table a worker, flushed a few times a second.
//!
//! Everything that [`Folder::record`] needs is taken when the folder is made: entries, their index, and an arena for names.
//! Counts are exact whatever comes. A client that asks for more names of one class within one flush than the ledger tells apart at
//! all is flooding: its further destinations fall together into one entry for each client, class, channel and outcome, under the
//! rule of the first of them, so that a flood costs the ledger some hundred rows a flush and not one a name. The same is done
//! when three quarters of the table are used, or the arena is. When the rest is used too, which takes thousands of client
//! addresses within one flush, attempts are counted as lost.

use super::batch::{Batch, Folded};
use crate::base::model::{Channel, Decision, Origin, Outcome, Wall};
use crate::base::name::{NAME_OCTETS_MAX, NameRef};
use crate::policy::{ClassId, Hit, Policy, RuleId};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;

/// Destinations that the ledger tells apart of one endpoint × vendor × purpose; further ones are counted together.
pub const DESTINATIONS_MAX: usize = 256;
/// A good number of slots for a resolver worker: about one MiB.
pub const FOLDER_SLOTS: usize = 8192;
/// Kinds of attempts whose destinations are counted between two flushes; a power of two. Two that meet by their hash share a
/// count, so the second may be folded early.
const KINDS: usize = 1024;
/// Octets of the arena for each slot: the wire form of an ordinary name, twice over.
const ARENA_OCTETS_PER_SLOT: usize = 48;
/// Batches that an epoch change closed and that wait for the flush; one is usual, more than a few are a storm of reloads.
const CLOSED_MAX: usize = 16;

/// What attempts have in common whose destinations are not told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) client: IpAddr,
    pub(super) origin: Origin,
    pub(super) class: ClassId,
    pub(super) decision: Decision,
    pub(super) outcome: Outcome,
    pub(super) channel: Channel,
}

/// What makes two attempts one, the name apart, which lies in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    kind: Kind,
    /// `None` where destinations fall together.
    rule: Option<RuleId>,
    target: Target,
    port: Option<u16>,
}

/// The kind of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    Name,
    Address(IpAddr),
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    key: Key,
    /// The rule of the first attempt.
    rule: RuleId,
    hash: u64,
    /// Where the name stands in the arena; nothing for other destinations.
    name_at: u32,
    name_len: u8,
    first: Wall,
    last: Wall,
    pub(super) count: u64,
}

impl Entry {
    /// Adds one attempt.
    fn add(&mut self, wall: Wall) {
        self.first = self.first.min(wall);
        self.last = self.last.max(wall);
        self.count = self.count.saturating_add(1);
    }

    /// What it counts.
    pub(super) fn folded<'a>(&self, names: &'a [u8]) -> Folded<'a> {
        let Key { kind, target, port, .. } = self.key;
        let Kind { client, origin, class, decision, outcome, channel } = kind;
        Folded {
            client,
            origin,
            rule: self.rule,
            class,
            decision,
            outcome,
            channel,
            name: self.name_in(names).filter(|_| target == Target::Name).and_then(NameRef::prefix_of),
            address: if let Target::Address(address) = target { Some(address) } else { None },
            port,
            first: self.first,
            last: self.last,
            count: self.count,
        }
    }

    /// The octets of its name.
    fn name_in<'a>(&self, arena: &'a [u8]) -> Option<&'a [u8]> {
        let from = self.name_at as usize;
        arena.get(from..from + usize::from(self.name_len))
    }
}

/// A worker's table of attempts.
#[derive(Debug)]
pub struct Folder {
    slots: usize,
    policy: Option<Arc<Policy>>,
    entries: Vec<Entry>,
    index: HashTable<u32>,
    arena: Vec<u8>,
    hasher: RandomState,
    /// Destinations that were told apart since the last flush, by the hash of their kind.
    told: Box<[u16]>,
    /// The entry that destinations fell into last: in a flood it is the next one's too.
    together: Option<u32>,
    lost: u64,
    closed: Vec<Batch>,
}

impl Folder {
    /// A table of so many slots, [`FOLDER_SLOTS`] for example; all its memory is taken now.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        let slots = slots.clamp(4, u32::MAX as usize / NAME_OCTETS_MAX);
        Self {
            slots,
            policy: None,
            entries: Vec::with_capacity(slots),
            index: HashTable::with_capacity(slots),
            arena: Vec::with_capacity(slots * ARENA_OCTETS_PER_SLOT),
            hasher: RandomState::default(),
            told: vec![0; KINDS].into(),
            together: None,
            lost: 0,
            closed: Vec::new(),
        }
    }

    /// Counts an attempt of a client. Allocates nothing, unless the policy changed since the last flush.
    pub fn record(&mut self, wall: Wall, policy: &Arc<Policy>, client: IpAddr, hit: &Hit) {
        self.record_from(Origin::Client, wall, policy, client, hit);
    }

    /// Counts an attempt of whatever origin.
    pub fn record_from(&mut self, origin: Origin, wall: Wall, policy: &Arc<Policy>, client: IpAddr, hit: &Hit) {
        if self.policy.as_ref().is_none_or(|known| known.epoch() != policy.epoch()) {
            self.close_batch();
            self.policy = Some(Arc::clone(policy));
        }
        let name = Some(hit.name.as_ref()).filter(|name| !name.is_root());
        let target = match (name, hit.address) {
            (Some(_), _) => Target::Name,
            (None, Some(address)) => Target::Address(address.to_canonical()),
            (None, None) => Target::Other,
        };
        let Hit { class, decision, outcome, channel, .. } = *hit;
        let kind = Kind { client: client.to_canonical(), origin, class, decision, outcome, channel };
        let octets = name.map_or(&[][..], NameRef::as_wire);
        let of_kind = self.hash_kind(&kind);
        let key = Key { kind, rule: Some(hit.rule), target, port: hit.port };
        let hash = self.hash(of_kind, &key, octets);
        if self.count(wall, hash, key, octets) {
            return;
        }
        let has_room = self.entries.len() < self.slots / 4 * 3
            && self.arena.len() + octets.len() <= self.slots * ARENA_OCTETS_PER_SLOT;
        if has_room && self.may_tell(of_kind) {
            self.insert(wall, hash, (key, hit.rule), octets);
            return;
        }
        let key = Key { kind, rule: None, target: Target::Other, port: None };
        if self.count_together(wall, key) || self.count(wall, of_kind, key, &[]) {
            return;
        }
        if self.entries.len() < self.slots {
            self.together = u32::try_from(self.entries.len()).ok();
            self.insert(wall, of_kind, (key, hit.rule), &[]);
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Whether destinations are about to fall together: a flush before the next batch of packets keeps them apart.
    #[must_use]
    pub fn is_nearly_full(&self) -> bool {
        self.entries.len() >= self.slots / 2 || self.arena.len() >= self.slots * ARENA_OCTETS_PER_SLOT / 4 * 3
    }

    /// Whether a flush would give nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lost == 0 && self.closed.is_empty()
    }

    /// Gives out what was recorded since the last flush, a batch for each policy, and forgets it.
    pub fn flush(&mut self) -> Vec<Batch> {
        self.close_batch();
        // An idle worker must not keep a policy alive that nobody else uses.
        self.policy = None;
        std::mem::take(&mut self.closed)
    }

    /// Adds one attempt to its entry, if there is one.
    fn count(&mut self, wall: Wall, hash: u64, key: Key, name: &[u8]) -> bool {
        let (entries, arena) = (&self.entries, &self.arena);
        let is_it = |&place: &u32| {
            let entry = entries.get(place as usize).filter(|entry| entry.hash == hash && entry.key == key);
            entry.is_some_and(|entry| entry.name_in(arena) == Some(name))
        };
        let Some(&place) = self.index.find(hash, is_it) else { return false };
        let Some(entry) = self.entries.get_mut(place as usize) else { return false };
        entry.add(wall);
        true
    }

    /// Adds one attempt to the entry that destinations fell into last, if it is the one.
    fn count_together(&mut self, wall: Wall, key: Key) -> bool {
        let entry = self.together.and_then(|place| self.entries.get_mut(place as usize));
        let Some(entry) = entry.filter(|entry| entry.key == key) else { return false };
        entry.add(wall);
        true
    }

    /// Whether one more destination of a kind is told apart; then it counts as told.
    fn may_tell(&mut self, of_kind: u64) -> bool {
        let place = usize::try_from(of_kind % KINDS as u64).unwrap_or_default();
        let Some(told) = self.told.get_mut(place).filter(|told| usize::from(**told) < DESTINATIONS_MAX) else {
            return false;
        };
        *told += 1;
        true
    }

    /// Makes an entry; the caller has seen that there is room.
    fn insert(&mut self, wall: Wall, hash: u64, (key, rule): (Key, RuleId), name: &[u8]) {
        let (Ok(place), Ok(name_at), Ok(name_len)) =
            (u32::try_from(self.entries.len()), u32::try_from(self.arena.len()), u8::try_from(name.len()))
        else {
            self.lost = self.lost.saturating_add(1);
            return;
        };
        self.arena.extend_from_slice(name);
        self.entries.push(Entry { key, rule, hash, name_at, name_len, first: wall, last: wall, count: 1 });
        let entries = &self.entries;
        self.index.insert_unique(hash, place, |&place| entries.get(place as usize).map_or(0, |entry| entry.hash));
    }

    /// Few writes: fields hashed one by one would cost more than the name.
    fn hash_kind(&self, kind: &Kind) -> u64 {
        let Kind { client, origin, class, decision, outcome, channel } = *kind;
        let mut hasher = self.hasher.build_hasher();
        let address = match client {
            IpAddr::V4(v4) => u128::from(u32::from(v4)),
            IpAddr::V6(v6) => u128::from(v6),
        };
        hasher.write_u128(address);
        let words = [origin as u64, decision as u64, outcome as u64, channel as u64];
        hasher.write_u64(words.into_iter().fold(0, |sum, word| sum << 8 | word));
        class.hash(&mut hasher);
        hasher.finish()
    }

    /// Ports are not among it: few names and addresses are wanted at several.
    fn hash(&self, of_kind: u64, key: &Key, name: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(of_kind);
        key.rule.hash(&mut hasher);
        match key.target {
            Target::Address(address) => address.hash(&mut hasher),
            Target::Name | Target::Other => hasher.write(name),
        }
        hasher.finish()
    }

    /// Closes what was recorded under the present policy.
    fn close_batch(&mut self) {
        let Some(policy) = self.policy.as_ref().filter(|_| !self.entries.is_empty() || self.lost != 0) else { return };
        let (entries, names) = (self.entries.as_slice().into(), self.arena.as_slice().into());
        let batch = Batch { policy: Arc::clone(policy), entries, names, lost: std::mem::take(&mut self.lost) };
        self.entries.clear();
        self.index.clear();
        self.arena.clear();
        self.told.fill(0);
        self.together = None;
        if self.closed.len() < CLOSED_MAX {
            self.closed.push(batch);
        } else if let Some(last) = self.closed.last_mut() {
            last.lost = last.lost.saturating_add(batch.attempts()).saturating_add(batch.lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Folded;
    use super::*;
    use crate::base::model::{Destination, Purpose, Stage};
    use crate::base::name::{Match, NameBuf, Pattern};
    use crate::policy::{Class, List, RuleSetBuilder, Settings, Subject};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const RULES: usize = 3;

    /// A real policy with a rule on each of `r0.example`, `r1.example` and so on; the first is of a class of its own.
    fn policy(epoch: u64) -> Arc<Policy> {
        let mut builder = RuleSetBuilder::new();
        let list = List {
            id: "test".into(),
            file: "test.txt".into(),
            revision: "1".into(),
            stage: Some(Stage::Block),
            expires: None,
        };
        let list = builder.list(list).unwrap();
        let [first, others] =
            [Purpose::Update, Purpose::Telemetry].map(|of| builder.class(Class::of(list, of)).unwrap());
        for (line, rule) in (1..).zip(0..RULES) {
            let class = if rule == 0 { first } else { others };
            builder.name(class, &Pattern::parse(&format!("r{rule}.example"), Match::Suffix).unwrap(), line).unwrap();
        }
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        Arc::new(Policy::new(epoch, Arc::new(builder.finish()), Arc::new(Settings::default()), at))
    }

    fn name(text: &str) -> NameBuf {
        NameBuf::from(text.parse::<crate::base::name::Name>().unwrap().as_ref())
    }

    fn hit(policy: &Policy, rule: usize, host: &str) -> Hit {
        let name = name(&format!("{host}.r{rule}.example"));
        let verdict = policy.decide(&Subject { name: Some(name.as_ref()), ..Subject::default() });
        Hit {
            rule: verdict.rule.unwrap(),
            decision: verdict.decision,
            outcome: Outcome::Blocked,
            channel: Channel::Dns,
            class: verdict.class.unwrap(),
            name,
            address: None,
            port: None,
        }
    }

    fn at(second: i64) -> Wall {
        Wall::from_second(1_700_000_000 + second).unwrap()
    }

    fn client(n: u16) -> IpAddr {
        IpAddr::from([10, 0, (n >> 8) as u8, n as u8])
    }

    fn attempts(batches: &[Batch]) -> u64 {
        batches.iter().map(Batch::attempts).sum()
    }

    #[derive(Clone, Debug)]
    struct Attempt {
        second: i64,
        client: u16,
        rule: usize,
        host: u8,
        epoch: u64,
        outcome: Outcome,
        channel: Channel,
    }

    fn any_attempt() -> impl Strategy<Value = Attempt> {
        let outcomes = proptest::sample::select(&[Outcome::Blocked, Outcome::Observed][..]);
        let channels = proptest::sample::select(&[Channel::Dns, Channel::DnsAnswer][..]);
        (0_i64..3, 0_u16..6, 0..RULES, 0_u8..6, 1_u64..3, outcomes, channels).prop_map(
            |(second, client, rule, host, epoch, outcome, channel)| Attempt {
                second,
                client,
                rule,
                host,
                epoch,
                outcome,
                channel,
            },
        )
    }

    /// Attempts by epoch, client, class, outcome and channel.
    type Sums = BTreeMap<(u64, IpAddr, ClassId, Outcome, Channel), (u64, Wall, Wall)>;

    fn add(sums: &mut Sums, key: (u64, IpAddr, ClassId, Outcome, Channel), count: u64, first: Wall, last: Wall) {
        let sum = sums.entry(key).or_insert((0, first, last));
        *sum = (sum.0 + count, sum.1.min(first), sum.2.max(last));
    }

    proptest! {
        #[test]
        fn sums_are_those_of_a_naive_table_whatever_the_size(
            slots in proptest::sample::select(&[4_usize, 16, 64, 1024][..]),
            given in prop::collection::vec(any_attempt(), 0..200),
            flush_every in 1_usize..200,
        ) {
            let policies = [policy(1), policy(2)];
            let mut folder = Folder::new(slots);
            let mut batches = Vec::new();
            let mut naive = Sums::new();
            for (n, one) in given.iter().enumerate() {
                let policy = &policies[one.epoch as usize - 1];
                let mut hit = hit(policy, one.rule, &format!("h{}", one.host));
                (hit.outcome, hit.channel) = (one.outcome, one.channel);
                folder.record(at(one.second), policy, client(one.client), &hit);
                let key = (one.epoch, client(one.client), hit.class, one.outcome, one.channel);
                add(&mut naive, key, 1, at(one.second), at(one.second));
                if n % flush_every == 0 {
                    batches.extend(folder.flush());
                }
            }
            batches.extend(folder.flush());
            prop_assert!(folder.is_empty());
            let lost: u64 = batches.iter().map(|batch| batch.lost).sum();
            prop_assert_eq!(attempts(&batches) + lost, given.len() as u64);
            if slots == 1024 && flush_every < 16 {
                prop_assert_eq!(lost, 0);
            }
            if lost == 0 {
                let mut folded = Sums::new();
                for batch in &batches {
                    for row in batch.rows() {
                        let key = (batch.policy.epoch(), row.client, row.class, row.outcome, row.channel);
                        add(&mut folded, key, row.count, row.first, row.last);
                    }
                }
                prop_assert_eq!(folded, naive);
            }
        }
    }

    #[test]
    fn a_full_table_gives_up_destinations_first_and_attempts_last() {
        let policy = policy(1);
        let mut folder = Folder::new(16);
        for n in 0..100 {
            folder.record(at(0), &policy, client(1), &hit(&policy, 0, &format!("h{n}")));
        }
        let [batch] = &folder.flush()[..] else { panic!("one policy makes one batch") };
        assert_eq!((batch.attempts(), batch.lost), (100, 0));
        assert_eq!(batch.rows().count(), 13, "twelve names and the others");
        let others = batch.rows().last().unwrap();
        assert_eq!((others.destination(), others.count), (Destination::Other, 88));

        for n in 0..100 {
            folder.record(at(0), &policy, client(n), &hit(&policy, 0, "h"));
        }
        let [batch] = &folder.flush()[..] else { panic!("one policy makes one batch") };
        assert_eq!((batch.attempts(), batch.lost), (16, 84));
    }

    #[test]
    fn a_flood_of_names_is_told_apart_as_far_as_the_ledger_does_and_others_beside_it_are() {
        let policy = policy(1);
        let mut folder = Folder::new(FOLDER_SLOTS);
        for flush in 0..2 {
            for n in 0..1_000 {
                folder.record(at(n), &policy, client(0), &hit(&policy, 0, &format!("h{n}")));
            }
            folder.record(at(0), &policy, client(0), &hit(&policy, 0, "h7"));
            // Another class, other clients.
            folder.record(at(0), &policy, client(0), &hit(&policy, 1, "h"));
            for n in 1..=20 {
                folder.record(at(0), &policy, client(n), &hit(&policy, 0, "h"));
            }
            let batch = folder.flush().remove(0);
            assert_eq!((batch.attempts(), batch.lost), (1_022, 0), "{flush}");
            let flood =
                || batch.rows().filter(|row| row.client == client(0) && row.class == hit(&policy, 0, "h").class);
            assert_eq!(flood().count(), DESTINATIONS_MAX + 1);
            let others = flood().last().unwrap();
            assert_eq!((others.destination(), others.count), (Destination::Other, 744));
            assert_eq!((others.first, others.last, others.rule), (at(256), at(999), hit(&policy, 0, "h").rule));
            assert!(flood().any(|row| row.destination().to_string() == "h7.r0.example" && row.count == 2));
            // One in a thousand shares its place with the flood.
            let told = batch.rows().filter(|row| row.destination().to_string().starts_with("h.r"));
            assert!(told.count() >= 19);
        }
    }

    #[test]
    fn what_is_known_is_counted_also_when_nothing_new_fits() {
        let policy = policy(1);
        let mut folder = Folder::new(4);
        folder.record(at(0), &policy, client(0), &hit(&policy, 0, "h"));
        for n in 1..50 {
            folder.record(at(0), &policy, client(n), &hit(&policy, 0, "h"));
        }
        folder.record(at(9), &policy, client(0), &hit(&policy, 0, "h"));
        let batches = folder.flush();
        let first = batches[0].rows().next().unwrap();
        assert_eq!((first.count, first.first, first.last), (2, at(0), at(9)));
    }

    #[test]
    fn long_names_fill_the_arena_before_the_table_and_count_on() {
        let policy = policy(1);
        let mut folder = Folder::new(64);
        let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63)].join(".");
        for n in 0..40 {
            folder.record(at(0), &policy, client(0), &hit(&policy, 0, &format!("h{n}.{long}")));
        }
        let batches = folder.flush();
        assert_eq!(attempts(&batches), 40);
        assert!(batches[0].rows().any(|row| row.destination() == Destination::Other && row.count > 20));
    }

    #[test]
    fn an_epoch_change_closes_a_batch_and_each_resolves_under_its_own_policy() {
        let (old, new) = (policy(1), policy(2));
        let mut folder = Folder::new(64);
        folder.record(at(0), &old, client(0), &hit(&old, 1, "h"));
        folder.record(at(0), &new, client(0), &hit(&new, 1, "h"));
        let batches = folder.flush();
        assert_eq!(batches.iter().map(|batch| batch.policy.epoch()).collect::<Vec<_>>(), [1, 2]);
        for batch in batches {
            let (sightings, lost) = batch.sightings(|_| true);
            assert_eq!((sightings.len(), lost), (1, 0));
            assert_eq!(&*sightings[0].rule.place, "test.txt:2");
            assert_eq!(sightings[0].destination.to_string(), "h.r1.example");
        }
    }

    #[test]
    fn what_is_not_told_apart_falls_together_by_client_and_counts_on() {
        let policy = policy(1);
        let mut folder = Folder::new(64);
        for n in 0..10 {
            folder.record(
                at(n),
                &policy,
                client(n as u16 % 2),
                &hit(&policy, 1 + n as usize / 2 % 2, &format!("h{n}")),
            );
        }
        let batch = folder.flush().remove(0);
        let apart = |row: &Folded<'_>| row.name.is_some_and(|name| name.first_label() == b"h4");
        let (sightings, lost) = batch.sightings(apart);
        let told: Vec<_> = sightings.iter().map(|one| (one.client, one.destination.to_string(), one.count)).collect();
        let others = "(others)".to_owned();
        assert_eq!(
            told,
            [(client(0), others.clone(), 4), (client(1), others, 5), (client(0), "h4.r1.example".to_owned(), 1)]
        );
        assert_eq!((sightings[0].first, sightings[0].last, lost), (at(0), at(8), 0));
    }

    #[test]
    fn a_storm_of_epochs_loses_nothing_uncounted() {
        let policies = [policy(1), policy(2)];
        let mut folder = Folder::new(64);
        for n in 0..100 {
            let policy = &policies[n % 2];
            folder.record(at(0), policy, client(0), &hit(policy, 0, "h"));
        }
        let batches = folder.flush();
        assert_eq!(batches.len(), CLOSED_MAX);
        assert_eq!(attempts(&batches) + batches.iter().map(|batch| batch.lost).sum::<u64>(), 100);
    }

    #[test]
    fn memory_is_taken_once() {
        let policy = policy(1);
        let mut folder = Folder::new(64);
        let before = (folder.entries.capacity(), folder.index.capacity(), folder.arena.capacity());
        for round in 0..3 {
            for n in 0..500 {
                folder.record(at(round), &policy, client(n), &hit(&policy, 0, &format!("h{n}")));
            }
            folder.flush();
        }
        assert_eq!((folder.entries.capacity(), folder.index.capacity(), folder.arena.capacity()), before);
    }

    #[test]
    fn an_ipv4_client_on_an_ipv6_socket_is_the_same_client() {
        let policy = policy(1);
        let mut folder = Folder::new(64);
        folder.record(at(0), &policy, "::ffff:10.0.0.7".parse().unwrap(), &hit(&policy, 0, "h"));
        folder.record(at(0), &policy, client(7), &hit(&policy, 0, "h"));
        assert_eq!(folder.flush()[0].rows().count(), 1);
    }
}
