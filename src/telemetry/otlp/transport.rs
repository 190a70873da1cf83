//! One attempt to send a message to a collector, over gRPC or HTTP.
//!
//! Decides what an answer means: taken, taken in part, to be tried again and when, or lost
//! (OTLP specification 1.x, "OTLP/gRPC Response" and "OTLP/HTTP Response"). A connection is kept
//! for the next message. It never waits longer than its target says.

use std::io;
use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::settings::{Protocol, Signal, Target};
use super::status;

/// Of an answer; a longer one says nothing that we need.
const MOST_ANSWER: usize = 64 * 1024;

/// What came of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    Taken,
    /// So many of what was sent were not taken.
    InPart(u64),
    /// Nothing was taken now; after this time, if the collector says so.
    Again(String, Option<Duration>),
    /// It will never be taken.
    Lost(String),
}

/// The way to one collector, for one signal.
pub struct Way {
    pub signal: Signal,
    target: Target,
    connection: Option<Connection>,
}

enum Connection {
    Http(http1::SendRequest<Full<Bytes>>),
    Grpc(http2::SendRequest<Full<Bytes>>),
}

impl Way {
    pub fn new(signal: Signal, target: Target) -> Self {
        Self { signal, target, connection: None }
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Sends one message; within the target's timeout.
    pub async fn send(&mut self, message: &Bytes) -> Sent {
        let within = self.target.timeout;
        let sent = match tokio::time::timeout(within, self.attempt(message)).await {
            Ok(Ok(sent)) => sent,
            Ok(Err(error)) => Sent::Again(error.to_string(), None),
            Err(_) => Sent::Again("it does not answer in time".to_owned(), None),
        };
        if matches!(sent, Sent::Again(..)) {
            self.connection = None;
        }
        sent
    }

    async fn attempt(&mut self, message: &Bytes) -> io::Result<Sent> {
        if !self.connection.as_ref().is_some_and(Connection::is_open) {
            self.connection = Some(connect(&self.target).await?);
        }
        let request = self.request(message)?;
        let answer = match &mut self.connection {
            None => return Err(io::ErrorKind::NotConnected.into()),
            Some(Connection::Http(connection)) => connection.send_request(request).await,
            Some(Connection::Grpc(connection)) => connection.send_request(request).await,
        };
        let answer = answer.map_err(|_| io::Error::other("the connection broke"))?;
        match self.target.protocol {
            Protocol::Grpc => of_grpc(answer).await,
            Protocol::HttpProtobuf => of_http(answer).await,
        }
    }

    fn request(&self, message: &Bytes) -> io::Result<Request<Full<Bytes>>> {
        let target = &self.target;
        let request = match target.protocol {
            Protocol::HttpProtobuf => Request::builder()
                .method(Method::POST)
                .uri(&*target.path)
                .header(HOST, &*target.authority)
                .header(CONTENT_TYPE, "application/x-protobuf")
                .header(CONTENT_LENGTH, message.len())
                .body(Full::new(message.clone())),
            Protocol::Grpc => Request::builder()
                .method(Method::POST)
                .version(Version::HTTP_2)
                .uri(format!("{target}{}", method(self.signal)))
                .header(CONTENT_TYPE, "application/grpc")
                .header(TE, "trailers")
                .header("grpc-timeout", format!("{}m", target.timeout.as_millis()))
                .body(Full::new(framed(message))),
        };
        let mut request = request.map_err(io::Error::other)?;
        let headers = request.headers_mut();
        let agent = HeaderValue::from_static(concat!("vestibule/", env!("CARGO_PKG_VERSION")));
        headers.insert(USER_AGENT, agent);
        for (name, value) in &target.headers {
            headers.insert(name, value.clone());
        }
        Ok(request)
    }
}

impl Connection {
    fn is_open(&self) -> bool {
        match self {
            Connection::Http(connection) => connection.is_ready(),
            Connection::Grpc(connection) => connection.is_ready(),
        }
    }
}

fn method(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

/// gRPC's frame: not compressed, and its length.
fn framed(message: &Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(5 + message.len());
    out.put_u8(0);
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(message);
    out.freeze()
}

async fn connect(target: &Target) -> io::Result<Connection> {
    let stream = TcpStream::connect((&*target.host, target.port)).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = &target.tls else { return speak(target.protocol, stream).await };
    let name = ServerName::try_from(target.host.to_string()).map_err(io::Error::other)?;
    let mut tls = (**tls).clone();
    tls.alpn_protocols = match target.protocol {
        Protocol::Grpc => vec![b"h2".to_vec()],
        Protocol::HttpProtobuf => vec![b"http/1.1".to_vec()],
    };
    let stream = TlsConnector::from(std::sync::Arc::new(tls)).connect(name, stream).await?;
    speak(target.protocol, stream).await
}

async fn speak<S>(protocol: Protocol, stream: S) -> io::Result<Connection>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |_| io::Error::other("the connection broke before anything was sent");
    let stream = TokioIo::new(stream);
    // What ends a connection is seen by the next message.
    match protocol {
        Protocol::HttpProtobuf => {
            let (sender, connection) = http1::handshake(stream).await.map_err(failed)?;
            tokio::spawn(async move {
                let _ = connection.await;
            });
            Ok(Connection::Http(sender))
        }
        Protocol::Grpc => {
            let handshake = http2::handshake(TokioExecutor::new(), stream);
            let (sender, connection) = handshake.await.map_err(failed)?;
            tokio::spawn(async move {
                let _ = connection.await;
            });
            Ok(Connection::Grpc(sender))
        }
    }
}

async fn of_http(answer: Response<Incoming>) -> io::Result<Sent> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, MOST_ANSWER).collect().await;
    let again = |what| Sent::Again(what, retry_after(&head.headers));
    let what = format!("it answers {}", head.status.as_u16());
    Ok(match head.status {
        StatusCode::OK => {
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            taken(&body)
        }
        status if status.is_success() => Sent::Taken,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => again(what),
        _ => Sent::Lost(what),
    })
}

