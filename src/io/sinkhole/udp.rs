//! Datagrams: the first flights of QUIC clients are read and not answered.

use super::{CONNECTIONS_PER_CLIENT_MAX, Contact, Sinkhole, add, group};
use crate::engine::inspector::QuicOpening;
use crate::io::sys::clock;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Clients whose datagrams are joined at once at one address.
const CLIENTS_MAX: usize = 1_024;
/// How long a client is remembered after its last datagram: it sends its first flight again and again, which is one attempt.
const REMEMBERED: Duration = Duration::from_secs(10);
/// The largest datagram.
const DATAGRAM_OCTETS_MAX: usize = 65_535;
/// The pause after an error of the socket.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// One client's datagrams.
struct Client {
    /// `None` once it has said who it wanted.
    opening: Option<QuicOpening>,
    last: Instant,
}

/// Reads until `stop` is cancelled.
pub(super) async fn serve(
    sinkhole: Arc<Sinkhole>,
    (local, socket): (SocketAddr, std::net::UdpSocket),
    stop: CancellationToken,
) -> io::Result<()> {
    let socket = UdpSocket::from_std(socket)?;
    let mut clients: HashMap<SocketAddr, Client> = HashMap::new();
    let mut buffer = vec![0; DATAGRAM_OCTETS_MAX];
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            received = socket.recv_from(&mut buffer) => received,
        };
        match received {
            Ok((length, client)) => {
                let datagram = buffer.get(..length).unwrap_or_default();
                datagram_of(&sinkhole, &mut clients, (client, local), datagram);
            }
            Err(error) => {
                tracing::debug!(%error, "reading datagrams of the sinkhole");
                sleep(ERROR_PAUSE).await;
            }
        }
    }
}

fn datagram_of(
    sinkhole: &Arc<Sinkhole>,
    clients: &mut HashMap<SocketAddr, Client>,
    (client, local): (SocketAddr, SocketAddr),
    datagram: &[u8],
) {
    let now = Instant::now();
    if !clients.contains_key(&client) {
        if !(sinkhole.admits)(client.ip()) {
            return add(&sinkhole.counters.refused);
        }
        clients.retain(|_, held| now.duration_since(held.last) < REMEMBERED);
        let own = group(client.ip());
        let of_client = clients.keys().filter(|held| group(held.ip()) == own).count();
        if of_client >= CONNECTIONS_PER_CLIENT_MAX || clients.len() >= CLIENTS_MAX {
            return add(&sinkhole.counters.dropped_datagrams);
        }
    }
    let held = clients.entry(client).or_insert_with(|| Client { opening: Some(QuicOpening::default()), last: now });
    held.last = now;
    let Some(first) = held.opening.as_mut().and_then(|opening| opening.feed(datagram)) else { return };
    held.opening = None;
    sinkhole.heard(Contact { at: clock::now().wall, client, local, first });
}
