//! DNS messages (RFC 1035 §4), as an untrusted sender may have made them.
//!
//! | type | what |
//! |---|---|
//! | [`QueryView`] | a borrowed, validated query; what may not be answered normally comes as [`Malformed`] |
//! | [`AnswerView`], [`Record`], [`Svcb`] | a borrowed response, its records one by one, names expanded on demand |
//! | [`Questions`], [`netbios_name`] | the questions of any message, multicast and NetBIOS included |
//! | [`Reply`] | writes a reply into a given buffer, without allocation |
//! | [`Composer`] | writes a response record by record, names compressed anew; allocates |
//! | [`Edns`], [`Header`], [`Flags`], [`Rcode`], [`rtype`], [`class`] | the parts and their numbers |

mod answer;
mod codes;
mod compose;
mod header;
mod name;
mod query;
mod question;
mod rdata;
mod reply;

pub use answer::{AnswerFault, AnswerView, Record, Records, Section};
pub use codes::{Rcode, class, ede, option, rtype};
pub use compose::{ComposeError, Composer};
pub use header::{Flags, HEADER_OCTETS, Header};
pub use name::NameFault;
pub use query::{Edns, Fault, Malformed, QueryView, Unanswered};
pub use question::{Question, Questions, netbios_name};
pub use rdata::{Svcb, SvcbParams};
pub use reply::{Head, Reply, ReplyOptions};
