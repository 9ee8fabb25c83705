//! Shared nouns: the closed vocabularies of the design, rules' and sightings' parts, time, and the limits of everything.

mod address;
mod device;
mod evidence;
pub mod limits;
mod mac;
mod purpose;
mod sighting;
mod time;
mod vocabulary;
mod words;

pub use address::{TESTER_LOOPBACK, TESTER_V4, TESTER_V6, is_private, is_tester, link_local, meant};
pub use device::{Device, DeviceNote, Fact};
pub use evidence::Confidence;
pub use mac::Mac;
pub use purpose::{Family, Purpose, PurposeSelector};
pub use sighting::{Destination, PolicyId, RuleFacts, Sighting};
pub use time::{Mono, Now, Wall};
pub use vocabulary::UnknownWord;
pub(crate) use vocabulary::vocabulary;
pub use words::{BlockAnswer, Channel, Decision, Grade, Origin, Outcome, Stage};
