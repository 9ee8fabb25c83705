//! `interdict` enforces a vendor ban on the network: a DNS resolver that stops the update and telemetry traffic of listed
//! vendors, and a ledger that names the endpoints that still try.
//!
//! This page is the map. Code stands in five rooms, and a room uses only those below it; within `engine` and `io` no module
//! uses its neighbours, except that drivers share [`io::sys`]. `tests/tidy.rs` holds the code to that.
//!
//! ```text
//! query ─ io::listen ─▶ engine::resolver::front ─▶ answered │ miss │ drop
//!                          miss ─▶ engine::resolver::core ─▶ io::upstream ─▶ judged answer ─▶ cache
//!             hits, folded ─▶ engine::ledger ─▶ io::store (SQLite) ─▶ app::cli report
//! config, lists ─ app ─▶ policy::Policy (epoch) ─ swapped ─▶ every worker, once a batch
//! ```
//!
//! | room | module | what |
//! |---|---|---|
//! | **app** | [`app::cli`] | the command line: every command, what it prints, how it exits |
//! | | [`app::config`] | the config file, version 1 |
//! | | [`app::daemon`] | the running daemon: engines and drivers wired together |
//! | | [`app::lists`] | all lists of a config read into one rule set |
//! | | [`app::sync`] | lists from git, from the remote to the policy in force |
//! | | [`app::time`] | which clock is believed |
//! | **io** | [`io::capture`] | frames from files and interfaces |
//! | | [`io::control`] | the control socket |
//! | | [`io::listen`] | where clients ask: UDP workers, TCP |
//! | | [`io::store`] | the ledger's storage |
//! | | [`io::sync`] | lists from git |
//! | | [`io::sys`] | system calls and what the data plane's threads share; the only `unsafe` |
//! | | [`io::upstream`] | where misses go |
//! | **engine** | [`engine::inspector`] | what frames say about who talks to whom |
//! | | [`engine::ledger`] | attempts fold into sightings, sightings into rows |
//! | | [`engine::resolver`] | the answer to a query; the state machine of misses |
//! | **policy** | [`policy::export`] | what is blocked now, for other programs |
//! | | [`policy::list`] | texts that yield rules |
//! | | [`policy::gate`] | what a new revision of a list must be |
//! | | [`policy`] | rules, stages, decisions, explanations |
//! | **base** | [`base::model`] | vocabularies, sightings, time, limits |
//! | | [`base::name`] | domain names |
//! | | [`base::wire`] | checked views over bytes |

pub mod app;
pub mod base;
pub mod engine;
pub mod io;
pub mod policy;
