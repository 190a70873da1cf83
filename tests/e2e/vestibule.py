"""Starts the real binary on a real configuration, and stops it by its process id."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from certs import Certificates

ROOT = Path(__file__).resolve().parents[2]
PERSONAS = ["public", "customer", "employee", "test"]
CONFIGURATION = Template((Path(__file__).parent / "vestibule.toml").read_text())


def binary() -> Path:
    path = Path(os.environ.get("VESTIBULE_BIN", ROOT / "target/debug/vestibule"))
    if not path.exists():
        raise RuntimeError(f"{path} is missing: run `cargo build`, or set VESTIBULE_BIN")
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_until(ready: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Polls until `ready` gives something true; a deadline, never a guess at how long it takes."""
    deadline = time.monotonic() + seconds
    while True:
        if found := ready():
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.05)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


@dataclass
class Server:
    """`with Server(folder, certificates) as server`; a subclass says what its configuration is."""

    folder: Path
    certificates: Certificates

    def __enter__(self):
        self.port = free_port()
        self.log, self.access = self.folder / "vestibule.log", self.folder / "access.log"
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Writes the configuration and starts the binary, on the same port each time."""
        self.write()
        with self.log.open("ab") as log:
            command = [str(binary()), "run", "-c", str(self.folder / "vestibule.toml")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            wait_until(self._ready, "vestibule to accept connections")
        except BaseException:
            self.stop()
            raise

    def write(self) -> None:
        (self.folder / "vestibule.toml").write_text(self.configuration())

    def reload(self) -> None:
        """What has changed is seen by what it changes: there is nothing to wait for here."""
        self.write()
        self.process.send_signal(signal.SIGHUP)

    def configuration(self) -> str:
        raise NotImplementedError

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"vestibule ended with {self.process.returncode}:\n{self.tail()}")
        return accepts(self.port)

    def stop(self) -> None:
        """SIGTERM drains; the configuration's drain_timeout is two seconds."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-8000:] if self.log.exists() else ""

    def lines(self) -> list[dict[str, Any]]:
        """The access log so far; lines that are still being written are left out."""
        if not self.access.exists():
            return []
        text = self.access.read_text(errors="replace")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def resident_kib(self) -> int:
        """Resident memory in KiB, from /proc."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1])

    def alive(self) -> bool:
        return self.process.poll() is None


@dataclass
class Vestibule(Server):
    """The four personas of the persona seed on `chat-NAME.localhost`.

    `upstreams` gives the loopback port of each persona's application, and of the host page as
    `site`.
    """

    upstreams: dict[str, int]
    app: str = "generic"

    def url(self, host: str, path: str = "/") -> str:
        return f"https://{host}.localhost:{self.port}{path}"

    def configuration(self) -> str:
        return CONFIGURATION.substitute(
            app=self.app,
            port=self.port,
            http_port=free_port(),
            admin_port=free_port(),
            cert=self.certificates.cert,
            key=self.certificates.key,
            access_log=self.access,
            **{f"{name}_port": port for name, port in self.upstreams.items()},
        )
