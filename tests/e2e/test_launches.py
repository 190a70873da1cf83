"""What a launch may say, over the wire: the seed's payload matrix, bare documents, limits, closed paths.

Expectations are written from the contract ("Decisions", user_id, mode, "Awaiting config", "Limits"),
not from the answers.
"""

from __future__ import annotations

import re
import urllib.request
from urllib.error import HTTPError

import pytest
from playwright.sync_api import Page, expect
from websockets.exceptions import InvalidStatus

import chat
from deployment import Deployment
from streamlit_wire import stream
from upstream import RawUpstream
from visitor import DOCUMENT, FRAME, PROGRAM, SCRIPT, Visitor

OK = (200, None)
MODE = (403, "mode_mismatch")
MISSING = (400, "user_id_missing")
INVALID = (400, "user_id_invalid")
CONTRADICTS = (400, "metadata_contradiction")
VALUE = (400, "parameter_invalid")
TWICE = (400, "parameter_duplicate")

REQUIRED = "&require_user_id=true&allow_generated_id=false"

# (persona, query, expected): MODE stands for the persona's own mode.
MATRIX = [
    # The seed's rows, as its host page sends them.
    ("public", "mode=public&require_user_id=false&allow_generated_id=true", OK),
    ("public", "mode=public&require_user_id=false&allow_generated_id=true&user_id=fp.3c7a", OK),
    ("customer", "mode=customer&user_id=12345" + REQUIRED, OK),
    ("employee", "mode=employee&user_id=2041" + REQUIRED, OK),
    ("customer", "mode=customer&user_id=12345" + REQUIRED + "&direction=rtl&v=1700000000000", OK),
    # Nothing is said: the public persona makes an id up, the others wait for their host page.
    ("public", "", OK),
    ("customer", "", OK),
    ("employee", "", OK),
    ("test", "", OK),
    ("customer", "direction=rtl&v=1", OK),
    # Display name and the like "can ride alongside".
    ("customer", "mode=customer&user_id=7&display_name=Zo%C3%AB&org=x&org=y", OK),
    # A launch without mode inherits it.
    ("customer", "user_id=7", OK),
    ("employee", "user_id=7", OK),
    # Another persona's mode, or none that exists.
    *(
        (persona, f"mode={mode}&user_id=7", MODE)
        for persona in ["public", "customer", "employee", "test"]
        for mode in ["public", "customer", "employee", "test"]
        if mode != persona
    ),
    ("customer", "mode=admin&user_id=7", MODE),
    ("customer", "mode=&user_id=7", MODE),
    ("customer", "mode=Customer&user_id=7", MODE),
    # Who says something about identity says all.
    *((persona, f"mode={persona}", MISSING) for persona in ["customer", "employee"]),
    *((persona, f"mode={persona}" + REQUIRED, MISSING) for persona in ["customer", "employee"]),
    ("customer", "require_user_id=true", MISSING),
    # A positive integer, as JavaScript counts exactly.
    *(("customer", f"mode=customer&user_id={value}", OK) for value in ["1", "9", "9007199254740991"]),
    *(
        (persona, f"mode={persona}&user_id={value}", INVALID)
        for persona in ["customer", "employee"]
        for value in [
            "",
            "0",
            "-1",
            "%2B1",
            "01",
            "1.0",
            "1e3",
            "0x10",
            "9007199254740992",
            "99999999999999999",
            "1%00",
            "%201",
            "1%20",
            "1%0A",
            "abc",
            "null",
            "undefined",
            "NaN",
            "%D9%A1",
            "12345%2C678",
            "true",
        ]
    ),
    # Public ids are tokens.
    *(("public", f"mode=public&user_id={value}", OK) for value in ["0", "a", "A-Z.0_9:x", "x" * 128]),
    *(
        ("public", f"mode=public&user_id={value}", INVALID)
        for value in ["", "a%20b", "a%2Fb", "%C3%A9", "x" * 129, "a%0D%0Ab"]
    ),
    # The persona is as it is configured.
    ("public", "mode=public&require_user_id=true&user_id=a", CONTRADICTS),
    ("public", "mode=public&allow_generated_id=false", CONTRADICTS),
    ("customer", "mode=customer&user_id=7&require_user_id=false", CONTRADICTS),
    ("customer", "mode=customer&user_id=7&allow_generated_id=true", CONTRADICTS),
    ("employee", "mode=employee&user_id=7&require_user_id=false&allow_generated_id=true", CONTRADICTS),
    # Flags and directions are spelled one way.
    *(
        ("customer", f"mode=customer&user_id=7&require_user_id={value}", VALUE)
        for value in ["", "1", "yes", "True", "TRUE"]
    ),
    *(("customer", f"mode=customer&user_id=7&allow_generated_id={value}", VALUE) for value in ["", "0", "no", "False"]),
    *(("customer", f"mode=customer&user_id=7&direction={value}", OK) for value in ["ltr", "rtl", "auto"]),
    *(("customer", f"mode=customer&user_id=7&direction={value}", VALUE) for value in ["", "LTR", "up"]),
    # Never twice, not even with one value, not even spelled differently.
    ("customer", "mode=customer&user_id=7&user_id=7", TWICE),
    ("customer", "mode=customer&user_id=7&user_id=8", TWICE),
    ("customer", "mode=customer&user_id=7&%75ser_id=8", TWICE),
    ("customer", "mode=customer&mode=customer&user_id=7", TWICE),
    ("customer", "user_id=7&direction=ltr&direction=rtl", TWICE),
    ("public", "allow_generated_id=true&allow_generated_id=true", TWICE),
    # The test persona takes both formats and all flags.
    *(("test", f"mode=test&user_id={value}", OK) for value in ["7", "qa-17.b"]),
    ("test", "mode=test&require_user_id=true&user_id=7", OK),
    ("test", "mode=test&require_user_id=true", MISSING),
    ("test", "mode=test&require_user_id=false&allow_generated_id=true", OK),
    ("test", "mode=test&require_user_id=false&allow_generated_id=false", OK),
    ("test", "mode=test&user_id=a%20b", INVALID),
    # In an encoded spelling it is the same parameter; in another case it is another one.
    ("customer", "mode=customer&%75ser_id=7", OK),
    ("customer", "mode=customer&User_Id=7", MISSING),
]


