//! What is said first to a sinkhole: by whom it wanted to be answered, and what speaks so.
//!
//! A sinkhole answers nothing that would let a client go on, so its first octets are all that there is. They name the host that was
//! meant, which the address no longer does, and they come from the real client, also where a forwarder had asked for the name.

use super::dialogue::{Dialogue, Hint, Said, Wants};
use super::names::Ends;
use super::reader::At;
use super::signature::Signatures;
use crate::base::model::{
    Channel, Decision, Destination, Origin, Outcome, Purpose, RuleFacts, Sighting, Wall, is_tester,
};
use crate::base::wire::host::Host;
use crate::base::wire::http::Request;
use crate::base::wire::quic::{Found, QuicClient};
use crate::base::wire::tls::{ClientHello, Hidden, Transport, ja4};
use crate::policy::{Policy, Subject};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

/// Octets of one connection that are read; the largest hellos and heads of honest clients are smaller.
pub const OPENING_OCTETS_MAX: usize = 16_384;
/// Characters of one piece of evidence.
const EVIDENCE_MAX: usize = 400;
/// Octets of a target or an agent that go into it.
const FIELD_OCTETS_MAX: usize = 160;

/// What a client said first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum First {
    /// A hello of TLS.
    Tls(Hello),
    /// A hello of QUIC.
    Quic(Hello),
    /// A request of HTTP/1: its octets.
    Http(Vec<u8>),
    /// A request of HTTP/2 without TLS: its authority.
    H2(Vec<u8>),
    /// Octets that are none of these.
    Other,
    /// Nothing.
    Silence,
}

/// What a hello says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The server name as written.
    pub name: Option<Vec<u8>>,
    /// Whether another name may be meant than is said.
    pub is_hidden: bool,
    /// What the hello is like: its JA4, where there is one.
    pub ja4: String,
}

impl Hello {
    fn of(hello: &ClientHello<'_>, transport: Transport) -> Self {
        Self {
            name: hello.server_name().map(<[u8]>::to_vec),
            is_hidden: hello.hidden() != Hidden::No,
            ja4: ja4(hello, transport),
        }
    }
}

//----------- Reading --------------------------------------------------------

/// The reading of one connection.
#[derive(Debug)]
pub struct Opening {
    octets: Vec<u8>,
    dialogue: Dialogue,
    first: Option<First>,
}

impl Default for Opening {
    fn default() -> Self {
        Self { octets: Vec::new(), dialogue: Dialogue::new(Hint::None), first: None }
    }
}

impl Opening {
    /// Takes the next octets; says whether nothing more is wanted.
    pub fn feed(&mut self, octets: &[u8]) -> bool {
        let room = OPENING_OCTETS_MAX.saturating_sub(self.octets.len());
        let octets = octets.get(..room.min(octets.len())).unwrap_or_default();
        self.octets.extend_from_slice(octets);
        let first = &mut self.first;
        self.dialogue.feed(octets, &mut |said| note(first, &said));
        self.first.is_some() || self.octets.len() >= OPENING_OCTETS_MAX || self.dialogue.wants() != Wants::More
    }

    /// What was said, also where its end is missing.
    #[must_use]
    pub fn finish(mut self) -> First {
        let first = &mut self.first;
        self.dialogue.finish(&mut |said| note(first, &said));
        match self.first {
            Some(First::Http(_)) => First::Http(self.octets),
            Some(first) => first,
            None if self.octets.is_empty() => First::Silence,
            None => First::Other,
        }
    }
}

fn note(first: &mut Option<First>, said: &Said<'_>) {
    let new = match said {
        Said::Hello(hello) => First::Tls(Hello::of(hello, Transport::Tcp)),
        Said::Request(_) => First::Http(Vec::new()),
        Said::Authority(host) => First::H2(host.to_vec()),
        Said::Reply(_) | Said::Body(_) | Said::Dns(_) => return,
    };
    first.get_or_insert(new);
}

/// The reading of one client's datagrams.
#[derive(Debug, Default)]
pub struct QuicOpening(QuicClient);

impl QuicOpening {
    /// Takes a datagram; gives what the client said first once that is whole.
    pub fn feed(&mut self, datagram: &[u8]) -> Option<First> {
        let mut first = None;
        self.0.feed(datagram, |found| {
            let hello = match found {
                Found::Hello(body) => ClientHello::parse(body).ok().map(|hello| Hello::of(&hello, Transport::Quic)),
                Found::Google(name) => Some(Hello { name: Some(name.to_vec()), ..Hello::default() }),
            };
            first = first.take().or_else(|| hello.map(First::Quic));
        });
        first
    }
}

//----------- Judging --------------------------------------------------------

/// What a connection to the sinkhole is.
#[derive(Clone, Debug)]
pub enum Sunk {
    /// An attempt.
    Attempt(Box<Sighting>),
    /// It named a host that no rule is about.
    Unlisted,
    /// It named nobody.
    Nameless,
}

/// Judges what was said by a policy.
#[derive(Debug)]
pub struct Openings {
    policy: Arc<Policy>,
    signatures: Signatures,
}

/// What speaks for a vendor.
struct Case {
    rule: RuleFacts,
    decision: Decision,
    destination: Destination,
}

impl Openings {
    /// By this policy.
    #[must_use]
    pub fn new(policy: Arc<Policy>) -> Self {
        Self { signatures: Signatures::new(policy.rules()), policy }
    }

