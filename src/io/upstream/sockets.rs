//! Queries over UDP and what comes back: the ports that they go out of, all of them watched together. A task for each would cost
//! more than the exchange.
//!
//! A query has a source port of its own, drawn from all that are not reserved, while they come at the rate of a network's own
//! questions. Opening and closing a socket is a third of what an exchange costs; so beyond [`FRESH_MAX`] in a [`TURN`] a query goes
//! out of a port that is open already, drawn from all that are not older than [`LIFE`]. What a forger has to guess (RFC 5452 §4.5,
//! §9.2), beside the case of the name and the cookie:
//!
//! - Who does not know which ports are open: one port of 64,512 and one id of 65,536, 2^32 in all, whichever way it was drawn. The
//!   port is drawn from ports that were drawn from all; a datagram to another port that happens to be open meets other exchanges,
//!   whose names are not the forger's.
//! - Who has found out which are open, by a side channel of the kernel, while a flood goes on: one of the four thousand that are open
//!   in a second, 2^28 in all. The knowledge is stale after a second, and a port is deaf to everybody but the server.
//! - The same question is never asked twice at once (`engine/resolver/core` joins those who ask), so a flood of it is no birthday.
//!
//! An id is used once on a port: what a message is to is told by it, and an answer that comes twice or late is no guess. A message
//! under an id that was never used is shown to all that wait on its port, which makes each of them go on over TCP.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use foldhash::fast::RandomState;
use smallvec::{SmallVec, smallvec};

use crate::base::model::Mono;
use crate::engine::resolver::core::{ExchangeFailure, ExchangeId, Transmit};
use crate::io::sys::poll::{Poll, READY_MAX};
use crate::io::sys::socket;

/// Octets of the longest UDP response that is read; we offer servers less, and one that sends more is cut and unreadable.
const RECEIVE_OCTETS: usize = 4_096;
/// Ports that are opened in a [`TURN`] while others are open. A bound of what is spent on it: with [`LIFE`] and the exchanges that
/// the state machine allows it bounds how many are open.
const FRESH_MAX: usize = 1_024;
/// How often ports are looked through that are not needed any more.
const TURN: Duration = Duration::from_millis(250);
/// How long after it was opened a query goes out of a port.
const LIFE: Duration = Duration::from_secs(1);
/// Queries that go out of a port.
const USES_MAX: usize = 64;

/// The ports of all exchanges over UDP; the state machine bounds how many exchanges there are.
pub(super) struct Sockets {
    poll: Poll,
    /// By a number that is never used twice.
    open: HashMap<u64, Port, RandomState>,
    /// Of each server the open ones that queries may go out of.
    young: HashMap<SocketAddr, Vec<u64>, RandomState>,
    /// Where each exchange is.
    places: HashMap<ExchangeId, u64, RandomState>,
    /// Exchanges whose port broke down under another's query.
    lost: Vec<(ExchangeId, ExchangeFailure)>,
    last: u64,
    /// When the turn began, and what was opened in it.
    turn: Mono,
    fresh: usize,
    /// Which had something when it was last looked.
    ready: Vec<u64>,
    buffer: Box<[u8]>,
}

struct Port {
    socket: UdpSocket,
    opened: Mono,
    /// Every id that went out of it.
    ids: SmallVec<[u16; USES_MAX]>,
    /// Who still listens, and to which id.
    listening: SmallVec<[(u16, ExchangeId); 2]>,
}

impl Port {
    /// Whether a query under this id may go out of it.
    fn takes(&self, now: Mono, id: u16) -> bool {
        now.since(self.opened) < LIFE && self.ids.len() < USES_MAX && !self.ids.contains(&id)
    }
}