@pytest.mark.parametrize(("persona", "query", "expected"), MATRIX, ids=lambda value: str(value)[:70] or "bare")
def test_the_payload_matrix(
    persona: str, query: str, expected: tuple[int, str | None], door: Deployment, visitor: Visitor
) -> None:
    url = f"{door.chat(persona, 'wire')}/" + (f"?{query}" if query else "")
    answer = visitor.open(url, PROGRAM)
    assert (answer.status, answer.code) == expected, answer
    if expected != OK:
        # A refusal says nothing back and starts nothing.
        assert not visitor.jar, answer


def test_a_refused_launch_never_reaches_the_app(door: Deployment, visitor: Visitor, wire_upstream: RawUpstream) -> None:
    marker = "refused-launch"
    answer = visitor.open(f"{door.chat('customer', 'wire')}/{marker}?mode=customer&user_id=abc", PROGRAM)
    assert (answer.status, answer.code) == INVALID
    assert wire_upstream.to(marker) == []
    assert "abc" not in answer.body.decode()


def test_a_frame_is_shown_a_page_instead_of_a_problem(door: Deployment, visitor: Visitor) -> None:
    answer = visitor.open(f"{door.chat('customer', 'wire')}/?user_id=abc", FRAME | {"Accept": "text/html"})
    assert answer.status == 400
    assert answer.value("content-type").startswith("text/html"), answer
    assert "abc" not in answer.body.decode()


def refused(visitor: Visitor, origin: str, query: str = "") -> tuple[int, str]:
    """The answer to a WebSocket handshake that is refused."""
    with pytest.raises(InvalidStatus) as error, stream(visitor, origin, f"/_stcore/stream{query}"):
        pass
    response = error.value.response
    return response.status_code, response.body.decode()


def test_a_bare_document_opens_no_stream_before_its_identity(tenant: str, door: Deployment, visitor: Visitor) -> None:
    origin = door.chat("customer", tenant)
    answer = visitor.open(f"{origin}/", DOCUMENT)
    assert answer.status == 200
    assert b"/.vestibule/bridge.js" in answer.body
    assert visitor.get(f"{origin}/.vestibule/bridge.js", SCRIPT).status == 200
    status, body = refused(visitor, origin)
    assert (status, "identity_incomplete" in body) == (401, True), body


def test_a_bare_document_inherits_no_identity(door: Deployment, visitor: Visitor) -> None:
    """Not that of an earlier URL, in the same browser."""
    origin = door.chat("customer", "v167")
    visitor.open(door.launch("customer", "v167", user_id=41))
    with stream(visitor, origin) as opened:
        chat.check_user(opened.run(), "41")
    assert visitor.open(f"{origin}/", DOCUMENT).status == 200
    status, body = refused(visitor, origin)
    assert (status, "identity_incomplete" in body) == (401, True), body


