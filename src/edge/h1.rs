//! HTTP/1 from the client.
//!
//! A connection is idle, reading a head (from its first byte), or inside an exchange. Requests are
//! served one after the other; a pipelined one waits in the buffer. After an answer that came
//! before its request's body the connection lingers, so that the client can read the answer.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::handle::{Downstream, Finish, handle};
use super::headers::{self, dressed_fields, is_trailer, response_fields, write_length};
use super::respond::{self, Answer};
use super::tunnel;
use super::worker::Worker;
use crate::config::snapshot::Limits;
use crate::http1::body::{Body, BodyStep};
use crate::http1::fields::{Fields, Known};
use crate::http1::framing::Framing;
use crate::http1::head::{HeadScan, RequestHead, ResponseHead, Version, parse_trailers};
use crate::http1::recv::{Fill, Recv, STREAMING};
use crate::http1::send::{Send, write_field};
use crate::http1::{BodyError, HeadError};
use crate::net::deadline::Deadline;
use crate::net::io::Io;
use crate::pipeline::{ConnectionFacts, Dress};
use crate::rejection::{Code, Rejection};
use crate::telemetry::access_log::Record;
use crate::telemetry::request_id::RequestId;
use crate::upstream::client::{Client, ClientError};
use crate::upstream::connection::Incoming;

/// How long, and over how many bytes, an answered client may go on sending.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 1024 * 1024;
/// How long a draining connection waits for a request that may be on its way.
const QUIET: Duration = Duration::from_secs(2);

/// One client connection and the request it is in.
#[derive(Debug)]
pub struct Http1 {
    io: Io,
    worker: Arc<Worker>,
    recv: Recv,
    send: Send,
    head: RequestHead,
    body: Body,
    trailers: Fields,
    request_id: RequestId,
    dress: Dress,
    /// The connection may serve another request, as far as this one's answer goes.
    keep_alive: bool,
    max_trailers: usize,
}

/// How far a head that is still arriving was read.
#[derive(Default)]
struct HeadStart {
    scan: HeadScan,
    /// A client may end a body with one line too many (RFC 9112, section 2.2), not with two.
    skipped_line: bool,
}

/// Why there is no next request.
enum NoHead {
    /// The client closed, or was silent for too long, between requests.
    Idle,
    /// Nothing can be said to this client any more.
    Broken,
    Refused(Rejection),
}

/// Serves one connection to its end. `first` is the deadline of its first head.
pub async fn serve(
    io: Io,
    worker: Arc<Worker>,
    facts: Arc<ConnectionFacts>,
    first: Instant,
    mut deadline: Deadline,
) {
    let mut client = Http1::new(io, Arc::clone(&worker));
    let mut head_by = Some(first);
    loop {
        let limits = worker.limits();
        client.max_trailers = limits.header_bytes;
        match client.read_head(&limits, head_by.take(), &mut deadline).await {
            Ok(()) => {}
            Err(NoHead::Idle | NoHead::Broken) => return,
            Err(NoHead::Refused(rejection)) => {
                refuse(client, &worker, &facts, &rejection, &mut deadline).await;
                return;
            }
        }
        client.keep_alive = client.head.keeps_alive();
        match handle(&worker, &facts, &mut client, &mut deadline).await {
            Finish::Answered { whole_request } => {
                if !whole_request {
                    client.skip_buffered_body();
                }
                if !client.body.is_done() || !client.keep_alive {
                    client.linger(&mut deadline).await;
                    return;
                }
                client.recv.rest();
                client.send.rest();
                client.head.rest();
            }
            Finish::Abort => {
                client.abort(&mut deadline).await;
                return;
            }
            Finish::Switched(upstream, log) => {
                let Http1 { io, recv, .. } = client;
                let upstream = *upstream;
                // A task of its own: an idle WebSocket must not carry this one's memory.
                let tunnel = tunnel::Tunnel::new(
                    (io, recv.into_rest()),
                    (upstream.io, upstream.recv.into_rest()),
                    log,
                );
                worker.spawn_tunnel(Box::pin(tunnel));
                return;
            }
        }
    }
}

