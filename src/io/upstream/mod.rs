//! Where misses go: the driver of `engine::resolver::core`, and where its servers come from.
//!
//! | module | what |
//! |---|---|
//! | `driver` | one task that owns the state machine: misses in, replies out |
//! | `sockets` | queries over UDP and their responses: the ports they use |
//! | `streams` | connections, with many queries on each |
//! | [`lookup`] | addresses of a name that the daemon itself wants to reach |
//! | [`resolv`] | the system's servers, ourselves excluded |

mod driver;
pub mod lookup;
pub mod resolv;
mod sockets;
mod streams;

pub use driver::{DRAIN_TIME, run};