def test_a_posted_configuration_completes_a_bare_document(tenant: str, door: Deployment, visitor: Visitor) -> None:
    """What the bridge script does, by hand."""
    origin = door.chat("customer", tenant)
    visitor.open(f"{origin}/", DOCUMENT)
    body = b'{"mode":"customer","user_id":77,"require_user_id":true,"allow_generated_id":false,"direction":"ltr"}'
    fields = SCRIPT | {"Origin": origin, "Content-Type": "application/json"}
    answer = visitor.request("POST", f"{origin}/.vestibule/config", fields, body)
    assert answer.status == 200, answer
    assert b'"complete"' in answer.body
    with stream(visitor, origin) as opened:
        chat.check_user(opened.run(), "77")
    # Another page's script, with the visitor's cookie, changes nobody.
    foreign = fields | {"Origin": "https://elsewhere.test", "Sec-Fetch-Site": "cross-site"}
    answer = visitor.request("POST", f"{origin}/.vestibule/config", foreign, body.replace(b"77", b"78"))
    assert (answer.status, answer.code) == (403, "origin_not_allowed"), answer
    with stream(visitor, origin) as opened:
        chat.check_user(opened.run(), "77")


def test_without_the_bridge_the_app_is_told_that_identity_is_awaited(
    tenant: str, door: Deployment, visitor: Visitor
) -> None:
    origin = door.chat("plain", tenant)
    answer = visitor.open(f"{origin}/", DOCUMENT)
    assert answer.status == 200
    assert b"bridge.js" not in answer.body
    with stream(visitor, origin) as opened:
        told = opened.run()
    assert told["headers"]["x-vestibule-identity-state"] == ["awaiting"]
    assert "x-vestibule-user-id" not in told["headers"]
    assert not told["user"].get("user_id")


def test_with_strict_config_nothing_opens_behind_a_bare_document(
    door: Deployment, visitor: Visitor, wire_upstream: RawUpstream
) -> None:
    origin = door.chat("strict", "wire")
    marker = "strict-bare"
    answer = visitor.open(f"{origin}/{marker}", DOCUMENT | {"Accept": "text/html"})
    assert answer.status == 200, answer
    assert b"/.vestibule/bridge.js" in answer.body
    for path in [f"/static/{marker}.js", f"/media/{marker}.png", f"/_stcore/upload_file/{marker}/1"]:
        assert visitor.get(origin + path, SCRIPT).code == "identity_incomplete", path
    status, body = refused(visitor, origin, f"?{marker}")
    assert (status, "identity_incomplete" in body) == (401, True), body
    assert wire_upstream.to(marker) == []


def test_a_sub_request_without_a_session_is_refused_where_identity_is_required(
    door: Deployment, visitor: Visitor, wire_upstream: RawUpstream
) -> None:
    marker = "no-session"
    for persona, expected in [("customer", "session_missing"), ("employee", "session_missing"), ("test", None)]:
        answer = visitor.get(f"{door.chat(persona, 'wire')}/static/{marker}-{persona}.js", SCRIPT)
        assert answer.code == expected, answer
        assert len(wire_upstream.to(f"{marker}-{persona}")) == (expected is None)


