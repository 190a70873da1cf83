//! One HTTP/2 stream as the pipeline sees it: its request, and the answer to it.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, DATE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::SEND_BUFFER;
use crate::compress::Encoder;
use crate::edge::coding::{encoder, is_encoded};
use crate::edge::handle::Downstream;
use crate::edge::headers::{dressed_fields, interim_fields, is_trailer, splice, switch_fields};
use crate::edge::respond::Answer;
use crate::embed::splice::Splice;
use crate::http1::BodyError;
use crate::http1::fields::{Fields, Known};
use crate::http1::framing::{self, Framing};
use crate::http1::head::{MAX_FIELDS, RequestHead, ResponseHead, Version};
use crate::pipeline::Dress;
use crate::rejection::{Code, Rejection};
use crate::telemetry::request_id::RequestId;
use crate::upstream::client::{Client, ClientError};
use crate::upstream::connection::Incoming;

/// One stream.
pub struct Http2 {
    head: RequestHead,
    pub recv: RecvStream,
    pub chunk: Bytes,
    request_ended: bool,
    trailers: Fields,
    respond: SendResponse<Bytes>,
    pub send: Option<SendStream<Bytes>>,
    /// Bytes that the declared length still owes.
    owed: Option<u64>,
    ended: bool,
    request_id: RequestId,
    dress: Dress,
    refusal: Option<Rejection>,
}

impl Http2 {
    pub fn new(request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Self {
        let (parts, recv) = request.into_parts();
        let protocol = parts.extensions.get::<h2::ext::Protocol>();
        let mut head = RequestHead {
            method: parts.method,
            version: Version::Http2,
            target: parts
                .uri
                .path_and_query()
                .map_or_else(String::new, |it| it.as_str().to_owned()),
            authority: parts.uri.authority().map(|it| it.as_str().to_owned()),
            protocol: protocol.map(|protocol| protocol.as_str().to_owned()),
            ..RequestHead::default()
        };
        let length = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        head.fields.reserve(parts.headers.len(), parts.headers.iter().map(length).sum());
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

    pub fn was_reset(&mut self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.poll_gone(&mut cx).is_ready()
    }

    pub fn abort(mut self) {
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
        if let Ok(mut id) = HeaderValue::from_bytes(self.request_id.as_bytes()) {
            // It never comes again: in the connection's table it would only drive out what does.
            id.set_sensitive(true);
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

    fn undress(&mut self) -> Dress {
        std::mem::take(&mut self.dress)
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
        if let Some(length) = answer.length() {
            map.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
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
        for field in interim_fields(head) {
            append(response.headers_mut(), field.name, field.value);
        }
        self.respond.send_informational(response).map_err(io::Error::other)
    }

    fn splice(&mut self, head: &ResponseHead) -> Option<Splice> {
        splice(head, &self.dress)
    }

    fn encode(&mut self, head: &ResponseHead, framing: Framing) -> Option<Encoder> {
        encoder(&self.head, head, framing, &mut self.dress)
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
                let declares = !is_encoded(&self.dress)
                    && head.status != StatusCode::NO_CONTENT
                    && (self.head.method == Method::HEAD
                        || head.status == StatusCode::NOT_MODIFIED);
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
        switch_fields(head, &self.dress, |name, value| {
            if !name.eq_ignore_ascii_case(b"sec-websocket-accept") {
                append(response.headers_mut(), name, value);
            }
        });
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
