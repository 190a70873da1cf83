"""What the end-to-end tests share: certificates, the recording upstream, a running Vestibule."""

from __future__ import annotations

import pytest

import certs
from h2wire import Wire
from upstream import RawUpstream
from vestibule import PERSONAS, Vestibule


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> certs.Certificates:
    return certs.make(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module")
def upstream():
    with RawUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def front(certificates: certs.Certificates, upstream: RawUpstream, tmp_path_factory: pytest.TempPathFactory):
    """Vestibule with the recording upstream behind every host."""
    ports = dict.fromkeys([*PERSONAS, "site"], upstream.port)
    with Vestibule(tmp_path_factory.mktemp("front"), certificates, ports) as running:
        yield running
        assert running.alive(), f"vestibule ended by itself:\n{running.tail()}"


@pytest.fixture
def connect(front: Vestibule, certificates: certs.Certificates):
    """`connect()` opens an HTTP/2 connection; it is closed when the test ends."""
    opened: list[Wire] = []

    def open_one(host: str = "chat-test.localhost") -> Wire:
        opened.append(Wire(front.port, certificates.ca, host))
        return opened[-1]

    yield open_one
    for wire in opened:
        wire.socket.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """A failed test shows the end of the log of the server that it used."""
    report = (yield).get_result()
    for name in ("front", "streamlit_front", "demo"):
        running = getattr(item, "funcargs", {}).get(name)
        if report.failed and running is not None:
            report.sections.append((f"log of {name}", running.tail()))
