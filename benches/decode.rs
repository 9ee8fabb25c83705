//! What a frame costs from the link to the transport: beside etherparse, and beside copying it as the floor.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

#[path = "../tests/common/frames.rs"]
mod frames;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use etherparse::SlicedPacket;
use frames::*;
use interdict::base::model::Mono;
use interdict::base::wire::packet::{Frame, LinkType};
use interdict::engine::inspector::fragments::Fragments;
use std::hint::black_box;

/// One of a kind each: what most frames are, and what costs most.
fn cases() -> [(&'static str, Vec<u8>); 6] {
    let segment = ipv4(6, &tcp(9, PSH_ACK, &[7; 1_400]));
    let plain = ethernet(0x0800, &segment);
    [
        ("tcp", plain.clone()),
        ("udp6", ethernet(0x86dd, &ipv6(17, &udp_between(A6.into(), B6.into(), [5_000, 443], &[7; 1_200])))),
        ("qinq", ethernet(0x88a8, &vlan(1, 0x8100, &vlan(2, 0x0800, &segment)))),
        ("vxlan", udp_frame(40_000, 4789, &[&[8, 0, 0, 0, 0, 0, 5, 0], &plain[..]].concat())),
        ("gre", ethernet(0x0800, &ipv4(47, &[&[0, 0, 8, 0], &segment[..]].concat()))),
        ("ack", tcp_frame(9, 0x10, b"")),
    ]
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    for (name, bytes) in &cases() {
        group
            .bench_function(*name, |b| b.iter(|| black_box(Frame::new(LinkType::ETHERNET, black_box(bytes)).decode())));
        group.bench_function(format!("{name}, etherparse"), |b| {
            b.iter(|| SlicedPacket::from_ethernet(black_box(bytes)).is_ok());
        });
    }
    let (_, bytes) = &cases()[0];
    let mut copy = vec![0; bytes.len()];
    group.bench_function("tcp, copied", |b| b.iter(|| black_box(&mut copy).copy_from_slice(black_box(bytes))));
    group.bench_function("tcp, checksum", |b| {
        b.iter(|| Frame::new(LinkType::ETHERNET, black_box(bytes)).decode().ok()?.ip().map(|ip| ip.checksum()));
    });
    group.finish();
}

fn fragments(c: &mut Criterion) {
    let first = ethernet(0x0800, &ipv4_fragment(17, 1, 0, true, &[7; 1_480]));
    let last = ethernet(0x0800, &ipv4_fragment(17, 1, 1_480, false, &[7; 700]));
    let mut table = Fragments::new(1 << 25);
    let mut group = c.benchmark_group("fragments");
    group.throughput(Throughput::Elements(2));
    group.bench_function("two", |b| {
        b.iter(|| {
            [&first, &last].map(|bytes| {
                let packet = Frame::new(LinkType::ETHERNET, black_box(bytes)).decode().ok()?;
                table.handle_packet(Mono::START, &packet)
            })
        });
    });
    group.finish();
}

criterion_group!(benches, decode, fragments);
criterion_main!(benches);
