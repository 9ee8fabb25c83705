//! DNS over TCP (RFC 7766): pipelined, answered out of order, with a bound and a timeout on everything.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
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
use tokio_util::sync::CancellationToken;

use super::Listening;
use super::clients::Told;
use super::forwarder::{PROXY_HEAD_OCTETS, PROXY_OCTETS_MAX, PROXY_START, proxy_octets, read_proxy};
use crate::base::model::limits::{MESSAGE_OCTETS_MAX, STREAM_IDLE_S};
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
/// Queries of one connection whose answers are not written yet: for a client that never reads they are most of what it takes.
pub const PIPELINE_MAX: usize = 32;
/// How long a connection may say nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(STREAM_IDLE_S as u64);
/// How long the rest of a message may take.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a client may take to take an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a query may be held back for its client's rate.
const RATE_WAIT_MAX: Duration = Duration::from_secs(1);
/// Connections that may be on their way out while others have taken their places.
const LEAVING_MAX: usize = 64;

thread_local! {
    /// Where an answer is written before its length is known; one a thread, never held across an await.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; MESSAGE_OCTETS_MAX]);
}

/// What the connections of one listener share.
struct Streams {
    listening: Listening,
    recorder: Mutex<Recorder>,
    places: Mutex<Places>,
}

/// Who is connected.
#[derive(Default)]
struct Places {
    /// Connections of each client.
    clients: BTreeMap<IpAddr, usize>,
    /// What ends each connection, by when it last asked something or else came.
    by_use: BTreeMap<u64, CancellationToken>,
    /// The number of the next use.
    uses: u64,
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
        places: Mutex::default(),
        listening,
    });
    let mut connections = JoinSet::new();
    let mut reserve = Reserve::default();
    let mut flush = interval(FLUSH_INTERVAL);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = flush.tick() => streams.flush(),
            Some(ended) = connections.join_next(), if !connections.is_empty() => streams.note(&ended),
            // Whoever comes while so many leave waits in the kernel's queue for one of them to be gone.
            accepted = listener.accept(), if connections.len() < connections_max + LEAVING_MAX => match accepted {
                Ok((stream, peer)) => {
                    reserve.fill();
                    let is_full = connections.len() >= connections_max;
                    if let Some(place) = streams.admit(peer, is_full) {
                        connections.spawn(connection(Arc::clone(&streams), stream, peer, place));
                    }
                }
                Err(error) if is_the_peers_fault(&error) => {}
                Err(error) => {
                    streams.make_room();
                    reserve.shed(&listener, &error).await;
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

/// A descriptor kept for when there are no others: with it a connection that cannot be served is closed at once, where it would
/// wait for ever.
#[derive(Default)]
struct Reserve {
    file: Option<File>,
    is_said: bool,
}

impl Reserve {
    /// Keeps one again.
    fn fill(&mut self) {
        if self.file.is_none() {
            self.file = File::open("/dev/null").ok();
            self.is_said = false;
        }
    }

    /// Closes one connection that there is no descriptor for, and pauses.
    async fn shed(&mut self, listener: &TcpListener, error: &io::Error) {
        if !self.is_said {
            self.is_said = true;
            tracing::warn!(%error, "accepting TCP connections; those beyond what can be served are closed");
        }
        if self.file.take().is_some() {
            // It is closed as it goes out of scope; the place of its descriptor is the next one's.
            let _ = timeout(Duration::from_millis(1), listener.accept()).await;
            self.file = File::open("/dev/null").ok();
        }
        sleep(ACCEPT_PAUSE).await;
        self.file = self.file.take().or_else(|| File::open("/dev/null").ok());
    }
}

/// Whether accepting failed for this one connection only.
fn is_the_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// A connection's place among the others, given back when dropped.
struct Place {
    streams: Arc<Streams>,
    client: IpAddr,
    /// The number of its last use.
    used: u64,
    /// Ends the connection, so that another has its place.
    leave: CancellationToken,
}

impl Place {
    /// Notes that the connection asks something: others are to make room before it.
    fn used(&mut self) {
        let mut places = self.streams.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leave) = places.by_use.remove(&self.used) {
            self.used = places.uses;
            places.uses += 1;
            places.by_use.insert(self.used, leave);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.streams.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.by_use.remove(&self.used);
        if let Some(count) = places.clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                places.clients.remove(&self.client);
            }
        }
    }
}

impl Streams {
    /// A place for a connection, if its client is allowed and has not too many. With `is_full`, the connection that has asked
    /// nothing for longest leaves: who holds connections without asking keeps nobody out.
    fn admit(self: &Arc<Self>, peer: SocketAddr, is_full: bool) -> Option<Place> {
        let counters = &self.listening.plane.counters;
        if !self.listening.clients.allows(peer.ip()) {
            counters.dropped_acl.increment();
            return None;
        }
        if is_full {
            self.make_room();
        }
        let client = group(peer.ip());
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let count = places.clients.entry(client).or_insert(0);
        if *count >= CONNECTIONS_PER_CLIENT_MAX {
            counters.dropped_connections.increment();
            return None;
        }
        *count += 1;
        let (used, leave) = (places.uses, CancellationToken::new());
        places.uses += 1;
        places.by_use.insert(used, leave.clone());
        Some(Place { streams: Arc::clone(self), client, used, leave })
    }

