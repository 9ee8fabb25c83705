//! Texts that yield rules, one file a format. Pure over text: whoever calls has read the file.
//!
//! | module | format |
//! |---|---|
//! | [`vendor`] | vendor files: facts with sources, purposes, authorities and dates |
//! | [`bundled`] | the vendor files inside the binary |
//! | `domains` | one name a line |
//! | `ranges` | one address or prefix a line |
//! | `format` | which of the last two a file is |
//! | `line` | what those two share: bounded lines, comments, and when a file is no list |

pub mod bundled;
mod domains;
pub(super) mod format;
mod line;
mod problem;
mod ranges;
pub mod vendor;

pub use format::Format;
pub use line::{BadLine, Refusal, Report};
pub use problem::{ListError, PROBLEMS_MAX, Problem, did_you_mean};
pub use ranges::parse as parse_range;
