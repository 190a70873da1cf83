//! The receiving buffer of a connection.
//!
//! It starts empty, takes 8 KiB for the first read, and grows to 64 KiB only while full reads show
//! that a body is streaming. [`Recv::rest`] gives the memory back between messages.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

const FIRST: usize = 8 * 1024;
/// The largest size that a streaming body makes it take.
pub const STREAMING: usize = 64 * 1024;

#[derive(Debug, Default)]
pub struct Recv {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    eof: bool,
    /// The last read filled the buffer.
    full: bool,
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

    /// Gives memory back where nothing is buffered.
    pub fn rest(&mut self) {
        if self.is_empty() && self.buffer.len() > FIRST {
            *self = Self { eof: self.eof, ..Self::default() };
        }
    }

    /// Gives all memory back where nothing is buffered; for a connection that goes idle for long.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = Self { eof: self.eof, ..Self::default() };
        }
    }

    /// Reads once. `limit` bounds what may be buffered at the same time: with that much buffered
    /// nothing is read and the answer is `Ok(0)` without the end having been seen.
    pub fn poll_fill(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        if self.eof || self.len() >= limit {
            return Poll::Ready(Ok(0));
        }
        self.make_room(limit);
        let end = self.buffer.len().min(self.start + limit);
        let mut spare = ReadBuf::new(&mut self.buffer[self.end..end]);
        ready!(Pin::new(io).poll_read(cx, &mut spare))?;
        let count = spare.filled().len();
        self.full = spare.remaining() == 0;
        self.end += count;
        self.eof |= count == 0;
        Poll::Ready(Ok(count))
    }

    fn make_room(&mut self, limit: usize) {
        if self.start > 0 && self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let grows = self.buffer.is_empty() || self.end == self.buffer.len() || self.full;
        if grows && self.start == 0 {
            let wanted = (self.buffer.len() * 4).clamp(FIRST, STREAMING.max(FIRST));
            let wanted = wanted.max(self.end + 1).min(limit.max(1));
            if wanted > self.buffer.len() {
                self.buffer.resize(wanted, 0);
            }
        }
        self.full = false;
    }
}
