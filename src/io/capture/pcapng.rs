//! The newer format (draft-ietf-opsawg-pcapng): blocks, sections of either byte order, interfaces with their own link types and clocks.

use super::file::{FRAME_OCTETS_MAX, Found, Stop};
use super::input::Input;
use crate::base::wire::packet::{Direction, Frame, LinkType};

/// The type of a section header, the same in both byte orders.
pub(super) const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// Interfaces of one section that are remembered; frames of further ones are skipped and counted.
const INTERFACES_MAX: usize = 1 << 16;
/// Options of one block that are looked at.
const OPTIONS_MAX: usize = 64;
/// Octets around a block's body.
const FRAMING: usize = 12;
/// Octets of a block that is read whole.
const BLOCK_OCTETS_MAX: usize = FRAME_OCTETS_MAX + (1 << 16);

const INTERFACE_BLOCK: u32 = 1;
const OLD_PACKET_BLOCK: u32 = 2;
const SIMPLE_PACKET_BLOCK: u32 = 3;
const STATISTICS_BLOCK: u32 = 5;
const ENHANCED_PACKET_BLOCK: u32 = 6;

/// Where reading stands.
#[derive(Debug)]
pub(super) struct PcapNg {
    order: Order,
    interfaces: Vec<Interface>,
    /// What interfaces of this section and of those before say they lost.
    dropped: u64,
    dropped_before: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Little,
    Big,
}

impl Order {
    #[inline]
    const fn u16(self, octets: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(octets),
            Self::Big => u16::from_be_bytes(octets),
        }
    }

    #[inline]
    const fn u32(self, octets: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(octets),
            Self::Big => u32::from_be_bytes(octets),
        }
    }

    const fn u64(self, octets: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(octets),
            Self::Big => u64::from_be_bytes(octets),
        }
    }
}

/// What an interface description says.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    snap_len: u32,
    clock: Clock,
    offset_s: i64,
    dropped: u64,
}

/// What one step of an interface's clock is.
#[derive(Clone, Copy, Debug)]
enum Clock {
    /// So many nanoseconds.
    Times(u64),
    /// So many of them are a nanosecond.
    Over(u64),
    /// Two to this power of them are a second.
    Binary(u8),
}

impl Clock {
    /// The option `if_tsresol`.
    fn new(resolution: u8) -> Self {
        match resolution {
            binary @ 0x80.. => Self::Binary(binary & 0x7f),
            coarse @ 0..=9 => Self::Times(10_u64.pow(u32::from(9 - coarse))),
            // Finer than 64 bits can count: every time is the first nanosecond.
            fine => Self::Over(10_u64.checked_pow(u32::from(fine - 9)).unwrap_or(u64::MAX)),
        }
    }

    #[inline]
    fn nanoseconds(self, steps: u64) -> u64 {
        match self {
            Self::Times(factor) => steps.saturating_mul(factor),
            Self::Over(divisor) => steps / divisor,
            Self::Binary(power) => u64::try_from((u128::from(steps) * 1_000_000_000) >> power).unwrap_or(u64::MAX),
        }
    }
}

/// What a block says of its frame.
struct PacketHead {
    interface: u32,
    steps: u64,
    captured: u32,
    original: u32,
    /// Octets of the block before the frame's.
    before: usize,
}

impl PcapNg {
    pub(super) const fn new() -> Self {
        Self { order: Order::Little, interfaces: Vec::new(), dropped: 0, dropped_before: 0 }
    }

