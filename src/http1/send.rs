//! The sending side of a connection: a small buffer for heads and framing, and body data written
//! from where it lies.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::fields::Fields;
use super::framing::Framing;

/// Data up to this size is copied behind what is buffered, so that head and body leave in one
/// write; longer data is written from where it lies.
const COPY: usize = 16 * 1024;
/// What the buffer begins with.
const HEAD: usize = 2 * 1024;
/// With more than this buffered nothing is added before some has left.
const FULL: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// No body, or it is complete.
    Done,
    Length(u64),
    /// Bytes still owed to the chunk whose header was written.
    Chunked(usize),
    UntilClose,
}

/// What is waiting to be sent, and how the body of this message is framed.
#[derive(Debug)]
pub struct Send {
    out: Vec<u8>,
    sent: usize,
    mode: Mode,
}

impl Default for Send {
    fn default() -> Self {
        Self { out: Vec::new(), sent: 0, mode: Mode::Done }
    }
}

impl Send {
    /// Begins the body of a message whose head is in the buffer or goes there next.
    pub fn begin(&mut self, framing: Framing) {
        self.mode = match framing {
            Framing::Empty | Framing::Length(0) => Mode::Done,
            Framing::Length(length) => Mode::Length(length),
            Framing::Chunked => Mode::Chunked(0),
            Framing::UntilClose => Mode::UntilClose,
        };
    }

    /// The buffer, for writing a head.
    pub fn head(&mut self) -> &mut Vec<u8> {
        if self.out.capacity() == 0 {
            // A head and a small body; growing there step by step costs more.
            self.out.reserve(HEAD);
        }
        &mut self.out
    }

    /// Puts a whole head into the buffer, which takes no more memory than that.
    pub fn put_head(&mut self, head: &[u8]) {
        self.out.extend_from_slice(head);
    }

    /// Whether the connection's end is what ends the body that was begun.
    pub fn ends_with_connection(&self) -> bool {
        self.mode == Mode::UntilClose
    }

    pub fn is_flushed(&self) -> bool {
        self.sent == self.out.len()
    }

    /// Gives the memory back between messages.
    pub fn rest(&mut self) {
        if self.is_flushed() {
            self.out = Vec::new();
            self.sent = 0;
        }
    }

    /// Takes body data; answers how much of it. `data` must go on where the last call stopped.
    /// What exceeds a declared length is an error of the caller's message: `InvalidData`.
    pub fn poll_data(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.out.len() - self.sent > FULL {
            ready!(self.poll_write(io, cx))?;
        }
        if self.sent >= COPY {
            // A reader that lags behind an endless stream must not make this grow.
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        let data = match self.mode {
            Mode::Done => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            Mode::Length(left) if data.len() as u64 > left => {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            Mode::Length(_) | Mode::UntilClose => data,
            Mode::Chunked(0) => {
                self.chunk_header(data.len());
                data
            }
            Mode::Chunked(owed) => &data[..data.len().min(owed)],
        };
        if data.len() <= COPY {
            self.out.extend_from_slice(data);
            self.took(data.len());
            return Poll::Ready(Ok(data.len()));
        }
        loop {
            let slices = [IoSlice::new(&self.out[self.sent..]), IoSlice::new(data)];
            let slices = if self.is_flushed() { &slices[1..] } else { &slices[..] };
            let mut count = ready!(Pin::new(&mut *io).poll_write_vectored(cx, slices))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let buffered = count.min(self.out.len() - self.sent);
            self.sent += buffered;
            count -= buffered;
            if self.is_flushed() {
                self.out.clear();
                self.sent = 0;
            }
            if count > 0 {
                self.took(count);
                return Poll::Ready(Ok(count));
            }
        }
    }

    /// Ends the body. A declared length that was not reached is `UnexpectedEof`.
    pub fn end(&mut self, trailers: Option<&Fields>) -> io::Result<()> {
        match self.mode {
            Mode::Done | Mode::UntilClose => {}
            Mode::Chunked(0) => {
                self.out.extend_from_slice(b"0\r\n");
                for field in trailers.into_iter().flat_map(Fields::iter) {
                    write_field(&mut self.out, field.name, field.value);
                }
                self.out.extend_from_slice(b"\r\n");
            }
            Mode::Length(_) | Mode::Chunked(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        self.mode = Mode::Done;
        Ok(())
    }

    /// Writes out what is buffered and flushes the transport.
    pub fn poll_flush(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_write(io, cx))?;
        Pin::new(io).poll_flush(cx)
    }

    fn poll_write(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_flushed() {
            match ready!(Pin::new(&mut *io).poll_write(cx, &self.out[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        self.out.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn chunk_header(&mut self, size: usize) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
        for digit in (0..digits).rev() {
            self.out.push(DIGITS[(size >> (digit * 4)) & 0xf]);
        }
        self.out.extend_from_slice(b"\r\n");
        self.mode = Mode::Chunked(size);
    }

    fn took(&mut self, count: usize) {
        match &mut self.mode {
            Mode::Length(left) => {
                *left -= count as u64;
                if *left == 0 {
                    self.mode = Mode::Done;
                }
            }
            Mode::Chunked(owed) => {
                *owed -= count;
                if *owed == 0 {
                    self.out.extend_from_slice(b"\r\n");
                }
            }
            Mode::Done | Mode::UntilClose => {}
        }
    }
}

/// Writes one field line.
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes everything but what was written last, like a client that is always behind.
    struct Laggard;

    impl AsyncWrite for Laggard {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            data: &[u8],
        ) -> Poll<io::Result<usize>> {
            match data.len().saturating_sub(1000) {
                0 => Poll::Pending,
                count => Poll::Ready(Ok(count)),
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_reader_that_is_always_behind_costs_a_bounded_buffer() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut send = Send::default();
        send.begin(Framing::Chunked);
        for _ in 0..2000 {
            let event = [b'x'; 8000];
            assert!(matches!(send.poll_data(&mut Laggard, &mut cx, &event), Poll::Ready(Ok(8000))));
            let _ = send.poll_flush(&mut Laggard, &mut cx);
        }
        assert!(send.out.capacity() < 4 * FULL, "{}", send.out.capacity());
    }
}
