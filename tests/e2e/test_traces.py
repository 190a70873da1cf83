"""One trace from a browser through Vestibule to an app, read with OpenTelemetry's own protobufs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from playwright.sync_api import Page

from certs import Certificates
from vestibule import Server, free_port, wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
CANARY = "canary7Zx"


@dataclass
class Received:
    """What a collector was sent."""

    requests: list[trace_service_pb2.ExportTraceServiceRequest] = field(default_factory=list)

    def spans(self) -> list[Span]:
        resources = [resource for request in self.requests for resource in request.resource_spans]
        return [span for resource in resources for scope in resource.scope_spans for span in scope.spans]

    def named(self, name: str) -> Span:
        found = lambda: [span for span in self.spans() if span.name == name]  # noqa: E731
        return wait_until(found, f"a span {name}", 20)[0]


def attributes(span: Span) -> dict[str, str | int]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


class Grpc(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, received: Received):
        self.received = received

    def Export(self, request, context):
        self.received.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture(params=["grpc", "http/protobuf"])
def collector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Received]]:
    received = Received()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", request.param)
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    if request.param == "grpc":
        server = grpc.server(futures.ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Grpc(received), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield port, received
        server.stop(0)
        return

    class Http(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
            body = self.rfile.read(int(self.headers["content-length"]))
            received.requests.append(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
            answer = trace_service_pb2.ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args: object) -> None:
            pass

    with served(Http) as port:
        yield port, received


class served:
    """`with served(Handler) as port`."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self) -> int:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.server.server_address[1]

    def __exit__(self, *_exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Traced(Server):
    upstream: int
    collector: int

    def url(self, path: str = "/") -> str:
        return f"https://chat-public.localhost:{self.port}{path}"

    def configuration(self) -> str:
        return f"""
[server]
https = ["127.0.0.1:{self.port}"]
workers = 2
drain_timeout = "2s"
[tls]
certificates = [{{ cert = "{self.certificates.cert}", key = "{self.certificates.key}" }}]
[telemetry]
otlp_endpoint = "http://127.0.0.1:{self.collector}"
sample_ratio = 1.0
access_log = "{self.access}"
[upstreams.app]
servers = ["http://127.0.0.1:{self.upstream}"]
[upstreams.away]
servers = ["http://127.0.0.1:{free_port()}"]
[tenants.acme.personas.public]
hosts = ["chat-public.localhost"]
upstream = "app"
[tenants.acme.personas.away]
hosts = ["chat-test.localhost"]
upstream = "away"
"""


@pytest.fixture
def app() -> Iterator[tuple[int, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []

    class App(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
            body = b"<!doctype html><title>app</title>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    with served(App) as port:
        yield port, seen


@pytest.fixture
def server(
    tmp_path: Path, certificates: Certificates, app: tuple[int, list], collector: tuple[int, Received]
) -> Iterator[Traced]:
    with Traced(tmp_path, certificates, app[0], collector[0]) as running:
        yield running


def test_a_browser_vestibule_and_an_app_are_one_trace(
    server: Traced, app: tuple[int, list], collector: tuple[int, Received], page: Page
):
    page.goto(server.url())
    fetch = "parent => fetch('/asked', {headers: {traceparent: parent}}).then(answer => answer.status)"
    assert page.evaluate(fetch, PARENT) == 200

    received = collector[1]
    of_trace = lambda: [span for span in received.spans() if span.trace_id.hex() == TRACE]  # noqa: E731
    spans = wait_until(lambda: len(of_trace()) >= 4 and of_trace(), "the trace", 20)
    (inside,) = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    (out,) = [span for span in spans if span.kind == Span.SPAN_KIND_CLIENT]
    assert inside.name == "GET /*" and inside.parent_span_id.hex() == "00f067aa0ba902b7"
    assert out.parent_span_id == inside.span_id
    assert attributes(inside)["vestibule.tenant"] == "acme"
    assert attributes(inside)["http.response.status_code"] == 200

    (asked,) = [request for request in app[1] if request["path"] == "/asked"]
    assert asked["traceparent"] == f"00-{TRACE}-{out.span_id.hex()}-01"
    logged = lambda: [line["trace_id"] for line in server.lines() if line["path"] == "/asked"]  # noqa: E731
    assert wait_until(logged, "a log line") == [TRACE]


def test_a_refusal_is_an_error_with_a_code_and_nothing_secret_gets_out(
    server: Traced, collector: tuple[int, Received], page: Page
):
    page.set_extra_http_headers({"authorization": f"Bearer {CANARY}"})
    away = server.url(f"/.v/{CANARY}/?token={CANARY}").replace("chat-public", "chat-test")
    page.goto(away)
    page.goto(away.replace(f"/.v/{CANARY}", ""))
    received = collector[1]
    failed = lambda: [  # noqa: E731
        span for span in received.spans() if attributes(span).get("error.type") == "upstream_unreachable"
    ]
    spans = wait_until(failed, "an error", 20)
    assert any(span.kind == Span.SPAN_KIND_SERVER and span.status.code == Status.STATUS_CODE_ERROR for span in spans)
    server.stop()
    assert not any(CANARY in str(request) for request in received.requests)
    assert CANARY not in server.access.read_text() and CANARY not in server.tail()


def test_what_is_left_is_sent_when_the_server_stops(
    tmp_path: Path,
    certificates: Certificates,
    app: tuple[int, list],
    collector: tuple[int, Received],
    page: Page,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "front")
    with Traced(tmp_path, certificates, app[0], collector[0]) as server:
        page.goto(server.url())
        assert not collector[1].requests
    assert collector[1].named("GET /*")
    (resource,) = [one.resource for one in collector[1].requests[0].resource_spans]
    assert {one.key: one.value.string_value for one in resource.attributes}["service.name"] == "front"
