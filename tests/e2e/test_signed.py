"""Signed launches as a customer makes them: a Node server signs, a page of another site shows the frame.

The signer does what the functions of the two documents for integrators do, step by step.
"""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from playwright.sync_api import BrowserContext, Locator, expect

import browser as browsers
from browser import BLOCKING
from shells import CHAT, HOSTS, SECRET, Opened, Shells
from vestibule import ROOT

OVERRIDES = {
    "customInstructions": {"value": "Always respond in formal English.", "mode": "append"},
    "openingInstructions": {"value": "Welcome! A café? Straße 7 + 1 = 8 ~ !", "mode": "replace"},
}
PREFILL = [
    {"type": "message", "role": "assistant", "content": "Hi there! How can I help you today?"},
    {"type": "message", "role": "user", "content": 'Tell me about <b>plans</b> & 100% of "prices"\n'},
]
QUERY = [["user_name", "John"], ["other", "~ a+b *'() Zoë 漢字 😀"], ["user_id", "u-7"]]
# What each of the functions is asked with, and what the app is told.
FUNCTIONS = {
    "generateSignedUrl": ({"params": QUERY}, {"user_id": "u-7", "variables": {"user_name": "John"}}),
    "buildSignedInjectionUrl": (
        {"overrides": OVERRIDES, "prefill": PREFILL},
        {"user_id": None, "instructionOverrides": OVERRIDES, "prefillMessages": PREFILL},
    ),
}


def node(function: str, **asked: object) -> object:
    program = shutil.which("node")
    assert program, "node is missing: the tests of signatures need it"
    command = [program, str(ROOT / "tests/e2e/signer.mjs")]
    said = json.dumps({"function": function, "secret": SECRET} | asked)
    done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def base(shells: Shells, place: str, kind: str, persona: str = "signed") -> str:
    """As the documents write it, without the last slash."""
    return shells.url(place, persona, below="", kind=kind)


