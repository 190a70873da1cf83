//! HTTP/2 to servers that speak it: connections that many requests share, and one request on one.
//!
//! The request is the one that HTTP/1 would send, field for field, but for what HTTP/2 says
//! otherwise (Host, and fields of the connection); the answer passes the same checks. Nothing is
//! buffered beyond a stream's window: a client that does not read stops its own stream and no other,
//! because the connection's window holds all of them.
//!
//! A WebSocket goes by HTTP/1.1 ([`super::forward`]), so that a tunnel is two sockets and no more.

mod message;
mod pool;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::Method;

use super::connection::{Incoming, UpstreamError};
use super::server::Server;
use crate::http1::HeadError;
use crate::http1::fields::Fields;
use crate::http1::framing::Framing;
use crate::http1::head::ResponseHead;
use crate::net::gather::gather;
use crate::net::io::Io;

pub use pool::Http2Pool;

/// Streams of one connection that we have open at once.
const STREAMS: usize = 100;
/// Of a response that its client has not taken.
const STREAM_WINDOW: u32 = 64 * 1024;
/// All of them: one client's slowness is not another's.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;
/// Of a request that the server has not taken.
const SEND_BUFFER: usize = 32 * 1024;
/// Of a response's fields.
const MAX_HEADERS: u32 = 64 * 1024;

/// A connection. A clone is a handle on the same one, and open as long as any is.
#[derive(Debug, Clone)]
pub struct Shared {
    send: SendRequest<Bytes>,
    is_tls: bool,
    /// One for each handle: streams, and the pool's.
    handles: Arc<()>,
    /// It served an exchange before this one.
    pub reused: bool,
}

/// Why a request could not begin; nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotBegun {
    /// HTTP/2 has no way to say it.
    Unsayable,
    /// The connection has ended.
    Closed,
}

impl Shared {
    /// Speaks HTTP/2 over a connection that has just been opened.
    pub async fn handshake(io: Io) -> Result<Self, h2::Error> {
        let is_tls = matches!(io, Io::Tls(_) | Io::UnixTls(_));
        let (io, flush) = gather(io);
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_max_send_streams(STREAMS)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(MAX_HEADERS);
        let (send, connection) = flush.drive(builder.handshake(io)).await?;
        // Ends with the connection, which ends with its last handle.
        tokio::spawn(async move {
            let _ = flush.drive(connection).await;
        });
        Ok(Self { send, is_tls, handles: Arc::default(), reused: false })
    }

    /// Begins a request; `head` is what HTTP/1 would send.
    pub fn begin(mut self, head: &[u8], framing: Framing) -> Result<Stream, NotBegun> {
        let request = message::request(head, self.is_tls).ok_or(NotBegun::Unsayable)?;
        let has_ended = !framing.has_body();
        let begun = self.send.send_request(request, has_ended);
        let (response, send) = begun.map_err(|_| NotBegun::Closed)?;
        Ok(Stream {
            response,
            send,
            recv: None,
            chunk: Bytes::new(),
            owed: match framing {
                Framing::Length(length) => Some(length),
                _ => None,
            },
            has_ended,
            head: ResponseHead::default(),
            trailers: Fields::default(),
            is_over: false,
            shared: self,
        })
    }

    /// Whether it can take another stream now; None where it has ended.
    fn has_room(&mut self) -> Option<bool> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match self.send.poll_ready(&mut cx) {
            Poll::Ready(Ok(())) => {
                let most = STREAMS.min(self.send.current_max_send_streams());
                // The pool's own handle is no stream.
                Some(Arc::strong_count(&self.handles) <= most)
            }
            Poll::Ready(Err(_)) => None,
            Poll::Pending => Some(false),
        }
    }

    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.handles) == 1
    }
}

/// One request on a connection.
#[derive(Debug)]
pub struct Stream {
    response: ResponseFuture,
    send: SendStream<Bytes>,
    recv: Option<RecvStream>,
    /// Of the response body, not yet taken.
    chunk: Bytes,
    /// Bytes that the request's declared length still owes.
    owed: Option<u64>,
    /// The request's end was said.
    has_ended: bool,
    head: ResponseHead,
    trailers: Fields,
    is_over: bool,
    /// Keeps the connection.
    pub shared: Shared,
}

