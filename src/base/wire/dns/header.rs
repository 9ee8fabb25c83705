//! The twelve octets before everything else (RFC 1035 §4.1.1).

use super::Rcode;
use crate::base::wire::{Reader, Short};

/// Octets of a header.
pub const HEADER_OCTETS: usize = 12;

/// The second 16 bits of a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// This is a response.
    pub const RESPONSE: u16 = 0x8000;
    /// The kind of query, four bits.
    pub const OPCODE: u16 = 0x7800;
    /// The answer comes from the zone's own server.
    pub const AUTHORITATIVE: u16 = 0x0400;
    /// Cut short; ask again over TCP.
    pub const TRUNCATED: u16 = 0x0200;
    /// The asker wants recursion.
    pub const RECURSION_DESIRED: u16 = 0x0100;
    /// The answerer offers recursion.
    pub const RECURSION_AVAILABLE: u16 = 0x0080;
    /// The data was validated (RFC 4035 §3.2.3).
    pub const AUTHENTIC: u16 = 0x0020;
    /// The asker validates for itself (RFC 4035 §3.2.2).
    pub const CHECKING_DISABLED: u16 = 0x0010;
    /// The low four bits of the response code.
    pub const RCODE: u16 = 0x000f;

    /// Whether any of these bits is set.
    #[must_use]
    pub const fn has(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// The bits of these that are set.
    #[must_use]
    pub const fn keep(self, bits: u16) -> u16 {
        self.0 & bits
    }

    /// The low four bits of the response code.
    #[must_use]
    pub const fn rcode(self) -> Rcode {
        Rcode(self.0 & Self::RCODE)
    }
}

/// A header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the asker tells its answers apart by.
    pub id: u16,
    /// Kind, options and response code.
    pub flags: Flags,
    /// Entries of the question section.
    pub questions: u16,
    /// Records of the answer section.
    pub answers: u16,
    /// Records of the authority section.
    pub authorities: u16,
    /// Records of the additional section.
    pub additionals: u16,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// Fewer than twelve octets are left.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Short> {
        Ok(Self {
            id: reader.u16()?,
            flags: Flags(reader.u16()?),
            questions: reader.u16()?,
            answers: reader.u16()?,
            authorities: reader.u16()?,
            additionals: reader.u16()?,
        })
    }

    /// The header as octets.
    #[must_use]
    pub fn to_octets(&self) -> [u8; HEADER_OCTETS] {
        let mut octets = [0; HEADER_OCTETS];
        let words = [self.id, self.flags.0, self.questions, self.answers, self.authorities, self.additionals];
        for (into, word) in octets.chunks_exact_mut(2).zip(words) {
            into.copy_from_slice(&word.to_be_bytes());
        }
        octets
    }
}
