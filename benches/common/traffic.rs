//! Traffic that is made up: the same for the same seed, and as different from packet to packet as what is captured.
//!
//! *handshakes* is new flows all the time, a thousand at once: TLS with hellos of today's size, QUIC whose Initials can be opened, HTTP,
//! DNS. *bulk* is data of long flows, interleaved, in segments as large as the link takes. Headers, checksums and answers are right.

use ring::aead::{self, quic};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Flows of *handshakes* that are under way at any time.
const OPEN: usize = 1_000;
/// Flows of *bulk*.
pub(crate) const LONG_FLOWS: usize = 100_000;
/// Octets of a segment's data on Ethernet.
const SEGMENT: usize = 1_448;
/// Client and server names; one in so many flows asks for a listed one.
const NAMES: u64 = 20_000;
const LISTED_EACH: u64 = 500;
const CLIENTS: u64 = 2_000;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const PUSH: u8 = 0x18;
const FIN: u8 = 0x11;

//----------- Numbers --------------------------------------------------------

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn in_percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    fn fill(&mut self, octets: &mut [u8]) {
        for chunk in octets.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut octets = vec![0; count];
        self.fill(&mut octets);
        octets
    }
}

//----------- Files ----------------------------------------------------------

/// Writes *handshakes* as pcap until there are so many octets; the packets.
pub(crate) fn handshakes(seed: u64, octets: u64, out: &mut dyn Write) -> io::Result<u64> {
    let mut random = Random(seed);
    let mut file = File::begin(out)?;
    let mut open: Vec<_> = (0..OPEN).map(|_| flow(&mut random).into_iter()).collect();
    while file.octets < octets {
        let at = usize::try_from(random.below(OPEN as u64)).unwrap();
        match open[at].next() {
            Some(frame) => file.frame(&frame, 1_400 + random.below(400))?,
            None => open[at] = flow(&mut random).into_iter(),
        }
    }
    Ok(file.packets)
}

/// Writes *bulk* as pcap until there are so many octets; the packets. Of one flow in ten the start is captured, the others were under
/// way before.
pub(crate) fn bulk(seed: u64, octets: u64, out: &mut dyn Write) -> io::Result<u64> {
    let mut random = Random(seed);
    let mut file = File::begin(out)?;
    let mut long: Vec<Talk> = (0..LONG_FLOWS).map(|_| Talk::new(&mut random, 443)).collect();
    let mut data = random.octets(SEGMENT * 64);
    let mut begun = 0;
    while file.octets < octets {
        // One new flow a packet, until there are all: so starts and data are mixed as they are in life.
        if begun < LONG_FLOWS {
            let talk = &mut long[begun];
            if begun % 10 == 0 {
                let hello = hello(&mut random, &format!("bulk{begun}.example"), true, false);
                let frames =
                    [talk.starts().to_vec(), talk.says(true, &records(&hello)), talk.says(false, &answer(&mut random))];
                frames.concat().iter().try_for_each(|frame| file.frame(frame, 700))?;
            }
            begun += 1;
        }
        let at = usize::try_from(random.below(begun as u64)).unwrap();
        // Downloads mostly.
        let up = at % 5 == 0;
        let from = usize::try_from(random.below(63)).unwrap() * SEGMENT + usize::try_from(random.below(700)).unwrap();
        data[from] ^= 1;
        for frame in long[at].says(up, &data[from..from + SEGMENT]) {
            file.frame(&frame, 1_200)?;
        }
    }
    Ok(file.packets)
}

struct File<'w> {
    out: &'w mut dyn Write,
    octets: u64,
    packets: u64,
    time_ns: u64,
}

impl<'w> File<'w> {
    fn begin(out: &'w mut dyn Write) -> io::Result<Self> {
        let head: [u32; 6] = [0xa1b2_3c4d, 0x0004_0002, 0, 0, 65_535, 1];
        head.iter().try_for_each(|word| out.write_all(&word.to_le_bytes()))?;
        Ok(Self { out, octets: 24, packets: 0, time_ns: 1_780_000_000_000_000_000 })
    }

