//! One HTTP/1 exchange as the pipeline sees it: the request's body in, answers out.

use std::io;
use std::task::{Context, Poll, ready};

use http::{Method, StatusCode};

use super::Http1;
use crate::compress::Encoder;
use crate::edge::coding::{encoder, is_encoded};
use crate::edge::handle::Downstream;
use crate::edge::headers::{
    dressed_fields, interim_fields, is_trailer, splice, switch_fields, write_length,
};
use crate::edge::respond::Answer;
use crate::embed::splice::Splice;
use crate::http1::BodyError;
use crate::http1::body::BodyStep;
use crate::http1::fields::{Fields, Known};
use crate::http1::framing::Framing;
use crate::http1::head::{RequestHead, ResponseHead, Version, parse_trailers};
use crate::http1::recv::{Fill, STREAMING};
use crate::http1::send::write_field;
use crate::pipeline::Dress;
use crate::telemetry::request_id::RequestId;
use crate::upstream::client::{Client, ClientError};
use crate::upstream::connection::Incoming;

impl Http1 {
    /// The status line and the fields that every answer has.
    fn write_start(&mut self, status: StatusCode) {
        let out = self.send.head();
        if status == StatusCode::OK {
            return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        }
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
        write_field(out, b"X-Request-Id", request_id.as_bytes());
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

    fn undress(&mut self) -> Dress {
        std::mem::take(&mut self.dress)
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
        if let Some(length) = answer.length() {
            write_length(out, length);
        }
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
        for field in interim_fields(head) {
            write_field(out, field.name, field.value);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn splice(&mut self, head: &ResponseHead) -> Option<Splice> {
        splice(head, &self.dress)
    }

    fn encode(&mut self, head: &ResponseHead, framing: Framing) -> Option<Encoder> {
        encoder(&self.head, head, framing, &mut self.dress)
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
            Framing::Empty if is_encoded(&self.dress) => {}
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
        switch_fields(head, &self.dress, |name, value| write_field(out, name, value));
        write_field(out, b"X-Request-Id", request_id.as_bytes());
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
    let may = *method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED;
    // RFC 9110, section 8.6: a 204 says none, also to HEAD.
    if !may || head.status == StatusCode::NO_CONTENT {
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
