//! What is listed, and what to do about it.

pub mod list;
