//! Hardware addresses.

use std::fmt;

/// An EUI-48 (MAC) address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether a group is meant, not a device: the I/G bit (IEEE 802-2014 §8.2.2). Broadcast is a group.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it was made up where it is used and not given by a maker: the U/L bit. Phones and laptops that change theirs set it.
    #[must_use]
    pub const fn is_local(self) -> bool {
        self.0[0] & 2 != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_bits_are_told_apart() {
        let mac = Mac([0x02, 0, 0x5e, 0xff, 0x10, 0x01]);
        assert_eq!((mac.to_string().as_str(), mac.is_group(), mac.is_local()), ("02:00:5e:ff:10:01", false, true));
        let group = Mac([0x01, 0, 0x5e, 0, 0, 0xfb]);
        assert_eq!((group.is_group(), group.is_local()), (true, false));
    }
}
