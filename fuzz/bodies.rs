//! What each fuzz target does with its bytes. `tests/fuzz_corpus.rs` runs the same over the committed corpus and over bent
//! copies of it, with every `cargo test`.

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::HTTPS;
use hickory_proto::rr::{RData, Record};
use interdict::base::model::{Mono, Now, Stage, Wall};
use interdict::base::name::{Match, Name, NameRef};
use interdict::base::wire::dns::{
    AnswerFault, AnswerView, Head, Malformed, NameFault, QueryView, Rcode, Reply, Section, rtype,
};
use interdict::base::wire::http::{Body, H2Stream, HeadStream, Request, Response};
use interdict::base::wire::packet::{self, Frame, LinkType, TUNNELS_MAX};
use interdict::base::wire::quic::{QuicClient, initial, may_be_quic};
use interdict::base::wire::tls::{ClientHello, DtlsHello, HELLO_OCTETS_MAX, HelloStream, Progress, ja4};
use interdict::engine::inspector::endpoint::Endpoints;
use interdict::engine::inspector::fragments::Fragments;
use interdict::engine::inspector::{First, Inline, Judge, Observation, Opening, Openings, QuicOpening, Reader};
use interdict::engine::resolver::core::{Core, CoreSettings, Counters, QUERIES_MAX, Waiter};
use interdict::engine::resolver::front::{answer, answer_from, fail, truncate};
use interdict::engine::resolver::{
    AnswerLimits, Ask, Cache, CacheKey, Cookies, Failure, Outcome, StoredAnswer, Transport,
};
use interdict::io::capture::{FileSource, Next, PcapWriter, Source};
use interdict::policy::gate::Gate;
use interdict::policy::list::{Format, vendor};
use interdict::policy::{Included, List, Policy, Reading, RuleSetBuilder, Settings, StageSetting, Subject, What};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// A message from a client: it is refused, or what is read of it makes a reply that reads back.
pub(crate) fn dns_query(data: &[u8]) {
    let mut out = [0; 1232];
    match QueryView::parse(data) {
        Ok(query) => {
            assert!(NameRef::from_wire(query.name().as_wire()).is_ok());
            // Whatever hickory-proto takes for a query too, it reads the same.
            if let Ok(theirs) = Message::from_vec(data)
                && let [question] = &*theirs.queries
            {
                assert!(is_name(query.name(), question.name()));
                assert_eq!(
                    (query.qtype(), query.qclass()),
                    (question.query_type().into(), question.query_class().into())
                );
                assert_eq!(query.header().id, theirs.metadata.id);
                let (kind, opcode) = (theirs.metadata.message_type, theirs.metadata.op_code);
                assert_eq!((kind, opcode, theirs.version()), (MessageType::Query, OpCode::Query, 0));
                assert!(theirs.answers.is_empty() && theirs.authorities.is_empty());
                let edns = theirs.edns.as_ref().map(|edns| (edns.max_payload().max(512), edns.flags().dnssec_ok));
                assert_eq!(query.edns().map(|edns| (edns.udp_octets, edns.dnssec_ok)), edns);
            }
            let reply = Reply::new(&mut out, 1232, &Head::from(&query)).map(|reply| reply.finish(Rcode::NOERROR, &[]));
            let len = reply.expect("a question fits into 1,232 octets");
            let back = AnswerView::parse(out.get(..len).unwrap_or_default()).expect("our own reply");
            assert_eq!((back.name(), back.qtype(), back.qclass()), (query.name(), query.qtype(), query.qclass()));
            assert_eq!((back.header().id, back.question()), (query.header().id, query.question()));
        }
        Err(Malformed::Fault(fault)) => {
            assert_ne!(fault.rcode, Rcode::NOERROR);
            if let Ok(theirs) = Message::from_vec(data) {
                assert!(is_faulty(&theirs, fault.rcode), "{} for {theirs:?}", fault.rcode);
            }
            assert!(Reply::new(&mut out, 1232, &Head::from(&fault)).is_some());
        }
        Err(Malformed::Unanswered(_)) => {}
    }
}

