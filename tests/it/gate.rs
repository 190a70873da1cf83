//! Every class of request that the gate refuses, and zero bytes at a recording upstream.

use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

/// Sends `request` on its own connection: status and code, nothing upstream, connection closed.
fn check(proxy: &Proxy, upstream: &Upstream, request: &[u8], status: u16, code: &str) {
    let shown = String::from_utf8_lossy(request).into_owned();
    let mut client = proxy.client();
    client.send(request);
    let response = client.read_response().unwrap_or_else(|| panic!("no answer to {shown:?}"));
    assert_eq!((response.status, &*response.code()), (status, code), "{shown:?}");
    assert_eq!(upstream.received(), "", "{shown:?}");
}

#[test]
fn ambiguous_requests_reach_no_upstream() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    let host = "Host: chat.test\r\n";
    let cases: Vec<(String, u16, &str)> = vec![
        // Framing.
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            400,
            "framing_ambiguous",
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
            ),
            400,
            "framing_ambiguous",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            400,
            "framing_ambiguous",
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            400,
            "framing_ambiguous",
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
            ),
            400,
            "framing_ambiguous",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: identity\r\n\r\n"),
            400,
            "framing_ambiguous",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip\r\n\r\n"),
            501,
            "transfer_coding_unsupported",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
            400,
            "request_malformed",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
            400,
            "framing_ambiguous",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
            400,
            "framing_ambiguous",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 5, 5\r\n\r\nhello"),
            400,
            "framing_ambiguous",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: +5\r\n\r\nhello"),
            400,
            "framing_ambiguous",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 5;\r\n\r\nhello"),
            400,
            "framing_ambiguous",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 0x5\r\n\r\nhello"),
            400,
            "framing_ambiguous",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 99999999999999999999\r\n\r\nhello"),
            400,
            "framing_ambiguous",
        ),
        (
            format!("POST / HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
            "framing_ambiguous",
        ),
        // Bad chunks, from the first byte on.
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n"
            ),
            400,
            "framing_ambiguous",
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"
            ),
            400,
            "framing_ambiguous",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
            400,
            "framing_ambiguous",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n-1\r\n"),
            400,
            "framing_ambiguous",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n"),
            400,
            "framing_ambiguous",
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
            ),
            400,
            "framing_ambiguous",
        ),
        // Lines.
        ("GET / HTTP/1.1\nHost: chat.test\n\n".into(), 400, "request_malformed"),
        (format!("GET / HTTP/1.1\r\n{host}A: b\nC: d\r\n\r\n"), 400, "request_malformed"),
        (format!("GET / HTTP/1.1\r\n{host}A: b\rC: d\r\n\r\n"), 400, "request_malformed"),
        (format!("GET / HTTP/1.1\r\n{host}A: b\r\n C: d\r\n\r\n"), 400, "request_malformed"),
        (format!("GET / HTTP/1.1\r\n {host}\r\n"), 400, "request_malformed"),
        (format!("GET / HTTP/1.1\r\n{host}A: b\0c\r\n\r\n"), 400, "request_malformed"),
        (format!("GET / HTTP/1.1\r\n{host}: b\r\n\r\n"), 400, "request_malformed"),
        (format!("GET  / HTTP/1.1\r\n{host}\r\n"), 400, "request_malformed"),
        (format!("GET / HTTP/3.0\r\n{host}\r\n"), 505, "version_unsupported"),
        (format!("GET / FOO/1.1\r\n{host}\r\n"), 505, "version_unsupported"),
        (format!("GET /\r\n{host}\r\n"), 400, "request_malformed"),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: chat.test\r\n\r\n".into(), 400, "request_malformed"),
        // Host.
        ("GET / HTTP/1.1\r\n\r\n".into(), 400, "host_invalid"),
        ("GET / HTTP/1.0\r\n\r\n".into(), 400, "host_invalid"),
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400, "host_invalid"),
        (format!("GET / HTTP/1.1\r\n{host}Host: other.test\r\n\r\n"), 400, "host_invalid"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n".into(), 400, "host_invalid"),
        ("GET / HTTP/1.1\r\nHost: a@chat.test\r\n\r\n".into(), 400, "host_invalid"),
        ("GET / HTTP/1.1\r\nHost: chat.test:x\r\n\r\n".into(), 400, "host_invalid"),
        ("GET / HTTP/1.1\r\nHost: chat.test, other.test\r\n\r\n".into(), 400, "host_invalid"),
        (format!("GET http://other.test/ HTTP/1.1\r\n{host}\r\n"), 400, "host_invalid"),
        (format!("GET http://chat.test:81/ HTTP/1.1\r\n{host}\r\n"), 400, "host_invalid"),
        (format!("GET ftp://chat.test/ HTTP/1.1\r\n{host}\r\n"), 400, "target_invalid"),
        (format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"), 400, "target_invalid"),
        (format!("GET /a#b HTTP/1.1\r\n{host}\r\n"), 400, "path_ambiguous"),
        (format!("GET /?a#b HTTP/1.1\r\n{host}\r\n"), 400, "target_invalid"),
        // Methods, upgrades, expectations.
        (format!("TRACE / HTTP/1.1\r\n{host}\r\n"), 405, "method_not_allowed"),
        (format!("CONNECT / HTTP/1.1\r\n{host}\r\n"), 405, "method_not_allowed"),
        (format!("GET / HTTP/1.1\r\n{host}Expect: 200-ok\r\n\r\n"), 417, "expectation_failed"),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc"
            ),
            400,
            "upgrade_invalid",
        ),
        (
            format!(
                "GET / HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            400,
            "upgrade_invalid",
        ),
        (
            format!(
                "GET / HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ),
            400,
            "upgrade_invalid",
        ),
        (
            format!(
                "GET / HTTP/1.1\r\n{host}Connection: Content-Length\r\nContent-Length: 3\r\n\r\nabc"
            ),
            400,
            "request_malformed",
        ),
        (format!("GET / HTTP/1.1\r\n{host}Connection: host\r\n\r\n"), 400, "request_malformed"),
        // Sizes.
        (
            format!("GET / HTTP/1.1\r\n{host}A: {}\r\n\r\n", "a".repeat(70_000)),
            431,
            "headers_too_large",
        ),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(70_000)), 431, "headers_too_large"),
        (
            format!("GET / HTTP/1.1\r\n{host}{}\r\n", "A: b\r\n".repeat(200)),
            431,
            "headers_too_large",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 300000000\r\n\r\n"),
            413,
            "body_too_large",
        ),
        // Routes.
        ("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n".into(), 404, "not_found"),
    ];
    for (request, status, code) in &cases {
        check(&proxy, &upstream, request.as_bytes(), *status, code);
    }
}