impl Sockets {
    /// None yet.
    ///
    /// # Errors
    /// The kernel's: no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            open: HashMap::default(),
            young: HashMap::default(),
            places: HashMap::default(),
            lost: Vec::new(),
            last: 0,
            turn: Mono::START,
            fresh: 0,
            ready: Vec::with_capacity(READY_MAX),
            buffer: vec![0; RECEIVE_OCTETS].into(),
        })
    }

    /// Sends a query.
    pub(super) fn send(&mut self, now: Mono, transmit: &Transmit) -> io::Result<()> {
        let id = id_of(&transmit.message).unwrap_or_default();
        if self.fresh >= FRESH_MAX
            && let Some(number) = self.drawn(now, transmit.server, id)
            && let Some(port) = self.open.get_mut(&number)
        {
            match port.socket.send(&transmit.message) {
                Ok(_) => {
                    port.ids.push(id);
                    port.listening.push((id, transmit.exchange));
                    self.places.insert(transmit.exchange, number);
                    return Ok(());
                }
                // Nothing is wrong with the port.
                Err(error) if meaning(&error) == ExchangeFailure::Local => return Err(error),
                // It may be about what went out before.
                Err(error) => self.break_down(number, meaning(&error)),
            }
        }
        let number = self.last + 1;
        let socket = socket::upstream_udp(transmit.server)?;
        self.poll.add(&socket, number)?;
        socket.send(&transmit.message)?;
        (self.last, self.fresh) = (number, self.fresh + 1);
        self.young.entry(transmit.server).or_default().push(number);
        self.places.insert(transmit.exchange, number);
        let listening = smallvec![(id, transmit.exchange)];
        self.open.insert(number, Port { socket, opened: now, ids: smallvec![id], listening });
        Ok(())
    }

    /// One of a server's ports, any of those that it may go out of.
    fn drawn(&mut self, now: Mono, server: SocketAddr, id: u16) -> Option<u64> {
        let young = self.young.get_mut(&server)?;
        while !young.is_empty() {
            let at = rand::random_range(0..young.len());
            let number = *young.get(at)?;
            if self.open.get(&number).is_some_and(|port| port.takes(now, id)) {
                return Some(number);
            }
            young.swap_remove(at);
        }
        None
    }

    /// Listens no more. The port stays open until it is old.
    pub(super) fn close(&mut self, exchange: ExchangeId) {
        let Some(number) = self.places.remove(&exchange) else { return };
        if let Some(port) = self.open.get_mut(&number) {
            port.listening.retain(|(_, listening)| *listening != exchange);
        }
    }

    /// Closes the ports that are old, as soon as nobody listens to them; to be called now and then.
    pub(super) fn tidy(&mut self, now: Mono) {
        if now.since(self.turn) < TURN {
            return;
        }
        (self.turn, self.fresh) = (now, 0);
        self.open.retain(|_, port| !port.listening.is_empty() || now.since(port.opened) < LIFE);
        let open = &self.open;
        self.young.retain(|_, young| {
            young.retain(|number| open.get(number).is_some_and(|port| now.since(port.opened) < LIFE));
            !young.is_empty()
        });
    }

    /// Listens to nothing any more.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.young.clear();
        self.places.clear();
        self.lost.clear();
    }

    /// Until one has something.
    pub(super) async fn wait(&self) {
        // Of each one message was taken; there may be another.
        if self.ready.is_empty() && self.lost.is_empty() {
            self.poll.wait().await;
        }
    }

    /// A port is of no use any more; who listened to it will hear why.
    fn break_down(&mut self, number: u64, why: ExchangeFailure) {
        let Some(port) = self.open.remove(&number) else { return };
        for (_, exchange) in port.listening {
            self.places.remove(&exchange);
            self.lost.push((exchange, why));
        }
    }

    /// Gives one message, or why there will be none, of each that has something.
    pub(super) fn receive(&mut self, mut give: impl FnMut(ExchangeId, Result<&[u8], ExchangeFailure>)) {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        if let Err(error) = self.poll.ready(&mut ready) {
            tracing::debug!(%error, "looking for upstream's responses");
        }
        for &number in &ready {
            let Some(port) = self.open.get(&number) else { continue };
            match port.socket.recv(&mut self.buffer) {
                Ok(len) => port.hear(self.buffer.get(..len).unwrap_or_default(), &mut give),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => {
                    tracing::debug!(%error, "upstream exchanges broke down");
                    self.break_down(number, meaning(&error));
                }
            }
        }
        self.ready = ready;
        for (exchange, why) in self.lost.drain(..) {
            give(exchange, Err(why));
        }
    }
}

impl Port {
    /// Gives a message to whom it is meant for.
    fn hear(&self, message: &[u8], give: &mut impl FnMut(ExchangeId, Result<&[u8], ExchangeFailure>)) {
        let id = id_of(message);
        let known = id.is_some_and(|id| self.ids.contains(&id));
        for &(own, exchange) in &self.listening {
            if !known || id == Some(own) {
                give(exchange, Ok(message));
            }
        }
    }
}

/// The id of a message, if it is long enough to have one.
fn id_of(message: &[u8]) -> Option<u16> {
    message.first_chunk().map(|&id| u16::from_be_bytes(id))
}

