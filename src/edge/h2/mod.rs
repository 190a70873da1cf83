//! HTTP/2 from the client, on the `h2` crate.
//!
//! One task drives a connection, one each stream; what streams write until it is their
//! connection's turn goes out at once ([`crate::net::gather`]). Bounds: 100 streams, windows of
//! 64 KiB a stream and 256 KiB a connection, 32 KiB of unsent data a stream; a client that keeps
//! resetting streams that are being worked on is sent away.

mod stream;
mod tunnel;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::time::Instant;

use super::handle::{Finish, Switched, handle};
use super::worker::Worker;
use super::{LINGER, LINGER_BYTES};
use crate::net::deadline::Deadline;
use crate::net::gather::{Flush, Gather, gather};
use crate::net::io::Io;
use crate::pipeline::ConnectionFacts;
use stream::Http2;
use tunnel::H2Tunnel;

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
    let (io, flush) = gather(io);
    let handshake = flush.drive(builder.handshake::<_, Bytes>(io));
    let Ok(Ok(connection)) = deadline.run(first, handshake).await else {
        return;
    };
    let mut session = Session {
        connection,
        flush,
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
        // Boxed: a task moves what it runs, several times.
        tokio::spawn(Box::pin(stream(worker, facts, open, request, respond)));
    }
    // Lets GOAWAY out; a peer that does not read it is not waited for.
    let Session { mut connection, flush, mut deadline, .. } = session;
    let close = flush.drive(poll_fn(|cx| connection.poll_closed(cx)));
    if deadline.run(Instant::now() + limits.body_timeout, close).await.is_ok() {
        let _ = deadline.run(Instant::now() + LINGER, flush.discard(LINGER_BYTES)).await;
    }
}

/// One connection.
struct Session {
    connection: Connection<Gather<Io>, Bytes>,
    /// Sends what the connection wrote.
    flush: Flush<Io>,
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
        let next = self.poll_accept(cx);
        // Where another stream is next, the connection has more to say.
        if next.is_pending() {
            self.flush.poll(cx);
        }
        next
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Accepted>> {
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
    worker: Arc<Worker>,
    facts: Arc<ConnectionFacts>,
    open: OpenStream,
    request: Box<Request<RecvStream>>,
    respond: SendResponse<Bytes>,
) {
    let mut deadline = Deadline::default();
    let mut client = Http2::new(*request, respond);
    // Pinned where it is made: what is awaited by value is moved once more.
    let finish = pin!(handle(&worker, &facts, &mut client, &mut deadline)).await;
    match finish {
        Finish::Answered { .. } => {}
        Finish::Abort => {
            if client.was_reset() {
                open.0.reset.fetch_add(1, Ordering::Relaxed);
            }
            client.abort();
        }
        Finish::Switched(Switched { upstream, lease, log, open: place }) => {
            let Http2 { recv, send, chunk, .. } = client;
            if let Some(send) = send {
                let upstream = *upstream;
                let rest = upstream.recv.into_rest();
                drop(deadline);
                let tunnel = H2Tunnel::new((recv, send, chunk), (upstream.io, rest), place, log);
                worker.spawn_tunnel(Box::pin(tunnel), (open, lease));
            }
        }
    }
}
