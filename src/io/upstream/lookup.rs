//! Addresses of a name, asked of the upstream servers directly: for what the daemon itself wants to reach while it may be the
//! only DNS of its network. Blocks; a caller gives it a thread.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::str::FromStr;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

/// How long one server may take for one question.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Servers that are asked for one name before it counts as unknown.
const SERVERS_ASKED_MAX: usize = 4;
/// Octets of the longest UDP response that is read; without EDNS a server sends 512.
const RECEIVE_OCTETS: usize = 4_096;

/// The IPv4 and IPv6 addresses of a name, from the first server that knows; none where no server does.
#[must_use]
pub fn addresses(servers: &[SocketAddr], name: &str) -> Vec<IpAddr> {
    let Ok(mut name) = Name::from_str(name) else { return Vec::new() };
    name.set_fqdn(true);
    let mut found = Vec::new();
    for rtype in [RecordType::A, RecordType::AAAA] {
        let answer = servers.iter().take(SERVERS_ASKED_MAX).find_map(|server| {
            let asked = ask(*server, &name, rtype);
            asked.inspect_err(|error| tracing::debug!(%error, %server, "a server gives no address")).ok()
        });
        found.extend(answer.into_iter().flatten());
    }
    found
}

/// Asks one server for one type; over TCP where the answer does not fit.
fn ask(server: SocketAddr, name: &Name, rtype: RecordType) -> io::Result<Vec<IpAddr>> {
    let mut query = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name.clone(), rtype));
    let octets = query.to_vec().map_err(io::Error::other)?;
    let mut response = over_udp(server, &query, &octets)?;
    if response.metadata.truncation {
        response = over_tcp(server, &query, &octets)?;
    }
    match response.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        code => return Err(io::Error::other(format!("the server says {code}"))),
    }
    let address = |data: &RData| match data {
        RData::A(a) => Some(IpAddr::from(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.0)),
        _ => None,
    };
    Ok(response.answers.iter().filter_map(|record| address(&record.data)).collect())
}

/// A fresh source port; what is no answer to this question is passed over until the time is up.
fn over_udp(server: SocketAddr, query: &Message, octets: &[u8]) -> io::Result<Message> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(octets)?;
    let start = Instant::now();
    let mut buffer = [0; RECEIVE_OCTETS];
    loop {
        let left = TIMEOUT.checked_sub(start.elapsed()).filter(|left| !left.is_zero());
        socket.set_read_timeout(Some(left.ok_or(io::ErrorKind::TimedOut)?))?;
        let len = socket.recv(&mut buffer)?;
        if let Some(response) = response(query, buffer.get(..len).unwrap_or_default()) {
            return Ok(response);
        }
    }
}

fn over_tcp(server: SocketAddr, query: &Message, octets: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let len = u16::try_from(octets.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), octets].concat())?;
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut answer)?;
    response(query, &answer).ok_or_else(|| io::Error::other("the answer is to another question"))
}

/// A message, if it is the response to this query.
fn response(query: &Message, octets: &[u8]) -> Option<Message> {
    let response = Message::from_vec(octets).ok()?;
    let is_ours = response.metadata.id == query.metadata.id
        && response.metadata.message_type == MessageType::Response
        && response.queries == query.queries;
    is_ours.then_some(response)
}
