//! HTTP/2 from the client, on the `h2` crate.
//!
//! One task drives a connection, one each stream. Bounds: 100 streams, windows of 64 KiB a stream
//! and 256 KiB a connection, 32 KiB of unsent data a stream; a client that keeps resetting streams
//! that are being worked on is sent away.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, DATE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::h2_tunnel::H2Tunnel;
use super::handle::{Downstream, Finish, handle};
use super::headers::{dressed_fields, is_trailer, response_fields};
use super::respond::Answer;
use super::worker::Worker;
use crate::http1::BodyError;
use crate::http1::fields::{Fields, Known};
use crate::http1::framing::{self, Framing};
use crate::http1::head::{MAX_FIELDS, RequestHead, ResponseHead, Version};
use crate::net::deadline::Deadline;
use crate::net::io::Io;
use crate::pipeline::{ConnectionFacts, Dress};
use crate::rejection::{Code, Rejection};
use crate::telemetry::request_id::RequestId;
use crate::upstream::client::{Client, ClientError};
use crate::upstream::connection::Incoming;

const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
const MAX_STREAMS: u32 = 100;
const SEND_BUFFER: usize = 32 * 1024;
/// Streams that a client may reset while they are being worked on, over the life of a connection,
/// beyond a tenth of all its streams.
const RESETS: u32 = 200;

/// What the streams of one connection share.
#[derive(Debug, Default)]
struct Streams {
    open: AtomicU32,
    total: AtomicU32,
    reset: AtomicU32,
}

/// Serves one connection to its end.
pub async fn serve(
    io: Io,
    worker: Arc<Worker>,
    facts: Arc<ConnectionFacts>,
    first: Instant,
    mut deadline: Deadline,
) {
    let limits = worker.limits();
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol();
    let Ok(Ok(connection)) = deadline.run(first, builder.handshake::<_, Bytes>(io)).await else {
        return;
    };
    let mut session = Session {
        connection,
        worker,
        streams: Arc::new(Streams::default()),
        deadline,
        idle_since: Instant::now(),
        goodbye: None,
    };
    while let Some((request, respond)) = poll_fn(|cx| session.poll_next(cx)).await {
        let streams = Arc::clone(&session.streams);
        let total = streams.total.fetch_add(1, Ordering::Relaxed);
        if streams.reset.load(Ordering::Relaxed) > RESETS + total / 10 {
            session.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            break;
        }
        let open = OpenStream::new(streams);
        let (worker, facts) = (Arc::clone(&session.worker), Arc::clone(&facts));
        tokio::spawn(async move { stream(&worker, &facts, open, request, respond).await });
    }
    // Lets GOAWAY out; a peer that does not read it is not waited for.
    let Session { mut connection, mut deadline, .. } = session;
    let close = poll_fn(|cx| connection.poll_closed(cx));
    let _ = deadline.run(Instant::now() + limits.body_timeout, close).await;
}

/// One connection.
struct Session {
    connection: Connection<Io, Bytes>,
    worker: Arc<Worker>,
    streams: Arc<Streams>,
    deadline: Deadline,
    idle_since: Instant,
    /// When the client was told that this connection takes no new streams.
    goodbye: Option<Instant>,
}

type Accepted = (Box<Request<RecvStream>>, SendResponse<Bytes>);

impl Session {
    /// The next stream; none once the connection has ended or should.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Accepted>> {
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    return Poll::Ready(Some((Box::new(request), respond)));
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            let limits = self.worker.limits();
            let is_busy = self.streams.open.load(Ordering::Relaxed) > 0;
            if is_busy {
                self.idle_since = Instant::now();
            }
            if self.goodbye.is_none() && self.worker.is_draining() {
                self.say_goodbye();
                continue;
            }
            // Streams that the client opened before it read our goodbye are still served.
            let until = match self.goodbye {
                Some(said) => self.idle_since.max(said) + limits.body_timeout,
                None => self.idle_since + limits.idle_timeout,
            };
            // On a busy connection it never fires; it only makes us look whether we drain.
            if self.deadline.poll(cx, Some(until)).is_pending() || is_busy {
                return Poll::Pending;
            }
            if self.goodbye.is_some() {
                return Poll::Ready(None);
            }
            self.say_goodbye();
        }
    }

    /// The next poll of the connection sends it.
    fn say_goodbye(&mut self) {
        self.connection.graceful_shutdown();
        self.goodbye = Some(Instant::now());
    }
}

/// Counts as an open stream of its connection while it lives: a WebSocket keeps its connection.
#[derive(Debug)]
struct OpenStream(Arc<Streams>);

