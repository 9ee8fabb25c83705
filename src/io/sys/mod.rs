//! What the operating system is asked for directly. The only unsafe code of the project is here, each block with its reason;
//! what other drivers share lies here too, so that they need not know each other.
//!
//! | module | what |
//! |---|---|
//! | [`clock`] | the two clocks |
//! | [`socket`] | the one opener of sockets, with errors in words |
//! | [`mmsg`] | datagrams in batches, with the address they were sent to |
//! | [`poll`] | many sockets behind one descriptor |
//! | [`packet`] | packet sockets, opened and asked what they lost |
//! | [`ring`] | packets from a ring that is shared with the kernel |
//! | [`plane`] | what every thread of the data plane shares |
//! | [`reply`] | the way back to a client, from whichever thread has its answer |
//! | [`child`] | programs run within limits, and ended with all their children |
//! | [`netlink`] | sockets and messages of the kernel's packet filter |
//! | [`signal`] | signals |
//! | [`limits`] | how many descriptors the process may hold |
//! | [`memory`] | free memory goes back to the system |

#![allow(unsafe_code, reason = "the one room for system calls that no safe wrapper offers")]

mod address;
pub mod child;
pub mod clock;
pub mod limits;
pub mod memory;
pub mod mmsg;
pub mod netlink;
pub mod packet;
pub mod plane;
pub mod poll;
pub mod reply;
pub mod ring;
pub mod signal;
pub mod socket;
