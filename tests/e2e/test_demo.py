"""`vestibule demo` as a newcomer meets it: one command, the printed trust command, a browser.

The browser trusts only what the printed command made it trust, so that this also proves that
command and the development certificates. The handshake is the bridge's, and who is asking is what
the firewall tells the app: both are seen here as a page sees them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from browser import chromium, wait_in
from vestibule import accepts, binary, free_port, wait_until

EVENTS = ["chat-embed-ready from the frame", "chat-embed-config to the frame", "chat-embed-ack"]


class Demo:
    """A demo on a free port, with its certificates in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.log = folder / "demo.log"
        self.port = free_port()
        command = [str(binary()), "demo", "--port", str(self.port), "--dir", str(folder / "state")]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"vestibule demo ended with {self.process.returncode}:\n{self.tail()}")
        return accepts(self.port) and "certutil" in self.tail()

    def trust(self) -> None:
        """Runs the command that the demo prints, in a home directory of the test's own."""
        assert shutil.which("certutil"), "certutil is missing: run tests/run"
        (command,) = re.findall(r"^ *(.*certutil .*)$", self.tail(), re.MULTILINE)
        subprocess.run(["sh", "-ec", command], env=os.environ | {"HOME": str(self.home)}, check=True)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=90)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-8000:]

    def lines(self) -> list[dict[str, Any]]:
        """The access log so far; lines that are still being written are left out."""
        text = (self.log.parent / "state/access.log").read_text(errors="replace")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def beacons(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line.get("path") == "/.vestibule/beacon"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory):
    running = Demo(tmp_path_factory.mktemp("demo"))
    try:
        wait_until(running.ready, "the demo")
        running.trust()
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


@pytest.fixture(scope="module")
def browser(demo: Demo, tmp_path_factory: pytest.TempPathFactory):
    with chromium(tmp_path_factory.mktemp("chromium"), home=demo.home) as context:
        yield context


@pytest.fixture
def page(browser, demo: Demo):
    """The host page in a browser that has not been here: no session, nobody else signed in."""
    browser.clear_cookies()
    fresh = browser.new_page()
    fresh.goto(f"https://app.localhost:{demo.port}/")
    fresh.evaluate("window.localStorage.clear()")
    fresh.reload()
    yield fresh
    fresh.close()


def opened(page: Page) -> FrameLocator:
    """The chat, opened by its launcher and acknowledged."""
    page.locator("#chat-launcher").click()
    # Where a browser refuses storage, the bridge acknowledges a launch by URL unasked as well.
    expect(page.locator("#step-ack")).to_have_attribute("data-state", "done")
    return page.frame_locator("#chat-iframe")


def sign_in(page: Page, user: str) -> None:
    page.locator("#change-user").click()
    page.locator("#user-field").fill(user)
    page.locator("#user-field").press("Enter")


def say(chat: FrameLocator, text: str, transport: str = "http") -> str:
    """The answer to a message, when all of it has come."""
    # The radio button itself is hidden; people press its label.
    chat.locator(f"label:has(input[value={transport}])").click()
    chat.locator("#text").fill(text)
    chat.locator("#text").press("Enter")
    expect(chat.locator("#messages li.me").last).to_contain_text(text)
    answer = chat.locator("#messages li.bot").last
    expect(answer.locator("small")).to_be_visible()
    expect(chat.locator("#messages li.bad")).to_have_count(0)
    return answer.locator("p").inner_text()


def test_the_launcher_shows_the_frame_and_the_handshake_completes(page: Page) -> None:
    frame, launcher = page.locator("#chat-frame"), page.locator("#chat-launcher")
    expect(frame).to_be_hidden()
    launcher.click()
    expect(frame).to_be_visible()
    expect(launcher).to_have_attribute("aria-expanded", "true")
    log = page.locator("#log")
    for event in EVENTS:
        expect(log).to_contain_text(event)
    expect(page.locator("#untrusted")).to_be_hidden()


def test_the_acknowledgement_comes_within_a_second(page: Page) -> None:
    opened(page)
    # The page itself marks a late one.
    expect(page.locator("#step-ack")).to_have_attribute("data-state", "done")
    took = re.search(r"\d+", page.locator("#step-ack .ms").inner_text())
    assert took and int(took[0]) < 1000


