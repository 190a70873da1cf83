//! Writes that wait for each other: many small ones become one.
//!
//! The `h2` crate writes and flushes once for each DATA frame, and over TLS that is a record and a
//! system call, which cost more than all else that is done for a small answer. But whoever polls an
//! HTTP/2 connection polls it for all its streams at once. So what is written is held here, a flush
//! says yes, and after the poll [`Flush::poll`] sends what the poll has written: as one record, with
//! one call. Nothing waits for longer than that, so nobody waits for it.
//!
//! What must not happen: that a connection is polled and not flushed afterwards ([`Flush::drive`]
//! does both). What is held is bounded by [`ROOM`]; a peer that does not read is felt by the writer
//! beyond that, and what TLS holds of its own. Why nothing can be sent any longer is told at the next call, which is asked for.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are held: what one TLS record takes.
const ROOM: usize = 16 * 1024;
/// What is written at once and is as large as this is not copied, but where something is held.
const LARGE: usize = 8 * 1024;
/// Bytes that are dropped at once.
const SCRATCH: usize = 4 * 1024;
/// What is asked of the allocator first.
const FIRST: usize = 2 * 1024;

/// The side that is read from and written to.
#[derive(Debug)]
pub struct Gather<S>(Arc<Mutex<Held<S>>>);

/// The side that sends what was written.
#[derive(Debug)]
pub struct Flush<S>(Arc<Mutex<Held<S>>>);

pub fn gather<S>(stream: S) -> (Gather<S>, Flush<S>) {
    let held = Held { stream, bytes: Vec::new(), sent: 0, is_flushed: true, failed: None };
    let held = Arc::new(Mutex::new(held));
    (Gather(Arc::clone(&held)), Flush(held))
}

#[derive(Debug)]
struct Held<S> {
    stream: S,
    /// Those before `sent` have been sent.
    bytes: Vec<u8>,
    sent: usize,
    /// Nothing was written since the stream was flushed.
    is_flushed: bool,
    /// Why nothing can be sent any longer.
    failed: Option<io::ErrorKind>,
}

/// Both sides are one task's: the lock is never waited for.
fn lock<S>(held: &Mutex<Held<S>>) -> MutexGuard<'_, Held<S>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncWrite + Unpin> Held<S> {
    fn check(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// Gives the stream what is held.
    fn poll_give(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            let rest = &self.bytes[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        // An idle connection keeps no memory.
        self.bytes = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_give(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.bytes.len() >= ROOM {
            ready!(self.poll_give(cx))?;
        }
        self.is_flushed &= total == 0;
        if self.bytes.is_empty() && total >= LARGE {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(FIRST.max(total));
        }
        let before = self.bytes.len();
        for slice in slices {
            let room = ROOM - self.bytes.len();
            self.bytes.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        Poll::Ready(Ok(self.bytes.len() - before))
    }
}

impl<S: AsyncWrite + Unpin> Flush<S> {
    /// Sends what was written, as far as the peer takes it; `cx` is woken when it takes more, or
    /// when the other side is to hear that sending has failed.
    pub fn poll(&self, cx: &mut Context<'_>) {
        let mut held = lock(&self.0);
        if held.is_flushed || held.failed.is_some() {
            return;
        }
        if let Poll::Ready(Err(error)) = held.poll_send(cx) {
            held.failed = Some(error.kind());
            cx.waker().wake_by_ref();
        }
    }

    /// Runs what writes to the other side.
    pub async fn drive<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let polled = future.as_mut().poll(cx);
            self.poll(cx);
            polled
        })
        .await
    }
}

impl<S: AsyncRead + Unpin> Flush<S> {
    /// Reads what the peer still sends and drops it, until its end, for at most so many bytes.
    pub async fn discard(&self, most: usize) {
        let mut scratch = vec![0; SCRATCH];
        let mut dropped = 0;
        while dropped < most {
            let read = poll_fn(|cx| {
                let mut buf = ReadBuf::new(&mut scratch);
                ready!(Pin::new(&mut lock(&self.0).stream).poll_read(cx, &mut buf))?;
                Poll::Ready(io::Result::Ok(buf.filled().len()))
            });
            match read.await {
                Ok(count) if count > 0 => dropped += count,
                _ => return,
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut held = lock(&self.0);
        held.check()?;
        Pin::new(&mut held.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_take(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_take(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// It is flushed when all is written ([`Flush::poll`]).
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(lock(&self.0).check())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = lock(&self.0);
        held.check()?;
        ready!(held.poll_send(cx))?;
        Pin::new(&mut held.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
