//! What a process has left behind when it has ended, and the search of it: of the log, of what it
//! said, of what operators watched, and of what a collector was sent. That the search of the latter
//! can fail is shown each time, on what was really sent.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;
use vestibule::rejection::Code;

use super::secrets::{MARK, NUMBERS, Needles};
use super::stage::Stage;
use crate::harness::client::Client;
use crate::harness::collector::{Collector, Received, Speaks, attribute};

const TRACES: &str = "/v1/traces";
const METRICS: &str = "/v1/metrics";

/// Everything that is wrong with what `stage`, which has ended, has left.
pub fn behind(stage: &Stage, needles: &Needles) -> Vec<String> {
    let mut problems = Vec::new();
    let log = stage.read("access.log");
    let mut refused = Vec::new();
    for line in log.lines() {
        if let Some(found) = needles.find(line.as_bytes()) {
            problems.push(format!("the access log has {found:?}"));
        }
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        if line["code"].is_null() {
            continue;
        }
        if !line["user_id"].is_null() {
            problems.push(format!("a refused request has a user id: {line}"));
        }
        refused.push(line);
    }
    for name in ["stdout", "stderr"] {
        if let Some(found) = needles.find(stage.read(name).as_bytes()) {
            problems.push(format!("{name} has {found:?}"));
        }
    }
    let (events, codes) = (stage.events(), codes(&refused));
    if let Some(found) = needles.find(&events) {
        problems.push(format!("the events of the admin listener have {found:?}"));
    }
    // Of what a stop refuses, nobody who watches is told any more.
    let is_last = |code: &&str| *code == Code::UpstreamUnavailable.as_str();
    let untold = codes.into_iter().filter(|code| !is_last(code) && !has(&events, code));
    let untold: Vec<_> = untold.collect();
    assert!(untold.is_empty(), "nobody who watched was told of {untold:?}");
    problems.extend(leaks(&stage.collector, needles));
    were_told_of(&stage.collector, &refused);
    a_leak_would_be_found(&stage.collector, needles);
    problems
}

fn codes(refused: &[serde_json::Value]) -> BTreeSet<&str> {
    refused.iter().filter_map(|line| line["code"].as_str()).collect()
}

fn has(hay: &[u8], word: &str) -> bool {
    memchr::memmem::find(hay, word.as_bytes()).is_some()
}

/// Each message with a secret in it, searched as it came.
fn leaks(collector: &Collector, needles: &Needles) -> Vec<String> {
    let leak = |one: Received| {
        // In what is compressed, no search finds anything.
        assert!(!one.headers.contains_key("content-encoding"), "{:?}", one.headers);
        let found = needles.find(&one.message)?;
        Some(format!("{} has {found:?}", one.path))
    };
    collector.requests().into_iter().filter_map(leak).collect()
}

/// What was searched tells of every refusal that the log tells of, in plain letters.
fn were_told_of(collector: &Collector, refused: &[serde_json::Value]) {
    let sent = |path: &str| {
        let of_path = collector.requests().into_iter().filter(|one| one.path == path);
        of_path.flat_map(|one| one.message.to_vec()).collect::<Vec<_>>()
    };
    let (traces, metrics) = (sent(TRACES), sent(METRICS));
    // A message that could not be read is no part of a trace.
    let spans: Vec<_> =
        refused.iter().filter(|line| !line["trace_id"].is_null()).cloned().collect();
    assert!(spans.len() > 20, "only {} refusals", spans.len());
    let words = ["acme", "http.route", "/*", "vestibule.code"].map(String::from);
    let ids = spans.iter().map(|line| line["request_id"].as_str().unwrap().to_owned());
    let of_spans = codes(&spans).into_iter().map(str::to_owned).chain(words.clone()).chain(ids);
    let untold: Vec<_> = of_spans.filter(|word| !has(&traces, word)).collect();
    assert!(untold.is_empty(), "no span has {untold:?}");
    let of_metrics = codes(refused).into_iter().map(str::to_owned);
    let of_metrics = of_metrics.chain(["acme".into(), "vestibule.rejections".into()]);
    let untold: Vec<_> = of_metrics.filter(|word| !has(&metrics, word)).collect();
    assert!(untold.is_empty(), "no metric has {untold:?}");
}

