//! Packet sockets: opened with a large buffer, and asked what they lost.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::{Domain, Protocol, Socket, Type};

/// Octets that the kernel keeps for a socket until they are read.
pub(super) const BUFFER_OCTETS: usize = 16 << 20;

/// A packet socket with a large receive buffer. It receives nothing before it is bound to an interface.
///
/// # Errors
/// The kernel's; without CAP_NET_RAW it is `PermissionDenied`.
pub fn open() -> io::Result<OwnedFd> {
    // Protocol 0: until it is bound, so that nothing comes in from other interfaces.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    // The limit of the system is for those who may not pass it; who may capture mostly may.
    let wanted = libc::c_int::try_from(BUFFER_OCTETS).unwrap_or(libc::c_int::MAX);
    if set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &wanted).is_err() {
        socket.set_recv_buffer_size(BUFFER_OCTETS)?;
    }
    Ok(socket.into())
}

/// Leaves out what this host sends: a loopback device shows that again as it comes in.
///
/// # Errors
/// The kernel's; before 4.20 it cannot.
pub fn ignore_outgoing(socket: &impl AsRawFd) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &libc::c_int::from(true))
}

/// The kernel's number of a device's kind (`if_arp.h`).
///
/// # Errors
/// The kernel's: there is no interface of this name.
pub fn device_kind(socket: &impl AsRawFd, interface: &str) -> io::Result<u16> {
    // SAFETY: ifreq is integers, an array of them, a pointer and a union of those; all zeroes is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last octet stays zero, which ends the name.
    if interface.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::NotFound.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: `request` is live and writable; the name in it ends with a zero.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR, &raw mut request) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just written this member of the union.
    Ok(unsafe { request.ifr_ifru.ifru_hwaddr.sa_family })
}

/// Frames that the kernel dropped for this socket since it was last asked.
///
/// # Errors
/// The kernel's.
pub fn lost(socket: &impl AsRawFd) -> io::Result<u32> {
    // The first two fields of both forms are the same.
    let mut stats = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
    let mut len = size_of::<libc::tpacket_stats_v3>() as libc::socklen_t;
    // SAFETY: `stats` is live and writable for `len` octets; the kernel writes no more than that.
    let result = unsafe {
        let to = (&raw mut stats).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, to, &raw mut len)
    };
    if result == 0 { Ok(stats.tp_drops) } else { Err(io::Error::last_os_error()) }
}

/// Sets an option whose value is plain data.
pub(super) fn set<T: Copy>(socket: &impl AsRawFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is live and initialised for the length given, and only read.
    let result = unsafe {
        let from = std::ptr::from_ref(value).cast();
        libc::setsockopt(socket.as_raw_fd(), level, name, from, size_of::<T>() as libc::socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