    /// Ends the connection that has asked nothing for longest.
    fn make_room(&self) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, leave)) = places.by_use.pop_first() {
            leave.cancel();
            self.listening.plane.counters.dropped_connections.increment();
        }
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

    /// Waits until the client may ask again: over TCP its own sending waits with it.
    async fn hold_back(&self, told: Told<'_>) {
        if told.is_many {
            return;
        }
        let limits = self.listening.clients.limits();
        let begun = clock::mono();
        let mut is_counted = false;
        while let Err(wait) = limits.query(clock::mono(), told.client) {
            if !std::mem::replace(&mut is_counted, true) {
                self.listening.plane.counters.limited_queries.increment();
            }
            if clock::mono().since(begun) >= RATE_WAIT_MAX {
                break;
            }
            sleep(wait.min(RATE_WAIT_MAX)).await;
        }
    }

    /// Answers one query or passes it on; `false` when the connection deserves to be closed.
    fn answer(&self, sender: IpAddr, told: Told<'_>, place: mpsc::OwnedPermit<Box<[u8]>>) -> bool {
        let plane = &self.listening.plane;
        plane.counters.queries.increment();
        let now = clock::now();
        let policy = plane.policy.load_full();
        let Told { client, message, .. } = told;
        let cookies = Some((&plane.cookies, sender));
        let ask = Ask { cookies, ..Ask::new(client, Transport::Tcp, message) };
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
                let token = ReplyPath::Stream { place, peer: sender };
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
async fn connection(streams: Arc<Streams>, stream: TcpStream, peer: SocketAddr, mut place: Place) {
    // Answers are small and waited for; a failure costs some delay.
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.into_split();
    let (queue, replies) = mpsc::channel(PIPELINE_MAX);
    let mut writing = std::pin::pin!(write_replies(write, replies));
    let (stop, leave) = (streams.listening.stop.clone(), place.leave.clone());
    let ended = tokio::select! {
        () = leave.cancelled() => false,
        () = stop.cancelled() => true,
        () = read_queries(&streams, Reading::new(read, peer.ip()), queue, &mut place) => true,
        () = &mut writing => false,
    };
    // The reader and its end of the queue are gone: what is left are the answers to come.
    if ended {
        tokio::select! {
            () = leave.cancelled() => {}
            () = writing => {}
        }
    }
    drop(place);
}

/// Reads queries until the client ends, says nothing for too long, or says nonsense.
async fn read_queries(streams: &Streams, mut reading: Reading, queue: mpsc::Sender<Box<[u8]>>, place: &mut Place) {
    let (sender, clients) = (reading.sender, &streams.listening.clients);
    reading.may_proxy = clients.forwarder(sender).is_some_and(|forwarder| forwarder.proxies());
    loop {
        let Ok(Ok(first)) = timeout(IDLE_TIMEOUT, reading.read.read_u8()).await else { return };
        let Ok(Ok(len)) = timeout(MESSAGE_TIMEOUT, reading.message(first)).await else { return };
        // Each query holds a place until its answer is written; a full pipeline stops the reading.
        let Ok(room) = queue.clone().reserve_owned().await else { return };
        let Some(message) = reading.buffer.get(..len) else { return };
        place.used();
        let told = clients.told_in_stream(sender, reading.proxied, message);
        streams.hold_back(told).await;
        if !streams.answer(sender, told, room) {
            return;
        }
    }
}

/// The reading half of a connection.
struct Reading {
    read: OwnedReadHalf,
    sender: IpAddr,
    /// As long as the longest message so far: most queries are a hundredth of what one may have.
    buffer: Vec<u8>,
    /// Whether the next octets may be a PROXY header.
    may_proxy: bool,
    /// The client that such a header named.
    proxied: Option<IpAddr>,
}

impl Reading {
    fn new(read: OwnedReadHalf, sender: IpAddr) -> Self {
        Self { read, sender, buffer: Vec::new(), may_proxy: false, proxied: None }
    }

    /// Reads the rest of a message whose first octet has come, and what a forwarder put before it; returns its length.
    async fn message(&mut self, first: u8) -> io::Result<usize> {
        let mut length = [first, self.read.read_u8().await?];
        if std::mem::take(&mut self.may_proxy) && length == PROXY_START {
            self.proxy(length).await?;
            self.read.read_exact(&mut length).await?;
        }
        let len = usize::from(u16::from_be_bytes(length));
        if len > RECEIVE_OCTETS {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if len > self.buffer.len() {
            self.buffer.resize(len, 0);
        }
        self.read.read_exact(self.buffer.get_mut(..len).unwrap_or_default()).await
    }

    /// Reads the rest of a PROXY header.
    async fn proxy(&mut self, [first, second]: [u8; 2]) -> io::Result<()> {
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        let mut head = [0; PROXY_HEAD_OCTETS];
        let [a, b, rest @ ..] = &mut head;
        (*a, *b) = (first, second);
        self.read.read_exact(rest).await?;
        let len = proxy_octets(&head).ok_or_else(bad)?;
        let mut header = head.to_vec();
        header.resize(len.min(PROXY_OCTETS_MAX), 0);
        if let Some(rest) = header.get_mut(PROXY_HEAD_OCTETS..) {
            self.read.read_exact(rest).await?;
        }
        self.proxied = read_proxy(&header).map_err(|_| bad())?.client;
        Ok(())
    }
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