    /// What the capturing side says it lost.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped_before + self.dropped
    }

    /// The next block with a frame.
    pub(super) fn next(&mut self, input: &mut Input) -> Result<Found, Stop> {
        loop {
            let Some(head) = input.peek(8)? else { return Ok(Found::Nothing) };
            let Some(&[t0, t1, t2, t3, l0, l1, l2, l3]) = head.first_chunk() else { return Ok(Found::Nothing) };
            let kind = [t0, t1, t2, t3];
            if kind == SECTION && !self.begin_section(input)? {
                return Ok(Found::Nothing);
            }
            let len = self.order.u32([l0, l1, l2, l3]);
            let kind = self.order.u32(kind);
            if !len.is_multiple_of(4) || (len as usize) < FRAMING {
                return Err(Stop::Damaged(format!("a block says that it has {len} octets")));
            }
            match kind {
                INTERFACE_BLOCK | OLD_PACKET_BLOCK | SIMPLE_PACKET_BLOCK | STATISTICS_BLOCK | ENHANCED_PACKET_BLOCK => {
                }
                // Names, secrets, sections' heads, and what is not known: not looked into, however long.
                _ => {
                    input.skip(u64::from(len));
                    continue;
                }
            }
            if let Some(found) = self.block(kind, len as usize, input)? {
                return Ok(found);
            }
        }
    }

    /// A section header: how everything after it is written. `false` when it is not whole yet.
    fn begin_section(&mut self, input: &mut Input) -> Result<bool, Stop> {
        let Some(head) = input.peek(12)? else { return Ok(false) };
        self.order = match head.last_chunk() {
            Some([0x4d, 0x3c, 0x2b, 0x1a]) => Order::Little,
            Some([0x1a, 0x2b, 0x3c, 0x4d]) => Order::Big,
            other => {
                return Err(Stop::Damaged(format!("a section header says {other:02x?} where its byte order stands")));
            }
        };
        self.dropped_before = self.dropped();
        self.dropped = 0;
        self.interfaces.clear();
        Ok(true)
    }

    /// A block that is looked into; `None` when there is no frame to hand over in it.
    #[inline]
    fn block(&mut self, kind: u32, len: usize, input: &mut Input) -> Result<Option<Found>, Stop> {
        if len > BLOCK_OCTETS_MAX {
            return Err(Stop::Damaged(format!("a block says that it has {len} octets")));
        }
        let Some(block) = input.peek(len)? else { return Ok(Some(Found::Nothing)) };
        let again = block.last_chunk().map(|&octets| self.order.u32(octets));
        if again.is_none_or(|again| again as usize != len) {
            return Err(Stop::Damaged("a block's two lengths differ".into()));
        }
        let found = match kind {
            INTERFACE_BLOCK => {
                let interface = self.order.interface(block);
                if self.interfaces.len() < INTERFACES_MAX {
                    self.interfaces
                        .push(interface.ok_or_else(|| Stop::Damaged("an interface description is too short".into()))?);
                }
                None
            }
            STATISTICS_BLOCK => {
                self.order.lost(block, &mut self.interfaces);
                self.dropped = self.interfaces.iter().map(|interface| interface.dropped).sum();
                None
            }
            _ => Some(self.packet(kind, block)?),
        };
        input.take(len);
        Ok(found)
    }

    #[inline]
    fn packet(&self, kind: u32, block: &[u8]) -> Result<Found, Stop> {
        let head = match kind {
            ENHANCED_PACKET_BLOCK => self.order.enhanced(block),
            SIMPLE_PACKET_BLOCK => self.order.simple(block, self.interfaces.first()),
            _ => self.order.old(block),
        };
        let head = head.ok_or_else(|| Stop::Damaged("a block is too short for its frame".into()))?;
        let Some(interface) = self.interfaces.get(head.interface as usize) else { return Ok(Found::Skipped) };
        let captured = head.captured as usize;
        let after = block.len().checked_sub(head.before + captured).filter(|&after| after >= 4);
        let (Some(after), true) = (after, captured <= FRAME_OCTETS_MAX) else {
            return Err(Stop::Damaged(format!("a block of {} octets says that its frame has {captured}", block.len())));
        };
        let frame = Frame {
            time_ns: interface
                .clock
                .nanoseconds(head.steps)
                .saturating_add_signed(interface.offset_s.saturating_mul(1_000_000_000)),
            original_len: head.original,
            interface: head.interface,
            direction: if kind == SIMPLE_PACKET_BLOCK {
                None
            } else {
                self.order.direction(block, head.before + captured)
            },
            ..Frame::new(interface.link, &[])
        };
        Ok(Found::Frame { frame, len: captured, after })
    }
}

//----------- Bodies ---------------------------------------------------------

impl Order {
    fn interface(self, block: &[u8]) -> Option<Interface> {
        const RESOLUTION: u16 = 9;
        const OFFSET: u16 = 14;
        let &[l0, l1, _, _, s0, s1, s2, s3] = block.get(8..)?.first_chunk()?;
        let mut interface = Interface {
            link: LinkType(self.u16([l0, l1])),
            snap_len: self.u32([s0, s1, s2, s3]),
            clock: Clock::new(6),
            offset_s: 0,
            dropped: 0,
        };
        self.options(block, 16, |code, value| match code {
            RESOLUTION => interface.clock = value.first().map_or(interface.clock, |&octet| Clock::new(octet)),
            OFFSET => interface.offset_s = value.first_chunk().map_or(0, |&octets| self.u64(octets).cast_signed()),
            _ => {}
        });
        Some(interface)
    }

