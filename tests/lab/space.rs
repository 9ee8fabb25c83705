//! A world of its own for a scenario: network, mount and process namespaces that vanish with the scenario's process, however that
//! ends. The scenario runs on the gateway; other hosts are further network namespaces, and their processes are this binary again.

use crate::tier;
use std::env;
use std::ffi::OsStr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Says to the test binary that it is within the world already.
const WITHIN: &str = "INTERDICT_LAB_WITHIN";
/// Says to the test binary which part it plays on another host.
const ROLE: &str = "INTERDICT_LAB_ROLE";

/// Runs a scenario in a world of its own. `name` is the test's, which is run again within.
pub(crate) fn within(name: &str, scenario: fn()) {
    if env::var_os(WITHIN).is_some() {
        sh("mount -t tmpfs none /run && mkdir /run/netns && ip link set lo up");
        return scenario();
    }
    if !tier::root() || tier::program("unshare").is_none() || tier::program("nft").is_none() {
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.arg(env::current_exe().unwrap()).args(["--exact", name, "--nocapture", "--test-threads=1"]);
    let output = command.env(WITHIN, "1").stdin(Stdio::null()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    println!("{said}");
}

/// Runs a line of shell that must succeed; gives what it said.
pub(crate) fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).stdin(Stdio::null()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line}: {out}{err}");
    out.into_owned()
}

/// A command on a host.
pub(crate) fn on(host: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", host]).arg(program).stdin(Stdio::null());
    command
}

/// A process that plays a part on a host: words that [`play`] understands.
pub(crate) fn part(host: &str, role: &str) -> Child {
    let mut command = on(host, env::current_exe().unwrap());
    command.args(["--exact", "role", "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Plays the part that the environment says, if it says one.
pub(crate) fn play() {
    if let Ok(role) = env::var(ROLE) {
        crate::roles::play(&role);
    }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, most: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < most, "{what}: not within {most:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}
