//! Answers that need nobody else: local records, special names, canaries, and the least that a question for ANY may get.

use super::judge::Asked;
use crate::base::wire::dns::{Head, QueryView, Rcode, Reply, ede, rtype};
use crate::policy::Policy;
use crate::policy::local::Found;

/// The SOA's server: a name that cannot exist (RFC 6761 §6.4) and says where the answer comes from.
const SOA_SERVER: &[u8] = b"\x05local\x09interdict\x07invalid\0";
/// The SOA's contact.
const SOA_CONTACT: &[u8] = b"\x06nobody\x07invalid\0";
/// The data of an HINFO record that stands for all others (RFC 8482 §4.2).
const NOT_ALL: &[u8] = b"\x07RFC8482\0";
/// Seconds that it may be cached.
const NOT_ALL_TTL: u32 = 3_600;

/// Why a canary is denied.
const CANARY: &str = "this network wants its own resolver used";
/// Why a private address is withheld.
const PRIVATE: &str = "private address for a public name; [dns] private_names lets it pass";

/// The reply to a question that is answered here: its length, `None` within where it does not fit. `None` where upstream is to
/// be asked.
pub(super) fn answer(
    policy: &Policy,
    asked: &Asked<'_>,
    query: &QueryView<'_>,
    limit: usize,
    out: &mut [u8],
) -> Option<Option<usize>> {
    let found = match policy.local().find(query.name()) {
        // Exceptions win over everything.
        Some(Found::Canary) if asked.verdict.exception.is_some() => None,
        found => found,
    };
    let is_any = query.qtype() == rtype::ANY;
    if found.is_none() && !is_any {
        return None;
    }
    let Some(mut reply) = Reply::new(out, limit, &Head::from(query)) else { return Some(None) };
    let (rcode, records) = match found {
        None => {
            let fits = reply.answer(rtype::HINFO, NOT_ALL_TTL, NOT_ALL);
            return Some(Some(finish(reply, fits, Rcode::NOERROR, None)));
        }
        Some(Found::Records(records)) => (Rcode::NOERROR, records),
        Some(Found::Missing | Found::Canary) => (Rcode::NXDOMAIN, &[][..]),
    };
    let mut any = false;
    let mut fits = Some(());
    for record in records.iter().filter(|record| is_any || record.rtype == query.qtype()) {
        fits = fits.and_then(|()| reply.answer(record.rtype, record.ttl, &record.data));
        any = true;
    }
    if !any {
        fits = reply.soa(SOA_SERVER, SOA_CONTACT, 1, policy.block_ttl());
    }
    let why = (found == Some(Found::Canary)).then_some(CANARY);
    Some(Some(finish(reply, fits, rcode, why)))
}

/// The reply to a question whose answer is withheld because it gives a public name a private address: there is no data.
pub(super) fn withheld(policy: &Policy, query: &QueryView<'_>, limit: usize, out: &mut [u8]) -> Option<usize> {
    let mut reply = Reply::new(out, limit, &Head::from(query))?;
    let fits = reply.soa(SOA_SERVER, SOA_CONTACT, 1, policy.block_ttl());
    Some(finish(reply, fits, Rcode::NOERROR, Some(PRIVATE)))
}

/// Ends a reply; one that does not fit is truncated, with an extended error where there is a reason.
fn finish(mut reply: Reply<'_>, fits: Option<()>, rcode: Rcode, why: Option<&str>) -> usize {
    if fits.is_none() {
        reply.truncate();
    }
    let mut option = [0; ede::OPTION_OCTETS_MAX];
    reply.finish(rcode, why.map_or(&[], |why| ede::write(ede::BLOCKED, why, &mut option)))
}
