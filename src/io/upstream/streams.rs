//! Connections to upstream servers: kept while they are used, with many queries at once on each (RFC 7766 §6.2.1). A task each.
//!
//! A server may close a connection that it has answered on at any time, so what was under way on it is asked once more on a new
//! one; what a new one breaks has failed. Responses are told apart by their ids alone; whether one is the right one is the state
//! machine's to say.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::sockets::meaning;
use crate::engine::resolver::core::{Counters, ExchangeFailure, ExchangeId, QUESTION_TIME, Transmit};

/// Connections to one server.
const CONNECTIONS_MAX: usize = 4;
/// Queries under way on one connection, and as many that wait for it.
const PIPELINE_MAX: usize = 64;
/// How long a connection is kept without a query.
const IDLE: Duration = Duration::from_secs(10);
/// How long writing a query may take.
const WRITE_TIME: Duration = Duration::from_secs(2);
/// Octets read at a time.
const READ_OCTETS: usize = 4_096;

/// What a connection tells the driver.
pub(super) enum Event {
    /// A message arrived; whether it is the response is the state machine's to say.
    Message(ExchangeId, Box<[u8]>),
    /// Nothing more will arrive.
    Failed(ExchangeId, ExchangeFailure),
}

/// All connections.
pub(super) struct Streams {
    open: BTreeMap<SocketAddr, Vec<mpsc::Sender<Transmit>>>,
    events: mpsc::Sender<Event>,
    counters: Arc<Counters>,
}

impl Streams {
    /// None yet; what comes of queries is told to `events`.
    pub(super) const fn new(events: mpsc::Sender<Event>, counters: Arc<Counters>) -> Self {
        Self { open: BTreeMap::new(), events, counters }
    }

    /// Sends a query on a connection that has room, or on a new one; gives it back where there are enough of them.
    pub(super) fn send(&mut self, mut transmit: Transmit) -> Result<(), Transmit> {
        let open = self.open.entry(transmit.server).or_default();
        open.retain(|queue| !queue.is_closed());
        for queue in open.iter() {
            match queue.try_send(transmit) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) => transmit = back,
            }
        }
        if open.len() == CONNECTIONS_MAX {
            return Err(transmit);
        }
        let (queue, queries) = mpsc::channel(PIPELINE_MAX);
        let server = transmit.server;
        queue.try_send(transmit).map_err(mpsc::error::TrySendError::into_inner)?;
        open.push(queue);
        let connection = Connection {
            server,
            queries,
            flight: BTreeMap::new(),
            events: self.events.clone(),
            counters: Arc::clone(&self.counters),
        };
        tokio::spawn(connection.run());
        self.open.retain(|_, open| !open.is_empty());
        Ok(())
    }
}

/// A query under way.
struct Flight {
    transmit: Transmit,
    /// Whether a connection that it was sent on was closed before.
    again: bool,
}

struct Connection {
    server: SocketAddr,
    queries: mpsc::Receiver<Transmit>,
    flight: BTreeMap<u16, Flight>,
    events: mpsc::Sender<Event>,
    counters: Arc<Counters>,
}

/// How a connection ended.
enum End {
    /// Nobody needs it any more.
    Done,
    /// It broke; whether it had carried a response before.
    Broken(io::Error, bool),
}

impl Connection {
    /// Until nobody needs it, or it breaks.
    async fn run(mut self) {
        loop {
            match self.connect().await {
                // What came in the moment in which it was given up goes over one more.
                End::Done => {
                    self.flight.clear();
                    self.queries.close();
                    if self.queries.is_empty() {
                        return;
                    }
                }
                // Nothing is asked a third time, so this ends.
                End::Broken(error, used) => {
                    self.break_down(&error, used).await;
                    if self.flight.is_empty() {
                        break;
                    }
                }
            }
        }
        self.queries.close();
        while let Some(transmit) = self.queries.recv().await {
            self.fail(&transmit, ExchangeFailure::Refused).await;
        }
    }

    /// Keeps what is to be asked once more; the rest has failed.
    async fn break_down(&mut self, error: &io::Error, used: bool) {
        tracing::debug!(%error, server = %self.server, "an upstream connection broke down");
        for (id, flight) in std::mem::take(&mut self.flight) {
            if used && !flight.again {
                self.flight.insert(id, Flight { again: true, ..flight });
            } else {
                self.fail(&flight.transmit, meaning(error)).await;
            }
        }
    }

