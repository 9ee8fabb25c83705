//! One query over UDP and its response. A task each; the driver ends it when nobody waits any more.

use std::cell::RefCell;
use std::io::{self, Read as _};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::engine::resolver::core::{ExchangeFailure, ExchangeId, Transmit};
use crate::io::sys::socket;

/// Octets of the longest UDP response that is read; we offer servers less, and one that sends more is cut and unreadable.
const RECEIVE_OCTETS: usize = 4_096;

thread_local! {
    /// Where a response is received before its length is known. Thousands of tasks wait at once: each with a buffer of its own
    /// would hold megabytes.
    static SCRATCH: RefCell<[u8; RECEIVE_OCTETS]> = const { RefCell::new([0; RECEIVE_OCTETS]) };
}

/// What a task tells the driver.
pub(super) enum Event {
    /// A message arrived; whether it is the response is the state machine's to say.
    Message(ExchangeId, Box<[u8]>),
    /// Nothing more will arrive.
    Failed(ExchangeId, ExchangeFailure),
}

/// Sends a query and reports what arrives, until it is stopped or there can be no more.
pub(super) async fn exchange(transmit: Transmit, events: mpsc::Sender<Event>) {
    let id = transmit.exchange;
    if let Err(error) = over_udp(&transmit, &events).await {
        tracing::debug!(%error, server = %transmit.server, "an upstream exchange broke down");
        // The driver is gone when this fails.
        let _ = events.send(Event::Failed(id, meaning(&error))).await;
    }
}

/// A fresh source port per query: what a spoofer has to guess beside the id (RFC 5452 §9.2).
async fn over_udp(transmit: &Transmit, events: &mpsc::Sender<Event>) -> io::Result<()> {
    let socket = UdpSocket::from_std(socket::upstream_udp(transmit.server)?)?;
    socket.send(&transmit.message).await?;
    loop {
        // A server's refusal comes as an error of the socket.
        let ready = Interest::READABLE | Interest::ERROR;
        let message = socket.async_io(ready, || receive(&socket)).await?;
        if events.send(Event::Message(transmit.exchange, message)).await.is_err() {
            return Ok(());
        }
    }
}

/// What has arrived, in memory of its own length.
fn receive(socket: &UdpSocket) -> io::Result<Box<[u8]>> {
    SCRATCH.with_borrow_mut(|buffer| {
        let len = (&*SockRef::from(socket)).read(buffer)?;
        Ok(buffer.get(..len).unwrap_or_default().into())
    })
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
}
