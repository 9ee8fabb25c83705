//! What frames say about who talks to whom.
//!
//! | module | what |
//! |---|---|
//! | [`fragments`] | datagrams put together from IP fragments |

pub mod fragments;