/// Answers what did not parse, and ends the connection.
async fn refuse(
    mut client: Http1,
    worker: &Worker,
    facts: &ConnectionFacts,
    rejection: &Rejection,
    deadline: &mut Deadline,
) {
    let request_id = RequestId::new(worker.random());
    client.head = RequestHead::default();
    client.begin(request_id);
    client.keep_alive = false;
    let answer = respond::problem(rejection, request_id.as_str());
    if worker.log.is_on() {
        let mut record = Record {
            client: facts.client,
            scheme: facts.scheme.as_str(),
            request_id,
            status: Some(answer.status),
            ..Record::default()
        };
        record.rejected(rejection);
        worker.log.write(Box::new(record));
    }
    if client.answer(&answer).is_ok() {
        client.linger(deadline).await;
    }
}

impl Http1 {
    fn new(io: Io, worker: Arc<Worker>) -> Self {
        Self {
            io,
            worker,
            recv: Recv::default(),
            send: Send::default(),
            head: RequestHead::default(),
            body: Body::Done,
            trailers: Fields::default(),
            request_id: RequestId::default(),
            dress: Dress::default(),
            keep_alive: false,
            max_trailers: 0,
        }
    }

    /// Waits for the next request and reads its head.
    async fn read_head(
        &mut self,
        limits: &Limits,
        first: Option<Instant>,
        deadline: &mut Deadline,
    ) -> Result<(), NoHead> {
        let mut start = HeadStart::default();
        let idle_until = first.unwrap_or_else(|| Instant::now() + limits.idle_timeout);
        let mut quiet_until = None;
        let wait = std::future::poll_fn(|cx| {
            if first.is_none() && self.worker.is_draining() {
                // Closing at once would race a request that is on its way.
                let until = *quiet_until.get_or_insert_with(|| Instant::now() + QUIET);
                if Instant::now() >= until {
                    return Poll::Ready(false);
                }
            }
            self.poll_first_byte(cx, limits.header_bytes, &mut start)
        });
        if !matches!(deadline.run(idle_until, wait).await, Ok(true)) {
            return Err(NoHead::Idle);
        }
        let by = first.unwrap_or_else(|| Instant::now() + limits.header_timeout);
        let read = std::future::poll_fn(|cx| self.poll_head(cx, limits.header_bytes, &mut start));
        match deadline.run(by, read).await {
            Ok(result) => result,
            Err(_) => Err(NoHead::Refused(Rejection::new(
                Code::RequestTimeout,
                "the head did not arrive in time",
            ))),
        }
    }

