"""Streamlit behind every persona of the seed, in both supported versions, in a real browser."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

import chat
from browser import Sockets, wait_in
from deployment import SEED, Deployment
from vestibule import wait_until


def check_app(page: Page, app: chat.App, door: Deployment, persona: str, tenant: str) -> None:
    """The app renders, two kinds of widget come back, and it is told where it is."""
    expect(app.get_by_role("heading", name=f"Chat for {persona}")).to_be_visible()
    chat.press(app, persona, 1)
    chat.say(app, persona, "through the door")
    headers = chat.facts(page, app)["headers"]
    assert headers["host"] == [f"{door.host(persona, tenant)}:{door.port}"]
    assert headers["x-forwarded-proto"] == ["https"]
    assert headers["x-vestibule-tenant"] == [tenant]
    assert headers["x-vestibule-persona"] == [persona]
    assert headers["x-vestibule-mode"] == [persona]


def check_socket(sockets: Sockets, door: Deployment, persona: str, tenant: str) -> None:
    """The stream is the persona's own, without a detour and without a prefix."""
    expected = ("wss", f"{door.host(persona, tenant)}:{door.port}", "/_stcore/stream")
    assert expected in [urlsplit(url)[:3] for url in sockets.opened], sockets.opened
    assert sockets.sent and sockets.received


@pytest.mark.parametrize("persona", SEED)
def test_an_app_works_as_a_page(persona: str, tenant: str, door: Deployment, page: Page) -> None:
    sockets = Sockets(page)
    page.goto(door.launch(persona, tenant))
    check_app(page, page, door, persona, tenant)
    chat.upload(page, 100_000)
    check_socket(sockets, door, persona, tenant)


@pytest.mark.parametrize("persona", SEED)
def test_an_app_works_in_an_iframe(persona: str, tenant: str, door: Deployment, page: Page) -> None:
    sockets = Sockets(page)
    page.goto(door.page(tenant, chat=door.launch(persona, tenant)))
    frame = page.frame_locator("#chat-iframe")
    check_app(page, frame, door, persona, tenant)
    check_socket(sockets, door, persona, tenant)


def test_a_second_page_is_a_document_of_its_own(tenant: str, door: Deployment, page: Page) -> None:
    """Launched directly, with an identity of its own, and its relative addresses resolve."""
    page.goto(door.launch("customer", tenant, "/second", user_id=77))
    expect(page.get_by_role("heading", name="Second page")).to_be_visible()
    chat.user(page, page, "77")


def test_a_large_file_uploads(door: Deployment, page: Page) -> None:
    page.goto(door.launch("test", "v167"))
    chat.upload(page, 20_000_000)


def test_a_page_of_another_origin_cannot_frame_it(tenant: str, door: Deployment, page: Page) -> None:
    body = f'<iframe id="chat-iframe" src="{door.launch("public", tenant)}"></iframe>'
    page.route("https://elsewhere.test/", lambda route: route.fulfill(content_type="text/html", body=body))
    page.goto("https://elsewhere.test/", wait_until="load")
    # What Chromium shows in place of a document that may not be framed here.
    refused = ["chrome-error://chromewebdata/"]
    wait_in(
        page,
        lambda: [frame.url for frame in page.frames[1:]] == refused,
        lambda: f"a refusal; the frames are {page.frames[1:]}",
    )
    expect(page.frame_locator("#chat-iframe").get_by_text("presses: 0")).to_have_count(0)


def test_two_pages_keep_their_own_sessions(tenant: str, door: Deployment, chrome) -> None:
    """One browser, two hosts behind one certificate: whatever connections it shares, each app answers."""
    pages = {persona: chrome.new_page() for persona in ["public", "test"]}
    for persona, page in pages.items():
        page.goto(door.launch(persona, tenant))
    for persona, page in pages.items():
        chat.press(page, persona, 1)
        page.close()


def test_the_access_log_tells_who_was_served(door: Deployment, page: Page) -> None:
    """The WebSocket came over HTTP/2 (RFC 8441), and its line names tenant and persona."""
    page.goto(door.launch("public", "v167"))
    expect(page.get_by_text("presses: 0")).to_be_visible()
    before = len(door.lines())
    page.close()

    def lines() -> list[dict]:
        found = [line for line in door.lines()[before:] if line.get("path") == "/_stcore/stream"]
        return [line for line in found if line.get("persona") == "public" and line.get("tenant") == "v167"]

    line = wait_until(lines, "the line of the WebSocket in the access log")[-1]
    assert line["host"].split(":")[0] == door.host("public", "v167")
    assert line["request_id"]
    assert (line["method"], line["status"], line["protocol"]) == ("CONNECT", 200, "2")
    assert line["request_bytes"] > 0 and line["response_bytes"] > 0
