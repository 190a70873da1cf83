//! One HTTP/1.1 connection to a server.
//!
//! Whatever the server sends that can be read in two ways ends the connection; it is never used
//! again. A connection goes back to the pool only when both messages ended where they said.

use std::io;
use std::task::{Context, Poll, ready};

use http::Method;
use tokio::time::Instant;

use super::member::MemberId;
use crate::http1::body::{Body, BodyStep};
use crate::http1::fields::Fields;
use crate::http1::head::{HeadScan, ResponseHead, parse_trailers};
use crate::http1::recv::{Fill, Recv, STREAMING};
use crate::http1::send::Send;
use crate::http1::{BodyError, HeadError};
use crate::net::io::Io;

#[derive(Debug)]
pub struct Connection {
    pub io: Io,
    pub member: MemberId,
    pub recv: Recv,
    pub send: Send,
    /// The last response head that was read.
    pub head: ResponseHead,
    trailers: Fields,
    body: Body,
    scan: HeadScan,
    /// It served an exchange before this one.
    pub reused: bool,
    /// Bytes of this exchange's response have arrived.
    pub answered: bool,
    pub idle_since: Instant,
}

/// What went wrong on the server's side.
#[derive(Debug)]
pub enum UpstreamError {
    /// The connection ended or broke before the first byte of a response.
    NoAnswer,
    /// The server says that it did not look at the request; HTTP/2 only.
    Refused,
    /// The connection ended or broke inside a response head.
    CutHead,
    Head(HeadError),
    Body(BodyError),
    /// The connection broke inside the response body.
    Io(io::Error),
}

/// A piece of a message body.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// Never empty.
    Data(&'a [u8]),
    /// The end; the trailers may be empty.
    End(&'a Fields),
}

impl Connection {
    pub fn new(io: Io, member: MemberId) -> Self {
        Self {
            io,
            member,
            recv: Recv::default(),
            send: Send::default(),
            head: ResponseHead::default(),
            trailers: Fields::default(),
            body: Body::Done,
            scan: HeadScan::default(),
            reused: false,
            answered: false,
            idle_since: Instant::now(),
        }
    }

    /// Reads the next response head, interim or final.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        max: usize,
    ) -> Poll<Result<(), UpstreamError>> {
        loop {
            if let Some(end) = self.scan.end(self.recv.bytes()).map_err(UpstreamError::Head)? {
                if end > max {
                    return Poll::Ready(Err(UpstreamError::Head(HeadError::TooLarge)));
                }
                let head = &self.recv.bytes()[..end];
                self.head.parse(head, method).map_err(UpstreamError::Head)?;
                self.recv.consume(end);
                self.scan = HeadScan::default();
                self.body = Body::new(self.head.framing, max);
                return Poll::Ready(Ok(()));
            }
            if self.recv.len() >= max {
                return Poll::Ready(Err(UpstreamError::Head(HeadError::TooLarge)));
            }
            let filled = ready!(self.recv.poll_fill(&mut self.io, cx, max));
            match (filled, self.answered) {
                (Ok(Fill::Read), _) => self.answered = true,
                (_, false) => return Poll::Ready(Err(UpstreamError::NoAnswer)),
                (_, true) => return Poll::Ready(Err(UpstreamError::CutHead)),
            }
        }
    }

    /// The next piece of the response body. Say with [`Connection::consume`] how much was taken.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming<'_>, UpstreamError>> {
        let count = loop {
            let step = self.body.step(self.recv.bytes(), self.recv.eof());
            match step.map_err(UpstreamError::Body)? {
                BodyStep::Data(count) => break count,
                BodyStep::Skip(count) => self.recv.consume(count),
                BodyStep::End => {
                    self.trailers.clear();
                    return Poll::Ready(Ok(Incoming::End(&self.trailers)));
                }
                BodyStep::Trailers(count) => {
                    parse_trailers(&self.recv.bytes()[..count], &mut self.trailers)
                        .map_err(UpstreamError::Head)?;
                    self.recv.consume(count);
                    return Poll::Ready(Ok(Incoming::End(&self.trailers)));
                }
                BodyStep::Need => {
                    let fill = ready!(self.recv.poll_fill(&mut self.io, cx, STREAMING))
                        .map_err(UpstreamError::Io)?;
                    if fill == Fill::Full {
                        return Poll::Ready(Err(UpstreamError::Body(BodyError::ChunkTooLarge)));
                    }
                }
            }
        };
        Poll::Ready(Ok(Incoming::Data(&self.recv.bytes()[..count])))
    }

    /// Those of the body that has ended.
    pub fn trailers(&self) -> &Fields {
        &self.trailers
    }

    pub fn consume(&mut self, bytes: usize) {
        self.recv.consume(bytes);
        self.body.took(bytes);
    }

    /// Whether another request may follow on this connection: the response ended where it said,
    /// nothing came after it, and the server did not say close.
    pub fn is_reusable(&self) -> bool {
        self.body.is_done()
            && self.recv.is_empty()
            && !self.recv.eof()
            && self.send.is_flushed()
            && self.head.keeps_alive()
    }

    /// Prepares an idle connection for its next exchange; `false` where the server has closed it
    /// or said something unasked.
    pub fn renew(&mut self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        if self.recv.poll_fill(&mut self.io, &mut cx, STREAMING).is_ready() {
            return false;
        }
        self.reused = true;
        self.answered = false;
        true
    }
}
