//! x
#![allow(missing_docs)]
pub mod app;
pub mod base;
pub mod engine;
pub mod io;
pub mod policy;
