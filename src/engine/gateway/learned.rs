//! Addresses that listed names lead to, learned from answers as clients get them.
//!
//! A vendor moves faster than address lists do. So what a listed name resolves to is remembered for a time, with the name, when, and who
//! said so. An address is a weak sign: others may live there too. It is never used where a name that does not count leads there as well,
//! as far as anybody here asked for one; where a list or an exception has a word on it; or where the box itself needs it. It is refused
//! only where every name that taught it is blocked, and one of them by an answer of our own upstream: anybody on the wire can forge one.

use super::guard::Facts;
use crate::base::model::{Decision, Family, Mono, Now, Wall, is_private, meant, vocabulary};
use crate::base::name::{Match, Name, NameRef};
use crate::base::wire::dns::{AnswerView, Section};
use crate::policy::{Exception, Hit, Limit, Policy, Subject, Verdict, What};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Addresses that are remembered.
pub const LEARNED_MAX: usize = 16_384;
/// Names that are remembered of one address.
const TEACHERS_MAX: usize = 4;
/// Addresses of names that do not count, in each of two generations; with the younger full, the older is forgotten.
const OTHERS_MAX: usize = 131_072;
/// Addresses that are taken of one answer.
const ADDRESSES_MAX: usize = 64;

vocabulary! {
    /// Who said where a name leads.
    pub enum Source {
        /// Our upstream, to a client's question.
        Resolver => "resolver",
        /// Somebody else's resolver, to a client: seen on an interface that is inspected.
        Wire => "wire",
        /// Our upstream, to a question of our own.
        Schedule => "schedule",
    }
}

/// One name that leads to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Teacher {
    /// The name.
    pub name: Name,
    /// Who said so last, or whoever is to be believed.
    pub source: Source,
    /// When first.
    pub first: Wall,
    /// When last.
    pub last: Wall,
    /// How often.
    pub count: u64,
    until: Mono,
}

/// What is done with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// Packets to it are recorded.
    Observed,
    /// Packets to it are refused.
    Refused,
    /// Nothing, and why.
    Unused(Why),
}

/// Why nothing is done with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A name that does not count leads there too.
    Shared,
    /// It lies in a range that others share.
    SharedRange,
    /// A list says what is done about it.
    Listed,
    /// An exception covers it, or a name that leads there.
    Excepted,
    /// This machine needs it.
    Needed,
    /// It is of a network of somebody's own.
    Private,
    /// No name that leads there is listed any more.
    Unlisted,
}

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The names that lead there, in the order in which they were learned.
    pub teachers: Vec<Teacher>,
    /// What is done with it.
    pub used: Use,
    /// How long it is remembered from now on, unless an answer says it again.
    pub left: Duration,
}

/// How it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LearnedCounters {
    /// Answers that were looked at.
    pub answers: u64,
    /// Addresses that were not remembered for want of room.
    pub dropped: u64,
    /// Addresses of other names that were forgotten for want of room.
    pub forgotten: u64,
}

/// What is to be in the kernel: how each address is used, and until when.
pub type Taught = BTreeMap<IpAddr, (bool, Mono)>;

/// What was learned.
#[derive(Debug)]
pub struct Learned {
    lifetime: Duration,
    addresses: HashMap<IpAddr, Vec<Teacher>>,
    others: Others,
    counters: LearnedCounters,
}

/// Addresses that names lead to which do not count.
#[derive(Debug, Default)]
struct Others {
    young: HashSet<IpAddr>,
    old: HashSet<IpAddr>,
}

impl Learned {
    /// One that knows nothing yet, and remembers for so long after an answer.
    #[must_use]
    pub fn new(lifetime: Duration) -> Self {
        Self { lifetime, addresses: HashMap::new(), others: Others::default(), counters: LearnedCounters::default() }
    }

