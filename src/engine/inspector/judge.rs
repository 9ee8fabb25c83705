//! Judges what was read by the policy: one verdict a flow, name over address, and payload forms where neither says anything.

use super::bypass::Bypasses;
use super::finding::{Findings, Hit, RowKey};
use super::memory::Memory;
use super::names::{Ends, NameKind, Seen};
use super::reader::{At, Observation};
use super::signature::{SignatureHit, Signatures};
use crate::base::model::{Channel, Decision, Family, Purpose, Stage};
use crate::base::name::NameRef;
use crate::base::wire::host::escaped;
use crate::base::wire::tls::{Hidden, Transport, ja4};
use crate::policy::{Policy, RuleId, Subject, Verdict};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Flows with something to their name that are held until they end.
const OPEN_MAX: usize = 65_536;
/// Where resolvers are asked: plain, by TLS and QUIC, by HTTPS, by DNSCrypt.
const RESOLVER_PORTS: [u16; 6] = [53, 443, 784, 853, 5443, 8853];
/// The port of DNS over TLS and QUIC.
const ENCRYPTED_DNS: u16 = 853;

/// Folds observations into findings.
#[derive(Debug)]
pub struct Judge {
    policy: Arc<Policy>,
    signatures: Signatures,
    memory: Memory,
    bypasses: Bypasses,
    open: HashMap<Ends, Open>,
    /// Ports of relays: vendor, port, whether TCP or UDP does not matter for a first sign.
    relays: Vec<(u16, u16, Arc<str>, String)>,
    findings: Findings,
}

/// A flow that is or may be a vendor's.
#[derive(Debug)]
enum Open {
    /// Only its address, or what its client resolved to it, says so; a name of its own decides over that.
    Perhaps(At, Hit),
    /// It belongs to this row; whether its own name said so.
    Known(RowKey, bool),
    /// A name of its own said otherwise.
    Cleared,
}

