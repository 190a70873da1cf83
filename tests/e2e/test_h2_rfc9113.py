"""RFC 9113, sections 4 to 8, frame by frame. The cases are data: see h2_frames.py and h2_messages.py."""

from __future__ import annotations

import hyperframe.frame as hf
import pytest

import h2_frames
import h2_messages
import h2wire as h2
from h2_case import H2_CRATE, LATE, Case, Connection, Expectation, Ignorable, Incomplete, Malformed, Stream, Works
from h2wire import Seen, Wire


def known(name: str) -> list[pytest.MarkDecorator]:
    return (
        [pytest.mark.xfail(strict=True, raises=AssertionError, reason=f"h2 crate: {H2_CRATE[name]}")]
        if name in H2_CRATE
        else []
    )


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.id, marks=known(case.id)) for case in [*h2_frames.CASES, *h2_messages.CASES]]
)
def test_case(case: Case, connect, upstream) -> None:
    before = len(upstream.requests)
    wire = connect().start()
    wire.send(*case.frames[:-1])
    if case.after_answer:
        wire.respond(case.after_answer)
    wire.send(case.frames[-1])
    if isinstance(case.expect, Ignorable):
        check_ignorable(wire, case.expect)
        return
    if isinstance(case.expect, Works):
        check_works(wire, case.expect.stream)
        return
    seen = wire.wait(lambda seen: outcome(seen, case.expect) is not None, "outcome")
    assert outcome(seen, case.expect), f"{case.expect}; {seen}"
    arrived = upstream.requests[before:]
    if isinstance(case.expect, Malformed):
        early = [request for request in arrived if not request.target.startswith(LATE)]
        assert early == [], "a malformed request reached the upstream"
    if isinstance(case.expect, Incomplete):
        assert not any(request.complete for request in arrived), "a malformed body reached the upstream whole"


def check_works(wire: Wire, stream: int) -> None:
    """Where the case did not open `stream` itself, opens it now."""
    if stream == Works().stream:
        wire.send(h2.get(stream))
    assert wire.respond(stream).status(stream) == 200, wire.seen


def check_ignorable(wire: Wire, expect: Ignorable) -> None:
    """An error of the right code, or a later request is answered as if nothing had been sent."""
    later = Works().stream
    wire.send(h2.get(later))
    wire.wait(lambda seen: seen.ended(later) or outcome(seen, expect) is not None, "an error or an answer")
    assert wire.seen.status(later) == 200 or outcome(wire.seen, expect), wire.seen
    assert len(wire.seen.heads.get(expect.stream, [])) <= 1, "a closed stream was answered again"


def outcome(seen: Seen, expect: Expectation) -> bool | None:
    """True or False once the server has decided, None while it may still."""
    if seen.goaway_code() not in (None, h2.NO_ERROR):
        # The h2 crate reports what its frame decoder refuses as an unspecific PROTOCOL_ERROR; the
        # connection ends the same, and no peer can use the difference.
        return seen.goaway_code() in (*codes(expect), h2.PROTOCOL_ERROR)
    stream = getattr(expect, "stream", None)
    if stream is not None and seen.reset_code(stream) not in (None, h2.NO_ERROR):
        return not isinstance(expect, Connection) and seen.reset_code(stream) in codes(expect)
    if isinstance(expect, Malformed | Incomplete) and seen.status(stream):
        return 400 <= seen.status(stream) < 500
    if seen.closed:
        return True
    return None


def codes(expect: Expectation) -> tuple[int, ...]:
    """The codes that fit; for a malformed message PROTOCOL_ERROR (8.1.1)."""
    return getattr(expect, "codes", (h2.PROTOCOL_ERROR,))


@pytest.mark.parametrize(
    "opening",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: chat-test.localhost\r\n\r\n", id="HTTP/1.1 text"),
        pytest.param(h2.PREFACE[:-2] + b"XX" + h2.settings(), id="a preface with a wrong end"),
        pytest.param(h2.PREFACE + h2.ping(), id="no SETTINGS first", marks=known("no SETTINGS first")),
        pytest.param(h2.PREFACE + h2.get(1), id="a request first", marks=known("a request first")),
    ],
)
def test_3_4_a_wrong_preface_ends_the_connection(opening: bytes, connect, upstream) -> None:
    before = len(upstream.requests)
    wire = connect()
    wire.send(opening)
    expect = Connection(h2.PROTOCOL_ERROR)
    seen = wire.wait(lambda seen: seen.pongs() or seen.status(1) or outcome(seen, expect) is not None, "refusal")
    assert outcome(seen, expect), seen
    # What a test before has broken off may still be coming in, and is not whole.
    assert not [request for request in upstream.requests[before:] if request.complete]


