//! The lab: the real program under load, under attack, killed and reloaded.
//!
//! One `#[test]` a behaviour; what it does is in the module beside. Sizes come from the tier: seconds with `cargo test`, minutes
//! with `.ci/run`, the claimed figures with `tests/soak NAME`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a scenario stops at the first surprise")]
#![allow(clippy::indexing_slicing, reason = "a scenario stops at the first surprise")]
#![allow(clippy::print_stdout, reason = "the figures of a scenario are what `tests/soak` shows")]

#[path = "../common/tier.rs"]
mod tier;

mod clause;
mod daemon;
mod dns;
mod hostile;
mod kill;
mod load;
mod malformed;
mod memory;
mod reload;
mod upstream;

/// Killed at any moment, the ledger has everything that it said it had, and lacks a second's attempts at most.
#[test]
fn sigkill_loses_at_most_a_second() {
    kill::sigkill_loses_at_most_a_second();
}

/// Reloads, refused ones among them, lose no query and make no answer wrong; each takes effect before it is acknowledged.
#[test]
fn reloads_lose_nothing() {
    reload::reloads_lose_nothing();
}

/// A reload takes no more memory than the rules that it builds and 16 MiB, and gives it back within two seconds, each time.
#[test]
fn reloads_give_their_memory_back() {
    memory::reloads_give_their_memory_back();
}

/// When the date of a clause passes, what it forbids is blocked within a second: also what the cache holds.
#[test]
fn a_clause_date_passes() {
    clause::a_clause_date_passes();
}

/// Messages that are no queries, over UDP and TCP, stop nothing, are answered as they should be, and take no memory.
#[test]
fn malformed_messages_do_no_harm() {
    hostile::malformed_messages_do_no_harm();
}

/// Clients that send a byte a second over TCP are ended and starve nobody.
#[test]
fn slow_streams_starve_nobody() {
    hostile::slow_streams_starve_nobody();
}

/// Random names below one zone whose servers are silent leave room for questions below others.
#[test]
fn a_flood_of_misses_leaves_room_for_others() {
    hostile::a_flood_of_misses_leaves_room_for_others();
}

/// With few descriptors, held by idle streams, answers that need none go on, and everything does once they are given back.
#[test]
fn few_descriptors_stop_no_answer_that_needs_none() {
    hostile::few_descriptors_stop_no_answer_that_needs_none();
}
