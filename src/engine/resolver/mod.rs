//! The resolver: what is answered from the policy and the cache, and what happens to a miss.
//!
//! | module | what |
//! |---|---|
//! | [`core`] | misses: one state machine for what is asked upstream |
//! | [`front`] | from a query to a reply, a miss or silence; allocates nothing |
//! | [`cache`] | upstream answers, shared by all workers, bounded in octets |
//! | [`stored`] | an upstream answer in the form in which it is kept and served |

mod alias;
mod block;
pub mod cache;
mod cookie;
pub mod core;
mod error;
pub mod front;
mod judge;
mod local;
mod shard;
pub mod stored;

pub use cache::{Cache, CacheKey};
pub use cookie::Cookies;
pub use front::{Ask, DropReason, Failure, Miss, Outcome, Transport};
pub use stored::{AnswerError, AnswerLimits, StoredAnswer};
