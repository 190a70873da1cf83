"""Pages around a chat, three levels deep in a browser: a host page of another site, the page, the chat.

Everything holds on a host of one's own, where the template is the page, and on a shared host, where
it runs in a sandbox beside the chat.
"""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

import browser as browsers
from browser import BLOCKING, KEPT, PROBE, wait_in
from shells import CHAT, HOSTILE, HOSTS, Opened, Shells
from vestibule import wait_until

EVENT = {"type": "ragtime-event", "event": "thinking", "detail": {"depth": 3, "text": "<b>hm</b>"}}
ACTION = {"type": "ragtime-action", "action": "open", "args": {"door": "left"}}
# Where the elements of the template and of the page stand, seen from the host page.
PLACE = "#around iframe, #around [data-vestibule-place]"


@pytest.fixture(params=HOSTS)
def place(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("slug", HOSTILE)
def test_a_hostile_name_is_text(slug: str, place: str, shells: Shells, opened: Opened) -> None:
    opened.goto(shells.page(shells.url(place, below=f"/{slug}/")))
    template, name = opened.template, HOSTILE[slug]
    assert template.evaluate("document.getElementById('name').textContent") == name
    assert template.evaluate("document.getElementById('note').value") == name
    assert template.evaluate("document.title") == name
    attributes = template.locator("#name").evaluate("({ title, lang, dataset }) => [title, lang, dataset.slug]")
    assert attributes == [name, name, slug]
    check_nothing_ran(opened)
    # What the chat's app is told is the segment alone.
    assert opened.told()["headers"]["x-vestibule-device"] == slug


def check_nothing_ran(opened: Opened) -> None:
    for frame in opened.frames:
        assert frame.evaluate("typeof window.hacked") == "undefined", frame.url
        assert frame.evaluate("document.querySelectorAll('img, svg').length") == 0, frame.url
    # Ours, and the template's own.
    assert opened.template.evaluate("document.scripts.length") == 2
    assert opened.dialogs == []
    assert len(opened.shell.child_frames) == (1 if opened.template == opened.shell else 2)


def test_what_the_chat_says_reaches_the_page_and_the_template(place: str, shells: Shells, opened: Opened) -> None:
    opened.goto(shells.page(shells.url(place)))
    other = {"type": "resize", "height": 7}
    for message in [EVENT, other, ACTION]:
        opened.chat.evaluate("message => parent.postMessage(message, '*')", message)
    opened.heard(opened.template, "heard", lambda it: it[0] == "ragtime:action", "the action")
    opened.heard(opened.page.main_frame, "seen", lambda it: it["data"] == ACTION, "the action")
    assert opened.template.evaluate("heard") == [["ragtime:event", EVENT], ["ragtime:action", ACTION]]
    # What the page would see around the chat itself, and nothing of ours.
    origin = shells.origin(place)
    expected = [{"data": data, "origin": origin, "frame": True, "ports": 0} for data in [EVENT, other, ACTION]]
    assert opened.page.evaluate("seen") == expected


def test_what_the_page_and_the_template_say_reaches_the_chat(place: str, shells: Shells, opened: Opened) -> None:
    opened.goto(shells.page(shells.url(place)))
    opened.page.evaluate("say({type: 'of-the-page', list: [1, null, 'two']})")
    opened.heard(opened.chat, "seen", lambda it: it["data"]["type"] == "of-the-page", "the page's message")
    opened.template.evaluate("ragtime.send('of-the-template', {text: '<i>'})")
    opened.template.evaluate("vestibule.send('bare')")
    opened.heard(opened.chat, "seen", lambda it: it["data"]["type"] == "bare", "the template's message")
    said = [{"type": "of-the-page", "list": [1, None, "two"]}, {"type": "of-the-template", "detail": {"text": "<i>"}}]
    seen = opened.chat.evaluate("seen")
    assert [it["data"] for it in seen[:2]] == said
    assert all(it["origin"] == shells.origin(place) and it["parent"] for it in seen), seen


def test_a_port_goes_along_in_both_directions(place: str, shells: Shells, opened: Opened) -> None:
    opened.goto(shells.page(shells.url(place)))
    assert opened.page.evaluate("sayWithPort({type: 'down'})") == ["the chat heard", {"type": "down"}]
    up = """() => new Promise((resolve) => {
        const channel = new MessageChannel();
        channel.port1.onmessage = (event) => resolve(event.data);
        parent.postMessage({type: 'up'}, '*', [channel.port2]);
    })"""
    assert opened.chat.evaluate(up) == ["the page heard", {"type": "up"}]


def test_a_page_that_may_not_embed_it_shows_nothing(place: str, shells: Shells, opened: Opened) -> None:
    page = opened.page
    page.goto(shells.page(shells.url(place), host="stranger"))

    def refused() -> bool:
        return any("frame-ancestors" in line for line in opened.console)

    wait_in(page, refused, lambda: f"the browser to refuse the frame; it says {opened.console}")
    # The page of the error, and nothing inside.
    wait_in(page, lambda: opened.shell.url.startswith("chrome-error:"), lambda: opened.shell.url)
    assert opened.shell.child_frames == []


def test_the_handshake_completes_through_the_page(place: str, shells: Shells, opened: Opened) -> None:
    host = opened.page.main_frame
    opened.page.goto(shells.page(shells.url(place, "member")))
    opened.heard(host, "seen", lambda it: it["data"]["type"] == "chat-embed-ready", "ready")
    assert opened.told()["headers"]["x-vestibule-identity-state"] == "awaiting"
    payload = {"mode": "customer", "user_id": 12345, "require_user_id": True, "allow_generated_id": False}
    opened.page.evaluate("say", {"type": "chat-embed-config", "payload": payload})
    ack = opened.heard(host, "seen", lambda it: it["data"]["type"] == "chat-embed-ack", "ack")
    assert (ack["origin"], ack["frame"]) == (shells.origin(place), True)
    told = opened.wait().chat.evaluate("facts()")
    assert told["headers"]["x-vestibule-user-id"] == "12345", told
    assert not [it for it in opened.page.evaluate("seen") if it["data"]["type"] == "chat-embed-error"]


@pytest.mark.parametrize("kind", ["embed", "chat"])
def test_a_query_goes_through(kind: str, place: str, shells: Shells, opened: Opened) -> None:
    """Around the chat as without anything around it."""
    launch = shells.url(place, below="/lobby/", kind=kind, user_id="u-1", user_name="Zoë & <Co>", other="x y")
    opened.page.goto(shells.page(launch))
    told = opened.told("user_name=")
    assert told["target"] == "/?user_id=u-1&user_name=Zo%C3%AB+%26+%3CCo%3E&other=x+y"
    assert told["headers"]["x-vestibule-device"] == "lobby"
    assert told["launch"]["variables"] == {"user_name": "Zoë & <Co>"}


MESSAGES = [{"type": "message", "role": "assistant", "content": 'Hi "there" </script>\n{{RAGTIME_IFRAME}}'}]
OVERRIDES = {"customInstructions": {"value": "Formal, please.", "mode": "append"}}


@pytest.mark.parametrize("kind", ["embed", "chat"])
def test_a_form_goes_through(kind: str, place: str, shells: Shells, opened: Opened) -> None:
    """Into the named frame; what it brought is there on reload and after going back."""
    page = opened.page
    page.goto(shells.page("about:blank"))
    fields = {
        "user_id": "u-2",
        "plan": "gold",
        "prefillMessages": json.dumps(MESSAGES),
        "instructionOverrides": json.dumps(OVERRIDES),
    }
    url = shells.url(place, below="/lobby/", kind=kind, user_name="Zoë", form=1)
    page.evaluate("([url, fields]) => post(url, fields)", [url, list(fields.items())])
    check_form(opened)
    opened.shell.evaluate("() => { location.reload(); }")
    check_form(opened)
    # To a page of somebody else, and back.
    page.evaluate("frame.src = '/two'")
    wait_in(page, lambda: opened.shell.url.endswith("/two"), lambda: opened.shell.url)
    page.evaluate("history.back()")
    check_form(opened)


def check_form(opened: Opened) -> None:
    told = opened.told("form=1")
    # Variables stand in no address.
    assert told["target"] == "/?form=1", told
    assert told["headers"]["x-vestibule-user-id"] == "u-2"
    assert told["headers"]["x-vestibule-device"] == "lobby"
    launch = told["launch"]
    assert launch["variables"] == {"user_name": "Zoë", "plan": "gold"}
    assert (launch["prefillMessages"], launch["instructionOverrides"]) == (MESSAGES, OVERRIDES)


@pytest.fixture(scope="module", params=BLOCKING)
def blocking(request: pytest.FixtureRequest, certificates, tmp_path_factory: pytest.TempPathFactory):
    """A browser that blocks cookies, and which."""
    preferences = {"profile": BLOCKING[request.param]}
    folder = tmp_path_factory.mktemp("chromium")
    with browsers.chromium(folder, spki=certificates.spki, preferences=preferences) as context:
        yield request.param, context


def test_the_chat_opens_where_cookies_are_blocked(blocking, place: str, shells: Shells) -> None:
    """By its address: the app's addresses are relative."""
    blocked, context = blocking
    context.clear_cookies()
    opened = Opened(context.new_page()).goto(shells.page(shells.url(place, "relative", user_id=77)))
    told = opened.chat.evaluate("facts()")
    assert told["headers"]["x-vestibule-user-id"] == "77", told
    assert opened.chat.evaluate(PROBE) == KEPT[blocked]
    assert ("/.v/" in opened.chat.url) == (blocked == "all")
    opened.chat.evaluate("message => parent.postMessage(message, '*')", EVENT)
    opened.heard(opened.template, "heard", lambda it: it == ["ragtime:event", EVENT], "the event")
    opened.heard(opened.page.main_frame, "seen", lambda it: it["data"] == EVENT, "the event")
    opened.page.close()


def test_a_form_goes_through_where_cookies_are_blocked(blocking, place: str, shells: Shells) -> None:
    blocked, context = blocking
    context.clear_cookies()
    opened = Opened(context.new_page())
    opened.page.goto(shells.page("about:blank"))
    url = shells.url(place, "relative", keep=1)
    opened.page.evaluate("([url, fields]) => post(url, fields)", [url, [["user_id", "78"]]])
    opened.wait()
    for _ in ["opened", "reloaded"]:
        told = opened.told()
        assert (told["target"], told["headers"]["x-vestibule-user-id"]) == ("/?keep=1", "78"), told
        assert opened.wait().chat.evaluate("facts()")["headers"]["x-vestibule-user-id"] == "78"
        # The page has the token as well, the template in a sandbox has not.
        assert ("/.v/" in opened.shell.evaluate("location.pathname")) == (blocked == "all")
        if place == "shared":
            known = opened.template.evaluate("[document.baseURI, document.referrer, location.href]")
            assert "/.v/" not in str(known)
        opened.shell.evaluate("() => { location.reload(); }")
    opened.page.close()


def test_a_page_without_cookies_is_reloaded_with_its_session(blocking, place: str, shells: Shells) -> None:
    _, context = blocking
    context.clear_cookies()
    opened = Opened(context.new_page()).goto(shells.page(shells.url(place, "relative", user_id=79)))
    sessions = set()
    for _ in range(3):
        sessions.add(opened.wait().told()["headers"]["x-vestibule-session"])
        opened.shell.evaluate("() => { location.reload(); }")
    assert len(sessions) == 1
    opened.page.close()


def boxes(opened: Opened) -> tuple[dict, dict]:
    """Where the template keeps a place for the chat, and where the chat is."""
    place = opened.template.locator(PLACE).bounding_box()
    chat = opened.shell.locator(CHAT).bounding_box()
    return place, chat


def check_over(opened: Opened, what: str) -> dict:
    last: list[object] = []

    def over() -> dict | None:
        place, chat = boxes(opened)
        last[:] = [place, chat]
        near = place and chat and all(abs(place[side] - chat[side]) <= 1 for side in place)
        return chat if near else None

    return wait_in(opened.page, over, lambda: f"the chat over its place, {what}: {last}")


def test_the_chat_lies_over_its_place(place: str, shells: Shells, opened: Opened) -> None:
    opened.goto(shells.page(shells.url(place)))
    first = check_over(opened, "at first")
    assert (first["width"], first["height"]) == (540, 400)
    chat = opened.shell.locator(CHAT)
    expect(chat).to_be_visible()
    opened.template.evaluate("scrollTo(0, 120)")
    scrolled = check_over(opened, "scrolled")
    assert abs(first["y"] - scrolled["y"] - 120) <= 1, (first, scrolled)
    opened.template.evaluate("document.getElementById('around').style.cssText = 'width: 300px; height: 200px'")
    assert check_over(opened, "smaller")["width"] == 300
    opened.page.evaluate("frame.width = 500")
    check_over(opened, "in a narrower frame")
    opened.template.evaluate("document.querySelector('aside').style.width = '100px'")
    check_over(opened, "moved by its neighbour")
    for hide, show in [("display", "none"), ("visibility", "hidden")]:
        opened.template.evaluate(
            "([name, value]) => { document.getElementById('around').style[name] = value; }", [hide, show]
        )
        expect(chat).to_be_hidden()
        opened.template.evaluate("name => { document.getElementById('around').style[name] = ''; }", hide)
        expect(chat).to_be_visible()
        check_over(opened, f"shown again by {hide}")


def test_the_chat_is_cut_off_and_rounded_with_its_place(shells: Shells, opened: Opened) -> None:
    """By elements of the template that hide what flows over."""
    opened.goto(shells.page(shells.url("shared")))
    check_over(opened, "at first")
    chat = opened.shell.locator(CHAT)
    expect(chat).to_have_css("border-radius", "16px")
    expect(chat).to_have_css("clip-path", "none")
    opened.template.evaluate("Object.assign(document.querySelector('main').style, {height: '200px', overflow: 'auto'})")
    # The padding of 24 pixels is above; below, 200 pixels and twice the padding are left of it.
    expect(chat).to_have_css("clip-path", "inset(0px 0px 176px)")
    opened.template.evaluate("document.querySelector('main').scrollTo(0, 124)")
    expect(chat).to_have_css("clip-path", "inset(100px 0px 52px)")
    check_over(opened, "scrolled inside")


def test_the_chat_can_be_clicked_and_scrolled_where_it_lies(place: str, shells: Shells, opened: Opened) -> None:
    opened.goto(shells.page(shells.url(place)))
    box = check_over(opened, "before the click")
    opened.chat.evaluate("addEventListener('click', () => { window.clicked = true; })")
    opened.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    wait_in(opened.page, lambda: opened.chat.evaluate("window.clicked"), "the click in the chat")


# What a script of the template gets at, by name: a text where it got something, null where it was refused.
ATTEMPTS = """async () => {
    const attempts = {
        origin: () => (self.origin === 'null' ? null : self.origin),
        cookie: () => document.cookie,
        storage: () => String(localStorage.length),
        session: () => String(sessionStorage.length),
        page: () => parent.document.title,
        host: () => top.document.title,
        cookies: () => parent.document.cookie,
        chat: () => parent.frames[1].document.title,
        element: () => frameElement && frameElement.tagName,
        place: () => parent.location.href,
        fetched: async () => (await fetch(address('facts'), {credentials: 'include'})).text(),
        database: () => { indexedDB.open('x'); return 'database'; },
        worker: async () => { await navigator.serviceWorker.register(address('x.js')); return 'worker'; },
        move: () => { top.location = 'about:blank'; return null; },
    };
    const address = (name) => new URL('/chat/acme/kiosk/' + name, document.baseURI).href;
    const got = {};
    for (const [name, attempt] of Object.entries(attempts)) {
        try { got[name] = await attempt(); } catch { got[name] = null; }
    }
    return got;
}"""


@pytest.mark.parametrize("persona", ["kiosk", "other:kiosk"])
def test_a_sandboxed_template_gets_at_nothing(persona: str, shells: Shells, opened: Opened) -> None:
    opened.goto(shells.page(shells.url("shared", persona, user_id="u-1")))
    opened.page.evaluate("document.cookie = 'of-the-host=1'")
    opened.chat.evaluate("document.cookie = 'of-the-chat=1; SameSite=None; Secure; Partitioned'")
    got = opened.template.evaluate(ATTEMPTS)
    assert {name: it for name, it in got.items() if it is not None} == {}
    # A request whose answer it cannot see is refused as well.
    before = len(shells.app.to("of-the-template"))
    posts = "fetch('/chat/acme/kiosk/of-the-template', {method: 'POST', mode: 'no-cors', credentials: 'include'})"
    opened.template.evaluate(f"async () => {{ await {posts}; }}")
    lines = wait_until(
        lambda: [line for line in shells.lines() if "of-the-template" in str(line.get("path"))],
        "the log of the request",
    )
    assert {line["status"] for line in lines} == {403}, lines
    assert len(shells.app.to("of-the-template")) == before
    # The chat is what it is without anything around it.
    assert opened.chat.evaluate("[self.origin, document.cookie]") == [shells.origin("shared"), "of-the-chat=1"]
    told = opened.chat.evaluate("facts()")
    assert told["headers"]["x-vestibule-user-id"] == "u-1"
    assert told["headers"]["origin" if "origin" in told["headers"] else "sec-fetch-site"] == "same-origin"
    opened.chat.evaluate("localStorage.setItem('kept', '1')")


@pytest.fixture(scope="module")
def studio(certificates, tmp_path_factory: pytest.TempPathFactory):
    """A browser with a microphone that nobody is asked for."""
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    takes_all = {"profile": {"cookie_controls_mode": 0, "block_third_party_cookies": False}}
    folder = tmp_path_factory.mktemp("chromium")
    with browsers.chromium(folder, spki=certificates.spki, preferences=takes_all, flags=flags) as context:
        yield context


@pytest.mark.parametrize("allow", ["microphone", ""])
def test_the_chat_has_the_microphone_that_the_page_gives(allow: str, place: str, shells: Shells, studio) -> None:
    opened = Opened(studio.new_page()).goto(shells.page(shells.url(place), allow=allow))
    listen = """async () => {
        const allowed = document.featurePolicy.allowsFeature('microphone');
        try {
            const stream = await navigator.mediaDevices.getUserMedia({audio: true});
            return [allowed, stream.getAudioTracks().length];
        } catch (error) { return [allowed, error.name]; }
    }"""
    assert opened.chat.evaluate(listen) == ([True, 1] if allow else [False, "NotAllowedError"])
    if opened.template != opened.shell:
        assert opened.template.evaluate("document.featurePolicy.allowsFeature('microphone')") is False
    opened.page.close()


def test_an_edited_template_shows_and_a_broken_one_does_not(place: str, shells: Shells, opened: Opened) -> None:
    file = shells.template("kiosk")
    text = file.read_text()
    url = shells.page(shells.url(place))

    def shows(words: str) -> bool:
        opened.goto(url)
        return opened.template.locator("footer").inner_text() == words

    try:
        file.write_text(text.replace("The end of the page.", f"Edited, {place}."))
        wait_in(opened.page, lambda: shows(f"Edited, {place}."), "the new template")
        known = len(shells.log.read_text())
        file.write_text(re.sub(r"\{\{RAGTIME_IFRAME\}\}", "", text.replace("The end", "Broken")))
        said = wait_until(
            lambda: re.search(r"kiosk\.html:1:1: the chat has no place in it.*", shells.log.read_text()[known:]),
            "the refusal on stderr",
        )
        assert said
        assert "goes on serving" in shells.log.read_text()[known:]
        assert shows(f"Edited, {place}.")
    finally:
        file.write_text(text)
    wait_in(opened.page, lambda: shows("The end of the page."), "the first template again")
