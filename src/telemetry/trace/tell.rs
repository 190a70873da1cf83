//! Spans in OTLP's words, from what was noted.
//!
//! Names and attributes are those of the OpenTelemetry semantic conventions for HTTP spans (stable),
//! with what only we know under `vestibule.`. Three that the conventions ask for are left out, as
//! they say of what may be sensitive: `url.path`, `url.query` and `url.full` hold what a person or a
//! signature brought, and so does `client.address`.

use http::{Method, StatusCode};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanOutcome;
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags, Status};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

use super::context::SpanId;
use super::spans::{Connect, Exchange, Refusal, Report, Roots, Shaken, StreamKind, Streamed, Told};
use crate::config::snapshot::ServerAddress;
use crate::pipeline::Owner;
use crate::policy::beacon::Outcome;
use crate::telemetry::request_id::Generator;
use crate::upstream::forward::GONE;

/// Adds the spans of `report` to `out`; `ids` names those that nobody else knows.
pub fn tell(report: &Report, ids: &Generator, out: &mut Vec<Span>) {
    match report {
        Report::Request(told) => request(told, ids, out),
        Report::Stream(streamed) => out.push(stream(streamed, ids)),
        Report::Handshake(shaken) => out.push(handshake(shaken, ids)),
    }
}

/// How many spans that makes.
pub fn count(report: &Report) -> usize {
    match report {
        Report::Request(told) => {
            let exchange = told.exchange.as_ref().map_or(0, |exchange| {
                1 + exchange.connects.len() + usize::from(exchange.first_byte.is_some())
            });
            1 + usize::from(told.admitted.is_some()) + exchange
        }
        Report::Stream(_) | Report::Handshake(_) => 1,
    }
}

/// When a moment was, from one whose time is known.
#[derive(Clone, Copy)]
struct Clock {
    time: SystemTime,
    at: Instant,
}

impl Clock {
    fn nanos(self, at: Instant) -> u64 {
        let time = self.time + at.saturating_duration_since(self.at);
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

fn request(told: &Told, ids: &Generator, out: &mut Vec<Span>) {
    let making = Making { told, ids, clock: Clock { time: told.time, at: told.begun } };
    out.push(making.server());
    out.extend(told.admitted.map(|admitted| making.admission(admitted)));
    let Some(exchange) = &told.exchange else { return };
    out.push(making.client(exchange));
    out.extend(exchange.connects.iter().map(|connect| making.connect(connect)));
    if let (Some(asked), Some(first_byte)) = (&exchange.asked, exchange.first_byte) {
        out.push(making.child("first_byte", told.client, (asked.at, first_byte)));
    }
}

/// Makes the spans of one request.
struct Making<'a> {
    told: &'a Told,
    ids: &'a Generator,
    clock: Clock,
}

impl Making<'_> {
    fn span(&self, name: &str, kind: SpanKind, (from, to): (Instant, Instant)) -> Span {
        Span {
            kind: i32::from(kind),
            name: name.to_owned(),
            start_time_unix_nano: self.clock.nanos(from),
            end_time_unix_nano: self.clock.nanos(to),
            ..rooted(&self.told.roots)
        }
    }

    /// Of our own, with an id that nobody else knows.
    fn child(&self, name: &str, parent: SpanId, when: (Instant, Instant)) -> Span {
        let mut span = self.span(name, SpanKind::Internal, when);
        span.span_id = SpanId::new(self.ids.next()).bytes().to_vec();
        span.parent_span_id = parent.bytes().to_vec();
        span
    }

    fn server(&self) -> Span {
        let told = self.told;
        let mut span = self.span(&name_of(told), SpanKind::Server, (told.begun, told.ended));
        span.span_id = told.roots.server.bytes().to_vec();
        if let Some(parent) = told.parent {
            span.parent_span_id = parent.bytes().to_vec();
            span.flags |= SpanFlags::ContextIsRemoteMask as u32;
        }
        span.attributes = server_attributes(told);
        let refused = told.refusal.and_then(|refusal| failed(refusal, told.status));
        let is_ours = told.status.is_some_and(|status| status.is_server_error());
        span.status = refused.or_else(|| is_ours.then(|| error(String::new())));
        span
    }

    fn admission(&self, admitted: Instant) -> Span {
        let told = self.told;
        let mut span = self.child("admission", told.roots.server, (told.begun, admitted));
        if let (Some(Refusal::Rejected(code, _)), None) = (told.refusal, &told.exchange) {
            span.attributes.push(text("vestibule.code", code));
        }
        span
    }

