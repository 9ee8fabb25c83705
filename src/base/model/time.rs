//! Time as an argument: engines are told what time it is and never ask.

use std::time::Duration;

/// Wall time, UTC, as policy stages and sightings know it.
pub type Wall = jiff::Timestamp;

/// Monotonic time in nanoseconds since an arbitrary start; what timeouts and TTLs are counted in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Mono(u64);

impl Mono {
    /// The arbitrary start.
    pub const START: Self = Self(0);

    /// A moment so many nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the start, as TTLs are counted.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// How long ago `earlier` was; zero if it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `after` from now, saturating.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Both clocks, read once per batch at the edge.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For timeouts and TTLs.
    pub mono: Mono,
    /// For dates and sightings.
    pub wall: Wall,
}
