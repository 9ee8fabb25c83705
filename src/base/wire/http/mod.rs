//! HTTP on the wire as far as it names somebody (RFC 9112, RFC 9113): heads of requests and replies, lengths of bodies.
//!
//! | type | what |
//! |---|---|
//! | [`HeadStream`] | from octets of a stream, in any cuts, to the next head |
//! | [`Request`], [`Response`], [`Headers`] | checked views of a head, as tolerant as servers are |
//! | [`Body`] | how far the body goes, without holding it |
//! | [`H2Stream`] | HTTP/2 without TLS: the authority of every request |

mod body;
mod h2;
mod head;
mod hpack;
mod huffman;

pub use body::{Body, Chunk};
pub use h2::{H2_PREFACE, H2Stream};
pub use head::{HEAD_OCTETS_MAX, HeadStream, Headers, Request, Response, is_method};