impl OpenStream {
    fn new(streams: Arc<Streams>) -> Self {
        streams.open.fetch_add(1, Ordering::Relaxed);
        Self(streams)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn stream(
    worker: &Arc<Worker>,
    facts: &ConnectionFacts,
    open: OpenStream,
    request: Box<Request<RecvStream>>,
    respond: SendResponse<Bytes>,
) {
    let mut deadline = Deadline::default();
    let mut client = Http2::new(*request, respond);
    match handle(worker, facts, &mut client, &mut deadline).await {
        Finish::Answered { .. } => {}
        Finish::Abort => {
            if client.was_reset() {
                open.0.reset.fetch_add(1, Ordering::Relaxed);
            }
            client.abort();
        }
        Finish::Switched(upstream, log) => {
            let Http2 { recv, send, chunk, .. } = client;
            if let Some(send) = send {
                let upstream = *upstream;
                let rest = upstream.recv.into_rest();
                drop(deadline);
                let tunnel = H2Tunnel::new((recv, send, chunk), (upstream.io, rest), log);
                worker.spawn_tunnel(Box::pin(async move {
                    tunnel.await;
                    drop(open);
                }));
            }
        }
    }
}

/// One stream.
struct Http2 {
    head: RequestHead,
    recv: RecvStream,
    chunk: Bytes,
    request_ended: bool,
    trailers: Fields,
    respond: SendResponse<Bytes>,
    send: Option<SendStream<Bytes>>,
    /// Bytes that the declared length still owes.
    owed: Option<u64>,
    ended: bool,
    request_id: RequestId,
    dress: Dress,
    refusal: Option<Rejection>,
}

impl Http2 {
    fn new(request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Self {
        let (parts, recv) = request.into_parts();
        let protocol = parts.extensions.get::<h2::ext::Protocol>();
        let mut head = RequestHead {
            method: parts.method,
            version: Version::Http2,
            target: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            authority: parts.uri.authority().map(ToString::to_string),
            protocol: protocol.map(|protocol| protocol.as_str().to_owned()),
            ..RequestHead::default()
        };
        for (name, value) in &parts.headers {
            head.fields.push(name.as_str().as_bytes(), value.as_bytes());
        }
        let framing = framing::of_request(Version::Http11, &head.fields);
        let is_plain_connect = head.method == Method::CONNECT && head.protocol.is_none();
        let sound = match framing {
            _ if !(is_plain_connect
                || matches!(parts.uri.scheme_str(), Some("https" | "http"))) =>
            {
                Err(Rejection::new(Code::TargetInvalid, ":scheme is neither https nor http"))
            }
            _ if parts.headers.values().any(has_outer_space) => {
                Err(Rejection::new(Code::RequestMalformed, "white space around a field value"))
            }
            Err(_) => Err(Rejection::new(Code::FramingAmbiguous, "content-length is odd")),
            Ok(_) if field_count(&head.fields) > MAX_FIELDS => {
                Err(Rejection::new(Code::HeadersTooLarge, "too many header fields"))
            }
            Ok(_) => Ok(()),
        };
        head.framing = match framing {
            Ok(Framing::Length(length)) => Framing::Length(length),
            _ if head.protocol.is_some() || recv.is_end_stream() => Framing::Empty,
            _ => Framing::Chunked,
        };
        Self {
            head,
            recv,
            chunk: Bytes::new(),
            request_ended: false,
            trailers: Fields::default(),
            respond,
            send: None,
            owed: None,
            ended: false,
            request_id: RequestId::default(),
            dress: Dress::default(),
            refusal: sound.err(),
        }
    }

    fn was_reset(&mut self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.poll_gone(&mut cx).is_ready()
    }

    fn abort(mut self) {
        match &mut self.send {
            Some(send) => send.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    fn respond(&mut self, response: Response<()>, end: bool) -> io::Result<()> {
        let send = self.respond.send_response(response, end).map_err(io::Error::other)?;
        self.send = Some(send);
        self.ended = end;
        Ok(())
    }

    fn response(&self, status: StatusCode) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = status;
        if let Ok(id) = HeaderValue::from_str(self.request_id.as_str()) {
            response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
        }
        response
    }
}

/// Cookie counts once, however finely a client has cut it.
fn field_count(fields: &Fields) -> usize {
    fields.len() - fields.all(Known::Cookie).count().saturating_sub(1)
}

/// RFC 9113, section 8.2.1: such a value is malformed. On HTTP/1 it would be read without it.
fn has_outer_space(value: &HeaderValue) -> bool {
    let space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    space(value.as_bytes().first()) || space(value.as_bytes().last())
}

/// Adds a field; what HTTP/1 allows and this cannot say is left out.
fn append(map: &mut HeaderMap, name: &[u8], value: &[u8]) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
        map.append(name, value);
    }
}

impl Downstream for Http2 {
    fn begin(&mut self, request_id: RequestId) {
        self.request_id = request_id;
        self.dress = Dress::default();
    }

    fn dress(&mut self, dress: Dress) {
        self.dress = dress;
    }

    fn refusal(&self) -> Option<Rejection> {
        self.refusal.clone()
    }

    fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        let mut response = self.response(answer.status);
        let map = response.headers_mut();
        for (name, value) in &answer.fields {
            append(map, name.as_bytes(), value.as_bytes());
        }
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        append(map, DATE.as_str().as_bytes(), date.as_bytes());
        map.insert(CONTENT_LENGTH, HeaderValue::from(answer.body.len() as u64));
        let end = answer.body.is_empty() || self.head.method == Method::HEAD;
        self.respond(response, end)?;
        if let (false, Some(send)) = (end, &mut self.send) {
            send.send_data(Bytes::copy_from_slice(&answer.body), true).map_err(io::Error::other)?;
            self.ended = true;
        }
        Ok(())
    }
}

impl Client for Http2 {
    fn request(&self) -> &RequestHead {
        &self.head
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming<'_>, ClientError>> {
        while self.chunk.is_empty() && !self.request_ended {
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(_)) => return Poll::Ready(Err(ClientError::Gone)),
                None => {
                    let trailers = ready!(self.recv.poll_trailers(cx));
                    let trailers = trailers.map_err(|_| ClientError::Gone)?;
                    if trailers.iter().flat_map(HeaderMap::values).any(has_outer_space) {
                        return Poll::Ready(Err(ClientError::Body(BodyError::Chunk)));
                    }
                    for (name, value) in trailers.iter().flatten() {
                        let known = Known::classify(name.as_str().as_bytes());
                        if is_trailer(known) {
                            let name = name.as_str().as_bytes();
                            self.trailers.push_known(known, name, value.as_bytes());
                        }
                    }
                    self.request_ended = true;
                }
            }
        }
        Poll::Ready(Ok(if self.chunk.is_empty() {
            Incoming::End(&self.trailers)
        } else {
            Incoming::Data(&self.chunk)
        }))
    }

    fn consume(&mut self, bytes: usize) {
        self.chunk.advance(bytes);
        // Fails only where the stream is gone, which the next read will say.
        let _ = self.recv.flow_control().release_capacity(bytes);
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.send {
            Some(send) => send.poll_reset(cx).map(|_| ()),
            None => self.respond.poll_reset(cx).map(|_| ()),
        }
    }

    fn send_interim(&mut self, head: &ResponseHead) -> io::Result<()> {
        let mut response = Response::new(());
        *response.status_mut() = head.status;
        for field in response_fields(head) {
            append(response.headers_mut(), field.name, field.value);
        }
        self.respond.send_informational(response).map_err(io::Error::other)
    }

    fn send_head(&mut self, head: &ResponseHead, framing: Framing) -> io::Result<()> {
        let mut response = self.response(head.status);
        let map = response.headers_mut();
        dressed_fields(head, &self.dress, |name, value| append(map, name, value));
        match framing {
            Framing::Length(length) => {
                map.insert(CONTENT_LENGTH, HeaderValue::from(length));
                self.owed = Some(length);
            }
            Framing::Empty => {
                let declares =
                    self.head.method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED;
                if let (true, Some(length)) = (declares, head.fields.single(Known::ContentLength)) {
                    append(map, CONTENT_LENGTH.as_str().as_bytes(), length);
                }
            }
            Framing::Chunked | Framing::UntilClose => {}
        }
        self.respond(response, !framing.has_body())
    }

    fn send_switch(&mut self, head: &ResponseHead) -> io::Result<()> {
        let mut response = self.response(StatusCode::OK);
        for field in response_fields(head) {
            if field.known != Known::SecWebSocketAccept {
                append(response.headers_mut(), field.name, field.value);
            }
        }
        self.respond(response, false)
    }

    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let gone = || Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        let Some(send) = &mut self.send else { return gone() };
        // Only what lies ready is asked for: capacity that is reserved and not used starves the
        // connection's other streams.
        send.reserve_capacity(data.len().min(SEND_BUFFER));
        while send.capacity() == 0 {
            match ready!(send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return gone(),
            }
        }
        let count = send.capacity().min(data.len());
        let end = match &mut self.owed {
            Some(owed) => {
                *owed = owed.saturating_sub(count as u64);
                *owed == 0
            }
            None => false,
        };
        if send.send_data(Bytes::copy_from_slice(&data[..count]), end).is_err() {
            return gone();
        }
        self.ended = end;
        Poll::Ready(Ok(count))
    }

    fn end(&mut self, trailers: &Fields) -> io::Result<()> {
        let Some(send) = &mut self.send else { return Err(io::ErrorKind::BrokenPipe.into()) };
        if self.ended {
            return Ok(());
        }
        self.ended = true;
        let mut map = HeaderMap::new();
        for field in trailers.iter().filter(|field| is_trailer(field.known)) {
            append(&mut map, field.name, field.value);
        }
        if map.is_empty() {
            send.send_data(Bytes::new(), true).map_err(io::Error::other)
        } else {
            send.send_trailers(map).map_err(io::Error::other)
        }
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task sends what is queued; a stream's queue is bounded.
        Poll::Ready(Ok(()))
    }
}
