//! The rules that lead the first packets of connections to the inspector, and do as it says.
//!
//! ```text
//! forward, -9   judged under this policy: pass, or refuse ─ else, from a client to an inspected port ─▶ inspect ─▶ queue ─▶ us
//! verdicts, -8  the packet comes back with a mark: it becomes the connection's, and one that is refused is reset
//! ```
//! What this machine sends itself, where that is wanted, enters at `output` instead, and goes the same way.
//! Where nobody reads the queue, packets pass; and without our leave, which lapses by itself, they are not queued at all.

use super::marks::State;
use super::plan::{INSPECT_TCP, INSPECT_UDP, Who, refusal};
use super::settings::Inspection;
use super::table::{Chain, Elements, Family, Hook, Key, Part, Protocol, Rule, SetKind, Table, Then};
use std::sync::Arc;

/// Counts packets that are looked at.
pub const INSPECTED: &str = "inspected";
/// Counts packets of connections that are refused for a name.
pub const REFUSED: &str = "refused";

/// After the rules of whole tables, before filters of others; what comes back is met a step later.
const VERDICT_PRIORITY: i32 = -8;
/// Words of the TCP header of an acknowledgement without data: bare, with time stamps, and with one or two blocks of what came besides.
/// An IP packet of exactly this length has no room for data, so there is nothing in it to be read.
const BARE_WORDS: [u8; 4] = [5, 8, 11, 13];

/// Rules for the chains where the kernel enters.
#[derive(Default)]
pub(super) struct Entrance {
    /// For their beginning.
    pub(super) first: Vec<Rule>,
    /// For the end of the one where clients' packets pass.
    pub(super) last: Vec<Rule>,
    /// For the end of the one where this machine's own do.
    pub(super) local: Vec<Rule>,
}

/// Adds chains and sets; the rules that lead there.
pub(super) fn add(table: &mut Table, inspection: &Inspection, who: &Who, (epoch, local): (u64, bool)) -> Entrance {
    for counter in [INSPECTED, REFUSED] {
        table.counters.insert(counter.into());
    }
    let ports = [(Protocol::Tcp, INSPECT_TCP), (Protocol::Udp, INSPECT_UDP)]
        .map(|(protocol, set)| (protocol, table.set(set, Key::Port, SetKind::Timed, Elements::new())));
    let (mask, refused): (_, Arc<str>) = (inspection.mask, REFUSED.into());
    let (bits, mark) = (mask.bits(), |state| mask.of(epoch, state));
    let refuse = || Part::Then(Then::Jump(Arc::clone(&refused)));
    let mut rules = vec![vec![Part::Count(Arc::clone(&refused))], vec![Part::IsReset, Part::Then(Then::Drop)]];
    rules.extend(refusal());
    table.chains.push(Chain { name: Arc::clone(&refused), hook: None, rules });

    let mut rules = Vec::new();
    // What was judged under another policy is looked at again, also where it only acknowledges.
    for judged in [0, mark(State::Looking)] {
        for family in Family::BOTH {
            let bare = |words| vec![Part::ConnMark(bits, judged), Part::Bare(family, words), Part::Then(Then::Return)];
            rules.extend(BARE_WORDS.map(bare));
        }
    }
    rules.push(vec![Part::Count(INSPECTED.into())]);
    rules.push(vec![Part::Then(Then::Queue(inspection.queue, inspection.queues))]);
    let inspect: Arc<str> = "inspect".into();
    table.chains.push(Chain { name: Arc::clone(&inspect), hook: None, rules });

    // Nearly all packets bring no mark, and are to pass one rule here, not all.
    let mut rules = vec![vec![Part::Mark(bits, 0), Part::Then(Then::Return)]];
    for state in State::ALL {
        // A packet that was judged just before this policy was in force carries the mark of the one before.
        let before = mask.of(epoch.wrapping_sub(1), state);
        for (is_now, came) in [(true, mark(state)), (false, before)] {
            let mut rule = vec![Part::Mark(bits, came)];
            rule.extend(is_now.then_some(Part::SetConnMark(bits, came)));
            rule.push(Part::ClearMark(bits));
            rule.push(if state == State::Refused { refuse() } else { Part::Then(Then::Return) });
            rules.push(rule);
        }
    }
    if local {
        let hook = Some((Hook::Output, VERDICT_PRIORITY));
        table.chains.push(Chain { name: "verdicts-output".into(), hook, rules: rules.clone() });
    }
    table.chains.push(Chain { name: "verdicts".into(), hook: Some((Hook::Forward, VERDICT_PRIORITY)), rules });

    let first = vec![
        vec![Part::ConnMark(bits, mark(State::Passed)), Part::Then(Then::Return)],
        vec![Part::ConnMark(bits, mark(State::Refused)), refuse()],
    ];
    let to = |(protocol, set): &(Protocol, Arc<str>)| {
        let jump = Part::Then(Then::Jump(Arc::clone(&inspect)));
        vec![Part::Is(*protocol), Part::ToPortOf(Arc::clone(set)), jump]
    };
    let of_clients = |family| ports.iter().map(move |port| [vec![who.from(family)], to(port)].concat());
    let last = Family::BOTH.into_iter().flat_map(of_clients).collect();
    Entrance { first, last, local: ports.iter().map(to).collect() }
}
