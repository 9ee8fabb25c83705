//! Judges what was read by the policy: one verdict a flow, name over address, and payload forms where neither says anything.

use super::attempt::{Attempt, Elsewhere, Live, What};
use super::bypass::Bypasses;
use super::finding::{Blind, Findings, Hit, Incident, Relay, RowKey};
use super::memory::Memory;
use super::names::{Ends, NameKind, Seen};
use super::reader::{At, Observation};
use super::signature::{SignatureHit, Signatures};
use crate::base::model::{Channel, Decision, Family, Outcome, Purpose, RuleFacts, Stage};
use crate::base::name::{NameBuf, NameRef};
use crate::base::wire::host::escaped;
use crate::base::wire::tls::{Hidden, Transport, ja4};
use crate::policy::{self, Policy, RuleId, Subject, Verdict};
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// Flows with something to their name that are held until they end.
const OPEN_MAX: usize = 65_536;
/// Where resolvers are asked: plain, by TLS and QUIC, by HTTPS, by DNSCrypt.
const RESOLVER_PORTS: [u16; 6] = [53, 443, 784, 853, 5443, 8853];
/// The port of DNS over TLS and QUIC.
const ENCRYPTED_DNS: u16 = 853;
/// How long a flow may say no name before an attempt to its address is told: hellos and requests come within a few round trips.
const NAMELESS_NS: u64 = 5_000_000_000;

/// Folds observations into findings.
#[derive(Debug)]
pub struct Judge {
    policy: Arc<Policy>,
    signatures: Signatures,
    memory: Memory,
    bypasses: Bypasses,
    open: HashMap<Ends, Open, RandomState>,
    /// Ports of relays: vendor, port, whether TCP or UDP does not matter for a first sign.
    relays: Vec<(u16, u16, Arc<str>, String)>,
    findings: Findings,
    /// Where attempts are told one by one instead of being kept as findings.
    live: Option<Live>,
    /// Where flows that are or may be listed are told too, and the list or vendor.
    flows: Option<VecDeque<(Ends, Arc<str>)>>,
}

/// A flow that is or may be a vendor's.
#[derive(Debug)]
enum Open {
    /// Only its address, or what its client resolved to it, says so; a name of its own decides over that.
    Perhaps(At, Box<Hit>),
    /// It belongs to this row; whether its own name said so.
    Known(RowKey, bool),
    /// A name of its own said otherwise.
    Cleared,
}

impl Open {
    const fn is_begun_by(&self, time_ns: u64) -> bool {
        matches!(self, Self::Perhaps(at, _) if at.time_ns <= time_ns)
    }
}

impl Judge {
    /// One that decides by this policy.
    #[must_use]
    pub fn new(policy: Arc<Policy>) -> Self {
        Self {
            signatures: Signatures::new(policy.rules()),
            relays: relay_ports(&policy),
            policy,
            memory: Memory::default(),
            bypasses: Bypasses::default(),
            open: HashMap::default(),
            findings: Findings::default(),
            live: None,
            flows: None,
        }
    }

    /// One that keeps no rows and tells attempts as they come, without those that others record.
    #[must_use]
    pub fn live(policy: Arc<Policy>) -> Self {
        Self { live: Some(Live::default()), ..Self::new(policy) }
    }

    /// What others record from now on.
    pub fn set_elsewhere(&mut self, elsewhere: Elsewhere) {
        if let Some(live) = &mut self.live {
            live.elsewhere = elsewhere;
        }
    }

    /// Decides by another policy from now on. What was only put down to an address is told as the old one decided it.
    pub fn set_policy(&mut self, policy: &Arc<Policy>) {
        if policy.epoch() == self.policy.epoch() {
            return;
        }
        self.settle(u64::MAX);
        if !std::ptr::eq(policy.rules(), self.policy.rules()) {
            self.signatures = Signatures::new(policy.rules());
            self.relays = relay_ports(policy);
        }
        self.policy = Arc::clone(policy);
    }

    /// Time has passed: flows that have said no name until now are put down to their address. For one that tells attempts.
    pub fn handle_timeout(&mut self, time_ns: u64) {
        self.settle(time_ns.saturating_sub(NAMELESS_NS));
    }

    /// The next attempt, for one that tells them.
    pub fn poll_attempt(&mut self) -> Option<Attempt> {
        self.live.as_mut()?.pop()
    }

    /// The next incident that has begun or grown since it was told last; all of it is told again.
    pub fn poll_incident(&mut self, time_ns: u64) -> Option<Incident> {
        self.bypasses.poll_incident(time_ns)
    }

