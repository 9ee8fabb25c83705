//! Versions and what their Initial packets are protected with.

/// Octets of a salt.
const SALT: usize = 20;

const SALT_7: [u8; SALT] = *b"\xaf\xc8\x24\xec\x5f\xc7\x7e\xca\x1e\x9d\x36\xf3\x7f\xb2\xd4\x65\x18\xc3\x66\x39";
const SALT_10: [u8; SALT] = *b"\x9c\x10\x8f\x98\x52\x0a\x5c\x5c\x32\x96\x8e\x95\x0e\x8a\x2c\x5f\xe0\x6d\x6c\x38";
const SALT_17: [u8; SALT] = *b"\xef\x4f\xb0\xab\xb4\x74\x70\xc4\x1b\xef\xcf\x80\x31\x33\x4f\xae\x48\x5e\x09\xa0";
const SALT_21: [u8; SALT] = *b"\x7f\xbc\xdb\x0e\x7c\x66\xbb\xe9\x19\x3a\x96\xcd\x21\x51\x9e\xbd\x7a\x02\x64\x4a";
const SALT_23: [u8; SALT] = *b"\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02";
const SALT_29: [u8; SALT] = *b"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99";
const SALT_V1: [u8; SALT] = *b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a";
const SALT_V2_00: [u8; SALT] = *b"\xa7\x07\xc2\x03\xa5\x9b\x47\x18\x4a\x1d\x62\xca\x57\x04\x06\xea\x7a\xe3\xe5\xd3";
const SALT_V2: [u8; SALT] = *b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9";
const SALT_Q050: [u8; SALT] = *b"\x50\x45\x74\xef\xd0\x66\xfe\x2f\x9d\x94\x5c\xfc\xdb\xd3\xa7\xf0\xd3\xb5\x6b\x45";
const SALT_T050: [u8; SALT] = *b"\x7f\xf5\x79\xe5\xac\xd0\x72\x91\x55\x80\x30\x4c\x43\xa2\x36\x7c\x60\x48\x83\x10";
const SALT_T051: [u8; SALT] = *b"\x7a\x4e\xde\xf4\xe7\xcc\xee\x5f\xa4\x50\x6c\x19\x12\x4f\xc8\xcc\xda\x6e\x03\x3d";

/// How Initial packets of a version are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub(super) salt: [u8; SALT],
    /// The labels and packet types of version 2 (RFC 9369 §3).
    pub(super) is_v2: bool,
    /// The CRYPTO frames carry Google's handshake, not TLS.
    pub(super) is_google: bool,
}

impl Version {
    const fn tls(salt: [u8; SALT]) -> Self {
        Self { salt, is_v2: false, is_google: false }
    }

    /// The version of this number, where it is known.
    #[must_use]
    pub const fn known(number: u32) -> Option<Self> {
        Some(match number {
            1 | 0xff00_0021..=0xff00_0022 => Self::tls(SALT_V1),
            0x6b33_43cf => Self { salt: SALT_V2, is_v2: true, is_google: false },
            0x709a_50c4 => Self { salt: SALT_V2_00, is_v2: true, is_google: false },
            // Version 2 in its drafts used the labels of version 1 at first.
            0xff02_0000 => Self::tls(SALT_V2_00),
            0xff00_001d..=0xff00_0020 => Self::tls(SALT_29),
            0xff00_0017..=0xff00_001c => Self::tls(SALT_23),
            0xff00_0015..=0xff00_0016 => Self::tls(SALT_21),
            0xff00_0011..=0xff00_0014 => Self::tls(SALT_17),
            0xff00_000a..=0xff00_0010 => Self::tls(SALT_10),
            0xff00_0007..=0xff00_0009 => Self::tls(SALT_7),
            // mvfst: its numbers stand for the draft that it followed at the time.
            0xface_b001 => Self::tls(SALT_21),
            0xface_b000 | 0xface_b002 | 0xface_b003 | 0xface_b00e => Self::tls(SALT_23),
            0xface_b004..=0xface_b00d | 0xface_b010 | 0xface_b011 | 0xface_b013 => Self::tls(SALT_29),
            0x5130_3530 => Self { salt: SALT_Q050, is_v2: false, is_google: true },
            0x5430_3530 => Self::tls(SALT_T050),
            0x5430_3531 => Self::tls(SALT_T051),
            _ => return None,
        })
    }

    /// What to try on a number that is not known: those in use first.
    #[must_use]
    pub const fn to_try() -> [Self; 4] {
        let v2 = Self { salt: SALT_V2, is_v2: true, is_google: false };
        [Self::tls(SALT_V1), v2, Self::tls(SALT_29), Self::tls(SALT_23)]
    }
}

/// Whether the number is one of Google's versions that protect the first flight with a public constant only.
pub(super) const fn is_plain_google(number: u32) -> bool {
    let [q, zero, tens, ones] = number.to_be_bytes();
    q == b'Q' && zero == b'0' && matches!(tens, b'2'..=b'4') && ones.is_ascii_digit()
}
