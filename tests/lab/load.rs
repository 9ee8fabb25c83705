//! Clients: one that sends at a steady rate whatever comes back, one that checks every answer.

use crate::dns::{A, Answer, NOERROR, query};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

/// Addresses that ask, from 127.0.0.2 on; each is an endpoint of its own.
const CLIENTS: u8 = 4;
/// Queries that a checking client has in flight.
const WINDOW: usize = 32;
/// When a query without an answer is lost; dnsperf's figure.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(5);

/// A socket of one client's, connected to the daemon.
pub(crate) fn socket(client: u8, server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, client), 0)).unwrap();
    socket.connect(server).unwrap();
    socket
}

/// Asks once for an A record; `None` when no answer comes in time.
pub(crate) fn ask_once(socket: &UdpSocket, name: &str, time: Duration) -> Option<Answer> {
    let id = rand::random();
    let mut buffer = [0; 4_096];
    // The daemon may be gone, which the last answer to it may report here.
    let _ = socket.send(&query(id, name, A));
    let end = Instant::now() + time;
    loop {
        let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        socket.set_read_timeout(Some(left)).unwrap();
        if let Ok(len) = socket.recv(&mut buffer)
            && let Some(answer) = Answer::read(&buffer[..len])
            && answer.id == id
        {
            return Some(answer);
        }
    }
}

//----------- At a steady rate -----------------------------------------------

/// A load at a steady rate.
pub(crate) struct Steady {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Sent>,
}

/// What a steady load did.
pub(crate) struct Sent {
    /// When each query was sent.
    pub(crate) at: Vec<Instant>,
    /// Answers that came.
    pub(crate) answered: usize,
}

impl Steady {
    /// Sends `rate` queries a second, each for the next of `names`.
    pub(crate) fn start(server: SocketAddr, rate: u32, names: Vec<String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&stop);
        let thread = thread::spawn(move || steady(server, rate, &names, &end));
        Self { stop, thread }
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn steady(server: SocketAddr, rate: u32, names: &[String], end: &AtomicBool) -> Sent {
    let sockets: Vec<UdpSocket> = (2..2 + CLIENTS).map(|client| socket(client, server)).collect();
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
    }
    let mut sent = Sent { at: Vec::new(), answered: 0 };
    let begun = Instant::now();
    let mut buffer = [0; 4_096];
    for number in 0_u32.. {
        let due = begun + Duration::from_secs(1) * number / rate;
        sleep(due.saturating_duration_since(Instant::now()));
        if end.load(Ordering::Relaxed) {
            break;
        }
        let at = number as usize;
        let socket = &sockets[at % sockets.len()];
        let message = query(number as u16, &names[at % names.len()], A);
        // Refused when the daemon is gone: nothing was received then.
        if socket.send(&message).is_ok() {
            sent.at.push(Instant::now());
        }
        while socket.recv(&mut buffer).is_ok() {
            sent.answered += 1;
        }
    }
    sent
}

//----------- Checked --------------------------------------------------------

/// A question and the address that must come back.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
}

/// What became of checked queries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: usize,
    pub(crate) right: usize,
    pub(crate) lost: usize,
    /// What was wrong, the first few.
    pub(crate) wrong: Vec<String>,
    /// The longest time that a right answer took.
    pub(crate) slowest: Duration,
}

/// A client that keeps [`WINDOW`] queries in flight and checks every answer.
pub(crate) struct Checked {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Tally>,
}

impl Checked {
    /// Asks the cases in turn, `pause` after each query.
    pub(crate) fn start(client: u8, server: SocketAddr, cases: Vec<Case>, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut asker = Asker::new(socket(client, server), &cases);
            let mut turn = 0;
            while !end.load(Ordering::Relaxed) {
                if asker.open.len() < WINDOW {
                    asker.ask(turn % cases.len());
                    turn += 1;
                    sleep(pause);
                }
                asker.hear();
            }
            asker.finish()
        });
        Self { stop, thread }
    }

    /// Ends it, once the queries in flight are answered or lost.
    pub(crate) fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

struct Asker<'a> {
    socket: UdpSocket,
    cases: &'a [Case],
    next_id: u16,
    /// By id: which case, and when.
    open: BTreeMap<u16, (usize, Instant)>,
    tally: Tally,
}

impl<'a> Asker<'a> {
    fn new(socket: UdpSocket, cases: &'a [Case]) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        Self { socket, cases, next_id: 0, open: BTreeMap::new(), tally: Tally::default() }
    }

    fn ask(&mut self, case: usize) {
        self.next_id = self.next_id.wrapping_add(1);
        self.socket.send(&query(self.next_id, &self.cases[case].name, A)).unwrap();
        self.open.insert(self.next_id, (case, Instant::now()));
        self.tally.sent += 1;
    }

    /// Takes what has come, waiting only when the window is full, and gives up on what is lost.
    fn hear(&mut self) {
        let mut buffer = [0; 4_096];
        self.socket.set_nonblocking(self.open.len() < WINDOW).unwrap();
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(len) => self.judge(&buffer[..len]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("receiving an answer: {error}"),
            }
            if self.open.len() < WINDOW {
                break;
            }
        }
        let now = Instant::now();
        let before = self.open.len();
        self.open.retain(|_, (_, sent)| now.duration_since(*sent) < LOST_AFTER);
        self.tally.lost += before - self.open.len();
    }

    fn judge(&mut self, message: &[u8]) {
        let Some(answer) = Answer::read(message) else { return self.wrong(format!("unreadable: {message:?}")) };
        let Some((case, sent)) = self.open.remove(&answer.id) else {
            return self.wrong(format!("nobody asked for {answer:?}, or it was lost"));
        };
        let Case { name, address } = &self.cases[case];
        if answer.rcode == NOERROR && answer.name == *name && answer.address == Some(*address) {
            self.tally.right += 1;
            self.tally.slowest = self.tally.slowest.max(sent.elapsed());
        } else {
            self.wrong(format!("{name} is at {address}: {answer:?}"));
        }
    }

    fn wrong(&mut self, what: String) {
        if self.tally.wrong.len() < 10 {
            self.tally.wrong.push(what);
        }
    }

    fn finish(mut self) -> Tally {
        let end = Instant::now() + LOST_AFTER;
        while !self.open.is_empty() && Instant::now() < end {
            self.hear();
            sleep(Duration::from_millis(1));
        }
        self.tally.lost += self.open.len();
        self.tally
    }
}
