"""A visitor without a browser: exact requests over TLS, and the cookies of one browser profile.

It says of itself only what a test tells it to say, so that a test can lie.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

# What a browser says of the navigation of a tab, of a frame, and of a script's request; it is shown pages.
DOCUMENT = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "cross-site"}
FRAME = DOCUMENT | {"Sec-Fetch-Dest": "iframe"}
# A program that asks for a page, and says nothing else: it is told what is wrong as a problem document.
PROGRAM = {"Accept": "text/html, */*;q=0.8"}
SCRIPT = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "same-origin"}


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def value(self, name: str) -> str | None:
        return next(iter(self.values(name)), None)

    @property
    def code(self) -> str | None:
        """The code of a refusal of ours; None for anything else."""
        if (self.value("content-type") or "").split(";")[0] != "application/problem+json":
            return None
        return json.loads(self.body)["code"]

    def __repr__(self) -> str:
        return f"{self.status} {self.headers} {self.body[:400]!r}"


@dataclass
class Visitor:
    """`Visitor(port, ca)`; `keeps_cookies=False` is a browser that blocks every cookie."""

    port: int
    ca: Path
    keeps_cookies: bool = True
    # By host, then by name; every cookie of ours and of Streamlit's has Path=/.
    jar: dict[str, dict[str, str]] = field(default_factory=dict)

    def tls(self, host: str, protocol: str = "http/1.1") -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.ca))
        context.set_alpn_protocols([protocol])
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return context.wrap_socket(plain, server_hostname=host)

    def cookie(self, host: str) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.jar.get(host, {}).items())

    def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
        body: bytes | None = None,
        target: str | None = None,
    ) -> Answer:
        """One request on a connection of its own; what follows the port of `url` is sent as it stands, or `target`."""
        host = urlsplit(url).hostname
        target = target or url.split(f":{self.port}", 1)[1] or "/"
        connection = http.client.HTTPConnection(host, self.port)
        # http.client has opinions about targets; what we send is what a test says.
        connection._validate_path = lambda _target: None
        connection.sock = self.tls(host)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", f"{host}:{self.port}")
            pairs = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
            if self.cookie(host):
                pairs.append(("Cookie", self.cookie(host)))
            if body is not None:
                pairs.append(("Content-Length", str(len(body))))
            for name, value in pairs:
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            answer = Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()
        self._keep(host, answer)
        return answer

    def _keep(self, host: str, answer: Answer) -> None:
        for field_value in answer.values("set-cookie") if self.keeps_cookies else []:
            pair, *attributes = field_value.split(";")
            name, _, value = pair.strip().partition("=")
            ends = any(attribute.strip().lower() == "max-age=0" for attribute in attributes)
            if ends:
                self.jar.get(host, {}).pop(name, None)
            else:
                self.jar.setdefault(host, {})[name] = value

    def get(self, url: str, headers: dict[str, str] | list[tuple[str, str]] | None = None) -> Answer:
        return self.request("GET", url, headers)

    def open(self, url: str, kind: dict[str, str] = DOCUMENT, hops: int = 5) -> Answer:
        """Navigates, redirects followed; `self.at` is where that ended."""
        for _ in range(hops):
            answer = self.get(url, kind)
            location = answer.value("location")
            if answer.status not in (301, 302, 303, 307, 308) or not location:
                self.at = url
                return answer
            origin = f"https://{urlsplit(url).netloc}"
            url = location if "://" in location else origin + location
        raise AssertionError(f"more than {hops} redirects, the last to {url}")
