//! The program under test: a folder with its config and its state, and the daemon that runs in it.

use crate::upstream::Upstream;
use interdict::io::control::{Command as Order, ask};
use serde_json::Value;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the daemon may take to answer, on a machine that does other things too.
const START_TIME: Duration = Duration::from_secs(30);

/// A folder with config and state; it outlives its daemons.
pub(crate) struct Site {
    dir: TempDir,
}

impl Site {
    /// A site that asks `upstream`; `more` is added to the config.
    pub(crate) fn new(upstream: &Upstream, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = Self { dir };
        let config = format!(
            "version = 1\n[dns]\nlisten = [\"127.0.0.1:0\"]\n[upstream]\nservers = [\"{}\"]\n[store]\npath = \"state\"\n{more}",
            upstream.address
        );
        site.write("interdict.toml", &config);
        site
    }

    /// A site with exactly this config.
    pub(crate) fn with(config: &str) -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap() };
        site.write("interdict.toml", config);
        site
    }

    /// Writes a file of the site's, whole or not at all.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// A path within the site.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The folder of ledger and control socket.
    pub(crate) fn store(&self) -> PathBuf {
        self.path("state")
    }

    /// The program, to be run to its end with this site's config.
    pub(crate) fn program(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interdict"));
        command.arg("--config").arg(self.path("interdict.toml")).args(arguments).stdin(Stdio::null());
        command
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn start(&self) -> Daemon {
        self.start_with(self.command(&["run"]))
    }

    /// Starts the daemon under `prlimit --nofile`.
    pub(crate) fn start_with_descriptors(&self, prlimit: &Path, descriptors: usize) -> Daemon {
        let mut command = Command::new(prlimit);
        command.arg(format!("--nofile={descriptors}")).arg(env!("CARGO_BIN_EXE_interdict"));
        command.arg("--config").arg(self.path("interdict.toml")).arg("run").stdin(Stdio::null());
        self.start_with(command)
    }

    /// Starts the daemon in a group of processes, a folder of a controller of the kernel's.
    pub(crate) fn start_within(&self, group: &Path) -> Daemon {
        let mut command = Command::new("sh");
        command.args(["-ec", "echo $$ > \"$0\"/cgroup.procs; exec \"$@\""]).arg(group);
        command.arg(env!("CARGO_BIN_EXE_interdict")).arg("--config").arg(self.path("interdict.toml"));
        command.arg("run").stdin(Stdio::null());
        self.start_with(command)
    }

    fn start_with(&self, mut command: Command) -> Daemon {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut daemon = Daemon { child, address: unknown, store: self.store(), log: self.path("log") };
        let begun = Instant::now();
        loop {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("the daemon ended at its start, {status}: {}", daemon.log());
            }
            // A socket that a killed daemon left behind answers nothing.
            if let Ok(status) = ask(&daemon.store, Order::Status) {
                daemon.address = status["listen"][0].as_str().unwrap().parse().unwrap();
                return daemon;
            }
            assert!(begun.elapsed() < START_TIME, "the daemon did not answer: {}", daemon.log());
            sleep(Duration::from_millis(10));
        }
    }
}

/// A running daemon; it is killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Where it answers queries.
    pub(crate) address: SocketAddr,
    store: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// What `status` says.
    pub(crate) fn status(&self) -> Value {
        ask(&self.store, Order::Status).unwrap_or_else(|error| panic!("{error}: {}", self.log()))
    }

    /// A counter of the resolver's.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.status()["counters"][name].as_u64().unwrap_or_else(|| panic!("there is no counter {name}"))
    }

    /// Octets of memory that it has taken. Its program's own pages are none of them: what is its share of those changes as other
    /// daemons begin and end.
    pub(crate) fn memory(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let kib = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
        kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// A figure of `/proc/PID/status` that is given in kB.
    pub(crate) fn status_octets(&self, figure: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib = text.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
        kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Lets the peak of its memory start anew.
    pub(crate) fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// Processor time that it took so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // USER_HZ is 100 on every Linux that Rust runs on.
        Duration::from_millis(ticks * 10)
    }

    /// Whether it still runs.
    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap()
    }

    /// The end of what it said.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(4_000);
        text.get(from..).unwrap_or(&text).to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
