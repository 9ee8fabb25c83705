//! Pure state machines and folds: time is an argument, bytes and records go in and come out, nothing is opened.

pub mod ledger;
