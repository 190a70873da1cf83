"""The persona seed's verification checklist (section 8), on its own host page, in Chromium, against Streamlit.

The host page is section 3 of the seed. Its frame is hidden and `loading="lazy"`: the chat's
document loads when the launcher is pressed. With "eager" it is there, bare, before anybody is
known; with `fallback=False` the identity never stands in a URL.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

import chat
from browser import Record, wait_in
from deployment import Deployment

PAYLOAD = {
    "mode": "customer",
    "user_id": 12345,
    "require_user_id": True,
    "allow_generated_id": False,
    "direction": "ltr",
}


class Host:
    """The seed's page, with everything that its windows tell each other."""

    def __init__(self, page: Page, door: Deployment, tenant: str, persona: str = "customer", **options: object) -> None:
        self.page, self.origin = page, door.chat(persona, tenant)
        self.console: list[str] = []
        page.on("console", lambda line: self.console.append(line.text))
        self.record = Record(page)
        defaults = {"chat": self.origin, "user": 12345, "loading": "lazy", "fallback": "true"}
        page.goto(door.page(tenant, "/seed", **(defaults | options)))
        self.wrapper, self.launcher = page.locator("#chat-frame"), page.locator("#chat-launcher")
        self.app = page.frame_locator("#chat-iframe")

    def press(self) -> None:
        self.launcher.click()

    def wait_for_console(self, text: str) -> None:
        wait_in(self.page, lambda: text in self.console, lambda: f"{text!r} in the console; there is {self.console}")

    def check_handshake(self, count: int = 1) -> None:
        """Steps 2, 3 and 4: ready is heard, the payload is the user's, and it is acknowledged within a second."""
        ready, ack = self.record.wait("ready"), self.record.wait("ack", count)
        config = self.record.wait("config", count)
        assert ready["from"] == ack["from"] == config["window"] == self.origin, str(self.record)
        assert config["payload"] == PAYLOAD
        assert 0 <= ack["at"] - config["at"] < 1000, str(self.record)
        self.wait_for_console("Widget is ready to receive configuration.")
        self.wait_for_console("Widget acknowledged configuration payload")
        assert not self.record.of("error"), str(self.record)


def test_the_frame_is_hidden_until_the_launcher_is_pressed(tenant: str, door: Deployment, page: Page) -> None:
    host = Host(page, door, tenant)
    expect(host.wrapper).to_be_hidden()
    expect(host.launcher).to_have_attribute("aria-expanded", "false")
    host.press()
    expect(host.wrapper).to_be_visible()
    expect(host.launcher).to_have_attribute("aria-expanded", "true")


def test_the_handshake_completes_within_a_second(tenant: str, door: Deployment, page: Page) -> None:
    host = Host(page, door, tenant)
    host.press()
    host.check_handshake()


def test_the_url_carries_what_the_payload_says(tenant: str, door: Deployment, page: Page) -> None:
    host = Host(page, door, tenant)
    host.press()
    payload = host.record.wait("config")["payload"]
    query = parse_qs(urlsplit(page.locator("#chat-iframe").get_attribute("src")).query)
    spelled = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in payload.items()}
    assert {key: values for key, values in query.items() if key != "v"} == {key: [v] for key, v in spelled.items()}
    # And the document that is shown came from there, whatever redirects did.
    frame = chat.chat_frame(page, host.origin)
    assert parse_qs(urlsplit(frame.url).query) == query


def test_a_message_reaches_the_app_with_the_locked_persona(tenant: str, door: Deployment, page: Page) -> None:
    host = Host(page, door, tenant)
    host.press()
    host.record.wait("ack")
    chat.say(host.app, "customer", "who am I")
    told = chat.user(page, host.app, "12345")
    headers = told["headers"]
    assert headers["x-vestibule-tenant"] == [tenant]
    assert headers["x-vestibule-persona"] == ["customer"]
    assert headers["x-vestibule-mode"] == ["customer"]
    assert headers["x-vestibule-session"][0]
    assert told["messages"] == ["who am I"]
    # The app is never shown what would let it be the visitor.
    assert "__Host-vestibule" not in str(told)
    assert ".v/" not in str(told)


