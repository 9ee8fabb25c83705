//! Drivers: what moves bytes between the engines and the world.

pub mod store;
