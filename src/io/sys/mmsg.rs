//! Datagrams in batches, with the address they were sent to: `recvmmsg` and `sendmmsg` over buffers made once.
//!
//! A listener on a wildcard address must answer from the address that was asked, or the client does not recognise the
//! answer; so every datagram carries its [`LocalAddress`] in and out (IP_PKTINFO, IPV6_PKTINFO).

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use super::address::{Control, no_address, read_address, read_local, write_address, write_local};
use crate::base::model::limits::UDP_OCTETS_MAX;

/// Datagrams of one batch.
pub const BATCH_MAX: usize = 64;
/// Octets of the longest datagram that is taken; a longer one is marked as cut. Queries have a few hundred.
pub const RECEIVE_OCTETS: usize = 4_096;
/// Octets from one receive buffer to the next: a line of the cache more than is taken. Buffers that start at the same place of
/// their pages would share a few lines of the first cache among all of them.
const STRIDE: usize = RECEIVE_OCTETS + 64;
/// Datagrams that are asked for at least; else twice as many as came last. Headers are written anew for each call, and a small
/// batch should not pay for a large one's.
const BATCH_MIN: usize = 8;

/// The address of ours that a datagram was sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalAddress {
    /// The address.
    pub address: IpAddr,
    /// The interface's index for a link-local address, else 0.
    pub interface: u32,
}

/// A datagram as it came.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// From whom.
    pub peer: SocketAddr,
    /// To which of our addresses, where the kernel said so.
    pub local: Option<LocalAddress>,
    /// The payload.
    pub octets: &'a [u8],
    /// Whether it was longer than [`RECEIVE_OCTETS`].
    pub cut: bool,
}

/// What a send made of its batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// Datagrams that the kernel took.
    pub sent: usize,
    /// Datagrams that it refused; they are gone.
    pub refused: usize,
}

/// Receives batches.
pub struct Receiver {
    octets: Box<[[u8; STRIDE]]>,
    addresses: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    headers: Headers,
    heads: Box<[Head]>,
    received: usize,
}

/// Headers and vectors for one batch. What they point to is written before each call and means nothing after it.
struct Headers {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
}

// SAFETY: the pointers are never read by anybody but the kernel, within a call before which they are written anew.
unsafe impl Send for Headers {}

impl Headers {
    fn new() -> Self {
        let nothing = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self { headers: vec![no_header(); BATCH_MAX].into(), vectors: vec![nothing; BATCH_MAX].into() }
    }
}

/// What is kept of a received datagram beside its octets.
#[derive(Clone, Copy)]
struct Head {
    peer: Option<SocketAddr>,
    local: Option<LocalAddress>,
    len: usize,
    cut: bool,
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

impl Receiver {
    /// Buffers for one batch: all that will ever be allocated.
    #[must_use]
    pub fn new() -> Self {
        let head = Head { peer: None, local: None, len: 0, cut: false };
        Self {
            octets: vec![[0; STRIDE]; BATCH_MAX].into(),
            addresses: vec![no_address(); BATCH_MAX].into(),
            controls: vec![Control::EMPTY; BATCH_MAX].into(),
            headers: Headers::new(),
            heads: vec![head; BATCH_MAX].into(),
            received: 0,
        }
    }

    /// Waits for one datagram as long as the socket's read timeout says, then takes what else is there. Returns how many.
    ///
    /// # Errors
    /// `WouldBlock` when the timeout is over, `Interrupted` after a signal; else the kernel's. Nothing is received then.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let wanted = (std::mem::take(&mut self.received) * 2).clamp(BATCH_MIN, BATCH_MAX);
        let Headers { headers, vectors } = &mut self.headers;
        let parts = self.octets.iter_mut().zip(&mut self.addresses).zip(&mut self.controls);
        for (((octets, address), control), (vector, header)) in
            parts.zip(vectors.iter_mut().zip(&mut *headers)).take(wanted)
        {
            *vector = libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: RECEIVE_OCTETS };
            header.msg_hdr.msg_name = (&raw mut *address).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = control.0.len();
        }
        // SAFETY: each of the first `wanted` headers, BATCH_MAX at most, points to its own vector, address and control buffer; all
        // of them live in `self`, are writable with the lengths given, and are not touched otherwise during the call.
        let received = unsafe {
            let (fd, count) = (socket.as_raw_fd(), wanted as libc::c_uint);
            libc::recvmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_WAITFORONE, ptr::null_mut())
        };
        let Ok(received) = usize::try_from(received) else { return Err(io::Error::last_os_error()) };
        for ((head, header), address) in self.heads.iter_mut().zip(&*headers).zip(&self.addresses).take(received) {
            *head = Head {
                peer: read_address(address),
                // SAFETY: the kernel has just set msg_controllen to the octets that it wrote into our live control buffer.
                local: unsafe { read_local(&header.msg_hdr) },
                len: header.msg_len as usize,
                cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            };
        }
        self.received = received;
        Ok(received)
    }

    /// The datagrams of the last batch.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.heads.iter().zip(&self.octets).take(self.received).filter_map(|(head, octets)| {
            let octets = octets.get(..head.len)?;
            Some(Datagram { peer: head.peer?, local: head.local, octets, cut: head.cut })
        })
    }
}