# A page that hides its origin from others says it here all the same.
@pytest.mark.parametrize("policy", ["strict-origin-when-cross-origin", "no-referrer"])
def test_the_page_tells_once_how_long_the_handshake_took(policy: str, page: Page, demo: Demo) -> None:
    page.evaluate(
        """policy => {
            const meta = document.createElement('meta');
            meta.name = 'referrer';
            meta.content = policy;
            document.head.append(meta);
        }""",
        policy,
    )
    beacons = []
    page.on("request", lambda request: beacons.append(request) if request.url.endswith("/.vestibule/beacon") else None)
    before = len(demo.beacons())
    chat = opened(page)
    wait_in(page, lambda: len(demo.beacons()) > before, "the beacon")
    say(chat, "Hello")
    (request,) = beacons
    headers = request.all_headers()
    assert headers["content-type"].startswith("text/plain") and "cookie" not in headers
    assert headers["origin"] == f"https://app.localhost:{demo.port}"
    told = json.loads(request.post_data)
    assert told["outcome"] == "ack" and "12345" not in request.post_data
    assert told["shown"] <= min(told["ready"], told["config"]) and told["ready"] <= told["ended"] < told["ready"] + 1000
    expect(page.locator("#log")).to_contain_text("Told Vestibule by beacon:")
    shown = re.search(r"ack, (\d+) ms from ready", page.locator("#log").inner_text())
    # Rounded to a millisecond, by another rule than this language's.
    assert shown and abs(int(shown[1]) - (told["ended"] - told["ready"])) < 0.6
    # Its log line is of the trace of the document that acknowledged.
    (line,) = demo.beacons()[before:]
    assert (line["status"], line["persona"]) == (204, "customer")
    document = [it for it in demo.lines() if it["trace_id"] == line["trace_id"] and it["method"] == "GET"]
    assert [it["status"] for it in document] == [200], document


def test_the_page_tells_when_nobody_has_answered(page: Page, demo: Demo) -> None:
    before = len(demo.beacons())
    page.route("**/?mode=*", lambda route: route.abort())
    page.clock.install()
    page.locator("#chat-launcher").click()
    page.clock.fast_forward(14_000)
    assert len(demo.beacons()) == before
    with page.expect_request("**/.vestibule/beacon") as sent:
        page.clock.fast_forward(2_000)
    told = json.loads(sent.value.post_data)
    assert told["outcome"] == "timeout" and 15_000 <= told["ended"] - told["shown"] < 20_000
    assert wait_in(page, lambda: demo.beacons()[before:], "the beacon")[0]["status"] == 204


def test_the_frame_and_the_payload_say_the_same(page: Page) -> None:
    page.locator("#chat-launcher").click()
    expect(page.locator("#log")).to_contain_text("URL and payload say the same")
    source = page.locator("#chat-iframe").get_attribute("src")
    origin = page.locator("#chat-iframe").get_attribute("data-origin")
    assert source.startswith(f"{origin}/?mode=")


def test_the_chat_shows_who_vestibule_says_is_asking_beside_what_the_url_says(page: Page) -> None:
    chat = opened(page)
    expect(chat.locator("#user")).to_have_text("user 12345")
    expect(chat.locator("#assurance")).to_have_text("asserted")
    expect(chat.locator("#session")).to_contain_text("session")
    expect(chat.locator("#claimed")).to_have_text("mode=customer user_id=12345")


@pytest.mark.parametrize("transport", ["http", "sse", "websocket"])
def test_a_message_comes_back_and_is_the_launchs_user(transport: str, page: Page) -> None:
    chat = opened(page)
    answer = say(chat, "Who am I?", transport)
    assert "you are 12345" in answer and "asserted" in answer
    session = chat.locator("#session").get_attribute("title")
    assert f"session {session}" in answer
    expect(chat.locator("#messages li.note")).to_have_count(0)


def test_closing_and_opening_sends_a_fresh_configuration(page: Page) -> None:
    launcher, log = page.locator("#chat-launcher"), page.locator("#log")
    chat = opened(page)
    session = chat.locator("#session").get_attribute("title")
    launcher.click()
    expect(page.locator("#chat-frame")).to_be_hidden()
    chat = opened(page)
    expect(log.get_by_text("chat-embed-config to the frame")).to_have_count(2)
    # The same user goes on with the session.
    expect(chat.locator("#session")).to_have_attribute("title", session)


def test_another_user_takes_over_an_open_chat(page: Page) -> None:
    chat = opened(page)
    first = chat.locator("#session").get_attribute("title")
    say(chat, "Hello", "websocket")
    sign_in(page, "67890")
    expect(chat.locator("#user")).to_have_text("user 67890")
    # The conversation was the other's.
    expect(chat.locator("#messages li")).to_have_count(1)
    assert chat.locator("#session").get_attribute("title") != first
    for transport in ["http", "sse", "websocket"]:
        assert "you are 67890" in say(chat, "Who am I?", transport)


FOLLOWING = """async pause => {
    const frame = document.getElementById('chat-iframe');
    for (let user = 1; user <= 6; user += 1) {
        frame.contentWindow.postMessage({
            type: 'chat-embed-config',
            payload: { mode: 'customer', user_id: user, require_user_id: true, allow_generated_id: false },
        }, frame.dataset.origin);
        await new Promise((done) => { setTimeout(done, pause); });
    }
}"""


