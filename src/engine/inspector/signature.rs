//! Payload forms of the vendor files, scored together: one alone is weak, since paths, literal hosts and odd agents are everywhere.

use super::names::Ends;
use super::reader::At;
use crate::base::model::Confidence;
use crate::base::wire::host::Host;
use crate::base::wire::http::Request;
use crate::policy::RuleSet;
use crate::policy::list::vendor::{Signature, SignatureKind};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Points that make a hit, of two kinds at least.
const POINTS: u8 = 3;
/// Octets of a value that is not found in other people's traffic by chance.
const TELLING_OCTETS: usize = 4;
/// Flows with a match that are held.
const FLOWS_MAX: usize = 65_536;

/// The forms of all vendor files.
#[derive(Debug)]
pub(super) struct Signatures {
    forms: Vec<Form>,
    vendors: Vec<Arc<str>>,
    flows: HashMap<(Ends, usize), Score, RandomState>,
    /// Matches that were given up for want of room.
    pub(super) dropped: u64,
}

#[derive(Debug)]
struct Form {
    /// Index of the vendor.
    vendor: usize,
    file: Arc<str>,
    signature: Signature,
}

/// What of one vendor's forms a flow has had.
#[derive(Clone, Debug, Default)]
struct Score {
    matches: Vec<Match>,
    is_hit: bool,
}

/// One form that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) kind: SignatureKind,
    pub(super) frame: u64,
    pub(super) text: String,
    place: Arc<str>,
    points: u8,
}

/// A flow in which enough was found.
#[derive(Clone, Debug)]
pub(super) struct SignatureHit {
    pub(super) vendor: Arc<str>,
    /// File and line of the first form.
    pub(super) place: Arc<str>,
    /// What was found, in order of the frames; what was told before is left out.
    pub(super) matches: Vec<Match>,
    /// Whether it is a request; a reply belongs to the request before it, unless it is what made it a hit.
    pub(super) is_attempt: bool,
}

impl Signatures {
    pub(super) fn new(rules: &RuleSet) -> Self {
        let vendors: Vec<Arc<str>> = rules.vendors().iter().map(|vendor| Arc::clone(&vendor.file.id)).collect();
        let forms = rules.vendors().iter().enumerate().flat_map(|(vendor, held)| {
            let file = Arc::clone(&held.file.file);
            held.file.signatures.iter().filter(|signature| signature.provenance.verified).map(move |signature| Form {
                vendor,
                file: Arc::clone(&file),
                signature: signature.clone(),
            })
        });
        Self { forms: forms.collect(), vendors, flows: HashMap::default(), dropped: 0 }
    }

    /// A request on a flow.
    pub(super) fn request(&mut self, at: At, ends: Ends, request: &Request<'_>, mut hit: impl FnMut(SignatureHit)) {
        let found: Vec<_> =
            self.forms.iter().filter_map(|form| Some((form.vendor, form.in_request(at, request)?))).collect();
        self.score(ends, found, true, &mut hit);
    }

    /// The first octets of a reply on a flow; `ends` are the client's.
    pub(super) fn body(&mut self, at: At, ends: Ends, octets: &[u8], mut hit: impl FnMut(SignatureHit)) {
        let found: Vec<_> =
            self.forms.iter().filter_map(|form| Some((form.vendor, form.in_body(at, octets)?))).collect();
        self.score(ends, found, false, &mut hit);
    }

    /// A flow is over.
    pub(super) fn end(&mut self, ends: Ends) {
        if !self.flows.is_empty() {
            (0..self.vendors.len()).for_each(|vendor| drop(self.flows.remove(&(ends, vendor))));
        }
    }

