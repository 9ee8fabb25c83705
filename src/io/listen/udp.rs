//! A UDP worker: one thread, one socket, one loop.

use std::io;
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle, sleep};
use std::time::Duration;

use super::Listening;
use crate::base::model::Now;
use crate::engine::resolver::Transport;
use crate::engine::resolver::core::Waiter;
use crate::engine::resolver::front::{self, Ask, Outcome};
use crate::io::sys::clock;
use crate::io::sys::mmsg::{Datagram, Receiver, Sender};
use crate::io::sys::plane::{Missed, PolicyReader, Recorder};
use crate::io::sys::reply::ReplyPath;
use crate::policy::Policy;

/// The pause after an error of the socket that is no timeout, so that a broken one does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(20);

/// Of so many queries beyond a budget one is told to ask again over TCP; the others get nothing.
const SLIP: u64 = 2;

/// Starts a worker on a socket from [`crate::io::sys::socket::listen`]. It ends when `listening.stop` is cancelled, within
/// the socket's read timeout, and hands over what it recorded.
///
/// # Errors
/// The kernel's, when there is no room for a thread.
pub fn spawn_udp(name: String, socket: UdpSocket, listening: Listening) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name).spawn(move || Worker::new(socket, listening).run())
}

struct Worker {
    socket: Arc<UdpSocket>,
    listening: Listening,
    policy: PolicyReader,
    recorder: Recorder,
    receiver: Receiver,
    sender: Sender,
    slips: u64,
    seen: u64,
}

/// What one batch counts, added to the shared counters at its end.
#[derive(Default)]
struct Tally {
    queries: u64,
    answered: u64,
    acl: u64,
    malformed: u64,
    queue: u64,
    limited: u64,
    limited_answers: u64,
    truncated: u64,
    /// Of all batches: queries beyond a budget.
    slips: u64,
    /// Of all batches: queries that are answered.
    seen: u64,
}

impl Worker {
    fn new(socket: UdpSocket, listening: Listening) -> Self {
        Self {
            socket: Arc::new(socket),
            policy: listening.plane.reader(),
            recorder: Recorder::new(Arc::clone(&listening.plane)),
            listening,
            receiver: Receiver::new(),
            sender: Sender::new(),
            slips: 0,
            seen: 0,
        }
    }

    fn run(mut self) {
        while !self.listening.stop.is_cancelled() {
            // What a panic leaves behind: the buffers, overwritten by the next batch, and whole entries of the recorder.
            if catch_unwind(AssertUnwindSafe(|| self.turn())).is_err() {
                self.listening.plane.counters.worker_restarts.increment();
                tracing::error!("a UDP worker panicked and goes on with the next batch");
                self.sender = Sender::new();
            }
        }
    }

    /// One batch.
    fn turn(&mut self) {
        let received = match self.receiver.receive(&self.socket) {
            Ok(received) => received,
            Err(error) => {
                if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                    tracing::debug!(%error, "receiving from a listener's socket");
                    sleep(ERROR_PAUSE);
                }
                0
            }
        };
        let now = clock::now();
        // Also when nothing came: an idle worker would keep a policy alive that nobody else uses.
        self.policy.load();
        if received > 0 {
            let tally = self.answer_batch(now);
            let sent = self.sender.send(&self.socket);
            let counters = &self.listening.plane.counters;
            counters.queries.add(tally.queries);
            counters.answered.add(tally.answered.saturating_sub(sent.refused as u64));
            counters.dropped_acl.add(tally.acl);
            counters.dropped_malformed.add(tally.malformed);
            counters.dropped_queue.add(tally.queue);
            counters.limited_queries.add(tally.limited);
            counters.limited_answers.add(tally.limited_answers);
            counters.limited_truncated.add(tally.truncated);
            counters.dropped_send.add(sent.refused as u64);
        }
        self.recorder.flush_if_due(now.mono);
    }

    fn answer_batch(&mut self, now: Now) -> Tally {
        let mut tally = Tally { slips: self.slips, seen: self.seen, ..Tally::default() };
        let policy = self.policy.load();
        for datagram in self.receiver.datagrams() {
            tally.queries += 1;
            if !self.listening.clients.allows(datagram.peer.ip()) {
                tally.acl += 1;
            } else if datagram.cut || datagram.peer.port() == 0 {
                tally.malformed += 1;
            } else {
                let turn = Turn { now, policy, socket: &self.socket, listening: &self.listening };
                turn.answer(&datagram, &mut self.sender, &mut self.recorder, &mut tally);
            }
        }
        (self.slips, self.seen) = (tally.slips, tally.seen);
        tally
    }
}