    async fn fail(&self, transmit: &Transmit, why: ExchangeFailure) {
        // The driver is gone when this fails.
        let _ = self.events.send(Event::Failed(transmit.exchange, why)).await;
    }

    async fn connect(&mut self) -> End {
        // A first query, so that a connection that cannot be made has something to fail.
        if self.flight.is_empty() && !self.take_one().await {
            return End::Done;
        }
        self.counters.upstream_connections.increment();
        let stream = match timeout(QUESTION_TIME, TcpStream::connect(self.server)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return End::Broken(error, false),
            Err(_) => return End::Broken(io::ErrorKind::TimedOut.into(), false),
        };
        // Saves a round trip at most.
        let _ = stream.set_nodelay(true);
        self.talk(stream).await
    }

    async fn take_one(&mut self) -> bool {
        match self.queries.recv().await {
            Some(transmit) => self.enter(transmit).await.is_some(),
            None => false,
        }
    }

    /// Notes a query as under way; gives its id. Another one with the same id would not be told apart.
    async fn enter(&mut self, transmit: Transmit) -> Option<u16> {
        let id = id_of(&transmit.message)?;
        if self.flight.contains_key(&id) {
            self.fail(&transmit, ExchangeFailure::Local).await;
            return None;
        }
        self.flight.insert(id, Flight { transmit, again: false });
        Some(id)
    }

    async fn talk(&mut self, mut stream: TcpStream) -> End {
        let (mut used, mut received, mut last) = (false, Vec::new(), Instant::now());
        let mut chunk = vec![0; READ_OCTETS];
        let waiting: Vec<u16> = self.flight.keys().copied().collect();
        for id in waiting {
            if let Err(error) = self.write(&mut stream, id).await {
                return End::Broken(error, used);
            }
        }
        loop {
            let patience = if self.flight.is_empty() { IDLE } else { QUESTION_TIME };
            let drained = self.queries.is_closed() && self.queries.is_empty();
            if drained && self.flight.is_empty() {
                return End::Done;
            }
            tokio::select! {
                query = self.queries.recv(), if !drained && self.flight.len() < PIPELINE_MAX => {
                    let Some(transmit) = query else { continue };
                    last = Instant::now();
                    let Some(id) = self.enter(transmit).await else { continue };
                    if let Err(error) = self.write(&mut stream, id).await {
                        return End::Broken(error, used);
                    }
                }
                read = stream.read(&mut chunk) => match read {
                    Ok(0) => return self.closed(used),
                    Ok(len) => {
                        received.extend_from_slice(chunk.get(..len).unwrap_or_default());
                        used |= self.deliver(&mut received).await;
                        last = Instant::now();
                    }
                    Err(error) => return End::Broken(error, used),
                },
                // Nobody waits any more for what was asked so long ago.
                () = sleep_until(last + patience) => return End::Done,
            }
        }
    }

    fn closed(&self, used: bool) -> End {
        if self.flight.is_empty() { End::Done } else { End::Broken(io::ErrorKind::UnexpectedEof.into(), used) }
    }

    async fn write(&self, stream: &mut TcpStream, id: u16) -> io::Result<()> {
        let Some(flight) = self.flight.get(&id) else { return Ok(()) };
        let message = &flight.transmit.message;
        let len = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let framed = [&len.to_be_bytes()[..], message].concat();
        timeout(WRITE_TIME, stream.write_all(&framed)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Hands on every whole message that has come; says whether one was a response to something under way.
    async fn deliver(&mut self, received: &mut Vec<u8>) -> bool {
        let mut any = false;
        while let Some((len, rest)) = received.split_first_chunk::<2>() {
            let len = usize::from(u16::from_be_bytes(*len));
            let Some(message) = rest.get(..len) else { break };
            if let Some(flight) = id_of(message).and_then(|id| self.flight.remove(&id)) {
                any = true;
                // The driver is gone when this fails.
                let _ = self.events.send(Event::Message(flight.transmit.exchange, message.into())).await;
            }
            received.drain(..2 + len);
        }
        any
    }
}

fn id_of(message: &[u8]) -> Option<u16> {
    message.first_chunk().map(|id| u16::from_be_bytes(*id))
}