    /// Hosts that served a vendor's relay ports since this was asked last, by host, port and vendor. One port of one host is weak.
    pub fn take_relays(&mut self) -> BTreeMap<(IpAddr, u16, Arc<str>), Relay> {
        std::mem::take(&mut self.findings.relays)
    }

    /// From now on flows are told that count, and those that count unless a name of their own says otherwise.
    pub fn tell_flows(&mut self) {
        self.flows = Some(VecDeque::new());
    }

    /// The next flow, and the vendor or list.
    pub fn poll_flow(&mut self) -> Option<(Ends, Arc<str>)> {
        self.flows.as_mut()?.pop_front()
    }

    fn tell_flow(&mut self, hit: &Hit) {
        if let Some((flows, attempt)) = self.flows.as_mut().zip(hit.attempt.as_ref()) {
            if flows.len() < OPEN_MAX {
                flows.push_back((attempt.ends, Arc::clone(&hit.key.vendor)));
            } else {
                self.findings.blind.dropped += 1;
            }
        }
    }

    /// What could not be seen so far.
    #[must_use]
    pub const fn blind(&self) -> Blind {
        let mut blind = self.findings.blind;
        blind.dropped += self.memory.dropped + self.signatures.dropped + self.bypasses.dropped;
        blind
    }

    /// Tells attempts of nameless flows that began no later than this.
    fn settle(&mut self, until_ns: u64) {
        while let Some(live) = &mut self.live {
            let Some((_, ends)) = live.waiting.pop_front_if(|(begun, _)| *begun <= until_ns) else { return };
            // Another flow of the same ends may have begun since.
            if let Some(Open::Perhaps(at, hit)) = self.open.get(&ends).filter(|open| open.is_begun_by(until_ns)) {
                let (at, hit) = (*at, (**hit).clone());
                self.open.insert(ends, Open::Known(hit.key.clone(), false));
                self.add(at, hit);
            }
        }
    }

    /// Keeps a finding, or tells the attempt that it is.
    fn add(&mut self, at: At, hit: Hit) {
        self.tell_flow(&hit);
        let Some(live) = &mut self.live else { return self.findings.add(at, hit) };
        let attempt = hit.attempt.filter(|_| hit.is_attempt);
        self.findings.blind.dropped += attempt.map_or(0, |attempt| u64::from(!live.push(attempt)));
    }

    /// Takes what was read.
    pub fn observe(&mut self, observation: &Observation<'_>) {
        match observation {
            Observation::Begin(at, ends) => self.begin(*at, *ends),
            Observation::End(_, ends, octets) => self.end(*ends, *octets),
            Observation::Name(seen) => self.name(seen),
            Observation::Answer(at, ends, message) => {
                self.memory.answer(*at, ends.dst, message);
                self.bypasses.answer(ends.dst, message);
            }
            Observation::Hello(at, ends, kind, hello) => {
                self.findings.blind.encrypted_hellos += u64::from(hello.hidden() != Hidden::No);
                self.findings.blind.nameless_hellos += u64::from(hello.server_name().is_none());
                if let Some(Open::Known(key, _)) = self.open.get(ends) {
                    let transport = match kind {
                        NameKind::QuicSni => Transport::Quic,
                        NameKind::DtlsSni => Transport::Dtls,
                        _ => Transport::Tcp,
                    };
                    self.findings.note(key, *at, || format!("JA4 {}", ja4(hello, transport)));
                }
            }
            Observation::Request(at, ends, request) => {
                let mut hits = Vec::new();
                self.signatures.request(*at, *ends, request, |hit| hits.push(hit));
                hits.into_iter().for_each(|hit| self.signature(*at, *ends, &hit));
            }
            Observation::Body(at, ends, octets) => {
                let mut hits = Vec::new();
                self.signatures.body(*at, ends.turned(), octets, |hit| hits.push(hit));
                hits.into_iter().for_each(|hit| self.signature(*at, ends.turned(), &hit));
            }
            Observation::Quiet(ends, is_counted) => {
                let is_open = |ends| matches!(self.open.get(ends), Some(Open::Known(..) | Open::Perhaps(..)));
                is_counted.set(!self.open.is_empty() && (is_open(ends) || is_open(&ends.turned())));
            }
            Observation::Reply(..) | Observation::Sender(..) => {}
        }
    }

