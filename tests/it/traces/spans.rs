//! What spans there are, what they say, and what the upstream is told.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::{app, configuration, get, started, traced, websocket};
use crate::harness::collector::{Collector, Speaks, attribute};
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:#?}"))
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32)
}

/// The `traceparent` of the last request that the upstream got.
fn traceparent(received: &str) -> Vec<String> {
    let line = received.lines().rev().find_map(|line| line.strip_prefix("traceparent: ")).unwrap();
    line.split('-').map(str::to_owned).collect()
}

#[test]
fn a_request_is_one_trace_from_a_strangers_span_to_the_upstreams() {
    let (upstream, collector) = (app(), Collector::start(Speaks::Http));
    let (proxy, _) = traced(&collector, Speaks::Http, &upstream);
    let request = get("chat.test", "/chat/ragtime/sales/lobby/hunter2", PARENT);
    let answer = proxy.client().send(request).read_response().unwrap();
    let spans = collector.wait_until(|spans| spans.iter().any(|span| span.name == "first_byte"));
    assert!(spans.iter().all(|span| hex(&span.trace_id) == ID), "{spans:#?}");

    let client = spans.iter().find(|span| span.kind == SpanKind::Client as i32);
    let client = client.unwrap_or_else(|| panic!("{answer:?} {spans:#?}"));
    let server = spans.iter().find(|span| span.span_id == client.parent_span_id).unwrap();
    assert_eq!(server.name, "GET /chat/ragtime/sales/lobby/*");
    assert_eq!(server.kind, SpanKind::Server as i32);
    assert_eq!(hex(&server.parent_span_id), "00f067aa0ba902b7");
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/chat/ragtime/sales/lobby/*"),
        ("http.response.status_code", "200"),
        ("url.scheme", "http"),
        ("network.protocol.version", "1.1"),
        ("vestibule.tenant", "ragtime"),
        ("vestibule.persona", "sales"),
        ("vestibule.device", "lobby"),
    ] {
        assert_eq!(attribute(server, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(client.name, "GET");
    assert_eq!(attribute(client, "vestibule.upstream").as_deref(), Some("app"));
    let port = upstream.address.port().to_string();
    assert_eq!(attribute(client, "server.port"), Some(port));

    for (name, parent) in [("connect", client), ("first_byte", client)] {
        let child = named(&spans, name);
        assert_eq!(child.parent_span_id, parent.span_id, "{name}");
        assert!(child.start_time_unix_nano >= parent.start_time_unix_nano, "{name}");
        assert!(child.end_time_unix_nano <= parent.end_time_unix_nano, "{name}");
    }
    let admissions: Vec<_> = spans.iter().filter(|span| span.name == "admission").collect();
    assert!(admissions.iter().any(|span| span.parent_span_id == server.span_id));

    let told = traceparent(&upstream.received());
    assert_eq!((&*told[1], &*told[2], &*told[3]), (ID, &*hex(&client.span_id), "01"));
    assert!(proxy.log(1).iter().all(|line| line["trace_id"] == ID));
}

#[test]
fn a_tracestate_is_passed_on_without_a_strangers_decision() {
    let (upstream, collector) = (app(), Collector::start(Speaks::Http));
    let (proxy, _) = traced(&collector, Speaks::Http, &upstream);
    let fields = format!("{PARENT}tracestate: ot=th:0,a=1\r\nTraceState: b=2\r\n");
    assert_eq!(
        proxy.client().send(get("root.test", "/", &fields)).read_response().unwrap().status,
        200
    );
    assert!(upstream.received().contains("tracestate: a=1,b=2\r\n"), "{}", upstream.received());
    let spans = collector.wait(4);
    assert!(spans.iter().all(|span| span.trace_state == "a=1,b=2"));
}

#[test]
fn an_unsampled_request_is_no_span_and_its_upstream_knows_the_trace() {
    let (upstream, collector) = (app(), Collector::start(Speaks::Http));
    let (proxy, _) = started(&configuration(&collector, "0"), Speaks::Http, &upstream, &[]);
    let sampled = PARENT.replace("-00\r", "-01\r");
    assert_eq!(
        proxy.client().send(get("root.test", "/", &sampled)).read_response().unwrap().status,
        200
    );
    let told = traceparent(&upstream.received());
    assert_eq!((&*told[1], &*told[3]), (ID, "00"));
    assert_ne!(told[2], "00f067aa0ba902b7");
    assert_eq!(proxy.log(1)[0]["trace_id"], ID);
    drop(proxy);
    assert!(collector.resources().is_empty());
}

#[test]
fn a_proxy_that_is_trusted_decides() {
    let (upstream, collector) = (app(), Collector::start(Speaks::Http));
    let text = configuration(&collector, "0")
        .replace("trusted_proxies = []", "trusted_proxies = [\"127.0.0.1\"]");
    let (proxy, _) = started(&text, Speaks::Http, &upstream, &[]);
    let sampled = PARENT.replace("-00\r", "-01\r");
    assert_eq!(
        proxy.client().send(get("root.test", "/", &sampled)).read_response().unwrap().status,
        200
    );
    assert_eq!(traceparent(&upstream.received())[3], "01");
    assert_eq!(hex(&collector.wait(4)[0].trace_id), ID);
}

#[test]
fn a_refusal_carries_its_code() {
    let (upstream, collector) = (app(), Collector::start(Speaks::Http));
    let (proxy, _) = traced(&collector, Speaks::Http, &upstream);
    let refused = [
        (get("nobody.test", "/hunter2", ""), 404, "not_found", "GET"),
        (get("away.test", "/hunter2", ""), 502, "upstream_unreachable", "GET /*"),
        (get("root.test", "/nonsense", ""), 502, "upstream_invalid", "GET /*"),
        (get("root.test", "/.v/hunter2/", ""), 404, "not_found", "GET /*"),
    ];
    for (request, status, code, name) in refused {
        assert_eq!(proxy.client().send(request).read_response().unwrap().status, status);
        let find = |span: &Span| {
            span.kind == SpanKind::Server as i32
                && attribute(span, "vestibule.code").as_deref() == Some(code)
                && span.name == name
        };
        let spans = collector.wait_until(|spans| spans.iter().any(find));
        let span = spans.iter().find(|span| find(span)).unwrap();
        assert_eq!(attribute(span, "error.type").as_deref(), Some(code));
        assert_eq!(is_error(span), status >= 500, "{span:#?}");
    }
    let spans = collector.spans();
    let failed = spans.iter().find(|span| span.name == "connect" && is_error(span)).unwrap();
    assert_eq!(attribute(failed, "error.type").as_deref(), Some("upstream_unreachable"));
}

#[test]
fn what_the_app_answers_badly_is_the_clients_error_and_not_ours() {
    let (upstream, collector) = (app(), Collector::start(Speaks::Http));
    let (proxy, _) = traced(&collector, Speaks::Http, &upstream);
    assert_eq!(
        proxy.client().send(get("root.test", "/teapot", "")).read_response().unwrap().status,
        418
    );
    let spans = collector.wait(5);
    assert!(!is_error(named(&spans, "GET /*")) && is_error(named(&spans, "GET")));
    assert_eq!(attribute(named(&spans, "GET"), "error.type").as_deref(), Some("418"));
}

#[test]
fn an_answer_that_breaks_off_says_so() {
    let (upstream, collector) = (app(), Collector::start(Speaks::Http));
    let (proxy, _) = traced(&collector, Speaks::Http, &upstream);
    proxy.client().send(get("root.test", "/cut", "")).read_to_end();
    let spans = collector.wait(5);
    let span = named(&spans, "GET /*");
    assert!(is_error(span));
    assert_eq!(attribute(span, "error.type").as_deref(), Some("cut"));
    assert!(attribute(span, "vestibule.reason").unwrap().contains("broke off"));
}

#[test]
fn a_websocket_is_told_of_when_it_begins_and_when_it_ends() {
    let (upstream, collector) = (app(), Collector::start(Speaks::Grpc));
    let (proxy, _) = traced(&collector, Speaks::Grpc, &upstream);
    let mut client = proxy.client();
    assert_eq!(client.send(websocket("root.test", "/ws", PARENT)).read_head().unwrap().status, 101);
    let spans = collector.wait(4);
    let server = named(&spans, "GET /*").clone();
    assert_eq!(attribute(&server, "http.response.status_code").as_deref(), Some("101"));
    assert_eq!(traceparent(&upstream.received())[1], ID);
    assert!(spans.iter().all(|span| span.name != "stream"));
    client.send("hello").read_exactly(5);
    drop(client);
    let spans = collector.wait_until(|spans| spans.iter().any(|span| span.name == "stream"));
    let stream = named(&spans, "stream");
    assert_eq!(stream.parent_span_id, server.span_id);
    assert_eq!(hex(&stream.trace_id), ID);
    assert_eq!(attribute(stream, "vestibule.stream").as_deref(), Some("websocket"));
    assert_eq!(attribute(stream, "vestibule.request_bytes").as_deref(), Some("5"));
    assert!(stream.start_time_unix_nano >= server.end_time_unix_nano);
}

#[test]
fn an_event_stream_is_told_of_when_it_begins_and_when_it_ends() {
    let (upstream, collector) = (app(), Collector::start(Speaks::Http));
    let (proxy, _) = traced(&collector, Speaks::Http, &upstream);
    let mut client = proxy.client();
    assert_eq!(client.send(get("root.test", "/events", "")).read_head().unwrap().status, 200);
    let spans = collector.wait(5);
    let server = named(&spans, "GET /*").span_id.clone();
    drop(client);
    let spans = collector.wait_until(|spans| spans.iter().any(|span| span.name == "stream"));
    let stream = named(&spans, "stream");
    assert_eq!(stream.parent_span_id, server);
    assert_eq!(attribute(stream, "vestibule.stream").as_deref(), Some("event_stream"));
    let servers = spans.iter().filter(|span| span.kind == SpanKind::Server as i32);
    assert_eq!(servers.count(), 1, "told once");
}

const TOLD: &str = r#""shown":5,"ready":417,"config":420,"ended":608"#;

/// A page that has the root's chat in a frame tells of it.
fn beacon(launch: &str, outcome: &str) -> String {
    let body = format!(r#"{{"v":1,"launch":"{launch}",{TOLD},{outcome}}}"#);
    format!(
        "POST /.vestibule/beacon HTTP/1.1\r\nHost: bridged.test\r\nContent-Type: text/plain\r\n\
         Origin: https://www.ragtime.test\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Opens the chat, and finds what its bridge says of the launch.
fn opened(proxy: &Proxy) -> String {
    let page = proxy.client().send(get("bridged.test", "/", PARENT)).read_response().unwrap();
    let text = page.text();
    let (_, rest) = text.split_once("data-launch=\"").unwrap_or_else(|| panic!("{text}"));
    rest.split('"').next().unwrap().to_owned()
}

fn bridged(collector: &Collector, ratio: &str) -> String {
    configuration(collector, ratio)
        + "[tenants.ragtime]\nembed_origins = [\"https://www.ragtime.test\"]\n\
           [tenants.ragtime.personas.bridged]\nhosts = [\"bridged.test\"]\nupstream = \"app\"\n\
           user_id = \"optional\"\ntrust_asserted = true\nbridge = true\n"
}

fn documents() -> Upstream {
    Upstream::answering(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<!doctype html>",
    )
}

#[test]
fn a_handshake_that_a_page_tells_of_is_a_span_of_its_launch() {
    let (upstream, collector) = (documents(), Collector::start(Speaks::Http));
    let (proxy, _) = started(&bridged(&collector, "1"), Speaks::Http, &upstream, &[]);
    let launch = opened(&proxy);
    let document = collector.wait_until(|spans| spans.iter().any(|span| span.name == "GET /*"));
    let document = named(&document, "GET /*").clone();
    let told = [
        ("\"outcome\":\"ack\"", "ack", None),
        ("\"outcome\":\"timeout\"", "timeout", Some("timeout")),
        ("\"outcome\":\"error\",\"error\":\"mode_mismatch\"", "error", Some("mode_mismatch")),
        ("\"outcome\":\"error\",\"error\":\"hunter2\"", "error", Some("other")),
    ];
    for (count, (outcome, name, error)) in told.into_iter().enumerate() {
        let told = proxy.client().send(beacon(&launch, outcome)).read_response().unwrap();
        assert_eq!(told.status, 204, "{}", told.text());
        let is_one = |span: &&Span| span.name == "handshake";
        let spans = collector.wait_until(|spans| spans.iter().filter(is_one).count() > count);
        let span = spans.iter().filter(is_one).nth(count).unwrap();
        assert_eq!(hex(&span.trace_id), ID);
        assert_eq!(span.parent_span_id, document.span_id);
        assert_eq!(span.kind, SpanKind::Internal as i32);
        let since = |at: u64| (at - span.start_time_unix_nano) / 1_000_000;
        let events: Vec<_> =
            span.events.iter().map(|event| (&*event.name, since(event.time_unix_nano))).collect();
        assert_eq!(events, [("shown", 0), ("ready", 412), ("config", 415), (name, 603)]);
        assert_eq!(since(span.end_time_unix_nano), 603);
        for (key, value) in [
            ("vestibule.outcome", Some(name)),
            ("error.type", error),
            ("vestibule.tenant", Some("ragtime")),
            ("vestibule.persona", Some("bridged")),
            ("http.route", Some("/*")),
        ] {
            assert_eq!(attribute(span, key).as_deref(), value, "{key} of {outcome}");
        }
    }
    let bytes = collector.bytes();
    assert!(!bytes.windows(7).any(|bytes| bytes == b"hunter2"), "what a page says is not kept");
}

#[test]
fn a_launch_that_is_not_recorded_has_no_span_of_its_handshake() {
    let (upstream, collector) = (documents(), Collector::start(Speaks::Http));
    let (proxy, _) = started(&bridged(&collector, "0"), Speaks::Http, &upstream, &[]);
    let told = beacon(&opened(&proxy), "\"outcome\":\"ack\"");
    assert_eq!(proxy.client().send(told).read_response().unwrap().status, 204);
    assert_eq!(proxy.log(2)[1]["trace_id"], ID);
    drop(proxy);
    assert!(collector.resources().is_empty());
}
