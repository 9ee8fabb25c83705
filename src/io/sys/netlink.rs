//! Netlink sockets to the kernel's packet filter, and the form of their messages: headers, attributes, acknowledgements.

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

/// Octets of a message's header.
pub const HEADER_OCTETS: usize = 16;
/// Octets taken at once; the kernel never sends more in one piece.
const RECEIVE_OCTETS: usize = 256 << 10;

/// A socket of the family `NETLINK_NETFILTER`.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    buffer: Box<[u8]>,
}

/// A message as it came.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Subsystem and kind, or [`libc::NLMSG_ERROR`], [`libc::NLMSG_DONE`].
    pub kind: u16,
    /// Flags.
    pub flags: u16,
    /// The sequence number that it answers.
    pub sequence: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

impl Netlink {
    /// Opens one; `timeout` is how long a receive waits.
    ///
    /// # Errors
    /// The kernel's: it has no such family, or this process may not use it.
    pub fn open(timeout: Duration) -> io::Result<Self> {
        let protocol = Protocol::from(libc::NETLINK_NETFILTER);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol))?;
        // SAFETY: the closure writes a whole sockaddr_nl at the start of the zeroed, larger and as aligned storage, and sets the
        // length to what it wrote.
        let ((), any) = unsafe {
            SockAddr::try_init(|storage, length| {
                let mut address: libc::sockaddr_nl = MaybeUninit::zeroed().assume_init();
                address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
                storage.cast::<libc::sockaddr_nl>().write(address);
                *length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
                Ok(())
            })?
        };
        socket.bind(&any)?;
        socket.set_read_timeout(Some(timeout))?;
        let made = Self { socket, buffer: vec![0; RECEIVE_OCTETS].into() };
        // Errors say which message they are about without repeating all of it.
        made.set(libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1)?;
        Ok(made)
    }

    /// Hears what the kernel tells everybody of a group.
    ///
    /// # Errors
    /// The kernel's.
    pub fn join(&self, group: i32) -> io::Result<()> {
        self.set(libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)
    }

    /// Makes room for octets that wait to be sent, or received; above the system's limit with the privilege for it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn make_room(&self, send: usize, receive: usize) -> io::Result<()> {
        let octets = |octets: usize| i32::try_from(octets).unwrap_or(i32::MAX / 2);
        self.set(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, octets(send))?;
        self.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, octets(receive))
    }

    fn set(&self, level: i32, option: i32, value: i32) -> io::Result<()> {
        // SAFETY: each of these options takes an int; `value` is one, live for the length of the call, and its size is given.
        let result = unsafe {
            let size = size_of::<libc::c_int>() as libc::socklen_t;
            libc::setsockopt(self.socket.as_raw_fd(), level, option, (&raw const value).cast(), size)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Sends messages in one piece.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send(&self, octets: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(octets)?;
        if sent == octets.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Waits for one piece and gives its messages.
    ///
    /// # Errors
    /// `WouldBlock` when the timeout is over; ENOBUFS when messages were lost because nobody took them; else the kernel's.
    pub fn receive(&mut self) -> io::Result<Messages<'_>> {
        let length = (&self.socket).read(&mut self.buffer)?;
        Ok(Messages { left: self.buffer.get(..length).unwrap_or_default() })
    }
}

impl Netlink {
    /// Takes one piece if there is one already.
    ///
    /// # Errors
    /// As for [`Self::receive`]; `WouldBlock` where there is none.
    pub fn receive_now(&mut self) -> io::Result<Messages<'_>> {
        // SAFETY: the buffer is live, writable and as long as is said; the kernel writes no more than that.
        let length = unsafe {
            let to = self.buffer.as_mut_ptr().cast();
            libc::recv(self.socket.as_raw_fd(), to, self.buffer.len(), libc::MSG_DONTWAIT)
        };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        Ok(Messages { left: self.buffer.get(..length).unwrap_or_default() })
    }
}

/// The messages of one piece.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    left: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.left.get(..HEADER_OCTETS)?;
        let length = usize::try_from(u32::from_ne_bytes(*header.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*header.get(4..)?.first_chunk()?);
        let flags = u16::from_ne_bytes(*header.get(6..)?.first_chunk()?);
        let sequence = u32::from_ne_bytes(*header.get(8..)?.first_chunk()?);
        let body = self.left.get(HEADER_OCTETS..length)?;
        self.left = self.left.get(aligned(length)..).unwrap_or_default();
        Some(Message { kind, flags, sequence, body })
    }
}

