//! HTTP/2 from the client, on the `h2` crate.
//!
//! One task drives a connection, one each stream. Bounds: 100 streams, windows of 64 KiB a stream
//! and 256 KiB a connection, 64 KiB of unsent data a stream; a client that keeps resetting streams
//! that are being worked on is sent away.

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
use super::headers::{is_trailer, response_fields};
use super::respond::{self, Answer};
use super::worker::Worker;
use crate::http1::BodyError;
use crate::http1::fields::{Fields, Known};
use crate::http1::framing::{self, Framing};
use crate::http1::head::{RequestHead, ResponseHead, Version};
use crate::net::deadline::Deadline;
use crate::net::io::Io;
use crate::pipeline::ConnectionFacts;
use crate::rejection::{Code, Rejection};
use crate::telemetry::request_id::RequestId;
use crate::upstream::client::{Client, ClientError};
use crate::upstream::connection::Incoming;

const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
const MAX_STREAMS: u32 = 100;
const SEND_BUFFER: usize = 64 * 1024;
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
    let Ok(Ok(mut connection)) = deadline.run(first, builder.handshake::<_, Bytes>(io)).await
    else {
        return;
    };
    let streams = Arc::new(Streams::default());
    let mut idle_since = Instant::now();
    let mut said_goodbye = false;
    loop {
        let next = std::future::poll_fn(|cx| {
            if worker.is_draining() && !said_goodbye {
                said_goodbye = true;
                // The next poll of the connection sends it.
                connection.graceful_shutdown();
            }
            poll_next(&mut connection, &worker, &streams, &mut idle_since, &mut deadline, cx)
        });
        let Next::Stream(request, respond) = next.await else { break };
        let total = streams.total.fetch_add(1, Ordering::Relaxed);
        if streams.reset.load(Ordering::Relaxed) > RESETS + total / 10 {
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            break;
        }
        streams.open.fetch_add(1, Ordering::Relaxed);
        let (worker, facts, streams) =
            (Arc::clone(&worker), Arc::clone(&facts), Arc::clone(&streams));
        tokio::spawn(async move {
            stream(&worker, &facts, &streams, request, respond).await;
            streams.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
    // Lets GOAWAY out; a peer that does not read it is not waited for.
    let close = std::future::poll_fn(|cx| connection.poll_closed(cx));
    let _ = deadline.run(Instant::now() + limits.body_timeout, close).await;
}

enum Next {
    Stream(Box<Request<RecvStream>>, SendResponse<Bytes>),
    End,
}

fn poll_next(
    connection: &mut Connection<Io, Bytes>,
    worker: &Worker,
    streams: &Streams,
    idle_since: &mut Instant,
    deadline: &mut Deadline,
    cx: &mut Context<'_>,
) -> Poll<Next> {
    match connection.poll_accept(cx) {
        Poll::Ready(Some(Ok((request, respond)))) => {
            return Poll::Ready(Next::Stream(Box::new(request), respond));
        }
        Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Next::End),
        Poll::Pending => {}
    }
    if streams.open.load(Ordering::Relaxed) > 0 {
        *idle_since = Instant::now();
        // The timer only looks whether the server is draining.
        let _ = deadline.poll(cx, Some(*idle_since + worker.limits().idle_timeout));
        return Poll::Pending;
    }
    if deadline.poll(cx, Some(*idle_since + worker.limits().idle_timeout)).is_ready() {
        connection.graceful_shutdown();
        return Poll::Ready(Next::End);
    }
    Poll::Pending
}

async fn stream(
    worker: &Arc<Worker>,
    facts: &ConnectionFacts,
    streams: &Streams,
    request: Box<Request<RecvStream>>,
    respond: SendResponse<Bytes>,
) {
    let mut deadline = Deadline::default();
    let (mut client, sound) = Http2::new(*request, respond);
    if let Err(rejection) = sound {
        let request_id = RequestId::new(worker.random());
        client.begin(request_id);
        // A stream that is gone needs no answer.
        let _ = client.answer(&respond::problem(&rejection, request_id.as_str()));
        return;
    }
    match handle(worker, facts, &mut client, &mut deadline).await {
        Finish::Answered { .. } => {}
        Finish::Abort => {
            if client.was_reset() {
                streams.reset.fetch_add(1, Ordering::Relaxed);
            }
            client.abort();
        }
        Finish::Switched(upstream, log) => {
            let Http2 { recv, send, chunk, .. } = client;
            if let Some(send) = send {
                let upstream = *upstream;
                let rest = upstream.recv.into_rest();
                drop(deadline);
                worker.spawn_tunnel(Box::pin(H2Tunnel::new(
                    (recv, send, chunk),
                    (upstream.io, rest),
                    log,
                )));
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
}

impl Http2 {
    fn new(
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> (Self, Result<(), Rejection>) {
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
            Ok(_) if head.fields.len() > crate::http1::head::MAX_FIELDS => {
                Err(Rejection::new(Code::HeadersTooLarge, "too many header fields"))
            }
            Ok(_) => Ok(()),
        };
        head.framing = match framing {
            Ok(Framing::Length(length)) => Framing::Length(length),
            _ if head.protocol.is_some() || recv.is_end_stream() => Framing::Empty,
            _ => Framing::Chunked,
        };
        let client = Self {
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
        };
        (client, sound)
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
        for field in response_fields(head) {
            append(map, field.name, field.value);
        }
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
