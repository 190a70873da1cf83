"""What a case of RFC 9113 is: what is sent after the connection is set up, and what may answer.

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

from dataclasses import dataclass

from h2wire import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    block,
    frame,
    get,
    headers,
    pseudo,
    settings,
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