    /// Ready with `true` once a request has begun. The line that some clients send after a body
    /// (RFC 9112, section 2.2) begins none.
    fn poll_first_byte(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        start: &mut HeadStart,
    ) -> Poll<bool> {
        loop {
            if !start.skipped_line && self.recv.bytes().starts_with(b"\r\n") {
                self.recv.consume(2);
                start.skipped_line = true;
            }
            let begins = match self.recv.bytes() {
                [] => false,
                [b'\r'] => start.skipped_line,
                _ => true,
            };
            if begins {
                return Poll::Ready(true);
            }
            match ready!(self.recv.poll_fill(&mut self.io, cx, max)) {
                Ok(Fill::Read) => {}
                _ => return Poll::Ready(false),
            }
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        start: &mut HeadStart,
    ) -> Poll<Result<(), NoHead>> {
        let refused = |error| Poll::Ready(Err(NoHead::Refused(head_rejection(error))));
        loop {
            let end = match start.scan.end(self.recv.bytes()) {
                Ok(end) => end,
                Err(error) => return refused(error),
            };
            match end {
                Some(end) if end > max => return refused(HeadError::TooLarge),
                Some(end) => {
                    if let Err(error) = self.head.parse(&self.recv.bytes()[..end]) {
                        return refused(error);
                    }
                    self.recv.consume(end);
                    self.body = Body::new(self.head.framing, self.max_trailers);
                    self.trailers.clear();
                    return Poll::Ready(Ok(()));
                }
                None if self.recv.len() >= max => return refused(HeadError::TooLarge),
                None => {}
            }
            match ready!(self.recv.poll_fill(&mut self.io, cx, max)) {
                Ok(Fill::Read) => {}
                _ => return Poll::Ready(Err(NoHead::Broken)),
            }
        }
    }

    /// Drops what has arrived of a body that nobody read.
    fn skip_buffered_body(&mut self) {
        loop {
            match self.body.step(self.recv.bytes(), self.recv.eof()) {
                Ok(BodyStep::Data(count)) => {
                    self.recv.consume(count);
                    self.body.took(count);
                }
                Ok(BodyStep::Skip(count) | BodyStep::Trailers(count)) => self.recv.consume(count),
                Ok(BodyStep::End | BodyStep::Need) | Err(_) => return,
            }
        }
    }

    /// Ends a connection whose client may still be sending: closing at once would reset it, and
    /// the answer could be lost with it.
    async fn linger(&mut self, deadline: &mut Deadline) {
        let by = Instant::now() + LINGER;
        let linger = async {
            if std::future::poll_fn(|cx| self.send.poll_flush(&mut self.io, cx)).await.is_err() {
                return;
            }
            let io = &mut self.io;
            let _ = std::future::poll_fn(|cx| {
                tokio::io::AsyncWrite::poll_shutdown(std::pin::Pin::new(&mut *io), cx)
            })
            .await;
            let mut dropped = 0;
            while dropped < LINGER_BYTES {
                dropped += self.recv.len();
                self.recv.consume(self.recv.len());
                let fill =
                    std::future::poll_fn(|cx| self.recv.poll_fill(&mut self.io, cx, STREAMING));
                if !matches!(fill.await, Ok(Fill::Read)) {
                    return;
                }
            }
        };
        // Late or not, the connection ends here.
        let _ = deadline.run(by, linger).await;
    }

    /// Ends a connection in the middle of an answer: what came so far is passed, its end is not,
    /// and TLS says no goodbye, so that the client sees a truncated message.
    async fn abort(&mut self, deadline: &mut Deadline) {
        let flush = std::future::poll_fn(|cx| self.send.poll_flush(&mut self.io, cx));
        let _ = deadline.run(Instant::now() + LINGER, flush).await;
        if self.send.ends_with_connection() {
            self.io.reset_on_close();
        }
    }

    /// The status line and the fields that every answer has.
    fn write_start(&mut self, status: StatusCode) {
        let out = self.send.head();
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    fn write_end(&mut self) {
        self.keep_alive &= !self.worker.is_draining();
        let request_id = self.request_id;
        let out = self.send.head();
        write_field(out, b"X-Request-Id", request_id.as_str().as_bytes());
        if !self.keep_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if self.head.version == Version::Http10 {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        self.send.head().extend_from_slice(b"\r\n");
    }
}

impl Downstream for Http1 {
    fn begin(&mut self, request_id: RequestId) {
        self.request_id = request_id;
        self.dress = Dress::default();
    }

    fn dress(&mut self, dress: Dress) {
        self.dress = dress;
    }

    fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        self.skip_buffered_body();
        self.keep_alive &= self.body.is_done();
        self.write_start(answer.status);
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let out = self.send.head();
        write_field(out, b"Date", date.as_bytes());
        for (name, value) in &answer.fields {
            write_field(out, name.as_bytes(), value.as_bytes());
        }
        write_length(out, answer.body.len() as u64);
        self.write_end();
        if self.head.method != Method::HEAD {
            self.send.head().extend_from_slice(&answer.body);
        }
        Ok(())
    }
}

impl Client for Http1 {
    fn request(&self) -> &RequestHead {
        &self.head
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming<'_>, ClientError>> {
        let count = loop {
            match self.body.step(self.recv.bytes(), self.recv.eof()).map_err(ClientError::Body)? {
                BodyStep::Data(count) => break count,
                BodyStep::Skip(count) => self.recv.consume(count),
                BodyStep::End => return Poll::Ready(Ok(Incoming::End(&self.trailers))),
                BodyStep::Trailers(count) => {
                    read_trailers(&self.recv.bytes()[..count], &mut self.trailers)?;
                    self.recv.consume(count);
                    return Poll::Ready(Ok(Incoming::End(&self.trailers)));
                }
                BodyStep::Need => {
                    let fill = ready!(self.recv.poll_fill(&mut self.io, cx, STREAMING))
                        .map_err(|_| ClientError::Gone)?;
                    if fill == Fill::Full {
                        return Poll::Ready(Err(ClientError::Body(BodyError::ChunkTooLarge)));
                    }
                }
            }
        };
        Poll::Ready(Ok(Incoming::Data(&self.recv.bytes()[..count])))
    }

    fn consume(&mut self, bytes: usize) {
        self.recv.consume(bytes);
        self.body.took(bytes);
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What a client sends now is its next request; it waits here, within bounds.
        while self.recv.len() < STREAMING {
            match self.recv.poll_fill(&mut self.io, cx, STREAMING) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Fill::Read)) => {}
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    fn send_interim(&mut self, head: &ResponseHead) -> io::Result<()> {
        self.write_start(head.status);
        let out = self.send.head();
        for field in response_fields(head) {
            write_field(out, field.name, field.value);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn send_head(&mut self, head: &ResponseHead, framing: Framing) -> io::Result<()> {
        let framing = match framing {
            Framing::UntilClose | Framing::Chunked if self.head.version == Version::Http10 => {
                self.keep_alive = false;
                Framing::UntilClose
            }
            Framing::UntilClose => Framing::Chunked,
            framing => framing,
        };
        // An answer that comes before the request's end leaves a connection nobody can use again.
        self.keep_alive &= self.body.is_done();
        self.write_start(head.status);
        let out = self.send.head();
        dressed_fields(head, &self.dress, |name, value| write_field(out, name, value));
        match framing {
            Framing::Length(length) => write_length(out, length),
            Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Framing::Empty => write_declared_length(out, head, &self.head.method),
            Framing::UntilClose => {}
        }
        self.write_end();
        self.send.begin(framing);
        Ok(())
    }

    fn send_switch(&mut self, head: &ResponseHead) -> io::Result<()> {
        self.write_start(StatusCode::SWITCHING_PROTOCOLS);
        let request_id = self.request_id;
        let out = self.send.head();
        for field in headers::response_fields(head) {
            write_field(out, field.name, field.value);
        }
        write_field(out, b"X-Request-Id", request_id.as_str().as_bytes());
        out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        Ok(())
    }

    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.send.poll_data(&mut self.io, cx, data)
    }

    fn end(&mut self, trailers: &Fields) -> io::Result<()> {
        if trailers.is_empty() {
            return self.send.end(None);
        }
        let mut passed = Fields::default();
        for field in trailers.iter().filter(|field| is_trailer(field.known)) {
            passed.push_known(field.known, field.name, field.value);
        }
        self.send.end(Some(&passed))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send.poll_flush(&mut self.io, cx)
    }
}

/// A HEAD answer or a 304 may say how long the body would have been.
fn write_declared_length(out: &mut Vec<u8>, head: &ResponseHead, method: &Method) {
    if *method != Method::HEAD && head.status != StatusCode::NOT_MODIFIED {
        return;
    }
    if let Some(length) = head.fields.single(Known::ContentLength) {
        write_field(out, b"Content-Length", length);
    }
}

fn read_trailers(bytes: &[u8], trailers: &mut Fields) -> Result<(), ClientError> {
    let malformed = |_| ClientError::Body(BodyError::Chunk);
    let mut all = Fields::default();
    parse_trailers(bytes, &mut all).map_err(malformed)?;
    trailers.clear();
    for field in all.iter().filter(|field| is_trailer(field.known)) {
        trailers.push_known(field.known, field.name, field.value);
    }
    Ok(())
}

fn head_rejection(error: HeadError) -> Rejection {
    let (code, reason) = match error {
        HeadError::LineEnding => (Code::RequestMalformed, "a line does not end in CRLF"),
        HeadError::StartLine => (Code::RequestMalformed, "the request line is malformed"),
        HeadError::FieldLine => (Code::RequestMalformed, "a header field line is malformed"),
        HeadError::TooManyFields => (Code::HeadersTooLarge, "too many header fields"),
        HeadError::TooLarge => (Code::HeadersTooLarge, "the head exceeds header_bytes"),
        HeadError::Version => (Code::VersionUnsupported, "not HTTP/1.0 or HTTP/1.1"),
        HeadError::ContentLength => (Code::FramingAmbiguous, "Content-Length is odd or repeated"),
        HeadError::LengthAndCoding => {
            (Code::FramingAmbiguous, "Content-Length beside Transfer-Encoding")
        }
        HeadError::TransferEncoding => (Code::FramingAmbiguous, "Transfer-Encoding is ambiguous"),
        HeadError::UnknownCoding => {
            (Code::TransferCodingUnsupported, "a transfer coding other than chunked")
        }
        HeadError::Connection => {
            (Code::RequestMalformed, "Connection nominates framing, or is malformed")
        }
        HeadError::UpgradeWithBody => (Code::UpgradeInvalid, "an upgrade request with a body"),
    };
    Rejection::new(code, reason)
}
