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
    /// Zones of chains of aliases.
    pub(crate) chains: Option<Chains>,
}

/// Zones in which `aN` is an alias of `bN`, and that of `cN`, which has an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chains {
    /// The zone of which a response has the whole chain.
    pub(crate) whole: &'static str,
    /// The zone of which a response has one link.
    pub(crate) links: &'static str,
    /// How long the first link and the address may be cached; the other may for a minute.
    pub(crate) ttl: u32,
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
    if let Some(chains) = habits.chains
        && let Some(response) = chain(chains, &query, &lower, message)
    {
        return Some(response);
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
            record(&mut response, &asked, (5, TTL), &wire(target));
            record(&mut response, &wire(target), (A, TTL), &address_of(target).octets());
        }
        None => record(&mut response, &asked, (A, TTL), &address_of(&lower).octets()),
    }
    Some(response)
}

/// The response to a question about a name of a chain; `None` for other names.
fn chain(chains: Chains, query: &Answer, lower: &str, message: &[u8]) -> Option<Vec<u8>> {
    let (label, zone) = lower.split_once('.')?;
    let is_whole = zone == chains.whole;
    if !is_whole && zone != chains.links {
        return None;
    }
    let number = label.strip_prefix(['a', 'b', 'c'])?;
    let mut response = header(query.id, 0x8180, [1, 0, 0, 0]);
    response.extend(message.get(12..query.question_end)?);
    let links = [("a", Some("b"), chains.ttl), ("b", Some("c"), 60), ("c", None, chains.ttl)];
    let mut records = 0;
    for (from, to, ttl) in links.into_iter().skip_while(|(from, ..)| !label.starts_with(from)) {
        let name = format!("{from}{number}.{zone}");
        // The first record's owner is the name asked for, in its case.
        let owner = if records == 0 { vec![0xc0, 12] } else { wire(&name) };
        match to {
            Some(to) => record(&mut response, &owner, (5, ttl), &wire(&format!("{to}{number}.{zone}"))),
            None if query.qtype == A => record(&mut response, &owner, (A, ttl), &address_of(&name).octets()),
            None => break,
        }
        records += 1;
        if !is_whole {
            break;
        }
    }
    response[7] = records;
    Some(response)
}

fn record(into: &mut Vec<u8>, owner: &[u8], (rtype, ttl): (u16, u32), data: &[u8]) {
    into.extend(owner);
    into.extend(rtype.to_be_bytes());
    into.extend([0, 1]);
    into.extend(ttl.to_be_bytes());
    into.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    into.extend(data);
}
