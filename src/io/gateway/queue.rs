//! Packets that wait in the kernel for our word (NFQUEUE): the reader of one queue.
//!
//! Whatever fails, packets pass: where nobody reads, where the queue is full, where we cannot keep up.

use crate::io::sys::netlink::{Messages, Netlink, Writer, attribute};
use std::io;
use std::time::Duration;

const SUBSYSTEM: u16 = 3;
const PACKET: u16 = SUBSYSTEM << 8;
const VERDICT: u16 = SUBSYSTEM << 8 | 1;
const CONFIG: u16 = SUBSYSTEM << 8 | 2;
const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const ACK: u16 = libc::NLM_F_ACK as u16;
/// Octets of each packet: all of it, also where the kernel joined several.
const COPIED_OCTETS: u32 = 0xffff;
/// Packets that may wait; those beyond pass.
const WAITING_MAX: u32 = 4_096;
/// A full queue passes packets on; several that the network card joined come as one, and checksums may be left out.
const FLAGS: u32 = 0x1 | 0x4;
/// Octets that may wait for us.
const RECEIVE_OCTETS: usize = 8 << 20;
/// Packets that are answered together.
const TOGETHER_MAX: usize = 64;
const ACCEPT: u32 = 1;

/// Why a queue cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Somebody else reads it.
    #[error(
        "the queue {0} is read by another program (an intrusion detection?); give another number in [gateway] queue"
    )]
    Taken(u16),
    /// Anything else.
    #[error("packets cannot wait for our word (CONFIG_NETFILTER_NETLINK_QUEUE): {0}")]
    Other(#[from] io::Error),
}

/// A packet that waits.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// From its IP header on.
    pub octets: &'a [u8],
    /// Its checksums are left to the hardware.
    pub is_offloaded: bool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It goes on.
    Pass,
    /// It goes on with these bits of its mark: mask, value.
    Mark(u32, u32),
}

/// The reader of one queue.
#[derive(Debug)]
pub struct Queue {
    socket: Netlink,
    number: u16,
    writer: Writer,
    /// Receives that found that packets had been lost for want of room; those passed.
    overruns: u64,
}

impl Queue {
    /// Begins to read a queue; [`Self::read`] waits for `timeout` at most.
    ///
    /// # Errors
    /// Somebody else reads it; the kernel's.
    pub fn open(number: u16, timeout: Duration) -> Result<Self, QueueError> {
        let mut socket = Netlink::open(timeout)?;
        socket.make_room(1 << 20, RECEIVE_OCTETS)?;
        let mut orders = Writer::default();
        order(&mut orders, number, 1, |m| m.attribute(1, &[1, 0, 0, 0]));
        order(&mut orders, number, 2, |m| m.attribute(2, &[&COPIED_OCTETS.to_be_bytes()[..], &[2]].concat()));
        order(&mut orders, number, 3, |m| m.number(3, WAITING_MAX));
        order(&mut orders, number, 4, |m| {
            m.number(5, FLAGS);
            m.number(4, FLAGS);
        });
        socket.send(orders.octets())?;
        loop {
            for message in socket.receive()?.filter(|message| i32::from(message.kind) == libc::NLMSG_ERROR) {
                message.acknowledged().map_err(|error| match error.raw_os_error() {
                    Some(libc::EBUSY | libc::EPERM) if message.sequence == 1 => QueueError::Taken(number),
                    _ => QueueError::Other(error),
                })?;
                if message.sequence == 4 {
                    return Ok(Self { socket, number, writer: Writer::default(), overruns: 0 });
                }
            }
        }
    }

    /// Waits for packets and does with each what `judge` says. Those that wait already are answered together.
    ///
    /// # Errors
    /// The kernel's, unless it is the timeout.
    pub fn read(&mut self, mut judge: impl FnMut(Waiting<'_>) -> Word) -> io::Result<usize> {
        self.writer.clear();
        let (mut count, number) = (0, self.number);
        while count < TOGETHER_MAX {
            let received = if count == 0 { self.socket.receive() } else { self.socket.receive_now() };
            match received {
                Ok(messages) => count += answer(messages, number, &mut self.writer, &mut judge),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.overruns += 1,
                Err(error) => return Err(error),
            }
        }
        if !self.writer.octets().is_empty() {
            self.socket.send(self.writer.octets())?;
        }
        Ok(count)
    }

    /// How often packets passed because we could not keep up.
    #[must_use]
    pub const fn overruns(&self) -> u64 {
        self.overruns
    }
}

fn answer(
    messages: Messages<'_>,
    number: u16,
    writer: &mut Writer,
    judge: &mut dyn FnMut(Waiting<'_>) -> Word,
) -> usize {
    let mut count = 0;
    for message in messages.filter(|message| message.kind == PACKET) {
        let Some(body) = message.body.get(4..) else { continue };
        let four = |kind| attribute(body, kind).and_then(<[u8]>::first_chunk).map(|octets| u32::from_be_bytes(*octets));
        let Some(id) = four(1) else { continue };
        let octets = attribute(body, 10).unwrap_or_default();
        let word = judge(Waiting { octets, is_offloaded: four(14).is_some_and(|flags| flags & 1 != 0) });
        writer.message(VERDICT, REQUEST, 0, |m| {
            generic(m, number);
            m.attribute(2, &[ACCEPT.to_be_bytes(), id.to_be_bytes()].concat());
            if let Word::Mark(mask, value) = word {
                // What others wrote into the mark stays.
                m.number(3, four(3).unwrap_or_default() & !mask | value);
            }
        });
        count += 1;
    }
    count
}

fn order(writer: &mut Writer, number: u16, sequence: u32, body: impl FnOnce(&mut Writer)) {
    writer.message(CONFIG, REQUEST | ACK, sequence, |m| {
        generic(m, number);
        body(m);
    });
}

fn generic(writer: &mut Writer, number: u16) {
    writer.raw(&[0, 0]);
    writer.raw(&number.to_be_bytes());
}
