//! The reference captures, scored by their own script.

use super::tier;
use std::fs::{self, File};
use std::process::Command;

#[test]
fn the_reference_captures_score() {
    let (Some(captures), Some(truth)) = (tier::shared("captures"), tier::shared("truth")) else { return };
    let Some(python) = tier::program("python3") else { return };
    let seen = tempfile::tempdir().unwrap();
    let mut count = 0;
    for entry in fs::read_dir(&captures).unwrap() {
        let path = entry.unwrap().path();
        if !path.extension().is_some_and(|ending| ending == "pcap" || ending == "pcapng") {
            continue;
        }
        let out = seen.path().join(format!("{}.jsonl", path.file_name().unwrap().display()));
        // Some captures are damaged on purpose; what was seen before counts.
        Command::new(env!("CARGO_BIN_EXE_interdict"))
            .args(["inspect", "--names", "--read"])
            .arg(&path)
            .stdout(File::create(out).unwrap())
            .output()
            .unwrap();
        count += 1;
    }
    assert!(count > 200, "{count} captures");
    let mut score = Command::new(python);
    score.arg(truth.join("score_names.py")).arg(&truth).arg(seen.path()).arg("-v");
    for kind in ["tls-sni", "quic-sni", "http-host", "dns-query"] {
        score.args(["--min-recall", &format!("{kind}=0.97"), "--min-precision", &format!("{kind}=0.97")]);
    }
    score.args(["--min-recall", "all=0.99", "--min-precision", "all=0.99"]);
    let scored = score.output().unwrap();
    assert!(scored.status.success(), "{}", String::from_utf8_lossy(&scored.stdout));
}