    /// Takes a response to a question for addresses. Answers by names are followed: the first name that counts on the way is the one
    /// that leads there.
    pub fn handle_message(&mut self, now: Now, policy: &Policy, message: &[u8], source: Source) {
        let Ok(view) = AnswerView::parse(message) else { return };
        let answers = || view.records().flatten().take_while(|record| record.section == Section::Answer);
        let mut names = vec![view.name().to_name()];
        names.extend(answers().filter_map(|record| record.target().ok().flatten()).map(|name| name.as_ref().to_name()));
        let mut addresses: Vec<IpAddr> = Vec::new();
        for record in answers() {
            addresses.extend(record.address().ok().flatten());
            if let Ok(Some(svcb)) = record.svcb() {
                addresses.extend(svcb.hints());
            }
            if addresses.len() >= ADDRESSES_MAX {
                break;
            }
        }
        self.handle_answer(now, policy, &names, &addresses, source);
    }

    /// Takes addresses that a name was said to lead to, over the names after it.
    pub fn handle_answer(&mut self, now: Now, policy: &Policy, names: &[Name], addresses: &[IpAddr], source: Source) {
        self.counters.answers += 1;
        let teacher = names.iter().find(|name| decided(policy, name.as_ref()).is_some());
        for address in addresses.iter().take(ADDRESSES_MAX).map(|address| meant(*address)) {
            match teacher {
                Some(name) => self.learn(now, address, name, source),
                None => self.counters.forgotten += self.others.add(address),
            }
        }
    }

    fn learn(&mut self, now: Now, address: IpAddr, name: &Name, source: Source) {
        if self.addresses.len() >= LEARNED_MAX && !self.addresses.contains_key(&address) {
            self.forget(now.mono);
            if self.addresses.len() >= LEARNED_MAX {
                self.counters.dropped += 1;
                return;
            }
        }
        let until = now.mono.plus(self.lifetime);
        let teachers = self.addresses.entry(address).or_default();
        if let Some(known) = teachers.iter_mut().find(|teacher| teacher.name == *name) {
            (known.last, known.until, known.count) = (now.wall, until, known.count + 1);
            // What the wire says does not take away from what is believed.
            if source != Source::Wire {
                known.source = source;
            }
            return;
        }
        if teachers.len() >= TEACHERS_MAX {
            teachers.remove(0);
        }
        teachers.push(Teacher { name: name.clone(), source, first: now.wall, last: now.wall, count: 1, until });
    }

    /// Forgets what no answer has said for long.
    pub fn forget(&mut self, now: Mono) {
        self.addresses.retain(|_, teachers| {
            teachers.retain(|teacher| teacher.until > now);
            !teachers.is_empty()
        });
    }

    /// What is to be in the kernel: every address that is used, whether it is refused, and until when. `refuse` where the operator wants
    /// that; else all are observed.
    #[must_use]
    pub fn taught(&self, now: Mono, policy: &Policy, facts: &Facts, refuse: bool) -> Taught {
        let used = self.addresses.iter().filter_map(|(address, teachers)| {
            let until = teachers.iter().map(|teacher| teacher.until).max().filter(|until| *until > now)?;
            match self.used(policy, facts, *address, teachers, refuse) {
                Use::Observed => Some((*address, (false, until))),
                Use::Refused => Some((*address, (true, until))),
                Use::Unused(_) => None,
            }
        });
        used.collect()
    }

    /// What is known of an address; `None` where no listed name leads there.
    #[must_use]
    pub fn about(&self, now: Mono, policy: &Policy, facts: &Facts, refuse: bool, address: IpAddr) -> Option<About> {
        let address = meant(address);
        let teachers = self.addresses.get(&address)?;
        let left = teachers.iter().map(|teacher| teacher.until).max()?.since(now);
        let used = self.used(policy, facts, address, teachers, refuse);
        (!left.is_zero()).then(|| About { teachers: teachers.clone(), used, left })
    }

