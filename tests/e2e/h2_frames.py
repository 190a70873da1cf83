"""Cases of RFC 9113, sections 4 to 7: frames, stream states, flow control. The words are in h2_case.py."""

from __future__ import annotations

import struct

from h2_case import (
    CLOSED,
    GET_BLOCK,
    HALF_CLOSED,
    OPEN,
    TOO_LONG,
    Connection,
    Ignorable,
    Stream,
    Works,
    case,
    continuation,
    setting,
)
from h2wire import (
    ACK,
    COMPRESSION_ERROR,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PADDED,
    PRIORITISED,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    block,
    data,
    frame,
    get,
    goaway,
    headers,
    literal,
    ping,
    post,
    priority,
    pseudo,
    reset,
    settings,
    window_update,
)

FRAMES = [
    case("4.1", "a frame of unknown type is ignored", frame(0xBE, 0xFF, 0, b"abc"), expect=Works()),
    case("4.1", "a frame of unknown type on an idle stream is ignored", frame(0xBE, 0, 5, b"abc"), expect=Works()),
    case("4.1", "undefined flags are ignored", ping(flags=0xFE), expect=Works()),
    case("4.1", "the reserved bit is ignored", ping(stream=0x80000000), expect=Works()),
    case(
        "4.2",
        "DATA over SETTINGS_MAX_FRAME_SIZE",
        post(1, "/wait"),
        data(1, TOO_LONG),
        expect=Stream(1, FRAME_SIZE_ERROR),
    ),
    case(
        "4.2",
        "HEADERS over SETTINGS_MAX_FRAME_SIZE",
        headers(1, GET_BLOCK + literal("x", b"y" * 16385)),
        expect=Connection(FRAME_SIZE_ERROR),
    ),
    case(
        "4.2",
        "SETTINGS over SETTINGS_MAX_FRAME_SIZE",
        settings(*[(0x77, 0)] * 2731),
        expect=Connection(FRAME_SIZE_ERROR),
    ),
    case(
        "4.2",
        "an unknown frame over SETTINGS_MAX_FRAME_SIZE",
        frame(0xBE, 0, 0, TOO_LONG),
        expect=Connection(FRAME_SIZE_ERROR),
    ),
    case(
        "4.2",
        "a frame of 2^24-1 bytes",
        frame(DATA, 0, 1, b"", length=(1 << 24) - 1),
        expect=Connection(FRAME_SIZE_ERROR, PROTOCOL_ERROR),
    ),
]

COMPRESSION = [
    case(
        "4.3",
        "a field block that ends inside a string",
        headers(1, b"\x00\x05ab"),
        expect=Connection(COMPRESSION_ERROR),
    ),
    case(
        "4.3", "an index beyond the tables", headers(1, GET_BLOCK + b"\xff\x20"), expect=Connection(COMPRESSION_ERROR)
    ),
    case("4.3", "index zero", headers(1, GET_BLOCK + b"\x80"), expect=Connection(COMPRESSION_ERROR)),
    case(
        "4.3",
        "an integer that does not end",
        headers(1, GET_BLOCK + b"\xff" * 12),
        expect=Connection(COMPRESSION_ERROR),
    ),
    case(
        "4.3",
        "Huffman padding of more than seven bits",
        headers(1, GET_BLOCK + b"\x00\x01x\x85\xf2\xb2\x4a\x84\xff\xff"),
        expect=Connection(COMPRESSION_ERROR),
    ),
    case(
        "4.3",
        "the Huffman end-of-string symbol",
        headers(1, GET_BLOCK + b"\x00\x01x\x84\xff\xff\xff\xff"),
        expect=Connection(COMPRESSION_ERROR),
    ),
    case(
        "4.3.1",
        "a table size update over the announced size",
        headers(1, b"\x3f\xe1\xff\x03" + GET_BLOCK),
        expect=Connection(COMPRESSION_ERROR),
    ),
    case(
        "4.3.1",
        "a table size update after a field",
        headers(1, GET_BLOCK + b"\x20"),
        expect=Connection(COMPRESSION_ERROR),
    ),
    case("4.3.1", "a table size update at the start of a block", headers(1, b"\x20" + GET_BLOCK), expect=Works()),
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
    case(
        "5.1", "DATA on an idle stream above an open one", HALF_CLOSED, data(3, b"x"), expect=Connection(PROTOCOL_ERROR)
    ),
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
    case(
        "5.1.1",
        "a stream number below one that was used",
        get(5, "/wait"),
        get(3),
        expect=Connection(PROTOCOL_ERROR, STREAM_CLOSED),
    ),
    case("5.1.1", "stream numbers may be skipped", get(5), expect=Works()),
    case(
        "5.5",
        "an unknown frame inside a field block",
        OPEN,
        frame(0xBE, 0, 1),
        continuation(1),
        expect=Connection(PROTOCOL_ERROR),
    ),
    case("5.5", "an unknown setting is ignored", setting(0xFFF, 1), expect=Works()),
]

