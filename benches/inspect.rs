//! What a flow costs the inspector, stage by stage: passed over among 100,000, its hello, an Initial, a request, a DNS exchange, a verdict.
#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench stops at the first surprise")]
#![allow(dead_code, reason = "the program `traffic` uses other parts of the generator")]

#[path = "common/traffic.rs"]
mod traffic;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use interdict::base::model::{Mono, Stage, Wall};
use interdict::base::name::Name;
use interdict::base::wire::dns::Questions;
use interdict::base::wire::http::Request;
use interdict::base::wire::packet::{Frame, LinkType, Transport};
use interdict::base::wire::quic::QuicClient;
use interdict::base::wire::tls::{self, ClientHello, ja4};
use interdict::engine::inspector::{At, Ends, Judge, NameKind, Observation, Reader, Seen};
use interdict::policy::list::Format;
use interdict::policy::{List, Policy, RuleSetBuilder, Settings};
use std::hint::black_box;
use std::sync::Arc;
use traffic::{Kind, Random, Talk, flow_of};

fn take(reader: &mut Reader, bytes: &[u8]) {
    reader.handle_frame(Mono::START, &Frame::new(LinkType::ETHERNET, bytes), &mut |observation| {
        black_box(&observation);
    });
}

/// A packet of a flow of which nothing more is read, among so many others.
fn passing(c: &mut Criterion) {
    let mut group = c.benchmark_group("a packet passed over");
    group.throughput(Throughput::Elements(1));
    for flows in [1_usize, 1_000, 100_000] {
        let mut random = Random(1);
        let mut reader = Reader::new();
        let mut frames = Vec::new();
        for _ in 0..flows {
            let mut talk = Talk::new(&mut random, 443);
            // Three of data that begins nothing, and it is let go.
            let said = talk.says(false, &[0xa5; 7_000]);
            said.iter().for_each(|frame| take(&mut reader, frame));
            frames.extend(said.into_iter().last());
        }
        let mut at = 0;
        group.bench_function(format!("of {flows} flows"), |b| {
            b.iter(|| {
                at = (at + 7_919) % frames.len();
                take(&mut reader, black_box(&frames[at]));
            });
        });
    }
    group.finish();
}

/// All packets of one flow, from a table that has none.
fn flows(c: &mut Criterion) {
    let mut group = c.benchmark_group("a whole flow");
    for (name, kind) in [("tls", Kind::Tls), ("quic", Kind::Quic), ("http", Kind::Http), ("dns", Kind::Dns)] {
        let frames = flow_of(&mut Random(3), kind, "www.host.example");
        group.throughput(Throughput::Elements(frames.len() as u64));
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                Reader::new,
                |reader| frames.iter().for_each(|frame| take(reader, black_box(frame))),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// What the client says first in a flow, joined.
fn said(kind: Kind) -> Vec<Vec<u8>> {
    let frames = flow_of(&mut Random(3), kind, "www.host.example");
    let payloads = frames.iter().filter_map(|frame| {
        let packet = Frame::new(LinkType::ETHERNET, frame).decode().ok()?;
        match packet.ip()?.transport {
            Transport::Tcp(tcp) if tcp.dport < tcp.sport => Some(tcp.payload.to_vec()),
            Transport::Udp(udp) if udp.dport < udp.sport => Some(udp.payload.to_vec()),
            _ => None,
        }
    });
    payloads.filter(|payload| !payload.is_empty()).collect()
}

fn readers(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    let hello = said(Kind::Tls).concat();
    let len = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
    let body = &hello[9..5 + len];
    let parsed = ClientHello::parse(body).unwrap();
    group.bench_function("hello", |b| {
        b.iter(|| ClientHello::parse(black_box(body)).ok()?.server_name().map(<[u8]>::len))
    });
    group.bench_function("ja4", |b| b.iter(|| ja4(black_box(&parsed), tls::Transport::Tcp)));
    let initial = &said(Kind::Quic)[0];
    group.bench_function("quic initial", |b| {
        b.iter_batched_ref(
            QuicClient::default,
            |client| client.feed(black_box(initial), |_| {}),
            BatchSize::SmallInput,
        );
    });
    let request = said(Kind::Http).concat();
    group.bench_function("http head", |b| {
        b.iter(|| Request::parse(black_box(&request))?.headers().first("host").map(<[u8]>::len));
    });
    let query = &said(Kind::Dns)[0];
    group.bench_function("dns question", |b| {
        b.iter(|| Questions::read(black_box(query)).map(|all| all.filter(|question| question.name().is_ok()).count()));
    });
    group.finish();
}

fn judge(c: &mut Criterion) {
    let mut builder = RuleSetBuilder::new();
    let (id, file) = ("bench".into(), "bench".into());
    let list = List { id, file, revision: "r".into(), stage: Some(Stage::Block), expires: None };
    builder.add_blocklist(list, Format::Auto, &mut &b"listed.example\n"[..]).unwrap();
    let policy = Policy::new(1, Arc::new(builder.finish()), Arc::new(Settings::default()), Wall::UNIX_EPOCH);
    let mut judge = Judge::new(Arc::new(policy));
    let ends =
        |port| Ends { src: "10.0.0.1".parse().unwrap(), sport: port, dst: "192.0.2.1".parse().unwrap(), dport: 443 };
    let mut group = c.benchmark_group("judge");
    group.bench_function("a flow that is nobody's", |b| {
        b.iter(|| {
            judge.observe(black_box(&Observation::Begin(At::default(), ends(1))));
            judge.observe(black_box(&Observation::End(At::default(), ends(1), [1, 1])));
        });
    });
    for (what, text) in [("a name that is nobody's", "www.host.example"), ("a name that is listed", "a.listed.example")]
    {
        let name: Name = text.parse().unwrap();
        let (octets, name) = (text.as_bytes(), Some(name.as_ref()));
        let seen = Seen { frame: 1, time_ns: 1, ends: ends(2), kind: NameKind::TlsSni, octets, name };
        group.bench_function(what, |b| b.iter(|| judge.observe(black_box(&Observation::Name(seen)))));
    }
    group.finish();
}

criterion_group!(benches, passing, flows, readers, judge);
criterion_main!(benches);
