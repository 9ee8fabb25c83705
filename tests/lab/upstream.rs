//! An upstream that has an answer to everything: each name has an address that follows from its text.

use crate::dns::{A, Answer, header, wire};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How long an answer may be cached.
const TTL: u32 = 3_600;

/// A running upstream; it ends when dropped.
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

/// What it does with names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    /// A name that is an alias, and of what.
    pub(crate) alias: Option<(&'static str, &'static str)>,
    /// The end of names that get no answer.
    pub(crate) silent: Option<&'static str>,
}

impl Upstream {
    /// Starts at a port of the kernel's choice.
    pub(crate) fn start(habits: Habits) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let (asked, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&asked), Arc::clone(&stop));
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while !end.load(Ordering::Relaxed) {
                let Ok((len, peer)) = socket.recv_from(&mut buffer) else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                if let Some(response) = respond(habits, &buffer[..len]) {
                    // The client may be gone.
                    let _ = socket.send_to(&response, peer);
                }
            }
        });
        Self { address, asked, stop }
    }

    /// How many queries came.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The address of a name: in 198.18.0.0/15, which is nobody's.
pub(crate) fn address_of(name: &str) -> Ipv4Addr {
    let fold =
        name.bytes().fold(7_u32, |sum, octet| sum.wrapping_mul(31).wrapping_add(octet.to_ascii_lowercase().into()));
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) | fold >> 15)
}

fn respond(habits: Habits, message: &[u8]) -> Option<Vec<u8>> {
    let query = Answer::read(message)?;
    let lower = query.name.to_ascii_lowercase();
    if habits.silent.is_some_and(|end| lower.ends_with(end)) {
        return None;
    }
    let alias = habits.alias.and_then(|(from, to)| (from == lower).then_some(to));
    let records: u16 = if query.qtype == A { 1 + u16::from(alias.is_some()) } else { 0 };
    let mut response = header(query.id, 0x8180, [1, records, 0, 0]);
    response.extend(message.get(12..query.question_end)?);
    // The first record's owner is the name asked for, whatever its octets.
    let asked = [0xc0, 12];
    match alias {
        _ if records == 0 => {}
        Some(target) => {
            record(&mut response, &asked, 5, &wire(target));
            record(&mut response, &wire(target), A, &address_of(target).octets());
        }
        None => record(&mut response, &asked, A, &address_of(&lower).octets()),
    }
    Some(response)
}

fn record(into: &mut Vec<u8>, owner: &[u8], rtype: u16, data: &[u8]) {
    into.extend(owner);
    into.extend(rtype.to_be_bytes());
    into.extend([0, 1]);
    into.extend(TTL.to_be_bytes());
    into.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    into.extend(data);
}
