"""The bridge script alone, in a browser: hosts, documents and the server are this file's.

Every request of the browser is answered here, so that nothing listens and nothing is looked up.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Route

from browser import chromium

BRIDGE = Path(__file__, "../../../src/embed/bridge.js").resolve().read_text()
HOST = "https://www.host.test/"
CHAT = "https://chat.host.test"
CSP = "default-src 'none'; script-src 'self'; connect-src 'self'"
PAYLOAD = {
    "mode": "customer",
    "user_id": 12345,
    "require_user_id": True,
    "allow_generated_id": False,
    "direction": "ltr",
}
COMPLETE = (200, {"state": "complete"})

HOST_PAGE = """<!doctype html><title>host</title><iframe></iframe><script>
  const frame = document.querySelector('iframe');
  window.seen = [];
  window.addEventListener('message', (event) => {
    if (event.source === frame.contentWindow) seen.push({...event.data, origin: event.origin});
  });
  window.send = (payload, type = 'chat-embed-config') =>
    frame.contentWindow.postMessage({type, payload}, '*');
</script>"""


class Stage:
    """Answers for host pages, chat documents, the script and the configuration endpoint."""

    def __init__(self, context: BrowserContext) -> None:
        self.page = context.new_page()
        self.console: list[str] = []
        self.errors: list[str] = []
        # What was posted, as (path, body, headers); and what to answer, the last one for ever.
        self.posts: list[tuple[str, dict, dict]] = []
        self.answers: list[tuple[int, object]] = [COMPLETE]
        self.held: list[Route] = []
        self.holds = False
        self.base = ""
        self.origins = HOST.rstrip("/")
        self.head = ""
        self.launch = ""
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.route("**/*", self._serve)

    def _serve(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.netloc.startswith("elsewhere"):
            route.abort()
        elif url.path.endswith("/.vestibule/bridge.js"):
            route.fulfill(body=BRIDGE, content_type="text/javascript; charset=utf-8")
        elif url.path.endswith("/.vestibule/config") and url.netloc == "chat.host.test":
            self.posts.append((url.path, route.request.post_data_json, route.request.headers))
            if self.holds:
                self.held.append(route)
            else:
                self.answer(route)
        elif url.path == "/slow.js":
            self.held.append(route)
        elif url.netloc == "chat.host.test":
            tag = (
                f'<script src="{self.base}/.vestibule/bridge.js" data-base="{self.base}"'
                f' data-origins="{self.origins}"{self.launch}></script>'
            )
            body = f"<!doctype html><head>{tag}{self.head}<title>chat</title><p>chat</p>"
            headers = {"content-security-policy": CSP, "content-type": "text/html"}
            route.fulfill(body=body, headers=headers)
        elif url.netloc.endswith("host.test"):
            route.fulfill(body=HOST_PAGE, content_type="text/html")
        else:
            route.abort()

    def answer(self, route: Route) -> None:
        status, said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        body = said if isinstance(said, str) else json.dumps(said)
        route.fulfill(status=status, body=body, content_type="application/json")

    def open(self, path: str = "/", host: str = HOST) -> None:
        self.page.goto(host)
        self.go(path)
        self.wait(lambda: "chat-embed-ready" in self.types(), "the frame is ready")

    def go(self, path: str) -> None:
        self.page.evaluate("(url) => { frame.src = url; }", CHAT + path)

    def send(self, payload: object = PAYLOAD) -> None:
        self.page.evaluate("(payload) => send(payload)", payload)

    def seen(self) -> list[dict]:
        return self.page.evaluate("window.seen")

    def types(self) -> list[str]:
        return [message["type"] for message in self.seen()]

    def count(self, word: str) -> int:
        return self.types().count(f"chat-embed-{word}")

    def path(self) -> str:
        url = urlsplit(self.page.frames[1].url)
        return f"{url.path}?{url.query}" if url.query else url.path

    def wait(self, holds, what: str) -> None:
        for _ in range(200):
            if holds():
                return
            self.page.wait_for_timeout(25)
        raise AssertionError(f"{what}: {self.seen()} {self.posts} {self.console}")

    def settle(self) -> None:
        self.page.wait_for_timeout(400)

    def close(self) -> None:
        self.page.close()
        assert self.errors == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    with chromium(tmp_path_factory.mktemp("chromium")) as context:
        yield context


@pytest.fixture
def blocked(browser: BrowserContext):
    """A frame of another site gets no storage, as where people block all cookies."""
    running = Stage(browser)
    running.page.add_init_script(
        "for (const name of ['sessionStorage', 'localStorage'])"
        " Object.defineProperty(window, name, {get() { throw new DOMException('no', 'SecurityError'); }});"
        "Object.defineProperty(document, 'cookie', {get() { throw new DOMException('no', 'SecurityError'); }});"
    )
    yield running
    running.close()


@pytest.fixture
def stage(browser: BrowserContext):
    """Frames of the same site as their page, so that they have storage, as browsers give it."""
    running = Stage(browser)
    yield running
    running.close()


def test_a_configuration_is_posted_and_acknowledged(stage: Stage) -> None:
    stage.open()
    stage.send({**PAYLOAD, "display_name": "stays here"})
    stage.wait(lambda: stage.count("ack") == 1, "the ack")
    ((path, body, headers),) = stage.posts
    assert (path, body) == ("/.vestibule/config", PAYLOAD)
    assert headers["content-type"] == "application/json"
    assert all(message["origin"] == CHAT for message in stage.seen())
    assert stage.console == []
    stage.send()
    stage.wait(lambda: stage.count("ack") == 2, "an equal configuration is acknowledged again")
    assert len(stage.posts) == 2


def test_ready_comes_again_only_to_a_page_that_has_said_nothing(stage: Stage) -> None:
    stage.open()
    stage.wait(lambda: stage.count("ready") == 2, "the second ready")
    stage.settle()
    assert stage.types() == ["chat-embed-ready"] * 2
    stage.page.evaluate(
        "window.addEventListener('message', (e) => e.data.type === 'chat-embed-ready' && send({mode: 'customer'}))"
    )
    stage.page.evaluate("seen.length = 0")
    stage.head = '<script src="/slow.js"></script>'
    stage.go("/again")
    stage.wait(lambda: stage.count("ack") == 1, "the ack, long before the document has loaded")
    stage.held[0].fulfill(body="", content_type="text/javascript")
    stage.settle()
    assert stage.types() == ["chat-embed-ready", "chat-embed-ack"]


@pytest.mark.parametrize(
    ("origins", "host", "heard"),
    [
        ("https://a.test https://www.host.test", HOST, True),
        ("https://*.host.test", HOST, True),
        ("https://*.host.test", "https://a.b.host.test/", True),
        ("https://*.host.test", "https://host.test/", False),
        ("https://*.host.test", "https://evilhost.test/", False),
        ("https://*.host.test", "http://www.host.test/", False),
        ("https://www.host.test:8443", HOST, False),
        ("https://www.host.tes", HOST, False),
        ("file:", HOST, False),
        ("", HOST, False),
    ],
)
def test_only_pages_that_may_embed_are_heard(stage: Stage, origins: str, host: str, heard: bool) -> None:
    stage.origins = origins
    stage.open(host=host)
    stage.send()
    stage.send()
    if heard:
        stage.wait(lambda: stage.count("ack") >= 1, "the ack")
        return
    stage.settle()
    assert stage.posts == []
    assert stage.count("ack") + stage.count("error") == 0
    assert len([line for line in stage.console if "embed_origins" in line]) == 1, "one warning"


def test_a_page_from_a_file_is_heard_where_files_may_embed(stage: Stage, tmp_path: Path) -> None:
    stage.origins = "file:"
    stage.page.unroute("**/*")
    stage.page.route("https://**/*", stage._serve)
    host = tmp_path / "host.html"
    host.write_text(HOST_PAGE)
    stage.open(host=host.as_uri())
    stage.send()
    stage.wait(lambda: stage.count("ack") == 1, "the ack")


def test_only_the_parent_is_heard(stage: Stage) -> None:
    stage.origins += f" {CHAT}"
    stage.open()
    message = {"type": "chat-embed-config", "payload": PAYLOAD}
    stage.page.frames[1].evaluate("(message) => window.postMessage(message, '*')", message)
    for odd in [None, "chat-embed-config", {"type": "chat-embed-configs"}]:
        stage.page.evaluate("(odd) => frame.contentWindow.postMessage(odd, '*')", odd)
    stage.settle()
    assert stage.posts == []


def test_a_new_session_loads_the_chat_anew(stage: Stage) -> None:
    stage.answers = [(200, {"state": "complete", "prefix": "/.v/fresh"}), COMPLETE]
    stage.open("/.v/stale/page?user_id=1&v=2&mode=customer")
    length = stage.page.evaluate("history.length")
    stage.send()
    # What says who is asking leaves the URL; what else the app reads there stays.
    stage.wait(lambda: stage.path() == "/.v/fresh/page?v=2&direction=ltr", "the frame moves")
    assert stage.count("ack") == 1
    assert stage.page.evaluate("history.length") == length, "the old entry is replaced"


def test_the_latest_of_several_counts(stage: Stage) -> None:
    stage.holds = True
    stage.answers = [(200, {"state": "complete", "prefix": "/.v/first"}), COMPLETE]
    stage.open()
    for user in [1, 2, 3]:
        stage.send({**PAYLOAD, "user_id": user})
    stage.wait(lambda: len(stage.held) == 1, "one request at a time")
    stage.settle()
    assert len(stage.posts) == 1
    stage.answer(stage.held[0])
    stage.wait(lambda: len(stage.held) == 2, "the next request")
    assert stage.path() == "/" and stage.count("ack") == 0, "an overtaken answer says nothing"
    stage.answer(stage.held[1])
    stage.wait(lambda: stage.path().startswith("/.v/first/"), "the move that the first answer asked for")
    assert [body["user_id"] for _, body, _ in stage.posts] == [1, 3]
    assert stage.count("ack") == 1


@pytest.mark.parametrize(
    ("answer", "code", "title"),
    [
        ((400, {"code": "user_id_invalid", "title": "No."}), "user_id_invalid", "No."),
        ((403, {"code": "toString", "title": "No."}), "toString", "No."),
        ((502, "<html>"), "answer_invalid", "The chat gave an unexpected answer (502)."),
        ((200, {"state": "other"}), "answer_invalid", "The chat gave an unexpected answer (200)."),
        ((200, "null"), "answer_invalid", "The chat gave an unexpected answer (200)."),
    ],
)
def test_a_refusal_is_told_to_the_page_and_the_console(
    stage: Stage, answer: tuple, code: str, title: str
) -> None:
    stage.answers = [answer, COMPLETE]
    stage.open()
    stage.send()
    stage.wait(lambda: stage.count("error") == 1, "the error")
    error = next(message for message in stage.seen() if message["type"] == "chat-embed-error")
    assert (error["code"], error["title"]) == (code, title)
    (line,) = [line for line in stage.console if "[vestibule]" in line]
    assert code in line and "12345" not in line and "native code" not in line
    stage.send()
    stage.wait(lambda: stage.count("ack") == 1, "it goes on")


@pytest.mark.parametrize("launch", ["", "AQIAAAAA-_"])
def test_each_message_says_which_document_it_is_of(stage: Stage, launch: str) -> None:
    stage.launch = f' data-launch="{launch}"' if launch else ""
    stage.answers = [COMPLETE, (403, {"code": "mode_mismatch", "title": "No."})]
    stage.open()
    for count, word in enumerate(["ack", "error"], 1):
        stage.send()
        stage.wait(lambda: stage.count(word) == 1, word)  # noqa: B023
        assert len(stage.posts) == count
    for message in stage.seen():
        # Where there is none, the messages are what they are in the seed.
        assert message.get("launch", "") == launch and ("launch" in message) == bool(launch), message


@pytest.mark.parametrize("payload", [None, 5, "text"])
def test_a_message_without_a_payload_is_refused_here(stage: Stage, payload: object) -> None:
    stage.open()
    stage.send(payload)
    if payload is None:
        stage.wait(lambda: stage.count("error") == 1, "the error")
        assert stage.posts == []
    else:
        stage.wait(lambda: len(stage.posts) == 1, "the server decides")
        assert stage.posts[0][1] == {}


def test_a_large_integer_arrives_as_it_was_meant(stage: Stage) -> None:
    stage.open()
    stage.page.evaluate("send({user_id: 9007199254740993n})")
    stage.wait(lambda: stage.count("ack") == 1, "the ack")
    assert stage.posts[0][1] == {"user_id": "9007199254740993"}


@pytest.mark.parametrize("kind", ["stage", "blocked"])
def test_the_launcher_of_the_seed_navigates_and_posts_at_once(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """It posts to the document that its own navigation is about to replace, and never again."""
    stage: Stage = request.getfixturevalue(kind)
    stage.answers = [(200, {"state": "complete", "prefix": "/.v/not-here"}), COMPLETE]
    stage.open("/")
    stage.page.evaluate(
        "([url, payload]) => { frame.src = url; send(payload); }",
        [f"{CHAT}/?user_id=12345&v=1", PAYLOAD],
    )
    stage.wait(lambda: stage.count("ack") >= 1, "the ack")
    stage.settle()
    assert stage.path() == "/?user_id=12345&v=1"


def test_an_acknowledgement_of_a_document_that_is_leaving_is_given_again(stage: Stage) -> None:
    """It may arrive when its document is gone, and then the page cannot tell whose word it is."""
    stage.holds = True
    stage.open()
    documents: list[Route] = []
    stage.page.route(f"{CHAT}/held", lambda route: documents.append(route))
    stage.send()
    stage.wait(lambda: len(stage.held) == 1, "the request")
    stage.go("/held")
    stage.wait(lambda: len(documents) == 1, "the navigation")
    stage.holds = False
    stage.answer(stage.held.pop())
    stage.wait(lambda: stage.count("ack") == 1, "the ack of the document that leaves")
    stage.settle()
    documents[0].fallback()
    stage.wait(lambda: stage.count("ack") == 2, "the ack of its successor")
    assert [body for _, body, _ in stage.posts] == [PAYLOAD] * 2
    stage.settle()
    assert stage.page.frames[1].evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize(("query", "asked_again"), [("?user_id=12345", True), ("", True), ("?user_id=7", False)])
def test_the_next_document_finishes_what_a_navigation_cut(stage: Stage, query: str, asked_again: bool) -> None:
    stage.holds = True
    stage.open()
    stage.send()
    stage.wait(lambda: len(stage.held) == 1, "the request")
    stage.holds = False
    stage.go(f"/next{query}")
    stage.wait(lambda: stage.path() == f"/next{query}", "the navigation")
    if asked_again:
        stage.wait(lambda: stage.count("ack") == 1, "the ack of the next document")
        assert [body for _, body, _ in stage.posts] == [PAYLOAD] * 2
    stage.settle()
    assert stage.count("error") == 0
    assert len(stage.posts) == (2 if asked_again else 1)
    kept = stage.page.frames[1].evaluate("sessionStorage.length")
    assert kept == 0, "nothing is kept"


def test_a_navigation_is_not_lost_while_another_commits(stage: Stage) -> None:
    """Chromium loses it where it has to ask the document that leaves, once more, for its `beforeunload`."""
    documents: list[Route] = []
    # A page of another site has a process of its own, which goes on while the frame's is busy.
    stage.open(host="https://evilhost.test/")
    busy = "const wait = new XMLHttpRequest(); wait.open('GET', '/slow.js', false); wait.send();"
    stage.page.frames[1].evaluate(f"onmessage = (event) => {{ if (event.data === 'busy') {{ {busy} }} }}; 0")
    stage.page.route(f"{CHAT}/first", lambda route: documents.append(route))
    stage.go("/first")
    stage.wait(lambda: len(documents) == 1, "the first navigation")
    stage.page.evaluate("frame.contentWindow.postMessage('busy', '*')")
    stage.wait(lambda: len(stage.held) == 1, "the document that leaves is busy until this is answered")
    with stage.page.expect_response(f"{CHAT}/first"):
        documents[0].fallback()
    # The first document has come, and cannot take its place yet.
    stage.go("/second")
    stage.held[0].fulfill(body="")
    stage.wait(lambda: stage.path() == "/second", "the second navigation")


def test_an_old_configuration_is_forgotten(stage: Stage) -> None:
    stage.open()
    old = "JSON.stringify({body: '{\"user_id\":12345}', origin: '*', at: Date.now() - 11000})"
    stage.page.frames[1].evaluate(f"sessionStorage.setItem('vestibule.config:', {old})")
    stage.go("/next")
    stage.wait(lambda: stage.path() == "/next", "the navigation")
    stage.settle()
    assert stage.posts == []
    assert stage.page.frames[1].evaluate("sessionStorage.length") == 0


def test_it_works_where_storage_is_refused(blocked: Stage) -> None:
    blocked.open()
    blocked.send()
    blocked.wait(lambda: blocked.count("ack") == 1, "the ack")


def test_where_nothing_can_be_kept_a_document_with_a_user_answers_by_itself(blocked: Stage) -> None:
    blocked.answers = [(200, {"state": "complete", "prefix": "/.v/not-here"})]
    blocked.open("/?mode=customer&user_id=12345&v=1&signature=x")
    blocked.wait(lambda: blocked.count("ack") == 1, "the ack")
    blocked.settle()
    assert blocked.posts[0][1] == {"mode": "customer", "user_id": "12345"}
    assert blocked.path().startswith("/?mode="), "the page did not ask, so nothing moves"
    blocked.answers = [(401, {"code": "identity_unproven", "title": "No."})]
    blocked.go("/?user_id=7")
    blocked.wait(lambda: len(blocked.posts) == 2, "the question")
    blocked.settle()
    assert blocked.count("error") == 0, "the page did not ask"
    assert [line for line in blocked.console if "[vestibule]" in line] == []


@pytest.mark.parametrize(
    ("base", "path", "api"),
    [
        ("", "/.v/abc.DEF_-1/", "/.v/abc.DEF_-1/.vestibule/config"),
        ("/chat/a", "/chat/a/", "/chat/a/.vestibule/config"),
        ("/chat/a", "/.v/tok/chat/a/page?x", "/.v/tok/chat/a/.vestibule/config"),
        ("", "/x/.v/tok/", "/.vestibule/config"),
    ],
)
def test_the_address_follows_base_and_prefix(stage: Stage, base: str, path: str, api: str) -> None:
    stage.base = base
    stage.head = '<base href="https://elsewhere.test/x/">'
    stage.open(path)
    stage.send()
    stage.wait(lambda: stage.count("ack") == 1, "the ack")
    assert stage.posts[0][0] == api


def test_a_page_of_its_own_is_left_alone(stage: Stage) -> None:
    stage.origins += f" {CHAT}"
    stage.page.goto(f"{CHAT}/")
    stage.page.evaluate("(payload) => window.postMessage({type: 'chat-embed-config', payload}, '*')", PAYLOAD)
    stage.settle()
    assert stage.posts == [] and stage.console == []


def test_it_leaves_no_globals(stage: Stage) -> None:
    stage.open()
    names = stage.page.frames[1].evaluate("Object.keys(window)")
    stage.page.unroute("**/*")
    stage.page.route("**/*", lambda route: route.fulfill(body="<!doctype html><p>x", content_type="text/html"))
    stage.go("/plain")
    stage.wait(lambda: stage.path() == "/plain", "the navigation")
    assert sorted(names) == sorted(stage.page.frames[1].evaluate("Object.keys(window)"))
