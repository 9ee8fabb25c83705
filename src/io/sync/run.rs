//! One run of the `git` program: arguments only, a cleared environment, limits on time, memory, processor and disk, and an end of
//! the whole process group whatever happens. Nothing else in this folder starts a program.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::io::sys::child::{ChildLimits, Confined};

/// Where `git` and `ssh` are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Octets kept of what git says on its stderr.
const SAID_OCTETS_MAX: u64 = 64 * 1024;
/// Characters of git's words in one of our sentences.
const SAID_CHARS_MAX: usize = 300;
/// Between two looks at a running git.
const POLL: Duration = Duration::from_millis(10);
/// How long a git whose output is at an end, or no longer wanted, may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);
/// Between two measurements of the folder that it fills.
const MEASURE: Duration = Duration::from_millis(100);
/// Files that a repository may have; its objects lie in packs.
const DISK_FILES_MAX: usize = 10_000;

/// Settings of every run, whatever a repository or a machine says.
const SETTINGS: [&str; 27] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.askPass=",
    // Blobs larger than this are streamed to and from disk, never held in memory.
    "core.bigFileThreshold=1m",
    "core.packedGitLimit=64m",
    "core.packedGitWindowSize=1m",
    "credential.helper=",
    "protocol.allow=never",
    "protocol.version=2",
    "fetch.fsckObjects=true",
    "transfer.fsckObjects=true",
    "transfer.bundleURI=false",
    // One file per fetch instead of one per object.
    "fetch.unpackLimit=1",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "submodule.recurse=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "pack.threads=1",
    "pack.windowMemory=16m",
    "http.followRedirects=false",
    "http.sslVerify=true",
    "http.proxy=",
    "http.maxRequests=1",
    "http.emptyAuth=false",
    "advice.fetchShowForcedUpdates=false",
];

/// What bounds a source. The defaults take a list of a few million lines with years of history.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Wall time of one run of git.
    pub time: Duration,
    /// Octets on disk of what is fetched, and of the repository that is kept.
    pub disk_bytes: u64,
    /// Octets of address space of git and each of its children.
    pub memory_bytes: u64,
    /// Octets of one list file.
    pub file_bytes: u64,
    /// Octets of all list files of one commit.
    pub total_bytes: u64,
    /// Lines of one list file.
    pub file_lines: usize,
    /// List files of one commit.
    pub files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(60),
            disk_bytes: 64 << 20,
            memory_bytes: 1 << 30,
            file_bytes: 64 << 20,
            total_bytes: 128 << 20,
            file_lines: 5_000_000,
            files: 1_000,
        }
    }
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Since its start.
    pub elapsed: Duration,
    /// Octets that lie on disk.
    pub bytes: u64,
}