    fn frame(&mut self, frame: &[u8], after_ns: u64) -> io::Result<()> {
        self.time_ns += after_ns;
        let (seconds, nanos) = (self.time_ns / 1_000_000_000, self.time_ns % 1_000_000_000);
        for word in [seconds, nanos, frame.len() as u64, frame.len() as u64] {
            self.out.write_all(&u32::try_from(word).unwrap().to_le_bytes())?;
        }
        self.octets += 16 + frame.len() as u64;
        self.packets += 1;
        self.out.write_all(frame)
    }
}

//----------- Flows ----------------------------------------------------------

/// The frames of a new flow.
fn flow(random: &mut Random) -> Vec<Vec<u8>> {
    let number = random.below(NAMES);
    let name = if random.below(LISTED_EACH) == 0 {
        format!("s{:02}.upd.kaspersky.com", random.below(30))
    } else {
        format!("host{number}.cdn{}.example", number % 97)
    };
    let kind = match random.below(100) {
        0..45 => Kind::Tls,
        45..60 => Kind::Quic,
        60..75 => Kind::Http,
        _ => Kind::Dns,
    };
    flow_of(random, kind, &name)
}

/// What is spoken on a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Tls,
    Quic,
    Http,
    Dns,
}

/// The frames of a flow on which a client asks for this name.
pub(crate) fn flow_of(random: &mut Random, kind: Kind, name: &str) -> Vec<Vec<u8>> {
    match kind {
        Kind::Tls => tls(random, name),
        Kind::Quic => quic_flow(random, name),
        Kind::Http => http(random, name),
        Kind::Dns => dns(random, name),
    }
}

fn tls(random: &mut Random, name: &str) -> Vec<Vec<u8>> {
    let mut talk = Talk::new(random, 443);
    let is_large = random.in_percent(60);
    let hello = records(&hello(random, name, is_large, false));
    let mut frames = talk.starts().to_vec();
    frames.extend(talk.says(true, &hello));
    frames.push(talk.acknowledges(false));
    frames.extend(talk.says(false, &answer(random)));
    frames.push(talk.acknowledges(true));
    let finished = [&b"\x14\x03\x03\0\x01\x01\x17\x03\x03\0\x35"[..], &random.octets(0x35)].concat();
    frames.extend(talk.says(true, &finished));
    frames.extend(talk.says(false, &[&b"\x17\x03\x03\x01\x80"[..], &random.octets(0x180)].concat()));
    frames.extend([talk.ends(true), talk.ends(false)]);
    frames
}

/// What a server says first: ServerHello, change of cipher, the rest encrypted.
fn answer(random: &mut Random) -> Vec<u8> {
    let extensions = [&b"\0\x2b\0\x02\x03\x04\0\x33\0\x24\0\x1d\0\x20"[..], &random.octets(32)].concat();
    let mut body = [&[3, 3][..], &random.octets(32), &[32], &random.octets(32), &[0x13, 1, 0]].concat();
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let message = [&[2, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat();
    let rest = 900 + usize::try_from(random.below(1_800)).unwrap();
    let sealed = [&[0x17, 3, 3][..], &u16::try_from(rest).unwrap().to_be_bytes(), &random.octets(rest)].concat();
    [records(&message), b"\x14\x03\x03\0\x01\x01".to_vec(), sealed].concat()
}

fn http(random: &mut Random, name: &str) -> Vec<Vec<u8>> {
    let mut talk = Talk::new(random, 80);
    let request = format!(
        "GET /assets/{:x}/app.js?v={} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
         Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: en-US,en;q=0.9\r\nConnection: keep-alive\r\n\r\n",
        random.next(),
        random.below(900)
    );
    let len = 400 + usize::try_from(random.below(4_000)).unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: application/javascript\r\nContent-Length: {len}\r\n\
         Cache-Control: max-age=3600\r\nConnection: keep-alive\r\n\r\n"
    );
    let mut frames = talk.starts().to_vec();
    frames.extend(talk.says(true, request.as_bytes()));
    frames.push(talk.acknowledges(false));
    frames.extend(talk.says(false, &[head.as_bytes(), &random.octets(len)].concat()));
    frames.push(talk.acknowledges(true));
    frames.extend([talk.ends(true), talk.ends(false)]);
    frames
}

fn dns(random: &mut Random, name: &str) -> Vec<Vec<u8>> {
    let talk = Talk::new(random, 53);
    let id = random.octets(2);
    let mut question = Vec::new();
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.bytes());
    }
    question.extend(b"\0\0\x01\0\x01");
    let opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
    let query = [&id[..], b"\x01\0\0\x01\0\0\0\0\0\x01", &question, opt].concat();
    let mut reply = [&id[..], b"\x81\x80\0\x01\0\x02\0\0\0\x01", &question].concat();
    for _ in 0..2 {
        reply.extend(b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04");
        reply.extend([198, 18].iter().chain(&random.octets(2)));
    }
    reply.extend(opt);
    vec![talk.datagram(true, &query), talk.datagram(false, &reply)]
}

