//! The program as a user runs it: the real binary, started with a config, asked over real sockets, and read through its commands.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

#[path = "common/dns.rs"]
mod dns;
#[path = "common/git.rs"]
mod git;
#[path = "common/daemon.rs"]
mod harness;
#[path = "common/tier.rs"]
mod tier;
#[path = "common/upstream.rs"]
mod upstream;

#[path = "daemon/answers.rs"]
mod answers;
#[path = "daemon/clients.rs"]
mod clients;
#[path = "daemon/commands.rs"]
mod commands;
#[path = "daemon/conformance.rs"]
mod conformance;
#[path = "daemon/dates.rs"]
mod dates;
#[path = "daemon/enforced.rs"]
mod enforced;
#[path = "daemon/errors.rs"]
mod errors;
#[path = "daemon/gate.rs"]
mod gate;
#[path = "daemon/interop.rs"]
mod interop;
#[path = "daemon/lists.rs"]
mod lists;
#[path = "daemon/naive.rs"]
mod naive;
#[path = "daemon/remotes.rs"]
mod remotes;
#[path = "daemon/sinkhole.rs"]
mod sinkhole;
#[path = "daemon/start.rs"]
mod start;
#[path = "daemon/targets.rs"]
mod targets;
#[path = "daemon/truth.rs"]
mod truth;
