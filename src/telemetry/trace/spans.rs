//! What is noted of a recorded request while it is served.
//!
//! Moments, and values that are there anyway. Whatever becomes of the request, what was noted is
//! handed over: dropping the notes of a request that was given up tells of it too. It must not
//! format, and must not keep anything that a client chose.

use std::sync::Arc;
use std::time::SystemTime;

use http::{Method, StatusCode};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::context::{Flags, SpanId, TraceId};
use super::{Context, Sink};
use crate::config::snapshot::ServerAddress;
use crate::http1::head::Version;
use crate::pipeline::{Owner, Scheme};
use crate::policy::beacon::Handshake;
use crate::rejection::Rejection;
use crate::telemetry::request_id::RequestId;

/// What is sent.
#[derive(Debug)]
pub enum Report {
    Request(Box<Told>),
    Stream(Box<Streamed>),
    Handshake(Box<Shaken>),
}

/// Where spans of one request hang.
#[derive(Debug, Clone)]
pub struct Roots {
    pub trace_id: TraceId,
    pub flags: Flags,
    pub state: Option<Box<str>>,
    pub server: SpanId,
    /// Tenant, persona, device and route, once they are known.
    pub owner: Option<Owner>,
}

/// One request.
#[derive(Debug)]
pub struct Told {
    pub roots: Roots,
    /// Somebody else's span.
    pub parent: Option<SpanId>,
    pub client: SpanId,
    pub time: SystemTime,
    pub begun: Instant,
    pub method: Method,
    pub scheme: Scheme,
    pub version: Version,
    pub request_id: RequestId,
    pub admitted: Option<Instant>,
    pub exchange: Option<Exchange>,
    pub refusal: Option<Refusal>,
    pub status: Option<StatusCode>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub ended: Instant,
}

/// What went on between us and an upstream.
#[derive(Debug)]
pub struct Exchange {
    pub upstream: Arc<str>,
    pub begun: Instant,
    pub connects: SmallVec<[Connect; 1]>,
    /// The server that was asked last, and since when.
    pub asked: Option<Asked>,
    /// How often it was sent.
    pub sent: u32,
    pub first_byte: Option<Instant>,
    /// What it answered.
    pub status: Option<StatusCode>,
}

#[derive(Debug)]
pub struct Asked {
    pub server: ServerAddress,
    pub at: Instant,
    /// Of HTTP.
    pub version: &'static str,
}

#[derive(Debug)]
pub struct Connect {
    pub server: ServerAddress,
    pub begun: Instant,
    pub ended: Instant,
    pub failed: Option<&'static str>,
}

/// Why it did not end well.
#[derive(Debug, Clone, Copy)]
pub enum Refusal {
    /// Refused with a code, for a reason.
    Rejected(&'static str, &'static str),
    /// The answer broke off.
    Cut(&'static str),
    /// Nobody waited for the answer.
    Left,
}

/// A stream that has ended.
#[derive(Debug)]
pub struct Streamed {
    pub roots: Roots,
    pub kind: StreamKind,
    /// When `begun` was.
    pub time: SystemTime,
    pub begun: Instant,
    pub ended: Instant,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub reason: Option<&'static str>,
}

/// A handshake that the page around a launch's document has told of.
#[derive(Debug)]
pub struct Shaken {
    /// Of the launch.
    pub roots: Roots,
    pub handshake: Handshake,
    /// When it was told.
    pub time: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    EventStream,
    WebSocket,
}

/// The notes of a request.
#[derive(Debug)]
pub struct Spans {
    sink: Sink,
    state: State,
}

#[derive(Debug)]
enum State {
    Request(Box<Told>),
    Streaming(Streaming),
    Over,
}

/// A request that has become a stream: its spans are sent, the stream's is not.
#[derive(Debug)]
pub struct Streaming {
    sink: Sink,
    streamed: Option<Box<Streamed>>,
}

impl Spans {
    pub(super) fn begin(
        sink: Sink,
        context: &Context,
        (server, parent): (SpanId, Option<SpanId>),
        state: Option<Box<str>>,
    ) -> Box<Self> {
        let now = Instant::now();
        let roots =
            Roots { trace_id: context.trace_id, flags: context.flags, state, server, owner: None };
        let told = Told {
            roots,
            parent,
            client: context.client,
            time: SystemTime::now(),
            begun: now,
            method: Method::GET,
            scheme: Scheme::Https,
            version: Version::Http11,
            request_id: RequestId::default(),
            admitted: None,
            exchange: None,
            refusal: None,
            status: None,
            request_bytes: 0,
            response_bytes: 0,
            ended: now,
        };
        Box::new(Self { sink, state: State::Request(Box::new(told)) })
    }

    fn told(&mut self) -> Option<&mut Told> {
        match &mut self.state {
            State::Request(told) => Some(told),
            State::Streaming(_) | State::Over => None,
        }
    }

    fn exchange(&mut self) -> Option<&mut Exchange> {
        self.told()?.exchange.as_mut()
    }

