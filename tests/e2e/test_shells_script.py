"""The script of pages around a chat alone, in a browser: who is heard, and who hears.

Every request of the browser is answered here, so that nothing listens and nothing is looked up.
"""

from __future__ import annotations

import html
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Frame, Route

from browser import chromium, wait_in

SCRIPT = Path(__file__, "../../../src/embed/shell.js").resolve().read_text()
HOST = "https://www.host.test"
CHAT = "https://chat.host.test"
EVENT = {"type": "ragtime-event", "event": "thinking"}
RECORD = """<script>
  window.seen = [];
  addEventListener('message', ({data, origin, ports}) => seen.push({data, origin, ports: ports.length}));
  window.heard = [];
  for (const type of ['ragtime:event', 'ragtime:action']) addEventListener(type, ({detail}) => heard.push(detail));
</script>"""
FRAME = f'<iframe name="chat" data-vestibule-chat src="{CHAT}/chat"></iframe>'


class World:
    """A host page, a page around a chat, the chat, and pages that are none of them."""

    def __init__(self, context: BrowserContext) -> None:
        self.page = context.new_page()
        self.console: list[str] = []
        self.errors: list[str] = []
        self.origins = HOST
        self.part = "shell"
        self.script = SCRIPT
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.route("**/*", self._serve)

    def _serve(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        bodies = {"/shell.js": self.script, "/embed": self._embed(), "/host": self._host()}
        kind = "text/javascript" if url.path.endswith(".js") else "text/html"
        body = bodies.get(url.path, f"<!doctype html><title>other</title>{RECORD}")
        route.fulfill(body=body, content_type=f"{kind}; charset=utf-8")

    def _tag(self, part: str) -> str:
        return f'<script src="{CHAT}/shell.js" data-part="{part}" data-origins="{self.origins}"></script>'

    def _embed(self) -> str:
        if self.part == "shell":
            return f"<!doctype html>{self._tag('shell')}{RECORD}{FRAME}<iframe name='ad' src='/ad'></iframe>"
        # Inline: requests of a sandboxed document do not come to this file.
        inside = f"<script data-part='template'>{self.script}</script>{RECORD}<div data-vestibule-place>here</div>"
        return (
            f"<!doctype html>{self._tag('stage')}{RECORD}<iframe name='template' data-vestibule-template "
            f'sandbox="allow-scripts" srcdoc="{html.escape(inside)}"></iframe>'
            + FRAME.replace("src=", "style='position:fixed;visibility:hidden' src=")
        )

    @staticmethod
    def _host() -> str:
        return f"<!doctype html><title>host</title>{RECORD}<iframe name='embed' src='{CHAT}/embed'></iframe>"

    def open(self, host: str = HOST) -> None:
        self.page.goto(f"{host}/host")
        self.frame("chat").wait_for_load_state()

    def frame(self, name: str) -> Frame:
        return wait_in(self.page, lambda: self.page.frame(name), f"the frame {name}")

    def up(self, data: object, name: str = "chat") -> None:
        self.frame(name).evaluate("data => parent.postMessage(data, '*')", data)

    def down(self, data: object) -> None:
        self.page.evaluate("data => frames[0].postMessage(data, '*')", data)

    def seen(self, frame: Frame, name: str = "seen") -> list:
        return frame.evaluate(f"window.{name}")

    def passed(self) -> None:
        """Everything that was posted before has arrived: messages between two windows keep their order."""
        trips = """async () => {
            for (let trip = 0; trip < 6; trip++) {
                for (const target of [self, parent, ...Array.from(frames)]) target.postMessage('trip', '*');
                await new Promise((resolve) => setTimeout(resolve));
            }
        }"""
        for frame in self.page.frames:
            frame.evaluate(trips)

    def heard_by(self, frame: Frame) -> list:
        return [it for it in self.seen(frame) if it["data"] != "trip"]

    def close(self) -> None:
        self.page.close()
        assert self.errors == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    with chromium(tmp_path_factory.mktemp("chromium")) as context:
        yield context


@pytest.fixture(params=["shell", "stage"])
def world(browser: BrowserContext, request: pytest.FixtureRequest):
    running = World(browser)
    running.part = request.param
    yield running
    running.close()


@pytest.mark.parametrize(
    ("origins", "host", "heard"),
    [
        (f"https://a.test {HOST}", HOST, True),
        ("https://*.host.test", HOST, True),
        ("https://*.host.test", "https://a.b.host.test", True),
        # The page around it is of the chat's own origin: another page of the same host.
        ("", CHAT, True),
        ("https://*.host.test", "https://host.test", False),
        ("https://*.host.test", "https://evilhost.test", False),
        ("https://*.host.test", "http://www.host.test", False),
        (f"{HOST}:8443", HOST, False),
        (HOST[:-1], HOST, False),
        ("file:", HOST, False),
        ("", HOST, False),
    ],
)
def test_only_pages_that_may_embed_it_speak_and_hear(world: World, origins: str, host: str, heard: bool) -> None:
    world.origins = origins
    world.open(host)
    world.down({"type": "down"})
    world.up(EVENT)
    inside = world.frame("chat" if heard else "embed")
    wait_in(world.page, lambda: world.heard_by(inside), "the first message")
    if heard:
        main = world.page.main_frame
        wait_in(world.page, lambda: world.heard_by(main), "the event in the page")
        assert world.heard_by(main) == [{"data": EVENT, "origin": CHAT, "ports": 0}]
        assert world.heard_by(inside) == [{"data": {"type": "down"}, "origin": CHAT, "ports": 0}]
        assert world.console == []
        return
    world.down({"type": "down"})
    world.passed()
    assert world.heard_by(world.frame("chat")) == []
    assert world.heard_by(world.page.main_frame) == []
    assert len([line for line in world.console if "embed_origins" in line]) == 1, world.console


def test_other_windows_are_ignored(world: World) -> None:
    """Frames beside the chat, a window that was opened, and the page itself."""
    world.open()
    others = ["ad"] if world.part == "shell" else ["template"]
    for name in others:
        world.up(EVENT, name)
        world.up({"type": "from-beside"}, name)
    embed = world.frame("embed")
    embed.evaluate("message => window.postMessage(message, '*')", EVENT)
    opener = "() => { window.other = open('/other'); }"
    with world.page.context.expect_page() as popup:
        embed.evaluate(opener)
    popup.value.wait_for_load_state()
    popup.value.evaluate("message => opener.postMessage(message, '*')", {"type": "from-a-popup"})
    wait_in(world.page, lambda: len(world.heard_by(embed)) >= 4, "all four at the page around the chat")
    popup.value.close()
    world.passed()
    for frame in [world.frame("chat"), world.page.main_frame]:
        assert world.heard_by(frame) == []
    inner = embed if world.part == "shell" else world.frame("template")
    assert world.seen(inner, "heard") == []


def test_a_chat_that_was_led_away_speaks_to_nobody_and_hears_nothing(world: World) -> None:
    world.open()
    chat = world.frame("chat")
    chat.goto("https://elsewhere.test/page")
    world.up(EVENT)
    world.down({"type": "down"})
    wait_in(world.page, lambda: len(world.heard_by(world.frame("embed"))) >= 2, "both messages")
    world.passed()
    assert world.heard_by(world.page.main_frame) == []
    assert world.heard_by(chat) == []


def test_only_what_is_an_event_is_one(world: World) -> None:
    world.open()
    odd = [
        None,
        5,
        "ragtime-event",
        [],
        {},
        {"type": "constructor"},
        {"type": "__proto__"},
        {"type": ["ragtime-event"]},
    ]
    for data in [*odd, EVENT]:
        world.up(data)
    inner = world.frame("embed") if world.part == "shell" else world.frame("template")
    wait_in(world.page, lambda: world.seen(inner, "heard"), "the event")
    assert world.seen(inner, "heard") == [EVENT]
    main = world.page.main_frame
    wait_in(world.page, lambda: len(world.heard_by(main)) == 9, "everything at the page")
    assert [it["data"] for it in world.heard_by(main)] == [*odd, EVENT]


def test_a_port_goes_to_nobody_before_the_page_is_known(world: World) -> None:
    """A browser that tells no ancestors and no referrer: the first words go to allowed origins, without ports."""
    for known in ["location.ancestorOrigins", "document.referrer"]:
        assert known in world.script
        world.script = world.script.replace(known, "undefined")
    world.open()
    with_port = "data => { const {port1} = new MessageChannel(); parent.postMessage(data, '*', [port1]); }"
    world.frame("chat").evaluate(with_port, {"type": "early"})
    main = world.page.main_frame
    wait_in(world.page, lambda: world.heard_by(main), "the early message")
    world.down({"type": "hello"})
    wait_in(world.page, lambda: world.heard_by(world.frame("chat")), "the page's message")
    world.frame("chat").evaluate(with_port, {"type": "late"})
    wait_in(world.page, lambda: len(world.heard_by(main)) == 2, "the late message")
    assert [(it["data"]["type"], it["ports"]) for it in world.heard_by(main)] == [("early", 0), ("late", 1)]


def test_the_template_cannot_say_more_than_where_the_chat_goes(browser: BrowserContext) -> None:
    """A sandboxed template may post anything: a place is numbers, and a radius."""
    world = World(browser)
    world.part = "stage"
    world.open()
    place = {
        "left": "1px;background:red",
        "top": -20,
        "width": 50,
        "height": {"valueOf": 1},
        "radius": "1px;position:static",
        "shows": True,
        "zIndex": 99,
    }
    for data in [{"type": "vestibule-shell-place", "place": place}, {"type": "vestibule-shell-place"}, None]:
        world.up(data, "template")
    element = world.frame("embed").locator("iframe[data-vestibule-chat]")
    style = wait_in(world.page, lambda: _styled(element.get_attribute("style")), "the place")
    assert {
        name: style.get(name) for name in ["left", "top", "width", "height", "background", "z-index", "position"]
    } == {
        "left": "0px",
        "top": "-20px",
        "width": "50px",
        "height": "0px",
        "background": None,
        "z-index": None,
        "position": "fixed",
    }
    world.close()


def _styled(text: str) -> dict[str, str] | None:
    pairs = dict(pair.strip().split(": ", 1) for pair in text.split(";") if ": " in pair)
    return pairs if pairs.get("top") == "-20px" else None
