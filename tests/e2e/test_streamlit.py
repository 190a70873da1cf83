"""Four Streamlit applications for four personas, through Vestibule, in a real browser."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from apps import host_page, streamlit
from browser import Sockets, chromium
from vestibule import PERSONAS, Vestibule, wait_until

expect.set_options(timeout=60_000)

# What a host page sends along for each persona (the seed's payload matrix).
LAUNCHES = {
    "public": "?mode=public&require_user_id=false&allow_generated_id=true",
    "customer": "?mode=customer&user_id=12345&require_user_id=true&allow_generated_id=false&direction=ltr",
    "employee": "?mode=employee&user_id=678&require_user_id=true&allow_generated_id=false&direction=rtl",
    "test": "?mode=test",
}


@pytest.fixture(scope="module")
def streamlit_front(certificates, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("streamlit")
    with ExitStack() as stack:
        ports = {variant: stack.enter_context(streamlit(variant, folder)) for variant in PERSONAS}
        ports["site"] = stack.enter_context(host_page())
        yield stack.enter_context(Vestibule(folder, certificates, ports, app="streamlit"))


@pytest.fixture(scope="module")
def browser(certificates, tmp_path_factory: pytest.TempPathFactory):
    with chromium(tmp_path_factory.mktemp("chromium"), spki=certificates.spki) as context:
        yield context


@pytest.fixture
def page(browser):
    fresh = browser.new_page()
    yield fresh
    fresh.close()


def check_app(app: Page | FrameLocator, persona: str) -> None:
    """The app renders, and two kinds of widget reach the server and come back."""
    expect(app.get_by_role("heading", name=f"Chat for {persona}")).to_be_visible()
    expect(app.get_by_text(f"{persona} presses: 0")).to_be_visible()
    app.get_by_role("button", name="Press").click()
    expect(app.get_by_text(f"{persona} presses: 1")).to_be_visible()
    chat = app.get_by_placeholder("Say something")
    chat.fill("through the door")
    chat.press("Enter")
    expect(app.get_by_text(f"{persona} heard: {'through the door'[::-1]}")).to_be_visible()


def check_upload(app: Page | FrameLocator, size: int) -> None:
    content = os.urandom(size)
    file = {"name": "notes.bin", "mimeType": "application/octet-stream", "buffer": content}
    app.locator("input[type=file]").first.set_input_files(file)
    digest = hashlib.sha256(content).hexdigest()
    expect(app.get_by_text(f"notes.bin: {size} bytes, sha256 {digest}")).to_be_visible()


def headers_seen(app: Page | FrameLocator) -> dict[str, str]:
    """What the application reads from `st.context.headers`: the headers of its WebSocket handshake."""
    return json.loads(app.get_by_test_id("stCode").first.locator("code").inner_text())


def check_headers(app: Page | FrameLocator, front: Vestibule, persona: str) -> None:
    seen = headers_seen(app)
    assert seen["host"] == f"chat-{persona}.localhost:{front.port}"
    assert seen["x-forwarded-proto"] == "https"


def check_socket(sockets: Sockets, front: Vestibule, persona: str) -> None:
    expected = ("wss", f"chat-{persona}.localhost:{front.port}", "/_stcore/stream")
    assert expected in [urlsplit(url)[:3] for url in sockets.opened]
    assert sockets.sent and sockets.received


@pytest.mark.parametrize("persona", PERSONAS)
def test_an_app_works_as_a_page(persona: str, streamlit_front: Vestibule, page: Page) -> None:
    sockets = Sockets(page)
    page.goto(streamlit_front.url(f"chat-{persona}", "/" + LAUNCHES[persona]))
    check_app(page, persona)
    check_upload(page, 100_000)
    check_headers(page, streamlit_front, persona)
    check_socket(sockets, streamlit_front, persona)


@pytest.mark.parametrize("persona", PERSONAS)
def test_an_app_works_in_an_iframe(persona: str, streamlit_front: Vestibule, page: Page) -> None:
    sockets = Sockets(page)
    chat = streamlit_front.url(f"chat-{persona}", "/" + LAUNCHES[persona])
    page.goto(streamlit_front.url("app", f"/?chat={quote(chat, safe='')}"))
    frame = page.frame_locator("#chat-iframe")
    check_app(frame, persona)
    check_headers(frame, streamlit_front, persona)
    check_socket(sockets, streamlit_front, persona)


def test_a_large_file_uploads(streamlit_front: Vestibule, page: Page) -> None:
    page.goto(streamlit_front.url("chat-test", "/" + LAUNCHES["test"]))
    check_upload(page, 20_000_000)


def test_a_file_uploads_from_an_iframe(streamlit_front: Vestibule, page: Page) -> None:
    chat = streamlit_front.url("chat-public", "/" + LAUNCHES["public"])
    page.goto(streamlit_front.url("app", f"/?chat={quote(chat, safe='')}"))
    frame = page.frame_locator("#chat-iframe")
    expect(frame.get_by_text("public presses: 0")).to_be_visible()
    with page.expect_response(lambda answer: answer.request.method == "PUT") as upload:
        frame.locator("input[type=file]").first.set_input_files(
            {"name": "notes.bin", "mimeType": "application/octet-stream", "buffer": b"notes"}
        )
    assert upload.value.ok, f"the upload was answered with {upload.value.status}"


def test_a_page_of_another_origin_cannot_frame_it(streamlit_front: Vestibule, page: Page) -> None:
    chat = streamlit_front.url("chat-public", "/" + LAUNCHES["public"])
    body = f'<iframe id="chat-iframe" src="{chat}"></iframe>'
    page.route("https://elsewhere.test/", lambda route: route.fulfill(content_type="text/html", body=body))
    page.goto("https://elsewhere.test/", wait_until="load")
    # What Chromium shows in place of a document that may not be framed here.
    refused = ["chrome-error://chromewebdata/"]
    for _ in range(100):
        if [frame.url for frame in page.frames[1:]] == refused:
            break
        page.wait_for_timeout(100)
    assert [frame.url for frame in page.frames[1:]] == refused
    expect(page.frame_locator("#chat-iframe").get_by_text("public presses: 0")).to_have_count(0)


def test_two_personas_keep_their_own_sessions(streamlit_front: Vestibule, browser) -> None:
    """One browser, two hosts behind one certificate: whatever connections it shares, each app answers."""
    pages = {persona: browser.new_page() for persona in ["public", "test"]}
    for persona, page in pages.items():
        page.goto(streamlit_front.url(f"chat-{persona}", "/" + LAUNCHES[persona]))
    for persona, page in pages.items():
        page.get_by_role("button", name="Press").click()
        expect(page.get_by_text(f"{persona} presses: 1")).to_be_visible()
        page.close()


def test_the_access_log_tells_who_was_served(streamlit_front: Vestibule, page: Page) -> None:
    """The WebSocket came over HTTP/2 (RFC 8441), and its line names tenant and persona."""
    page.goto(streamlit_front.url("chat-public", "/" + LAUNCHES["public"]))
    expect(page.get_by_text("public presses: 0")).to_be_visible()
    page.close()

    def lines() -> list[dict]:
        found = [line for line in streamlit_front.lines() if line.get("path") == "/_stcore/stream"]
        return [line for line in found if line.get("persona") == "public"]

    line = wait_until(lines, "the line of the WebSocket in the access log")[-1]
    assert line["tenant"] == "jasser"
    assert line["host"].split(":")[0] == "chat-public.localhost"
    assert line["request_id"]
    assert (line["method"], line["status"], line["protocol"]) == ("CONNECT", 200, "2")
    assert line["request_bytes"] > 0 and line["response_bytes"] > 0
