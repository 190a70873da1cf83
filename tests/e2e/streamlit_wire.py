"""What Streamlit's own page does over its WebSocket, without a browser: run the script, read what it drew."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from visitor import Visitor

SECONDS = 20


@dataclass
class Chat:
    """One open stream of a Streamlit app."""

    socket: ClientConnection
    # Streamlit's name of the session, with which a page takes up where it was cut off.
    resume: str = ""

    def run(self, query: str = "", page: str = "") -> dict[str, Any]:
        """Runs the script as a browser at `?query` asks for it; gives what the app says it was told."""
        message = BackMsg()
        message.rerun_script.query_string = query
        message.rerun_script.page_name = page
        self.socket.send(message.SerializeToString())
        facts: dict[str, Any] | None = None
        while True:
            said = ForwardMsg.FromString(self.socket.recv(timeout=SECONDS))
            kind = said.WhichOneof("type")
            if kind == "new_session":
                self.resume = said.new_session.initialize.session_id
            elif kind == "delta" and said.delta.new_element.text.body.startswith("facts: "):
                facts = json.loads(said.delta.new_element.text.body.removeprefix("facts: "))
            elif kind == "script_finished" and facts is not None:
                return facts

    def ending(self) -> tuple[int, str]:
        """Waits for the server to close; gives the code and reason of its close frame."""
        while True:
            try:
                self.socket.recv(timeout=SECONDS)
            except TimeoutError:
                raise AssertionError(f"the stream is still open after {SECONDS} s") from None
            except Exception:
                received = self.socket.protocol.close_rcvd
                return (received.code, received.reason) if received else (1006, "")


@contextmanager
def stream(
    visitor: Visitor,
    origin: str,
    path: str = "/_stcore/stream",
    resume: str | None = None,
    headers: list[tuple[str, str]] | None = None,
    subprotocols: list[str] | None = None,
):
    """Opens the WebSocket of the app at `origin` with the visitor's cookies, as its page would.

    A handshake that is refused raises `websockets.exceptions.InvalidStatus`.
    """
    host = origin.removeprefix("https://").split(":")[0]
    cookie = visitor.cookie(host)
    xsrf = visitor.jar.get(host, {}).get("_streamlit_xsrf", "none")
    offered = ["streamlit", xsrf, *([resume] if resume else [])]
    with connect(
        # The socket is TLS already.
        origin.replace("https://", "ws://") + path,
        sock=visitor.tls(host),
        proxy=None,
        origin=origin,
        subprotocols=subprotocols or offered,
        additional_headers=[*(headers or []), *([("Cookie", cookie)] if cookie else [])],
        user_agent_header=None,
        compression=None,
        max_size=None,
        open_timeout=SECONDS,
    ) as socket:
        yield Chat(socket)
