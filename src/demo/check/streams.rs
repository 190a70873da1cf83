//! Streams through the door: words that arrive as they are written, sockets that stay open.

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{HeaderName, SEC_WEBSOCKET_PROTOCOL};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::client::{Alpn, Client, parse};
use super::frame::Frame;
use super::identity::FORGED;
use super::told::{self, Expected, is};
use super::{Outcome, Report, expect};
use crate::demo::backend::SUBPROTOCOL;
use crate::demo::persona::Persona;

const PATIENCE: Duration = Duration::from_secs(3);
/// Between the first and the last word of eight the app takes about 280 ms.
const SPREAD: Duration = Duration::from_millis(120);
const QUIET: Duration = Duration::from_millis(1200);

pub async fn check(client: &Client, report: &mut Report) {
    report.line(
        "server-sent events arrive one by one, while the app still writes",
        in_time(events(client)).await,
    );
    let (frame, launched) = Frame::of(client, Persona::Employee, "2041").await;
    if let Err(seen) = launched {
        report.line("an employee's chat opens", Err(seen));
    }
    let (socket, outcome) = match in_time(open(&frame, &[])).await {
        Ok(socket) => (Some(socket), Ok(())),
        Err(seen) => (None, Err(seen)),
    };
    report.line("a WebSocket opens with 101 and the subprotocol that the app chose", outcome);
    // Without a socket, the line above has told all there is to tell.
    let Some(mut socket) = socket else { return };
    report.line("a WebSocket echo comes back as sent", in_time(echo(&mut socket, "a")).await);
    report.line(
        "the app sees persona, user id and request id of the WebSocket",
        in_time(talk(client, &mut socket)).await,
    );
    tokio::time::sleep(QUIET).await;
    report.line(
        format!("the WebSocket is still open after {} quiet milliseconds", QUIET.as_millis()),
        in_time(echo(&mut socket, "still there?")).await,
    );
    report.line("a WebSocket closes with a close frame", in_time(close(&mut socket)).await);
}

type Socket = WebSocketStream<TlsStream<TcpStream>>;

async fn in_time<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err("nothing more came in time".into()))
}

async fn events(client: &Client) -> Outcome {
    let (frame, launched) = Frame::of(client, Persona::Customer, "12345").await;
    launched?;
    let host = Persona::Customer.host();
    let mut stream = client.connect(host, Alpn::Http1).await.map_err(|e| e.to_string())?;
    let lines = format!("Accept: text/event-stream\r\n{}", frame.cookie());
    let head = client.head("GET", host, "/api/stream?text=count", &lines);
    stream.write_all(format!("{head}\r\n").as_bytes()).await.map_err(|e| e.to_string())?;
    let (mut bytes, mut words, mut first, mut arrivals) = (Vec::new(), 0, None, 0);
    loop {
        let count = stream.read_buf(&mut bytes).await.map_err(|e| e.to_string())?;
        let Some((answer, _)) = parse(&bytes)? else {
            expect(count > 0, || "closed before an answer".into())?;
            continue;
        };
        let answer = answer.with_status(200)?;
        let text = answer.text();
        let now_there = text.matches("event: token").count();
        if now_there > words {
            words = now_there;
            arrivals += 1;
            first.get_or_insert_with(Instant::now);
        }
        if text.contains("event: done") {
            break;
        }
        expect(count > 0, || format!("the stream ended after {words} words"))?;
    }
    let spread = first.map_or(Duration::ZERO, |first| first.elapsed());
    expect(spread >= SPREAD && arrivals >= 3, || {
        format!("{words} words came in {arrivals} pieces within {} ms", spread.as_millis())
    })
}

