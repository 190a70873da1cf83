"""An admin listener that says what a test wants it to say, for states that a real server is hard to bring into.

It serves the operator's page as the binary does, from the same files and under the same policy, and
speaks the same JSON. Run by hand it shows a scenario: `python tests/e2e/admin_mock.py 9980 busy`.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

PAGE = Path(__file__).resolve().parents[2] / "src/admin/page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
# Markup, quotes, controls of direction, and a name without end.
HOSTILE = [
    "<img src=x onerror=\"document.title='owned'\">",
    "<script>document.title='owned'</script>",
    "\"'`${document.title='owned'}",
    "javascript:alert(1)//",
    "‮evil‬",
    "a" * 300,
]

Overview = dict[str, Any]

# What has happened stays where it was, sample after sample.
STARTED = datetime.now(UTC)


def stamp(ago: float = 0, of: datetime = STARTED) -> str:
    return (of - timedelta(seconds=ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def persona(tenant: str, name: str, rate: float = 0, role: str = "persona", **more: Any) -> dict[str, Any]:
    base = {
        "tenant": tenant,
        role: name,
        "requests_per_s": rate,
        "errors_per_s": 0,
        "rejections_per_s": 0,
        "requests_total": int(rate * 600),
        "rejections_total": 0,
        "open": {"requests": int(rate / 20), "events": int(rate / 3), "websockets": int(rate * 2)},
        "handshake": {"count": 0},
    }
    if rate:
        base |= {"p50_ms": 8 + rate / 4, "p95_ms": 40 + rate}
    return base | more


def certificate(*names: str, days: float = 61.2, issuer: str = "Example CA R3") -> dict[str, Any]:
    return {"names": list(names), "expires": stamp(-days * 86400), "expires_in_s": days * 86400, "issuer": issuer}


def server(address: str, state: str = "healthy", **more: Any) -> dict[str, Any]:
    return {"address": address, "state": state, "weight": 100, "active": 3, "latency_ms": 4.2} | more


def overview(personas: list[dict[str, Any]] | None = None, **more: Any) -> Overview:
    personas = personas or []
    names = {it["tenant"] for it in personas}
    total = {key: sum(it[key] for it in personas) for key in ("requests_per_s", "rejections_per_s", "errors_per_s")}
    streams = {key: sum(it["open"][key] for it in personas) for key in ("requests", "events", "websockets")}
    document = {
        "time": stamp(of=datetime.now(UTC)),
        "version": "0.6.0",
        "pid": 4711,
        "state": "ready",
        "uptime_s": 93_784.2,
        "workers": 4,
        "tenants": len(names),
        "persona_count": sum("persona" in it for it in personas),
        "site_count": sum("site" in it for it in personas),
        "connections": {"open": sum(streams.values()) // 2, "allowed": 20_000},
        "streams": streams,
        "totals": total | ({"p50_ms": 11.3, "p95_ms": 84} if total["requests_per_s"] else {}),
        "personas": personas,
        "rejections": [],
        "recent_rejections": [],
        "upstreams": [],
        "certificates": [],
        "reloads": [],
        "held_back": [],
        "telemetry": {"access_log_dropped": 0, "spans_dropped": 0, "otlp": "off"},
    }
    return document | more


def rejected(code: str, title: str, count: int, per_minute: float, *places: tuple[str, str]) -> dict[str, Any]:
    top = [{"tenant": tenant, "persona": name, "count": count // 2} for tenant, name in places]
    return {"code": code, "title": title, "count": count, "per_minute": per_minute, "personas": top}


def recent(ago: float, tenant: str, name: str, code: str, reason: str) -> dict[str, Any]:
    number = f"{abs(hash((ago, code))):032x}"
    return {
        "time": stamp(ago),
        "tenant": tenant,
        "persona": name,
        "code": code,
        "reason": reason,
        "request_id": number[-32:],
        "trace_id": number[::-1],
    }


def idle(_tick: int = 0) -> Overview:
    four = [persona("jasser", name) for name in ("public", "customer", "employee", "test")]
    upstream = {"name": "chat", "servers": [server("127.0.0.1:8501", active=0)], "requests_per_s": 0}
    return overview(
        [*four, persona("jasser", "app", role="site")],
        upstreams=[upstream],
        certificates=[certificate("chat-public.localhost", "chat-customer.localhost", days=89.1)],
    )


def busy(tick: int = 0) -> Overview:
    """Everything at once: traffic, refusals, a sick upstream, a certificate that ends soon, a refused reload."""
    wave = [math.sin(tick / 7 + place) * 0.35 + 1 for place in range(8)]
    late = {"count": 640, "p50_ms": 410, "p95_ms": 1630, "within_objective": 0.88}
    good = {"count": 9120, "p50_ms": 96, "p95_ms": 310, "within_objective": 0.998}
    near = {"count": 77, "p50_ms": 240, "p95_ms": 990, "within_objective": 0.948}
    personas = [
        persona("jasser", "customer", 42 * wave[0], rejections_per_s=2.1 * wave[2], handshake=good),
        persona("ragtime", "sales", 18 * wave[1], errors_per_s=1.4 * wave[3], p95_ms=2140, handshake=late),
        persona("jasser", "public", 12 * wave[2], handshake=near),
        persona("jasser", "www", 9 * wave[5], role="site"),
        persona("shop", "bot", 3.2 * wave[3], rejections_per_s=0.2),
        persona("jasser", "employee", 1.1 * wave[4]),
        persona("jasser", "test"),
    ]
    rejections = [
        rejected("rate_limited", "Too many requests: try again later.", 1210, 66, ("jasser", "customer")),
        rejected(
            "signature_invalid",
            "The signature does not fit what was sent.",
            310,
            12.4,
            ("ragtime", "sales"),
            ("shop", "bot"),
        ),
        rejected(
            "session_missing", "This needs a session: open the chat from its page.", 88, 1.2, ("jasser", "customer")
        ),
        rejected("not_found", "Nothing is served at this address.", 41, 0),
    ]
    latest = [
        recent(2, "jasser", "customer", "rate_limited", "the tenant's bucket is empty"),
        recent(9, "ragtime", "sales", "signature_invalid", "no active secret fits"),
        recent(11, "shop", "bot", "signature_invalid", "no active secret fits"),
        recent(63, "jasser", "customer", "session_missing", "no session cookie"),
        *[
            recent(90 + 7 * place, "jasser", "customer", "rate_limited", "the tenant's bucket is empty")
            for place in range(12)
        ],
    ]
    upstreams = [
        {
            "name": "customer-app",
            "servers": [
                server("10.0.0.7:8501"),
                server("10.0.0.8:8501", "ejected", latency_ms=812, weight=0, active=0),
            ],
            "requests_per_s": 54.2,
            "failures_per_s": 1.4,
            "p50_ms": 9.1,
            "p95_ms": 77,
        },
        {"name": "rasa", "servers": [server("rasa.internal:5005", "unhealthy", active=0)], "requests_per_s": 0},
        {
            "name": "website",
            "servers": [server("unix:/run/site.sock", "slow_start", weight=40)],
            "requests_per_s": 9,
            "p50_ms": 2.2,
            "p95_ms": 5.1,
        },
    ]
    error = {
        "severity": "error",
        "key": "upstreams.rasa.balance",
        "text": 'tenants/shop.toml:14:11: upstreams.rasa.balance: "stiky" is no balancing rule; write "sticky"',
    }
    return overview(
        personas,
        rejections=rejections,
        recent_rejections=latest,
        upstreams=upstreams,
        certificates=[
            certificate("chat.example.com"),
            certificate("www.jasserknows.online", "jasserknows.online", "chat-customer.jasserknows.online", days=9.3),
            certificate("bot.shop.example", days=1.1),
        ],
        reloads=[
            {"time": stamp(3600), "outcome": "refused", "took_ms": 12, "text": "refused", "problems": [error]},
            {"time": stamp(90_000), "outcome": "applied", "took_ms": 31, "text": "12 personas serve", "problems": []},
        ],
        held_back=[{"tenant": "shop", "serves": "last_good", "since": stamp(3600), "problems": [error]}],
        telemetry={"access_log_dropped": 12, "spans_dropped": 0, "otlp": "failing"},
    )


def many(tick: int = 0) -> Overview:
    """Four hundred personas, of which the server sends the busiest hundred."""
    shown = [
        persona(f"tenant-{place % 40:02}", f"chat-{place:03}", 120 / (place + 1) + (tick + place) % 3)
        for place in range(100)
    ]
    upstreams = [{"name": f"app-{place:02}", "servers": [server(f"10.0.0.{place}:80")]} for place in range(40)]
    return overview(shown, persona_count=400, tenants=40, upstreams=upstreams)


def hostile(_tick: int = 0) -> Overview:
    """Every text that somebody else can choose is an attack."""
    problem = {"severity": "error", "key": HOSTILE[0], "text": HOSTILE[1]}
    return overview(
        [
            persona(name, name, 5, handshake={"count": 30, "p50_ms": 1, "p95_ms": 2, "within_objective": 0.5})
            for name in HOSTILE
        ],
        rejections=[rejected(name, name, 3, 1, (name, name)) for name in HOSTILE],
        recent_rejections=[
            recent(place, name, name, name, name) | {"request_id": name} for place, name in enumerate(HOSTILE)
        ],
        upstreams=[{"name": name, "servers": [server(name, name)], "circuit": name} for name in HOSTILE],
        certificates=[certificate(*HOSTILE, issuer=HOSTILE[1], days=1)],
        reloads=[{"time": stamp(1), "outcome": "refused", "took_ms": 1, "text": HOSTILE[0], "problems": [problem]}],
        held_back=[{"tenant": name, "serves": "nothing", "since": stamp(), "problems": [problem]} for name in HOSTILE],
    )


SCENARIOS = {"idle": idle, "busy": busy, "many": many, "hostile": hostile, "empty": lambda _tick=0: overview()}

Answer = tuple[int, dict[str, Any]]


class Mock:
    """`with Mock(idle) as mock`: `mock.url` is the page; `mock.scene` may be changed while it runs."""

    def __init__(self, scene: Callable[[int], Overview], token: str | None = None, port: int = 0) -> None:
        self.scene, self.token, self.port = scene, token, port
        self.interval = 1.0
        self.asked: list[tuple[str, str, Any]] = []
        # Answers of POST requests by path.
        self.answers: dict[str, Answer] = {}
        self.tick = 0
        self.stopping = threading.Event()

    def __enter__(self) -> Mock:
        handler = type("Handler", (_Handler,), {"mock": self})
        self.stopping.clear()
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


class _Handler(BaseHTTPRequestHandler):
    mock: Mock

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        name = "page.html" if url.path == "/" else url.path[1:]
        if (PAGE / name).suffix in TYPES and (PAGE / name).parent == PAGE and (PAGE / name).is_file():
            self._file(PAGE / name)
        elif not self._is_allowed():
            self._json(401, {"title": "The token is not valid.", "code": "token_invalid"})
        elif url.path == "/events":
            self._events()
        elif url.path == "/personas":
            self._personas(parse_qs(url.query))
        else:
            self._json(404, {"title": "Nothing is served at this address.", "code": "not_found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.mock.asked.append(("POST", self.path, json.loads(body) if body else None))
        if not self._is_allowed():
            return self._json(401, {"title": "The token is not valid.", "code": "token_invalid"})
        return self._json(*self.mock.answers.get(self.path, (404, {"title": "Nothing is served at this address."})))

    def _is_allowed(self) -> bool:
        return self.mock.token is None or self.headers.get("Authorization") == f"Bearer {self.mock.token}"

    def _file(self, path: Path) -> None:
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", f"{TYPES[path.suffix]}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def _json(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            while not self.mock.stopping.is_set():
                self.mock.tick += 1
                sample = json.dumps(self.mock.scene(self.mock.tick))
                self.wfile.write(f"event: overview\ndata: {sample}\n\n".encode())
                self.mock.stopping.wait(self.mock.interval)
        except OSError:
            pass

    def _personas(self, query: dict[str, list[str]]) -> None:
        search = query.get("search", [""])[0]
        search = search.lower()
        everybody = [persona(f"tenant-{place % 40:02}", f"chat-{place:03}") for place in range(400)]
        found = [it for it in everybody if search in f"{it['tenant']}/{it['persona']}"]
        self._json(200, {"personas": found[:100]})

    def log_message(self, *_args: object) -> None:
        pass


if __name__ == "__main__":
    with Mock(SCENARIOS[sys.argv[2]], port=int(sys.argv[1])) as running:
        print(running.url, flush=True)
        while True:
            time.sleep(60)
