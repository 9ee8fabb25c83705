//! Texts that yield rules, one file a format. Pure over text: whoever calls has read the file.
//!
//! | module | format |
//! |---|---|
//! | [`vendor`] | vendor files: facts with sources, purposes, authorities and dates |
//! | [`bundled`] | the vendor files inside the binary |
//! | `domains` | one name a line, with or without `*.` |
//! | `hosts` | hosts files |
//! | `adblock` | adblock rules as DNS filters read them |
//! | `dnsmasq`, `unbound` | the configuration of these servers, as far as it lists names |
//! | `rpz` | response policy zones |
//! | `v2fly` | v2fly domain lists |
//! | `ranges` | one address or prefix a line |
//! | `format` | which of them a file is |
//! | `line` | what they share: bounded lines, comments, and when a file is no list |
//! | `host` | names in any script |
//! | `out` | what they hand on, and what no list may hold |

mod adblock;
pub mod bundled;
mod dnsmasq;
mod domains;
pub(super) mod format;
mod host;
mod hosts;
mod line;
pub(super) mod out;
mod problem;
mod ranges;
mod rpz;
#[cfg(test)]
mod testing;
mod unbound;
mod v2fly;
pub mod vendor;

pub use format::Format;
pub use line::{BadLine, Refusal, Report};
pub use problem::{ListError, PROBLEMS_MAX, Problem, did_you_mean};
pub use ranges::parse as parse_range;
