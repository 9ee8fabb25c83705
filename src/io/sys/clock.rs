//! The clocks. Engines are told what time it is; this is who tells them.

use std::sync::OnceLock;
use std::time::Instant;

use crate::base::model::{Mono, Now, Wall};

/// The arbitrary start of monotonic time: the first reading in this process.
static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Both clocks; read once per batch.
#[must_use]
pub fn now() -> Now {
    Now { mono: mono(), wall: Wall::now() }
}

/// Monotonic time.
#[must_use]
pub fn mono() -> Mono {
    Mono::START.plus(ORIGIN.get_or_init(Instant::now).elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn monotonic_time_goes_on() {
        let before = mono();
        std::thread::sleep(Duration::from_millis(2));
        assert!(now().mono.since(before) >= Duration::from_millis(2));
    }
}
