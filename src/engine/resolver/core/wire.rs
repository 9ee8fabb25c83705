//! The upstream query as bytes, and whether a message that arrived can be its answer.
//!
//! A query is built here octet by octet, so the question of a genuine response is octet-equal to ours, letter case included:
//! no name in a response is parsed before that comparison has passed.

use std::ops::Range;

use rand::RngExt;
use rand::rngs::StdRng;

use super::cookie;
use crate::base::model::limits::UDP_OCTETS_MAX;
use crate::base::wire::Reader;
use crate::base::wire::dns::{AnswerFault, AnswerView, HEADER_OCTETS, Rcode, Section, rtype};
use crate::engine::resolver::{CacheKey, Transport};

/// What a query is built from.
pub(super) struct Query<'a> {
    /// What is asked.
    pub(super) key: &'a CacheKey,
    /// What the case of the name is drawn from (0x20); `None` is lower case.
    pub(super) case: Option<&'a mut StdRng>,
    /// The message id, fresh with every transmit.
    pub(super) id: u16,
    /// Whether an OPT record goes along.
    pub(super) edns: bool,
    /// The cookie in it.
    pub(super) cookie: Option<Vec<u8>>,
}

impl Query<'_> {
    /// Writes the query message into `out`, in place of what was there: RD set; AD, so that the response says whether its data was
    /// validated (RFC 6840 §5.7); CD and DO as the key says (RFC 4035 §3.2); at most one OPT. What a client's own OPT says, its
    /// subnet above all, goes nowhere. Gives where
    /// the question section stands.
    pub(super) fn build(self, out: &mut Vec<u8>) -> Range<usize> {
        let checking_disabled = if self.key.cd() { 0x10 } else { 0 };
        out.clear();
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&[0x01, 0x20 | checking_disabled, 0, 1, 0, 0, 0, 0, 0, u8::from(self.edns)]);
        let name = self.key.name().as_wire();
        out.extend_from_slice(name);
        if let (Some(random), Some(written)) = (self.case, out.get_mut(HEADER_OCTETS..)) {
            // Label lengths are below every letter, so what looks like a letter is one.
            for letter in written.iter_mut().filter(|octet| octet.is_ascii_lowercase()) {
                if random.random() {
                    letter.make_ascii_uppercase();
                }
            }
        }
        out.extend_from_slice(&self.key.qtype().to_be_bytes());
        out.extend_from_slice(&self.key.qclass().to_be_bytes());
        let asked = HEADER_OCTETS..out.len();
        if self.edns {
            let dnssec_ok = if self.key.dnssec_ok() { 0x80 } else { 0 };
            let octets = |len: usize| u16::try_from(len).unwrap_or_default().to_be_bytes();
            out.push(0);
            out.extend_from_slice(&rtype::OPT.to_be_bytes());
            out.extend_from_slice(&octets(UDP_OCTETS_MAX));
            out.extend_from_slice(&[0, 0, dnssec_ok, 0]);
            out.extend_from_slice(&octets(self.cookie.as_ref().map_or(0, |cookie| 4 + cookie.len())));
            if let Some(cookie) = &self.cookie {
                out.extend_from_slice(&cookie::OPTION.to_be_bytes());
                out.extend_from_slice(&octets(cookie.len()));
                out.extend_from_slice(cookie);
            }
        }
        asked
    }
}

/// What a message that arrived on an exchange is to that exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Match {
    /// Id, QR, opcode and question are right.
    Response(Head),
    /// All is right but the case of the name.
    OtherCase,
    /// A response with another id or to another question: somebody may be guessing.
    NearMiss,
    /// Not a response to any query.
    Stray,
}

/// The header bits of a matching response that the state machine acts on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// The four header bits of the RCODE.
    pub(super) rcode: Rcode,
    /// TC: the answer did not fit.
    pub(super) truncated: bool,
}

/// Compares `message` with the query whose question section was `question`, sent under `id`; `exact` wants the case repeated.
///
/// A bare header is taken only as FORMERR: servers from before EDNS answer so, and all that follows is a query without it.
pub(super) fn match_response(question: &[u8], id: u16, exact: bool, message: &[u8]) -> Match {
    let Some((header, body)) = message.split_first_chunk::<HEADER_OCTETS>() else { return Match::Stray };
    let [id_high, id_low, flags_high, flags_low, qd_high, qd_low, ..] = *header;
    let (response, opcode) = (flags_high & 0x80 != 0, flags_high & 0x78);
    if !response || opcode != 0 {
        return Match::Stray;
    }
    let same_id = [id_high, id_low] == id.to_be_bytes();
    let head = Head { rcode: Rcode(u16::from(flags_low & 0x0f)), truncated: flags_high & 0x02 != 0 };
    match u16::from_be_bytes([qd_high, qd_low]) {
        0 if same_id && body.is_empty() && head.rcode == Rcode::FORMERR => Match::Response(head),
        1 => match body.get(..question.len()) {
            Some(theirs) if same_id && theirs == question => Match::Response(head),
            Some(theirs) if same_id && is_same(theirs, question) => {
                if exact {
                    Match::OtherCase
                } else {
                    Match::Response(head)
                }
            }
            _ if AnswerView::parse(message).is_ok() => Match::NearMiss,
            _ => Match::Stray,
        },
        _ => Match::Stray,
    }
}

/// Whether two question sections are the same but for the case of their names (RFC 4343).
fn is_same(theirs: &[u8], question: &[u8]) -> bool {
    let (Some((a, a_rest)), Some((b, b_rest))) = (theirs.split_last_chunk::<4>(), question.split_last_chunk::<4>())
    else {
        return false;
    };
    a.eq_ignore_ascii_case(b) && a_rest == b_rest
}

/// What a response's OPT record says to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Opt<'a> {
    /// The eight high bits of the response code, in their place.
    pub(super) rcode_high: u16,
    /// The data of the cookie option.
    pub(super) cookie: Option<&'a [u8]>,
}

/// Finds the OPT record of a response; without one, what its absence means.
pub(super) fn opt(message: &[u8]) -> Result<Opt<'_>, AnswerFault> {
    let mut found = Opt::default();
    for record in AnswerView::parse(message)?.records() {
        let record = record?;
        if record.section != Section::Additional || record.rtype != rtype::OPT {
            continue;
        }
        found.rcode_high = u16::try_from(record.ttl >> 24).unwrap_or_default() << 4;
        let mut options = Reader::new(record.data());
        while !options.is_empty() {
            let (code, len) = (options.u16()?, options.u16()?);
            let data = options.take(usize::from(len))?;
            if code == cookie::OPTION && found.cookie.is_none() {
                found.cookie = Some(data);
            }
        }
    }
    Ok(found)
}

/// The transport that a truncated or mistrusted exchange goes on with, if there is one.
pub(super) const fn next_transport(transport: Transport) -> Option<Transport> {
    match transport {
        Transport::Udp => Some(Transport::Tcp),
        Transport::Tcp => None,
    }
}