/// Collects answers and sends them as a batch.
pub struct Sender {
    octets: Box<[[u8; UDP_OCTETS_MAX]]>,
    addresses: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    headers: Headers,
    /// Lengths of payload, address and control data.
    lengths: Box<[(usize, libc::socklen_t, usize)]>,
    filled: usize,
}

impl Default for Sender {
    fn default() -> Self {
        Self::new()
    }
}

impl Sender {
    /// Buffers for one batch: all that will ever be allocated.
    #[must_use]
    pub fn new() -> Self {
        Self {
            octets: vec![[0; UDP_OCTETS_MAX]; BATCH_MAX].into(),
            addresses: vec![no_address(); BATCH_MAX].into(),
            controls: vec![Control::EMPTY; BATCH_MAX].into(),
            headers: Headers::new(),
            lengths: vec![(0, 0, 0); BATCH_MAX].into(),
            filled: 0,
        }
    }

    /// The buffer for the next answer, [`UDP_OCTETS_MAX`] octets; `None` when the batch is full. It joins the batch with
    /// [`Sender::commit`].
    pub fn next_buffer(&mut self) -> Option<&mut [u8]> {
        self.octets.get_mut(self.filled).map(<[u8; UDP_OCTETS_MAX]>::as_mut_slice)
    }

    /// Adds the first `len` octets of the last [`Sender::next_buffer`] to the batch.
    pub fn commit(&mut self, len: usize, peer: SocketAddr, local: Option<LocalAddress>) {
        let at = self.filled;
        let (Some(address), Some(control), Some(lengths)) =
            (self.addresses.get_mut(at), self.controls.get_mut(at), self.lengths.get_mut(at))
        else {
            return;
        };
        let control_len = local.map_or(0, |local| write_local(local, control));
        *lengths = (len.min(UDP_OCTETS_MAX), write_address(peer, address), control_len);
        self.filled += 1;
    }

    /// Sends the batch and empties it, waiting for a full buffer as long as the socket says. A datagram that the kernel refuses is
    /// left out; the others go.
    pub fn send(&mut self, socket: &UdpSocket) -> Sent {
        self.send_with(socket, 0)
    }

    /// The same without waiting.
    pub fn send_at_once(&mut self, socket: &UdpSocket) -> Sent {
        self.send_with(socket, libc::MSG_DONTWAIT)
    }

    fn send_with(&mut self, socket: &UdpSocket, flags: libc::c_int) -> Sent {
        let mut sent = Sent::default();
        if self.filled == 0 {
            return sent;
        }
        let Headers { headers, vectors } = &mut self.headers;
        let parts = self.octets.iter_mut().zip(&mut self.addresses).zip(&mut self.controls).zip(&self.lengths);
        for ((((octets, address), control), lengths), (vector, header)) in
            parts.zip(vectors.iter_mut().zip(&mut *headers)).take(self.filled)
        {
            let &(len, address_len, control_len) = lengths;
            *header = no_header();
            *vector = libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: len };
            header.msg_hdr.msg_name = (&raw mut *address).cast();
            header.msg_hdr.msg_namelen = address_len;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            if control_len > 0 {
                header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = control_len;
            }
        }
        let mut rest = headers.get_mut(..self.filled).unwrap_or_default();
        self.filled = 0;
        while !rest.is_empty() {
            // SAFETY: `rest` is initialised headers whose vectors, addresses and control buffers live in `self`, with the lengths
            // given, and are not touched otherwise during the call.
            let taken = unsafe {
                let (fd, count) = (socket.as_raw_fd(), rest.len() as libc::c_uint);
                libc::sendmmsg(fd, rest.as_mut_ptr(), count, flags | libc::MSG_NOSIGNAL)
            };
            let skip = match usize::try_from(taken) {
                Ok(taken) => {
                    sent.sent += taken;
                    taken
                }
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => 0,
                Err(_) => {
                    sent.refused += 1;
                    1
                }
            };
            rest = rest.get_mut(skip..).unwrap_or_default();
        }
        sent
    }
}

