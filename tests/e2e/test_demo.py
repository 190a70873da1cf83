"""`vestibule demo` as a newcomer meets it: one command, the printed trust command, a browser.

The browser trusts only what the printed command made it trust, so that this also proves that
command and the development certificates.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser import chromium
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
    fresh = browser.new_page()
    fresh.goto(f"https://app.localhost:{demo.port}/")
    yield fresh
    fresh.close()


def test_the_launcher_shows_the_frame_and_the_handshake_completes(page: Page, demo: Demo) -> None:
    frame, launcher = page.locator("#chat-frame"), page.locator("#chat-launcher")
    expect(frame).to_be_hidden()
    launcher.click()
    expect(frame).to_be_visible()
    expect(launcher).to_have_attribute("aria-expanded", "true")
    log = page.locator("#log")
    for event in EVENTS:
        expect(log).to_contain_text(event)
    expect(page.locator("#untrusted")).to_be_hidden()


def test_the_frame_and_the_payload_say_the_same(page: Page, demo: Demo) -> None:
    page.locator("#chat-launcher").click()
    expect(page.locator("#log")).to_contain_text("URL and payload say the same")
    source = page.locator("#chat-iframe").get_attribute("src")
    origin = page.locator("#chat-iframe").get_attribute("data-origin")
    assert source.startswith(f"{origin}/?mode=")


@pytest.mark.parametrize("transport", ["http", "sse", "websocket"])
def test_a_message_comes_back(transport: str, page: Page) -> None:
    page.locator("#chat-launcher").click()
    expect(page.locator("#log")).to_contain_text("chat-embed-ack")
    chat = page.frame_locator("#chat-iframe")
    # The radio button itself is hidden; people press its label.
    chat.locator(f"label:has(input[value={transport}])").click()
    chat.locator("#text").fill(f"Hello by {transport}")
    chat.locator("#text").press("Enter")
    expect(chat.locator("#messages li.me")).to_contain_text(f"Hello by {transport}")
    expect(chat.locator("#messages li.bot").last.locator("small")).to_be_visible()
    expect(chat.locator("#messages li.bad")).to_have_count(0)


def test_closing_and_opening_sends_a_fresh_configuration(page: Page) -> None:
    launcher, log = page.locator("#chat-launcher"), page.locator("#log")
    launcher.click()
    expect(log).to_contain_text("chat-embed-ack")
    launcher.click()
    expect(page.locator("#chat-frame")).to_be_hidden()
    launcher.click()
    expect(log.get_by_text("chat-embed-config to the frame")).to_have_count(2)


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
