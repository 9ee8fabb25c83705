//! Where misses go: the driver of `engine::resolver::core`, and where its servers come from.
//!
//! | module | what |
//! |---|---|
//! | `driver` | one task that owns the state machine: misses in, replies out |
//! | `exchange` | one query and its response: a UDP socket of its own, or a TCP connection |
//! | [`lookup`] | addresses of a name that the daemon itself wants to reach |
//! | [`resolv`] | the system's servers, ourselves excluded |

mod driver;
mod exchange;
pub mod lookup;
pub mod resolv;

pub use driver::{DRAIN_TIME, run};
