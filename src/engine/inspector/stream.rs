//! One direction of a TCP connection: segments in any order, joined as far as the reader asks, and no further.
//!
//! Where segments differ about the same octets nobody here can know what the receiver took. So there are up to three readings: what
//! came first, what came last, and what came without a mark of a decoy (a wrong checksum, another time to live, no ACK). All of them
//! are read, until the receiver has answered.

use super::dialogue::{Dialogue, Hint, Said, Wants};
use super::early::{Early, Took};
use crate::base::wire::pieces::{Keep, Pieces};
use foldhash::quality::FixedState;
use std::hash::BuildHasher;

/// Octets from the first that is held to the last: a hello of the largest size in records.
const WINDOW_OCTETS: usize = 72 << 10;
/// Octets that are kept after they were read, to be compared with what comes again.
const KEPT_OCTETS: usize = 16 << 10;
/// Octets that are kept of a direction whose start was not seen and that is not understood.
pub(super) const UNANCHORED_OCTETS: usize = 4 << 10;
/// How far before the first segment that was seen an earlier one may begin.
const EARLIER_OCTETS: usize = 16 << 10;
/// Acknowledgements of octets that never came, before they are given up: the capture lost them.
const LOST_ACKS: u8 = 3;
/// Names of one direction that are remembered, so that other readings do not tell them again.
const TOLD_MAX: usize = 8;

/// What hears what a direction says.
pub(super) type Hear<'h> = &'h mut dyn FnMut(&mut Told, Said<'_>);

/// A segment's part in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) seq: u32,
    pub(super) octets: &'a [u8],
    /// Nothing marks it as one that the receiver does not take.
    pub(super) is_sure: bool,
    /// Octets behind these that the capture does not have.
    pub(super) missing: u32,
    /// Whether there is room to hold what begins nothing.
    pub(super) has_room: bool,
}

/// How far a direction is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Nothing was said yet.
    #[default]
    Begun,
    /// More may be said.
    Reading,
    /// All is said, unless the receiver takes other octets for it than those that were read.
    Read,
    /// It is all said, or not understood.
    Over,
}

/// What was given up, in octets and times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamLosses {
    /// Octets beyond the window of one direction.
    pub beyond_window: u64,
    /// Holes that never closed.
    pub holes: u64,
    /// Octets that came in two readings.
    pub differing: u64,
}

/// One direction.
#[derive(Clone, Debug, Default)]
pub(super) enum Stream {
    /// Nothing has come.
    #[default]
    Idle,
    /// The start was seen at this sequence number.
    Opened(u32),
    /// Its first segments, which begin nothing; what is before them may still come.
    Early(Box<Early>),
    Reading(Box<Readings>),
    /// Not understood: the start of each segment is looked at.
    Lost,
    /// Everything that names somebody was read.
    Done,
}

/// Up to three readings of the same octets.
#[derive(Clone, Debug)]
pub(super) struct Readings {
    /// The sequence number of the first octet that is held.
    base: u32,
    /// Whether that is where the direction starts, or was given by what was read.
    is_anchored: bool,
    hint: Hint,
    first: Reading,
    last: Option<Reading>,
    sure: Option<Reading>,
    lost_acks: u8,
    told: Told,
}

/// What one direction has said.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    words: [u64; TOLD_MAX],
    count: u8,
    /// Whether it is read in more than one way.
    pub(super) is_ambiguous: bool,
}

impl Told {
    /// Whether nothing was said by this word yet, which is remembered.
    pub(super) fn is_news(&mut self, word: &[u8]) -> bool {
        let hash = FixedState::with_seed(1).hash_one(word);
        if self.words.iter().take(usize::from(self.count)).any(|held| *held == hash) {
            return false;
        }
        if let Some(place) = self.words.get_mut(usize::from(self.count)) {
            *place = hash;
        }
        self.count = (self.count + 1).min(TOLD_MAX as u8);
        true
    }
}

