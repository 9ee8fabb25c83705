//! Drivers: sockets, files, kernel, threads. They know engines; engines do not know them, and they do not know each other.

pub mod capture;
pub mod control;
pub mod gateway;
pub mod listen;
pub mod probe;
pub mod sinkhole;
pub mod store;
pub mod sync;
pub mod sys;
pub mod upstream;
