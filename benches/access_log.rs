//! What a line of the access log costs the worker that writes it.
//!
//!     cargo bench --bench access_log

#![allow(clippy::unwrap_used, reason = "a bench that cannot start should say where")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::StatusCode;
use vestibule::config::snapshot::UserIds;
use vestibule::policy::pseudonym::Pseudonyms;
use vestibule::policy::secret::Secret;
use vestibule::policy::session::keys::SessionSecrets;
use vestibule::telemetry::access_log::{Lines, Record};
use vestibule::telemetry::request_id::{Generator, RequestId};
use vestibule::telemetry::trace::context::TraceId;

fn record() -> Record {
    let names = Generator::seeded([7; 16]);
    Record {
        client: "203.0.113.7".parse().unwrap(),
        host: Some("chat-customer.example.com".into()),
        path: Some("/chat/ragtime/sales/static/js/main.3f2a.js".into()),
        status: Some(StatusCode::OK),
        tenant: Some("ragtime".into()),
        persona: Some("sales".into()),
        response_bytes: 1024,
        duration: Duration::from_nanos(1_234_567),
        first_byte: Some(Duration::from_nanos(934_567)),
        request_id: RequestId::new(names.next()),
        trace_id: Some(TraceId::new(names.next())),
        ..Record::default()
    }
}

fn lines(criterion: &mut Criterion) {
    let secret = Secret::new(*b"0123456789abcdef0123456789abcdef").unwrap();
    let pseudonyms = Pseudonyms::new(&SessionSecrets::new(secret, Vec::new()));
    let mut group = criterion.benchmark_group("access_log");
    let mut buffer = Vec::with_capacity(64 * 1024);
    let mut lines = Lines::calling_users(UserIds::Hashed(pseudonyms.clone()));
    let mut write = |record: &Record| {
        buffer.clear();
        lines.write(black_box(record), &mut buffer);
        black_box(&buffer);
    };
    let nobody = record();
    group.bench_function("of nobody in particular", |bench| bench.iter(|| write(&nobody)));
    let known = Record { user_id: Some("4711".into()), ..record() };
    group.bench_function("of a user who was here", |bench| bench.iter(|| write(&known)));
    let odd = Record { path: Some("/\u{e9}\n".repeat(40)), ..record() };
    group.bench_function("with a path that is escaped", |bench| bench.iter(|| write(&odd)));
    let tenant = pseudonyms.of("ragtime");
    group.bench_function("a hash", |bench| bench.iter(|| tenant.call(black_box("4711"))));
    group.finish();
}

criterion_group!(benches, lines);
criterion_main!(benches);