/// Whether hickory-proto reads in a message what we refuse it for.
fn is_faulty(theirs: &Message, rcode: Rcode) -> bool {
    assert_eq!(theirs.metadata.message_type, MessageType::Query);
    let asked = |faulty: fn(u16, u16) -> bool| {
        theirs.queries.iter().any(|query| faulty(query.query_type().into(), query.query_class().into()))
    };
    match rcode {
        Rcode::NOTIMP => {
            theirs.metadata.op_code != OpCode::Query || asked(|qtype, _| matches!(qtype, 41 | 249 | 250 | 253 | 254))
        }
        Rcode::BADVERS => theirs.version() != 0,
        Rcode::REFUSED => asked(|qtype, class| !matches!(class, 1 | 255) || matches!(qtype, 251 | 252)),
        // What it is refused for may be what hickory-proto passes over: octets after its end, lengths of options, a pointer.
        _ => rcode == Rcode::FORMERR,
    }
}

/// A client's message and what upstream says to it: after an octet that says how it comes and two with its length, the message,
/// then upstream's. Every reply is one to hickory-proto too, and no longer than the client takes.
pub(crate) fn dns_front(data: &[u8]) {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    let policy = POLICY.get_or_init(|| {
        let mut builder = RuleSetBuilder::new();
        let (id, file) = ("fuzz".into(), "fuzz".into());
        let list = List { id, file, revision: "r".into(), stage: Some(Stage::Block), expires: None };
        builder.add_blocklist(list, Format::Auto, &mut &b"blocked.example\n"[..]).expect("a list");
        Policy::new(1, Arc::new(builder.finish()), Arc::new(Settings::default()), Wall::UNIX_EPOCH)
    });
    let Some((&[how, high, low], rest)) = data.split_first_chunk() else { return };
    let (message, upstream) = rest.split_at(usize::from(u16::from_be_bytes([high, low])).min(rest.len()));
    let transport = if how & 1 == 0 { Transport::Udp } else { Transport::Tcp };
    let client = IpAddr::from([192, 0, 2, 1]);
    let cookies = Cookies::new([1, 2]);
    let ask = Ask { cookies: (how & 2 != 0).then_some((&cookies, client)), ..Ask::new(client, transport, message) };
    let now = Now { mono: Mono::START, wall: Wall::UNIX_EPOCH };
    let mut out = vec![0; 65_535];
    let is_proven = ask.is_proven(now);
    assert!(!is_proven || cookies_of(message).is_some_and(|option| option.len() == 24));
    let len = truncate(now, &ask, &mut out);
    check_reply(&ask, out.get(..len).unwrap_or_default());
    let key = match answer(now, policy, &Cache::new(1 << 16, 1), &ask, &mut out) {
        Outcome::Answered { len, .. } => return check_reply(&ask, out.get(..len).unwrap_or_default()),
        Outcome::Drop(_) => return,
        Outcome::Miss(miss) => miss.key,
    };
    let len = fail(now, &ask, Failure::Timeout, &mut out);
    check_reply(&ask, out.get(..len).unwrap_or_default());
    let Ok(stored) = StoredAnswer::from_upstream(Mono::START, &key, upstream, &AnswerLimits::default()) else { return };
    let Outcome::Answered { len, .. } = answer_from(now, policy, &stored, &ask, &mut out) else { panic!("no answer") };
    let reply = out.get(..len).unwrap_or_default();
    assert!(AnswerView::parse(reply).is_ok());
    // What hickory-proto cannot read of upstream's message it need not read of ours.
    if Message::from_vec(upstream).is_ok() {
        check_reply(&ask, reply);
    }
}

/// The cookie that a query brings.
fn cookies_of(message: &[u8]) -> Option<&[u8]> {
    QueryView::parse(message).ok()?.option(10)
}

