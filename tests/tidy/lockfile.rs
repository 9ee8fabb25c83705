//! Cargo.lock: versions not below their security floor, nothing from git or a stranger's registry, and no
//! package twice unless deny.toml says why.

use std::collections::BTreeMap;

use super::{Finding, Rule};

/// The oldest versions without a known hole that concerns us.
const FLOORS: [(&str, [u64; 3]); 5] = [
    ("h2", [0, 4, 4]),
    ("hickory-proto", [0, 26, 3]),
    ("quinn-proto", [0, 11, 18]),
    ("rustls", [0, 23, 46]),
    ("rustls-webpki", [0, 103, 13]),
];

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Judges the locked packages.
pub(crate) fn check(lock: &str, deny: &str) -> Vec<Finding> {
    let finding = |what| Finding::new(Rule::Lock, "Cargo.lock", 0, what);
    let packages = packages(lock);
    let mut findings = Vec::new();
    for package in &packages {
        let floor = FLOORS.iter().find(|(name, _)| *name == package.name);
        if let Some((name, floor)) = floor.filter(|(_, floor)| numbers(&package.version) < *floor) {
            let [major, minor, patch] = floor;
            let have = &package.version;
            findings.push(finding(format!("{name} {have} is older than {major}.{minor}.{patch}")));
        }
        let is_own = package.source.is_empty() && package.name == "interdict";
        if !is_own && package.source != REGISTRY {
            let (name, source) = (&package.name, &package.source);
            findings.push(finding(format!("{name} comes from `{source}`, not from crates.io")));
        }
    }
    findings.extend(duplicates(&packages, deny));
    findings
}

struct Package {
    name: String,
    version: String,
    /// Empty for a package of a folder.
    source: String,
}

fn packages(lock: &str) -> Vec<Package> {
    let lock: toml::Table = lock.parse().expect("Cargo.lock is TOML");
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let packages = packages.expect("Cargo.lock lists packages");
    let read = |package: &toml::Value, key: &str| {
        package.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned()
    };
    packages
        .iter()
        .map(|package| Package {
            name: read(package, "name"),
            version: read(package, "version"),
            source: read(package, "source"),
        })
        .collect()
}

/// Major, minor, patch; what follows (`-alpha`, `+build`) is left out.
fn numbers(version: &str) -> [u64; 3] {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

/// All but one version of a package are in deny.toml's `skip`, each with its reason, and nothing else is.
fn duplicates(packages: &[Package], deny: &str) -> Vec<Finding> {
    let deny: toml::Table = deny.parse().expect("deny.toml is TOML");
    let skip = deny.get("bans").and_then(|bans| bans.get("skip"));
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let mut findings = Vec::new();
    for entry in skip.and_then(toml::Value::as_array).into_iter().flatten() {
        let read = |key: &str| entry.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        let (name, version) = read("crate").split_once('@').unwrap_or_else(|| (read("crate"), ""));
        let known = versions.get_mut(name).is_some_and(|have| {
            let before = have.len();
            have.retain(|have| !is_version(have, version));
            before == have.len() + 1
        });
        if !known || read("reason").is_empty() {
            let what = format!("skip of `{}`: names no duplicate, or no reason", read("crate"));
            findings.push(Finding::new(Rule::Lock, "deny.toml", 0, what));
        }
    }
    for (name, left) in versions.into_iter().filter(|(_, left)| left.len() != 1) {
        let what = format!("{name} is there more than once ({}): name all but one", left.join(", "));
        findings.push(Finding::new(Rule::Lock, "deny.toml", 0, what));
    }
    findings
}

/// Whether `have` is `wanted`, which may leave out the last numbers.
fn is_version(have: &str, wanted: &str) -> bool {
    have.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> String {
        format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{REGISTRY}\"\n")
    }

    fn refusals(lock: &[String], deny: &str) -> Vec<String> {
        check(&lock.concat(), deny).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn an_old_version_is_refused() {
        assert_eq!(refusals(&[package("hickory-proto", "0.26.2")], ""), ["hickory-proto 0.26.2 is older than 0.26.3"]);
        for version in ["0.26.3", "0.26.10", "0.27.0-alpha.1", "1.0.0"] {
            assert_eq!(refusals(&[package("hickory-proto", version)], ""), [""; 0], "{version}");
        }
        assert_eq!(refusals(&[package("h2", "0.4.3")], "").len(), 1);
    }

    #[test]
    fn another_source_is_refused() {
        let git = package("a", "1.0.0").replace(REGISTRY, "git+https://example.org/a");
        assert_eq!(refusals(&[git], "").len(), 1);
        let path = "[[package]]\nname = \"NAME\"\nversion = \"0.1.0\"\n";
        assert_eq!(refusals(&[path.replace("NAME", "interdict")], "").len(), 0);
        assert_eq!(refusals(&[path.replace("NAME", "stranger")], "").len(), 1);
    }

    #[test]
    fn a_second_version_needs_a_reason_and_a_reason_a_second_version() {
        let lock = [package("a", "1.2.3"), package("a", "2.0.0"), package("b", "1.0.0")];
        assert_eq!(refusals(&lock, "").len(), 1);
        let skip =
            |what: &str, reason: &str| format!("[bans]\nskip = [{{ crate = \"{what}\", reason = \"{reason}\" }}]");
        assert_eq!(refusals(&lock, &skip("a@1.2", "old")), [""; 0]);
        assert_eq!(refusals(&lock, &skip("a@1", "")).len(), 1);
        assert_eq!(refusals(&lock, &skip("a@3", "old")).len(), 2);
        assert_eq!(refusals(&lock[1..], &skip("a@1.2", "old")).len(), 1);
    }
}
