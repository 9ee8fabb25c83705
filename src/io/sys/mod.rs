//! What the operating system is asked for directly. The only unsafe code of the project is here, each block with its reason;
//! what other drivers share lies here too, so that they need not know each other.
//!
//! | module | what |
//! |---|---|
//! | [`clock`] | the two clocks |
//! | [`socket`] | the one opener of sockets, with errors in words |
//! | [`mmsg`] | datagrams in batches, with the address they were sent to |
//! | [`packet`] | packet sockets, opened and asked what they lost |
//! | [`ring`] | packets from a ring that is shared with the kernel |
//! | [`plane`] | what every thread of the data plane shares |
//! | [`reply`] | the way back to a client, from whichever thread has its answer |
//! | [`child`] | programs run within limits, and ended with all their children |
//! | [`limits`] | how many descriptors the process may hold |
//! | [`memory`] | free memory goes back to the system |

#![allow(unsafe_code, reason = "the one room for system calls that no safe wrapper offers")]

mod address;
pub mod child;
pub mod clock;
pub mod limits;
pub mod memory;
pub mod mmsg;
pub mod packet;
pub mod plane;
pub mod reply;
pub mod ring;
pub mod socket;
