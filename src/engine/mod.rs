//! Pure state machines and folds: time and bytes are arguments, decisions come out.

pub mod inspector;
pub mod ledger;
pub mod resolver;