    /// What the request is, before anything is decided about it.
    pub fn asks(&mut self, method: &Method, scheme: Scheme, version: Version, id: RequestId) {
        let Some(told) = self.told() else { return };
        told.method = method.clone();
        (told.scheme, told.version, told.request_id) = (scheme, version, id);
    }

    /// It was decided, for whom if that is known.
    pub fn admitted(&mut self, owner: Option<&Owner>) {
        let Some(told) = self.told() else { return };
        told.admitted = Some(Instant::now());
        told.roots.owner = owner.cloned();
    }

    pub fn rejected(&mut self, rejection: &Rejection) {
        let refusal = Refusal::Rejected(rejection.code.as_str(), rejection.reason);
        if let Some(told) = self.told() {
            told.refusal = Some(refusal);
        }
    }

    /// Its answer broke off.
    pub fn cut(&mut self, reason: &'static str) {
        match &mut self.state {
            State::Request(told) => told.refusal = Some(Refusal::Cut(reason)),
            State::Streaming(streaming) => streaming.ends_because(reason),
            State::Over => {}
        }
    }

    /// It is passed on.
    pub fn forwards(&mut self, upstream: &Arc<str>) {
        let Some(told) = self.told() else { return };
        told.exchange = Some(Exchange {
            upstream: Arc::clone(upstream),
            begun: Instant::now(),
            connects: SmallVec::new(),
            asked: None,
            sent: 0,
            first_byte: None,
            status: None,
        });
    }

    /// A connection was opened since `begun`, or not.
    pub fn connected(
        &mut self,
        server: &ServerAddress,
        begun: Instant,
        failed: Option<&'static str>,
    ) {
        let Some(exchange) = self.exchange() else { return };
        let (server, ended) = (server.clone(), Instant::now());
        exchange.connects.push(Connect { server, begun, ended, failed });
    }

    /// It goes out to a server.
    pub fn sends(&mut self, server: &ServerAddress, version: &'static str) {
        let Some(exchange) = self.exchange() else { return };
        exchange.asked = Some(Asked { server: server.clone(), at: Instant::now(), version });
        exchange.sent += 1;
    }

    /// The head of the answer is here; where the answer is a stream, this is told now.
    pub fn answered(&mut self, status: StatusCode, at: Instant, is_events: bool) {
        if let Some(exchange) = self.exchange() {
            exchange.first_byte = Some(at);
            exchange.status = Some(status);
        }
        if is_events {
            self.become_stream(StreamKind::EventStream, Some(status));
        }
    }

    fn become_stream(&mut self, kind: StreamKind, status: Option<StatusCode>) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Request(mut told) => {
                told.status = status;
                told.ended = Instant::now();
                let streamed = Streamed {
                    roots: told.roots.clone(),
                    kind,
                    time: told.time + told.ended.duration_since(told.begun),
                    begun: told.ended,
                    ended: told.ended,
                    request_bytes: 0,
                    response_bytes: 0,
                    reason: None,
                };
                self.sink.push(Report::Request(told));
                let sink = Arc::clone(&self.sink);
                let streamed = Some(Box::new(streamed));
                self.state = State::Streaming(Streaming { sink, streamed });
            }
            other => self.state = other,
        }
    }

    /// The request has ended, with these bytes; `status` is what the client was told.
    pub fn end(
        mut self,
        status: Option<StatusCode>,
        (request_bytes, response_bytes): (u64, u64),
        aborted: bool,
    ) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Request(mut told) => {
                told.status = status;
                (told.request_bytes, told.response_bytes) = (request_bytes, response_bytes);
                told.ended = Instant::now();
                if aborted && told.refusal.is_none() {
                    told.refusal = Some(Refusal::Left);
                }
                self.sink.push(Report::Request(told));
            }
            State::Streaming(streaming) => streaming.end(request_bytes, response_bytes),
            State::Over => {}
        }
    }

    /// The request has become a WebSocket, which ends later.
    pub fn switched(mut self, status: Option<StatusCode>) -> Option<Streaming> {
        self.become_stream(StreamKind::WebSocket, status);
        match std::mem::replace(&mut self.state, State::Over) {
            State::Streaming(streaming) => Some(streaming),
            State::Request(_) | State::Over => None,
        }
    }
}

impl Drop for Spans {
    fn drop(&mut self) {
        if let State::Request(mut told) = std::mem::replace(&mut self.state, State::Over) {
            told.ended = Instant::now();
            told.refusal.get_or_insert(Refusal::Left);
            self.sink.push(Report::Request(told));
        }
    }
}

impl Streaming {
    pub fn ends_because(&mut self, reason: &'static str) {
        if let Some(streamed) = &mut self.streamed {
            streamed.reason = Some(reason);
        }
    }

    /// It has ended, with these bytes.
    pub fn end(mut self, request_bytes: u64, response_bytes: u64) {
        if let Some(streamed) = &mut self.streamed {
            (streamed.request_bytes, streamed.response_bytes) = (request_bytes, response_bytes);
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        if let Some(mut streamed) = self.streamed.take() {
            streamed.ended = Instant::now();
            self.sink.push(Report::Stream(streamed));
        }
    }
}
