//! Asking a running daemon.

use super::{Command, LINE_OCTETS_MAX, Request, Response, SOCKET_NAME, VERSION};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No daemon listens.
    #[error("no daemon is running: nothing answers on {0}; start one with `interdict run`, with the same --config")]
    NoDaemon(String),
    /// The socket belongs to somebody else.
    #[error("{0} may not be opened by this user; run the command as the daemon's user")]
    NotAllowed(String),
    /// The daemon broke off or spoke nonsense.
    #[error("the daemon on {path} gave no answer: {error}")]
    Broken {
        /// The socket.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// The daemon refused; its sentence.
    #[error("{0}")]
    Refused(String),
}

/// Sends one command and waits for what it came to.
///
/// # Errors
/// No daemon, no answer, or the daemon's refusal.
pub fn ask(store: &Path, command: Command) -> Result<serde_json::Value, ControlError> {
    let path = store.join(SOCKET_NAME);
    let said = path.display().to_string();
    let broken = |error| ControlError::Broken { path: said.clone(), error };
    let mut stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(ControlError::NotAllowed(said)),
        Err(_) => return Err(ControlError::NoDaemon(said)),
    };
    stream.set_read_timeout(Some(command.patience())).map_err(broken)?;
    let mut line = serde_json::to_vec(&Request { v: VERSION, command }).map_err(|e| broken(e.into()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(broken)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LINE_OCTETS_MAX as u64)).read_line(&mut answer).map_err(broken)?;
    let response: Response = serde_json::from_str(&answer).map_err(|e| broken(e.into()))?;
    if response.ok {
        Ok(response.data)
    } else {
        Err(ControlError::Refused(response.error.unwrap_or_else(|| "refused without a reason".to_owned())))
    }
}
