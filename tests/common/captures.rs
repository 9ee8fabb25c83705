//! Capture files for tests, put together block by block in either byte order.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

/// The byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    pub(crate) fn two(self, number: u16) -> Vec<u8> {
        match self {
            Self::Little => number.to_le_bytes().to_vec(),
            Self::Big => number.to_be_bytes().to_vec(),
        }
    }

    pub(crate) fn four(self, number: u32) -> Vec<u8> {
        match self {
            Self::Little => number.to_le_bytes().to_vec(),
            Self::Big => number.to_be_bytes().to_vec(),
        }
    }

    pub(crate) fn eight(self, number: u64) -> Vec<u8> {
        match self {
            Self::Little => number.to_le_bytes().to_vec(),
            Self::Big => number.to_be_bytes().to_vec(),
        }
    }

    fn fours(self, numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|&number| self.four(number)).collect()
    }
}

//----------- pcap -----------------------------------------------------------

/// A pcap file's head.
pub(crate) fn pcap_head(order: Order, magic: u32, link: u32) -> Vec<u8> {
    [order.four(magic), order.two(2), order.two(4), order.fours(&[0, 0, 65_535, link])].concat()
}

/// A record at this time in the file's unit, captured whole.
pub(crate) fn pcap_record(order: Order, seconds: u32, fraction: u32, frame: &[u8]) -> Vec<u8> {
    let len = u32::try_from(frame.len()).unwrap();
    [order.fours(&[seconds, fraction, len, len]), frame.to_vec()].concat()
}

/// A pcap file with microseconds, of frames one second apart.
pub(crate) fn pcap(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let records = (1..).zip(frames).flat_map(|(second, frame)| pcap_record(Order::Little, second, 0, frame));
    pcap_head(Order::Little, 0xa1b2_c3d4, link).into_iter().chain(records).collect()
}

//----------- pcapng ---------------------------------------------------------

/// A block of any type.
pub(crate) fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let len = u32::try_from(12 + body.len() + padding.len()).unwrap();
    [order.four(kind), order.four(len), body.to_vec(), padding, order.four(len)].concat()
}

/// An option, padded.
pub(crate) fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
    [order.two(code), order.two(u16::try_from(value.len()).unwrap()), value.to_vec(), padding].concat()
}

pub(crate) fn section(order: Order) -> Vec<u8> {
    block(order, 0x0a0d_0d0a, &[order.four(0x1a2b_3c4d), order.two(1), order.two(0), vec![0xff; 8]].concat())
}

/// An interface of this link type, snap length and with these options.
pub(crate) fn interface(order: Order, link: u16, snap_len: u32, options: &[u8]) -> Vec<u8> {
    block(order, 1, &[order.two(link), order.two(0), order.four(snap_len), options.to_vec()].concat())
}

/// An enhanced packet block.
pub(crate) fn enhanced(order: Order, interface: u32, steps: u64, frame: &[u8], options: &[u8]) -> Vec<u8> {
    let len = u32::try_from(frame.len()).unwrap();
    let (high, low) = (u32::try_from(steps >> 32).unwrap(), u32::try_from(steps & 0xffff_ffff).unwrap());
    let padding = vec![0; frame.len().next_multiple_of(4) - frame.len()];
    let head = order.fours(&[interface, high, low, len, len]);
    block(order, 6, &[head, frame.to_vec(), padding, options.to_vec()].concat())
}

/// An obsolete packet block.
pub(crate) fn old(order: Order, interface: u16, steps: u64, frame: &[u8]) -> Vec<u8> {
    let len = u32::try_from(frame.len()).unwrap();
    let (high, low) = (u32::try_from(steps >> 32).unwrap(), u32::try_from(steps & 0xffff_ffff).unwrap());
    let head = [order.two(interface), order.two(0), order.fours(&[high, low, len, len])].concat();
    block(order, 2, &[head, frame.to_vec()].concat())
}

/// A simple packet block of a frame that was longer.
pub(crate) fn simple(order: Order, original: u32, frame: &[u8]) -> Vec<u8> {
    block(order, 3, &[order.four(original), frame.to_vec()].concat())
}

/// Interface statistics: what an interface received and lost.
pub(crate) fn statistics(order: Order, interface: u32, lost: u64) -> Vec<u8> {
    let options = [option(order, 4, &order.eight(99)), option(order, 5, &order.eight(lost))].concat();
    block(order, 5, &[order.fours(&[interface, 0, 0]), options].concat())
}
