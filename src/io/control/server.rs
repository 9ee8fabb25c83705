//! Answering on the control socket.

use super::{LINE_OCTETS_MAX, Request, Response, SOCKET_NAME, VERSION};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Clients at once; more wait.
const CLIENTS_MAX: usize = 16;
/// How long a client may think before its next line.
const IDLE: Duration = Duration::from_secs(10);

/// What answers a request. Called on a blocking thread: a reload takes as long as its lists.
pub type Handler = Arc<dyn Fn(Request) -> Response + Send + Sync>;

/// The listening socket; its file is removed when this is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Binds the socket in the store's folder. The caller holds the store's lock, so a file that is there is a dead
    /// daemon's and is taken over. To be called within a tokio runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(store: &Path) -> io::Result<Self> {
        let path = store.join(SOCKET_NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers until it is dropped.
    pub async fn serve(self, handler: Handler) {
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of descriptors, most likely: others must give some back first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let handler = Arc::clone(&handler);
            tokio::spawn(async move {
                // A client that breaks off has its answer nowhere to go.
                let _ = talk(stream, handler).await;
                drop(place);
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Another daemon cannot have bound it: the store's lock is still held.
        let _ = fs::remove_file(&self.path);
    }
}

async fn talk(mut stream: UnixStream, handler: Handler) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let limit = LINE_OCTETS_MAX as u64;
        let got = timeout(IDLE, (&mut read).take(limit).read_until(b'\n', &mut line)).await??;
        if got == 0 {
            return Ok(());
        }
        let response = match serde_json::from_slice::<Request>(&line) {
            Ok(request) if request.v == VERSION => {
                let handler = Arc::clone(&handler);
                let answered = tokio::task::spawn_blocking(move || handler(request)).await;
                answered.unwrap_or_else(|_| Response::refused("the daemon failed at this; its log says how".to_owned()))
            }
            Ok(request) => Response::refused(format!("version {} is not spoken here; it is {VERSION}", request.v)),
            Err(error) => Response::refused(format!("this is no request: {error}")),
        };
        let mut answer = serde_json::to_vec(&response)?;
        answer.push(b'\n');
        write.write_all(&answer).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, ControlError, ask};
    use super::*;
    use serde_json::json;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_command_is_answered_refused_or_not_understood() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().to_owned();
        assert!(matches!(ask(&store, Command::Status), Err(ControlError::NoDaemon(_))));
        let server = Server::bind(&store).unwrap();
        let handler: Handler = Arc::new(|request| match request.command {
            Command::Status => Response::done(json!({"epoch": 3})),
            _ => Response::refused("no".to_owned()),
        });
        let serving = tokio::spawn(server.serve(handler));
        let answers = tokio::task::spawn_blocking({
            let store = store.clone();
            move || (ask(&store, Command::Status), ask(&store, Command::Reload))
        });
        let (status, reload) = answers.await.unwrap();
        assert_eq!(status.unwrap(), json!({"epoch": 3}));
        assert!(matches!(reload, Err(ControlError::Refused(why)) if why == "no"));
        let mut raw = UnixStream::connect(store.join(SOCKET_NAME)).await.unwrap();
        raw.write_all(b"{\"v\":9,\"command\":\"status\"}\nnonsense\n").await.unwrap();
        let mut lines = BufReader::new(raw).lines();
        let first = lines.next_line().await.unwrap().unwrap();
        assert!(first.contains("version 9 is not spoken here"), "{first}");
        let second = lines.next_line().await.unwrap().unwrap();
        assert!(second.contains("this is no request"), "{second}");
        serving.abort();
        let _ = serving.await;
        assert!(!store.join(SOCKET_NAME).exists(), "the socket goes with the server");
    }
}