/// A header that points nowhere.
const fn no_header() -> libc::mmsghdr {
    // SAFETY: mmsghdr is integers and raw pointers; all zeroes (null pointers, no lengths) is a value of it.
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sys::socket;
    use std::time::Duration;

    fn listener(address: &str) -> UdpSocket {
        socket::listen(address.parse().unwrap(), 1).unwrap().udp.remove(0)
    }

    fn client(address: &str, to: SocketAddr) -> UdpSocket {
        let client = UdpSocket::bind((address, 0)).unwrap();
        client.connect(to).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        client
    }

    /// Receives until `count` datagrams have been echoed.
    fn echo(socket: &UdpSocket, count: usize) {
        let (mut receiver, mut sender) = (Receiver::new(), Sender::new());
        let mut seen = 0;
        while seen < count {
            seen += receiver.receive(socket).unwrap();
            for datagram in receiver.datagrams() {
                let buffer = sender.next_buffer().unwrap();
                buffer[..datagram.octets.len()].copy_from_slice(datagram.octets);
                sender.commit(datagram.octets.len(), datagram.peer, datagram.local);
            }
            sender.send(socket);
        }
    }

    #[test]
    fn a_batch_comes_and_goes() {
        let socket = listener("127.0.0.1:0");
        let client = client("127.0.0.1", socket.local_addr().unwrap());
        for number in 0..200_u8 {
            client.send(&[number; 33]).unwrap();
        }
        echo(&socket, 200);
        let mut buffer = [0; 64];
        for number in 0..200_u8 {
            assert_eq!(client.recv(&mut buffer).unwrap(), 33);
            assert_eq!(buffer[..33], [number; 33]);
        }
    }

    #[test]
    fn a_wildcard_listener_answers_from_the_address_asked() {
        let socket = listener("0.0.0.0:0");
        let port = socket.local_addr().unwrap().port();
        for asked in ["127.0.0.2", "127.0.0.1", "127.7.7.7"] {
            // The client is connected: an answer from another address would never arrive.
            let client = client("127.0.0.1", SocketAddr::new(asked.parse().unwrap(), port));
            client.send(b"who").unwrap();
            echo(&socket, 1);
            let mut buffer = [0; 8];
            assert_eq!(client.recv(&mut buffer).unwrap(), 3, "{asked}");
        }
    }

    #[test]
    fn a_listener_on_one_address_answers_from_it_unasked() {
        let socket = listener("127.0.0.9:0");
        let client = client("127.0.0.1", socket.local_addr().unwrap());
        client.send(b"who").unwrap();
        let (mut receiver, mut sender) = (Receiver::new(), Sender::new());
        assert_eq!(receiver.receive(&socket).unwrap(), 1);
        let datagram = receiver.datagrams().next().unwrap();
        assert_eq!((datagram.octets, datagram.local), (&b"who"[..], None));
        sender.next_buffer().unwrap()[0] = 9;
        sender.commit(1, datagram.peer, datagram.local);
        assert_eq!(sender.send(&socket), Sent { sent: 1, refused: 0 });
        // The client is connected: an answer from another address would never arrive.
        assert_eq!(client.recv(&mut [0; 8]).unwrap(), 1);
    }

    #[test]
    fn a_single_datagram_leaves_from_the_address_given() {
        let socket = listener("0.0.0.0:0");
        let to = SocketAddr::new("127.0.0.3".parse().unwrap(), socket.local_addr().unwrap().port());
        let client = client("127.0.0.1", to);
        let local = LocalAddress { address: to.ip(), interface: 0 };
        let mut sender = Sender::new();
        sender.next_buffer().unwrap()[..4].copy_from_slice(b"here");
        sender.commit(4, client.local_addr().unwrap(), Some(local));
        assert_eq!(sender.send_at_once(&socket), Sent { sent: 1, refused: 0 });
        let mut buffer = [0; 8];
        assert_eq!(client.recv(&mut buffer).unwrap(), 4);
    }

    #[test]
    fn ipv6_too() {
        let Ok(probe) = UdpSocket::bind("[::1]:0") else {
            println!("skipped: no IPv6 here");
            return;
        };
        drop(probe);
        let socket = listener("[::]:0");
        let to = SocketAddr::new("::1".parse().unwrap(), socket.local_addr().unwrap().port());
        let client = client("::1", to);
        client.send(b"six").unwrap();
        echo(&socket, 1);
        assert_eq!(client.recv(&mut [0; 8]).unwrap(), 3);
    }

    #[test]
    fn a_datagram_longer_than_the_buffer_is_marked() {
        let socket = listener("127.0.0.1:0");
        let client = client("127.0.0.1", socket.local_addr().unwrap());
        client.send(&[1; RECEIVE_OCTETS + 1]).unwrap();
        client.send(&[2; RECEIVE_OCTETS]).unwrap();
        let mut receiver = Receiver::new();
        let mut cut = Vec::new();
        while cut.len() < 2 {
            receiver.receive(&socket).unwrap();
            cut.extend(receiver.datagrams().map(|datagram| (datagram.octets.len(), datagram.cut)));
        }
        assert_eq!(cut, [(RECEIVE_OCTETS, true), (RECEIVE_OCTETS, false)]);
    }

    #[test]
    fn silence_wakes_the_receiver() {
        let socket = listener("127.0.0.1:0");
        let error = Receiver::new().receive(&socket).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_refused_datagram_does_not_hold_up_the_others() {
        let socket = listener("127.0.0.1:0");
        let client = client("127.0.0.1", socket.local_addr().unwrap());
        let mut sender = Sender::new();
        for peer in [client.local_addr().unwrap(), "0.0.0.0:0".parse().unwrap(), client.local_addr().unwrap()] {
            sender.next_buffer().unwrap()[0] = 9;
            sender.commit(1, peer, None);
        }
        assert_eq!(sender.send(&socket), Sent { sent: 2, refused: 1 });
        assert_eq!(sender.send(&socket), Sent::default());
        for _ in 0..2 {
            assert_eq!(client.recv(&mut [0; 8]).unwrap(), 1);
        }
    }
}
