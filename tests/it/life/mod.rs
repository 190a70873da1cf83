//! Change without loss: what reloads, drains and stops do to what is open.

mod admin;
mod commands;
mod drain;
mod reload;
mod steady;
mod stop;

use std::net::SocketAddr;

use crate::harness::client::{Client, Response};
use crate::harness::proxy::{Builder, Proxy};
use crate::harness::upstream::{Conversation, Upstream};
use vestibule::state::streams::Counts;

const NOTHING: Counts = Counts { requests: 0, events: 0, websockets: 0 };

/// Echoes WebSockets; begins event streams and downloads that go on until the other side ends;
/// answers everything else.
fn app() -> Upstream {
    Upstream::start(|mut conversation| {
        while let Some(request) = conversation.read_request() {
            match request.split(' ').nth(1).unwrap_or_default() {
                _ if request.contains("Upgrade: websocket\r\n") => {
                    conversation.switch(&request, "", b"");
                    return echo(&mut conversation);
                }
                "/events" => return begin(&mut conversation, "text/event-stream"),
                "/download" => return begin(&mut conversation, "application/octet-stream"),
                _ => conversation.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            }
        }
    })
}

fn echo(conversation: &mut Conversation) {
    let mut buffer = [0; 4096];
    loop {
        match conversation.read(&mut buffer) {
            0 => return,
            count => conversation.write(&buffer[..count]),
        }
    }
}

fn begin(conversation: &mut Conversation, media_type: &str) {
    conversation.write(
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nTransfer-Encoding: chunked\r\n\r\n\
             9\r\ndata: 1\n\n\r\n"
        )
        .as_bytes(),
    );
    conversation.read_to_end();
}

fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn handshake(host: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// A WebSocket that has echoed.
fn websocket(proxy: &Proxy, host: &str) -> Client {
    let mut client = proxy.client();
    client.send(handshake(host));
    assert_eq!(client.read_head().unwrap().status, 101);
    echoes(&mut client);
    client
}

const FRAME: &[u8] = b"\x82\x82\0\0\0\0hi";

/// A frame goes out and comes back, as it is.
fn echoes(client: &mut Client) {
    client.send(FRAME);
    assert_eq!(client.read_exactly(FRAME.len()), FRAME);
}

/// Reads a Close frame: code and reason. Answers it, and sees the connection end.
fn closes(client: &mut Client) -> (u16, String) {
    let head = client.read_exactly(2);
    assert_eq!(head[0], 0x88, "a Close frame: {head:?}");
    let payload = client.read_exactly(usize::from(head[1]));
    client.try_send([0x88, 0x80, 0, 0, 0, 0]);
    assert!(client.is_closed());
    (u16::from_be_bytes([payload[0], payload[1]]), String::from_utf8(payload[2..].into()).unwrap())
}

/// A response that has begun to stream, as a client that has read its first event.
fn stream(proxy: &Proxy, host: &str, path: &str) -> Client {
    let mut client = proxy.client();
    let head = client.send(get(host, path)).read_head().unwrap();
    assert_eq!((head.status, head.field("transfer-encoding")), (200, Some("chunked")));
    assert_eq!(client.read_line(), "9");
    assert_eq!(client.read_exactly(11), b"data: 1\n\n\r\n");
    client
}

/// An event stream's end, such that its client sees a whole answer.
fn ends_whole(client: &mut Client) {
    assert_eq!(client.read_exactly(5), b"0\r\n\r\n");
}

/// An answer's end, such that its client sees that it is not whole.
fn breaks_off(client: &mut Client) {
    assert_eq!(client.read_to_end(), b"");
}

/// Two personas, `a.test` and `b.test`, of one tenant: `persona-0` and `persona-1`.
fn two(upstream: SocketAddr) -> Builder {
    Builder::default().persona("a.test", "/", &[upstream]).persona("b.test", "/", &[upstream])
}

/// One request to the admin listener.
fn ask(proxy: &Proxy, method: &str, path: &str, lines: &str, body: &str) -> Response {
    let length = body.len();
    Client::plain(proxy.app.admin().unwrap())
        .send(format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{lines}\r\n\
             {body}"
        ))
        .read_response()
        .unwrap()
}

fn json(response: &Response) -> serde_json::Value {
    assert_eq!(response.field("content-type"), Some("application/json"), "{response:?}");
    serde_json::from_slice(&response.body).unwrap()
}
