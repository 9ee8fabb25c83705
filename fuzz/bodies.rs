//! What each fuzz target does with its bytes. `tests/fuzz_corpus.rs` runs the same over the committed corpus and over bent
//! copies of it, with every `cargo test`.

use interdict::base::model::{Mono, Stage, Wall};
use interdict::base::name::{Match, Name, NameRef};
use interdict::base::wire::dns::{AnswerView, Head, Malformed, QueryView, Rcode, Reply};
use interdict::base::wire::http::{Body, H2Stream, HeadStream, Request, Response};
use interdict::base::wire::packet::{Frame, LinkType, TUNNELS_MAX, Transport};
use interdict::base::wire::quic::{QuicClient, may_be_quic};
use interdict::base::wire::tls::{ClientHello, DtlsHello, HELLO_OCTETS_MAX, HelloStream, Progress, ja4};
use interdict::engine::inspector::fragments::Fragments;
use interdict::engine::inspector::{Judge, Observation, Reader};
use interdict::engine::resolver::{AnswerLimits, CacheKey, StoredAnswer};
use interdict::io::capture::{FileSource, Next, PcapWriter, Source};
use interdict::policy::gate::Gate;
use interdict::policy::list::{Format, vendor};
use interdict::policy::{Included, List, Policy, Reading, RuleSetBuilder, Settings, Subject, What};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

/// A message from a client: it is refused, or what is read of it makes a reply that reads back.
pub(crate) fn dns_query(data: &[u8]) {
    let mut out = [0; 1232];
    match QueryView::parse(data) {
        Ok(query) => {
            assert!(NameRef::from_wire(query.name().as_wire()).is_ok());
            let reply = Reply::new(&mut out, 1232, &Head::from(&query)).map(|reply| reply.finish(Rcode::NOERROR, &[]));
            let len = reply.expect("a question fits into 1,232 octets");
            let back = AnswerView::parse(out.get(..len).unwrap_or_default()).expect("our own reply");
            assert_eq!((back.name(), back.qtype(), back.qclass()), (query.name(), query.qtype(), query.qclass()));
            assert_eq!((back.header().id, back.question()), (query.header().id, query.question()));
        }
        Err(Malformed::Fault(fault)) => {
            assert_ne!(fault.rcode, Rcode::NOERROR);
            assert!(Reply::new(&mut out, 1232, &Head::from(&fault)).is_some());
        }
        Err(Malformed::Unanswered(_)) => {}
    }
}

/// A message from upstream: it is refused, or what is stored of it reads back whole.
pub(crate) fn dns_answer(data: &[u8]) {
    let Ok(view) = AnswerView::parse(data) else { return };
    for record in view.records().flatten() {
        let _ = (record.owner(), record.check());
    }
    let key = CacheKey::new(view.name(), view.qtype(), view.qclass(), data.len().is_multiple_of(2), false);
    let Ok(stored) = StoredAnswer::from_upstream(Mono::START, &key, data, &AnswerLimits::default()) else { return };
    let back = AnswerView::parse(stored.octets()).expect("our own message");
    assert_eq!((back.name(), back.question()), (view.name(), view.question()));
    for record in back.records() {
        let record = record.expect("our own record");
        assert!(record.owner().is_ok() && record.check().is_ok());
    }
}

/// A vendor file: it is refused with sentences, or read.
pub(crate) fn vendor_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = vendor::read("fuzz.toml", text) {
        assert!(!error.to_string().is_empty());
    }
}