#[derive(Clone, Debug)]
struct Reading {
    pieces: Pieces,
    /// Octets from the front that the dialogue has had.
    fed: usize,
    dialogue: Dialogue,
}

impl Reading {
    fn new(pieces: Pieces, hint: Hint) -> Self {
        Self { pieces, fed: 0, dialogue: Dialogue::new(hint) }
    }

    /// Feeds what is new at the front, as far as it is wanted.
    fn advance(&mut self, told: &mut Told, said: Hear<'_>) {
        if self.dialogue.wants() == Wants::Nothing {
            return;
        }
        let joined = self.pieces.contiguous();
        if let Some(new) = joined.get(self.fed..).filter(|new| !new.is_empty()) {
            self.dialogue.feed(new, &mut |what| said(told, what));
            self.fed = joined.len();
        }
    }
}

impl Stream {
    /// The start of the direction: the octet after `seq` is its first. Whether that is new.
    pub(super) fn open(&mut self, seq: u32) -> bool {
        let first = seq.wrapping_add(1);
        // Its data may have come before the start itself.
        if let Self::Early(early) = self {
            *self = Self::Reading(Box::new(early.readings()));
        }
        let is_same = match self {
            Self::Opened(held) => *held == first,
            Self::Reading(readings) => readings.anchor(first),
            Self::Idle | Self::Early(_) | Self::Lost | Self::Done => false,
        };
        if !is_same {
            *self = Self::Opened(first);
        }
        !is_same
    }

    /// Whether a segment with so many octets may say something: the cheap question before all others.
    pub(super) fn wants(&self, seq: u32, len: usize) -> bool {
        match self {
            _ if len == 0 => false,
            Self::Done => false,
            Self::Idle | Self::Opened(_) | Self::Early(_) | Self::Lost => true,
            Self::Reading(readings) => {
                let end = seq.wrapping_add(u32::try_from(len).unwrap_or(u32::MAX));
                !readings.is_anchored || end.wrapping_sub(readings.base).cast_signed() > 0
            }
        }
    }

    /// Whether segments are of interest beyond their first octets.
    pub(super) const fn is_reading(&self) -> bool {
        !matches!(self, Self::Lost | Self::Done)
    }

    /// How far it is read.
    pub(super) fn progress(&self) -> Progress {
        match self {
            Self::Idle | Self::Opened(_) => Progress::Begun,
            Self::Reading(readings) if readings.is_read() => Progress::Read,
            Self::Early(_) | Self::Reading(_) => Progress::Reading,
            Self::Lost | Self::Done => Progress::Over,
        }
    }

    /// Whether octets are held that are not read to their end.
    pub(super) const fn is_held(&self) -> bool {
        matches!(self, Self::Early(_) | Self::Reading(_))
    }