#[test]
fn ambiguous_paths_reach_no_upstream() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    for path in [
        "/a/../b", "/..", "/.", "/a/.", "/%2e%2e/", "/%2E%2e", "/.%2e/", "/a/..;/b", "/a%2fb",
        "/a%2Fb", "/a%5cb", "/a\\b", "/a%00b", "/a%0ab", "//", "//a", "/a//b", "/%", "/%g1",
        "/%c0%ae", "/%c3", "/%ff", "/a\"b", "/a<b", "/..%3b/",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: chat.test\r\n\r\n");
        check(&proxy, &upstream, request.as_bytes(), 400, "path_ambiguous");
    }
}

#[test]
fn what_follows_a_refused_request_is_never_read_as_one() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: chat.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: chat.test\r\n\r\n",
    );
    assert_eq!(client.read_response().unwrap().status, 400);
    assert!(client.is_closed());
    assert_eq!(upstream.received(), "");
}

#[test]
fn what_follows_a_malformed_trailer_section_is_never_read_as_a_request() {
    let upstream = Upstream::start(|mut conversation| {
        conversation.read_to_end();
    });
    let proxy = Proxy::before(upstream.address);
    for (host, status) in [("chat.test", 400), ("nobody.test", 404)] {
        for trailers in [
            "GET /smuggled HTTP/1.1\r\nHost: chat.test\r\n\r\n",
            "X\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: chat.test\r\n\r\n",
            "X: y\n\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: chat.test\r\n\r\n",
        ] {
            let mut client = proxy.client();
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailers}"
            ));
            assert_eq!(client.read_response().unwrap().status, status, "{host} {trailers:?}");
            assert!(client.is_closed(), "{host} {trailers:?}");
        }
    }
    assert_eq!(upstream.received(), "");
}

#[test]
fn what_follows_a_connect_is_never_read_as_a_request() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    client.send(
        "CONNECT chat.test:443 HTTP/1.1\r\nHost: chat.test\r\n\r\n\
         GET /tunnelled HTTP/1.1\r\nHost: chat.test\r\n\r\n",
    );
    assert_eq!(client.read_response().unwrap().status, 405);
    assert!(client.is_closed());
    assert_eq!(upstream.received(), "");
}

#[test]
fn a_canonical_path_is_what_the_upstream_receives() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    for (sent, received) in [
        ("/%61%2Db/%7e", "GET /a-b/~ HTTP/1.1\r\n"),
        ("/caf%c3%a9?a=%2f..//b", "GET /caf%C3%A9?a=%2f..//b HTTP/1.1\r\n"),
        ("http://chat.test/x", "GET /x HTTP/1.1\r\n"),
        ("/a;b?", "GET /a;b? HTTP/1.1\r\n"),
    ] {
        let mut client = proxy.client();
        client.send(format!("GET {sent} HTTP/1.1\r\nHost: chat.test\r\n\r\n"));
        assert_eq!(client.read_response().unwrap().status, 200, "{sent}");
        assert!(upstream.received().contains(received), "{sent}: {}", upstream.received());
    }
}