/// A WebSocket as the page opens it, with further fields as no page could send them.
async fn open(frame: &Frame<'_>, forged: &[(&str, &str)]) -> Result<Socket, String> {
    let (client, host) = (frame.client, frame.persona.host());
    let stream = client.connect(host, Alpn::Http1).await.map_err(|e| e.to_string())?;
    let url = format!("wss://{}/ws", client.authority(host));
    let mut request = url.into_client_request().map_err(|error| error.to_string())?;
    let offer = format!("other.v1, {SUBPROTOCOL}");
    let offer = offer.parse().expect("two tokens are a header value");
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offer);
    let mut add = |name: &str, value: &str| -> Outcome {
        let name: HeaderName = name.parse().map_err(|_| format!("{name} is no header name"))?;
        let value = value.parse().map_err(|_| "no header value".to_owned())?;
        request.headers_mut().append(name, value);
        Ok(())
    };
    add("origin", &frame.origin())?;
    if let Ok((name, value)) = frame.session() {
        add("cookie", &format!("{name}={value}"))?;
    }
    for (name, value) in forged {
        add(name, value)?;
    }
    let (socket, answer) = tokio_tungstenite::client_async(request, stream)
        .await
        .map_err(|error| error.to_string())?;
    expect(answer.status() == 101, || format!("status {}", answer.status()))?;
    let chosen = answer.headers().get(SEC_WEBSOCKET_PROTOCOL);
    expect(chosen.is_some_and(|name| name == SUBPROTOCOL), || format!("subprotocol {chosen:?}"))?;
    Ok(socket)
}

async fn echo(socket: &mut Socket, text: &str) -> Outcome {
    send(socket, &json!({ "type": "echo", "text": text })).await?;
    let back = receive(socket).await?;
    expect(back["type"] == "echo" && back["text"] == text, || back.to_string())
}

async fn talk(client: &Client, socket: &mut Socket) -> Outcome {
    let (words, seen) = say(socket, "count").await?;
    is(&seen["caller"], "persona", "employee")?;
    is(&seen["caller"], "user_id", "2041")?;
    is(&seen, "transport", "WebSocket")?;
    is(&seen, "forwarded_proto", "https")?;
    is(&seen, "forwarded_for", "127.0.0.1")?;
    is(&seen, "host", &client.authority(Persona::Employee.host()))?;
    expect(seen["request_id"].is_string(), || "no X-Request-Id".into())?;
    expect(words == 8, || format!("{words} words of 8"))
}

/// How many words came back, and what the app saw of the handshake.
async fn say(socket: &mut Socket, text: &str) -> Result<(usize, Value), String> {
    // Whoever it says it is from is nobody.
    send(socket, &json!({ "type": "message", "text": text, "user_id": 1 })).await?;
    let mut words = 0;
    loop {
        let told = receive(socket).await?;
        if told["type"] != "token" {
            return Ok((words, told["seen"].clone()));
        }
        words += 1;
    }
}

/// What the app sees of a WebSocket whose handshake had these fields.
pub async fn seen(frame: &Frame<'_>, forged: &[(&str, &str)]) -> Result<Value, String> {
    let talk = async {
        let mut socket = open(frame, forged).await?;
        let (_, seen) = say(&mut socket, "thanks").await?;
        close(&mut socket).await?;
        Ok(seen)
    };
    in_time(talk).await
}

pub async fn forged(frame: &Frame<'_>) -> Outcome {
    let seen = seen(frame, &FORGED).await?;
    let persona = frame.persona;
    let expected = Expected { persona, user_id: "12345", assurance: "asserted" };
    told::identity(&seen["identity"], &expected).map(drop)
}

async fn close(socket: &mut Socket) -> Outcome {
    socket.close(None).await.map_err(|error| error.to_string())?;
    match socket.next().await {
        Some(Ok(Message::Close(_))) | None => Ok(()),
        Some(Ok(other)) => Err(format!("{other:?}")),
        Some(Err(error)) => Err(error.to_string()),
    }
}

async fn send(socket: &mut Socket, value: &Value) -> Outcome {
    socket.send(Message::text(value.to_string())).await.map_err(|error| error.to_string())
}

async fn receive(socket: &mut Socket) -> Result<Value, String> {
    match socket.next().await {
        Some(Ok(Message::Text(text))) => {
            serde_json::from_str(&text).map_err(|_| format!("not JSON: {text}"))
        }
        Some(Ok(other)) => Err(format!("{other:?}")),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the socket closed".into()),
    }
}
