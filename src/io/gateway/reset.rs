//! Resets that tell a server, in its client's name, that a connection is refused. The kernel tells the client.

use crate::engine::gateway::reset;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Sends resets.
#[derive(Debug)]
pub struct Resetter {
    v4: Socket,
    v6: Option<Socket>,
}

impl Resetter {
    /// Opens it.
    ///
    /// # Errors
    /// The kernel's; without CAP_NET_RAW it is `PermissionDenied`.
    pub fn open() -> io::Result<Self> {
        // This protocol number says that packets come with their IP header.
        let socket = |domain| Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)));
        // A machine without IPv6 does without.
        Ok(Self { v4: socket(Domain::IPV4)?, v6: socket(Domain::IPV6).ok() })
    }

    /// Resets the connection of a packet at the end that it goes to.
    ///
    /// # Errors
    /// The kernel's; a packet that is not TCP is nobody's.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        let Some((to, octets)) = reset(packet) else { return Ok(()) };
        let socket = match to {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => self.v6.as_ref().ok_or(io::ErrorKind::Unsupported)?,
        };
        socket.send_to(&octets, &SocketAddr::new(to, 0).into()).map(|_| ())
    }
}