def test_5_1_2_streams_over_the_announced_limit_are_refused(connect) -> None:
    wire = connect().start()
    limit = wire.seen.server_settings()[h2.MAX_CONCURRENT_STREAMS]
    last = 2 * limit + 1
    wire.send(*[h2.get(stream, "/wait") for stream in range(1, last + 1, 2)])
    expect = Stream(last, h2.REFUSED_STREAM, h2.PROTOCOL_ERROR)
    seen = wire.wait(lambda seen: outcome(seen, expect) is not None, "refusal")
    assert outcome(seen, expect), seen


def test_5_4_1_the_connection_is_closed_after_goaway(connect) -> None:
    wire = connect().start()
    wire.send(h2.ping(stream=1))
    wire.wait(lambda seen: seen.closed, "end of the connection")


def test_6_5_3_every_settings_frame_is_acknowledged(connect) -> None:
    wire = connect().start()
    wire.send(*[h2.settings((h2.INITIAL_WINDOW_SIZE, 1000 + n)) for n in range(5)])
    wire.wait(lambda seen: seen.acks() == 6, "six acknowledgements")


def test_6_5_3_the_last_value_of_a_repeated_setting_holds(connect) -> None:
    wire = connect().start((h2.INITIAL_WINDOW_SIZE, 100), (h2.INITIAL_WINDOW_SIZE, 1))
    wire.send(h2.get(1))
    wire.wait(lambda seen: seen.body(1), "DATA")
    assert len(wire.seen.of(hf.DataFrame, 1)[0].data) == 1, wire.seen


def test_6_7_a_ping_is_answered_with_its_payload(connect) -> None:
    wire = connect().start()
    wire.send(h2.ping(b"\0\1\2\3\4\5\6\7"))
    wire.wait(lambda seen: b"\0\1\2\3\4\5\6\7" in seen.pongs(), "the answer to PING")


def test_6_7_a_ping_with_ack_is_not_answered(connect) -> None:
    wire = connect().start()
    wire.send(h2.ping(b"unasked!", flags=h2.ACK), h2.ping(b"question"))
    wire.wait(lambda seen: b"question" in seen.pongs(), "the answer to PING")
    assert b"unasked!" not in wire.seen.pongs()


def test_6_8_streams_that_are_open_at_goaway_still_finish(connect) -> None:
    wire = connect().start()
    wire.send(h2.post(1), h2.goaway(), h2.data(1, b"x", h2.END_STREAM))
    assert wire.respond(1).status(1) == 200


def test_6_9_no_more_data_than_the_window_allows(connect) -> None:
    wire = connect().start((h2.INITIAL_WINDOW_SIZE, 3))
    wire.send(h2.get(1, "/big/10"))
    wire.wait(lambda seen: len(seen.body(1)) == 3, "three bytes")
    wire.send(h2.ping(b"flushing"))
    wire.wait(lambda seen: b"flushing" in seen.pongs(), "the answer to PING")
    assert len(wire.seen.body(1)) == 3
    wire.send(h2.window_update(1, 7))
    assert wire.respond(1).body(1) == bytes(range(10))


def test_6_9_2_a_changed_initial_window_applies_to_open_streams(connect) -> None:
    wire = connect().start((h2.INITIAL_WINDOW_SIZE, 0))
    wire.send(h2.get(1, "/big/10"))
    wire.wait(lambda seen: seen.status(1), "the head")
    assert wire.seen.body(1) == b""
    wire.send(h2.settings((h2.INITIAL_WINDOW_SIZE, 10)))
    assert wire.respond(1).body(1) == bytes(range(10))


def test_6_9_2_a_window_may_become_negative(connect) -> None:
    wire = connect().start((h2.INITIAL_WINDOW_SIZE, 3))
    wire.send(h2.get(1, "/big/6"))
    wire.wait(lambda seen: len(seen.body(1)) == 3, "three bytes")
    wire.send(h2.settings((h2.INITIAL_WINDOW_SIZE, 2)), h2.window_update(1, 2))
    # The window is -1 + 2: one more byte, and not two.
    wire.wait(lambda seen: len(seen.body(1)) >= 4, "a fourth byte")
    wire.send(h2.ping(b"negative"))
    wire.wait(lambda seen: b"negative" in seen.pongs(), "the answer to PING")
    assert len(wire.seen.body(1)) == 4, wire.seen
    wire.send(h2.window_update(1, 2))
    assert wire.respond(1).body(1) == bytes(range(6))


def test_6_1_no_frame_is_larger_than_the_client_allows(connect) -> None:
    wire = connect().start((h2.INITIAL_WINDOW_SIZE, 1 << 20))
    wire.send(h2.window_update(0, 1 << 20), h2.get(1, "/big/200000"))
    seen = wire.respond(1)
    assert len(seen.body(1)) == 200_000
    assert max(len(f.data) for f in seen.of(hf.DataFrame, 1)) <= 16384


def test_8_4_nothing_is_pushed(connect) -> None:
    wire = connect().start((h2.ENABLE_PUSH, 0))
    wire.send(h2.get(1))
    assert not wire.respond(1).of(hf.PushPromiseFrame)