    /// What was found. Flows that have not ended are to be ended before: [`super::Reader::finish`].
    #[must_use]
    pub fn finish(mut self) -> Findings {
        self.findings.blind = self.blind();
        self.findings.incidents = self.bypasses.into_incidents();
        self.findings.weigh_relays();
        self.findings
    }

    fn begin(&mut self, at: At, ends: Ends) {
        if ends.dport == ENCRYPTED_DNS {
            self.findings.blind.encrypted_dns += 1;
        }
        let is_inside = is_private(ends.dst);
        if is_inside {
            let served = self.relays.iter().find(|(first, last, _, _)| (*first..=*last).contains(&ends.dport));
            if let Some((_, _, vendor, usage)) = served {
                self.findings.add_relay(at, ends, vendor, usage);
            }
        }
        self.around(at, ends);
        let resolved = self.memory.name_of(at, ends.src, ends.dst);
        let subject = Subject {
            name: resolved.as_ref().map(|resolved| resolved.name),
            address: Some(ends.dst),
            port: Some(ends.dport),
            client: Some(ends.src),
            qtype: None,
        };
        let verdict = self.policy.of(ends.src).decide(&subject);
        let Some(rule) = verdict.rule else { return };
        let how = match &resolved {
            Some(resolved) => format!(
                "{} resolved {} to it {} s before; confidence {}",
                ends.src,
                resolved.name,
                resolved.ago.as_secs(),
                resolved.confidence
            ),
            None if self.memory.knows(ends.src) => {
                "no query for it before: a hard-coded address, or encrypted DNS".to_owned()
            }
            None => "no DNS of this endpoint is in sight".to_owned(),
        };
        let evidence = format!("{} port {}: {how}", ends.dst, ends.dport);
        let destination = resolved.as_ref().map_or_else(|| ends.dst.to_string(), |resolved| resolved.name.to_string());
        let name = resolved.map(|resolved| resolved.name);
        let Some(hit) = self.hit(ends, &verdict, rule, (Channel::Address, name), (destination, evidence)) else {
            return;
        };
        let is_full = self.live.as_ref().is_some_and(|live| live.waiting.len() >= OPEN_MAX);
        if self.open.len() >= OPEN_MAX || is_full {
            self.findings.blind.dropped += 1;
            // It counts, only its own name cannot take it back any more.
            return self.add(at, hit);
        }
        if let Some(live) = &mut self.live {
            live.waiting.push_back((at.time_ns, ends));
        }
        self.tell_flow(&hit);
        self.open.insert(ends, Open::Perhaps(at, Box::new(hit)));
    }

    /// Whether a flow goes around a block, by where it leads.
    fn around(&mut self, at: At, ends: Ends) {
        for vendor in self.bypasses.vendors(at, ends.src) {
            let subject = Subject { address: Some(ends.dst), client: Some(ends.src), ..Subject::default() };
            let address = self.policy.of(ends.src).decide(&subject);
            let facts = address.rule.and_then(|rule| self.policy.facts(rule));
            let what = match facts {
                Some(facts) if facts.purpose.family() == Family::Bypass => {
                    format!("went to {} port {}, a resolver ({})", ends.dst, ends.dport, facts.vendor)
                }
                Some(facts) if facts.vendor == vendor => {
                    format!("went to {} port {}, which is the vendor's", ends.dst, ends.dport)
                }
                _ if ends.dport == ENCRYPTED_DNS => format!("asked {} by encrypted DNS", ends.dst),
                _ => continue,
            };
            self.bypasses.step(at, ends.src, &vendor, what);
        }
    }

    fn end(&mut self, ends: Ends, octets: [u64; 2]) {
        // Who began it was perhaps guessed wrong; what was said on it stands under who said it.
        self.signatures.end(ends);
        self.signatures.end(ends.turned());
        let [sent, received] = octets;
        if let Some(Open::Known(key, _)) = self.open.remove(&ends.turned()) {
            self.findings.add_octets(&key, [received, sent]);
        }
        match self.open.remove(&ends) {
            Some(Open::Known(key, _)) => self.findings.add_octets(&key, octets),
            Some(Open::Perhaps(begun, hit)) => {
                let key = hit.key.clone();
                self.add(begun, *hit);
                self.findings.add_octets(&key, octets);
            }
            Some(Open::Cleared) | None => {}
        }
    }