impl Message<'_> {
    /// Of an acknowledgement: `Ok`, or the kernel's error.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn acknowledged(&self) -> io::Result<()> {
        match self.body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(-code)),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The next place where a message or an attribute may begin.
#[must_use]
pub const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// The attributes of a message or of an attribute: kind and content.
pub fn attributes(octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut left = octets;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*left.first_chunk()?));
        let kind = u16::from_ne_bytes(*left.get(2..)?.first_chunk()?) & !(libc::NLA_F_NESTED as u16);
        let content = left.get(4..length)?;
        left = left.get(aligned(length)..).unwrap_or_default();
        Some((kind, content))
    })
}

/// The content of the first attribute of a kind.
#[must_use]
pub fn attribute(octets: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(octets).find(|(at, _)| *at == kind).map(|(_, content)| content)
}

/// A text without the zero that ends it.
#[must_use]
pub fn text(content: &[u8]) -> String {
    String::from_utf8_lossy(content.split(|octet| *octet == 0).next().unwrap_or_default()).into_owned()
}

/// Messages in the making.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    octets: Vec<u8>,
}

impl Writer {
    /// All that was written.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Forgets all that was written.
    pub fn clear(&mut self) {
        self.octets.clear();
    }

    /// Writes a message: kind, flags and sequence of its header, and what `body` writes.
    pub fn message(&mut self, kind: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Self)) {
        let at = self.octets.len();
        self.octets.extend(0_u32.to_ne_bytes());
        self.octets.extend(kind.to_ne_bytes());
        self.octets.extend(flags.to_ne_bytes());
        self.octets.extend(sequence.to_ne_bytes());
        self.octets.extend(0_u32.to_ne_bytes());
        body(self);
        let length = u32::try_from(self.octets.len() - at).unwrap_or(u32::MAX);
        self.patch(at, &length.to_ne_bytes());
        self.align();
    }

    /// Writes octets as they are.
    pub fn raw(&mut self, octets: &[u8]) {
        self.octets.extend(octets);
    }

    /// Writes an attribute.
    pub fn attribute(&mut self, kind: u16, content: &[u8]) {
        self.inner(kind, |writer| writer.raw(content));
    }

    /// Writes a number in the order of the network.
    pub fn number(&mut self, kind: u16, number: u32) {
        self.attribute(kind, &number.to_be_bytes());
    }

    /// Writes a text with the zero that ends it.
    pub fn text(&mut self, kind: u16, text: &str) {
        self.inner(kind, |writer| {
            writer.raw(text.as_bytes());
            writer.raw(&[0]);
        });
    }

    /// Writes an attribute of attributes.
    pub fn nested(&mut self, kind: u16, content: impl FnOnce(&mut Self)) {
        self.inner(kind | libc::NLA_F_NESTED as u16, content);
    }

    fn inner(&mut self, kind: u16, content: impl FnOnce(&mut Self)) {
        let at = self.octets.len();
        self.octets.extend(0_u16.to_ne_bytes());
        self.octets.extend(kind.to_ne_bytes());
        content(self);
        // Whoever writes many elements splits them long before: see ELEMENTS_MAX of io/gateway.
        let length = u16::try_from(self.octets.len() - at).unwrap_or(u16::MAX);
        self.patch(at, &length.to_ne_bytes());
        self.align();
    }

    fn patch(&mut self, at: usize, with: &[u8]) {
        if let Some(place) = self.octets.get_mut(at..at + with.len()) {
            place.copy_from_slice(with);
        }
    }

    fn align(&mut self) {
        self.octets.resize(aligned(self.octets.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::default();
        writer.message(7, 1, 9, |message| {
            message.nested(3, |inner| inner.text(1, "abc"));
            message.number(2, 5);
        });
        writer.message(8, 0, 10, |message| message.raw(&[1]));
        let messages: Vec<Message<'_>> = Messages { left: writer.octets() }.collect();
        assert_eq!(messages.iter().map(|m| (m.kind, m.sequence)).collect::<Vec<_>>(), [(7, 9), (8, 10)]);
        let inner = attribute(messages[0].body, 3).unwrap();
        assert_eq!(attribute(inner, 1).map(text).as_deref(), Some("abc"));
        assert_eq!(attribute(messages[0].body, 2), Some(&[0, 0, 0, 5][..]));
        assert_eq!(messages[1].body, [1]);
    }

    proptest! {
        #[test]
        fn no_octets_do_harm(octets in prop::collection::vec(any::<u8>(), 0..120)) {
            for message in (Messages { left: &octets }).take(1_000) {
                let _ = message.acknowledged();
                prop_assert!(attributes(message.body).take(1_000).count() < 1_000);
            }
        }
    }
}