DATA_AND_HEADERS = [
    case("6.1", "DATA on stream 0", data(0, b"x"), expect=Connection(PROTOCOL_ERROR)),
    case(
        "6.1",
        "DATA padded by its whole length",
        post(1, "/wait"),
        data(1, b"\x05xxxx", PADDED | END_STREAM),
        expect=Connection(PROTOCOL_ERROR),
    ),
    case(
        "6.1",
        "DATA with PADDED and no length",
        post(1, "/wait"),
        data(1, b"", PADDED | END_STREAM),
        expect=Connection(PROTOCOL_ERROR, FRAME_SIZE_ERROR),
    ),
    case("6.1", "DATA with padding", post(1), data(1, b"\x02okpp", PADDED | END_STREAM), expect=Works(1)),
    case(
        "6.1",
        "DATA that is all padding",
        post(1),
        data(1, b"\x04pppp", PADDED),
        data(1, b"", END_STREAM),
        expect=Works(1),
    ),
    case("6.2", "HEADERS on stream 0", headers(0, GET_BLOCK), expect=Connection(PROTOCOL_ERROR)),
    case(
        "6.2", "PRIORITY inside a field block", OPEN, priority(1, 0), continuation(1), expect=Connection(PROTOCOL_ERROR)
    ),
    case("6.2", "HEADERS of another stream inside a field block", OPEN, get(3), expect=Connection(PROTOCOL_ERROR)),
    case("6.2", "PING inside a field block", OPEN, ping(), expect=Connection(PROTOCOL_ERROR)),
    case(
        "6.2",
        "HEADERS padded by more than its length",
        frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, bytes([255]) + GET_BLOCK),
        expect=Connection(PROTOCOL_ERROR),
    ),
    case(
        "6.2",
        "HEADERS with padding",
        frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\x03" + GET_BLOCK + b"\0\0\0"),
        expect=Works(1),
    ),
    case(
        "6.2",
        "HEADERS with priority fields cut short",
        frame(HEADERS, END_STREAM | END_HEADERS | PRIORITISED, 1, b"\0\0\0"),
        expect=Connection(FRAME_SIZE_ERROR, PROTOCOL_ERROR),
    ),
    case(
        "6.2",
        "HEADERS with priority fields",
        frame(HEADERS, END_STREAM | END_HEADERS | PRIORITISED, 1, struct.pack(">IB", 0, 15) + GET_BLOCK),
        expect=Works(1),
    ),
]

