//! Programs that are run on behalf of untrusted data: in a session of their own, within limits, and gone with all their
//! children when they are done, when they take too long, or when we die.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};

/// What one program and each of its children may use.
#[derive(Clone, Copy, Debug)]
pub struct ChildLimits {
    /// Octets of the largest file that may be written.
    pub file_bytes: u64,
    /// Octets of address space.
    pub memory_bytes: u64,
    /// Seconds of processor time.
    pub cpu_seconds: u64,
}

/// A running program, leader of its own session and process group. Dropping it ends the whole group.
#[derive(Debug)]
pub struct Confined {
    child: Child,
    is_reaped: bool,
}

impl Confined {
    /// Starts `command` under `limits`. A limit that is already lower stays.
    ///
    /// # Errors
    /// The kernel's, where the program is not there or a limit cannot be set.
    pub fn spawn(command: &mut Command, limits: ChildLimits) -> io::Result<Self> {
        // SAFETY: getpid has no preconditions.
        let parent = unsafe { libc::getpid() };
        // SAFETY: the closure runs between fork and exec and makes nothing but direct system calls: setsid, prctl,
        // getppid, getrlimit and setrlimit allocate nothing and take no lock.
        unsafe { command.pre_exec(move || confine(limits, parent)) };
        Ok(Self { child: command.spawn()?, is_reaped: false })
    }

    /// The pipes that were asked for, once.
    pub const fn pipes(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take())
    }

    /// Whether the program has ended. It is not reaped, so that its id still stands for its group.
    ///
    /// # Errors
    /// The kernel's, as it is.
    pub fn has_ended(&self) -> io::Result<bool> {
        // SAFETY: an all-zero siginfo_t is a valid value of that plain C struct.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: `info` is live and writable for the length of the call.
        if unsafe { libc::waitid(libc::P_PID, self.child.id(), &raw mut info, flags) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: waitid returned 0 and filled the fields of a child's siginfo, or left the zeroes.
        Ok(unsafe { info.si_pid() } != 0)
    }

    /// Ends whatever is left of the group and returns how the program itself ended.
    ///
    /// # Errors
    /// The kernel's, as it is.
    pub fn finish(&mut self) -> io::Result<ExitStatus> {
        self.kill_group();
        let status = self.child.wait()?;
        self.is_reaped = true;
        Ok(status)
    }

    fn kill_group(&self) {
        if self.is_reaped {
            return;
        }
        let Ok(leader) = libc::pid_t::try_from(self.child.id()) else { return };
        // SAFETY: kill has no memory preconditions. The leader is not reaped, so its id names this group and no other;
        // should it not have called setsid yet there is no such group, and the call fails harmlessly.
        unsafe { libc::kill(-leader, libc::SIGKILL) };
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.kill_group();
            // Between fork and setsid the group does not exist yet; the leader always does.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What the child does before it becomes the program.
fn confine(limits: ChildLimits, parent: libc::pid_t) -> io::Result<()> {
    // SAFETY: setsid has no preconditions; a fresh child leads no group, so it succeeds.
    if unsafe { libc::setsid() } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: getppid has no preconditions. A parent that died before the line above sends no signal any more.
    if unsafe { libc::getppid() } != parent {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    lower(libc::RLIMIT_FSIZE, limits.file_bytes)?;
    lower(libc::RLIMIT_AS, limits.memory_bytes)?;
    lower(libc::RLIMIT_CPU, limits.cpu_seconds)?;
    lower(libc::RLIMIT_CORE, 0)
}

/// Lowers one limit, soft and hard; never raises it.
fn lower(resource: libc::__rlimit_resource_t, wanted: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live, writable rlimit for the length of the call.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_max = limit.rlim_max.min(wanted);
    limit.rlim_cur = limit.rlim_cur.min(wanted);
    // SAFETY: `limit` is a live, initialised rlimit for the length of the call.
    if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::Stdio;
    use std::thread;
    use std::time::{Duration, Instant};

    const LIMITS: ChildLimits = ChildLimits { file_bytes: 4_096, memory_bytes: 1 << 30, cpu_seconds: 10 };

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null());
        command
    }

    #[test]
    fn a_file_beyond_the_limit_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = shell("head -c 100000 /dev/zero > out");
        command.current_dir(folder.path());
        let mut child = Confined::spawn(&mut command, LIMITS).unwrap();
        while !child.has_ended().unwrap() {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(!child.finish().unwrap().success());
        assert!(std::fs::metadata(folder.path().join("out")).unwrap().len() <= LIMITS.file_bytes);
    }

    #[test]
    fn grandchildren_end_with_the_group() {
        let mut child = Confined::spawn(&mut shell("sleep 100 & sleep 100 & echo up; wait"), LIMITS).unwrap();
        let (_, stdout, _) = child.pipes();
        let mut stdout = stdout.unwrap();
        let mut up = [0; 3];
        stdout.read_exact(&mut up).unwrap();
        assert!(!child.has_ended().unwrap());
        let start = Instant::now();
        drop(child);
        // The pipe closes only when the last holder of its other end is gone.
        assert_eq!(stdout.read(&mut up).unwrap(), 0);
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn an_ended_program_is_seen_and_its_status_kept() {
        let mut child = Confined::spawn(&mut shell("sleep 100 & exit 7"), LIMITS).unwrap();
        while !child.has_ended().unwrap() {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(child.finish().unwrap().code(), Some(7));
    }
}
