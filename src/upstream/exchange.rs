//! One request and its response, moving both ways at once.
//!
//! The response may begin, and end, while the request body is still on its way; interim responses
//! pass; nothing is held back that could be sent. Memory is bounded by the buffers of both sides:
//! one side is read only while the other takes.

mod body;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::client::{Client, ClientError};
use super::connection::{Incoming, UpstreamError};
use super::server::Server;
use crate::compress::Encoder;
use crate::config::snapshot::Limits;
use crate::embed::splice::Splice;
use crate::http1::BodyError;
use crate::http1::fields::Known;
use crate::http1::framing::Framing;
use crate::http1::head::{ResponseHead, Version};
use crate::net::deadline::Deadline;
use tally::Events;
pub use tally::Tally;

/// Interim responses that one exchange may pass.
const MAX_INTERIM: u8 = 16;

/// How an exchange ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The response was passed whole; `whole_request` tells whether the request was too.
    Complete { whole_request: bool },
    /// The upstream accepted the WebSocket handshake and the client was told.
    Switched,
}

/// How an exchange ended badly.
#[derive(Debug)]
pub enum Failure {
    ClientGone,
    /// The request body was malformed, cut or stalled.
    RequestBody(BodyError),
    RequestTimeout,
    RequestTooLarge,
    /// The client stopped reading the response.
    ClientStalled,
    Upstream(UpstreamError),
    UpstreamTimeout,
    /// A 101 that nobody asked for, too many interim responses, or a bad handshake.
    UpstreamProtocol(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upload {
    Running,
    /// Everything is in the connection's buffer.
    Ended,
    Flushed,
    /// The upstream takes no more; what it answered is still read.
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Download {
    Head {
        interim: u8,
    },
    Body,
    /// The body has ended; what joins it at its end is on its way.
    Joining,
    Flushing,
    Switching,
}

/// What the exchange is waiting for; each has its own patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    RequestBody,
    UpstreamTakes,
    ResponseHead,
    ClientTakes,
    /// An open stream: no deadline.
    Stream,
}

/// What an exchange is told about the WebSocket handshake it carries.
#[derive(Debug, Clone, Default)]
pub enum Upgrade {
    #[default]
    None,
    /// The expected `Sec-WebSocket-Accept`.
    WebSocket(String),
}

pub struct Exchange<'a, C, S> {
    pub client: &'a mut C,
    pub upstream: &'a mut S,
    pub limits: &'a Limits,
    pub response_timeout: Duration,
    pub upgrade: &'a Upgrade,
    pub tally: &'a mut Tally,
    /// Told whether the response is an event stream.
    pub is_events: Option<&'a AtomicBool>,
    upload: Upload,
    download: Download,
    /// The request's method, as the upstream saw it: what frames the response.
    method: Method,
    waiting: Waiting,
    moved: u64,
    /// What it waited for when it was last looked at, how much had moved, and since when that is so.
    rests: Option<(Waiting, u64, Instant)>,
    /// What joins the response body, until it has. Few answers have it.
    splice: Option<Box<Splice>>,
    /// What compresses the response body.
    encoder: Option<Box<Encoder>>,
    /// Bytes that were compressed in this poll.
    encoded: usize,
}

impl<'a, C: Client, S: Server> Exchange<'a, C, S> {
    /// The request head is on its way to `upstream`.
    pub fn new(
        client: &'a mut C,
        upstream: &'a mut S,
        limits: &'a Limits,
        response_timeout: Duration,
        upgrade: &'a Upgrade,
        tally: &'a mut Tally,
    ) -> Self {
        let method = match upgrade {
            Upgrade::None => client.request().method.clone(),
            Upgrade::WebSocket(_) => Method::GET,
        };
        Self {
            client,
            upstream,
            limits,
            response_timeout,
            tally,
            is_events: None,
            // An extended CONNECT stream stays open; its data are frames, not a body.
            upload: match upgrade {
                Upgrade::None => Upload::Running,
                Upgrade::WebSocket(_) => Upload::Ended,
            },
            upgrade,
            download: Download::Head { interim: 0 },
            method,
            waiting: Waiting::RequestBody,
            moved: 0,
            rests: None,
            splice: None,
            encoder: None,
            encoded: 0,
        }
    }

