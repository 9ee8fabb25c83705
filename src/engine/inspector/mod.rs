//! What frames say about who talks to whom.
//!
//! | module | what |
//! |---|---|
//! | [`endpoint`] | who is behind an address: devices and dated facts |
//! | [`fragments`] | datagrams put together from IP fragments |

pub mod endpoint;
pub mod fragments;
