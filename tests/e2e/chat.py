"""What a test does with a Streamlit app that it sees in a browser."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import FrameLocator, Page, expect

from browser import wait_in

App = Page | FrameLocator


def facts(page: Page, app: App, wanted: Callable[[dict[str, Any]], Any] = bool, what: str = "") -> dict[str, Any]:
    """What the app says it was told, as soon as that is as `wanted`."""
    line = app.locator("[data-testid=stText]", has_text="facts: ")
    last: list[dict[str, Any]] = []

    def found() -> dict[str, Any] | None:
        try:
            texts = line.all_inner_texts()
        except PlaywrightError:
            return None  # The document went away meanwhile.
        if len(texts) != 1:
            return None
        last[:] = [json.loads(texts[0].removeprefix("facts: "))]
        return last[0] if wanted(last[0]) else None

    return wait_in(page, found, lambda: f"the app to say {what or 'its facts'}; it says {last}")


def user(page: Page, app: App, user_id: str) -> dict[str, Any]:
    """Waits until the app knows `user_id`, and looks at everything that it may trust."""
    told = facts(page, app, lambda said: said["headers"].get("x-vestibule-user-id") == [user_id], f"user {user_id}")
    check_user(told, user_id)
    return told


def check_user(told: dict[str, Any], user_id: str) -> None:
    headers = told["headers"]
    assert headers.get("x-vestibule-user-id") == [user_id], told
    assert headers["x-vestibule-assurance"] == ["asserted"], told
    assert "x-vestibule-identity-state" not in headers, told
    # 1.39 cannot be told which header names the user; what it shows instead is its own.
    if not told["version"].startswith("1.39."):
        assert told["user"]["user_id"] == user_id, told


def say(app: App, persona: str, text: str) -> None:
    """A message, and the answer that only the server can have made."""
    chat = app.get_by_placeholder("Say something")
    chat.fill(text)
    chat.press("Enter")
    expect(app.get_by_text(f"{persona} heard: {text[::-1]}")).to_be_visible()


def press(app: App, persona: str, presses: int) -> None:
    """A button, pressed for the time number `presses`."""
    app.get_by_role("button", name="Press").click()
    expect(app.get_by_text(f"{persona} presses: {presses}", exact=True)).to_be_visible()


def upload(app: App, size: int) -> None:
    content = os.urandom(size)
    file = {"name": "notes.bin", "mimeType": "application/octet-stream", "buffer": content}
    app.locator("input[type=file]").first.set_input_files(file)
    digest = hashlib.sha256(content).hexdigest()
    expect(app.get_by_text(f"notes.bin: {size} bytes, sha256 {digest}")).to_be_visible()


def chat_frame(page: Page, origin: str):
    """The frame that shows a document of `origin`, as soon as there is one."""
    return wait_in(
        page,
        lambda: next((frame for frame in page.frames if frame.url.startswith(f"{origin}/")), None),
        lambda: f"a frame of {origin}; there are {[frame.url for frame in page.frames]}",
    )