    /// Statistics: what an interface has lost so far. The last block counts.
    fn lost(self, block: &[u8], interfaces: &mut [Interface]) {
        const LOST_BY_INTERFACE: u16 = 5;
        const LOST_BY_SYSTEM: u16 = 7;
        let number = block.get(8..).and_then(<[u8]>::first_chunk).map(|&octets| self.u32(octets) as usize);
        let Some(interface) = number.and_then(|number| interfaces.get_mut(number)) else { return };
        let mut lost = 0_u64;
        self.options(block, 20, |code, value| {
            if let (LOST_BY_INTERFACE | LOST_BY_SYSTEM, Some(&octets)) = (code, value.first_chunk()) {
                lost = lost.saturating_add(self.u64(octets));
            }
        });
        interface.dropped = lost;
    }

    #[inline]
    fn enhanced(self, block: &[u8]) -> Option<PacketHead> {
        let &[i0, i1, i2, i3, h0, h1, h2, h3, l0, l1, l2, l3, c0, c1, c2, c3, o0, o1, o2, o3] =
            block.get(8..)?.first_chunk()?;
        let (high, low) = (self.u32([h0, h1, h2, h3]), self.u32([l0, l1, l2, l3]));
        Some(PacketHead {
            interface: self.u32([i0, i1, i2, i3]),
            steps: u64::from(high) << 32 | u64::from(low),
            captured: self.u32([c0, c1, c2, c3]),
            original: self.u32([o0, o1, o2, o3]),
            before: 28,
        })
    }

    /// Without a time, of the first interface, cut at its limit.
    fn simple(self, block: &[u8], first: Option<&Interface>) -> Option<PacketHead> {
        let original = self.u32(*block.get(8..)?.first_chunk()?);
        let room = u32::try_from(block.len().checked_sub(16)?).ok()?;
        let limit = first.map(|interface| interface.snap_len).filter(|&limit| limit > 0).unwrap_or(u32::MAX);
        Some(PacketHead { interface: 0, steps: 0, captured: original.min(limit).min(room), original, before: 12 })
    }

    /// The obsolete block of early versions.
    fn old(self, block: &[u8]) -> Option<PacketHead> {
        let &[i0, i1, _, _, h0, h1, h2, h3, l0, l1, l2, l3, c0, c1, c2, c3, o0, o1, o2, o3] =
            block.get(8..)?.first_chunk()?;
        let (high, low) = (self.u32([h0, h1, h2, h3]), self.u32([l0, l1, l2, l3]));
        Some(PacketHead {
            interface: u32::from(self.u16([i0, i1])),
            steps: u64::from(high) << 32 | u64::from(low),
            captured: self.u32([c0, c1, c2, c3]),
            original: self.u32([o0, o1, o2, o3]),
            before: 28,
        })
    }

    /// The option `epb_flags`, after a frame that ends at `end`.
    #[inline]
    fn direction(self, block: &[u8], end: usize) -> Option<Direction> {
        const FLAGS: u16 = 2;
        let mut direction = None;
        if block.len() > end.next_multiple_of(4) + 4 {
            self.options(block, end.next_multiple_of(4), |code, value| {
                if let (FLAGS, Some(&octets)) = (code, value.first_chunk()) {
                    direction = match self.u32(octets) & 3 {
                        1 => Some(Direction::In),
                        2 => Some(Direction::Out),
                        _ => None,
                    };
                }
            });
        }
        direction
    }

    /// Calls `each` with code and value of the options from `at` on.
    fn options(self, block: &[u8], at: usize, mut each: impl FnMut(u16, &[u8])) {
        let mut rest = block.get(at..block.len().saturating_sub(4)).unwrap_or_default();
        for _ in 0..OPTIONS_MAX {
            let Some((&[c0, c1, l0, l1], values)) = rest.split_first_chunk::<4>() else { return };
            let len = usize::from(self.u16([l0, l1]));
            let (code, Some(value)) = (self.u16([c0, c1]), values.get(..len)) else { return };
            if code == 0 {
                return;
            }
            each(code, value);
            rest = values.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
