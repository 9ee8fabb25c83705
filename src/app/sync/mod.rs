//! Keeping lists from git up to date: check, build the rules that would be, remember, put in force; in this order, so that
//! whatever fails leaves the old lists.
//!
//! | module | what |
//! |---|---|
//! | `feed` | which lists come from one commit |
//! | `step` | one wish for one feed: look, go back, pin, import |
//!
//! The daemon and the commands that run without one do the same; they differ in what *putting in force* means ([`Place`]).

mod feed;
mod step;

pub use feed::{Feed, feeds};
pub use step::{Alone, Build, Came, Done, Place, Wish, find, step};
