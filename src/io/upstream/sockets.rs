//! Queries over UDP and what comes back: a socket for each exchange, all of them watched together. A task for
//! each would cost more than the exchange.

use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;

use crate::engine::resolver::core::{ExchangeFailure, ExchangeId, Transmit};
use crate::io::sys::poll::{Poll, READY_MAX};
use crate::io::sys::socket;

/// Octets of the longest UDP response that is read; we offer servers less, and one that sends more is cut and unreadable.
const RECEIVE_OCTETS: usize = 4_096;

/// The sockets of all exchanges over UDP that are listened to; the state machine bounds how many there are.
pub(super) struct Sockets {
    poll: Poll,
    open: BTreeMap<ExchangeId, UdpSocket>,
    /// Which had something when it was last looked.
    ready: Vec<u64>,
    buffer: Box<[u8]>,
}

impl Sockets {
    /// None yet.
    ///
    /// # Errors
    /// The kernel's: no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            open: BTreeMap::new(),
            ready: Vec::with_capacity(READY_MAX),
            buffer: vec![0; RECEIVE_OCTETS].into(),
        })
    }

    /// Sends a query from a source port of its own: what a spoofer has to guess beside the id (RFC 5452 §9.2).
    pub(super) fn send(&mut self, transmit: &Transmit) -> io::Result<()> {
        let socket = socket::upstream_udp(transmit.server)?;
        self.poll.add(&socket, transmit.exchange.number())?;
        socket.send(&transmit.message)?;
        self.open.insert(transmit.exchange, socket);
        Ok(())
    }

    /// Listens no more: the kernel forgets the socket when it is closed.
    pub(super) fn close(&mut self, exchange: ExchangeId) {
        self.open.remove(&exchange);
    }

    /// Listens to nothing any more.
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }

    /// Until one has something.
    pub(super) async fn wait(&self) {
        // Of each one message was taken; there may be another.
        let open = |&number: &u64| self.open.contains_key(&ExchangeId::of(number));
        if self.ready.len() < READY_MAX && !self.ready.iter().any(open) {
            self.poll.wait().await;
        }
    }

    /// Gives one message, or why there will be none, of each that has something.
    pub(super) fn receive(&mut self, mut give: impl FnMut(ExchangeId, Result<&[u8], ExchangeFailure>)) {
        self.ready.clear();
        if let Err(error) = self.poll.ready(&mut self.ready) {
            tracing::debug!(%error, "looking for upstream's responses");
        }
        for &number in &self.ready {
            let exchange = ExchangeId::of(number);
            let Some(socket) = self.open.get(&exchange) else { continue };
            match socket.recv(&mut self.buffer) {
                Ok(len) => give(exchange, Ok(self.buffer.get(..len).unwrap_or_default())),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => {
                    tracing::debug!(%error, "an upstream exchange broke down");
                    self.open.remove(&exchange);
                    give(exchange, Err(meaning(&error)));
                }
            }
        }
    }
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
    use std::time::Duration;

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

    fn transmit(exchange: u64, server: &UdpSocket) -> Transmit {
        Transmit {
            exchange: ExchangeId::of(exchange),
            server: server.local_addr().unwrap(),
            transport: Transport::Udp,
            message: b"query".as_slice().into(),
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
            sockets.send(&transmit(exchange, &server)).unwrap();
            clients.push(server.recv_from(&mut [0; 16]).unwrap().1);
        }
        for round in 0..3 {
            for client in &clients {
                server.send_to(&[round], client).unwrap();
            }
        }
        let mut times = [0; 200];
        while times.iter().any(|&seen| seen < 3) {
            for (exchange, message) in heard(&mut sockets).await {
                assert_eq!(message.unwrap(), [times[exchange as usize]]);
                times[exchange as usize] += 1;
            }
        }
        sockets.close(ExchangeId::of(7));
        server.send_to(b"late", clients[7]).unwrap();
        server.send_to(b"on", clients[8]).unwrap();
        assert_eq!(heard(&mut sockets).await, [(8, Ok(b"on".to_vec()))]);
    }

    #[tokio::test]
    async fn a_refusal_is_heard_and_ends_the_exchange() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sockets = Sockets::new().unwrap();
        let query = transmit(1, &server);
        drop(server);
        sockets.send(&query).unwrap();
        assert_eq!(heard(&mut sockets).await, [(1, Err(ExchangeFailure::Refused))]);
        assert!(sockets.open.is_empty());
    }
}
