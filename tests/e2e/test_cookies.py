"""Browsers that take fewer cookies than the chat would like: none of third parties, or none of its host at all.

Streamlit guards uploads with a cookie of its own, so that an upload shows whether cookies work.
Each browser proves first that it is what it says.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

import browser as browsers
import chat
from browser import BLOCKING, KEPT, PROBE, Record
from deployment import Deployment
from upstream import RawUpstream
from visitor import DOCUMENT, FRAME, SCRIPT, Visitor


@pytest.fixture(scope="module", params=BLOCKING)
def blocking(request: pytest.FixtureRequest, certificates, tmp_path_factory: pytest.TempPathFactory):
    """A browser that blocks, and what it blocks."""
    preferences = {"profile": BLOCKING[request.param]}
    folder = tmp_path_factory.mktemp("chromium")
    with browsers.chromium(folder, spki=certificates.spki, preferences=preferences) as context:
        yield request.param, context


@pytest.fixture
def blocked(blocking) -> str:
    return blocking[0]


@pytest.fixture
def page(blocking):
    _, context = blocking
    context.clear_cookies()
    fresh = context.new_page()
    yield fresh
    fresh.close()


def test_the_usual_browser_takes_both(door: Deployment, chrome) -> None:
    """The control: only with this does what the others lack come from their settings."""
    page = chrome.new_page()
    page.goto(door.page("v167", chat=door.launch("public", "v167")))
    assert chat.chat_frame(page, door.chat("public", "v167")).evaluate(PROBE) == ["parted=1", "plain=1"]
    page.close()


def check_blocked(page: Page, blocked: str, origin: str) -> None:
    frame = chat.chat_frame(page, origin)
    assert frame.evaluate(PROBE) == KEPT[blocked]
    assert urlsplit(frame.url).path.startswith("/.v/") == (blocked == "all"), frame.url


def test_an_upload_works_in_a_frame(blocked: str, tenant: str, door: Deployment, page: Page) -> None:
    page.goto(door.page(tenant, chat=door.launch("customer", tenant)))
    app = page.frame_locator("#chat-iframe")
    chat.user(page, app, "12345")
    check_blocked(page, blocked, door.chat("customer", tenant))
    chat.upload(app, 100_000)
    chat.press(app, "customer", 1)
    chat.say(app, "customer", "still here")
    told = chat.user(page, app, "12345")
    # Streamlit's own cookie is with it again; ours never is.
    assert "_streamlit_xsrf=" in told["headers"]["cookie"][0]
    assert "__Host-vestibule" not in str(told)


def test_the_handshake_completes(blocked: str, tenant: str, door: Deployment, page: Page) -> None:
    """The identity goes by postMessage alone, into a document that had none."""
    record = Record(page)
    origin = door.chat("customer", tenant)
    page.goto(door.page(tenant, "/seed", chat=origin, user=12345, loading="eager", fallback="false"))
    record.wait("ready")
    page.locator("#chat-launcher").click()
    record.wait("ack")
    app = page.frame_locator("#chat-iframe")
    chat.user(page, app, "12345")
    check_blocked(page, blocked, origin)
    chat.upload(app, 1000)
    assert not record.of("error"), str(record)


def test_another_user_takes_over(blocked: str, tenant: str, door: Deployment, page: Page) -> None:
    page.goto(door.page(tenant, "/account", chat=door.chat("customer", tenant)))
    app = page.frame_locator("#chat-iframe")
    page.evaluate("signIn(41, 'url')")
    chat.user(page, app, "41")
    chat.say(app, "customer", "a secret of the first")
    page.evaluate("signIn(42, 'url')")
    told = chat.user(page, app, "42")
    assert (told["owner"], told["messages"]) == ("42", [])


def test_a_page_of_its_own_needs_no_cookie_to_show_its_user(
    blocked: str, tenant: str, door: Deployment, page: Page
) -> None:
    """In a tab the cookie is a first party's; where even that is blocked, the visitor is told so."""
    page.goto(door.launch("customer", tenant))
    if blocked == "third-party":
        chat.user(page, page, "12345")
        return
    assert "/.v/" not in page.url
    expect(page.get_by_text("facts: ")).to_have_count(0)


def test_the_token_stands_in_no_log_and_no_referrer(tenant: str, door: Deployment, page: Page, blocked: str) -> None:
    page.goto(door.page(tenant, chat=door.launch("customer", tenant)))
    app = page.frame_locator("#chat-iframe")
    told = chat.user(page, app, "12345")
    chat.upload(app, 1000)
    if blocked == "third-party":
        assert "/.v/" not in str(told)
        return
    token = urlsplit(chat.chat_frame(page, door.chat("customer", tenant)).url).path.split("/")[2]
    assert len(token) > 40
    check_unlogged(door, token)
    assert token not in str(chat.facts(page, app))
    assert token not in page.evaluate("document.body.innerText")


