//! The real program in a folder of its own: a config, one-shot commands, a daemon that ends with its handle, and a client that asks.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "a test stops at the first surprise")]

use crate::dns;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::RecordType;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a start, an answer or a stop may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// A start of a config: a port of the kernel's choice, and a store beside the file. `{upstream}` is put in.
const HEAD: &str =
    "version = 1\n[dns]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[upstream]\nservers = [\"{upstream}\"]\n";

/// The program.
pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_interdict")
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Standard output of a command that must have ended with 0.
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// Standard output as one JSON value.
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.good()).unwrap()
    }

    /// Standard output as one JSON value a line.
    pub(crate) fn jsonl(self) -> Vec<Value> {
        self.good().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A folder with a config in it.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    /// A config that listens where the kernel likes and asks `upstream`, with `rest` after it.
    pub(crate) fn new(upstream: SocketAddr, rest: &str) -> Self {
        Self::with_config(&(HEAD.replace("{upstream}", &upstream.to_string()) + rest))
    }

    /// One whose upstream is a port that nobody answers at.
    pub(crate) fn alone(rest: &str) -> Self {
        Self::new("127.0.0.1:9".parse().unwrap(), rest)
    }

    /// Exactly this config.
    pub(crate) fn with_config(text: &str) -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        home.write("interdict.toml", text);
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program with these arguments and `--config` after them.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(args).arg("--config").arg(self.path("interdict.toml")).current_dir(self.folder.path());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args))
    }

    /// The rows of `report --format json`.
    pub(crate) fn rows(&self) -> Vec<Value> {
        self.run(&["report", "--format", "json"]).json().as_array().unwrap().clone()
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn start(&self) -> Daemon {
        Daemon::start(&mut self.command(&["run"]))
    }

    /// Polls the report until it has a row that `wanted` accepts; three seconds are enough for what was flushed each second.
    pub(crate) fn wait_for_row(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + Duration::from_secs(3);
        loop {
            let rows = self.rows();
            if let Some(row) = rows.iter().find(|row| wanted(row)) {
                return row.clone();
            }
            assert!(Instant::now() < until, "{what} is not in the report after three seconds: {rows:#?}");
            sleep(Duration::from_millis(100));
        }
    }
}

/// Whether a row of the report is of this vendor and purpose and went to this destination over this channel with this verdict.
pub(crate) fn is_row(row: &Value, vendor: &str, channel: &str, verdict: &str, destination: &str) -> bool {
    let has = |list: &Value, wanted: &dyn Fn(&Value) -> bool| list.as_array().is_some_and(|all| all.iter().any(wanted));
    row["vendor"] == vendor
        && row["verdict"] == verdict
        && has(&row["channel"], &|at| at == channel)
        && has(&row["destinations"], &|at| at["destination"] == destination)
}

/// A running daemon; it is killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Where it answers, as the ready lines say.
    pub(crate) address: SocketAddr,
    /// The ready lines.
    pub(crate) ready: Vec<String>,
    log: Arc<Mutex<String>>,
}

impl Daemon {
    /// Starts a command line that runs the daemon.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::try_start(command).unwrap_or_else(|said| panic!("the daemon is not ready: {said}"))
    }

    /// The same, or what it said instead of starting. Waits for the line about the ledger, the last that is always there.
    pub(crate) fn try_start(command: &mut Command) -> Result<Self, String> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        collect(child.stderr.take().unwrap(), Arc::clone(&log));
        let mut ready = Vec::new();
        while !ready.last().is_some_and(|line: &String| line.starts_with("  ledger ")) {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) => ready.push(line),
                Err(_) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    // What it said last is still on its way here.
                    sleep(Duration::from_millis(100));
                    return Err(format!("{ready:?} {}", log.lock().unwrap()));
                }
            }
        }
        let address = ready.first().and_then(|line| line.split_once("answers on ")).unwrap().1;
        let address = address.split([' ', ',']).next().unwrap().parse().unwrap();
        Ok(Self { child, address, ready, log })
    }

    /// What it said on standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits; fails when it takes longer than `most`.
    pub(crate) fn stop(mut self, most: Duration) -> ExitStatus {
        let sent = run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        assert_eq!(sent.code, Some(0), "{}", sent.err);
        let until = Instant::now() + most;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "still running {most:?} after SIGTERM: {}", self.log());
            sleep(Duration::from_millis(20));
        }
    }

    /// Asks over UDP with an OPT.
    pub(crate) fn ask(&self, name: &str, rtype: RecordType) -> Reply {
        ask(self.address, &Ask { name, rtype, edns: Some(1232), tcp: false })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of a stream as they come; the stream is read to its end whether anybody listens or not.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1_000);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.try_send(line);
        }
    });
    receiver
}

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().unwrap().push_str(&(line + "\n"));
        }
    });
}

//----------- Client ---------------------------------------------------------

/// A question, and how it is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) name: &'a str,
    pub(crate) rtype: RecordType,
    pub(crate) edns: Option<u16>,
    pub(crate) tcp: bool,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) message: Message,
    pub(crate) octets: Vec<u8>,
}

impl Reply {
    /// The data of the answer's records.
    pub(crate) fn answers(&self) -> Vec<String> {
        self.message.answers.iter().map(|record| record.data.to_string()).collect()
    }

    /// INFO-CODE and text of the extended error (RFC 8914), read from the last octets' OPT.
    pub(crate) fn ede(&self) -> Option<(u16, String)> {
        let edns = self.message.edns.as_ref()?;
        let (_, option) = edns.options().as_ref().iter().find(|(code, _)| u16::from(*code) == 15)?;
        let data = Vec::<u8>::try_from(option).unwrap();
        let (code, text) = data.split_at_checked(2)?;
        Some((u16::from_be_bytes(code.try_into().ok()?), String::from_utf8(text.to_vec()).unwrap()))
    }

    /// Whether these octets occur anywhere in it.
    pub(crate) fn holds(&self, octets: &[u8]) -> bool {
        self.octets.windows(octets.len()).any(|at| at == octets)
    }
}

/// Asks a server.
pub(crate) fn ask(server: SocketAddr, ask: &Ask<'_>) -> Reply {
    let mut query = dns::query(ask.name, ask.rtype, ask.edns);
    // An id that differs from question to question.
    let id = std::collections::hash_map::RandomState::new();
    let id = std::hash::BuildHasher::hash_one(&id, ask.name).to_be_bytes();
    query.splice(..2, id.into_iter().take(2));
    let octets = if ask.tcp { over_tcp(server, &query) } else { over_udp(server, &query) };
    let message = Message::from_vec(&octets).unwrap_or_else(|error| panic!("{ask:?}: {error}: {octets:x?}"));
    assert_eq!(message.metadata.id.to_be_bytes(), *query.first_chunk::<2>().unwrap(), "{ask:?}");
    assert_eq!((message.metadata.message_type, message.metadata.op_code), (MessageType::Response, OpCode::Query));
    assert_eq!(message.queries, [Query::query(dns::hickory(ask.name), ask.rtype)], "{ask:?}");
    Reply { message, octets }
}

pub(crate) fn over_udp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(server).unwrap();
    socket.send(query).unwrap();
    let mut octets = vec![0; 65_535];
    let len = socket.recv(&mut octets).unwrap();
    octets.truncate(len);
    octets
}

pub(crate) fn over_tcp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let len = u16::try_from(query.len()).unwrap();
    stream.write_all(&[&len.to_be_bytes()[..], query].concat()).unwrap();
    let mut len = [0; 2];
    stream.read_exact(&mut len).unwrap();
    let mut octets = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut octets).unwrap();
    octets
}

/// A path as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
