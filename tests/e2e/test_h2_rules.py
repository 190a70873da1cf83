"""What Vestibule itself promises on HTTP/2: one host, joined cookies, WebSockets (RFC 8441)."""

from __future__ import annotations

import hashlib
import json
import os

import hyperframe.frame as hf

import h2wire as h2
from h2wire import Wire, block, headers, pseudo


def ask(wire: Wire, *extra: tuple[str, str], **changes: str | None) -> h2.Seen:
    wire.send(headers(1, block(*pseudo(**changes), *extra)))
    return wire.respond(1)


def problem(seen: h2.Seen, stream: int = 1) -> dict:
    assert seen.fields(stream)["content-type"] == "application/problem+json"
    return json.loads(seen.body(stream))


def test_a_host_that_differs_from_authority_is_refused(connect, upstream) -> None:
    before = len(upstream.requests)
    seen = ask(connect().start(), ("host", "chat-public.localhost"))
    assert seen.status(1) == 400, seen
    assert problem(seen)["code"]
    assert len(upstream.requests) == before


def test_two_equal_hosts_are_refused(connect, upstream) -> None:
    before = len(upstream.requests)
    seen = ask(connect().start(), ("host", h2.AUTHORITY), ("host", h2.AUTHORITY))
    assert seen.status(1) == 400, seen
    assert len(upstream.requests) == before


def test_a_host_that_equals_authority_goes_up_once(connect, upstream) -> None:
    wire = connect().start()
    seen = ask(wire, ("host", wire.authority), path="/equal-host", authority=wire.authority)
    assert seen.status(1) == 200, seen
    (request,) = upstream.to("/equal-host")
    assert request.values("host") == [wire.authority]


def test_the_host_is_made_from_authority_with_its_port(connect, upstream) -> None:
    wire = connect().start()
    assert ask(wire, path="/host-made", authority=wire.authority).status(1) == 200
    (request,) = upstream.to("/host-made")
    assert request.head.startswith(b"GET /host-made HTTP/1.1\r\n")
    assert request.values("host") == [wire.authority]
    assert request.values("x-forwarded-proto") == ["https"]


def test_an_unknown_host_of_no_certificate_is_misdirected(connect, upstream) -> None:
    before = len(upstream.requests)
    seen = ask(connect().start(), authority="chat-other.localhost")
    assert seen.status(1) in (404, 421), seen
    assert len(upstream.requests) == before


def test_cookie_crumbs_are_joined(connect, upstream) -> None:
    crumbs = [("cookie", "a=1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")]
    assert ask(connect().start(), *crumbs, path="/crumbs").status(1) == 200
    (request,) = upstream.to("/crumbs")
    assert request.values("cookie") == ["a=1; b=2; c=3; d=4"]


def test_an_upload_without_a_length_arrives_whole(connect) -> None:
    wire, body = connect().start(), os.urandom(60_000)
    wire.send(h2.post(1, "/upload"))
    wire.send(*[h2.data(1, body[at : at + 9973]) for at in range(0, len(body), 9973)])
    wire.send(h2.data(1, b"", h2.END_STREAM))
    report = json.loads(wire.respond(1).body(1))
    assert report["sha256"] == hashlib.sha256(body).hexdigest()
    assert "transfer-encoding: chunked" in report["head"].lower()


def test_an_upload_larger_than_the_windows_is_granted_more(connect) -> None:
    wire, size = connect().start(), 3 << 20
    body = os.urandom(size)
    wire.send(h2.post(1, "/upload", ("content-length", str(size))))
    send_within_windows(wire, 1, body)
    report = json.loads(wire.respond(1).body(1))
    assert report["sha256"] == hashlib.sha256(body).hexdigest()


def send_within_windows(wire: Wire, stream: int, body: bytes) -> None:
    at = 0

    def granted(on: int, initial: int) -> int:
        return initial + sum(f.window_increment for f in wire.seen.of(hf.WindowUpdateFrame, on))

    def room() -> int:
        initial = wire.seen.server_settings().get(h2.INITIAL_WINDOW_SIZE, 65535)
        return min(granted(stream, initial), granted(0, 65535)) - at

    while at < len(body):
        wire.wait(lambda _seen: room() > 0, f"window for byte {at}")
        piece = body[at : at + min(room(), 16384)]
        at += len(piece)
        wire.send(h2.data(stream, piece, h2.END_STREAM if at == len(body) else 0))


