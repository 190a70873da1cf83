"""Takes the README's pictures of the operator's page, by hand: `target/e2e/venv/bin/python tests/e2e/screenshots.py`.

A real server, real chats behind it, and for two minutes a modest load on loopback: launches, messages,
WebSockets, and everything that goes wrong on a normal day. `VESTIBULE_BIN` says which binary; the
pictures go to docs/, or to the folder that is given.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image

from browser import chromium, stop_driver
from certs import Certificates, make
from upstream import WEBSOCKET_GUID
from vestibule import ROOT, Server, accepts, free_port, wait_until
from visitor import DOCUMENT, SCRIPT, Visitor

SECONDS = 110
# Requests a second at the middle of a wave.
PACE = 90
THREADS = 12
LARGEST = 250 * 1024


class App(BaseHTTPRequestHandler):
    """Answers as a chat does: mostly soon, sometimes late, seldom not at all."""

    protocol_version = "HTTP/1.1"
    slow = 1.0

    def do_GET(self) -> None:
        if self.headers.get("Upgrade", "").lower() == "websocket":
            return self._socket()
        if self.path != "/health":
            time.sleep(min(0.9, random.lognormvariate(-4.3, 0.8)) * self.slow)
        status = 500 if self.path == "/fails" else 200
        body = b"<!doctype html><title>Chat</title><p>Hello."
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def _socket(self) -> None:
        accept = hashlib.sha1(self.headers["Sec-WebSocket-Key"].encode() + WEBSOCKET_GUID).digest()
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accept).decode())
        self.end_headers()
        self.wfile.flush()
        with contextlib.suppress(OSError):
            while self.rfile.read(1):
                pass
        self.close_connection = True

    def log_message(self, *_args: object) -> None:
        pass


class Backend(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, slow: float = 1.0) -> None:
        super().__init__(("127.0.0.1", 0), type("Slow", (App,), {"slow": slow}))
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_args: object) -> None:
        pass


@dataclass
class Stage(Server):
    servers: dict[str, list[str]] = field(default_factory=dict)

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.admin}/"

    def url(self, name: str, path: str = "/") -> str:
        return f"https://{name}.chat.test:{self.port}{path}"

    def configuration(self) -> str:
        self.admin = getattr(self, "admin", 0) or free_port()
        (self.folder / "signing").write_text("0123456789abcdef0123456789abcdef")
        tables = [
            f'[server]\nhttps = ["127.0.0.1:{self.port}"]\nworkers = 2\ndrain_timeout = "1s"\nclose_within = "1s"',
            f'[admin]\nlisten = "127.0.0.1:{self.admin}"',
            f'[tls]\ncertificates = [{{ cert = "{self.certificates.cert}", key = "{self.certificates.key}" }}]',
            f'[telemetry]\naccess_log = "{self.access}"',
        ]
        health = 'health = { path = "/health", interval = "1s" }'
        for name, urls in self.servers.items():
            tables.append(f"[upstreams.{name}]\nservers = {json.dumps(urls)}\n{health}")
        wide = 'limits = { ip = "60000/min", tenant = "600000/min" }'
        tables += [
            f'[tenants.jasser]\nname = "Jasser Knows"\nembed_origins = ["https://www.shop.test"]\n{wide}',
            chat("jasser", "public", "customer-app", 'mode = "public"\nuser_id = "optional"'),
            chat(
                "jasser", "customer", "customer-app", 'mode = "customer"\nuser_id = "required"\ntrust_asserted = true'
            ),
            chat(
                "jasser", "employee", "customer-app", 'mode = "employee"\nuser_id = "required"\ntrust_asserted = true'
            ),
            '[tenants.jasser.sites.www]\nhosts = ["www.shop.test"]\nupstream = "website"\nembeds = ["public", "customer"]',
            f'[tenants.ragtime]\nname = "Ragtime"\nembed_origins = ["https://ragtime.shop.test"]\n{wide}',
            chat("ragtime", "lobby", "sales-app", 'mode = "public"\nuser_id = "none"'),
            chat(
                "ragtime",
                "sales",
                "sales-app",
                f'mode = "public"\nuser_id = "none"\nsigned = true\nsigning = {{ secrets = ["file:{self.folder}/signing"] }}',
            ),
            '[tenants.garden]\nname = "Garden Shop"\nembed_origins = ["https://garden.shop.test"]\n'
            'limits = { ip = "60000/min", tenant = "900/min" }',
            chat("garden", "bot", "rasa", 'mode = "public"\nuser_id = "optional"'),
        ]
        return "\n\n".join(tables) + "\n"

    def _ready(self) -> bool:
        return super()._ready() and accepts(self.admin)


def chat(tenant: str, name: str, upstream: str, more: str) -> str:
    head = f'[tenants.{tenant}.personas.{name}]\nhosts = ["{name}.chat.test"]\nupstream = "{upstream}"\napp = "generic"'
    return f"{head}\n{more}"


def launch(stage: Stage, visitor: Visitor) -> None:
    kind = random.choices(range(9), [30, 24, 4, 14, 9, 7, 2, 1, 1])[0]
    user = random.randrange(1, 400)
    get = visitor.get
    match kind:
        case 0:
            get(stage.url("customer", f"/?mode=customer&user_id={user}"), DOCUMENT)
        case 1:
            get(stage.url("public"), DOCUMENT)
        case 2:
            get(stage.url("employee", f"/?user_id={user}"), DOCUMENT)
        case 3:
            visitor.get(f"https://www.shop.test:{stage.port}/", DOCUMENT)
        case 4:
            get(stage.url("lobby"), DOCUMENT)
        case 5:
            get(stage.url("bot"), DOCUMENT)
        case 6:
            get(stage.url("sales", f"/?timestamp={int(time.time() * 1000)}&signature={'ab' * 32}"), DOCUMENT)
        case 7:
            get(stage.url("customer", "/messages"), SCRIPT)
        case _:
            get(
                stage.url(
                    "customer",
                    random.choice(["/?mode=employee&user_id=1", "/?user_id=x", f"/?mode=public&user_id={user}"]),
                ),
                DOCUMENT,
            )


def handshake(stage: Stage, name: str, visitor: Visitor) -> None:
    """As a host page tells it."""
    middle = {"customer": 0.12, "public": 0.09, "lobby": 0.55}[name]
    took = 1000 * middle * random.lognormvariate(0, 0.45)
    told = {"v": 1, "shown": 0, "ready": 300, "config": 305, "ended": 300 + took, "outcome": "ack"}
    page = {"customer": "www", "public": "www", "lobby": "ragtime"}[name]
    headers = {"Origin": f"https://{page}.shop.test", "Content-Type": "text/plain", "Sec-Fetch-Mode": "no-cors"}
    headers |= {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "empty"}
    visitor.request("POST", stage.url(name, "/.vestibule/beacon"), headers, json.dumps(told).encode())


class Load:
    """`with Load(stage)`: visitors come and go until it ends."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.over, self.sockets = stage, threading.Event(), []

    def __enter__(self) -> Load:
        for name, count in [("public", 14), ("lobby", 5), ("bot", 3)]:
            for _ in range(count):
                self._open(name)
        self.threads = [threading.Thread(target=self._visit, args=(place,), daemon=True) for place in range(THREADS)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()
        for socket in self.sockets:
            socket.close()

    def _visit(self, place: int) -> None:
        while not self.over.is_set():
            visitor = Visitor(self.stage.port, self.stage.certificates.ca)
            with contextlib.suppress(OSError):
                launch(self.stage, visitor)
                if random.random() < 0.12:
                    handshake(self.stage, random.choice(["customer", "customer", "public", "lobby"]), visitor)
            wave = 1 + 0.45 * math.sin(time.monotonic() / 11) + 0.2 * math.sin(time.monotonic() / 3.1 + place)
            self.over.wait(random.expovariate(PACE * max(0.15, wave) / THREADS))

    def _open(self, name: str) -> None:
        host = f"{name}.chat.test"
        socket = Visitor(self.stage.port, self.stage.certificates.ca).tls(host)
        fields = ["Host: " + host, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        fields.append("Sec-WebSocket-Key: " + base64.b64encode(random.randbytes(16)).decode())
        socket.sendall(("GET /socket HTTP/1.1\r\n" + "\r\n".join(fields) + "\r\n\r\n").encode())
        if b" 101 " in socket.recv(4096).split(b"\r\n")[0]:
            self.sockets.append(socket)


def shoot(page, path: Path, width: int, height: int, scheme: str, whole: bool = False) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(1500)
    page.screenshot(path=str(path), full_page=whole)
    picture = Image.open(path).convert("RGB")
    picture.save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path, f"{path.stat().st_size / 1024:.0f} KiB", flush=True)


def explained(page, url: str) -> None:
    page.get_by_label("Address", exact=True).fill(url)
    page.get_by_role("button", name="Explain").click()
    page.locator(".verdict").wait_for()
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")


def take(stage: Stage, dying: list[Backend], folder: Path, page) -> None:
    page.goto(stage.page)
    page.locator("#personas-rows tr").first.wait_for()
    page.wait_for_timeout(6000)
    shoot(page, folder / "page-idle.png", 1280, 900, "light")
    with Load(stage):
        page.wait_for_timeout(SECONDS * 1000)
        # By a name that could stand in anybody's picture.
        explained(page, "https://customer.chat.test/?mode=employee&user_id=12345")
        shoot(page, folder / "page-load.png", 1280, 1250, "light")
        shoot(page, folder / "page-phone.png", 390, 844, "dark")
        for backend in dying:
            backend.shutdown()
            backend.server_close()
        page.locator("#attention-list", has_text="No server of rasa is well").wait_for()
        page.wait_for_timeout(15_000)
        shoot(page, folder / "page-failing.png", 1280, 900, "dark", whole=True)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs"
    with tempfile.TemporaryDirectory() as place:
        certificates: Certificates = make(Path(place))
        backends = {
            "customer-app": [Backend(), Backend()],
            "sales-app": [Backend(4)],
            "rasa": [Backend(2)],
            "website": [Backend(0.3)],
        }
        servers = {name: [it.url for it in of] for name, of in backends.items()}
        with Stage(Path(place), certificates, servers) as stage, chromium(Path(place) / "profile") as browser:
            wait_until(lambda: accepts(stage.admin), "the admin listener")
            take(stage, [backends["customer-app"][1], *backends["rasa"]], folder, browser.new_page())
    stop_driver()


if __name__ == "__main__":
    main()