def test_a_cold_page_passes_with_the_default_limits(door: Deployment, page: Page) -> None:
    """Over sixty requests are one launch."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    answers: list[int] = []
    page.on("response", lambda response: answers.append(response.status))
    page.goto(door.page("cold", chat=door.launch("public", "cold")))
    app = page.frame_locator("#chat-iframe")
    expect(app.get_by_text("facts: ")).to_be_visible()
    chat.press(app, "public", 1)
    chat.upload(app, 1000)
    own = [url for url in asked if url.startswith(door.chat("public", "cold"))]
    assert len(own) > 40, own
    assert 429 not in answers


def test_the_61st_launch_in_a_minute_is_refused(door: Deployment, certificates) -> None:
    """Without cookies, as curl would; assets do not count, and another tenant does not notice."""
    visitor = Visitor(door.port, certificates.ca, keeps_cookies=False)
    launch = door.launch("public", "limited")
    for count in range(1, 61):
        answer = visitor.get(launch, PROGRAM)
        # The document, or the question whether a cookie is kept.
        assert answer.status in (200, 303), (count, answer)
        assert visitor.get(f"{door.chat('public', 'limited')}/static/x{count}.js", SCRIPT).status != 429
    answer = visitor.get(launch, PROGRAM)
    assert (answer.status, answer.code) == (429, "rate_limited"), answer
    assert re.search(r"\bip\b", answer.body.decode()), answer
    assert 1 <= int(answer.value("retry-after")) <= 60
    # draft-ietf-httpapi-ratelimit-headers: lists of items whose name is the bucket.
    assert re.fullmatch(r'"ip";q=60;w=60', answer.value("ratelimit-policy")), answer
    assert re.match(r'"ip";r=0;t=\d+', answer.value("ratelimit")), answer
    # The address is the tenant's, not the persona's.
    assert visitor.get(door.launch("employee", "limited"), DOCUMENT).status == 429
    assert visitor.get(door.launch("public", "wire"), DOCUMENT).status == 200


# One path, as many ways as there are to write it; each reaches Streamlit's metrics through some naive proxy.
SPELLINGS = [
    "/_stcore/metrics",
    "/_stcore/metrics/",
    "/_stcore/metrics?x=1",
    "/%5fstcore/metrics",
    "/%5Fstcore/metrics",
    "/_stcore/%6detrics",
    "/_stcore%2fmetrics",
    "/_stcore%2Fmetrics",
    "/_stcore%5cmetrics",
    "/_stcore\\metrics",
    "/./_stcore/metrics",
    "/_stcore/./metrics",
    "/x/../_stcore/metrics",
    "/%2e/_stcore/metrics",
    "/x/%2e%2e/_stcore/metrics",
    "//_stcore/metrics",
    "/_stcore//metrics",
    "/_stcore/metrics//",
    "/_stcore/metrics%00",
    "/_stcore/metrics%2f",
    "/_stcore/metrics%23",
    "/_STCORE/metrics",
    "/_stcore/Metrics",
    "/%25%35fstcore/metrics",
    "/_stcore/%256detrics",
    "/second/_stcore/metrics",
    "/st-metrics",
    "/st-metrics/",
    "/script-health-check",
    "/_stcore/script-health-check",
    "/_stcore/script-health-check/",
    "/%5fstcore/script-health-check",
    "/_stcore/agent/openapi.json",
    "/_stcore/agent/interact",
    "/_stcore/agent/mcp",
    "/_stcore/agent",
    "/_stcore/%61gent/mcp",
    "/_stcore%2fagent/mcp",
    "https://HOST/_stcore/metrics",
]
# These name no closed path: double encoding is decoded once, `#` is a letter of the name.
NAMES = {"/%25%35fstcore/metrics", "/_stcore/%256detrics", "/_stcore/metrics%23"}
METRICS = (b"# TYPE", b"# HELP", b"# EOF", b"active_sessions", b"cache_")


@pytest.mark.parametrize("path", SPELLINGS)
def test_closed_paths_are_closed_in_every_spelling(path: str, tenant: str, door: Deployment, visitor: Visitor) -> None:
    """With a session, so that nothing else is in the way."""
    origin = door.chat("public", tenant)
    visitor.open(door.launch("public", tenant))
    for method in ["GET", "HEAD", "POST"]:
        target = path.replace("HOST", f"{door.host('public', tenant)}:{door.port}")
        body = b"" if method == "POST" else None
        answer = visitor.request(method, origin, SCRIPT | {"Origin": origin}, body, target)
        assert not any(word in answer.body for word in METRICS), answer
        if path in NAMES:
            assert answer.status != 200 or answer.value("content-type").startswith("text/html"), answer
        elif method != "HEAD":
            assert (answer.status, answer.code) in [
                (403, "path_closed"),
                (400, "path_ambiguous"),
                (400, "target_invalid"),
            ], answer
        else:
            assert answer.status in (400, 403), answer


def test_the_closed_paths_are_open_without_us(tenant: str, streamlits: dict[str, int]) -> None:
    """Otherwise the test above would prove nothing."""
    port = streamlits["1.39" if tenant == "v139" else "1.67"]
    spellings = ["/_stcore/metrics"] + (
        ["/%5fstcore/metrics", "/_stcore%2fmetrics"] if tenant == "v167" else ["/st-metrics"]
    )
    for path in spellings:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
                assert any(word in answer.read() for word in METRICS), path
        except HTTPError as error:
            raise AssertionError(f"{path}: {error.code}") from error