fn quic_flow(random: &mut Random, name: &str) -> Vec<Vec<u8>> {
    let talk = Talk::new(random, 443);
    let (first, own, chosen) = (random.octets(8), random.octets(8), random.octets(8));
    let hello = hello(random, name, random.0 % 5 < 3, true);
    let mut frames = Vec::new();
    for (number, part) in hello.chunks(1_100).enumerate() {
        let mut crypto = vec![6];
        crypto.extend((0x4000 | u16::try_from(number * 1_100).unwrap()).to_be_bytes());
        crypto.extend((0x4000 | u16::try_from(part.len()).unwrap()).to_be_bytes());
        crypto.extend(part);
        crypto.resize(1_162, 0);
        let packet = initial(b"client in", &first, [&first, &own], u8::try_from(number).unwrap(), &crypto);
        frames.push(talk.datagram(true, &packet));
    }
    let reply = [&b"\x02\0\0\0\0\x06\0\x40\x5a"[..], &random.octets(90)].concat();
    let mut reply = initial(b"server in", &first, [&own, &chosen], 0, &reply);
    let rest = 1_200 - reply.len();
    reply.extend([&[0xe0, 0, 0, 0, 1, 8][..], &own, &[8], &chosen].concat());
    reply.extend((0x4000 | u16::try_from(rest - 24).unwrap()).to_be_bytes());
    reply.extend(random.octets(rest - 24));
    frames.push(talk.datagram(false, &reply));
    for number in 0..4 {
        let up = number % 2 == 0;
        let len = 40 + usize::try_from(random.below(if up { 60 } else { 1_100 })).unwrap();
        let id = if up { &chosen } else { &own };
        frames.push(talk.datagram(up, &[&[0x40 | number][..], id, &random.octets(len)].concat()));
    }
    frames
}

//----------- What is said ---------------------------------------------------

/// A ClientHello as a browser of 2026 sends it; a large one has a post-quantum key share and comes to 1.7 kB.
fn hello(random: &mut Random, name: &str, is_large: bool, is_quic: bool) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut extension = |kind: u16, body: &[u8]| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        extensions.extend(body);
    };
    let be = |len: usize| u16::try_from(len).unwrap().to_be_bytes();
    extension(0x1a1a, b"");
    extension(0, &[&be(name.len() + 3)[..], &[0], &be(name.len()), name.as_bytes()].concat());
    extension(23, b"");
    extension(0xff01, b"\0");
    extension(10, b"\0\x0a\x2a\x2a\x11\xec\0\x1d\0\x17\0\x18");
    extension(11, b"\x01\0");
    extension(35, b"");
    let alpn: &[u8] = if is_quic { b"\0\x03\x02h3" } else { b"\0\x0c\x02h2\x08http/1.1" };
    extension(16, alpn);
    extension(5, b"\x01\0\0\0\0");
    extension(13, b"\0\x10\x04\x03\x08\x04\x04\x01\x05\x03\x08\x05\x05\x01\x08\x06\x06\x01");
    extension(18, b"");
    let mut shares = b"\x2a\x2a\0\x01\0".to_vec();
    if is_large {
        shares.extend([&b"\x11\xec\x04\xc0"[..], &random.octets(1_216)].concat());
    }
    shares.extend([&b"\0\x1d\0\x20"[..], &random.octets(32)].concat());
    extension(51, &[&be(shares.len())[..], &shares].concat());
    extension(45, b"\x01\x01");
    extension(43, b"\x06\x3a\x3a\x03\x04\x03\x03");
    extension(27, b"\x02\0\x02");
    if is_quic {
        extension(57, &[&b"\x01\x04\x80\0\x75\x30\x03\x02\x45\xc0\x0f\x08"[..], &random.octets(8)].concat());
    }
    // The shape of an encrypted hello, as browsers send it whether there is one or not.
    extension(0xfe0d, &[&b"\0\0\x01\0\x01\x77\0\x20"[..], &random.octets(32), &be(144), &random.octets(144)].concat());
    let padding = 453_usize.saturating_sub(extensions.len() + 4);
    if padding > 0 {
        let mut extension = |body: &[u8]| extensions.extend([&b"\0\x15"[..], &be(body.len()), body].concat());
        extension(&vec![0; padding]);
    }
    let suites = b"\0\x20\x5a\x5a\x13\x01\x13\x02\x13\x03\xc0\x2b\xc0\x2f\xc0\x2c\
        \xc0\x30\xcc\xa9\xcc\xa8\xc0\x13\xc0\x14\0\x9c\0\x9d\0\x2f\0\x35";
    let session: Vec<u8> = if is_quic { Vec::new() } else { random.octets(32) };
    let mut body =
        [&[3, 3][..], &random.octets(32), &[u8::try_from(session.len()).unwrap()], &session, suites, &[1, 0]].concat();
    body.extend(be(extensions.len()));
    body.extend(extensions);
    [&[1, 0][..], &be(body.len()), &body].concat()
}

