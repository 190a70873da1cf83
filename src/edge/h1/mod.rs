//! HTTP/1 from the client.
//!
//! A connection is idle, reading a head (from its first byte), or inside an exchange. Requests are
//! served one after the other; a pipelined one waits in the buffer. After an answer that came
//! before its request's body the connection lingers, so that the client can read the answer.

mod exchange;

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::handle::{Downstream, Finish, Switched, handle};
use super::respond;
use super::tunnel;
use super::worker::Worker;
use super::{LINGER, LINGER_BYTES};
use crate::config::snapshot::Limits;
use crate::http1::HeadError;
use crate::http1::body::{Body, BodyStep};
use crate::http1::fields::Fields;
use crate::http1::head::{HeadScan, RequestHead};
use crate::http1::recv::{Fill, Recv, STREAMING};
use crate::http1::send::Send;
use crate::net::deadline::Deadline;
use crate::net::io::Io;
use crate::pipeline::{ConnectionFacts, Dress};
use crate::rejection::{Code, Rejection};
use crate::telemetry::access_log::Record;
use crate::telemetry::request_id::RequestId;

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
            Finish::Switched(Switched { upstream, lease, log, open }) => {
                let Http1 { io, recv, .. } = client;
                let upstream = *upstream;
                // A task of its own: an idle WebSocket must not carry this one's memory.
                let tunnel = tunnel::Tunnel::new(
                    (io, recv.into_rest()),
                    (upstream.io, upstream.recv.into_rest()),
                    open,
                    log,
                );
                worker.spawn_tunnel(Box::pin(tunnel), lease);
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
    worker.metrics.of(None).rejected(rejection);
    worker.recent.refused(rejection, None, (&request_id, None));
    if worker.log.is_on() {
        let mut record = Record {
            client: facts.client,
            // Half a message says nothing that holds.
            method: Record::other_method(),
            protocol: None,
            scheme: facts.scheme.as_str(),
            request_id,
            status: Some(answer.status),
            ..Record::default()
        };
        record.rejected(rejection);
        worker.log.write(&record);
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
        // The clock is asked where something is waited for.
        let (mut idle_until, mut by, mut quiet_until) = (first, first, None);
        let begins = std::future::poll_fn(|cx| {
            let first_byte = self.poll_first_byte(cx, limits.header_bytes, &mut start);
            if first_byte.is_ready() {
                return first_byte;
            }
            let mut until = *idle_until.get_or_insert_with(|| Instant::now() + limits.idle_timeout);
            if first.is_none() && self.worker.is_draining() {
                // Closing at once would race a request that is on its way.
                until = until.min(*quiet_until.get_or_insert_with(|| Instant::now() + QUIET));
            }
            deadline.poll(cx, Some(until)).map(|()| false)
        });
        if !begins.await {
            return Err(NoHead::Idle);
        }
        let read = std::future::poll_fn(|cx| {
            let head = self.poll_head(cx, limits.header_bytes, &mut start);
            if head.is_ready() {
                return head;
            }
            let by = *by.get_or_insert_with(|| Instant::now() + limits.header_timeout);
            let late = Rejection::new(Code::RequestTimeout, "the head did not arrive in time");
            deadline.poll(cx, Some(by)).map(|()| Err(NoHead::Refused(late)))
        });
        read.await
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
