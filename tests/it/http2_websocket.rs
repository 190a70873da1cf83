//! WebSocket over HTTP/2 (RFC 8441): a stream on one side, an HTTP/1.1 upgrade on the other.

use std::sync::{Mutex, mpsc};

use bytes::Bytes;
use h2::Reason;

use crate::harness::PATIENCE;
use crate::harness::h2::{Client, answer, blocking, finish, read, read_exactly, soon, write};
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;

#[test]
fn bytes_pass_exactly_and_half_close_is_heard() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, mut send) = client.open_websocket("/ws?x=1").await;
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        let fields = response.headers();
        assert_eq!(fields["sec-websocket-protocol"], "b");
        assert_eq!(fields["sec-websocket-extensions"], "permessage-deflate");
        for name in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!fields.contains_key(name), "{fields:?}");
        }
        let mut body = response.into_body();
        assert_eq!(read_exactly(&mut body, 5).await, b"first", "sent with the 101");
        for size in [1, 125, 126, 65_535, 65_536, 1_000_000] {
            let message: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
            for piece in message.chunks(50_000) {
                write(&mut send, Bytes::copy_from_slice(piece)).await;
                assert!(read_exactly(&mut body, piece.len()).await == piece, "{size}");
            }
        }
        finish(&mut send);
        let (rest, error) = read(&mut body).await;
        assert_eq!((&rest[..], error.map(|error| error.reason())), (&b"bye"[..], None));
    });
    let received = upstream.received();
    assert!(received.starts_with("GET /ws?x=1 HTTP/1.1\r\nHost: chat.test\r\n"), "{received:.600}");
    for line in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "sec-websocket-version: 13\r\n",
        "sec-websocket-protocol: a, b\r\n",
        "sec-websocket-extensions: permessage-deflate\r\n",
    ] {
        assert!(received.contains(line), "{line}: {received:.600}");
    }
}

#[test]
fn a_refused_handshake_is_an_ordinary_answer() {
    let upstream = Upstream::answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let mut client = Client::connect(&proxy).await;
        for _ in 0..2 {
            let (response, _send) = client.open_websocket("/ws").await;
            let answer = answer(response).await;
            assert_eq!((answer.status.as_u16(), &*answer.text()), (403, "no"));
        }
    });
}

#[test]
fn a_handshake_that_the_upstream_does_not_accept_properly_is_a_502() {
    for answered in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ] {
        let upstream = Upstream::answering(answered.as_bytes());
        let proxy = Proxy::before(upstream.address);
        soon(async {
            let mut client = Client::connect(&proxy).await;
            let (response, _send) = client.open_websocket("/ws").await;
            let answer = answer(response).await;
            assert_eq!((answer.status.as_u16(), &*answer.code()), (502, "upstream_invalid"));
        });
    }
}

#[test]
fn a_close_by_the_upstream_ends_the_stream() {
    let upstream = Upstream::start(|mut conversation| {
        conversation.accept_websocket(b"last words");
        conversation.shutdown_write();
        conversation.read_to_end();
    });
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, mut send) = client.open_websocket("/ws").await;
        let (data, error) = read(&mut response.await.unwrap().into_body()).await;
        assert_eq!((&data[..], error.is_none()), (&b"last words"[..], true));
        // The other direction is still open.
        write(&mut send, Bytes::from("answer")).await;
        finish(&mut send);
        let waiting = upstream.clone();
        blocking(move || waiting.wait_for(|received| received.ends_with("answer"))).await;
    });
}

#[test]
fn a_reset_by_the_upstream_resets_the_stream() {
    let upstream = Upstream::start(|mut conversation| {
        conversation.accept_websocket(b"");
        conversation.read_exactly(2);
        conversation.reset();
    });
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, mut send) = client.open_websocket("/ws").await;
        let mut body = response.await.unwrap().into_body();
        write(&mut send, Bytes::from("go")).await;
        let (_, error) = read(&mut body).await;
        assert_eq!(error.unwrap().reason(), Some(Reason::CANCEL));
        assert!(client.is_open().await);
    });
}

#[test]
fn the_upstream_hears_of_a_reset_by_the_client_and_of_a_lost_connection() {
    for lose_connection in [false, true] {
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let upstream = Upstream::start(move |mut conversation| {
            conversation.accept_websocket(b"first");
            conversation.read_to_end();
            tell.lock().unwrap().send(()).unwrap();
        });
        let proxy = Proxy::before(upstream.address);
        soon(async {
            let mut client = Client::connect(&proxy).await;
            let (response, mut send) = client.open_websocket("/ws").await;
            let mut body = response.await.unwrap().into_body();
            read_exactly(&mut body, 5).await;
            if lose_connection {
                client.connection.abort();
            } else {
                send.send_reset(Reason::CANCEL);
            }
            blocking(move || told.recv_timeout(PATIENCE)).await.unwrap();
        });
    }
}

#[test]
fn a_slow_reader_stops_its_sender_and_loses_nothing() {
    const SIZE: usize = 8 * 1024 * 1024;
    let upstream = Upstream::start(|mut conversation| {
        conversation.accept_websocket(b"first");
        conversation.write(&vec![b'z'; SIZE]);
    });
    let proxy = Proxy::before(upstream.address);
    soon(async {
        let mut client = Client::connect(&proxy).await;
        let (response, mut send) = client.open_websocket("/ws").await;
        let mut body = response.await.unwrap().into_body();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert_eq!(read_exactly(&mut body, SIZE + 5).await.len(), SIZE + 5);
        finish(&mut send);
        assert!(read(&mut body).await.1.is_none());
    });
}