impl Judge {
    /// One that decides by this policy.
    #[must_use]
    pub fn new(policy: Arc<Policy>) -> Self {
        let signatures = Signatures::new(policy.rules());
        let mut relays = Vec::new();
        for vendor in policy.rules().vendors() {
            for port in vendor.file.ports.iter().filter(|port| port.relay && port.provenance.verified) {
                let spans = port
                    .ports
                    .iter()
                    .map(|span| (span.first, span.last, Arc::clone(&vendor.file.id), port.usage.clone()));
                relays.extend(spans);
            }
        }
        Self {
            policy,
            signatures,
            memory: Memory::default(),
            bypasses: Bypasses::default(),
            open: HashMap::new(),
            relays,
            findings: Findings::default(),
        }
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
            Observation::Reply(..) => {}
        }
    }

    /// What was found. Flows that have not ended are to be ended before: [`super::Reader::finish`].
    #[must_use]
    pub fn finish(mut self) -> Findings {
        self.findings.blind.dropped += self.memory.dropped + self.signatures.dropped;
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
        let verdict = self.policy.decide(&subject);
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
        let Some(hit) = self.hit((ends.src, ends.dport), &verdict, rule, Channel::Address, (destination, evidence))
        else {
            return;
        };
        if self.open.len() >= OPEN_MAX {
            self.findings.blind.dropped += 1;
            // It counts, only its own name cannot take it back any more.
            return self.findings.add(at, hit);
        }
        self.open.insert(ends, Open::Perhaps(at, hit));
    }

    /// Whether a flow goes around a block, by where it leads.
    fn around(&mut self, at: At, ends: Ends) {
        for vendor in self.bypasses.vendors(at, ends.src) {
            let address =
                self.policy.decide(&Subject { address: Some(ends.dst), client: Some(ends.src), ..Subject::default() });
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
            self.bypasses.step(at, ends.src, &vendor, what, &mut self.findings);
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
                self.findings.add(begun, hit);
                self.findings.add_octets(&key, octets);
            }
            Some(Open::Cleared) | None => {}
        }
    }

    fn name(&mut self, seen: &Seen<'_>) {
        let at = At { frame: seen.frame, time_ns: seen.time_ns };
        let (channel, is_query) = match seen.kind {
            NameKind::TlsSni | NameKind::DtlsSni => (Channel::TlsSni, false),
            NameKind::QuicSni => (Channel::QuicSni, false),
            NameKind::HttpHost | NameKind::H2cAuthority => (Channel::HttpHost, false),
            NameKind::DnsQuery => (Channel::Dns, true),
            NameKind::DnsResponse
            | NameKind::MdnsQuery
            | NameKind::LlmnrQuery
            | NameKind::NbnsQuery
            | NameKind::SsdpHost => return,
        };
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
        let verdict = self.policy.decide(&subject);
        let evidence = format!("{} {} to {} port {}", seen.kind, escaped(seen.octets), ends.dst, ends.dport);
        let hit = verdict.rule.and_then(|rule| {
            // Where its address is what is listed, its name is not the reason.
            let by_name = self.policy.decide(&Subject { address: None, port: None, ..subject }).rule == Some(rule);
            let channel = if by_name { channel } else { Channel::Address };
            self.hit((ends.src, ends.dport), &verdict, rule, channel, (escaped(seen.octets), evidence))
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
        self.findings.add(at, hit);
    }

    fn note_blocked(&mut self, at: At, ends: Ends, vendor: &Arc<str>, name: NameRef<'_>) {
        let before = self.bypasses.resolver(at, ends.src, vendor);
        if !self.bypasses.blocked(at, ends.src, ends.dst, vendor, name) {
            self.findings.blind.dropped += 1;
        }
        if before.is_some_and(|resolver| resolver != ends.dst) {
            let what = format!("asked {} for {name}, another resolver", ends.dst);
            self.bypasses.step(at, ends.src, vendor, what, &mut self.findings);
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
            let what = format!("asked {}, number {} of the vendor's fallback resolvers", ends.dst, fallback.order);
            self.bypasses.step(at, ends.src, &vendor, what, &mut self.findings);
        }
    }

    fn signature(&mut self, at: At, ends: Ends, hit: &SignatureHit) {
        let purpose = Purpose::Update;
        let decision = match self.wanted(&hit.vendor, purpose) {
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
        let rule = None;
        self.findings.add(
            at,
            Hit { key: key.clone(), decision, channel: Channel::Signature, destination, evidence, rule, is_attempt },
        );
        if self.open.len() < OPEN_MAX || self.open.contains_key(&ends) {
            self.open.insert(ends, Open::Known(key, is_named));
        }
    }

    /// What is wanted for a vendor and purpose.
    fn wanted(&self, vendor: &str, purpose: Purpose) -> Option<Stage> {
        let classes = self.policy.rules().classes();
        let own = classes.filter(|(_, class)| class.purpose == purpose && class.vendor.as_deref() == Some(vendor));
        own.filter_map(|(id, _)| self.policy.staged(id).map(|staged| staged.stage)).max()
    }

    /// What a verdict comes to. An address that is listed as a resolver is one on a resolver's ports only.
    fn hit(
        &self,
        (endpoint, port): (IpAddr, u16),
        verdict: &Verdict,
        rule: RuleId,
        channel: Channel,
        said: (String, String),
    ) -> Option<Hit> {
        let facts = self.policy.facts(rule)?;
        let is_resolver = facts.purpose.family() == Family::Bypass && channel == Channel::Address;
        if is_resolver && !RESOLVER_PORTS.contains(&port) {
            return None;
        }
        let key = RowKey { endpoint, vendor: facts.vendor, purpose: facts.purpose };
        let rule = Some(format!("{} {}", facts.place, facts.pattern));
        let (destination, evidence) = said;
        Some(Hit { key, decision: verdict.decision, channel, destination, evidence, rule, is_attempt: true })
    }
}

fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}
