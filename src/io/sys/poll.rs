//! Many sockets behind one descriptor that the runtime waits for: an epoll within its epoll. What the runtime does for a socket of
//! its own costs more than the one datagram that most of these carry.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{Timespec, epoll};
use tokio::io::unix::AsyncFd;

/// Sockets that are told about at a time.
pub const READY_MAX: usize = 64;

/// The sockets, each known by a number.
#[derive(Debug)]
pub struct Poll {
    epoll: AsyncFd<OwnedFd>,
}

impl Poll {
    /// Without sockets.
    ///
    /// # Errors
    /// The kernel's: no descriptor left.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // SAFETY: the descriptor is owned by the value that is registered, which nobody can reach to put another in its place, and
        // it is taken out of the runtime before it is closed.
        let epoll = unsafe { AsyncFd::register(epoll) }?;
        Ok(Self { epoll })
    }

    /// Watches a socket until it is closed: for what it receives, and for errors.
    ///
    /// # Errors
    /// The kernel's: no room.
    pub fn add(&self, socket: impl AsFd, number: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?)
    }

    /// Until there is something new. What was there before and was not taken is not told again.
    pub async fn wait(&self) {
        // Only a runtime that is going down gives an error.
        if let Ok(mut ready) = self.epoll.readable().await {
            ready.clear_ready();
        }
    }

    /// The numbers of those that have something, at most [`READY_MAX`] of them: in turn where there are more.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ready(&self, into: &mut Vec<u64>) -> io::Result<()> {
        let mut events = [const { MaybeUninit::uninit() }; READY_MAX];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let (events, _) = epoll::wait(&self.epoll, &mut events, Some(&at_once))?;
        into.extend(events.iter().map(|event| event.data.u64()));
        Ok(())
    }
}
