//! Vendor files: who is listed, under which authority, and every name, address range, port and signature that is known of
//! them, each with its source. `blocklists/README.md` is the schema in words; this module is the same in types.
//!
//! ```text
//! text ─ read ─▶ raw (keys and types, serde) ─ check ─▶ VendorFile          anything wrong: ListError with every file:line
//! ```
//!
//! | module | what |
//! |---|---|
//! | `raw` | the file as TOML has it |
//! | `read` | from text to `raw`, with lines |
//! | `check` | from `raw` to the types here: words, names, addresses, dates, duplicates |
//!
//! Nothing here decides: a [`VendorFile`] says what is known and how well, and which entries may never do more than
//! observe ([`Provenance::observe_only`], [`Range::observe_only`]) or only for a time ([`Range::expires`]).

mod address;
mod authority;
mod check;
mod raw;
mod read;

pub use address::{EXPIRY_DAYS, Fallback, Port, PortSpan, Protocol, Range, ResolverService, ServiceProtocol};
pub use authority::{Authority, AuthorityKind, Clause};
pub use read::{FILE_OCTETS_MAX, read};

use crate::base::model::{BlockAnswer, Confidence, Purpose, vocabulary};
use crate::base::name::{Name, Pattern};
use std::net::IpAddr;
use std::sync::Arc;

/// One file under `blocklists/vendors/`, read and found right.
#[derive(Clone, Debug)]
pub struct VendorFile {
    /// What the file was called when it was read.
    pub file: Arc<str>,
    /// A vendor, or a bundle of several.
    pub subject: Subject,
    /// `kaspersky`; lower-case letters, digits and hyphens.
    pub id: Arc<str>,
    /// The vendor's full name.
    pub name: String,
    /// ISO 3166 code of the seat, upper case, where there is one.
    pub country: Option<String>,
    /// Brands and former names.
    pub aliases: Vec<String>,
    /// What a reader of reports should know.
    pub notes: Vec<String>,
    /// The block answer that keeps this vendor's products quiet.
    pub answer: Option<BlockAnswer>,
    /// Where the facts are from.
    pub sources: Vec<Source>,
    /// The acts that list the vendor.
    pub authorities: Vec<Authority>,
    /// Names.
    pub domains: Vec<Domain>,
    /// Address ranges.
    pub ranges: Vec<Range>,
    /// Ports.
    pub ports: Vec<Port>,
    /// Resolvers that the products ask by themselves, in order.
    pub fallbacks: Vec<Fallback>,
    /// Payload forms.
    pub signatures: Vec<Signature>,
    /// Names that were looked at and left out, with the reason.
    pub excludes: Vec<Exclude>,
    /// Resolver services, in the bundle of encrypted DNS.
    pub resolvers: Vec<ResolverService>,
    /// Names that tell a client to stay with its own resolver.
    pub canaries: Vec<Canary>,
}

/// Whom a file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// One vendor.
    Vendor,
    /// Several that are staged together.
    Bundle,
}

/// Where facts are from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Line of the entry.
    pub line: u32,
    /// What entries cite.
    pub id: Arc<str>,
    /// Title of the document.
    pub title: String,
    /// Address or addresses of it, `-` where there is none.
    pub location: String,
    /// Licence of the document as a whole; single facts from it carry none.
    pub licence: Option<String>,
    /// Version or date of the copy that was read.
    pub version: Option<String>,
    /// Remark.
    pub note: Option<String>,
    /// Whether a reader can look it up.
    pub public: bool,
}

/// Where an entry stands and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Line of the entry in its file.
    pub line: u32,
    /// Ids of its sources, at least one.
    pub sources: Vec<Arc<str>>,
    /// Whether at least one of them is public.
    pub public: bool,
    /// `false`: recalled or named by a single doubtful list; such an entry never becomes a rule.
    pub verified: bool,
}

impl Provenance {
    /// Why an entry with these sources never does more than observe; `None` where it may block.
    #[must_use]
    pub fn observe_only(&self) -> Option<&'static str> {
        (!self.public).then_some("none of its sources can be looked up")
    }
}

/// A listed name.
#[derive(Clone, Debug)]
pub struct Domain {
    /// What matches.
    pub pattern: Pattern,
    /// What the destination is for.
    pub purpose: Purpose,
    /// How sure the fact is.
    pub confidence: Confidence,
    /// Whether its addresses also serve others, so that none may be learned from it.
    pub shared: bool,
    /// To whom the name belongs, if not to the vendor.
    pub owner: Option<String>,
    /// The service behind it.
    pub service: Option<String>,
    /// Which DNS transports it offers.
    pub protocols: Vec<ServiceProtocol>,
    /// Names that were seen and match.
    pub examples: Vec<Name>,
    /// Remark.
    pub note: Option<String>,
    /// Where it stands and what stands behind it.
    pub provenance: Provenance,
}

impl Domain {
    /// Why this name is never blocked; `None` where it may be.
    #[must_use]
    pub fn observe_only(&self) -> Option<&'static str> {
        self.provenance.observe_only()
    }
}

vocabulary! {
    /// What part of a payload a signature is about.
    pub enum SignatureKind {
        /// The path of an HTTP request starts so.
        HttpUriPrefix => "http-uri-prefix",
        /// The path of an HTTP request ends so.
        HttpUriSuffix => "http-uri-suffix",
        /// The Host of an HTTP request is a literal address of that kind, `ipv4` or `ipv6`.
        HttpHostLiteral => "http-host-literal",
        /// The User-Agent of an HTTP request starts so.
        HttpUserAgent => "http-user-agent",
        /// An HTTP request has a header of that name.
        HttpHeader => "http-header",
        /// A body has these octets at the offset.
        BodyMagic => "body-magic",
    }
}

/// A form of payload that the vendor's products send or fetch. One alone is weak evidence.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Which part of a payload.
    pub kind: SignatureKind,
    /// The values, any of which matches; at least one.
    pub values: Vec<String>,
    /// Octets before the value in the body; for [`SignatureKind::BodyMagic`] alone.
    pub offset: Option<u32>,
    /// The value's octets where the file gives them in hexadecimal.
    pub octets: Option<Vec<u8>>,
    /// What a match means.
    pub meaning: Option<String>,
    /// How sure the fact is.
    pub confidence: Confidence,
    /// Remark.
    pub note: Option<String>,
    /// Where it stands and what stands behind it.
    pub provenance: Provenance,
}

/// What was looked at and left out, so that nobody adds it again.
#[derive(Clone, Debug)]
pub struct Exclude {
    /// The names, at least one.
    pub names: Vec<Name>,
    /// Addresses that lists give for them.
    pub addresses: Vec<IpAddr>,
    /// Why they are left out.
    pub reason: String,
    /// Where it stands and what stands behind it.
    pub provenance: Provenance,
}

/// A name whose negative answer tells a client to keep to the network's resolver.
#[derive(Clone, Debug)]
pub struct Canary {
    /// The name.
    pub pattern: Pattern,
    /// The answer that has the effect.
    pub answer: BlockAnswer,
    /// Query types that are answered so; `*` for all.
    pub types: Vec<String>,
    /// What clients do then.
    pub effect: String,
    /// How sure the fact is.
    pub confidence: Confidence,
    /// Where it stands and what stands behind it.
    pub provenance: Provenance,
}
