"""One user leaves and another comes, in one browser: nothing of the first is seen by the second."""

from __future__ import annotations

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Frame, Page, expect

import chat
from browser import Sockets, wait_in
from deployment import Deployment
from streamlit_wire import stream
from visitor import SCRIPT, Visitor

POLICY_VIOLATION = 1008


def launch(visitor: Visitor, door: Deployment, tenant: str, user_id: int) -> None:
    assert visitor.open(door.launch("customer", tenant, user_id=user_id)).status == 200


def post(visitor: Visitor, door: Deployment, tenant: str, user_id: int) -> None:
    """What the bridge script does when the page around it names its user."""
    origin = door.chat("customer", tenant)
    fields = SCRIPT | {"Origin": origin, "Content-Type": "application/json"}
    body = b'{"mode":"customer","user_id":%d}' % user_id
    answer = visitor.request("POST", f"{origin}/.vestibule/config", fields, body)
    assert answer.status == 200, answer


def test_a_stream_that_was_cut_off_is_taken_up_again(tenant: str, door: Deployment, visitor: Visitor) -> None:
    """The control: Streamlit gives a session back to who names it, and for the same user that is right."""
    launch(visitor, door, tenant, 41)
    origin = door.chat("customer", tenant)
    with stream(visitor, origin) as first:
        told = first.run()
    launch(visitor, door, tenant, 41)
    with stream(visitor, origin, resume=first.resume) as second:
        again = second.run()
    assert (again["born"], again["owner"]) == (told["born"], "41")


@pytest.mark.parametrize("how", [launch, post])
def test_another_user_ends_the_stream_and_takes_up_nothing(
    how, tenant: str, door: Deployment, visitor: Visitor
) -> None:
    launch(visitor, door, tenant, 41)
    origin = door.chat("customer", tenant)
    with stream(visitor, origin) as first:
        told = first.run()
        how(visitor, door, tenant, 42)
        code, _ = first.ending()
        assert code == POLICY_VIOLATION
    with stream(visitor, origin, resume=first.resume) as second:
        again = second.run()
    chat.check_user(again, "42")
    assert again["owner"] == "42"
    assert again["born"] != told["born"]


def test_a_session_that_was_followed_opens_nothing(tenant: str, door: Deployment, visitor: Visitor) -> None:
    """Its cookie, kept by somebody, has ended with it."""
    launch(visitor, door, tenant, 41)
    host = door.host("customer", tenant)
    kept = dict(visitor.jar[host])
    launch(visitor, door, tenant, 42)
    visitor.jar[host] = kept
    answer = visitor.get(f"{door.chat('customer', tenant)}/static/x.js", SCRIPT)
    assert answer.status == 401, answer


def test_the_same_user_again_keeps_the_stream(tenant: str, door: Deployment, visitor: Visitor) -> None:
    launch(visitor, door, tenant, 41)
    with stream(visitor, door.chat("customer", tenant)) as first:
        told = first.run()
        launch(visitor, door, tenant, 41)
        post(visitor, door, tenant, 41)
        assert first.run()["born"] == told["born"]


def test_another_persona_keeps_the_stream(tenant: str, door: Deployment, visitor: Visitor) -> None:
    """Two personas in two frames are two visitors."""
    launch(visitor, door, tenant, 41)
    with stream(visitor, door.chat("customer", tenant)) as first:
        told = first.run()
        for user_id in (51, 52):
            assert visitor.open(door.launch("employee", tenant, user_id=user_id)).status == 200
        with stream(visitor, door.chat("employee", tenant)) as second:
            chat.check_user(second.run(), "52")
        again = first.run()
    chat.check_user(again, "41")
    assert again["born"] == told["born"]


def is_bare(frame: Frame) -> bool:
    """The document without a user has come, whole."""
    try:
        return frame.evaluate("location.search === '' && document.readyState === 'complete'")
    except PlaywrightError:
        return False  # The one before it went away meanwhile.


@pytest.mark.parametrize("how", ["url", "message"])
def test_a_page_that_signs_one_user_out_and_another_in(how: str, tenant: str, door: Deployment, page: Page) -> None:
    page.goto(door.page(tenant, "/account", chat=door.chat("customer", tenant)))
    app = page.frame_locator("#chat-iframe")
    page.evaluate("how => signIn(41, how)", how)
    chat.user(page, app, "41")
    chat.say(app, "customer", "a secret of the first")
    chat.press(app, "customer", 1)
    if how == "url":
        page.evaluate("signOut()")
        # Nobody signs in before the page of those who are signed out is there: Streamlit 1.67
        # listens for `beforeunload` too, and Chromium may lose a navigation of such a frame while another commits.
        frame = chat.chat_frame(page, door.chat("customer", tenant))
        wait_in(page, lambda: is_bare(frame), "the page of the app without a user")
    page.evaluate("how => signIn(42, how)", how)
    told = chat.user(page, app, "42")
    assert (told["owner"], told["messages"]) == ("42", [])
    chat.press(app, "customer", 1)


def test_a_page_that_is_signed_out_of_has_no_stream(tenant: str, door: Deployment, page: Page) -> None:
    """The bare document after a user's: it inherits nobody, and the app does not start."""
    page.goto(door.page(tenant, "/account", chat=door.chat("customer", tenant)))
    app = page.frame_locator("#chat-iframe")
    page.evaluate("signIn(41, 'url')")
    chat.user(page, app, "41")
    before = len(door.lines())
    page.evaluate("signOut()")

    def refused() -> bool:
        streams = [line for line in door.lines()[before:] if line.get("path") == "/_stcore/stream"]
        return any(line["status"] == 401 and line.get("tenant") == tenant for line in streams)

    wait_in(page, refused, "the page of the app to be refused its stream")
    expect(app.get_by_text("facts: ")).to_have_count(0)


def test_two_users_of_one_persona_in_two_frames(tenant: str, door: Deployment, page: Page) -> None:
    """One browser is one visitor of a persona: the second launch ends the first one's session.

    Streamlit's page connects again by itself, naming the session that it had, and shows what it
    showed until somebody does something. Then it is the second user's, with nothing of the first.
    """
    sockets = Sockets(page)
    page.goto(door.page(tenant, "/two", first=door.launch("customer", tenant, user_id=41)))
    first, second = page.frame_locator("#first"), page.frame_locator("#second")
    chat.user(page, first, "41")
    chat.say(first, "customer", "a secret of the first")
    chat.press(first, "customer", 1)
    opened = len(sockets.opened)
    page.evaluate("url => show('second', url)", door.launch("customer", tenant, user_id=42))
    told = chat.user(page, second, "42")
    assert (told["owner"], told["messages"]) == ("42", [])
    wait_in(page, lambda: len(sockets.opened) >= opened + 2, lambda: f"two new streams; there are {sockets.opened}")
    chat.press(first, "customer", 1)
    told = chat.user(page, first, "42")
    assert (told["owner"], told["messages"]) == ("42", [])
