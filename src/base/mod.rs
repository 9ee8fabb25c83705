//! Words: names, checked views over bytes, shared nouns. Everything else stands on this room; it stands on nothing of ours.

pub mod model;
pub mod name;
pub mod wire;
