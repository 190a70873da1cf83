"""Cases of RFC 9113, section 8, and RFC 8441: fields, pseudo-headers, bodies. The words are in h2_case.py."""

from __future__ import annotations

from h2_case import Case, Incomplete, Malformed, Stream, Works, case
from h2wire import (
    END_HEADERS,
    END_STREAM,
    PROTOCOL_ERROR,
    block,
    data,
    headers,
    post,
    pseudo,
)


def request(**changes: str | None) -> list[tuple[str, str]]:
    """The pseudo-headers of a request that must not reach the upstream."""
    return pseudo(**{"path": "/malformed"} | changes)


def malformed(section: str, name: str, *pairs: tuple[str | bytes, str | bytes]) -> Case:
    return case(section, name, headers(1, block(*pairs)), expect=Malformed())


def with_field(section: str, name: str, field: str | bytes, value: str | bytes = "x") -> Case:
    return malformed(section, name, *request(), (field, value))


FIELDS = [
    with_field("8.2", "a field name in upper case", "X-Test"),
    with_field("8.2.1", "an empty field name", ""),
    *[
        with_field("8.2.1", f"a field name with byte 0x{byte:02x}", b"x" + bytes([byte]) + b"y")
        for byte in [0x00, 0x09, 0x0A, 0x0D, 0x20, 0x3A, 0x41, 0x5A, 0x7F, 0x80, 0xFF]
    ],
    *[
        with_field("8.2.1", f"a field value with byte 0x{byte:02x}", "x-test", b"a" + bytes([byte]) + b"b")
        for byte in [0x00, 0x0A, 0x0D]
    ],
    with_field("8.2.1", "a field value with CR LF and a field", "x-test", b"a\r\nx-injected: b"),
    with_field("8.2.1", "a field value that starts with a space", "x-test", " a"),
    with_field("8.2.1", "a field value that ends with a space", "x-test", "a "),
    with_field("8.2.1", "a field value that starts with a tab", "x-test", "\ta"),
    with_field("8.2.1", "a field value that ends with a tab", "x-test", "a\t"),
    *[
        with_field("8.2.2", f"the connection-specific field {field}", field, value)
        for field, value in [
            ("connection", "close"),
            ("proxy-connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
        ]
    ],
    with_field("8.2.2", "TE other than trailers", "te", "gzip"),
    with_field("8.2.2", "TE of trailers and another", "te", "trailers, gzip"),
    case("8.2.2", "TE of trailers", headers(1, block(*pseudo(), ("te", "trailers"))), expect=Works(1)),
]

PSEUDO_HEADERS = [
    malformed("8.3", "an unknown pseudo-header", *request(), (":test", "x")),
    malformed("8.3", "a response's pseudo-header", *request(), (":status", "200")),
    malformed("8.3", "a pseudo-header after a field", *request(path=None), ("x-test", "x"), (":path", "/")),
    malformed("8.3", "a pseudo-header in upper case", *request(path=None), (":Path", "/")),
    *[malformed("8.3", f"{name} twice", *request(), (name, value)) for name, value in request()],
    *[malformed("8.3.1", f"no :{name}", *request(**{name: None})) for name in ["method", "scheme", "path"]],
    *[malformed("8.3.1", f"an empty :{name}", *request(**{name: ""})) for name in ["method", "scheme", "path"]],
    malformed("8.3.1", "no :authority and no Host", *request(authority=None)),
    malformed("8.3.1", "a user in :authority", *request(authority="someone@chat-test.localhost")),
    malformed("8.3.1", "a :path without its slash", *request(path="relative")),
    malformed("8.3.1", "a :path of * for GET", *request(path="*")),
    malformed("8.3.1", "a :path with a space", *request(path="/a b")),
    malformed("8.3.1", "a :path with a fragment", *request(path="/a#b")),
    malformed("8.3.1", "a :path with a line break", *request(path="/ HTTP/1.1\r\nx-injected: y")),
    malformed("8.3.1", "a :method with a space", *request(method="GET /")),
    malformed("8.3.1", "an :authority with a path", *request(authority="chat-test.localhost/x")),
    malformed("8.5", "CONNECT with :path and no :protocol", *request(method="CONNECT")),
    malformed("8441 4", ":protocol without CONNECT", *request(protocol="websocket")),
    malformed("8441 4", "extended CONNECT without :path", *request(method="CONNECT", path=None, protocol="websocket")),
    malformed(
        "8441 4", "extended CONNECT without :scheme", *request(method="CONNECT", scheme=None, protocol="websocket")
    ),
]


def with_length(name: str, length: str, *parts: bytes) -> Case:
    """A POST whose Content-Length contradicts the DATA frames that follow."""
    return case("8.1.1", name, post(1, "/wrong-length", ("content-length", length)), *parts, expect=Incomplete())


BODIES = [
    with_length("less DATA than Content-Length", "4", data(1, b"abc", END_STREAM)),
    with_length("more DATA than Content-Length", "1", data(1, b"abc", END_STREAM)),
    with_length("less DATA in several frames", "9", data(1, b"abc"), data(1, b"abc", END_STREAM)),
    with_length("more DATA in several frames", "4", data(1, b"abc"), data(1, b"abc", END_STREAM)),
    # The upstream has a whole request as soon as the head is here; what follows is still an error.
    case(
        "8.1.1",
        "DATA where Content-Length is zero",
        post(1, "/wait", ("content-length", "0")),
        data(1, b"abc", END_STREAM),
        expect=Stream(1, PROTOCOL_ERROR),
    ),
    with_length("a Content-Length that ends in an empty frame", "4", data(1, b"", END_STREAM)),
    case(
        "8.1.1",
        "Content-Length without a body",
        headers(1, block(*request(method="POST"), ("content-length", "4"))),
        expect=Malformed(),
    ),
    *[
        case(
            "8.1.1",
            f"a Content-Length of {length!r}",
            post(1, "/malformed", ("content-length", length)),
            data(1, b"abc", END_STREAM),
            expect=Malformed(),
        )
        for length in ["+3", "-3", "3, 3", "0x3", "3 ", "", "99999999999999999999"]
    ],
    case(
        "8.1.1",
        "two different Content-Lengths",
        post(1, "/malformed", ("content-length", "3"), ("content-length", "4")),
        data(1, b"abc", END_STREAM),
        expect=Malformed(),
    ),
    case(
        "8.1",
        "a second HEADERS without END_STREAM",
        post(1, "/trailers"),
        headers(1, block(("x-a", "b")), END_HEADERS),
        expect=Incomplete(),
    ),
    case(
        "8.1", "trailers", post(1, "/trailers"), data(1, b"x"), headers(1, block(("x-trailer", "y"))), expect=Works(1)
    ),
    case(
        "8.3",
        "a pseudo-header in trailers",
        post(1, "/trailers"),
        data(1, b"x"),
        headers(1, block((":path", "/"))),
        expect=Incomplete(),
    ),
    case(
        "8.2",
        "a trailer in upper case",
        post(1, "/trailers"),
        data(1, b"x"),
        headers(1, block(("X-Trailer", "y"))),
        expect=Incomplete(),
    ),
    case(
        "8.2.2",
        "a connection-specific trailer",
        post(1, "/trailers"),
        data(1, b"x"),
        headers(1, block(("transfer-encoding", "chunked"))),
        expect=Incomplete(),
    ),
]

CASES = [*FIELDS, *PSEUDO_HEADERS, *BODIES]