/// A list in the format that the first octet chooses, by its place among all: it is refused with a sentence, or every rule has
/// its place, is judged by the gate, and decides about its own name.
pub(crate) fn list(data: &[u8]) {
    let Some((&choice, text)) = data.split_first() else { return };
    let format = Format::ALL.get(usize::from(choice & 0x7f) % Format::ALL.len()).copied();
    let file = |id: &str| List {
        id: id.into(),
        file: id.into(),
        revision: "r".into(),
        stage: Some(Stage::Block),
        expires: None,
    };
    let mut builder = RuleSetBuilder::new();
    // `a` is the list itself once more, `b` the same without its includes, and no other is there.
    let without = || text.split_inclusive(|octet| *octet == b'\n').filter(|line| !line.starts_with(b"include:"));
    let mut include = |name: &str| {
        let text = match name {
            "a" => text.to_vec(),
            "b" => without().flatten().copied().collect(),
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Included { file: name.to_owned(), revision: "r".to_owned(), text: Box::new(io::Cursor::new(text)) })
    };
    let reading = Reading { format, answers: choice & 0x80 != 0, include: Some(&mut include), keeps_all: false };
    let report = match builder.add_blocklist(file("fuzz"), reading, &mut &*text) {
        Err(refusal) => return assert!(!refusal.to_string().is_empty()),
        Ok((_, report)) => report,
    };
    assert!(report.shown.len() <= report.bad && report.duplicates <= report.rules);
    let rules = Arc::new(builder.finish());
    assert_eq!(rules.rules().count(), rules.len());
    let _ = Gate::default().judge(&rules, "fuzz", &report, None);
    let policy = Policy::new(1, Arc::clone(&rules), Arc::new(Settings::default()), Wall::UNIX_EPOCH);
    let client: Option<IpAddr> = "10.0.0.5".parse().ok();
    let decide = |name: Option<&Name>, address| {
        let name = name.map(Name::as_ref);
        let subject = Subject { name, address, client, qtype: Some(1), port: None };
        assert_eq!(policy.explain(&subject).verdict, policy.decide(&subject));
    };
    for rule in rules.rules().take(64) {
        let facts = policy.facts(rule.id).expect("a rule of this set");
        assert!(facts.place.ends_with(&format!(":{}", rule.line)) && !facts.pattern.is_empty());
        match rule.what {
            What::Name(name, kind) => {
                decide(Some(&name.to_name()), None);
                assert!(kind == Match::Wildcard || policy.covers_name(name));
            }
            What::Range(net) => decide(None, Some(net.addr())),
            What::Apart(_) => decide("ads1.x.example".parse().ok().as_ref(), client),
        }
    }
}

/// A frame of the link type that the first two octets say: it is refused, or what is read of it lies within it, and as fragments
/// it stays within the table's bounds.
pub(crate) fn packet(data: &[u8]) {
    let Some((&link, bytes)) = data.split_first_chunk() else { return };
    let Ok(packet) = Frame::new(LinkType(u16::from_le_bytes(link)), bytes).decode() else { return };
    let within =
        |part: &[u8]| part.is_empty() || bytes.as_ptr_range().contains(&part.as_ptr()) && part.len() <= bytes.len();
    assert!(packet.tunnels.depth <= TUNNELS_MAX && packet.link.vlans.ids().len() <= 4);
    assert_eq!(packet.tunnels.depth == 0, packet.tunnels.outermost.is_none());
    let _ = packet.neighbour();
    let Some(ip) = packet.ip() else { return };
    assert!(within(ip.header) && within(ip.payload) && ip.src.is_ipv4() == ip.dst.is_ipv4());
    assert_eq!(ip.fragment.is_some(), ip.transport == Transport::Fragment);
    let _ = (ip.checksum(), ip.header_checksum_is_good());
    match ip.transport {
        Transport::Tcp(tcp) => {
            assert!(within(tcp.payload) && tcp.options().count() <= 20);
            assert_eq!(ip.ports(), Some((tcp.sport, tcp.dport)));
        }
        Transport::Udp(udp) => assert!(within(udp.payload) && ip.ports() == Some((udp.sport, udp.dport))),
        Transport::Icmp(icmp) => assert!(icmp.quoted().is_none_or(|quoted| within(quoted.payload))),
        Transport::Fragment | Transport::Broken | Transport::Other => {}
    }
    let mut fragments = Fragments::new(1 << 20);
    for second in 0..3 {
        if let Some(datagram) = fragments.handle_packet(Mono::from_nanos(second), &packet) {
            let _ = packet.resume(datagram.protocol, &datagram.first);
        }
        assert!(fragments.octets() <= 1 << 20);
    }
}

