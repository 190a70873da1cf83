"""The operator's page in a browser: against the real server, and against one that plays what is hard to bring about.

Whatever a test does, the page may not write an error to the console, break its own policy, or ask
anybody but its server for anything.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from admin_mock import HOSTILE, SCENARIOS, Mock, busy, certificate, idle, many, overview, persona, server
from vestibule import PERSONAS, Vestibule, accepts, binary, free_port, wait_until
from visitor import DOCUMENT, Visitor

TOKEN = "only-for-operators-0123456789abcdef"
# What WCAG 2.2 asks for at level AA, as far as a program can see it.
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}


@dataclass
class Watch:
    """A page of a browser, and everything that it must not do."""

    page: Page
    wrong: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    # What a test brings about: a server that is away, a question that is refused.
    expected: str = "(?!)"

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: message.type in ("error", "warning") and self._note(message.text))
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.on("request", lambda request: self.asked.add(re.match(r"\w+://[^/]+|\w+:", request.url)[0]))
        self.page.expose_binding("noteViolation", lambda _source, text: self._note(text))
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', (event) => noteViolation(`policy: ${event.violatedDirective}`));"
        )

    def _note(self, text: str) -> None:
        if not re.search(self.expected, text):
            self.wrong.append(text)

    def open(self, url: str) -> Page:
        self.page.goto(url)
        expect(self.page.locator("#feed-word")).to_have_text("Live")
        return self.page

    def check(self, url: str) -> None:
        assert self.wrong == []
        assert self.asked <= {url.rstrip("/")}


class Operated(Vestibule):
    """A real server whose admin listener is known, with a token where `token` says so."""

    token = False

    def configuration(self) -> str:
        self.admin = getattr(self, "admin", 0) or free_port()
        secret = self.folder / "token"
        secret.write_text(TOKEN)
        lines = f'listen = "127.0.0.1:{self.admin}"' + (f'\ntoken = "file:{secret}"' if self.token else "")
        return re.sub(r'(?<=\[admin\]\n)listen = ".*"', lines, super().configuration())

    def _ready(self) -> bool:
        return super()._ready() and accepts(self.admin)

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.admin}/"

    def ask(self, persona: str, path: str = "/") -> int:
        return Visitor(self.port, self.certificates.ca).get(self.url(f"chat-{persona}", path), DOCUMENT).status


@pytest.fixture(scope="module")
def operated(certificates, upstream, tmp_path_factory: pytest.TempPathFactory):
    ports = dict.fromkeys([*PERSONAS, "site"], upstream.port)
    with Operated(tmp_path_factory.mktemp("operated"), certificates, ports) as running:
        yield running
        assert running.alive(), running.tail()


@pytest.fixture
def watch(page: Page) -> Watch:
    page.set_viewport_size({"width": 1280, "height": 900})
    return Watch(page)


@pytest.fixture
def mock():
    with Mock(idle) as running:
        running.interval = 0.2
        yield running


def row(page: Page, name: str):
    return page.locator("#personas-rows tr").filter(
        has=page.locator("th", has_text=re.compile(f"^{re.escape(name)}( |$)"))
    )


def said(page: Page) -> str:
    return page.locator("#announcer").inner_text()


# Against the real server.


def test_traffic_and_refusals_appear_by_themselves_and_in_words(operated: Operated, watch: Watch) -> None:
    page = watch.open(operated.page)
    expect(row(page, "jasser/public")).to_be_visible()
    assert operated.ask("public") == 200
    assert operated.ask("customer", "/?mode=public&user_id=1") == 403
    reason = page.locator("#reasons tr").filter(has_text="mode_mismatch")
    expect(reason).to_contain_text("This chat is for another kind of user.")
    expect(reason).to_contain_text("The page asks for another mode")
    expect(reason).to_contain_text("jasser/customer 1")
    latest = page.locator("#recent tr").first
    expect(latest).to_contain_text("jasser/customer")
    expect(latest).to_contain_text("mode_mismatch")
    line = [line for line in operated.lines() if line.get("code") == "mode_mismatch"][-1]
    expect(latest).to_contain_text(line["request_id"])
    expect(row(page, "jasser/public").locator("[data-key=p95]")).to_contain_text("ms")
    expect(page.locator("#upstream-list")).to_contain_text("customer-app")
    expect(page.locator("#certificate-rows")).to_contain_text("localhost")
    watch.check(operated.page)


def test_an_address_is_explained(operated: Operated, watch: Watch) -> None:
    page = watch.open(operated.page)
    url = page.get_by_label("Address", exact=True)
    url.fill(operated.url("chat-customer", "/?mode=public&user_id=1"))
    page.get_by_role("button", name="Explain").click()
    verdict = page.locator(".verdict")
    expect(verdict).to_contain_text("Refused")
    expect(verdict).to_contain_text("403 mode_mismatch")
    expect(verdict).to_contain_text("What to do:")
    expect(page.locator("#explained")).to_contain_text("persona jasser/customer")
    assert said(page).startswith("Refused with 403 mode_mismatch")
    url.fill(operated.url("chat-customer", "/?mode=customer&user_id=1"))
    url.press("Enter")
    expect(verdict).to_contain_text("Not refused")
    expect(page.locator(".step pre").first).to_contain_text("X-Vestibule-User-Id: 1")
    # A script's request is refused without a session, and is not with one.
    url.fill(operated.url("chat-customer", "/stream"))
    page.get_by_label("by a script").check()
    url.press("Enter")
    expect(verdict).to_contain_text("session_missing")
    page.locator("#explain-more summary").click()
    page.get_by_label(re.compile("^Launched with")).fill(operated.url("chat-customer", "/?user_id=1"))
    url.press("Enter")
    expect(verdict).to_contain_text("Not refused")
    url.fill("not an address")
    url.press("Enter")
    expect(page.locator("#url-problem")).to_contain_text("Write a whole address")
    expect(url).to_be_focused()
    watch.check(operated.page)


def test_a_reload_says_what_came_of_it(operated: Operated, watch: Watch) -> None:
    page = watch.open(operated.page)

    def reload() -> None:
        page.get_by_role("button", name="Reload…").click()
        expect(page.locator("#reload-close")).to_be_focused()
        page.locator("#reload-go").click()

    reload()
    expect(page.locator("#reload-result")).to_contain_text("Nothing changed")
    page.locator("#reload-close").click()
    file = operated.folder / "vestibule.toml"
    good = file.read_text()
    watch.expected = "422"
    try:
        file.write_text(good.replace('user_id = "none"', 'user_id = "nobody"'))
        reload()
        expect(page.locator("#reload-result")).to_contain_text("Refused")
        expect(page.locator("#reload-result")).to_contain_text("nobody")
        page.keyboard.press("Escape")
        expect(page.locator("#attention-list")).to_contain_text("The last reload was refused")
        expect(page.locator("#reload-list li").first).to_contain_text("nobody")
    finally:
        file.write_text(good)
    reload()
    expect(page.locator("#reload-result .pill").first).not_to_have_attribute("data-level", "bad")
    watch.check(operated.page)


def test_a_drain_asks_first_and_says_what_it_ended(operated: Operated, watch: Watch) -> None:
    page = watch.open(operated.page)
    row(page, "jasser/test").get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Drain jasser/test?")
    expect(page.locator("#drain-close")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    row(page, "jasser/test").get_by_role("button").click()
    page.locator("#drain-go").click()
    expect(page.locator("#drain-result")).to_contain_text("Nothing was open.")
    watch.check(operated.page)


def test_the_page_finds_its_server_again(operated: Operated, watch: Watch) -> None:
    watch.expected = "ERR_|Failed to load|network"
    page = watch.open(operated.page)
    first = page.locator("#telemetry-facts").inner_text()
    operated.stop()
    expect(page.locator("#feed-word")).to_have_text("Reconnecting")
    expect(page.locator("#trouble")).to_contain_text("What stands below is of")
    assert said(page) == "The connection was lost. Trying again."
    operated.start()
    page.get_by_role("button", name="Try now").click(timeout=2000) if page.locator("#try-again").is_visible() else None
    expect(page.locator("#feed-word")).to_have_text("Live")
    expect(page.locator("#trouble")).to_be_hidden()
    # The process is another one.
    expect(page.locator("#telemetry-facts")).not_to_have_text(first)
    watch.check(operated.page)


def test_a_server_with_a_token_is_asked_with_it(certificates, upstream, watch: Watch, tmp_path: Path) -> None:
    watch.expected = "401"
    page = watch.page
    running = Operated(tmp_path, certificates, dict.fromkeys([*PERSONAS, "site"], upstream.port))
    running.token = True
    with running:
        page.goto(running.page)
        token = page.get_by_label("Token", exact=True)
        expect(token).to_be_focused()
        expect(page.locator("#main")).to_be_hidden()
        token.fill("another")
        token.press("Enter")
        expect(page.locator("#token-problem")).to_contain_text("This is not the token")
        assert page.evaluate("sessionStorage.length") == 0
        token.fill(TOKEN)
        token.press("Enter")
        expect(page.locator("#feed-word")).to_have_text("Live")
        expect(row(page, "jasser/public")).to_be_visible()
        page.reload()
        expect(page.locator("#feed-word")).to_have_text("Live")
        assert TOKEN not in page.content() and TOKEN not in page.url
        page.get_by_role("button", name="Forget token").click()
        expect(page.get_by_label("Token", exact=True)).to_be_focused()
        assert page.evaluate("sessionStorage.length + localStorage.length") == 0
        watch.check(running.page)


def test_the_demo_has_the_page_also_where_its_port_is_taken(watch: Watch, tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    command = [str(binary()), "demo", "--port", str(free_port()), "--dir", str(tmp_path / "state")]
    with contextlib.ExitStack() as stack:
        # By another demo on this machine, if not by this test.
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", 9180)))
        out = stack.enter_context(log.open("wb"))
        demo = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        stack.callback(demo.wait)
        stack.callback(demo.terminate)
        said = wait_until(
            lambda: re.search(r"Watch +(http://127\.0\.0\.1:\d+/) +\(9180 is taken\)", log.read_text()), "the banner"
        )
        page = watch.open(said[1])
        for name in ["customer", "employee", "public", "test"]:
            expect(row(page, f"jasser/{name}")).to_be_visible()
        watch.check(said[1])


# Against the mock.


@pytest.mark.parametrize("scene", SCENARIOS)
@pytest.mark.parametrize("width", [1280, 360])
def test_a_program_finds_no_barrier(scene: str, width: int, watch: Watch, mock: Mock) -> None:
    mock.scene = SCENARIOS[scene]
    watch.page.set_viewport_size({"width": width, "height": 800})
    page = watch.open(mock.url)
    page.locator("#explain-more summary").click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        results = Axe().run(page, options=RULES)
        assert results.violations_count == 0, f"{scheme}: {results.generate_report()}"
    watch.check(mock.url)


@pytest.mark.parametrize("scene", SCENARIOS)
def test_nothing_is_wider_than_the_window(scene: str, watch: Watch, mock: Mock) -> None:
    mock.scene = SCENARIOS[scene]
    page = watch.open(mock.url)
    for width in (320, 360, 480, 620, 700, 1000, 1100, 1200, 1280, 1340, 1500):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        wide = page.evaluate(
            "[...document.querySelectorAll('.panel, .tile')].filter((it) => it.scrollWidth > it.clientWidth + 1).map((it) => it.id)"
        )
        assert wide == [], width
    watch.check(mock.url)


def test_names_are_text_and_nothing_else(watch: Watch, mock: Mock) -> None:
    mock.scene = SCENARIOS["hostile"]
    stages = [{"stage": HOSTILE[0], "text": HOSTILE[1]}, {"stage": "forward", "text": HOSTILE[2]}]
    step = {"number": 1, "method": HOSTILE[0], "target": HOSTILE[1], "stages": stages, "sent": [HOSTILE[1], HOSTILE[0]]}
    verdict = {"state": HOSTILE[0], "status": 403, "code": HOSTILE[1], "title": HOSTILE[2], "detail": HOSTILE[3]}
    mock.answers["/explain"] = (200, {"steps": [step], "verdict": verdict, "text": HOSTILE[1]})
    page = watch.open(mock.url)
    page.get_by_label("Address", exact=True).fill("chat.example.com/")
    page.get_by_role("button", name="Explain").click()
    expect(page.locator(".verdict")).to_contain_text(HOSTILE[1])
    for place in [
        "#personas-rows",
        "#reasons",
        "#recent",
        "#upstream-list",
        "#certificate-rows",
        "#held-list",
        "#attention-list",
    ]:
        for name in HOSTILE[:2]:
            expect(page.locator(place)).to_contain_text(name)
    page.locator("#personas-rows button").first.click()
    expect(page.locator("#drain-name")).to_contain_text("/")
    assert page.evaluate("document.querySelectorAll('main img, main script, dialog img, dialog script').length") == 0
    expect(page).to_have_title("Vestibule")
    assert mock.asked == [
        ("POST", "/explain", {"url": "https://chat.example.com/", "place": "frame", "cookies": "kept"})
    ]
    watch.check(mock.url)


def test_numbers_change_in_place(watch: Watch, mock: Mock) -> None:
    mock.scene = busy
    page = watch.open(mock.url)
    element = row(page, "ragtime/sales").element_handle()
    drain = row(page, "ragtime/sales").get_by_role("button")
    drain.focus()
    before = mock.tick
    requests = element.query_selector("[data-key=requests]").inner_text()
    wait_until(lambda: mock.tick > before + 3, "three samples")
    expect(row(page, "ragtime/sales").locator("[data-key=requests]")).not_to_have_text(requests)
    expect(drain).to_be_focused()
    assert element.evaluate("(it) => it.isConnected")
    # The line has a text equivalent.
    line = row(page, "ragtime/sales").get_by_role("img")
    expect(line).to_have_attribute(
        "aria-label", re.compile(r"Requests a second of ragtime/sales.*: now \d.*, at most \d")
    )
    watch.check(mock.url)


def test_only_changes_of_state_are_announced(watch: Watch, mock: Mock) -> None:
    page = watch.open(mock.url)
    page.evaluate(
        """() => {
            window.spoken = [];
            new MutationObserver(() => spoken.push(document.getElementById('announcer').textContent))
                .observe(document.getElementById('announcer'), { childList: true });
        }"""
    )
    mock.scene = lambda tick: idle() | {"personas": [persona("jasser", "public", tick)]}
    before = mock.tick
    wait_until(lambda: mock.tick > before + 8, "some samples")
    assert page.evaluate("spoken") == []
    sick = {"name": "chat", "servers": [server("127.0.0.1:1", "ejected")]}
    mock.scene = lambda tick: idle() | {"upstreams": [sick]}
    expect(page.locator("#attention-title")).to_have_text("1 thing needs attention")
    before = mock.tick
    wait_until(lambda: mock.tick > before + 8, "some samples")
    assert page.evaluate("spoken") == ["Needs attention: No server of chat is well"]
    live = page.evaluate(
        "[...document.querySelectorAll('[aria-live], [role=status], [role=alert], [role=log]')].map((it) => it.id)"
    )
    assert live == ["announcer"]
    watch.check(mock.url)


def test_what_is_paused_stands_still_and_asks_for_nothing(watch: Watch, mock: Mock) -> None:
    mock.scene = busy
    page = watch.open(mock.url)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#feed-word")).to_have_text("Paused")
    table = page.locator("#personas-rows").inner_text()
    page.wait_for_timeout(800)
    assert page.locator("#personas-rows").inner_text() == table
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#feed-word")).to_have_text("Live")
    expect(page.locator("#personas-rows")).not_to_have_text(table, use_inner_text=True)
    watch.check(mock.url)


def test_hundreds_of_personas_are_searched_and_sorted(watch: Watch, mock: Mock) -> None:
    mock.scene = many
    page = watch.open(mock.url)
    rows = page.locator("#personas-rows tr")
    expect(rows).to_have_count(25)
    expect(page.locator("#personas-count")).to_contain_text("400 personas of 40 tenants")
    page.get_by_role("button", name="Show all 100").click()
    expect(rows).to_have_count(100)
    search = page.get_by_label(re.compile("^Search"))
    # Not among the busiest: the server is asked.
    search.fill("chat-333")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("tenant-13/chat-333")
    search.fill("nobody of this name")
    expect(page.locator("#personas-empty")).to_contain_text("has “nobody of this name” in its name or host")
    search.fill("")
    page.get_by_role("button", name="Persona", exact=True).click()
    expect(rows.first).to_contain_text("tenant-00/chat-000")
    expect(page.get_by_role("columnheader", name="Persona", exact=True)).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("button", name="Persona", exact=True).click()
    expect(rows.first).to_contain_text("tenant-39/chat-079")
    watch.check(mock.url)


def test_whoever_shares_a_row_is_not_drained_from_it(watch: Watch, mock: Mock) -> None:
    shared = [persona("jasser", "_other", 3), persona("_other", "_other", 2), persona("jasser", "site", role="site")]
    mock.scene = lambda _tick: overview([persona("jasser", "test", 1), *shared])
    page = watch.open(mock.url)
    expect(page.locator("#personas-rows tr")).to_have_count(4)
    for name, buttons in (("jasser/test", 1), ("jasser/site", 1), ("jasser/_other", 0), ("_other/_other", 0)):
        expect(row(page, name).get_by_role("button")).to_have_count(buttons)
    watch.check(mock.url)


def test_what_needs_somebody_is_said_at_the_top(watch: Watch, mock: Mock) -> None:
    mock.scene = busy
    page = watch.open(mock.url)
    expect(page.locator("#attention")).to_have_attribute("data-level", "bad")
    for text in [
        "No server of rasa is well",
        "1 server of customer-app is out",
        "The last reload was refused",
        "Tenant shop is held back",
        "The certificate of bot.shop.example expires in 1 day",
        "12% of the handshakes of ragtime/sales take over a second",
        "Telemetry cannot be sent",
    ]:
        expect(page.locator("#attention-list")).to_contain_text(text)
    for name, level in [("chat.example.com", "good"), ("www.jasserknows.online", "warn"), ("bot.shop.example", "bad")]:
        expect(page.locator("#certificate-rows tr").filter(has_text=name).locator(".pill")).to_have_attribute(
            "data-level", level
        )
    watch.check(mock.url)


def test_a_certificate_that_has_expired_is_said_to_have(watch: Watch, mock: Mock) -> None:
    mock.scene = lambda _tick: overview(certificates=[certificate("old.example", days=-3.5)])
    page = watch.open(mock.url)
    expect(page.locator("#certificate-rows .pill")).to_have_text("expired 3 days ago")
    expect(page.locator("#attention-list")).to_contain_text("The certificate of old.example has expired")
    watch.check(mock.url)


def test_an_empty_server_says_what_to_do(watch: Watch, mock: Mock) -> None:
    mock.scene = SCENARIOS["empty"]
    page = watch.open(mock.url)
    for place in [
        "#personas-empty",
        "#refusals-empty",
        "#handshake-empty",
        "#upstreams-empty",
        "#certificates-empty",
        "#reloads-empty",
    ]:
        expect(page.locator(place)).to_be_visible()
    expect(page.locator("#attention-title")).to_have_text("Nothing needs attention")
    watch.check(mock.url)


def test_a_server_that_refuses_the_page_is_not_asked_again(watch: Watch, mock: Mock) -> None:
    watch.expected = "403"
    detail = "call it as localhost or by its address, or configure a token"
    document = f'{{"title": "Pages of this origin may not call this chat.", "detail": "{detail}"}}'
    asked = []

    def refuse(route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=403, content_type="application/problem+json", body=document)

    watch.page.route("**/events", refuse)
    watch.page.goto(mock.url)
    expect(watch.page.locator("#feed-word")).to_have_text("Stopped")
    expect(watch.page.locator("#trouble-text")).to_contain_text(detail)
    watch.page.wait_for_timeout(1500)
    assert len(asked) == 1
    watch.check(mock.url)


def test_everything_is_reached_by_keyboard_and_shows_that_it_is(watch: Watch, mock: Mock) -> None:
    mock.scene = busy
    page = watch.open(mock.url)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.reload()
    expect(page.locator("#feed-word")).to_have_text("Live")
    wanted = page.evaluate(
        """() => [...document.querySelectorAll('a[href], button, input, select, summary, textarea, [tabindex="0"]')]
            .filter((it) => it.checkVisibility() && !it.disabled && !(it.type === 'radio' && !it.checked)).length"""
    )
    seen = []
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        name, shown, inside = page.evaluate(
            """() => {
                const it = document.activeElement;
                const style = getComputedStyle(it);
                const box = it.getBoundingClientRect();
                const bar = document.querySelector('.top').getBoundingClientRect().bottom;
                const inside = it.closest('.top, .skip') || (box.top >= bar - 1 && box.top < innerHeight);
                return [it.id || it.textContent.trim() || it.value, style.outlineStyle !== 'none', Boolean(inside)];
            }"""
        )
        if page.evaluate("document.activeElement === document.body"):
            break
        assert shown, name
        assert inside, f"{name} is behind the bar, or out of sight"
        seen.append(name)
    assert len(seen) >= wanted, seen
    for name in ["pause", "reload", "search", "url", "ask", "recent-scroll"]:
        assert name in seen


def test_motion_and_colours_are_the_readers(watch: Watch, mock: Mock) -> None:
    page = watch.page
    page.emulate_media(reduced_motion="reduce", forced_colors="active")
    watch.open(mock.url)
    assert page.evaluate("document.getAnimations().length") == 0
    page.emulate_media(color_scheme="dark", forced_colors="none")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    watch.check(mock.url)
