//! The way back to a client, from whichever thread has its answer.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::mmsg::{self, LocalAddress};

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

    /// Sends an answer without waiting; `false` when it could not be sent and is gone.
    #[must_use]
    pub fn send(self, message: &[u8]) -> bool {
        match self {
            Self::Udp { socket, peer, local } => mmsg::send_one(&socket, peer, local, message).is_ok(),
            Self::Stream { place, .. } => {
                place.send(message.into());
                true
            }
        }
    }
}
