//! The tests' own switches, checked: a wrong tier or a program that is overlooked would leave scenarios out unseen.

#[path = "common/tier.rs"]
mod tier;

use std::{fs, process::Command};

use tier::Tier;

#[test]
fn a_tier_is_named_or_refused() {
    assert_eq!(Tier::parse(None), Ok(Tier::Fast));
    assert_eq!(Tier::parse(Some("lab")), Ok(Tier::Lab));
    assert_eq!(Tier::parse(Some("soak")), Ok(Tier::Soak));
    assert_eq!(Tier::parse(Some("1")).unwrap_err(), "INTERDICT_TIER is `1`; it is fast, lab or soak");
    assert!(Tier::Fast < Tier::Lab && Tier::Lab < Tier::Soak);
    assert_eq!([Tier::Fast, Tier::Lab, Tier::Soak].map(|tier| tier.pick(1, 2, 3)), [1, 2, 3]);
}

#[test]
fn a_program_is_found_along_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tool");
    let path = format!("relative:/nowhere:{}", folder.path().display());
    assert_eq!(tier::find("tool", &path), None);
    fs::write(&file, "").unwrap();
    assert_eq!(tier::find("tool", &path), Some(file));
    assert_eq!(tier::find("tool", ""), None);
}

#[test]
fn the_effective_user_is_the_second_id() {
    assert_eq!(tier::effective_user("Name:\tx\nUid:\t1000\t0\t1000\t1000\n"), Some(0));
    assert_eq!(tier::effective_user("Uid:\t1000\n"), None);
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    let is_root = String::from_utf8(id).unwrap().trim() == "0";
    let own = fs::read_to_string("/proc/self/status").unwrap();
    assert_eq!(tier::effective_user(&own) == Some(0), is_root);
}

/// Runs by itself only; the test below runs it in a process of its own.
#[test]
fn lacking() {
    if std::env::var_os("INTERDICT_TIER_LACKING").is_some() && tier::program("no-such-program").is_none() {
        tier::skip("said twice");
    }
}

#[test]
fn what_is_lacking_is_said_or_fails_when_strict() {
    let run = |strict: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lacking"])
            .env("INTERDICT_TIER_LACKING", "1")
            .env("INTERDICT_STRICT", strict)
            .output()
            .unwrap()
    };
    let loose = run("0");
    let said = String::from_utf8(loose.stderr).unwrap();
    assert!(loose.status.success());
    assert!(said.contains("skipped: no-such-program is not installed (lacking)\n"), "{said}");
    assert!(said.contains("skipped: said twice (lacking)\n"), "{said}");
    assert!(!run("1").status.success());
}
