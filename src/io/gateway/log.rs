//! Packets that the kernel logs (NFLOG): the reader of one group.

use crate::base::name::Name;
use crate::engine::gateway::{Marked, Packet, question};
use crate::io::sys::netlink::{Messages, Netlink, Writer, attribute, text};
use std::io;
use std::time::Duration;

const SUBSYSTEM: u16 = 4;
const CONFIG: u16 = 1;
const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const ACK: u16 = libc::NLM_F_ACK as u16;
/// Octets of each packet: the longest headers that are read, and the name that a DNS query asks for; not what people say.
const COPIED_OCTETS: u32 = 320;
/// Packets that the kernel may hold back to send them together, and for how many hundredths of a second.
const TOGETHER: (u32, u32) = (32, 10);
/// Octets that may wait for us.
const RECEIVE_OCTETS: usize = 8 << 20;

/// Why nothing is heard of what is logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Somebody else reads the group.
    #[error("the log group {0} is read by another program (ulogd?); give another number in [gateway] log_group")]
    Taken(u16),
    /// Anything else.
    #[error("packets that the kernel logs cannot be read (CONFIG_NETFILTER_NETLINK_LOG): {0}")]
    Other(#[from] io::Error),
}

/// A packet that was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// By which rule of ours.
    pub marked: Marked,
    /// Who, and where to.
    pub packet: Packet,
    /// The name that it asks for, where it is DNS and says one.
    pub name: Option<Name>,
}

/// The reader of one group.
#[derive(Debug)]
pub struct Log {
    socket: Netlink,
    next: Option<u32>,
    /// Packets that were lost between the kernel and us.
    lost: u64,
    /// Packets that could not be read, or that other rules log to this group.
    foreign: u64,
}

impl Log {
    /// Begins to read a group; [`Self::read`] waits for `timeout` at most.
    ///
    /// # Errors
    /// Somebody else reads it; the kernel's.
    pub fn open(group: u16, timeout: Duration) -> Result<Self, LogError> {
        let mut socket = Netlink::open(timeout)?;
        socket.make_room(1 << 16, RECEIVE_OCTETS)?;
        let mut orders = Writer::default();
        order(&mut orders, group, 1, |m| m.attribute(1, &[1]));
        order(&mut orders, group, 2, |m| m.attribute(2, &[&COPIED_OCTETS.to_be_bytes()[..], &[2, 0]].concat()));
        order(&mut orders, group, 3, |m| m.number(4, TOGETHER.1));
        order(&mut orders, group, 4, |m| m.number(5, TOGETHER.0));
        // Each packet carries a number, so that what is lost is known.
        order(&mut orders, group, 5, |m| m.attribute(6, &1_u16.to_be_bytes()));
        socket.send(orders.octets())?;
        loop {
            for message in socket.receive()?.filter(|message| i32::from(message.kind) == libc::NLMSG_ERROR) {
                message.acknowledged().map_err(|error| match error.raw_os_error() {
                    Some(libc::EBUSY | libc::EPERM) if message.sequence == 1 => LogError::Taken(group),
                    _ => LogError::Other(error),
                })?;
                if message.sequence == 5 {
                    return Ok(Self { socket, next: None, lost: 0, foreign: 0 });
                }
            }
        }
    }

    /// Waits for packets and gives each to `take`.
    ///
    /// # Errors
    /// The kernel's, unless it is the timeout.
    pub fn read(&mut self, mut take: impl FnMut(Logged)) -> io::Result<()> {
        let (next, lost, foreign) = (&mut self.next, &mut self.lost, &mut self.foreign);
        match self.socket.receive() {
            Ok(messages) => {
                read(messages, next, lost, foreign, &mut take);
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(()),
            // The gap in the numbers says how many.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Packets lost between the kernel and us, and packets that were not ours, so far.
    #[must_use]
    pub const fn missed(&self) -> (u64, u64) {
        (self.lost, self.foreign)
    }
}

fn read(
    messages: Messages<'_>,
    next: &mut Option<u32>,
    lost: &mut u64,
    foreign: &mut u64,
    take: &mut dyn FnMut(Logged),
) {
    for message in messages.filter(|message| message.kind == SUBSYSTEM << 8) {
        let Some(body) = message.body.get(4..) else { continue };
        if let Some(number) =
            attribute(body, 12).and_then(|octets| octets.first_chunk()).map(|octets| u32::from_be_bytes(*octets))
        {
            *lost += u64::from(next.map_or(0, |next| number.wrapping_sub(next)));
            *next = Some(number.wrapping_add(1));
        }
        let marked = attribute(body, 10).and_then(|word| Marked::read(text(word).as_bytes()));
        let octets = attribute(body, 9);
        match (marked, octets.and_then(Packet::read)) {
            (Some(marked), Some(packet)) => {
                let name = octets.filter(|_| marked == Marked::Dns).and_then(question);
                take(Logged { marked, packet, name });
            }
            _ => *foreign += 1,
        }
    }
}

fn order(writer: &mut Writer, group: u16, sequence: u32, body: impl FnOnce(&mut Writer)) {
    writer.message(SUBSYSTEM << 8 | CONFIG, REQUEST | ACK, sequence, |m| {
        m.raw(&[0, 0]);
        m.raw(&group.to_be_bytes());
        body(m);
    });
}
