"""What a page with the launcher of `vestibule snippet host-page` tells of its handshake, in Chromium, with Streamlit in its frame."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from playwright.sync_api import Page

from browser import Record, wait_in
from deployment import Deployment
from vestibule import binary

BEACON = "/.vestibule/beacon"


def launcher(door: Deployment, persona: str) -> str:
    """The snippet in a page of somebody who is signed in."""
    command = [str(binary()), "snippet", "-c", str(door.folder / "vestibule.toml"), "host-page", persona]
    snippet = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    head = '<!doctype html><title>shop</title><meta name="referrer" content="no-referrer">'
    return f"{head}<script>window.currentUserId = 12345; {Record.SCRIPT}</script>{snippet}"


def beacons(door: Deployment) -> list[dict[str, Any]]:
    return [line for line in door.lines() if line.get("path") == BEACON]


def test_the_printed_launcher_tells_how_long_the_handshake_took(tenant: str, door: Deployment, page: Page) -> None:
    record = Record(page)
    # A page that came from nowhere may not reach this machine: another takes the place of one that did.
    page.goto(door.page(tenant, "/seed", chat="about:blank", user=12345, loading="lazy", fallback="true"))
    page.set_content(launcher(door, f"{tenant}/customer"))
    for opening in (1, 2):
        before = len(beacons(door))
        with page.expect_request(f"**{BEACON}") as sent:
            page.locator("#chat-launcher").click()
        told = json.loads(sent.value.post_data)
        assert told["outcome"] == "ack", (told, str(record))
        assert "12345" not in sent.value.post_data
        assert told["shown"] <= told["ready"] <= told["config"] <= told["ended"], told
        # What anybody else who listens in the page has measured.
        ready = [message for message in record.of("ready") if message["at"] <= record.of("ack")[-1]["at"]]
        measured = record.of("ack")[-1]["at"] - ready[-1]["at"]
        assert abs(told["ended"] - told["ready"] - measured) < 100, (told, str(record))
        (line,) = wait_in(page, lambda: beacons(door)[before:], "the beacon")  # noqa: B023
        assert (line["status"], line["tenant"], line["persona"]) == (204, tenant, "customer"), opening
        of_trace = [it for it in door.lines() if it["trace_id"] == line["trace_id"]]
        assert [(it["method"], it["path"], it["status"]) for it in of_trace[:1]] == [("GET", "/", 200)], of_trace
        page.locator("#chat-launcher").click()
