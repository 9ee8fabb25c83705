//! Signals.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether somebody has asked to stop.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Lets the process live on when its terminal goes away.
pub fn ignore_hangup() {
    // SAFETY: SIG_IGN is a valid disposition for SIGHUP, and no handler of ours is replaced: the caller is a command, not the daemon.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
}

/// From now on the first SIGINT or SIGTERM is only noted ([`is_stopped`]), so that what was found can be said; the second ends the
/// process.
pub fn stop_on_interrupt() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: sigaction is integers, a mask and pointers; all zeroes is a value of it: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = note as *const () as libc::sighandler_t;
        // Back to what it was after the first; system calls that wait end with EINTR.
        action.sa_flags = libc::SA_RESETHAND;
        // SAFETY: `action` is live and initialised; the handler stores to an atomic, which is safe at any moment.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

extern "C" fn note(_: libc::c_int) {
    stop();
}

/// Asks to stop.
pub fn stop() {
    STOPPED.store(true, Ordering::Relaxed);
}

/// Whether somebody has asked to stop.
#[must_use]
pub fn is_stopped() -> bool {
    STOPPED.load(Ordering::Relaxed)
}
