"""What is measured: one function a kind of work, each giving one figure for one running proxy."""

from __future__ import annotations

import hmac
import http.client
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus, urlencode

from peers import CUSTOMER_HOST, EMBEDDER, HOST, SIGNING_SECRET, TELLING
from processes import BenchError, Generator, Process, busy_ns, start, tail

SUITE = "TLS_AES_128_GCM_SHA256"
GROUP = "X25519"
SIZES = {"/": 1024, "/signed/": 1024, "/1k": 1024, "/64k": 64 * 1024, "/10m": 10 * 1024 * 1024}
EVENT_INTERVAL_US = 10_000
TRAILING_SECONDS = 0.2
# After the last connection has opened, before memory is read: allocators give back with delay.
SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Bench:
    """What every case needs to know about this run."""

    directory: Path
    ca: Path
    load: Path
    h2load: Path
    proxy_core: int
    client_core: int
    seconds: float
    idle_connections: int


@dataclass
class Running:
    """A proxy that serves."""

    name: str
    process: Process
    https: int
    http: int


@dataclass(frozen=True)
class Sample:
    """One figure, and the share of the proxy's core that something else used meanwhile."""

    value: float
    units_done: int
    foreign: float


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    what: str
    unit: str
    measure: Callable[[Bench, Running], Sample]
    # The share of NGINX's figure that Vestibule promises to stay under.
    goal: float | None = None
    # Memory is read from a process that has done nothing before.
    fresh: bool = False
    # Who can do this work at all, as configured here; nobody named: everybody.
    peers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Visit:
    """How a customer asks."""

    headers: list[str]
    # Where, if that changes from one measurement to the next.
    target: str | None = None


class Window:
    """CPU time of a proxy between two moments, and of everything else on its core."""

    def __init__(self, bench: Bench, process: Process) -> None:
        self.bench, self.process = bench, process
        self.pids = process.pids()
        self.cpu = process.cpu_ns()
        self.busy = busy_ns(bench.proxy_core)
        self.clock = time.monotonic_ns()

    def close(self, units: int) -> Sample:
        # What is written behind the work's back, logs above all, is part of what it costs.
        time.sleep(TRAILING_SECONDS)
        cpu = self.process.cpu_ns() - self.cpu
        busy = busy_ns(self.bench.proxy_core) - self.busy
        wall = time.monotonic_ns() - self.clock
        if self.process.pids() != self.pids:
            raise self.process.failure("lost or gained a process while it was measured")
        return Sample(cpu / 1000 / units, units, max(0.0, (busy - cpu) / wall))


# --- h2load ------------------------------------------------------------------------------------

# What one calibrating run sends, so that its rate is a rate and not a start-up cost.
CALIBRATION = {"/": 2000, "/signed/": 2000, "/1k": 2000, "/64k": 500, "/10m": 12}
rates: dict[tuple[str, ...], float] = {}