    fn client(&self, exchange: &Exchange) -> Span {
        let told = self.told;
        let name = method(&told.method).1;
        let mut span = self.span(name, SpanKind::Client, (exchange.begun, told.ended));
        span.span_id = told.client.bytes().to_vec();
        span.parent_span_id = told.roots.server.bytes().to_vec();
        span.attributes = client_attributes(told, exchange);
        let refused = told.refusal.and_then(|refusal| failed(refusal, None));
        let is_theirs = exchange.status.is_some_and(is_error);
        span.status = refused.or_else(|| is_theirs.then(|| error(String::new())));
        span
    }

    fn connect(&self, connect: &Connect) -> Span {
        let when = (connect.begun, connect.ended);
        let mut span = self.child("connect", self.told.client, when);
        address(&connect.server, &mut span.attributes);
        if let Some(failed) = connect.failed {
            span.attributes.push(text("error.type", failed));
            span.status = Some(error(String::new()));
        }
        span
    }
}

/// To whoever asked.
fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn stream(streamed: &Streamed, ids: &Generator) -> Span {
    let clock = Clock { time: streamed.time, at: streamed.begun };
    let mut span = Span {
        span_id: SpanId::new(ids.next()).bytes().to_vec(),
        parent_span_id: streamed.roots.server.bytes().to_vec(),
        kind: SpanKind::Internal.into(),
        name: "stream".to_owned(),
        start_time_unix_nano: clock.nanos(streamed.begun),
        end_time_unix_nano: clock.nanos(streamed.ended),
        ..rooted(&streamed.roots)
    };
    let attributes = &mut span.attributes;
    whose(&streamed.roots, attributes);
    let kind = match streamed.kind {
        StreamKind::EventStream => "event_stream",
        StreamKind::WebSocket => "websocket",
    };
    attributes.push(text("vestibule.stream", kind));
    attributes.push(number("vestibule.request_bytes", streamed.request_bytes));
    attributes.push(number("vestibule.response_bytes", streamed.response_bytes));
    if let Some(reason) = streamed.reason {
        attributes.push(text("vestibule.reason", reason));
    }
    span
}

/// Its events are moments of the page's clock; no event says what the page has said.
fn handshake(shaken: &Shaken, ids: &Generator) -> Span {
    let Shaken { roots, handshake, time } = shaken;
    let end = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let begun = end.saturating_sub(handshake.ended);
    let nanos = |at: Duration| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
    let mut span = Span {
        span_id: SpanId::new(ids.next()).bytes().to_vec(),
        parent_span_id: roots.server.bytes().to_vec(),
        kind: SpanKind::Internal.into(),
        name: "handshake".to_owned(),
        start_time_unix_nano: nanos(begun),
        end_time_unix_nano: nanos(end),
        ..rooted(roots)
    };
    let outcome = handshake.outcome.as_str();
    let moments = [
        ("shown", Some(Duration::ZERO)),
        ("ready", handshake.ready),
        ("config", handshake.config),
        (outcome, Some(handshake.ended)),
    ];
    let event = |(name, at): (&str, Duration)| Event {
        time_unix_nano: nanos(begun + at),
        name: name.to_owned(),
        ..Event::default()
    };
    span.events = moments.into_iter().filter_map(|(name, at)| Some(event((name, at?)))).collect();
    whose(roots, &mut span.attributes);
    span.attributes.push(text("vestibule.outcome", outcome));
    match handshake.outcome {
        Outcome::Ack => {}
        Outcome::Error(code) => {
            span.attributes.push(text("error.type", code));
            span.attributes.push(text("vestibule.code", code));
        }
        Outcome::Timeout => span.attributes.push(text("error.type", outcome)),
    }
    span
}

/// What all spans of a request have in common.
fn rooted(roots: &Roots) -> Span {
    Span {
        trace_id: roots.trace_id.bytes().to_vec(),
        trace_state: roots.state.as_deref().unwrap_or_default().to_owned(),
        flags: u32::from(roots.flags.bits()) | SpanFlags::ContextHasIsRemoteMask as u32,
        ..Span::default()
    }
}

fn name_of(told: &Told) -> String {
    let (_, method) = method(&told.method);
    match told.roots.owner.as_ref().map(route) {
        Some(route) => format!("{method} {route}"),
        None => method.to_owned(),
    }
}

/// Where the owner answers, of whatever host.
fn route(owner: &Owner) -> String {
    let below = |path: &str| format!("{}/*", path.trim_end_matches('/'));
    match owner {
        Owner::Persona(persona) => below(&persona.path),
        Owner::Device(persona, _) => {
            let path = persona.path.trim_end_matches('/');
            let slug = owner.device().map_or("", |slug| slug);
            below(&format!("{path}/{slug}"))
        }
        Owner::Shell(..) => owner.shell().map_or_else(String::new, |shell| shell.path.to_string()),
        Owner::Site(_) => "/*".to_owned(),
    }
}

