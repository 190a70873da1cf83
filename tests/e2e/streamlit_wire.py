"""What Streamlit's own page does over its WebSocket, without a browser: run the script, read what it drew."""

from __future__ import annotations

import json
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from visitor import Visitor

SECONDS = 20


class Closed(Exception):
    """The server has closed the stream."""


class WebSocket:
    """A client on one thread: a TLS socket that one thread reads while another writes breaks now and then."""

    def __init__(self, connected: ssl.SSLSocket, url: str, fields: list[tuple[str, str]], offered: list[str]) -> None:
        self._socket, self._messages = connected, []
        self.protocol = ClientProtocol(parse_uri(url), subprotocols=offered, max_size=None)
        request = self.protocol.connect()
        for name, value in fields:
            request.headers[name] = value
        self.protocol.send_request(request)
        self._flush()
        # A refusal without a length ends with the connection.
        while not self._messages and self.protocol.handshake_exc is None:
            self._receive(SECONDS)
        if self.protocol.handshake_exc is not None:
            raise self.protocol.handshake_exc
        del self._messages[0]  # The handshake's answer.

    def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        self._flush()

    def recv(self, timeout: float = SECONDS) -> str | bytes:
        """The next message; raises `Closed` where there will be none."""
        whole, is_text = b"", False
        while True:
            while not self._messages:
                self._receive(timeout)
            frame = self._messages.pop(0)
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                is_text |= frame.opcode is Opcode.TEXT
                whole += frame.data
                if frame.fin:
                    return whole.decode() if is_text else whole

    def _receive(self, timeout: float) -> None:
        if self.protocol.state is State.CLOSED:
            raise Closed
        self._socket.settimeout(timeout)
        try:
            received = self._socket.recv(1 << 16)
        except (ConnectionError, ssl.SSLError):
            received = b""
        if received:
            self.protocol.receive_data(received)
        else:
            self.protocol.receive_eof()
        self._flush()
        self._messages += self.protocol.events_received()

    def _flush(self) -> None:
        try:
            for piece in self.protocol.data_to_send():
                if piece:
                    self._socket.sendall(piece)
        except OSError:
            pass  # The next read says so.

    def close(self) -> None:
        if self.protocol.state is State.OPEN:
            self.protocol.send_close(1000)
            self._flush()
        self._socket.close()


@dataclass
class Chat:
    """One open stream of a Streamlit app."""

    socket: WebSocket
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
            said = ForwardMsg.FromString(self.socket.recv())
            kind = said.WhichOneof("type")
            if kind == "new_session":
                self.resume = said.new_session.initialize.session_id
            elif kind == "delta" and said.delta.new_element.text.body.startswith("facts: "):
                facts = json.loads(said.delta.new_element.text.body.removeprefix("facts: "))
            elif kind == "script_finished" and facts is not None:
                return facts

    def ending(self) -> tuple[int, str]:
        """Waits for the server to close; gives the code and reason of its close frame."""
        try:
            while True:
                self.socket.recv()
        except TimeoutError:
            raise AssertionError(f"the stream is still open after {SECONDS} s") from None
        except Closed:
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
    fields = [("Origin", origin), *(headers or []), *([("Cookie", cookie)] if cookie else [])]
    url = origin.replace("https://", "wss://") + path
    connected = visitor.tls(host)
    try:
        socket = WebSocket(connected, url, fields, subprotocols or offered)
    except BaseException:
        connected.close()
        raise
    try:
        yield Chat(socket)
    finally:
        socket.close()
