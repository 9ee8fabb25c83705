//! Blocklists from git: fetch, verify, read; what becomes policy is for others to decide.
//!
//! ```text
//! Source::check ─▶ fetch into a repository beside ─▶ history, time ─▶ signature ─▶ sizes ─▶ files ─▶ Update
//!                                   app: parse ▸ gate ▸ activate ─▶ Source::accept ─▶ kept repository, record.toml
//! ```
//! Under `<dir>`: `kept.git` has the history of accepted commits and nothing else; `record.toml` says which commit is in force and
//! which was the newest; `incoming-*.git` is what an attempt fetched, gone with it. A refusal or a crash leaves the first two as
//! they were. `docs/git-lists.md` tells operators what is refused and why.
//!
//! | module | what |
//! |---|---|
//! | [`source`] | one remote and its reference: check, accept, pin, roll back, import |
//! | [`git`] | the port over the `git` program |
//! | [`remote`] | addresses, references and paths, parsed |
//! | [`object`] | commits and tags, taken apart |
//! | [`signers`] | allowed-signers files |
//! | [`signature`] | SSH signatures, verified in process |
//! | [`record`] | what is remembered |
//! | [`schedule`] | when to look again, and when to worry |

mod files;
pub mod git;
mod incoming;
pub mod object;
pub mod record;
mod refused;
pub mod remote;
mod run;
pub mod schedule;
pub mod signature;
pub mod signers;
pub mod source;
mod transport;

pub use git::Access;
pub use object::CommitId;
pub use refused::Refused;
pub use remote::{Reference, Remote, RepoPath};
pub use run::{GitError, Limits, Progress};
pub use source::{Found, Source, Update};
