//! A place that blocked names lead to: it takes connections and datagrams, hears what is said first, and ends them.
//!
//! No certificate is needed: a TLS client says its name before it asks for one, and gets an alert. An HTTP client gets a short refusal.
//! Everything is bounded, by number, by client, by octets and by time, and what is turned away is counted.

mod tcp;
mod udp;

use crate::base::model::Wall;
use crate::engine::inspector::First;
use crate::io::sys::socket;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// Connections at once, at all addresses together.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Connections of one client: an IPv4 address or an IPv6 /64.
pub const CONNECTIONS_PER_CLIENT_MAX: usize = 32;

/// Why a sinkhole cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SinkholeError {
    /// EADDRINUSE.
    #[error(
        "{0}: address already in use: another program listens there (`ss -lntup` shows it); give another address in [sinkhole] listen"
    )]
    InUse(SocketAddr),
    /// EACCES.
    #[error(
        "{0}: permission denied: ports below 1024 need CAP_NET_BIND_SERVICE; run as a service that has it, or give higher ports in \
         [sinkhole] listen"
    )]
    Denied(SocketAddr),
    /// EADDRNOTAVAIL.
    #[error(
        "{0}: no interface of this machine has that address; add it (`ip address add … dev lo`), or correct [sinkhole] listen"
    )]
    NotOurs(SocketAddr),
    /// Anything else.
    #[error("{0}: cannot listen: {1}")]
    Other(SocketAddr, io::Error),
}

/// The sockets of one address.
#[derive(Debug)]
pub struct Sockets {
    /// The address, with the port that was chosen where 0 was asked for.
    pub address: SocketAddr,
    tcp: TcpListener,
    udp: UdpSocket,
}

/// Opens an address.
///
/// # Errors
/// A sentence with the address, the reason, and what to do.
pub fn open(address: SocketAddr) -> Result<Sockets, SinkholeError> {
    let (address, tcp, udp) = socket::both(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => SinkholeError::InUse(address),
        io::ErrorKind::PermissionDenied => SinkholeError::Denied(address),
        io::ErrorKind::AddrNotAvailable => SinkholeError::NotOurs(address),
        _ => SinkholeError::Other(address, error),
    })?;
    Ok(Sockets { address, tcp, udp })
}

/// What somebody said first, and where.
#[derive(Clone, Debug)]
pub struct Contact {
    /// When.
    pub at: Wall,
    /// Who.
    pub client: SocketAddr,
    /// The address of ours.
    pub local: SocketAddr,
    /// What.
    pub first: First,
}

/// Whether an address may connect. It must neither wait nor panic.
pub type Admits = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;
/// Takes what was said. It must neither wait nor panic.
pub type Hears = Box<dyn Fn(Contact) + Send + Sync>;

/// What was taken and what was turned away.
#[derive(Debug, Default)]
pub struct Counters {
    connections: AtomicU64,
    tls: AtomicU64,
    http: AtomicU64,
    quic: AtomicU64,
    other: AtomicU64,
    silent: AtomicU64,
    refused: AtomicU64,
    dropped_connections: AtomicU64,
    dropped_client: AtomicU64,
    dropped_datagrams: AtomicU64,
}

impl Counters {
    /// Each by its name.
    #[must_use]
    pub fn snapshot(&self) -> [(&'static str, u64); 10] {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("connections", count(&self.connections)),
            ("tls", count(&self.tls)),
            ("http", count(&self.http)),
            ("quic", count(&self.quic)),
            ("other", count(&self.other)),
            ("silent", count(&self.silent)),
            ("refused", count(&self.refused)),
            ("dropped_connections", count(&self.dropped_connections)),
            ("dropped_client", count(&self.dropped_client)),
            ("dropped_datagrams", count(&self.dropped_datagrams)),
        ]
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What all addresses of a sinkhole share.
pub struct Sinkhole {
    admits: Admits,
    hears: Hears,
    counters: Counters,
    places: Mutex<BTreeMap<IpAddr, usize>>,
}

impl fmt::Debug for Sinkhole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sinkhole").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl Sinkhole {
    /// One that nobody has connected to.
    #[must_use]
    pub fn new(admits: Admits, hears: Hears) -> Self {
        Self { admits, hears, counters: Counters::default(), places: Mutex::default() }
    }

    /// What was taken and what was turned away.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Serves one address until `stop` is cancelled.
    ///
    /// # Errors
    /// The kernel's, when the sockets cannot be given to the runtime.
    pub async fn serve(self: Arc<Self>, sockets: Sockets, stop: CancellationToken) -> io::Result<()> {
        let Sockets { address, tcp, udp } = sockets;
        let streams = tcp::serve(Arc::clone(&self), tcp, stop.clone());
        let datagrams = udp::serve(self, (address, udp), stop);
        tokio::try_join!(streams, datagrams).map(|_| ())
    }

    /// Counts and hands on what was said.
    fn heard(&self, contact: Contact) {
        add(match contact.first {
            First::Tls(_) => &self.counters.tls,
            First::Http(_) | First::H2(_) => &self.counters.http,
            First::Quic(_) => &self.counters.quic,
            First::Other => &self.counters.other,
            First::Silence => &self.counters.silent,
        });
        (self.hears)(contact);
    }

    /// A place for a connection of a client, if it may have one.
    fn admit(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        add(&self.counters.connections);
        if !(self.admits)(client) {
            add(&self.counters.refused);
            return None;
        }
        let client = group(client);
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = places.values().sum();
        let count = places.get(&client).copied().unwrap_or(0);
        if count >= CONNECTIONS_PER_CLIENT_MAX {
            add(&self.counters.dropped_client);
            return None;
        }
        if all >= CONNECTIONS_MAX {
            add(&self.counters.dropped_connections);
            return None;
        }
        places.insert(client, count + 1);
        Some(Place { sinkhole: Arc::clone(self), client })
    }
}

/// A connection's place, given back when dropped.
struct Place {
    sinkhole: Arc<Sinkhole>,
    client: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.sinkhole.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = places.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                places.remove(&self.client);
            }
        }
    }
}

/// Whom a connection counts for: one host has a /64 of IPv6 addresses at its will.
fn group(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
    }
}
