//! Traces: which requests are told of in spans, and what those spans may say.
//!
//! 1. [`Tracer::begin`] reads what a request says of its trace ([`context`]) and decides whether it
//!    is recorded ([`sampler`]), before anything of a span exists: a request that is not recorded
//!    allocates nothing and costs two ids. Every request has a trace id, and its upstream is told.
//! 2. [`Spans`] notes moments and facts while a recorded request is served. It builds nothing.
//! 3. [`tell`] makes spans of the notes, on the thread that sends them ([`super::otlp`]).
//!
//! # The spans of a request
//!
//! | span | kind | from, to |
//! | --- | --- | --- |
//! | `{method} {route}` | server | the request's head, the end of its answer |
//! | `admission` | internal | the same beginning, the decision; with a form that was read for it |
//! | `{method}` | client | the first server that is tried, the end of its answer; its id is the parent that the upstream is told |
//! | `connect` | internal | one for each connection that was opened |
//! | `first_byte` | internal | the request on its way, the head of the answer |
//! | `stream` | internal | of an event stream or a WebSocket: its beginning, its end |
//! | `handshake` | internal | of a launch: the frame is shown, the chat has acknowledged; as the page around it tells ([`crate::policy::beacon`]) |
//!
//! A stream may last for hours, and spans are sent when they end. So where an answer becomes a
//! stream, the server and client spans end with its head and are sent at once; the `stream` span, a
//! child of the server span that outlives it, is sent when the stream ends.
//!
//! A handshake is told of by another request, whose own spans are another trace's. It is a child of
//! the server span of the document that acknowledged. The page's times have a zero of their own:
//! its end is taken to be when the beacon came.
//!
//! # Never in a span
//!
//! A query, a path, a header's value, a user id, an address of a client. The route is a template
//! from the configuration; so are all names. What is free is a number, a status or a constant.

pub mod context;
pub mod sampler;
pub mod spans;
pub mod tell;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use context::TraceId;
use context::{Flags, SpanId, TraceParent, TraceState};
use sampler::Sampler;
pub use spans::{Spans, Streaming};

use super::otlp::outbox::Outbox;
use super::request_id::{Random, RequestId};
use crate::http1::fields::{Fields, Known};
use crate::http1::head::RequestHead;
use crate::pipeline::ConnectionFacts;
use crate::policy::beacon::launch::Launch;
use crate::policy::session::UnixSeconds;
use spans::Report;

/// Where what is recorded goes.
pub type Sink = Arc<Outbox<Report>>;

/// What all workers trace with.
#[derive(Debug)]
pub struct Tracer {
    /// A [`Sampler`]; a reload may change it.
    sampler: AtomicU64,
    /// None where nobody would be told.
    sink: Option<Sink>,
}

/// A request's place in its trace.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    pub trace_id: TraceId,
    /// What the upstream is told of it.
    pub flags: Flags,
    /// The span that the upstream's spans are children of.
    pub client: SpanId,
    /// The request's own span, where we record it.
    pub server: Option<SpanId>,
    /// Who sent it may speak for others: its `tracestate` is passed as it is.
    is_trusted: bool,
    /// The trace is somebody else's, whose `tracestate` goes with it.
    is_continued: bool,
}

impl Context {
    /// What a document is told of the request that brought it.
    pub fn launch(&self, at: UnixSeconds) -> Launch {
        Launch { trace_id: self.trace_id, span: self.server, flags: self.flags, at }
    }

    /// The `traceparent` for the upstream.
    pub fn traceparent(&self) -> [u8; context::LENGTH] {
        let parent =
            TraceParent { trace_id: self.trace_id, parent_id: self.client, flags: self.flags };
        parent.to_bytes()
    }

    /// The `tracestate` for the upstream.
    pub fn tracestate<'f>(&self, fields: &'f Fields) -> Option<TraceState<'f>> {
        if !self.is_continued {
            return None;
        }
        let state = TraceState::parse(fields.all(Known::Tracestate))?;
        if self.is_trusted { Some(state) } else { state.without_opentelemetry() }
    }
}

impl Tracer {
    pub fn new(sampler: Sampler, sink: Option<Sink>) -> Self {
        Self { sampler: AtomicU64::new(sampler.to_bits()), sink }
    }

    /// Decides anew from now on.
    pub fn follow(&self, sampler: Sampler) {
        self.sampler.store(sampler.to_bits(), Ordering::Relaxed);
    }

    /// A request's place in its trace, and what notes its spans, where they are recorded.
    pub fn begin(
        &self,
        connection: &ConnectionFacts,
        head: &RequestHead,
        request_id: RequestId,
        random: impl Fn() -> Random,
    ) -> (Context, Option<Box<Spans>>) {
        let (fields, trusted) = (&head.fields, connection.trusted);
        let parent = fields.single(Known::Traceparent).and_then(TraceParent::parse);
        let own = TraceId::new(random());
        let believed = parent.as_ref().filter(|_| trusted);
        let randomness = believed.map_or(own, |parent| parent.trace_id).randomness();
        let sampler = Sampler::from_bits(self.sampler.load(Ordering::Relaxed));
        let sampled = sampler.decides(believed, randomness);
        let (trace_id, random_bits) =
            parent.map_or((own, true), |parent| (parent.trace_id, parent.flags.random));
        let mut context = Context {
            trace_id,
            flags: Flags { sampled, random: random_bits },
            client: SpanId::new(random()),
            server: None,
            is_trusted: trusted,
            is_continued: parent.is_some(),
        };
        let Some(sink) = self.sink.as_ref().filter(|_| sampled) else {
            if let (true, Some(parent)) = (sampled, believed) {
                // Recorded, but not by us: nobody must be the child of a span that nobody sends.
                context.client = parent.parent_id;
            }
            context.flags.sampled &= believed.is_some();
            return (context, None);
        };
        let state = context.tracestate(fields).map(|state| state.to_text());
        let parent = parent.map(|parent| parent.parent_id);
        let server = SpanId::new(random());
        context.server = Some(server);
        let mut spans = Spans::begin(Arc::clone(sink), &context, (server, parent), state);
        spans.asks(&head.method, connection.scheme_of(fields), head.version, request_id);
        (context, Some(spans))
    }

    /// What is told of a trace by others than its requests.
    pub fn tell(&self, report: Report) {
        if let Some(sink) = &self.sink {
            sink.push(report);
        }
    }
}

#[cfg(test)]
mod tests;
