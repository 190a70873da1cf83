"""A raw upstream: it records every byte of every request head and answers by path.

It is written on sockets so that nothing between Vestibule and the record tidies a byte. It reads
HTTP/1.1 well enough for what Vestibule may send, and treats everything else as a failed test.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import struct
import threading
from dataclasses import dataclass, field

WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SEED = bytes(range(256)) * 256  # 64 KiB


@dataclass
class Request:
    """One request as it arrived: `head` is verbatim, blank line included."""

    head: bytes
    body: bytes = b""
    complete: bool = False

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode("latin-1")

    def values(self, name: str) -> list[str]:
        """Every value of a header, in order, as it stood."""
        wanted = name.lower().encode()
        pairs = (line.split(b":", 1) for line in self.head.split(b"\r\n")[1:] if b":" in line)
        return [value.strip().decode("latin-1") for key, value in pairs if key.lower() == wanted]


@dataclass
class RawUpstream:
    """Start with `with RawUpstream() as up`; `up.port` is its port, `up.requests` the record."""

    requests: list[Request] = field(default_factory=list)
    port: int = 0
    _closing: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> RawUpstream:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._closing.set()
        self._listener.close()

    def to(self, marker: str) -> list[Request]:
        """The requests whose head contains `marker`: each test uses one of its own."""
        return [request for request in list(self.requests) if marker.encode() in request.head]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        stream = connection.makefile("rwb")
        try:
            while self._one(stream):
                stream.flush()
        except (OSError, ValueError):
            pass  # Vestibule hung up, as many tests make it do.
        finally:
            with contextlib.suppress(OSError):
                stream.close()
            connection.close()

    def _one(self, stream) -> bool:
        head = read_head(stream)
        if not head:
            return False
        request = Request(head)
        self.requests.append(request)
        if request.target.startswith("/wait"):
            # Never answers and never reads on: the other side has to end this.
            self._closing.wait(600)
            return False
        if request.values("upgrade"):
            serve_websocket(stream, request)
            return False
        for piece in body_of(stream, request):
            request.body += piece
        request.complete = True
        self.answer(stream, request)
        return True

    def answer(self, stream, request: Request) -> None:
        answer(stream, request)


def read_head(stream) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline(1 << 20)
        if not line:
            return b""
        head += line
    return head


def body_of(stream, request: Request):
    """The pieces of the body, by Content-Length or chunked."""
    length = request.values("content-length")
    if length:
        remaining = int(length[0])
        while remaining:
            piece = stream.read1(min(remaining, 65536))
            if not piece:
                raise ValueError("truncated body")
            remaining -= len(piece)
            yield piece
    elif request.values("transfer-encoding") == ["chunked"]:
        while size := int(stream.readline().split(b";")[0], 16):
            yield read_exactly(stream, size)
            read_exactly(stream, 2)
        while stream.readline() not in (b"\r\n", b""):
            pass


def read_exactly(stream, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise ValueError("truncated")
    return data


def answer(stream, request: Request) -> None:
    """`/big/N` gives N bytes, anything else a report of what arrived; where `crumbs` is in the path, with two cookies."""
    path = request.target.split("?")[0]
    if path.startswith("/big/"):
        send_big(stream, int(path.split("/")[2]))
        return
    report = json.dumps(
        {
            "head": request.head.decode("latin-1"),
            "length": len(request.body),
            "sha256": hashlib.sha256(request.body).hexdigest(),
        }
    ).encode()
    cookies = b"Set-Cookie: crumb=one; Path=/\r\nSet-Cookie: flavour=two\r\n" if "crumbs" in path else b""
    stream.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s"
        % (cookies, len(report), b"" if request.head.startswith(b"HEAD ") else report)
    )


def send_big(stream, size: int) -> None:
    stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    while size > 0:
        stream.write(SEED[:size])
        size -= min(size, len(SEED))


def serve_websocket(stream, request: Request) -> None:
    """Accepts with the first offered subprotocol, then sends every message back."""
    key = request.values("sec-websocket-key")[0].encode()
    accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest())
    offered = [name for value in request.values("sec-websocket-protocol") for name in value.split(",")]
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept,
    ]
    if offered:
        lines.append(b"Sec-WebSocket-Protocol: " + offered[0].strip().encode())
    stream.write(b"\r\n".join(lines) + b"\r\n\r\n")
    stream.flush()
    while True:
        opcode, payload = read_frame(stream)
        request.body += payload
        stream.write(bytes([0x80 | opcode]) + frame_length(len(payload)) + payload)
        stream.flush()
        if opcode == 8:
            return


def read_frame(stream) -> tuple[int, bytes]:
    first, second = read_exactly(stream, 2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack(">H", read_exactly(stream, 2))
    elif size == 127:
        (size,) = struct.unpack(">Q", read_exactly(stream, 8))
    if not second & 0x80:
        raise ValueError("a client's frame must be masked")
    mask = read_exactly(stream, 4)
    payload = read_exactly(stream, size)
    return first & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def frame_length(size: int) -> bytes:
    if size < 126:
        return bytes([size])
    return bytes([126]) + struct.pack(">H", size)