/// Whether a reply is one to this message.
fn check_reply(ask: &Ask<'_>, reply: &[u8]) {
    if reply.is_empty() {
        return;
    }
    let read = Message::from_vec(reply).expect("our own reply");
    assert_eq!(reply.get(..2), ask.message.get(..2), "the id");
    assert!(reply.get(2).is_some_and(|flags| flags & 0x80 != 0), "a response");
    let Ok(query) = QueryView::parse(ask.message) else { return };
    let limit = if ask.transport == Transport::Udp { query.udp_octets().min(1_232) } else { 65_535 };
    assert!(reply.len() <= limit, "{} octets for {limit}", reply.len());
    assert_eq!((read.queries.len(), read.edns.is_some()), (1, query.edns().is_some()));
    assert!(reply.get(12..).is_some_and(|rest| rest.starts_with(query.question())), "the question as it came");
}

/// A message from upstream: it is refused, or what is stored of it reads back whole. What hickory-proto reads of it is the same that
/// we read, and nothing is stored that hickory-proto did not find in it.
pub(crate) fn dns_answer(data: &[u8]) {
    let theirs = Message::from_vec(data).ok();
    let view = match AnswerView::parse(data) {
        Ok(view) => view,
        Err(fault) => return assert!(theirs.is_none_or(|theirs| is_refused(&theirs, fault)), "{fault}"),
    };
    if let Some(theirs) = &theirs {
        same_answer(theirs, &view);
    }
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
    if let Some(theirs) = &theirs {
        let kept = Message::from_vec(stored.octets()).expect("what we keep of what hickory-proto reads");
        assert!(kept.additionals.is_empty() && kept.edns.is_none());
        for (kept, found) in [(&kept.answers, &theirs.answers), (&kept.authorities, &theirs.authorities)] {
            assert!(kept.iter().all(|kept| found.iter().any(|found| is_same(kept, found))), "{kept:?} of {found:?}");
        }
    }
}

/// Whether hickory-proto reads in a message what we refuse it for.
fn is_refused(theirs: &Message, fault: AnswerFault) -> bool {
    match fault {
        AnswerFault::NotAResponse => {
            theirs.metadata.message_type != MessageType::Response || theirs.metadata.op_code != OpCode::Query
        }
        AnswerFault::Questions => theirs.queries.len() != 1,
        // A question has nothing before it that it could point to but the header.
        AnswerFault::Name(NameFault::Pointer) => true,
        AnswerFault::Name(_) | AnswerFault::Short | AnswerFault::Rdata(_) => false,
    }
}

/// The question and every record, as hickory-proto read them.
fn same_answer(theirs: &Message, view: &AnswerView<'_>) {
    let [question] = &*theirs.queries else { panic!("one question") };
    assert!(is_name(view.name(), question.name()));
    assert_eq!((view.qtype(), view.qclass()), (question.query_type().into(), question.query_class().into()));
    assert_eq!(view.header().id, theirs.metadata.id);
    let mut sections = [theirs.answers.iter(), theirs.authorities.iter(), theirs.additionals.iter()];
    for record in view.records() {
        let record = record.expect("a record that hickory-proto reads");
        if record.rtype == rtype::OPT {
            continue;
        }
        let [answers, authorities, additionals] = &mut sections;
        let section = match record.section {
            Section::Answer => answers,
            Section::Authority => authorities,
            Section::Additional => additionals,
        };
        let other = section.next().expect("as many records");
        assert!(is_name(record.owner().expect("a name that hickory-proto reads").as_ref(), &other.name));
        let (rtype, class): (u16, u16) = (other.record_type().into(), other.dns_class.into());
        assert_eq!((record.rtype, record.class, record.ttl), (rtype, class, other.ttl));
        match &other.data {
            RData::A(a) => assert_eq!(record.address(), Ok(Some(a.0.into()))),
            RData::AAAA(aaaa) => assert_eq!(record.address(), Ok(Some(aaaa.0.into()))),
            RData::CNAME(target) => {
                let ours = record.target().expect("a target that hickory-proto reads").expect("an alias");
                assert!(is_name(ours.as_ref(), &target.0));
            }
            RData::SOA(soa) => assert_eq!(record.soa_minimum(), Ok(Some(soa.minimum))),
            RData::SVCB(theirs) | RData::HTTPS(HTTPS(theirs)) => {
                // Hints without an address, and the like, are for us to refuse.
                if let Ok(ours) = record.svcb() {
                    let ours = ours.expect("a service binding");
                    assert_eq!(ours.priority, theirs.svc_priority);
                    assert!(is_name(ours.target(), &theirs.target_name));
                    let keys = theirs.svc_params.iter().map(|(key, _)| u16::from(*key));
                    assert!(ours.params().map(|(key, _)| key).eq(keys));
                }
            }
            RData::Unknown { rdata, .. } => assert_eq!(record.data(), &*rdata.anything),
            _ => {}
        }
    }
    assert!(sections.iter_mut().all(|section| section.next().is_none()), "no more records");
}

