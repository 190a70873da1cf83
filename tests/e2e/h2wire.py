"""HTTP/2 by the byte: frames are built here, good and bad, and read back with hyperframe.

Header blocks use HPACK literals without indexing or Huffman coding, so that a block is a plain
value: no state, and nothing that a library would refuse to encode.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

import hpack
import hyperframe.frame as hf

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 0x1, 0x1, 0x4, 0x8, 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT = range(5)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(5, 10)
ENHANCE_YOUR_CALM = 11

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
ENABLE_CONNECT_PROTOCOL = 8

AUTHORITY = "chat-test.localhost"  # replaced by the port-bearing one in `request`


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", length: int | None = None) -> bytes:
    """One frame; `length` lies about the payload where a case wants that."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: str | bytes, value: str | bytes) -> bytes:
    """A literal header field without indexing, new name (RFC 7541, 6.2.2)."""
    return b"\x00" + hpack_string(name) + hpack_string(value)


def hpack_string(text: str | bytes) -> bytes:
    data = text.encode("latin-1") if isinstance(text, str) else text
    return hpack_integer(len(data), 7) + data


def hpack_integer(number: int, prefix: int) -> bytes:
    limit = (1 << prefix) - 1
    if number < limit:
        return bytes([number])
    encoded, number = [limit], number - limit
    while number >= 128:
        encoded.append(number % 128 + 128)
        number //= 128
    return bytes([*encoded, number])


def block(*pairs: tuple[str | bytes, str | bytes]) -> bytes:
    return b"".join(literal(name, value) for name, value in pairs)


def pseudo(**changes: str | None) -> list[tuple[str, str]]:
    """A request's four pseudo-headers; a change to None leaves one out, `protocol` adds one."""
    fields = {"method": "GET", "scheme": "https", "path": "/", "authority": AUTHORITY} | changes
    return [(f":{name}", value) for name, value in fields.items() if value is not None]


def headers(stream: int, block_: bytes, flags: int = END_STREAM | END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, block_)


def get(stream: int, path: str = "/", *extra: tuple[str, str]) -> bytes:
    return headers(stream, block(*pseudo(path=path), *extra))


def post(stream: int, path: str = "/", *extra: tuple[str, str]) -> bytes:
    """The head of a request whose body is to follow."""
    return headers(stream, block(*pseudo(method="POST", path=path), *extra), END_HEADERS)