    /// The attempt that a packet to a learned address is.
    #[must_use]
    pub fn hit(&self, policy: &Policy, destination: IpAddr, port: Option<u16>, refused: bool) -> Option<Hit> {
        let teachers = self.addresses.get(&meant(destination))?;
        let mut verdicts = teachers.iter().rev().filter_map(|teacher| decided(policy, teacher.name.as_ref()));
        let verdict = verdicts.find(|verdict| !refused || is_block(verdict))?;
        super::seen::attempt(&verdict, destination, port, !refused)
    }

    /// Addresses that are remembered, and addresses of other names.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.addresses.len(), self.others.young.len() + self.others.old.len())
    }

    /// How it goes.
    #[must_use]
    pub const fn counters(&self) -> LearnedCounters {
        self.counters
    }

    fn used(&self, policy: &Policy, facts: &Facts, address: IpAddr, teachers: &[Teacher], refuse: bool) -> Use {
        if let Some(why) = unusable(policy, facts, address) {
            return Use::Unused(why);
        }
        if self.others.holds(&address) {
            return Use::Unused(Why::Shared);
        }
        let verdicts: Vec<(Source, Verdict)> = teachers
            .iter()
            .filter_map(|teacher| Some((teacher.source, decided(policy, teacher.name.as_ref())?)))
            .collect();
        // One that was listed and is not any more is a name that does not count.
        if verdicts.len() < teachers.len() {
            return Use::Unused(if verdicts.is_empty() { Why::Unlisted } else { Why::Shared });
        }
        if teachers.iter().any(|teacher| is_excepted(policy, teacher.name.as_ref())) {
            return Use::Unused(Why::Excepted);
        }
        let is_believed = verdicts.iter().any(|(source, _)| *source != Source::Wire);
        let is_blocked = verdicts.iter().all(|(_, verdict)| is_block(verdict));
        if refuse && is_believed && is_blocked { Use::Refused } else { Use::Observed }
    }
}

fn is_block(verdict: &Verdict) -> bool {
    verdict.decision == Decision::Block
}

/// What is decided about a name that counts: one that is blocked, or observed for what the product does. Sites, mail and what else is of
/// the web live where others do.
fn decided(policy: &Policy, name: NameRef<'_>) -> Option<Verdict> {
    let verdict = policy.decide(&Subject { name: Some(name), ..Subject::default() });
    let class = policy.rules().class(verdict.class?)?;
    let counts = match verdict.decision {
        Decision::Block => true,
        Decision::Observe => class.vendor.is_none() || !matches!(class.purpose.family(), Family::Web | Family::Bypass),
        Decision::Allow => false,
    };
    counts.then_some(verdict)
}

/// Names that are blocked, as they can be asked for: no patterns.
#[must_use]
pub fn blocked_names(policy: &Policy) -> Vec<Name> {
    let names = policy.rules().rules().filter_map(|rule| match rule.what {
        What::Name(name, Match::Exact | Match::Suffix) => Some(name.to_name()),
        _ => None,
    });
    names.filter(|name| decided(policy, name.as_ref()).is_some_and(|verdict| is_block(&verdict))).collect()
}

/// Exceptions that hold, for whomever: the kernel cannot ask a name whose it is.
fn in_force(policy: &Policy) -> impl Iterator<Item = &Exception> {
    let at = policy.at();
    policy.settings().exceptions.iter().filter(move |exception| exception.until.is_none_or(|until| until > at))
}

fn is_excepted(policy: &Policy, name: NameRef<'_>) -> bool {
    in_force(policy).any(|exception| exception.name.as_ref().is_some_and(|spared| name.is_at_or_below(spared.as_ref())))
}

