"""Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Playwright, expect, sync_playwright

# Without the background flags Chromium looks up hosts of its maker at every start.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
]


# Hosts of the reserved domain .test live here; `localhost` does so by itself.
RESOLVER = "MAP *.test 127.0.0.1"
# Milliseconds that anything in a page may take before its test fails.
PATIENCE = 20_000

# Preferences of browsers that block cookies, as their settings pages write them: 1 blocks third parties', 2 blocks what the pattern names.
BLOCKING = {
    "third-party": {"cookie_controls_mode": 1, "block_third_party_cookies": True},
    "all": {"content_settings": {"exceptions": {"cookies": {"[*.]chat.test,*": {"setting": 2}}}}},
}
# Sets a cookie with and without a partition, and says which are kept.
PROBE = """() => {
    document.cookie = 'plain=1; Path=/; Secure; SameSite=None';
    document.cookie = 'parted=1; Path=/; Secure; SameSite=None; Partitioned';
    const kept = document.cookie.split('; ').filter((pair) => /^(plain|parted)=/.test(pair)).sort();
    document.cookie = 'plain=; Path=/; Secure; SameSite=None; Max-Age=0';
    document.cookie = 'parted=; Path=/; Secure; SameSite=None; Partitioned; Max-Age=0';
    return kept;
}"""
KEPT = {"third-party": ["parted=1"], "all": []}

_running: list[Playwright] = []


def driver() -> Playwright:
    """One for all browsers of a run: Playwright cannot be started twice in a thread."""
    if not _running:
        _running.append(sync_playwright().start())
        expect.set_options(timeout=PATIENCE)
    return _running[0]


def stop_driver() -> None:
    while _running:
        _running.pop().stop()


@contextmanager
def chromium(
    profile: Path,
    spki: str | None = None,
    home: Path | None = None,
    preferences: dict[str, Any] | None = None,
    flags: Sequence[str] = (),
):
    """A browser with a profile of its own, in which `preferences` are set as its settings page would.

    It trusts the one public key `spki`, or, where that is None, what the NSS database in `home`
    trusts, as a person's browser does.
    """
    executable = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    if not Path(executable).exists():
        raise RuntimeError(f"{executable} is missing: run tests/run, or set CHROMIUM")
    if preferences is not None:
        (profile / "Default").mkdir(parents=True)
        (profile / "Default/Preferences").write_text(json.dumps(preferences))
    context = driver().chromium.launch_persistent_context(
        str(profile),
        executable_path=executable,
        headless=True,
        args=[
            *FLAGS,
            *flags,
            f"--host-resolver-rules={RESOLVER}",
            *([f"--ignore-certificate-errors-spki-list={spki}"] if spki else []),
        ],
        env=os.environ | ({"HOME": str(home)} if home else {}),
        viewport={"width": 1200, "height": 1000},
    )
    context.set_default_timeout(PATIENCE)
    try:
        yield context
    finally:
        context.close()


class Sockets:
    """What the browser says about the WebSockets of a page and its frames (from the DevTools protocol)."""

    def __init__(self, page: Page) -> None:
        self.opened: list[str] = []
        self.sent = 0
        self.received = 0
        page.on("websocket", self._opened)

    def _opened(self, socket) -> None:
        self.opened.append(socket.url)
        socket.on("framesent", lambda _payload: self._count(sent=1))
        socket.on("framereceived", lambda _payload: self._count(received=1))

    def _count(self, sent: int = 0, received: int = 0) -> None:
        self.sent += sent
        self.received += received


class Record:
    """Every message that any window of the page receives, in the order of their times.

    `window` is the origin of the receiver, `at` milliseconds since 1970 by the machine's one clock.
    """

    SCRIPT = """
        window.addEventListener('message', (event) => {
            const type = event.data && event.data.type;
            if (typeof type !== 'string' || !type.startsWith('chat-embed-')) return;
            recordMessage({
                type, payload: event.data.payload, code: event.data.code, from: event.origin,
                window: location.origin, at: performance.timeOrigin + performance.now(),
            });
        }, true);
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self._messages: list[dict[str, Any]] = []
        page.expose_binding("recordMessage", lambda _source, message: self._messages.append(message))
        page.add_init_script(self.SCRIPT)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The messages `chat-embed-KIND` so far."""
        found = [message for message in self._messages if message["type"] == f"chat-embed-{kind}"]
        return sorted(found, key=lambda message: message["at"])

    def wait(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The message number `count` of its kind."""
        wait_in(self.page, lambda: len(self.of(kind)) >= count, lambda: f"chat-embed-{kind} number {count}; {self}")
        return self.of(kind)[count - 1]

    def __str__(self) -> str:
        return f"seen: {self._messages}"


def wait_in(page: Page, ready: Callable[[], Any], what: str | Callable[[], str]) -> Any:
    """Like `wait_until`, but lets the events of the browser in meanwhile."""
    deadline = time.monotonic() + PATIENCE / 1000
    while True:
        if found := ready():
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE / 1000:g} s for {what() if callable(what) else what}")
        page.wait_for_timeout(50)
