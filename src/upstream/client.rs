//! What an exchange needs of the client's side. HTTP/1 and HTTP/2 are its two implementations.

use std::io;
use std::task::{Context, Poll};

use super::connection::Incoming;
use crate::compress::Encoder;
use crate::embed::splice::Splice;
use crate::http1::BodyError;
use crate::http1::fields::Fields;
use crate::http1::framing::Framing;
use crate::http1::head::{RequestHead, ResponseHead};

/// Why the request body ended early.
#[derive(Debug)]
pub enum ClientError {
    /// The connection or stream is gone.
    Gone,
    /// The body is malformed or cut.
    Body(BodyError),
}

/// One request of a client: its head was read, its body is still coming, its answer is owed.
///
/// Everything written is buffered; only [`Client::poll_flush`] promises that it leaves.
pub trait Client {
    fn request(&self) -> &RequestHead;

    /// The next piece of the request body. Say with [`Client::consume`] how much was taken.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming<'_>, ClientError>>;

    fn consume(&mut self, bytes: usize);

    /// Ready once the client has gone away; called while nothing else is expected of it.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Passes an interim response (103, 100).
    fn send_interim(&mut self, head: &ResponseHead) -> io::Result<()>;

    /// What joins the body of the final response, where it is a document that we add to. Asked
    /// only about answers that [`Splice::fits`].
    fn splice(&mut self, _head: &ResponseHead) -> Option<Splice> {
        None
    }

    /// What compresses the body of the final response, which is framed so, with what joins it.
    /// Asked about every final response before its head is sent.
    fn encode(&mut self, _head: &ResponseHead, _framing: Framing) -> Option<Encoder> {
        None
    }

    /// Begins the final response; `framing` is the upstream's, longer by what joins the body,
    /// or that of its compressed form.
    fn send_head(&mut self, head: &ResponseHead, framing: Framing) -> io::Result<()>;

    /// Begins the answer to a WebSocket handshake that the upstream accepted.
    fn send_switch(&mut self, head: &ResponseHead) -> io::Result<()>;

    /// Takes response data; answers how much of it.
    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>>;

    fn end(&mut self, trailers: &Fields) -> io::Result<()>;

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}
