//! Assembly: the one place where engines meet drivers.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod gate;
pub mod lists;
pub mod sync;
pub mod time;
