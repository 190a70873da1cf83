"""The page about an app that is not there, in a real browser: it finds the app by itself once it is back."""

from __future__ import annotations

import http.server
import threading

import pytest
from playwright.sync_api import Page, expect

from deployment import PUBLIC, RELAXED, Deployment, Tenant
from vestibule import free_port

WELL = b"<!doctype html><title>well</title><h1>The app is back</h1>"


class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(WELL)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(WELL)

    do_HEAD = do_GET

    def log_message(self, *_values: object) -> None: ...


@pytest.fixture
def absent(certificates, tmp_path):
    """A deployment whose app is not there yet."""
    persona = PUBLIC | {"app": "generic"}
    tenant = Tenant("late", free_port(), {"public": persona}, limits=RELAXED)
    with Deployment(tmp_path, certificates, [tenant]) as running:
        yield running


def test_a_page_about_an_absent_app_opens_the_app_once_it_is_there(absent: Deployment, page: Page) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if "Content Security" in line.text else None)
    page.goto(absent.launch("public", "late", direction="rtl"))
    expect(page.get_by_role("status")).to_contain_text("It opens by itself")
    assert page.locator("html").get_attribute("dir") == "rtl"
    # It has looked at least once, and found nothing, before there is anything.
    page.wait_for_event("response", lambda response: response.request.method == "HEAD" and response.status == 502)
    (tenant,) = absent.tenants
    server = http.server.ThreadingHTTPServer(("127.0.0.1", tenant.app_port), App)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        expect(page.get_by_role("heading", name="The app is back")).to_be_visible()
    finally:
        server.shutdown()
    assert errors == []
    launches = [line for line in absent.lines() if line["method"] == "GET" and line["path"] == "/"]
    assert len(launches) <= 2, launches
