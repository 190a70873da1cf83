//! What an unfriendly peer must not be able to do: stop a worker, keep memory, cut a stream.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::harness::h2;
use crate::harness::proxy::{Builder, Proxy};
use crate::harness::upstream::Upstream;

const GET: &str = "GET / HTTP/1.1\r\nHost: chat.test\r\n\r\n";

#[test]
fn trailers_without_end_stop_their_own_connection_only() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    let mut hostile = proxy.client();
    hostile.send("POST / HTTP/1.1\r\nHost: chat.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
    hostile.try_send("X: y\r\n".repeat(20_000));
    // The only worker still answers.
    assert_eq!(proxy.client().send(GET).read_response().unwrap().status, 200);
    assert_eq!(hostile.read_response().map(|response| response.status), Some(400));
}

#[test]
fn trailers_without_end_from_an_upstream_stop_their_own_answer_only() {
    let trailers: &'static [u8] = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n".to_vec(),
        b"X: y\r\n".repeat(20_000),
    ]
    .concat()
    .leak();
    let hostile = Upstream::answering(trailers);
    let sound = Upstream::ok();
    let proxy = Builder::default()
        .persona("chat.test", "/", &[sound.address])
        .persona("a.wild.test", "/", &[hostile.address])
        .start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a.wild.test\r\n\r\n");
    assert_eq!(client.read_head().unwrap().status, 200);
    let rest = client.read_to_end();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "the answer was passed as whole");
    assert_eq!(proxy.client().send(GET).read_response().unwrap().status, 200);
}

#[test]
fn a_websocket_over_http2_outlives_every_idle_timeout() {
    let upstream = Upstream::echoing();
    let proxy = Builder::default()
        .persona("chat.test", "/", &[upstream.address])
        .with(|builder| {
            builder.limits.idle_timeout = Duration::from_millis(200);
            builder.limits.body_timeout = Duration::from_millis(200);
        })
        .start();
    h2::soon(async {
        let mut client = h2::Client::connect(&proxy).await;
        let (response, mut send) = client.open_websocket("/ws").await;
        let mut body = response.await.unwrap().into_body();
        assert_eq!(h2::read_exactly(&mut body, 5).await, b"first");
        tokio::time::sleep(Duration::from_millis(1500)).await;
        h2::write(&mut send, Bytes::from_static(b"still here")).await;
        assert_eq!(h2::read_exactly(&mut body, 10).await, b"still here");
    });
}

#[test]
fn a_line_after_a_body_begins_no_request() {
    let upstream = Upstream::ok();
    let proxy = Builder::default()
        .persona("chat.test", "/", &[upstream.address])
        .with(|builder| builder.limits.header_timeout = Duration::from_millis(200))
        .start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: chat.test\r\nContent-Length: 3\r\n\r\nabc\r\n");
    assert_eq!(client.read_response().unwrap().status, 200);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(client.send(GET).read_response().unwrap().status, 200);
}

#[test]
fn an_answer_during_a_drain_ends_its_connection_in_words() {
    let (upstream, go) = Upstream::ok_when_told();
    let proxy = Proxy::before(upstream.address);
    let address = proxy.http();
    let mut client = proxy.client();
    client.send(GET);
    upstream.wait_for(|received| received.contains("GET"));
    let Proxy { app, .. } = proxy;
    let drain = std::thread::spawn(move || app.drain());
    let until = Instant::now() + crate::harness::PATIENCE;
    while std::net::TcpStream::connect(address).is_ok() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    go.send(()).unwrap();
    let response = client.read_response().unwrap();
    assert_eq!((response.status, response.field("connection")), (200, Some("close")));
    drop(client);
    drain.join().unwrap();
}

#[test]
fn nominations_are_bounded() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    let many = ["a"; 17].join(", ");
    let request = format!("GET / HTTP/1.1\r\nHost: chat.test\r\nConnection: {many}\r\n\r\n");
    assert_eq!(proxy.client().send(request).read_response().unwrap().code(), "request_malformed");
    assert_eq!(upstream.received(), "");
}
