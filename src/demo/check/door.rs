//! What the front door promises about any request: names, headers, protocols, refusals.

use bytes::Bytes;
use serde_json::Value;

use super::client::{Alpn, Client, Refusal};
use super::frame::Frame;
use super::{Outcome, Report, expect};
use crate::demo::persona::{APP_HOST, Persona};

const CUSTOMER: &str = "chat-customer.localhost";

pub async fn check(client: &Client, report: &mut Report) {
    let (frame, launched) = Frame::of(client, Persona::Customer, "12345").await;
    if let Err(seen) = launched {
        report.line("a customer's chat opens", Err(seen));
    }
    let frame = &frame;
    report.line("the app is told protocol, host, address and request id", headers(frame).await);
    report.line(
        "a forged X-Forwarded-For, X-Forwarded-Host or X-Request-Id does not reach the app",
        forged(frame).await,
    );
    report.line("each request has an id of its own", request_ids(frame).await);
    report.line("HTTP/2 is agreed on by ALPN and carries a request", http2(frame).await);
    report.line(
        "a handshake for an unknown host is refused, no certificate shown",
        unknown_name(client).await,
    );
    report.line(
        "a host asked for over another certificate's connection gets 421",
        misdirected(client).await,
    );
    report.line("Content-Length beside Transfer-Encoding gets 400", both_lengths(frame).await);
    report.line("two Hosts get 400", two_hosts(client).await);
    for path in ["/%2e%2e/x", "/a//b", "/a%2fb", "/%00"] {
        let answer = client.get(CUSTOMER, path, "").await;
        let outcome = answer.and_then(|answer| answer.with_status(400)).map(drop);
        report.line(format!("the ambiguous path {path} gets 400"), outcome);
    }
}

/// What the app received of `GET /api/whoami`.
struct Received(Value);

impl Received {
    async fn by(frame: &Frame<'_>, lines: &str) -> Result<Self, String> {
        let answer = frame.get("/api/whoami", lines).await?;
        Ok(Self(answer.with_status(200)?.json()?))
    }

    /// All values of `name`.
    fn all(&self, name: &str) -> Vec<&str> {
        let headers = self.0["headers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named = headers.iter().filter(|pair| pair[0] == name);
        named.filter_map(|pair| pair[1].as_str()).collect()
    }

    /// The value of a header that must be there exactly once.
    fn one(&self, name: &str) -> Result<&str, String> {
        match self.all(name)[..] {
            [value] => Ok(value),
            ref values => Err(format!("{name} arrived {} times", values.len())),
        }
    }

    fn is(&self, name: &str, expected: &[&str]) -> Outcome {
        let value = self.one(name)?;
        expect(expected.contains(&value), || format!("{name}: {value}"))
    }
}

async fn headers(frame: &Frame<'_>) -> Outcome {
    let client = frame.client;
    let received = Received::by(frame, "").await?;
    let authority = client.authority(CUSTOMER);
    received.is("host", &[&authority])?;
    received.is("x-forwarded-proto", &["https"])?;
    received.is("x-forwarded-host", &[&authority, CUSTOMER])?;
    received.is("x-forwarded-for", &["127.0.0.1"])?;
    let id = received.one("x-request-id")?;
    expect(id.len() >= 16, || format!("the short request id {id}"))
}

async fn forged(frame: &Frame<'_>) -> Outcome {
    let client = frame.client;
    let lines = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Host: evil.example\r\n\
                 X-Forwarded-Proto: http\r\nX-Request-Id: forged-forged-forged\r\n";
    let received = Received::by(frame, lines).await?;
    received.is("x-forwarded-for", &["127.0.0.1"])?;
    received.is("x-forwarded-host", &[&client.authority(CUSTOMER), CUSTOMER])?;
    received.is("x-forwarded-proto", &["https"])?;
    let id = received.one("x-request-id")?;
    expect(!id.contains("forged"), || format!("X-Request-Id: {id}"))
}

async fn request_ids(frame: &Frame<'_>) -> Outcome {
    let first = Received::by(frame, "").await?;
    let second = Received::by(frame, "").await?;
    let (first, second) = (first.one("x-request-id")?, second.one("x-request-id")?);
    expect(first != second, || format!("{first} twice"))
}

async fn http2(frame: &Frame<'_>) -> Outcome {
    let client = frame.client;
    let stream = client.connect(CUSTOMER, Alpn::Http2).await.map_err(|e| e.to_string())?;
    let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    expect(agreed.as_deref() == Some(b"h2"), || "ALPN did not agree on h2".into())?;
    let exchange = async {
        let (sender, connection) = h2::client::handshake(stream).await?;
        // Ends when the connection does, and that with this function.
        tokio::spawn(connection);
        let mut request = http::Request::get(client.origin(CUSTOMER) + "/api/whoami");
        if let Ok((name, value)) = frame.session() {
            request = request.header("cookie", format!("{name}={value}"));
        }
        let request = request.body(()).expect("a URI of a known host and a port, and a token");
        let (response, _) = sender.ready().await?.send_request(request, true)?;
        let (head, mut body) = response.await?.into_parts();
        let mut bytes = Vec::new();
        while let Some(piece) = body.data().await {
            let piece: Bytes = piece?;
            bytes.extend_from_slice(&piece);
            body.flow_control().release_capacity(piece.len())?;
        }
        Ok((head.status.as_u16(), bytes))
    };
    let patience = std::time::Duration::from_secs(3);
    let done: Result<_, h2::Error> = match tokio::time::timeout(patience, exchange).await {
        Ok(done) => done,
        Err(_) => return Err("no answer in time".into()),
    };
    let (status, body) = done.map_err(|error| error.to_string())?;
    expect(status == 200, || format!("status {status}"))?;
    let received = Received(serde_json::from_slice(&body).map_err(|error| error.to_string())?);
    received.is("x-forwarded-proto", &["https"])?;
    received.is("host", &[&client.authority(CUSTOMER)])
}

async fn unknown_name(client: &Client) -> Outcome {
    match client.connect("chat-nobody.localhost", Alpn::Http1).await {
        Err(Refusal::Alert(_)) => Ok(()),
        Err(Refusal::Certificate(_)) => Err("another host's certificate was shown".into()),
        Err(other) => Err(other.to_string()),
        Ok(_) => Err("the handshake went through".into()),
    }
}

async fn misdirected(client: &Client) -> Outcome {
    let head = client.head("GET", Persona::Public.host(), "/", "");
    let answer = client.raw(APP_HOST, format!("{head}\r\n").as_bytes()).await?;
    answer.with_status(421).map(drop)
}

async fn both_lengths(frame: &Frame<'_>) -> Outcome {
    let client = frame.client;
    let lines = "Content-Type: application/json\r\nContent-Length: 5\r\n\
                 Transfer-Encoding: chunked\r\n";
    let lines = format!("{}Origin: {}\r\n{lines}", frame.cookie(), frame.origin());
    let head = client.head("POST", CUSTOMER, "/api/message", &lines);
    // A message that the app would take: a 400 is then the door's.
    let body = r#"{"text":"hello"}"#;
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let answer = client.raw(CUSTOMER, format!("{head}\r\n{chunks}").as_bytes()).await?;
    answer.with_status(400).map(drop)
}

async fn two_hosts(client: &Client) -> Outcome {
    let second = format!("Host: {}\r\n", client.authority(Persona::Employee.host()));
    let answer = client.get(CUSTOMER, "/", &second).await?;
    answer.with_status(400).map(drop)
}