/// A capture file: its frames lie within it, and what is written of them is read again.
pub(crate) fn capture(data: &[u8]) {
    let mut source = FileSource::new("fuzz".into(), Box::new(io::Cursor::new(data.to_vec())), false);
    let (mut octets, mut frames) = (0, 0);
    let mut writer: Option<PcapWriter<Vec<u8>>> = None;
    loop {
        match source.next() {
            Ok(Next::Frame(frame)) => {
                (octets, frames) = (octets + frame.bytes.len(), frames + 1);
                let _ = frame.decode();
                let writer = writer.get_or_insert_with(|| PcapWriter::new(Vec::new(), frame.link).expect("a vector"));
                writer.write(&frame).expect("a vector");
            }
            Ok(Next::Idle) => panic!("a file that is not followed never idles"),
            Ok(Next::End) => break,
            Err(error) => {
                assert!(error.to_string().starts_with("fuzz: "));
                break;
            }
        }
    }
    assert!(octets <= data.len() && source.stats().octets <= data.len() as u64 && source.stats().frames == frames);
    let Some(writer) = writer else { return };
    let written = frames - writer.refused();
    let again = writer.finish().expect("a vector");
    let mut again = FileSource::new("again".into(), Box::new(io::Cursor::new(again)), false);
    while let Ok(Next::Frame(_)) = again.next() {}
    assert_eq!((again.stats().frames, again.stats().torn), (written, 0));
}

/// A client's stream of TLS, and the same octets as DTLS: the hello is the same however it is cut.
pub(crate) fn tls(data: &[u8]) {
    let mut whole = HelloStream::default();
    let progress = whole.feed(data);
    let mut apart = HelloStream::default();
    let stopped = data.iter().map(|octet| apart.feed(&[*octet])).find(|progress| *progress != Progress::More);
    assert_eq!(stopped.unwrap_or(Progress::More), progress);
    assert!(whole.hello().len() <= HELLO_OCTETS_MAX);
    if progress == Progress::Hello {
        assert_eq!(whole.hello(), apart.hello());
    }
    for view in [ClientHello::parse(whole.hello()), ClientHello::parse(data)].into_iter().flatten() {
        let _ = (view.server_name(), view.hidden(), view.version(), view.alpn().count());
        assert_eq!(ja4(&view, interdict::base::wire::tls::Transport::Tcp).len(), 36);
    }
    let mut dtls = DtlsHello::default();
    if let Some(body) = dtls.feed(data) {
        let _ = ClientHello::parse_dtls(body).map(|view| view.server_name().is_some());
    }
}

/// Datagrams of a client of QUIC, each behind its length.
pub(crate) fn quic(data: &[u8]) {
    let mut client = QuicClient::default();
    for datagram in lengths(data) {
        let _ = may_be_quic(datagram);
        client.feed(datagram, |_| {});
        assert!(client.held() <= 5 * HELLO_OCTETS_MAX);
    }
}

/// Octets behind their lengths, as many as there are.
fn lengths(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = data.split_first_chunk::<2>()?;
        let (part, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)).min(rest.len()))?;
        data = rest;
        Some(part)
    })
}

/// A stream of HTTP: heads and bodies one after the other, and the same octets as frames of HTTP/2.
pub(crate) fn http(data: &[u8]) {
    let mut rest = data;
    while !rest.is_empty() {
        let mut head = HeadStream::default();
        rest = rest.get(head.feed(rest)..).expect("it takes what there is");
        let _ = Response::parse(head.octets()).map(|reply| reply.headers().count());
        let Some(request) = Request::parse(head.octets()).filter(|_| head.is_whole()) else { break };
        let _ = (request.path(), request.target_authority());
        let mut body = Body::promised(request.headers(), true);
        let Some(taken) = body.feed(rest) else { break };
        rest = rest.get(taken..).expect("it takes what there is");
        if !body.is_over() {
            assert!(rest.is_empty());
        }
    }
    let mut frames = H2Stream::default();
    frames.feed(data, |host| assert!(!host.is_empty()));
}

/// Raw IP packets, each behind its length, a microsecond apart: the whole of the inspector.
pub(crate) fn inspector(data: &[u8]) {
    let rules = Arc::new(RuleSetBuilder::new().finish());
    let policy = Policy::new(1, rules, Arc::new(Settings::default()), Wall::UNIX_EPOCH);
    let (mut reader, mut judge) = (Reader::new(), Judge::new(Arc::new(policy)));
    let mut observe = |observation: Observation<'_>| judge.observe(&observation);
    for (count, packet) in lengths(data).enumerate() {
        let frame = Frame { time_ns: count as u64 * 1000, ..Frame::new(LinkType::RAW, packet) };
        reader.handle_frame(Mono::from_nanos(frame.time_ns), &frame, &mut observe);
        assert!(reader.flows() <= count + 1);
    }
    reader.finish(&mut observe);
    assert!(judge.finish().rows.is_empty(), "nothing is listed");
}
