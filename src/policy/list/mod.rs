//! Texts that yield rules, one file a format. Pure over text: whoever calls has read the file.
//!
//! | module | format |
//! |---|---|
//! | [`vendor`] | vendor files: facts with sources, purposes, authorities and dates |
//! | [`bundled`] | the vendor files inside the binary |

pub mod bundled;
mod problem;
pub mod vendor;

pub use problem::{ListError, PROBLEMS_MAX, Problem, did_you_mean};