# Each configuration starts a session and loads the chat anew; the next one finds the frame between
# two documents, at another moment for each pause. One that finds none at all is lost.
@pytest.mark.parametrize("pause", [5, 15, 25, 40, 60, 90])
def test_users_that_follow_each_other_closely_leave_a_chat_of_one_user(pause: int, page: Page) -> None:
    chat = opened(page)
    page.evaluate(FOLLOWING, pause)
    # Until the last of the documents is there: what comes after a moment's silence is none.
    page.wait_for_timeout(1000)
    expect(chat.locator("#user")).to_have_text(re.compile(r"^user \d$"))
    shown = chat.locator("#user").get_attribute("title")
    assert f"you are {shown}," in say(chat, "Who am I?")
    expect(chat.locator("#messages li.note")).to_have_count(0)


def test_a_refused_configuration_does_not_undo_the_one_before_it(page: Page) -> None:
    chat = opened(page)
    # By then the configuration of the opening is done with: of several that wait, the last one counts.
    say(chat, "Hello", "sse")
    page.evaluate(
        """() => {
            const frame = document.getElementById('chat-iframe');
            for (const mode of ['customer', 'employee']) {
                frame.contentWindow.postMessage(
                    { type: 'chat-embed-config', payload: { mode, user_id: 9 } }, frame.dataset.origin);
            }
        }"""
    )
    expect(page.locator("#log")).to_contain_text("chat-embed-error: mode_mismatch")
    expect(chat.locator("#user")).to_have_text("user 9")
    assert "you are 9," in say(chat, "Who am I?")


def test_another_user_takes_over_by_the_url_too(page: Page) -> None:
    opened(page)
    page.locator("#chat-launcher").click()
    sign_in(page, "67890")
    chat = opened(page)
    expect(chat.locator("#user")).to_have_text("user 67890")
    expect(chat.locator("#claimed")).to_have_text("mode=customer user_id=67890")
    assert "you are 67890" in say(chat, "Who am I?")


def test_a_frame_without_parameters_waits_for_the_message(page: Page) -> None:
    page.locator("#chat-frame").evaluate("frame => frame.removeAttribute('hidden')")
    page.locator("#chat-iframe").evaluate("frame => { frame.src = frame.dataset.origin; }")
    chat = page.frame_locator("#chat-iframe")
    expect(chat.locator("#closed")).to_be_visible()
    expect(chat.locator("#text")).to_be_disabled()
    expect(chat.locator("#user")).to_have_text("not known yet")
    page.locator("#chat-iframe").evaluate(
        """frame => frame.contentWindow.postMessage({
            type: 'chat-embed-config',
            payload: { mode: 'customer', user_id: 12345, require_user_id: true, allow_generated_id: false },
        }, frame.dataset.origin)"""
    )
    expect(chat.locator("#user")).to_have_text("user 12345")
    expect(chat.locator("#claimed")).to_have_text("nothing about you")
    assert "you are 12345" in say(chat, "Who am I?")


def test_two_personas_in_one_page_keep_their_identities_apart(page: Page, demo: Demo) -> None:
    customer = opened(page)
    address = f"https://chat-employee.localhost:{demo.port}/?mode=employee&user_id=2041"
    page.evaluate(
        """address => {
            const frame = document.createElement('iframe');
            frame.id = 'second';
            frame.src = address;
            document.querySelector('main').append(frame);
        }""",
        address,
    )
    employee = page.frame_locator("#second")
    for chat, user in [(customer, "12345"), (employee, "2041"), (customer, "12345")]:
        assert f"you are {user}" in say(chat, "Who am I?")
    sessions = {chat.locator("#session").get_attribute("title") for chat in [customer, employee]}
    assert len(sessions) == 2


def test_a_visitor_gets_a_name_that_is_called_generated(page: Page, demo: Demo) -> None:
    page.goto(f"https://app.localhost:{demo.port}/public")
    chat = opened(page)
    expect(chat.locator("#assurance")).to_have_text("generated")
    expect(chat.locator("#user")).to_have_attribute("title", re.compile("^gen-"))
    page.locator("#chat-launcher").click()
    user = chat.locator("#user").get_attribute("title")
    expect(opened(page).locator("#user")).to_have_attribute("title", user)


def test_a_launch_in_the_wrong_mode_shows_why_and_no_chat(page: Page, demo: Demo) -> None:
    answer = page.goto(f"https://chat-customer.localhost:{demo.port}/?mode=admin")
    assert answer and answer.status == 403
    expect(page.locator("body")).to_contain_text("mode_mismatch")
    expect(page.locator("#messages")).to_have_count(0)


@pytest.mark.parametrize(
    "persona", ["public", "customer?mode=customer&user_id=12345", "employee?mode=employee&user_id=2041", "test"]
)
def test_each_chat_opens_as_a_page(persona: str, page: Page, demo: Demo) -> None:
    name, _, query = persona.partition("?")
    page.goto(f"https://chat-{name}.localhost:{demo.port}/?{query}")
    expect(page.locator(".mode")).to_have_text(name)
    expect(page.locator("#messages li.bot")).to_have_count(1)


def test_sigterm_ends_the_demo_cleanly(tmp_path: Path) -> None:
    running = Demo(tmp_path)
    try:
        wait_until(running.ready, "the demo")
        assert running.stop() == 0, running.tail()
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
