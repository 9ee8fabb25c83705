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
}

/// What one batch counts, added to the shared counters at its end.
#[derive(Default)]
struct Tally {
    queries: u64,
    answered: u64,
    acl: u64,
    malformed: u64,
    queue: u64,
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
            counters.dropped_send.add(sent.refused as u64);
        }
        self.recorder.flush_if_due(now.mono);
    }

    fn answer_batch(&mut self, now: Now) -> Tally {
        let mut tally = Tally::default();
        let policy = self.policy.load();
        for datagram in self.receiver.datagrams() {
            tally.queries += 1;
            if !self.listening.acl.allows(datagram.peer.ip()) {
                tally.acl += 1;
            } else if datagram.cut || datagram.peer.port() == 0 {
                tally.malformed += 1;
            } else {
                let turn = Turn { now, policy, socket: &self.socket, listening: &self.listening };
                turn.answer(&datagram, &mut self.sender, &mut self.recorder, &mut tally);
            }
        }
        tally
    }
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
        let client = datagram.peer.ip();
        let ask = Ask { client, transport: Transport::Udp, message: datagram.octets };
        match front::answer(self.now, self.policy, &self.listening.plane.cache, &ask, out) {
            Outcome::Answered { len, hit } => {
                if len > 0 {
                    sender.commit(len, datagram.peer, datagram.local);
                    tally.answered += 1;
                }
                if let Some(hit) = hit {
                    recorder.record(self.now, self.policy, client, &hit);
                }
            }
            Outcome::Miss(miss) => {
                if let Some(hit) = &miss.hit {
                    recorder.record(self.now, self.policy, client, hit);
                }
                let token =
                    ReplyPath::Udp { socket: Arc::clone(self.socket), peer: datagram.peer, local: datagram.local };
                let waiter = Waiter { client, transport: Transport::Udp, message: datagram.octets.into(), token };
                if self.listening.misses.try_send(Missed { key: miss.key, waiter }).is_err() {
                    tally.queue += 1;
                }
            }
            Outcome::Drop(_) => tally.malformed += 1,
        }
    }
}
