//! A UDP worker: one thread, one socket, one loop.

use std::io;
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle, sleep};
use std::time::Duration;

use super::Listening;
use crate::base::model::Now;
use crate::engine::resolver::core::Waiter;
use crate::engine::resolver::front::{self, Ask, Outcome};
use crate::engine::resolver::{Cache, Transport};
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
    Builder::new().name(name).spawn(move || Worker::new(socket, listening, front::answer).run())
}

/// What answers a message: [`front::answer`], or in a test what panics.
trait Front: Fn(Now, &Policy, &Cache, &Ask<'_>, &mut [u8]) -> Outcome {}

impl<F: Fn(Now, &Policy, &Cache, &Ask<'_>, &mut [u8]) -> Outcome> Front for F {}

struct Worker<F> {
    front: F,
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

impl<F: Front> Worker<F> {
    fn new(socket: UdpSocket, listening: Listening, front: F) -> Self {
        Self {
            front,
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
                tracing::error!("a UDP worker panicked between two batches and goes on with the next");
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

    /// Answers a batch. A message at which something panics is given up, and it alone: what was answered before it is sent, and
    /// what comes after it is answered.
    fn answer_batch(&mut self, now: Now) -> Tally {
        let mut tally = Tally { slips: self.slips, seen: self.seen, ..Tally::default() };
        let Self { front, socket, listening, policy, recorder, receiver, sender, .. } = self;
        let turn = Turn { now, policy: policy.load(), socket, listening, front };
        let mut datagrams = receiver.datagrams();
        // What a panic leaves behind: a buffer that has not joined the batch, and whole entries of the recorder.
        while catch_unwind(AssertUnwindSafe(|| {
            for datagram in &mut datagrams {
                turn.take(&datagram, sender, recorder, &mut tally);
            }
        }))
        .is_err()
        {
            listening.plane.counters.worker_restarts.increment();
            tracing::error!("a UDP worker panicked, gives up the message and goes on with the next");
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
struct Turn<'a, F> {
    now: Now,
    policy: &'a Arc<Policy>,
    socket: &'a Arc<UdpSocket>,
    listening: &'a Listening,
    front: &'a F,
}

impl<F: Front> Turn<'_, F> {
    fn take(&self, datagram: &Datagram<'_>, sender: &mut Sender, recorder: &mut Recorder, tally: &mut Tally) {
        tally.queries += 1;
        if !self.listening.clients.allows(datagram.peer.ip()) {
            tally.acl += 1;
        } else if datagram.cut || datagram.peer.port() == 0 {
            tally.malformed += 1;
        } else {
            self.answer(datagram, sender, recorder, tally);
        }
    }

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
        match (self.front)(self.now, self.policy, &plane.cache, &ask, out) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::model::{Stage, Wall};
    use crate::engine::resolver::Cookies;
    use crate::engine::resolver::core::Counters;
    use crate::io::listen::Clients;
    use crate::io::sys::mmsg::BATCH_MAX;
    use crate::io::sys::plane::Plane;
    use crate::io::sys::socket;
    use crate::policy::list::Format;
    use crate::policy::{List, RuleSetBuilder, Settings};
    use arc_swap::ArcSwap;
    use std::collections::BTreeSet;
    use std::net::SocketAddr;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    fn query(id: u16) -> Vec<u8> {
        [&id.to_be_bytes()[..], b"\x01\0\0\x01\0\0\0\0\0\0\x06listed\x07example\0\0\x01\0\x01"].concat()
    }

    /// A plane whose policy blocks `listed.example`, and the attempts that were handed over.
    fn plane() -> (Arc<Plane>, Arc<AtomicU64>) {
        let mut builder = RuleSetBuilder::new();
        let (id, file, revision) = ("l".into(), "l".into(), "r".into());
        let list = List { id, file, revision, stage: Some(Stage::Block), expires: None };
        builder.add_blocklist(list, Format::Domains, &mut &b"listed.example\n"[..]).unwrap();
        let policy = Policy::new(1, Arc::new(builder.finish()), Arc::new(Settings::default()), Wall::UNIX_EPOCH);
        let attempts = Arc::new(AtomicU64::new(0));
        let handed = Arc::clone(&attempts);
        let plane = Plane {
            policy: Arc::new(ArcSwap::from_pointee(policy)),
            cache: Arc::new(Cache::new(1 << 16, 1)),
            counters: Arc::new(Counters::default()),
            cookies: Cookies::new([1, 2]),
            hits: Arc::new(move |batch| {
                handed.fetch_add(batch.attempts(), Ordering::Relaxed);
                true
            }),
        };
        (Arc::new(plane), attempts)
    }

    /// Ids of the answers that come, until none does for a while.
    fn answers(client: &UdpSocket) -> BTreeSet<u16> {
        let mut buffer = [0; 512];
        let ids =
            std::iter::from_fn(|| client.recv(&mut buffer).ok().map(|_| u16::from_be_bytes([buffer[0], buffer[1]])));
        ids.collect()
    }

    #[test]
    fn a_panic_in_the_middle_of_a_batch_costs_one_message_of_it() {
        let (plane, attempts) = plane();
        let (misses, _missed) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let clients = Arc::new(Clients::default());
        let listening = Listening { plane: Arc::clone(&plane), clients, misses, stop };
        let listeners = socket::listen("127.0.0.1:0".parse::<SocketAddr>().unwrap(), 1).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(listeners.address).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        // All of them wait before the first is taken. Batches double, from 8 on: the fourth is as long as one can be, and it is
        // in the middle of that one that the worker panics, once at each of two messages.
        let all = 8 + 16 + 32 + BATCH_MAX;
        let fatal: Mutex<BTreeSet<u16>> = Mutex::new([88, 90].into());
        (0..all).for_each(|id| assert!(client.send(&query(u16::try_from(id).unwrap())).is_ok()));
        let front = |now: Now, policy: &Policy, cache: &Cache, ask: &Ask<'_>, out: &mut [u8]| {
            // As far as it gets: the reply is written, and not yet in the batch.
            let outcome = front::answer(now, policy, cache, ask, out);
            let id = u16::from_be_bytes([ask.message[0], ask.message[1]]);
            let is_fatal = fatal.lock().unwrap().remove(&id);
            assert!(!is_fatal, "as the test wants it");
            outcome
        };
        let mut worker = Worker::new(listeners.udp.into_iter().next().unwrap(), listening, front);
        let batches: Vec<usize> = (0..4)
            .map(|_| {
                worker.turn();
                worker.receiver.datagrams().count()
            })
            .collect();
        assert_eq!(batches, [8, 16, 32, BATCH_MAX]);
        let lost: Vec<u16> = {
            let answered = answers(&client);
            (0..u16::try_from(all).unwrap()).filter(|id| !answered.contains(id)).collect()
        };
        assert_eq!(lost, [88, 90], "those alone at which it panicked, and they are asked again");
        lost.iter().for_each(|&id| assert!(client.send(&query(id)).is_ok()));
        worker.turn();
        assert_eq!(answers(&client).into_iter().collect::<Vec<_>>(), lost);
        drop(worker);
        let counters = &plane.counters;
        assert_eq!((counters.worker_restarts.get(), counters.queries.get()), (2, all as u64 + 2));
        assert_eq!((counters.answered.get(), attempts.load(Ordering::Relaxed)), (all as u64, all as u64));
    }
}
