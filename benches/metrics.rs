//! What numbers cost a request, and what telling them costs whoever asks.
//!
//!     cargo bench --bench metrics

#![allow(clippy::unwrap_used, reason = "a bench that cannot start should say where")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant as Clock;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{Method, StatusCode};
use tokio::time::Instant;
use vestibule::config::snapshot::Snapshot;
use vestibule::http1::head::Version;
use vestibule::pipeline::Owner;
use vestibule::state::streams::Kind;
use vestibule::telemetry::metrics::Metrics;
use vestibule::telemetry::metrics::gather::{Sources, gather};
use vestibule::telemetry::metrics::meters::{Measured, OwnerMeters, UpstreamMeters};
use vestibule::telemetry::metrics::text::{Format, render};
use vestibule::upstream::exchange::Tally;

/// One tenant with so many personas.
fn snapshot(personas: usize) -> Snapshot {
    let mut text = "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\n\
                    [upstreams.app]\nservers = [\"http://127.0.0.1:1\"]\n"
        .to_owned();
    for number in 0..personas {
        text += &format!(
            "[tenants.acme.personas.n{number}]\nupstream = \"app\"\nhosts = [\"n{number}.test\"]\n"
        );
    }
    let loaded = vestibule::config::load_str("bench.toml", &text, Path::new(""));
    loaded.snapshot.unwrap()
}

/// Everything that a request which goes to an app and comes back adds to the hot path, one reading of
/// the clock included; the other, when it is sent, is the figure of the clock alone.
fn request(metrics: &Metrics, owner: &Owner, started: Instant, tally: &Tally) {
    let meters = metrics.of(Some(owner));
    let measured = Measured::new(meters, &Method::GET, Version::Http11);
    let counted = Arc::clone(meters);
    counted.opens();
    metrics.upstream(owner.upstream()).ends(started, tally, None);
    counted.closes(Kind::Request, || unreachable!());
    measured.ends(started, tally);
}

fn hot_path(criterion: &mut Criterion) {
    let snapshot = snapshot(3);
    let metrics = Metrics::default();
    metrics.follow(&snapshot, Clock::now());
    let owner = Owner::Persona(Arc::clone(&snapshot.tenants["acme"].personas[0]));
    let started = Instant::now();
    let tally =
        Tally { status: Some(StatusCode::OK), first_byte: Some(started), ..Tally::default() };
    let mut group = criterion.benchmark_group("metrics");
    group.bench_function("the clock alone", |bench| bench.iter(|| black_box(Instant::now())));
    group.bench_function("a request", |bench| {
        bench.iter(|| request(&metrics, black_box(&owner), started, &tally));
    });
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                request(&metrics, &owner, started, &tally);
            }
        });
        group.bench_function("a request while another worker does nothing else", |bench| {
            bench.iter(|| request(&metrics, black_box(&owner), started, &tally));
        });
        stop.store(true, Ordering::Relaxed);
    });
    group.finish();
}

fn telling(criterion: &mut Criterion) {
    let snapshot = snapshot(2000);
    let metrics = Metrics::default();
    metrics.follow(&snapshot, Clock::now());
    let (started, tally) =
        (Instant::now(), Tally { status: Some(StatusCode::OK), ..Tally::default() });
    for persona in &snapshot.tenants["acme"].personas {
        request(&metrics, &Owner::Persona(Arc::clone(persona)), started, &tally);
    }
    let sources = Sources {
        metrics: &metrics,
        snapshot: &snapshot,
        limiter: &Default::default(),
        replays: &Default::default(),
        parked: &Default::default(),
        jars: &Default::default(),
        sessions: &Default::default(),
        upstreams: &Default::default(),
        connections: (0, 1),
        is_draining: false,
        dropped: 0,
        moment: Default::default(),
    };
    let mut text = String::new();
    render(&gather(&sources), Format::Prometheus, &mut text);
    println!(
        "2,000 personas, 500 with series: {} lines, {} KiB; bytes of one persona {}, of an upstream {}",
        text.lines().count(),
        text.len() / 1024,
        size_of::<OwnerMeters>(),
        size_of::<UpstreamMeters>(),
    );
    let mut group = criterion.benchmark_group("telling");
    group.bench_function("2,000 personas, 500 with series", |bench| {
        bench.iter(|| {
            text.clear();
            render(&gather(&sources), Format::Prometheus, &mut text);
        });
    });
    group.bench_function("a reload of 2,000 personas", |bench| {
        bench.iter(|| metrics.follow(&snapshot, Clock::now()));
    });
    group.finish();
}

criterion_group!(benches, hot_path, telling);
criterion_main!(benches);
