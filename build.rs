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
    println!("cargo::rustc-env=INTERDICT_BUILD_SECONDS={}", epoch_seconds()?);
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