@pytest.fixture(params=HOSTS)
def place(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["chat", "embed"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=FUNCTIONS)
def function(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def stranger(certificates, tmp_path_factory: pytest.TempPathFactory):
    """Another browser."""
    with browsers.chromium(tmp_path_factory.mktemp("chromium"), spki=certificates.spki) as context:
        yield context


@pytest.fixture(scope="module", params=BLOCKING)
def blocking(request: pytest.FixtureRequest, certificates, tmp_path_factory: pytest.TempPathFactory):
    preferences = {"profile": BLOCKING[request.param]}
    folder = tmp_path_factory.mktemp("chromium")
    with browsers.chromium(folder, spki=certificates.spki, preferences=preferences) as context:
        yield context


def check(opened: Opened, expected: dict, part: str) -> None:
    """A document that was not seen before, and its socket."""
    told = opened.told(part)
    launch = told["launch"]
    assert {name: launch[name] for name in expected} == expected, told
    assert launch["assurance"] == "signed", told
    # The app reads what was checked, without what made it so.
    assert "signature" not in told["target"], told
    expect(opened.chat.locator("#socket")).to_have_text("socket: echo")
    opened.chat.wait_for_load_state()


def refusal(opened: Opened, kind: str) -> Locator:
    """The code on the page that says why the chat, or the page around it, did not open."""
    frame = opened.page.frame_locator("#chat-iframe")
    return (frame.frame_locator(CHAT) if kind == "embed" else frame).locator("code").first


def another(address: str, expected: dict) -> str:
    """A second link for the same user."""
    user = [["user_id", expected["user_id"]]] if expected["user_id"] else []
    return node("generateSignedUrl", baseUrl=address, params=[*user, ["second", "1"]])


def walk(opened: Opened, shells: Shells, url: str, other: str, expected: dict) -> None:
    """Opens, reloads, goes to another page and comes back, and goes there again."""
    page = opened.page
    page.goto(shells.page(url))
    check(opened, expected, "timestamp=")
    for _ in range(2):
        opened.shell.evaluate("() => { location.reload(); }")
        check(opened, expected, "timestamp=")
    page.evaluate("url => { frame.src = url; }", other)
    check(opened, {}, "second=1")
    page.evaluate("history.back()")
    check(opened, expected, "timestamp=")
    page.evaluate("history.forward()")
    check(opened, {}, "second=1")


def test_what_the_documents_sign_opens_reloads_and_goes_back(
    function: str, kind: str, place: str, shells: Shells, opened: Opened
) -> None:
    asked, expected = FUNCTIONS[function]
    address = base(shells, place, kind)
    url = node(function, baseUrl=address, **asked)
    walk(opened, shells, url, another(address, expected), expected)
    # The same link once more, where the session is in a cookie.
    opened.page.reload()
    check(opened, expected, "timestamp=")


def test_it_opens_where_cookies_are_blocked(
    function: str, kind: str, place: str, shells: Shells, blocking: BrowserContext
) -> None:
    """By its address: the app's addresses are relative."""
    asked, expected = FUNCTIONS[function]
    address = base(shells, place, kind, "signed-relative")
    url = node(function, baseUrl=address, **asked)
    blocking.clear_cookies()
    opened = Opened(blocking.new_page())
    walk(opened, shells, url, another(address, expected), expected)
    opened.page.close()


def test_a_second_browser_is_refused_and_told_why(
    function: str, kind: str, place: str, shells: Shells, opened: Opened, stranger: BrowserContext
) -> None:
    asked, expected = FUNCTIONS[function]
    url = node(function, baseUrl=base(shells, place, kind), **asked)
    opened.page.goto(shells.page(url))
    check(opened, expected, "timestamp=")
    # With its session, the first browser has come back.
    opened.chat.evaluate("facts()")
    second = Opened(stranger.new_page())
    answers: list[tuple[str, int]] = []
    second.page.on("response", lambda answer: answers.append((answer.url, answer.status)))
    second.page.goto(shells.page(url))
    code = refusal(second, kind)
    expect(code).to_have_text("signature_replayed")
    expect(code.locator("xpath=ancestor::body")).to_contain_text(
        "This link was used already: open the chat from its page."
    )
    assert [status for address, status in answers if "/chat/" in address and "chat.test" in address][-1] == 403
    second.page.close()
    # The first goes on.
    opened.shell.evaluate("() => { location.reload(); }")
    check(opened, expected, "timestamp=")


def test_going_back_to_another_users_page_is_refused(kind: str, place: str, shells: Shells, opened: Opened) -> None:
    """Their session ended when the second one's began."""
    page, address = opened.page, base(shells, place, kind)
    first, second = (
        node("generateSignedUrl", baseUrl=address, params=[["user_id", user], ["number", user]])
        for user in ["u-1", "u-2"]
    )
    page.goto(shells.page(first))
    check(opened, {"user_id": "u-1"}, "number=u-1")
    page.evaluate("url => { frame.src = url; }", second)
    check(opened, {"user_id": "u-2"}, "number=u-2")
    page.evaluate("history.back()")
    expect(refusal(opened, kind)).to_have_text("signature_replayed")
    page.evaluate("history.forward()")
    check(opened, {"user_id": "u-2"}, "number=u-2")


def test_a_changed_letter_is_refused(kind: str, place: str, shells: Shells, opened: Opened) -> None:
    url = node("generateSignedUrl", baseUrl=base(shells, place, kind), params=QUERY)
    opened.page.goto(shells.page(url.replace("user_id=u-7", "user_id=u-8")))
    # The page around the chat says so already.
    expect(refusal(opened, "chat")).to_have_text("signature_invalid")


def test_a_form_with_fifty_long_messages_fits(kind: str, place: str, shells: Shells, opened: Opened) -> None:
    """In three bytes a character, and nine in the form."""
    roles = ["assistant", "user"]
    messages = [{"type": "message", "role": roles[at % 2], "content": chr(0x4E00 + at) * 2000} for at in range(50)]
    plain = [["user_id", "u-9"], ["plan", "gold\nand more"]]
    fields = node("signForm", params=[*plain, ["prefillMessages", json.dumps(messages, ensure_ascii=False)]])
    opened.page.goto(shells.page("about:blank"))
    opened.page.evaluate("([url, fields]) => post(url, fields)", [base(shells, place, kind) + "/", fields])
    for _ in ["opened", "reloaded"]:
        told = opened.told()
        assert told["target"] == "/", told["target"]
        launch = told["launch"]
        assert (launch["user_id"], launch["assurance"]) == ("u-9", "signed")
        assert launch["prefillMessages"] == messages
        assert launch["variables"]["plan"].replace("\r\n", "\n") == "gold\nand more"
        opened.shell.evaluate("() => { location.reload(); }")
