"""What the end-to-end tests share: certificates, the recording upstream, a running Vestibule."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from playwright.sync_api import Page

import browser as browsers
import certs
from apps import PYTHON, host_page, streamlit
from deployment import CUSTOMER, EMPLOYEE, PLAIN, PUBLIC, SEED, STRICT, Deployment, Tenant
from h2wire import Wire
from shells import ChatApp, Opened, Shells
from upstream import RawUpstream
from vestibule import PERSONAS, Vestibule
from visitor import Visitor

# The tenant of each version of Streamlit.
TENANTS = {"1.39": "v139", "1.67": "v167"}


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


@pytest.fixture(scope="session")
def streamlits(tmp_path_factory: pytest.TempPathFactory):
    """The port of the application under each version."""
    folder = tmp_path_factory.mktemp("streamlit")
    with ExitStack() as stack:
        yield {version: stack.enter_context(streamlit(version, folder)) for version in PYTHON}


@pytest.fixture(scope="session")
def wire_upstream():
    """Records what the persona tenants without Streamlit forward."""
    with RawUpstream() as running:
        yield running


@pytest.fixture(scope="session")
def door(certificates, streamlits, wire_upstream, tmp_path_factory: pytest.TempPathFactory):
    """Vestibule with both versions of Streamlit, a recording upstream, and host pages."""
    apart = {"plain": PLAIN, "strict": STRICT}
    generic = {"generic": CUSTOMER | {"app": "generic"}}
    with ExitStack() as stack:
        pages = stack.enter_context(host_page())
        tenants = [
            Tenant(TENANTS[version], port, SEED | apart, site_port=pages) for version, port in streamlits.items()
        ]
        tenants += [
            Tenant("wire", wire_upstream.port, SEED | apart | generic),
            # With the limits that hold where nobody set any.
            Tenant("cold", streamlits["1.67"], {"public": PUBLIC}, limits=None, site_port=pages),
            Tenant("limited", wire_upstream.port, {"public": PUBLIC, "employee": EMPLOYEE}, limits=None),
        ]
        running = Deployment(tmp_path_factory.mktemp("door"), certificates, tenants)
        yield stack.enter_context(running)
        assert running.alive(), f"vestibule ended by itself:\n{running.tail()}"


@pytest.fixture(params=TENANTS)
def tenant(request: pytest.FixtureRequest) -> str:
    """The tenant of each version of Streamlit in turn."""
    return TENANTS[request.param]


@pytest.fixture
def visitor(door: Deployment, certificates) -> Visitor:
    return Visitor(door.port, certificates.ca)


@pytest.fixture(scope="session")
def chrome(certificates, tmp_path_factory: pytest.TempPathFactory):
    """The browser of most tests: it takes cookies, and no test leaves any to the next."""
    # Chromium's default depends on its version and on how it was started.
    takes_all = {"profile": {"cookie_controls_mode": 0, "block_third_party_cookies": False}}
    folder = tmp_path_factory.mktemp("chromium")
    with browsers.chromium(folder, spki=certificates.spki, preferences=takes_all) as context:
        yield context


@pytest.fixture
def page(chrome):
    chrome.clear_cookies()
    fresh = chrome.new_page()
    yield fresh
    fresh.close()


@pytest.fixture(scope="session")
def shells(certificates, tmp_path_factory: pytest.TempPathFactory):
    """Vestibule with pages around chats, on a host of their own and on a shared one."""
    with ExitStack() as stack:
        pages, app = stack.enter_context(host_page()), stack.enter_context(ChatApp())
        running = Shells(tmp_path_factory.mktemp("shells"), certificates, app, pages)
        yield stack.enter_context(running)
        assert running.alive(), f"vestibule ended by itself:\n{running.tail()}"


@pytest.fixture
def opened(page: Page) -> Opened:
    return Opened(page)


def pytest_sessionfinish() -> None:
    browsers.stop_driver()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """A failed test shows the end of the log of the server that it used."""
    report = (yield).get_result()
    for name in ("front", "door", "shells", "own_door", "demo"):
        running = getattr(item, "funcargs", {}).get(name)
        if report.failed and running is not None:
            report.sections.append((f"log of {name}", running.tail()))