/// The collector is sent again what it was sent, with one secret more: each is found, wherever it
/// stands; without it, nothing is.
fn a_leak_would_be_found(collector: &Collector, needles: &Needles) {
    let received = collector.requests();
    let is_refused = |span: &Span| attribute(span, "vestibule.code").is_some();
    let traces = received.iter().filter(|one| one.path == TRACES).find_map(|one| {
        let message = ExportTraceServiceRequest::decode(one.message.clone()).unwrap();
        let has_one = spans(&message).any(is_refused);
        has_one.then_some(message)
    });
    let traces = traces.expect("a span of a refused request");
    let metrics = received.iter().filter(|one| one.path == METRICS).find_map(|one| {
        let message = ExportMetricsServiceRequest::decode(one.message.clone()).unwrap();
        of_rejections(&mut message.clone()).is_some().then_some(message)
    });
    let metrics = metrics.expect("a count of refusals");
    let plants: &[fn(&mut Span)] = &[
        |span| span.attributes.push(text("url.query", &format!("t={MARK}-query"))),
        |span| span.attributes.push(text("vestibule.user", NUMBERS[0])),
        |span| {
            let value = AnyValue { value: Some(Value::BytesValue(MARK.into())) };
            span.attributes.push(KeyValue { value: Some(value), ..text("x", "") });
        },
        |span| span.name = format!("GET /?t={MARK}"),
        |span| span.trace_state = format!("a={MARK}"),
        |span| {
            let message = format!("no such user: {MARK}");
            span.status = Some(Status { message, ..Status::default() });
        },
        |span| {
            let attributes = vec![text("exception.message", &MARK.to_uppercase())];
            span.events.push(Event { attributes, ..Event::default() });
        },
    ];
    let counts: &[fn(&mut Metric)] = &[
        |metric| {
            let Some(Data::Sum(sum)) = &mut metric.data else { panic!("{metric:?}") };
            sum.data_points[0].attributes.push(text("query", &format!("t={MARK}-query")));
        },
        |metric| metric.description = MARK.into(),
    ];
    let again = Collector::start(Speaks::Http);
    send(&again, TRACES, &traces);
    send(&again, METRICS, &metrics);
    assert_eq!(leaks(&again, needles), [""; 0]);
    for plant in plants {
        let mut traces = traces.clone();
        let mut spans = traces.resource_spans.iter_mut().flat_map(|it| &mut it.scope_spans);
        let span = spans.find_map(|it| it.spans.iter_mut().find(|span| is_refused(span)));
        plant(span.unwrap());
        send(&again, TRACES, &traces);
    }
    for plant in counts {
        let mut metrics = metrics.clone();
        plant(of_rejections(&mut metrics).unwrap());
        send(&again, METRICS, &metrics);
    }
    let found = leaks(&again, needles);
    assert_eq!(found.len(), plants.len() + counts.len(), "{found:#?}");
}

fn spans(message: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    let scopes = message.resource_spans.iter().flat_map(|it| &it.scope_spans);
    scopes.flat_map(|it| &it.spans)
}

fn of_rejections(message: &mut ExportMetricsServiceRequest) -> Option<&mut Metric> {
    let scopes = message.resource_metrics.iter_mut().flat_map(|it| &mut it.scope_metrics);
    let mut metrics = scopes.flat_map(|it| &mut it.metrics);
    metrics.find(|metric| metric.name == "vestibule.rejections")
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn send(collector: &Collector, path: &str, message: &impl Message) {
    let body = message.encode_to_vec();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: collector.test\r\nContent-Type: application/x-protobuf\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let mut client = Client::plain(collector.address);
    assert_eq!(client.send([head.as_bytes(), &body].concat()).read_head().unwrap().status, 200);
}