/// Whether it is the same name, whatever its case.
fn is_name(ours: NameRef<'_>, theirs: &hickory_proto::rr::Name) -> bool {
    let theirs: Vec<Vec<u8>> = theirs.iter().map(<[u8]>::to_ascii_lowercase).collect();
    ours.labels().eq(theirs.iter().map(Vec::as_slice))
}

/// Whether a record that is kept is one that came, perhaps for a shorter time.
fn is_same(kept: &Record, came: &Record) -> bool {
    // Of old types that hickory-proto does not know, names in the data are written in full (RFC 3597 §4).
    let is_rewritten = matches!(&kept.data, RData::Unknown { code, .. } if u16::from(*code) < 48);
    (kept.name == came.name && kept.dns_class == came.dns_class && kept.record_type() == came.record_type())
        && (kept.ttl <= came.ttl && (is_rewritten || kept.data == came.data))
}

/// A message on an exchange, under its id and with its question where the first octet says so: whatever it is, the client gets one
/// reply, to its own question.
pub(crate) fn upstream(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let name: Name = "www.example.org".parse().expect("a name");
    let key = CacheKey::new(name.as_ref(), 1, 1, choice & 4 != 0, false);
    let cache = Arc::new(Cache::new(1 << 16, 1));
    let settings = CoreSettings::new(vec![([192, 0, 2, 1], 53).into()]);
    let mut core = Core::new(&settings, Arc::clone(&cache), Arc::new(Counters::default()), [7; 32]);
    let client = IpAddr::from([192, 0, 2, 9]);
    let mut now = Mono::from_nanos(1);
    core.handle_miss(now, &key, Waiter { client, transport: Transport::Udp, message: Box::default(), token: () });
    let (mut replies, mut sent) = (0, 0);
    loop {
        while let Some(query) = core.poll_transmit() {
            sent += 1;
            let question = query.message.get(12..33).expect("a question of 21 octets");
            let message = match rest.split_at_checked(12) {
                Some((header, records)) if choice & 1 != 0 => {
                    let id = if choice & 2 != 0 { query.message.get(..2) } else { header.get(..2) };
                    [id.expect("an id"), header.get(2..).expect("a header"), question, records].concat()
                }
                _ => rest.to_vec(),
            };
            core.handle_response(now, query.exchange, &message);
        }
        while core.poll_close().is_some() {}
        while let Some(reply) = core.poll_reply() {
            replies += 1;
            if let Ok(stored) = reply.result {
                let view = AnswerView::parse(stored.octets()).expect("our own message");
                assert_eq!((view.name(), view.qtype()), (key.name(), key.qtype()));
            }
        }
        let Some((wake, _)) = core.poll_timeout() else { break };
        now = now.max(wake);
        core.handle_timeout(now);
    }
    assert_eq!((replies, core.is_idle()), (1, true));
    assert!(sent <= QUERIES_MAX);
    if let Some(kept) = cache.get(now, &key) {
        assert!(AnswerView::parse(kept.octets()).is_ok_and(|view| view.name() == key.name()));
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
                let name = name.to_name();
                decide(Some(&name), None);
                assert!(kind == Match::Wildcard || policy.covers_name(name.as_ref()));
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
    assert_eq!(ip.fragment.is_some(), ip.transport == packet::Transport::Fragment);
    let _ = (ip.checksum(), ip.header_checksum_is_good());
    match ip.transport {
        packet::Transport::Tcp(tcp) => {
            assert!(within(tcp.payload) && tcp.options().count() <= 20);
            assert_eq!(ip.ports(), Some((tcp.sport, tcp.dport)));
        }
        packet::Transport::Udp(udp) => assert!(within(udp.payload) && ip.ports() == Some((udp.sport, udp.dport))),
        packet::Transport::Icmp(icmp) => assert!(icmp.quoted().is_none_or(|quoted| within(quoted.payload))),
        packet::Transport::Fragment | packet::Transport::Broken | packet::Transport::Other => {}
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

/// Datagrams of a client of QUIC, each behind its length: as they are, and as the frames of packets that can be opened. No octets that
/// come about by chance pass the seal, and what is behind it is read too.
pub(crate) fn quic(data: &[u8]) {
    flight(lengths(data).map(<[u8]>::to_vec));
    let version = match data.last().map(|last| last % 4) {
        Some(1) => 0x6b33_43cf,
        Some(2) => 0xff00_001d,
        Some(3) => 0xface_b002,
        _ => 1,
    };
    let packets = lengths(data).zip(0..=u8::MAX);
    flight(packets.filter_map(|(frames, number)| initial(version, b"12345678", number, frames)));
}

/// A client's datagrams one after the other.
fn flight(datagrams: impl Iterator<Item = Vec<u8>>) {
    let mut client = QuicClient::default();
    for datagram in datagrams {
        let _ = may_be_quic(&datagram);
        client.feed(&datagram, |_| {});
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

/// What is listed for the inspector: a little of everything that a vendor file can say of traffic.
const ACME: &str = r#"
version = 1
[vendor]
id = "acme"
name = "Acme"
[[source]]
id = "s"
title = "Made up"
where = "https://example.org/"
[[domain]]
name = "acme.example"
match = "suffix"
purpose = "update"
source = ["s"]
confidence = "high"
[[range]]
cidr = "192.0.2.0/24"
asn = 64500
purpose = "telemetry"
evidence = "2026-01-01"
source = ["s"]
confidence = "high"
[[signature]]
kind = "http-uri-prefix"
value = ["/"]
source = ["s"]
confidence = "high"
[[signature]]
kind = "http-host-literal"
value = ["ipv4", "ipv6"]
source = ["s"]
confidence = "high"
[[signature]]
kind = "http-user-agent"
value = ["Acme*"]
source = ["s"]
confidence = "high"
[[signature]]
kind = "body-magic"
offset = 0
value = ["ACME"]
source = ["s"]
confidence = "high"
[[fallback]]
order = 1
address = "9.9.9.9"
operator = "Somebody"
source = ["s"]
confidence = "high"
[[port]]
port = ["1-1000"]
proto = "tcp"
use = "relay"
relay = true
source = ["s"]
confidence = "high"
"#;

/// Everything of the inspector, over the same packets.
struct Inspector {
    reader: Reader,
    judge: Judge,
    live: Judge,
    endpoints: Endpoints,
    inline: Inline,
    openings: Openings,
    stream: Opening,
    datagrams: QuicOpening,
}

impl Inspector {
    const ENDPOINTS_MAX: usize = 8;

    fn new() -> Self {
        static POLICY: OnceLock<Arc<Policy>> = OnceLock::new();
        let policy = POLICY.get_or_init(|| {
            let mut builder = RuleSetBuilder::new();
            let file = vendor::read("fuzz.toml", ACME).expect("a vendor file");
            builder.add_vendor_file(Arc::new(file), "r").expect("room for it");
            let stages = vec![StageSetting { vendor: "acme".into(), part: None, stage: Stage::Block }];
            let settings = Settings { stages, ..Settings::default() };
            Arc::new(Policy::new(1, Arc::new(builder.finish()), Arc::new(settings), Wall::UNIX_EPOCH))
        });
        Self {
            reader: Reader::new(),
            judge: Judge::new(Arc::clone(policy)),
            live: Judge::live(Arc::clone(policy)),
            endpoints: Endpoints::new(Self::ENDPOINTS_MAX),
            inline: Inline::new(),
            openings: Openings::new(Arc::clone(policy)),
            stream: Opening::default(),
            datagrams: QuicOpening::default(),
        }
    }

    fn frame(&mut self, frame: &Frame<'_>) {
        let Self { reader, judge, live, endpoints, .. } = self;
        let now = Mono::from_nanos(frame.time_ns);
        reader.handle_frame(now, frame, &mut |observation| match observation {
            Observation::Sender(_, packet) => endpoints.handle_packet(now, packet),
            other => {
                judge.observe(&other);
                live.observe(&other);
            }
        });
        self.live.handle_timeout(frame.time_ns);
        while self.live.poll_attempt().is_some() {}
        while self.live.poll_incident(frame.time_ns).is_some() {}
        while self.endpoints.poll_changed(now).is_some() {}
        while self.endpoints.poll_router().is_some() {}
        assert!(self.endpoints.iter().count() <= Self::ENDPOINTS_MAX);
        if frame.link == LinkType::RAW {
            let policy = Arc::clone(self.openings.policy());
            self.inline.handle_packet(now, frame.bytes, false, &policy, &mut |_, _| {});
        }
        match frame.decode().ok().and_then(|packet| packet.ip().map(|ip| ip.transport)) {
            Some(packet::Transport::Tcp(tcp)) => drop(self.stream.feed(tcp.payload)),
            Some(packet::Transport::Udp(udp)) => {
                if let Some(first) = self.datagrams.feed(udp.payload) {
                    self.sunk(&first);
                }
            }
            _ => {}
        }
    }

    fn sunk(&mut self, first: &First) {
        let (client, local) = (([10, 0, 0, 5], 40_000).into(), ([10, 0, 0, 1], 443).into());
        let _ = self.openings.judge(Wall::UNIX_EPOCH, client, local, first);
    }

    fn finish(mut self, now: Mono) {
        self.endpoints.handle_timeout(now);
        let first = std::mem::take(&mut self.stream).finish();
        self.sunk(&first);
        let Self { mut reader, mut judge, mut live, .. } = self;
        reader.finish(&mut |observation| {
            judge.observe(&observation);
            live.observe(&observation);
        });
        assert_eq!(reader.flows(), 0);
        let _ = live.take_relays();
        assert!(judge.finish().rows.keys().all(|key| &*key.vendor == "acme"), "nothing else is listed");
    }
}

/// Packets, each behind an octet and its length: the whole of the inspector. The octet says whether the packet stands on Ethernet, and
/// how long after the one before it comes: a microsecond, doubled so many times.
pub(crate) fn inspector(mut data: &[u8]) {
    let mut inspector = Inspector::new();
    let mut time_ns = 1_000_000_000;
    let mut count = 0;
    while let Some((&[how, high, low], rest)) = data.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let Some((bytes, rest)) = rest.split_at_checked(len) else { break };
        data = rest;
        time_ns += 1_000_u64 << (how & 0x1f);
        let link = if how & 0x80 == 0 { LinkType::RAW } else { LinkType::ETHERNET };
        inspector.frame(&Frame { time_ns, ..Frame::new(link, bytes) });
        count += 1;
        assert!(inspector.reader.flows() <= count * 5);
    }
    inspector.finish(Mono::from_nanos(time_ns));
}
