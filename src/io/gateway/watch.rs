//! Hears when anybody changes the packet filter.

use crate::io::sys::netlink::Netlink;
use std::io;
use std::time::Duration;

/// The group that the kernel tells of every change (NFNLGRP_NFTABLES).
const GROUP: i32 = 7;
/// Octets that may wait; whoever changes more at once is noticed by the loss itself.
const RECEIVE_OCTETS: usize = 1 << 20;

/// A socket that hears of changes.
#[derive(Debug)]
pub struct Watch {
    socket: Netlink,
}

impl Watch {
    /// Opens it; [`Self::changed`] waits for `timeout` at most.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(timeout: Duration) -> io::Result<Self> {
        let socket = Netlink::open(timeout)?;
        socket.make_room(1 << 16, RECEIVE_OCTETS)?;
        socket.join(GROUP)?;
        Ok(Self { socket })
    }

    /// Waits for a change, ours or another's, or for the timeout.
    pub fn changed(&mut self) -> bool {
        match self.socket.receive() {
            Ok(_) => true,
            // So many that some were lost.
            Err(error) => error.raw_os_error() == Some(libc::ENOBUFS),
        }
    }
}
