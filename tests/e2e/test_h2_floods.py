"""Floods: whatever one client sends or refuses to read, the server stays up, keeps answering others
and does not grow. Each flood is bounded in count, and runs on its own connection."""

from __future__ import annotations

import struct

import hyperframe.frame as hf
import pytest

import h2wire as h2
from h2wire import CONTINUATION, END_STREAM, Wire, block, frame, headers, literal, pseudo

# What one misbehaving client may cost in resident memory, KiB. The dev profile's allocator and
# one 256 KiB window a connection fit well below; an unbounded queue does not.
GROWTH_KIB = 48 * 1024
GET_BLOCK = block(*pseudo())


@pytest.fixture
def bounded(front, connect):
    """Warms the server up, and after the flood asks it on another connection and weighs it."""
    ask(connect())
    before = front.resident_kib()
    yield
    assert front.alive(), front.tail()
    ask(connect())
    grown = front.resident_kib() - before
    assert grown < GROWTH_KIB, f"resident memory grew by {grown} KiB"


def ask(wire: Wire) -> None:
    wire.start().send(h2.get(1))
    assert wire.respond(1, seconds=30).status(1) == 200


def test_rapid_reset(bounded, connect) -> None:
    """CVE-2023-44487: streams that are opened and reset before anybody counts them."""
    wire = connect().start()
    for first in range(1, 40_001, 200):
        pairs = [h2.get(stream, "/wait") + h2.reset(stream) for stream in range(first, first + 200, 2)]
        if wire.pour(b"".join(pairs), 1) == 0:
            break


def test_resets_provoked_from_the_server(bounded, connect) -> None:
    """CVE-2025-8671: the client makes the server send the resets."""
    wire = connect().start()
    for first in range(1, 20_001, 200):
        pairs = [h2.get(stream, "/wait") + h2.window_update(stream, 0) for stream in range(first, first + 200, 2)]
        if wire.pour(b"".join(pairs), 1) == 0:
            break


def test_continuation_flood(bounded, connect) -> None:
    wire = connect().start()
    wire.send(headers(1, GET_BLOCK, END_STREAM))
    piece = frame(CONTINUATION, 0, 1, literal("x-flood", "y" * 1000))
    assert wire.pour(piece, 100_000) < 100_000, "100 MB of CONTINUATION were taken"


def test_empty_continuation_flood(bounded, connect) -> None:
    wire = connect().start()
    wire.send(headers(1, GET_BLOCK, END_STREAM))
    wire.pour(frame(CONTINUATION, 0, 1), 300_000)


def test_header_list_bomb(bounded, connect, upstream) -> None:
    """A 4,000-byte field is put into the dynamic table once and named 16,000 times."""
    wire, bomb = connect().start(), block(*pseudo(path="/bomb"))
    insert = b"\x40" + h2.hpack_string("x-bomb") + h2.hpack_string("y" * 3900)
    for stream in range(1, 41, 2):
        wire.send(headers(stream, bomb + insert + b"\xbe" * 12_000))
    seen = wire.wait(
        lambda seen: seen.closed or seen.goaway_code() is not None or seen.status(1) or seen.reset_code(1) is not None,
        "a refusal",
    )
    assert seen.status(1) in (None, 431), seen
    assert upstream.to("/bomb") == []


def test_many_small_fields(bounded, connect, upstream) -> None:
    """Empty fields cost 32 bytes each in the accounting of RFC 9113, 10.5.1."""
    wire = connect().start()
    wire.send(headers(1, block(*pseudo(path="/many-fields")) + literal("a", "") * 3000))
    seen = wire.wait(lambda seen: seen.closed or seen.status(1) or seen.reset_code(1) is not None, "an answer")
    assert seen.status(1) in (None, 431), seen
    assert upstream.to("/many-fields") == []


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(h2.settings((h2.INITIAL_WINDOW_SIZE, 65535)), id="SETTINGS"),
        pytest.param(h2.settings(), id="empty SETTINGS"),
        pytest.param(h2.ping(), id="PING"),
        pytest.param(h2.priority(3, 0), id="PRIORITY"),
        pytest.param(frame(0xBE, 0, 0, b"unknown"), id="unknown frames"),
        pytest.param(h2.settings(flags=h2.ACK), id="SETTINGS ACK"),
    ],
)
def test_control_frames_that_are_never_read(piece: bytes, bounded, connect) -> None:
    connect().start().pour(piece, 500_000)