PRIORITIES_AND_RESETS = [
    case("6.3", "PRIORITY on stream 0", priority(0, 1), expect=Connection(PROTOCOL_ERROR)),
    case("6.3", "PRIORITY of four bytes", frame(PRIORITY, 0, 1, b"\0\0\0\0"), expect=Stream(1, FRAME_SIZE_ERROR)),
    case("6.3", "PRIORITY of six bytes", frame(PRIORITY, 0, 1, b"\0" * 6), expect=Stream(1, FRAME_SIZE_ERROR)),
    # RFC 9113 deprecates priorities: what RFC 7540, 5.3.1 made an error may be ignored.
    case("6.3", "PRIORITY that depends on itself", HALF_CLOSED, priority(1, 1), expect=Ignorable(1, PROTOCOL_ERROR)),
    case(
        "6.3",
        "HEADERS that depend on themselves",
        frame(HEADERS, END_STREAM | END_HEADERS | PRIORITISED, 1, struct.pack(">IB", 1, 15) + GET_BLOCK),
        expect=Ignorable(1, PROTOCOL_ERROR),
    ),
    case("6.3", "PRIORITY on an idle stream", priority(99, 0), get(1), expect=Works()),
    case("6.4", "RST_STREAM on stream 0", reset(0), expect=Connection(PROTOCOL_ERROR)),
    case(
        "6.4",
        "RST_STREAM of three bytes",
        HALF_CLOSED,
        frame(RST_STREAM, 0, 1, b"\0\0\0"),
        expect=Connection(FRAME_SIZE_ERROR),
    ),
    case(
        "6.4",
        "RST_STREAM of five bytes",
        HALF_CLOSED,
        frame(RST_STREAM, 0, 1, b"\0" * 5),
        expect=Connection(FRAME_SIZE_ERROR),
    ),
    case("7", "RST_STREAM with an unknown code", HALF_CLOSED, reset(1, 0xFFFF), expect=Works()),
    case(
        "7",
        "GOAWAY with an unknown code lets streams finish",
        post(1),
        goaway(0, 0xFFFF),
        data(1, b"x", END_STREAM),
        expect=Works(1),
    ),
]

CONNECTION_FRAMES = [
    case(
        "6.5",
        "SETTINGS with ACK and a payload",
        frame(SETTINGS, ACK, 0, b"\0\x03\0\0\0\x01"),
        expect=Connection(FRAME_SIZE_ERROR),
    ),
    case("6.5", "SETTINGS on a stream", settings(stream=1), expect=Connection(PROTOCOL_ERROR)),
    case("6.5", "SETTINGS of three bytes", frame(SETTINGS, 0, 0, b"\0\x03\0"), expect=Connection(FRAME_SIZE_ERROR)),
    case("6.5.2", "SETTINGS_ENABLE_PUSH of two", setting(ENABLE_PUSH, 2), expect=Connection(PROTOCOL_ERROR)),
    case(
        "6.5.2",
        "SETTINGS_INITIAL_WINDOW_SIZE over 2^31-1",
        setting(INITIAL_WINDOW_SIZE, 1 << 31),
        expect=Connection(FLOW_CONTROL_ERROR),
    ),
    case(
        "6.5.2", "SETTINGS_MAX_FRAME_SIZE under 2^14", setting(MAX_FRAME_SIZE, 16383), expect=Connection(PROTOCOL_ERROR)
    ),
    case(
        "6.5.2",
        "SETTINGS_MAX_FRAME_SIZE over 2^24-1",
        setting(MAX_FRAME_SIZE, 1 << 24),
        expect=Connection(PROTOCOL_ERROR),
    ),
    case(
        "6.6",
        "PUSH_PROMISE from a client",
        HALF_CLOSED,
        frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + GET_BLOCK),
        expect=Connection(PROTOCOL_ERROR),
    ),
    case("6.7", "PING on a stream", ping(stream=1), expect=Connection(PROTOCOL_ERROR)),
    case("6.7", "PING of six bytes", ping(b"012345"), expect=Connection(FRAME_SIZE_ERROR)),
    case("6.7", "PING of nine bytes", ping(b"012345678"), expect=Connection(FRAME_SIZE_ERROR)),
    case("6.8", "GOAWAY on a stream", goaway(stream=1), expect=Connection(PROTOCOL_ERROR)),
    case(
        "6.8",
        "GOAWAY of seven bytes",
        frame(GOAWAY, 0, 0, b"\0" * 7),
        expect=Connection(FRAME_SIZE_ERROR, PROTOCOL_ERROR),
    ),
]

