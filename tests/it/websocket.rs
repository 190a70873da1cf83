//! WebSocket over HTTP/1.1: bytes pass exactly, only after a valid handshake.

use crate::harness::PATIENCE;
use crate::harness::client::Client;
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn handshake() -> String {
    format!(
        "GET /ws?x=1 HTTP/1.1\r\nHost: chat.test\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
}

fn open(client: &mut Client) {
    let switched = client.send(handshake()).read_head().unwrap();
    assert_eq!(switched.status, 101, "{switched:?}");
    assert_eq!(switched.field("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(switched.field("sec-websocket-protocol"), Some("b"));
    assert_eq!(switched.field("sec-websocket-extensions"), Some("permessage-deflate"));
    assert_eq!(client.read_exactly(5), b"first", "sent with the 101");
}

#[test]
fn bytes_pass_exactly_and_half_close_is_heard() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    open(&mut client);
    for size in [1, 125, 126, 65_535, 65_536, 1_000_000] {
        let message: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        for piece in message.chunks(50_000) {
            client.send(piece);
            assert!(client.read_exactly(piece.len()) == piece, "{size}");
        }
    }
    client.shutdown_write();
    assert_eq!(client.read_to_end(), b"bye");
    let received = upstream.received();
    assert!(received.contains("Connection: Upgrade\r\nUpgrade: websocket\r\n"), "{received:.600}");
    assert!(received.contains("Sec-WebSocket-Protocol: a, b\r\n"));
    assert!(received.starts_with("GET /ws?x=1 HTTP/1.1\r\n"));
}

#[test]
fn it_works_through_tls_and_frames_sent_early_are_kept() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.tls();
    client.send([handshake().as_bytes(), b"early"].concat());
    assert_eq!(client.read_head().unwrap().status, 101);
    assert_eq!(client.read_exactly(10), b"firstearly");
    assert_eq!(client.send("more").read_exactly(4), b"more");
}

#[test]
fn a_slow_reader_stops_its_sender_and_loses_nothing() {
    const SIZE: usize = 30 * 1024 * 1024;
    let upstream = Upstream::start(|mut conversation| {
        conversation.accept_websocket(b"first");
        conversation.write(&vec![b'z'; SIZE]);
    });
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.tls();
    open(&mut client);
    std::thread::sleep(std::time::Duration::from_millis(200));
    let all = client.read_to_end();
    assert_eq!(all.len(), SIZE);
}

#[test]
fn a_handshake_that_the_upstream_does_not_accept_properly_is_a_502() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n".to_owned(),
        format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"),
        format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"),
        format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"),
    ] {
        let answer: &'static [u8] = answer.into_bytes().leak();
        let upstream = Upstream::answering(answer);
        let proxy = Proxy::before(upstream.address);
        let response = proxy.client().send(handshake()).read_response().unwrap();
        assert_eq!(response.code(), "upstream_invalid", "{}", String::from_utf8_lossy(answer));
    }
}

#[test]
fn a_refused_handshake_is_an_ordinary_answer() {
    let upstream = Upstream::answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    for _ in 0..2 {
        let response = client.send(handshake()).read_response().unwrap();
        assert_eq!((response.status, response.text().as_str()), (403, "no"));
    }
}

#[test]
fn other_upgrades_are_not_passed() {
    let upstream = Upstream::ok();
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: chat.test\r\nConnection: Upgrade, HTTP2-Settings\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!(client.read_response().unwrap().status, 200);
    let received = upstream.received().to_ascii_lowercase();
    assert!(!received.contains("upgrade") && !received.contains("http2-settings"), "{received}");
}

#[test]
fn the_upstream_hears_when_the_client_vanishes() {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let upstream = Upstream::start(move |mut conversation| {
        conversation.accept_websocket(b"first");
        conversation.read_to_end();
        tell.lock().unwrap().send(()).unwrap();
    });
    let proxy = Proxy::before(upstream.address);
    let mut client = proxy.client();
    open(&mut client);
    client.reset();
    told.recv_timeout(PATIENCE).unwrap();
}
