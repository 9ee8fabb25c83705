//! What is known of a flow beside the table: enough to pass over a packet that says nothing, without looking at the flow itself.

use super::dialogue::{Dialogue, Hint};
use super::flow::Direction;
use super::stream::Stream;
use crate::base::wire::packet::Tcp;

/// One octet a flow: whether it was used of late, whether it is quiet, and how far either direction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u8);

/// How far a direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Nothing has come.
    Unseen,
    /// Every packet of either direction is to be looked at.
    Reading,
    /// Data is to be looked at.
    Idle,
    /// Data is to be looked at if it may begin something.
    Lost,
    /// Nothing more is read.
    Done,
}

impl Marks {
    const USED: u8 = 1;
    const QUIET: u8 = 2;

    /// Whether it was used since it was last looked at for going.
    pub(super) const fn is_used(self) -> bool {
        self.0 & Self::USED != 0
    }

    pub(super) const fn set_used(&mut self, is_used: bool) {
        self.0 = if is_used { self.0 | Self::USED } else { self.0 & !Self::USED };
    }

    /// Whether nobody wants to hear of packets in which nothing is said: its octets are not counted.
    pub(super) const fn is_quiet(self) -> bool {
        self.0 & Self::QUIET != 0
    }

    pub(super) const fn set_quiet(&mut self, is_quiet: bool) {
        self.0 = if is_quiet { self.0 | Self::QUIET } else { self.0 & !Self::QUIET };
    }

    /// Notes how far both directions are; whether there is anything that may be passed over.
    pub(super) fn note(&mut self, directions: &[Direction; 2]) -> bool {
        let [first, second] = directions.each_ref().map(Reach::of);
        self.0 = self.0 & (Self::USED | Self::QUIET) | (first as u8) << 2 | (second as u8) << 5;
        let is_over = |progress| matches!(progress, Reach::Lost | Reach::Done);
        first != Reach::Reading && second != Reach::Reading && (is_over(first) || is_over(second))
    }

    /// Whether the first end, or the second if `is_second`, has said nothing yet.
    pub(super) const fn is_begun(self, is_second: bool) -> bool {
        self.0 >> (if is_second { 5 } else { 2 }) & 7 == Reach::Idle as u8
    }

    /// Whether a segment, sent by the second end if `is_second`, says nothing to anybody.
    #[inline]
    pub(super) fn passes(self, is_second: bool, tcp: &Tcp<'_>, hint: Hint) -> bool {
        let (ours, theirs) = if is_second { (self.0 >> 5, self.0 >> 2) } else { (self.0 >> 2, self.0 >> 5) };
        let is_edge = tcp.flags.syn() || tcp.flags.fin() || tcp.flags.rst();
        if !self.is_quiet() || is_edge || theirs & 7 == Reach::Reading as u8 {
            return false;
        }
        match ours & 7 {
            done if done == Reach::Done as u8 => true,
            lost if lost == Reach::Lost as u8 => !Dialogue::may_start(hint, tcp.payload),
            idle if idle == Reach::Idle as u8 => tcp.payload.is_empty(),
            _ => false,
        }
    }
}

impl Reach {
    const fn of(direction: &Direction) -> Self {
        match direction.stream {
            Stream::Early(_) | Stream::Reading(_) => Self::Reading,
            // The first packet of a direction says what is usual of its sender.
            Stream::Idle | Stream::Opened(_) if direction.ttl.is_none() => Self::Unseen,
            Stream::Idle | Stream::Opened(_) => Self::Idle,
            Stream::Lost => Self::Lost,
            Stream::Done => Self::Done,
        }
    }
}
