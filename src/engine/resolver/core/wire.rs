//! The upstream query as bytes, and whether a message that arrived can be its answer.
//!
//! A query is built here octet by octet, so the question of a genuine response is octet-equal to ours but for letter case:
//! no name in a response is parsed before that comparison has passed.

use crate::base::wire::dns::{HEADER_OCTETS, Rcode, rtype};
use crate::engine::resolver::{CacheKey, Transport};

/// UDP payload size that we offer upstream (DNS flag day 2020).
const EDNS_PAYLOAD: u16 = 1_232;

/// What a query is built from.
pub(super) struct Query<'a> {
    /// The question; its name is in lower case already.
    pub(super) key: &'a CacheKey,
    /// The message id, fresh with every transmit.
    pub(super) id: u16,
    /// Whether an OPT record goes along.
    pub(super) edns: bool,
}

impl Query<'_> {
    /// The query message: RD set, CD and DO as the key says (RFC 4035 §3.2), at most one OPT.
    pub(super) fn build(&self) -> Box<[u8]> {
        let name = self.key.name().as_wire();
        let mut out = Vec::with_capacity(HEADER_OCTETS + name.len() + 4 + 11);
        let checking_disabled = if self.key.cd() { 0x10 } else { 0 };
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&[0x01, checking_disabled, 0, 1, 0, 0, 0, 0, 0, u8::from(self.edns)]);
        out.extend_from_slice(name);
        out.extend_from_slice(&self.key.qtype().to_be_bytes());
        out.extend_from_slice(&self.key.qclass().to_be_bytes());
        if self.edns {
            let dnssec_ok = if self.key.dnssec_ok() { 0x80 } else { 0 };
            out.push(0);
            out.extend_from_slice(&rtype::OPT.to_be_bytes());
            out.extend_from_slice(&EDNS_PAYLOAD.to_be_bytes());
            out.extend_from_slice(&[0, 0, dnssec_ok, 0, 0, 0]);
        }
        out.into_boxed_slice()
    }
}

/// What a message that arrived on an exchange is to that exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Match {
    /// Id, QR, opcode and question are right.
    Response(Head),
    /// A response to our question under another id: somebody may be guessing.
    NearMiss,
    /// Not a response to this query in any way.
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

/// Compares `message` with the query that was sent for `key` under `id`.
///
/// A bare header is taken only as FORMERR: servers from before EDNS answer so, and all that follows is a query without it.
pub(super) fn match_response(key: &CacheKey, id: u16, message: &[u8]) -> Match {
    let Some((header, body)) = message.split_first_chunk::<HEADER_OCTETS>() else { return Match::Stray };
    let [id_high, id_low, flags_high, flags_low, qd_high, qd_low, ..] = *header;
    let (response, opcode) = (flags_high & 0x80 != 0, flags_high & 0x78);
    if !response || opcode != 0 {
        return Match::Stray;
    }
    let same_id = [id_high, id_low] == id.to_be_bytes();
    let head = Head { rcode: Rcode(u16::from(flags_low & 0x0f)), truncated: flags_high & 0x02 != 0 };
    match (u16::from_be_bytes([qd_high, qd_low]), same_id) {
        (1, true) if is_question(key, body) => Match::Response(head),
        (1, false) if is_question(key, body) => Match::NearMiss,
        (0, true) if body.is_empty() && head.rcode == Rcode::FORMERR => Match::Response(head),
        _ => Match::Stray,
    }
}

/// Whether `body` starts with the question of `key`, letters compared without case (RFC 4343).
fn is_question(key: &CacheKey, body: &[u8]) -> bool {
    let name = key.name().as_wire();
    let Some((theirs, rest)) = body.split_at_checked(name.len()) else { return false };
    let Some(([type_high, type_low, class_high, class_low], _)) = rest.split_first_chunk::<4>() else { return false };
    theirs.eq_ignore_ascii_case(name)
        && [*type_high, *type_low] == key.qtype().to_be_bytes()
        && [*class_high, *class_low] == key.qclass().to_be_bytes()
}

/// The transport that a truncated or mistrusted exchange goes on with, if there is one.
pub(super) const fn next_transport(transport: Transport) -> Option<Transport> {
    match transport {
        Transport::Udp => Some(Transport::Tcp),
        Transport::Tcp => None,
    }
}
