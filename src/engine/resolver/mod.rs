//! The resolver: what is answered from the policy and the cache, and what happens to a miss.

pub mod core;
mod stand_in;
pub use stand_in::*;
