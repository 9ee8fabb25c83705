//! Just enough of DNS to ask and to judge an answer, by hand: what is tested does not test itself.

use std::net::Ipv4Addr;

/// Type A.
pub(crate) const A: u16 = 1;
/// No error.
pub(crate) const NOERROR: u8 = 0;

/// A query for one name, with RD and an OPT.
pub(crate) fn query(id: u16, name: &str, qtype: u16) -> Vec<u8> {
    let mut message = header(id, 0x0100, [1, 0, 0, 1]);
    message.extend(question(name, qtype));
    message.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    message
}

/// A header.
pub(crate) fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    [id, flags].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect()
}

/// A question of class IN.
pub(crate) fn question(name: &str, qtype: u16) -> Vec<u8> {
    let mut octets = wire(name);
    octets.extend(qtype.to_be_bytes());
    octets.extend([0, 1]);
    octets
}

/// A name as it is written in messages.
pub(crate) fn wire(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        octets.push(u8::try_from(label.len()).unwrap());
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) id: u16,
    pub(crate) rcode: u8,
    /// The name asked for, as the message says it.
    pub(crate) name: String,
    /// The type asked for.
    pub(crate) qtype: u16,
    /// The last A record.
    pub(crate) address: Option<Ipv4Addr>,
    /// The code of the extended error.
    pub(crate) ede: Option<u16>,
    /// Where the question ends.
    pub(crate) question_end: usize,
}

impl Answer {
    /// Reads a response or a query; `None` if it is neither.
    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        let half = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        let (name, mut at) = read_name(message, 12)?;
        let question_end = at + 4;
        let mut answer = Self {
            id: half(0)?,
            rcode: message.get(3)? & 15,
            name,
            qtype: half(at)?,
            address: None,
            ede: None,
            question_end,
        };
        at = question_end;
        for _ in 0..half(6)? + half(8)? + half(10)? {
            let (_, start) = read_name(message, at)?;
            let (rtype, len) = (half(start)?, usize::from(half(start + 8)?));
            let data = message.get(start + 10..start + 10 + len)?;
            match rtype {
                A => answer.address = <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from),
                // Option 15 is the extended error, and the only one that we are sent.
                41 if data.len() > 5 && data.starts_with(&[0, 15]) => {
                    answer.ede = Some(u16::from_be_bytes([data[4], data[5]]));
                }
                _ => {}
            }
            at = start + 10 + len;
        }
        Some(answer)
    }
}

/// A name and where what follows it begins.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let (mut name, mut end) = (String::new(), None);
    for _ in 0..128 {
        let len = usize::from(*message.get(at)?);
        match len {
            0 => return Some((name, end.unwrap_or(at + 1))),
            1..64 => {
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(&String::from_utf8_lossy(message.get(at + 1..at + 1 + len)?));
                at += 1 + len;
            }
            _ => {
                end = end.or(Some(at + 2));
                at = (len & 63) << 8 | usize::from(*message.get(at + 1)?);
            }
        }
    }
    None
}