/// A handshake message in one record.
fn records(message: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

struct Octets(usize);

impl KeyType for Octets {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label (RFC 8446 §7.1) with an empty context.
fn expand<const N: usize>(secret: &Prk, label: &[u8]) -> [u8; N] {
    let len = u16::try_from(N).unwrap().to_be_bytes();
    let mut out = [0; N];
    let info = [&len[..], &[u8::try_from(6 + label.len()).unwrap()], b"tls13 ", label, &[0]];
    secret.expand(&info, Octets(N)).unwrap().fill(&mut out).unwrap();
    out
}

/// An Initial packet of QUIC version 1, protected (RFC 9001 §5).
fn initial(side: &[u8], first: &[u8], ids: [&[u8]; 2], number: u8, frames: &[u8]) -> Vec<u8> {
    const SALT: [u8; 20] = [
        0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb,
        0x7f, 0x0a,
    ];
    let secret: [u8; 32] = expand(&Salt::new(HKDF_SHA256, &SALT).extract(first), side);
    let secret = Prk::new_less_safe(HKDF_SHA256, &secret);
    let key: [u8; 16] = expand(&secret, b"quic key");
    let mut nonce: [u8; 12] = expand(&secret, b"quic iv");
    let header_key: [u8; 16] = expand(&secret, b"quic hp");
    let mut packet = vec![0xc0, 0, 0, 0, 1];
    for id in ids {
        packet.push(u8::try_from(id.len()).unwrap());
        packet.extend(id);
    }
    packet.push(0);
    packet.extend((0x4000 | u16::try_from(1 + frames.len() + 16).unwrap()).to_be_bytes());
    let number_at = packet.len();
    packet.push(number);
    nonce[11] ^= number;
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_128_GCM, &key).unwrap());
    let mut sealed = frames.to_vec();
    key.seal_in_place_append_tag(aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(&packet[..]), &mut sealed)
        .unwrap();
    packet.extend(sealed);
    let header_key = quic::HeaderProtectionKey::new(&quic::AES_128, &header_key).unwrap();
    let mask = header_key.new_mask(&packet[number_at + 4..number_at + 20]).unwrap();
    packet[0] ^= mask[0] & 0x0f;
    packet[number_at] ^= mask[1];
    packet
}

//----------- Packets --------------------------------------------------------

/// Two hosts and where they are in what they say to each other.
pub(crate) struct Talk {
    addresses: [IpAddr; 2],
    ports: [u16; 2],
    seqs: [u32; 2],
}

