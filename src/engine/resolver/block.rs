//! The answers that blocked names get, right for every type.
//!
//! | answer | A | AAAA | ANY | every other type |
//! |---|---|---|---|---|
//! | `null` | `0.0.0.0` | `::` | both | NODATA |
//! | `sinkhole` | its IPv4 address, else NODATA | its IPv6 address, else NODATA | both | NODATA |
//! | `sinkhole`, a private one that the client may not have | as `null` | as `null` | both | NODATA |
//! | `nxdomain` | NXDOMAIN, where that is true for everything below the name too (RFC 8020); else NODATA | ← | ← | ← |
//! | `nodata` | NODATA | ← | ← | ← |
//! | `refused` | REFUSED | ← | ← | ← |
//! | `drop` | silence | ← | ← | ← |
//! | `tcp-only` | TC over UDP; over TCP it passes, and does not come here | ← | ← | ← |
//!
//! A list that may answer (`answers = true`) gives addresses of its own in the place of these.
//!
//! NXDOMAIN and NODATA carry an SOA, owned by the name asked for, so that they are cached as long as positive answers
//! (RFC 2308 §3). A client that sent an OPT gets one, with the reason as an extended error (RFC 8914).

use crate::base::model::BlockAnswer;
use crate::base::wire::dns::{Head, QueryView, Rcode, Reply, rtype};
use crate::policy::{AnswerData, Policy, Verdict};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The SOA's server: a name that cannot exist (RFC 6761 §6.4) and says where the answer comes from.
const SOA_SERVER: &[u8] = b"\x07blocked\x09interdict\x07invalid\0";
/// The SOA's contact.
const SOA_CONTACT: &[u8] = b"\x06nobody\x07invalid\0";

/// What was blocked: the name asked for, or something that an answer led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Blocked {
    /// The rule speaks of the name asked for.
    Name,
    /// The rule speaks of what the name led to; about the name itself nothing may be denied but this type.
    Target,
}

/// Writes the answer to a blocked query, at most `limit` octets long: 0 where the block is silence. `None` where not even the
/// question fits.
pub(super) fn answer(
    policy: &Policy,
    verdict: &Verdict,
    (what, client): (Blocked, IpAddr),
    query: &QueryView<'_>,
    limit: usize,
    out: &mut [u8],
) -> Option<usize> {
    if verdict.answer == BlockAnswer::Drop {
        return Some(0);
    }
    let mut reply = Reply::new(out, limit, &Head::from(query))?;
    let reason = policy.ede(verdict).unwrap_or_default();
    if verdict.answer == BlockAnswer::TcpOnly {
        reply.truncate();
        return Some(reply.finish(Rcode::NOERROR, reason));
    }
    if let Some(data) = policy.answer_data(verdict).filter(|data| !data.v4.is_empty() || !data.v6.is_empty()) {
        if given(&mut reply, policy, query, data).is_none() {
            reply.truncate();
        }
        return Some(reply.finish(Rcode::NOERROR, reason));
    }
    let (v4, v6) = match verdict.answer {
        BlockAnswer::Null => (Some(Ipv4Addr::UNSPECIFIED), Some(Ipv6Addr::UNSPECIFIED)),
        BlockAnswer::Sinkhole => policy.sinkhole().of(client),
        BlockAnswer::Nxdomain
        | BlockAnswer::Nodata
        | BlockAnswer::Refused
        | BlockAnswer::Drop
        | BlockAnswer::TcpOnly => (None, None),
    };
    let rcode = match verdict.answer {
        BlockAnswer::Refused => Rcode::REFUSED,
        BlockAnswer::Nxdomain if what == Blocked::Name && policy.answers_nxdomain(verdict, query.name()) => {
            Rcode::NXDOMAIN
        }
        _ => Rcode::NOERROR,
    };
    let wants = |rtype| query.qtype() == rtype || query.qtype() == rtype::ANY;
    let v4 = v4.filter(|_| wants(rtype::A));
    let v6 = v6.filter(|_| wants(rtype::AAAA));
    let fits = write(&mut reply, policy, rcode, (v4, v6));
    if fits.is_none() {
        reply.truncate();
    }
    Some(reply.finish(rcode, reason))
}

/// The addresses that a list gives; NODATA where it gives none of the type.
fn given(reply: &mut Reply<'_>, policy: &Policy, query: &QueryView<'_>, data: &AnswerData) -> Option<()> {
    let wants = |rtype| query.qtype() == rtype || query.qtype() == rtype::ANY;
    let ttl = policy.block_ttl();
    let mut any = false;
    for v4 in data.v4.iter().filter(|_| wants(rtype::A)) {
        reply.answer(rtype::A, ttl, &v4.octets())?;
        any = true;
    }
    for v6 in data.v6.iter().filter(|_| wants(rtype::AAAA)) {
        reply.answer(rtype::AAAA, ttl, &v6.octets())?;
        any = true;
    }
    if any { Some(()) } else { write(reply, policy, Rcode::NOERROR, (None, None)) }
}

fn write(
    reply: &mut Reply<'_>,
    policy: &Policy,
    rcode: Rcode,
    (v4, v6): (Option<Ipv4Addr>, Option<Ipv6Addr>),
) -> Option<()> {
    let ttl = policy.block_ttl();
    if let Some(v4) = v4 {
        reply.answer(rtype::A, ttl, &v4.octets())?;
    }
    if let Some(v6) = v6 {
        reply.answer(rtype::AAAA, ttl, &v6.octets())?;
    }
    if v4.is_none() && v6.is_none() && rcode != Rcode::REFUSED {
        let [.., a, b, c, d] = policy.epoch().to_be_bytes();
        reply.soa(SOA_SERVER, SOA_CONTACT, u32::from_be_bytes([a, b, c, d]), ttl)?;
    }
    Some(())
}
