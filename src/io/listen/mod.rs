//! Where clients ask: UDP workers on threads of their own, TCP on the data runtime.
//!
//! ```text
//! recvmmsg ─▶ allowed? within limits? for whom? ─▶ resolver::front::answer ─▶ Answered ─▶ sendmmsg
//!                │ no                                 │          └ hit ─▶ Recorder ─ every 250 ms ─▶ ledger
//!                ▼                                    ├─ Miss ─▶ bounded queue ─▶ io::upstream ─▶ the ReplyPath that went along
//!            silence, or TC                           └─ Drop ─▶ silence
//! ```
//! Every drop is counted. Nothing here waits for a file, for the ledger, or for an upstream.

mod acl;
mod clients;
mod forwarder;
mod limit;
mod tcp;
mod udp;

pub use acl::{Acl, PREFIXES_MAX};
pub use clients::{Clients, FORWARDERS_MAX, ForwarderSink};
pub use forwarder::{Forwarder, Identity};
pub use limit::LimitSettings;
pub use tcp::{CONNECTIONS_MAX, CONNECTIONS_PER_CLIENT_MAX, PIPELINE_MAX, serve_tcp};
pub use udp::spawn_udp;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::sys::plane::{Missed, Plane};

/// What a listener needs beside its socket.
#[derive(Clone, Debug)]
pub struct Listening {
    /// What the data plane shares.
    pub plane: Arc<Plane>,
    /// Who may ask, how much, and for whom.
    pub clients: Arc<Clients>,
    /// Where misses go.
    pub misses: mpsc::Sender<Missed>,
    /// Ends receiving.
    pub stop: CancellationToken,
}