    fn name(&mut self, seen: &Seen<'_>) {
        let at = At { frame: seen.frame, time_ns: seen.time_ns };
        let Some(channel) = seen.kind.channel() else { return };
        let is_query = channel == Channel::Dns;
        let ends = seen.ends;
        if is_query {
            self.query_around(at, ends);
        }
        let Some(name) = seen.name else { return };
        let subject = Subject {
            name: Some(name),
            // The address of a query is its resolver's.
            address: (!is_query).then_some(ends.dst),
            port: (!is_query).then_some(ends.dport),
            client: Some(ends.src),
            qtype: None,
        };
        let policy = self.policy.of(ends.src);
        let verdict = policy.decide(&subject);
        let evidence = format!("{} {} to {} port {}", seen.kind, escaped(seen.octets), ends.dst, ends.dport);
        let hit = verdict.rule.and_then(|rule| {
            // Where its address is what is listed, its name is not the reason.
            let by_name = policy.decide(&Subject { address: None, port: None, ..subject }).rule == Some(rule);
            let channel = if by_name { channel } else { Channel::Address };
            self.hit(ends, &verdict, rule, (channel, Some(name)), (escaped(seen.octets), evidence))
        });
        let Some(hit) = hit else {
            // Its own name is nobody's: whatever its address said, it is not the vendor's.
            if let Some(open) = self.open.get_mut(&ends).filter(|open| matches!(open, Open::Perhaps(..))) {
                *open = Open::Cleared;
            }
            return;
        };
        if is_query && verdict.decision == Decision::Block {
            self.note_blocked(at, ends, &hit.key.vendor, name);
        }
        if !is_query && (self.open.len() < OPEN_MAX || self.open.contains_key(&ends)) {
            self.open.insert(ends, Open::Known(hit.key.clone(), true));
        }
        self.add(at, hit);
    }

    fn note_blocked(&mut self, at: At, ends: Ends, vendor: &Arc<str>, name: NameRef<'_>) {
        let before = self.bypasses.resolver(at, ends.src, vendor);
        if !self.bypasses.blocked(at, ends.src, ends.dst, vendor, name) {
            self.findings.blind.dropped += 1;
        }
        let vendors_own = self.policy.rules().vendor(vendor).map_or(&[][..], |vendor| &vendor.file.fallbacks);
        // Of the vendor's fallback resolvers more is said than that they are others.
        let is_told = vendors_own.iter().any(|fallback| fallback.address == ends.dst);
        if !is_told && before.is_some_and(|resolver| resolver != ends.dst) {
            let what = format!("asked {} for {name}, another resolver", ends.dst);
            self.bypasses.step(at, ends.src, vendor, what);
        }
    }

    /// Whether a query goes to one of a vendor's fallback resolvers, after one of the vendor's names was refused.
    fn query_around(&mut self, at: At, ends: Ends) {
        for vendor in self.bypasses.vendors(at, ends.src) {
            let fallbacks = self.policy.rules().vendor(&vendor).map_or(&[][..], |vendor| &vendor.file.fallbacks);
            let Some(fallback) = fallbacks.iter().find(|fallback| fallback.address == ends.dst) else { continue };
            if self.bypasses.resolver(at, ends.src, &vendor) == Some(ends.dst) {
                continue;
            }
            self.bypasses.fallback(at, ends.src, &vendor, (fallback.order, fallback.address));
        }
    }

    fn signature(&mut self, at: At, ends: Ends, hit: &SignatureHit) {
        let purpose = Purpose::Update;
        let decision = match self.wanted(ends.src, &hit.vendor, purpose) {
            Some(Stage::Off) => return,
            Some(Stage::Block) => Decision::Block,
            Some(Stage::Observe) | None => Decision::Observe,
        };
        let key = RowKey { endpoint: ends.src, vendor: Arc::clone(&hit.vendor), purpose };
        // A request that was counted by its name is not counted again.
        let is_named = matches!(self.open.get(&ends), Some(Open::Known(held, true)) if *held == key);
        let texts: Vec<String> =
            hit.matches.iter().map(|found| format!("{} in frame {}", found.text, found.frame)).collect();
        let evidence = if texts.is_empty() { "the same forms again".to_owned() } else { texts.join(", ") };
        let is_attempt = hit.is_attempt && !is_named;
        let destination = ends.dst.to_string();
        let (channel, rule) = (Channel::Signature, None);
        let attempt = Some(self.forms(ends, hit, decision, &evidence));
        let key_of_flow = key.clone();
        self.add(at, Hit { key, decision, channel, destination, evidence, rule, is_attempt, attempt });
        if self.open.len() < OPEN_MAX || self.open.contains_key(&ends) {
            self.open.insert(ends, Open::Known(key_of_flow, is_named));
        }
    }

