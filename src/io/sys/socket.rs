//! The one opener of sockets: what is bound how, and what to do when it cannot be.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Receive buffer asked of the kernel for a UDP listener; it gives what `net.core.rmem_max` allows.
const RECEIVE_BUFFER_OCTETS: usize = 4 << 20;
/// How long a worker waits for a datagram before it looks up: for shutdown, and to flush what it counted.
pub const RECEIVE_TIMEOUT: Duration = Duration::from_millis(250);
/// How long a worker lets a full send buffer hold it up before answers are dropped.
const SEND_TIMEOUT: Duration = Duration::from_millis(100);
/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1_024;
/// How often a port is sought that is free for UDP and TCP both, where the kernel chooses it.
const EPHEMERAL_TRIES_MAX: usize = 16;
/// Source ports of queries upstream: all that are not reserved.
const PORTS: RangeInclusive<u16> = 1_024..=65_535;
/// How often one of them is drawn that is not taken.
const PORT_TRIES_MAX: usize = 8;

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// EADDRINUSE.
    #[error(
        "{0}: address already in use: another DNS server is running there; stop it (`ss -lnup` shows it), or give another \
         address or port in [dns] listen"
    )]
    InUse(SocketAddr),
    /// EACCES.
    #[error(
        "{0}: permission denied: ports below 1024 need CAP_NET_BIND_SERVICE; run as a service that has it, or give a higher \
         port in [dns] listen"
    )]
    Denied(SocketAddr),
    /// EADDRNOTAVAIL.
    #[error("{0}: no interface of this machine has that address; correct [dns] listen")]
    NotOurs(SocketAddr),
    /// Anything else.
    #[error("{0}: cannot listen: {1}")]
    Other(SocketAddr, io::Error),
}

impl ListenError {
    fn new(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::PermissionDenied => Self::Denied(address),
            io::ErrorKind::AddrNotAvailable => Self::NotOurs(address),
            _ => Self::Other(address, error),
        }
    }
}

/// The sockets of one listen address.
#[derive(Debug)]
pub struct Listeners {
    /// The address, with the port that was chosen where 0 was asked for.
    pub address: SocketAddr,
    /// One blocking UDP socket a worker, all on the same port.
    pub udp: Vec<UdpSocket>,
    /// The TCP listener, non-blocking.
    pub tcp: TcpListener,
}

/// Opens `workers` UDP sockets and a TCP listener at `address`.
///
/// # Errors
/// A sentence with the address, the reason, and what to do.
pub fn listen(address: SocketAddr, workers: usize) -> Result<Listeners, ListenError> {
    let tries = if address.port() == 0 { EPHEMERAL_TRIES_MAX } else { 1 };
    let mut result = open(address, workers);
    for _ in 1..tries {
        if !matches!(result, Err(ListenError::InUse(_))) {
            break;
        }
        result = open(address, workers);
    }
    result
}

fn open(address: SocketAddr, workers: usize) -> Result<Listeners, ListenError> {
    // With SO_REUSEPORT a second daemon of the same user would be let in beside the first and get half of the queries:
    // the port must be free before it is shared among our own workers.
    udp_socket(address, false).map_err(|error| ListenError::new(address, error))?;
    let mut udp = Vec::with_capacity(workers);
    let mut bound = address;
    for _ in 0..workers.max(1) {
        let socket = udp_socket(bound, true).map_err(|error| ListenError::new(bound, error))?;
        bound = socket.local_addr().map_err(|error| ListenError::new(bound, error))?;
        udp.push(socket);
    }
    let tcp = tcp_listener(bound).map_err(|error| ListenError::new(bound, error))?;
    Ok(Listeners { address: bound, udp, tcp })
}

/// Opens an address for connections and datagrams of one reader, both non-blocking; gives the address with the port that was chosen.
///
/// # Errors
/// The kernel's.
pub fn both(address: SocketAddr) -> io::Result<(SocketAddr, TcpListener, UdpSocket)> {
    let mut result = tcp_listener(address).and_then(with_datagrams);
    // A port that the kernel chose may be taken for datagrams.
    for _ in 1..if address.port() == 0 { EPHEMERAL_TRIES_MAX } else { 1 } {
        if result.is_ok() {
            break;
        }
        result = tcp_listener(address).and_then(with_datagrams);
    }
    result
}

fn with_datagrams(tcp: TcpListener) -> io::Result<(SocketAddr, TcpListener, UdpSocket)> {
    let address = tcp.local_addr()?;
    let udp = udp_socket(address, false)?;
    udp.set_nonblocking(true)?;
    Ok((address, tcp, udp))
}

