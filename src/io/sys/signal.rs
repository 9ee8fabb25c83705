//! Signals.

/// Lets the process live on when its terminal goes away.
pub fn ignore_hangup() {
    // SAFETY: SIG_IGN is a valid disposition for SIGHUP, and no handler of ours is replaced: the caller is a command, not the daemon.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
}