/// The value of `http.request.method`, and what it is called in a name.
fn method(method: &Method) -> (&str, &str) {
    const KNOWN: [&str; 10] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];
    match method.as_str() {
        known if KNOWN.contains(&known) => (known, known),
        _ => ("_OTHER", "HTTP"),
    }
}

fn server_attributes(told: &Told) -> Vec<KeyValue> {
    let mut out = Vec::with_capacity(12);
    out.push(text("http.request.method", method(&told.method).0));
    out.push(text("url.scheme", told.scheme.as_str()));
    out.push(text("network.protocol.version", told.version.as_str()));
    out.push(text("vestibule.request_id", told.request_id.as_str()));
    whose(&told.roots, &mut out);
    if let Some(status) = told.status {
        out.push(number("http.response.status_code", u64::from(status.as_u16())));
    }
    out.push(number("http.request.body.size", told.request_bytes));
    out.push(number("http.response.body.size", told.response_bytes));
    trouble(told.refusal, told.status.filter(StatusCode::is_server_error), &mut out);
    out
}

fn whose(roots: &Roots, out: &mut Vec<KeyValue>) {
    let Some(owner) = &roots.owner else { return };
    out.push(text("http.route", &route(owner)));
    out.push(text("vestibule.tenant", owner.tenant()));
    let key = match owner {
        Owner::Site(_) => "vestibule.site",
        Owner::Persona(_) | Owner::Device(..) | Owner::Shell(..) => "vestibule.persona",
    };
    out.push(text(key, owner.name()));
    if let Some(device) = owner.device() {
        out.push(text("vestibule.device", device));
    }
}

fn client_attributes(told: &Told, exchange: &Exchange) -> Vec<KeyValue> {
    let mut out = Vec::with_capacity(8);
    out.push(text("http.request.method", method(&told.method).0));
    out.push(text("vestibule.upstream", &exchange.upstream));
    if let Some(asked) = &exchange.asked {
        out.push(text("network.protocol.version", asked.version));
        address(&asked.server, &mut out);
    }
    if exchange.sent > 1 {
        out.push(number("http.request.resend_count", u64::from(exchange.sent - 1)));
    }
    if let Some(status) = exchange.status {
        out.push(number("http.response.status_code", u64::from(status.as_u16())));
    }
    let status = exchange.status.filter(|status| is_error(*status));
    trouble(told.refusal, status, &mut out);
    out
}

/// What went wrong: our word for it, else the status.
fn trouble(refusal: Option<Refusal>, status: Option<StatusCode>, out: &mut Vec<KeyValue>) {
    match (refusal, status) {
        (Some(Refusal::Rejected(code, reason)), _) => {
            out.push(text("error.type", code));
            out.push(text("vestibule.code", code));
            out.push(text("vestibule.reason", reason));
        }
        (Some(Refusal::Cut(reason)), _) => {
            if reason != GONE {
                out.push(text("error.type", "cut"));
            }
            out.push(text("vestibule.reason", reason));
        }
        (Some(Refusal::Left), _) => out.push(text("vestibule.reason", GONE)),
        (None, Some(status)) => out.push(text("error.type", status.as_str())),
        (None, None) => {}
    }
}

/// Whether it is an error to whoever reads the span: what a client did wrong is none of the
/// server's.
fn failed(refusal: Refusal, status: Option<StatusCode>) -> Option<Status> {
    match refusal {
        Refusal::Rejected(_, reason) => {
            let is_ours = status.is_none_or(|status| status.is_server_error());
            is_ours.then(|| error(reason.to_owned()))
        }
        Refusal::Cut(reason) => (reason != GONE).then(|| error(reason.to_owned())),
        Refusal::Left => None,
    }
}

fn error(message: String) -> Status {
    Status { message, code: SpanOutcome::Error.into() }
}

fn address(server: &ServerAddress, out: &mut Vec<KeyValue>) {
    let (host, port) = match server {
        ServerAddress::Ip(address) => (address.ip().to_string(), Some(address.port())),
        ServerAddress::Name(name, port) => (name.to_string(), Some(*port)),
        ServerAddress::Unix(path) => (path.display().to_string(), None),
    };
    out.push(text("server.address", &host));
    if let Some(port) = port {
        out.push(number("server.port", u64::from(port)));
    }
}

pub(in crate::telemetry) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}
