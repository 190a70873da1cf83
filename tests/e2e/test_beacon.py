"""What pages tell of their handshakes: the launcher of `vestibule snippet host-page` in Chromium, with Streamlit in its frame, and the
recipe of docs/embedding.md as it stands there, in Node."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
from playwright.sync_api import Page

from browser import Record, wait_in
from deployment import Deployment
from vestibule import ROOT, binary

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


RECIPE_IN_A_PAGE = """
let clock = 0;
const told = [];
const performance = { now: () => ++clock };
const setTimeout = () => 0;
const clearTimeout = () => {};
async function fetch(url, { body }) { told.push({ url: String(url), ...JSON.parse(body) }); }
"""
# How a page uses it: what is posted must be posted whatever the recipe knows.
PAGE = """
const ready = () => { heard({ type: 'chat-embed-ready', launch: 'sealed' }); posted(); };
const ack = () => heard({ type: 'chat-embed-ack', launch: 'sealed' });
const failed = () => heard({ type: 'chat-embed-error', code: 'config_invalid' });
const late = () => tell('timeout');
const noise = () => { heard(null); heard('text'); heard({ type: 7 }); };
"""
# What happens in a page, and of each telling its outcome and which moments it has.
ORDERS = [
    (["shown", "ready", "ack"], [("ack", "shown=1 ready=2 config=3 ended=4")]),
    # Loaded before it was shown, and asked again once it is.
    (["ready", "shown", "ready", "ack"], [("ack", "shown=1 ready=2 config=3 ended=4")]),
    (["ready", "shown", "posted", "ack"], [("ack", "shown=1 ready=1 config=2 ended=3")]),
    # The answer to what was posted before it was shown says nothing of this opening.
    (["ready", "shown", "ack"], []),
    (["ready", "ack"], []),
    (["shown", "ready", "ack", "ready", "ack", "late"], [("ack", "shown=1 ready=2 config=3 ended=4")]),
    (["shown", "ready", "failed"], [("error", "shown=1 ready=2 config=3 ended=4")]),
    (["noise", "shown", "noise", "late", "noise"], [("timeout", "shown=1 ended=2")]),
]


@pytest.mark.parametrize(
    ("order", "expected"), ORDERS, ids=lambda it: "-".join(it) if it and isinstance(it[0], str) else ""
)
def test_the_recipe_for_other_launchers_tells_once_and_breaks_no_page(
    order: list[str], expected: list[tuple[str, str]]
) -> None:
    text = (ROOT / "docs/embedding.md").read_text()
    blocks = re.findall(r"^```js\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (recipe,) = [block for block in blocks if "function tell(" in block]
    steps = "".join(f"{step}();" for step in order)
    program = f"{RECIPE_IN_A_PAGE}{recipe}{PAGE}{steps}console.log(JSON.stringify(told));"
    command = [shutil.which("node") or "node", "--input-type=module", "-e", program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    moments = [
        " ".join(f"{key}={it[key]}" for key in ("shown", "ready", "config", "ended") if key in it) for it in told
    ]
    assert [(it["outcome"], got) for it, got in zip(told, moments, strict=True)] == expected
    for it in told:
        assert it["url"] == "https://chat-customer.acme.example/.vestibule/beacon"
        assert it.get("error") == ("config_invalid" if it["outcome"] == "error" else None)
        assert it.get("launch") == (None if it["outcome"] == "timeout" else "sealed")