    /// Whether the client was sent any part of a final response.
    pub fn has_answered(&self) -> bool {
        !matches!(self.download, Download::Head { .. })
    }

    /// Moves what can be moved.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        deadline: &mut Deadline,
    ) -> Poll<Result<Done, Failure>> {
        self.encoded = 0;
        self.poll_upload(cx)?;
        if let Poll::Ready(done) = self.poll_download(cx)? {
            return Poll::Ready(Ok(done));
        }
        let idle_client = matches!(self.upload, Upload::Flushed | Upload::Stopped)
            && self.waiting != Waiting::ClientTakes;
        if idle_client && self.client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Failure::ClientGone));
        }
        self.poll_patience(cx, deadline)
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while self.upload == Upload::Running {
            let incoming = match self.client.poll_body(cx) {
                Poll::Pending => {
                    self.waiting = Waiting::RequestBody;
                    // What was taken so far must not wait for the rest.
                    if let Poll::Ready(Err(_)) = self.upstream.poll_flush(cx) {
                        self.upload = Upload::Stopped;
                    }
                    return Ok(());
                }
                Poll::Ready(incoming) => incoming.map_err(|error| match error {
                    ClientError::Gone => Failure::ClientGone,
                    ClientError::Body(error) => Failure::RequestBody(error),
                })?,
            };
            match incoming {
                Incoming::End(trailers) => {
                    if self.upstream.end(trailers).is_err() {
                        return Err(Failure::RequestBody(BodyError::Truncated));
                    }
                    self.upload = Upload::Ended;
                }
                Incoming::Data(data) => {
                    if self.tally.request_bytes + data.len() as u64 > self.limits.body_bytes {
                        return Err(Failure::RequestTooLarge);
                    }
                    match self.upstream.poll_data(cx, data) {
                        Poll::Pending => {
                            self.waiting = Waiting::UpstreamTakes;
                            return Ok(());
                        }
                        Poll::Ready(Ok(count)) => {
                            self.client.consume(count);
                            self.tally.request_bytes += count as u64;
                            self.moved += count as u64;
                        }
                        Poll::Ready(Err(_)) => self.upload = Upload::Stopped,
                    }
                }
            }
        }
        if self.upload == Upload::Ended {
            match self.upstream.poll_flush(cx) {
                Poll::Pending => self.waiting = Waiting::UpstreamTakes,
                Poll::Ready(Ok(())) => {
                    self.upload = Upload::Flushed;
                    self.waiting = Waiting::ResponseHead;
                }
                // It may have answered before it closed.
                Poll::Ready(Err(_)) => self.upload = Upload::Stopped,
            }
        }
        Ok(())
    }

    fn poll_download(&mut self, cx: &mut Context<'_>) -> Result<Poll<Done>, Failure> {
        loop {
            match self.download {
                Download::Head { interim } => {
                    let max = self.limits.header_bytes;
                    match self.upstream.poll_head(cx, &self.method, max) {
                        Poll::Pending => {
                            if self.upload == Upload::Stopped {
                                self.waiting = Waiting::ResponseHead;
                            }
                            // An interim response must not wait for the final one.
                            if let Poll::Ready(Err(_)) = self.client.poll_flush(cx) {
                                return Err(Failure::ClientGone);
                            }
                            return Ok(Poll::Pending);
                        }
                        Poll::Ready(head) => head.map_err(Failure::Upstream)?,
                    }
                    self.on_head(interim)?;
                }
                Download::Body => match self.poll_response_body(cx)? {
                    Poll::Pending => return Ok(Poll::Pending),
                    Poll::Ready(()) => self.download = Download::Joining,
                },
                Download::Joining => {
                    if self.poll_own(cx)?.is_pending() || self.poll_encoded(cx, true)?.is_pending()
                    {
                        return Ok(Poll::Pending);
                    }
                    let trailers = self.upstream.trailers();
                    self.client.end(trailers).map_err(|_| Failure::ClientGone)?;
                    self.download = Download::Flushing;
                }
                Download::Flushing | Download::Switching => {
                    match self.client.poll_flush(cx) {
                        Poll::Pending => {
                            self.waiting = Waiting::ClientTakes;
                            return Ok(Poll::Pending);
                        }
                        Poll::Ready(flushed) => flushed.map_err(|_| Failure::ClientGone)?,
                    }
                    return Ok(Poll::Ready(match self.download {
                        Download::Switching => Done::Switched,
                        _ => Done::Complete { whole_request: self.upload == Upload::Flushed },
                    }));
                }
            }
        }
    }

    /// A response head has arrived: an interim one is passed, a final one begins the answer.
    fn on_head(&mut self, interim: u8) -> Result<(), Failure> {
        let head = self.upstream.head();
        let status = head.status;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let Upgrade::WebSocket(accept) = self.upgrade else {
                return Err(Failure::UpstreamProtocol("a 101 that was not asked for"));
            };
            super::forward::check_switch(head, accept).map_err(Failure::UpstreamProtocol)?;
            let is_connect = self.client.request().protocol.is_some();
            self.tally.status = Some(if is_connect { StatusCode::OK } else { status });
            self.tally.answered(status, Events::No);
            self.client.send_switch(head).map_err(|_| Failure::ClientGone)?;
            self.download = Download::Switching;
            return Ok(());
        }
        if status.is_informational() {
            if interim == MAX_INTERIM {
                return Err(Failure::UpstreamProtocol("too many interim responses"));
            }
            self.download = Download::Head { interim: interim + 1 };
            self.moved += 1;
            if self.client.request().version != Version::Http10 {
                self.client.send_interim(head).map_err(|_| Failure::ClientGone)?;
            }
            return Ok(());
        }
        // A 2xx would tell an HTTP/2 client that its tunnel is open.
        let is_tunnel = self.client.request().protocol.is_some();
        if is_tunnel && status.is_success() {
            return Err(Failure::UpstreamProtocol("a success that is no 101 to a handshake"));
        }
        self.tally.status = Some(status);
        let events = if is_event_stream(head) { Events::Yes } else { Events::No };
        self.tally.answered(status, events);
        let splice = self.client.splice(head).filter(|_| Splice::fits(head));
        let framing = splice.as_ref().map_or(head.framing, |splice| splice.framing(head.framing));
        self.splice = splice.map(Box::new);
        if let Some(told) = self.is_events.filter(|_| events == Events::Yes) {
            told.store(true, Ordering::Relaxed);
        }
        let encoder = self.client.encode(head, framing);
        let framing = encoder.as_ref().map_or(framing, |encoder| match encoder.length() {
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        });
        self.encoder = encoder.map(Box::new);
        self.client.send_head(head, framing).map_err(|_| Failure::ClientGone)?;
        self.download = Download::Body;
        self.waiting = Waiting::Stream;
        Ok(())
    }

    /// Nothing can be moved: how long may that last?
    fn poll_patience(
        &mut self,
        cx: &mut Context<'_>,
        deadline: &mut Deadline,
    ) -> Poll<Result<Done, Failure>> {
        let patience = match self.waiting {
            Waiting::Stream => return Poll::Pending,
            Waiting::ResponseHead => self.response_timeout,
            _ => self.limits.body_timeout,
        };
        let since = match self.rests {
            Some((waiting, moved, since)) if (waiting, moved) == (self.waiting, self.moved) => {
                since
            }
            _ => Instant::now(),
        };
        self.rests = Some((self.waiting, self.moved, since));
        ready!(deadline.poll(cx, Some(since + patience)));
        Poll::Ready(Err(match self.waiting {
            Waiting::RequestBody => Failure::RequestTimeout,
            Waiting::ClientTakes => Failure::ClientStalled,
            _ => Failure::UpstreamTimeout,
        }))
    }
}

/// Whether it may be ended anywhere: not where a length or a coding says where it ends.
fn is_event_stream(head: &ResponseHead) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let media_type = head.fields.single(Known::ContentType).unwrap_or_default();
    let (start, rest) = media_type.split_at(media_type.len().min(EVENTS.len()));
    start.eq_ignore_ascii_case(EVENTS)
        && matches!(rest.first(), None | Some(b';' | b' ' | b'\t'))
        && matches!(head.framing, Framing::Chunked | Framing::UntilClose)
        && head.fields.get(Known::ContentEncoding).is_none()
}