async fn of_grpc(answer: Response<Incoming>) -> io::Result<Sent> {
    let (head, body) = answer.into_parts();
    if head.status != StatusCode::OK {
        let what = format!("it answers {}, and speaks no gRPC", head.status.as_u16());
        return Ok(Sent::Again(what, None));
    }
    let body = Limited::new(body, MOST_ANSWER).collect().await;
    let body = body.map_err(|_| io::Error::other("its answer broke off"))?;
    // A refusal may have no body, and then its trailers stand in the head.
    let trailers = body.trailers().filter(|trailers| trailers.contains_key("grpc-status"));
    let trailers = trailers.unwrap_or(&head.headers).clone();
    let code = trailers.get("grpc-status").and_then(|code| code.to_str().ok()?.parse().ok());
    let Some(code) = code else {
        return Ok(Sent::Again("its answer has no grpc-status".to_owned(), None));
    };
    let delay = trailers.get("grpc-status-details-bin").and_then(status::retry_delay);
    Ok(match status::meaning(code, delay.is_some()) {
        status::Meaning::Ok => {
            let body = body.to_bytes();
            taken(body.get(5..).unwrap_or_default())
        }
        status::Meaning::Again => Sent::Again(format!("it answers gRPC status {code}"), delay),
        status::Meaning::Lost => Sent::Lost(format!("it answers gRPC status {code}")),
    })
}

/// An answer that may say that something was not taken; the same for all signals.
fn taken(body: &[u8]) -> Sent {
    match status::ExportResponse::decode(body).ok().and_then(|answer| answer.partial_success) {
        Some(partial) if partial.rejected > 0 => Sent::InPart(partial.rejected.unsigned_abs()),
        _ => Sent::Taken,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}
