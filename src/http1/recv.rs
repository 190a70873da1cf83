//! The receiving buffer of a connection.
//!
//! It holds nothing while nothing was received: the first read goes through the thread's scratch
//! buffer and only what arrived is kept. It grows to 64 KiB while full reads show that a body is
//! streaming. [`Recv::rest`] gives all memory back between messages.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::scratch;

/// What a buffer of its own begins with.
const FIRST: usize = 8 * 1024;
/// The largest size that a streaming body makes it take.
pub const STREAMING: usize = scratch::SIZE;

#[derive(Debug, Default)]
pub struct Recv {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    eof: bool,
    /// The last read filled the buffer.
    full: bool,
}

/// What one read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Bytes were added, at least one.
    Read,
    /// The peer has sent everything it will send.
    Eof,
    /// As much is buffered as may be. Asking again without consuming would never end.
    Full,
}

impl Recv {
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// The peer has sent everything it will send.
    pub fn eof(&self) -> bool {
        self.eof
    }

    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.end);
        if self.start >= self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// What was received and not consumed, for whoever goes on reading this connection.
    pub fn into_rest(self) -> Vec<u8> {
        self.bytes().to_vec()
    }

    /// Gives the memory back where nothing is buffered.
    pub fn rest(&mut self) {
        if self.is_empty() {
            *self = Self { eof: self.eof, ..Self::default() };
        }
    }

    /// Reads once. `limit` bounds what may be buffered at the same time.
    pub fn poll_fill(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Poll<io::Result<Fill>> {
        if self.eof {
            return Poll::Ready(Ok(Fill::Eof));
        }
        if self.len() >= limit {
            return Poll::Ready(Ok(Fill::Full));
        }
        let count = if self.is_empty() && self.buffer.len() < FIRST {
            ready!(self.poll_first(io, cx, limit))?
        } else {
            self.make_room(limit);
            let end = self.buffer.len().min(self.start + limit);
            let mut spare = ReadBuf::new(&mut self.buffer[self.end..end]);
            ready!(Pin::new(io).poll_read(cx, &mut spare))?;
            self.full = spare.remaining() == 0;
            spare.filled().len()
        };
        self.end += count;
        self.eof = count == 0;
        Poll::Ready(Ok(if self.eof { Fill::Eof } else { Fill::Read }))
    }

    /// The first read of a message: only what arrives takes memory.
    fn poll_first(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        scratch::with(|scratch| {
            let size = scratch.len().min(limit);
            let mut spare = ReadBuf::new(&mut scratch[..size]);
            ready!(Pin::new(io).poll_read(cx, &mut spare))?;
            self.full = spare.remaining() == 0;
            self.buffer.clear();
            self.buffer.extend_from_slice(spare.filled());
            Poll::Ready(Ok(self.buffer.len()))
        })
    }

    fn make_room(&mut self, limit: usize) {
        if self.start > 0 && self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let grows = self.buffer.len() < FIRST || self.end == self.buffer.len() || self.full;
        if grows && self.start == 0 {
            let wanted = (self.buffer.len() * 2).clamp(FIRST, STREAMING.max(limit)).min(limit);
            if wanted > self.buffer.len() {
                self.buffer.resize(wanted, 0);
            }
        }
        self.full = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(recv: &mut Recv, mut from: &[u8], limit: usize) -> Fill {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match recv.poll_fill(&mut from, &mut cx, limit) {
            Poll::Ready(fill) => fill.expect("a slice does not fail"),
            Poll::Pending => panic!("a slice is always ready"),
        }
    }

    #[test]
    fn a_full_buffer_is_not_the_end() {
        let mut recv = Recv::default();
        let data = vec![b'x'; 3 * STREAMING];
        assert_eq!(fill(&mut recv, &data, 100), Fill::Read);
        assert_eq!(recv.len(), 100);
        assert_eq!(fill(&mut recv, &data, 100), Fill::Full);
        recv.consume(40);
        assert_eq!(fill(&mut recv, &data, 100), Fill::Read);
        assert_eq!(recv.len(), 100);
        recv.consume(100);
        assert_eq!(fill(&mut recv, b"", 100), Fill::Eof);
        assert_eq!(fill(&mut recv, &data, 100), Fill::Eof);
    }

    #[test]
    fn memory_follows_what_arrives() {
        let mut recv = Recv::default();
        fill(&mut recv, b"GET", STREAMING);
        assert!(recv.buffer.capacity() < 64);
        fill(&mut recv, b" / HTTP/1.1", STREAMING);
        assert_eq!(recv.bytes(), b"GET / HTTP/1.1");
        recv.consume(14);
        recv.rest();
        assert_eq!(recv.buffer.capacity(), 0);
        let data = vec![b'x'; 2 * STREAMING];
        for _ in 0..5 {
            fill(&mut recv, &data, STREAMING);
            recv.consume(recv.len());
        }
        fill(&mut recv, &data, STREAMING);
        assert_eq!(recv.len(), STREAMING);
    }
}
