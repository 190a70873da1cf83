//! What an exchange needs of the server's side. HTTP/1 and HTTP/2 are its two implementations.

use std::io;
use std::task::{Context, Poll};

use http::Method;

use super::connection::{Connection, Incoming, UpstreamError};
use crate::http1::fields::Fields;
use crate::http1::head::ResponseHead;

/// One request to a server: its head is on its way, its body is still to come, its answer is awaited.
pub trait Server {
    /// Takes request data; answers how much of it.
    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>>;

    fn end(&mut self, trailers: &Fields) -> io::Result<()>;

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads the next response head, interim or final, of at most `max` bytes.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        max: usize,
    ) -> Poll<Result<(), UpstreamError>>;

    /// The last one that was read.
    fn head(&self) -> &ResponseHead;

    /// The next piece of the response body. Say with [`Server::consume`] how much was taken.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming<'_>, UpstreamError>>;

    fn consume(&mut self, bytes: usize);

    /// Those of the body that has ended.
    fn trailers(&self) -> &Fields;
}

impl Server for Connection {
    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.send.poll_data(&mut self.io, cx, data)
    }

    fn end(&mut self, trailers: &Fields) -> io::Result<()> {
        self.send.end(Some(trailers))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send.poll_flush(&mut self.io, cx)
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        max: usize,
    ) -> Poll<Result<(), UpstreamError>> {
        Connection::poll_head(self, cx, method, max)
    }

    fn head(&self) -> &ResponseHead {
        &self.head
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming<'_>, UpstreamError>> {
        Connection::poll_body(self, cx)
    }

    fn consume(&mut self, bytes: usize) {
        Connection::consume(self, bytes);
    }

    fn trailers(&self) -> &Fields {
        Connection::trailers(self)
    }
}
