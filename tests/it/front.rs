//! TLS names, routes, addresses: what stands before an exchange.

use std::time::Duration;

use crate::harness::client::Client;
use crate::harness::proxy::{Builder, Proxy};
use crate::harness::upstream::Upstream;
use vestibule::config::snapshot::HttpMode;

fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn only_names_that_a_certificate_covers_get_a_handshake() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    let ca = proxy.ca.pem();
    for (name, works) in [
        ("chat.test", true),
        ("a.wild.test", true),
        ("wild.test", false),
        ("a.b.wild.test", false),
        ("other.test", false),
    ] {
        assert_eq!(Client::tls(proxy.https(), ca, name, &[]).is_some(), works, "{name}");
    }
}

#[test]
fn a_host_of_another_certificate_is_misdirected() {
    let upstream = Upstream::ok();
    let to = &[upstream.address];
    let proxy = Builder::default()
        .persona("chat.test", "/", to)
        .persona("a.wild.test", "/", to)
        .persona("other.test", "/", to)
        .certificate(&["other.test"])
        .start();
    let mut client = proxy.tls();
    assert_eq!(client.send(get("chat.test", "/")).read_response().unwrap().status, 200);
    // The same certificate covers both.
    assert_eq!(client.send(get("A.wild.test", "/")).read_response().unwrap().status, 200);
    let refused = client.send(get("other.test", "/")).read_response().unwrap();
    assert_eq!(refused.code(), "misdirected_request");
    assert_eq!(client.send(get("nobody.test", "/")).read_response().unwrap().status, 404);
}

#[test]
fn prefixes_are_stripped_and_documents_get_their_slash() {
    let upstream = Upstream::ok();
    let proxy = Builder::default()
        .persona("chat.test", "/chat/acme/sales", &[upstream.address])
        .device("lobby")
        .start();
    let mut client = proxy.client();
    for (path, location) in [
        ("/chat/acme/sales", "/chat/acme/sales/"),
        ("/chat/acme/sales?a=%2f&b", "/chat/acme/sales/?a=%2f&b"),
        ("/chat/acme/sales/lobby", "/chat/acme/sales/lobby/"),
    ] {
        let response = client.send(get("chat.test", path)).read_response().unwrap();
        assert_eq!((response.status, response.field("location")), (308, Some(location)), "{path}");
    }
    for (path, seen) in [
        ("/chat/acme/sales/", "GET / HTTP"),
        ("/chat/acme/sales/a/b?c", "GET /a/b?c HTTP"),
        ("/chat/acme/sales/lobby/x", "GET /x HTTP"),
        ("/chat/acme/sales/lobbyist", "GET /lobbyist HTTP"),
    ] {
        assert_eq!(client.send(get("chat.test", path)).read_response().unwrap().status, 200);
        assert!(upstream.received().contains(seen), "{path}: {}", upstream.received());
    }
    for path in ["/", "/chat/acme", "/chat/acme/salesman/x"] {
        assert_eq!(client.send(get("chat.test", path)).read_response().unwrap().status, 404);
    }
    assert_eq!(proxy.log(10)[5]["device"], "lobby");
}

#[test]
fn the_plain_listener_redirects_known_hosts() {
    let upstream = Upstream::ok();
    let proxy = Builder::default()
        .persona("chat.test", "/", &[upstream.address])
        .with(|builder| builder.http_mode = HttpMode::Redirect)
        .start();
    let mut client = proxy.client();
    let response = client.send(get("Chat.test:80", "/a?b=c")).read_response().unwrap();
    assert_eq!(response.status, 308);
    assert_eq!(response.field("location"), Some("https://chat.test/a?b=c"));
    assert_eq!(client.send(get("evil.test", "/")).read_response().unwrap().status, 404);
    assert_eq!(upstream.received(), "");
}

#[test]
fn a_proxy_header_is_believed_from_trusted_peers_only() {
    let upstream = Upstream::ok();
    let start = |trusted: &[&'static str]| {
        Builder::default()
            .persona("chat.test", "/", &[upstream.address])
            .with(|builder| {
                builder.trusted_proxies = trusted.to_vec();
                builder.proxy_protocol = true;
            })
            .start()
    };
    let proxy = start(&["127.0.0.0/8"]);
    let mut client = proxy.client();
    client.send("PROXY TCP4 192.0.2.9 10.0.0.1 1 443\r\n");
    assert_eq!(client.send(get("chat.test", "/")).read_response().unwrap().status, 200);
    assert!(upstream.received().contains("X-Forwarded-For: 192.0.2.9\r\n"));
    // A trusted peer that sends none is not what it should be.
    assert!(proxy.client().send(get("chat.test", "/")).is_closed());
    // A stranger's header is not HTTP.
    let proxy = start(&["10.0.0.0/8"]);
    let mut client = proxy.client();
    client.send("PROXY TCP4 192.0.2.10 10.0.0.1 1 443\r\n").send(get("chat.test", "/"));
    assert_eq!(client.read_response().unwrap().status, 505);
    assert!(!upstream.received().contains("192.0.2.10"));
    assert_eq!(proxy.client().send(get("chat.test", "/")).read_response().unwrap().status, 200);
}

#[test]
fn connections_over_the_limit_wait_for_their_turn() {
    let upstream = Upstream::ok();
    let proxy = Builder::default()
        .persona("chat.test", "/", &[upstream.address])
        .with(|builder| builder.limits.connections = 2)
        .start();
    let (mut one, mut two, mut three) = (proxy.client(), proxy.client(), proxy.client());
    assert_eq!(one.send(get("chat.test", "/")).read_response().unwrap().status, 200);
    assert_eq!(two.send(get("chat.test", "/")).read_response().unwrap().status, 200);
    three.send(get("chat.test", "/3"));
    std::thread::sleep(Duration::from_millis(100));
    assert!(!upstream.received().contains("/3"));
    drop(one);
    assert_eq!(three.read_response().unwrap().status, 200);
}

#[test]
fn a_drain_lets_the_answer_under_way_end() {
    let (upstream, go) = Upstream::ok_when_told();
    let proxy = Proxy::before(upstream.address);
    let address = proxy.http();
    let mut client = proxy.client();
    client.send(get("chat.test", "/"));
    upstream.wait_for(|received| received.contains("GET"));
    let Proxy { app, .. } = proxy;
    let drain = std::thread::spawn(move || app.drain());
    while std::net::TcpStream::connect(address).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
    go.send(()).unwrap();
    assert_eq!(client.read_response().unwrap().text(), "ok");
    drain.join().unwrap();
}
