//! Checked views over untrusted bytes. Nothing in this room indexes, panics or loops without a bound that is named.
//!
//! | module | what |
//! |---|---|
//! | [`Reader`] | a cursor whose every step is checked |
//! | [`dhcp`] | DHCP and DHCPv6: what a client says of itself |
//! | [`dns`] | DNS messages: a view of a query, a view of an answer, writers of both kinds of reply |
//! | [`packet`] | captured frames: from the link down to TCP, UDP and ICMP, through tunnels |

pub mod dhcp;
pub mod dns;
pub mod packet;
mod reader;

pub use reader::{Reader, Short};
