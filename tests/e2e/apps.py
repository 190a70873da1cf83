"""The applications behind Vestibule in the browser tests: Streamlit processes and a host page."""

from __future__ import annotations

import html
import http.server
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from vestibule import ROOT, accepts, free_port, wait_until

HERE = Path(__file__).parent
OPTIONS = {
    "server.headless": "true",
    "server.address": "127.0.0.1",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "global.developmentMode": "false",
}


# The virtual environment of each version that is supported: the oldest and the newest.
PYTHON = {
    "1.39": ROOT / "target/e2e/venv-streamlit-1.39/bin/python",
    "1.67": Path(sys.executable),
}
# Only later versions can be told which header names the user of `st.user`.
USER_HEADERS = {"server.trustedUserHeaders": json.dumps({"X-Vestibule-User-Id": "user_id"})}


@dataclass
class Streamlit:
    """The application under one version of Streamlit, as one process at a port that stays its own."""

    version: str
    folder: Path
    port: int = field(default_factory=free_port)

    def start(self) -> None:
        if not PYTHON[self.version].exists():
            raise RuntimeError(f"{PYTHON[self.version]} is missing: run tests/run")
        options = OPTIONS | {"server.port": self.port} | (USER_HEADERS if self.version != "1.39" else {})
        arguments = [f"--{key}={value}" for key, value in options.items()]
        script = HERE / "streamlit_app/app.py"
        command = [str(PYTHON[self.version]), "-m", "streamlit", "run", str(script), *arguments]
        self.log = self.folder / f"streamlit-{self.version}-{self.port}.log"
        environment = os.environ | {"HOME": str(self.folder)}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment)

    def wait(self) -> None:
        wait_until(lambda: started(self.process, self.port, self.log), f"streamlit {self.version}", seconds=120)

    def kill(self) -> None:
        """As the kernel does it to a process that uses too much memory."""
        self.process.kill()
        self.process.wait(timeout=20)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)


@contextmanager
def streamlit(version: str, folder: Path):
    """Runs the application under one version of Streamlit; gives its port."""
    running = Streamlit(version, folder)
    running.start()
    try:
        running.wait()
        yield running.port
    finally:
        running.stop()


def started(process: subprocess.Popen, port: int, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"streamlit ended with {process.returncode}:\n{log.read_text()}")
    return accepts(port)


class HostPage(http.server.BaseHTTPRequestHandler):
    """Pages that embed personas: `/NAME?key=value` is pages/NAME.html with `@key@` replaced."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        file = HERE / f"pages/{url.path.strip('/') or 'frame'}.html"
        if not file.exists():
            self.send_error(404)
            return
        text = file.read_text()
        for key, value in parse_qsl(url.query):
            text = text.replace(f"@{key}@", html.escape(value))
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """The tests have the access log of Vestibule."""


@contextmanager
def host_page():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), HostPage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