FLOW_CONTROL = [
    case("6.9", "WINDOW_UPDATE of zero on the connection", window_update(0, 0), expect=Connection(PROTOCOL_ERROR)),
    case(
        "6.9", "WINDOW_UPDATE of zero on a stream", HALF_CLOSED, window_update(1, 0), expect=Stream(1, PROTOCOL_ERROR)
    ),
    case(
        "6.9",
        "WINDOW_UPDATE of three bytes",
        frame(WINDOW_UPDATE, 0, 0, b"\0\0\x01"),
        expect=Connection(FRAME_SIZE_ERROR),
    ),
    case(
        "6.9",
        "WINDOW_UPDATE of five bytes",
        frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0\x01"),
        expect=Connection(FRAME_SIZE_ERROR),
    ),
    case("6.9", "the reserved bit of WINDOW_UPDATE is ignored", window_update(0, 0x80000001), expect=Works()),
    case(
        "6.9.1",
        "the connection's window over 2^31-1",
        window_update(0, (1 << 31) - 1),
        window_update(0, (1 << 31) - 1),
        expect=Connection(FLOW_CONTROL_ERROR),
    ),
    case(
        "6.9.1",
        "a stream's window over 2^31-1",
        HALF_CLOSED,
        window_update(1, (1 << 31) - 1),
        window_update(1, (1 << 31) - 1),
        expect=Stream(1, FLOW_CONTROL_ERROR),
    ),
    case(
        "6.9.2",
        "a window that SETTINGS pushes over 2^31-1",
        HALF_CLOSED,
        window_update(1, (1 << 31) - 65536),
        setting(INITIAL_WINDOW_SIZE, 65636),
        expect=Stream(1, FLOW_CONTROL_ERROR),
    ),
]

CONTINUATIONS = [
    case(
        "6.10",
        "a field block in one CONTINUATION",
        headers(1, GET_BLOCK[:9], END_STREAM),
        continuation(1, GET_BLOCK[9:]),
        expect=Works(1),
    ),
    case(
        "6.10",
        "a field block in many CONTINUATIONs",
        headers(1, GET_BLOCK[:9], END_STREAM),
        *[continuation(1, bytes([byte]), 0) for byte in GET_BLOCK[9:14]],
        continuation(1, GET_BLOCK[14:]),
        expect=Works(1),
    ),
    case("6.10", "CONTINUATION on stream 0", OPEN, continuation(0), expect=Connection(PROTOCOL_ERROR)),
    case("6.10", "CONTINUATION of another stream", OPEN, continuation(3), expect=Connection(PROTOCOL_ERROR)),
    case(
        "6.10",
        "DATA between HEADERS and CONTINUATION",
        headers(1, GET_BLOCK, 0),
        data(1, b"x"),
        continuation(1),
        expect=Connection(PROTOCOL_ERROR),
    ),
    case(
        "6.10",
        "SETTINGS between CONTINUATIONs",
        OPEN,
        continuation(1, b"", 0),
        settings(),
        expect=Connection(PROTOCOL_ERROR),
    ),
    case(
        "6.10", "CONTINUATION after END_HEADERS", post(1, "/wait"), continuation(1), expect=Connection(PROTOCOL_ERROR)
    ),
    case(
        "6.10",
        "CONTINUATION after the last CONTINUATION",
        headers(1, block(*pseudo(method="POST", path="/wait")), 0),
        continuation(1),
        continuation(1),
        expect=Connection(PROTOCOL_ERROR),
    ),
    case(
        "6.10",
        "CONTINUATION after DATA",
        post(1, "/wait"),
        data(1, b"x"),
        continuation(1),
        expect=Connection(PROTOCOL_ERROR),
    ),
]

CASES = [
    *FRAMES,
    *COMPRESSION,
    *STREAM_STATES,
    *DATA_AND_HEADERS,
    *PRIORITIES_AND_RESETS,
    *CONNECTION_FRAMES,
    *FLOW_CONTROL,
    *CONTINUATIONS,
]