def check_unlogged(door: Deployment, token: str) -> None:
    for file in [door.access, door.log]:
        text = file.read_text(errors="replace")
        # Not even the part of it that would do as a name.
        assert token not in text and token[:32] not in text, file


class Prefixed:
    """A visitor without cookies, in a frame, under `/.v/TOKEN/`."""

    def __init__(self, door: Deployment, ca, persona: str, user_id: int) -> None:
        self.visitor = Visitor(door.port, ca, keeps_cookies=False)
        self.origin = door.chat(persona, "wire")
        self.answer = self.visitor.open(door.launch(persona, "wire", user_id=user_id), FRAME)
        path = urlsplit(self.visitor.at).path
        assert path.startswith("/.v/"), self.visitor.at
        self.token = path.split("/")[2]

    def get(self, path: str, kind: dict[str, str] = SCRIPT, origin: str | None = None):
        return self.visitor.get(f"{origin or self.origin}/.v/{self.token}{path}", kind)


def test_the_prefix_opens_in_frames_only(door: Deployment, certificates) -> None:
    """A link that somebody was sent does not make them somebody else."""
    chat_ = Prefixed(door, certificates.ca, "customer", 41)
    assert chat_.answer.status == 200
    assert chat_.answer.value("referrer-policy") == "same-origin"
    answer = chat_.get("/", DOCUMENT)
    assert answer.status == 403, answer
    assert chat_.get("/", {"Sec-Fetch-Dest": "document", "Accept": "text/html"}).code == "frame_only"
    assert chat_.get("/", FRAME).status == 200


def test_the_prefix_is_gone_before_the_app(door: Deployment, certificates, wire_upstream: RawUpstream) -> None:
    chat_ = Prefixed(door, certificates.ca, "customer", 41)
    marker = "under-the-prefix"
    referrer = f"{chat_.origin}/.v/{chat_.token}/?user_id=41"
    assert chat_.get(f"/static/{marker}.js?a=b", SCRIPT | {"Referer": referrer}).status == 200
    (request,) = wire_upstream.to(marker)
    assert request.target == f"/static/{marker}.js?a=b"
    assert request.values("x-vestibule-user-id") == ["41"]
    seen = [request.head for request in wire_upstream.requests if chat_.token.encode() in request.head]
    assert seen == []
    check_unlogged(door, chat_.token)


def test_the_apps_own_cookies_are_kept_for_it(door: Deployment, certificates, wire_upstream: RawUpstream) -> None:
    """By the session, not by the browser, and for nobody else."""
    first, second = (Prefixed(door, certificates.ca, "customer", user) for user in (41, 42))
    answer = first.get("/static/crumbs-1.js")
    assert answer.values("set-cookie") == [], answer
    for chat_, marker, expected in [(first, "kept-1", {"crumb=one", "flavour=two"}), (second, "kept-2", set())]:
        assert chat_.get(f"/static/{marker}.js").status == 200
        (request,) = wire_upstream.to(marker)
        assert {pair for value in request.values("cookie") for pair in value.split("; ")} == expected


def test_a_token_is_good_for_its_persona_alone(door: Deployment, certificates, wire_upstream: RawUpstream) -> None:
    chat_ = Prefixed(door, certificates.ca, "customer", 41)
    answer = chat_.get("/static/stolen.js", origin=door.chat("employee", "wire"))
    assert answer.status == 401, answer
    changed = chat_.token[:-2] + ("AA" if not chat_.token.endswith("AA") else "BB")
    assert chat_.visitor.get(f"{chat_.origin}/.v/{changed}/static/stolen.js", SCRIPT).status == 401
    # Nor does it do as a cookie.
    name = "__Host-vestibule-0000000000000000"
    with_cookie = Visitor(door.port, certificates.ca)
    with_cookie.open(door.launch("customer", "wire", user_id=7))
    host = door.host("customer", "wire")
    (name,) = with_cookie.jar[host]
    with_cookie.jar[host][name] = chat_.token
    assert with_cookie.get(f"{chat_.origin}/static/stolen.js", SCRIPT).status == 401
    assert wire_upstream.to("stolen") == []


def test_an_app_with_absolute_addresses_explains_itself(
    door: Deployment, certificates, wire_upstream: RawUpstream
) -> None:
    """It cannot live under a prefix: its visitor is told what to do, and the app is not asked."""
    visitor = Visitor(door.port, certificates.ca, keeps_cookies=False)
    before = len(wire_upstream.requests)
    answer = visitor.open(f"{door.chat('generic', 'wire')}/?mode=customer&user_id=41", FRAME)
    assert answer.value("content-type").startswith("text/html"), answer
    assert b"cookie" in answer.body.lower()
    asked = [request for request in wire_upstream.requests[before:] if b"generic-wire" in request.head]
    assert asked == []