def test_head_has_no_body(connect) -> None:
    seen = ask(connect().start(), method="HEAD")
    assert seen.status(1) == 200 and seen.body(1) == b""
    assert int(seen.fields(1)["content-length"]) > 0


def test_answers_carry_no_hop_by_hop_fields(connect) -> None:
    seen = ask(connect().start())
    assert not {"connection", "keep-alive", "transfer-encoding", "upgrade"} & seen.fields(1).keys()


def open_websocket(wire: Wire, *extra: tuple[str, str], path: str = "/socket") -> h2.Seen:
    fields = pseudo(method="CONNECT", path=path, protocol="websocket", authority=wire.authority)
    origin = ("origin", f"https://{wire.authority}")
    wire.send(headers(1, block(*fields, ("sec-websocket-version", "13"), origin, *extra), h2.END_HEADERS))
    return wire.wait(lambda seen: seen.status(1), "the answer to CONNECT")


def client_frame(opcode: int, payload: bytes, mask: bytes = b"\x11\x22\x33\x44") -> bytes:
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + mask + masked


def test_extended_connect_is_announced(connect) -> None:
    assert connect().start().seen.server_settings()[h2.ENABLE_CONNECT_PROTOCOL] == 1


def test_a_websocket_over_http2_echoes_every_byte(connect, upstream) -> None:
    wire = connect().start()
    seen = open_websocket(wire, ("sec-websocket-protocol", "streamlit, placeholder"), path="/socket-echo")
    assert seen.status(1) == 200, seen
    assert seen.fields(1)["sec-websocket-protocol"] == "streamlit"
    assert "sec-websocket-accept" not in seen.fields(1)
    assert seen.fields(1).keys().isdisjoint({"upgrade", "connection"})
    payload = os.urandom(5000)
    message = client_frame(2, payload)
    wire.send(h2.data(1, message[:1]), h2.data(1, message[1:7]), h2.data(1, message[7:]))
    expected = b"\x82\x7e" + len(payload).to_bytes(2, "big") + payload
    wire.wait(lambda seen: len(seen.body(1)) >= len(expected), "the echo")
    assert wire.seen.body(1) == expected
    (request,) = upstream.to("/socket-echo")
    assert request.head.startswith(b"GET /socket-echo HTTP/1.1\r\n")
    assert request.values("upgrade") == ["websocket"]
    assert request.values("connection")[0].lower() == "upgrade"
    assert request.values("sec-websocket-version") == ["13"]
    assert request.values("sec-websocket-protocol") == ["streamlit, placeholder"]
    assert len(request.values("sec-websocket-key")) == 1


def test_a_closed_websocket_ends_its_stream_and_nothing_else(connect) -> None:
    wire = connect().start()
    open_websocket(wire)
    wire.send(h2.data(1, client_frame(8, b"\x03\xe8"), h2.END_STREAM))
    seen = wire.wait(lambda seen: seen.ended(1) or seen.reset_code(1) is not None, "the end of the stream")
    assert seen.body(1) == b"\x88\x02\x03\xe8"
    wire.send(h2.get(3))
    assert wire.respond(3).status(3) == 200


def test_a_reset_websocket_ends_at_the_upstream(connect, upstream) -> None:
    wire = connect().start()
    open_websocket(wire, path="/socket-reset")
    wire.send(h2.reset(1), h2.get(3))
    assert wire.respond(3).status(3) == 200


def test_an_unknown_protocol_is_refused(connect, upstream) -> None:
    before = len(upstream.requests)
    wire = connect().start()
    fields = pseudo(method="CONNECT", protocol="connect-udp", authority=wire.authority)
    wire.send(headers(1, block(*fields), h2.END_HEADERS))
    seen = wire.wait(lambda seen: seen.status(1) or seen.reset_code(1) is not None, "a refusal")
    assert seen.status(1) in (400, 405, 501), seen
    assert len(upstream.requests) == before


def test_a_plain_connect_is_refused(connect, upstream) -> None:
    before = len(upstream.requests)
    wire = connect().start()
    wire.send(headers(1, block((":method", "CONNECT"), (":authority", wire.authority)), h2.END_HEADERS))
    seen = wire.wait(lambda seen: seen.status(1) or seen.reset_code(1) is not None, "a refusal")
    assert seen.status(1) in (400, 405, 501), seen
    assert len(upstream.requests) == before
