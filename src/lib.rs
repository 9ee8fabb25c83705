//! x
#![allow(missing_docs, reason = "x")]
pub mod app;
pub mod base;
pub mod engine;
pub mod io;
pub mod policy;
