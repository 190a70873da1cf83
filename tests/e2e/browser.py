"""Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

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


@contextmanager
def chromium(profile: Path, spki: str | None = None, home: Path | None = None):
    """A browser with a profile of its own.

    It trusts the one public key `spki`, or, where that is None, what the NSS database in `home`
    trusts, as a person's browser does.
    """
    executable = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    if not Path(executable).exists():
        raise RuntimeError(f"{executable} is missing: run tests/run, or set CHROMIUM")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=executable,
            headless=True,
            args=[*FLAGS, *([f"--ignore-certificate-errors-spki-list={spki}"] if spki else [])],
            env=os.environ | ({"HOME": str(home)} if home else {}),
            viewport={"width": 1200, "height": 1000},
        )
        context.set_default_timeout(60_000)
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