/// Why an address is no good, whatever leads there.
fn unusable(policy: &Policy, facts: &Facts, address: IpAddr) -> Option<Why> {
    let is_nobodys = match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4 == Ipv4Addr::BROADCAST,
        IpAddr::V6(v6) => v6.is_multicast(),
    };
    if is_private(address) || is_nobodys {
        return Some(Why::Private);
    }
    if facts.iter().any(|(_, net)| net.contains(&address)) || is_sinkhole(policy, address) {
        return Some(Why::Needed);
    }
    if in_force(policy).any(|exception| exception.net.is_some_and(|net| net.contains(&address))) {
        return Some(Why::Excepted);
    }
    let verdict = policy.decide(&Subject { address: Some(address), ..Subject::default() });
    let class = policy.rules().class(verdict.class?)?;
    Some(if class.limit == Some(Limit::Shared) { Why::SharedRange } else { Why::Listed })
}

fn is_sinkhole(policy: &Policy, address: IpAddr) -> bool {
    let sinkhole = policy.sinkhole();
    match address {
        IpAddr::V4(v4) => sinkhole.v4 == Some(v4),
        IpAddr::V6(v6) => sinkhole.v6 == Some(v6),
    }
}

impl Why {
    /// In words.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Shared => "a name that is not listed leads there too",
            Self::SharedRange => "it lies in a range that others share",
            Self::Listed => "a list says what is done about it",
            Self::Excepted => "an exception covers it or a name that leads there",
            Self::Needed => "this machine needs it",
            Self::Private => "it is of a network of somebody's own",
            Self::Unlisted => "no name that leads there is listed any more",
        }
    }
}

impl Others {
    /// Remembers an address; how many were forgotten for it.
    fn add(&mut self, address: IpAddr) -> u64 {
        if !self.young.insert(address) || self.young.len() < OTHERS_MAX {
            return 0;
        }
        let forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        forgotten.difference(&self.old).count() as u64
    }

    fn holds(&self, address: &IpAddr) -> bool {
        self.young.contains(address) || self.old.contains(address)
    }
}