def data(stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return frame(DATA, flags, stream, payload)


def settings(*pairs: tuple[int, int], flags: int = 0, stream: int = 0) -> bytes:
    return frame(SETTINGS, flags, stream, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def reset(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def ping(payload: bytes = b"01234567", flags: int = 0, stream: int = 0) -> bytes:
    return frame(PING, flags, stream, payload)


def priority(stream: int, depends_on: int, weight: int = 15) -> bytes:
    return frame(PRIORITY, 0, stream, struct.pack(">IB", depends_on, weight))


def goaway(last: int = 0, code: int = NO_ERROR, stream: int = 0) -> bytes:
    return frame(GOAWAY, 0, stream, struct.pack(">II", last, code))


@dataclass
class Seen:
    """What the server has sent so far."""

    frames: list[hf.Frame] = field(default_factory=list)
    heads: dict[int, list[list[tuple[str, str]]]] = field(default_factory=dict)
    closed: bool = False

    def of(self, kind: type, stream: int | None = None) -> list:
        return [f for f in self.frames if isinstance(f, kind) and stream in (None, f.stream_id)]

    def goaway_code(self) -> int | None:
        """The code of the last GOAWAY: a graceful one may come before the real one."""
        found = self.of(hf.GoAwayFrame)
        return found[-1].error_code if found else None

    def reset_code(self, stream: int) -> int | None:
        found = self.of(hf.RstStreamFrame, stream)
        return found[0].error_code if found else None

    def status(self, stream: int) -> int | None:
        """The final status: informational answers do not count."""
        for fields in self.heads.get(stream, []):
            value = dict(fields).get(":status")
            if value and not value.startswith("1"):
                return int(value)
        return None

    def fields(self, stream: int) -> dict[str, str]:
        return dict(self.heads[stream][0])

    def body(self, stream: int) -> bytes:
        return b"".join(f.data for f in self.of(hf.DataFrame, stream))

    def ended(self, stream: int) -> bool:
        return any("END_STREAM" in f.flags for f in self.frames if f.stream_id == stream)

    def pongs(self) -> list[bytes]:
        return [f.opaque_data for f in self.of(hf.PingFrame) if "ACK" in f.flags]

    def acks(self) -> int:
        return sum("ACK" in f.flags for f in self.of(hf.SettingsFrame))

    def server_settings(self) -> dict[int, int]:
        return {key: value for f in self.of(hf.SettingsFrame) for key, value in f.settings.items()}

    def __str__(self) -> str:
        """For a failed assertion: every frame on a line."""
        lines = [*map(repr, self.frames), *(f"{s}: {h}" for s, h in self.heads.items())]
        return "\n  ".join(["the server sent:", *lines, "closed" if self.closed else "still open"])


class Wire:
    """One TLS connection that speaks whatever bytes it is told to."""

    def __init__(self, port: int, ca: Path, host: str = "chat-test.localhost") -> None:
        context = ssl.create_default_context(cafile=str(ca))
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname=host)
        assert self.socket.selected_alpn_protocol() == "h2"
        self.authority = f"{host}:{port}"
        self.seen = Seen()
        self._buffer = b""
        self._block: list[bytes] = []
        self._decoder = hpack.Decoder()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.socket.close()

    def start(self, *pairs: tuple[int, int]) -> Wire:
        """Preface and SETTINGS; returns when the server's own SETTINGS are here."""
        self.send(PREFACE + settings(*pairs))
        self.wait(lambda seen: seen.of(hf.SettingsFrame) and seen.acks(), "the server's SETTINGS and ACK")
        self.send(settings(flags=ACK))
        return self

    def send(self, *pieces: bytes) -> None:
        """Sends all; a server that hangs up meanwhile is seen by the next `wait`."""
        try:
            self.socket.sendall(b"".join(pieces))
        except (OSError, ssl.SSLError):
            self.read_rest()

    def read_rest(self) -> None:
        while self._receive(time.monotonic() + 5):
            pass
        self.seen.closed = True

    def pour(self, piece: bytes, times: int, patience: float = 3) -> int:
        """Sends `piece` up to `times` times without reading; stops when the server hangs up or takes
        nothing for `patience` seconds. Returns how many were taken."""
        batch = max(1, 65536 // len(piece))
        self.socket.settimeout(patience)
        for sent in range(0, times, batch):
            try:
                self.socket.sendall(piece * min(batch, times - sent))
            except OSError:
                return sent
        return times

    def wait(self, done, what: str, seconds: float = 10) -> Seen:
        """Reads frames until `done(seen)`; fails with everything seen at the deadline."""
        deadline = time.monotonic() + seconds
        while not done(self.seen):
            if self.seen.closed:
                raise AssertionError(f"closed before {what}; {self.seen}")
            if not self._receive(deadline):
                if time.monotonic() >= deadline:
                    raise AssertionError(f"no {what} within {seconds:g} s; {self.seen}")
                self.seen.closed = True
        return self.seen

    def respond(self, stream: int, seconds: float = 10) -> Seen:
        """Waits for the whole answer on a stream."""
        return self.wait(
            lambda seen: seen.ended(stream) or seen.reset_code(stream) is not None,
            f"answer on stream {stream}",
            seconds,
        )

    def _receive(self, deadline: float) -> bool:
        """Reads once; False at the end of the connection or at the deadline."""
        self.socket.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            received = self.socket.recv(1 << 18)
        except TimeoutError:
            return False
        except OSError:
            self.seen.closed = True
            return False
        self._buffer += received
        self._parse()
        return bool(received)

    def _parse(self) -> None:
        while len(self._buffer) >= 9:
            parsed, length = hf.Frame.parse_frame_header(memoryview(self._buffer[:9]))
            if len(self._buffer) < 9 + length:
                return
            parsed.parse_body(memoryview(self._buffer[9 : 9 + length]))
            self._buffer = self._buffer[9 + length :]
            self.seen.frames.append(parsed)
            if isinstance(parsed, hf.HeadersFrame | hf.ContinuationFrame):
                self._collect(parsed)

    def _collect(self, part) -> None:
        self._block.append(part.data)
        if "END_HEADERS" in part.flags:
            fields = self._decoder.decode(b"".join(self._block))
            self.seen.heads.setdefault(part.stream_id, []).append([(k, v) for k, v in fields])
            self._block.clear()
