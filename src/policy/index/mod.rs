//! Finding the rules for a name or an address without allocating.

mod addresses;
mod names;

pub(super) use addresses::AddressIndex;
pub(super) use names::{NameIndex, closeness, key_of};