impl Server for Stream {
    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let gone = || Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        if self.has_ended || self.owed.is_some_and(|owed| owed < data.len() as u64) {
            return gone();
        }
        // Only what lies ready is asked for: what is reserved and not used starves other streams.
        self.send.reserve_capacity(data.len().min(SEND_BUFFER));
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return gone(),
            }
        }
        let count = self.send.capacity().min(data.len());
        let end = match &mut self.owed {
            Some(owed) => {
                *owed -= count as u64;
                *owed == 0
            }
            None => false,
        };
        if self.send.send_data(Bytes::copy_from_slice(&data[..count]), end).is_err() {
            return gone();
        }
        self.has_ended = end;
        Poll::Ready(Ok(count))
    }

    fn end(&mut self, trailers: &Fields) -> io::Result<()> {
        if self.has_ended {
            return Ok(());
        }
        if self.owed.is_some_and(|owed| owed > 0) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.has_ended = true;
        let ended = match trailers.is_empty() {
            true => self.send.send_data(Bytes::new(), true),
            false => self.send.send_trailers(message::trailers(trailers)),
        };
        // A server that has answered may have closed its side, and its answer is still there.
        let _ = ended;
        Ok(())
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task sends what is queued; a stream's queue is bounded.
        Poll::Ready(Ok(()))
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        _: usize,
    ) -> Poll<Result<(), UpstreamError>> {
        if let Poll::Ready(Some(Ok(interim))) = self.response.poll_informational(cx) {
            let (parts, ()) = interim.into_parts();
            return Poll::Ready(self.take_head(&parts, method, false));
        }
        let (parts, recv) = ready!(Pin::new(&mut self.response).poll(cx))
            .map_err(|error| no_answer(&error))?
            .into_parts();
        let has_no_body = recv.is_end_stream();
        self.recv = Some(recv);
        Poll::Ready(self.take_head(&parts, method, has_no_body))
    }

    fn head(&self) -> &ResponseHead {
        &self.head
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming<'_>, UpstreamError>> {
        let broken = |error: h2::Error| UpstreamError::Io(io::Error::other(error));
        let Some(recv) = &mut self.recv else {
            return Poll::Ready(Ok(Incoming::End(&self.trailers)));
        };
        while self.chunk.is_empty() && !self.is_over {
            match ready!(recv.poll_data(cx)) {
                Some(chunk) => self.chunk = chunk.map_err(broken)?,
                None => {
                    let trailers = ready!(recv.poll_trailers(cx)).map_err(broken)?;
                    if let Some(trailers) = trailers {
                        message::fill(&mut self.trailers, &trailers)?;
                    }
                    self.is_over = true;
                }
            }
        }
        Poll::Ready(Ok(match self.chunk.is_empty() {
            true => Incoming::End(&self.trailers),
            false => Incoming::Data(&self.chunk),
        }))
    }

    fn consume(&mut self, bytes: usize) {
        self.chunk.advance(bytes);
        if let Some(recv) = &mut self.recv {
            // Fails only where the stream is gone, which the next read will say.
            let _ = recv.flow_control().release_capacity(bytes);
        }
    }

    fn trailers(&self) -> &Fields {
        &self.trailers
    }
}

impl Stream {
    fn take_head(
        &mut self,
        parts: &http::response::Parts,
        method: &Method,
        has_no_body: bool,
    ) -> Result<(), UpstreamError> {
        message::response(&mut self.head, parts, method)?;
        if has_no_body && self.head.framing.has_body() {
            match self.head.framing {
                Framing::Length(0) => {}
                Framing::Length(_) => return Err(UpstreamError::Head(HeadError::ContentLength)),
                _ => self.head.framing = Framing::Length(0),
            }
        }
        Ok(())
    }
}

/// A stream that ended before its answer. One that the server refused, or that came after the last
/// one that a GOAWAY names, was not looked at (RFC 9113, section 8.7): it may be sent again, whatever
/// it is. (The crate ends a stream with the peer's GOAWAY only where that does not count it.)
fn no_answer(error: &h2::Error) -> UpstreamError {
    let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    match error {
        error if error.is_remote() && (is_refused || error.is_go_away()) => UpstreamError::Refused,
        error if error.is_library() => UpstreamError::Head(HeadError::FieldLine),
        _ => UpstreamError::NoAnswer,
    }
}
