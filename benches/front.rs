//! What the resolver's hot path costs: reading a query (against hickory-proto), a blocked answer, a cached answer.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

#[path = "../tests/common/dns.rs"]
mod dns_fixture;

use criterion::{Criterion, criterion_group, criterion_main};
use dns_fixture::*;
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use interdict::base::model::BlockAnswer;
use interdict::base::wire::dns::{AnswerView, QueryView};
use interdict::engine::resolver::Cache;
use interdict::engine::resolver::front::answer;
use std::hint::black_box;
use std::sync::Arc;

fn query_views(c: &mut Criterion) {
    let message = query("s00.upd.blocked.example", RecordType::A, Some(1232));
    let mut group = c.benchmark_group("query");
    group.bench_function("view", |b| b.iter(|| QueryView::parse(black_box(&message)).is_ok()));
    group.bench_function("hickory", |b| b.iter(|| Message::from_vec(black_box(&message)).is_ok()));
    group.finish();
}

fn answer_views(c: &mut Criterion) {
    let records = [cname("www.good.example", 60, "cdn.good.example"), address("cdn.good.example", 60, "192.0.2.1")];
    let message = stored("www.good.example", RecordType::A, &records).octets().to_vec();
    let mut group = c.benchmark_group("answer");
    group.bench_function("view", |b| {
        b.iter(|| {
            let view = AnswerView::parse(black_box(&message)).ok()?;
            Some(view.records().flatten().filter(|record| record.check().is_ok()).count())
        });
    });
    group.bench_function("hickory", |b| b.iter(|| Message::from_vec(black_box(&message)).is_ok()));
    group.finish();
}

fn front(c: &mut Criterion) {
    let policy = policy(1, BlockAnswer::Null);
    let cache = Cache::new(1 << 24, 1);
    let records = [cname("www.good.example", 60, "cdn.good.example"), address("cdn.good.example", 60, "192.0.2.1")];
    for (name, records) in [
        ("www.good.example", &records[..]),
        ("www.watched.example", &[address("www.watched.example", 60, "192.0.2.1")]),
    ] {
        cache.put(at(0).mono, &key(name, RecordType::A), Arc::new(stored(name, RecordType::A, records)));
    }
    let mut out = [0; 1232];
    let mut group = c.benchmark_group("front");
    for (what, name) in [
        ("blocked", "s00.upd.blocked.example"),
        ("cached", "www.good.example"),
        ("cached, judged each time", "www.watched.example"),
        ("miss", "a.name.that.nobody.knows.example"),
    ] {
        let message = query(name, RecordType::A, Some(1232));
        group.bench_function(what, |b| b.iter(|| answer(at(1), &policy, &cache, &udp(black_box(&message)), &mut out)));
    }
    group.finish();
}

criterion_group!(benches, query_views, answer_views, front);
criterion_main!(benches);
