//! The Huffman code of HPACK (RFC 7541 appendix B). It is canonical, so that the lengths say it all.

/// Length of each octet's code, in bits.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26,
];
/// The longest code, in bits.
const BITS_MAX: usize = 30;

/// The code, by length: the first code of that length, how many there are, and where their octets start.
struct Code {
    first: [u32; BITS_MAX + 1],
    count: [u32; BITS_MAX + 1],
    start: [usize; BITS_MAX + 1],
    octets: [u8; 256],
}

static CODE: Code = Code::build();

impl Code {
    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, where an index out of bounds is an error")]
    const fn build() -> Self {
        let mut code =
            Self { first: [0; BITS_MAX + 1], count: [0; BITS_MAX + 1], start: [0; BITS_MAX + 1], octets: [0; 256] };
        let mut next = 0;
        let mut at = 0;
        let mut bits = 1;
        while bits <= BITS_MAX {
            next <<= 1;
            code.first[bits] = next;
            code.start[bits] = at;
            let mut octet = 0;
            while octet < 256 {
                if LENGTHS[octet] as usize == bits {
                    code.octets[at] = octet as u8;
                    at += 1;
                    next += 1;
                    code.count[bits] += 1;
                }
                octet += 1;
            }
            bits += 1;
        }
        code
    }
}

/// Decodes a string; `None` for what is none: a code that does not exist, padding that is not the start of the end mark.
pub(super) fn decode(octets: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (mut code, mut bits) = (0_u32, 0_usize);
    for octet in octets {
        for shift in (0..8).rev() {
            code = code << 1 | u32::from(octet >> shift & 1);
            bits += 1;
            let (first, count) = (*CODE.first.get(bits)?, *CODE.count.get(bits)?);
            if let Some(index) = code.checked_sub(first).filter(|index| *index < count) {
                out.push(*CODE.octets.get(CODE.start.get(bits)? + usize::try_from(index).ok()?)?);
                (code, bits) = (0, 0);
            }
        }
    }
    (bits < 8 && code + 1 == 1 << bits).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541 appendix C.4 and C.6.
    #[test]
    fn strings_of_the_rfc() {
        for (octets, text) in [
            (&b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..], "www.example.com"),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
        ] {
            let mut out = Vec::new();
            assert_eq!(decode(octets, &mut out), Some(()));
            assert_eq!(out, text.as_bytes());
        }
        for bad in [&b"\xff\xff\xff\xff"[..], b"\xff", b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\x00"] {
            assert_eq!(decode(bad, &mut Vec::new()), None, "{bad:x?}");
        }
    }
}
