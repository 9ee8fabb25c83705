//! What frames say about who talks to whom.
//!
//! | module | what |
//! |---|---|
//! | [`fragments`] | datagrams put together from IP fragments |
//! | [`Reader`] | from frames to what is said in them: names, requests, answers |
//! | [`Observation`], [`Seen`], [`NameKind`], [`Ends`] | that |
//!
//! Everything is bounded and counted: flows and the octets that they hold ([`FlowLosses`]), streams ([`StreamLosses`]).

mod datagram;
mod dialogue;
mod flow;
pub mod fragments;
mod names;
mod reader;
mod stream;

pub use flow::FlowLosses;
pub use names::{Ends, NameKind, Seen};
pub use reader::{At, Counters, Observation, Reader};
pub use stream::StreamLosses;