/// What an error says about the server.
pub(super) fn meaning(error: &io::Error) -> ExchangeFailure {
    match error.kind() {
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::NetworkDown => ExchangeFailure::Unreachable,
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory => {
            ExchangeFailure::Local
        }
        _ => match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::EAGAIN) => ExchangeFailure::Local,
            _ => ExchangeFailure::Refused,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::resolver::Transport;
    use std::sync::Arc;
    use std::time::Duration;

    const AT: Mono = Mono::START;

    #[test]
    fn what_is_our_own_fault_is_not_held_against_the_server() {
        for (number, expected) in [
            (libc::EMFILE, ExchangeFailure::Local),
            (libc::ENOBUFS, ExchangeFailure::Local),
            (libc::EADDRNOTAVAIL, ExchangeFailure::Local),
            (libc::ECONNREFUSED, ExchangeFailure::Refused),
            (libc::ENETUNREACH, ExchangeFailure::Unreachable),
        ] {
            assert_eq!(meaning(&io::Error::from_raw_os_error(number)), expected);
        }
    }

    /// The id of the exchange, and nothing else that matters here.
    fn query(exchange: u64) -> Arc<[u8]> {
        [&(exchange as u16).to_be_bytes()[..], b"query"].concat().into()
    }

    fn transmit(exchange: u64, server: &UdpSocket) -> Transmit {
        Transmit {
            exchange: ExchangeId::of(exchange),
            server: server.local_addr().unwrap(),
            transport: Transport::Udp,
            message: query(exchange),
        }
    }

    /// What has come, as soon as there is something.
    async fn heard(sockets: &mut Sockets) -> Vec<(u64, Result<Vec<u8>, ExchangeFailure>)> {
        tokio::time::timeout(Duration::from_secs(5), sockets.wait()).await.unwrap();
        let mut heard = Vec::new();
        sockets.receive(|exchange, message| heard.push((exchange.number(), message.map(<[u8]>::to_vec))));
        heard
    }

    #[tokio::test]
    async fn every_message_of_every_exchange_is_heard_until_it_is_closed() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sockets = Sockets::new().unwrap();
        let mut clients = Vec::new();
        for exchange in 0..200 {
            sockets.send(AT, &transmit(exchange, &server)).unwrap();
            clients.push(server.recv_from(&mut [0; 16]).unwrap().1);
        }
        let message = |exchange: u64, round: u8| [&query(exchange)[..2], &[round]].concat();
        for round in 0..3 {
            for (exchange, client) in clients.iter().enumerate() {
                server.send_to(&message(exchange as u64, round), client).unwrap();
            }
        }
        let mut times = [0; 200];
        while times.iter().any(|&seen| seen < 3) {
            for (exchange, heard) in heard(&mut sockets).await {
                assert_eq!(heard.unwrap(), message(exchange, times[exchange as usize]));
                times[exchange as usize] += 1;
            }
        }
        sockets.close(ExchangeId::of(7));
        server.send_to(&message(7, 9), clients[7]).unwrap();
        server.send_to(&message(8, 9), clients[8]).unwrap();
        let mut rest = Vec::new();
        while rest.is_empty() {
            rest = heard(&mut sockets).await;
        }
        assert_eq!(rest, [(8, Ok(message(8, 9)))]);
    }

    #[tokio::test]
    async fn a_refusal_is_heard_and_ends_the_exchange() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sockets = Sockets::new().unwrap();
        let query = transmit(1, &server);
        drop(server);
        sockets.send(AT, &query).unwrap();
        assert_eq!(heard(&mut sockets).await, [(1, Err(ExchangeFailure::Refused))]);
        assert!(sockets.open.is_empty() && sockets.places.is_empty());
    }

    /// So many exchanges at one moment, and which port each came from.
    fn flood(sockets: &mut Sockets, server: &UdpSocket, count: u64) -> Vec<u16> {
        let ask = |exchange| {
            sockets.send(AT, &transmit(exchange, server)).unwrap();
            server.recv_from(&mut [0; 16]).unwrap().1.port()
        };
        (0..count).map(ask).collect()
    }

    /// Beyond what has ports of its own, each query is on any of those that are open, whichever the one before was on.
    #[tokio::test]
    async fn in_a_flood_each_query_is_on_any_of_a_thousand_ports() {
        const QUERIES: usize = 21_504;
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sockets = Sockets::new().unwrap();
        let ports = flood(&mut sockets, &server, QUERIES as u64);
        let (own, drawn) = ports.split_at(FRESH_MAX);
        let place: HashMap<u16, usize> = own.iter().enumerate().map(|(place, &port)| (port, place)).collect();
        assert_eq!(place.len(), FRESH_MAX, "a port of its own each");
        assert_eq!(sockets.open.len(), FRESH_MAX);
        let drawn: Vec<usize> = drawn.iter().map(|port| place[port]).collect();
        let uses = drawn.iter().fold(vec![0_u32; FRESH_MAX], |mut uses, &place| {
            uses[place] += 1;
            uses
        });
        // Chi² with 1,023 degrees of freedom: beyond five deviations once in a million.
        let expected = drawn.len() as f64 / FRESH_MAX as f64;
        let chi: f64 = uses.iter().map(|&uses| (f64::from(uses) - expected).powi(2) / expected).sum();
        let uneven = (chi - 1_023.0) / (2.0_f64 * 1_023.0).sqrt();
        assert!(uneven.abs() < 5.0, "ports are used unevenly, by {uneven:.1} deviations");
        let up = drawn.windows(2).filter(|two| two[1] > two[0]).count();
        let half = drawn.len() as f64 / 2.0;
        assert!((up as f64 - half).abs() < 5.0 * (drawn.len() as f64 / 12.0).sqrt() + half / 500.0, "{up} steps go up");
        assert!(sockets.open.values().all(|port| port.ids.len() <= USES_MAX));
    }

    #[tokio::test]
    async fn on_a_shared_port_an_id_tells_whose_a_message_is_and_a_guess_is_everybodys() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sockets = Sockets::new().unwrap();
        let ports = flood(&mut sockets, &server, 4 * FRESH_MAX as u64);
        let (number, port) = sockets.open.iter().find(|(_, port)| port.listening.len() >= 3).unwrap();
        let (number, to) = (*number, port.socket.local_addr().unwrap());
        let sharing: Vec<u64> = port.listening.iter().map(|(_, exchange)| exchange.number()).collect();
        assert!(sharing.iter().all(|&exchange| ports[exchange as usize] == to.port()));
        let to = SocketAddr::from(([127, 0, 0, 1], to.port()));
        server.send_to(&query(sharing[1]), to).unwrap();
        assert_eq!(heard(&mut sockets).await, [(sharing[1], Ok(query(sharing[1]).to_vec()))]);
        sockets.close(ExchangeId::of(sharing[1]));
        // The answer once more, then a guess.
        server.send_to(&query(sharing[1]), to).unwrap();
        server.send_to(&[0xff; 12], to).unwrap();
        let (mut all, mut heard_now) = (Vec::new(), Vec::new());
        while all.is_empty() {
            heard_now = heard(&mut sockets).await;
            all = heard_now.iter().map(|(exchange, _)| *exchange).collect();
        }
        let others: Vec<u64> = sharing.iter().copied().filter(|&exchange| exchange != sharing[1]).collect();
        assert_eq!(all, others);
        assert!(heard_now.iter().all(|(_, message)| message.as_deref() == Ok(&[0xff; 12])));
        assert!(sockets.open.contains_key(&number));
    }

    #[tokio::test]
    async fn a_port_is_used_for_a_second_and_closed_when_nobody_listens() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sockets = Sockets::new().unwrap();
        let first = flood(&mut sockets, &server, FRESH_MAX as u64 + 10);
        for exchange in 1..FRESH_MAX as u64 + 10 {
            sockets.close(ExchangeId::of(exchange));
        }
        assert_eq!(sockets.open.len(), FRESH_MAX);
        let late = AT.plus(LIFE);
        sockets.tidy(late);
        assert_eq!(sockets.open.len(), 1, "one has not been answered");
        sockets.fresh = FRESH_MAX;
        sockets.send(late, &transmit(60_000, &server)).unwrap();
        let port = server.recv_from(&mut [0; 16]).unwrap().1.port();
        assert_ne!(port, first[0], "an old one is not drawn");
        sockets.close(ExchangeId::of(0));
        sockets.close(ExchangeId::of(60_000));
        sockets.tidy(late.plus(LIFE));
        assert!(sockets.open.is_empty() && sockets.young.is_empty() && sockets.places.is_empty());
    }

    /// A port that broke down is found out by the next query of it, which goes out of another.
    #[tokio::test]
    async fn a_refusal_to_one_is_news_to_all_that_share_its_port() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sockets = Sockets::new().unwrap();
        sockets.send(AT, &transmit(1, &server)).unwrap();
        sockets.fresh = FRESH_MAX;
        let query = transmit(2, &server);
        drop(server);
        // Nobody is there for the second; the third is told of it, and has a port of its own.
        sockets.send(AT, &query).unwrap();
        sockets.send(AT, &Transmit { exchange: ExchangeId::of(3), ..query.clone() }).unwrap();
        let mut all = Vec::new();
        while all.len() < 3 {
            all.extend(heard(&mut sockets).await);
        }
        assert!(all.iter().all(|(_, message)| *message == Err(ExchangeFailure::Refused)));
        assert!(sockets.open.is_empty());
    }
}
