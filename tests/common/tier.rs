//! How much a test does, and what it needs of the machine.
//!
//! `INTERDICT_TIER` is `fast` (the default: seconds, on any machine), `lab` (minutes, what `.ci/run` adds) or `soak`
//! (the figures that are claimed; `tests/soak NAME`). A test is written once and takes its sizes from [`count`]. What the
//! machine lacks is a line `skipped: reason` and an early return; with `INTERDICT_STRICT=1`, where `.ci/run` has
//! installed everything, a missing program or privilege is a failure instead.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]
#![allow(clippy::panic, reason = "a wrong setting of the test run stops it")]

use std::{
    env,
    fmt::Display,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
};

/// How much a run of the tests does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// Every `cargo test`: seconds.
    Fast,
    /// `.ci/run`: minutes.
    Lab,
    /// `tests/soak NAME`: as long as the claim needs.
    Soak,
}

impl Tier {
    /// Reads the value of `INTERDICT_TIER`; none is `fast`.
    pub(crate) fn parse(value: Option<&str>) -> Result<Self, String> {
        match value {
            None | Some("" | "fast") => Ok(Self::Fast),
            Some("lab") => Ok(Self::Lab),
            Some("soak") => Ok(Self::Soak),
            Some(other) => Err(format!("INTERDICT_TIER is `{other}`; it is fast, lab or soak")),
        }
    }

    /// The one of three values that is meant for this tier.
    pub(crate) fn pick<T>(self, fast: T, lab: T, soak: T) -> T {
        match self {
            Self::Fast => fast,
            Self::Lab => lab,
            Self::Soak => soak,
        }
    }
}

//----------- Sizes ----------------------------------------------------------

/// The tier of this run.
///
/// # Panics
/// When `INTERDICT_TIER` names none.
pub(crate) fn tier() -> Tier {
    let value = env::var("INTERDICT_TIER").ok();
    Tier::parse(value.as_deref()).unwrap_or_else(|why| panic!("{why}"))
}

/// How often, how many, how many seconds: the figure for this run's tier.
pub(crate) fn count(fast: usize, lab: usize, soak: usize) -> usize {
    tier().pick(fast, lab, soak)
}

/// Whether this run reaches `least`; if not, says that the test is skipped.
pub(crate) fn reaches(least: Tier) -> bool {
    let reached = tier() >= least;
    if !reached {
        skip(format!("runs from the {least:?} tier on").to_lowercase());
    }
    reached
}

/// The seed of everything random: `INTERDICT_SEED`, else always the same one.
///
/// # Panics
/// When `INTERDICT_SEED` is no number.
pub(crate) fn seed() -> u64 {
    match env::var("INTERDICT_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("INTERDICT_SEED is `{text}`; it is a number")),
        Err(_) => 1,
    }
}

//----------- Needs ----------------------------------------------------------

/// Says, past the capture of test output, that the running test is skipped, and why. The test then returns.
pub(crate) fn skip(reason: impl Display) {
    let thread = thread::current();
    let line = format!("skipped: {reason} ({})\n", thread.name().unwrap_or("a test"));
    // One write, so that lines of parallel tests do not mix; without a stderr there is nobody to tell.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// The program of this name; if it is not installed, says that the test is skipped.
///
/// # Panics
/// When it is missing in a strict run.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    // Daemons live where an ordinary user's PATH does not look.
    let found = find(name, &format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
    if found.is_none() {
        lack(format!("{name} is not installed"));
    }
    found
}

/// Whether the tests run as root; if not, says that the test is skipped.
///
/// # Panics
/// When they do not in a strict run.
pub(crate) fn root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_root = effective_user(&status) == Some(0);
    if !is_root {
        lack("needs root");
    }
    is_root
}

/// A file or folder of the reference material that may lie beside the checkout; if it does not, says that the test is
/// skipped.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let full = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")).join(path);
    if full.exists() {
        return Some(full);
    }
    skip(format!("../shared/{path} is not there"));
    None
}

fn lack(reason: impl Display) {
    if env::var("INTERDICT_STRICT").is_ok_and(|value| value == "1") {
        panic!("{reason}, and INTERDICT_STRICT=1 allows no skipping");
    }
    skip(reason);
}

/// The first file `name` in the folders of a `PATH`.
pub(crate) fn find(name: &str, path: &str) -> Option<PathBuf> {
    env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The effective user id in the text of `/proc/self/status`.
pub(crate) fn effective_user(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().nth(1)?.parse().ok()
}
