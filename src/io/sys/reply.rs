//! The way back to a client, from whichever thread has its answer.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::mmsg::{LocalAddress, Sender, Sent};

/// Where the answer to a miss goes. Held by the question while it is in flight.
#[derive(Debug)]
pub enum ReplyPath {
    /// Through the listener's own socket, from the address that was asked.
    Udp {
        /// The listener's socket.
        socket: Arc<UdpSocket>,
        /// The client.
        peer: SocketAddr,
        /// The address of ours that it asked.
        local: Option<LocalAddress>,
    },
    /// To the task that holds the client's connection: a place in its queue, taken when the query was read.
    Stream {
        /// The place.
        place: mpsc::OwnedPermit<Box<[u8]>>,
        /// The other end of the connection.
        peer: IpAddr,
    },
}

impl ReplyPath {
    /// The address that the answer goes to.
    #[must_use]
    pub const fn sender(&self) -> IpAddr {
        match self {
            Self::Udp { peer, .. } => peer.ip(),
            Self::Stream { peer, .. } => *peer,
        }
    }
}

/// Answers on their way back: those through one listener's socket go together.
#[derive(Default)]
pub struct Replies {
    sender: Sender,
    /// The socket of those that wait.
    socket: Option<Arc<UdpSocket>>,
    sent: Sent,
}

impl Replies {
    /// Takes an answer; it has gone when [`Replies::flush`] has been called.
    pub fn add(&mut self, path: ReplyPath, message: &[u8]) {
        match path {
            ReplyPath::Udp { socket, peer, local } => {
                if self.socket.as_ref().is_some_and(|waiting| !Arc::ptr_eq(waiting, &socket)) {
                    self.send();
                }
                self.socket = Some(socket);
                if self.sender.next_buffer().is_none() {
                    self.send();
                }
                match self.sender.next_buffer().and_then(|buffer| buffer.get_mut(..message.len())) {
                    Some(buffer) => {
                        buffer.copy_from_slice(message);
                        self.sender.commit(message.len(), peer, local);
                    }
                    None => self.sent.refused += 1,
                }
            }
            ReplyPath::Stream { place, .. } => {
                place.send(message.into());
                self.sent.sent += 1;
            }
        }
    }

    /// Sends what there is, without waiting; says what has become of all since the last time.
    pub fn flush(&mut self) -> Sent {
        self.send();
        // A listener that has gone must not be kept open.
        self.socket = None;
        std::mem::take(&mut self.sent)
    }

    fn send(&mut self) {
        let Some(socket) = &self.socket else { return };
        let Sent { sent, refused } = self.sender.send_at_once(socket);
        self.sent.sent += sent;
        self.sent.refused += refused;
    }
}
