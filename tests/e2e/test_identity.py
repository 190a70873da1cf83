"""Who is asking, as the app is told, and every way in which a visitor may try to be somebody else."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect
from websockets.exceptions import InvalidStatus

import chat
import h2wire as h2
from deployment import Deployment
from h2wire import Wire
from streamlit_wire import stream
from upstream import RawUpstream, Request
from visitor import DOCUMENT, SCRIPT, Visitor

# Spellings of our names that some server behind us could take for them: another case, underscores
# (CGI, WSGI), repeated, nominated by Connection, and what our headers are called besides.
# A valid id that no random number looks like.
FAKE = "660066006600666"
FORGED = [
    ("X-Vestibule-User-Id", FAKE),
    ("x-vestibule-user-id", FAKE),
    ("X_Vestibule_User_Id", FAKE),
    ("x_vestibule_user_id", FAKE),
    ("X-Vestibule_User-Id", FAKE),
    ("X-VESTIBULE-USER-ID", FAKE),
    ("X-Vestibule-Persona", f"employee-{FAKE}"),
    ("X-Vestibule-Tenant", f"tenant-{FAKE}"),
    ("X-Vestibule-Mode", f"mode-{FAKE}"),
    ("X-Vestibule-Assurance", f"signed-{FAKE}"),
    ("X-Vestibule-Session", f"session-{FAKE}"),
    ("X-Vestibule-Assertion", f"assertion-{FAKE}"),
    ("X-Vestibule-Identity-State", f"state-{FAKE}"),
    ("X-Vestibule-Anything-Else", f"else-{FAKE}"),
]
NOMINATED = ("Connection", "X-Vestibule-User-Id, X-Vestibule-Assurance, X_Vestibule_User_Id")


def identity(request: Request) -> dict[str, list[str]]:
    """Every field that any reading of its name would take for ours."""
    found: dict[str, list[str]] = {}
    for line in request.head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        name = re.sub("[-_. ]", "-", name.strip().lower())
        if name.startswith("x-vestibule"):
            found.setdefault(name, []).append(value.strip())
    return found


def check_identity(request: Request, user_id: str) -> None:
    told = identity(request)
    assert told["x-vestibule-user-id"] == [user_id], request.head
    assert told["x-vestibule-assurance"] == ["asserted"], request.head
    assert told["x-vestibule-mode"] == told["x-vestibule-persona"], request.head
    assert all(len(values) == 1 for values in told.values()), request.head
    assert FAKE.encode() not in request.head, request.head
    assert b"__Host-vestibule" not in request.head, request.head


def test_the_app_knows_the_user_of_the_launch(tenant: str, door: Deployment, page: Page) -> None:
    """`st.user` and the headers of the stream, which are all that an app sees."""
    page.goto(door.launch("customer", tenant, user_id=9007199254740991))
    chat.user(page, page, "9007199254740991")


def test_a_generated_id_is_told_as_generated(tenant: str, door: Deployment, page: Page) -> None:
    """It is the same for every stream of the session, and another for another visitor."""

    def generated() -> str:
        headers = chat.facts(page, page)["headers"]
        assert headers["x-vestibule-assurance"] == ["generated"], headers
        return headers["x-vestibule-user-id"][0]

    page.goto(door.launch("public", tenant))
    first = generated()
    page.reload()
    assert generated() == first
    page.context.clear_cookies()
    page.goto(door.launch("public", tenant))
    assert generated() != first


@pytest.mark.parametrize("persona", ["public", "customer", "employee"])
def test_forged_headers_never_arrive(
    persona: str, door: Deployment, visitor: Visitor, wire_upstream: RawUpstream
) -> None:
    """Nor with the launch, nor with what the session asks for, nor with its stream."""
    marker = f"forged-{persona}"
    launch = door.launch(persona, "wire", f"/{marker}", user_id=41)
    assert visitor.open(launch, [*DOCUMENT.items(), *FORGED, NOMINATED]).status == 200
    asset = f"{door.chat(persona, 'wire')}/static/{marker}.js"
    assert visitor.get(asset, [*SCRIPT.items(), *FORGED, NOMINATED]).status == 200
    with stream(visitor, door.chat(persona, "wire"), f"/_stcore/stream?{marker}", headers=FORGED) as opened:
        opened.socket.send("hello")
        assert opened.socket.recv() == "hello"
    arrived = wire_upstream.to(marker)
    assert len(arrived) == 3, [request.head for request in arrived]
    for request in arrived:
        check_identity(request, "41")
    assert len({identity(request)["x-vestibule-session"][0] for request in arrived}) == 1


def test_forged_headers_never_arrive_at_streamlit(tenant: str, door: Deployment, visitor: Visitor) -> None:
    visitor.open(door.launch("customer", tenant, user_id=41))
    with stream(visitor, door.chat("customer", tenant), headers=FORGED) as opened:
        told = opened.run(f"user_id={FAKE}")
    chat.check_user(told, "41")
    assert told["query"] == {"user_id": FAKE}
    assert FAKE not in str(told["headers"])


def test_a_forged_identity_without_a_session_opens_nothing(door: Deployment, visitor: Visitor) -> None:
    with pytest.raises(InvalidStatus) as refused, stream(visitor, door.chat("customer", "v167"), headers=FORGED):
        pass
    assert refused.value.response.status_code == 401
    assert b"session_missing" in refused.value.response.body


def test_a_user_id_changed_inside_the_stream_changes_nothing_that_is_trusted(
    tenant: str, door: Deployment, page: Page
) -> None:
    """`st.query_params` stay what the browser says; headers and `st.user` are what the app may trust."""
    # Same length, so that the message of Streamlit's protocol stays well-formed.
    page.add_init_script("""
        const send = WebSocket.prototype.send;
        WebSocket.prototype.send = function (data) {
            const bytes = new Uint8Array(data.buffer ? data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) : data);
            const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
            const changed = text.replaceAll('user_id=12345', 'user_id=66666');
            send.call(this, Uint8Array.from(changed, (letter) => letter.charCodeAt(0)));
        };
    """)
    page.goto(door.launch("customer", tenant))
    told = chat.user(page, page, "12345")
    assert told["query"]["user_id"] == "66666"
    assert "66666" not in str(told["headers"]) + str(told["user"])
    chat.press(page, "customer", 1)
    chat.user(page, page, "12345")


def test_a_user_id_changed_in_the_address_bar_changes_nothing_that_is_trusted(
    tenant: str, door: Deployment, page: Page
) -> None:
    """A page may rewrite its own URL without a launch; Streamlit sends along what it finds there."""
    page.goto(door.launch("customer", tenant))
    chat.user(page, page, "12345")
    page.evaluate("history.replaceState(null, '', location.href.replace('user_id=12345', 'user_id=66666'))")
    chat.press(page, "customer", 1)
    chat.user(page, page, "12345")


def test_a_cookie_of_one_persona_opens_no_other(door: Deployment, visitor: Visitor) -> None:
    """Under the name that the other persona gives it, too."""
    visitor.open(door.launch("customer", "wire", user_id=41))
    visitor.open(door.launch("employee", "wire", user_id=42))
    hosts = [door.host(persona, "wire") for persona in ["customer", "employee"]]
    (name, token), (other_name, _) = [next(iter(visitor.jar[host].items())) for host in hosts]
    assert name != other_name and name.startswith("__Host-vestibule-")
    for stolen in [{name: token}, {other_name: token}]:
        visitor.jar[hosts[1]] = stolen
        answer = visitor.get(f"{door.chat('employee', 'wire')}/static/x.js", SCRIPT)
        assert (answer.status, answer.code) in [(401, "session_missing"), (401, "session_invalid")], answer


def test_the_session_cookie_is_what_the_contract_says(door: Deployment, visitor: Visitor) -> None:
    answer = visitor.open(door.launch("customer", "wire"))
    (cookie,) = [value for value in answer.values("set-cookie") if value.startswith("__Host-vestibule-")]
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"path=/", "secure", "httponly", "samesite=none", "partitioned"} <= attributes
    assert not any(attribute.startswith("domain") for attribute in attributes)
    assert "12345" not in cookie


def test_two_personas_share_one_connection_and_nothing_else(
    door: Deployment, certificates, visitor: Visitor, wire_upstream: RawUpstream
) -> None:
    """What Chromium does with two hosts on one certificate: one HTTP/2 connection, requests interleaved."""
    users = {"customer": "41", "employee": "42"}
    for persona, user_id in users.items():
        assert visitor.open(door.launch(persona, "wire", user_id=user_id)).status == 200
    with Wire(door.port, certificates.ca, door.host("customer", "wire")) as wire:
        wire.start()
        numbers: dict[int, tuple[str, bool]] = {}
        batch = b""
        for index in range(40):
            number = 1 + 2 * index
            persona, own = list(users)[index % 2], index % 4 < 2
            host = door.host(persona, "wire")
            # Half of them bring the other persona's cookie along, as no browser would.
            others = door.host(next(name for name in users if name != persona), "wire")
            fields = [
                *h2.pseudo(path=f"/static/coalesced-{number}.js", authority=f"{host}:{door.port}"),
                *((name.lower(), value) for name, value in SCRIPT.items()),
                ("cookie", visitor.cookie(host if own else others) + "; theme=dark"),
            ]
            batch += h2.headers(number, h2.block(*fields))
            numbers[number] = (persona, own)
        wire.send(batch)
        for number, (persona, own) in numbers.items():
            seen = wire.respond(number)
            arrived = wire_upstream.to(f"coalesced-{number}.js")
            if not own:
                assert seen.status(number) == 401, seen
                assert arrived == []
                continue
            assert seen.status(number) == 200, seen
            (request,) = arrived
            check_identity(request, users[persona])
            assert identity(request)["x-vestibule-persona"] == [persona]
            assert request.values("cookie") == ["theme=dark"]
            assert not any(name == "set-cookie" and users[persona] in value for name, value in seen.heads[number][0])


def test_two_personas_in_one_browser_keep_their_users_and_cookies(tenant: str, door: Deployment, page: Page) -> None:
    """Two frames of one page, whose requests Chromium sends over one connection."""
    page.goto(door.page(tenant, "/two", first=door.launch("customer", tenant, user_id=41)))
    page.evaluate("url => show('second', url)", door.launch("employee", tenant, user_id=42))
    first, second = page.frame_locator("#first"), page.frame_locator("#second")
    users = {"customer": (first, "41"), "employee": (second, "42")}
    for persona, (app, user_id) in users.items():
        told = chat.user(page, app, user_id)
        assert told["headers"]["x-vestibule-persona"] == [persona]
        assert "__Host-vestibule" not in str(told)
    for persona, (app, user_id) in users.items():
        chat.press(app, persona, 1)
        chat.user(page, app, user_id)
    hosts = {cookie["domain"] for cookie in page.context.cookies() if cookie["name"].startswith("__Host-vestibule-")}
    assert hosts == {door.host(persona, tenant) for persona in users}
    expect(first.get_by_text("employee")).to_have_count(0)
