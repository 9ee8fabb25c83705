//! Finding the rules for a name or an address without allocating.

mod addresses;
mod arena;
mod build;
mod filter;
mod names;
mod table;

pub(super) use addresses::{AddressIndex, Listed};
pub(super) use build::NameIndexBuilder;
pub(super) use names::{Found, NameIndex, anchor, closeness, key_of};