#[cfg(test)]
mod tests {
    use super::super::listed::tests::policy_of;
    use super::*;
    use crate::engine::gateway::Dependency;
    use crate::policy::list::Format;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(seconds: u64) -> Now {
        Now { mono: Mono::from_nanos(seconds * 1_000_000_000), wall: Wall::UNIX_EPOCH }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// `bad.example` blocked, `seen.example` observed, a range of each, and an exception for one client.
    fn policy() -> Policy {
        use crate::base::model::Stage::{Block, Observe};
        let spared = Exception {
            name: Some("spared.bad.example".parse().unwrap()),
            net: None,
            clients: vec!["10.0.0.9/32".parse().unwrap()],
            groups: Vec::new(),
            reason: "r".into(),
            approver: "a".into(),
            until: None,
        };
        let net = Exception { name: None, net: Some("198.51.100.32/28".parse().unwrap()), ..spared.clone() };
        policy_of(
            &[
                ("b", Block, Format::Wildcard, "*.bad.example"),
                ("o", Observe, Format::Wildcard, "*.seen.example"),
                ("r", Block, Format::Ranges, "198.51.100.16/28"),
            ],
            vec![spared, net],
        )
    }

    fn tell(learned: &mut Learned, second: u64, name: &str, addresses: &[&str], source: Source) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| address(text)).collect();
        learned.handle_answer(at(second), &policy(), &[name.parse().unwrap()], &addresses, source);
    }

    fn used(learned: &Learned, refuse: bool, text: &str) -> Option<Use> {
        learned.about(at(1).mono, &policy(), &Facts::new(), refuse, address(text)).map(|about| about.used)
    }

    #[test]
    fn blocked_names_addresses_are_refused_where_that_is_wanted_and_observed_ones_never() {
        let mut learned = Learned::new(DAY);
        tell(&mut learned, 0, "a.bad.example", &["192.0.2.1", "64:ff9b::c000:203"], Source::Resolver);
        tell(&mut learned, 0, "a.seen.example", &["192.0.2.2"], Source::Resolver);
        for (to, with, without) in [
            ("192.0.2.1", Use::Refused, Use::Observed),
            ("192.0.2.3", Use::Refused, Use::Observed),
            ("192.0.2.2", Use::Observed, Use::Observed),
        ] {
            assert_eq!((used(&learned, true, to), used(&learned, false, to)), (Some(with), Some(without)), "{to}");
        }
        assert_eq!(used(&learned, true, "192.0.2.9"), None);
        let taught = learned.taught(at(1).mono, &policy(), &Facts::new(), true);
        let refused = |(address, (refused, _)): (&IpAddr, &(bool, Mono))| format!("{address} {refused}");
        let taught: Vec<String> = taught.iter().map(refused).collect();
        assert_eq!(taught, ["192.0.2.1 true", "192.0.2.2 false", "192.0.2.3 true"]);
        // One name that is observed is enough to let it pass.
        tell(&mut learned, 0, "b.seen.example", &["192.0.2.1"], Source::Resolver);
        assert_eq!(used(&learned, true, "192.0.2.1"), Some(Use::Observed));
    }

    #[test]
    fn an_address_of_a_name_that_is_not_listed_is_never_used_whichever_came_first() {
        let mut learned = Learned::new(DAY);
        tell(&mut learned, 0, "a.bad.example", &["192.0.2.1"], Source::Resolver);
        tell(&mut learned, 0, "other.example", &["192.0.2.1", "192.0.2.2"], Source::Wire);
        tell(&mut learned, 0, "a.bad.example", &["192.0.2.2"], Source::Resolver);
        for to in ["192.0.2.1", "192.0.2.2"] {
            assert_eq!(used(&learned, true, to), Some(Use::Unused(Why::Shared)), "{to}");
        }
        assert!(learned.taught(at(1).mono, &policy(), &Facts::new(), true).is_empty());
    }

    #[test]
    fn what_only_the_wire_says_is_not_refused() {
        let mut learned = Learned::new(DAY);
        tell(&mut learned, 0, "a.bad.example", &["192.0.2.1"], Source::Wire);
        assert_eq!(used(&learned, true, "192.0.2.1"), Some(Use::Observed));
        tell(&mut learned, 0, "a.bad.example", &["192.0.2.1"], Source::Schedule);
        tell(&mut learned, 0, "a.bad.example", &["192.0.2.1"], Source::Wire);
        assert_eq!(used(&learned, true, "192.0.2.1"), Some(Use::Refused));
        let about = learned.about(at(1).mono, &policy(), &Facts::new(), true, address("192.0.2.1")).unwrap();
        assert_eq!((about.teachers[0].count, about.teachers[0].source), (3, Source::Schedule));
    }

    #[test]
    fn lists_exceptions_and_what_the_machine_needs_come_first() {
        let mut learned = Learned::new(DAY);
        let all = ["198.51.100.17", "198.51.100.33", "10.0.0.1", "224.0.0.1", "0.0.0.0", "192.0.2.53", "ff02::1"];
        tell(&mut learned, 0, "a.bad.example", &all, Source::Resolver);
        tell(&mut learned, 0, "x.spared.bad.example", &["192.0.2.8"], Source::Resolver);
        let facts = vec![(Dependency::Upstream, "192.0.2.53/32".parse().unwrap())];
        let used = |text: &str| learned.about(at(1).mono, &policy(), &facts, true, address(text)).unwrap().used;
        for (to, why) in [
            ("198.51.100.17", Why::Listed),
            ("198.51.100.33", Why::Excepted),
            ("10.0.0.1", Why::Private),
            ("224.0.0.1", Why::Private),
            ("0.0.0.0", Why::Private),
            ("ff02::1", Why::Private),
            ("192.0.2.53", Why::Needed),
            ("192.0.2.8", Why::Excepted),
        ] {
            assert_eq!(used(to), Use::Unused(why), "{to}");
        }
    }

    #[test]
    fn an_address_is_forgotten_when_no_answer_says_it_any_more() {
        let mut learned = Learned::new(Duration::from_secs(60));
        tell(&mut learned, 0, "a.bad.example", &["192.0.2.1", "192.0.2.2"], Source::Resolver);
        tell(&mut learned, 30, "a.bad.example", &["192.0.2.1"], Source::Resolver);
        let taught = |seconds| learned.taught(at(seconds).mono, &policy(), &Facts::new(), true);
        assert_eq!(taught(59).len(), 2);
        assert_eq!(taught(61), [(address("192.0.2.1"), (true, at(90).mono))].into());
        assert!(taught(90).is_empty());
        learned.forget(at(90).mono);
        assert_eq!(learned.len().0, 0);
    }

    #[test]
    fn answers_are_followed_to_the_name_that_counts() {
        // An answer of two records: an alias, and the address of its target.
        let mut message = b"\0\x01\x81\x80\0\x01\0\x02\0\0\0\0\x05other\x07example\0\0\x01\0\x01".to_vec();
        message.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x0f\x01a\x03bad\x07example\0");
        message.extend(b"\x01a\x03bad\x07example\0\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01");
        let mut learned = Learned::new(DAY);
        learned.handle_message(at(0), &policy(), &message, Source::Resolver);
        let about = learned.about(at(1).mono, &policy(), &Facts::new(), true, address("192.0.2.1")).unwrap();
        assert_eq!(about.teachers[0].name.to_string(), "a.bad.example");
        let hit = learned.hit(&policy(), address("192.0.2.1"), Some(443), true).unwrap();
        assert_eq!((&*policy().facts(hit.rule).unwrap().vendor, hit.decision), ("b", Decision::Block));
        // No octets do harm.
        for end in 0..message.len() {
            learned.handle_message(at(0), &policy(), &message[..end], Source::Wire);
        }
    }

    #[test]
    fn both_tables_are_bounded() {
        let mut learned = Learned::new(DAY);
        let v4 = |at: usize| IpAddr::from(Ipv4Addr::from(0xc000_0000 + u32::try_from(at).unwrap()));
        let (policy, name) = (policy(), "a.bad.example".parse().unwrap());
        for i in 0..LEARNED_MAX + 10 {
            learned.handle_answer(at(0), &policy, std::slice::from_ref(&name), &[v4(i)], Source::Resolver);
        }
        assert_eq!((learned.len().0, learned.counters().dropped), (LEARNED_MAX, 10));
        let other = "other.example".parse().unwrap();
        for i in 0..3 * OTHERS_MAX {
            learned.handle_answer(at(0), &policy, std::slice::from_ref(&other), &[v4(i)], Source::Resolver);
        }
        assert!(learned.len().1 <= 2 * OTHERS_MAX && learned.counters().forgotten >= OTHERS_MAX as u64);
        for n in 0..10 {
            tell(&mut learned, 0, &format!("n{n}.bad.example"), &["192.0.0.1"], Source::Resolver);
        }
        assert_eq!(learned.addresses[&v4(1)].len(), TEACHERS_MAX);
    }

    #[test]
    fn only_plain_names_that_are_blocked_can_be_asked_for() {
        use crate::base::model::Stage::{Block, Observe};
        let lists = [
            ("b", Block, Format::Domains, "b.example a.b.example"),
            ("w", Block, Format::Wildcard, "*.w.example"),
            ("o", Observe, Format::Domains, "o.example"),
        ];
        let names: Vec<String> =
            blocked_names(&policy_of(&lists, Vec::new())).iter().map(ToString::to_string).collect();
        for (name, is_asked) in [("b.example", true), ("a.b.example", true), ("o.example", false)] {
            assert_eq!(names.iter().any(|asked| asked == name), is_asked, "{name}: {names:?}");
        }
        assert!(names.iter().all(|name| !name.contains('*')), "{names:?}");
    }
}