    /// Octets that are held.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Early(early) => early.held(),
            Self::Reading(readings) => readings.held(),
            _ => 0,
        }
    }

    /// Takes a segment with data.
    pub(super) fn segment(&mut self, segment: &Segment<'_>, hint: Hint, losses: &mut StreamLosses, said: Hear<'_>) {
        if segment.octets.is_empty() {
            return;
        }
        if let Self::Early(early) = self {
            match early.take(segment, hint) {
                Took::Held => return,
                Took::Lost => *self = Self::Lost,
                Took::Apart => *self = Self::Reading(Box::new(early.readings())),
            }
        }
        match self {
            Self::Done => return,
            Self::Lost if !Dialogue::may_start(hint, segment.octets) => return,
            Self::Lost => *self = Self::Reading(Box::new(Readings::new(segment.seq, true, hint))),
            Self::Idle if Early::is_nothing(segment, hint) => {
                *self = if segment.has_room { Self::Early(Box::new(Early::new(segment))) } else { Self::Lost };
                return;
            }
            Self::Idle => *self = Self::Reading(Box::new(Readings::new(segment.seq, false, hint))),
            Self::Opened(base) => *self = Self::Reading(Box::new(Readings::new(*base, true, hint))),
            Self::Early(_) | Self::Reading(_) => {}
        }
        if let Self::Reading(readings) = self
            && let Some(end) = readings.segment(segment, losses, said)
        {
            *self = end;
        }
    }

    /// The receiver acknowledged everything before `ack`; `answered` with data.
    pub(super) fn acknowledged(&mut self, ack: u32, answered: bool, losses: &mut StreamLosses, said: Hear<'_>) {
        match self {
            Self::Reading(readings) => {
                if let Some(end) = readings.acknowledged(ack, answered, losses, said) {
                    *self = end;
                }
            }
            Self::Early(early) if answered && early.is_before(ack) => *self = Self::Lost,
            _ => {}
        }
    }

    /// Tells what is there although its end is not, and forgets the rest.
    pub(super) fn finish(&mut self, losses: &mut StreamLosses, said: Hear<'_>) {
        if let Self::Reading(mut readings) = std::mem::replace(self, Self::Done) {
            // A hole in the middle, and what is behind it.
            while readings.pass_hole(losses, said).is_none() {}
            readings.finish_dialogues(said);
        }
    }
}

impl Readings {
    fn new(base: u32, is_anchored: bool, hint: Hint) -> Self {
        Self {
            base,
            is_anchored,
            hint,
            first: Reading::new(Pieces::default(), hint),
            last: None,
            sure: None,
            lost_acks: 0,
            told: Told::default(),
        }
    }

    /// What was held before it was known that it is to be read.
    pub(super) fn of(base: u32, octets: &[u8]) -> Self {
        let mut readings = Self::new(base, false, Hint::None);
        readings.first.pieces.put(0, octets, Keep::First, WINDOW_OCTETS);
        readings
    }

    /// Tells what the ends of what is read so far leave to be told.
    fn finish_dialogues(&mut self, said: Hear<'_>) {
        let told = &mut self.told;
        for reading in [Some(&mut self.first), self.last.as_mut(), self.sure.as_mut()].into_iter().flatten() {
            reading.dialogue.finish(&mut |what| said(told, what));
        }
    }

    /// Whether no reading wants more; what differs from them may still come, until the receiver has answered.
    fn is_read(&self) -> bool {
        let all = [Some(&self.first), self.last.as_ref(), self.sure.as_ref()];
        all.into_iter().flatten().all(|reading| reading.dialogue.wants() == Wants::Nothing)
    }

    /// Whether there is more than one reading.
    const fn has_alternatives(&self) -> bool {
        self.last.is_some() || self.sure.is_some()
    }

    fn held(&self) -> usize {
        let others = [&self.last, &self.sure];
        self.first.pieces.span() + others.into_iter().flatten().map(|reading| reading.pieces.span()).sum::<usize>()
    }

    /// Takes `first` for the first octet of the direction; `false` where what is held cannot belong to that.
    fn anchor(&mut self, first: u32) -> bool {
        let before = self.base.wrapping_sub(first) as usize;
        if self.is_anchored {
            return before == 0;
        }
        if before > EARLIER_OCTETS || before + self.first.pieces.span() > WINDOW_OCTETS {
            return false;
        }
        if before > 0 {
            self.extend_front(first, before);
        }
        self.is_anchored = true;
        true
    }

    /// Makes room for octets before those that are held; everything is read again from there.
    fn extend_front(&mut self, base: u32, before: usize) {
        self.base = base;
        for reading in [Some(&mut self.first), self.last.as_mut(), self.sure.as_mut()].into_iter().flatten() {
            reading.pieces.make_room_in_front(before);
            (reading.fed, reading.dialogue) = (0, Dialogue::new(self.hint));
        }
    }

