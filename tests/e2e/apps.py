"""The applications behind Vestibule in the browser tests: Streamlit processes and a host page."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from vestibule import accepts, free_port, wait_until

HERE = Path(__file__).parent
OPTIONS = {
    "server.headless": "true",
    "server.address": "127.0.0.1",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "global.developmentMode": "false",
}


@contextmanager
def streamlit(variant: str, folder: Path):
    """Runs the application of one persona; gives its port."""
    port = free_port()
    options = [f"--{key}={value}" for key, value in (OPTIONS | {"server.port": port}).items()]
    command = [sys.executable, "-m", "streamlit", "run", str(HERE / "streamlit_app/app.py"), *options]
    environment = os.environ | {"CHAT_APP_VARIANT": variant, "HOME": str(folder)}
    log = folder / f"streamlit-{variant}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment)
    try:
        wait_until(lambda: started(process, port, log), f"streamlit for {variant}", seconds=120)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def started(process: subprocess.Popen, port: int, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"streamlit ended with {process.returncode}:\n{log.read_text()}")
    return accepts(port)


class HostPage(http.server.BaseHTTPRequestHandler):
    """The page that embeds a persona: `/?chat=URL` shows URL in an iframe."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = (HERE / "host_page.html").read_bytes()
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
