//! A cursor over bytes whose every step is checked.

/// The bytes end before what was to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes end before what they promise")]
pub struct Short;

/// A cursor over bytes. Positions are counted from the start of the whole, also in a [`Reader::sub`].
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    whole: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A cursor at the start.
    #[must_use]
    pub const fn new(whole: &'a [u8]) -> Self {
        Self { whole, at: 0 }
    }

    /// A cursor at `at`; one past the end reads nothing.
    #[must_use]
    pub const fn starting_at(whole: &'a [u8], at: usize) -> Self {
        Self { whole, at }
    }

    /// Octets read so far.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.at >= self.whole.len()
    }

    /// What is left, unread.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.whole.get(self.at..).unwrap_or_default()
    }

    /// The next `len` octets.
    ///
    /// # Errors
    /// Fewer are left; nothing is read then.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Short> {
        let end = self.at.checked_add(len).ok_or(Short)?;
        let taken = self.whole.get(self.at..end).ok_or(Short)?;
        self.at = end;
        Ok(taken)
    }

    /// The next `N` octets as an array.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        self.take(N)?.try_into().map_err(|_| Short)
    }

    /// The next octet.
    ///
    /// # Errors
    /// None is left.
    pub fn u8(&mut self) -> Result<u8, Short> {
        self.take_array().map(u8::from_be_bytes)
    }

    /// The next two octets in network order.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn u16(&mut self) -> Result<u16, Short> {
        self.take_array().map(u16::from_be_bytes)
    }

    /// The next four octets in network order.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn u32(&mut self) -> Result<u32, Short> {
        self.take_array().map(u32::from_be_bytes)
    }

    /// A cursor over the next `len` octets alone, which are skipped here.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn sub(&mut self, len: usize) -> Result<Self, Short> {
        let at = self.at;
        self.take(len)?;
        Ok(Self { whole: self.whole.get(..self.at).ok_or(Short)?, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_network_order_and_stops_at_the_end() {
        let mut reader = Reader::new(&[1, 0, 2, 0, 0, 0, 3, 9]);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!(reader.u32(), Ok(3));
        assert_eq!(reader.u16(), Err(Short));
        assert_eq!((reader.position(), reader.rest()), (7, &[9][..]), "a failed read takes nothing");
        assert_eq!(reader.take(usize::MAX), Err(Short));
        assert_eq!(reader.u8(), Ok(9));
        assert!(reader.is_empty());
    }

    #[test]
    fn a_sub_cursor_keeps_positions_and_cannot_leave_its_part() {
        let mut reader = Reader::new(&[0, 1, 2, 3]);
        reader.take(1).unwrap();
        let mut sub = reader.sub(2).unwrap();
        assert_eq!((sub.position(), reader.position()), (1, 3));
        assert_eq!(sub.take_array(), Ok([1, 2]));
        assert_eq!(sub.u8(), Err(Short));
        assert!(reader.sub(2).is_err());
        assert_eq!(Reader::starting_at(&[1], 9).rest(), &[] as &[u8]);
    }
}
