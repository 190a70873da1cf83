"""The table of RFC 9113 cases: what is sent after the connection is set up, and what may answer.

Sections are those of RFC 9113. `expect` is one of

- `Connection(codes)`: GOAWAY with one of the codes or an unspecific PROTOCOL_ERROR, or the
  connection closed;
- `Stream(id, codes)`: RST_STREAM with one of the codes, or the same as a connection error (5.4: an
  endpoint may treat a stream error as a connection error);
- `Malformed(id)`: what 8.1.1 allows for a malformed request, which is a stream error of
  PROTOCOL_ERROR or a 4xx answer; nothing may have reached the upstream;
- `Incomplete(id)`: the same for a body that contradicts its head: the upstream may have seen the
  head, never the end of the body;
- `Ignorable(id, codes)`: the same errors, or the frame is discarded: 5.1 lets an endpoint process
  frames on closed streams minimally; the upstream sees nothing of it either way;
- `Works()`: the connection goes on: a request sent afterwards is answered with 200.

`/wait` never answers, so that its stream stays half-closed (remote). Requests to the paths in LATE
may reach the upstream, perhaps after their case is over; every other path must be answered or must
not arrive.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from h2wire import (
    ACK, COMPRESSION_ERROR, CONTINUATION, DATA, ENABLE_PUSH, END_HEADERS, END_STREAM,
    FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE,
    PADDED, PRIORITISED, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, RST_STREAM,
    SETTINGS, STREAM_CLOSED, WINDOW_UPDATE,
    block, data, frame, get, goaway, headers, literal, ping, post, priority, pseudo, reset, settings,
    window_update,
)


@dataclass(frozen=True)
class Connection:
    codes: tuple[int, ...]

    def __init__(self, *codes: int) -> None:
        object.__setattr__(self, "codes", codes)


@dataclass(frozen=True)
class Stream:
    stream: int
    codes: tuple[int, ...]

    def __init__(self, stream: int, *codes: int) -> None:
        object.__setattr__(self, "stream", stream)
        object.__setattr__(self, "codes", codes)


@dataclass(frozen=True)
class Ignorable(Stream):
    def __init__(self, stream: int, *codes: int) -> None:
        super().__init__(stream, *codes)


@dataclass(frozen=True)
class Malformed:
    stream: int = 1


@dataclass(frozen=True)
class Incomplete:
    stream: int = 1


@dataclass(frozen=True)
class Works:
    stream: int = 101


LATE = ("/wait", "/wrong-length", "/trailers")

# What the h2 crate (0.4.20) lets through without a trace, so that nothing above it can refuse it. Each
# is harmless here, and each is expected to fail: an h2 that learns it makes the test run say so.
H2_CRATE = {
    "8.3.1 a :path with a fragment": "the fragment is cut off while :path is parsed: what is matched is what is forwarded",
    "8.3 a pseudo-header in trailers": "pseudo-headers in trailers are dropped, the fields are kept",
    "no SETTINGS first": "the preface is checked, the kind of the first frame is not",
    "a request first": "the preface is checked, the kind of the first frame is not",
}

Expectation = Connection | Stream | Malformed | Incomplete | Works


@dataclass(frozen=True)
class Case:
    section: str
    name: str
    frames: tuple[bytes, ...]
    expect: Expectation
    # Wait for the whole answer on this stream before the last frame is sent.
    after_answer: int | None = None

    @property
    def id(self) -> str:
        return f"{self.section} {self.name}"


def case(section: str, name: str, *frames: bytes, expect: Expectation, after_answer: int | None = None) -> Case:
    return Case(section, name, frames, expect, after_answer)


GET_BLOCK = block(*pseudo())
OPEN = headers(1, GET_BLOCK, END_STREAM)  # a field block that goes on
HALF_CLOSED = get(1, "/wait")
CLOSED = (STREAM_CLOSED, PROTOCOL_ERROR)
TOO_LONG = b"x" * 16385


def continuation(stream: int, payload: bytes = b"", flags: int = END_HEADERS) -> bytes:
    return frame(CONTINUATION, flags, stream, payload)


def setting(key: int, value: int) -> bytes:
    return settings((key, value))


FRAMES = [
    case("4.1", "a frame of unknown type is ignored", frame(0xBE, 0xFF, 0, b"abc"), expect=Works()),
    case("4.1", "a frame of unknown type on an idle stream is ignored", frame(0xBE, 0, 5, b"abc"), expect=Works()),
    case("4.1", "undefined flags are ignored", ping(flags=0xFE), expect=Works()),
    case("4.1", "the reserved bit is ignored", ping(stream=0x80000000), expect=Works()),
    case("4.2", "DATA over SETTINGS_MAX_FRAME_SIZE", post(1, "/wait"), data(1, TOO_LONG),
         expect=Stream(1, FRAME_SIZE_ERROR)),
    case("4.2", "HEADERS over SETTINGS_MAX_FRAME_SIZE", headers(1, GET_BLOCK + literal("x", b"y" * 16385)),
         expect=Connection(FRAME_SIZE_ERROR)),
    case("4.2", "SETTINGS over SETTINGS_MAX_FRAME_SIZE", settings(*[(0x77, 0)] * 2731),
         expect=Connection(FRAME_SIZE_ERROR)),
    case("4.2", "an unknown frame over SETTINGS_MAX_FRAME_SIZE", frame(0xBE, 0, 0, TOO_LONG),
         expect=Connection(FRAME_SIZE_ERROR)),
    case("4.2", "a frame of 2^24-1 bytes", frame(DATA, 0, 1, b"", length=(1 << 24) - 1),
         expect=Connection(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
]

COMPRESSION = [
    case("4.3", "a field block that ends inside a string", headers(1, b"\x00\x05ab"), expect=Connection(COMPRESSION_ERROR)),
    case("4.3", "an index beyond the tables", headers(1, GET_BLOCK + b"\xff\x20"), expect=Connection(COMPRESSION_ERROR)),
    case("4.3", "index zero", headers(1, GET_BLOCK + b"\x80"), expect=Connection(COMPRESSION_ERROR)),
    case("4.3", "an integer that does not end", headers(1, GET_BLOCK + b"\xff" * 12), expect=Connection(COMPRESSION_ERROR)),
    case("4.3", "Huffman padding of more than seven bits", headers(1, GET_BLOCK + b"\x00\x01x\x85\xf2\xb2\x4a\x84\xff\xff"),
         expect=Connection(COMPRESSION_ERROR)),
    case("4.3", "the Huffman end-of-string symbol", headers(1, GET_BLOCK + b"\x00\x01x\x84\xff\xff\xff\xff"),
         expect=Connection(COMPRESSION_ERROR)),
    case("4.3.1", "a table size update over the announced size", headers(1, b"\x3f\xe1\xff\x03" + GET_BLOCK),
         expect=Connection(COMPRESSION_ERROR)),
    case("4.3.1", "a table size update after a field", headers(1, GET_BLOCK + b"\x20"),
         expect=Connection(COMPRESSION_ERROR)),
    case("4.3.1", "a table size update at the start of a block", headers(1, b"\x20" + GET_BLOCK),
         expect=Works()),
]

STREAM_STATES = [
    *[
        case("5.1", f"{name} on an idle stream", bad, expect=Connection(PROTOCOL_ERROR))
        for name, bad in [
            ("DATA", data(1, b"x", END_STREAM)),
            ("RST_STREAM", reset(1)),
            ("WINDOW_UPDATE", window_update(1, 100)),
            ("CONTINUATION", continuation(1, GET_BLOCK)),
        ]
    ],
    case("5.1", "DATA on an idle stream above an open one", HALF_CLOSED, data(3, b"x"), expect=Connection(PROTOCOL_ERROR)),
    *[
        case("5.1", f"{name} on a half-closed (remote) stream", HALF_CLOSED, bad, expect=Stream(1, *codes))
        for name, bad, codes in [
            ("DATA", data(1, b"x", END_STREAM), [STREAM_CLOSED]),
            ("empty DATA", data(1, b"", END_STREAM), [STREAM_CLOSED]),
            ("HEADERS", headers(1, GET_BLOCK), CLOSED),
            ("CONTINUATION", continuation(1, b""), CLOSED),
        ]
    ],
    *[
        case("5.1", f"{name} on a half-closed (remote) stream is fine", HALF_CLOSED, good, expect=Works())
        for name, good in [
            ("WINDOW_UPDATE", window_update(1, 100)),
            ("PRIORITY", priority(1, 0)),
            ("RST_STREAM", reset(1)),
        ]
    ],
    *[
        case("5.1", f"{name} after the client's RST_STREAM", HALF_CLOSED, reset(1), bad, expect=Ignorable(1, *CLOSED))
        for name, bad in [
            ("DATA", data(1, b"x", END_STREAM)),
            ("HEADERS", headers(1, GET_BLOCK)),
            ("CONTINUATION", continuation(1, b"")),
        ]
    ],
    *[
        case("5.1", f"{name} on a closed stream", get(1), bad, expect=Ignorable(1, *CLOSED), after_answer=1)
        for name, bad in [
            ("DATA", data(1, b"x", END_STREAM)),
            ("HEADERS", headers(1, GET_BLOCK)),
            ("CONTINUATION", continuation(1, b"")),
        ]
    ],
    *[
        case("5.1", f"{name} on a closed stream is ignored", get(1), good, expect=Works(), after_answer=1)
        for name, good in [
            ("PRIORITY", priority(1, 0)),
            ("WINDOW_UPDATE", window_update(1, 10)),
            ("RST_STREAM", reset(1)),
        ]
    ],
    case("5.1.1", "a stream with an even number", get(2), expect=Connection(PROTOCOL_ERROR)),
    case("5.1.1", "a stream number below one that was used", get(5, "/wait"), get(3), expect=Connection(PROTOCOL_ERROR, STREAM_CLOSED)),
    case("5.1.1", "stream numbers may be skipped", get(5), expect=Works()),
    case("5.5", "an unknown frame inside a field block", OPEN, frame(0xBE, 0, 1), continuation(1),
         expect=Connection(PROTOCOL_ERROR)),
    case("5.5", "an unknown setting is ignored", setting(0xFFF, 1), expect=Works()),
]

DATA_AND_HEADERS = [
    case("6.1", "DATA on stream 0", data(0, b"x"), expect=Connection(PROTOCOL_ERROR)),
    case("6.1", "DATA padded by its whole length", post(1, "/wait"), data(1, b"\x05xxxx", PADDED | END_STREAM),
         expect=Connection(PROTOCOL_ERROR)),
    case("6.1", "DATA with PADDED and no length", post(1, "/wait"), data(1, b"", PADDED | END_STREAM),
         expect=Connection(PROTOCOL_ERROR, FRAME_SIZE_ERROR)),
    case("6.1", "DATA with padding", post(1), data(1, b"\x02okpp", PADDED | END_STREAM), expect=Works(1)),
    case("6.1", "DATA that is all padding", post(1), data(1, b"\x04pppp", PADDED), data(1, b"", END_STREAM), expect=Works(1)),
    case("6.2", "HEADERS on stream 0", headers(0, GET_BLOCK), expect=Connection(PROTOCOL_ERROR)),
    case("6.2", "PRIORITY inside a field block", OPEN, priority(1, 0), continuation(1), expect=Connection(PROTOCOL_ERROR)),
    case("6.2", "HEADERS of another stream inside a field block", OPEN, get(3), expect=Connection(PROTOCOL_ERROR)),
    case("6.2", "PING inside a field block", OPEN, ping(), expect=Connection(PROTOCOL_ERROR)),
    case("6.2", "HEADERS padded by more than its length",
         frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, bytes([255]) + GET_BLOCK), expect=Connection(PROTOCOL_ERROR)),
    case("6.2", "HEADERS with padding",
         frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\x03" + GET_BLOCK + b"\0\0\0"), expect=Works(1)),
    case("6.2", "HEADERS with priority fields cut short",
         frame(HEADERS, END_STREAM | END_HEADERS | PRIORITISED, 1, b"\0\0\0"), expect=Connection(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    case("6.2", "HEADERS with priority fields",
         frame(HEADERS, END_STREAM | END_HEADERS | PRIORITISED, 1, struct.pack(">IB", 0, 15) + GET_BLOCK), expect=Works(1)),
]

PRIORITIES_AND_RESETS = [
    case("6.3", "PRIORITY on stream 0", priority(0, 1), expect=Connection(PROTOCOL_ERROR)),
    case("6.3", "PRIORITY of four bytes", frame(PRIORITY, 0, 1, b"\0\0\0\0"), expect=Stream(1, FRAME_SIZE_ERROR)),
    case("6.3", "PRIORITY of six bytes", frame(PRIORITY, 0, 1, b"\0" * 6), expect=Stream(1, FRAME_SIZE_ERROR)),
    case("6.3", "PRIORITY on an idle stream", priority(99, 0), get(1), expect=Works()),
    case("6.4", "RST_STREAM on stream 0", reset(0), expect=Connection(PROTOCOL_ERROR)),
    case("6.4", "RST_STREAM of three bytes", HALF_CLOSED, frame(RST_STREAM, 0, 1, b"\0\0\0"), expect=Connection(FRAME_SIZE_ERROR)),
    case("6.4", "RST_STREAM of five bytes", HALF_CLOSED, frame(RST_STREAM, 0, 1, b"\0" * 5), expect=Connection(FRAME_SIZE_ERROR)),
    case("7", "RST_STREAM with an unknown code", HALF_CLOSED, reset(1, 0xFFFF), expect=Works()),
    case("7", "GOAWAY with an unknown code lets streams finish", post(1), goaway(0, 0xFFFF), data(1, b"x", END_STREAM), expect=Works(1)),
]

CONNECTION_FRAMES = [
    case("6.5", "SETTINGS with ACK and a payload", frame(SETTINGS, ACK, 0, b"\0\x03\0\0\0\x01"), expect=Connection(FRAME_SIZE_ERROR)),
    case("6.5", "SETTINGS on a stream", settings(stream=1), expect=Connection(PROTOCOL_ERROR)),
    case("6.5", "SETTINGS of three bytes", frame(SETTINGS, 0, 0, b"\0\x03\0"), expect=Connection(FRAME_SIZE_ERROR)),
    case("6.5.2", "SETTINGS_ENABLE_PUSH of two", setting(ENABLE_PUSH, 2), expect=Connection(PROTOCOL_ERROR)),
    case("6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE over 2^31-1", setting(INITIAL_WINDOW_SIZE, 1 << 31), expect=Connection(FLOW_CONTROL_ERROR)),
    case("6.5.2", "SETTINGS_MAX_FRAME_SIZE under 2^14", setting(MAX_FRAME_SIZE, 16383), expect=Connection(PROTOCOL_ERROR)),
    case("6.5.2", "SETTINGS_MAX_FRAME_SIZE over 2^24-1", setting(MAX_FRAME_SIZE, 1 << 24), expect=Connection(PROTOCOL_ERROR)),
    case("6.6", "PUSH_PROMISE from a client", HALF_CLOSED, frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + GET_BLOCK),
         expect=Connection(PROTOCOL_ERROR)),
    case("6.7", "PING on a stream", ping(stream=1), expect=Connection(PROTOCOL_ERROR)),
    case("6.7", "PING of six bytes", ping(b"012345"), expect=Connection(FRAME_SIZE_ERROR)),
    case("6.7", "PING of nine bytes", ping(b"012345678"), expect=Connection(FRAME_SIZE_ERROR)),
    case("6.8", "GOAWAY on a stream", goaway(stream=1), expect=Connection(PROTOCOL_ERROR)),
    case("6.8", "GOAWAY of seven bytes", frame(GOAWAY, 0, 0, b"\0" * 7), expect=Connection(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
]

FLOW_CONTROL = [
    case("6.9", "WINDOW_UPDATE of zero on the connection", window_update(0, 0), expect=Connection(PROTOCOL_ERROR)),
    case("6.9", "WINDOW_UPDATE of zero on a stream", HALF_CLOSED, window_update(1, 0), expect=Stream(1, PROTOCOL_ERROR)),
    case("6.9", "WINDOW_UPDATE of three bytes", frame(WINDOW_UPDATE, 0, 0, b"\0\0\x01"), expect=Connection(FRAME_SIZE_ERROR)),
    case("6.9", "WINDOW_UPDATE of five bytes", frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0\x01"), expect=Connection(FRAME_SIZE_ERROR)),
    case("6.9", "the reserved bit of WINDOW_UPDATE is ignored", window_update(0, 0x80000001), expect=Works()),
    case("6.9.1", "the connection's window over 2^31-1", window_update(0, (1 << 31) - 1), window_update(0, (1 << 31) - 1),
         expect=Connection(FLOW_CONTROL_ERROR)),
    case("6.9.1", "a stream's window over 2^31-1", HALF_CLOSED, window_update(1, (1 << 31) - 1), window_update(1, (1 << 31) - 1),
         expect=Stream(1, FLOW_CONTROL_ERROR)),
    case("6.9.2", "a window that SETTINGS pushes over 2^31-1", HALF_CLOSED, window_update(1, (1 << 31) - 65536),
         setting(INITIAL_WINDOW_SIZE, 65636), expect=Stream(1, FLOW_CONTROL_ERROR)),
]

CONTINUATIONS = [
    case("6.10", "a field block in one CONTINUATION", headers(1, GET_BLOCK[:9], END_STREAM), continuation(1, GET_BLOCK[9:]), expect=Works(1)),
    case("6.10", "a field block in many CONTINUATIONs", headers(1, GET_BLOCK[:9], END_STREAM),
         *[continuation(1, bytes([byte]), 0) for byte in GET_BLOCK[9:14]], continuation(1, GET_BLOCK[14:]), expect=Works(1)),
    case("6.10", "CONTINUATION on stream 0", OPEN, continuation(0), expect=Connection(PROTOCOL_ERROR)),
    case("6.10", "CONTINUATION of another stream", OPEN, continuation(3), expect=Connection(PROTOCOL_ERROR)),
    case("6.10", "DATA between HEADERS and CONTINUATION", headers(1, GET_BLOCK, 0), data(1, b"x"), continuation(1), expect=Connection(PROTOCOL_ERROR)),
    case("6.10", "SETTINGS between CONTINUATIONs", OPEN, continuation(1, b"", 0), settings(), expect=Connection(PROTOCOL_ERROR)),
    case("6.10", "CONTINUATION after END_HEADERS", post(1, "/wait"), continuation(1), expect=Connection(PROTOCOL_ERROR)),
    case("6.10", "CONTINUATION after the last CONTINUATION", headers(1, block(*pseudo(method="POST", path="/wait")), 0), continuation(1), continuation(1),
         expect=Connection(PROTOCOL_ERROR)),
    case("6.10", "CONTINUATION after DATA", post(1, "/wait"), data(1, b"x"), continuation(1), expect=Connection(PROTOCOL_ERROR)),
]


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
            ("connection", "close"), ("proxy-connection", "keep-alive"), ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"), ("upgrade", "websocket"),
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
    malformed("8441 4", "extended CONNECT without :scheme", *request(method="CONNECT", scheme=None, protocol="websocket")),
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
    case("8.1.1", "DATA where Content-Length is zero", post(1, "/wait", ("content-length", "0")), data(1, b"abc", END_STREAM),
         expect=Stream(1, PROTOCOL_ERROR)),
    with_length("a Content-Length that ends in an empty frame", "4", data(1, b"", END_STREAM)),
    case("8.1.1", "Content-Length without a body", headers(1, block(*request(method="POST"), ("content-length", "4"))), expect=Malformed()),
    *[
        case("8.1.1", f"a Content-Length of {length!r}", post(1, "/malformed", ("content-length", length)), data(1, b"abc", END_STREAM), expect=Malformed())
        for length in ["+3", "-3", "3, 3", "0x3", "3 ", "", "99999999999999999999"]
    ],
    case("8.1.1", "two different Content-Lengths", post(1, "/malformed", ("content-length", "3"), ("content-length", "4")),
         data(1, b"abc", END_STREAM), expect=Malformed()),
    case("8.1", "a second HEADERS without END_STREAM", post(1, "/trailers"), headers(1, block(("x-a", "b")), END_HEADERS),
         expect=Incomplete()),
    case("8.1", "trailers", post(1, "/trailers"), data(1, b"x"), headers(1, block(("x-trailer", "y"))), expect=Works(1)),
    case("8.3", "a pseudo-header in trailers", post(1, "/trailers"), data(1, b"x"), headers(1, block((":path", "/"))),
         expect=Incomplete()),
    case("8.2", "a trailer in upper case", post(1, "/trailers"), data(1, b"x"), headers(1, block(("X-Trailer", "y"))),
         expect=Incomplete()),
    case("8.2.2", "a connection-specific trailer", post(1, "/trailers"), data(1, b"x"),
         headers(1, block(("transfer-encoding", "chunked"))), expect=Incomplete()),
]

CASES = [
    *FRAMES, *COMPRESSION, *STREAM_STATES, *DATA_AND_HEADERS, *PRIORITIES_AND_RESETS, *CONNECTION_FRAMES,
    *FLOW_CONTROL, *CONTINUATIONS, *FIELDS, *PSEUDO_HEADERS, *BODIES,
]