def h2load(
    path: str,
    protocol: str,
    clients: int,
    streams: int,
    visitor: Callable[[Bench, Running], Visit] | None = None,
) -> Callable[[Bench, Running], Sample]:
    """Requests by h2load: `protocol` is plain, h1 or h2; `visitor` says how a customer asks."""
    host = CUSTOMER_HOST if visitor else HOST
    bare = path.partition("?")[0]

    def send(bench: Bench, running: Running, requests: int, asked: Visit) -> float:
        port = running.http if protocol == "plain" else running.https
        scheme = "http" if protocol == "plain" else "https"
        command = [str(bench.h2load), "-t", "1", "-c", str(clients), "-m", str(streams)]
        command += ["-n", str(requests), f"--tls13-ciphers={SUITE}", f"--groups={GROUP}"]
        command += [] if protocol == "h2" else ["--h1"]
        command += [f"--header={header}" for header in asked.headers]
        target = asked.target or path
        command += [f"--connect-to=127.0.0.1:{port}", f"{scheme}://{host}:{port}{target}"]
        log = bench.directory / "h2load.log"
        log.unlink(missing_ok=True)
        process = start("h2load", command, bench.client_core, bench.directory)
        try:
            process.popen.wait(60 + 20 * bench.seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{running.name}: h2load does not end\n{tail(log)}") from None
        finally:
            process.stop()
        return check_h2load(log.read_text(), running.name, bare, protocol, requests)

    def measure(bench: Bench, running: Running) -> Sample:
        asked = visitor(bench, running) if visitor else Visit([])
        key = (running.name, path, protocol)
        if key not in rates:
            rates[key] = send(bench, running, max(CALIBRATION[bare], clients), asked)
        requests = max(clients, round(rates[key] * bench.seconds))
        window = Window(bench, running.process)
        rates[key] = send(bench, running, requests, asked)
        return window.close(requests)

    return measure


def check_h2load(said: str, name: str, path: str, protocol: str, requests: int) -> float:
    """Requests a second, if every one was answered in full and on the agreed terms."""

    def find(pattern: str) -> str:
        found = re.search(pattern, said)
        return found.group(1) if found else "nothing"

    wanted = {
        "succeeded": (find(r"(\d+) succeeded"), str(requests)),
        "with status 2xx": (find(r"status codes: (\d+) 2xx"), str(requests)),
        "body bytes": (find(r"\((\d+)\) data"), str(requests * SIZES[path])),
    }
    if protocol != "plain":
        wanted["TLS"] = (find(r"TLS Protocol: (\S+)"), "TLSv1.3")
        wanted["suite"] = (find(r"Cipher: (\S+)"), SUITE)
        alpn = {"h1": "http/1.1", "h2": "h2"}[protocol]
        wanted["protocol"] = (find(r"Application protocol: (\S+)"), alpn)
    wrong = [f"{key}: {got}, not {want}" for key, (got, want) in wanted.items() if got != want]
    if wrong:
        raise BenchError(f"{name}: h2load saw wrong answers: {'; '.join(wrong)}")
    return float(find(r"finished in [^,]+, ([\d.]+) req/s"))


# --- a customer's visit ------------------------------------------------------------------------

QUERY = "/?mode=customer&user_id=12345&require_user_id=true&allow_generated_id=false&direction=ltr"
WITHIN = ("Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty")
FRAMED = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe")


def visit(*fetch: str) -> Callable[[Bench, Running], Visit]:
    """Launches, checks that this peer knows its customer, and says how later requests ask."""

    def launch(bench: Bench, running: Running) -> Visit:
        cookie = known_customer(bench, running)
        return Visit([f"Cookie: theme=dark; {cookie}; sid=1", *fetch])

    return launch


SIGNED = (
    ("user_name", "Jörg Müller"),
    ("locale", "de"),
    ("page", "https://www.known.example/pricing?plan=pro"),
    ("mode", "customer"),
    ("user_id", "12345"),
)


def signed(**changes: str) -> str:
    """A launch as the tenant's server signs it, now."""
    values = dict(SIGNED) | {"timestamp": str(time.time_ns() // 1_000_000)} | changes
    # Names of one case and ASCII: sorted as URLSearchParams sorts them.
    canonical = urlencode(sorted(values.items()), quote_via=quote_plus, safe="*")
    canonical = canonical.replace("~", "%7E")
    signature = hmac.new(SIGNING_SECRET.encode(), canonical.encode(), "sha256").hexdigest()
    return f"/signed/?{canonical}&signature={signature}"


def signed_visit(bench: Bench, running: Running) -> Visit:
    """A signed launch, repeated by whoever holds its session, once every rule was seen at work."""
    tab = [*FRAMED[:2], "Sec-Fetch-Dest: document"]
    target = signed()
    answer = full(bench, running, target, tab)
    cookies = answer.headers.get_all("Set-Cookie") or []
    policy = answer.headers.get_all("Content-Security-Policy") or []
    if answer.status != 200 or len(cookies) != 1:
        raise BenchError(f"{running.name}: a signed launch is answered {answer.status}, {cookies}")
    directives = sorted(part.strip() for one in policy for part in one.split(";"))
    wanted = [
        "default-src 'self'",
        f"frame-ancestors 'self' {EMBEDDER}",
        "img-src * data:",
        "script-src 'self'",
    ]
    if len(policy) != 1 or directives != wanted or answer.headers.get("X-Frame-Options"):
        raise BenchError(f"{running.name}: the page's policies are {policy}, not {wanted}")
    cookie = cookies[0].partition(";")[0]
    old = str(time.time_ns() // 1_000_000 - 6 * 60 * 1000)
    for wrong, expected in (
        (target[:-1] + ("0" if target[-1] != "0" else "1"), 401),
        (target.replace("12345", "12346"), 401),
        (target.replace("locale=de", "locale=en"), 401),
        (f"{target}&timestamp={old}", 401),
        (signed(timestamp=old), 401),
        ("/signed/?user_id=12345", 401),
        (signed(user_id="x"), 400),
        (signed(mode="employee"), 403),
    ):
        status = full(bench, running, wrong, tab).status
        if status != expected:
            raise BenchError(f"{running.name}: {wrong} is answered {status}, not {expected}")
    return Visit([f"Cookie: theme=dark; {cookie}; sid=1", *FRAMED], target)


def known_customer(bench: Bench, running: Running) -> str:
    """The session cookie of user 12345, once every rule of these cases was seen at work."""
    tab = [*FRAMED[:2], "Sec-Fetch-Dest: document"]
    status, cookies, _ = ask(bench, running, QUERY, tab)
    if status != 200 or len(cookies) != 1:
        raise BenchError(f"{running.name}: a launch is answered {status} with {cookies}")
    session = cookies[0].partition(";")[0]
    middle = len(session) * 3 // 4
    forged = session[:middle] + ("A" if session[middle] != "A" else "B") + session[middle + 1 :]
    other = QUERY.replace("mode=customer", "mode=employee")
    for path, headers, expected in (
        ("/1k", [*WITHIN], 401),
        ("/1k", [*WITHIN, f"Cookie: {forged}"], 401),
        ("/1k", [*WITHIN, f"Cookie: {session}", "Origin: https://other.example"], 403),
        ("/1k", [*WITHIN, f"Cookie: {session}"], 200),
        (other, tab, 403),
        (QUERY.replace("12345", "x"), tab, 400),
        (f"{QUERY}&user_id=12345", tab, 400),
        (QUERY.replace("ltr", "up"), tab, 400),
        (QUERY, [*FRAMED, f"Cookie: {session}"], 200),
    ):
        status, _, _ = ask(bench, running, path, headers)
        if status != expected:
            raise BenchError(
                f"{running.name}: {path} with {headers} is answered {status}, not {expected}"
            )
    check_seen(bench, running, session)
    return session


def check_seen(bench: Bench, running: Running, session: str) -> None:
    """What the app receives: our word on who is asking, not the browser's, and not the session."""
    lies = ["X-Vestibule-User-Id: 666", "X-Vestibule-Assurance: signed"]
    lines = [*WITHIN, *lies, f"Cookie: theme=dark; {session}; sid=1"]
    _, _, seen = ask(bench, running, "/seen", lines)
    got = sorted(line for line in seen.split("\r\n") if re.match("(?i)x-vestibule-|cookie:", line))
    wanted = [
        "Cookie: theme=dark; sid=1",
        "X-Vestibule-Assurance: asserted",
        "X-Vestibule-Mode: customer",
        "X-Vestibule-Persona: customer",
        r"X-Vestibule-Session: [0-9a-f]{32}",
        "X-Vestibule-Tenant: known",
        "X-Vestibule-User-Id: 12345",
    ]
    if len(got) != len(wanted) or not all(
        re.fullmatch(pattern, line, re.IGNORECASE)
        for pattern, line in zip(wanted, got, strict=True)
    ):
        raise BenchError(f"{running.name}: the app receives {got}, not {wanted}")


def ask(
    bench: Bench, running: Running, path: str, headers: list[str]
) -> tuple[int, list[str], str]:
    """Status, Set-Cookie fields and body of one request to CUSTOMER_HOST."""
    response = full(bench, running, path, headers)
    cookies = response.headers.get_all("Set-Cookie") or []
    return response.status, cookies, response.text


@dataclass(frozen=True)
class Response:
    status: int
    headers: http.client.HTTPMessage
    text: str


def full(bench: Bench, running: Running, path: str, headers: list[str]) -> Response:
    """The whole answer to one request to CUSTOMER_HOST."""
    context = ssl.create_default_context(cafile=str(bench.ca))
    lines = [f"GET {path} HTTP/1.1", f"Host: {CUSTOMER_HOST}:{running.https}", *headers]
    with (
        socket.create_connection(("127.0.0.1", running.https), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=CUSTOMER_HOST) as wire,
    ):
        wire.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        try:
            response = http.client.HTTPResponse(wire)
            response.begin()
            text = response.read().decode(errors="replace")
            return Response(response.status, response.headers, text)
        except http.client.HTTPException as error:
            raise BenchError(f"{running.name}: {path} has no answer: {error!r}") from None


# --- our own generators ------------------------------------------------------------------------


def generator(bench: Bench, running: Running, kind: str, **options: object) -> Generator:
    command: list[str | Path] = [bench.load, kind, "--addr", f"127.0.0.1:{running.https}"]
    command += ["--host", HOST, "--ca", bench.ca]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    process = start(f"load-{kind}", command, bench.client_core, bench.directory, pipes=True)
    process.log.write_text("")
    return Generator(process, patience=60 + 5 * bench.seconds)


def generated(kind: str, **options: object) -> Callable[[Bench, Running], Sample]:
    """CPU per unit between 'ready' and 'done', connections made beforehand."""

    def measure(bench: Bench, running: Running) -> Sample:
        extra = dict(options)
        if kind == "sse":
            extra["events"] = max(1, round(bench.seconds * 1_000_000 / EVENT_INTERVAL_US))
        else:
            extra["seconds"] = bench.seconds
        load = generator(bench, running, kind, **extra)
        try:
            load.expect("ready")
            window = Window(bench, running.process)
            load.go_on()
            done = load.expect("done")
            sample = window.close(max(1, done["ok"]))
            load.finish()
            return sample
        except BenchError as error:
            raise BenchError(f"{running.name}: {error}") from None
        finally:
            load.process.stop()

    return measure


def idle(bench: Bench, running: Running) -> Sample:
    """Memory per open WebSocket that has exchanged one message and holds still."""
    count = bench.idle_connections
    warm(bench, running)
    load = generator(bench, running, "idle", connections=count)
    try:
        load.expect("ready")
        before = running.process.memory_kib()
        load.go_on()
        done = load.expect("done")
        time.sleep(SETTLE_SECONDS)
        grown = running.process.memory_kib() - before
        load.finish()
    except BenchError as error:
        raise BenchError(f"{running.name}: {error}") from None
    finally:
        load.process.stop()
    if done["ok"] != count:
        raise BenchError(f"{running.name}: {done['ok']} of {count} connections opened")
    return Sample(grown / count, count, 0.0)


def warm(bench: Bench, running: Running) -> None:
    """A few connections first: what a proxy sets up once is not a connection's memory."""
    load = generator(bench, running, "idle", connections=min(16, bench.idle_connections))
    try:
        load.expect("ready")
        load.go_on()
        load.expect("done")
        load.finish()
    finally:
        load.process.stop()


MICROSECONDS = "µs CPU"
# Vestibule by its configuration, NGINX with the njs of identity.js.
KNOWING = ("vestibule", TELLING, "nginx")

CASES = {
    case.name: case
    for case in (
        Case(
            "plain",
            "HTTP/1.1 without TLS",
            "1 KiB, keep-alive, 32 connections",
            f"{MICROSECONDS} per request",
            h2load("/1k", "plain", 32, 1),
        ),
        Case(
            "h1",
            "HTTP/1.1 over TLS",
            "1 KiB, keep-alive, 32 connections",
            f"{MICROSECONDS} per request",
            h2load("/1k", "h1", 32, 1),
            goal=0.85,
        ),
        Case(
            "h2",
            "HTTP/2 over TLS",
            "1 KiB, 8 connections of 8 streams",
            f"{MICROSECONDS} per request",
            h2load("/1k", "h2", 8, 8),
            goal=1.0,
        ),
        Case(
            "handshake",
            "Full TLS 1.3 handshake",
            "and one request on it, 8 at a time",
            f"{MICROSECONDS} per connection",
            generated("handshake", mode="full", connections=8),
            goal=0.70,
        ),
        Case(
            "resume",
            "Resumed TLS 1.3 handshake",
            "and one request on it, 8 at a time",
            f"{MICROSECONDS} per connection",
            generated("handshake", mode="resume", connections=8),
        ),
        Case(
            "body64k",
            "64 KiB answers",
            "HTTP/1.1 over TLS, 16 connections",
            f"{MICROSECONDS} per answer",
            h2load("/64k", "h1", 16, 1),
        ),
        Case(
            "body10m",
            "10 MiB answers",
            "HTTP/1.1 over TLS, 4 connections",
            f"{MICROSECONDS} per answer",
            h2load("/10m", "h1", 4, 1),
        ),
        Case(
            "body64k-h2",
            "64 KiB answers, HTTP/2",
            "4 connections of 4 streams",
            f"{MICROSECONDS} per answer",
            h2load("/64k", "h2", 4, 4),
        ),
        Case(
            "body10m-h2",
            "10 MiB answers, HTTP/2",
            "2 connections of 2 streams",
            f"{MICROSECONDS} per answer",
            h2load("/10m", "h2", 2, 2),
        ),
        Case(
            "ws",
            "WebSocket echo",
            "100-byte messages over TLS, 32 connections",
            f"{MICROSECONDS} per echo",
            generated("ws", connections=32),
            goal=0.90,
        ),
        Case(
            "sse",
            "Server-sent events",
            "100 streams over TLS, 100 bytes each 10 ms",
            f"{MICROSECONDS} per event",
            generated("sse", connections=100, interval_us=EVENT_INTERVAL_US),
        ),
        Case(
            "idle",
            "Idle WebSocket over TLS",
            "memory of the proxy, 2,000 open",
            "KiB per connection",
            idle,
            goal=0.30,
            fresh=True,
        ),
        # Last, because they need njs: an NGINX that does not start is left out from there on.
        Case(
            "session",
            "A request of a known user",
            "session cookie verified, HTTP/1.1 over TLS",
            f"{MICROSECONDS} per request",
            h2load("/1k", "h1", 32, 1, visit(*WITHIN)),
            peers=KNOWING,
        ),
        Case(
            "launch",
            "A known user's page",
            "query, session and limits checked",
            f"{MICROSECONDS} per request",
            h2load(QUERY, "h1", 32, 1, visit(*FRAMED)),
            peers=KNOWING,
        ),
        Case(
            "signed",
            "A signed launch",
            "signature, query, session, limits, and the page's policy",
            f"{MICROSECONDS} per request",
            h2load("/signed/", "h1", 32, 1, signed_visit),
            goal=0.25,
            peers=KNOWING,
        ),
    )
}
