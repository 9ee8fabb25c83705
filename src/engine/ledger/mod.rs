//! The ledger's folds, without its storage: attempts → sightings → rows and events.
//!
//! ```text
//! worker: Hit ─ Folder::record ▸ flush ─▶ Batch ─ bounded queue ─▶ io::store: Batch::sightings ─ fold, Day::add ─▶ rows, events
//! ```
//! Counts are exact at every step. Where a bounded table is full, first the destination is given up ([`Destination::Other`]),
//! then the attempt itself, and that is counted ([`Batch::lost`]).
//!
//! [`Destination::Other`]: crate::base::model::Destination::Other

mod batch;
mod crowd;
mod day;
mod fold;
mod folder;

pub use batch::{Batch, Folded};
pub use crowd::{CROWD_CLIENTS_MAX, Crowd};
pub use day::{Day, DayError, HOURS_IN_DAY, Hour};
pub use fold::{Event, Outcomes, REAPPEARED_AFTER, Row, fold};
pub use folder::{DESTINATIONS_MAX, FOLDER_SLOTS, Folder};
