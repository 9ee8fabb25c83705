//! DNS over TCP (RFC 7766): pipelined, answered out of order, with a bound and a timeout on everything.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::Listening;
use crate::base::model::limits::MESSAGE_OCTETS_MAX;
use crate::engine::resolver::Transport;
use crate::engine::resolver::core::Waiter;
use crate::engine::resolver::front::{self, Ask, Outcome};
use crate::io::sys::clock;
use crate::io::sys::mmsg::RECEIVE_OCTETS;
use crate::io::sys::plane::{FLUSH_INTERVAL, Missed, Recorder};
use crate::io::sys::reply::ReplyPath;
use crate::policy::Hit;

/// Connections at one listener.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Connections of one client: an IPv4 address or an IPv6 /64.
pub const CONNECTIONS_PER_CLIENT_MAX: usize = 256;
/// Queries of one connection whose answers are not written yet.
pub const PIPELINE_MAX: usize = 64;
/// How long a connection may say nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the rest of a message may take.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a client may take to take an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

thread_local! {
    /// Where an answer is written before its length is known; one a thread, never held across an await.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; MESSAGE_OCTETS_MAX]);
}

/// What the connections of one listener share.
struct Streams {
    listening: Listening,
    recorder: Mutex<Recorder>,
    clients: Mutex<BTreeMap<IpAddr, usize>>,
}

/// Accepts and serves up to `connections_max` connections at once, [`CONNECTIONS_MAX`] at most, until `listening.stop` is
/// cancelled; connections then end after the answers they wait for.
///
/// # Errors
/// The kernel's, when the listener cannot be given to the runtime.
pub async fn serve_tcp(
    listener: std::net::TcpListener,
    connections_max: usize,
    listening: Listening,
) -> io::Result<()> {
    let connections_max = connections_max.min(CONNECTIONS_MAX);
    let listener = TcpListener::from_std(listener)?;
    let stop = listening.stop.clone();
    let streams = Arc::new(Streams {
        recorder: Mutex::new(Recorder::new(Arc::clone(&listening.plane))),
        clients: Mutex::new(BTreeMap::new()),
        listening,
    });
    let mut connections = JoinSet::new();
    let mut flush = interval(FLUSH_INTERVAL);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = flush.tick() => streams.flush(),
            Some(ended) = connections.join_next(), if !connections.is_empty() => streams.note(&ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) if connections.len() < connections_max => {
                    if let Some(place) = streams.admit(peer) {
                        connections.spawn(connection(Arc::clone(&streams), stream, peer, place));
                    }
                }
                Ok(_) => streams.listening.plane.counters.dropped_connections.increment(),
                Err(error) if is_the_peers_fault(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting a TCP connection; pausing");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        streams.note(&ended);
    }
    streams.flush();
    Ok(())
}

/// Whether accepting failed for this one connection only.
fn is_the_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// A client's place among its connections, given back when dropped.
struct Place {
    streams: Arc<Streams>,
    client: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.streams.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

impl Streams {
    /// A place for a connection, if its client is allowed and has not too many.
    fn admit(self: &Arc<Self>, peer: SocketAddr) -> Option<Place> {
        let counters = &self.listening.plane.counters;
        if !self.listening.acl.allows(peer.ip()) {
            counters.dropped_acl.increment();
            return None;
        }
        let client = group(peer.ip());
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_insert(0);
        if *count >= CONNECTIONS_PER_CLIENT_MAX {
            counters.dropped_connections.increment();
            return None;
        }
        *count += 1;
        Some(Place { streams: Arc::clone(self), client })
    }

    fn flush(&self) {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }

    fn note<T>(&self, ended: &Result<T, tokio::task::JoinError>) {
        if ended.as_ref().is_err_and(tokio::task::JoinError::is_panic) {
            self.listening.plane.counters.worker_restarts.increment();
            tracing::error!("a TCP connection's task panicked; the connection is closed");
        }
    }

