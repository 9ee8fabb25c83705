//! Where misses go: the driver of `engine::resolver::core`, and where its servers come from.
//!
//! | module | what |
//! |---|---|
//! | `driver` | one task that owns the state machine: misses in, replies out |
//! | `exchange` | one query over UDP and its response: a socket of its own |
//! | `streams` | connections, with many queries on each |
//! | [`lookup`] | addresses of a name that the daemon itself wants to reach |
//! | [`resolv`] | the system's servers, ourselves excluded |

mod driver;
mod exchange;
pub mod lookup;
pub mod resolv;
mod streams;

pub use driver::{DRAIN_TIME, run};
