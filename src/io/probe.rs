//! Harmless probes: one packet or one question, and what came of it. Packets die at the first router behind this machine.

use crate::base::model::TESTER_LOOPBACK;
use crate::base::wire::quic::initials;
use crate::base::wire::tls::{client_hello, record};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use socket2::{Domain, Socket, Type};
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Routers that a packet passes: this machine, and the next one takes it for dead.
const HOPS: u32 = 2;
/// Octets of the longest answer that is read.
const ANSWER_OCTETS_MAX: usize = 4_096;
/// The EDNS option of an extended error (RFC 8914), and its codes for what is blocked.
const EDE: u16 = 15;
const EDE_BLOCKED: [u16; 3] = [15, 16, 17];

/// A probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A connection.
    Tcp(SocketAddr),
    /// A datagram.
    Udp(SocketAddr),
    /// A question over UDP or TCP.
    Dns {
        /// Who is asked.
        server: SocketAddr,
        /// For which name.
        name: String,
        /// Whether over TCP.
        tcp: bool,
    },
    /// A name that is said first.
    Name {
        /// How.
        by: Saying,
        /// To whom.
        to: SocketAddr,
        /// Which.
        name: String,
    },
}

/// How a name is said first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saying {
    /// The server name of TLS.
    Sni,
    /// The host of HTTP.
    Host,
    /// The server name of QUIC.
    Quic,
}

impl Saying {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Sni => "sni",
            Self::Host => "host",
            Self::Quic => "quic",
        }
    }
}

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// It got there.
    Open,
    /// It was refused.
    Refused,
    /// Nothing came.
    Silence,
    /// The answer says that the name is blocked.
    Blocked,
    /// The answer says nothing of the kind.
    Answered,
    /// It could not be tried.
    Failed(String),
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(to) => write!(f, "tcp,{to}"),
            Self::Udp(to) => write!(f, "udp,{to}"),
            Self::Name { by, to, name } => write!(f, "{},{to},{name}", by.as_str()),
            Self::Dns { server, name, tcp } => write!(f, "{},{server},{name}", if *tcp { "dns-tcp" } else { "dns" }),
        }
    }
}

impl FromStr for Probe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no probe");
        let mut words = text.splitn(3, ',');
        let (kind, to) =
            (words.next().unwrap_or_default(), words.next().and_then(|to| to.parse().ok()).ok_or_else(wrong)?);
        match (kind, words.next()) {
            ("tcp", None) => Ok(Self::Tcp(to)),
            ("udp", None) => Ok(Self::Udp(to)),
            ("dns" | "dns-tcp", Some(name)) => {
                Ok(Self::Dns { server: to, name: name.to_owned(), tcp: kind == "dns-tcp" })
            }
            (kind, Some(name)) => {
                let by = [Saying::Sni, Saying::Host, Saying::Quic].into_iter().find(|by| by.as_str() == kind);
                Ok(Self::Name { by: by.ok_or_else(wrong)?, to, name: name.to_owned() })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Refused => f.write_str("refused"),
            Self::Silence => f.write_str("silence"),
            Self::Blocked => f.write_str("blocked"),
            Self::Answered => f.write_str("answered"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

impl FromStr for Came {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "open" => Self::Open,
            "refused" => Self::Refused,
            "silence" => Self::Silence,
            "blocked" => Self::Blocked,
            "answered" => Self::Answered,
            _ => Self::Failed(text.strip_prefix("failed: ").unwrap_or(text).to_owned()),
        })
    }
}

impl Probe {
    /// Tries it.
    #[must_use]
    pub fn run(&self) -> Came {
        let came = match self {
            Self::Tcp(to) => connect(*to).map(|_| Came::Open),
            Self::Udp(to) => datagram(*to, b"interdict verify", Some(HOPS)).map(|_| Came::Open),
            Self::Name { by, to, name } => say(*by, *to, name).map(|()| Came::Open),
            Self::Dns { server, name, tcp } => ask(*server, name, *tcp),
        };
        came.unwrap_or_else(|error| match error.raw_os_error() {
            Some(
                libc::ECONNRESET | libc::EPIPE | libc::ECONNREFUSED | libc::EACCES | libc::EPERM | libc::EHOSTUNREACH,
            ) => Came::Refused,
            Some(libc::EAGAIN | libc::ETIMEDOUT | libc::EINPROGRESS) | None => Came::Silence,
            _ => Came::Failed(error.to_string()),
        })
    }
}

fn socket(to: SocketAddr, kind: Type, hops: Option<u32>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), kind, None)?;
    match (hops, to) {
        (Some(hops), SocketAddr::V4(_)) => socket.set_ttl_v4(hops)?,
        (Some(hops), SocketAddr::V6(_)) => socket.set_unicast_hops_v6(hops)?,
        (None, _) => {}
    }
    Ok(socket)
}

