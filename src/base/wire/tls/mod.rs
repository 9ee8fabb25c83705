//! TLS and DTLS as far as the first message of a client: what it says before anything is encrypted.
//!
//! | type | what |
//! |---|---|
//! | [`HelloStream`] | from octets of a stream, in any cuts, to the ClientHello that they carry |
//! | [`ClientHello`] | a checked view of that message: server name, ALPN, versions, whether a name is hidden |
//! | [`ja4`] | the JA4 fingerprint of a client |
//! | [`client_hello`], [`record`] | one written, for probes |
//! | [`DtlsHello`] | the same from datagrams, fragments joined |

mod compose;
mod dtls;
mod hello;
mod ja4;
mod stream;

#[cfg(test)]
pub(crate) use hello::testing;

pub use compose::{client_hello, record};
pub use dtls::{DTLS_RECORD_OCTETS, DtlsHello, is_dtls};
pub use hello::{Alpns, ClientHello, Extensions, Hidden};
pub use ja4::{Transport, ja4};
pub use stream::{HelloStream, Progress};

/// Octets of the largest ClientHello that is read; post-quantum key shares, padding and ECH make up a few thousand.
pub const HELLO_OCTETS_MAX: usize = 1 << 16;
/// The handshake message type of a ClientHello (RFC 8446 §4).
pub const CLIENT_HELLO: u8 = 1;

/// Whether a value is one of those that clients send to keep servers tolerant (RFC 8701).
#[must_use]
pub const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}
