//! QUIC as far as a client's first flight, which anybody can decrypt (RFC 9001 §5.2), and Google's QUIC before it.
//!
//! | type | what |
//! |---|---|
//! | [`QuicClient`] | from datagrams, in any order and cut, to the ClientHello or CHLO that they carry |
//! | [`initials`], [`initial`] | a first flight written, for probes; one packet of it |
//! | [`Long`] | a checked view of a long header |
//! | [`Version`] | what differs between versions |
//! | [`may_be_quic`] | whether a datagram is worth a closer look |

mod client;
mod compose;
mod google;
mod keys;
mod packet;
mod version;

pub use client::{Found, QuicClient};
pub use compose::{initial, initials};
pub use google::server_name as google_server_name;
pub use packet::{Long, may_be_quic};
pub use version::Version;
