//! The kernel of a gateway: its packet filter over netlink, what it logs, and what its interfaces and routes are.
//!
//! | module | what |
//! |---|---|
//! | `adopt` | a table that is there goes over into the one that is wanted |
//! | `batch` | messages of one transaction |
//! | `element` | sets and their elements, and where chains are entered, as the kernel's attributes |
//! | `encode` | parts of rules as the kernel's attributes |
//! | `enforcer` | keeps the kernel as it is wanted |
//! | `kernel` | tables put in force, changed, looked at and removed, each at once or not at all |
//! | `watch` | hears when anybody changes the packet filter |
//! | `timed` | sets whose elements end by themselves |
//! | `queue` | packets that wait for our word |
//! | `reset` | resets in a client's name |
//! | `log` | packets that the kernel logs |
//! | `system` | interfaces, routes, settings |
//!
//! No program is needed for it. `gateway plan` prints the same tables in the words of `nft`, and a test loads both ways and compares.

mod adopt;
mod batch;
mod element;
mod encode;
mod enforcer;
mod kernel;
mod log;
mod queue;
mod reset;
mod system;
mod timed;
mod watch;

pub use encode::Queueing;
pub use enforcer::{Enforcer, Found, Renewer};
pub use kernel::{Counted, Held, Kernel, KernelError, Shape};
pub use log::{Log, LogError, Logged};
pub use queue::{Queue, QueueError, Waiting, Word};
pub use reset::Resetter;
pub use system::{Sysctl, System};
pub use timed::Teaching;
pub use watch::Watch;
