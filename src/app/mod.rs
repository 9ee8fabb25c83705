//! Assembly: the one place where engines meet drivers.

pub mod config;
pub mod lists;