    /// Takes a segment; what becomes of the direction where its reading ends.
    fn segment(&mut self, segment: &Segment<'_>, losses: &mut StreamLosses, said: Hear<'_>) -> Option<Stream> {
        let is_behind = segment.seq.wrapping_sub(self.base).cast_signed() > 0;
        let is_lost = self.first.dialogue.wants() == Wants::Start && !self.has_alternatives();
        if is_lost && is_behind && Dialogue::may_start(self.hint, segment.octets) {
            return self.start_anew_at(segment, losses, said);
        }
        let (at, octets) = self.place(segment)?;
        if at + octets.len() > WINDOW_OCTETS {
            losses.beyond_window += octets.len() as u64;
            // Far away from everything: what lies between was lost, or the start was another's.
            return self.start_anew_at(segment, losses, said);
        }
        if !segment.is_sure && self.sure.is_none() {
            self.sure = Some(Reading::new(self.first.pieces.clone(), self.hint));
        }
        if self.first.pieces.differs(at, octets) {
            losses.differing += octets.len() as u64;
            if self.last.is_none() {
                self.last = Some(Reading::new(self.first.pieces.clone(), self.hint));
            }
        }
        let placed = self.first.pieces.put(at, octets, Keep::First, WINDOW_OCTETS);
        losses.beyond_window += placed.dropped as u64;
        if let Some(last) = &mut self.last {
            // What was read already is read again from the front.
            if last.pieces.put(at, octets, Keep::Last, WINDOW_OCTETS).differs && at < last.fed {
                (last.fed, last.dialogue) = (0, Dialogue::new(self.hint));
            }
        }
        if let Some(sure) = self.sure.as_mut().filter(|_| segment.is_sure) {
            sure.pieces.put(at, octets, Keep::First, WINDOW_OCTETS);
        }
        let end = self.advance(losses, said);
        if end.is_none() && segment.missing > 0 {
            return self.cut_off(at + octets.len(), said);
        }
        end
    }

