//! What the kernel of a gateway should enforce, computed from the policy: nothing here touches the kernel.
//!
//! ```text
//! Policy, date ─ listed ─▶ Listed (disjoint ranges, each of one kind) ─┐
//!                          Settings ─ plan ────────────────────────────┴▶ two Tables ─ text ─▶ what `plan` prints and `nft` loads
//!                                                 old and new Table ─ diff ─▶ changes ─▶ io::gateway
//! Policy, Facts ─ guard ─▶ what would be cut off            logged packet ─ seen ─▶ Hit
//! ```
//!
//! | module | what |
//! |---|---|
//! | `listed` | from the policy to address ranges by vendor, purpose and decision |
//! | `near` | blocks of addresses in which listed ones lie |
//! | `table` | what an nftables table has, as far as it is needed here |
//! | `plan` | the two tables that are wanted |
//! | `inspect` | the rules that lead first packets to the inspector |
//! | `marks` | what a connection's mark says of it |
//! | `text` | a table in the words of `nft` |
//! | `diff` | from one table to another without a gap |
//! | `guard` | what enforcement must not cut off |
//! | `along` | what an address set takes along |
//! | `learned` | addresses that listed names lead to |
//! | `reset` | the reset of a connection |
//! | `sighted` | the rules that refuse encrypted DNS to endpoints that tried what is blocked |
//! | `seen` | a packet that the kernel logged, as an attempt |

mod along;
mod diff;
mod guard;
mod inspect;
mod learned;
mod listed;
mod marks;
mod near;
mod plan;
mod reset;
mod seen;
mod settings;
mod sighted;
mod table;
mod text;

pub use along::{Along, along};
pub use diff::{Change, diff};
pub use guard::{Cut, Dependency, Facts, cuts};
pub use inspect::{INSPECTED, REFUSED};
pub use learned::{About, LEARNED_MAX, Learned, LearnedCounters, Source, Taught, Teacher, Use, Why, blocked_names};
pub use listed::{Kind, Listed, TooManyRanges, nat64};
pub use marks::{Mask, State};
pub use plan::{
    ANSWERING, BRIDGE, HOLD, INSPECT_TCP, INSPECT_UDP, Interfaces, LEARNED_OBSERVED, LEARNED_REFUSED, LISTED_V4,
    LISTED_V6, LOGGED_SHARE, MAIN, UNLOGGED, Wanted, plan,
};
pub use reset::reset;
pub use seen::{Marked, Packet, hit, question};
pub use settings::{Clients, Encrypted, GatewaySettings, Handling, Inspection, Redirect, Watching};
pub use sighted::SIGHTED;
pub use table::{
    Chain, Element, Elements, Family, Hook, Key, Part, Priority, Protocol, Range, Rule, Set, SetKind, Table, Then,
};
