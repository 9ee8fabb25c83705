//! Judges names with the vendor files that are built in, as the daemon would by default, and says why:
//!
//! ```text
//! cargo run --example judge -- s00.upd.kaspersky.com www.kaspersky.com example.org
//! ```
//!
//! Rules are read once and compiled into a `Policy` for a date; after that a decision takes no memory and no lock, so one
//! policy behind an `Arc` serves any number of threads.

use interdict::base::model::Wall;
use interdict::base::name::Name;
use interdict::policy::list::{bundled, vendor};
use interdict::policy::{Policy, RuleSetBuilder, Settings, Subject};
use std::error::Error;
use std::io::{Write as _, stdout};
use std::sync::Arc;

/// A policy of the built-in vendor files under the default settings.
pub(crate) fn policy(at: Wall) -> Result<Policy, Box<dyn Error>> {
    let mut builder = RuleSetBuilder::new();
    for (file, text) in bundled::files() {
        // The revision is what reports cite; the daemon takes a hash of the file.
        builder.add_vendor_file(Arc::new(vendor::read(file, text)?), "built in")?;
    }
    let epoch = 1;
    Ok(Policy::new(epoch, Arc::new(builder.finish()), Arc::new(Settings::default()), at))
}

/// What is decided about a name, and why, in a line.
pub(crate) fn judge(policy: &Policy, name: &str) -> Result<String, Box<dyn Error>> {
    let parsed: Name = name.parse()?;
    let subject = Subject { name: Some(parsed.as_ref()), ..Subject::default() };
    // `policy.decide` alone is what the hot path calls; `explain` adds the words.
    let explained = policy.explain(&subject);
    let place = explained.rule.map_or_else(String::new, |rule| format!(" ({}, {})", rule.pattern, rule.place));
    Ok(format!("{name}: {}, because {}{place}", explained.verdict.decision, explained.reason))
}

#[allow(dead_code, reason = "a test calls the functions above")]
fn main() -> Result<(), Box<dyn Error>> {
    let policy = policy(Wall::now())?;
    for name in std::env::args().skip(1) {
        writeln!(stdout(), "{}", judge(&policy, &name)?)?;
    }
    Ok(())
}