    fn score(&mut self, ends: Ends, found: Vec<(usize, Match)>, is_attempt: bool, hit: &mut impl FnMut(SignatureHit)) {
        let mut new: HashMap<usize, Vec<Match>> = HashMap::new();
        for (vendor, matched) in found {
            new.entry(vendor).or_default().push(matched);
        }
        let mut new: Vec<_> = new.into_iter().collect();
        new.sort_by_key(|(vendor, _)| *vendor);
        for (vendor, matches) in new {
            let key = (ends, vendor);
            if self.flows.len() >= FLOWS_MAX && !self.flows.contains_key(&key) {
                self.dropped += 1;
                continue;
            }
            let score = self.flows.entry(key).or_default();
            let news: Vec<Match> =
                matches.into_iter().filter(|new| score.matches.iter().all(|held| held.kind != new.kind)).collect();
            score.matches.extend(news.iter().cloned());
            let was_hit = score.is_hit;
            score.is_hit |= score.is_enough();
            let told = match (was_hit, score.is_hit) {
                // All that led to it.
                (false, true) => score.matches.clone(),
                (true, true) if is_attempt || !news.is_empty() => news,
                _ => continue,
            };
            let first = score.matches.first().map(|first| Arc::clone(&first.place));
            if let Some((vendor, place)) = self.vendors.get(vendor).map(Arc::clone).zip(first) {
                hit(SignatureHit { vendor, place, matches: told, is_attempt: is_attempt || !was_hit });
            }
        }
    }
}

impl Score {
    fn is_enough(&self) -> bool {
        self.matches.len() >= 2 && self.matches.iter().map(|found| found.points).sum::<u8>() >= POINTS
    }
}

impl Form {
    fn in_request(&self, at: At, request: &Request<'_>) -> Option<Match> {
        let host = request.headers().first("host").map(Host::new);
        let agent = request.headers().first("user-agent").unwrap_or_default();
        let path = request.path();
        let value = self.signature.values.iter().find(|value| {
            let octets = value.as_bytes();
            match self.signature.kind {
                SignatureKind::HttpUriPrefix => path.starts_with(octets),
                SignatureKind::HttpUriSuffix => before_query(path).ends_with(octets),
                SignatureKind::HttpHostLiteral => match host.and_then(Host::address) {
                    Some(IpAddr::V4(_)) => value.as_str() == "ipv4",
                    Some(IpAddr::V6(_)) => value.as_str() == "ipv6",
                    None => false,
                },
                // In the files a star at the end stands for the rest; at the start it is the agent's own.
                SignatureKind::HttpUserAgent if octets.len() > 1 => {
                    agent.starts_with(octets.strip_suffix(b"*").unwrap_or(octets))
                }
                SignatureKind::HttpUserAgent => agent.starts_with(octets) && agent.len() > 1,
                SignatureKind::HttpHeader => request.headers().any(|(name, _)| name.eq_ignore_ascii_case(octets)),
                SignatureKind::BodyMagic => false,
            }
        })?;
        Some(self.found(at, value))
    }

    fn in_body(&self, at: At, octets: &[u8]) -> Option<Match> {
        if self.signature.kind != SignatureKind::BodyMagic {
            return None;
        }
        let start = usize::try_from(self.signature.offset.unwrap_or(0)).ok()?;
        let body = octets.get(start..)?;
        let value = self.signature.values.iter().enumerate().find(|(index, value)| {
            let magic = self.signature.octets.as_deref().filter(|_| *index == 0).unwrap_or(value.as_bytes());
            body.starts_with(magic)
        })?;
        Some(self.found(at, value.1))
    }

    fn found(&self, at: At, value: &str) -> Match {
        let kind = self.signature.kind;
        let is_own =
            matches!(kind, SignatureKind::BodyMagic | SignatureKind::HttpHeader | SignatureKind::HttpUserAgent);
        let points = match self.signature.confidence {
            Confidence::Low => 0,
            Confidence::Medium | Confidence::High if is_own && value.len() >= TELLING_OCTETS => 2,
            Confidence::Medium | Confidence::High => 1,
        };
        let place: Arc<str> = format!("{}:{}", self.file, self.signature.provenance.line).into();
        Match { kind, frame: at.frame, text: format!("{kind} {value} ({place})"), place, points }
    }
}

fn before_query(path: &[u8]) -> &[u8] {
    path.split(|octet| *octet == b'?').next().unwrap_or(path)
}
