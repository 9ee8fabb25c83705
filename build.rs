//! Embeds the vendor files, and the date below which no clock is believed.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

/// Where the vendor files are, below the package's root.
const VENDORS: &str = "blocklists/vendors";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={VENDORS}");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("bundled.rs"), bundled()?)?;
    println!("cargo::rustc-env=INTERDICT_BUILD_DATE={}", rfc3339(epoch_seconds()?));
    Ok(())
}

/// The table of vendor files as source text, sorted by name.
fn bundled() -> Result<String, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(Path::new(&env::var("CARGO_MANIFEST_DIR")?).join(VENDORS))? {
        let name = entry?.file_name().into_string().map_err(|name| format!("{name:?} in {VENDORS} is not UTF-8"))?;
        if name.ends_with(".toml") {
            println!("cargo::rerun-if-changed={VENDORS}/{name}");
            names.push(name);
        }
    }
    names.sort();
    let mut source = String::from("/// Written by build.rs.\npub(crate) static FILES: &[(&str, &str)] = &[\n");
    for name in names {
        let (key, path) = (format!("vendors/{name}"), format!("/{VENDORS}/{name}"));
        writeln!(source, "    ({key:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))),")?;
    }
    source.push_str("];\n");
    Ok(source)
}

/// Seconds since 1970: what a reproducible build asks for, else now.
fn epoch_seconds() -> Result<u64, Box<dyn Error>> {
    match env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => Ok(seconds.parse()?),
        Err(_) => Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()),
    }
}

/// RFC 3339 in UTC. The calendar is computed here, because a build dependency for one line would build jiff twice.
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days from 0000-03-01 in eras of 400 years, so that the leap day ends a year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