/// A resolver on this machine is asked from an address that it knows as nobody's. Where that cannot be, from any.
fn as_tester(socket: &Socket, to: SocketAddr) -> io::Result<()> {
    let is_here = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    if to.is_ipv4() && is_here(to.ip()) {
        socket.bind(&SocketAddr::from((TESTER_LOOPBACK, 0)).into())?;
    }
    Ok(())
}

fn connect(to: SocketAddr) -> io::Result<Socket> {
    let socket = socket(to, Type::STREAM, Some(HOPS))?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    Ok(socket)
}

fn datagram(to: SocketAddr, octets: &[u8], hops: Option<u32>) -> io::Result<Vec<u8>> {
    let socket = socket(to, Type::DGRAM, hops)?;
    as_tester(&socket, to)?;
    let socket: UdpSocket = socket.into();
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(octets)?;
    let mut answer = vec![0; ANSWER_OCTETS_MAX];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// Says a name to a server that says the same again.
fn say(by: Saying, to: SocketAddr, name: &str) -> io::Result<()> {
    let long = || io::Error::other("the name is too long");
    let hello = client_hello(name, 0).ok_or_else(long)?;
    let said = match by {
        Saying::Quic => {
            let first = initials(1, &rand::random::<[u8; 8]>(), &hello).and_then(|all| all.into_iter().next());
            return datagram(to, &first.ok_or_else(long)?, None).map(|_| ());
        }
        Saying::Sni => record(&hello).ok_or_else(long)?,
        Saying::Host => format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n").into_bytes(),
    };
    let socket = socket(to, Type::STREAM, None)?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&said)?;
    stream.read_exact(&mut vec![0; said.len()])
}

/// Says again what it is told, at a port of TCP and one of UDP, until it is ended: the server of [`Probe::Name`].
///
/// # Errors
/// A port is taken.
pub fn serve(tcp: u16, udp: u16) -> io::Result<()> {
    let (listener, socket) =
        (TcpListener::bind((Ipv4Addr::UNSPECIFIED, tcp))?, UdpSocket::bind((Ipv4Addr::UNSPECIFIED, udp))?);
    std::thread::spawn(move || {
        let mut buffer = [0; ANSWER_OCTETS_MAX];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
        }
    });
    let mut buffer = [0; ANSWER_OCTETS_MAX];
    for mut stream in listener.incoming().flatten() {
        // One after the other, as they are tried.
        let _ = stream.set_read_timeout(Some(PATIENCE));
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(buffer.get(..length).unwrap_or_default()).is_err() {
                break;
            }
        }
    }
    Ok(())
}

fn ask(server: SocketAddr, name: &str, tcp: bool) -> io::Result<Came> {
    let mut query = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    let mut name = Name::from_str(name).map_err(io::Error::other)?;
    name.set_fqdn(true);
    query.add_query(Query::query(name, RecordType::A));
    query.edns.get_or_insert_with(Edns::new).set_max_payload(1_232);
    let octets = query.to_vec().map_err(io::Error::other)?;
    let answer = if tcp { over_tcp(server, &octets)? } else { datagram(server, &octets, None)? };
    let answer = Message::from_vec(&answer).map_err(io::Error::other)?;
    let option = answer.edns.as_ref().and_then(|edns| {
        let (_, option) = edns.options().as_ref().iter().find(|(code, _)| u16::from(*code) == EDE)?;
        Vec::<u8>::try_from(option).ok()
    });
    let code = option.and_then(|data| data.first_chunk().map(|code| u16::from_be_bytes(*code)));
    Ok(if code.is_some_and(|code| EDE_BLOCKED.contains(&code)) { Came::Blocked } else { Came::Answered })
}

fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let socket = socket(server, Type::STREAM, None)?;
    as_tester(&socket, server)?;
    socket.connect_timeout(&server.into(), PATIENCE)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_and_what_came_are_read_back() {
        let at: SocketAddr = "[2001:db8::1]:853".parse().unwrap();
        let dns = Probe::Dns { server: at, name: "a.example".to_owned(), tcp: true };
        let names =
            [Saying::Sni, Saying::Host, Saying::Quic].map(|by| Probe::Name { by, to: at, name: "b.example".into() });
        for probe in [Probe::Tcp(at), Probe::Udp(at), dns].into_iter().chain(names) {
            assert_eq!(probe.to_string().parse(), Ok(probe));
        }
        for came in
            [Came::Open, Came::Refused, Came::Silence, Came::Blocked, Came::Answered, Came::Failed("x".to_owned())]
        {
            assert_eq!(came.to_string().parse(), Ok(came));
        }
        assert!("tcp,nowhere".parse::<Probe>().is_err());
    }
}
