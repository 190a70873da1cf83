"""Streamlit's assets in a real browser: compressed, once, and still the same bytes."""

from __future__ import annotations

import http.client
import socket
import ssl

from playwright.sync_api import Page, Response, expect

from conftest import TENANTS
from deployment import Deployment


def test_the_assets_of_streamlit_are_compressed_once(tenant: str, door: Deployment, page: Page) -> None:
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(door.launch("customer", tenant))
    expect(page.get_by_role("heading", name="Chat for customer")).to_be_visible()
    scripts = [it for it in answers if "/static/js/" in it.url and it.url.endswith(".js") and it.status == 200]
    large = [it for it in scripts if len(it.body()) > 2048]
    assert large, [it.url for it in answers]
    if tenant == TENANTS["1.39"]:
        # Tornado compresses by itself, anew for each: that passes as it is.
        assert {answer.headers.get("content-encoding") for answer in large} == {"gzip"}
        return
    for answer in large:
        assert answer.headers.get("content-encoding") in ("zstd", "br"), (answer.url, answer.headers)
        assert "accept-encoding" in answer.headers["vary"].lower()
    moved = sum(answer.request.sizes()["responseBodySize"] for answer in large)
    assert moved < sum(len(answer.body()) for answer in large) / 2
    # What is kept comes with its length, which nobody knows while it is compressed.
    coding = large[0].headers["content-encoding"]
    context = ssl.create_default_context(cafile=door.certificates.ca)
    biggest = max(large, key=lambda answer: len(answer.body()))
    path = biggest.url.split(str(door.port), 1)[1]
    host = door.host("customer", tenant)
    cookie = "; ".join(f"{it['name']}={it['value']}" for it in page.context.cookies([biggest.url]))
    answer = fetch(context, door.port, host, path, {"Accept-Encoding": coding, "Cookie": cookie})
    assert answer["content-length"], answer
    assert answer["content-encoding"] == coding


def fetch(context: ssl.SSLContext, port: int, host: str, path: str, fields: dict[str, str]) -> dict[str, str]:
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection = http.client.HTTPSConnection(host, port, context=context)
    connection.sock = context.wrap_socket(plain, server_hostname=host)
    connection.request("GET", path, headers={"Host": f"{host}:{port}", **fields})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return {name.lower(): value for name, value in answer.getheaders()}
