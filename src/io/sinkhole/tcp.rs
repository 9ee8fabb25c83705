//! Connections: what is said first is heard, the client gets an answer that it understands, and that is the end.

use super::{Contact, Place, Sinkhole};
use crate::engine::inspector::{First, Opening};
use crate::io::sys::clock;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long a client may take to say something.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of a connection may take.
const END_TIME: Duration = Duration::from_secs(1);
/// Octets that are read and forgotten at the end: a client that is still sending when we close sees a reset instead of the answer.
const DRAINED_OCTETS_MAX: usize = 1 << 16;
/// The pause when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// TLS: a fatal alert, `access_denied` (RFC 8446 §6.2).
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 49];
/// HTTP: no, and nothing to keep.
const REFUSAL: &[u8] =
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 8\r\nCache-Control: no-store\r\n\
    Connection: close\r\n\r\nblocked\n";

/// Accepts until `stop` is cancelled.
pub(super) async fn serve(
    sinkhole: Arc<Sinkhole>,
    listener: std::net::TcpListener,
    stop: CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    if let Some(place) = sinkhole.admit(client.ip()) {
                        connections.spawn(connection(place, stream, client));
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "accepting connections to the sinkhole");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // What was not heard yet would not be heard in time.
    connections.shutdown().await;
    Ok(())
}

async fn connection(place: Place, mut stream: TcpStream, client: SocketAddr) {
    let Ok(local) = stream.local_addr() else { return };
    // A refusal is small and the last thing said.
    let _ = stream.set_nodelay(true);
    let mut opening = Opening::default();
    let listen = async {
        let mut buffer = [0; 2_048];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            if opening.feed(buffer.get(..length).unwrap_or_default()) {
                break;
            }
        }
    };
    // Too late is also an end: what was said until then counts.
    let _ = timeout(PATIENCE, listen).await;
    let first = opening.finish();
    let answer = match &first {
        First::Tls(_) => ALERT,
        First::Http(_) => REFUSAL,
        First::H2(_) | First::Quic(_) | First::Other | First::Silence => &[],
    };
    place.sinkhole.heard(Contact { at: clock::now().wall, client, local, first });
    let _ = timeout(END_TIME, end(&mut stream, answer)).await;
    drop(place);
}

/// Says the answer, and that it was all.
async fn end(stream: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    let (mut buffer, mut drained) = ([0; 2_048], 0);
    while drained < DRAINED_OCTETS_MAX {
        match stream.read(&mut buffer).await? {
            0 => break,
            length => drained += length,
        }
    }
    Ok(())
}
