//! What tracing costs a request that is not traced: no allocation.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;

use vestibule::http1::head::RequestHead;
use vestibule::pipeline::{ConnectionFacts, Scheme};
use vestibule::telemetry::otlp::outbox::Outbox;
use vestibule::telemetry::request_id::{Generator, RequestId};
use vestibule::telemetry::trace::Tracer;
use vestibule::telemetry::trace::sampler::Sampler;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: it is the system's allocator, which is asked for everything.
#[allow(unsafe_code, reason = "an allocator is unsafe to write")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocates.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

/// Allocations of a hundred requests, up to the fields that their upstreams are sent.
fn of_requests(sampler: Sampler, fields: &[(&str, &str)]) -> u64 {
    let sink = Arc::new(Outbox::new(256, 256));
    let tracer = Tracer::new(sampler, Some(sink));
    let generator = Generator::seeded([7; 16]);
    let facts = ConnectionFacts {
        client: "192.0.2.7".parse().unwrap(),
        trusted: false,
        scheme: Scheme::Https,
        server_name: None,
    };
    let mut head = RequestHead::default();
    for (name, value) in fields {
        head.fields.push(name.as_bytes(), value.as_bytes());
    }
    let mut out = Vec::with_capacity(4096);
    allocations(|| {
        for _ in 0..100 {
            out.clear();
            let (context, spans) =
                tracer.begin(&facts, &head, RequestId::default(), || generator.next());
            out.extend_from_slice(&context.traceparent());
            if let Some(state) = context.tracestate(&head.fields) {
                state.write(&mut out);
            }
            drop(black_box(spans));
        }
        black_box(&out);
    })
}

const PARENT: (&str, &str) =
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");

#[test]
fn a_request_that_is_not_traced_allocates_nothing_for_it() {
    assert_eq!(of_requests(Sampler::never(), &[]), 0);
    assert_eq!(of_requests(Sampler::never(), &[PARENT]), 0);
    assert_eq!(of_requests(Sampler::never(), &[PARENT, ("tracestate", "a=1,b=2")]), 0);
}

#[test]
fn one_that_is_traced_does() {
    // So that the test above sees something.
    assert!(of_requests(Sampler::ratio(1.0), &[]) >= 200);
}
