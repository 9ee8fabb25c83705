//! A line on the terminal while something takes long; nothing where standard error is no terminal.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often the line is written again; what is done sooner shows none.
const PERIOD: Duration = Duration::from_millis(500);
/// Goes to the start of the line and clears it.
const CLEAR: &str = "\r\x1b[K";

/// Does something of which no more is known than that it goes on.
pub(super) fn during<T>(what: &str, work: impl FnOnce() -> T) -> T {
    during_with(|| what.to_owned(), work)
}

/// The same; `how_far` says what is being done by now.
pub(super) fn during_with<T>(how_far: impl Fn() -> String + Send, work: impl FnOnce() -> T) -> T {
    if !stderr().is_terminal() {
        return work();
    }
    thread::scope(|scope| {
        let (done, waiting) = sync_channel::<()>(1);
        scope.spawn(move || {
            let start = Instant::now();
            let mut is_shown = false;
            while waiting.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                is_shown = true;
                write(&format!("{CLEAR}{} ({} s)", how_far(), start.elapsed().as_secs()));
            }
            if is_shown {
                write(CLEAR);
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// A terminal that is gone is no failure.
fn write(text: &str) {
    let mut err = stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}