/// Why git did not do what was asked; one sentence.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program is not there.
    #[error("git cannot be started: {0}; install git 2.37 or newer")]
    Start(io::Error),
    /// Too old to be told addresses.
    #[error("git {0} is too old; install git 2.37 or newer")]
    Version(String),
    /// It took too long.
    #[error("{what} took longer than {} s and was ended", .limit.as_secs())]
    Time {
        /// What was done.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// Too much for the disk.
    #[error("{what} would take more than {} MiB on disk and was ended", .limit >> 20)]
    Disk {
        /// What was done.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Too much for memory.
    #[error("{what} needs more than {} MiB of memory and was ended", .limit >> 20)]
    Memory {
        /// What was done.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// More output than expected.
    #[error("{what} yields more than is taken in")]
    Output {
        /// What was done.
        what: &'static str,
    },
    /// git said no.
    #[error("{what} failed: {said}")]
    Failed {
        /// What was done.
        what: &'static str,
        /// git's own words, cleaned.
        said: String,
    },
    /// Our own reading and writing failed.
    #[error("{what}: {error}")]
    Io {
        /// What was done.
        what: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// One run.
pub(super) struct Run<'a> {
    /// What it is for, as sentences say it: `the fetch`.
    pub(super) what: &'static str,
    /// The repository.
    pub(super) git_dir: &'a Path,
    /// Further `-c` settings.
    pub(super) settings: Vec<String>,
    /// Further environment.
    pub(super) env: Vec<(&'static str, String)>,
    /// The command and its arguments.
    pub(super) args: Vec<String>,
    /// What it reads.
    pub(super) stdin: Vec<u8>,
    /// Whether its folder is measured while it runs, and who is told.
    pub(super) progress: Option<&'a dyn Fn(Progress)>,
}

impl<'a> Run<'a> {
    pub(super) fn new(what: &'static str, git_dir: &'a Path, args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { what, git_dir, settings: Vec::new(), env: Vec::new(), args, stdin: Vec::new(), progress: None }
    }

    /// Runs and returns at most `octets_max` of its output.
    ///
    /// # Errors
    /// Any [`GitError`].
    pub(super) fn output(self, limits: &Limits, octets_max: usize) -> Result<Vec<u8>, GitError> {
        self.stream(limits, |stdout| {
            let mut octets = Vec::new();
            stdout.take(octets_max as u64 + 1).read_to_end(&mut octets)?;
            if octets.len() > octets_max { Err(too_much()) } else { Ok(octets) }
        })
    }

    /// Runs and gives its output to `consume`, on another thread, as it comes. If `consume` returns before the end, git is ended.
    ///
    /// # Errors
    /// Any [`GitError`].
    pub(super) fn stream<T: Send>(
        mut self,
        limits: &Limits,
        consume: impl FnOnce(&mut dyn Read) -> io::Result<T> + Send,
    ) -> Result<T, GitError> {
        let what = self.what;
        let failed = |error| GitError::Io { what, error };
        let child_limits = ChildLimits {
            file_bytes: limits.disk_bytes,
            memory_bytes: limits.memory_bytes,
            cpu_seconds: limits.time.as_secs().saturating_add(1),
        };
        let mut child = Confined::spawn(&mut self.command(), child_limits).map_err(GitError::Start)?;
        let (Some(mut stdin), Some(mut stdout), Some(stderr)) = child.pipes() else {
            return Err(failed(io::Error::other("git has no pipes")));
        };
        let input = std::mem::take(&mut self.stdin);
        let has_enough = AtomicBool::new(false);
        let (watched, taken, said) = thread::scope(|scope| {
            // A git that ends early closes its end: what it says of itself tells why.
            scope.spawn(move || drop(stdin.write_all(&input)));
            let said = scope.spawn(move || {
                let mut octets = Vec::new();
                let mut stderr = stderr;
                let _ = stderr.by_ref().take(SAID_OCTETS_MAX).read_to_end(&mut octets);
                let _ = io::copy(&mut stderr, &mut io::sink());
                octets
            });
            let has_enough = &has_enough;
            let taken = scope.spawn(move || {
                let taken = consume(&mut stdout);
                has_enough.store(true, Ordering::Release);
                taken
            });
            let watched = self.watch(&child, limits, has_enough).and_then(|()| child.finish().map_err(failed));
            if watched.is_err() {
                // The readers below end when the group does.
                let _ = child.finish();
            }
            (watched, taken.join(), said.join())
        });
        let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
        let status = watched?;
        let taken = taken.map_err(|_| failed(io::Error::other("the reader failed")))?;
        match taken {
            Ok(taken) if status.success() => Ok(taken),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(GitError::Output { what }),
            Err(error) if status.success() || error.kind() == io::ErrorKind::InvalidData => Err(failed(error)),
            _ => Err(self.refusal(status, &said, limits)),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C").env("HOME", "/nonexistent");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_ATTR_NOSYSTEM", "1");
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_LITERAL_PATHSPECS", "1").env("GIT_OPTIONAL_LOCKS", "0");
        command.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_NO_LAZY_FETCH", "1").env("GIT_PAGER", "cat");
        for (name, value) in &self.env {
            command.env(name, value);
        }
        command.arg("--git-dir").arg(self.git_dir);
        for setting in SETTINGS.iter().copied().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        command.args(&self.args).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Returns when git has ended or its reader has enough; otherwise why it has to be ended.
    fn watch(&self, child: &Confined, limits: &Limits, has_enough: &AtomicBool) -> Result<(), GitError> {
        let start = Instant::now();
        let mut measured = start;
        let mut pause = Duration::from_micros(500);
        let mut enough_since = None;
        loop {
            let has_ended = child.has_ended().map_err(|error| GitError::Io { what: self.what, error })?;
            let is_due = has_ended || measured.elapsed() >= MEASURE;
            if let (Some(progress), true) = (self.progress, is_due) {
                measured = Instant::now();
                let (files, bytes) = measure(self.git_dir);
                progress(Progress { elapsed: start.elapsed(), bytes });
                if bytes > limits.disk_bytes || files > DISK_FILES_MAX {
                    return Err(GitError::Disk { what: self.what, limit: limits.disk_bytes });
                }
            }
            if has_ended {
                return Ok(());
            }
            if start.elapsed() > limits.time {
                return Err(GitError::Time { what: self.what, limit: limits.time });
            }
            // Its output may be at an end just before git itself is.
            if has_enough.load(Ordering::Acquire) && enough_since.get_or_insert_with(Instant::now).elapsed() > GRACE {
                return Ok(());
            }
            thread::sleep(pause);
            pause = (pause * 2).min(POLL);
        }
    }

    fn refusal(&self, status: ExitStatus, said: &str, limits: &Limits) -> GitError {
        let what = self.what;
        if said.contains("File too large") || said.contains("signal 25") {
            return GitError::Disk { what, limit: limits.disk_bytes };
        }
        if said.contains("ut of memory") || said.contains("mmap failed") {
            return GitError::Memory { what, limit: limits.memory_bytes };
        }
        let said = essence(said);
        let said = if said.is_empty() { format!("git ended with {status}") } else { said };
        GitError::Failed { what, said }
    }
}

/// What a reader returns that was given more than it takes in.
pub(super) fn too_much() -> io::Error {
    io::ErrorKind::FileTooLarge.into()
}

/// What a reader returns that does not understand git.
pub(super) fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "git's answer is not understood")
}

/// Files and octets below a folder. What vanishes meanwhile does not count.
pub(super) fn measure(folder: &Path) -> (usize, u64) {
    let (mut files, mut bytes) = (0, 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                folders.push(entry.path());
            } else {
                files += 1;
                bytes += about.len();
            }
            if files > DISK_FILES_MAX {
                return (files, bytes);
            }
        }
    }
    (files, bytes)
}

/// The line of git's words that says why, without control characters and not too long: some of it comes from the remote.
fn essence(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let says = |start: &'static str| lines().find(move |line| line.starts_with(start));
    // ssh knows better than git why it got nowhere.
    let of_ssh = |line: &&str| {
        ["ssh: ", "Host key verification", "Permission denied"].iter().any(|start| line.starts_with(start))
    };
    let line = lines()
        .find(of_ssh)
        .or_else(|| says("fatal: "))
        .or_else(|| says("error: "))
        .or_else(|| lines().next_back())
        .unwrap_or_default();
    let line = line.strip_prefix("fatal: ").or_else(|| line.strip_prefix("error: ")).unwrap_or(line);
    line.chars().filter(|c| !c.is_control()).take(SAID_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Run<'static> {
        Run::new("the test", Path::new("/nonexistent"), args)
    }

    #[test]
    fn the_environment_is_ours_and_nothing_else() {
        let command = run(&["version"]).command();
        let names: Vec<_> = command.get_envs().filter_map(|(name, value)| value.and_then(|_| name.to_str())).collect();
        let ours = names.iter().all(|name| name.starts_with("GIT_") || ["PATH", "LC_ALL", "HOME"].contains(name));
        assert!(ours && names.contains(&"GIT_CONFIG_NOSYSTEM"), "{names:?}");
        let args: Vec<_> = command.get_args().filter_map(|arg| arg.to_str()).collect();
        for setting in ["protocol.allow=never", "fetch.fsckObjects=true", "core.hooksPath=/dev/null"] {
            assert!(args.contains(&setting), "{setting}");
        }
    }

    #[test]
    fn the_line_that_says_why_is_found_and_cleaned() {
        let said = "remote: \x1b[31mhello\nfatal: unable to access 'x': \x07no\nhint: maybe\n";
        assert_eq!(essence(said), "unable to access 'x': no");
        assert_eq!(essence("warning: a\nlast\n\n"), "last");
        let said =
            "ssh: connect to host x port 22: Connection refused\r\nfatal: Could not read from remote repository.\n";
        assert_eq!(essence(said), "ssh: connect to host x port 22: Connection refused");
        assert_eq!(essence(&"x".repeat(1_000)).len(), SAID_CHARS_MAX);
    }

    #[test]
    fn what_kind_of_end_it_was() {
        let limits = Limits::default();
        let status = ExitStatus::default();
        let is = |said| run(&[]).refusal(status, said, &limits).to_string();
        assert_eq!(
            is("error: index-pack died of signal 25"),
            "the test would take more than 64 MiB on disk and was ended"
        );
        assert_eq!(
            is("fatal: Out of memory, malloc failed"),
            "the test needs more than 1024 MiB of memory and was ended"
        );
        assert_eq!(is("fatal: no"), "the test failed: no");
    }
}
