"""Pages around a chat: an app that says what it was told, templates on disk, host pages, and what a browser shows of them.

| host | personas | how the page runs |
| --- | --- | --- |
| `own.chat.test` | of one tenant | as a page of the host |
| `shared.chat.test` | the same, and another tenant's | in a sandbox beside the chat |

Host pages are on `www.shop.test`, which may embed them, and on `stranger.shop.test`, which may not.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Frame, Page, expect

from browser import wait_in
from deployment import inline, table
from upstream import RawUpstream, Request
from vestibule import Server, free_port

TEMPLATES = Path(__file__).parent / "templates"
RELAXED = {"ip": "60000/min", "tenant": "600000/min"}
SECRET = "a-signing-secret-that-only-servers-know"
# The chat's frame in the page around it.
CHAT = "iframe[data-vestibule-chat]"
HOSTS = {"own": "own.chat.test", "shared": "shared.chat.test"}

# Names that would be script, markup or a token, if anybody took them for such.
HOSTILE = {
    "tag": '"><script>window.hacked=1;alert(1)</script>',
    "quote": "'-alert(1)-'",
    "token": "{{RAGTIME_IFRAME}} {{DEVICE_SLUG}}",
    "title": "</title><script>window.hacked=1</script>",
    "picture": "<img src=x onerror=window.hacked=1>",
    "area": "</textarea><svg onload=window.hacked=1> --><script>window.hacked=1</script>",
    "handler": '" onmouseover="window.hacked=1" autofocus onfocus="window.hacked=1',
    "entity": "&lt;b&gt; &amp;quot;",
}
DEVICES = {"lobby": "Lobby"} | HOSTILE
LAUNCHED = {
    "user_id": "optional",
    "trust_asserted": True,
    "variables": [{"name": "user_name"}, {"name": "plan", "source": "body"}],
    "injection": {"enabled": True},
}
USER = {"user_id": "required", "user_id_format": "integer", "trust_asserted": True}
SIGNED = LAUNCHED | {"trust_asserted": False, "signed": True, "signing": {"secrets": ["file:signing.secret"]}}
# `relative` is an app that works below a prefix, of which a browser without cookies gets one.
PERSONAS = {
    "kiosk": LAUNCHED | {"devices": {slug: {"name": name} for slug, name in DEVICES.items()}},
    "member": USER | {"mode": "customer", "bridge": True},
    "relative": USER | {"app": "streamlit"},
    "signed": SIGNED,
    "signed-relative": SIGNED | {"app": "streamlit"},
}


class ChatApp(RawUpstream):
    """`/` is templates/chat.html, everything else JSON; both say what the app was told."""

    # The address of Vestibule's internal listener.
    internal = ""

    def answer(self, stream, request: Request) -> None:
        told = json.dumps(self.told(request))
        kind = b"application/json"
        if request.target.split("?")[0] == "/":
            page = (TEMPLATES / "chat.html").read_text()
            # JSON's own escape keeps the element whole.
            told, kind = page.replace("@told@", told.replace("<", "\\u003c")), b"text/html; charset=utf-8"
        body = told.encode()
        # Going back asks again.
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n"
        stream.write(head % (kind, len(body)) + body)

    def told(self, request: Request) -> dict:
        lines = [line.decode("latin-1") for line in request.head.split(b"\r\n")[1:] if b":" in line]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return {"target": request.target, "headers": headers, "launch": self.launched(headers)}

    def launched(self, headers: dict[str, str]) -> dict | None:
        """What the internal listener answers to the request's assertion."""
        assertion = headers.get("x-vestibule-assertion")
        if not assertion:
            return None
        connection = http.client.HTTPConnection(self.internal, timeout=20)
        try:
            connection.request("GET", "/v1/launch", headers={"Authorization": f"Bearer {assertion}"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        return json.loads(body) if answer.status == 200 else {"status": answer.status}


@dataclass
class Shells(Server):
    app: ChatApp
    site_port: int

    def start(self) -> None:
        self.app.internal = self.internal = f"127.0.0.1:{free_port()}"
        for name in ["kiosk", "other"]:
            self.template(name).write_text((TEMPLATES / "kiosk.html").read_text())
        (self.folder / "signing.secret").write_text(SECRET)
        (self.folder / "signing.secret").chmod(0o600)
        super().start()

    def template(self, name: str) -> Path:
        return self.folder / f"{name}.html"

    def origin(self, place: str) -> str:
        return f"https://{HOSTS[place]}:{self.port}"

    def url(self, place: str, persona: str = "kiosk", below: str = "/", kind: str = "embed", **query: object) -> str:
        """The page around a chat, or with `kind="chat"` the chat itself."""
        tenant, _, persona = persona.rpartition(":")
        address = f"{self.origin(place)}/{kind}/{tenant or 'acme'}/{persona}{below}"
        return f"{address}?{urlencode(query)}" if query else address

    def page(self, chat: str, allow: str = "", host: str = "www", path: str = "/around") -> str:
        """The URL of a host page that shows `chat`."""
        return f"https://{host}.shop.test:{self.port}{path}?{urlencode({'chat': chat, 'allow': allow or 'none'})}"

    def configuration(self) -> str:
        lines = [
            "[server]",
            f'https = ["127.0.0.1:{self.port}"]',
            "workers = 2",
            'drain_timeout = "1s"',
            'shared_hosts = ["shared.chat.test"]',
            "[internal]",
            f'listen = "{self.internal}"',
            "[tls]",
            f'certificates = [{{ cert = "{self.certificates.cert}", key = "{self.certificates.key}" }}]',
            "[telemetry]",
            f'access_log = "{self.access}"',
        ]
        lines += self._upstream("app", self.app.port) + self._upstream("pages", self.site_port)
        lines += self._tenant("acme", list(HOSTS.values()), "kiosk", PERSONAS)
        lines += self._tenant("other", [HOSTS["shared"]], "other", {"kiosk": PERSONAS["kiosk"]})
        for tenant, name, embeds in [("acme", "www", list(PERSONAS)), ("stranger", "stranger", [])]:
            site = {"hosts": [f"{name}.shop.test"], "upstream": "pages", "embeds": embeds}
            lines += [f"[tenants.{tenant}.sites.{name}]", *table(site)]
        return "\n".join(lines) + "\n"

    @staticmethod
    def _upstream(name: str, port: int) -> list[str]:
        return [f"[upstreams.{name}]", f'servers = ["http://127.0.0.1:{port}"]']

    def _tenant(self, tenant: str, hosts: list[str], template: str, personas: dict[str, dict]) -> list[str]:
        lines = [f"[tenants.{tenant}]", f'embed_origins = ["https://www.shop.test:{self.port}"]']
        lines.append(f"limits = {inline(RELAXED)}")
        for name, keys in personas.items():
            key = f"tenants.{tenant}.personas.{name}"
            here = {"hosts": hosts, "upstream": "app", "template": f"{template}.html"}
            here |= {"path": f"/chat/{tenant}/{name}", "embed": f"/embed/{tenant}/{name}"}
            plain = {key: value for key, value in keys.items() if not isinstance(value, dict) and key != "variables"}
            lines += [f"[{key}]", *table(here | plain)]
            if "variables" in keys:
                lines.append(f"variables = [{', '.join(map(inline, keys['variables']))}]")
            lines += [f"{it} = {inline(keys[it])}" for it in ["injection", "signing"] if it in keys]
            lines += [f"devices.{slug} = {inline(device)}" for slug, device in keys.get("devices", {}).items()]
        return lines


class Opened:
    """A host page that shows a page around a chat: three documents, or four where the template has its own."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.dialogs: list[str] = []
        self.console: list[str] = []
        page.on("dialog", self._dialog)
        page.on("console", lambda message: self.console.append(message.text))

    def _dialog(self, dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def goto(self, url: str) -> Opened:
        self.page.goto(url)
        return self.wait()

    def wait(self) -> Opened:
        """Until the chat's own page is there and its socket echoes."""
        expect(self.page.frame_locator("#chat-iframe").frame_locator(CHAT).locator("#socket")).to_have_text(
            "socket: echo"
        )
        self.chat.wait_for_load_state()
        return self

    @property
    def shell(self) -> Frame:
        (shell,) = self.page.main_frame.child_frames
        return shell

    @property
    def chat(self) -> Frame:
        """The frame itself where there is no page around the chat."""
        inside = [frame for frame in self.shell.child_frames if frame.name == "ragtime-chat"]
        return inside[0] if inside else self.shell

    @property
    def template(self) -> Frame:
        inside = [frame for frame in self.shell.child_frames if frame.name != "ragtime-chat"]
        return inside[0] if inside else self.shell

    @property
    def frames(self) -> list[Frame]:
        return self.page.frames

    def told(self, part: str = "/") -> dict:
        """What the app was told with a document that has `part` in its address, and was not looked at before."""
        last: list[object] = []

        def found() -> dict | None:
            try:
                last[:] = [self.chat.evaluate("window.told && !window.looked ? told : null")]
                if last[0] and part in last[0]["target"]:
                    self.chat.evaluate("window.looked = true")
                    return last[0]
            except (PlaywrightError, ValueError):
                pass  # One of the documents goes away.
            return None

        return wait_in(self.page, found, lambda: f"a document with {part}; the last was {last}; {self}")

    def __str__(self) -> str:
        """What its frames show."""
        return str([(frame.url, frame.evaluate("document.body.innerText")[:300]) for frame in self.page.frames])

    def heard(self, frame: Frame, name: str, wanted, what: str) -> dict:
        """The first of the messages that a frame keeps in its list `name` that is as `wanted`."""
        last: list[object] = []

        def found() -> object:
            last[:] = frame.evaluate(f"window.{name}")
            return next((message for message in last if wanted(message)), None)

        return wait_in(self.page, found, lambda: f"{what} in {frame.url}; there are {last}")