fn udp_socket(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    want_packet_info(&socket, address)?;
    forbid_fragments(&socket, address)?;
    // As much as the kernel allows is good enough.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_OCTETS);
    socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn tcp_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // So that a restart need not wait for connections of the last run.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A UDP socket for upstream exchanges: a random source port of all that are not reserved, where the kernel would choose among
/// half as many (RFC 5452 §9.2); deaf to everybody but `server`, non-blocking.
///
/// # Errors
/// The kernel's: no descriptors or ports left, or no route to `server`.
pub fn upstream_udp(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let ours = (0..PORT_TRIES_MAX).find_map(|_| UdpSocket::bind((any, rand::random_range(PORTS))).ok());
    // Where so many are taken, the kernel knows one that is free, or why there is none.
    let socket = ours.map_or_else(|| UdpSocket::bind((any, 0)), Ok)?;
    refuse_fragments(&socket, server)?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Lets no message of ICMP make our datagrams smaller: fragments of an answer could be replaced by a forger's.
fn refuse_fragments(socket: &UdpSocket, server: SocketAddr) -> io::Result<()> {
    let (level, option, omit) = match server {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT),
    };
    set_int(socket.as_raw_fd(), level, option, omit)
}

/// Asks the kernel to say which of our addresses each datagram was sent to, where it may be any of them. A socket that is bound to
/// one address answers from it anyway, and then the kernel need not look the address up for each datagram.
fn want_packet_info(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if !address.ip().is_unspecified() {
        return Ok(());
    }
    let (level, option) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    set_int(socket.as_raw_fd(), level, option, 1)
}

/// Marks answers as not to be fragmented, whatever ICMP says of the way (RFC 9715 §3.1): they are 1,232 octets at most. An IPv4
/// datagram that may not be cut needs no identification either, which the kernel would take from a table that all cores share.
fn forbid_fragments(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let (level, option, probe) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
    };
    set_int(socket.as_raw_fd(), level, option, probe)
}

fn set_int(socket: RawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the option takes an int; `value` is one, live for the length of the call, and its size is given. The kernel refuses
    // what is no socket.
    let result = unsafe {
        let size = size_of::<libc::c_int>() as libc::socklen_t;
        libc::setsockopt(socket, level, option, (&raw const value).cast(), size)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_port_that_nobody_else_gets() {
        let first = listen("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_eq!(first.udp.len(), 3);
        assert!(first.udp.iter().all(|socket| socket.local_addr().unwrap() == first.address));
        assert_eq!(first.tcp.local_addr().unwrap(), first.address);
        let error = listen(first.address, 1).unwrap_err();
        assert!(matches!(error, ListenError::InUse(address) if address == first.address));
        assert!(error.to_string().starts_with(&format!("{}: address already in use", first.address)));
    }

    /// What a socket does about the path's MTU.
    fn mtu_discovery(socket: &UdpSocket) -> libc::c_int {
        let (mut value, mut size) = (-1, size_of::<libc::c_int>() as libc::socklen_t);
        // SAFETY: the option is an int; `value` is one, and its size is given.
        let result = unsafe {
            let value = (&raw mut value).cast();
            libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, value, &raw mut size)
        };
        assert_eq!(result, 0);
        value
    }

    #[test]
    fn answers_are_not_fragmented() {
        let socket = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap().udp.remove(0);
        assert_eq!(mtu_discovery(&socket), libc::IP_PMTUDISC_PROBE);
    }

    #[test]
    fn nobody_makes_queries_fragments() {
        let socket = upstream_udp("127.0.0.1:9".parse().unwrap()).unwrap();
        assert_eq!(mtu_discovery(&socket), libc::IP_PMTUDISC_OMIT);
    }

    #[test]
    fn a_foreign_address_is_named() {
        let error = listen("192.0.2.1:5300".parse().unwrap(), 1).unwrap_err();
        assert!(matches!(error, ListenError::NotOurs(_)), "{error}");
    }

    #[test]
    fn source_ports_are_drawn_from_all_that_are_not_reserved() {
        let server = "127.0.0.1:9".parse().unwrap();
        let port = || upstream_udp(server).unwrap().local_addr().unwrap().port();
        let ports: Vec<u16> = (0..2_000).map(|_| port()).collect();
        let distinct = ports.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert!(distinct >= 1_930, "{distinct} of 2,000");
        let low = ports.iter().filter(|&&port| port < 1_024 + 64_512 / 2).count();
        assert!((850..=1_150).contains(&low), "{low} of 2,000 in the lower half");
        assert!(ports.iter().all(|&port| port >= 1_024));
        // One drawn before says nothing of the next: steps go either way.
        let up = ports.windows(2).filter(|two| two[1] > two[0]).count();
        assert!((850..=1_150).contains(&up), "{up} of 1,999 steps go up");
    }

    #[test]
    fn an_upstream_socket_hears_its_server_only() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = upstream_udp(server.local_addr().unwrap()).unwrap();
        stranger.send_to(b"spoof", socket.local_addr().unwrap()).unwrap();
        server.send_to(b"answer", socket.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(false).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(socket.recv(&mut buffer).unwrap(), 6);
    }
}
