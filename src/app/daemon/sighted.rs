//! Endpoints that tried what is blocked: remembered for a time, and told to the kernel where their encrypted DNS is to be refused.

use crate::base::model::{Family as Purposes, Origin, Outcome};
use crate::engine::gateway::{Element, Family, SIGHTED};
use crate::engine::ledger::Batch;
use crate::io::gateway::{KernelError, Renewer};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Flushes that wait to be taken.
const FLUSHES_MAX: usize = 256;
/// Endpoints that are remembered; with more, those that were seen first go on, and others have to wait until one is forgotten.
const ENDPOINTS_MAX: usize = 65_536;
/// Endpoints that the kernel is told of in one turn. Each is a transaction of its own, and the redirect of DNS, which lapses after five
/// seconds, is renewed by the same thread.
const TOLD_MAX: usize = 128;
/// The part of its time after which an endpoint that tried again is told again.
const RENEWED_AFTER: u32 = 16;

/// Where whoever records attempts tells of them.
#[derive(Clone, Debug)]
pub(super) struct Tap(SyncSender<BTreeSet<IpAddr>>);

impl Tap {
    /// Tells who of a flush was refused something else than another resolver, without waiting; what there is no room for is told with the
    /// next attempt.
    pub(super) fn see(&self, batch: &Batch) {
        let refused = batch.rows().filter(|row| row.outcome == Outcome::Blocked && row.origin == Origin::Client);
        // Else who is refused encrypted DNS would be refused it for ever.
        let rules = batch.policy.rules();
        let is_bypass = |class| rules.class(class).is_some_and(|class| class.purpose.family() == Purposes::Bypass);
        let clients: BTreeSet<IpAddr> = refused.filter(|row| !is_bypass(row.class)).map(|row| row.client).collect();
        if !clients.is_empty() {
            let _ = self.0.try_send(clients);
        }
    }
}

/// When an endpoint tried last, and as of when the kernel knows.
struct Seen {
    last: Instant,
    told: Option<Instant>,
}

/// The endpoints.
pub(super) struct Sighted {
    heard: Receiver<BTreeSet<IpAddr>>,
    lifetime: Duration,
    seen: BTreeMap<IpAddr, Seen>,
}

/// The way in, and who remembers.
pub(super) fn channel(lifetime: Duration) -> (Tap, Sighted) {
    let (sender, heard) = sync_channel(FLUSHES_MAX);
    (Tap(sender), Sighted { heard, lifetime, seen: BTreeMap::new() })
}

impl Sighted {
    /// Takes what was told, and forgets what is over. Servers are no endpoints: what they ask is asked for others.
    pub(super) fn hear(&mut self, now: Instant, servers: &[IpNet]) {
        self.seen.retain(|_, seen| now.duration_since(seen.last) < self.lifetime);
        for client in self.heard.try_iter().take(FLUSHES_MAX).flatten() {
            if servers.iter().any(|net| net.contains(&client)) {
                continue;
            }
            let has_room = self.seen.len() < ENDPOINTS_MAX;
            match self.seen.get_mut(&client) {
                Some(seen) => seen.last = now,
                None if has_room => drop(self.seen.insert(client, Seen { last: now, told: None })),
                None => {}
            }
        }
    }

    /// The tables are others than they were: the kernel is to be told of all.
    pub(super) fn tell_again(&mut self) {
        self.seen.values_mut().for_each(|seen| seen.told = None);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    /// Tells the kernel what it does not know yet.
    ///
    /// # Errors
    /// What the kernel refuses; the rest is told in the next turn.
    pub(super) fn tell(&mut self, renewer: &mut Renewer) -> Result<(), KernelError> {
        let late = self.lifetime / RENEWED_AFTER;
        let is_due = |seen: &Seen| seen.told.is_none_or(|told| seen.last.duration_since(told) > late);
        for (client, seen) in self.seen.iter_mut().filter(|(_, seen)| is_due(seen)).take(TOLD_MAX) {
            let [v4, v6] = SIGHTED;
            let set = if Family::of(*client) == Family::V4 { v4 } else { v6 };
            let left = self.lifetime.saturating_sub(seen.last.elapsed()).max(Duration::from_secs(1));
            // One at a time: of several, some may be there already, and be renewed in another way.
            renewer.renew(set, [Element::Address(*client)], left)?;
            seen.told = Some(seen.last);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_tried_is_remembered_for_a_time_and_servers_are_not() {
        let (tap, mut sighted) = channel(Duration::from_secs(100));
        let [client, server] = [[10, 0, 0, 1], [10, 0, 9, 9]].map(IpAddr::from);
        let servers = ["10.0.9.0/24".parse().unwrap()];
        tap.0.send([client, server].into()).unwrap();
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        sighted.hear(begin, &servers);
        assert_eq!(sighted.seen.keys().copied().collect::<Vec<_>>(), [client]);
        sighted.hear(after(60), &servers);
        tap.0.send([client].into()).unwrap();
        sighted.hear(after(90), &servers);
        sighted.hear(after(189), &servers);
        assert_eq!(sighted.len(), 1);
        sighted.hear(after(190), &servers);
        assert_eq!(sighted.len(), 0);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let (tap, mut sighted) = channel(Duration::from_secs(100));
        tap.0.send((0..70_000_u32).map(|at| IpAddr::V4((0x0a00_0000 | at).into())).collect()).unwrap();
        sighted.hear(Instant::now(), &[]);
        assert_eq!(sighted.len(), ENDPOINTS_MAX);
    }
}