def test_closing_and_opening_sends_a_fresh_payload(tenant: str, door: Deployment, page: Page) -> None:
    host = Host(page, door, tenant)
    host.press()
    host.check_handshake()
    chat.user(page, host.app, "12345")
    host.press()
    expect(host.wrapper).to_be_hidden()
    host.press()
    expect(host.wrapper).to_be_visible()
    host.record.wait("config", 2)
    host.record.wait("ack", 2)
    assert [message["payload"] for message in host.record.of("config")] == [PAYLOAD, PAYLOAD]
    chat.user(page, host.app, "12345")
    chat.say(host.app, "customer", "again")


def test_another_user_after_reopening_is_another_user(tenant: str, door: Deployment, page: Page) -> None:
    host = Host(page, door, tenant)
    host.press()
    chat.user(page, host.app, "12345")
    chat.say(host.app, "customer", "a secret of the first")
    host.press()
    page.evaluate("window.currentCustomerId = 54321")
    host.press()
    told = chat.user(page, host.app, "54321")
    assert (told["owner"], told["messages"]) == ("54321", [])
    # The page's own address won over whatever the frame would have gone to by itself.
    assert told["query"].get("user_id") == "54321", told


def test_an_eager_hidden_frame_waits_for_its_user(tenant: str, door: Deployment, page: Page) -> None:
    """The bare document is there before the launcher is pressed, and no app runs in it."""
    host = Host(page, door, tenant, loading="eager")
    host.record.wait("ready")
    assert not host.record.of("ack")
    assert urlsplit(chat.chat_frame(page, host.origin).url).query == ""
    expect(host.app.get_by_text("facts: ")).to_have_count(0)
    host.press()
    chat.user(page, host.app, "12345")
    host.record.wait("ack")
    # The launcher posts at once, to a document that is leaving and may not get to tell of it any more.
    assert all(config["payload"] == PAYLOAD for config in host.record.of("config")), str(host.record)
    assert not host.record.of("error"), str(host.record)


@pytest.mark.parametrize("loading", ["lazy", "eager"])
@pytest.mark.parametrize("persona", ["customer", "strict"])
def test_a_page_that_only_posts_messages_completes(
    persona: str, loading: str, tenant: str, door: Deployment, page: Page
) -> None:
    """The identity is in no URL; the app sees it all the same, and nobody was there before."""
    host = Host(page, door, tenant, persona, loading=loading, fallback="false")
    if loading == "eager":
        host.record.wait("ready")
    host.press()
    host.check_handshake()
    told = chat.user(page, host.app, "12345")
    assert told["owner"] == "12345"
    # The direction of text is no secret, and the app is free to follow it.
    assert told["query"] in ({}, {"direction": "ltr"})
    assert "user_id" not in chat.chat_frame(page, host.origin).url
    chat.say(host.app, persona, "hello")


def test_a_refused_payload_is_told_to_the_page(tenant: str, door: Deployment, page: Page) -> None:
    host = Host(page, door, tenant, loading="eager", fallback="false")
    host.record.wait("ready")
    chat.chat_frame(page, host.origin)
    page.evaluate(
        """([payload, origin]) => document.getElementById('chat-iframe').contentWindow
            .postMessage({ type: 'chat-embed-config', payload }, origin)""",
        [PAYLOAD | {"mode": "employee"}, host.origin],
    )
    error = host.record.wait("error")
    assert error["code"] == "mode_mismatch"
    assert error["from"] == host.origin
    assert not host.record.of("ack")


def test_a_page_of_the_chats_own_origin_does_not_speak_for_its_parent(
    tenant: str, door: Deployment, page: Page
) -> None:
    """A configuration that does not come from the page around the frame is nobody's word."""
    host = Host(page, door, tenant, loading="eager", fallback="false")
    host.record.wait("ready")
    frame = chat.chat_frame(page, host.origin)
    frame.evaluate(
        "payload => window.postMessage({ type: 'chat-embed-config', payload }, location.origin)",
        PAYLOAD | {"user_id": 666},
    )
    host.record.wait("config")
    host.press()
    chat.user(page, host.app, "12345")
    host.record.wait("ack")
    assert len(host.record.of("ack")) == 1, str(host.record)