/// Whether a query is looked at for who asks for many: one in eight, at distances in which no two clients that take turns hide
/// (multiples of the golden ratio).
const fn is_looked_at(seen: u64) -> bool {
    seen.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61 == 0
}

/// What the datagrams of one batch have in common.
struct Turn<'a> {
    now: Now,
    policy: &'a Arc<Policy>,
    socket: &'a Arc<UdpSocket>,
    listening: &'a Listening,
}

impl Turn<'_> {
    fn answer(&self, datagram: &Datagram<'_>, sender: &mut Sender, recorder: &mut Recorder, tally: &mut Tally) {
        // A batch that is sent is as long as one that is received.
        let Some(out) = sender.next_buffer() else { return };
        let peer = datagram.peer.ip();
        let clients = &self.listening.clients;
        let Ok(told) = clients.told(peer, datagram.octets) else {
            tally.malformed += 1;
            return;
        };
        let client = told.client;
        if !told.is_many && clients.limits().query(self.now.mono, client).is_err() {
            tally.limited += 1;
            return;
        }
        tally.seen += 1;
        if is_looked_at(tally.seen) {
            clients.count(self.now.mono, told);
        }
        let plane = &self.listening.plane;
        let cookies = Some((&plane.cookies, peer));
        let ask = Ask { cookies, ..Ask::new(client, Transport::Udp, told.message) };
        let budget = clients.limits().answers(peer).filter(|_| !ask.is_proven(self.now));
        if budget.as_ref().is_some_and(|budget| budget.is_spent(self.now.mono)) {
            self.slip(&ask, datagram, sender, tally);
            return;
        }
        match front::answer(self.now, self.policy, &plane.cache, &ask, out) {
            Outcome::Answered { len, hit } => {
                if len > 0 {
                    sender.commit(len, datagram.peer, datagram.local);
                    tally.answered += 1;
                }
                if let Some(budget) = budget {
                    budget.spend(self.now.mono, Some(len));
                }
                if let Some(hit) = hit {
                    recorder.record(self.now, self.policy, client, &hit);
                }
            }
            Outcome::Miss(miss) => {
                if let Some(hit) = &miss.hit {
                    recorder.record(self.now, self.policy, client, hit);
                }
                if let Some(budget) = budget {
                    budget.spend(self.now.mono, None);
                }
                let token =
                    ReplyPath::Udp { socket: Arc::clone(self.socket), peer: datagram.peer, local: datagram.local };
                let waiter = Waiter { client, transport: Transport::Udp, message: told.message.into(), token };
                if self.listening.misses.try_send(Missed { key: miss.key, waiter }).is_err() {
                    tally.queue += 1;
                }
            }
            Outcome::Drop(_) => tally.malformed += 1,
        }
    }
    /// Every second client of a network that has had its share is told to ask over TCP, where nobody can forge an address; for
    /// the others there is silence, so that less is sent than came.
    fn slip(&self, ask: &Ask<'_>, datagram: &Datagram<'_>, sender: &mut Sender, tally: &mut Tally) {
        tally.slips += 1;
        let Some(out) = sender.next_buffer().filter(|_| tally.slips.is_multiple_of(SLIP)) else {
            tally.limited_answers += 1;
            return;
        };
        let len = front::truncate(self.now, ask, out);
        if len > 0 {
            sender.commit(len, datagram.peer, datagram.local);
            tally.truncated += 1;
        }
    }
}