    /// The policy that it judges by.
    #[must_use]
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// What a connection from `client` to `local` is. Whatever the policy wants of the name by now, nothing got through.
    pub fn judge(&mut self, now: Wall, client: SocketAddr, local: SocketAddr, first: &First) -> Sunk {
        let (hosts, mut evidence) = said(first);
        let named = hosts.iter().find_map(|host| self.by_name(client, local, host));
        let forms = match first {
            First::Http(head) => self.by_forms(client, local, head),
            _ => None,
        };
        if let Some((case, text)) = &forms
            && named.as_ref().is_none_or(|named| named.rule.vendor == case.rule.vendor)
        {
            let _ = write!(evidence, "; {text}");
        }
        let Some(case) = named.or_else(|| forms.map(|(case, _)| case)) else {
            let is_named = hosts.iter().any(|host| Host::new(host).name().is_some());
            return if is_named { Sunk::Unlisted } else { Sunk::Nameless };
        };
        Sunk::Attempt(Box::new(Sighting {
            client: client.ip().to_canonical(),
            origin: if is_tester(client.ip()) { Origin::SelfTest } else { Origin::Client },
            channel: Channel::Sinkhole,
            destination: case.destination,
            port: Some(local.port()),
            rule: Arc::new(case.rule),
            verdict: case.decision,
            outcome: Outcome::Blocked,
            first: now,
            last: now,
            count: 1,
            policy: self.policy.id(),
            evidence: Some(evidence.chars().take(EVIDENCE_MAX).collect::<String>().into()),
        }))
    }

    /// By the rule about the name that it said.
    fn by_name(&self, client: SocketAddr, local: SocketAddr, host: &[u8]) -> Option<Case> {
        let name = Host::new(host).name()?;
        let policy = self.policy.of(client.ip());
        let subject = Subject {
            name: Some(name.as_ref()),
            port: Some(local.port()),
            client: Some(client.ip()),
            ..Subject::default()
        };
        let verdict = policy.decide(&subject);
        if verdict.decision == Decision::Allow {
            return None;
        }
        let rule = policy.facts(verdict.rule?)?;
        Some(Case { rule, decision: verdict.decision, destination: Destination::Name(name.as_ref().to_name()) })
    }

    /// By the forms of its request.
    fn by_forms(&mut self, client: SocketAddr, local: SocketAddr, head: &[u8]) -> Option<(Case, String)> {
        let request = Request::parse(head)?;
        let ends = Ends { src: client.ip(), sport: client.port(), dst: local.ip(), dport: local.port() };
        let mut found = None;
        self.signatures.request(At::default(), ends, &request, |hit| {
            found.get_or_insert(hit);
        });
        self.signatures.end(ends);
        let hit = found?;
        let texts: Vec<&str> = hit.matches.iter().map(|one| one.text.as_str()).collect();
        let text = texts.join(", ");
        let list = self.policy.rules().lists().iter().find(|list| list.id == hit.vendor)?;
        let rule = RuleFacts {
            vendor: Arc::clone(&hit.vendor),
            purpose: Purpose::Update,
            list: Arc::clone(&list.id),
            revision: Arc::clone(&list.revision),
            place: Arc::clone(&list.file),
            pattern: text.as_str().into(),
        };
        Some((Case { rule, decision: Decision::Block, destination: Destination::Address(local.ip()) }, text))
    }
}

/// The hosts that were named, and what was said in words.
fn said(first: &First) -> (Vec<Vec<u8>>, String) {
    match first {
        First::Tls(hello) => hello_said("TLS", hello),
        First::Quic(hello) => hello_said("QUIC", hello),
        First::H2(authority) => (vec![authority.clone()], format!("HTTP/2 to {}", shown(authority))),
        First::Http(head) => {
            let Some(request) = Request::parse(head) else { return (Vec::new(), String::new()) };
            let host = request.headers().first("host").unwrap_or_default();
            let mut text = format!("{} {} to {}", shown(request.method), shown(request.target), shown(host));
            if let Some(agent) = request.headers().first("user-agent") {
                let _ = write!(text, ", agent {}", shown(agent));
            }
            let hosts = [request.target_authority(), Some(host)].into_iter().flatten();
            (hosts.filter(|host| !host.is_empty()).map(<[u8]>::to_vec).collect(), text)
        }
        First::Other | First::Silence => (Vec::new(), String::new()),
    }
}

fn hello_said(how: &str, hello: &Hello) -> (Vec<Vec<u8>>, String) {
    let name = hello.name.as_deref().map_or_else(|| "nobody".to_owned(), shown);
    let mut text = format!("{how} to {name}");
    if !hello.ja4.is_empty() {
        let _ = write!(text, ", JA4 {}", hello.ja4);
    }
    if hello.is_hidden {
        text.push_str(", another name may be meant");
    }
    (hello.name.clone().into_iter().collect(), text)
}

/// Octets as text that says all of them, cut to what is of use.
fn shown(octets: &[u8]) -> String {
    let mut text = String::new();
    for octet in octets.iter().take(FIELD_OCTETS_MAX) {
        match octet {
            0x20..=0x7e => text.push(char::from(*octet)),
            _ => {
                let _ = write!(text, "\\{octet:03}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests;