    /// Where a segment belongs, and what of it is not from before everything that is held.
    fn place<'a>(&mut self, segment: &Segment<'a>) -> Option<(usize, &'a [u8])> {
        let ahead = segment.seq.wrapping_sub(self.base).cast_signed();
        if let Ok(at) = usize::try_from(ahead) {
            return Some((at, segment.octets));
        }
        let before = usize::try_from(ahead.unsigned_abs()).ok()?;
        // The first that was seen need not have been the first that was sent.
        if !self.is_anchored && before <= EARLIER_OCTETS && before + self.first.pieces.span() <= WINDOW_OCTETS {
            self.extend_front(segment.seq, before);
            return Some((0, segment.octets));
        }
        segment.octets.get(before..).filter(|rest| !rest.is_empty()).map(|rest| (0, rest))
    }

    /// Goes on with a segment that fits nowhere, if it may begin something.
    fn start_anew_at(&mut self, segment: &Segment<'_>, losses: &mut StreamLosses, said: Hear<'_>) -> Option<Stream> {
        losses.holes += 1;
        let nothing_yet = self.first.fed == 0;
        if !nothing_yet && !Dialogue::may_start(self.hint, segment.octets) {
            return Some(Stream::Lost);
        }
        let told = std::mem::take(&mut self.told);
        *self = Self { told, ..Self::new(segment.seq, !nothing_yet, self.hint) };
        self.first.pieces.put(0, segment.octets, Keep::First, WINDOW_OCTETS);
        self.advance(losses, said)
    }

    /// The capture does not have the octets behind `end`.
    fn cut_off(&mut self, end: usize, said: Hear<'_>) -> Option<Stream> {
        if self.first.fed != end {
            return None;
        }
        let told = &mut self.told;
        self.first.dialogue.finish(&mut |what| said(told, what));
        Some(Stream::Lost)
    }

    /// Reads on in every reading; what becomes of the direction where the first one ends.
    fn advance(&mut self, losses: &mut StreamLosses, said: Hear<'_>) -> Option<Stream> {
        self.told.is_ambiguous = self.has_alternatives();
        let told = &mut self.told;
        for reading in [Some(&mut self.first), self.last.as_mut(), self.sure.as_mut()].into_iter().flatten() {
            reading.advance(told, said);
        }
        match self.first.dialogue.wants() {
            Wants::Blind(count) if self.last.is_none() => self.pass_blind(count, losses, said),
            // What came before a first segment that was not the start may still come.
            Wants::Start if !self.is_anchored && self.first.pieces.span() <= UNANCHORED_OCTETS => None,
            Wants::Start if self.first.fed > KEPT_OCTETS || !self.has_alternatives() => Some(Stream::Lost),
            Wants::More if self.first.fed > KEPT_OCTETS => {
                self.forget_read();
                None
            }
            // The hello is read; what differs from it may still come, until the receiver answers.
            Wants::Nothing if self.first.pieces.span() > self.first.fed + KEPT_OCTETS => Some(Stream::Done),
            _ => None,
        }
    }

    fn pass_blind(&mut self, count: u64, losses: &mut StreamLosses, said: Hear<'_>) -> Option<Stream> {
        let Ok(blind) = usize::try_from(count) else { return Some(Stream::Lost) };
        self.sure = None;
        self.forget_read();
        self.first.dialogue.pass(count);
        self.first.pieces.forget_front(blind);
        self.base = self.base.wrapping_add(u32::try_from(count).unwrap_or(u32::MAX));
        // What has come already of what follows.
        if self.first.pieces.contiguous().is_empty() { None } else { self.advance(losses, said) }
    }

    /// Forgets what was read, and the readings that differ about it.
    fn forget_read(&mut self) {
        let fed = self.first.fed;
        self.first.pieces.forget_front(fed);
        self.first.fed = 0;
        self.base = self.base.wrapping_add(u32::try_from(fed).unwrap_or(u32::MAX));
        self.is_anchored = true;
        (self.last, self.sure) = (None, None);
    }

    fn acknowledged(&mut self, ack: u32, answered: bool, losses: &mut StreamLosses, said: Hear<'_>) -> Option<Stream> {
        let acked = usize::try_from(ack.wrapping_sub(self.base).cast_signed()).ok()?;
        if acked > self.first.fed && self.first.pieces.behind_hole().is_some_and(|behind| acked >= behind) {
            self.lost_acks += 1;
            if self.lost_acks >= LOST_ACKS {
                self.lost_acks = 0;
                return self.pass_hole(losses, said);
            }
        }
        if !answered || self.first.fed == 0 || acked < self.first.fed {
            return None;
        }
        match self.first.dialogue.wants() {
            Wants::Nothing => Some(Stream::Done),
            Wants::Start => Some(Stream::Lost),
            Wants::More | Wants::Blind(_) if self.last.is_some() || self.first.fed > KEPT_OCTETS => {
                self.forget_read();
                None
            }
            Wants::More | Wants::Blind(_) => None,
        }
    }

    /// Gives up the first hole: goes on behind it if something may begin there. `Some` also where there is none.
    fn pass_hole(&mut self, losses: &mut StreamLosses, said: Hear<'_>) -> Option<Stream> {
        let Some(behind) = self.first.pieces.behind_hole() else { return Some(Stream::Lost) };
        losses.holes += 1;
        let told = &mut self.told;
        self.first.dialogue.finish(&mut |what| said(told, what));
        self.first.dialogue = Dialogue::new(self.hint);
        (self.last, self.sure) = (None, None);
        self.first.pieces.forget_front(behind);
        self.first.fed = 0;
        self.base = self.base.wrapping_add(u32::try_from(behind).unwrap_or(u32::MAX));
        self.is_anchored = true;
        if !Dialogue::may_start(self.hint, self.first.pieces.contiguous()) {
            // Nothing begins here; perhaps behind the next one.
            return if self.first.pieces.behind_hole().is_some() { None } else { Some(Stream::Lost) };
        }
        self.advance(losses, said)
    }
}
