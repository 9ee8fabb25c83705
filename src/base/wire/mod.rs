//! Checked views over untrusted bytes. Nothing in this room indexes, panics or loops without a bound that is named.
//!
//! | module | what |
//! |---|---|
//! | [`Reader`] | a cursor whose every step is checked |
//! | [`Pieces`] | octets that come in any order, joined within bounds |
//! | [`carrier`] | what may stand in a stream before the protocol that names somebody |
//! | [`dhcp`] | DHCP and DHCPv6: what a client says of itself |
//! | [`dns`] | DNS messages: a view of a query, a view of an answer, writers of both kinds of reply |
//! | [`host`] | hosts as protocols write them |
//! | [`http`] | heads of HTTP/1 in any cut, how far bodies go, authorities of HTTP/2 in the clear |
//! | [`packet`] | captured frames: from the link down to TCP, UDP and ICMP, through tunnels |
//! | [`tls`] | ClientHellos of TLS and DTLS, from records in any cut; JA4 |
//! | [`quic`] | the same from QUIC Initials of every version, and Google's QUIC |

pub mod carrier;
pub mod dhcp;
pub mod dns;
pub mod host;
pub mod http;
pub mod packet;
pub mod pieces;
pub mod quic;
mod reader;
pub mod tls;

pub use pieces::Pieces;
pub use reader::{Reader, Short};