impl Talk {
    pub(crate) fn new(random: &mut Random, port: u16) -> Self {
        let (client, server) = (random.below(CLIENTS), random.below(NAMES));
        let [_, _, c0, c1] = u32::try_from(client).unwrap().to_be_bytes();
        let [_, _, s0, s1] = u32::try_from(server).unwrap().to_be_bytes();
        let addresses: [IpAddr; 2] = if random.in_percent(15) {
            let client = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, u16::from_be_bytes([c0, c1]));
            [client.into(), Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, u16::from_be_bytes([s0, s1])).into()]
        } else {
            [Ipv4Addr::new(10, 1, c0, c1).into(), Ipv4Addr::new(198, 18, s0, s1).into()]
        };
        let ephemeral = 32_768 + u16::try_from(random.below(28_000)).unwrap();
        let word = random.next();
        Self { addresses, ports: [ephemeral, port], seqs: [word as u32, (word >> 32) as u32] }
    }

    /// SYN, its answer, ACK.
    fn starts(&mut self) -> [Vec<u8>; 3] {
        let syn = self.segment(true, SYN, b"");
        self.seqs[0] = self.seqs[0].wrapping_add(1);
        let answer = self.segment(false, SYN | ACK, b"");
        self.seqs[1] = self.seqs[1].wrapping_add(1);
        [syn, answer, self.segment(true, ACK, b"")]
    }

    /// Data, in as many segments as it takes.
    pub(crate) fn says(&mut self, up: bool, data: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for part in data.chunks(SEGMENT) {
            frames.push(self.segment(up, PUSH, part));
            let seq = &mut self.seqs[usize::from(!up)];
            *seq = seq.wrapping_add(u32::try_from(part.len()).unwrap());
        }
        frames
    }

    fn acknowledges(&self, up: bool) -> Vec<u8> {
        self.segment(up, ACK, b"")
    }

    fn ends(&mut self, up: bool) -> Vec<u8> {
        let fin = self.segment(up, FIN, b"");
        let seq = &mut self.seqs[usize::from(!up)];
        *seq = seq.wrapping_add(1);
        fin
    }

    fn segment(&self, up: bool, flags: u8, data: &[u8]) -> Vec<u8> {
        let (ours, theirs) = (usize::from(!up), usize::from(up));
        let ack = if flags & ACK == 0 { 0 } else { self.seqs[theirs] };
        let mut segment = Vec::with_capacity(32 + data.len());
        segment.extend(self.ports[ours].to_be_bytes());
        segment.extend(self.ports[theirs].to_be_bytes());
        segment.extend(self.seqs[ours].to_be_bytes());
        segment.extend(ack.to_be_bytes());
        // With timestamps, as nearly all hosts send them.
        segment.extend([0x80, flags, 0xff, 0xff, 0, 0, 0, 0, 1, 1, 8, 10, 0, 1, 2, 3, 0, 4, 5, 6]);
        segment.extend(data);
        self.packet(up, 6, 16, segment)
    }

    fn datagram(&self, up: bool, data: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(8 + data.len());
        datagram.extend(self.ports[usize::from(!up)].to_be_bytes());
        datagram.extend(self.ports[usize::from(up)].to_be_bytes());
        datagram.extend(u16::try_from(8 + data.len()).unwrap().to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(data);
        self.packet(up, 17, 6, datagram)
    }

    /// A frame with the transport's checksum put in at `sum_at`.
    fn packet(&self, up: bool, protocol: u8, sum_at: usize, mut payload: Vec<u8>) -> Vec<u8> {
        let (src, dst) = (self.addresses[usize::from(!up)], self.addresses[usize::from(up)]);
        let len = u16::try_from(payload.len()).unwrap();
        let mut addresses = Vec::with_capacity(32);
        for address in [src, dst] {
            match address {
                IpAddr::V4(v4) => addresses.extend(v4.octets()),
                IpAddr::V6(v6) => addresses.extend(v6.octets()),
            }
        }
        let pseudo = sum(u64::from(protocol) + u64::from(len), &addresses);
        let checksum = !fold(sum(pseudo, &payload));
        payload[sum_at..sum_at + 2].copy_from_slice(&checksum.to_be_bytes());
        let macs = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
        let mut frame = [macs[usize::from(up)], macs[usize::from(!up)]].concat();
        frame.reserve(54 + payload.len());
        if src.is_ipv4() {
            let mut head = vec![0x45, 0];
            head.extend((20 + len).to_be_bytes());
            head.extend([0, 0, 0x40, 0, if up { 64 } else { 57 }, protocol, 0, 0]);
            head.extend(&addresses);
            let checksum = !fold(sum(0, &head));
            head[10..12].copy_from_slice(&checksum.to_be_bytes());
            frame.extend([8, 0]);
            frame.extend(head);
        } else {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([protocol, if up { 64 } else { 57 }]);
            frame.extend(&addresses);
        }
        frame.extend(payload);
        frame
    }
}

fn sum(so_far: u64, octets: &[u8]) -> u64 {
    let pairs =
        octets.chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    so_far + pairs.sum::<u64>()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).unwrap()
}
