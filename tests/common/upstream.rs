//! A scripted upstream on loopback, UDP and TCP at one port: it answers from a table, and keeps a log of what it was asked.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, dead_code, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::Duration;

/// What the upstream does with a question.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers with an A record.
    Address(Ipv4Addr),
    /// Answers with a CNAME and the A record of its target.
    Alias(&'static str, Ipv4Addr),
    /// Answers with these records, see [`record`], whatever the type.
    Records(Vec<Vec<u8>>),
    /// Answers with nothing but a response code.
    Rcode(u8),
    /// Waits, then does something.
    After(Duration, Box<Self>),
    /// Says nothing over UDP, nor over TCP.
    Silence,
    /// Over UDP an empty answer with TC, over TCP so many A records.
    Truncate(u8),
    /// Over UDP a poisoned answer under a wrong id and nothing else, over TCP the address.
    WrongId(Ipv4Addr),
}

/// A question as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    /// The message id.
    pub id: u16,
    /// In the case in which it came.
    pub name: String,
    /// Whether over TCP.
    pub tcp: bool,
    /// Of the sender, to see that ports differ.
    pub from: SocketAddr,
}

/// A running upstream; it ends when dropped.
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
}

type Table = Arc<BTreeMap<&'static str, Act>>;

impl Upstream {
    /// Starts at a port of the kernel's choice. A name that the table does not have gets NXDOMAIN.
    pub(crate) fn start(table: impl IntoIterator<Item = (&'static str, Act)>) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let table: Table = Arc::new(table.into_iter().collect());
        let (log, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let (t, l, s) = (Arc::clone(&table), Arc::clone(&log), Arc::clone(&stop));
        thread::spawn(move || serve_udp(&Arc::new(udp), &t, &l, &s));
        let (l, s) = (Arc::clone(&log), Arc::clone(&stop));
        thread::spawn(move || serve_tcp(&tcp, &table, &l, &s));
        Self { address, log, stop }
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }

    /// How often it was asked for a name.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.asked().iter().filter(|asked| asked.name.eq_ignore_ascii_case(name)).count()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn serve_udp(socket: &Arc<UdpSocket>, table: &Table, log: &Mutex<Vec<Asked>>, stop: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
        let query = buffer[..len].to_vec();
        let act = look_up(table, log, &query, from, false);
        let socket = Arc::clone(socket);
        perform(act, move |act| {
            if let Some(answer) = respond(&query, act, false) {
                let _ = socket.send_to(&answer, from);
            }
        });
    }
}

fn serve_tcp(listener: &TcpListener, table: &Table, log: &Arc<Mutex<Vec<Asked>>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, from)) = listener.accept() else {
            sleep(Duration::from_millis(5));
            continue;
        };
        stream.set_nonblocking(false).unwrap();
        let (table, log) = (Arc::clone(table), Arc::clone(log));
        thread::spawn(move || converse(stream, from, &table, &log));
    }
}

fn converse(mut stream: TcpStream, from: SocketAddr, table: &Table, log: &Mutex<Vec<Asked>>) {
    let mut len = [0; 2];
    while stream.read_exact(&mut len).is_ok() {
        let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
        if stream.read_exact(&mut query).is_err() {
            return;
        }
        let act = look_up(table, log, &query, from, true);
        let mut stream = stream.try_clone().unwrap();
        perform(act, move |act| {
            if let Some(answer) = respond(&query, act, true) {
                let _ = stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes());
                let _ = stream.write_all(&answer);
            }
        });
    }
}

fn look_up(table: &Table, log: &Mutex<Vec<Asked>>, query: &[u8], from: SocketAddr, tcp: bool) -> Act {
    let name = question_name(query);
    let act = table.get(name.to_ascii_lowercase().as_str()).cloned().unwrap_or(Act::Rcode(3));
    log.lock().unwrap().push(Asked { id: u16::from_be_bytes([query[0], query[1]]), name, tcp, from });
    act
}

fn perform(act: Act, then: impl FnOnce(Act) + Send + 'static) {
    match act {
        Act::After(wait, act) => {
            thread::spawn(move || {
                sleep(wait);
                then(*act);
            });
        }
        act => then(act),
    }
}

fn respond(query: &[u8], act: Act, tcp: bool) -> Option<Vec<u8>> {
    match act {
        Act::Silence | Act::After(..) => None,
        Act::Rcode(rcode) => Some(answer(query, rcode, &[])),
        Act::Records(records) => Some(answer(query, 0, &records)),
        Act::Address(address) => Some(answer(query, 0, &[a(address)])),
        Act::Alias(target, address) => {
            let target = wire(target);
            let mut cname = vec![0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, u8::try_from(target.len()).unwrap()];
            cname.extend_from_slice(&target);
            let mut record = target;
            record.extend_from_slice(&a(address)[2..]);
            Some(answer(query, 0, &[cname, record]))
        }
        Act::Truncate(records) if tcp => {
            let records: Vec<_> = (0..records).map(|host| a(Ipv4Addr::new(203, 0, 113, host))).collect();
            Some(answer(query, 0, &records))
        }
        Act::Truncate(_) => {
            let mut cut = answer(query, 0, &[]);
            cut[2] |= 0x02;
            Some(cut)
        }
        Act::WrongId(address) if tcp => Some(answer(query, 0, &[a(address)])),
        Act::WrongId(_) => {
            let mut poison = answer(query, 0, &[a(Ipv4Addr::new(198, 51, 100, 66))]);
            poison[0] ^= 0xff;
            Some(poison)
        }
    }
}

/// A record in wire form, for [`Act::Records`]; its TTL is a minute.
pub(crate) fn record(owner: &str, rtype: u16, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    [&wire(owner)[..], &rtype.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &len.to_be_bytes(), data].concat()
}

/// An A record of the question's name.
fn a(address: Ipv4Addr) -> Vec<u8> {
    let mut record = vec![0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4];
    record.extend_from_slice(&address.octets());
    record
}

fn answer(query: &[u8], rcode: u8, records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = query[..question_end(query)].to_vec();
    out[2] = 0x80 | (out[2] & 0x01);
    out[3] = 0x80 | rcode;
    out[4..12].copy_from_slice(&[0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
    out.extend(records.iter().flatten());
    out
}

/// Wire form of a name.
pub(crate) fn wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

fn question_end(query: &[u8]) -> usize {
    let mut at = 12;
    while query[at] != 0 {
        at += 1 + usize::from(query[at]);
    }
    at + 5
}

/// The name that a message asks for.
pub(crate) fn question_name(query: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let len = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..at + 1 + len]).into_owned());
        at += 1 + len;
    }
    labels.join(".")
}
