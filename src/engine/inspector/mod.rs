//! What frames say about who talks to whom, and what the policy says of it.
//!
//! ```text
//! frame ─ Reader: decode ▸ fragments ▸ flow ▸ stream ▸ dialogue ─▶ Observation ─ Judge: policy, signatures, memory ─▶ Findings
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`endpoint`] | who is behind an address: devices and dated facts |
//! | [`fragments`] | datagrams put together from IP fragments |
//! | [`Reader`] | from frames to what is said in them: names, requests, answers |
//! | [`Observation`], [`Seen`], [`NameKind`], [`Ends`], [`At`] | that |
//! | [`Opening`], [`QuicOpening`], [`Openings`], [`First`], [`Hello`], [`Sunk`] | what is said first to a sinkhole, and what that is |
//! | [`Judge`] | one verdict a flow; payload forms; what clients resolved; ways around a block |
//! | [`Inline`], [`Ruling`] | what becomes of packets that wait for it |
//! | [`Findings`], [`RowKey`], [`Row`], [`Incident`], [`Relay`], [`Blind`] | what came of it |
//! | [`Attempt`], [`What`], [`Elsewhere`] | the same one by one, for the ledger, without what others record already |
//!
//! Everything is bounded and counted: flows and the octets that they hold ([`FlowLosses`]), streams ([`StreamLosses`]), rows and what
//! is remembered ([`Blind`]).

mod attempt;
mod bypass;
mod datagram;
mod dialogue;
mod early;
pub mod endpoint;
mod finding;
mod flow;
pub mod fragments;
mod idle;
mod inline;
mod judge;
mod memory;
mod names;
mod opening;
mod pass;
mod reader;
mod signature;
mod stream;
mod tell;

pub use attempt::{Attempt, Elsewhere, What};
pub use finding::{Blind, Findings, Incident, Relay, Row, RowKey};
pub use flow::FlowLosses;
pub use inline::{Inline, InlineCounters, LOOK_OCTETS_MAX, Ruling};
pub use judge::Judge;
pub use names::{Ends, NameKind, Seen};
pub use opening::{First, Hello, OPENING_OCTETS_MAX, Opening, Openings, QuicOpening, Sunk};
pub use reader::{At, Counters, Observation, Reader};
pub use stream::{Progress, StreamLosses};