    /// Answers one query or passes it on; `false` when the connection deserves to be closed.
    fn answer(&self, client: IpAddr, message: &[u8], place: mpsc::OwnedPermit<Box<[u8]>>) -> bool {
        let plane = &self.listening.plane;
        plane.counters.queries.increment();
        let now = clock::now();
        let policy = plane.policy.load_full();
        let ask = Ask { client, transport: Transport::Tcp, message };
        let (outcome, reply) = SCRATCH.with_borrow_mut(|out| {
            let outcome = front::answer(now, &policy, &plane.cache, &ask, out);
            let len = if let Outcome::Answered { len, .. } = &outcome { *len } else { 0 };
            let reply: Box<[u8]> = out.get(..len).unwrap_or_default().into();
            (outcome, reply)
        });
        let record = |hit: Option<Hit>| {
            if let Some(hit) = hit {
                let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
                recorder.record(now, &policy, client, &hit);
            }
        };
        match outcome {
            Outcome::Answered { hit, .. } => {
                if !reply.is_empty() {
                    plane.counters.answered.increment();
                    place.send(reply);
                }
                record(hit);
                true
            }
            Outcome::Miss(miss) => {
                record(miss.hit);
                let token = ReplyPath::Stream(place);
                let waiter = Waiter { client, transport: Transport::Tcp, message: message.into(), token };
                if self.listening.misses.try_send(Missed { key: miss.key, waiter }).is_err() {
                    plane.counters.dropped_queue.increment();
                }
                true
            }
            Outcome::Drop(_) => {
                plane.counters.dropped_malformed.increment();
                false
            }
        }
    }
}

/// Whom a connection counts for: one host has a /64 of IPv6 addresses at its will.
fn group(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(v6) => {
            let prefix = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
    }
}

/// One connection: reading and writing go on side by side, joined by a queue as long as the pipeline.
async fn connection(streams: Arc<Streams>, stream: TcpStream, peer: SocketAddr, place: Place) {
    // Answers are small and waited for; a failure costs some delay.
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.into_split();
    let (queue, replies) = mpsc::channel(PIPELINE_MAX);
    let mut writing = std::pin::pin!(write_replies(write, replies));
    let stop = streams.listening.stop.clone();
    let ended = tokio::select! {
        () = stop.cancelled() => true,
        () = read_queries(&streams, read, peer.ip(), queue) => true,
        () = &mut writing => false,
    };
    // The reader and its end of the queue are gone: what is left are the answers to come.
    if ended {
        writing.await;
    }
    drop(place);
}

/// Reads queries until the client ends, says nothing for too long, or says nonsense.
async fn read_queries(streams: &Streams, mut read: OwnedReadHalf, client: IpAddr, queue: mpsc::Sender<Box<[u8]>>) {
    let mut buffer = vec![0; RECEIVE_OCTETS];
    loop {
        let Ok(Ok(first)) = timeout(IDLE_TIMEOUT, read.read_u8()).await else { return };
        let Ok(Ok(len)) = timeout(MESSAGE_TIMEOUT, read_message(&mut read, first, &mut buffer)).await else { return };
        // Each query holds a place until its answer is written; a full pipeline stops the reading.
        let Ok(place) = queue.clone().reserve_owned().await else { return };
        let Some(message) = buffer.get(..len) else { return };
        if !streams.answer(client, message, place) {
            return;
        }
    }
}

/// Reads the rest of a message whose first octet has come; returns its length.
async fn read_message(read: &mut OwnedReadHalf, first: u8, buffer: &mut [u8]) -> io::Result<usize> {
    let second = read.read_u8().await?;
    let len = usize::from(u16::from_be_bytes([first, second]));
    let Some(message) = buffer.get_mut(..len) else { return Err(io::ErrorKind::InvalidData.into()) };
    read.read_exact(message).await
}

/// Writes answers as they come, until nobody can send one any more.
async fn write_replies(mut write: OwnedWriteHalf, mut replies: mpsc::Receiver<Box<[u8]>>) {
    while let Some(reply) = replies.recv().await {
        let Ok(len) = u16::try_from(reply.len()) else { return };
        let mut framed = Vec::with_capacity(2 + reply.len());
        framed.extend_from_slice(&len.to_be_bytes());
        framed.extend_from_slice(&reply);
        if !matches!(timeout(WRITE_TIMEOUT, write.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
    }
}
