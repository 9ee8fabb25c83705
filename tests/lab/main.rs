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
mod kernel;
mod kill;
mod load;
mod malformed;
mod reload;
mod roles;
mod space;
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

//----------- The gateway ----------------------------------------------------

/// Begins a process of a scenario in another network namespace; by itself it does nothing.
#[test]
fn role() {
    space::play();
}

/// What `gateway plan` prints and what we tell the kernel are the same tables, as `nft` lists them.
#[test]
fn the_printed_plan_is_what_the_kernel_gets() {
    space::within("the_printed_plan_is_what_the_kernel_gets", kernel::the_printed_plan_is_what_the_kernel_gets);
}

/// Differences lead from any table to any other, and counters go on.
#[test]
fn changes_make_the_new_table_of_the_old_one() {
    space::within("changes_make_the_new_table_of_the_old_one", kernel::changes_make_the_new_table_of_the_old_one);
}

/// A hundred thousand ranges are put in force, changed and looked at in seconds.
#[test]
fn a_hundred_thousand_ranges_take_seconds() {
    space::within("a_hundred_thousand_ranges_take_seconds", kernel::a_hundred_thousand_ranges_take_seconds);
}