    /// Payload forms as an attempt. Forms are no rules of a list, so the first of them stands for a rule.
    fn forms(&self, ends: Ends, hit: &SignatureHit, decision: Decision, evidence: &str) -> Attempt {
        let list = self.policy.rules().lists().iter().find(|list| list.id == hit.vendor);
        let facts = RuleFacts {
            vendor: Arc::clone(&hit.vendor),
            purpose: Purpose::Update,
            list: Arc::clone(&hit.vendor),
            revision: list.map(|list| Arc::clone(&list.revision)).unwrap_or_default(),
            place: Arc::clone(&hit.place),
            pattern: "(payload forms)".into(),
        };
        let outcome = outcome(&self.policy, decision, false, Channel::Signature, ends.dst);
        Attempt { ends, policy: Arc::clone(&self.policy), what: What::Forms(facts, decision, outcome, evidence.into()) }
    }

    /// What is wanted for a vendor and purpose.
    fn wanted(&self, client: IpAddr, vendor: &str, purpose: Purpose) -> Option<Stage> {
        let policy = self.policy.of(client);
        let classes = policy.rules().classes();
        let own = classes.filter(|(_, class)| class.purpose == purpose && class.vendor.as_deref() == Some(vendor));
        own.filter_map(|(id, _)| policy.staged(id).map(|staged| staged.stage)).max()
    }

    /// What a verdict comes to. An address that is listed as a resolver is one on a resolver's ports only.
    fn hit(
        &self,
        ends: Ends,
        verdict: &Verdict,
        rule: RuleId,
        (channel, name): (Channel, Option<NameRef<'_>>),
        (destination, evidence): (String, String),
    ) -> Option<Hit> {
        let facts = self.policy.facts(rule)?;
        let is_resolver = facts.purpose.family() == Family::Bypass && channel == Channel::Address;
        if is_resolver && !RESOLVER_PORTS.contains(&ends.dport) {
            return None;
        }
        let decision = verdict.decision;
        let is_wanted = decision != Decision::Allow || verdict.exception.is_some();
        let attempt = verdict.class.filter(|_| is_wanted).map(|class| {
            let outcome = outcome(&self.policy, decision, verdict.exception.is_some(), channel, ends.dst);
            let name = name.map_or_else(NameBuf::default, NameBuf::from);
            let (address, port) = (Some(ends.dst), Some(ends.dport).filter(|_| channel != Channel::Dns));
            let hit = policy::Hit { rule, class, decision, outcome, channel, name, address, port };
            Attempt { ends, policy: Arc::clone(&self.policy), what: What::Rule(hit) }
        });
        let key = RowKey { endpoint: ends.src, vendor: facts.vendor, purpose: facts.purpose };
        let rule = Some(format!("{} {}", facts.place, facts.pattern));
        Some(Hit { key, decision, channel, destination, evidence, rule, is_attempt: true, attempt })
    }
}

/// Ports that vendors' relays serve: the first and the last of each span, whose, what for.
fn relay_ports(policy: &Policy) -> Vec<(u16, u16, Arc<str>, String)> {
    let vendors = policy.rules().vendors().iter();
    let ports = vendors.flat_map(|vendor| {
        let relays = vendor.file.ports.iter().filter(|port| port.relay && port.provenance.verified);
        relays.flat_map(|port| {
            port.ports.iter().map(|span| (span.first, span.last, Arc::clone(&vendor.file.id), port.usage.clone()))
        })
    });
    ports.collect()
}

/// What becomes of an attempt, as far as one who only looks can say. A name within a connection shows that the connection was made;
/// what becomes of a query to another resolver, a first packet or a datagram does not show.
fn outcome(policy: &Policy, decision: Decision, is_excepted: bool, channel: Channel, to: IpAddr) -> Outcome {
    let sinkhole = policy.sinkhole();
    let is_sinkhole = match to.to_canonical() {
        IpAddr::V4(v4) => sinkhole.v4 == Some(v4),
        IpAddr::V6(v6) => sinkhole.v6 == Some(v6),
    };
    match decision {
        _ if is_excepted => Outcome::Excepted,
        Decision::Allow | Decision::Observe => Outcome::Observed,
        Decision::Block if is_sinkhole || to.is_unspecified() => Outcome::Blocked,
        Decision::Block if matches!(channel, Channel::TlsSni | Channel::HttpHost | Channel::Signature) => {
            Outcome::Leaked
        }
        Decision::Block => Outcome::Unknown,
    }
}

fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}
