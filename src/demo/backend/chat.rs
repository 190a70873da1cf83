//! The three ways to talk to the bot: one POST, server-sent events, a WebSocket.
//!
//! A message is whose [`Caller`] says, over each of them alike: what it says about its sender itself
//! is not even read. A WebSocket's messages are all its handshake's.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CACHE_CONTROL, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use super::answer::{self, Body};
use super::bot;
use super::caller::Caller;
use super::seen::{Seen, Transport};

/// The subprotocol that the page offers and the backend chooses.
pub const SUBPROTOCOL: &str = "vestibule-demo.v1";

const MESSAGE_BYTES: usize = 16 * 1024;
/// Slow enough to see, fast enough to read along.
const PACE: Duration = Duration::from_millis(40);

#[derive(Debug, Deserialize)]
struct Said {
    #[serde(default)]
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum SocketMessage {
    /// Comes back as it is.
    Echo {
        text: String,
    },
    Message(Said),
}

/// `POST /api/message`: the whole answer at once.
pub async fn message(caller: Caller, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MESSAGE_BYTES).collect().await else {
        return answer::problem(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large");
    };
    let Ok(Said { text }) = serde_json::from_slice(&body.to_bytes()) else {
        return answer::problem(StatusCode::BAD_REQUEST, "request_malformed");
    };
    let seen = Seen::new(caller, Transport::Http, &head.headers);
    let reply = bot::reply(&text, &seen);
    answer::json(StatusCode::OK, &json!({ "reply": reply, "seen": seen }))
}

/// `GET /api/stream?text=…`: one event a word, then `done`.
pub fn stream(caller: Caller, request: &Request<Incoming>) -> Response<Body> {
    let text = query_value(request.uri().query().unwrap_or_default(), "text").unwrap_or_default();
    let seen = Seen::new(caller, Transport::Sse, request.headers());
    let reply = bot::reply(&text, &seen);
    // A small buffer, so that a reader that stops reading stops the writer.
    let (pieces, body) = mpsc::channel(4);
    tokio::spawn(async move {
        for token in bot::tokens(&reply) {
            if pieces.send(event("token", &json!({ "text": token }))).await.is_err() {
                return;
            }
            tokio::time::sleep(PACE).await;
        }
        // The reader may be gone; then there is nobody to tell.
        let _ = pieces.send(event("done", &json!({ "seen": seen }))).await;
    });
    let mut response = answer::with_body(StatusCode::OK, "text/event-stream", Body::Stream(body));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `GET /ws`: switches protocols, then talks until either side closes.
pub fn socket(caller: Caller, mut request: Request<Incoming>) -> Response<Body> {
    let Ok(mut response) = create_response_with_body(&request, || Body::Whole(None)) else {
        return answer::problem(StatusCode::BAD_REQUEST, "upgrade_invalid");
    };
    if offers_subprotocol(request.headers()) {
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    let seen = Seen::new(caller, Transport::WebSocket, request.headers());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let io = TokioIo::new(upgraded);
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
            // An error is a peer that went away or broke the protocol: the end, either way.
            let _ = converse(socket, &seen).await;
        }
    });
    response
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

async fn converse(
    mut socket: Socket,
    seen: &Seen,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    while let Some(message) = socket.next().await {
        let text = match message? {
            Message::Text(text) => text,
            // A close frame too: the next read sends the answer to it, and ends.
            _ => continue,
        };
        let said = match serde_json::from_str(&text) {
            Ok(SocketMessage::Message(said)) => said,
            Ok(SocketMessage::Echo { text }) => {
                send(&mut socket, &json!({ "type": "echo", "text": text })).await?;
                continue;
            }
            Err(_) => {
                send(&mut socket, &json!({ "type": "error", "code": "request_malformed" })).await?;
                continue;
            }
        };
        for token in bot::tokens(&bot::reply(&said.text, seen)) {
            send(&mut socket, &json!({ "type": "token", "text": token })).await?;
            tokio::time::sleep(PACE).await;
        }
        send(&mut socket, &json!({ "type": "done", "seen": seen })).await?;
    }
    Ok(())
}

async fn send(
    socket: &mut Socket,
    value: &Value,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    socket.send(Message::text(value.to_string())).await
}

fn event(name: &str, data: &Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

fn offers_subprotocol(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
    offers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|name| name.trim() == SUBPROTOCOL)
}

/// The first `name` of a form-encoded query, decoded.
fn query_value(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| decode(value))
}

fn decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let escaped = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        rest = match (first, escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                &after[2..]
            }
            (b'+', _) => {
                bytes.push(b' ');
                after
            }
            (other, _) => {
                bytes.push(*other);
                after
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_decoded_as_forms_are() {
        let query = "text=who+am%20I%3F&empty=&flag&bad=%zz%4&last=%D9%85";
        let check = |name, expected: Option<&str>| {
            assert_eq!(query_value(query, name).as_deref(), expected);
        };
        check("text", Some("who am I?"));
        check("empty", Some(""));
        check("flag", Some(""));
        check("bad", Some("%zz%4"));
        check("last", Some("م"));
        check("absent", None);
    }
}