@pytest.mark.parametrize("flags, payload", [(0, b""), (h2.PADDED, b"\x00"), (h2.PADDED, b"\x01\x00")])
def test_empty_data_flood(flags: int, payload: bytes, bounded, connect) -> None:
    wire = connect().start()
    wire.send(h2.post(1, "/upload"))
    wire.pour(h2.data(1, payload, flags), 300_000)


def test_window_updates_of_one(bounded, connect) -> None:
    wire = connect().start()
    wire.send(h2.get(1, "/wait"))
    wire.pour(h2.window_update(1, 1), 500_000)


def test_a_table_that_keeps_changing_its_size(bounded, connect) -> None:
    """Size updates at the start of each block empty the table (RFC 7541, 6.3)."""
    wire = connect().start()
    for stream in range(1, 2001, 2):
        if wire.pour(headers(stream, b"\x20\x3f\xe1\x1f" + block(*pseudo(path="/wait"))) + h2.reset(stream), 1) == 0:
            break


@pytest.mark.parametrize("window", [0, 1, 65535])
def test_slow_readers_by_window(window: int, bounded, connect) -> None:
    """A hundred large answers, and a client that never opens a window."""
    wire = connect().start((h2.INITIAL_WINDOW_SIZE, window))
    wire.send(*[h2.get(stream, "/big/20000000") for stream in range(1, 200, 2)])
    allowed = min(100 * window, 65535)  # the connection's own window
    wire.wait(lambda seen: received(seen) == allowed, f"{allowed} bytes of DATA", 30)
    wire.send(h2.ping(b"no more!"))
    wire.wait(lambda seen: b"no more!" in seen.pongs(), "the answer to PING")
    assert received(wire.seen) == allowed


def received(seen: h2.Seen) -> int:
    return sum(len(f.data) for f in seen.of(hf.DataFrame))


def test_slow_readers_by_socket(bounded, connect) -> None:
    """Open windows, and a client that does not read its socket: TCP has to push back."""
    wire = connect().start((h2.INITIAL_WINDOW_SIZE, (1 << 31) - 1))
    wire.send(h2.window_update(0, (1 << 31) - 65536))
    wire.send(*[h2.get(stream, "/big/20000000") for stream in range(1, 200, 2)])
    ask(connect())


def test_window_of_one_byte_at_a_time(bounded, connect) -> None:
    wire = connect().start((h2.INITIAL_WINDOW_SIZE, 0))
    wire.send(h2.get(1, "/big/5000"))
    wire.pour(h2.window_update(1, 1), 5000)
    assert wire.respond(1, seconds=60).body(1) == (bytes(range(256)) * 20)[:5000]


def test_an_upload_that_nobody_takes(bounded, connect) -> None:
    """Far more DATA than the windows allow, to an upstream that does not read."""
    wire = connect().start()
    wire.send(h2.post(1, "/wait"))
    piece = h2.data(1, b"x" * 16384)
    assert wire.pour(piece, 10_000) < 10_000, "160 MB were taken though the window is small"


def test_heads_that_never_end(bounded, connect) -> None:
    """Many connections that stop inside a field block."""
    for _ in range(100):
        wire = connect().start()
        wire.send(headers(1, GET_BLOCK, END_STREAM), frame(CONTINUATION, 0, 1, literal("x", "y" * 8000)))


def test_lying_frame_lengths(bounded, connect) -> None:
    """A frame header that promises what never comes."""
    for _ in range(100):
        connect().start().send(struct.pack(">I", 16384)[1:] + b"\x00\x00" + struct.pack(">I", 1))
