//! The named bound of every table, queue and message that is shared between rooms. Bounds of one module stand there.

/// Octets of the largest DNS message (RFC 1035 §4.2.2).
pub const MESSAGE_OCTETS_MAX: usize = 65_535;
/// Octets of the largest UDP answer that we send and ask for (DNS flag day 2020).
pub const UDP_OCTETS_MAX: usize = 1_232;
/// CNAMEs and DNAMEs that are followed in one answer.
pub const CHAIN_LINKS_MAX: usize = 11;
/// Vendors, lists and rule classes are small numbers; beyond this a policy is refused.
pub const CLASSES_MAX: usize = 65_535;
/// Rules of one policy.
pub const RULES_MAX: usize = 16_000_000;
/// Seconds that a client's stream may say nothing; clients that ask are told (RFC 7828).
pub const STREAM_IDLE_S: u16 = 10;
