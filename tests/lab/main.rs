//! The lab: the real program under load, under attack, killed and reloaded.
//!
//! One `#[test]` a behaviour; what it does is in the module beside. Sizes come from the tier: seconds with `cargo test`, minutes
//! with `.ci/run`, the claimed figures with `tests/soak NAME`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a scenario stops at the first surprise")]
#![allow(clippy::indexing_slicing, reason = "a scenario stops at the first surprise")]
#![allow(clippy::print_stdout, reason = "the figures of a scenario are what `tests/soak` shows")]

#[path = "../common/tier.rs"]
mod tier;

mod bounded;
mod chain;
mod clause;
mod cost;
mod daemon;
mod deaf;
mod devices;
mod dns;
mod gateway;
mod hostile;
mod kernel;
mod kill;
mod learned;
mod load;
mod malformed;
mod memory;
mod names;
mod net;
mod paths;
mod reload;
mod roles;
mod routed;
mod sighted;
mod sink;
mod space;
mod takeover;
mod upstream;
mod verify;
mod ways;

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

/// Clients that ask over TCP without end and read nothing are ended and starve nobody.
#[test]
fn streams_that_never_read_starve_nobody() {
    space::within("streams_that_never_read_starve_nobody", deaf::streams_that_never_read_starve_nobody);
}

/// All floods at once, in 128 MiB that the kernel allows: nothing is killed, and cached names are answered.
#[test]
fn all_floods_fit_into_128_mib() {
    bounded::all_floods_fit_into_128_mib();
}

/// Chains of aliases that have expired in part are answered in an order that glibc's stub follows.
#[test]
fn chains_that_have_expired_in_part_resolve() {
    space::within("chains_that_have_expired_in_part_resolve", chain::chains_that_have_expired_in_part_resolve);
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

/// Each way to a listed destination is open without the ban, shut with it, and in the ledger; everything else passes unharmed.
#[test]
fn every_path_is_shut_and_named() {
    space::within("every_path_is_shut_and_named", paths::every_path_is_shut_and_named);
}

/// Connections whose first packets say a listed name are refused, whatever the address, the client, and the cut of its packets; others are
/// not touched.
#[test]
fn real_clients_are_told_by_their_names() {
    space::within("real_clients_are_told_by_their_names", names::real_clients_are_told_by_their_names);
}

/// Where the operator wants it, connections of the gateway itself are told by their names too.
#[test]
fn this_machines_own_connections_are_told_by_their_names() {
    space::within(
        "this_machines_own_connections_are_told_by_their_names",
        names::this_machines_own_connections_are_told_by_their_names,
    );
}

/// Within a second of a new ban, open connections with a name that it lists are ended, and no other.
#[test]
fn a_new_ban_ends_open_connections() {
    space::within("a_new_ban_ends_open_connections", names::a_new_ban_ends_open_connections);
}

/// A table of a process before us, or of the boot, is taken over again and again without letting a packet through.
#[test]
fn a_table_is_taken_over_without_a_gap() {
    space::within("a_table_is_taken_over_without_a_gap", takeover::a_table_is_taken_over_without_a_gap);
}

/// SIGKILL and SIGSTOP under load let no packet through to a listed address and break no other flow.
#[test]
fn a_dead_or_stopped_daemon_leaks_nothing() {
    space::within("a_dead_or_stopped_daemon_leaks_nothing", gateway::a_dead_or_stopped_daemon_leaks_nothing);
}

/// Another hand that flushes the ruleset again and again opens nothing where the kernel lets us own the table, and is mended within a
/// second where it does not.
#[test]
fn a_storm_of_flushes_opens_nothing() {
    space::within("a_storm_of_flushes_opens_nothing", gateway::a_storm_of_flushes_opens_nothing);
}

/// What enforcing a hundred thousand ranges and names costs those who are not listed: throughput, handshakes, first packets. Printed only.
#[test]
fn what_enforcement_costs_others() {
    space::within("what_enforcement_costs_others", cost::what_enforcement_costs_others);
}

/// One host that sends without end hides none of those that send a packet.
#[test]
fn one_host_hides_none() {
    space::within("one_host_hides_none", gateway::one_host_hides_none);
}

/// A change of a hundred thousand ranges lets no packet through to an address that is listed before and after.
#[test]
fn a_large_update_has_no_gap() {
    space::within("a_large_update_has_no_gap", gateway::a_large_update_has_no_gap);
}

/// What would cut the box off is refused with the rule's name, what is not confirmed is undone, and what is removed leaves nothing.
#[test]
fn apply_refuses_undoes_and_removes() {
    space::within("apply_refuses_undoes_and_removes", gateway::apply_refuses_undoes_and_removes);
}

/// Without privileges, and on a kernel without nftables, there is one clear sentence and nothing is changed.
#[test]
fn what_cannot_be_done_is_said_in_a_sentence() {
    space::within("what_cannot_be_done_is_said_in_a_sentence", gateway::what_cannot_be_done_is_said_in_a_sentence);
}

/// Behind a forwarder the resolver sees one client; what connects to the sinkhole is named itself, and the forwarder is marked.
#[test]
fn behind_a_forwarder_the_sinkhole_names_the_client() {
    space::within(
        "behind_a_forwarder_the_sinkhole_names_the_client",
        sink::behind_a_forwarder_the_sinkhole_names_the_client,
    );
}

/// Dynamic updates, zone transfers, an internal resolver and routes by mark work behind the gateway as before.
#[test]
fn a_domains_own_traffic_is_left_alone() {
    space::within("a_domains_own_traffic_is_left_alone", routed::a_domains_own_traffic_is_left_alone);
}

/// A client that changes address and name stays one endpoint, on a flat segment and behind a router with a DHCP relay; fifty behind one
/// router are fifty.
#[test]
fn a_device_is_one_endpoint_wherever_it_is() {
    space::within("a_device_is_one_endpoint_wherever_it_is", devices::a_device_is_one_endpoint_wherever_it_is);
}

/// Addresses that listed names lead to are recorded, refused where that is wanted, never where others live too, and forgotten.
#[test]
fn learned_addresses_are_recorded_refused_and_forgotten() {
    space::within(
        "learned_addresses_are_recorded_refused_and_forgotten",
        learned::learned_addresses_are_recorded_refused_and_forgotten,
    );
}

/// Encrypted DNS is refused to an endpoint that tried what is blocked, for a time, and to nobody else.
#[test]
fn encrypted_dns_is_refused_to_who_tried() {
    space::within("encrypted_dns_is_refused_to_who_tried", sighted::encrypted_dns_is_refused_to_who_tried);
}

/// A refused name, the vendor's five fallback resolvers and literal addresses are one incident, stopped at every step.
#[test]
fn the_documented_fallback_is_one_incident() {
    space::within("the_documented_fallback_is_one_incident", ways::the_documented_fallback_is_one_incident);
}

/// `verify` finds everything enforced where it is, and each of ten broken enforcements.
#[test]
fn verify_finds_what_is_broken() {
    space::within("verify_finds_what_is_broken", verify::verify_finds_what_is_broken);
}
